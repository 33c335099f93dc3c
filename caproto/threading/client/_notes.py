"""Notes: what other threads, finalizers and signal handlers leave to a background thread.

Leaving one takes no lock and is a single step of the interpreter.
"""
from __future__ import annotations

import contextlib
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
        What was noted and is not done yet.
    """

    def __init__(self) -> None:
        self.waiting: deque[tuple[Callable[[], object], str]] = deque()

    def leave(self, function: Callable[[], object], name: str = "") -> None:
        """Have *function* called by the next `run`.

        Parameters
        ----------
        function : callable
            Called once; calling it twice, or without need, must do no harm.
        name : str
            Of the PV concerned, for the log if *function* fails.
        """
        self.waiting.append((function, name))

    def run(self, log: logging.Logger) -> None:
        """Do what was noted so far, holding nothing; one that fails does not affect the others."""
        for _ in range(len(self.waiting)):
            function, name = self.waiting.popleft()
            try:
                function()
            except CaprotoError as error:
                with contextlib.suppress(Exception):  # a log handler is foreign code
                    log.warning("%s%s", f"{name!r}: " if name else "", error)
            except Exception:
                with contextlib.suppress(Exception):
                    log.exception("Unexpected error in %s", repr(name) if name else function)
