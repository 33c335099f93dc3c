"""ConnectionWatch: one callback about the connections of all PVs of a Context."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..._client.callbacks import check_accepts, report
from ..._client.deliveries import Call
from ..._errors import CaprotoTypeError
from ._home import Home


class ConnectionWatch:
    """Calls a function when PVs are connected or disconnected, until it or the Context is closed.

    Made by :meth:`Context.watch_connections`. It need not be kept: without :meth:`close`, or
    leaving a ``with`` block, the calls go on.

    Parameters
    ----------
    home : Home
        Of the Context.
    function : callable
        Called as ``f(pvs)`` with PVs that were connected or disconnected, or whose access rights
        have changed; in the callback thread of their circuit, as any callback. More may have
        changed meanwhile: ask each PV for its state.
    """

    __slots__ = ("_function", "_home", "_target")

    def __init__(self, home: Home, function: Callable[[list[Any]], object]) -> None:
        if not callable(function):
            raise CaprotoTypeError(f"callback must be callable, not {function!r}")
        check_accepts(function, "f(pvs)", 1)
        self._home = home
        self._function = function
        self._target = Call(self._tell)
        home.check_open()
        home.table.watches[self._target] = None

    def close(self) -> None:
        """End the calls. May be called again."""
        self._home.table.watches.pop(self._target, None)

    def _tell(self, pvs: list[Any]) -> None:
        try:
            self._function(pvs)
        except BaseException as error:
            report(error, self, self._function, self._home.log)

    def __enter__(self) -> ConnectionWatch:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        active = self._target in self._home.table.watches
        return f"<ConnectionWatch with {self._function!r}: {'active' if active else 'closed'}>"
