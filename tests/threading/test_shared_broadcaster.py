"""One UDP socket for any number of Contexts: who is told what, and what never stops the search."""
from __future__ import annotations

import errno
import gc
import logging
import socket
import sys
import threading
import time
import weakref

import pytest

import caproto as ca
from caproto import ContextDisconnectedError
from caproto._client import search_book
from caproto._client.beacons import Verdict
from caproto._locks import held
from caproto._repeater import Repeater
from caproto.threading import _name_server, _shared_broadcaster
from caproto.threading.client import Context, SharedBroadcaster
from tests.conformance.items import item
from tests.harness.fake_server import FakeServer
from tests.harness.interrupts import enter_each_line, interrupt_each_line
from tests.harness.leaks import open_sockets
from tests.harness.ports import LOOPBACK, free_port
from tests.harness.udp_peer import Peer


class Listener:
    """Notes what it is told, and by which thread."""

    def __init__(self) -> None:
        self.told: list[tuple] = []
        self.threads: set[str] = set()
        self.heard: dict = {}

    def _note(self, *what) -> None:
        self.threads.add(threading.current_thread().name)
        self.told.append(what)

    def found(self, address, version, keys) -> None:
        self._note("found", address, version, list(keys))

    def found_elsewhere(self, key, first, second) -> None:
        self._note("again", key, first, second)

    def beacon(self, address, good) -> None:
        self._note("beacon", address, good)

    def searching(self) -> None:
        pass

    def last_heard(self):
        return self.heard

    @property
    def again(self) -> list:
        return [tuple(rest) for what, *rest in self.told if what == "again"]

    @property
    def keys(self) -> list:
        return sorted(key for what, *rest in self.told if what == "found" for key in rest[-1])


@pytest.fixture
def peer():
    with Peer() as made:
        yield made


def configuration(*destinations, **options) -> ca.ClientConfiguration:
    options = {"auto_addr_list": False, "use_repeater": False, **options}
    return ca.ClientConfiguration(addr_list=destinations, **options)


@pytest.fixture
def make():
    """``make(*destinations)``: a SharedBroadcaster that searches there only."""
    made = []

    def start(*destinations, **options) -> SharedBroadcaster:
        times = {k: options.pop(k) for k in ("registration_retry_time",) if k in options}
        made.append(
            SharedBroadcaster(configuration=configuration(*destinations, **options), **times)
        )
        return made[-1]

    yield start
    for broadcaster in made:
        broadcaster.disconnect()


def reply(search, port=5064, ip=None, version=13) -> ca.SearchResponse:
    return ca.SearchResponse(port, ip, search.cid, version)


# ---- finding ---------------------------------------------------------------------------------


def test_no_thread_before_there_is_something_to_search(make):
    broadcaster = make()
    broadcaster.add_searcher(Listener())
    broadcaster.search(Listener(), [], [])
    assert not broadcaster._thread.started


def test_a_listener_is_told_where_its_names_are(make, peer, wait_for):
    broadcaster, listener = make(peer.address), Listener()
    broadcaster.search(listener, ["x", "y", "z"], ["kx", "ky", "kz"])
    commands = peer.receive()
    cids = {command.name: command for command in commands[1:]}
    assert sorted(cids) == ["x", "y", "z"]
    assert broadcaster.open_searches(listener) == 3
    peer.send(
        reply(cids["x"], port=7000), reply(cids["y"], port=7000, ip="10.1.2.3", version=12),
        reply(cids["z"], port=7000),
    )
    wait_for(lambda: len(listener.keys) == 3)
    assert sorted(listener.told) == [
        ("found", ("10.1.2.3", 7000), 12, ["ky"]),
        ("found", (LOOPBACK, 7000), 13, ["kx", "kz"]),
    ]
    assert listener.threads == {"ca-udp"}
    assert broadcaster.open_searches(listener) == 0
    assert "0 names are being searched" in repr(broadcaster)


def test_two_contexts_share_one_socket(start_server):
    server = start_server({"x": 1.5, "y": 2.5})
    broadcaster = SharedBroadcaster(configuration=server.configuration)
    one = Context(broadcaster, timeout=5)
    two = Context(broadcaster, timeout=5)
    (x,), (y, other) = one.get_pvs("x"), two.get_pvs("y", "x")
    assert [pv.read().data[0] for pv in (x, y, other)] == [1.5, 2.5, 1.5]
    assert x.circuit_manager is not other.circuit_manager, "circuits are not shared"
    assert len({search.sender_address for search in server.searches}) == 1
    one.disconnect()
    assert y.read().data[0] == 2.5
    (late,) = two.get_pvs("late")
    server.pvs["late"] = type(server.pvs["x"])(3.5)
    assert late.read().data[0] == 3.5, "the broadcaster is not closed with a Context that borrowed"
    two.disconnect()
    broadcaster.disconnect()


