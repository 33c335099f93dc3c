"""Whatever a server or the network does while a circuit is made or lives: the PVs come back."""
from __future__ import annotations

import errno
import logging
import socket
import threading
import time

import pytest

import caproto as ca
from caproto import CaprotoTimeoutError, ChannelType, DeadCircuitError
from caproto._client import backoff
from caproto._client.backoff import LONGEST_PAUSE, Loss
from caproto.threading.client import Context
from tests.conformance.items import item
from tests.harness.fake_server import FakePV, FakeServer, hang_up, ignore, reset


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    """Seconds after a refused connect (doubling) and after a refused channel; 0.25 and 5 really."""
    monkeypatch.setattr(backoff, "FIRST_PAUSE", 0.05)
    monkeypatch.setitem(LONGEST_PAUSE, Loss.REFUSED, 0.2)


def quiet(server: FakeServer, **changes) -> ca.ClientConfiguration:
    return server.configuration.replace(use_repeater=False, **changes)


def once(server: FakeServer, kind: type, handler) -> None:
    """Let *handler* deal with the next command of a kind, and things be as usual afterwards."""

    def first(connection, command):
        server.on.pop(kind, None)
        handler(connection, command)

    server.on[kind] = first


# ---- while it is made ------------------------------------------------------------------------


@item(41)
def test_refused_connects_are_tried_again_with_growing_delays(caplog, wait_for):
    with FakeServer({"x": 1.5}) as server:
        server.stop_tcp()
        with caplog.at_level(logging.WARNING, "caproto"):
            with Context(configuration=quiet(server), timeout=10) as ctx:
                (x,) = ctx.get_pvs("x")
                wait_for(lambda: len(caplog.records) >= 4)
                with pytest.raises(CaprotoTimeoutError, match="'x'"):
                    x.read(timeout=0.01)
                server.start_tcp()
                assert x.read().data[0] == 1.5
    moments = [record.created for record in caplog.records]
    pauses = [b - a for a, b in zip(moments, moments[1:], strict=False)]
    assert all(pause >= least for pause, least in zip(pauses, (0.04, 0.09, 0.19)))
    assert caplog.records[0].getMessage() == (
        f"Cannot connect to 127.0.0.1:{server.port}: Connection refused; 1 PV will be retried"
    )
    # No busy loop: one search and one attempt for each pause.
    assert len(server.searches) <= len(caplog.records) + 2


