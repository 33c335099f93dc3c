"""The threaded server: its life, its ports, and clients that come, go and misbehave."""
from __future__ import annotations

import gc
import logging
import random
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest

from caproto import (
    CaprotoNetworkError,
    CaprotoRuntimeError,
    EventAddResponse,
    ReadNotifyResponse,
    VersionResponse,
)
from caproto.server import ChannelDouble, ChannelInteger, ChannelString, PVGroup, pvproperty
from caproto.threading import server as server_module
from caproto.threading._server_client import ServerClient
from caproto.threading.client import Context
from caproto.threading.server import Server
from tests.conformance.items import item
from tests.harness.ioc_process import clean_environ
from tests.harness.own_server import OwnServer, loopback, search
from tests.harness.ports import LOOPBACK, free_port
from tests.harness.raw_client import PATIENCE, Ended, RawClient
from tests.harness.waiting import wait_for


@pytest.fixture
def serve() -> Iterator[Callable[..., OwnServer]]:
    """``serve({"x": ChannelDouble(value=1.5)}, server_port=…)``: a running server."""
    servers: list[OwnServer] = []

    def start(pvs=None, **changes) -> OwnServer:
        server = OwnServer({"x": ChannelDouble(value=1.5)} if pvs is None else pvs, **changes)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def udp() -> Iterator[Callable[..., socket.socket]]:
    """``udp(host)``: a datagram socket with an address, closed after the test."""
    sockets: list[socket.socket] = []

    def make(host: str = LOOPBACK) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sockets.append(sock)
        sock.bind((host, 0))
        sock.settimeout(PATIENCE)
        return sock

    yield make
    for sock in sockets:
        sock.close()


def read(client: RawClient, name: str = "x") -> float:
    return float(client.ask(client.connect(name).read(), ReadNotifyResponse).data[0])


# ---- life ----------------------------------------------------------------------------------------


def test_when_start_returns_clients_can_connect(serve):
    server = serve()
    with RawClient(server.address) as client:
        assert client.receive() == VersionResponse(13)
        assert read(client) == 1.5
    wait_for(lambda: not server.clients)


def test_a_client_of_ours_finds_it(serve):
    class Group(PVGroup):
        x = pvproperty(value=1.5)

    server = serve(Group(prefix="some:"))
    environ = server.environ
    port = int(environ["EPICS_CA_SERVER_PORT"])
    from caproto._environment import ClientConfiguration

    with Context(configuration=ClientConfiguration.from_environment(environ)) as ctx:
        (x,) = ctx.get_pvs("some:x")
        assert x.read(timeout=PATIENCE).data.tolist() == [1.5]
        x.write(2.5, timeout=PATIENCE)
    assert port == server.udp_port
    assert server.pvdb["some:x"].value == 2.5


def test_clients_are_those_that_are_connected(serve):
    server = serve()
    assert server.clients == ()
    with RawClient(server.address) as client:
        read(client)
        (one,) = server.clients
        assert isinstance(one, ServerClient)
        assert one.address == client.socket.getsockname()
        assert "1 clients" in repr(server) and str(server.tcp_port) in repr(server)
    wait_for(lambda: server.clients == ())


def test_stop_ends_everything_and_may_be_called_twice(serve):
    server = serve()
    address = server.address
    with RawClient(address) as client:
        read(client)
        server.stop()
        server.stop()
        with pytest.raises(Ended):
            client.receive()
    with pytest.raises(OSError):
        RawClient(address)


def test_the_port_can_be_had_again_at_once(serve):
    first = serve()
    with RawClient(first.address) as client:
        read(client)
        first.stop()  # it is our side that closes, so the kernel remembers the connection
        second = serve(server_port=first.tcp_port)
        assert second.tcp_port == first.tcp_port


def test_a_server_starts_once(serve):
    server = serve()
    with pytest.raises(CaprotoRuntimeError, match="running"):
        server.start()
    server.stop()
    with pytest.raises(CaprotoRuntimeError, match="stopped"):
        server.start()


def test_a_server_that_is_never_started_holds_nothing():
    server = Server({"x": ChannelDouble(value=1.5)}, loopback())
    assert "new" in repr(server)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        server.stop()
        del server
        gc.collect()