def test_a_dead_listener_is_not_held_and_its_names_are_given_up(make, peer, wait_for):
    broadcaster = make(peer.address)
    dead, living = Listener(), Listener()
    broadcaster.add_searcher(dead)
    broadcaster.search(dead, ["dead:x"], ["x"])
    broadcaster.search(living, ["living:x"], ["x"])
    first = peer.search("dead:x")
    alive = weakref.ref(dead)
    del dead
    gc.collect()
    assert alive() is None
    wait_for(lambda: len(broadcaster._book._plan) == 1)
    peer.send(reply(first))
    for _ in range(2):
        searched = peer.search("living:x")
    peer.send(reply(searched))
    wait_for(lambda: living.keys == ["x"])


def test_an_answer_for_a_dead_listener_disturbs_nobody(make, peer, wait_for, caplog):
    broadcaster, dead, living = make(peer.address), Listener(), Listener()
    broadcaster.search(dead, ["dead:x"], ["x"])
    first = peer.search("dead:x")
    broadcaster.search(living, ["living:x"], ["x"])
    second = peer.search("living:x")
    del dead
    gc.collect()
    peer.send(reply(first), reply(second))
    wait_for(lambda: living.keys == ["x"])
    assert not caplog.records


def test_forgotten_means_not_searched_and_not_told(make, peer, wait_for):
    broadcaster = make(peer.address)
    one, two = Listener(), Listener()
    broadcaster.add_searcher(one)
    broadcaster.search(one, ["one"], ["x"])
    broadcaster.search(two, ["two"], ["x"])
    searches = [peer.search("one")]
    broadcaster.forget(one)
    assert (broadcaster.open_searches(one), broadcaster.open_searches(two)) == (0, 1)
    searches.append(peer.search("two"))
    peer.send(*map(reply, searches))
    wait_for(lambda: two.keys == ["x"])
    assert one.told == []


def test_what_was_postponed_is_forgotten_too(make, peer, wait_for):
    broadcaster = make(peer.address)
    one, two = Listener(), Listener()
    for listener, name in ((one, "one"), (two, "two"), (one, "three")):
        broadcaster.search(listener, [name], [name], delay=0.1)
    broadcaster.forget(one)
    peer.send(reply(peer.search("two")))
    wait_for(lambda: two.keys == ["two"])
    assert not broadcaster._book._searches and not broadcaster._book._postponed


def test_lost_names_whose_search_is_postponed_are_still_lost(make, peer):
    """Their server is as likely to be back soon as that of others."""
    broadcaster, listener = make(peer.address), Listener()
    broadcaster.search(listener, ["lost"], ["l"], lost=True, delay=0.01)
    peer.search("lost")
    assert broadcaster.report(listener, "l").status.lost


def test_a_search_may_be_postponed(make, peer, wait_for):
    broadcaster, listener = make(peer.address), Listener()
    begun = time.monotonic()
    broadcaster.search(listener, ["late"], ["l"], delay=0.2)
    broadcaster.search(listener, ["soon"], ["s"])
    names = []
    while "late" not in names:
        names += [command.name for command in peer.receive()[1:]]
    assert time.monotonic() - begun >= 0.2
    assert names[0] == "soon"


def test_search_now_asks_at_once_and_begins_anew(make, peer):
    broadcaster, listener = make(peer.address), Listener()
    broadcaster.search(listener, ["x"], ["x"])
    while True:
        cid = peer.search("x").cid
        facts = broadcaster._book._plan.status(cid)
        if facts.next_due - time.monotonic() > 0.9:
            break
    broadcaster.search_now()
    peer.search("x")
    peer.search("x")
    assert time.monotonic() < facts.next_due, "two searches before the one that was due"


def test_the_time_since_a_server_was_heard_is_the_shortest(make):
    broadcaster = make()
    one, two = Listener(), Listener()
    one.heard = {("10.0.0.1", 1): 5.0, ("10.0.0.2", 2): 1.0}
    two.heard = {("10.0.0.1", 1): 3.0}
    for listener in (one, two):
        broadcaster.add_searcher(listener)
    assert broadcaster.time_since_last_heard() == {("10.0.0.1", 1): 3.0, ("10.0.0.2", 2): 1.0}
    del one
    listener = None
    gc.collect()
    assert broadcaster.time_since_last_heard() == {("10.0.0.1", 1): 3.0}


def test_the_time_since_a_real_circuit_was_heard(ctx, server):
    (x,) = ctx.get_pvs("x")
    assert ctx.broadcaster.time_since_last_heard() == {}
    x.read()
    ((address, seconds),) = ctx.broadcaster.time_since_last_heard().items()
    assert address == server.address and 0 <= seconds < 5


# ---- where to search -----------------------------------------------------------------------------


UNKNOWN = "no.such.host.invalid"


