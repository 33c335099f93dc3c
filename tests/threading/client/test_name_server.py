"""Searching over TCP: when a name server is asked, and what happens when it cannot be."""
from __future__ import annotations

import errno
import gc
import logging
import math
import threading
import time
import weakref
from functools import partial

import pytest

import caproto as ca
from caproto._client import name_server_session
from caproto._client.heartbeat import Heartbeat
from caproto.threading import _transport
from caproto.threading._waiting import Deadline
from caproto.threading.client import Context
from caproto.threading.client._name_server import NameServer
from tests.conformance.items import item
from tests.harness.fake_server import FakeServer, hang_up, ignore
from tests.harness.ports import LOOPBACK, free_port


class Owner:
    """What the broadcaster would be told."""

    def __init__(self) -> None:
        self.answers: list[tuple[list[int], int]] = []
        self.invitations = 0
        self.threads: set[str] = set()

    def answered_by_tcp(self, responses, version) -> None:
        self.threads.add(threading.current_thread().name)
        self.answers.append(([response.cid for response in responses], version))

    def search_now(self) -> None:
        self.invitations += 1


@pytest.fixture
def owner():
    return Owner()


@pytest.fixture
def ask(owner):
    """``ask(address, connection_timeout)``: a NameServer that has begun to connect."""
    made: list[NameServer] = []

    def start(address, connection_timeout: float = 30.0) -> NameServer:
        server = NameServer(owner, address, connection_timeout=connection_timeout)
        made.append(server)
        server.start()
        return server

    yield start
    for server in made:
        server.close()
        server.join(Deadline(10))


@pytest.fixture
def quick_retries(monkeypatch):
    monkeypatch.setattr(name_server_session, "FIRST_RETRY", 0.02)


def answer(connection, command) -> None:
    """As an IOC answers over TCP: no payload, 'the address of this circuit'."""
    if command.name in connection.server.pvs:
        connection.send(ca.SearchResponse(connection.server.port, None, command.cid, None))


@pytest.fixture
def directory():
    """A server that is to be searched over TCP, deaf to UDP."""
    server = FakeServer({"x": 1.5, "y": 2.5})
    server.on[ca.SearchRequest] = answer
    server.start_tcp()
    yield server
    server.stop()
    assert not server.errors


def configuration(server: FakeServer, *destinations, **options):
    """Only *server*, by TCP, and by UDP the *destinations*."""
    options = {"auto_addr_list": False, "use_repeater": False, **options}
    return ca.ClientConfiguration(
        addr_list=destinations, name_servers=(server.address,), **options
    )


# ---- one name server -------------------------------------------------------------------------


def test_it_introduces_itself_and_waits_for_the_version(directory, owner, ask, wait_for):
    directory.greeting = False
    server = ask(directory.address)
    directory.wait_for(ca.HostNameRequest)
    kinds = [type(command) for command in directory.connection.received]
    assert kinds == [ca.VersionRequest, ca.ClientNameRequest, ca.HostNameRequest]
    assert directory.connection.received[0].priority == 0
    server.search([(1, "x")])
    assert "not connected yet" in repr(server) and owner.invitations == 0
    directory.connection.send(ca.VersionResponse(13))
    wait_for(lambda: owner.invitations == 1)
    assert server.problem == "" and "connected" in repr(server)
    server.search([(2, "x"), (3, "nobody"), (4, "y")])
    wait_for(lambda: sum(len(ids) for ids, _ in owner.answers) == 2)
    assert [c.cid for c in directory.received(ca.SearchRequest)] == [2, 3, 4], "1 was not kept"
    assert sorted(cid for ids, _ in owner.answers for cid in ids) == [2, 4]
    assert {version for _, version in owner.answers} == {13}
    assert owner.threads == {f"ca-names {LOOPBACK}:{directory.port}"}


@item(28)
@pytest.mark.parametrize("version, asked", [(11, False), (12, True), (13, True)])
def test_servers_below_4_12_are_not_asked(version, asked, owner, ask, wait_for):
    with FakeServer({"x": 1.0}, version=version) as old:
        old.on[ca.SearchRequest] = answer
        server = ask(old.address, connection_timeout=0.1)
        wait_for(lambda: server.problem != "not connected yet")
        server.search([(1, "x")])
        old.wait_for(ca.EchoRequest)  # comes later on the same circuit
        assert bool(old.received(ca.SearchRequest)) is asked
        assert (owner.invitations > 0) is asked
        assert ("version 4.11" in server.problem) is not asked