def test_pvs_that_are_added_later_are_served(serve):
    pvs = {"x": ChannelDouble(value=1.5)}
    server = serve(pvs)
    with RawClient(server.address) as client:
        assert read(client) == 1.5
        pvs["y"] = ChannelDouble(value=2.5)
        assert read(client, "y") == 2.5


def test_two_servers_may_serve_the_same_pv(serve):
    pvs = {"x": ChannelDouble(value=1.5)}
    one, two = serve(pvs), serve(pvs)
    with RawClient(one.address) as writer, RawClient(two.address) as reader:
        reader.ask(reader.connect("x").subscribe(), EventAddResponse)
        writer.send(writer.connect("x").write(7.5, notify=False))
        assert reader.receive(EventAddResponse).data.tolist() == [7.5]
        one.stop()
        pvs["x"].write(8.5)
        assert reader.receive(EventAddResponse).data.tolist() == [8.5]


# ---- ports and addresses -------------------------------------------------------------------------


def test_any_free_port_is_the_same_for_searches_and_clients(serve):
    server = serve(server_port=0)
    assert server.tcp_port == server.udp_port > 0


@item(81)
def test_a_tcp_port_that_is_taken_is_replaced_and_that_is_said(serve, caplog):
    with socket.create_server((LOOPBACK, free_port())) as other:
        taken = other.getsockname()[1]
        server = serve(server_port=taken)
        assert server.udp_port == taken != server.tcp_port
        with RawClient(server.address) as client:
            assert read(client) == 1.5
    assert f"TCP port {taken} is taken" in caplog.text


def test_a_search_port_that_somebody_keeps_for_himself_is_an_error(serve):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((LOOPBACK, free_port()))
        taken = other.getsockname()[1]
        with pytest.raises(CaprotoNetworkError, match=f"cannot serve on port {taken} of .*127"):
            serve(server_port=taken)


def test_an_address_that_is_not_ours_is_an_error(serve):
    with pytest.raises(CaprotoNetworkError, match="192.0.2.77"):
        serve(interfaces=("192.0.2.77",), server_port=free_port())


def test_an_unknown_interface_name_is_an_error(serve):
    with pytest.raises(CaprotoNetworkError, match="no-such-host.invalid"):
        serve(interfaces=("no-such-host.invalid",))


def test_after_a_failed_start_there_is_nothing_to_stop(serve):
    server = OwnServer({}, interfaces=("no-such-host.invalid",))
    with pytest.raises(CaprotoNetworkError):
        server.start()
    server.stop()
    with pytest.raises(CaprotoRuntimeError, match="stopped"):
        server.start()


def test_a_start_that_fails_late_leaves_nothing_open(monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("wrong on purpose")

    monkeypatch.setattr(server_module, "_Beacons", fail)
    server = OwnServer({})
    with pytest.raises(OSError, match="on purpose"):
        server.start()
    with pytest.raises(OSError):
        RawClient(server.address)


def test_multicast_groups_are_joined_beside_the_interfaces(serve, monkeypatch, udp):
    monkeypatch.setattr(server_module, "ANY_INTERFACE", LOOPBACK)  # traffic stays on this host
    server = serve(interfaces=("239.255.7.9",))
    with RawClient(server.address) as client:  # nothing else is given: all of them
        assert read(client) == 1.5
    asking = udp()
    asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK))
    asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
    asking.sendto(search({"x": 1}), ("239.255.7.9", server.udp_port))
    assert asking.recv(2048)[16:18] == b"\x00\x06"


def test_several_interfaces_share_one_port(serve, udp):
    server = serve(interfaces=(LOOPBACK, "127.0.0.2"))
    asking = udp()
    for host in (LOOPBACK, "127.0.0.2"):
        with RawClient((host, server.tcp_port)) as client:
            assert read(client) == 1.5
        asking.sendto(search({"x": 1}), (host, server.udp_port))
        answer, sender = asking.recvfrom(2048)
        assert sender[0] == host
        assert int.from_bytes(answer[20:22], "big") == server.tcp_port


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


