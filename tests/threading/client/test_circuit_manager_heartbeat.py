"""A circuit whose server falls silent: asked by ECHO, called unresponsive, and back again."""
from __future__ import annotations

import logging
import socket
import time
from threading import Thread

import numpy as np
import pytest

import caproto as ca
from caproto import CaprotoTimeoutError, ChannelType, DisconnectedError
from caproto._client.beacons import Verdict
from caproto._client.heartbeat import Heartbeat
from caproto.threading.client import Context
from caproto.threading.client._circuit import ClientCircuit
from tests.conformance.items import item
from tests.harness.fake_server import FakePV, FakeServer, ignore

#: Seconds without a sign of life before an echo; 30 in real life.
QUIET = 0.1
#: Seconds to wait for its reply, while the server is to be found silent; 5 in real life.
PATIENCE = 0.15
#: Elements of an array that takes its time.
WIDE = 500_000


def asked(server) -> int:
    """How many requests the server has received, not counting those for an echo."""
    return sum(not isinstance(c, ca.EchoRequest) for c in server.connection.received)


def fall_silent(server, pv) -> None:
    """Let the server answer no echo; the client is to notice soon."""
    pv.circuit_manager._circuit.session.heartbeat.echo_timeout = PATIENCE
    server.on[ca.EchoRequest] = ignore


def come_back(server, pv) -> None:
    """Answer an echo that is waiting, and from now on all of them."""
    pv.circuit_manager._circuit.session.heartbeat.echo_timeout = 5.0
    server.on.pop(ca.EchoRequest, None)
    server.connection.send(ca.EchoResponse())


@pytest.fixture
def ctx(server):
    """A Context that asks for echoes soon."""
    quick = server.configuration.replace(conn_tmo=QUIET, use_repeater=False)
    with Context(configuration=quick, timeout=10) as context:
        yield context


class States:
    """The connection states that a PV was told."""

    def __init__(self, ctx: Context, *names: str) -> None:
        self.told: list[tuple[str, str]] = []
        self.pvs = ctx.get_pvs(*names, connection_state_callback=self.note)
        for pv in self.pvs:
            pv.wait_for_connection()

    def note(self, pv, state) -> None:
        self.told.append((pv.name, state))

    def of(self, name: str) -> list[str]:
        return [state for told, state in self.told if told == name]


@item(37)
def test_an_idle_circuit_is_probed(ctx, server):
    (x,) = ctx.get_pvs("x")
    begun = time.monotonic()
    x.wait_for_connection()
    server.wait_for(ca.EchoRequest, 3)
    assert time.monotonic() - begun >= 3 * QUIET
    assert x.connected and len(server.connections) == 1


@item(37)
def test_a_server_below_4_3_is_probed_by_read_sync(ctx, server, wait_for):
    (x,) = ctx.get_pvs("x")
    x.wait_for_connection()
    answer = {"count": 0}

    def answer_sync(connection, command):
        answer["count"] += 1
        connection.send(ca.ReadSyncResponse())

    server.on[ca.ReadSyncRequest] = answer_sync
    x.circuit_manager.circuit.peer_version = 2
    wait_for(lambda: answer["count"] >= 2)
    assert x.connected


