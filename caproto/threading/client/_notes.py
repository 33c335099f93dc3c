"""Notes: functions that a background thread is to call, left by other threads or finalizers.

To leave one takes no lock and is a single step of the interpreter.
"""
from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from ..._errors import CaprotoError

__all__ = ["Notes"]


class Notes:
    """The notes for one thread.

    Attributes
    ----------
    waiting : deque
        Those that were not called yet.
    """

    def __init__(self) -> None:
        self.waiting: deque[tuple[Callable[[], object], str]] = deque()

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

    def run(self, log: logging.Logger) -> None:
        """Call what was left so far, without a lock; a failure does not affect the others."""
        for _ in range(len(self.waiting)):
            function, name = self.waiting.popleft()
            try:
                function()
            except CaprotoError as error:
                log.warning("%s%s", f"{name!r}: " if name else "", error)
            except Exception:
                log.exception("Unexpected error in %s", repr(name) if name else function)
