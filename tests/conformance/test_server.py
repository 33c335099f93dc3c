"""Items 58 to 84 where they need sockets: searches, beacons, ports and variables of our server.

Requests and expected replies are those that were recorded with a real server. What one client alone
can see is shown in memory (test_server_session.py); what needs threads, by the tests of the server
(58, 72, 84: tests/threading/server/test_server.py and test_connection.py); what real clients see,
by tests/integration/test_libca_*.py (83).
"""
from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from caproto import Beacon, NotFoundResponse, ReadNotifyResponse, SearchRequest, SearchResponse
from caproto._environment import ServerConfiguration
from caproto._server.beacon_timer import BeaconTimer
from caproto.server import ChannelDouble, ChannelString
from caproto.threading.server import Server
from tests.conformance.items import item
from tests.harness.own_server import OwnServer, search
from tests.harness.ports import LOOPBACK, free_port
from tests.harness.raw_client import PATIENCE, RawClient
from tests.vectors_support import load, scripted_tcp, scripted_udp

#: The TCP port of the server that was recorded.
RECORDED_PORT = 25064
#: A search for these is the sign that the server has nothing more to say about what came before.
LAST = 0x7FFFFFFF


@pytest.fixture
def server() -> Iterator[OwnServer]:
    """With the names that the recordings are about."""
    pvs = {"VEC:ai": ChannelDouble(value=1.0), "VEC:ao.DESC": ChannelString(value="text")}
    with OwnServer(pvs) as running:
        yield running


@pytest.fixture
def udp() -> Iterator[Callable[..., socket.socket]]:
    """``udp(host, port)``: a datagram socket, closed after the test."""
    sockets: list[socket.socket] = []

    def make(host: str = LOOPBACK, port: int = 0) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sockets.append(sock)
        sock.bind((host, port))
        sock.settimeout(PATIENCE)
        return sock

    yield make
    for sock in sockets:
        sock.close()


def replies(server: OwnServer, asking: socket.socket, datagram: bytes) -> list[bytes]:
    """Everything that the server answers to one datagram."""
    asking.sendto(datagram, (LOOPBACK, server.udp_port))
    asking.sendto(search({"VEC:ai": LAST}), (LOOPBACK, server.udp_port))
    found = []
    while True:
        reply = asking.recv(65536)
        if reply[-12:-8] == struct.pack(">I", LAST):
            return found
        found.append(reply)


def with_port(datagram: bytes, port: int) -> bytes:
    """A recorded reply, as if the server had had another port."""
    return datagram.replace(
        struct.pack(">HHH", 6, 8, RECORDED_PORT), struct.pack(">HHH", 6, 8, port)
    )


# ---- searches ------------------------------------------------------------------------------------


@item(61, 62, 63)
@pytest.mark.parametrize("recorded", scripted_udp(), ids=lambda recorded: recorded["note"])
def test_datagrams_are_answered_as_a_real_server_answered_them(server, udp, recorded):
    expected = [
        with_port(bytes.fromhex(reply["hex"]), server.tcp_port) for reply in recorded["replies"]
    ]
    assert replies(server, udp(), bytes.fromhex(recorded["c2s"])) == expected


@item(62)
@pytest.mark.parametrize("version", [4, 8, 10, 11, 12, 13, 14])
def test_clients_from_version_11_on_get_their_sequence_number_back(server, udp, version):
    (reply,) = replies(
        server, udp(), search({"VEC:ai": 5}, sequence=0xFEDCBA98, version=version)
    )
    greeting = struct.pack(">HHHHII", 0, 0, 1, 13, 0xFEDCBA98, 0) if version >= 11 else b""
    found = struct.pack(">HHHHII", 6, 8, server.tcp_port, 0, 0xFFFFFFFF, 5) + b"\0\x0d" + bytes(6)
    assert reply == greeting + found


