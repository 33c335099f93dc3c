"""The way of PVs to their connections, one step after the other, without a thread."""
from __future__ import annotations

import contextlib
import logging
import math

import pytest

from caproto import AccessRights
from caproto._client.announcements import PVCallback
from caproto._client.backoff import Loss
from caproto._client.pvs import PVPhase, PVState, PVTable, carrier_of
from caproto._client.subscriptions import SubscriptionState, form_of

ADDRESS = "10.0.0.1", 5064
OTHER = "10.0.0.2", 5064


class Channel:
    """A channel that is created, or not yet."""

    connected = False
    access_rights: AccessRights | None = None


class Carrier:
    """A circuit that does what it is told."""

    def __init__(self, address=ADDRESS, up=60.0) -> None:
        self.address = address
        self.begun = 0.0
        self.up = up
        self.responds = True

    def serves(self, channel) -> bool:
        return self.responds and channel.connected

    def describe(self, channel) -> str:
        return "connected" if self.serves(channel) else "connecting"

    def describe_last_heard(self, now) -> str:
        return "last heard"

    def time_up(self, now) -> float:
        return self.up


class Waiter:
    def __init__(self) -> None:
        self.told = 0

    def answered(self, response) -> None:
        self.told += 1


class World:
    """A table, the events, and what follows from them."""

    def __init__(self) -> None:
        self.table: PVTable = PVTable(contextlib.nullcontext())
        self.now = 100.0
        self.carrier = Carrier()

    def file(self, *names, priority=0):
        self.table.file(names, priority, lambda name: PVState(name, priority, self.now))
        return [self.table.pvs[name, priority] for name in names]

    def search(self, *names, priority=0):
        """PVs that are being searched."""
        pvs = self.file(*names, priority=priority)
        self.table.announced(pvs, self.now)
        return pvs

    def found(self, pvs, made=None, problem=""):
        made = {(ADDRESS, 0): self.carrier} if made is None else made
        return self.table.found(ADDRESS, [pv.key for pv in pvs], made, problem, self.now)

    def attach(self, pvs, carrier=None):
        """They have channels, not yet created."""
        self.found(pvs)
        channels = {pv: Channel() for pv in pvs}
        return self.table.attached(carrier or self.carrier, channels)

    def connect(self, *names):
        """PVs that are connected."""
        pvs = self.search(*names)
        self.attach(pvs)
        self.create(pvs)
        return pvs

    def create(self, pvs, rights=None):
        for pv in pvs:
            pv.channel.connected, pv.channel.access_rights = True, rights
        return self.table.created(self.carrier, pvs, self.now)

    def lose(self, pvs, loss=Loss.BROKEN, carrier=None):
        return self.table.lost(carrier or self.carrier, pvs, "reset", loss, self.now)


@pytest.fixture
def world() -> World:
    return World()


def deliver(steps) -> None:
    for target, argument in steps if isinstance(steps, list) else steps.deliver:
        target.deliver(argument)


def subscribe(world, pv, callbacks=1):
    """A subscription of *pv*."""
    form = form_of(None, None, 0, 0, 0, 1)
    sub = world.table.subscription(pv, form, SubscriptionState(pv, form))
    for _ in range(callbacks):
        token = sub._callbacks.new_token()
        entry = sub._callbacks.make_entry(token, print, True, False, print)
        sub._append(entry, pv.channel is not None)
    return sub


class TestFiling:
    def test_the_same_name_and_priority_is_the_same_pv(self, world):
        a, b = world.file("a", "b")
        assert world.file("b", "a") == [b, a]
        assert world.file("a", priority=1) != [a]

    def test_only_new_ones_are_returned(self, world):
        (a,) = world.file("a")
        new = world.table.file(["a", "b", "b"], 0, lambda name: PVState(name, 0, 0.0))
        assert {pv.name for pv in new} == {"b"}

    def test_a_new_one_is_at_rest_until_it_is_announced(self, world):
        (a,) = world.file("a")
        assert a._phase is PVPhase.NEW and world.table.at_rest(a)
        world.now = 105.0
        steps = world.table.announced([a, a], world.now)
        assert steps.searches == [([a], False, 0.0)]
        assert a._phase is PVPhase.SEARCHING and not world.table.at_rest(a) and a._since == 105.0

    def test_announcing_again_does_nothing(self, world):
        pvs = world.search("a")
        assert world.table.announced(pvs, world.now).searches == [([], False, 0.0)]


