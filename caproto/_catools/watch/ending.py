"""Ending: by signals, and when the terminal goes away, also if the app can do nothing any more."""
from __future__ import annotations

import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from ..._os.sockets import WakeUp

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Ending"]

#: Seconds that the app has to end after a signal, so that the terminal is as before.
_GRACE = 2.0
_GONE = select.POLLHUP | select.POLLERR
_LOST = 128 + signal.SIGHUP


class Ending:
    """While entered, the process ends with its terminal, and soon after a signal.

    Parameters
    ----------
    terminal : iterable of int
        The descriptors of the terminal.

    Notes
    -----
    Textual goes on reading from a terminal that has gone, and waits without end to write to one
    that takes no output. So another thread ends the process.
    """

    NUMBERS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)

    def __init__(self, terminal: Iterable[int]) -> None:
        self._terminal = tuple(terminal)
        self._handlers: dict[int, Any] = {}  # as they were before
        self._status = 0  # to end with
        self._end: Callable[[int], object] | None = None
        self._is_over = False
        self._wakeup = WakeUp()
        self._thread = threading.Thread(target=self._watch, name="ca-terminal", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        for number in self.NUMBERS:
            # What a shell or nohup has made the process deaf to is left so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._signalled)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._is_over = True
        self._wakeup.set()
        self._thread.join()
        self._wakeup.close()

    def call_at_signals(self, end: Callable[[int], object]) -> None:
        """Have each signal call a function with the exit status; one that has come does so now.

        Parameters
        ----------
        end : callable
            Called in the main thread, between any two lines of it.
        """
        self._end = end
        if self._status:
            end(self._status)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._status = 128 + number
        self._wakeup.set()
        if self._end is not None:
            self._end(self._status)

    def _watch(self) -> None:
        poller = select.poll()
        poller.register(self._wakeup.fileno(), select.POLLIN)
        for descriptor in self._terminal:
            poller.register(descriptor, 0)  # only whether it has gone
        end = math.inf  # on the monotonic clock
        while not self._is_over:
            left = end - time.monotonic()
            if left <= 0:
                os._exit(self._status)
            for descriptor, event in poller.poll(left * 1000 if left < math.inf else None):
                if event & select.POLLNVAL:  # some systems cannot tell
                    poller.unregister(descriptor)
                elif event & _GONE:
                    os._exit(_LOST)
            self._wakeup.clear()
            if self._status:
                end = min(end, time.monotonic() + _GRACE)
