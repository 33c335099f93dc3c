"""Sockets over loopback, and the wake-up pair."""
from __future__ import annotations

import errno
import math
import socket
import threading
import time
import types
from collections.abc import Callable

import pytest

from caproto._errors import CaprotoNetworkError
from caproto._os.sockets import (
    READABLE,
    WRITABLE,
    WakeUp,
    abort,
    bcast_socket,
    finish_connect,
    is_local_host,
    poll,
    resolve_addresses,
    resolve_host,
    start_connect,
    wait_any,
    wait_writable,
)
from tests.harness.ports import LOOPBACK, free_port


def deadline(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def test_broadcasting_is_permitted() -> None:
    with bcast_socket() as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
        assert sock.type == socket.SOCK_DGRAM
    with bcast_socket(mcast_ttl=3) as sock:
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 3


def test_servers_of_one_host_share_the_search_port() -> None:
    port = free_port()
    with bcast_socket() as one, bcast_socket() as two, bcast_socket(reuse=False) as three:
        one.bind(("127.0.0.1", port))
        two.bind(("127.0.0.1", port))
        with pytest.raises(OSError):
            three.bind(("127.0.0.1", port))


def test_connecting(listener: socket.socket) -> None:
    sock = start_connect(listener.getsockname())
    try:
        assert wait_writable(sock, deadline())
        finish_connect(sock, listener.getsockname())
        peer, _ = listener.accept()
        with peer:
            assert sock.getpeername() == listener.getsockname()
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            with pytest.raises(BlockingIOError):
                sock.recv(1)
    finally:
        sock.close()


def test_a_refused_connection_says_who_refused() -> None:
    port = free_port()
    with pytest.raises(CaprotoNetworkError, match=f"127.0.0.1:{port}: Connection refused"):
        sock = start_connect(("127.0.0.1", port))
        try:
            assert wait_writable(sock, deadline())
            finish_connect(sock, ("127.0.0.1", port))
        finally:
            sock.close()


@pytest.mark.parametrize("address", [("no such host", 1), ("255.255.255.255", 1)])
def test_what_fails_at_once_is_our_error(address: tuple[str, int]) -> None:
    with pytest.raises(CaprotoNetworkError, match="cannot connect to"):
        start_connect(address)


@pytest.mark.parametrize(
    "make", [bcast_socket, WakeUp, lambda: start_connect((LOOPBACK, 1))],
    ids=["UDP", "wake-up", "TCP"],
)
def test_no_descriptors_left(monkeypatch: pytest.MonkeyPatch, make: Callable[[], object]) -> None:
    def fail(*_args: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    for name in ("socket", "socketpair"):
        monkeypatch.setattr(f"caproto._os.sockets.socket.{name}", fail)
    with pytest.raises(CaprotoNetworkError, match="cannot make a socket: Too many open") as raised:
        make()
    assert raised.value.errno == errno.EMFILE


def test_abort_resets_the_connection(listener: socket.socket) -> None:
    sock = socket.create_connection(listener.getsockname())
    peer, _ = listener.accept()
    with peer:
        abort(sock)
        peer.settimeout(10)
        with pytest.raises(ConnectionResetError):
            peer.recv(1)


def test_abort_of_an_unconnected_socket() -> None:
    sock = socket.socket()
    abort(sock)
    assert sock.fileno() == -1


def test_waiting_for_a_full_socket(listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname()) as sock:
        peer, _ = listener.accept()
        with peer:
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    sock.send(bytes(1 << 20))
            begun = time.monotonic()
            assert not wait_writable(sock, begun + 0.05)
            assert time.monotonic() - begun >= 0.05

            def drain() -> None:
                while peer.recv(1 << 20):
                    pass

            reader = threading.Thread(target=drain)
            reader.start()
            assert wait_writable(sock, deadline())
            assert wait_writable(sock, None)
            sock.shutdown(socket.SHUT_WR)
            reader.join(10)
            assert not reader.is_alive()


def test_a_deadline_in_the_past_only_looks() -> None:
    with bcast_socket() as sock:
        assert wait_writable(sock, -1e9)
        assert poll({sock: READABLE}, -1.0) == []


def test_far_deadlines_are_no_error() -> None:
    with bcast_socket() as sock:
        for far in (1e9, 1e300, math.inf):
            assert poll({sock: WRITABLE}, far) == [sock]


def test_polling_for_ever_is_spelled_in_two_ways() -> None:
    with bcast_socket() as sock:
        assert poll({sock: WRITABLE}, None) == poll({sock: WRITABLE}, math.inf) == [sock]


def test_waiting_for_a_closed_socket_is_an_error() -> None:
    sock = bcast_socket()
    sock.close()
    with pytest.raises(CaprotoNetworkError, match="closed"):
        wait_writable(sock, deadline())


@pytest.fixture
def wake():
    pair = WakeUp()
    yield pair
    pair.close()


def test_wake_up_ends_a_sleep(wake: WakeUp) -> None:
    assert poll({wake: READABLE}, 0) == []
    with bcast_socket() as sock:
        timer = threading.Timer(0.05, wake.set)
        timer.start()
        assert wait_any(sock, wake) == [wake]
        timer.join()


def test_many_sets_are_one_wake_up(wake: WakeUp) -> None:
    for _ in range(100_000):  # more than any socket buffer holds
        wake.set()
    wake.clear()
    assert poll({wake: READABLE}, 0) == []
    wake.set()
    assert poll({wake: READABLE}, 0) == [wake]


def test_a_set_inside_a_set_wakes_at_once(wake: WakeUp) -> None:
    """A signal handler may come before the outer one has sent its byte, and wait."""
    sender, inner = wake._sender, []

    class Interrupted:
        def send(self, data: bytes) -> int:
            if not inner:
                inner.append("set")
                wake.set()
                inner.append(poll({wake: READABLE}, 0))
            return sender.send(data)

    wake._sender = Interrupted()  # type: ignore[assignment]
    wake.set()
    wake._sender = sender
    assert inner == ["set", [wake]]
    wake.clear()
    wake.set()
    assert poll({wake: READABLE}, 0) == [wake]


def test_a_set_that_is_overtaken_by_a_clear_is_not_relied_on(wake: WakeUp) -> None:
    sender = wake._sender

    class Slow:
        def send(self, data: bytes) -> int:
            sent = sender.send(data)
            wake.clear()  # the sleeper is quicker than the rest of `set`
            return sent

    wake._sender = Slow()  # type: ignore[assignment]
    wake.set()
    wake._sender = sender
    wake.set()
    assert poll({wake: READABLE}, 0) == [wake]


def test_set_after_close_does_no_harm() -> None:
    wake = WakeUp()
    wake.close()
    wake.set()


def test_no_wake_up_is_lost(wake: WakeUp) -> None:
    """Four threads put work and set; the sleeper clears and takes, until all is done."""
    number, done = 5000, 0
    work: list[int] = []

    def produce() -> None:
        for item in range(number):
            work.append(item)
            wake.set()

    threads = [threading.Thread(target=produce) for _ in range(4)]
    for thread in threads:
        thread.start()
    while done < 4 * number:
        assert poll({wake: READABLE}, 10.0), f"asleep with {done} done"
        wake.clear()
        while work:
            work.pop()
            done += 1
    for thread in threads:
        thread.join()


def test_host_names_are_resolved() -> None:
    assert resolve_host("127.0.0.1") == "127.0.0.1"
    assert resolve_host("localhost") == "127.0.0.1"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 100, "a..b"])
def test_unknown_hosts(host: str) -> None:
    with pytest.raises(CaprotoNetworkError):
        resolve_host(host)


def test_unknown_hosts_are_skipped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    addresses = [("localhost", 1), ("no-such-host.invalid", 2), ("127.0.0.1", 1), ("127.0.0.1", 3)]
    assert resolve_addresses(addresses) == [("127.0.0.1", 1), ("127.0.0.1", 3)]
    [record] = caplog.records
    assert "EPICS_CA_ADDR_LIST" in record.getMessage()
    assert "no-such-host.invalid" in record.getMessage()


def test_which_hosts_are_this_one() -> None:
    assert is_local_host("127.0.0.1")
    assert is_local_host("127.8.9.10")
    assert not is_local_host("192.0.2.254")  # reserved for documentation


def test_the_socket_may_be_that_of_a_library():
    class Own(socket.socket):
        """A socket of the library."""

    with bcast_socket(types.SimpleNamespace(socket=Own)) as sock:
        assert type(sock) is Own
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
