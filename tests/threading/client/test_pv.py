"""What a PV tells about itself, and waiting for it. Reading, writing, idleness: test_pv_*."""
from __future__ import annotations

import copy
import fractions
import pickle
import re
import socket
import threading
import time

import numpy
import pytest

from caproto import (
    AccessRights,
    CaprotoTypeError,
    CaprotoValueError,
    ChannelType,
    CreateChanRequest,
    EchoRequest,
    LogFormatter,
    PVFilter,
    ReadNotifyRequest,
    VirtualCircuit,
)
from caproto._log import RECEIVED, SENT
from caproto.threading.client import (
    PV,
    CaprotoTimeoutError,
    Context,
    ContextDisconnectedError,
    VirtualCircuitManager,
)
from tests.harness.fake_server import FakePV, FakeServer, ignore
from tests.threading.client.told import Told, flush


@pytest.fixture
def x(ctx):
    (pv,) = ctx.get_pvs("x")
    pv.wait_for_connection()
    return pv


@pytest.fixture
def not_found(ctx):
    (pv,) = ctx.get_pvs("not there")
    return pv


@pytest.fixture
def connecting(start_server, wait_for):
    """A PV whose server can be found, and neither accepts nor refuses a connection."""
    server = start_server({"x": 1.5})
    server.stop_tcp()
    full, *others = [socket.socket() for _ in range(4)]
    full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    full.bind(server.address)
    full.listen(0)
    for other in others:
        other.setblocking(False)
        other.connect_ex(server.address)
    with Context(configuration=server.configuration, timeout=5) as ctx:
        (pv,) = ctx.get_pvs("x")
        pv.wait_for_search()
        yield pv
    for sock in (full, *others):
        sock.close()


@pytest.fixture
def creating(server, ctx):
    """A PV whose server does not answer the wish for a channel."""
    server.on[CreateChanRequest] = ignore
    (pv,) = ctx.get_pvs("x")
    server.wait_for(CreateChanRequest)
    return pv


@pytest.fixture
def unresponsive(server, wait_for):
    """A PV whose server has been silent for long."""
    configuration = server.configuration.replace(conn_tmo=0.1)
    with Context(configuration=configuration, timeout=5) as ctx:
        (pv,) = ctx.get_pvs("x")
        pv.wait_for_connection()
        pv.circuit_manager._circuit.session.heartbeat.echo_timeout = 0.1
        server.on[EchoRequest] = ignore
        server.on[ReadNotifyRequest] = ignore
        wait_for(lambda: "no response" in repr(pv))
        yield pv