@item(84)
def test_random_bytes_on_circuits_do_not_disturb_the_others(serve):
    server = serve()
    choose = random.Random(5)
    with RawClient(server.address) as good:
        x = good.connect("x")
        for _ in range(100):
            bad = RawClient(server.address, greet=choose.random() < 0.7)
            try:
                bad.send_raw(choose.randbytes(choose.choice((1, 15, 16, 100, 5000, 100_000))))
            except ConnectionError:
                pass
            finally:
                bad.close()
            assert good.ask(x.read(), ReadNotifyResponse).data.tolist() == [1.5]
        wait_for(lambda: len(server.clients) == 1)


@item(72)
def test_a_client_that_never_reads_does_not_hold_up_the_others(serve):
    wave = ChannelInteger(value=numpy.zeros(200_000, numpy.int32))
    server = serve({"wave": wave, "x": ChannelDouble(value=1.5)})
    with RawClient(server.address, small_buffer=True) as lazy, RawClient(server.address) as busy:
        for client in (lazy, busy):
            client.ask(client.connect("wave").subscribe(), EventAddResponse)
        for number in range(1, 31):
            wave.write(numpy.full(200_000, number, numpy.int32))
            assert busy.receive(EventAddResponse).data[0] == number
        with RawClient(server.address) as late:
            assert read(late) == 1.5
        seen = [0]
        while seen[-1] != 30:  # the last value comes, whatever was left out
            seen.append(int(lazy.receive(EventAddResponse).data[-1]))
        assert seen == sorted(seen)


def test_many_clients_at_once(serve):
    x = ChannelDouble(value=0.0)
    server = serve({"x": x})
    clients = [RawClient(server.address) for _ in range(100)]
    try:
        channels = [client.connect("x") for client in clients]
        for client, channel in zip(clients, channels, strict=True):
            client.ask(channel.subscribe(), EventAddResponse)
        assert len(server.clients) == 100
        x.write(1.0)
        for client in clients:
            assert client.receive(EventAddResponse).data.tolist() == [1.0]
    finally:
        for client in clients:
            client.close()
    wait_for(lambda: not server.clients)


def test_a_client_that_cannot_be_served_costs_no_other_one(serve, monkeypatch, caplog):
    """There are no more threads, for instance."""
    monkeypatch.setattr(server_module, "ACCEPT_PAUSE", 0.1)
    server = serve()
    start = threading.Thread.start
    failed = threading.Event()

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("ca-client") and not failed.is_set():
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
import caproto.threading.server as module
module.ACCEPT_PAUSE = 0.2
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
        capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2],
        env=clean_environ(),
    )
    assert done.returncode == 0, done.stderr
    spent, greeting, served = done.stdout.split()
    assert float(spent) < 0.3
    assert greeting in ("000000000000000d0000000000000000", "closed")
    assert served == "served"
    assert 1 <= done.stderr.count("cannot accept a client") < 10
    assert "Traceback" not in done.stderr


def test_a_period_that_is_no_number_does_not_stop_the_server(serve):
    class Group(PVGroup):
        period = pvproperty(value="0.01")
        count = pvproperty(value=0)

        @count.scan(period=period)
        def count(self, instance):
            instance.write(instance.value + 1)

    group = Group()
    server = serve(group)
    with RawClient(server.address) as client:
        count = client.connect("count")
        client.send(count.subscribe())
        while client.receive(EventAddResponse).data[0] < 3:
            pass
        client.send(client.connect("period").write("soon", notify=False))
        assert read(client, "count") >= 3
        client.send(client.connect("period").write("0.02", notify=False))
        reached = group.count.value
        while client.receive(EventAddResponse).data[0] < reached + 3:
            pass


def test_the_environment_is_the_default_configuration(monkeypatch):
    monkeypatch.setenv("EPICS_CAS_INTF_ADDR_LIST", LOOPBACK)
    monkeypatch.setenv("EPICS_CAS_SERVER_PORT", str(port := free_port()))
    monkeypatch.setenv("EPICS_CAS_AUTO_BEACON_ADDR_LIST", "NO")
    started = time.monotonic()
    with Server({"x": ChannelString(value="hello")}) as server:
        assert (server.tcp_port, server.udp_port) == (port, port)
    assert time.monotonic() - started < PATIENCE
