"""The repeater with scripted clients, with recordings of that of EPICS, and with its C clients."""
from __future__ import annotations

import errno
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from caproto._errors import CaprotoNetworkError, CaprotoRuntimeError
from caproto._os import repeater as module
from caproto._os.repeater import Repeater, repeater_runs, spawn_repeater
from tests.conformance.items import item
from tests.harness.ioc_process import SoftIOC, clean_environ
from tests.harness.ports import free_port, listens
from tests.harness.waiting import wait_for
from tests.vectors_support import VECTORS

LOCAL = 0x7F000001
CONFIRM = struct.pack(">HHHHII", 17, 0, 0, 0, 0, LOCAL)
NO_OPERATION = bytes(16)


def beacon(number: int, address: int = 0) -> bytes:
    return struct.pack(">HHHHII", 13, 0, 13, 5064, number, address)


class Peer:
    """A scripted client or server."""

    def __init__(self, repeater: Repeater, host: str = "127.0.0.1") -> None:
        self._to = (host, repeater.port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.settimeout(10)

    @property
    def address(self) -> tuple[str, int]:
        return self.socket.getsockname()

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, self._to)

    def receive(self) -> bytes:
        return self.socket.recv(65535)

    def register(self, data: bytes = b"") -> Peer:
        self.send(data)
        assert self.receive() == CONFIRM
        return self


@pytest.fixture
def repeater() -> Iterator[Repeater]:
    """A running repeater."""
    repeater = Repeater(free_port())
    thread = threading.Thread(target=repeater.run, name="repeater-of-test")
    thread.start()
    yield repeater
    repeater.stop()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def peer(repeater: Repeater) -> Iterator[Callable[[], Peer]]:
    """Makes scripted peers."""
    peers: list[Peer] = []

    def make(host: str = "127.0.0.1") -> Peer:
        peers.append(Peer(repeater, host))
        return peers[-1]

    yield make
    for one in peers:
        one.socket.close()


@item(85)
@pytest.mark.parametrize("request_data", [b"", struct.pack(">HHHHII", 24, 0, 0, 0, 0, LOCAL)])
def test_registration(repeater: Repeater, peer: Callable[[], Peer], request_data: bytes) -> None:
    """With an empty datagram and with command 24; the confirmation has our address."""
    client = peer()
    client.send(request_data)
    data, sender = client.socket.recvfrom(100)
    assert data == CONFIRM
    assert sender[1] != repeater.port  # from another port, as everybody's repeater does
    assert repeater.clients == [client.address]


@item(86)
def test_beacons_are_given_the_address_of_their_sender(peer: Callable[[], Peer]) -> None:
    client, server = peer().register(), peer()
    server.send(beacon(7))
    assert client.receive() == beacon(7, LOCAL)
    server.send(beacon(8, 0x0A000001))
    assert client.receive() == beacon(8, 0x0A000001)


@item(86)
@pytest.mark.parametrize(
    "data", [b"x", b"hello", bytes(16), beacon(1)[:15], b"\xff" * 1000, beacon(1, 5) + b"rest"]
)
def test_everything_else_is_copied_verbatim(peer: Callable[[], Peer], data: bytes) -> None:
    client, server = peer().register(), peer()
    server.send(data)
    assert client.receive() == data


@item(87)
def test_the_largest_datagram_is_copied(peer: Callable[[], Peer]) -> None:
    client, server = peer().register(), peer()
    largest = os.urandom(65507)
    server.send(largest)
    assert client.receive() == largest


def test_nothing_is_reflected_and_new_clients_provoke_a_message(peer: Callable[[], Peer]) -> None:
    one = peer().register()
    two = peer().register()
    assert one.receive() == NO_OPERATION
    one.register()  # again: confirmed, and nobody else hears of it
    one.send(beacon(1))
    assert two.receive() == beacon(1, LOCAL)
    two.send(beacon(2))
    assert one.receive() == beacon(2, LOCAL)  # the first thing since its confirmation


