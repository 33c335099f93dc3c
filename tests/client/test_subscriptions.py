"""Wish, targets and latest value of a subscription, without a thread."""
from __future__ import annotations

import gc
import logging
from types import SimpleNamespace

import pytest

from caproto import CaprotoValueError, ChannelType, EventAddRequest, SubscriptionType
from caproto._client.subscriptions import SubscriptionState, find_subscription, form_of
from tests.pair import Pair


class Sub(SubscriptionState):
    """One that notes what callbacks raise."""

    __slots__ = ("failures",)

    def __init__(self, data_type=None, data_count=None) -> None:
        pv = SimpleNamespace(name="x", log=logging.getLogger("caproto.ch"), channel=None)
        form = form_of(data_type, data_count, 0.0, 0.0, 0.0, SubscriptionType.DBE_VALUE)
        super().__init__(pv, form)
        self.failures = []

    def _failed(self, token, name, error) -> None:
        self.failures.append((token, error))

    def add(self, function, connected=False, strong=True, with_owner=False):
        """Register a callback; return its entry, and whether it is late."""
        token = self._callbacks.new_token()
        entry = self._callbacks.make_entry(token, function, strong, with_owner, lambda _: None)
        return entry, self._append(entry, connected)


ONE, TWO = ("10.0.0.1", 5064), ("10.0.0.2", 5064)


class Update:
    """An update, told apart by its text."""

    def __init__(self, text: str, server=ONE) -> None:
        self.text = text
        self.sender_address = server


class Told(list):
    """A callback that notes the texts of updates."""

    def append(self, response) -> None:
        super().append(response.text)


@pytest.fixture
def told():
    return Told()


def test_many_pvs_share_a_form():
    assert form_of("time", None, 0.0, 0.0, 0.0, "value") is form_of(
        "time", None, 0.0, 0.0, 0.0, "value"
    )


def test_a_form_is_the_same_however_it_is_spelled():
    subs = [Sub("double"), Sub("time")]
    assert find_subscription(subs, form_of("TIME", None, 0, 0, 0, 1)) is subs[1]
    assert find_subscription(subs, form_of("time_double", None, 0, 0, 0, 1)) is None
    assert find_subscription(subs, form_of("time", 1, 0, 0, 0, 1)) is None
    assert find_subscription(subs, form_of("time", None, 0, 0, 0, 3)) is None


def test_a_form_with_an_argument_that_cannot_be_hashed():
    with pytest.raises(CaprotoValueError, match="data_type"):
        form_of(["time"], None, 0, 0, 0, 1)


def test_without_callbacks_nothing_is_wanted(told):
    sub = Sub()
    assert not sub.wanted
    entry, late = sub.add(told.append)
    assert sub.wanted and not late
    sub._forget({entry.token})
    assert not sub.wanted and sub.callbacks == {}


def test_updates_go_to_all_callbacks(told):
    sub = Sub()
    sub.add(told.append)
    sub.add(told.append)
    sub._updates.deliver(Update("one"))
    assert told == ["one", "one"]


def test_what_was_removed_is_told_nothing(told):
    sub = Sub()
    entry, _ = sub.add(told.append)
    kept = Told()
    sub.add(kept.append)
    assert sub._forget({entry.token}) == {entry.token}
    assert sub._forget({entry.token}) == set()
    sub._updates.deliver(Update("one"))
    assert told == [] and kept == ["one"]


def test_a_removal_that_was_interrupted_is_completed_by_the_next_one(told):
    sub = Sub()
    entry, _ = sub.add(told.append)
    sub._callbacks.remove({entry.token})  # and no further
    sub._forget(set())
    sub._updates.deliver(Update("one"))
    assert told == []


class TestLate:
    """A callback that comes when updates are under way gets the latest one first."""

    def test_the_first_one_is_not_late(self, told):
        assert Sub().add(told.append, connected=True)[1] is False

    def test_a_further_one_is_late_only_if_there_is_a_circuit(self, told):
        sub = Sub()
        sub.add(told.append)
        assert sub.add(told.append, connected=False)[1] is False
        assert sub.add(told.append, connected=True)[1] is True

    def test_so_is_the_first_one_if_the_server_was_not_told_to_stop(self, told):
        sub = Sub()
        sub.event_id = 7
        assert sub.add(told.append, connected=True)[1] is True

    def test_it_is_told_the_latest_update_then_the_next_ones(self, told):
        sub, first = Sub(), Told()
        sub.add(first.append)
        sub._updates.deliver(Update("one"))
        entry, _ = sub.add(told.append, connected=True)
        sub._updates.deliver(Update("two"))
        assert told == []
        sub._deliver_latest(entry)
        sub._include(entry)
        sub._updates.deliver(Update("three"))
        assert told == ["two", "three"] and first == ["one", "two", "three"]

    def test_it_is_included_once_and_only_if_it_is_still_wanted(self, told):
        sub = Sub()
        sub.add(lambda _: None)
        entry, _ = sub.add(told.append, connected=True)
        sub._include(entry)
        sub._include(entry)
        sub._updates.deliver(Update("one"))
        assert told == ["one"]
        sub._forget({entry.token})
        sub._include(entry)
        sub._updates.deliver(Update("two"))
        assert told == ["one"]

    def test_of_a_series_that_has_ended_there_is_no_latest(self, told):
        sub = Sub()
        sub._updates.deliver(Update("one"))
        sub._stopped()
        entry, _ = sub.add(told.append)
        sub._deliver_latest(entry)
        assert told == [] and sub.event_id is None

    def test_a_new_series_is_for_all(self, told):
        sub = Sub()
        sub.add(lambda _: None)
        sub.add(told.append, connected=True)
        sub._begin()
        sub._updates.deliver(Update("one"))
        assert told == ["one"]


