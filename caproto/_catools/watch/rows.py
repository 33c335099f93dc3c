"""Row: one PV. Callback threads note what comes; the table takes it over when it draws.

A note is two assignments, so ten thousand updates a second cost little. Each attribute has one
writer: the notes are written by the thread that runs the callbacks of the PV's circuit, everything
else by the thread of the table.
"""
from __future__ import annotations

from collections import deque

from ..._client.metadata import Metadata, metadata_from
from ..._protocol.commands import EventAddResponse
from ..settings import Settings
from .cells import printable
from .readings import NOTHING, Shown, read_update

__all__ = ["CONNECTED", "DISCONNECTED", "SEARCHING", "Row"]

#: States of the connection.
SEARCHING, CONNECTED, DISCONNECTED = "searching", "connected", "disconnected"
#: The rate is a mean over this many seconds; the sparkline has this many.
_RATE_TIME, _TREND_TIME = 10, 60
#: Alarms by severity; the last one stands for a PV that is not connected.
_RANKS = ("", "minor", "major", "invalid", "disconnected")


class Row:
    """One PV of the table.

    Parameters
    ----------
    name : str
    settings : Settings
        The formats.

    Attributes
    ----------
    label : str
        The name as it is shown.
    state : str
        Of the connection.
    shown : Shown
        The latest update that was taken over.
    units : str
    rate : float
        Updates in a second.
    trend : deque of float or None
        The number at each of the last seconds.
    """

    __slots__ = (
        "_latest", "_noted_metadata", "_noted_state", "_received", "_room", "_settings",
        "_counts", "_metadata", "_taken",
        "trend", "label", "name", "rate", "shown", "state", "units",
    )

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.label = printable(name)
        self._settings = settings
        # Noted by callbacks.
        self._latest: EventAddResponse | None = None
        self._received = 0
        self._room = 1
        self._noted_state = SEARCHING
        self._noted_metadata = Metadata()
        # Taken over.
        self._taken = 0
        self._metadata = self._noted_metadata
        self.state = SEARCHING
        self.shown: Shown = NOTHING
        self.units = ""
        self.rate = 0.0
        self.trend: deque[float | None] = deque(maxlen=_TREND_TIME)
        #: Moments, and how many updates had come by then.
        self._counts: deque[tuple[float, int]] = deque(maxlen=_RATE_TIME + 1)

    # ---- in callback threads

    def note_connected(self, room: int) -> None:
        """Note a connection to a channel that can have *room* elements."""
        self._room = room
        self._noted_state = CONNECTED

    def note_disconnected(self) -> None:
        """Note that there is no connection, or no more."""
        if self._noted_state == CONNECTED:
            self._noted_state = DISCONNECTED

    def note_update(self, response: EventAddResponse) -> None:
        """Note an update of the value."""
        self._latest = response
        self._received += 1

    def note_properties(self, response: EventAddResponse) -> None:
        """Note an update of what describes the channel."""
        self._noted_metadata = metadata_from(response.metadata)

    # ---- in the thread of the table

    def take(self) -> None:
        """Take over what was noted."""
        self.state = self._noted_state
        received, metadata = self._received, self._noted_metadata
        if received == self._taken and metadata is self._metadata:
            return
        self._taken, self._metadata = received, metadata
        self.units = printable(metadata.units)
        if self._latest is not None:
            self.shown = read_update(self._latest, self._room, metadata, self._settings)

    def sample(self, now: float) -> None:
        """Take over what was noted, and go on with rate and trend; called once in a second.

        Parameters
        ----------
        now : float
            Seconds on the monotonic clock.
        """
        self.take()
        self.trend.append(self.shown.number if self.state == CONNECTED else None)
        if self._counts or self._received:
            self._counts.append((now, self._received))
        if not self._counts:
            return
        (first, before), (last, after) = self._counts[0], self._counts[-1]
        if last > first:
            self.rate = (after - before) / (last - first)

    @property
    def rank(self) -> int:
        """How bad the state is: the severity 0 to 3, or 4 without connection."""
        return self.shown.severity if self.state == CONNECTED else len(_RANKS) - 1

    @property
    def alarm(self) -> str:
        """The name of the rank; empty if all is well."""
        return _RANKS[self.rank]

    def age(self, now: float) -> float | None:
        """Return the seconds since the value was set, by the clock of this host.

        Parameters
        ----------
        now : float
            The present moment in POSIX seconds.

        Returns
        -------
        float or None
            None without a value, or if its time is undefined.
        """
        return None if self.shown.time is None else max(0.0, now - self.shown.time)
