"""A Context: PVs by name, shared broadcasters, the end, and what is refused."""
from __future__ import annotations

import gc
import getpass
import logging
import os
import socket
import threading
import time
import weakref
from functools import partial

import numpy as np
import pytest

from caproto import (
    Beacon,
    CaprotoTypeError,
    CaprotoValueError,
    ClientNameRequest,
    CreateChanRequest,
    EventAddRequest,
    HostNameRequest,
    ReadNotifyRequest,
    VersionRequest,
)
from caproto._client.backoff import LONGEST_PAUSE, Loss
from caproto._client.beacons import BeaconTable, Verdict
from caproto.threading.client import (
    PV,
    Context,
    ContextDisconnectedError,
    SharedBroadcaster,
    VirtualCircuitManager,
)
from caproto.threading.client._circuit import ClientCircuit
from tests.conformance.items import item
from tests.harness.fake_server import ignore
from tests.harness.leaks import our_threads
from tests.threading.client.told import Told, flush, hold_callbacks


class TestGetPVs:
    def test_it_returns_at_once_one_pv_for_each_name_in_order(self, server, ctx):
        server.answers = lambda search: False
        start = time.monotonic()
        pvs = ctx.get_pvs("c", "a", "b")
        assert time.monotonic() - start < 2
        assert isinstance(pvs, list) and [pv.name for pv in pvs] == ["c", "a", "b"]
        assert all(isinstance(pv, PV) and pv.context is ctx for pv in pvs)
        assert ctx.get_pvs() == []

    def test_the_same_name_and_priority_is_the_same_pv(self, ctx):
        (x,) = ctx.get_pvs("x")
        assert ctx.get_pvs("x", "x") == [x, x]
        (other,) = ctx.get_pvs("x", priority=1)
        assert other is not x and other.priority == 1
        assert ctx.pvs == {("x", 0): x, ("x", 1): other}

    @item(20, 33)
    def test_from_16_threads_at_once(self, server, ctx):
        names = [f"n{i}" for i in range(50)]
        server.pvs.update((name, server.pvs["x"]) for name in names)
        barrier, found = threading.Barrier(16), []

        def get():
            barrier.wait(10)
            found.append(tuple(ctx.get_pvs(*names)))

        threads = [threading.Thread(target=get) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(found) == 16 and len(set(found)) == 1
        for pv in found[0]:
            assert pv.read().data[0] == 1.5
        assert len(server.received(CreateChanRequest)) == 50
        assert len(server.connections) == 1

    def test_what_is_impossible_raises_at_the_call_and_leaves_nothing(self, ctx):
        for arguments, options, error in (
            ((5,), {}, CaprotoTypeError),
            ((b"bytes",), {}, CaprotoTypeError),
            ((["a", "list"],), {}, CaprotoTypeError),
            (("",), {}, CaprotoValueError),
            (("n" * 992,), {}, CaprotoValueError),
            (("n.{" + "x" * 1000 + "}",), {}, CaprotoValueError),
            (("zero\0byte",), {}, CaprotoValueError),
            (("half\ud800",), {}, CaprotoValueError),
            ((), {"priority": -1}, CaprotoValueError),
            ((), {"priority": 100}, CaprotoValueError),
            ((), {"priority": 1.0}, CaprotoTypeError),
            ((), {"priority": True}, CaprotoTypeError),
            ((), {"timeout": -1}, CaprotoValueError),
            ((), {"timeout": "1"}, CaprotoTypeError),
            ((), {"connection_state_callback": 5}, CaprotoTypeError),
            ((), {"access_rights_callback": "text"}, CaprotoTypeError),
            ((), {"connection_state_callback": lambda state: None}, CaprotoTypeError),
            ((), {"access_rights_callback": lambda: None}, CaprotoTypeError),
        ):
            with pytest.raises(error):
                ctx.get_pvs("x", *arguments, **options)
                pytest.fail(f"{arguments} {options}")
            assert not ctx.pvs
        assert ctx.get_pvs("x")[0].read().data[0] == 1.5

    def test_a_callback_that_cannot_be_held_weakly_leaves_nothing(self, ctx):
        class Slotted:
            __slots__ = ()

            def __call__(self, pv, state):
                pass

        with pytest.raises(CaprotoTypeError, match="weakly"):
            ctx.get_pvs("x", connection_state_callback=Slotted())
        assert not ctx.pvs

    def test_the_longest_names(self, server, ctx):
        for name in ("n" * 60 + ".VAL", "n" * 991, "ü" * 495):
            server.pvs[name] = server.pvs["x"]
            assert ctx.get_pvs(name)[0].read().data[0] == 1.5
        with pytest.raises(CaprotoValueError, match="991 bytes that fit in a search datagram"):
            ctx.get_pvs("x", "n" * 992)
        assert "x" not in {key[0] for key in ctx.pvs}

    def test_names_that_are_not_ascii(self, server, ctx):
        server.pvs["größe:µ"] = server.pvs["x"]
        assert ctx.get_pvs("größe:µ")[0].read().data[0] == 1.5


class TestConstructor:
    def test_what_is_impossible_raises_and_names_the_argument(self, server):
        for options, error in (
            ({"broadcaster": "text"}, CaprotoTypeError),
            ({"configuration": {"addr_list": []}}, CaprotoTypeError),
            ({"timeout": -1}, CaprotoValueError),
            ({"timeout": "1"}, CaprotoTypeError),
            ({"host_name": 5}, CaprotoTypeError),
            ({"client_name": 5}, CaprotoTypeError),
            ({"client_name": "zero\0byte"}, CaprotoValueError),
            ({"host_name": "half\ud800"}, CaprotoValueError),
            ({"max_workers": 0}, CaprotoValueError),
            ({"max_workers": "1"}, CaprotoTypeError),
        ):
            with pytest.raises(error, match=next(iter(options))):
                Context(**{"configuration": server.configuration, **options})

    def test_the_default_timeout(self, server, monkeypatch):
        monkeypatch.delenv("CAPROTO_DEFAULT_TIMEOUT", raising=False)
        with Context(configuration=server.configuration) as ctx:
            assert ctx.timeout == 2.0
        with Context(configuration=server.configuration, timeout=None) as ctx:
            assert ctx.timeout is None
        monkeypatch.setenv("CAPROTO_DEFAULT_TIMEOUT", "7.5")
        with Context(configuration=server.configuration) as ctx:
            assert ctx.timeout == ctx.get_pvs("x")[0].timeout == 7.5
        with Context(configuration=server.configuration, timeout=1) as ctx:
            assert ctx.timeout == 1

    def test_a_default_timeout_that_is_none(self, server, monkeypatch):
        for text in ("soon", "", "-1"):
            monkeypatch.setenv("CAPROTO_DEFAULT_TIMEOUT", text)
            with pytest.raises(CaprotoValueError, match=f"CAPROTO_DEFAULT_TIMEOUT.*{text!r}$"):
                Context(configuration=server.configuration)

    @item(31)
    def test_servers_are_told_who_and_where_we_are(self, server):
        with Context(
            configuration=server.configuration, host_name="our-host", client_name="me"
        ) as ctx:
            assert (ctx.host_name, ctx.client_name) == ("our-host", "me")
            ctx.get_pvs("x", priority=7)[0].read(timeout=10)
        version, client, host, create = server.connection.received[:4]
        assert isinstance(version, VersionRequest)
        assert (version.priority, version.version) == (7, 13)
        assert isinstance(client, ClientNameRequest) and client.name == "me"
        assert isinstance(host, HostNameRequest) and host.name == "our-host"
        assert isinstance(create, CreateChanRequest) and create.name == "x"

    def test_by_default_this_host_and_this_user(self, server):
        with Context(configuration=server.configuration) as ctx:
            assert ctx.host_name == socket.gethostname()
            assert ctx.client_name == getpass.getuser()

    def test_a_user_without_a_passwd_entry_is_no_error(self, server, monkeypatch):
        for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(os, "getuid", lambda: 123456789)
        with Context(configuration=server.configuration) as ctx:
            assert ctx.client_name
            assert ctx.get_pvs("x")[0].read(timeout=10).data[0] == 1.5

    def test_the_environment_is_the_default(self, server, monkeypatch):
        for name, text in server.environ.items():
            monkeypatch.setenv(name, text)
        with Context() as ctx:
            assert ctx.get_pvs("x")[0].read(timeout=10).data[0] == 1.5


class TestFacts:
    def test_the_repr_counts(self, server, ctx, wait_for):
        assert repr(ctx) == "<Context: 0 searches pending, 0 circuits, 0 PVs (0 idle)>"
        x, y, *_ = ctx.get_pvs("x", "y", "not there", "nor this")
        for pv in (x, y):
            pv.wait_for_connection()
        assert "2 searches pending, 1 circuit, 4 PVs (0 idle)" in repr(ctx)
        x.go_idle()
        wait_for(lambda: "(1 idle)" in repr(ctx))
        ctx.disconnect()
        assert "disconnected" in repr(ctx) and ctx.closed

    def test_circuits_by_address_and_priority(self, server, ctx):
        assert ctx.circuit_managers == {}
        for priority in (0, 3):
            ctx.get_pvs("x", priority=priority)[0].wait_for_connection()
        managers = ctx.circuit_managers
        assert set(managers) == {(server.address, 0), (server.address, 3)}
        assert all(isinstance(manager, VirtualCircuitManager) for manager in managers.values())

    def test_its_tables_are_copies(self, ctx):
        ctx.get_pvs("x")[0].wait_for_connection()
        ctx.pvs.clear()
        ctx.circuit_managers.clear()
        assert len(ctx.pvs) == len(ctx.circuit_managers) == 1

    def test_at_debug_level_it_reports_open_searches(self, server, ctx, caplog, monkeypatch):
        from caproto.threading.client import _search_service

        monkeypatch.setattr(_search_service, "REPORT_INTERVAL", 0.0)
        server.answers = lambda search: False
        ctx.log.setLevel("DEBUG")
        seen = threading.Event()
        handler = logging.Handler()
        handler.emit = lambda record: seen.set() if "an answer: 3" in record.getMessage() else None
        ctx.log.addHandler(handler)
        ctx.get_pvs("a", "b", "c")
        assert seen.wait(10)

    @item(26)
    def test_a_second_server_of_a_name_is_reported_and_not_used(
        self, server, start_server, caplog, wait_for
    ):
        other = start_server({"x": 99.0})
        configuration = server.configuration.replace(addr_list=(server.address, other.address)
        )
        other.answers = lambda search: False
        with Context(configuration=configuration, timeout=10) as ctx:
            (x,) = ctx.get_pvs("x")
            assert x.read().data[0] == 1.5
            (search,) = [s for s in other.searches if s.name == "x"][:1]
            late = ctx.broadcaster._service.socket.socket.getsockname()[1]
            reply = other._broadcaster.send(other.search_reply(search))
            other._udp.sendto(reply, ("127.0.0.1", late))
            wait_for(lambda: caplog.records)
            (text,) = [r.getMessage() for r in caplog.records]
            assert "'x'" in text and str(server.port) in text and str(other.port) in text
            assert x.read().data[0] == 1.5 and not other.connections


class TestSharedBroadcaster:
    def test_one_serves_several_contexts(self, server):
        with Context(configuration=server.configuration) as first:
            broadcaster = first.broadcaster
            assert isinstance(broadcaster, SharedBroadcaster)
            with Context(broadcaster, timeout=10) as second:
                assert second.broadcaster is broadcaster
                (x,), (also_x,) = first.get_pvs("x"), second.get_pvs("x")
                assert x is not also_x
                assert x.read(timeout=10).data[0] == also_x.read().data[0] == 1.5
                names = [thread.name for thread in our_threads()]
                assert names.count("ca-udp") == 1
            # a borrowed one survives
            assert not also_x.connected and x.connected
            assert first.get_pvs("y")[0].read(timeout=10).data[0] == 2.5

    def test_one_that_was_disconnected_is_refused(self, server):
        broadcaster = SharedBroadcaster(configuration=server.configuration)
        broadcaster.disconnect()
        broadcaster.disconnect()
        with pytest.raises(ContextDisconnectedError):
            Context(broadcaster)

    def test_who_borrows_it_does_not_close_it(self, server):
        broadcaster = SharedBroadcaster(configuration=server.configuration)
        for _ in range(2):
            with Context(broadcaster, timeout=10) as ctx:
                assert ctx.get_pvs("x")[0].read().data[0] == 1.5
        assert "ca-udp" in [thread.name for thread in our_threads()]
        broadcaster.disconnect()

    def test_it_knows_when_servers_were_heard(self, server, ctx):
        assert ctx.broadcaster.time_since_last_heard() == {}
        ctx.get_pvs("x")[0].read()
        (address, seconds), = ctx.broadcaster.time_since_last_heard().items()
        assert address == server.address and 0 <= seconds < 10

    @item(29)
    def test_it_knows_of_circuits_made_and_lost(self, server, ctx, wait_for, monkeypatch):
        """A server that is restarted counts its beacons anew; they are no late ones for that."""
        verdicts: list[Verdict] = []
        judge = BeaconTable.beacon

        def note(table, *facts):
            verdicts.append(judge(table, *facts))
            return verdicts[-1]

        def send_beacon(number: int) -> Verdict:
            known = len(verdicts)
            client = server.searches[0].sender_address
            server._udp.sendto(bytes(Beacon(13, server.port, number)), client)
            wait_for(lambda: len(verdicts) > known)
            return verdicts[-1]

        monkeypatch.setattr(BeaconTable, "beacon", note)
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        assert send_beacon(100) is Verdict.SUSPECT, "the first one, of a server that we know"
        assert send_beacon(99) is Verdict.DISCARDED
        with Context(ctx.broadcaster, timeout=10) as other:
            other.get_pvs("x")[0].wait_for_connection()
        assert send_beacon(99) is Verdict.DISCARDED, "we still have a circuit to it"
        server.drop_all()
        wait_for(lambda: len(server.connections) == 3)
        x.wait_for_connection()
        assert send_beacon(0) is Verdict.SUSPECT, "the first one again"

    def test_what_is_over_is_forgotten(self, server, ctx, wait_for, monkeypatch):
        """The callbacks of each circuit come after those of the one before; then it is needless."""
        for loss in (Loss.BROKEN, Loss.USELESS):
            monkeypatch.setitem(LONGEST_PAUSE, loss, 0.01)
        (x,) = ctx.get_pvs("x")
        for number in range(1, 6):
            x.subscribe().add_callback(told := Told())
            told.wait()
            deliveries = x.circuit_manager._circuit.delivery
            server.drop_all()
            wait_for(lambda number=number: len(server.connections) == number + 1)
            x.wait_for_connection()
            wait_for(lambda over=deliveries: over.over)
        for priority in range(1, 6):
            (other,) = ctx.get_pvs("x", priority=priority)
            other.read()
            server.drop_all()
            other.read()
        wait_for(lambda: all(delivery.over for _, delivery in ctx._home._earlier))
        server.drop_all()
        other.read()
        assert len(ctx._home._earlier) <= len(ctx.pvs), "those of the last moment only"

    def test_what_waits_for_callbacks_is_dropped_with_the_context_whatever_came_between(
        self, server, wait_for
    ):
        """Updates of a circuit that was lost wait behind a slow callback; its successor, too."""
        told, busy, go_on = [], threading.Event(), threading.Event()

        def slow(response):
            told.append(response.data[0])
            busy.set()
            go_on.wait(10)

        ctx = Context(configuration=server.configuration, timeout=10)
        (x,) = ctx.get_pvs("x")
        x.subscribe().add_callback(slow)
        assert busy.wait(10)
        for value in (2.0, 3.0):
            server.post("x", value)
        x.read()  # what was sent before has been received
        server.drop_all()
        wait_for(lambda: len(server.connections) == 2)
        x.read()
        ctx.disconnect(wait=False)
        go_on.set()
        wait_for(lambda: not [t for t in our_threads() if t.name.startswith("ca-callback")])
        assert told == [1.5]


class TestDisconnect:
    def test_everything_ends(self, server, ctx, wait_for):
        x, nobody = ctx.get_pvs("x", "not there")
        told = Told()
        x.subscribe().add_callback(told)
        told.wait()
        assert our_threads()
        ctx.disconnect()
        assert not our_threads()
        assert ctx.closed and not x.connected and not nobody.connected
        wait_for(lambda: not server.connection.open)
        assert repr(ctx) == "<Context: closed (the Context was disconnected)>"
        with pytest.raises(ContextDisconnectedError, match="disconnected"):
            ctx.get_pvs("x")

    def test_twice(self, ctx):
        ctx.get_pvs("x")[0].wait_for_connection()
        ctx.disconnect()
        ctx.disconnect()
        ctx.disconnect(wait=False)

    def test_without_waiting(self, ctx, wait_for):
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        with hold_callbacks(x):
            ctx.disconnect(wait=False)
            assert not x.connected
        wait_for(lambda: not our_threads())

    @pytest.mark.parametrize("how", ["update", "reply", "state"])
    def test_from_a_callback(self, server, ctx, wait_for, how):
        done = threading.Event()

        def end(*_):
            ctx.disconnect()
            done.set()

        (x,) = ctx.get_pvs("x", connection_state_callback=end if how == "state" else None)
        if how != "state":
            x.wait_for_connection()
        if how == "update":
            x.subscribe().add_callback(end)
        elif how == "reply":
            x.read(wait=False, callback=end)
        assert done.wait(10)
        wait_for(lambda: not our_threads())
        assert not x.connected

    def test_with_ends_it_also_after_an_error(self, server):
        with pytest.raises(ZeroDivisionError):
            with Context(configuration=server.configuration) as ctx:
                assert ctx.get_pvs("x")[0].read(timeout=10).data[0] == 1.5
                raise ZeroDivisionError
        assert ctx.closed and not our_threads()

    def test_before_anything_was_done(self, server):
        with Context(configuration=server.configuration) as ctx:
            pass
        assert ctx.closed

    def test_callbacks_that_have_not_begun_are_dropped(self, server, ctx, wait_for):
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        told = Told()
        x.subscribe().add_callback(told)
        told.wait()
        with hold_callbacks(x):
            for value in range(5):
                server.post("x", float(value))
            x.read(callback=told)
            ctx.disconnect(wait=False)
        wait_for(lambda: not our_threads())
        assert told.values == [1.5]

    def test_at_once(self, server, ctx, wait_for, monkeypatch):
        """However long the circuit takes to close."""
        close, really_close = threading.Event(), ClientCircuit._close
        monkeypatch.setattr(
            ClientCircuit, "_close", lambda self: (close.wait(10), really_close(self))
        )
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        manager, told = x.circuit_manager, Told()
        x.subscribe().add_callback(told)
        told.wait()
        with hold_callbacks(x):
            server.post("x", 2.0)
            x.read()
            assert manager.backlog
            ctx.disconnect(wait=False)
        wait_for(lambda: not manager.backlog)
        close.set()
        assert told.values == [1.5]

    def test_also_those_of_a_circuit_that_was_lost_before(self, server, ctx, wait_for):
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        told = Told()
        x.subscribe().add_callback(told)
        told.wait()
        with hold_callbacks(x):
            server.post("x", 2.0)
            x.read()
            server.answers = lambda search: False
            server.drop_all()
            wait_for(lambda: not x.connected and not ctx.circuit_managers)
            ctx.disconnect(wait=False)
        wait_for(lambda: not our_threads())
        assert told.values == [1.5]

    def test_operations_whose_callbacks_will_not_come_are_no_news(self, server, ctx, caplog):
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        server.on[ReadNotifyRequest] = ignore
        for _ in range(10):
            x.read(wait=False, callback=print)
        ctx.disconnect()
        assert not caplog.records

    @item(43)
    def test_what_was_sent_before_arrives(self, server, ctx):
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        for value in range(200):
            x.write(value, wait=False)
        ctx.disconnect()
        server.stop()
        assert server.pvs["x"].value == 199


def print_with(ctx, response):
    print(ctx, response)


class TestNobodyRefersToIt:
    """A Context ends with the last reference to it, its PVs and its Subscriptions."""

    def end(self, wait_for):
        def ended():
            gc.collect()  # more than once: a callback may be running, and hold it for a moment
            return not our_threads()

        wait_for(ended, message=lambda: f"{our_threads()}")

    def test_unused(self, server, wait_for):
        Context(configuration=server.configuration)
        self.end(wait_for)

    def test_while_it_searches(self, server, wait_for):
        ctx = Context(configuration=server.configuration)
        ctx.get_pvs(*[f"n{i}" for i in range(100)])
        wait_for(lambda: server.searches)
        reference = weakref.ref(ctx)
        del ctx
        self.end(wait_for)
        assert reference() is None

    def test_connected_with_subscriptions_and_strong_callbacks(self, server, wait_for):
        ctx = Context(configuration=server.configuration)
        (x,) = ctx.get_pvs("x")
        told = Told()
        x.subscribe().add_callback(told)
        x.subscribe("time").add_callback(partial(print_with, ctx), strong=True)
        told.wait()
        del ctx, x
        self.end(wait_for)
        wait_for(lambda: not server.connection.open)

    def test_with_a_read_under_way(self, server, wait_for):
        ctx = Context(configuration=server.configuration)
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        server.on[ReadNotifyRequest] = ignore
        x.read(wait=False, callback=print)
        server.wait_for(ReadNotifyRequest)
        del ctx, x
        self.end(wait_for)

    @pytest.mark.parametrize("kept", ["pv", "subscription"])
    def test_pvs_and_subscriptions_keep_it_alive(self, server, wait_for, kept):
        (x,) = Context(configuration=server.configuration, timeout=10).get_pvs("x")
        sub, told = x.subscribe(), Told()
        sub.add_callback(told)
        told.wait()
        if kept == "pv":
            del sub
        else:
            del x
        gc.collect()
        server.post("x", 2.0)
        assert told.wait(2) == [1.5, 2.0]
        if kept == "pv":
            assert x.read().data[0] == 2.0
            del x
        else:
            del sub
        self.end(wait_for)

    def test_a_borrowed_broadcaster_forgets_it(self, server, wait_for):
        broadcaster = SharedBroadcaster(configuration=server.configuration)
        ctx = Context(broadcaster)
        ctx.get_pvs("not there", "x")[1].wait_for_connection(timeout=10)
        reference = weakref.ref(ctx)
        del ctx
        wait_for(lambda: gc.collect() is None or reference() is None)
        with Context(broadcaster, timeout=10) as other:
            assert other.get_pvs("x")[0].read().data[0] == 1.5
        broadcaster.disconnect()


class TestWorkers:
    def test_several_run_callbacks_at_the_same_time(self, server, wait_for):
        barrier, met = threading.Barrier(3), []
        with Context(configuration=server.configuration, max_workers=np.int64(3)) as ctx:
            (x,) = ctx.get_pvs("x")
            x.wait_for_connection(timeout=10)
            for _ in range(3):
                x.read(wait=False, callback=lambda response: met.append(barrier.wait(10)))
            wait_for(lambda: len(met) == 3)

    def test_one_keeps_the_order(self, server, ctx):
        (x,) = ctx.get_pvs("x")
        told = Told()
        x.subscribe().add_callback(told)
        told.wait()
        for number in range(100):
            server.post("x", float(number))
        flush(x)
        assert told.values == [1.5, *map(float, range(100))]
        assert len(server.received(EventAddRequest)) == 1


def test_wrong_addresses_and_keys_are_refused_at_the_call(server, ctx):
    for address in (None, ("localhost",), (["127.0.0.1"], 5064)):
        with pytest.raises(CaprotoTypeError, match="address"):
            ctx.get_circuit_manager(address, 0)
    for keys in (None, "x", [None], ["x"], [("x", 0, 1)]):
        with pytest.raises(CaprotoTypeError, match="keys"):
            ctx.reconnect(keys)
