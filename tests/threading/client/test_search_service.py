"""The search thread: what never stops it, and what beacons and the repeater lead to."""
from __future__ import annotations

import errno
import logging
import socket
import sys
import threading

import pytest

import caproto as ca
from caproto._client.beacons import Verdict
from caproto._os.repeater import Repeater
from caproto.threading.client import _search_service
from tests.conformance.items import item
from tests.harness.ports import LOOPBACK, free_port
from tests.threading.client.searching import Broken, Listener, Verdicts, reply

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

    old = broadcaster._service.socket.socket
    broadcaster._service.socket.socket = Socket(fileno=old.detach())
    broadcaster._service.socket.socket.setblocking(False)


def test_a_destination_that_fails_stops_no_other(
    make_broadcaster, peer, wait_for, monkeypatch, caplog
):
    bad = ("10.0.0.1", 5064)
    broadcaster, listener = make_broadcaster(bad, peer.address), Listener()
    attempts = []

    def send(address) -> None:
        if address == bad:
            attempts.append(address)
            number = errno.ENETUNREACH if len(attempts) < 4 else errno.EPERM
            raise OSError(number, "out of reach" if number == errno.ENETUNREACH else "forbidden")

    faulty(broadcaster, monkeypatch, send=send)
    with caplog.at_level(logging.WARNING, "caproto"):
        broadcaster._searches.search(listener, ["x"], ["x"])
        for _ in range(5):
            search = peer.search("x")
        peer.send(reply(search))
        wait_for(lambda: listener.keys == ["x"])
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "Cannot send searches to 10.0.0.1:5064: out of reach",
        "Cannot send searches to 10.0.0.1:5064: forbidden",
    ]


def test_a_destination_that_works_again_may_fail_anew(make_broadcaster, peer, monkeypatch, caplog):
    broadcaster = make_broadcaster(peer.address)
    attempts = []

    def send(address) -> None:
        attempts.append(address)
        if len(attempts) in (1, 2, 4):
            raise OSError(errno.ENETUNREACH, "out of reach")

    faulty(broadcaster, monkeypatch, send=send)
    listener = Listener()
    with caplog.at_level(logging.WARNING, "caproto"):
        broadcaster._searches.search(listener, ["x"], ["x"])
        peer.search("x")
        peer.search("x")
    assert len(caplog.records) == 2


@item(30)
def test_a_search_that_could_not_be_begun_is_begun_again(
    make_broadcaster, peer, monkeypatch, caplog
):
    monkeypatch.setattr(_search_service, "PAUSE", 0.01)
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    errors, add = [MemoryError(), MemoryError()], broadcaster._service.book.add

    def sometimes(searcher, names, *arguments, **options) -> None:
        if errors and names == ("x",):
            raise errors.pop()
        add(searcher, names, *arguments, **options)

    monkeypatch.setattr(broadcaster._service.book, "add", sometimes)
    with caplog.at_level(logging.ERROR, "caproto"):
        broadcaster._searches.search(listener, ["x"], ["x"])
        broadcaster._searches.search(listener, ["y"], ["y"])
        peer.search("y")
        peer.search("x")
    assert not errors and caplog.text.count("the search goes on") == 2


def test_errors_of_receiving_do_not_stop_it(make_broadcaster, peer, wait_for, monkeypatch, caplog):
    """As when an earlier datagram met a closed port, on some systems."""
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    errors = [ConnectionRefusedError(), ConnectionResetError(), OSError(errno.EHOSTUNREACH, "")]

    def receive() -> None:
        if errors:
            raise errors.pop()

    faulty(broadcaster, monkeypatch, receive=receive)
    broadcaster._searches.search(listener, ["x"], ["x"])
    peer.send(reply(peer.search("x")))
    wait_for(lambda: listener.keys == ["x"])
    assert not errors and not caplog.records


@item(30)
def test_a_closed_port_beside_a_good_one(make_broadcaster, peer, wait_for):
    broadcaster, listener = make_broadcaster((LOOPBACK, free_port()), peer.address), Listener()
    broadcaster._searches.search(listener, ["x"], ["x"])
    peer.search("x")
    peer.send(reply(peer.search("x")))
    wait_for(lambda: listener.keys == ["x"])


@item(25)
def test_rubbish_is_ignored_and_the_next_datagram_counts(make_broadcaster, peer, wait_for):
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    broadcaster._searches.search(listener, ["x"], ["x"])
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
    make_broadcaster, peer, wait_for, monkeypatch, caplog
):
    """Neither in the same datagram nor in another one that came with it."""
    broadcaster, listener = make_broadcaster(peer.address), Listener()

    def fail(*_) -> None:
        raise RuntimeError("Set changed size during iteration")

    monkeypatch.setattr(broadcaster._service.book, "_beacon", fail)
    with caplog.at_level(logging.ERROR, "caproto"):
        broadcaster._searches.search(listener, ["x", "y"], ["x", "y"])
        x, y = sorted(peer.receive()[1:], key=lambda search: search.name)
        peer.send(reply(x), ca.Beacon(13, 7000, 1))
        peer.send(reply(y))
        wait_for(lambda: listener.keys == ["x", "y"])
    (record,) = caplog.records
    assert "the search goes on" in record.getMessage() and record.exc_info


