"""Items 18 to 30: how a client finds servers, seen from the wire.

What needs a clock that is moved by hand, or one module only, is shown by that module's own tests:
tests/client/test_search_plan.py (18, 20 to 23, 29), tests/test_environment.py (22),
tests/protocol/test_broadcaster.py (24), and in tests/threading/client test_shared_broadcaster.py
(25, 26, 29, 30) and test_name_server.py (28).
"""
from __future__ import annotations

import logging
import socket
import struct
import time

import pytest

import caproto as ca
from caproto._client import search_plan
from caproto.threading.client import Context
from tests.conformance.items import item
from tests.harness.fake_server import FakeServer
from tests.harness.udp_peer import Peer
from tests.vectors_support import datagrams

HEADER = struct.Struct(">HHHHII")


@pytest.fixture
def peer():
    with Peer() as made:
        yield made


@pytest.fixture
def ctx(peer):
    """A Context that searches at `peer`."""
    with Context(configuration=configuration(peer.address), timeout=10) as context:
        yield context


def configuration(*destinations, **options) -> ca.ClientConfiguration:
    options = {"auto_addr_list": False, "use_repeater": False, **options}
    return ca.ClientConfiguration(addr_list=destinations, **options)


def messages(datagram: bytes) -> list[tuple[tuple, bytes]]:
    """Header fields and payloads, taken apart without the code under test."""
    found = []
    while datagram:
        fields = HEADER.unpack_from(datagram)
        found.append((fields, datagram[16 : 16 + fields[1]]))
        datagram = datagram[16 + fields[1] :]
    return found


@item(18)
def test_datagrams_begin_with_a_numbered_version_and_are_short(ctx, peer):
    ctx.get_pvs(*(f"some:record:or:other:{i:05d}" for i in range(300)))
    numbers = []
    for _ in range(20):
        datagram = peer.datagram()
        assert len(datagram) <= 1024
        (version, payload), *searches = messages(datagram)
        command, size, data_type, count, number, zero = version
        assert (command, size, count, zero, payload) == (0, 0, 13, 0, b"")
        assert data_type & 1, "the number counts"
        assert searches and all(fields[0] == 6 for fields, _ in searches)
        numbers.append(number)
    assert numbers == list(range(1, 21))


@item(19)
@pytest.mark.parametrize("name", ["x", "1234567", "12345678", "T:long:name.VAL{\"dbnd\":{}}"])
def test_the_bytes_of_a_search(ctx, peer, name):
    ctx.get_pvs(name)
    _, (fields, payload) = messages(peer.datagram())
    cid = fields[4]
    text = name.encode() + b"\0"
    size = (len(text) + 7) // 8 * 8
    assert fields == (6, size, 5, 13, cid, cid)
    assert payload == text.ljust(size, b"\0")


@item(18, 19)
def test_a_recorded_search_of_the_c_library_is_what_we_would_send(ctx, peer):
    """Byte for byte, but for the numbers that each client chooses."""
    recorded = next(
        d for d in datagrams("handshake")
        if d.direction == "c2s" and len(d.messages) == 2 and d.messages[1]["header"]["command"] == 6
    )
    ctx.get_pvs(recorded.messages[1]["decoded"]["name"])

    def without_numbers(datagram: bytes) -> list:
        return [(fields[:4], payload) for fields, payload in messages(datagram)]

    assert without_numbers(peer.datagram()) == without_numbers(recorded.data)


@item(20)
def test_names_of_a_burst_share_datagrams(ctx, peer):
    names = {f"{i:026d}" for i in range(40)}
    ctx.get_pvs(*names)
    one, two = (messages(peer.datagram())[1:] for _ in range(2))
    assert [len(one), len(two)] == [21, 19]
    assert {payload.rstrip(b"\0").decode() for _, payload in one + two} == names


