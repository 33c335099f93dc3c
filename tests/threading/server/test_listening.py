"""The sockets of a server: which ports and addresses it takes, and what it does when it cannot."""
from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Iterator

import pytest

from caproto import CaprotoNetworkError
from caproto.threading.server import _listening
from caproto.threading.server._listening import Listening
from tests.conformance.items import item
from tests.harness.own_server import loopback, search
from tests.harness.ports import LOOPBACK, free_port


@pytest.fixture
def listen() -> Iterator[Callable[..., Listening]]:
    """``listen(interfaces=("127.0.0.1",))``: sockets, closed after the test."""
    made: list[Listening] = []

    def make(**changes) -> Listening:
        listening = Listening(loopback(**changes))
        made.append(listening)
        return listening

    yield make
    for listening in made:
        listening.close()


def hosts(sockets: list[socket.socket]) -> list[str]:
    return [sock.getsockname()[0] for sock in sockets]


# ---- ports ---------------------------------------------------------------------------------------


def test_any_free_port_is_the_same_for_searches_and_clients(listen):
    listening = listen(server_port=0)
    assert listening.tcp_port == listening.udp_port > 0
    (searcher,), (listener,) = listening.searchers, listening.listeners
    assert searcher.getsockname() == listener.getsockname() == (LOOPBACK, listening.tcp_port)
    with socket.create_connection((LOOPBACK, listening.tcp_port)):
        pass


@item(81)
def test_a_tcp_port_that_is_taken_is_replaced_and_that_is_said(listen, caplog):
    with socket.create_server((LOOPBACK, free_port())) as other:
        taken = other.getsockname()[1]
        listening = listen(server_port=taken)
        assert listening.udp_port == taken != listening.tcp_port
        assert listening.listeners[0].getsockname()[1] == listening.tcp_port
    assert f"TCP port {taken} is taken" in caplog.text


def test_two_interfaces_get_the_same_other_tcp_port(listen, caplog):
    with socket.create_server(("127.0.0.2", free_port())) as other:
        taken = other.getsockname()[1]
        listening = listen(interfaces=(LOOPBACK, "127.0.0.2"), server_port=taken)
    assert [sock.getsockname() for sock in listening.listeners] == [
        (LOOPBACK, listening.tcp_port), ("127.0.0.2", listening.tcp_port),
    ]
    assert caplog.text.count("is taken") == 1


def test_a_search_port_that_another_process_keeps_is_an_error(listen):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((LOOPBACK, free_port()))
        taken = other.getsockname()[1]
        with pytest.raises(CaprotoNetworkError, match=f"cannot serve on port {taken} of .*127"):
            listen(server_port=taken)


def test_a_port_that_is_free_for_searches_only_is_not_taken(listen, monkeypatch):
    """With port 0, which must be the same for both, the next free one is tried."""
    original, refused = _listening._listener, []

    def refuse_twice(host: str, port: int) -> socket.socket:
        if len(refused) < 2:
            refused.append(port)
            raise OSError(errno.EADDRINUSE, "taken")
        return original(host, port)

    monkeypatch.setattr(_listening, "_listener", refuse_twice)
    listening = listen(server_port=0)
    assert listening.tcp_port == listening.udp_port not in refused


def test_if_no_port_is_free_for_both_that_is_an_error_and_nothing_stays_open(listen, monkeypatch):
    def refuse(host: str, port: int) -> socket.socket:
        raise OSError(errno.EADDRINUSE, "taken")

    monkeypatch.setattr(_listening, "_listener", refuse)
    with pytest.raises(CaprotoNetworkError, match="no port is free for both TCP and UDP") as caught:
        listen(server_port=0)
    assert caught.value.errno == errno.EADDRINUSE