@pytest.mark.parametrize(
    "options, unresolved, warnings",
    [
        ({}, [], 1),
        ({"addr_list": ((UNKNOWN, 7000),)}, [f"{UNKNOWN}:7000"], 2),
        (
            {"addr_list": ((UNKNOWN, 7000),), "name_servers": ((UNKNOWN, 8000),)},
            [f"{UNKNOWN}:7000", f"{UNKNOWN}:8000"],
            3,
        ),
    ],
)
def test_if_there_is_no_address_to_search_it_is_reported_once(
    options, unresolved, warnings, wait_for, caplog
):
    """Besides one warning for each host that is not known."""
    config = ca.ClientConfiguration(auto_addr_list=False, use_repeater=False, **options)
    broadcaster, listener = SharedBroadcaster(configuration=config), Listener()
    assert broadcaster.unresolved == []
    with caplog.at_level(logging.WARNING, "caproto"):
        broadcaster.search(listener, ["x"], ["x"])
        wait_for(lambda: (status := broadcaster.report(listener, "x").status) and status.tries > 3)
    broadcaster.disconnect()
    assert broadcaster.unresolved == unresolved
    *_, last = caplog.records
    assert len(caplog.records) == warnings and last.levelno == logging.WARNING
    for variable in ("EPICS_CA_ADDR_LIST", "EPICS_CA_NAME_SERVERS", "EPICS_CA_AUTO_ADDR_LIST"):
        assert variable in last.getMessage()


def test_a_host_that_is_not_known_stops_no_other(make, peer, caplog):
    broadcaster, listener = make((UNKNOWN, 7000), peer.address), Listener()
    broadcaster.search(listener, ["x"], ["x"])
    peer.search("x")
    assert broadcaster.unresolved == [f"{UNKNOWN}:7000"]
    assert broadcaster.destinations == [peer.address]
    (record,) = caplog.records
    assert UNKNOWN in record.getMessage()


@pytest.mark.parametrize("lack", ["Too many open files", "can't start new thread"])
def test_without_resources_name_servers_are_started_later(
    lack, make, peer, wait_for, monkeypatch, caplog
):
    """And the search by UDP goes on meanwhile."""
    where = (LOOPBACK, free_port())
    broadcaster, listener = make(peer.address, name_servers=(where,)), Listener()
    start = threading.Thread.start

    def no_descriptors() -> None:
        raise OSError(errno.EMFILE, lack)

    def no_threads(thread) -> None:
        if thread.name.startswith("ca-names"):
            raise RuntimeError(lack)
        start(thread)

    with caplog.at_level(logging.WARNING, "caproto"):
        with monkeypatch.context() as patch:
            if "files" in lack:
                patch.setattr(_name_server, "WakeUp", no_descriptors)
            else:
                patch.setattr(threading.Thread, "start", no_threads)
            broadcaster.search(listener, ["x"], ["x"])
            for _ in range(3):
                peer.search("x")
            assert broadcaster.report(listener, "x").name_servers == {where: lack}
        wait_for(lambda: "refused" in broadcaster.report(listener, "x").name_servers[where])
    assert len([record for record in caplog.records if lack in record.getMessage()]) == 1


# ---- two servers for one name ----------------------------------------------------------------


@item(25)
def test_a_second_answer_of_the_same_server_is_nothing(make, peer, wait_for):
    broadcaster, listener = make(peer.address), Listener()
    broadcaster.search(listener, ["x", "y"], ["x", "y"])
    x, y = sorted(peer.receive()[1:], key=lambda search: search.name)
    peer.send(reply(x), reply(x))
    peer.send(reply(x))
    peer.send(reply(y))
    wait_for(lambda: listener.keys == ["x", "y"])
    assert not listener.again


@item(26)
def test_two_servers_with_one_name_are_reported_once(make, peer, wait_for):
    broadcaster, listener = make(peer.address), Listener()
    broadcaster.search(listener, ["x", "y"], ["x", "y"])
    x, y = sorted(peer.receive()[1:], key=lambda search: search.name)
    peer.send(reply(x, 7000), reply(x, 8000), reply(x, 8000), reply(x, 7000))
    peer.send(reply(x, 8000), reply(y))
    wait_for(lambda: listener.keys == ["x", "y"])
    assert listener.again == [("x", (LOOPBACK, 7000), (LOOPBACK, 8000))]


