"""Subscriptions as users and servers see them: one on the wire, any number of callbacks."""
from __future__ import annotations

import threading

import pytest

from caproto import (
    CaprotoKeyError,
    CaprotoTypeError,
    CaprotoValueError,
    ChannelType,
    EventAddRequest,
    EventAddResponse,
    EventCancelRequest,
    SubscriptionType,
)
from caproto.threading.client import ContextDisconnectedError, Subscription
from tests.conformance.items import item
from tests.harness.fake_server import ignore
from tests.threading.client.told import Told, flush


@pytest.fixture
def x(ctx):
    (pv,) = ctx.get_pvs("x")
    pv.wait_for_connection()
    return pv


class TestOnTheWire:
    def test_nothing_is_requested_before_the_first_callback(self, server, x):
        sub = x.subscribe()
        flush(x)
        assert not server.received(EventAddRequest)
        assert not sub.callbacks

    def test_several_callbacks_share_one_request_and_all_get_each_update(self, server, x):
        sub, told = x.subscribe(), [Told() for _ in range(3)]
        for each in told:
            sub.add_callback(each)
        for each in told:
            each.wait()
        assert server.post("x", 2.5) == 1
        flush(x)
        assert [each.values[-1] for each in told] == [2.5] * 3
        assert told[0].responses[-1] is told[2].responses[-1]
        assert len(server.received(EventAddRequest)) == 1

    def test_the_request_says_what_was_asked_for(self, server, ctx):
        (wave,) = ctx.get_pvs("wave")
        told = Told()
        wave.subscribe(
            "time", 2, low=0.5, high=1.5, to=2.5, mask=SubscriptionType.DBE_LOG
        ).add_callback(told)
        (request,) = server.wait_for(EventAddRequest)
        assert request.data_type is ChannelType.TIME_LONG and request.data_count == 2
        assert (request.low, request.high, request.to) == (0.5, 1.5, 2.5)
        assert request.mask == SubscriptionType.DBE_LOG
        told.wait()
        (response,) = told.responses
        assert response.data.tolist() == [1, 2]
        assert response.metadata.timestamp > 0

    def test_by_default_values_and_alarms_are_reported_of_all_elements(self, server, ctx):
        (wave,) = ctx.get_pvs("wave")
        told = Told()
        wave.subscribe().add_callback(told)
        (request,) = server.wait_for(EventAddRequest)
        assert request.data_type is ChannelType.LONG and request.data_count == 0
        assert request.mask == SubscriptionType.DBE_VALUE | SubscriptionType.DBE_ALARM
        told.wait()
        assert told.responses[0].data.tolist() == [1, 2, 3]

    def test_more_elements_than_there_can_be_are_not_asked_for(self, server, ctx):
        """IOCs refuse such a request; and a channel may come back smaller than it was."""
        (wave,) = ctx.get_pvs("wave")
        told = Told()
        wave.subscribe(data_count=1000).add_callback(told)
        (request,) = server.wait_for(EventAddRequest)
        assert request.data_count == 10

    @item(52)
    def test_the_last_callback_cancels_exactly_once(self, server, x):
        sub, first, second = x.subscribe(), Told(), Told()
        tokens = [sub.add_callback(first), sub.add_callback(second)]
        sub.remove_callback(tokens[0])
        flush(x)
        assert server.wished("x") == 1
        with pytest.raises(CaprotoTypeError, match="token must be"):
            sub.remove_callback(second)
        sub.remove_callback(tokens[1])
        sub.remove_callback(tokens[1])
        flush(x)
        (request,), (cancel,) = server.received(EventAddRequest), server.received(
            EventCancelRequest
        )
        assert cancel.subscriptionid == request.subscriptionid
        assert (cancel.sid, cancel.data_type) == (request.sid, request.data_type)

    def test_it_is_used_again_after_clear(self, server, x):
        sub, before, after = x.subscribe(), Told(), Told()
        sub.add_callback(before)
        before.wait()
        sub.clear()
        assert not sub.callbacks
        flush(x)
        assert server.wished("x") == 0
        server.pvs["x"].value = 9.0  # nobody hears of it
        sub.add_callback(after)
        assert after.wait() == [9.0]  # the first of the new series, nothing of the old one
        assert before.values == [1.5] and server.wished("x") == 1

    def test_nothing_of_the_old_series_is_told_in_the_new_one(self, server, x):
        """A late callback gets the latest value; before the first update there is none."""
        sub, before, first, late = x.subscribe(), Told(), Told(), Told()
        sub.add_callback(before)
        before.wait()
        sub.clear()
        server.wait_for(EventCancelRequest)
        server.on[EventAddRequest] = ignore
        sub.add_callback(first)
        sub.add_callback(late)
        server.wait_for(EventAddRequest, 2)
        flush(x)
        assert not late.responses
        server.post("x", 3.0)
        flush(x)
        assert first.values == late.values == [3.0]

    def test_an_unused_one_stays_silent_for_later_updates_on_the_way(self, server, x):
        """The server sends one more update before it reads the cancel."""
        sub, told = x.subscribe(), Told()
        sub.add_callback(told)
        told.wait()
        (request,) = server.received(EventAddRequest)
        sub.clear()
        server.wait_for(EventCancelRequest)
        late = EventAddResponse([8.0], ChannelType.DOUBLE, 1, 1, request.subscriptionid)
        server.connection.send_raw(late)
        flush(x)
        assert told.values == [1.5] and x.connected

    def test_unsubscribe_all_leaves_no_callback(self, server, x):
        told = Told()
        subs = [x.subscribe(), x.subscribe("time"), x.subscribe("control")]
        for sub in subs:
            sub.add_callback(told)
        told.wait(3)
        x.unsubscribe_all()
        assert not any(sub.callbacks for sub in subs)
        flush(x)
        assert server.wished("x") == 0
        assert x.subscriptions == subs  # still there, to be used again