@item(37)
def test_traffic_postpones_the_echo(server):
    quiet = 0.4
    config = server.configuration.replace(conn_tmo=quiet, use_repeater=False)
    with Context(configuration=config, timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        moments = [time.monotonic()]
        while moments[-1] - moments[0] < 2 * quiet:
            x.read()
            moments.append(time.monotonic())
        longest = max(b - a for a, b in zip(moments, moments[1:], strict=False))
        assert not server.received(ca.EchoRequest) or longest > 0.9 * quiet
        server.wait_for(ca.EchoRequest)
        assert time.monotonic() - moments[-2] >= quiet


@item(37)
@pytest.mark.parametrize("verdict, postpones", [(Verdict.GOOD, True), (Verdict.SUSPECT, False)])
def test_a_good_beacon_postpones_the_echo(server, wait_for, monkeypatch, verdict, postpones):
    config = server.configuration.replace(conn_tmo=60.0, use_repeater=False)
    with Context(configuration=config, timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        heartbeat = x.circuit_manager._circuit.session.heartbeat
        before = heartbeat.deadline

        monkeypatch.setattr(ctx.broadcaster._service.book._beacons, "beacon", lambda *_: verdict)
        client = server.searches[0].sender_address
        for number in range(2):
            server._udp.sendto(bytes(ca.Beacon(13, server.port, number)), client)
        server._udp.sendto(bytes(ca.Beacon(13, 1, 0)), client)  # another server's
        if postpones:
            wait_for(lambda: heartbeat.deadline > before)
        else:
            wait_for(lambda: heartbeat._distrust_beacons)
            assert heartbeat.deadline == before


@item(38)
def test_no_echo_in_time(ctx, server, wait_for, caplog):
    """Disconnected for the user; for TCP it is not, and nobody searches."""
    states = States(ctx, "x", "y")
    x, _y = states.pvs
    fall_silent(server, x)
    server.on[ca.WriteNotifyRequest] = ignore
    manager, searches = x.circuit_manager, len(server.searches)
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING, "caproto"):
        with pytest.raises(DisconnectedError, match=r"does not respond, last heard \d+\.\d s ago"):
            x.write(2.5)
        assert time.monotonic() - begun >= PATIENCE
        wait_for(lambda: states.of("x") == states.of("y") == ["connected", "disconnected"])
    (record,) = caplog.records
    assert "2 PVs are unusable until it answers" in record.getMessage()
    assert not x.connected and not manager.connected and not manager.dead
    assert "no response from" in repr(x) and "no response from" in repr(manager)
    wait_for(lambda: manager._circuit.session.heartbeat.silent, message="the last probe, in vain")
    requests = asked(server)
    with pytest.raises(CaprotoTimeoutError, match="no response from"):
        x.read(timeout=2 * PATIENCE)
    with pytest.raises(CaprotoTimeoutError):
        x.write(1.0, wait=False, timeout=0.01)
    assert x.circuit_manager is manager and server.connections == [server.connection]
    assert server.connection.open
    assert asked(server) == requests, "the silent server is asked for an echo at most"
    assert len(server.searches) == searches


@item(38)
def test_reads_fail_and_the_callbacks_of_writes_are_told(ctx, server, wait_for, caplog):
    states = States(ctx, "x")
    (x,) = states.pvs
    fall_silent(server, x)
    for kind in (ca.WriteNotifyRequest, ca.ReadNotifyRequest):
        server.on[kind] = ignore
    seen = []
    with caplog.at_level(logging.WARNING, "caproto.ch"):
        x.write(1.0, wait=False, callback=seen.append)
        x.read(wait=False, callback=seen.append)
        wait_for(lambda: states.of("x") == ["connected", "disconnected"])
    assert [response.status for response in seen] == [ca.CAStatus.ECA_DISCONN]
    assert [r.getMessage().split(":")[0] for r in caplog.records if r.name == "caproto.ch"] == [
        "The write of 'x' failed", "The read of 'x' failed",
    ]


@item(39)
@pytest.mark.parametrize("late", [False, True])
def test_recovery(ctx, server, wait_for, late):
    """The last probe is answered; or all of them too late, which leads to a new one."""
    states = States(ctx, "x", "y")
    x, y = states.pvs
    seen = {"x": [], "y": []}
    for pv, data_type in ((x, None), (y, "time")):
        pv.subscribe(data_type=data_type).add_callback(
            lambda sub, response: seen[sub.pv.name].append(response.data[0]), strong=True
        )
    wait_for(lambda: seen["x"] and seen["y"])
    manager = x.circuit_manager
    fall_silent(server, x)
    wait_for(lambda: states.of("x")[1:] == ["disconnected"])
    server.pvs["x"].value = 10.5  # nobody is told
    if late:
        wait_for(lambda: manager._circuit.session.heartbeat.silent, message="all is given up")
    come_back(server, x)
    wait_for(lambda: seen == {"x": [1.5, 10.5], "y": [2.5, 2.5]})
    assert states.of("x") == states.of("y") == ["connected", "disconnected", "connected"]
    assert x.read().data[0] == 10.5 and x.circuit_manager is manager
    refreshes = {c.ioid: c for c in server.received(ca.ReadNotifyRequest)[:2]}
    requests = {c.subscriptionid: c for c in server.received(ca.EventAddRequest)}
    assert set(refreshes) == set(requests), "each under the id of its subscription"
    for number, refresh in refreshes.items():
        assert refresh.sid == requests[number].sid
        assert refresh.data_type == requests[number].data_type
        assert refresh.data_count == requests[number].data_count
    assert {refresh.data_type for refresh in refreshes.values()} == {
        ChannelType.DOUBLE, ChannelType.TIME_DOUBLE
    }
    assert len(server.received(ca.CreateChanRequest)) == 2
    server.post("x", 11.5)
    wait_for(lambda: seen["x"] == [1.5, 10.5, 11.5])


@item(39)
def test_a_read_that_waits_is_answered_after_the_recovery(ctx, server, wait_for):
    states = States(ctx, "x")
    (x,) = states.pvs
    held, told = [], []
    server.on[ca.ReadNotifyRequest] = lambda connection, command: held.append(command)

    def revive(pv, state):
        told.append(state)
        if state == "disconnected":
            server.pvs["x"].value = 99.0
            too_late = server.read_reply(server.connection, held[0])
            server.pvs["x"].value = 3.5
            del server.on[ca.ReadNotifyRequest]
            come_back(server, x)
            server.connection.send(too_late)

    ctx.get_pvs("x", connection_state_callback=revive)
    wait_for(lambda: "connected" in told)
    reader = Thread(target=lambda: seen.append(x.read(timeout=10).data[0]))
    seen = []
    reader.start()
    wait_for(lambda: held)
    fall_silent(server, x)
    reader.join()
    assert seen == [3.5]
    assert len(held) == 1


def test_silent_again_and_again(ctx, server, wait_for):
    states = States(ctx, "x")
    (x,) = states.pvs
    for _ in range(3):
        fall_silent(server, x)
        wait_for(lambda: not x.connected)
        come_back(server, x)
        x.wait_for_connection()
    wait_for(lambda: states.of("x") == ["connected"] + ["disconnected", "connected"] * 3)
    assert len(server.connections) == 1


def test_a_channel_that_is_being_created_waits_for_the_recovery(ctx, server, wait_for):
    states = States(ctx, "x")
    fall_silent(server, states.pvs[0])
    server.on[ca.CreateChanRequest] = ignore
    (y,) = ctx.get_pvs("y")
    (_, request) = server.wait_for(ca.CreateChanRequest, 2)
    wait_for(lambda: states.of("x") == ["connected", "disconnected"])
    del server.on[ca.CreateChanRequest]
    server.usual(server.connection, request)
    come_back(server, states.pvs[0])
    y.wait_for_connection()
    assert y.read().data[0] == 2.5


def test_an_unresponsive_circuit_that_breaks_is_searched(ctx, server, wait_for):
    states = States(ctx, "x")
    (x,) = states.pvs
    fall_silent(server, x)
    wait_for(lambda: states.of("x") == ["connected", "disconnected"])
    del server.on[ca.EchoRequest]
    server.connection.reset()
    assert x.read().data[0] == 1.5
    assert len(server.connections) == 2


def test_closing_an_unresponsive_circuit_takes_a_moment_only(server, wait_for):
    quick = server.configuration.replace(conn_tmo=QUIET, use_repeater=False)
    ctx = Context(configuration=quick, timeout=10)
    states = States(ctx, "x")
    fall_silent(server, states.pvs[0])
    wait_for(lambda: states.of("x") == ["connected", "disconnected"])
    server.connection.stop_reading()
    begun = time.monotonic()
    ctx.disconnect()
    assert time.monotonic() - begun < 5
    server.connection.go_on_reading()


# ---- while our bytes are on their way --------------------------------------------------------


@pytest.fixture
def wide(start_server):
    """A server with an array that does not fit into the buffers of a connection."""
    return start_server({"big": FakePV([0.0] * 10, max_count=WIDE), "x": 1.5})


def narrow(pv) -> None:
    """Let the kernel keep little of ours, so that we see what the server takes."""
    sock = pv.circuit_manager._circuit._transport._socket
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)


