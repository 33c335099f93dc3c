"""Notes: functions that a background thread is to call, left by other threads or finalizers.

To leave one takes no lock and is a single step of the interpreter.
"""
from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Callable

from ..._errors import CaprotoError

__all__ = ["Notes"]


class EndNote(weakref.ref[object]):
    """A weak reference that becomes a note itself when its object is garbage-collected."""

    __slots__ = ("function",)

    function: Callable[[], object]


class Notes:
    """The notes for one thread.

    Attributes
    ----------
    waiting : deque
        Those that were not called yet.
    ended : deque of EndNote
        Those that were left by the garbage collector.
    """

    def __init__(self) -> None:
        self.waiting: deque[tuple[Callable[[], object], str]] = deque()
        self.ended: deque[EndNote] = deque()

    def leave(self, function: Callable[[], object], name: str = "") -> None:
        """Have *function* called by the next `run`.

        Parameters
        ----------
        function : callable
            Called once; a second or needless call must do no harm.
        name : str
            Of the PV concerned, for the log if *function* fails.
        """
        self.waiting.append((function, name))

    def leave_at_end_of(self, thing: object, function: Callable[[], object]) -> EndNote:
        """Leave a note when *thing* is garbage-collected, while what is returned is kept."""
        # No function of Python: the interpreter would drop a KeyboardInterrupt that strikes one
        # which it calls for a weak reference, and the note with it.
        note = EndNote(thing, self.ended.append)
        note.function = function
        return note

    def run(self, log: logging.Logger) -> None:
        """Call what was left so far, without a lock; a failure does not affect the others."""
        while self.ended:
            self.leave(self.ended.popleft().function)
        for _ in range(len(self.waiting)):
            function, name = self.waiting.popleft()
            try:
                function()
            except CaprotoError as error:
                log.warning("%s%s", f"{name!r}: " if name else "", error)
            except Exception:
                log.exception("Unexpected error in %s", repr(name) if name else function)