def test_listeners_may_come_and_go_while_others_are_told(make_broadcaster, peer, wait_for, caplog):
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    broadcaster._service.book._beacons = Verdicts(*[Verdict.GOOD] * 1000)
    broadcaster._searches.add_searcher(listener)
    broadcaster._searches.search(listener, ["x"], ["x"])
    search = peer.search("x")
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            others = [Listener() for _ in range(50)]
            for other in others:
                broadcaster._searches.add_searcher(other)
            broadcaster.time_since_last_heard()
            broadcaster._searches.forget(others[0])

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


def test_a_listener_that_fails_stops_no_other_and_is_told_again(
    make_broadcaster, peer, wait_for, monkeypatch, caplog
):
    """Of the same datagrams, by UDP; its names are not lost."""
    monkeypatch.setattr(_search_service, "RETRY_DELAY", 0.1)
    broadcaster = make_broadcaster(peer.address)
    broken, good = Broken(1), Listener()
    with caplog.at_level(logging.ERROR, "caproto"):
        broadcaster._searches.search(broken, ["broken"], ["b"])
        broadcaster._searches.search(good, ["good"], ["g"])
        searches = {name: peer.search(name) for name in ("broken", "good")}
        peer.send(reply(searches["broken"], 7000), reply(searches["broken"], 8000),
                  reply(searches["good"]))
        wait_for(lambda: good.keys == ["g"])
        peer.send(reply(peer.search("broken")))
        wait_for(lambda: broken.keys == ["b"])
    (record,) = caplog.records
    assert "the search goes on" in record.getMessage() and record.exc_info
    assert broken.again == [("b", (LOOPBACK, 7000), (LOOPBACK, 8000))]


def test_a_listener_that_fails_when_a_name_server_answers(
    make_broadcaster, monkeypatch, caplog, wait_for
):
    """It is no trouble of the name server; its thread has gone on with the circuit."""
    broadcaster, broken = make_broadcaster(), Broken(1)
    with caplog.at_level(logging.ERROR, "caproto"):
        broadcaster._searches.search(broken, ["x"], ["x"])
        wait_for(lambda: broadcaster._searches.report(broken, "x").status)
        (cid,) = broadcaster._service.book._plan._names
        broadcaster._service.answered_by_tcp([ca.SearchResponse(7000, LOOPBACK, cid, None)], 13)
        wait_for(lambda: (broadcaster._searches.report(broken, "x").postponed or 0) > 0)
    assert len(caplog.records) == 1


def test_a_listener_that_fails_when_told_of_other_things(
    make_broadcaster, peer, wait_for, monkeypatch, caplog
):
    monkeypatch.setattr(_search_service, "REPORT_INTERVAL", 0.0)
    broadcaster, broken, good = make_broadcaster(peer.address), Broken(1000), Listener()
    broadcaster._service.book._beacons = Verdicts(Verdict.GOOD)
    for listener in (broken, good):
        broadcaster._searches.add_searcher(listener)
    with caplog.at_level(logging.ERROR, "caproto"):
        broadcaster._searches.search(good, ["x"], ["x"])
        search = peer.search("x")
        peer.send(ca.Beacon(13, 7000, 1), reply(search, 7000), reply(search, 8000))
        wait_for(lambda: {what for what, *_ in good.told} == {"beacon", "found", "again"})
    assert all("the search goes on" in record.getMessage() for record in caplog.records)


def test_a_mistake_with_one_datagram_does_not_end_the_search(
    make_broadcaster, peer, wait_for, monkeypatch, caplog
):
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    mistakes = [ZeroDivisionError()]
    process = broadcaster._service._process

    def faulty_process(*args) -> None:
        if mistakes:
            raise mistakes.pop()
        process(*args)

    monkeypatch.setattr(broadcaster._service, "_process", faulty_process)
    with caplog.at_level(logging.ERROR, "caproto"):
        broadcaster._searches.search(listener, ["x"], ["x"])
        for _ in range(2):
            peer.send(reply(peer.search("x")))
        wait_for(lambda: listener.keys == ["x"])
    (record,) = caplog.records
    assert "the search goes on" in record.getMessage()


def test_a_mistake_between_datagrams_does_not_end_the_search(
    make_broadcaster, peer, wait_for, monkeypatch, caplog
):
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    service = broadcaster._service
    mistakes, send = [ZeroDivisionError()], service._send_due

    def faulty_send() -> None:
        if mistakes:
            raise mistakes.pop()
        send()

    monkeypatch.setattr(service, "_send_due", faulty_send)
    with caplog.at_level(logging.ERROR, "caproto"):
        broadcaster._searches.search(listener, ["x"], ["x"])
        broadcaster.search_now()
        peer.send(reply(peer.search("x")))
        wait_for(lambda: listener.keys == ["x"])
    (record,) = caplog.records
    assert record.getMessage() == "Unexpected error in the search; the search goes on"