def test_an_idle_circuit_is_probed_and_stays(directory, owner, ask, wait_for):
    server = ask(directory.address, connection_timeout=0.05)
    directory.wait_for(ca.EchoRequest, 3)
    assert len(directory.connections) == 1
    server.search([(1, "x")])
    wait_for(lambda: owner.answers)


def silent_server(directory, ask, wait_for, monkeypatch) -> NameServer:
    """A name server that can be asked, and is asked for an echo soon."""
    monkeypatch.setattr(name_server_session, "Heartbeat", partial(Heartbeat, echo_timeout=0.1))
    server = ask(directory.address, connection_timeout=0.1)
    wait_for(lambda: not server.problem)
    wait_for(lambda: directory.received(ca.VersionRequest))
    return server


def test_a_silent_server_is_reported_once_and_asked_when_it_responds_again(
    directory, owner, ask, wait_for, monkeypatch, caplog
):
    with caplog.at_level(logging.WARNING, "caproto"):
        server = silent_server(directory, ask, wait_for, monkeypatch)
        directory.on[ca.EchoRequest] = ignore
        wait_for(lambda: "does not respond" in server.problem)
        directory.wait_for(ca.EchoRequest, 4)  # it is asked again and again
        server.search([(1, "x")])
        assert owner.invitations == 1
        del directory.on[ca.EchoRequest]
        wait_for(lambda: owner.invitations == 2)
    assert server.problem == ""
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "does not respond" in record.getMessage()
    server.search([(2, "x")])
    wait_for(lambda: owner.answers == [([2], 13)])
    assert len(directory.connections) == 1


def test_a_server_that_takes_no_searches_is_silent_whatever_it_says(
    directory, owner, ask, wait_for, monkeypatch
):
    """And what it is not asked any more does not pile up."""
    server = silent_server(directory, ask, wait_for, monkeypatch)
    directory.connection.stop_reading()
    number = 0
    deadline = time.monotonic() + 30
    while not server.problem:
        assert time.monotonic() < deadline
        server.search([(number + cid, f"nobody:has:{cid}") for cid in range(1, 1000)])
        directory.connection.send(ca.NotFoundResponse(13, 99))
        number += 1000
        time.sleep(0.001)  # the pace of the searches
    assert "does not respond" in server.problem
    waiting = len(server._transport.outbox)
    server.search([(cid, "nobody:has:it") for cid in range(1, 1000)])
    assert len(server._transport.outbox) <= waiting


@item(28)
def test_an_old_server_that_responds_again_is_still_too_old(owner, ask, wait_for, monkeypatch):
    monkeypatch.setattr(name_server_session, "Heartbeat", partial(Heartbeat, echo_timeout=0.1))
    with FakeServer({"x": 1.0}, version=11) as old:
        old.on[ca.EchoRequest] = ignore
        server = ask(old.address, connection_timeout=0.1)
        wait_for(lambda: "does not respond" in server.problem)
        del old.on[ca.EchoRequest]
        old.connection.send(ca.EchoResponse())
        wait_for(lambda: "version 4.11" in server.problem)
        assert owner.invitations == 0


def test_nothing_else_that_it_says_disturbs(directory, owner, ask, wait_for):
    server = ask(directory.address)
    wait_for(lambda: owner.invitations)
    server.search([(1, "x")])
    wait_for(lambda: owner.answers)
    directory.connection.send(
        ca.NotFoundResponse(13, 99), ca.SearchResponse(1, None, 98, None)
    )
    wait_for(lambda: ([98], 13) in owner.answers)
    assert server.problem == ""


def test_a_lost_circuit_is_made_again_and_begins_with_everything(
    directory, owner, ask, wait_for, quick_retries, caplog
):
    with caplog.at_level(logging.WARNING, "caproto"):
        server = ask(directory.address)
        wait_for(lambda: owner.invitations == 1)
        directory.drop_all(graceful=True)
        wait_for(lambda: owner.invitations == 2)
    assert server.problem == ""
    server.search([(5, "x")])
    wait_for(lambda: owner.answers == [([5], 13)])
    (record,) = caplog.records
    start = f"The name server {LOOPBACK}:{directory.port} is not available: "
    assert record.getMessage() == start + "the server closed the connection"


