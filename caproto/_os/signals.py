"""Requests to end, SIGINT (Ctrl-C) and SIGTERM, for programs that serve until then."""
from __future__ import annotations

import math
import signal
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .sockets import WakeUp

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["EndSignals"]


class EndSignals:
    """While entered, SIGINT and SIGTERM are noted instead of ending the process.

    In a thread that is not the main one signals cannot be handled, and are left alone; so is SIGINT
    where it is ignored, as shells have it for what a script starts in the background.

    Attributes
    ----------
    stop_requested : bool
        Whether one of them has come.
    wake : WakeUp
        For the main thread to watch: set by these signals, and by any other one that has a handler
        written in Python.

    Notes
    -----
    A handler written in Python runs when the main thread runs Python code again. For a signal that
    comes just before that thread falls asleep in a call of the system, this may be never. So the
    interpreter's own handler, which runs at once, writes to the socket that the main thread
    watches.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.stop_requested = False
        self.wake = WakeUp()
        self._handlers: dict[int, Any] = {}  # as they were before
        self._descriptor = -1

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            descriptor = self.wake.sender_fileno()
            self._descriptor = signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
            self._handlers = {
                number: signal.signal(number, self._note) for number in self.NUMBERS
                if number != signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN
            }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._handlers:
            signal.set_wakeup_fd(self._descriptor)
        self.wake.close()

    def wait(self) -> None:
        """Sleep until one of the signals has come."""
        while not self.stop_requested:
            self.wake.wait(math.inf)

    def _note(self, *_: object) -> None:
        self.stop_requested = True
        self.wake.set()