# ---- beacons and the repeater ----------------------------------------------------------------


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
def test_what_a_beacon_leads_to(
    make_broadcaster, peer, wait_for, verdict, told, searched_anew, monkeypatch
):
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    broadcaster._service.book._beacons = Verdicts(verdict, Verdict.GOOD)
    anomalies = []
    monkeypatch.setattr(broadcaster._service.book._plan, "beacon_anomaly", anomalies.append)
    broadcaster._searches.add_searcher(listener)
    broadcaster._searches.search(listener, ["x"], ["x"])
    peer.search("x")
    peer.send(ca.Beacon(13, 7000, 5, "10.1.2.3"))
    peer.send(ca.Beacon(12, 8000, 6))
    wait_for(lambda: listener.told[-1:] == [("beacon", (LOOPBACK, 8000), True)])
    assert broadcaster._service.book._beacons.beacons == [
        ("10.1.2.3", 7000, 5, 13), (LOOPBACK, 8000, 6, 12)
    ]
    assert listener.told[:-1] == [("beacon", ("10.1.2.3", 7000), good) for good in told]
    assert bool(anomalies) is searched_anew


def test_registration(make_broadcaster, peer, wait_for, monkeypatch):
    """Again and again until a repeater confirms, then no more."""
    monkeypatch.setattr(_search_service, "spawn_repeater", lambda port: 0)
    broadcaster = make_broadcaster(
        peer.address, repeater_port=peer.address[1], use_repeater=True,
        registration_retry_time=0.05,
    )
    listener = Listener()
    broadcaster._searches.search(listener, ["x"], ["x"])

    def registrations(count: int) -> None:
        while count:
            (first, *_) = peer.receive()
            count -= isinstance(first, ca.RepeaterRegisterRequest)

    registrations(3)
    assert not broadcaster._searches.report(listener, "x").registered
    peer.send(ca.RepeaterConfirmResponse(LOOPBACK))
    wait_for(lambda: broadcaster._searches.report(listener, "x").registered)
    after = []
    while sum(isinstance(first, ca.VersionRequest) for first in after) < 3:
        (first, *_) = peer.receive()
        after.append(first)
    late = [first for first in after if isinstance(first, ca.RepeaterRegisterRequest)]
    assert len(late) <= 1, "one may have crossed the confirmation"


def test_only_what_comes_by_the_repeater_is_a_sign_of_it(
    make_broadcaster, peer, wait_for, monkeypatch
):
    """Answers to searches come from servers: they do not tell that the repeater still knows us."""
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    broadcaster._service.book._beacons = Verdicts(Verdict.GOOD)
    heard = []
    registration = type(broadcaster._service.book._registration)
    monkeypatch.setattr(registration, "heard", lambda *args: heard.append(args))
    broadcaster._searches.add_searcher(listener)
    broadcaster._searches.search(listener, ["x", "y"], ["x", "y"])
    for name in ("x", "y"):
        peer.send(ca.VersionResponse(13, 1), reply(peer.search(name)))
    wait_for(lambda: listener.keys == ["x", "y"])
    assert not heard
    peer.send(ca.Beacon(13, 7000, 1))
    wait_for(lambda: len(heard) == 1)


def test_beacons_come_by_way_of_a_repeater(make_broadcaster, peer, wait_for):
    repeater = Repeater(free_port())
    thread = threading.Thread(target=repeater.run)
    thread.start()
    broadcaster = make_broadcaster(repeater_port=repeater.port, use_repeater=True)
    listener = Listener()
    broadcaster._service.book._beacons = Verdicts(Verdict.GOOD)
    broadcaster._searches.add_searcher(listener)
    broadcaster._searches.search(listener, ["x"], ["x"])
    wait_for(lambda: broadcaster._searches.report(listener, "x").registered)
    peer.client = (LOOPBACK, repeater.port)
    peer.send(ca.Beacon(13, 7000, 1))
    wait_for(lambda: listener.told == [("beacon", (LOOPBACK, 7000), True)])
    repeater.stop()
    thread.join(10)
    repeater.close()


def test_a_repeater_is_started_only_if_none_answers(
    make_broadcaster, monkeypatch, wait_for, caplog
):
    started = []

    def spawn(port) -> int:
        started.append(port)
        raise ca.CaprotoNetworkError("no process to be had")

    monkeypatch.setattr(_search_service, "spawn_repeater", spawn)
    port = free_port()
    broadcaster, listener = make_broadcaster(
        repeater_port=port, use_repeater=True, registration_retry_time=0.02
    ), Listener()
    with caplog.at_level(logging.INFO, "caproto"):
        broadcaster._searches.search(listener, ["x"], ["x"])
        wait_for(lambda: broadcaster._service.book._registration._attempts > 3)
    assert started == [port], "not with each attempt"
    (record,) = [r for r in caplog.records if "no process to be had" in r.getMessage()]
    assert record.levelno == logging.INFO