class TestStates:
    """Each is shown by the repr, is told by facts, and named when a timeout is over."""

    def check(self, pv, state, connected=False):
        assert repr(pv).startswith(f"<PV {pv.name!r}: ") and state in repr(pv)
        assert pv.connected is connected
        if not connected:
            assert pv.access_rights is None
            for operation in (
                lambda: pv.wait_for_connection(timeout=0.05),
                lambda: pv.read(timeout=0.05),
                lambda: pv.write(1.0, timeout=0.05),
                lambda: pv.read(wait=False, timeout=0.05),
                lambda: pv.time_since_last_heard(timeout=0.05),
            ):
                with pytest.raises(CaprotoTimeoutError) as caught:
                    operation()
                text = str(caught.value)
                assert repr(pv.name) in text and "0.05 s" in text
                yield text

    def test_searching(self, ctx, not_found):
        for text in self.check(not_found, "searching for "):
            assert "not found" in text and "127.0.0.1" in text
        assert not_found.channel is None and not_found.circuit_manager is None
        assert "1 search pending" in repr(ctx)

    def test_connecting(self, connecting):
        port = connecting.context.configuration.server_port
        for text in self.check(connecting, f"connecting to 127.0.0.1:{port}"):
            assert "was found" in text and f"connecting to 127.0.0.1:{port}" in text
        assert connecting.channel is not None

    def test_channel_being_created(self, server, creating):
        for text in self.check(creating, "waiting for"):
            assert f"waiting for 127.0.0.1:{server.port} to create the channel" in text
            assert re.search(r"last heard \d+\.\d s ago", text)

    def test_unresponsive(self, server, unresponsive):
        for text in self.check(unresponsive, f"no response from 127.0.0.1:{server.port}"):
            assert f"no response from 127.0.0.1:{server.port}" in text
            assert re.search(r"last heard \d+\.\d s ago", text)

    def test_connected(self, server, ctx, x):
        assert not list(self.check(x, f"connected to 127.0.0.1:{server.port}", connected=True))
        assert "DOUBLE x 1, READ|WRITE" in repr(x)
        (wave, readonly) = ctx.get_pvs("wave", "readonly")
        for pv in (wave, readonly):
            pv.wait_for_connection()
        assert "LONG x 10" in repr(wave) and "READ>" in repr(readonly)

    def test_no_access(self, server, ctx):
        server.pvs["secret"] = FakePV(1.0, rights=0)
        (pv,) = ctx.get_pvs("secret")
        pv.wait_for_connection()
        assert "no access" in repr(pv) and pv.access_rights == AccessRights.NO_ACCESS

    def test_lost(self, server, ctx, x, wait_for):
        server.answers = lambda search: False
        server.drop_all()
        wait_for(lambda: "searching for" in repr(x))  # the Context hears of it a moment later
        for text in self.check(x, "searching for "):
            assert f"found at 127.0.0.1:{server.port}, but it failed 0." in text
            assert text.endswith(" s ago: Connection reset by peer; searching again")

    def test_found_in_vain(self, server, ctx, wait_for):
        """The server answers searches, but refuses the connection."""
        server.stop_tcp()
        (x,) = ctx.get_pvs("x")
        wait_for(lambda: (last := ctx.explain(x).last_failure) and last.failures == 3)
        # Now it is left alone for a second.
        for text in self.check(x, "searching for "):
            assert f"found at 127.0.0.1:{server.port}, but it failed " in text
            assert "Connection refused" in text

    def test_refused(self, server, ctx, wait_for):
        """The server answers searches, but does not create the channel."""
        server.on[CreateChanRequest] = lambda connection, command: connection.send(
            connection.circuit.channels[command.cid].create_fail()
        )
        (x,) = ctx.get_pvs("x")
        wait_for(lambda: ctx.explain(x).last_failure)
        for text in self.check(x, "searching for "):
            assert text.endswith(" s ago: the server dropped it; searching again")

    def test_closed(self, ctx, x):
        ctx.disconnect()
        assert "Context is closed" in repr(x) and not x.connected
        for operation in (x.read, x.wait_for_connection, x.time_since_last_heard):
            with pytest.raises(ContextDisconnectedError, match="'x': the Context was disconnected"):
                operation()
        with pytest.raises(ContextDisconnectedError, match="'x': "):
            x.write(1.0)
        with pytest.raises(ContextDisconnectedError, match="'x': "):
            x.subscribe().add_callback(print, strong=True)