@item(62)
def test_no_reply_is_larger_than_1024_bytes(server, udp):
    datagram = search({"VEC:ai": 1})
    one = datagram[16:]
    found = replies(server, udp(), datagram[:16] + one * 1000)
    assert all(len(reply) <= 1024 and reply[:2] == b"\0\0" for reply in found)
    assert sum((len(reply) - 16) // 24 for reply in found) == 1000
    assert len(found) == 24  # 42 in each


@item(63)
@pytest.mark.parametrize("first", ["version 3", "search", "echo", "nothing"])
def test_a_datagram_that_does_not_begin_with_a_version_of_4_is_ignored(server, udp, first):
    datagram = {
        "version 3": struct.pack(">HHHHII", 0, 0, 1, 3, 1, 0) + search({"VEC:ai": 1})[16:],
        "search": search({"VEC:ai": 1, "VEC:ao.DESC": 2})[16:],
        "echo": struct.pack(">HHHHII", 23, 0, 0, 0, 0, 0) + search({"VEC:ai": 1}),
        "nothing": b"",
    }[first]
    assert replies(server, udp(), datagram) == []


@item(61)
def test_over_tcp_searches_are_answered_as_a_real_server_answered_them(server):
    (steps,) = (section["steps"] for section in scripted_tcp() if section["name"] == "tcp_search")
    with RawClient(server.address, greet=False) as client:
        for step in steps:
            client.send_raw(bytes.fromhex(step["c2s"]))
            expected = bytes.fromhex(step["s2c"]).replace(
                struct.pack(">HHH", 6, 0, RECORDED_PORT),
                struct.pack(">HHH", 6, 0, server.tcp_port),
            )
            received = b""
            while len(received) < len(expected):
                received += client.socket.recv(len(expected) - len(received))
            assert received == expected, step["note"]
            if step["connection_closed_by_server"]:
                assert client.socket.recv(1) == b""


@item(61)
def test_only_over_tcp_there_is_a_no_and_only_for_who_wants_it(server, udp):
    with RawClient(server.address) as client:
        client.send_raw(
            SearchRequest("nope", 1, 13, reply=5),
            SearchRequest("nope", 2, 13, reply=10),
            SearchRequest("VEC:ai", 3, 13, reply=10),
        )
        no = client.receive(NotFoundResponse)
        assert no == NotFoundResponse(13, 2)
        assert client.receive() == SearchResponse(server.tcp_port, None, 3, None)
    asking = search({"nope": 1})[:16] + bytes(SearchRequest("nope", 2, 13, reply=10))
    assert replies(server, udp(), asking) == []


# ---- beacons -------------------------------------------------------------------------------------


@item(80)
def test_beacons_are_those_of_a_real_server(udp):
    """But for the first number, which it sends twice, and the port."""
    listening = udp()
    recorded = [bytes.fromhex(entry["hex"]) for entry in load("messages/beacons.json")["datagrams"]]
    expected = list(dict.fromkeys(recorded))[:5]
    started = time.monotonic()
    with OwnServer({}, beacon_addr_list=(listening.getsockname(),)) as server:
        received = [listening.recv(2048) for _ in range(5)]
        took = time.monotonic() - started
    old, new = (struct.pack(">H", port) for port in (RECORDED_PORT, server.tcp_port))
    assert received == [data[:6] + data[6:8].replace(old, new) + data[8:] for data in expected]
    assert 0.2 < took < PATIENCE  # 0.02 + 0.04 + 0.08 + 0.16


@item(80)
def test_the_intervals_between_beacons_double_up_to_the_period():
    times = [entry["t"] for entry in load("messages/beacons.json")["datagrams"]]
    recorded = [after - before for before, after in zip(times, times[1:], strict=False)]
    beacons = BeaconTimer(5064, 15.0, 0.0)
    intervals = []
    for _ in recorded:
        now = beacons.due
        assert beacons.beacon(now) is not None
        intervals.append(beacons.due - now)
    assert intervals == pytest.approx(recorded, rel=0.2)
    assert intervals[:3] == pytest.approx([0.02, 0.04, 0.08]) and intervals[-1] == pytest.approx(15)


@item(80, 82)
def test_the_period_and_the_places_of_beacons_are_configured(udp):
    one, two = udp(), udp()
    started = time.monotonic()
    with OwnServer(
        {}, beacon_addr_list=(one.getsockname(), two.getsockname()), beacon_period=0.01
    ):
        for listening in (one, two):
            numbers = [int.from_bytes(listening.recv(100)[8:12], "big") for _ in range(10)]
            assert numbers == list(range(10))
        assert 0.08 < time.monotonic() - started < 5  # doubling would have taken 10 s


# ---- ports and variables -------------------------------------------------------------------------


@item(81)
def test_another_tcp_port_is_announced_in_replies_and_beacons(udp, caplog):
    listening, asking = udp(), udp()
    with socket.create_server((LOOPBACK, free_port())) as other:
        taken = other.getsockname()[1]
        with OwnServer(
            {"VEC:ai": ChannelDouble(value=2.5)}, server_port=taken,
            beacon_addr_list=(listening.getsockname(),),
        ) as server:
            assert server.udp_port == taken
            asking.sendto(search({"VEC:ai": 1}), (LOOPBACK, taken))
            port = int.from_bytes(asking.recv(2048)[20:22], "big")
            assert port != taken
            assert listening.recv(2048) == bytes(Beacon(13, port, 0))
            with RawClient((LOOPBACK, port)) as client:
                value = client.ask(client.connect("VEC:ai").read(), ReadNotifyResponse)
                assert value.data.tolist() == [2.5]
    assert str(taken) in caplog.text


@item(82)
def test_a_server_does_what_the_variables_say(udp):
    port, beacon_port = free_port(), free_port()
    one, two = udp(LOOPBACK, beacon_port), udp()
    friend, ignored = udp(), udp("127.0.0.2")
    configuration = ServerConfiguration.from_environment({
        "EPICS_CA_SERVER_PORT": str(free_port()),
        "EPICS_CAS_SERVER_PORT": str(port),
        "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1:99 127.0.0.3",
        "EPICS_CAS_IGNORE_ADDR_LIST": "127.0.0.2:77  127.0.0.9",
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
        "EPICS_CAS_BEACON_ADDR_LIST": f"127.0.0.1 127.0.0.1:{two.getsockname()[1]}",
        "EPICS_CAS_BEACON_PORT": str(beacon_port),
        "EPICS_CAS_BEACON_PERIOD": "0.01",
    })
    with Server({"VEC:ai": ChannelDouble(value=1.0)}, configuration):
        for host in (LOOPBACK, "127.0.0.3"):
            with RawClient((host, port)) as client:
                client.connect("VEC:ai")
            ignored.sendto(search({"VEC:ai": 1}), (host, port))
            friend.sendto(search({"VEC:ai": 2}), (host, port))
            assert friend.recv(2048)[28:32] == struct.pack(">I", 2)
        with pytest.raises(ConnectionRefusedError):
            RawClient(("127.0.0.4", port))
        for listening in (one, two):
            numbers = [int.from_bytes(listening.recv(100)[8:12], "big") for _ in range(5)]
            assert numbers == list(range(5))
        ignored.setblocking(False)
        with pytest.raises(BlockingIOError):
            ignored.recv(2048)


@item(82)
def test_the_servers_port_is_that_of_clients_if_it_has_none_of_its_own(udp):
    port = free_port()
    configuration = ServerConfiguration.from_environment({
        "EPICS_CA_SERVER_PORT": str(port),
        "EPICS_CAS_INTF_ADDR_LIST": LOOPBACK,
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
    })
    with Server({}, configuration) as server:
        assert (server.udp_port, server.tcp_port) == (port, port)
