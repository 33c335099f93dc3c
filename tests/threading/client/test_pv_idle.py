"""Going idle: a request that never costs the user anything."""
from __future__ import annotations

import gc
import threading

import pytest

from caproto import (
    CAStatus,
    ClearChannelRequest,
    ErrorResponse,
    EventAddRequest,
    ReadNotifyRequest,
    WriteNotifyRequest,
    WriteRequest,
)
from caproto.threading.client._home import Home, home_of
from tests.conformance.items import item
from tests.harness.fake_server import FakePV, ignore
from tests.threading.client.told import Told, flush, hold_callbacks


@pytest.fixture
def x(ctx):
    (pv,) = ctx.get_pvs("x")
    pv.wait_for_connection()
    return pv


@pytest.fixture
def idle(x, wait_for):
    """x, idle."""
    x.go_idle()
    wait_for(lambda: "idle" in repr(x))
    return x


class TestIdle:
    @item(42, 43)
    def test_the_channel_is_given_back_and_the_empty_circuit_closed(self, server, ctx, x, wait_for):
        connection = server.connection
        x.go_idle()
        wait_for(lambda: not connection.open and "idle" in repr(x))
        assert [c.name for c in connection.circuit.channels.values()] == []
        assert len(connection.commands(ClearChannelRequest)) == 1
        assert not x.connected and x.channel is None and x.circuit_manager is None
        assert x.access_rights is None
        assert "idle" in repr(x) and "1 idle" in repr(ctx)
        wait_for(lambda: not ctx.circuit_managers)

    def test_others_on_the_circuit_go_on(self, server, ctx, x, wait_for):
        (y,) = ctx.get_pvs("y")
        told = Told()
        y.subscribe().add_callback(told)
        told.wait()
        x.go_idle()
        server.wait_for(ClearChannelRequest)
        server.post("y", 3.5)
        flush(y)
        assert told.values == [2.5, 3.5] and len(server.connections) == 1
        assert x.read().data[0] == 1.5
        assert len(server.connections) == 1

    def test_a_write_before_it_that_is_refused_is_logged_with_the_name(
        self, server, ctx, x, wait_for, caplog
    ):
        (y,) = ctx.get_pvs("y")
        y.wait_for_connection()  # or the circuit would be closed
        held = []
        server.on[WriteRequest] = lambda connection, command: held.append(command)

        def refuse(connection, command):
            connection.send(ErrorResponse(held[0], command.cid, CAStatus.ECA_PUTFAIL, ""))
            server.usual(connection, command)

        server.on[ClearChannelRequest] = refuse
        with caplog.at_level("WARNING", "caproto"):
            x.write(6.0, wait=False)
            x.go_idle()
            wait_for(lambda: caplog.records)
        assert caplog.records[0].getMessage().startswith("'x': the server refused a write: ECA_PUT")

    def test_it_stays_in_the_cache(self, ctx, idle):
        assert ctx.get_pvs("x") == [idle] and "idle" in repr(idle)

    def test_twice_is_once(self, server, ctx, x, wait_for):
        ctx.get_pvs("y")[0].wait_for_connection()
        x.go_idle()
        x.go_idle()
        wait_for(lambda: not x.connected)
        x.go_idle()
        ctx.get_pvs("y")[0].read()
        assert len(server.received(ClearChannelRequest)) == 1

    def test_it_is_told_to_state_callbacks(self, server, ctx, wait_for):
        states = []

        def state(pv, state):
            states.append((pv.name, state))

        (x,) = ctx.get_pvs("x", connection_state_callback=state)
        x.wait_for_connection()
        x.go_idle()
        wait_for(lambda: len(states) == 2)
        x.read()
        flush(x)
        assert states == [("x", "connected"), ("x", "disconnected"), ("x", "connected")]


    def test_its_channel_is_never_said_to_be_connecting(self, server, x, monkeypatch, wait_for):
        """Between the request to the server and the moment at which the PV becomes idle."""
        seen, really_idle = [], Home.pv_idle

        def pv_idle(self, manager, pv):
            seen.append((pv.connected, repr(pv)))
            return really_idle(self, manager, pv)

        monkeypatch.setattr(Home, "pv_idle", pv_idle)
        x.go_idle()
        wait_for(lambda: "idle" in repr(x))
        assert seen == [(False, "<PV 'x': idle>")]