def test_who_is_found_again_after_a_loss_is_not_reported_again(make, peer, wait_for, monkeypatch):
    """Each search is answered by both, whoever is faster; a third server is news."""
    monkeypatch.setattr(search_book, "REMEMBERED", 3)
    broadcaster, listener = make(peer.address), Listener()
    for ports in ((7000, 8000), (7000, 8000), (8000, 7000), (7000, 9000)):
        broadcaster.search(listener, ["x"], ["x"], lost=True)
        search = peer.search("x")
        peer.send(*(reply(search, port) for port in ports))
        wait_for(lambda: not broadcaster.open_searches(listener))
    wait_for(lambda: len(listener.again) >= 2)
    assert listener.again == [
        ("x", (LOOPBACK, 7000), (LOOPBACK, 8000)),
        ("x", (LOOPBACK, 7000), (LOOPBACK, 9000)),
    ]
    for name in "abcd":  # there is an end to what is remembered
        broadcaster.search(listener, [name], [name])
        search = peer.search(name)
        peer.send(reply(search, 7000), reply(search, 8000))
        wait_for(lambda name=name: listener.again[-1][0] == name)
    assert len(broadcaster._book._reported) == 3
    broadcaster.forget(listener)
    wait_for(lambda: not broadcaster._book._reported)


# ---- what never stops the search -------------------------------------------------------------


def faulty(broadcaster, monkeypatch, *, send=None, receive=None) -> None:
    """Put functions in front of the two methods of the socket; they may raise."""

    class Socket(socket.socket):
        def sendto(self, data, address):
            if send is not None:
                send(address)
            return super().sendto(data, address)

        def recvfrom(self, size):
            if receive is not None:
                receive()
            return super().recvfrom(size)

    old = broadcaster._socket.socket
    broadcaster._socket.socket = Socket(fileno=old.detach())
    broadcaster._socket.socket.setblocking(False)


def test_a_destination_that_fails_stops_no_other(make, peer, wait_for, monkeypatch, caplog):
    bad = ("10.0.0.1", 5064)
    broadcaster, listener = make(bad, peer.address), Listener()
    attempts = []

    def send(address) -> None:
        if address == bad:
            attempts.append(address)
            number = errno.ENETUNREACH if len(attempts) < 4 else errno.EPERM
            raise OSError(number, "out of reach" if number == errno.ENETUNREACH else "forbidden")

    faulty(broadcaster, monkeypatch, send=send)
    with caplog.at_level(logging.WARNING, "caproto"):
        broadcaster.search(listener, ["x"], ["x"])
        for _ in range(5):
            search = peer.search("x")
        peer.send(reply(search))
        wait_for(lambda: listener.keys == ["x"])
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "Cannot send searches to 10.0.0.1:5064: out of reach",
        "Cannot send searches to 10.0.0.1:5064: forbidden",
    ]


def test_a_destination_that_works_again_may_fail_anew(make, peer, monkeypatch, caplog):
    broadcaster = make(peer.address)
    attempts = []

    def send(address) -> None:
        attempts.append(address)
        if len(attempts) in (1, 2, 4):
            raise OSError(errno.ENETUNREACH, "out of reach")

    faulty(broadcaster, monkeypatch, send=send)
    listener = Listener()
    with caplog.at_level(logging.WARNING, "caproto"):
        broadcaster.search(listener, ["x"], ["x"])
        peer.search("x")
        peer.search("x")
    assert len(caplog.records) == 2


@item(30)
def test_errors_of_receiving_do_not_stop_it(make, peer, wait_for, monkeypatch, caplog):
    """As when an earlier datagram met a closed port, on some systems."""
    broadcaster, listener = make(peer.address), Listener()
    errors = [ConnectionRefusedError(), ConnectionResetError(), OSError(errno.EHOSTUNREACH, "")]

    def receive() -> None:
        if errors:
            raise errors.pop()

    faulty(broadcaster, monkeypatch, receive=receive)
    broadcaster.search(listener, ["x"], ["x"])
    peer.send(reply(peer.search("x")))
    wait_for(lambda: listener.keys == ["x"])
    assert not errors and not caplog.records


@item(30)
def test_a_closed_port_beside_a_good_one(make, peer, wait_for):
    broadcaster, listener = make((LOOPBACK, free_port()), peer.address), Listener()
    broadcaster.search(listener, ["x"], ["x"])
    peer.search("x")
    peer.send(reply(peer.search("x")))
    wait_for(lambda: listener.keys == ["x"])


@item(25)
def test_rubbish_is_ignored_and_the_next_datagram_counts(make, peer, wait_for):
    broadcaster, listener = make(peer.address), Listener()
    broadcaster.search(listener, ["x"], ["x"])
    search = peer.search("x")
    for rubbish in (b"", b"\0", b"\xff" * 100, bytes(ca.EchoResponse()), bytes(3000)):
        peer.sock.sendto(rubbish, peer.client)
    peer.send(reply(search, version=3))
    peer.send(ca.SearchResponse(5064, None, 12345, 13))
    assert listener.told == []
    # What comes before the rubbish in a datagram counts, too.
    peer.sock.sendto(bytes(reply(search)) + b"\xff" * 7, peer.client)
    wait_for(lambda: listener.keys == ["x"])