@item(88)
def test_vanished_clients_are_removed_when_sending_fails(
    repeater: Repeater, peer: Callable[[], Peer]
) -> None:
    stays, goes, server = peer().register(), peer().register(), peer()
    assert stays.receive() == NO_OPERATION
    goes.socket.close()
    for number in range(3):
        server.send(beacon(number))
        assert stays.receive() == beacon(number, LOCAL)
    wait_for(lambda: repeater.clients == [stays.address])


@item(88)
def test_vanished_clients_are_removed_when_one_registers(
    repeater: Repeater, peer: Callable[[], Peer]
) -> None:
    goes = [peer().register() for _ in range(5)]
    for client in goes:
        client.socket.close()
    new = peer().register()
    wait_for(lambda: repeater.clients == [new.address])


def test_a_failed_send_costs_no_datagram_of_the_living(
    repeater: Repeater, peer: Callable[[], Peer]
) -> None:
    """A client whose port was closed for a moment, and is in use again."""
    client, server = peer().register(), peer()
    address = client.address
    client.socket.close()
    server.send(beacon(1))  # draws an error, to be reported by the next send
    wait_for(lambda: _is_idle(repeater))
    again = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with again:
        again.bind(address)
        again.settimeout(10)
        server.send(beacon(2))
        assert again.recv(100) == beacon(2, LOCAL)
    assert repeater.clients == [address]


def _is_idle(repeater: Repeater) -> bool:
    """Nothing waits in the repeater's socket (Linux tells)."""
    wanted = f":{repeater.port:04X} "
    lines = [line for line in Path("/proc/net/udp").read_text().splitlines() if wanted in line]
    return all(line.split()[4].endswith(":00000000") for line in lines)


@item(89)
def test_a_client_that_does_not_read_disturbs_nobody(peer: Callable[[], Peer]) -> None:
    peer().register()  # and never receives again
    reader, server = peer().register(), peer()
    for number in range(2000):
        server.send(beacon(number, 5) + bytes(1000))
        assert reader.receive()[:16] == beacon(number, 5)


def test_strangers_cannot_register(
    repeater: Repeater, peer: Callable[[], Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is on this host is local, so somebody else decides here."""
    monkeypatch.setattr(module, "is_local_host", lambda host: host == "127.0.0.1")
    friend = peer().register()
    stranger = peer("127.0.0.2")
    stranger.send(b"")
    stranger.send(beacon(1))  # handled after the registration
    assert friend.receive() == beacon(1, 0x7F000002)
    assert repeater.clients == [friend.address]


@item(90)
def test_only_one_repeater_per_port(repeater: Repeater) -> None:
    assert repeater_runs(repeater.port)
    with pytest.raises(CaprotoNetworkError, match=str(repeater.port)) as caught:
        Repeater(repeater.port)
    assert caught.value.errno == errno.EADDRINUSE
    assert not repeater_runs(free_port())


def test_multicast_groups(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)  # stays on this host
        repeater = Repeater(free_port(), ["239.255.7.7", "10.0.0.1"])
        try:
            assert "10.0.0.1" in caplog.text  # no group; said, and nothing else is affected
            assert "239.255.7.7" not in caplog.text
        finally:
            repeater.close()


@item(85, 86, 87, 88)
def test_the_recorded_dialogue_with_the_repeater_of_epics(
    repeater: Repeater, peer: Callable[[], Peer]
) -> None:
    """Ours sends the same datagrams to the same clients, in the same order."""
    steps = json.loads((VECTORS / "messages" / "repeater.json").read_text())["real_repeater"]
    senders = ["A", "A", "B", "server", "server", "A", "server", "server", "server", "C"]
    peers: dict[str, Peer] = {}
    for step, name in zip(steps, senders, strict=True):
        if "after B closed" in step["note"]:
            peers["B"].socket.close()
        if name not in peers:
            peers[name] = peer()
        peers[name].send(bytes.fromhex(step["sent"]))
        for receiver, datagrams in step["received"].items():
            for datagram in datagrams:
                got = peers[receiver].receive()
                assert got.hex() == datagram["hex"], (step["note"], receiver)
    for one in peers.values():  # and nothing else
        if one.socket.fileno() >= 0:
            one.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                one.receive()


def test_stop_closes_everything() -> None:
    repeater = Repeater(port := free_port())
    thread = threading.Thread(target=repeater.run)
    thread.start()
    client = Peer(repeater).register()
    repeater.stop()
    thread.join(10)
    client.socket.close()
    assert not repeater_runs(port)
    assert repeater.clients == []


@pytest.fixture
def end_process() -> Iterator[list[int]]:
    """Process ids put into it are killed after the test."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="sessions are a thing of POSIX")
def test_a_spawned_repeater_is_detached(end_process: list[int], tmp_path: Path) -> None:
    """It outlives its parent, holds none of its pipes, and is in a session of its own."""
    port = free_port()
    script = f"from caproto._os.repeater import spawn_repeater; print(spawn_repeater({port}))"
    # Would hang until the repeater ends if that had inherited the pipes.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        env=clean_environ(),
        cwd=tmp_path,
    )
    assert done.stderr == ""
    pid = int(done.stdout)
    end_process.append(pid)
    wait_for(lambda: listens(port))
    assert os.getsid(pid) != os.getsid(0)
    # It serves.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.settimeout(10)
        client.sendto(b"", ("127.0.0.1", port))
        assert client.recv(100) == CONFIRM
    # A second one ends by itself.
    second = spawn_repeater(port)
    end_process.append(second)
    wait_for(lambda: not _alive(second))
    assert _alive(pid)
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not repeater_runs(port))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" not in status.read_text()