def test_if_each_other_tcp_port_is_taken_too_that_is_an_error(listen, monkeypatch):
    tried = []

    def refuse(host: str, port: int) -> socket.socket:
        tried.append(port)
        raise OSError(errno.EADDRINUSE, "taken")

    monkeypatch.setattr(_listening, "_listener", refuse)
    port = free_port()
    with pytest.raises(CaprotoNetworkError, match=f"cannot serve on port {port}"):
        listen(server_port=port)
    assert tried[0] == port and set(tried[1:]) == {0}


# ---- addresses -----------------------------------------------------------------------------------


def test_an_address_that_is_not_ours_is_an_error(listen):
    with pytest.raises(CaprotoNetworkError, match="192.0.2.77"):
        listen(interfaces=("192.0.2.77",), server_port=free_port())


def test_an_unknown_interface_name_is_an_error(listen):
    with pytest.raises(CaprotoNetworkError, match="no-such-host.invalid"):
        listen(interfaces=("no-such-host.invalid",))


def test_several_interfaces_share_one_port(listen):
    listening = listen(interfaces=(LOOPBACK, "127.0.0.2"))
    assert hosts(listening.searchers) == hosts(listening.listeners) == [LOOPBACK, "127.0.0.2"]
    ports = {sock.getsockname()[1] for sock in (*listening.searchers, *listening.listeners)}
    assert ports == {listening.tcp_port} == {listening.udp_port}


def test_broadcasts_to_the_network_of_an_interface_are_heard(listen, monkeypatch):
    """127.255.255.255 stands for the broadcast address of a real network."""
    monkeypatch.setattr(
        _listening, "interface_addresses",
        lambda: [
            (LOOPBACK, "127.255.255.255"),
            ("203.0.113.7", "203.0.113.255"),  # not one of ours
            (LOOPBACK, LOOPBACK),
        ],
    )
    listening = listen()
    assert hosts(listening.searchers) == [LOOPBACK, "127.255.255.255"]
    assert hosts(listening.listeners) == [LOOPBACK]


def test_a_broadcast_address_that_cannot_be_bound_is_left_out(listen, monkeypatch, caplog):
    monkeypatch.setattr(_listening, "interface_addresses", lambda: [(LOOPBACK, "203.0.113.255")])
    with caplog.at_level(logging.DEBUG, "caproto"):
        assert hosts(listen().searchers) == [LOOPBACK]
    assert "Cannot hear broadcasts to 203.0.113.255" in caplog.text


def test_multicast_groups_are_joined_beside_the_interfaces(listen, monkeypatch):
    monkeypatch.setattr(_listening, "ANY_INTERFACE", LOOPBACK)  # traffic stays on this host
    listening = listen(interfaces=("239.255.7.9",))
    assert hosts(listening.listeners) == [LOOPBACK]  # nothing else is given: all of them
    assert hosts(listening.searchers) == [LOOPBACK, "239.255.7.9"]
    datagram = search({"x": 1})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK))
        asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        asking.sendto(datagram, ("239.255.7.9", listening.udp_port))
        listening.searchers[1].settimeout(10)
        assert listening.searchers[1].recv(2048) == datagram


def test_a_multicast_group_that_cannot_be_joined_costs_nothing_else(listen, monkeypatch, caplog):
    monkeypatch.setattr(_listening, "ANY_INTERFACE", LOOPBACK)
    original = Listening._search_socket

    def refuse(self: Listening, host: str, port: int) -> socket.socket:
        if host == "239.255.7.9":
            raise OSError(errno.ENODEV, "No such device")
        return original(self, host, port)

    monkeypatch.setattr(Listening, "_search_socket", refuse)
    assert hosts(listen(interfaces=("239.255.7.9", LOOPBACK)).searchers) == [LOOPBACK]
    assert "Cannot join the multicast group 239.255.7.9" in caplog.text


# ---- the end -------------------------------------------------------------------------------------


def test_after_close_the_port_is_free_and_once_more_does_no_harm(listen):
    listening = listen()
    port = listening.tcp_port
    listening.close()
    listening.close()
    assert listening.listeners == listening.searchers == []
    assert listen(server_port=port).tcp_port == port
