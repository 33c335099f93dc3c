"""The queue of one client: bounds, merging, order, holding, and who is woken when."""
from __future__ import annotations

import itertools
import sys
import threading
from types import SimpleNamespace

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caproto import AccessRights, ChannelType, EchoResponse, TimeStamp, _locks
from caproto._server.directory import Directory
from caproto._server.snapshot import ChannelAlarm, Snapshot
from caproto._server.updates import MAX_UPDATE_BYTES, MAX_UPDATES, Monitor, UpdateQueue
from caproto.server import ChannelDouble
from tests.harness.interrupts import enter_each_line, interrupt_each_line

READ, WRITE = AccessRights.READ, AccessRights.WRITE
EVERYTHING = 1 << 40
REQUEST = (1, 16, 6, 1, 0, 1)


def snapshot(serial: int, elements=None) -> Snapshot:
    elements = (float(serial),) if elements is None else elements
    return Snapshot(ChannelType.DOUBLE, elements, ChannelAlarm(), TimeStamp(0, 0), {}, serial)


class Client:
    """A queue with subscriptions, and how often it woke its owner."""

    def __init__(self, subscriptions: int = 1) -> None:
        self.wakes = 0
        self.queue = UpdateQueue(self._wake)
        self.channel = SimpleNamespace(rights=READ | WRITE, closed=False)
        self.monitors = [
            Monitor(self.queue, self.channel, REQUEST, 1) for _ in range(subscriptions)
        ]

    def _wake(self) -> None:
        self.wakes += 1

    def post(self, *serials: int, to: int = 0) -> None:
        for serial in serials:
            self.monitors[to].post(snapshot(serial), 1)

    def taken(self, limit: int = EVERYTHING) -> list[tuple[int, int]]:
        """(index of the subscription, serial) of what is to be sent next."""
        _, updates = self.queue.take(limit)
        return [(self.monitors.index(s), snap.serial) for s, snap, _ in updates]


# ---- order and merging -----------------------------------------------------------------------


def test_updates_come_in_the_order_in_which_they_were_posted():
    client = Client(2)
    client.post(1, 2)
    client.post(3, to=1)
    client.post(4)
    assert client.taken() == [(0, 1), (0, 2), (1, 3), (0, 4)]
    assert client.taken() == []


def test_an_older_snapshot_than_the_last_one_is_dropped():
    client = Client(2)
    client.post(5)
    client.post(4)
    client.post(4, to=1)
    assert client.taken() == [(0, 5), (1, 4)]
    client.post(5)
    assert client.taken() == [], "also after it was sent"


def test_beyond_the_bound_the_youngest_update_of_the_subscription_is_replaced():
    client = Client(2)
    client.post(0, to=1)
    client.post(*range(1, MAX_UPDATES + 100))
    assert client.queue.merged == 100
    client.post(MAX_UPDATES + 200, to=1)
    taken = client.taken()
    assert len(taken) == MAX_UPDATES
    mine = [serial for index, serial in taken if index == 0]
    assert mine == [*range(1, MAX_UPDATES - 1), MAX_UPDATES + 99]
    assert taken[0] == (1, MAX_UPDATES + 200), "the only one of the other is its youngest"
    assert client.queue.merged == 101


def test_a_subscription_without_a_waiting_update_always_gets_one():
    client = Client(3)
    client.post(*range(MAX_UPDATES))
    client.post(1, 2, 3, to=1)
    client.post(7, to=2)
    taken = client.taken()
    assert [item for item in taken if item[0] == 1] == [(1, 3)]
    assert taken[-1] == (2, 7)


def test_beyond_so_many_bytes_updates_are_merged_too():
    client = Client()
    size = MAX_UPDATE_BYTES // 8 // 4
    for serial in range(10):
        client.monitors[0].post(snapshot(serial, numpy.zeros(size)), 1)
    assert client.taken() == [(0, 0), (0, 1), (0, 2), (0, 9)]
    client.post(*range(10, 20))
    assert len(client.taken()) == 10, "and no longer when there is room again"


