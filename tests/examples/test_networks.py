"""The examples about networks: gateways, ports, NAT, tunnels, several IOCs on one host."""
from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

import pytest

from caproto import AlarmSeverity, ErrorResponseReceived, SearchRequest, SearchResponse
from caproto.threading.client import Context
from tests.harness.fake_server import FakeServer
from tests.harness.ioc_process import ROOT, DemoIOC, IOCProcess, clean_environ
from tests.harness.namespaces import PORT, Host, Network, environ
from tests.harness.ports import LOOPBACK, free_port
from tests.harness.waiting import wait_for
from tests.test_examples import play

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="127.0.0.2 and 127.255.255.255 need Linux"
)


def loopback(**variables: str) -> dict[str, str]:
    """An environment that finds nothing by itself."""
    return {
        "EPICS_CA_ADDR_LIST": "",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_REPEATER_PORT": str(free_port()),
        "CAPROTO_USE_REPEATER": "NO",
        **variables,
    }


class HostDemo(DemoIOC):
    """The demo IOC at a host of a network of namespaces, on all its interfaces."""

    def __init__(self, host: Host, *arguments: str) -> None:
        super().__init__("random_walk", *arguments, port=PORT)
        self._host = host

    def _command(self) -> Sequence[str]:
        return self._host.command(super()._command())

    def _process_environ(self) -> dict[str, str]:
        return {**super()._process_environ(), "EPICS_CAS_INTF_ADDR_LIST": ""}


