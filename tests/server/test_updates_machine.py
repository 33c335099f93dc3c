"""The update queue of one client against a model that keeps everything.

Whatever is posted, held, released, cancelled, forbidden and taken: the updates of one subscription
come in order, the last one always comes, a cancelled one never, and what waits is bounded.
"""
from __future__ import annotations

from types import SimpleNamespace
from unittest import mock

import numpy
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from caproto import AccessRights, ChannelType, EchoResponse, TimeStamp
from caproto._server import updates
from caproto._server.snapshot import ChannelAlarm, Snapshot
from caproto._server.updates import Monitor, UpdateQueue

BOTH = AccessRights.READ | AccessRights.WRITE
REQUEST = (1, 16, 6, 1, 0, 1)
MAX_UPDATES, MAX_BYTES = 12, 4000
EVERYTHING = 1 << 40
NUMBER = st.integers(0, 50)


class Queue(RuleBasedStateMachine):
    """One client's queue, with small bounds."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = mock.patch.multiple(
            updates, MAX_UPDATES=MAX_UPDATES, MAX_UPDATE_BYTES=MAX_BYTES
        )
        self.patches.start()
        self.serial = 0
        self.live: list[Monitor] = []
        self.posted: dict[Monitor, list[int]] = {}
        self.taken: dict[Monitor, list[int]] = {}
        self.cancelled: set[Monitor] = set()
        self.replies: list[EchoResponse] = []
        self.held = self.asleep = False
        self.woken = 0

    @initialize(number=st.integers(1, 5))
    def begin(self, number):
        self.queue = UpdateQueue(self.wake)
        self.channel = SimpleNamespace(rights=BOTH, closed=False)
        for _ in range(number):
            self.subscribe()

    def wake(self):
        self.woken += 1
        self.asleep = False

    def snapshot(self, elements: int) -> Snapshot:
        self.serial += 1
        values, stamp = numpy.zeros(elements), TimeStamp(0, 0)
        return Snapshot(ChannelType.DOUBLE, values, ChannelAlarm(), stamp, {}, self.serial)

    @rule()
    def subscribe(self):
        subscription = Monitor(self.queue, self.channel, REQUEST, 1)
        self.live.append(subscription)
        self.posted[subscription] = []
        self.taken[subscription] = []

    @precondition(lambda self: self.live)
    @rule(number=NUMBER, elements=st.integers(0, 120))
    def post(self, number, elements):
        subscription = self.live[number % len(self.live)]
        snapshot = self.snapshot(elements)
        subscription.post(snapshot, 1)
        if self.channel.rights & AccessRights.READ:
            self.posted[subscription].append(snapshot.serial)

    @rule()
    def reply(self):
        message = EchoResponse()
        self.replies.append(message)
        self.queue.reply(message)

    @precondition(lambda self: self.live)
    @rule(number=NUMBER)
    def cancel(self, number):
        subscription = self.live.pop(number % len(self.live))
        self.queue.cancel([subscription])
        self.cancelled.add(subscription)

    @rule(limit=st.integers(1, 3000) | st.just(EVERYTHING))
    def take(self, limit):
        replies, updates = self.queue.take(limit)
        assert replies == self.replies
        self.replies = []
        assert not (self.held and updates)
        for subscription, snapshot, readable in updates:
            assert subscription not in self.cancelled
            assert readable == bool(self.channel.rights & AccessRights.READ)
            self.taken[subscription].append(snapshot.serial)
        if limit == EVERYTHING and not self.held:
            for subscription in self.live:
                assert self.taken[subscription][-1:] == self.posted[subscription][-1:]

    @rule(on=st.booleans())
    def flow_control(self, on):
        """By the client's own thread, which is awake then."""
        self.asleep = False
        (self.queue.release if on else self.queue.hold)()
        self.held = not on

    @rule(readable=st.booleans())
    def rights(self, readable):
        rights = BOTH if readable else AccessRights.WRITE
        message = EchoResponse()
        changed = rights != self.channel.rights
        made = []

        def present():
            made.append(self.snapshot(1))
            return made[-1]

        self.queue.rights_changed(self.channel, rights, message, self.live, present)
        assert len(made) == len(self.live) * changed
        if changed:
            self.replies.append(message)
            for subscription, snapshot in zip(self.live, made, strict=True):
                self.posted[subscription].append(snapshot.serial)

    @rule()
    def sleep(self):
        woken = self.woken
        self.asleep = self.queue.sleep()
        waits = [s for s in self.live if self.posted[s][-1:] != self.taken[s][-1:]]
        if self.asleep:
            assert not self.replies and (self.held or not waits)
        assert self.woken == woken

    @invariant()
    def a_sleeper_is_woken(self):
        if self.asleep:
            assert not self.replies
            if not self.held:
                assert all(self.posted[s][-1:] == self.taken[s][-1:] for s in self.live)

    @invariant()
    def order_is_kept_and_nothing_is_made_up(self):
        for subscription, serials in self.taken.items():
            assert serials == sorted(set(serials))
            assert set(serials) <= set(self.posted[subscription])

    @invariant()
    def what_waits_is_bounded(self):
        if not hasattr(self, "queue"):
            return
        waiting = self.queue._updates
        assert len(waiting) <= MAX_UPDATES + len(self.live) + MAX_UPDATES // 2
        assert self.queue._nbytes == sum(update.nbytes for update in waiting)
        if self.held:
            owners = [update.monitor for update in waiting if update.monitor.alive]
            assert len(owners) == len(set(owners))

    def teardown(self):
        try:
            if hasattr(self, "queue"):
                self.flow_control(True)
                self.take(EVERYTHING)
                self.queue.close()
                assert self.queue.take(EVERYTHING) == ([], [])
        finally:
            self.patches.stop()


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=80, stateful_step_count=50)