class TestFacts:
    def test_of_a_connected_pv(self, server, ctx, x):
        assert isinstance(x, PV)
        assert (x.name, x.priority, x.context) == ("x", 0, ctx)
        assert x.access_rights == AccessRights.READ | AccessRights.WRITE
        assert isinstance(x.circuit_manager, VirtualCircuitManager)
        assert isinstance(x.circuit_manager.circuit, VirtualCircuit)
        assert x.circuit_manager.circuit.address == server.address
        assert x.channel.name == "x" and x.channel.native_data_count == 1
        assert x.channel.native_data_type is ChannelType.DOUBLE
        assert x.subscriptions == []

    def test_the_timeout_is_that_of_the_context_unless_it_was_set(self, ctx):
        own, never, default = (
            ctx.get_pvs("a", timeout=7)[0],
            ctx.get_pvs("b", timeout=None)[0],
            ctx.get_pvs("c")[0],
        )
        assert (own.timeout, never.timeout, default.timeout) == (7, None, 5)
        ctx.timeout = 3
        assert (own.timeout, never.timeout, default.timeout) == (7, None, 3)
        default.timeout = 1.5
        assert default.timeout == 1.5
        for seconds in (numpy.float32(1.5), fractions.Fraction(3, 2)):
            default.timeout = seconds
            assert default.timeout == 1.5 and type(default.timeout) is float
        with pytest.raises(CaprotoValueError):
            default.timeout = -1
        with pytest.raises(CaprotoTypeError):
            default.timeout = "1"
        assert default.timeout == 1.5

    def test_the_logger_is_one_of_its_own_and_silent(self, ctx, x, wait_for, caplog):
        (y,) = ctx.get_pvs("y")
        assert x.log is x.log is not y.log
        x.log.setLevel("DEBUG")
        x.log.debug("a message")
        y.log.debug("not to be seen")
        (record,) = caplog.records
        assert record.pv == "x" and record.name == "caproto.ch"

    def test_at_debug_level_it_logs_its_own_commands(self, server, ctx, wait_for, caplog):
        x, y = ctx.get_pvs("x", "y")
        y.wait_for_connection()
        x.log.setLevel("DEBUG")
        told = Told()
        for pv in (x, y):
            pv.read()
            pv.write(3.5)
            pv.write(4.5, wait=False)
            sub = pv.subscribe()
            sub.add_callback(told)
            pv.read(notify=False)
        told.wait(2)
        seen = {
            (getattr(record, "direction", None), record.getMessage().partition("(")[0])
            for record in caplog.records
            if record.pv == "x" and record.name == "caproto.ch" and hasattr(record, "direction")
        }
        assert seen >= {
            (SENT, "ReadNotifyRequest"), (RECEIVED, "ReadNotifyResponse"),
            (SENT, "WriteNotifyRequest"), (RECEIVED, "WriteNotifyResponse"),
            (SENT, "WriteRequest"), (SENT, "ReadRequest"), (RECEIVED, "ReadResponse"),
            (SENT, "EventAddRequest"), (RECEIVED, "EventAddResponse"),
        }
        (sent,) = [r for r in caplog.records if "WriteNotifyRequest" in r.getMessage()]
        assert sent.their_address == server.address and sent.our_address[0] == "127.0.0.1"
        assert not [r for r in caplog.records if getattr(r, "pv", "") == "y"]
        caplog.clear()
        x.log.setLevel("WARNING")
        x.read()
        assert not caplog.records

    def test_the_records_of_its_circuit_name_it(self, server, ctx, caplog):
        handler = caplog.handler
        only_x = PVFilter("x", exclusive=True)
        handler.addFilter(only_x)
        try:
            with caplog.at_level("DEBUG", "caproto.circ"):
                for pv in ctx.get_pvs("x", "y"):
                    pv.read()
        finally:
            handler.removeFilter(only_x)
        kinds = [record.getMessage().partition("(")[0] for record in caplog.records]
        for kind in ("CreateChanRequest", "CreateChanResponse", "AccessRightsResponse"):
            assert kinds.count(kind) == 1
        assert kinds.count("ReadNotifyRequest") == kinds.count("ReadNotifyResponse") == 1
        lines = [LogFormatter().format(record) for record in caplog.records]
        assert all(line.count(" x ") + line.count("'x'") == 1 for line in lines), lines

    def test_at_debug_level_it_logs_its_connection(self, server, ctx, x, wait_for, caplog):
        x.log.setLevel("DEBUG")
        server.drop_all(graceful=True)
        wait_for(lambda: len(server.connections) == 2)
        x.wait_for_connection()
        flush(x)
        told = [
            r.getMessage() for r in caplog.records
            if getattr(r, "pv", None) == "x" and not hasattr(r, "direction")
        ]
        where = f"127.0.0.1:{server.port}"
        assert told == [f"disconnected, {where}", f"connected, {where}"]


