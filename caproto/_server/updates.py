"""The queue to one client: replies, and the updates of its monitors (subscriptions).

This is the one part of a session that other threads touch. A thread that changes a PV calls `post`
for each monitor, workers that have finished a put call `reply`, and the client's own thread takes
everything from here.

Guarantees: no call blocks. The updates that wait are bounded in number and in bytes; beyond the
bounds a new update replaces the youngest one of its monitor, so intermediate values are lost
and the last one never is. The updates of one monitor are never reordered. After `hold` each
monitor keeps its newest update only, until `release`. Replies are not held and go first; they
are bounded by the requests that were read.

One lock protects all of it, and its attributes of monitors and channels (`alive`, `closed`,
`rights`). No code of others is called under it. A finalizer or signal handler may write a PV
although it has interrupted a call here in the same thread: what it posts is queued when that call
is done. After an interrupt (Ctrl-C) the interrupted call can be repeated.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from .. import _locks
from .._protocol.dbr import AccessRights
from .._protocol.message import Message
from .data import VALUE
from .snapshot import Snapshot

__all__ = ["Monitor", "UpdateQueue"]

#: More updates than this are merged.
MAX_UPDATES = 2000
#: Updates are also merged when their values together occupy more than this (bytes).
MAX_UPDATE_BYTES = 1 << 22


class Channel(Protocol):
    """A channel of the client, as its monitors and the queue see it."""

    closed: bool
    rights: AccessRights

    @property
    def cid(self) -> int:
        """The client's number of the channel."""

    @property
    def name(self) -> str:
        """The name that the client asked for."""


class _Update:
    """A value that waits to be sent to a monitor."""

    __slots__ = ("monitor", "nbytes", "snapshot")

    def __init__(self, monitor: Monitor, snapshot: Snapshot, nbytes: int) -> None:
        self.monitor = monitor
        self.snapshot = snapshot
        self.nbytes = nbytes


class Monitor:
    """One subscription of one client.

    Attributes
    ----------
    channel : Channel
        The client's channel.
    request : tuple of six int
        The header of the EventAddRequest.
    mask : int
        Which events it wants.
    alive : bool
        False once it is cancelled.
    """

    __slots__ = (
        "_filter", "_newest", "_queue", "_serial", "_waiting", "alive", "channel", "mask",
        "request",
    )

    def __init__(
        self,
        queue: UpdateQueue,
        channel: Channel,
        request: tuple[int, int, int, int, int, int],
        mask: int,
        select: Callable[[Snapshot, int], Snapshot | None] | None = None,
    ) -> None:
        self._queue = queue
        # The filter remembers what it has seen, so it is asked under the queue's lock only.
        self._filter = select
        self._newest: Snapshot | None = None  # that the filter has seen
        self._waiting: _Update | None = None  # the youngest update that waits
        self._serial = -1
        self.channel = channel
        self.request = request
        self.mask = mask
        self.alive = True

    def post(self, snapshot: Snapshot, events: int) -> None:
        """Queue a change, if the client's filter passes it; called by the thread that made it."""
        self._queue.post(self, snapshot, events)

    def _passed(self, snapshot: Snapshot, events: int) -> Snapshot | None:
        """Pass *snapshot* through the client's filter. Under the queue's lock.

        Two threads may post their changes in another order than they made them. The filter then
        sees the newest snapshot twice, rather than an old one after it.
        """
        if self._filter is None:
            return snapshot
        newest = self._newest
        if newest is None or newest.serial < snapshot.serial:
            self._newest = newest = snapshot
        return self._filter(newest, events)