def test_a_large_write_over_a_slow_line_is_no_silence(wide):
    """It takes much longer than the watchdog's time and the probe's, which waits behind it."""
    quick = wide.configuration.replace(conn_tmo=QUIET, use_repeater=False)
    with Context(configuration=quick, timeout=60) as ctx:
        states = States(ctx, "big")
        (big,) = states.pvs
        narrow(big)
        big.circuit_manager._circuit.session.heartbeat.echo_timeout = 3 * PATIENCE
        wide.connection.read_slowly(1 << 15, 0.01)
        begun = time.monotonic()
        big.write(np.arange(WIDE, dtype=float))
        assert time.monotonic() - begun > 2 * (QUIET + 3 * PATIENCE)
        assert states.told == [("big", "connected")]
        assert wide.pvs["big"].value[-1] == WIDE - 1
        wide.wait_for(ca.EchoRequest)  # it came out behind the array


def test_bytes_that_wait_keep_nobody_busy(wide, wait_for, monkeypatch):
    """The reader sleeps until the server takes some, also when it has given up asking."""
    quick = wide.configuration.replace(conn_tmo=QUIET, use_repeater=False)
    with Context(configuration=quick, timeout=10) as ctx:
        states = States(ctx, "big")
        (big,) = states.pvs
        narrow(big)
        manager = big.circuit_manager
        manager._circuit.session.heartbeat.echo_timeout = PATIENCE
        wide.connection.stop_reading()
        turns = []
        turn = ClientCircuit.service
        monkeypatch.setattr(
            ClientCircuit, "service", lambda *args: turns.append(args) or turn(*args)
        )
        big.write(np.arange(WIDE, dtype=float), wait=False, timeout=0)
        wait_for(lambda: manager._circuit.session.heartbeat.silent, message="all probes in vain")
        assert len(turns) < 50  # one for each event; without sleep there would be thousands
        manager._circuit.session.heartbeat.echo_timeout = 5.0
        wide.connection.go_on_reading()
        wide.wait_for(ca.WriteRequest)
        wait_for(lambda: manager.connected)


