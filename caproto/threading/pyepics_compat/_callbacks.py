"""The callbacks of a PV of pyepics, and how they are called."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from ..._log import CHANNEL_LOGGER
from ._values import Known

if TYPE_CHECKING:
    from ._values import Response

_log = logging.getLogger(CHANNEL_LOGGER)

Function = Callable[..., object]


class Callbacks:
    """Callbacks on values, by index.

    Attributes
    ----------
    entries : dict of int to (callable, dict)
        Replaced whole at each change, so that threads that call them need no lock.
    """

    __slots__ = ("entries",)

    def __init__(self, first: Function | Iterable[Function] | None) -> None:
        functions = [] if first is None else [first] if callable(first) else list(first)
        self.entries: dict[int, tuple[Function, Known]] = {
            index: (function, {}) for index, function in enumerate(functions)
        }

    def add(self, function: Function, index: int | None, kw: Known) -> int:
        """Add one; return its index."""
        if index is None:
            index = max(self.entries, default=0) + 1
        self.entries = {**self.entries, index: (function, kw)}
        return index

    def remove(self, index: int | None) -> None:
        """Remove one, if it is there."""
        self.entries = {one: entry for one, entry in self.entries.items() if one != index}

    def clear(self) -> None:
        """Remove all."""
        self.entries = {}


class TakesUpdates(Protocol):
    """The owner of a monitor."""

    def take_update(self, response: Response) -> None:
        """Keep an update, and call the callbacks."""


class Forward:
    """Passes updates on to a PV without keeping it alive."""

    __slots__ = ("_reference",)

    def __init__(self, pv: TakesUpdates) -> None:
        self._reference = weakref.ref(pv)

    def __call__(self, response: Response) -> None:
        pv = self._reference()
        if pv is not None:
            pv.take_update(response)


def guarded(
    function: Function, arguments: tuple[object, ...], keywords: Mapping[str, object], name: str
) -> None:
    """Call a user's function; log what it raises."""
    try:
        function(*arguments, **keywords)
    except Exception:
        _log.exception("%r: the user callback %r failed", name, function)