class TestSameArguments:
    def test_give_the_same_subscription(self, ctx):
        (pv,) = ctx.get_pvs("x")
        for count, same in enumerate(self.SAME, 1):
            subs = {pv.subscribe(**arguments) for arguments in same}
            assert len(subs) == 1, same
            assert len(pv.subscriptions) == count

    SAME = (
        ({}, {"data_type": "native"}, {"mask": 5}, {"low": 0, "high": -0.0}),
        ({"data_type": "time_double"}, {"data_type": ChannelType.TIME_DOUBLE}),
        ({"data_type": "DBR_STS_DOUBLE"}, {"data_type": 13}, {"data_type": "sts_double"}),
        ({"data_type": "Time"}, {"data_type": "TIME"}),
        ({"mask": 1}, {"mask": SubscriptionType.DBE_VALUE}),
        ({"data_count": 5}, {"data_count": 5}),
    )

    def test_other_arguments_give_another(self, ctx):
        (pv,) = ctx.get_pvs("x")
        arguments = (
            {}, {"data_type": "time"}, {"data_type": "TIME_DOUBLE"}, {"data_count": 1}, {"low": 1},
            {"high": 1}, {"to": 1}, {"mask": 1},
        )
        subs = [pv.subscribe(**kinds) for kinds in arguments]
        assert len(set(subs)) == len(subs)
        assert pv.subscriptions == subs

    def test_from_16_threads_at_once(self, ctx):
        (pv,) = ctx.get_pvs("x")
        barrier, found = threading.Barrier(16), []

        def subscribe():
            barrier.wait(10)
            found.append(pv.subscribe("time"))

        threads = [threading.Thread(target=subscribe) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(found) == 16 and len(set(found)) == 1

    def test_the_mask_may_be_given_by_name(self, ctx):
        (pv,) = ctx.get_pvs("x")
        assert pv.subscribe(mask="DBE_value | alarm") is pv.subscribe()
        assert pv.subscribe(mask="log").mask is SubscriptionType.DBE_LOG

    def test_impossible_ones_raise_at_the_call(self, ctx):
        (pv,) = ctx.get_pvs("not there")
        for arguments in (
            {"data_type": "nonsense"}, {"data_type": 39}, {"data_type": -1}, {"data_type": 1.0},
            {"data_count": -1}, {"data_count": 1 << 32}, {"mask": 0}, {"mask": -1},
            {"mask": 1 << 16}, {"mask": "VALUES"}, {"low": "a"}, {"high": 1e300}, {"to": None},
        ):
            with pytest.raises(CaprotoValueError):
                pv.subscribe(**arguments)
                pytest.fail(f"{arguments}")
        assert not pv.subscriptions

    def test_a_count_that_is_no_number_raises_at_the_call(self, ctx):
        (pv,) = ctx.get_pvs("not there")
        with pytest.raises(CaprotoTypeError, match="data_count"):
            pv.subscribe(data_count="1")


class TestOrder:
    def test_the_first_callback_gets_the_first_update(self, server, x):
        told = Told()
        x.subscribe().add_callback(told)
        told.wait()
        for value in (2.0, 3.0):
            server.post("x", value)
        flush(x)
        assert told.values == [1.5, 2.0, 3.0]

    def test_a_late_callback_gets_the_latest_value_first(self, server, x):
        sub, first, late = x.subscribe(), Told(), Told()
        sub.add_callback(first)
        first.wait()
        server.post("x", 2.0)
        flush(x)
        sub.add_callback(late)
        assert late.wait() == [2.0]  # no further update was needed
        server.post("x", 3.0)
        flush(x)
        assert late.values == [2.0, 3.0]
        assert len(server.received(EventAddRequest)) == 1

    def test_a_second_callback_before_the_first_update_gets_it_once(self, server, x):
        server.on[EventAddRequest] = ignore
        sub, told = x.subscribe(), [Told(), Told()]
        for each in told:
            sub.add_callback(each)
        server.wait_for(EventAddRequest)
        flush(x)
        server.post("x", 4.0)
        flush(x)
        assert [each.values for each in told] == [[4.0], [4.0]]

    def test_late_callbacks_in_a_stream_miss_nothing_and_get_nothing_twice(self, server, x):
        sub, first = x.subscribe(), Told()
        sub.add_callback(first)
        first.wait()
        late = [Told() for _ in range(20)]
        numbers = iter(range(400))

        def stream():
            for number in numbers:
                server.post("x", float(number))

        thread = threading.Thread(target=stream)
        thread.start()
        for count, each in enumerate(late):
            first.wait(10 * count)
            sub.add_callback(each)
        thread.join(10)
        flush(x)
        assert first.values == [1.5, *map(float, range(400))]
        for each in late:
            start = first.values.index(each.values[0])
            assert each.values == first.values[start:]

    def test_added_while_the_last_one_is_being_removed_it_still_gets_the_latest(
        self, server, x, monkeypatch
    ):
        """The updates were not cancelled yet, so the server will not send a first one again."""
        sub, first, second = x.subscribe(), Told(), Told()
        token = sub.add_callback(first)
        first.wait()
        really_reconcile = Subscription._reconcile

        def add_then_reconcile(self):
            monkeypatch.undo()
            self.add_callback(second)
            really_reconcile(self)

        monkeypatch.setattr(Subscription, "_reconcile", add_then_reconcile)
        sub.remove_callback(token)
        assert second.wait() == [1.5]
        server.post("x", 2.0)
        flush(x)
        assert second.values == [1.5, 2.0] and first.values == [1.5]

    def test_wish_and_fact_agree_after_a_quarrel(self, server, x):
        """Threads add and remove at random; what is left in the end is what the server does."""
        sub = x.subscribe()
        told = [Told() for _ in range(4)]

        def quarrel(mine):
            for _ in range(100):
                sub.remove_callback(sub.add_callback(mine))

        threads = [threading.Thread(target=quarrel, args=(mine,)) for mine in told]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        flush(x)
        assert server.wished("x") == 0 and not sub.callbacks
        last = Told()
        sub.add_callback(last)
        assert last.wait() == [1.5]
        assert server.wished("x") == 1


class TestConnections:
    def test_added_before_the_pv_is_connected(self, server, ctx, wait_for):
        server.answers = lambda search: False
        (x,) = ctx.get_pvs("x")
        told, removed = Told(), Told()
        sub = x.subscribe()
        sub.add_callback(told)
        sub.remove_callback(sub.add_callback(removed))
        assert "wanted" in repr(sub) and list(sub.callbacks.values()) == [told]
        wait_for(lambda: server.searches)
        server.answers = lambda search: True
        ctx.broadcaster.search_now()
        assert told.wait() == [1.5]
        assert not removed.responses and len(server.received(EventAddRequest)) == 1

    @item(40)
    def test_it_survives_the_loss_of_the_circuit(self, server, x, wait_for):
        told = Told()
        x.subscribe().add_callback(told)
        told.wait()
        server.pvs["x"].value = 6.0
        server.drop_all()
        assert told.wait(2) == [1.5, 6.0]
        server.post("x", 7.0)
        flush(x)
        assert told.values == [1.5, 6.0, 7.0]
        assert len(server.connections) == 2 and server.wished("x") == 1

    def test_changes_of_mind_during_a_loss_are_not_forgotten(self, server, ctx, wait_for):
        x, y = ctx.get_pvs("x", "y")
        for pv in (x, y):
            pv.wait_for_connection()
        kept, added = Told(), Told()
        token = x.subscribe().add_callback(kept)
        kept.wait()
        server.answers = lambda search: False
        server.drop_all()
        wait_for(lambda: not x.connected and not y.connected)
        x.subscribe().remove_callback(token)
        y.subscribe().add_callback(added)
        server.answers = lambda search: True
        ctx.broadcaster.search_now()
        added.wait()
        x.wait_for_connection()
        flush(x)
        assert (server.wished("x"), server.wished("y")) == (0, 1)
        assert len(kept.responses) == 1

    def test_a_late_callback_added_during_a_loss_gets_the_new_series(
        self, server, ctx, x, wait_for
    ):
        sub, first, late = x.subscribe(), Told(), Told()
        sub.add_callback(first)
        first.wait()
        server.answers = lambda search: False
        server.drop_all()
        wait_for(lambda: not x.connected)
        sub.add_callback(late)
        server.pvs["x"].value = 6.0
        server.answers = lambda search: True
        ctx.broadcaster.search_now()
        assert late.wait() == [6.0]
        assert first.wait(2) == [1.5, 6.0]

    @item(56)
    def test_a_server_that_refuses_updates_is_reported_once_and_may_resume(
        self, server, x, caplog
    ):
        told = Told()
        x.subscribe().add_callback(told)
        told.wait()
        (request,) = server.received(EventAddRequest)
        for _ in range(2):
            server.connection.send_raw(
                EventAddResponse(b"", ChannelType.DOUBLE, 0, 368, request.subscriptionid)
            )
        flush(x)
        (record,) = [r for r in caplog.records if "no updates" in r.getMessage()]
        assert "'x'" in record.getMessage() and "ECA_NORDACCESS" in record.getMessage()
        server.post("x", 2.0)
        flush(x)
        assert told.values == [1.5, 2.0]

    def test_after_the_end_of_the_context_no_callback_can_be_added(self, ctx, x):
        sub, told = x.subscribe(), Told()
        sub.add_callback(told)
        told.wait()
        ctx.disconnect()
        with pytest.raises(ContextDisconnectedError):
            sub.add_callback(told)
        assert len(sub.callbacks) == 1
        sub.clear()  # no error: there is nothing to be done
        assert not sub.callbacks


def test_a_token_that_was_never_given_is_an_error(ctx):
    sub = ctx.get_pvs("x")[0].subscribe()
    with pytest.raises(CaprotoKeyError):
        sub.remove_callback(0)


def test_its_states_can_be_told_apart(x, wait_for):
    sub, told = x.subscribe("time"), Told()
    assert "'x'" in repr(sub) and "idle, time, value|alarm, 0" in repr(sub)
    sub.add_callback(told)
    wait_for(lambda: "active, time, value|alarm, 1 callback>" in repr(sub))
    sub.clear()
    wait_for(lambda: "idle, time" in repr(sub))


def test_its_facts(x):
    sub = x.subscribe("time", 1, 0.5, 1.5, 2.5, 4)
    assert sub.pv is x and sub.log is x.log
    assert (sub.data_type, sub.data_count) == ("time", 1)
    assert (sub.low, sub.high, sub.to) == (0.5, 1.5, 2.5)
    assert sub.mask is SubscriptionType.DBE_ALARM
