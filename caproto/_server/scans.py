"""Which scan function is due, and when the next one will be.

Time is an argument; nothing here waits. A scan's period is a number, or the value of another PV,
and then a change of it takes effect at once. One thread, the server's, owns a `Scans`; only `ended`
and `Scan.post` may be called by others.
"""
from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable

from .data import VALUE, ChannelData
from .snapshot import Snapshot

__all__ = ["Scan", "Scans"]


class Scan:
    """The periodic call of one PV's scan function.

    Attributes
    ----------
    data : ChannelData
        With ``scan`` and ``scan_period``.
    running : bool
        The last call has not returned yet.
    """

    __slots__ = ("_scans", "data", "due", "mask", "running", "started")

    def __init__(self, scans: Scans, data: ChannelData) -> None:
        self._scans = scans
        self.data = data
        self.mask = VALUE
        self.running = False
        self.started = 0.0
        self.due: float | None = None

    @property
    def period(self) -> float:
        """Seconds; 0 or less pauses the scan. So does a text without a number: clients write it."""
        period = self.data.scan_period
        try:
            return float(period.value if isinstance(period, ChannelData) else period or 0.0)
        except (TypeError, ValueError):
            return 0.0

    def post(self, snapshot: Snapshot, events: int) -> None:
        """Note that the PV that is our period has changed; called by the thread that changed it."""
        self._scans.changed(self)


class Scans:
    """All scans of a server.

    Parameters
    ----------
    channels : iterable of ChannelData
        Those without a scan function are left out.
    wake : callable
        Called, from any thread, when `next_deadline` may have changed; must not block.
    """

    def __init__(self, channels: Iterable[ChannelData], wake: Callable[[], None]) -> None:
        self._wake = wake
        self._changed: deque[Scan] = deque()
        self._scans = [Scan(self, data) for data in channels if data.scan is not None]
        self._heap: list[tuple[float, int, Scan]] = []

    def start(self, now: float) -> None:
        """Begin: the first calls are due now, and PVs that are periods are followed until `close`.

        Parameters
        ----------
        now : float
            Seconds on any clock that never goes back.
        """
        for scan in self._scans:
            scan.started = now
            period = scan.data.scan_period
            if isinstance(period, ChannelData):
                period.subscribe(scan)
            self._schedule(scan, now)

    def ended(self, scan: Scan) -> None:
        """Note that a call of *scan* has ended."""
        scan.running = False
        self.changed(scan)

    def changed(self, scan: Scan) -> None:
        """Look at the period of *scan* again."""
        self._changed.append(scan)
        self._wake()

    def _schedule(self, scan: Scan, due: float) -> None:
        before, scan.due = scan.due, due if scan.period > 0 else None
        if scan.due == before:
            return
        if len(self._heap) > 2 * len(self._scans):  # mostly entries of former periods
            self._heap = [entry for entry in self._heap if entry[0] == entry[2].due]
            heapq.heapify(self._heap)
        if scan.due is not None:
            heapq.heappush(self._heap, (scan.due, id(scan), scan))

    def due(self, now: float) -> list[Scan]:
        """Take the scans to be started now; each counts as started."""
        while self._changed:
            scan = self._changed.popleft()
            if not scan.running:
                self._schedule(scan, max(now, scan.started + scan.period))
        found = []
        while self._heap and self._heap[0][0] <= now:
            due, _, scan = heapq.heappop(self._heap)
            if due == scan.due and not scan.running:  # else it has been rescheduled
                scan.due = None
                scan.started = now
                scan.running = True
                found.append(scan)
        return found

    def next_deadline(self) -> float:
        """When to ask again; infinite if no scan is waiting for its time."""
        return self._heap[0][0] if self._heap else math.inf

    def close(self) -> None:
        """End all scans: none is due any more."""
        self._heap.clear()
        for scan in self._scans:
            period = scan.data.scan_period
            if isinstance(period, ChannelData):
                period.unsubscribe([scan])
