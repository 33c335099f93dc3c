"""What waits to be sent to one client: replies, and the updates of its subscriptions.

This is the one part of a session that other threads touch. Whoever changes a PV calls `post` for
each subscription, workers that have finished a put call `reply`, and the client's own thread takes
everything from here.

Guarantees: no call blocks. The updates that wait are bounded in number and in bytes; beyond the
bounds a new update replaces the youngest one of its subscription, so intermediate values are lost
and the last one never is. The updates of one subscription are never reordered. After `hold` each
subscription keeps its newest update only, until `release`. Replies are not held and go first; they
are bounded by the requests that were read.

One lock guards all of it, and what it says about subscriptions and channels (`alive`, `closed`,
`rights`). Nothing foreign is called under it. A finalizer or signal handler may write a PV although
it has interrupted a call here in the same thread: what it posts is queued when that call is done.
An interrupt (Ctrl-C) in a call leaves everything such that the call can be repeated.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from .. import _locks
from .._dbr import AccessRights
from .._message import Message
from .data import VALUE
from .snapshot import Snapshot

__all__ = ["Subscription", "UpdateQueue"]

#: More updates than this are merged.
MAX_UPDATES = 2000
#: So are updates whose values occupy more than this (bytes), all together.
MAX_UPDATE_BYTES = 1 << 22


class Subscription:
    """One subscription of one client.

    Attributes
    ----------
    channel
        The client's channel, with ``closed`` and ``rights``.
    request : tuple of six int
        The header of the EventAddRequest.
    mask : int
        Which events it wants.
    alive : bool
        False once it is cancelled.
    """

    __slots__ = (
        "_entry", "_filter", "_newest", "_queue", "_serial", "alive", "channel", "mask", "request",
    )

    def __init__(
        self,
        queue: UpdateQueue,
        channel: Any,
        request: tuple[int, int, int, int, int, int],
        mask: int,
        select: Callable[[Snapshot, int], Snapshot | None] | None = None,
    ) -> None:
        self._queue = queue
        # The filter remembers what it has seen, so it is asked under the queue's lock only.
        self._filter = select
        self._newest: Snapshot | None = None  # that the filter has seen
        self._entry: list[Any] | None = None  # the youngest update that waits
        self._serial = -1
        self.channel = channel
        self.request = request
        self.mask = mask
        self.alive = True

    def post(self, snapshot: Snapshot, events: int) -> None:
        """Queue a change, if the client's filter passes it; called by whoever made it."""
        self._queue.post(self, snapshot, events)

    def _passed(self, snapshot: Snapshot, events: int) -> Snapshot | None:
        """What the client's filter makes of *snapshot*. Under the queue's lock.

        Two threads may tell of their changes in another order than they made them. The filter then
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
        Called when there is something to send and the client's thread sleeps, perhaps more than
        once before it takes it; must not block.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = _locks.Lock()
        #: Whether this thread holds the lock: it is in a finalizer, or a signal handler.
        self._is_inside: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]
        #: Calls made by finalizers and signal handlers while their thread held the lock.
        self._late: deque[Callable[[], None]] = deque()
        self._replies: list[Message] = []
        self._updates: deque[list[Any]] = deque()
        self._nbytes = 0
        self._dead = 0  # about how many of the updates belong to cancelled subscriptions
        self._held = False
        self._asleep = False
        self.closed = False
        #: How many updates have been merged into later ones.
        self.merged = 0

    def reply(self, *messages: Message, channel: Any = None) -> None:
        """Queue replies; not if *channel* has been closed meanwhile."""
        with self._lock:
            if self.closed or (channel is not None and channel.closed):
                return
            self._replies += messages
        self._done()

    def post(self, subscription: Subscription, snapshot: Snapshot, events: int) -> None:
        """Queue an update, if the client may read it and nothing newer is queued already."""
        if self._is_inside():
            self._late.append(partial(self.post, subscription, snapshot, events))
            return
        with self._lock:
            if subscription.alive and subscription.channel.rights & AccessRights.READ:
                passed = subscription._passed(snapshot, events)
                if passed is not None and passed.serial > subscription._serial:
                    self._enqueue(subscription, passed)
        self._done()

    def first(self, subscription: Subscription, snapshot: Snapshot) -> None:
        """Queue the update that every new subscription gets, whatever its mask."""
        with self._lock:
            # Between subscribing and this call another thread may have posted a newer one.
            if not subscription.alive or subscription._serial >= snapshot.serial:
                return
            passed = subscription._passed(snapshot, VALUE)
            assert passed is not None, "filters pass the first update they see"
            self._enqueue(subscription, passed)
        self._done()

    def rights_changed(
        self,
        channel: Any,
        rights: AccessRights,
        message: Message,
        subscriptions: Iterable[Subscription],
        present: Callable[[], Snapshot],
    ) -> None:
        """Queue the news that *channel* has other *rights*, then one update per subscription.

        *present* is called under the lock: what it returns is not older than what was posted.
        """
        if self._is_inside():
            self._late.append(
                partial(self.rights_changed, channel, rights, message, subscriptions, present)
            )
            return
        with self._lock:
            if self.closed or channel.closed or channel.rights == rights:
                return
            self._replies.append(message)
            for subscription in subscriptions:
                if subscription.alive:
                    self._enqueue(subscription, present())
            channel.rights = rights  # at last: if it is interrupted, it is told once more
        self._done()

    def _enqueue(self, subscription: Subscription, snapshot: Snapshot) -> None:
        """Under the lock. Interrupted between any two lines, it can be done once more."""
        entry = subscription._entry
        size = snapshot.nbytes
        if entry is not None and (
            self._held or len(self._updates) >= MAX_UPDATES or self._nbytes >= MAX_UPDATE_BYTES
        ):
            self._nbytes += size - entry[2]
            entry[1:] = snapshot, size
            self.merged += 1
        else:
            entry = [subscription, snapshot, size]
            self._updates.append(entry)
            subscription._entry = entry
            self._nbytes += size
        subscription._serial = snapshot.serial

    def _done(self) -> None:
        """After the lock: wake the client's thread if it sleeps and there is something to send."""
        while self._late:
            self._late.popleft()()
        if self._asleep and (self._replies or (self._updates and not self._held)):
            self._wake()

    def take(self, limit: int) -> tuple[list[Message], list[tuple[Subscription, Snapshot, bool]]]:
        """Everything to be sent next.

        Parameters
        ----------
        limit : int
            About how many bytes of values to take; at least one update is taken.

        Returns
        -------
        replies : list of Message
        updates : list of (Subscription, Snapshot, bool)
            The last one tells whether the client may read the value.
        """
        updates = []
        with self._lock:
            replies, self._replies = self._replies, []
            queue = self._updates
            while queue and limit > 0 and not self._held:
                entry = queue.popleft()
                subscription, snapshot, size = entry
                self._nbytes -= size
                if subscription._entry is entry:
                    subscription._entry = None
                if subscription.alive:
                    readable = bool(subscription.channel.rights & AccessRights.READ)
                    updates.append((subscription, snapshot, readable))
                    limit -= size + 64
            if replies or updates:
                self._asleep = False
            if not queue:
                self._nbytes = 0
        self._done()
        return replies, updates

    def sleep(self) -> bool:
        """Called before the client's thread sleeps: False if there is something to send."""
        with self._lock:
            if self._late or self._replies or (self._updates and not self._held):
                return False
            self._asleep = True
            return True

    def hold(self) -> None:
        """EVENTS_OFF: keep the newest update of each subscription."""
        with self._lock:
            self._held = True
            newest = {id(entry[0]): entry for entry in self._updates}
            self.merged += len(self._updates) - len(newest)
            self._keep(newest.values())

    def release(self) -> None:
        """EVENTS_ON."""
        with self._lock:
            self._held = False

    def cancel(self, subscriptions: Iterable[Subscription]) -> None:
        """No update of *subscriptions* is taken from now on."""
        with self._lock:
            self._forget(subscriptions)

    def close_channel(self, channel: Any, subscriptions: Iterable[Subscription]) -> None:
        """No update and no late reply of *channel* is queued from now on."""
        with self._lock:
            channel.closed = True
            self._forget(subscriptions)

    def _forget(self, subscriptions: Iterable[Subscription]) -> None:
        """Under the lock. A client may go on to subscribe and cancel while its updates are held."""
        for subscription in subscriptions:
            subscription.alive = False
            self._dead += subscription._entry is not None
        if self._dead > MAX_UPDATES // 2:
            self._keep(entry for entry in self._updates if entry[0].alive)

    def _keep(self, entries: Iterable[list[Any]]) -> None:
        """Under the lock: of what waits, only *entries*."""
        self._updates = deque(entries)
        self._nbytes = sum(entry[2] for entry in self._updates)
        self._dead = 0

    def close(self) -> None:
        """Drop everything; nothing is queued from now on."""
        with self._lock:
            self.closed = True
            for entry in self._updates:
                entry[0].alive = False
            self._updates.clear()
            self._replies.clear()
            self._nbytes = 0

    def abandon(self) -> None:
        """Take nothing from now on; in the child of a fork the lock may be taken for good."""
        self._lock = _locks.Lock()
        self._is_inside = self._lock._is_owned  # type: ignore[attr-defined]
        self.close()
