"""The callbacks of a PV of pyepics, and how they are called."""

from __future__ import annotations

import atexit
import logging
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from ..._client.callbacks import name_of
from ..._log import CHANNEL_LOGGER
from ..client import Subscription
from ._values import Known

if TYPE_CHECKING:
    from ._values import Response

_log = logging.getLogger(CHANNEL_LOGGER)

Function = Callable[..., object]


#: Callbacks on values and their further keywords, by index. Replaced whole at each change, so that
#: threads that call them need no lock.
Entries: TypeAlias = dict[int, tuple[Function, Known]]
#: Those of most PVs; never changed.
NO_ENTRIES: Final[Entries] = {}


def first_entries(functions: Function | Iterable[Function] | None) -> Entries:
    """Make the entries of callbacks that are given together: they count from 0."""
    if functions is None:
        return NO_ENTRIES
    listed = [functions] if callable(functions) else functions
    return {index: (function, {}) for index, function in enumerate(listed)}


def with_entry(
    entries: Entries, function: Function, index: int | None, kw: Known
) -> tuple[Entries, int]:
    """Return *entries* with one more, and its index: by default the next one."""
    if index is None:
        index = max(entries, default=0) + 1
    return {**entries, index: (function, kw)}, index


def without_entry(entries: Entries, index: int | None) -> Entries:
    """Return *entries* without one, if it is there."""
    return {one: entry for one, entry in entries.items() if one != index}


class TakesUpdates(Protocol):
    """The owner of a monitor."""

    def take_update(self, response: Response) -> None:
        """Keep an update, and call the callbacks."""


class Monitor:
    """Passes the updates of a subscription on to a PV, without keeping that alive.

    Parameters
    ----------
    pv : TakesUpdates
    subscription : Subscription
    """

    __slots__ = ("_reference", "_subscription", "_token")

    def __init__(self, pv: TakesUpdates, subscription: Subscription) -> None:
        self._reference = weakref.ref(pv)
        self._subscription = subscription
        self._token = subscription.add_callback(self, strong=True)

    def __call__(self, response: Response) -> None:
        pv = self._reference()
        if pv is not None:
            pv.take_update(response)

    def end(self) -> None:
        """Pass no more on."""
        self._subscription.remove_callback(self._token)


def guarded(
    function: Function, arguments: tuple[object, ...], keywords: Mapping[str, object], name: str
) -> None:
    """Call a user's function; log what it raises. Not while the interpreter exits."""
    if _exiting:
        return
    try:
        function(*arguments, **keywords)
    except Exception:
        # Not its repr, which may need an object that is gone, as those of Qt are.
        _log.exception("%r: the user callback %s failed", name, name_of(function))


#: Whether the interpreter exits: what callbacks use may be gone.
_exiting = False


def _at_exit() -> None:
    global _exiting
    _exiting = True


atexit.register(_at_exit)