class TestServers:
    """Each circuit has a queue of its own, so updates of a server that was left may come late."""

    @pytest.fixture
    def sub(self, told):
        made = Sub()
        made.add(told.append)
        made._updates.deliver(Update("first"))
        return made

    def on(self, sub, server) -> None:
        """The PV is on a circuit to *server* now."""
        sub.pv.channel = SimpleNamespace(circuit=SimpleNamespace(address=server))

    def test_updates_of_the_new_server_are_told(self, sub, told):
        self.on(sub, TWO)
        sub._updates.deliver(Update("second", TWO))
        assert told == ["first", "second"]

    def test_late_ones_of_the_old_server_are_not(self, sub, told):
        self.on(sub, TWO)
        sub._updates.deliver(Update("second", TWO))
        sub._updates.deliver(Update("late", ONE))
        assert told == ["first", "second"]

    def test_they_are_if_the_new_one_has_sent_nothing_yet(self, sub, told):
        self.on(sub, TWO)
        sub._updates.deliver(Update("late", ONE))
        assert told == ["first", "late"]

    def test_what_arrives_while_a_callback_runs_ends_the_round_of_the_earlier_one(self, told):
        sub = Sub()
        self.on(sub, TWO)

        def slow(response):
            if response.text == "old":
                sub._updates.deliver(Update("new", TWO))

        sub.add(slow)
        sub.add(told.append)
        sub._updates.deliver(Update("old", ONE))
        assert told == ["new"]


def test_an_error_of_one_callback_does_not_concern_the_others(told):
    sub = Sub()

    def fail(response):
        raise ValueError(response)

    entry, _ = sub.add(fail)
    sub.add(told.append)
    sub._updates.deliver(Update("one"))
    sub._deliver_latest(entry)
    assert told == ["one"]
    assert [token for token, _ in sub.failures] == [entry.token, entry.token]


def test_the_request_is_composed_for_the_channel():
    sub = Sub("time", 3)
    channel, _ = Pair().greet().connect(data_type=ChannelType.LONG, data_count=10)
    request = sub._request(channel)
    assert isinstance(request, EventAddRequest)
    assert request.data_type is ChannelType.TIME_LONG and request.data_count == 3
    assert request.mask == SubscriptionType.DBE_VALUE


def test_the_repr_says_how_it_stands(told):
    sub = Sub()
    assert "Subscription to 'x': idle, native, value, 0 callbacks>" in repr(sub)
    sub.add(told.append)
    assert "wanted, native, value, 1 callback>" in repr(sub)
    sub.event_id = 3
    assert "active" in repr(sub)


class Plot:
    """Something whose methods are callbacks."""

    def __init__(self) -> None:
        self.told: list = []

    def one(self, response) -> None:
        self.told.append(response.text)

    def two(self, sub, response) -> None:
        self.told.append((sub, response.text))


class TestForms:
    """A callback may want the subscription, too, and may be held weakly."""

    def test_a_function_that_wants_the_subscription(self):
        sub, told = Sub(), []
        sub.add(lambda *arguments: told.append(arguments), with_owner=True)
        update = Update("one")
        sub._updates.deliver(update)
        assert told == [(sub, update)]

    def test_methods_of_an_object_that_lives(self):
        sub, plot = Sub(), Plot()
        sub.add(plot.one, strong=False)
        sub.add(plot.two, strong=False, with_owner=True)
        sub._updates.deliver(Update("one"))
        assert plot.told == ["one", (sub, "one")]

    def test_of_one_that_is_gone(self, told):
        sub, plot = Sub(), Plot()
        sub.add(plot.one, strong=False)
        sub.add(told.append)
        kept = plot.told
        del plot
        gc.collect()
        sub._updates.deliver(Update("one"))
        assert kept == [] and told == ["one"]
        assert list(sub.callbacks.values()) == [told.append]

    def test_a_function_that_is_gone(self, told):
        sub = Sub()
        sub.add(lambda response: told.append(response), strong=False)
        gc.collect()
        sub._updates.deliver(Update("one"))
        assert told == [] and sub.wanted, "until it is pruned"


def test_its_log_is_that_of_the_pv():
    sub = Sub()
    assert sub.log is sub.pv.log


def test_what_a_driver_has_to_do_it_has_to_do():
    bare = SubscriptionState(None, form_of(None, None, 0, 0, 0, SubscriptionType.DBE_VALUE))
    with pytest.raises(NotImplementedError):
        bare._prune()
    with pytest.raises(NotImplementedError):
        bare._failed(0, "f", ValueError())