@pytest.fixture
def black_hole():
    """``black_hole(port)`` accepts connections only in the kernel's queue, which is full."""
    opened = []

    def start(port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        opened.append(listener)
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            opened.append(filler)
        return listener

    def stop() -> None:
        while opened:
            opened.pop().close()

    yield start, stop
    stop()


@item(41)
def test_a_connect_that_hangs_ends_and_is_tried_again(caplog, wait_for, black_hole):
    fill, drain = black_hole
    with FakeServer({"x": 1.5}) as server, FakeServer({"other": 2.5}) as other:
        server.stop_tcp()
        fill(server.port)
        config = quiet(server, conn_tmo=0.15, addr_list=(server.address, other.address))
        with Context(configuration=config, timeout=10) as ctx:
            x, elsewhere = ctx.get_pvs("x", "other")
            assert elsewhere.read().data[0] == 2.5, "a dead host delays nobody else"
            with caplog.at_level(logging.WARNING, "caproto"):
                wait_for(lambda: len(caplog.records) >= 2)
            assert caplog.records[0].getMessage() == (
                f"Cannot connect to 127.0.0.1:{server.port}: the host does not answer; "
                "1 PV will be retried"
            )
            drain()
            server.start_tcp()
            assert x.read().data[0] == 1.5


def test_closing_does_not_wait_for_a_connect_that_hangs(black_hole, wait_for):
    fill, _ = black_hole
    with FakeServer({"x": 1.5}) as server:
        server.stop_tcp()
        fill(server.port)
        ctx = Context(configuration=quiet(server, conn_tmo=60.0), timeout=10)
        (x,) = ctx.get_pvs("x")
        x.wait_for_search()
        assert "connecting to 127.0.0.1" in repr(x)
        begun = time.monotonic()
        ctx.disconnect()
        assert time.monotonic() - begun < 5


STEPS = [
    ca.VersionRequest, ca.ClientNameRequest, ca.HostNameRequest, ca.CreateChanRequest,
    ca.EventAddRequest, ca.ReadNotifyRequest,
]


@pytest.mark.parametrize("end", [reset, hang_up], ids=["reset", "end of file"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_the_connection_ends_at_each_step(server, wait_for, step, end):
    with Context(configuration=quiet(server), timeout=10) as ctx:
        once(server, step, end)
        x, y = ctx.get_pvs("x", "y")
        seen = []

        def note(response):
            seen.append(response.data[0])

        x.subscribe().add_callback(note)
        assert (x.read().data[0], y.read().data[0]) == (1.5, 2.5)
        wait_for(lambda: seen)
        server.post("x", 7.5)
        wait_for(lambda: seen[-1] == 7.5)
        assert len(server.connections) == 2 == len({c.circuit.address for c in server.connections})


def break_the_protocol(connection, command) -> None:
    connection.send_raw(b"\xff" * 200)


@pytest.mark.parametrize("step", [ca.VersionRequest, ca.CreateChanRequest, ca.EventAddRequest])
@pytest.mark.parametrize("end", [hang_up, reset, break_the_protocol])
def test_a_server_that_drops_each_circuit_is_not_overrun(server, wait_for, step, end):
    """With pauses of 0.05, 0.1, 0.2 s ... between them; without, there would be hundreds."""
    server.on[step] = end
    with Context(configuration=quiet(server), timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        x.subscribe().add_callback(note := lambda response: None)
        begun = time.monotonic()
        wait_for(lambda: len(server.connections) >= 5)
        assert time.monotonic() - begun >= 0.05 + 0.1 + 0.2 + 0.4
        assert ctx.explain(x).last_failure.failures >= 4
        wait_for(lambda: any("refuses or drops" in hint for hint in ctx.explain(x).hints))
        server.on.clear()
        assert x.read().data[0] == 1.5
        del note


def test_a_server_that_serves_and_then_drops_each_circuit(server, wait_for, monkeypatch):
    """It may be one that is restarted; the pauses grow, though not for long."""
    monkeypatch.setitem(LONGEST_PAUSE, Loss.BROKEN, 0.1)

    def serve_and_drop(connection, command):
        server.usual(connection, command)
        connection.close()

    server.on[ca.EventAddRequest] = serve_and_drop
    with Context(configuration=quiet(server), timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        seen = []

        def note(response):
            seen.append(response.data[0])

        x.subscribe().add_callback(note)
        begun = time.monotonic()
        wait_for(lambda: len(seen) >= 6)
        assert time.monotonic() - begun >= 0.05 + 4 * 0.1
        assert ctx.explain(x).last_failure.loss is Loss.BROKEN


class NoDescriptors:
    """Makes sockets fail as they do when the process has no descriptors left."""

    def __init__(self, monkeypatch) -> None:
        self.refused = 0
        self._real = {name: getattr(socket, name) for name in ("socket", "socketpair")}
        self._monkeypatch = monkeypatch

    def begin(self, name: str) -> None:
        def fail(*args, **options):
            if len(args) > 2:  # only wraps a descriptor that is there
                return self._real[name](*args, **options)
            self.refused += 1
            raise OSError(errno.EMFILE, "Too many open files")

        self._monkeypatch.setattr(f"caproto._os.sockets.socket.{name}", fail)

    def end(self, name: str) -> None:
        self._monkeypatch.setattr(f"caproto._os.sockets.socket.{name}", self._real[name])


@pytest.mark.parametrize("name", ["socketpair", "socket"])
def test_when_there_are_no_descriptors_pvs_wait_until_there_are(
    server, wait_for, monkeypatch, caplog, name
):
    with Context(configuration=quiet(server), timeout=10) as ctx:
        descriptors = NoDescriptors(monkeypatch)
        ctx.get_pvs("not there")[0].context.broadcaster.search_now()
        wait_for(lambda: server.searches)  # the search thread has what it needs
        with caplog.at_level(logging.WARNING, "caproto"):
            descriptors.begin(name)
            x, y = ctx.get_pvs("x", "y")
            wait_for(lambda: descriptors.refused >= 2)
            descriptors.end(name)
        assert (x.read().data[0], y.read().data[0]) == (1.5, 2.5)
        assert "annot make a socket: Too many open files; 2 PVs" in caplog.text
        assert len(server.connections) == 1


class NoThreads:
    """Refuses to start threads of some names, as a system does that has no more."""

    def __init__(self, monkeypatch, *names: str) -> None:
        self.names = names
        self.refused = 0
        start = threading.Thread.start

        def refuse(thread):
            if thread.name.startswith(self.names):
                self.refused += 1
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)

    def end(self) -> None:
        self.names = ("nothing",)


def test_without_a_thread_for_it_a_circuit_fails_and_is_tried_again(
    server, monkeypatch, caplog, wait_for
):
    threads = NoThreads(monkeypatch, "ca-circuit", "ca-callback")
    states = []

    def note(pv, state):
        states.append((pv.priority, state))

    with Context(configuration=quiet(server), timeout=10) as ctx:
        with caplog.at_level(logging.WARNING, "caproto"):
            pvs = [
                ctx.get_pvs("x", priority=priority, connection_state_callback=note)[0]
                for priority in range(2)
            ]
            wait_for(lambda: threads.refused >= 4)
        assert "annot start a thread for the circuit: can't start new thread" in caplog.text
        threads.end()
        for pv in pvs:
            assert pv.read().data[0] == 1.5
        wait_for(lambda: sorted(states) == [(0, "connected"), (1, "connected")])


def test_without_a_thread_for_them_callbacks_wait_for_the_next_chance(
    server, monkeypatch, caplog, wait_for
):
    threads = NoThreads(monkeypatch, "ca-callback")
    seen = []

    def note(response):
        seen.append(response.data[0])

    with Context(configuration=quiet(server), timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        with caplog.at_level(logging.ERROR, "caproto.ctx"):
            x.subscribe().add_callback(note)
            wait_for(lambda: threads.refused)
            server.post("x", 1.5)
            wait_for(lambda: threads.refused > 1)
        assert x.read().data[0] == 1.5
        assert len(caplog.records) == 1, "said once"
        threads.end()
        server.post("x", 2.5)
        wait_for(lambda: seen == [1.5, 1.5, 2.5])
        server.drop_all()
        wait_for(lambda: seen == [1.5, 1.5, 2.5, 2.5])


def test_without_a_thread_that_searches_get_pvs_fails_and_the_next_one_does_not(
    server, monkeypatch
):
    threads = NoThreads(monkeypatch, "ca-udp")
    with Context(configuration=quiet(server), timeout=10) as ctx:
        with pytest.raises(ca.CaprotoError, match="cannot start the search thread"):
            ctx.get_pvs("x")
        threads.end()
        x, _y = ctx.get_pvs("x", "y")
        assert x.read().data[0] == 1.5


def test_no_circuit_is_begun_during_a_pause(server, wait_for, monkeypatch):
    """Neither for PVs that are new, nor for those whose search is answered only then."""
    monkeypatch.setattr(backoff, "FIRST_PAUSE", 0.5)
    server.on[ca.CreateChanRequest] = hang_up
    with Context(configuration=quiet(server), timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        wait_for(lambda: ctx.explain(x).last_failure)
        until = ctx.explain(x).last_failure.until
        server.on.clear()
        (y,) = ctx.get_pvs("y")
        assert y.read().data[0] == 2.5
        assert time.monotonic() >= until
        assert len(server.connections) == 2


@pytest.mark.parametrize("linger", [True, False], ids=["reset", "end of file"])
def test_the_connection_ends_right_after_accept(wait_for, linger):
    with FakeServer({"x": 1.5}) as server:
        server.stop_tcp()
        with Context(configuration=quiet(server), timeout=10) as ctx:
            with socket.create_server(server.address) as listener:
                (x,) = ctx.get_pvs("x")
                listener.settimeout(10)
                for _ in range(2):
                    sock, _ = listener.accept()
                    if linger:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    sock.close()
            server.start_tcp()
            assert x.read().data[0] == 1.5


def test_a_server_that_says_nothing_at_all(server, wait_for, caplog):
    """Half open: the connection is made, and nothing comes. The probe notices."""
    server.greeting = False
    for step in STEPS:
        server.on[step] = ignore
    server.on[ca.EchoRequest] = ignore
    with Context(configuration=quiet(server, conn_tmo=0.05), timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        x.wait_for_search()
        with pytest.raises(CaprotoTimeoutError, match="waiting for 127.0.0.1.* to create the chan"):
            x.wait_for_connection(timeout=0.2)
        manager = x.circuit_manager
        manager._circuit.session.heartbeat.echo_timeout = 0.05
        server.wait_for(ca.EchoRequest)
        server.drop_all()
        server.on.clear()
        assert x.read().data[0] == 1.5


def test_the_server_stops_sending_but_not_listening(server, wait_for):
    """An end of file is the end: nobody can answer us any more."""
    with Context(configuration=quiet(server), timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        server.connection.sock.shutdown(socket.SHUT_WR)
        wait_for(lambda: len(server.connections) == 2)
        assert x.read().data[0] == 1.5


# ---- while it lives --------------------------------------------------------------------------


@pytest.mark.parametrize("graceful", [False, True])
def test_operations_fail_once_and_the_writes_are_not_repeated(
    server, graceful, caplog, wait_for
):
    with Context(configuration=quiet(server), timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        once(server, ca.WriteNotifyRequest, lambda connection, _: server.drop_all(graceful))
        with caplog.at_level(logging.WARNING, "caproto.circ"):
            with pytest.raises(DeadCircuitError, match=f"127.0.0.1:{server.port}"):
                x.write(2.5)
            wait_for(lambda: "searching for 1 PV again" in caplog.text)
        assert x.read().data[0] == 1.5
        assert len(server.received(ca.WriteNotifyRequest)) == 1


def test_a_read_goes_on_with_the_next_circuit(server):
    with Context(configuration=quiet(server), timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        once(server, ca.ReadNotifyRequest, reset)
        assert x.read().data[0] == 1.5
        assert len(server.connections) == 2


def test_a_server_that_is_restarted_with_other_types(server, start_server, wait_for):
    pvs = {"x": FakePV("now a text", ChannelType.STRING)}
    with Context(configuration=quiet(server), timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        seen = []

        def note(response):
            seen.append((response.data_type, response.strings[0]))

        x.subscribe(data_type="time").add_callback(note)
        wait_for(lambda: seen)
        server.stop()
        start_server(pvs, port=server.port)
        wait_for(lambda: len(seen) == 2)
        assert seen[1] == (ChannelType.TIME_STRING, "now a text")
        assert x.channel.native_data_type is ChannelType.STRING


def test_a_server_that_comes_back_at_another_port(server, start_server):
    with Context(configuration=quiet(server), timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        server.stop()
        moved = start_server({"x": 9.5})
        directory = FakeServer({"x": 0.0}, port=server.port)
        directory.search_reply = lambda search: ca.SearchResponse(moved.port, None, search.cid, 13)
        directory.start_udp()
        assert x.read().data[0] == 9.5
        assert x.circuit_manager.circuit.address == moved.address
        directory.stop()


@item(35)
@pytest.mark.parametrize("failure", ["CREATE_CH_FAIL", "SERVER_DISCONN"])
def test_one_channel_is_lost_and_only_that_one_is_searched_again(server, wait_for, failure):
    states = {"x": [], "y": []}

    def note(pv, state):
        states[pv.name].append(state)

    with Context(configuration=quiet(server), timeout=10) as ctx:
        x, y = ctx.get_pvs("x", "y", connection_state_callback=note)
        values = {"x": [], "y": []}
        for pv in (x, y):
            pv.subscribe().add_callback(
                lambda sub, response: values[sub.pv.name].append(response.data[0]), strong=True
            )
        wait_for(lambda: values == {"x": [1.5], "y": [2.5]})
        manager, connection = x.circuit_manager, server.connection
        first = x.channel
        searches = len(server.searches)
        begun = time.monotonic()
        if failure == "CREATE_CH_FAIL":
            # It is the answer to CREATE_CHAN, so the channel has to be lost first.
            once(
                server, ca.CreateChanRequest,
                lambda connection, command: connection.send(
                    connection.circuit.channels[command.cid].create_fail()
                ),
            )
        connection.send(connection.channel("x").disconnect())
        wait_for(lambda: not x.connected)
        with pytest.raises(CaprotoTimeoutError):
            x.read(timeout=0.001)
        assert y.read().data[0] == 2.5
        x.wait_for_connection()
        losses = 1 if failure == "SERVER_DISCONN" else 2
        assert time.monotonic() - begun >= 0.2 * losses, "with delay"
        wait_for(lambda: values["x"] == [1.5, 1.5])
        assert values["y"] == [2.5]
        assert x.circuit_manager is manager and server.connections == [connection]
        assert x.channel is not first
        assert {search.name for search in server.searches[searches:]} == {"x"}
        assert not server.received(ca.ClearChannelRequest), "the sid is dead already"
        wait_for(lambda: states["x"] == ["connected", "disconnected", "connected"])
        assert states["y"] == ["connected"]


def test_a_circuit_whose_last_channel_the_server_gives_up_is_closed(server, wait_for):
    with Context(configuration=quiet(server), timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        connection = server.connection
        server.answers = lambda search: False
        connection.send(connection.channel("x").disconnect())
        wait_for(lambda: not connection.open and not ctx.circuit_managers)
        server.answers = lambda search: True
        assert x.read().data[0] == 1.5


@item(35)
def test_a_channel_that_is_refused_for_ever_costs_one_search_per_delay(server, wait_for):
    server.answers = lambda search: True
    with Context(configuration=quiet(server), timeout=10) as ctx:
        x, ghost = ctx.get_pvs("x", "ghost")
        begun = time.monotonic()
        assert x.read().data[0] == 1.5
        server.wait_for(ca.CreateChanRequest, 4)
        assert time.monotonic() - begun >= 2 * 0.2 - 0.01
        assert not ghost.connected
        assert len(server.connections) == 1
        assert len([s for s in server.searches if s.name == "ghost"]) == 3


def test_attempts_that_fail_are_no_changes_of_state(server, wait_for, caplog, monkeypatch):
    """Neither before the first connection nor between two."""
    monkeypatch.setitem(LONGEST_PAUSE, Loss.USELESS, 0.1)
    states = []

    def note(pv, state):
        states.append(state)

    server.stop_tcp()
    with Context(configuration=quiet(server), timeout=10) as ctx:
        (x,) = ctx.get_pvs("x", connection_state_callback=note)
        for number in (1, 2):
            with caplog.at_level(logging.WARNING, "caproto.circ"):
                caplog.clear()
                wait_for(lambda: len(caplog.records) >= 3)
            server.start_tcp()
            x.wait_for_connection()
            server.stop_tcp()
            server.drop_all()
            wait_for(lambda number=number: len(states) >= 2 * number)
    assert states == ["connected", "disconnected"] * 2


def test_operations_on_a_channel_that_the_server_drops_fail(server):
    """The C library does so at once; nobody would ever answer them."""
    with Context(configuration=quiet(server), timeout=10) as ctx:
        x, y = ctx.get_pvs("x", "y")
        x.wait_for_connection()
        y.wait_for_connection()
        once(
            server, ca.WriteNotifyRequest,
            lambda connection, _: connection.send(connection.channel("x").disconnect()),
        )
        begun = time.monotonic()
        with pytest.raises(ca.DisconnectedError):
            x.write(2.5)
        assert time.monotonic() - begun < 5
        once(
            server, ca.ReadNotifyRequest,
            lambda connection, _: connection.send(connection.channel("x").disconnect()),
        )
        assert x.read().data[0] == 1.5, "a read is repeated"
        assert y.read().data[0] == 2.5


class ReadsForEachRecord(logging.Handler):
    """A careless log handler: in our threads each read raises ReentrantCallError."""

    def __init__(self, pv) -> None:
        super().__init__()
        self.pv = pv
        self.reading = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.reading:
            self.reading = True
            try:
                self.pv.read(timeout=0.01)
            finally:
                self.reading = False


def test_a_log_handler_that_uses_the_client_costs_no_circuit(capsys, loggers_as_before):
    with FakeServer({"x": 1.5, "y": 2.5}) as server:
        with Context(configuration=quiet(server), timeout=10) as ctx:
            x, y = ctx.get_pvs("x", "y")
            x.wait_for_connection()
            y.wait_for_connection()
            log = logging.getLogger("caproto")
            handler = ReadsForEachRecord(y)
            log.addHandler(handler)
            log.setLevel(logging.DEBUG)
            assert x.read().data[0] == 1.5
            assert len(server.connections) == 1
            server.drop_all()
            assert x.read().data[0] == 1.5
            log.removeHandler(handler)
            assert len(server.connections) == 2
    assert "ReentrantCallError" in capsys.readouterr().err