class TestWaiting:
    def test_for_the_search(self, server, ctx, creating):
        """An answer is enough."""
        creating.wait_for_search(timeout=5)
        assert not creating.connected

    def test_for_the_search_in_vain(self, not_found):
        with pytest.raises(CaprotoTimeoutError, match="'not there' was not found within 0.05 s"):
            not_found.wait_for_search(timeout=0.05)

    def test_no_time_at_all(self, not_found, x):
        x.wait_for_connection(timeout=0)
        x.wait_for_search(timeout=0)
        with pytest.raises(CaprotoTimeoutError):
            not_found.wait_for_connection(timeout=0)

    @pytest.mark.parametrize("timeout", [10, None])
    def test_many_threads_wake_up_together(self, server, ctx, wait_for, timeout):
        server.answers = lambda search: False
        (x,) = ctx.get_pvs("x")
        woken = []

        def wait(number):
            (x.wait_for_connection if number % 2 else x.wait_for_search)(timeout=timeout)
            woken.append(number)

        threads = [threading.Thread(target=wait, args=(n,)) for n in range(10)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(x._waiters or ()) == 10)
        assert not woken
        server.answers = lambda search: True
        ctx.broadcaster.search_now()
        for thread in threads:
            thread.join(10)
        assert sorted(woken) == list(range(10))

    def test_the_end_of_the_context_wakes_them_all(self, ctx, not_found, wait_for):
        errors = []

        def wait(method):
            try:
                method(timeout=None)
            except ContextDisconnectedError as error:
                errors.append(error)

        threads = [
            threading.Thread(target=wait, args=(method,))
            for method in (not_found.wait_for_search, not_found.wait_for_connection)
        ]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(not_found._waiters or ()) == 2)
        ctx.disconnect()
        for thread in threads:
            thread.join(10)
        assert len(errors) == 2

    def test_who_gives_up_leaves_nothing_behind(self, not_found):
        for _ in range(20):
            with pytest.raises(CaprotoTimeoutError):
                not_found.wait_for_connection(timeout=0.001)
        assert not not_found._waiters


class TestLastHeard:
    def test_seconds_since_the_server_sent_anything(self, server, x, wait_for):
        start = time.monotonic()
        x.read()
        replied = time.monotonic()
        wait_for(lambda: time.monotonic() > replied + 0.05)
        assert 0.05 <= x.time_since_last_heard() <= time.monotonic() - start
        before = x.time_since_last_heard()
        x.read()
        assert x.time_since_last_heard() < before

    def test_an_update_counts(self, server, x, wait_for):
        told = Told()
        x.subscribe().add_callback(told)
        told.wait()
        start = time.monotonic()
        wait_for(lambda: time.monotonic() > start + 0.05)
        assert x.time_since_last_heard() >= 0.05
        before = time.monotonic()
        server.post("x", 2.0)
        flush(x)
        assert x.time_since_last_heard() <= time.monotonic() - before

    def test_it_waits_for_the_connection(self, ctx):
        (y,) = ctx.get_pvs("y")
        assert 0 <= y.time_since_last_heard() < 5
        assert y.connected


def test_many_pvs_share_the_circuit_of_their_priority(server, ctx):
    slow, fast = ctx.get_pvs("x", "y"), ctx.get_pvs("x", "y", priority=50)
    assert len({*slow, *fast}) == 4
    for pv in (*slow, *fast):
        pv.wait_for_connection()
    assert slow[0].circuit_manager is slow[1].circuit_manager
    assert fast[0].circuit_manager is fast[1].circuit_manager is not slow[0].circuit_manager
    assert sorted(c.circuit.priority for c in server.connections) == [0, 50]


def test_a_reconnection_may_change_everything(server, ctx, x, wait_for):
    """The server comes back on the same port with another type of the same name."""
    port = server.port
    server.stop()
    wait_for(lambda: not x.connected)
    with FakeServer({"x": FakePV([1, 2, 3], ChannelType.LONG)}, port=port):
        ctx.broadcaster.search_now()
        assert x.read(timeout=20).data.tolist() == [1, 2, 3]
        assert "LONG x 3" in repr(x)
        ctx.disconnect()


class TestCopies:
    @pytest.mark.parametrize("copy", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_what_has_connections_says_what_to_do_instead(self, ctx, x, copy):
        with pytest.raises(CaprotoTypeError, match=r"a PV cannot .* its name, 'x', and .*get_pvs"):
            copy(x)
        with pytest.raises(CaprotoTypeError, match="a Subscription cannot .* 'x'"):
            copy(x.subscribe())
        with pytest.raises(CaprotoTypeError, match="a Context cannot .* in each process"):
            copy(ctx)