class TestFound:
    def test_circuits_to_be_made_are_listed_once(self, world):
        keys = [("a", 0), ("b", 0), ("c", 7)]
        assert world.table.missing(ADDRESS, keys, world.now) == [(ADDRESS, 0), (ADDRESS, 7)]
        world.table.carriers = {(ADDRESS, 0): world.carrier}
        assert world.table.missing(ADDRESS, keys, world.now) == [(ADDRESS, 7)]

    def test_the_pvs_go_to_their_circuit(self, world):
        pvs = world.search("a", "b")
        steps = world.found(pvs)
        assert steps.attach == {world.carrier: pvs}
        assert world.table.carriers == {(ADDRESS, 0): world.carrier}

    def test_another_thread_was_faster(self, world):
        late = Carrier()
        world.found(world.search("a"))
        (b,) = world.search("b")
        steps = world.found([b], made={(ADDRESS, 0): late})
        assert steps.attach == {world.carrier: [b]}, "late is not needed"

    def test_those_that_are_not_searched_any_more_stay_where_they_are(self, world):
        (a,) = world.connect("a")
        assert not world.found([a]).attach

    def test_what_cannot_be_made_is_searched_again_after_a_pause(self, world):
        (a,) = world.search("a")
        steps = world.found([a], made={}, problem="no descriptors")
        ((pvs, lost, delay),) = steps.searches
        assert pvs == [a] and not lost and delay > 0
        assert world.table.failure(a).reason == "no descriptors"
        assert not world.table.missing(ADDRESS, [a.key], world.now)
        assert world.table.missing(ADDRESS, [a.key], world.now + delay)

    def test_with_a_channel_it_is_found_and_its_waiters_are_told(self, world):
        (a,) = world.search("a")
        waiter = Waiter()
        world.table.watch(a, waiter)
        steps = world.attach([a])
        assert steps.wake == [waiter]
        assert a._found and not a.connected and a.server == ADDRESS
        assert carrier_of(a) is world.carrier
        assert world.table.attached(world.carrier, {}).wake == []

    def test_a_waiter_that_was_taken_back_is_not_told(self, world):
        (a,) = world.search("a")
        waiter, other = Waiter(), Waiter()
        world.table.watch(a, other)
        world.table.watch(a, waiter)
        world.table.unwatch(a, other)
        world.table.unwatch(a, waiter)
        world.table.unwatch(a, waiter)
        assert world.attach([a]).wake == []


class TestCreated:
    def test_it_is_connected(self, world):
        (a,) = world.search("a")
        world.attach([a])
        world.now = 101.0
        waiter = Waiter()
        world.table.watch(a, waiter)
        steps = world.create([a], AccessRights.READ)
        assert a.connected and a._since == 101.0 and a.access_rights is AccessRights.READ
        assert steps.wake == [waiter] and steps.log == [([a], "connected")]
        assert steps.reconcile == [] and steps.searches == []

    def test_the_same_subscription_has_the_same_key(self, world):
        (a,) = world.search("a")
        assert subscribe(world, a) is subscribe(world, a)
        assert list(a.subscriptions) == [subscribe(world, a)]

    def test_subscriptions_with_callbacks_are_made_again(self, world):
        (a,) = world.search("a")
        wanted = subscribe(world, a)
        world.attach([a])
        assert world.create([a]).reconcile == [wanted]

    def test_those_without_are_not(self, world):
        (a,) = world.search("a")
        subscribe(world, a, callbacks=0)
        world.attach([a])
        assert world.create([a]).reconcile == []

    def test_one_that_was_lost_meanwhile_is_not_concerned(self, world):
        (a,) = world.connect("a")
        world.lose([a])
        steps = world.table.created(world.carrier, [a], world.now)
        assert steps.log == [([], "connected")] and not steps.wake


