"""The thread ``ca-server``: searches, new clients, beacons and scans in good and in bad times."""
from __future__ import annotations

import logging
import random
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from caproto import ReadNotifyResponse
from caproto.server import ChannelDouble
from caproto.threading.server import _loop
from tests.conformance.items import item
from tests.harness.ioc_process import clean_environ
from tests.harness.own_server import OwnServer, search
from tests.harness.ports import LOOPBACK
from tests.harness.raw_client import RawClient
from tests.harness.waiting import wait_for


def read(client: RawClient, name: str = "x") -> float:
    return float(client.ask(client.connect(name).read(), ReadNotifyResponse).data[0])


def test_searches_of_ignored_hosts_get_no_answer(serve, udp, caplog):
    server = serve(ignore_addr_list=("127.0.0.2", "no-such-host.invalid"))
    ignored, friend = udp("127.0.0.2"), udp()
    ignored.sendto(search({"x": 1}), (LOOPBACK, server.udp_port))
    friend.sendto(search({"x": 2}), (LOOPBACK, server.udp_port))  # one after the other
    assert friend.recv(2048)
    ignored.setblocking(False)
    with pytest.raises(BlockingIOError):
        ignored.recv(2048)
    assert "no-such-host.invalid" in caplog.text


# ---- bad times -----------------------------------------------------------------------------------


@item(84)
def test_random_datagrams_do_not_disturb_the_search(serve, udp, caplog):
    server = serve()
    asking, choose = udp(), random.Random(4)
    whole = search({"x": 1, "y": 2})
    for number in range(300):
        damaged = bytearray(whole)
        for _ in range(choose.randrange(1, 8)):
            damaged[choose.randrange(16, len(damaged))] = choose.randrange(256)
        rubbish = choose.randbytes(choose.randrange(200))
        for data in (rubbish, bytes(damaged[: choose.randrange(len(damaged))]), whole[:16]):
            asking.sendto(data, (LOOPBACK, server.udp_port))
        cid = 0xABCD0000 + number
        asking.sendto(search({"x": cid}), (LOOPBACK, server.udp_port))
        while asking.recv(2048)[28:32] != cid.to_bytes(4, "big"):  # damaged ones may ask for x, too
            pass
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_a_client_that_cannot_be_served_costs_no_other_one(serve, monkeypatch, caplog):
    """There are no more threads, for instance."""
    monkeypatch.setattr(_loop, "RETRY_PAUSE", 0.1)
    server = serve()
    start = threading.Thread.start
    failed = threading.Event()

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("ca-serve") and not failed.is_set():
            failed.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    with RawClient(server.address) as old:
        read(old)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with RawClient(server.address) as unlucky:
            assert unlucky.rest() == []
        assert read(old) == 1.5
        with RawClient(server.address) as later:
            assert read(later) == 1.5
        assert "can't start new thread" in caplog.text


SCARCE = """
import resource, socket, sys, time
from caproto.server import ChannelDouble
from tests.harness.own_server import OwnServer, search
from tests.harness.raw_client import RawClient
from caproto.threading.server import _loop
_loop.RETRY_PAUSE = 0.2
with OwnServer({"x": ChannelDouble(value=1.5)}) as server:
    with RawClient(server.address) as first:
        first.connect("x")
        waiting = socket.socket()
        limit = waiting.fileno() + 1 + int(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 4096))
        waiting.settimeout(10)
        waiting.connect(server.address)  # nobody can take it
        before = time.process_time()
        time.sleep(0.7)
        print(time.process_time() - before)
        first.connect("x")
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        print(waiting.recv(16).hex() or "closed")
        waiting.close()
        with RawClient(server.address) as last:
            last.connect("x")
            print("served")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
@pytest.mark.parametrize("free_descriptors", [0, 1, 2])
def test_without_descriptors_the_server_waits_and_lives_on(free_descriptors):
    """Clients wait until there are some; meanwhile nothing spins."""
    done = subprocess.run(
        [sys.executable, "-c", SCARCE, str(free_descriptors)],
        capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[3],
        env=clean_environ(),
    )
    assert done.returncode == 0, done.stderr
    spent, greeting, served = done.stdout.split()
    assert float(spent) < 0.3
    assert greeting in ("000000000000000d0000000000000000", "closed")
    assert served == "served"
    assert 1 <= done.stderr.count("Cannot accept a client") < 10
    assert "Traceback" not in done.stderr


class Unlucky:
    """A socket in which some calls fail: ``Unlucky(sock, accept=[OSError(...)])``."""

    def __init__(self, sock: socket.socket, **failures: list[OSError]) -> None:
        self._sock = sock
        self._failures = failures
        self.called = 0

    def __getattr__(self, name: str):
        return getattr(self._sock, name)

    def _call(self, name: str, *arguments):
        self.called += 1
        if self._failures.get(name):
            raise self._failures[name].pop(0)
        return getattr(self._sock, name)(*arguments)

    def accept(self):
        return self._call("accept")

    def recvfrom(self, size: int):
        return self._call("recvfrom", size)

    def sendto(self, data: bytes, address: tuple[str, int]):
        return self._call("sendto", data, address)


@pytest.fixture
def unlucky(monkeypatch):
    """``unlucky("searchers", recvfrom=[error])``: the next server's first socket of that kind."""
    original = _loop.Listening

    def arrange(kind: str, **failures: list[OSError]) -> list[Unlucky]:
        made: list[Unlucky] = []

        def listening(configuration):
            real = original(configuration)
            sockets = getattr(real, kind)
            made.append(Unlucky(sockets[0], **failures))
            sockets[0] = made[0]
            return real

        monkeypatch.setattr(_loop, "Listening", listening)
        return made

    return arrange