class TestSearching:
    """A PV that no server has."""

    @pytest.fixture
    def lost(self, ctx, wait_for):
        pv = ctx.get_pv("nobody:has:this")
        wait_for(lambda: ctx.explain(pv).search.status is not None)
        return pv

    def test_its_search_ends(self, ctx, lost):
        lost.go_idle()
        assert "idle" in repr(lost) and "0 searches pending" in repr(ctx)
        search = ctx.explain(lost).search
        assert search.status is search.postponed is None

    def test_one_that_was_just_made(self, ctx):
        pv = ctx.get_pv("nobody:has:this:either")
        pv.go_idle()
        assert "idle" in repr(pv) and ctx.explain(pv).search.status is None

    def test_it_is_searched_again_when_it_is_used(self, server, ctx, lost):
        lost.go_idle()
        server.pvs["nobody:has:this"] = FakePV(4.5)
        assert lost.read().data[0] == 4.5

    def test_an_answer_that_comes_too_late_does_not_connect_it(self, server, ctx):
        server.answers = lambda search: False
        x, y = ctx.get_pvs("x", "y")
        x.go_idle()
        server.answers = lambda search: True
        y.wait_for_connection()
        ctx.broadcaster.search_now()
        y.read()
        assert "idle" in repr(x) and x.read().data[0] == 1.5

    def test_one_with_a_callback_goes_on(self, ctx, lost):
        told = Told()
        lost.subscribe().add_callback(told)
        lost.go_idle()
        assert "searching" in repr(lost) and ctx.explain(lost).search.status is not None

    def test_one_that_a_caller_waits_for_goes_on(self, server, ctx, lost, wait_for):
        reads = []
        thread = threading.Thread(target=lambda: reads.append(lost.read(timeout=10).data[0]))
        thread.start()
        wait_for(lambda: lost._waiters)
        lost.go_idle()
        assert "searching" in repr(lost)
        server.pvs["nobody:has:this"] = FakePV(4.5)
        ctx.broadcaster.search_now()
        thread.join()
        assert reads == [4.5]

    def test_inside_another_call_it_is_left_to_the_search_thread(self, ctx, lost, wait_for):
        with home_of(lost).lock:
            lost.go_idle()  # as a finalizer would
            assert "searching" in repr(lost)
        wait_for(lambda: "idle" in repr(lost))

    def test_after_the_end_of_the_context_it_does_nothing(self, ctx, lost):
        ctx.disconnect()
        lost.go_idle()
        assert "closed" in repr(lost)


class TestUsedAgain:
    @pytest.mark.parametrize(
        "use",
        [
            lambda pv: pv.read(),
            lambda pv: pv.read(wait=False),
            lambda pv: pv.write(2.0),
            lambda pv: pv.write(2.0, wait=False),
            lambda pv: pv.wait_for_search(),
            lambda pv: pv.wait_for_connection(),
            lambda pv: pv.time_since_last_heard(),
        ],
        ids="read, read later, write, write later, search, connection, heard".split(", "),
    )
    def test_it_connects_by_itself(self, server, idle, use):
        use(idle)
        idle.wait_for_connection()
        assert len(server.connections) == 2

    def test_also_for_a_subscription(self, server, idle):
        told = Told()
        idle.subscribe().add_callback(told)
        assert told.wait() == [1.5]
        assert idle.connected

    def test_again_and_again(self, server, x, wait_for):
        for number in range(20):
            x.go_idle()
            x.write(number)
            x.go_idle()
            assert x.read().data[0] == number

    def test_not_by_being_looked_at(self, server, ctx, idle):
        repr(idle), idle.connected, idle.subscribe(), idle.subscriptions, ctx.pvs
        (y,) = ctx.get_pvs("y")
        y.read()
        assert "idle" in repr(idle)
        assert [search.name for search in server.searches].count("x") == 1


class TestDeclined:
    def test_with_an_active_subscription(self, server, x):
        told, sub = Told(), x.subscribe()
        sub.add_callback(told)
        told.wait()
        x.go_idle()
        flush(x)  # the reader thread, which decides, has had its turn when the next reply comes
        server.post("x", 2.0)
        flush(x)
        assert told.values == [1.5, 2.0]
        assert x.connected and not server.received(ClearChannelRequest)

    @pytest.mark.parametrize("how", ["clear", "die"])
    def test_until_the_last_callback_is_gone(self, server, x, wait_for, how):
        told, sub = Told(), x.subscribe()
        sub.add_callback(told)
        told.wait()
        x.go_idle()
        if how == "clear":
            sub.clear()
        else:
            del told
            gc.collect()
            flush(x)
        assert x.connected  # it was declined, not postponed
        x.go_idle()
        wait_for(lambda: not x.connected)

    def test_after_the_end_of_the_context(self, ctx, x):
        ctx.disconnect()
        x.go_idle()
        assert not x.connected