def test_a_server_that_breaks_the_protocol_is_left_and_tried_again(
    directory, owner, ask, wait_for, quick_retries
):
    ask(directory.address)
    wait_for(lambda: owner.invitations == 1)
    directory.connection.send_raw(b"\xff\xff" * 16)
    wait_for(lambda: owner.invitations == 2)
    assert len(directory.connections) == 2


@pytest.mark.parametrize(
    "error, reports",
    [
        (OSError(errno.EMFILE, "Too many open files"), 1),
        (ca.CaprotoNetworkError(errno.EMFILE, "Too many open files"), 1),
        (RuntimeError("can't start new thread"), 4),  # unexpected each time; and why, once
    ],
)
def test_without_resources_it_tries_again(
    error, reports, directory, owner, ask, wait_for, monkeypatch, quick_retries, caplog
):
    failures = [error] * 3
    start_connect = _transport.start_connect

    def start(address):
        if failures:
            raise failures.pop()
        return start_connect(address)

    monkeypatch.setattr(_transport, "start_connect", start)
    with caplog.at_level(logging.WARNING, "caproto"):
        server = ask(directory.address)
        wait_for(lambda: owner.invitations == 1)
    assert not failures and server.problem == ""
    assert len(caplog.records) == reports
    assert _transport.describe(error) in caplog.text


@item(41)
def test_refused_connects_back_off(ask, wait_for, monkeypatch, quick_retries, caplog):
    moments = []
    start_connect = _transport.start_connect

    def start(address):
        moments.append(time.monotonic())
        return start_connect(address)

    monkeypatch.setattr(_transport, "start_connect", start)
    with caplog.at_level(logging.WARNING, "caproto"):
        server = ask((LOOPBACK, free_port()), connection_timeout=0.1)
        wait_for(lambda: len(moments) >= 6)
    pauses = [b - a for a, b in zip(moments, moments[1:], strict=False)]
    assert all(pause >= least for pause, least in zip(pauses, (0.02, 0.04, 0.08, 0.1, 0.1)))
    assert "refused" in server.problem
    assert len(caplog.records) == 1, "reported once, not with each attempt"
    assert "refused" in caplog.records[0].getMessage()


@pytest.mark.parametrize("greeting", [False, True])
def test_a_server_that_hangs_up_on_us_is_not_pestered(
    ask, wait_for, quick_retries, caplog, greeting
):
    """Nor is anybody else: each greeting makes us ask for everything again."""
    with FakeServer(greeting=greeting) as rude:
        rude.on[ca.VersionRequest] = hang_up
        moments = []
        rude.on[ca.ClientNameRequest] = lambda *_: moments.append(time.monotonic())
        with caplog.at_level(logging.WARNING, "caproto"):
            ask(rude.address, connection_timeout=0.1)
            wait_for(lambda: len(moments) >= 5)
    pauses = [b - a for a, b in zip(moments, moments[1:], strict=False)]
    # A little less, because the server's clock starts late.
    assert pauses[1] >= 0.02 and pauses[2] >= 0.05 and pauses[3] >= 0.07
    assert len(caplog.records) == len(set(caplog.messages)), "reported once, not each time"


def test_the_longest_pause_has_a_bound(directory, owner):
    server = NameServer(owner, directory.address, connection_timeout=math.inf)
    pauses = [server._resume_at() - time.monotonic() for _ in range(12)]
    assert max(pauses) <= 30.0
    server._wakeup.close()


def test_after_a_success_the_pauses_begin_anew(ask, owner, wait_for, quick_retries):
    port = free_port()
    server = ask((LOOPBACK, port), connection_timeout=60)
    wait_for(lambda: server._session._failures > 4)
    with FakeServer({"x": 1.5}, port=port) as directory:
        directory.on[ca.SearchRequest] = answer
        wait_for(lambda: owner.invitations == 1)
        assert server._session._failures > 4, "a greeting is not enough"
        server.search([(1, "x")])
        wait_for(lambda: owner.answers)
        assert server._session._failures == 0


def test_closing_hangs_up_in_order(directory, owner, ask, wait_for):
    server = ask(directory.address)
    wait_for(lambda: owner.invitations)
    server.close()
    server.join(Deadline(10))
    assert not server._thread.alive
    wait_for(lambda: not directory.connection.open)


def test_closing_does_not_wait_for_a_pause_or_a_silent_host(ask, wait_for, monkeypatch):
    monkeypatch.setattr(name_server_session, "FIRST_RETRY", 60.0)
    server = ask((LOOPBACK, free_port()), connection_timeout=60)
    wait_for(lambda: "refused" in server.problem)
    server.close()
    server.join(Deadline(10))
    assert not server._thread.alive


