"""ensure_connected: a decorator for functions of a PV that need a connection."""
from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from ._pv import PV

P = ParamSpec("P")
R = TypeVar("R")


def ensure_connected(function: Callable[Concatenate[PV, P], R]) -> Callable[Concatenate[PV, P], R]:
    """Have *function*, whose first argument is a PV, called when this PV is connected.

    The wait takes at most the default timeout of the PV. `PV.read`, `PV.write` and the others wait
    by themselves.

    Raises
    ------
    CaprotoTimeoutError
        By the decorated function, if the PV is not connected in time; the message names the phase.
    """

    @functools.wraps(function)
    def connected(pv: PV, /, *args: P.args, **kwargs: P.kwargs) -> R:
        pv.wait_for_connection()
        return function(pv, *args, **kwargs)

    return connected