def test_a_small_value_in_place_of_a_large_one_makes_room():
    client = Client()
    large = numpy.zeros(MAX_UPDATE_BYTES // 8 // 4)
    for serial in range(4):
        client.monitors[0].post(snapshot(serial, large), 1)
    client.post(4, 5)
    assert client.taken() == [(0, 0), (0, 1), (0, 2), (0, 4), (0, 5)]


@given(st.lists(st.tuples(st.sampled_from("post take hold release".split()), st.integers(0, 3))))
def test_whatever_happens_the_last_value_comes_and_the_order_is_kept(steps):
    client = Client(4)
    last, seen = {}, {index: [-1] for index in range(4)}

    def take(limit):
        for index, serial in client.taken(limit):
            seen[index].append(serial)

    for serial, (step, number) in enumerate(steps):
        if step == "post":
            client.post(serial, to=number)
            last[number] = serial
        elif step == "take":
            take(1 + 100 * number)
        else:
            getattr(client.queue, step)()
    client.queue.release()
    take(EVERYTHING)
    for index, serials in seen.items():
        assert serials == sorted(set(serials))
        assert serials[-1] == last.get(index, -1)


def test_many_threads_post_and_nothing_is_lost_or_reordered():
    client = Client(4)
    threads = [
        threading.Thread(target=client.post, args=range(400), kwargs={"to": index})
        for index in range(4)
    ]
    for thread in threads:
        thread.start()
    taken = []
    while len(taken) < 1600:
        taken += client.taken(1000)
    for thread in threads:
        thread.join()
    for index in range(4):
        assert [serial for i, serial in taken if i == index] == list(range(400))


# ---- taking ----------------------------------------------------------------------------------


def test_a_limit_takes_a_part_but_never_nothing():
    client = Client()
    client.post(*range(10))
    assert client.taken(1) == [(0, 0)]
    part = client.taken(400)
    assert 1 <= len(part) < 9
    assert part + client.taken() == [(0, serial) for serial in range(1, 10)]
    assert client.taken(0) == []


def test_replies_go_first_and_are_not_limited():
    client = Client()
    client.post(1)
    messages = [EchoResponse() for _ in range(100)]
    client.queue.reply(*messages)
    replies, updates = client.queue.take(1)
    assert replies == messages and len(updates) == 1


def test_each_update_tells_whether_the_client_may_read_it():
    client = Client()
    client.post(1)
    client.channel.rights = WRITE
    (update,) = client.queue.take(EVERYTHING)[1]
    assert update[2] is False
    client.post(2)
    assert client.taken() == [], "who may not read gets no news"
    client.channel.rights = READ
    client.post(3)
    assert client.queue.take(EVERYTHING)[1][0][2] is True


# ---- the first update ------------------------------------------------------------------------


def test_the_first_update_comes_whatever_the_rights():
    client = Client()
    client.channel.rights = AccessRights.NO_ACCESS
    client.queue.first(client.monitors[0], snapshot(0))
    assert client.taken() == [(0, 0)]


def test_the_first_update_does_not_follow_a_newer_one():
    client = Client()
    client.post(5)
    client.queue.first(client.monitors[0], snapshot(4))
    assert client.taken() == [(0, 5)]


def test_a_cancelled_subscription_gets_no_first_update():
    client = Client()
    client.queue.cancel(client.monitors)
    client.queue.first(client.monitors[0], snapshot(4))
    assert client.taken() == []


# ---- filters ---------------------------------------------------------------------------------


def test_a_filter_decides_and_may_change_the_update():
    client = Client()
    calls = []

    def select(snap, events):
        calls.append((snap.serial, events))
        return snap.replace(elements=(-1.0,)) if snap.serial != 2 else None

    filtered = Monitor(client.queue, client.channel, REQUEST, 1, select)
    for serial in (1, 2, 3):
        filtered.post(snapshot(serial), 4)
    _, updates = client.queue.take(EVERYTHING)
    assert [(snap.serial, snap.elements) for _, snap, _ in updates] == [(1, (-1.0,)), (3, (-1.0,))]
    client.queue.first(filtered, snapshot(7))
    assert calls == [(1, 4), (2, 4), (3, 4), (7, 1)], "the first update counts as a new value"
    _, updates = client.queue.take(EVERYTHING)
    assert [(snap.serial, snap.elements) for _, snap, _ in updates] == [(7, (-1.0,))]


def filtered_monitor(client: Client, name: str) -> Monitor:
    """A subscription of *client* with the filter in *name*."""
    view = Directory({"x": ChannelDouble(value=0.0)}).open(name)
    return Monitor(client.queue, client.channel, REQUEST, 1, view.filter())


def test_the_memory_of_a_filter_is_used_under_the_lock_only():
    """Any number of threads may write the PV at once."""
    client = Client()
    held = []

    def select(snap, events):
        held.append(_locks.held(client.queue._lock))
        return snap

    filtered = Monitor(client.queue, client.channel, REQUEST, 1, select)
    filtered.post(snapshot(1), 1)
    client.queue.first(filtered, snapshot(2))
    assert held == [True, True]


def test_changes_that_two_writers_tell_in_the_wrong_order_are_counted_and_none_is_sent_late():
    client = Client()
    every_third = filtered_monitor(client, 'x.{"dec":{"n":3}}')
    for serial in (2, 1, 4, 3, 6, 5, 7):  # the 1st, 4th and 7th change that is told pass
        every_third.post(snapshot(serial), 1)
    _, updates = client.queue.take(EVERYTHING)
    assert [snap.serial for _, snap, _ in updates] == [2, 4, 7]


def test_an_old_value_that_is_told_late_does_not_move_the_dead_band():
    client = Client()
    band = filtered_monitor(client, 'x.{"dbnd":{"abs":5}}')
    for serial in (10, 1, 14, 16):  # the value is the serial number
        band.post(snapshot(serial), 1)
    _, updates = client.queue.take(EVERYTHING)
    assert [snap.serial for _, snap, _ in updates] == [10, 16]


def test_two_threads_that_write_are_counted_exactly():
    client = Client()
    x = ChannelDouble(value=0.0)
    every_tenth = Monitor(
        client.queue, client.channel, REQUEST, 1,
        Directory({"x": x}).open('x.{"dec":{"n":10}}').filter(),
    )
    client.queue.first(every_tenth, x.subscribe(every_tenth))

    def write(sign: int) -> None:
        for number in range(1, 501):
            x.write(sign * number)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=write, args=(sign,)) for sign in (1, -1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    _, updates = client.queue.take(EVERYTHING)
    assert len(updates) + client.queue.merged == 101


# ---- holding ---------------------------------------------------------------------------------


def test_held_updates_wait_and_only_the_newest_is_kept():
    client = Client(3)
    client.post(1, 2)
    client.post(3, to=1)
    client.queue.hold()
    client.post(4, 5)
    client.post(6, to=2)
    assert client.taken() == []
    client.queue.release()
    assert client.taken() == [(0, 5), (1, 3), (2, 6)]
    assert client.queue.merged == 3
    client.post(7, 8)
    assert client.taken() == [(0, 7), (0, 8)]


def test_holding_twice_or_releasing_twice_is_harmless():
    client = Client()
    for step in (client.queue.hold, client.queue.hold, client.queue.release, client.queue.release):
        step()
    client.post(1)
    assert client.taken() == [(0, 1)]


def test_replies_are_not_held():
    client = Client()
    client.queue.hold()
    client.queue.reply(EchoResponse())
    assert client.queue.take(EVERYTHING) == ([EchoResponse()], [])


def test_who_subscribes_and_cancels_for_ever_while_updates_are_held_fills_no_memory():
    client = Client()
    client.post(1)
    client.queue.hold()
    for _ in range(5 * MAX_UPDATES):
        subscription = Monitor(client.queue, client.channel, REQUEST, 1)
        client.queue.first(subscription, snapshot(1))
        client.queue.cancel([subscription])
    assert len(client.queue._updates) <= MAX_UPDATES
    assert client.queue._nbytes <= 40 * MAX_UPDATES
    for _ in range(5 * MAX_UPDATES):
        subscription = Monitor(client.queue, client.channel, REQUEST, 1)
        client.queue.first(subscription, snapshot(1))
        client.queue.close_channel(SimpleNamespace(), [subscription])
    assert len(client.queue._updates) <= MAX_UPDATES
    client.queue.release()
    assert client.taken() == [(0, 1)]


# ---- cancelling and closing ------------------------------------------------------------------


def test_nothing_of_a_cancelled_subscription_is_taken():
    client = Client(2)
    client.post(1)
    client.post(2, to=1)
    client.queue.cancel([client.monitors[0]])
    client.post(3)
    assert client.taken() == [(1, 2)]


def test_a_closed_channel_gets_no_updates_and_no_late_replies():
    client = Client()
    client.post(1)
    client.queue.close_channel(client.channel, client.monitors)
    client.queue.reply(EchoResponse(), channel=client.channel)
    client.queue.rights_changed(client.channel, READ, EchoResponse(), [], lambda: snapshot(2))
    assert client.queue.take(EVERYTHING) == ([], [])
    client.queue.reply(EchoResponse(), channel=SimpleNamespace(closed=False))
    client.queue.reply(EchoResponse())
    assert len(client.queue.take(EVERYTHING)[0]) == 2


def test_a_closed_queue_takes_nothing_and_keeps_nothing():
    client = Client()
    client.post(1)
    client.queue.reply(EchoResponse())
    client.queue.close()
    client.post(2)
    client.queue.reply(EchoResponse())
    client.queue.rights_changed(client.channel, READ, EchoResponse(), [], lambda: snapshot(2))
    assert client.queue.closed and client.queue.take(EVERYTHING) == ([], [])
    assert client.queue._nbytes == 0


# ---- rights ----------------------------------------------------------------------------------


def test_other_rights_are_told_and_every_subscription_gets_an_update():
    client = Client(2)
    news = EchoResponse()
    client.queue.rights_changed(
        client.channel, READ, news, client.monitors, lambda: snapshot(0)
    )
    assert client.channel.rights == READ
    replies, updates = client.queue.take(EVERYTHING)
    assert replies == [news] and [u[0] for u in updates] == client.monitors
    client.queue.rights_changed(
        client.channel, READ, news, client.monitors, lambda: snapshot(0)
    )
    assert client.queue.take(EVERYTHING) == ([], []), "the same rights are no news"


def test_cancelled_subscriptions_get_no_update_by_other_rights():
    client = Client(2)
    client.queue.cancel([client.monitors[0]])
    client.queue.rights_changed(
        client.channel, READ, EchoResponse(), client.monitors, lambda: snapshot(0)
    )
    assert client.taken() == [(1, 0)]


# ---- sleeping and waking ---------------------------------------------------------------------


def do_post(client):
    client.post(1)


def do_reply(client):
    client.queue.reply(EchoResponse())


def do_first(client):
    client.queue.first(client.monitors[0], snapshot(1))


def do_change_rights(client):
    client.queue.rights_changed(client.channel, READ, EchoResponse(), [], lambda: snapshot(1))


@pytest.mark.parametrize("act", [do_post, do_reply, do_first, do_change_rights])
def test_a_sleeper_is_woken_until_it_takes(act):
    client = Client()
    act(client)
    assert client.wakes == 0, "nothing sleeps"
    assert not client.queue.sleep(), "there is something to send"
    client.queue.take(EVERYTHING)
    client = Client()
    assert client.queue.sleep()
    act(client)
    assert client.wakes == 1
    client.queue.take(EVERYTHING)
    before = client.wakes
    client.post(3)
    assert client.wakes == before
    client.queue.take(EVERYTHING)
    assert client.queue.sleep()
    client.post(4)
    assert client.wakes == before + 1


def test_held_updates_wake_nobody_but_replies_do():
    client = Client()
    client.queue.hold()
    client.post(1)
    assert client.queue.sleep()
    client.post(2)
    assert client.wakes == 0
    client.queue.reply(EchoResponse())
    assert client.wakes == 1
    client.queue.take(EVERYTHING)
    client.queue.release()
    assert not client.queue.sleep(), "what was held is to be sent now"


def test_an_update_that_nobody_gets_wakes_nobody():
    client = Client()
    client.queue.cancel(client.monitors)
    client.queue.sleep()
    client.post(1)
    client.queue.reply(EchoResponse(), channel=SimpleNamespace(closed=True))
    assert client.wakes == 0


# ---- interrupts, finalizers and signal handlers --------------------------------------------------


@pytest.mark.parametrize("held", [False, True])
def test_a_post_that_is_interrupted_at_any_line_can_be_repeated(held):
    client = Client(2)
    serials = itertools.count(1)
    current = [0]

    def post() -> None:
        current[0] = next(serials)
        client.post(current[0])

    if held:
        client.queue.hold()
    assert client.queue.sleep()
    places = 0
    for where in interrupt_each_line(post):
        places += 1
        client.post(current[0])
        client.post(current[0], to=1)
        if held:
            client.queue.release()
            client.queue._done()
        assert client.wakes > 0, where
        taken = client.taken()
        assert taken[-1] == (1, current[0]) and taken[-2] == (0, current[0]), where
        assert client.queue._nbytes == 0, where
        client.wakes = 0
        if held:
            client.queue.hold()
        assert client.queue.sleep(), where
    assert places > 10


def test_other_rights_that_are_interrupted_at_any_line_can_be_repeated():
    client = Client()
    client.channel.rights = READ
    other = itertools.cycle([READ | WRITE, READ])

    def change() -> None:
        client.queue.rights_changed(
            client.channel, rights, EchoResponse(), client.monitors, lambda: snapshot(1)
        )

    rights = next(other)
    places = 0
    for where in interrupt_each_line(change):
        places += 1
        change()
        assert client.channel.rights == rights, where
        replies, updates = client.queue.take(EVERYTHING)
        assert replies and updates, where
        rights = next(other)
    assert places > 5


def test_what_is_posted_inside_of_a_call_at_any_line_comes_after_it_and_in_order():
    """By a signal handler, for instance."""
    client = Client()
    serials = itertools.count(1)

    def do() -> None:
        client.post(next(serials))

    for _where in enter_each_line(do, do):
        taken = [serial for _, serial in client.taken()]
        assert taken == sorted(taken)
        assert taken[-1] == next(serials) - 1
    assert next(serials) > 20


def test_what_is_posted_inside_of_take_is_queued():
    client = Client()
    serials = itertools.count(1)
    seen: list[int] = []

    def take() -> None:
        client.post(next(serials))
        seen.extend(serial for _, serial in client.taken())

    for _where in enter_each_line(take, lambda: client.post(next(serials))):
        pass
    seen.extend(serial for _, serial in client.taken())
    assert seen == sorted(set(seen)) and seen[-1] == next(serials) - 1
