"""Time stamps as the EPICS tools write them."""
from __future__ import annotations

import time
from collections.abc import Callable

from .._protocol.constants import EPICS_EPOCH
from .._protocol.timestamp import TimeStamp

__all__ = ["UNDEFINED", "Stamps", "local_time", "microseconds_of", "seconds_between"]

#: The time stamp of a record that was never processed.
UNDEFINED = TimeStamp(0, 0)


def local_time(stamp: TimeStamp) -> str:
    """Write a time to the microsecond."""
    if stamp == UNDEFINED:
        return "<undefined>"
    moment = time.localtime(stamp.seconds + EPICS_EPOCH)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', moment)}.{microseconds_of(stamp):06d}"


def microseconds_of(stamp: TimeStamp) -> int:
    """Return the microseconds of the second: rounded, but not up to the next second."""
    return min((stamp.nanoseconds + 500) // 1000, 999_999)


class Stamps:
    """The time stamps of all lines of one monitor.

    Parameters
    ----------
    letters : str
        As `Settings.timestamps`.
    write : callable, optional
        Writes a time that is not a difference. Default: as the EPICS tools do.
    """

    def __init__(self, letters: str, write: Callable[[TimeStamp], str] = local_time) -> None:
        self._write = write
        self._server, self._client = "s" in letters, "c" in letters
        # The last one counts.
        self._relative = next((letter for letter in reversed(letters) if letter in "riI"), "")
        self._reference: dict[object, tuple[TimeStamp, TimeStamp]] = {}

    def text(self, channel: object, server: TimeStamp, client: TimeStamp) -> str:
        """Write the times of an update: the server's and that of its arrival.

        Parameters
        ----------
        channel : object
            Stands for the PV.
        server, client : TimeStamp
        """
        key = channel if self._relative == "I" else None
        before = self._reference.get(key)
        if self._relative and (before is None or self._relative != "r"):
            self._reference[key] = server, client
        if not self._relative or before is None:
            texts = self._write(server), f"({self._write(client)})"
        else:
            texts = (
                f"{'':14}{seconds_between(server, before[0]):+12.6f}",
                f"{'':14}({seconds_between(client, before[1]):+12.6f})",
            )
        return texts[0] * self._server + texts[1] * self._client


def seconds_between(later: TimeStamp, earlier: TimeStamp) -> float:
    """Return the seconds from one time stamp to a later one."""
    return later.seconds - earlier.seconds + (later.nanoseconds - earlier.nanoseconds) / 1e9