def ask(server: OwnServer, asking: socket.socket) -> bytes:
    asking.sendto(search({"x": 7}), (LOOPBACK, server.udp_port))
    return asking.recv(2048)


def test_an_error_of_the_search_socket_costs_no_later_search(serve, udp, unlucky, caplog):
    """The kernel reports here what became of earlier replies."""
    caplog.set_level(logging.DEBUG, "caproto.bcast")
    made = unlucky("searchers", recvfrom=[ConnectionRefusedError("refused")])
    server = serve()
    assert ask(server, udp())[28:32] == bytes([0, 0, 0, 7])
    assert made[0].called >= 3  # the failure, the search, the reply
    assert "Cannot receive searches: refused" in caplog.text


def test_a_reply_that_cannot_be_sent_costs_no_later_one(serve, udp, unlucky, caplog):
    caplog.set_level(logging.DEBUG, "caproto.bcast")
    unlucky("searchers", sendto=[OSError("network is unreachable")])
    server = serve()
    asking = udp()
    asking.sendto(search({"x": 1}), (LOOPBACK, server.udp_port))
    assert ask(server, asking)[28:32] == bytes([0, 0, 0, 7])
    assert "network is unreachable" in caplog.text
    assert f":{asking.getsockname()[1]}" in caplog.text  # whose search it was


@pytest.mark.parametrize("error", [BlockingIOError(), ConnectionAbortedError()])
def test_a_client_that_goes_before_it_is_accepted_is_no_trouble(serve, unlucky, caplog, error):
    made = unlucky("listeners", accept=[error])
    server = serve()
    with RawClient(server.address) as client:
        assert read(client) == 1.5
    assert made[0].called == 2
    assert not caplog.records


def test_a_refused_accept_is_tried_again_after_a_pause(serve, unlucky, monkeypatch, caplog):
    monkeypatch.setattr(_loop, "RETRY_PAUSE", 0.05)
    unlucky("listeners", accept=[OSError("too many open files")])
    server = serve()
    with RawClient(server.address) as client:
        assert read(client) == 1.5
    assert "Cannot accept a client: too many open files" in caplog.text


def test_a_beacon_that_cannot_be_sent_stops_nothing(serve, udp, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG, "caproto")
    original, made = _loop.bcast_socket, []

    def beacon_socket(**options):
        made.append(Unlucky(original(**options), sendto=[OSError("network is down")]))
        return made[0]

    monkeypatch.setattr(_loop, "bcast_socket", beacon_socket)
    listening = udp()
    serve(beacon_addr_list=(listening.getsockname(),))
    assert int.from_bytes(listening.recv(100)[8:12], "big") == 1  # the first one, 0, failed
    assert "network is down" in caplog.text


def test_a_scan_waits_for_a_thread_and_runs_when_there_is_one(serve, monkeypatch):
    monkeypatch.setattr(_loop, "RETRY_PAUSE", 0.05)
    start, refusals = threading.Thread.start, []

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("ca-worker") and len(refusals) < 3:
            refusals.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    x = ChannelDouble(value=0.0)
    x.scan = lambda instance: instance.write(instance.value + 1)
    x.scan_period = 1000.0
    serve({"x": x})
    wait_for(lambda: x.value == 1.0)
    assert len(refusals) == 3


def test_an_error_of_ours_ends_the_server_and_is_logged(serve, monkeypatch, caplog):
    monkeypatch.setattr(_loop, "search_replies", lambda *_: 1 / 0)
    server = serve()
    with RawClient(server.address) as client:
        assert read(client) == 1.5
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.sendto(search({"x": 1}), (LOOPBACK, server.udp_port))
        client.rest()  # it hangs up
    wait_for(lambda: not server.clients)
    assert "stopped" in repr(server)
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.exc_info[0] is ZeroDivisionError