def test_what_happens_to_one_datagram_costs_no_name_its_answer(
    make, peer, wait_for, monkeypatch, caplog
):
    """Neither in the same datagram nor in another one that came with it."""
    broadcaster, listener = make(peer.address), Listener()

    def fail(*_) -> None:
        raise RuntimeError("Set changed size during iteration")

    monkeypatch.setattr(broadcaster._book, "_beacon", fail)
    with caplog.at_level(logging.ERROR, "caproto"):
        broadcaster.search(listener, ["x", "y"], ["x", "y"])
        x, y = sorted(peer.receive()[1:], key=lambda search: search.name)
        peer.send(reply(x), ca.Beacon(13, 7000, 1))
        peer.send(reply(y))
        wait_for(lambda: listener.keys == ["x", "y"])
    (record,) = caplog.records
    assert "the search goes on" in record.getMessage() and record.exc_info


def test_listeners_may_come_and_go_while_others_are_told(make, peer, wait_for, caplog):
    broadcaster, listener = make(peer.address), Listener()
    broadcaster._book._beacons = Verdicts(*[Verdict.GOOD] * 1000)
    broadcaster.add_searcher(listener)
    broadcaster.search(listener, ["x"], ["x"])
    search = peer.search("x")
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            others = [Listener() for _ in range(50)]
            for other in others:
                broadcaster.add_searcher(other)
            broadcaster.time_since_last_heard()
            broadcaster.forget(others[0])

    threads = [threading.Thread(target=come_and_go) for _ in range(2)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for number in range(300):
            peer.send(ca.Beacon(13, 7000, number))
        peer.send(reply(search))
        wait_for(lambda: listener.keys == ["x"])
    finally:
        over.set()
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join(30)
    assert not caplog.records


class Broken(Listener):
    """Fails a number of times in all that it is told."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def _note(self, *what) -> None:
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError
        super()._note(*what)

    def searching(self) -> None:
        self._note("searching")


def test_a_listener_that_fails_stops_no_other_and_is_told_again(
    make, peer, wait_for, monkeypatch, caplog
):
    """Of the same datagrams, by UDP; its names are not lost."""
    monkeypatch.setattr(_shared_broadcaster, "TROUBLE_DELAY", 0.1)
    broadcaster = make(peer.address)
    broken, good = Broken(1), Listener()
    with caplog.at_level(logging.ERROR, "caproto"):
        broadcaster.search(broken, ["broken"], ["b"])
        broadcaster.search(good, ["good"], ["g"])
        searches = {name: peer.search(name) for name in ("broken", "good")}
        peer.send(reply(searches["broken"], 7000), reply(searches["broken"], 8000),
                  reply(searches["good"]))
        wait_for(lambda: good.keys == ["g"])
        peer.send(reply(peer.search("broken")))
        wait_for(lambda: broken.keys == ["b"])
    (record,) = caplog.records
    assert "the search goes on" in record.getMessage() and record.exc_info
    assert broken.again == [("b", (LOOPBACK, 7000), (LOOPBACK, 8000))]


def test_a_listener_that_fails_when_a_name_server_answers(make, monkeypatch, caplog, wait_for):
    """It is no trouble of the name server; its thread has gone on with the circuit."""
    broadcaster, broken = make(), Broken(1)
    with caplog.at_level(logging.ERROR, "caproto"):
        broadcaster.search(broken, ["x"], ["x"])
        wait_for(lambda: broadcaster._book._searches)
        ((cid, _),) = broadcaster._book._searches.items()
        broadcaster.answered_by_tcp([ca.SearchResponse(7000, LOOPBACK, cid, None)], 13)
        wait_for(lambda: (broadcaster.report(broken, "x").postponed or 0) > 0)
    assert len(caplog.records) == 1


def test_a_listener_that_fails_when_told_of_other_things(make, peer, wait_for, monkeypatch, caplog):
    monkeypatch.setattr(_shared_broadcaster, "REPORT_INTERVAL", 0.0)
    broadcaster, broken, good = make(peer.address), Broken(1000), Listener()
    broadcaster._book._beacons = Verdicts(Verdict.GOOD)
    for listener in (broken, good):
        broadcaster.add_searcher(listener)
    with caplog.at_level(logging.ERROR, "caproto"):
        broadcaster.search(good, ["x"], ["x"])
        search = peer.search("x")
        peer.send(ca.Beacon(13, 7000, 1), reply(search, 7000), reply(search, 8000))
        wait_for(lambda: good.again)
    assert {what for what, *_ in good.told} == {"beacon", "found", "again"}
    assert all("the search goes on" in record.getMessage() for record in caplog.records)


def test_a_mistake_of_ours_does_not_end_the_search_for_ever(
    make, peer, wait_for, monkeypatch, caplog
):
    broadcaster, listener = make(peer.address), Listener()
    mistakes = [ZeroDivisionError()]
    process = broadcaster._process

    def faulty_process(*args) -> None:
        if mistakes:
            raise mistakes.pop()
        process(*args)

    monkeypatch.setattr(broadcaster, "_process", faulty_process)
    with caplog.at_level(logging.ERROR, "caproto"):
        broadcaster.search(listener, ["x"], ["x"])
        for _ in range(2):
            peer.send(reply(peer.search("x")))
        wait_for(lambda: listener.keys == ["x"])
    (record,) = caplog.records
    assert "the search goes on" in record.getMessage()


# ---- beacons and the repeater ----------------------------------------------------------------


class Verdicts:
    """Stands for the table of beacons; the rhythm itself is tested with it."""

    def __init__(self, *verdicts) -> None:
        self.verdicts = list(verdicts)
        self.beacons: list[tuple] = []

    def beacon(self, host, port, number, version, now):
        self.beacons.append((host, port, number, version))
        return self.verdicts.pop(0)


@item(29)
@pytest.mark.parametrize(
    "verdict, told, searched_anew",
    [
        (Verdict.FIRST, [], False),
        (Verdict.DISCARDED, [], False),
        (Verdict.GOOD, [True], False),
        (Verdict.SUSPECT, [False], False),
        (Verdict.ANOMALY, [False], True),
    ],
)
def test_what_a_beacon_leads_to(make, peer, wait_for, verdict, told, searched_anew, monkeypatch):
    broadcaster, listener = make(peer.address), Listener()
    broadcaster._book._beacons = Verdicts(verdict, Verdict.GOOD)
    anomalies = []
    monkeypatch.setattr(broadcaster._book._plan, "beacon_anomaly", anomalies.append)
    broadcaster.add_searcher(listener)
    broadcaster.search(listener, ["x"], ["x"])
    peer.search("x")
    peer.send(ca.Beacon(13, 7000, 5, "10.1.2.3"))
    peer.send(ca.Beacon(12, 8000, 6))
    wait_for(lambda: listener.told[-1:] == [("beacon", (LOOPBACK, 8000), True)])
    assert broadcaster._book._beacons.beacons == [
        ("10.1.2.3", 7000, 5, 13), (LOOPBACK, 8000, 6, 12)
    ]
    assert listener.told[:-1] == [("beacon", ("10.1.2.3", 7000), good) for good in told]
    assert bool(anomalies) is searched_anew


def test_registration(make, peer, wait_for, monkeypatch):
    """Again and again until a repeater confirms, then no more."""
    monkeypatch.setattr(_shared_broadcaster, "spawn_repeater", lambda port: 0)
    broadcaster = make(
        peer.address, repeater_port=peer.address[1], use_repeater=True,
        registration_retry_time=0.05,
    )
    listener = Listener()
    broadcaster.search(listener, ["x"], ["x"])

    def registrations(count: int) -> None:
        while count:
            (first, *_) = peer.receive()
            count -= isinstance(first, ca.RepeaterRegisterRequest)

    registrations(3)
    assert not broadcaster.report(listener, "x").hears_beacons
    peer.send(ca.RepeaterConfirmResponse(LOOPBACK))
    wait_for(lambda: broadcaster.report(listener, "x").hears_beacons)
    after = []
    while sum(isinstance(first, ca.VersionRequest) for first in after) < 3:
        (first, *_) = peer.receive()
        after.append(first)
    late = [first for first in after if isinstance(first, ca.RepeaterRegisterRequest)]
    assert len(late) <= 1, "one may have crossed the confirmation"


def test_only_what_comes_by_the_repeater_is_a_sign_of_it(make, peer, wait_for, monkeypatch):
    """Answers to searches come from servers: they do not tell that the repeater still knows us."""
    broadcaster, listener = make(peer.address), Listener()
    broadcaster._book._beacons = Verdicts(Verdict.GOOD)
    heard = []
    registration = type(broadcaster._book._registration)
    monkeypatch.setattr(registration, "heard", lambda *args: heard.append(args))
    broadcaster.add_searcher(listener)
    broadcaster.search(listener, ["x", "y"], ["x", "y"])
    for name in ("x", "y"):
        peer.send(ca.VersionResponse(13, 1), reply(peer.search(name)))
    wait_for(lambda: listener.keys == ["x", "y"])
    assert not heard
    peer.send(ca.Beacon(13, 7000, 1))
    wait_for(lambda: len(heard) == 1)


def test_beacons_come_by_way_of_a_repeater(make, peer, wait_for):
    repeater = Repeater(free_port())
    thread = threading.Thread(target=repeater.run)
    thread.start()
    broadcaster, listener = make(repeater_port=repeater.port, use_repeater=True), Listener()
    broadcaster._book._beacons = Verdicts(Verdict.GOOD)
    broadcaster.add_searcher(listener)
    broadcaster.search(listener, ["x"], ["x"])
    wait_for(lambda: broadcaster.report(listener, "x").hears_beacons)
    peer.client = (LOOPBACK, repeater.port)
    peer.send(ca.Beacon(13, 7000, 1))
    wait_for(lambda: listener.told == [("beacon", (LOOPBACK, 7000), True)])
    repeater.stop()
    thread.join(10)
    repeater.close()


def test_a_repeater_is_started_only_if_none_answers(make, monkeypatch, wait_for, caplog):
    started = []

    def spawn(port) -> int:
        started.append(port)
        raise ca.CaprotoNetworkError("no process to be had")

    monkeypatch.setattr(_shared_broadcaster, "spawn_repeater", spawn)
    port = free_port()
    broadcaster, listener = make(
        repeater_port=port, use_repeater=True, registration_retry_time=0.02
    ), Listener()
    with caplog.at_level(logging.INFO, "caproto"):
        broadcaster.search(listener, ["x"], ["x"])
        wait_for(lambda: broadcaster._book._registration._attempts > 3)
    assert started == [port], "not with each attempt"
    (record,) = [r for r in caplog.records if "no process to be had" in r.getMessage()]
    assert record.levelno == logging.INFO


# ---- interrupts and re-entry -----------------------------------------------------------------


#: Where an interrupt leaves no time to close a socket, Python does it, and warns.
closed_by_python = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@closed_by_python
def test_an_interrupted_constructor_leaves_nothing_behind():
    places, made = [], []
    sockets = open_sockets()

    def construct() -> None:
        made.append(SharedBroadcaster(configuration=configuration()))

    for where in interrupt_each_line(construct):
        places.append(where)
        made.clear()
        gc.collect()
        assert open_sockets() == sockets, where
    assert len(places) > 30


@closed_by_python
def test_an_interrupted_first_search_is_repaired_by_the_next_call(peer, wait_for):
    """Whether the thread was started or not; and there is only one."""
    broadcasters = []

    def begin() -> None:
        broadcasters.append(SharedBroadcaster(configuration=configuration(peer.address)))
        broadcasters[-1].search(listener, ["x"], ["x"])

    listener = Listener()
    for where in interrupt_each_line(begin):
        while broadcasters:
            broadcaster = broadcasters.pop()
            broadcaster.search(listener, ["x", "y"], ["x", "y"])
            wait_for(lambda b=broadcaster: b.open_searches(listener) == 2, message=where)
            assert sum(thread.is_alive() for thread in broadcaster._thread._threads) == 1, where
            broadcaster.disconnect()
            assert not broadcaster._thread.alive, where


def test_interrupted_calls_leave_the_search_whole(make, peer, wait_for):
    """Each may be repeated; nothing is searched twice, and nothing is lost."""
    broadcaster, listener = make(peer.address), Listener()
    broadcaster.search(listener, ["x"], ["x"])
    search = peer.search("x")
    newcomer = Listener()

    def add() -> None:
        broadcaster.add_searcher(newcomer)
        broadcaster.search(newcomer, ["short"], ["short"])

    calls = [
        lambda: broadcaster.search(listener, ["x", "y"], ["x", "y"]),
        lambda: broadcaster.search(listener, ["z"], ["z"], delay=0.001),
        add,
        lambda: broadcaster.forget(newcomer),
        broadcaster.search_now,
        broadcaster.time_since_last_heard,
        lambda: broadcaster.report(listener, "x"),
        broadcaster.why_not_found,
        lambda: broadcaster.note(lambda: None),
        lambda: broadcaster.circuit_closed((LOOPBACK, 1)),
    ]
    for call in calls:
        for _where in interrupt_each_line(call):
            call()
    wait_for(lambda: len(broadcaster._book) == broadcaster.open_searches(listener) == 3)
    peer.send(reply(search))
    for name in "yz":
        peer.send(reply(peer.search(name)))
    wait_for(lambda: listener.keys == ["x", "y", "z"])
    assert len(broadcaster._thread._threads) == 1


@pytest.mark.parametrize("started", [False, True])
def test_an_interrupted_disconnect_is_repeated(peer, started, wait_for):
    listener = Listener()
    broadcasters = []

    def end() -> None:
        broadcasters[-1].disconnect()

    def prepare() -> None:
        broadcasters.append(SharedBroadcaster(configuration=configuration(peer.address)))
        if started:
            broadcasters[-1].search(listener, ["x"], ["x"])

    prepare()
    sockets = open_sockets()
    for where in interrupt_each_line(end):
        broadcasters[-1].disconnect()
        assert broadcasters[-1]._socket.socket.fileno() == -1, where
        assert not broadcasters[-1]._thread.alive, where
        prepare()
    broadcasters[-1].disconnect()
    assert len(open_sockets()) < len(sockets)


def test_a_call_inside_a_call_never_waits_for_itself(make, peer, wait_for):
    """A signal handler, or a finalizer, that runs between any two lines of another call."""
    broadcaster, listener = make(peer.address), Listener()
    notes: list[str] = []
    others, refused = [], []

    def handler() -> None:
        others.append(Listener())
        broadcaster.search(others[-1], ["other"], ["other"])
        broadcaster.search_now()
        broadcaster.forget(others[-1])
        broadcaster.note(lambda: notes.append(threading.current_thread().name))
        repr(broadcaster)
        if held(broadcaster.lock):
            with pytest.raises(ca.ReentrantCallError, match="SharedBroadcaster.disconnect"):
                broadcaster.disconnect()
            refused.append(True)

    calls = [
        lambda: broadcaster.search(listener, ["x"], ["x"]),
        broadcaster.search_now,
        lambda: broadcaster.report(listener, "x"),
        lambda: broadcaster.forget(listener),
        lambda: broadcaster.open_searches(listener),
    ]
    for call in calls:
        for _where in enter_each_line(call, handler):
            pass
    wait_for(lambda: len(notes) == len(others) > 20)
    assert set(notes) == {"ca-udp"} and refused
    wait_for(lambda: len(broadcaster._book) == 0)


def test_the_thread_goes_on_although_a_note_fails(make, peer, wait_for, caplog):
    broadcaster, listener = make(peer.address), Listener()

    def fail(error: Exception) -> None:
        raise error

    with caplog.at_level(logging.WARNING, "caproto"):
        broadcaster.note(lambda: fail(ZeroDivisionError()), "the:pv")
        broadcaster.note(lambda: fail(ca.CaprotoTimeoutError("too late")), "the:pv")
        broadcaster.search(listener, ["x"], ["x"])
        peer.send(reply(peer.search("x")))
        wait_for(lambda: listener.keys == ["x"])
    defect, ours = caplog.records
    assert defect.exc_info and "'the:pv'" in defect.getMessage()
    assert ours.getMessage() == "'the:pv': too late" and not ours.exc_info


def test_without_threads_the_next_search_starts_one(make, peer, monkeypatch, wait_for):
    broadcaster, listener = make(peer.address), Listener()

    def no_threads(thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_threads)
        with pytest.raises(ca.CaprotoError, match="cannot start the search thread: can't"):
            broadcaster.search(listener, ["x"], ["x"])
        assert broadcaster.report(listener, "x").postponed == 0.0, "it is not forgotten"
    broadcaster.search(listener, ["y"], ["y"])
    for name in "xy":
        peer.send(reply(peer.search(name)))
    wait_for(lambda: listener.keys == ["x", "y"])


# ---- the end, and the log --------------------------------------------------------------------


@pytest.mark.parametrize("started", [False, True])
def test_disconnected_twice(make, peer, started):
    broadcaster, listener = make(peer.address), Listener()
    if started:
        broadcaster.search(listener, ["x"], ["x"])
        peer.search("x")
    broadcaster.disconnect()
    assert broadcaster._socket.socket.fileno() == -1
    assert not started or not broadcaster._thread.alive
    broadcaster.disconnect()
    broadcaster.search(listener, ["y"], ["y"])
    broadcaster.search_now()
    assert "was disconnected" in repr(broadcaster)
    with pytest.raises(ContextDisconnectedError, match="was disconnected"):
        Context(broadcaster)


def test_without_waiting(make, peer):
    broadcaster, listener = make(peer.address), Listener()
    broadcaster.search(listener, ["x"], ["x"])
    broadcaster.disconnect(wait=False)
    broadcaster.join(10)
    assert not broadcaster._thread.alive


def test_a_broadcaster_that_nobody_needs_ends(peer):
    broadcaster = SharedBroadcaster(configuration=configuration(peer.address))
    listener = Listener()
    broadcaster.add_searcher(listener)
    broadcaster.search(listener, ["x"], ["x"])
    peer.search("x")
    (thread,) = broadcaster._thread._threads
    del broadcaster
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_every_datagram_is_logged_at_debug(make, peer, wait_for, caplog):
    broadcaster, listener = make(peer.address), Listener()
    broadcaster.log.setLevel("DEBUG")
    broadcaster.search(listener, ["x"], ["x"])
    search = peer.search("x")
    peer.send(ca.VersionResponse(13, 1), reply(search, port=7000))
    wait_for(lambda: listener.keys)
    sent = [r for r in caplog.records if getattr(r, "direction", "") == "--->>>"]
    received = [r for r in caplog.records if getattr(r, "direction", "") == "<<<---"]
    assert f"'{LOOPBACK}', {peer.address[1]}" in sent[0].getMessage()
    (record,) = received
    assert "SearchResponse" in record.getMessage() and "7000" in record.getMessage()
    assert record.their_address == peer.address
    assert {r.name for r in sent + received} == {"caproto.bcast"}


def test_nothing_is_logged_by_default(start_server, caplog):
    server: FakeServer = start_server({"x": 1.5})
    with caplog.at_level(logging.WARNING, "caproto"):
        with Context(configuration=server.configuration, timeout=5) as ctx:
            ctx.get_pvs("x")[0].read()
    assert caplog.records == []
