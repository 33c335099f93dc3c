"""The part of ``epics.ca`` that programs call around PVs; with this client little of it acts."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ._connection import Chid

F = TypeVar("F", bound=Callable[..., Any])

#: A thread that may use PVs: any may.
CAThread = threading.Thread


def initialize_libca() -> None:
    """Do nothing: there is no C library."""


def finalize_libca(maxtime: float = 10.0) -> None:
    """Do nothing: there is no C library."""


def use_initial_context() -> None:
    """Do nothing: all threads share one Context."""


def create_context() -> None:
    """Do nothing: all threads share one Context."""


def attach_context(context: object = None) -> None:
    """Do nothing: all threads share one Context."""


def detach_context() -> None:
    """Do nothing: all threads share one Context."""


def current_context() -> None:
    """Return nothing: all threads share one Context."""


def withInitialContext(function: F) -> F:
    """Return *function*: all threads share one Context."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]


def poll(evt: float = 1e-5, iot: float = 1.0) -> int:
    """Let other threads run; nothing needs polling."""
    time.sleep(evt)
    return 1


def pend_event(timeout: float = 1e-5) -> int:
    """Sleep *timeout* seconds; events are handled all the time."""
    time.sleep(timeout)
    return 1


def pend_io(timeout: float = 1.0) -> int:
    """Do nothing: requests are sent at once."""
    return 1


def clear_cache() -> None:
    """Do nothing: a process after fork has a Context of its own."""


def flush_io() -> int:
    """Do nothing: requests are sent at once."""
    return 1


def isConnected(chid: Chid) -> bool:
    """Tell whether the PV of *chid* is connected."""
    return chid.pv is not None and chid.pv.connected


def read_access(chid: Chid) -> int:
    """Tell whether the PV of *chid* may be read."""
    return int(chid.pv is not None and bool(chid.pv.read_access))


def write_access(chid: Chid) -> int:
    """Tell whether the PV of *chid* may be written."""
    return int(chid.pv is not None and bool(chid.pv.write_access))


__all__ = [
    "CAThread", "attach_context", "clear_cache", "create_context", "current_context",
    "detach_context", "finalize_libca", "flush_io", "initialize_libca",
    "isConnected", "pend_event", "pend_io", "poll", "read_access", "use_initial_context",
    "withInitialContext", "write_access",
]  # fmt: skip