def test_it_can_be_collected(directory, owner, wait_for):
    server = NameServer(owner, directory.address, connection_timeout=30.0)
    server.start()
    wait_for(lambda: owner.invitations)
    thread, alive = server._thread, weakref.ref(server)
    del server
    gc.collect()
    thread.join(Deadline(10))
    assert not thread.alive and alive() is None


# ---- a whole client --------------------------------------------------------------------------


@item(28)
def test_names_are_found_without_any_udp(directory):
    with Context(configuration=configuration(directory), timeout=10) as ctx:
        assert ctx.broadcaster._searches.destinations == []
        x, y = ctx.get_pvs("x", "y")
        assert x.read().data[0] == 1.5 and y.read().data[0] == 2.5
        assert x.circuit_manager.circuit.address == directory.address


@item(28)
def test_searches_by_udp_and_tcp_go_side_by_side(directory, start_server):
    by_udp = start_server({"u": 7.0})
    config = configuration(directory, by_udp.address)
    with Context(configuration=config, timeout=10) as ctx:
        u, x = ctx.get_pvs("u", "x")
        assert (u.read().data[0], x.read().data[0]) == (7.0, 1.5)
        assert u.circuit_manager.circuit.address == by_udp.address
        assert x.circuit_manager.circuit.address == directory.address


@item(28)
def test_a_name_server_may_point_to_another_server(directory, start_server):
    other = start_server({"elsewhere": 3.0})

    def refer(connection, command) -> None:
        connection.send(ca.SearchResponse(other.port, LOOPBACK, command.cid, None))

    directory.on[ca.SearchRequest] = refer
    with Context(configuration=configuration(directory), timeout=10) as ctx:
        (pv,) = ctx.get_pvs("elsewhere")
        assert pv.read().data[0] == 3.0
        assert pv.circuit_manager.circuit.address == other.address


@item(28)
def test_port_0_without_an_address_means_the_circuit_itself(directory):
    """As PCAS answers."""
    directory.on[ca.SearchRequest] = lambda connection, command: connection.send(
        ca.SearchResponse(0, None, command.cid, None)
    )
    with Context(configuration=configuration(directory), timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        assert x.read().data[0] == 1.5


def test_a_name_server_that_starts_later_is_found(quick_retries):
    server = FakeServer({"x": 1.5})
    server.on[ca.SearchRequest] = answer
    with Context(configuration=configuration(server), timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        with pytest.raises(ca.CaprotoTimeoutError, match="'x' was not found"):
            x.wait_for_connection(timeout=0.1)
        server.start_tcp()
        assert x.read().data[0] == 1.5
    server.stop()
    assert not server.errors


def test_a_name_server_may_be_restarted(directory, quick_retries):
    with Context(configuration=configuration(directory), timeout=10) as ctx:
        x, late = ctx.get_pvs("x", "late")
        assert x.read().data[0] == 1.5
        directory.stop()
        again = FakeServer({"x": 4.5, "late": 5.5}, port=directory.port)
        again.on[ca.SearchRequest] = answer
        again.start_tcp()
        assert late.read().data[0] == 5.5, "never found before"
        assert x.read().data[0] == 4.5, "lost with the server"
        ctx.disconnect()
        again.stop()
        assert not again.errors


def test_a_name_server_that_is_old_or_silent_stops_nobody(start_server):
    by_udp = start_server({"x": 1.5})
    old = start_server(version=11)
    silent = start_server(greeting=False)
    config = configuration(old, by_udp.address).replace(
        name_servers=(old.address, silent.address)
    )
    for server in (old, silent):
        server.on[ca.SearchRequest] = ignore
    with Context(configuration=config, timeout=10) as ctx:
        x, missing = ctx.get_pvs("x", "missing")
        assert x.read().data[0] == 1.5
        with pytest.raises(ca.CaprotoTimeoutError):
            missing.wait_for_search(timeout=0.2)
        assert not old.received(ca.SearchRequest) and not silent.received(ca.SearchRequest)
        assert len([s for s in by_udp.searches if s.name == "missing"]) >= 2


def test_it_ends_with_its_context(directory):
    with Context(configuration=configuration(directory), timeout=10) as ctx:
        ctx.get_pvs("x")[0].read()
        (server,) = ctx.broadcaster._service.name_servers._running.values()
    assert not server._thread.alive