class UpdateQueue:
    """See the module.

    Parameters
    ----------
    wake : callable
        Called when there is something to send and the client's thread sleeps, perhaps several
        times before it takes it; must not block.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = _locks.Lock()
        #: Whether this thread holds the lock: it is in a finalizer, or a signal handler.
        self._is_inside: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]
        #: Calls made by finalizers and signal handlers while their thread held the lock.
        self._late: deque[Callable[[], None]] = deque()
        self._replies: list[Message] = []
        self._updates: deque[_Update] = deque()
        self._nbytes = 0
        self._dead = 0  # about how many of the updates belong to cancelled monitors
        self._held = False
        self._asleep = False
        self.closed = False
        #: How many updates have been merged into later ones.
        self.merged = 0

    def reply(self, *messages: Message, channel: Channel | None = None) -> None:
        """Queue replies; not if *channel* has been closed meanwhile."""
        with self._lock:
            if self.closed or (channel is not None and channel.closed):
                return
            self._replies += messages
        self._done()

    def post(self, monitor: Monitor, snapshot: Snapshot, events: int) -> None:
        """Queue an update, if the client may read it and nothing newer is queued already."""
        if self._is_inside():
            self._late.append(partial(self.post, monitor, snapshot, events))
            return
        with self._lock:
            if monitor.alive and monitor.channel.rights & AccessRights.READ:
                passed = monitor._passed(snapshot, events)
                if passed is not None and passed.serial > monitor._serial:
                    self._enqueue(monitor, passed)
        self._done()

    def first(self, monitor: Monitor, snapshot: Snapshot) -> None:
        """Queue the update that every new monitor gets, whatever its mask."""
        with self._lock:
            # Between subscribing and this call another thread may have posted a newer one.
            if not monitor.alive or monitor._serial >= snapshot.serial:
                return
            passed = monitor._passed(snapshot, VALUE)
            assert passed is not None, "filters pass the first update they see"
            self._enqueue(monitor, passed)
        self._done()

    def rights_changed(
        self,
        channel: Channel,
        rights: AccessRights,
        message: Message,
        monitors: Iterable[Monitor],
        present: Callable[[], Snapshot],
    ) -> None:
        """Queue the news that *channel* has other *rights*, then one update per monitor.

        *present* is called under the lock: what it returns is not older than what was posted.
        """
        if self._is_inside():
            self._late.append(
                partial(self.rights_changed, channel, rights, message, monitors, present)
            )
            return
        with self._lock:
            if self.closed or channel.closed or channel.rights == rights:
                return
            self._replies.append(message)
            for monitor in monitors:
                if monitor.alive:
                    self._enqueue(monitor, present())
            channel.rights = rights  # last: after an interrupt it is sent once more
        self._done()

    def _enqueue(self, monitor: Monitor, snapshot: Snapshot) -> None:
        """Under the lock. Interrupted between any two lines, it can be done once more."""
        waiting = monitor._waiting
        nbytes = snapshot.nbytes
        if waiting is not None and (
            self._held or len(self._updates) >= MAX_UPDATES or self._nbytes >= MAX_UPDATE_BYTES
        ):
            self._nbytes += nbytes - waiting.nbytes
            waiting.nbytes = nbytes
            waiting.snapshot = snapshot
            self.merged += 1
        else:
            update = _Update(monitor, snapshot, nbytes)
            self._updates.append(update)
            monitor._waiting = update
            self._nbytes += nbytes
        monitor._serial = snapshot.serial

    def _done(self) -> None:
        """After the lock: wake the client's thread if it sleeps and there is something to send."""
        while self._late:
            self._late.popleft()()
        if self._asleep and (self._replies or (self._updates and not self._held)):
            self._wake()

    def take(self, limit: int) -> tuple[list[Message], list[tuple[Monitor, Snapshot, bool]]]:
        """Return everything to be sent next.

        Parameters
        ----------
        limit : int
            About how many bytes of values to take; at least one update is taken.

        Returns
        -------
        replies : list of Message
        updates : list of (Monitor, Snapshot, bool)
            The third item tells whether the client may read the value.
        """
        updates = []
        with self._lock:
            replies, self._replies = self._replies, []
            queue = self._updates
            while queue and limit > 0 and not self._held:
                update = queue.popleft()
                monitor = update.monitor
                self._nbytes -= update.nbytes
                if monitor._waiting is update:
                    monitor._waiting = None
                if monitor.alive:
                    readable = bool(monitor.channel.rights & AccessRights.READ)
                    updates.append((monitor, update.snapshot, readable))
                    limit -= update.nbytes + 64
            if replies or updates:
                self._asleep = False
            if not queue:
                self._nbytes = 0
        self._done()
        return replies, updates

    def sleep(self) -> bool:
        """Prepare for sleep of the client's thread; return False if there is something to send."""
        with self._lock:
            if self._late or self._replies or (self._updates and not self._held):
                return False
            self._asleep = True
            return True

    def hold(self) -> None:
        """Keep only the newest update of each monitor from now on (EVENTS_OFF)."""
        with self._lock:
            self._held = True
            newest = {id(update.monitor): update for update in self._updates}
            self.merged += len(self._updates) - len(newest)
            self._keep(newest.values())

    def release(self) -> None:
        """Send updates again (EVENTS_ON)."""
        with self._lock:
            self._held = False

    def cancel(self, monitors: Iterable[Monitor]) -> None:
        """Drop the updates of *monitors*, now and from now on."""
        with self._lock:
            self._forget(monitors)

    def close_channel(self, channel: Channel, monitors: Iterable[Monitor]) -> None:
        """Queue no update and no late reply of *channel* from now on."""
        with self._lock:
            channel.closed = True
            self._forget(monitors)

    def _forget(self, monitors: Iterable[Monitor]) -> None:
        """Under the lock. A client may go on to subscribe and cancel while its updates are held."""
        for monitor in monitors:
            monitor.alive = False
            self._dead += monitor._waiting is not None
        if self._dead > MAX_UPDATES // 2:
            self._keep(update for update in self._updates if update.monitor.alive)

    def _keep(self, updates: Iterable[_Update]) -> None:
        """Under the lock: of what waits, only *updates*."""
        self._updates = deque(updates)
        self._nbytes = sum(update.nbytes for update in self._updates)
        self._dead = 0

    def close(self) -> None:
        """Drop everything; nothing is queued from now on."""
        with self._lock:
            self.closed = True
            for update in self._updates:
                update.monitor.alive = False
            self._updates.clear()
            self._replies.clear()
            self._nbytes = 0

    def abandon(self) -> None:
        """Take nothing from now on: in the child of a fork the lock may stay taken."""
        self._lock = _locks.Lock()
        self._is_inside = self._lock._is_owned  # type: ignore[attr-defined]
        self.close()