def where(host: Host, *names: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run examples/where.py at a host of such a network."""
    return subprocess.run(
        host.command([sys.executable, str(ROOT / "examples" / "where.py"), *names]),
        env=clean_environ(**environ() | variables),
        capture_output=True,
        text=True,
        timeout=60,
    )


# ---- several IOCs on one host


def test_several_iocs_with_ports_of_their_own():
    beacons = {"EPICS_CAS_BEACON_PORT": str(free_port())}
    done = play(loopback(**beacons), "several_iocs.py")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout == "a:dt 1.0\nb:dt 2.0\n2 circuits\n"


@pytest.mark.usefixtures("networks")
def test_several_iocs_with_the_same_port_need_a_broadcast():
    with Network() as net, contextlib.ExitStack() as stack:
        host = net.host()
        for prefix in ("a:", "b:"):
            stack.enter_context(HostDemo(host, "--prefix", prefix))
        done = where(host, "a:dt", "b:dt", EPICS_CA_ADDR_LIST="127.255.255.255")
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"a:dt: 127.0.0.1:{PORT}\n" in done.stdout
        # The second one had to take another port for its clients.
        port = re.search(r"^b:dt: 127\.0\.0\.1:(\d+)$", done.stdout, re.M)
        assert port and int(port[1]) != PORT
        # A search that goes to one address reaches one of them.
        done = where(host, "a:dt", "b:dt", EPICS_CA_ADDR_LIST=LOOPBACK)
        assert done.returncode == 1
        assert len(re.findall(r"^[ab]:dt: 127\.0\.0\.1:\d+$", done.stdout, re.M)) == 1
        assert "unless the address is 127.255.255.255" in done.stdout  # a hint


# ---- tunnels


class Tunnel:
    """A relay for TCP from a port of 127.0.0.2 to an IOC, as ssh and docker have them."""

    def __init__(self, port: int, target: tuple[str, int]) -> None:
        self._target = target
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.2", port))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._sockets += near, far
                for source, sink in ((near, far), (far, near)):
                    thread = threading.Thread(target=self._pump, args=(source, sink), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close everything, and wait for the threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for sock in (self._listener, *self._sockets):
            sock.close()


@pytest.fixture
def tunnel() -> Iterator:
    """``tunnel(port, target)``: closed after the test."""
    with contextlib.ExitStack() as stack:

        def start(port: int, target: tuple[str, int]) -> None:
            stack.callback(Tunnel(port, target).close)

        yield start


@pytest.mark.parametrize("port", ["that of the IOC", "another one"])
def test_a_tunnel_to_our_ioc(demo_ioc, tunnel, port):
    port = demo_ioc.port if port == "that of the IOC" else free_port()
    tunnel(port, demo_ioc.address)
    server = f"127.0.0.2:{port}"
    done = play(loopback(EPICS_CA_NAME_SERVERS=server), "where.py", "random_walk:dt")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"searched at: {server}\nrandom_walk:dt: {server}\n"


@pytest.mark.ioc
def test_a_tunnel_to_a_real_ioc(ioc, tunnel):
    port = free_port()
    tunnel(port, ioc.address)
    server = f"127.0.0.2:{port}"
    done = play(loopback(EPICS_CA_NAME_SERVERS=server), "where.py", ioc.pv("double"))
    assert done.stdout == f"searched at: {server}\n{ioc.pv('double')}: {server}\n", done


def test_what_the_page_says_of_failures(demo_ioc):
    def explained(*servers: tuple[str, int]) -> str:
        names = " ".join(f"{host}:{port}" for host, port in servers)
        return play(loopback(EPICS_CA_NAME_SERVERS=names), "where.py", "missing").stdout

    closed = (LOOPBACK, free_port())
    assert f"by TCP to {LOOPBACK}:{closed[1]}, which fails: cannot connect" in explained(closed)
    text = explained(demo_ioc.address)
    assert f"by TCP to {LOOPBACK}:{demo_ioc.port}\n" in text and "  server  " not in text
    with FakeServer() as directory:
        directory.on[SearchRequest] = lambda connection, search: connection.send(
            SearchResponse(closed[1], LOOPBACK, search.cid, None)
        )
        text = explained(directory.address)
    words = " ".join(text.split())  # lines are wrapped
    assert re.search(rf" server {LOOPBACK}:{closed[1]} last failure .* refused", words), text


# ---- NAT


@pytest.mark.usefixtures("networks")
def test_an_ioc_behind_nat_is_found_over_tcp_and_not_by_udp():
    """A router publishes one TCP port of the IOC, as ``docker run --publish`` does."""
    with Network() as net, contextlib.ExitStack() as stack:
        client, router, server = net.host(), net.host(), net.host()
        outside, inside = net.link(client, router), net.link(router, server)
        router.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
        router.run(
            ["nft", "-f", "-"],
            f"""table ip nat {{
                chain to {{
                    type nat hook prerouting priority -100;
                    tcp dport {PORT} ip daddr {outside.far} dnat to {inside.far}
                }}
                chain from {{
                    type nat hook postrouting priority 100;
                    masquerade
                }}
            }}
            """,
        )
        stack.enter_context(HostDemo(server))

        done = where(client, "random_walk:dt", EPICS_CA_NAME_SERVERS=outside.far)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"random_walk:dt: {outside.far}:{PORT}\n" in done.stdout
        done = where(client, "random_walk:dt", EPICS_CA_ADDR_LIST=outside.far)
        assert done.returncode == 1 and "'random_walk:dt': searching" in done.stdout
        # The port is the same inside and outside, so UDP can be published, too.
        router.run(
            ["nft", "add", "rule", "ip", "nat", "to",
             f"udp dport {PORT} ip daddr {outside.far} dnat to {inside.far}"],
        )
        done = where(client, "random_walk:dt", EPICS_CA_ADDR_LIST=outside.far)
        assert f"random_walk:dt: {outside.far}:{PORT}\n" in done.stdout, done.stdout


# ---- a gateway


class Gateway(IOCProcess):
    """examples/gateway.py in a process of its own, in front of an IOC."""

    READY = "PVs: "

    def __init__(self, ioc: IOCProcess, *arguments: str) -> None:
        super().__init__()
        self._ioc, self._arguments = ioc, arguments

    def _command(self) -> Sequence[str]:
        script = str(ROOT / "examples" / "gateway.py")
        return [sys.executable, "-X", "dev", "-W", "error", script, *self._arguments]

    def _process_environ(self) -> dict[str, str]:
        place = f"{LOOPBACK}:{self._ioc.port}"
        return {**super()._process_environ(), **loopback(EPICS_CA_ADDR_LIST=place)}


@pytest.fixture
def types(start_demo) -> DemoIOC:
    """An IOC with PVs of every type."""
    return start_demo("types_and_enums")


def test_the_gateway_shows_what_the_ioc_has(types):
    names = [name for name in types.pv_names if name != "types:count"]  # which reading changes
    with Gateway(types, *names) as gateway, Context(configuration=gateway.configuration) as ctx:
        with Context(configuration=types.configuration) as direct:
            copies = [pv.read(data_type="control") for pv in ctx.get_pvs(*names)]
            for copy, pv in zip(copies, direct.get_pvs(*names), strict=True):
                original = pv.read(data_type="control")
                assert bytes(copy)[16:] == bytes(original)[16:], pv.name
        (pv,) = ctx.get_pvs("types:double")
        with pytest.raises(ErrorResponseReceived):
            pv.write(1)


def test_the_gateway_passes_writes_and_updates(types):
    names = ["types:double", "types:enum", "types:read_only"]
    with Gateway(types, "--writable", *names) as gateway:
        with Context(configuration=gateway.configuration) as ctx:
            value, enum, read_only = ctx.get_pvs(*names)
            updates = []
            value.subscribe(data_type="time").add_callback(updates.append, strong=True)
            value.write(92.0)
            enum.write("Two")
            with Context(configuration=types.configuration) as direct:
                original, state, _ = direct.get_pvs(*names)
                assert original.read().value == 92.0 and state.read().value == 2
                original.write(12.0)
            wait_for(lambda: updates and updates[-1].value == 12.0)
            alarms = [response.metadata.severity for response in updates if response.value == 92.0]
            assert AlarmSeverity.MAJOR_ALARM in alarms
            with pytest.raises(ErrorResponseReceived):
                read_only.write(1)


def test_where_finds_the_gateway_and_not_the_ioc(types):
    with Gateway(types, "types:double") as gateway:
        done = play(gateway.environ, "where.py", "types:double", "types:enum")
    assert f"types:double: 127.0.0.1:{gateway.port}\n" in done.stdout
    assert done.returncode == 1 and "'types:enum'" in done.stdout