class TestOperationsUnderWay:
    @pytest.mark.parametrize("kind", [ReadNotifyRequest, WriteNotifyRequest])
    def test_are_finished_first(self, server, ctx, x, wait_for, kind):
        held, told = [], Told()
        server.on[kind] = lambda *command: held.append(command)
        if kind is ReadNotifyRequest:
            x.read(wait=False, callback=told)
        else:
            x.write(2.0, wait=False, callback=told)
        x.go_idle()
        ctx.get_pvs("text")[0].write("barrier", wait=False)
        ctx.get_pvs("text")[0].read(notify=False)
        assert not server.received(ClearChannelRequest) and not told.responses
        wait_for(lambda: held)
        server.usual(*held[0])
        told.wait_for_calls(1)
        server.wait_for(ClearChannelRequest)
        wait_for(lambda: not x.connected)

    def test_their_callbacks_are_called_although_the_circuit_closes(self, server, x, wait_for):
        told = Told()
        with hold_callbacks(x):
            for _ in range(10):
                x.read(wait=False, callback=told)
            x.go_idle()
            wait_for(lambda: not server.connection.open)
            assert not told.responses
        told.wait_for_calls(10)

    def test_whose_time_is_over_hinder_nobody(self, server, x, wait_for):
        server.on[ReadNotifyRequest] = ignore
        with pytest.raises(TimeoutError):
            x.read(timeout=0.02)
        x.go_idle()
        wait_for(lambda: not x.connected)

    def test_also_when_it_becomes_over_later(self, server, x, wait_for):
        """No message comes any more at which one might notice."""
        server.on[ReadNotifyRequest] = ignore
        thread = threading.Thread(target=lambda: pytest.raises(TimeoutError, x.read, timeout=0.2))
        thread.start()
        server.wait_for(ReadNotifyRequest)
        x.go_idle()
        thread.join(10)
        wait_for(lambda: not x.connected)

    def test_a_wish_that_comes_meanwhile_is_preferred(self, server, x, wait_for):
        held, replies, told = [], Told(), Told()
        server.on[ReadNotifyRequest] = lambda *command: held.append(command)
        x.read(wait=False, callback=replies)
        x.go_idle()
        x.subscribe().add_callback(told)
        told.wait()
        wait_for(lambda: held)
        server.on.clear()
        server.usual(*held[0])
        replies.wait()
        flush(x)
        assert x.connected and not server.received(ClearChannelRequest)


class TestRaces:
    """The channel was given back, but the PV does not know it yet: then comes a wish."""

    @pytest.fixture
    def in_the_gap(self, monkeypatch):
        """``in_the_gap(function)``: have it called once in that moment."""

        def arrange(function):
            really_idle = Home.pv_idle

            def pv_idle(self, manager, pv):
                monkeypatch.undo()
                function()
                return really_idle(self, manager, pv)

            monkeypatch.setattr(Home, "pv_idle", pv_idle)

        return arrange

    def test_a_callback(self, server, x, in_the_gap):
        told = Told()
        in_the_gap(lambda: x.subscribe().add_callback(told))
        x.go_idle()
        assert told.wait() == [1.5]
        assert len(server.received(EventAddRequest)) == 1

    def test_a_read(self, server, x, in_the_gap, wait_for):
        values = []
        thread = threading.Thread(target=lambda: values.append(x.read().data[0]))

        def read():
            thread.start()
            wait_for(lambda: x._waiters)

        in_the_gap(read)
        x.go_idle()
        wait_for(lambda: values)
        thread.join(10)
        assert values == [1.5]

    def test_a_write(self, server, x, in_the_gap, wait_for):
        thread = threading.Thread(target=lambda: x.write(2.0))

        def write():
            thread.start()
            wait_for(lambda: x._waiters)

        in_the_gap(write)
        x.go_idle()
        wait_for(lambda: server.pvs["x"].value == 2.0)
        thread.join(10)
        assert len(server.received(WriteNotifyRequest)) == 1

    def test_no_wish_is_lost_in_a_quarrel(self, server, ctx, x, wait_for):
        """Some use the PV while another one sends it away all the time."""
        done, failed = threading.Event(), []
        sub = x.subscribe()

        def idler():
            while not done.is_set():
                x.go_idle()

        def guarded(function):
            def work():
                try:
                    for _ in range(40):
                        function()
                except Exception as error:
                    failed.append(error)

            return work

        def watch():
            told = Told()
            token = sub.add_callback(told)
            told.wait()
            sub.remove_callback(token)

        threads = [
            threading.Thread(target=guarded(function))
            for function in (lambda: x.read(timeout=20), lambda: x.write(1.5, timeout=20), watch)
        ]
        sender = threading.Thread(target=idler)
        for thread in (sender, *threads):
            thread.start()
        for thread in threads:
            thread.join(60)
        done.set()
        sender.join(10)
        assert not failed
        last = Told()
        sub.add_callback(last)
        assert last.wait() == [1.5]
        flush(x)
        assert server.wished("x") == 1 and len(server.open_connections) == 1
