"""Interrupts by Ctrl-C and SIGTERM: where they must not end a tool at once."""
from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import NoReturn

__all__ = ["CleanUp", "end_by_interrupt"]


class _Terminated(KeyboardInterrupt):
    """SIGTERM: for what is done at the end, the same as Ctrl-C."""


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated


class CleanUp:
    """While entered, Ctrl-C raises KeyboardInterrupt, so that what must be done at the end is done.

    SIGTERM does so, too, and ends the process at the exit. Only signals that would else end the
    process at once are handled; a handler of the program that has called the tool is left alone.
    """

    _HANDLERS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _terminate}

    def __init__(self) -> None:
        self._in_force: list[signal.Signals] = []

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._HANDLERS.items():
                if signal.getsignal(number) is signal.SIG_DFL:
                    self._in_force.append(number)
                    signal.signal(number, handler)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number in self._in_force:
            signal.signal(number, signal.SIG_DFL)
        if kind is _Terminated:
            _end_by(signal.SIGTERM)


def end_by_interrupt() -> None:
    """End the process as Ctrl-C ends those that do not handle it.

    A shell then ends its loop, too, instead of going on with the next command.
    """
    _end_by(signal.SIGINT)


def _end_by(number: signal.Signals) -> None:
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # whoever read it has gone
        pass
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
