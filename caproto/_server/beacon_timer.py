"""When a server's next beacon is due, and what it says.

A server sends beacons in quick succession when it starts, then at intervals that double until they
reach a period. They show clients that a server is new, or still runs.
"""
from __future__ import annotations

from .._protocol.commands import Beacon
from .._protocol.constants import DEFAULT_PROTOCOL_VERSION

__all__ = ["BeaconTimer"]

#: Seconds from the first beacon to the second.
FIRST_INTERVAL = 0.02


class BeaconTimer:
    """The beacons of one server.

    Parameters
    ----------
    port : int
        The server's TCP port.
    period : float
        The longest interval, in seconds.
    now : float
        Seconds on any clock that never goes back; the first beacon is due now.

    Attributes
    ----------
    due : float
        When the next beacon is to be sent.
    """

    def __init__(self, port: int, period: float, now: float) -> None:
        self._port = port
        self._period = period
        self._interval = FIRST_INTERVAL
        self._number = 0
        self.due = now

    def beacon(self, now: float) -> bytes | None:
        """Take the datagram to be sent now; None if none is due yet."""
        if now < self.due:
            return None
        datagram = bytes(Beacon(DEFAULT_PROTOCOL_VERSION, self._port, self._number))
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._interval = min(self._interval, self._period)
        self.due = now + self._interval
        self._interval *= 2
        return datagram
