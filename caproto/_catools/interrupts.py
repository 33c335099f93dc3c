"""Interrupts by Ctrl-C: where they must not end a tool at once."""
from __future__ import annotations

import signal
import sys
import threading
from types import TracebackType

__all__ = ["CleanUp", "end_by_interrupt"]


class CleanUp:
    """While entered, Ctrl-C raises KeyboardInterrupt, so that what must be done at the end is done.

    It does so if Ctrl-C would else end the process at once; a handler of the program that has
    called the tool is left alone.
    """

    def __init__(self) -> None:
        self._in_force = False

    def __enter__(self) -> None:
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            self._in_force = True
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._in_force:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def end_by_interrupt() -> None:
    """End the process as Ctrl-C ends those that do not handle it.

    A shell then ends its loop, too, instead of going on with the next command.
    """
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # whoever read it has gone
        pass
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)
