"""SearchSocket: where searches go, and what goes wrong there."""
from __future__ import annotations

import logging
import socket

import pytest

import caproto as ca
from caproto.threading.client import _search_socket
from caproto.threading.client._search_socket import SearchSocket
from tests.harness.ports import LOOPBACK, free_port

log = logging.getLogger("caproto.bcast")
UNKNOWN = ("no.such.host.invalid", 7000)


@pytest.fixture
def make():
    """``make(*destinations)``: a SearchSocket that has looked up its addresses."""
    made = []

    def start(*destinations, **options) -> SearchSocket:
        configuration = ca.ClientConfiguration(
            addr_list=destinations, auto_addr_list=False, **options
        )
        made.append(SearchSocket(configuration, log))
        return made[-1]

    yield start
    for sock in made:
        sock.close()
        sock.close()


def test_addresses_are_looked_up_once(make, caplog):
    sock = make(("localhost", 7000), UNKNOWN, (LOOPBACK, 7000), name_servers=(UNKNOWN,))
    assert not sock.resolved and sock.destinations == ()
    sock.resolve()
    assert sock.resolved
    assert sock.destinations == ((LOOPBACK, 7000),) and sock.name_servers == ()
    assert sock.unresolved == ["no.such.host.invalid:7000"] * 2
    sock.resolve()
    assert len(caplog.records) == 2


def test_a_destination_that_fails_is_reported_once_and_affects_no_other(
    make, peer, caplog, monkeypatch
):
    bad = (LOOPBACK, 9)
    sock = make(bad, peer.address)
    sock.resolve()
    faults = [OSError(101, "Network is unreachable")] * 2 + [OSError(1, "Not permitted")]

    class Failing(socket.socket):
        def sendto(self, data, address):
            if address == bad and faults:
                raise faults.pop(0)
            return super().sendto(data, address)

    sock.socket = Failing(fileno=sock.socket.detach())
    seen = []
    for _ in range(4):
        sock.send(b"search")
        assert peer.datagram() == b"search"
        seen.append(sock.problems()[bad])
    assert seen == ["Network is unreachable"] * 2 + ["Not permitted", ""]
    assert sock.problems()[peer.address] == ""
    assert len(caplog.records) == 2


def test_the_repeater_is_on_this_host(make, peer):
    make(repeater_port=peer.address[1]).send_to_repeater(b"register")
    assert peer.datagram() == b"register"


def test_datagrams_come_with_their_senders_and_errors_are_passed_over(make, peer, wait_for):
    sock = make(peer.address)
    sock.resolve()
    sock.send(b"search")
    peer.datagram()
    for text in (b"one", b"two", b"three"):
        peer.sock.sendto(text, peer.client)
    errors = [ConnectionRefusedError()]

    class Failing(socket.socket):
        def recvfrom(self, size):
            if errors:
                raise errors.pop()
            return super().recvfrom(size)

    sock.socket = Failing(fileno=sock.socket.detach())
    sock.socket.setblocking(False)
    received: list = []
    wait_for(lambda: received.extend(sock.receive(2)) or len(received) == 3)
    assert received == [(text, peer.address) for text in (b"one", b"two", b"three")]
    assert list(sock.receive(10)) == []


def test_a_socket_that_cannot_be_made_is_closed_and_reported(make, monkeypatch):
    made = []

    class Unbindable(socket.socket):
        def bind(self, address):
            made.append(self)
            raise OSError(98, "Address already in use")

    def unbindable(**options):
        return Unbindable(socket.AF_INET, socket.SOCK_DGRAM)

    monkeypatch.setattr(_search_socket, "bcast_socket", unbindable)
    with pytest.raises(ca.CaprotoNetworkError, match="Address already in use"):
        make((LOOPBACK, free_port()))
    assert made[0].fileno() == -1