@item(26)
def test_a_second_server_is_one_warning_and_no_reconnect(caplog, wait_for):
    with FakeServer({"x": 1.5, "y": 1.0}) as one, FakeServer({"x": 2.5}) as two:
        with caplog.at_level(logging.WARNING, "caproto"):
            with Context(configuration=configuration(one.address, two.address), timeout=10) as ctx:
                x, y = ctx.get_pvs("x", "y")
                value = x.read().data[0]
                used, other = (one, two) if value == 1.5 else (two, one)
                wait_for(lambda: caplog.records)
                y.read()
                assert x.read().data[0] == value
        assert len(used.received(ca.CreateChanRequest)) == 1 + (used is one)
        assert not [c for c in other.received(ca.CreateChanRequest) if c.name == "x"]
    (record,) = caplog.records
    for server in (one, two):
        assert f"127.0.0.1:{server.port}" in record.getMessage()
    assert "'x'" in record.getMessage() and record.pv == "x"


@item(27)
def test_a_reply_may_come_from_another_address(ctx, peer):
    """As from a host with several networks, or from a directory service."""
    with FakeServer({"x": 1.5}) as server:
        (x,) = ctx.get_pvs("x")
        search = peer.search("x")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.2", 0))
            reply = ca.SearchResponse(server.port, "127.0.0.1", search.cid, 13)
            other.sendto(bytes(reply), peer.client)
        assert x.read().data[0] == 1.5
        assert x.circuit_manager.circuit.address == server.address


@item(24)
@pytest.mark.parametrize("version, own_port", [(13, True), (8, True), (5, True), (4, False)])
def test_the_port_of_a_reply_counts_from_version_4_5_on(peer, version, own_port):
    with FakeServer({"x": 1.5}) as server:
        said = server.port if own_port else 1
        config = configuration(peer.address, server_port=1 if own_port else server.port)
        with Context(configuration=config, timeout=10) as ctx:
            (x,) = ctx.get_pvs("x")
            peer.send(ca.SearchResponse(said, None, peer.search("x").cid, version))
            assert x.read().data[0] == 1.5


@item(24)
@pytest.mark.parametrize("version", [None, 0, 3])
def test_servers_below_4_4_are_not_talked_to(ctx, peer, version, wait_for):
    with FakeServer({"x": 1.5}) as old, FakeServer({"x": 2.5}) as new:
        (x,) = ctx.get_pvs("x")
        cid = peer.search("x").cid
        peer.send(ca.SearchResponse(old.port, None, cid, version))
        peer.send(ca.SearchResponse(new.port, None, cid, 13))
        assert x.read().data[0] == 2.5
        assert old.connections == []


@item(25)
def test_a_duplicate_reply_makes_no_second_channel(ctx, peer):
    with FakeServer({"x": 1.5, "y": 2.5}) as server:
        (x,) = ctx.get_pvs("x")
        reply = ca.SearchResponse(server.port, None, peer.search("x").cid, 13)
        peer.send(reply, reply)
        peer.send(b"\xff" * 40)
        peer.send(ca.SearchResponse(1, None, 0xFFFF, 13))
        peer.send(reply)
        assert x.read().data[0] == 1.5
        (y,) = ctx.get_pvs("y")
        peer.send(ca.SearchResponse(server.port, None, peer.search("y").cid, 13))
        y.wait_for_search()
        assert len(server.connections) == 1
        assert len(server.wait_for(ca.CreateChanRequest, 2)) == 2


@item(29)
def test_a_new_server_is_found_soon_by_names_that_wait_long(ctx, peer, monkeypatch):
    """Its first two beacons, which come quickly, are the anomaly."""
    monkeypatch.setattr(search_plan, "ANOMALY_REST", 0.2)  # in place of 8.2 s
    monkeypatch.setattr(search_plan, "ANOMALY_SPREAD", 0.05)
    ctx.get_pvs("x")
    while True:
        cid = peer.search("x").cid
        facts = ctx.broadcaster._service.book._plan.status(cid)
        if facts.next_due - time.monotonic() > 0.9:
            break
    peer.send(ca.Beacon(13, 5064, 0))
    peer.send(ca.Beacon(13, 5064, 1))
    peer.search("x")
    assert time.monotonic() < facts.next_due
