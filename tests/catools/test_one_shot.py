"""The short way to a value: what it answers, and what it leaves to the client."""
from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from caproto import (
    CLIENT,
    Broadcaster,
    ChannelType,
    ClientConfiguration,
    CreateChanRequest,
    CreateChFailResponse,
    ReadNotifyRequest,
    SearchRequest,
)
from caproto._catools import one_shot
from caproto._catools.one_shot import read_once
from caproto._catools.settings import Settings
from tests.harness.fake_server import Connection, FakePV, FakeServer, hang_up, ignore


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    pvs = {
        "x": 1.5,
        "wave": FakePV([1, 2, 3], ChannelType.LONG, max_count=10),
        "writeonly": FakePV(8.0, rights=2),
    }
    with FakeServer(pvs) as running:
        use(monkeypatch, running)
        yield running


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less patience, for what is not answered anyway."""
    monkeypatch.setattr(one_shot, "_PATIENCE", 0.02)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """More patience than a slow machine needs."""
    monkeypatch.setattr(one_shot, "_PATIENCE", 10.0)


def use(monkeypatch: pytest.MonkeyPatch, *servers: FakeServer, **variables: str) -> None:
    """Have *servers* searched."""
    addresses = " ".join(f"127.0.0.1:{server.port}" for server in servers)
    for name, text in {
        **servers[0].environ, "EPICS_CA_ADDR_LIST": addresses, **variables
    }.items():
        monkeypatch.setenv(name, text)


def have_answered(server: FakeServer) -> None:
    """Wait until *server* has answered what it was asked before: it does one search at a time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.sendto(Broadcaster(CLIENT).search_datagram(1, [(1, "x")]), server.address)
        sock.recv(1024)


def read(*names: str) -> list[tuple[ChannelType, int, list[float]]] | None:
    answers = read_once(names, Settings("caget"), ClientConfiguration.from_environment())
    if answers is None:
        return None
    return [(native, room, list(response.data)) for native, room, response in answers]


def test_values_come_in_the_order_of_the_names_each_for_itself(server: FakeServer) -> None:
    assert read("wave", "x", "wave") == [
        (ChannelType.LONG, 10, [1, 2, 3] + 7 * [0]),
        (ChannelType.DOUBLE, 1, [1.5]),
        (ChannelType.LONG, 10, [1, 2, 3] + 7 * [0]),
    ]
    (connection,) = server.connections
    requested = [command.data_type for command in connection.commands(ReadNotifyRequest)]
    assert sorted(requested) == [ChannelType.TIME_LONG, ChannelType.TIME_DOUBLE]


def test_several_servers(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer({"z": 7.0}) as other:
        use(monkeypatch, server, other)
        assert read("x", "z") == [
            (ChannelType.DOUBLE, 1, [1.5]), (ChannelType.DOUBLE, 1, [7.0])
        ]


def test_what_is_missing_is_left_to_the_client(server: FakeServer, hasty: None) -> None:
    assert read("x", "not there") is None
    assert not server.connections  # not even begun


@pytest.mark.parametrize("request_class", [CreateChanRequest, ReadNotifyRequest])
def test_a_silent_server_is_left_to_the_client(
    server: FakeServer, request_class: type, hasty: None
) -> None:
    server.on[request_class] = ignore
    assert read("x") is None


@pytest.mark.parametrize("request_class", [CreateChanRequest, ReadNotifyRequest])
def test_a_lost_connection_is_left_to_the_client(
    server: FakeServer, request_class: type
) -> None:
    server.on[request_class] = hang_up
    assert read("x") is None


def test_a_refusal_is_left_to_the_client(server: FakeServer) -> None:
    assert read("writeonly") is None


def test_a_channel_that_is_refused_is_left_to_the_client(server: FakeServer) -> None:
    def refuse(connection: Connection, request: CreateChanRequest) -> None:
        connection.send(CreateChFailResponse(request.cid))

    server.on[CreateChanRequest] = refuse
    assert read("x") is None


def test_two_servers_with_one_name_are_left_to_the_client(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeServer({"x": 2.5, "z": 7.0}) as other:
        use(monkeypatch, server, other)

        def answer_after_the_first(search: SearchRequest) -> bool:
            have_answered(server)
            return search.name in other.pvs

        # So both are heard: one of the names is only at the other one.
        other.answers = answer_after_the_first
        assert read("x", "z") is None


def test_a_second_server_that_answers_late_is_noticed(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = threading.Event()
    with FakeServer({"x": 2.5}) as other:
        use(monkeypatch, server, other)
        other.answers = lambda search: late.wait(10)

        def answer_after_the_other(connection: Connection, request: ReadNotifyRequest) -> None:
            late.set()
            have_answered(other)
            server.usual(connection, request)

        server.on[ReadNotifyRequest] = answer_after_the_other
        assert read("x") is None


def test_unknown_hosts_are_left_to_the_client(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EPICS_CA_ADDR_LIST", "nowhere.invalid 127.0.0.1")
    assert read("x") is None
    assert not server.searches and caplog.text == ""


def test_name_servers_are_left_to_the_client(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, server, EPICS_CA_NAME_SERVERS="127.0.0.1:9")
    assert read("x") is None
    assert not server.searches


def test_many_names_are_left_to_the_client(server: FakeServer) -> None:
    assert read(*(f"a rather long name {i}" for i in range(100))) is None
    assert not server.searches


def test_names_that_no_datagram_can_hold_are_left_to_the_client(server: FakeServer) -> None:
    assert read("x" * 70000, "x") is None
    assert server.searches == []
