"""Items 31 to 44: a client's circuit, from its first bytes to its last.

More is in tests/threading: test_circuit_manager_heartbeat.py (37 to 39), ..._failures.py (35, 41),
and tests/client/test_heartbeat.py (37 to 39, with a clock that is moved by hand).
"""
from __future__ import annotations

import logging
import select
import socket
import struct
import threading
import time

import pytest

import caproto as ca
from caproto import AccessRights, ChannelType, DeadCircuitError
from caproto.threading import _transport
from caproto.threading.client import Context, _circuit
from tests.conformance.items import item
from tests.harness.fake_server import FakeServer, ignore
from tests.harness.udp_peer import Peer

HEADER = struct.Struct(">HHHHII")


@pytest.fixture
def server():
    with FakeServer({"x": 1.5, "y": 2.5}) as running:
        yield running


@pytest.fixture
def ctx(server):
    with Context(configuration=quiet(server), timeout=10) as context:
        yield context


def quiet(server: FakeServer, **changes) -> ca.ClientConfiguration:
    return server.configuration.replace(use_repeater=False, **changes)


def connect(ctx, *names, **options):
    pvs = ctx.get_pvs(*names, **options)
    for pv in pvs:
        pv.wait_for_connection()
    return pvs


def watch(pv) -> list[float]:
    """A list that collects the values of *pv*."""
    seen: list[float] = []

    def note(response):
        seen.append(response.data[0])

    pv.subscribe().add_callback(note, strong=True)
    return seen


def messages(data: bytes) -> list[tuple[tuple, bytes]]:
    """Header fields and payloads, taken apart without the code under test."""
    found = []
    while data:
        fields = HEADER.unpack_from(data)
        found.append((fields, data[16 : 16 + fields[1]]))
        data = data[16 + fields[1] :]
    return found