class TestLost:
    @pytest.mark.parametrize("loss", [Loss.CLOSED, Loss.BROKEN])
    def test_it_is_searched_again_as_a_lost_one(self, world, loss):
        (a,) = world.connect("a")
        world.now = 200.0
        steps = world.lose([a], loss)
        assert steps.searches == [([a], True, 0.0)]
        assert a._phase is PVPhase.SEARCHING and a._since == 200.0
        assert a.channel is None and carrier_of(a) is None and a.access_rights is None
        assert a.server == ADDRESS

    def test_a_bad_circuit_is_replaced_after_a_pause(self, world):
        (a,) = world.connect("a")
        world.carrier.up = 0.0
        ((_, _, delay),) = world.lose([a], Loss.USELESS).searches
        assert delay > 0

    def test_waiters_go_on_waiting(self, world):
        (a,) = world.connect("a")
        world.table.watch(a, Waiter())
        assert world.lose([a]).wake == []

    def test_a_circuit_without_pvs_costs_no_pause(self, world):
        world.carrier.up = 0.0
        assert world.lose([], Loss.USELESS).searches == []
        assert world.table.backoff.pause(ADDRESS, world.now) == 0

    def test_another_circuit_that_dies_does_not_concern_it(self, world):
        (a,) = world.connect("a")
        steps = world.lose([a], carrier=Carrier(OTHER))
        assert a.connected and steps.searches == [([], True, 0.0)]

    def test_after_the_end_nothing_is_searched_and_waiters_are_told(self, world):
        (a,) = world.connect("a")
        waiter = Waiter()
        world.table.watch(a, waiter)
        world.table.close("over")
        steps = world.lose([a])
        assert steps.searches == [] and steps.wake == [waiter]


class TestResponsive:
    def test_waiters_are_told(self, world):
        (a,) = world.connect("a")
        for responds, state in ((False, "disconnected"), (True, "connected")):
            waiter = Waiter()
            world.table.watch(a, waiter)
            world.carrier.responds = responds
            steps = world.table.responsive(world.carrier, [a], responds)
            assert a.connected is responds and a._found
            assert steps.wake == [waiter] and steps.log == [([a], state)]


class TestIdle:
    def test_it_is_at_rest(self, world):
        (a,) = world.connect("a")
        world.now = 300.0
        steps = world.table.idle(world.carrier, a, world.now)
        assert a._phase is PVPhase.IDLE and world.table.at_rest(a) and a._since == 300.0
        assert a._describe(world.now) == "idle"
        assert steps.searches == [] and steps.log == [([a], "idle")]

    @pytest.mark.parametrize("need", ["waiter", "subscription"])
    def test_one_that_is_needed_by_now_is_searched(self, world, need):
        (a,) = world.connect("a")
        if need == "waiter":
            world.table.watch(a, Waiter())
        else:
            subscribe(world, a)
        steps = world.table.idle(world.carrier, a, world.now)
        assert steps.searches == [((a,), False, 0.0)] and a._phase is PVPhase.SEARCHING

    def test_one_that_is_on_no_circuit_any_more(self, world):
        (a,) = world.connect("a")
        world.lose([a])
        steps = world.table.idle(world.carrier, a, world.now)
        assert a._phase is PVPhase.SEARCHING and steps.searches == []

    def test_one_that_is_searched_rests_if_it_may(self, world):
        a, b, c = world.search("a", "b", "c")
        a._idle_wish = b._idle_wish = True
        world.table.watch(b, Waiter())  # a caller waits for it
        assert world.table.rest([a, b, c], world.now + 3) == [a]
        assert [pv._phase for pv in (a, b, c)] == [PVPhase.IDLE] + [PVPhase.SEARCHING] * 2
        assert a._describe(world.now) == "idle" and a._since == world.now + 3
        assert world.table.rest([a], world.now) == [a]  # its search may have been asked for later

    def test_an_answer_that_comes_too_late_connects_nothing(self, world):
        (a,) = world.search("a")
        a._idle_wish = True
        world.table.rest([a], world.now)
        assert world.found([a]).attach == {} and a._phase is PVPhase.IDLE
        assert world.table.announced([a], world.now).searches == [([a], False, 0.0)]

    def test_it_may_idle_only_if_asked_and_not_wanted(self, world):
        (a,) = world.connect("a")
        assert not a._may_idle
        a._idle_wish = True
        assert a._may_idle
        subscribe(world, a)
        assert a._wanted and not a._may_idle