def test_the_probe_has_its_time_from_the_last_bytes_on_that_had_waited(ctx, server, wait_for):
    """Although nothing waits any more when the reader looks: the sender has pushed them out."""
    states = States(ctx, "x")
    (x,) = states.pvs
    fall_silent(server, x)
    server.wait_for(ca.EchoRequest)
    pushed_until = time.monotonic() + 4 * PATIENCE
    while (now := time.monotonic()) < pushed_until:
        x.circuit_manager._circuit._transport.taken_at = now
        time.sleep(PATIENCE / 30)
    told = list(states.told)
    wait_for(lambda: states.of("x") == ["connected", "disconnected"])
    assert told == [("x", "connected")]


def test_a_server_that_sends_but_takes_nothing_is_unresponsive(wide, wait_for):
    quick = wide.configuration.replace(conn_tmo=QUIET, use_repeater=False)
    with Context(configuration=quick, timeout=10) as ctx:
        states = States(ctx, "x", "big")
        x, big = states.pvs
        seen = []

        def note(response):
            seen.append(response.data[0])

        x.subscribe().add_callback(note)
        wait_for(lambda: seen)
        narrow(big)
        big.circuit_manager._circuit.session.heartbeat.echo_timeout = PATIENCE
        wide.connection.stop_reading()
        with pytest.raises(CaprotoTimeoutError):
            big.write(np.arange(WIDE, dtype=float), timeout=QUIET / 2)

        def updated_but_told() -> bool:
            wide.post("x", len(seen))
            return "disconnected" in states.of("x")

        wait_for(updated_but_told)
        big.circuit_manager._circuit.session.heartbeat.echo_timeout = 5.0
        wide.connection.go_on_reading()
        wait_for(lambda: states.of("big") == ["connected", "disconnected", "connected"])
        assert big.read().data[0] == 0.0
        assert len(wide.connections) == 1


@item(38, 39)
@pytest.mark.ioc
def test_a_real_ioc_freezes_and_thaws(own_ioc, wait_for):
    quick = own_ioc.configuration.replace(conn_tmo=QUIET, use_repeater=False)
    with Context(configuration=quick, timeout=10) as ctx:
        states = States(ctx, "T:double")
        (pv,) = states.pvs
        seen = []

        def note(response):
            seen.append(response.data[0])

        pv.subscribe().add_callback(note)
        wait_for(lambda: seen == [3.14])
        manager = pv.circuit_manager
        manager._circuit.session.heartbeat.echo_timeout = PATIENCE
        own_ioc.freeze()
        wait_for(lambda: states.of("T:double") == ["connected", "disconnected"])
        manager._circuit.session.heartbeat.echo_timeout = 5.0
        own_ioc.thaw()
        wait_for(lambda: states.of("T:double")[2:] == ["connected"])
        wait_for(lambda: seen == [3.14, 3.14])
        own_ioc.put("double", 4.5)
        wait_for(lambda: seen == [3.14, 3.14, 4.5])
        assert pv.circuit_manager is manager


def test_the_usual_times_are_those_of_the_c_library():
    """What this module shortens."""
    heartbeat = Heartbeat(now=0.0)
    assert (heartbeat.timeout, heartbeat.echo_timeout) == (30.0, 5.0)
    assert FakeServer().configuration.conn_tmo == 30.0