def padded(text: str) -> bytes:
    return text.encode().ljust((len(text) + 8) // 8 * 8, b"\0")


# ---- opening ---------------------------------------------------------------------------------


@item(31)
@pytest.mark.parametrize("priority", [0, 42, 99])
def test_the_first_bytes(priority):
    with Peer() as peer, socket.create_server(("127.0.0.1", 0)) as listener:
        config = ca.ClientConfiguration(
            addr_list=(peer.address,), auto_addr_list=False, use_repeater=False
        )
        with Context(
            configuration=config, client_name="somebody", host_name="somewhere", timeout=5
        ) as ctx:
            ctx.get_pvs("T:x", priority=priority)
            cid = peer.search("T:x").cid
            peer.send(ca.SearchResponse(listener.getsockname()[1], None, cid, 13))
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(10)
                data = b""
                while len(data) < 16 + 16 + 16 + 16 + 16 + 16 + 8:
                    data += sock.recv(4096)
                version, client, host, create = messages(data)
    assert version == ((0, 0, priority, 13, 0, 0), b"")
    assert client == ((20, 16, 0, 0, 0, 0), padded("somebody"))
    assert host == ((21, 16, 0, 0, 0, 0), padded("somewhere"))
    assert create == ((18, 8, 0, 0, create[0][4], 13), padded("T:x"))


@item(32)
@pytest.mark.parametrize("when", ["first", "late", "never"])
def test_the_version_of_the_server_may_come_whenever_it_likes(server, ctx, when, wait_for):
    server.greeting = when == "first"
    (x,) = connect(ctx, "x")
    seen = watch(x)
    wait_for(lambda: seen == [1.5])
    if when == "late":
        server.connection.send(ca.VersionResponse(13))
    x.write(2.5)
    assert x.read().data[0] == 2.5
    assert len(server.connections) == 1


@item(33)
def test_one_circuit_for_each_server_and_priority(server):
    with FakeServer({"elsewhere": 9.5}) as other:
        config = quiet(server, addr_list=(server.address, other.address))
        with Context(configuration=config, timeout=10) as ctx:
            x, y = connect(ctx, "x", "y")
            high_x, high_y = connect(ctx, "x", "y", priority=50)
            (elsewhere,) = connect(ctx, "elsewhere")
            assert x.circuit_manager is y.circuit_manager
            assert high_x.circuit_manager is high_y.circuit_manager
            circuits = {pv.circuit_manager for pv in (x, high_x, elsewhere)}
            assert len(circuits) == 3
            priorities = [c.commands(ca.VersionRequest)[0].priority for c in server.connections]
            assert sorted(priorities) == [0, 50]
            assert len(other.connections) == 1


@item(34)
@pytest.mark.parametrize("rights_first", [True, False])
def test_rights_may_come_before_or_after_the_channel(server, ctx, rights_first, wait_for):
    def create(connection, command):
        channel = connection.circuit.channels[command.cid]
        rights = channel.rights(AccessRights.READ)
        created = channel.create(ChannelType.DOUBLE, 1, 77)
        for reply in (rights, created) if rights_first else (created, rights):
            connection.send(reply)

    server.on[ca.CreateChanRequest] = create
    told = []

    def note(pv, rights):
        told.append(rights)

    (x,) = connect(ctx, "x", access_rights_callback=note)
    wait_for(lambda: told == [AccessRights.READ])
    assert x.access_rights == AccessRights.READ
    assert x.read().data[0] == 1.5
    with pytest.raises(ca.AccessError):
        x.write(2.5)
    server.connection.send(server.connection.channel("x").rights(3))
    wait_for(lambda: told == [AccessRights.READ, AccessRights.READ | AccessRights.WRITE])
    x.write(2.5)


@item(34)
def test_until_the_rights_are_told_the_server_decides(server, ctx, wait_for):
    def create(connection, command):
        channel = connection.circuit.channels[command.cid]
        connection.send(channel.create(ChannelType.DOUBLE, 1, 77))

    server.on[ca.CreateChanRequest] = create
    told = []

    def note(pv, rights):
        told.append(rights)

    (x,) = connect(ctx, "x", access_rights_callback=note)
    assert x.access_rights is None and "rights not known yet" in repr(x)
    assert x.read().data[0] == 1.5
    ctx.get_pvs("x", access_rights_callback=note)
    server.connection.send(server.connection.channel("x").rights(0))
    wait_for(lambda: told == [AccessRights.NO_ACCESS] * 2)
    assert x.access_rights == AccessRights.NO_ACCESS
    with pytest.raises(ca.AccessError):
        x.read()


@item(36)
def test_a_channel_that_we_do_not_know_is_given_back(server, ctx):
    (x,) = connect(ctx, "x")
    connection = server.connection
    server.on[ca.ClearChannelRequest] = ignore
    connection.circuit._unclaimed[4711] = 1234  # so that the judge knows of it
    connection.send_raw(ca.CreateChanResponse(ChannelType.DOUBLE, 1, 1234, 4711))
    (request,) = server.wait_for(ca.ClearChannelRequest)
    assert (request.sid, request.cid) == (4711, 1234)
    assert x.read().data[0] == 1.5


# ---- loss ------------------------------------------------------------------------------------


@item(40)
@pytest.mark.parametrize("graceful", [True, False])
def test_the_circuit_is_lost(server, ctx, graceful, wait_for):
    x, y = connect(ctx, "x", "y")
    seen = watch(x)
    wait_for(lambda: seen == [1.5])
    errors, answers = [], []

    def lose(connection, command):
        del server.on[ca.WriteNotifyRequest]
        server.drop_all(graceful)

    server.on[ca.WriteNotifyRequest] = lose
    searches = len(server.searches)
    begun = time.monotonic()
    try:
        answers.append(x.write(2.5))
    except DeadCircuitError as error:
        errors.append(error)
    assert len(errors) == 1 and not answers
    wait_for(lambda: seen == [1.5, 1.5], message="the subscription is restored")
    assert y.read().data[0] == 2.5
    assert time.monotonic() - begun < 5
    assert {search.name for search in server.searches[searches:]} == {"x", "y"}
    assert len(server.received(ca.WriteNotifyRequest)) == 1, "never sent again"
    assert len(server.received(ca.EventAddRequest)) == 2
    server.post("x", 3.5)
    wait_for(lambda: seen == [1.5, 1.5, 3.5])


@item(40)
def test_the_search_for_lost_names_stays_quick_for_a_while(server, ctx, wait_for):
    """Until the server is back; never more than a second between two searches."""
    (x,) = connect(ctx, "x")
    server.answers = lambda search: False
    searches = len(server.searches)
    moments = []
    server.drop_all()
    while len(moments) < 7:
        wait_for(lambda: len(server.searches) > searches + len(moments))
        moments.append(time.monotonic())
        (cid,) = {search.cid for search in server.searches[searches:]}
        facts = ctx.broadcaster._service.book._plan.status(cid)
        assert facts.lost and facts.next_due - facts.last_sent <= 1.03
    server.answers = lambda search: True
    x.wait_for_connection()


@item(40)
def test_a_loss_is_told_once(server, ctx, wait_for):
    states = []

    def note(pv, state):
        states.append(state)

    (x,) = connect(ctx, "x", connection_state_callback=note)
    wait_for(lambda: states == ["connected"])
    server.drop_all()
    wait_for(lambda: states == ["connected", "disconnected", "connected"])
    assert x.read().data[0] == 1.5
    assert len(states) == 3


# ---- the end ---------------------------------------------------------------------------------


@item(42)
def test_the_circuit_is_closed_with_its_last_channel(server, ctx, wait_for):
    x, y = connect(ctx, "x", "y")
    connection = server.connection
    x.go_idle()
    server.wait_for(ca.ClearChannelRequest)
    assert y.read().data[0] == 2.5 and connection.open
    y.go_idle()
    wait_for(lambda: not connection.open)
    cleared, created = (
        sorted(command.cid for command in connection.commands(kind))
        for kind in (ca.ClearChannelRequest, ca.CreateChanRequest)
    )
    assert cleared == created
    assert x.read().data[0] == 1.5 and len(server.connections) == 2


@item(42)
def test_the_circuit_to_a_name_server_stays(server, wait_for):
    def answer(connection, command):
        connection.send(ca.SearchResponse(server.port, None, command.cid, None))

    server.on[ca.SearchRequest] = answer
    config = quiet(server, addr_list=(), name_servers=(server.address,))
    with Context(configuration=config, timeout=10) as ctx:
        (x,) = connect(ctx, "x")
        directory, circuit = server.connections
        x.go_idle()
        wait_for(lambda: not circuit.open)
        assert x.read().data[0] == 1.5
        assert directory.open and len(directory.commands(ca.SearchRequest)) >= 2


@item(43)
def test_what_is_queued_is_sent_then_half_closed_then_closed(server, ctx, monkeypatch, wait_for):
    for module in (_transport, _circuit):
        monkeypatch.setattr(module, "HANG_UP_TIME", 20.0)
    server.pvs["big"] = type(server.pvs["x"])([0], ChannelType.CHAR, max_count=20_000_000)
    x, big = connect(ctx, "x", "big")
    seen = watch(x)
    wait_for(lambda: seen)
    manager, connection = x.circuit_manager, server.connection
    connection.stop_reading()
    writer = threading.Thread(target=big.write, args=(bytes(20_000_000),), kwargs={"wait": False})
    writer.start()
    wait_for(lambda: manager._circuit._transport.outbox, message="the pipe is full")
    x.unsubscribe_all()
    x.go_idle()
    big.go_idle()
    wait_for(lambda: manager.dead)
    connection.go_on_reading()
    writer.join(20)
    server.wait_for(ca.ClearChannelRequest, 2)
    wait_for(lambda: not connection.open)
    manager._circuit.join(20)
    assert not manager._circuit._thread.alive
    kinds = [type(command) for command in connection.received]
    tail = kinds[kinds.index(ca.WriteRequest) :]
    assert tail == [
        ca.WriteRequest, ca.EventCancelRequest, ca.ClearChannelRequest, ca.ClearChannelRequest
    ]


@item(43)
def test_the_sending_side_is_shut_first(server, ctx, monkeypatch):
    """While the server has not closed, the client goes on reading, so that nothing is reset."""
    monkeypatch.setattr(_transport, "HANG_UP_TIME", 20.0)
    gate = threading.Event()
    server.on[ca.ClearChannelRequest] = lambda connection, command: gate.wait(20)
    (x,) = connect(ctx, "x")
    manager, connection = x.circuit_manager, server.connection
    x.go_idle()
    end = select.poll()
    end.register(connection.sock, select.POLLRDHUP)
    assert end.poll(10_000), "the client has shut its sending side"
    for _ in range(3):
        connection.send_raw(ca.EchoResponse())
    assert connection.open and manager._circuit._thread.alive
    gate.set()
    manager._circuit.join(20)
    assert not manager._circuit._thread.alive


@item(44)
@pytest.mark.parametrize("number", [5, 7, 16, 28, 255, 0xFFFF])
def test_unknown_commands_close_the_circuit_with_a_diagnostic(server, ctx, number, caplog):
    (x,) = connect(ctx, "x")
    first, manager = server.connection, x.circuit_manager
    with caplog.at_level(logging.ERROR, "caproto.circ"):
        first.send_raw(HEADER.pack(number, 8, 0, 0, 0, 0) + bytes(8))
        manager._circuit.join(10)
    assert manager.dead
    (record,) = caplog.records
    assert str(number) in record.getMessage()
    assert f"127.0.0.1:{server.port}" in record.getMessage()
    assert x.read().data[0] == 1.5 and len(server.connections) == 2
