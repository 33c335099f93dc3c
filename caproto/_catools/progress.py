"""A bar on a terminal that shows how far the work is."""
from __future__ import annotations

import os
import time
from types import TracebackType
from typing import TextIO

__all__ = ["PERIOD", "Progress"]

#: Seconds between two pictures of the bar.
PERIOD = 0.1
#: Its width in characters.
_WIDTH = 30


class Progress:
    """A bar in the last line of a terminal; nothing where the stream is not a terminal.

    It disappears at the end of the ``with`` block, also after an exception.

    Parameters
    ----------
    stream : text file
        Usually standard error, so that the output stays as it is.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream if stream.isatty() and os.environ.get("TERM") != "dumb" else None
        self._shown_at = 0.0
        self._length = 0  #: of the line on the terminal

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()

    def show(self, what: str, done: int, total: int, *, at_once: bool = False) -> None:
        """Show that *done* of *total* parts are done.

        If it was drawn just now, a bar that is not full is left as it is, unless *at_once* says
        that it may stay so for a while.
        """
        now = time.monotonic()
        just_now = now < self._shown_at + PERIOD
        if self._stream is None or just_now and done < total and not at_once:
            return
        self._shown_at = now
        full = _WIDTH * done // total if total else _WIDTH
        bar = "#" * full + "-" * (_WIDTH - full)
        self._write(f"{what} [{bar}] {done}/{total}")

    def clear(self) -> None:
        """Remove the bar, so that something else can be printed."""
        if self._length:
            self._write("")
            self._shown_at = 0.0

    def _write(self, line: str) -> None:
        assert self._stream is not None
        self._stream.write(f"\r{line.ljust(self._length)}")
        if not line:
            self._stream.write("\r")
        self._stream.flush()
        self._length = len(line)