class TestCallbacks:
    @pytest.fixture
    def told(self):
        return []

    @pytest.fixture
    def listen(self, world, told):
        """``listen(pv, known)``: add callbacks that note what they are told, in `told`."""
        functions = []

        def arrange(pv, known=True):
            def state(pv, news):
                told.append(news)

            def access(pv, rights):
                told.append(rights)

            functions.extend((state, access))
            listeners = [PVCallback(lambda f=f: f) for f in (state, access)]
            deliver(world.table.listen(pv, *listeners, pv._dead_listeners(), known))

        return arrange

    def test_they_are_told_the_state_of_a_known_pv(self, world, told, listen):
        (a,) = world.search("a")
        listen(a)
        assert told == ["disconnected"]

    def test_and_its_rights_if_it_is_connected(self, world, told, listen):
        (a,) = world.search("a")
        world.attach([a])
        world.create([a], AccessRights.READ)
        listen(a)
        assert told == [AccessRights.READ, "connected"]

    def test_of_a_new_one_there_is_nothing_to_tell(self, world, told, listen):
        (a,) = world.search("a")
        listen(a, known=False)
        assert told == []

    def test_they_are_told_each_change_in_order(self, world, told, listen):
        (a,) = world.search("a")
        listen(a, known=False)
        world.attach([a])
        deliver(world.create([a], AccessRights.READ))
        ((target, argument),) = a._rights_news(AccessRights.WRITE)
        target.deliver(argument)
        deliver(world.lose([a]))
        assert told == [AccessRights.READ, "connected", AccessRights.WRITE, "disconnected"]

    def test_the_same_rights_on_the_same_channel_are_not_told_again(self, world, told, listen):
        (a,) = world.search("a")
        listen(a, known=False)
        world.attach([a])
        assert a._rights_news(AccessRights.READ) == []  # they are told with the connection
        deliver(world.create([a], AccessRights.READ))
        for _ in range(2):
            ((target, argument),) = a._rights_news(AccessRights.READ)
            target.deliver(argument)
        assert told == [AccessRights.READ, "connected"]

    def test_without_callbacks_there_is_no_news(self, world):
        (a,) = world.connect("a")
        assert a._rights_news(AccessRights.READ) == []
        assert world.lose([a]).deliver == []

    def test_one_kind_of_callback_without_the_other(self, world, told):
        (a,) = world.search("a")
        functions = [told.append, lambda pv, news: told.append(news)]
        for _ in range(2):
            deliver(world.table.listen(a, None, PVCallback(lambda: functions[1]), (), True))
            deliver(world.table.listen(a, PVCallback(lambda: functions[1]), None, (), True))
        assert told == ["disconnected", "disconnected"]

    def test_each_kind_is_listed_and_stopped_by_itself(self, world, told):
        (a,) = world.search("a")
        assert world.table.listeners(a, "state") == {}
        world.table.stop_listening(a, "state", 0)  # before there is any

        def function(pv, news):
            told.append(news)

        state, access = (PVCallback(lambda: function, token=5) for _ in range(2))
        world.table.listen(a, state, access, (), False)
        for news in ("state", "access_rights"):
            assert world.table.listeners(a, news) == {5: function}
        world.table.stop_listening(a, "state", 5)
        assert world.table.listeners(a, "state") == {}
        assert world.table.listeners(a, "access_rights") == {5: function}
        world.attach([a])
        deliver(world.create([a], AccessRights.READ))
        assert told == [AccessRights.READ]

    def test_the_dead_are_found(self, world):
        (a,) = world.search("a")
        dead = PVCallback(lambda: None)
        world.table.listen(a, dead, None, (), False)
        assert a._dead_listeners() == {dead}


class Table:
    """A table that has PVs as rows."""

    monitored = False