def test_frozen_programs_do_not_start_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(CaprotoRuntimeError, match="interpreter"):
        spawn_repeater(free_port())


@item(86)
@pytest.mark.ioc
def test_beacons_of_a_real_server_come_through(
    repeater: Repeater, peer: Callable[[], Peer], start_ioc: Callable[..., SoftIOC]
) -> None:
    client = peer().register()
    ioc = start_ioc(beacon_port=repeater.port)
    for expected in (0, 0, 1, 2):  # so they are numbered
        command, _, version, port, number, address = struct.unpack(">HHHHII", client.receive())
        assert (command, version, port) == (13, 13, ioc.port)
        assert (number, address) == (expected, LOCAL)


C_CLIENT = """
import sys, time
import epics
epics.ca.initialize_libca()
epics.ca.create_channel("no:such:pv:in:the:world")
print("READY", flush=True)
while not sys.stdin.closed:
    epics.ca.poll(evt=0.01, iot=0.01)
    time.sleep(0.05)
"""


@pytest.mark.libca
@pytest.mark.slow
@item(85, 88)
@pytest.mark.timeout(120)
def test_c_clients_register_and_are_forgotten(repeater: Repeater, peer: Callable[[], Peer]) -> None:
    """The C client finds our repeater and is content with its confirmation."""
    environ = clean_environ(
        EPICS_CA_REPEATER_PORT=str(repeater.port),
        EPICS_CA_SERVER_PORT=str(free_port()),
        EPICS_CA_ADDR_LIST="127.0.0.1",
        EPICS_CA_AUTO_ADDR_LIST="NO",
    )
    clients = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", C_CLIENT],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    try:
        # It registers 10 s after its start.
        wait_for(lambda: len(repeater.clients) == 2, timeout=40)
        ports = {port for _, port in repeater.clients}
        ours = peer().register()
        assert len(ports) == 2
        clients[0].kill()
        clients[0].wait()
        peer().register()
        assert ours.receive() == NO_OPERATION
        wait_for(lambda: len(repeater.clients) == 3)  # one of C, two of ours
        assert len({port for _, port in repeater.clients} & ports) == 1
    finally:
        for client in clients:
            client.kill()
            client.wait()
