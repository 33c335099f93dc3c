"""What networks do to a client: lost packets, dead links, firewalls, two ways to a server.

The client, real IOCs and the wires between them are in network namespaces that each test makes for
itself. The client is an interpreter in a process of its own, into which the test speaks.
"""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.items import item
from tests.harness.databases import counter_names, counters, many, many_names
from tests.harness.namespaces import (
    PORT,
    Host,
    HostIOC,
    Link,
    Network,
    RemotePython,
    environ,
)

pytestmark = [
    pytest.mark.ioc,
    pytest.mark.usefixtures("networks"),
]

SETUP = "from caproto.threading.client import Context; ctx = Context(timeout=20)"


class Rig:
    """A client with two network interfaces; behind each is a host with room for an IOC."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self.client: Host = net.host()
        self.hosts: list[Host] = [net.host(), net.host()]
        self.links: list[Link] = [net.link(self.client, host) for host in self.hosts]
        self.addresses = [link.far for link in self.links]

    def ioc(self, number: int, *arguments, prefix: str) -> HostIOC:
        """Start an IOC behind one of the interfaces."""
        return self.net.ioc(self.hosts[number], *arguments, prefix=prefix)

    def start(self, **variables: str) -> RemotePython:
        """Start the client, with a Context ``ctx`` that searches at both hosts."""
        remote = self.net.python(self.client, environ(*self.addresses) | variables)
        remote.do(SETUP)
        return remote


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Network() as net:
        yield Rig(net)


def warnings(remote: RemotePython) -> list[str]:
    """What the client logged, which must be nothing worse than warnings."""
    log = remote.ask("log")
    assert {level for level, _ in log} <= {"WARNING"}, log
    return [message for _, message in log]


@item(38, 39)
def test_a_circuit_whose_packets_vanish_is_unresponsive_and_comes_back(rig):
    ioc = rig.ioc(0, prefix="A:")
    rig.ioc(1, prefix="B:")
    client = rig.start(EPICS_CA_CONN_TMO="1")
    client.do(
        "x, y = ctx.get_pvs('A:double', 'B:fast_counter')",
        "values, counts = [], []",
        "def on_value(response): values.append(response.data[0])",
        "def on_count(response): counts.append(response.data[0])",
        "x.subscribe().add_callback(on_value)",
        "y.subscribe().add_callback(on_count)",
        "wait_for(lambda: values and counts)",
        "manager, before = x.circuit_manager, len(counts)",
    )
    rig.hosts[0].drop("tcp dport 25064")
    rig.client.drop("tcp sport 25064 ip saddr " + rig.addresses[0])
    ioc.put("double", 42)
    error = client.error("x.write(5, timeout=20)")
    assert error.startswith(
        "DisconnectedError: 'A:double': the write failed: "
        f"{rig.addresses[0]}:{PORT} does not respond, last heard"
    )
    assert client.ask("[x.connected, y.connected]") == [False, True]
    error = client.error("x.read(timeout=0.1)")
    assert f"no response from {rig.addresses[0]}:{PORT}" in error
    # Six seconds at 100 Hz: the other circuit was not held up.
    client.do("wait_for(lambda: len(counts) > before + 300)")
    assert client.ask("values") == [3.14]

    rig.hosts[0].let_pass()
    rig.client.let_pass()
    client.do("x.wait_for_connection(timeout=20)", "wait_for(lambda: values[-1] != 3.14)")
    assert client.ask("x.circuit_manager is manager")
    client.do("x.write(43)", "wait_for(lambda: values[-1] == 43.0)")
    first, last = warnings(client)
    assert "does not respond" in first and "1 PV is unusable" in first
    assert "responds again" in last


@item(41)
def test_a_host_that_swallows_connects_delays_nobody_and_is_tried_again(rig):
    rig.ioc(0, prefix="A:")
    rig.ioc(1, prefix="B:")
    rig.hosts[0].drop("tcp flags & syn == syn")
    client = rig.start(EPICS_CA_CONN_TMO="1.5")
    place = f"{rig.addresses[0]}:{PORT}"
    client.do(
        "x, y = ctx.get_pvs('A:double', 'B:double')",
        "x.wait_for_search()",
        "y.read()",
    )
    # The other one was connected and read while this one was still at its first attempt.
    assert place in client.ask("repr(x)") and client.ask("len(log)") == 0
    error = client.error("x.wait_for_connection(timeout=0.1)")
    assert error == (
        "CaprotoTimeoutError: 'A:double' was found but is not connected after 0.1 s: "
        f"connecting to {place}"
    )
    client.do("wait_for(lambda: log)")
    assert warnings(client) == [
        f"Cannot connect to {place}: the host does not answer; 1 PV will be retried"
    ]
    rig.hosts[0].let_pass()
    assert client.ask("x.read().data.tolist()") == [3.14]
    assert client.ask("y.connected")


@item(30)
def test_an_interface_that_is_down_does_not_stop_the_search_on_the_other(rig):
    rig.ioc(0, prefix="A:")
    rig.ioc(1, prefix="B:")
    rig.links[0].down()  # its destination is the first one of the list
    client = rig.start()
    client.do("x, y = ctx.get_pvs('A:double', 'B:double')", "y.read()")
    assert client.ask("x.connected") is False
    error = client.error("x.read(timeout=0.5)")  # several searches more
    assert "'A:double' was not found within 0.5 s" in error
    assert warnings(client) == [
        f"Cannot send searches to {rig.addresses[0]}:{PORT}: Network is unreachable"
    ]
    rig.links[0].up()
    assert client.ask("x.read().data.tolist()") == [3.14]
    assert client.ask("str(ctx.explain(x))").count("unreachable") == 0


def test_a_connection_survives_an_interface_that_was_down_for_a_moment(rig):
    ioc = rig.ioc(0, prefix="A:")
    rig.ioc(1, prefix="B:")
    client = rig.start()
    client.do(
        "x, y = ctx.get_pvs('A:double', 'B:double')",
        "values = []",
        "def on_value(response): values.append(response.data[0])",
        "x.subscribe().add_callback(on_value)",
        "wait_for(lambda: values)",
        "manager = x.circuit_manager",
    )
    rig.links[0].down()
    ioc.put("double", 42)
    assert client.ask("y.read().data.tolist()") == [3.14]
    assert "no reply to the read within 0.3 s" in client.error("x.read(timeout=0.3)")
    rig.links[0].up()
    client.do("wait_for(lambda: values == [3.14, 42.0])")
    assert client.ask("x.read().data.tolist()") == [42.0]
    assert client.ask("x.circuit_manager is manager") and not warnings(client)


def test_a_twentieth_of_all_packets_lost_and_everything_arrives(rig):
    count = 1000
    ioc = rig.ioc(0, [many(count), counters(100, ".1 second")], prefix="A:")
    for host in (rig.hosts[0], rig.client):
        host.drop("numgen random mod 100 < 5")
    client = rig.start()
    client.do(
        f"pvs = ctx.get_pvs(*{many_names(count, 'A:')!r})",
        "for pv in pvs: pv.wait_for_connection()",
    )
    client.do(
        "answers = []",
        "for pv in pvs: pv.read(wait=False, callback=answers.append)",
        f"wait_for(lambda: len(answers) == {count}, timeout=20)",
    )
    assert client.ask("[response.data[0] for response in answers]") == list(range(count))
    client.do(
        f"moving = ctx.get_pvs(*{counter_names(100, 'A:')!r})",
        "seen = {}",
        "def on_count(sub, response):",
        "    seen.setdefault(sub.pv.name, []).append(response.data[0])",
        "for pv in moving: pv.subscribe().add_callback(on_count)",
        "wait_for(lambda: len(seen) == 100)",
    )
    ioc.put("run", 1)
    client.do("wait_for(lambda: all(values[-1] >= 10 for values in seen.values()), timeout=20)")
    ioc.put("run", 0)
    # An IOC posts the value of a record once more when it is disabled.
    client.do(
        "def complete(values): return values == [*range(len(values) - 1), len(values) - 2]",
        "wait_for(lambda: all(map(complete, seen.values())), 20, lambda: str(seen))",
    )
    assert client.ask("[len(values) for values in seen.values() if len(values) < 12]") == []
    assert not warnings(client)


@item(28)
def test_name_servers_alone_find_everything_where_no_datagram_passes(rig):
    rig.ioc(0, prefix="A:")
    rig.ioc(1, prefix="B:")
    for host in rig.hosts:
        host.drop("meta l4proto udp")
    place = f"{rig.addresses[0]}:{PORT}"
    blind = rig.start()
    assert "'A:double' was not found" in blind.error("ctx.get_pvs('A:double')[0].read(timeout=0.5)")
    client = rig.start(
        EPICS_CA_ADDR_LIST="", EPICS_CA_NAME_SERVERS=" ".join(rig.addresses)
    )
    client.do("x, y = ctx.get_pvs('A:double', 'B:double')")
    assert client.ask("[pv.read().data[0] for pv in (x, y)]") == [3.14, 3.14]
    assert place in client.ask("repr(x)")
    assert not warnings(client)


def test_a_firewall_on_our_own_host_is_named_and_name_servers_go_on(rig):
    rig.ioc(0, prefix="A:")
    rig.client.refuse("meta l4proto udp")
    client = rig.start(EPICS_CA_NAME_SERVERS=rig.addresses[0])
    assert client.ask("ctx.get_pvs('A:double')[0].read().data.tolist()") == [3.14]
    assert warnings(client) == [
        f"Cannot send searches to {address}:{PORT}: Operation not permitted"
        for address in rig.addresses
    ]


def test_the_broadcast_address_of_every_interface_is_searched(rig):
    rig.ioc(0, prefix="A:")
    rig.ioc(1, prefix="B:")
    client = rig.start(EPICS_CA_ADDR_LIST="", EPICS_CA_AUTO_ADDR_LIST="YES")
    client.do("x, y = ctx.get_pvs('A:double', 'B:double')")
    assert client.ask("[pv.read().data[0] for pv in (x, y)]") == [3.14, 3.14]
    assert sorted(client.ask("ctx.broadcaster._searches.destinations")) == [
        ["10.9.1.255", PORT], ["10.9.2.255", PORT],
    ]
    assert [client.ask(f"{pv}.circuit_manager.circuit.address") for pv in "xy"] == [
        [address, PORT] for address in rig.addresses
    ]


@item(26)
def test_one_name_at_two_servers_gives_one_warning_that_names_both(rig):
    for number in (0, 1):
        rig.ioc(number, prefix="T:")
    client = rig.start()
    client.do("x, = ctx.get_pvs('T:double')", "manager = x.read() and x.circuit_manager")
    client.do("wait_for(lambda: log)")
    used, _ = client.ask("manager.circuit.address")
    (other,) = {*rig.addresses} - {used}
    # Whatever the other server has to say has come when it has answered another question.
    client.do("ctx.get_pvs('T:long')[0].read()", "wait_for(lambda: len(log) >= 2)")
    assert [message for message in warnings(client) if "'T:double'" in message] == [
        f"'T:double' is served by two servers: {used}:{PORT}, which is used, and {other}:{PORT}"
    ]
    assert client.ask("x.circuit_manager is manager")