class TestTables:
    def test_they_are_told_which_of_their_pvs_have_changed(self, world):
        a, b, c = world.search("a", "b", "c")
        one, other = Table(), Table()
        world.table.enlist([a, b], one)
        world.table.enlist([b], other)
        world.attach([a, b, c])
        assert world.create([a, b, c]).tables == {one: [a, b], other: [b]}
        assert world.lose([b, c]).tables == {one: [b], other: [b]}

    def test_those_that_have_gone_are_told_nothing(self, world):
        a, b = world.connect("a", "b")
        gone, kept = Table(), Table()
        for table in (gone, kept):
            world.table.enlist([a, b], table)
        world.table.strike([a, b], gone)
        world.table.strike([a, b], Table())
        assert world.lose([a, b]).tables == {kept: [a, b]}
        assert list(world.table.close("over").tables) == [kept]

    def test_all_are_told_the_end_though_no_pv_of_theirs_has_changed(self, world):
        a, b = world.search("a", "b")
        table = Table()
        world.table.enlist([a, b], table)
        assert world.table.close("over").tables == {table: []}

    def test_pvs_of_a_monitored_table_are_needed(self, world):
        (a,) = world.connect("a")
        a._idle_wish = True
        table = Table()
        world.table.enlist([a], table)
        assert a._may_idle
        table.monitored = True
        assert a._wanted and not a._may_idle
        world.table.idle(world.carrier, a, world.now)
        assert a._phase is PVPhase.SEARCHING, "it is connected again"


class TestEnd:
    def test_all_waiters_are_told_each_time(self, world):
        (a,) = world.search("a")
        waiter = Waiter()
        world.table.watch(a, waiter)
        assert world.table.close("first").wake == [waiter]
        assert world.table.close("second").wake == [waiter]
        assert world.table.closed == "first"

    def test_what_is_found_later_gets_no_circuit(self, world):
        pvs = world.search("a")
        world.table.close("over")
        assert world.table.missing(ADDRESS, [("a", 0)], world.now) == []
        steps = world.found(pvs)
        assert not steps.attach and steps.searches == [([], False, 0.0)]

    def test_a_circuit_is_over_once(self, world):
        world.connect("a")
        key = ADDRESS, 0
        assert world.table.circuit_over(key, world.carrier, world.now)
        assert not world.table.circuit_over(key, world.carrier, world.now)
        assert not world.table.carriers

    def test_in_another_process_there_is_no_connection(self, world):
        (a,) = world.connect("a")
        world.table.abandon("a fork")
        assert not a.connected and world.table.closed == "a fork"


class TestWords:
    def test_not_found(self, world):
        (a,) = world.search("a")
        assert a._describe(world.now + 2) == "searching for 2.0 s"
        assert world.table.why_not_connected(a, 2, world.now) == ""

    def test_found(self, world):
        (a,) = world.search("a")
        world.attach([a])
        text = "'a' was found but is not connected after 2 s: connecting"
        assert world.table.why_not_connected(a, 2, world.now) == f"{text}; last heard"
        world.carrier.up = 0.0
        assert world.table.why_not_connected(a, 2, world.now) == text

    def test_failed(self, world):
        (a,) = world.connect("a")
        world.carrier.up = 0.0
        world.lose([a], Loss.USELESS)
        assert world.table.why_not_connected(a, 2, world.now + 3) == (
            "'a' is not connected after 2 s: found at 10.0.0.1:5064, but it failed 3.0 s ago: "
            "reset; searching again"
        )

    def test_a_failure_from_before_is_no_reason(self, world):
        (a,) = world.connect("a")
        world.table.backoff.note(ADDRESS, Loss.USELESS, "earlier", 0.0, 0.0, world.now - 50)
        world.lose([a], Loss.CLOSED)
        assert world.table.why_not_connected(a, 2, world.now) == ""

    def test_the_log_is_made_when_it_is_needed(self, world, caplog):
        (a,) = world.file("a")
        a._debug("nothing")
        assert a._log is None
        with caplog.at_level(logging.DEBUG, "caproto.ch"):
            a._debug("%s", "something")
        assert caplog.records[0].pv == "a"
        assert a.log is a.log


def test_no_pause_is_without_end(world):
    """Each search that follows from an event has a finite delay."""
    (a,) = world.connect("a")
    world.carrier.up = 0.0
    for _ in range(20):
        ((_, _, delay),) = world.lose([a], Loss.USELESS).searches
        assert 0 <= delay < math.inf
        world.now += delay
        world.attach([a])
        world.create([a])
