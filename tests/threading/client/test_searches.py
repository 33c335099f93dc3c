"""One UDP socket for any number of Contexts: who is told what, and what never stops the search."""
from __future__ import annotations

import errno
import gc
import logging
import threading
import time
import weakref

import pytest

import caproto as ca
from caproto import ContextDisconnectedError
from caproto._locks import held
from caproto.threading.client import Context, SharedBroadcaster, _name_server
from tests.conformance.items import item
from tests.harness.fake_server import FakeServer
from tests.harness.interrupts import enter_each_line, interrupt_each_line
from tests.harness.leaks import open_sockets
from tests.harness.ports import LOOPBACK, free_port
from tests.threading.client.searching import Listener, configuration, reply

# ---- finding ---------------------------------------------------------------------------------


def test_no_thread_before_there_is_something_to_search(make_broadcaster):
    broadcaster = make_broadcaster()
    broadcaster._searches.add_searcher(Listener())
    broadcaster._searches.search(Listener(), [], [])
    assert not broadcaster._service.thread.started


def test_a_listener_is_told_where_its_names_are(make_broadcaster, peer, wait_for):
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    broadcaster._searches.search(listener, ["x", "y", "z"], ["kx", "ky", "kz"])
    commands = peer.receive()
    cids = {command.name: command for command in commands[1:]}
    assert sorted(cids) == ["x", "y", "z"]
    assert broadcaster._searches.open_searches(listener) == 3
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
    assert broadcaster._searches.open_searches(listener) == 0
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


def test_a_dead_listener_is_not_held_and_its_names_are_given_up(make_broadcaster, peer, wait_for):
    broadcaster = make_broadcaster(peer.address)
    dead, living = Listener(), Listener()
    broadcaster._searches.add_searcher(dead)
    broadcaster._searches.search(dead, ["dead:x"], ["x"])
    broadcaster._searches.search(living, ["living:x"], ["x"])
    first = peer.search("dead:x")
    alive = weakref.ref(dead)
    del dead
    gc.collect()
    assert alive() is None
    wait_for(lambda: len(broadcaster._service.book._plan) == 1)
    peer.send(reply(first))
    for _ in range(2):
        searched = peer.search("living:x")
    peer.send(reply(searched))
    wait_for(lambda: living.keys == ["x"])


def test_an_answer_for_a_dead_listener_disturbs_nobody(make_broadcaster, peer, wait_for, caplog):
    broadcaster, dead, living = make_broadcaster(peer.address), Listener(), Listener()
    broadcaster._searches.search(dead, ["dead:x"], ["x"])
    first = peer.search("dead:x")
    broadcaster._searches.search(living, ["living:x"], ["x"])
    second = peer.search("living:x")
    del dead
    gc.collect()
    peer.send(reply(first), reply(second))
    wait_for(lambda: living.keys == ["x"])
    assert not caplog.records


def test_forgotten_means_not_searched_and_not_told(make_broadcaster, peer, wait_for):
    broadcaster = make_broadcaster(peer.address)
    one, two = Listener(), Listener()
    broadcaster._searches.add_searcher(one)
    broadcaster._searches.search(one, ["one"], ["x"])
    broadcaster._searches.search(two, ["two"], ["x"])
    searches = [peer.search("one")]
    broadcaster._searches.forget(one)
    searches.append(peer.search("two"))
    wait_for(lambda: [broadcaster._searches.open_searches(who) for who in (one, two)] == [0, 1])
    peer.send(*map(reply, searches))
    wait_for(lambda: two.keys == ["x"])
    assert one.told == []


def test_what_was_postponed_is_forgotten_too(make_broadcaster, peer, wait_for):
    broadcaster = make_broadcaster(peer.address)
    one, two = Listener(), Listener()
    for listener, name in ((one, "one"), (two, "two"), (one, "three")):
        broadcaster._searches.search(listener, [name], [name], delay=0.1)
    broadcaster._searches.forget(one)
    peer.send(reply(peer.search("two")))
    wait_for(lambda: two.keys == ["two"])
    assert not len(broadcaster._service.book) and not broadcaster._service.book._postponed


def test_lost_names_whose_search_is_postponed_are_still_lost(make_broadcaster, peer):
    """Their server is as likely to be back soon as that of others."""
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    broadcaster._searches.search(listener, ["lost"], ["l"], lost=True, delay=0.01)
    peer.search("lost")
    assert broadcaster._searches.report(listener, "l").status.lost


def test_a_search_may_be_postponed(make_broadcaster, peer, wait_for):
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    begun = time.monotonic()
    broadcaster._searches.search(listener, ["late"], ["l"], delay=0.2)
    broadcaster._searches.search(listener, ["soon"], ["s"])
    names = []
    while "late" not in names:
        names += [command.name for command in peer.receive()[1:]]
    assert time.monotonic() - begun >= 0.2
    assert names[0] == "soon"


def test_search_now_asks_at_once_and_begins_anew(make_broadcaster, peer):
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    broadcaster._searches.search(listener, ["x"], ["x"])
    while True:
        cid = peer.search("x").cid
        facts = broadcaster._service.book._plan.status(cid)
        if facts.next_due - time.monotonic() > 0.9:
            break
    broadcaster.search_now()
    peer.search("x")
    peer.search("x")
    assert time.monotonic() < facts.next_due, "two searches before the one that was due"


def test_the_time_since_a_server_was_heard_is_the_shortest(make_broadcaster):
    broadcaster = make_broadcaster()
    one, two = Listener(), Listener()
    one.heard = {("10.0.0.1", 1): 5.0, ("10.0.0.2", 2): 1.0}
    two.heard = {("10.0.0.1", 1): 3.0}
    for listener in (one, two):
        broadcaster._searches.add_searcher(listener)
    assert broadcaster.time_since_last_heard() == {("10.0.0.1", 1): 3.0, ("10.0.0.2", 2): 1.0}
    del one
    listener = None
    gc.collect()
    assert broadcaster.time_since_last_heard() == {("10.0.0.1", 1): 3.0}


def test_the_time_since_a_real_circuit_was_heard(ctx, server):
    assert ctx.broadcaster.time_since_last_heard() == {}
    (x,) = ctx.get_pvs("x")
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
    assert broadcaster._searches.unresolved == []
    with caplog.at_level(logging.WARNING, "caproto"):
        broadcaster._searches.search(listener, ["x"], ["x"])
        report = broadcaster._searches.report
        wait_for(lambda: (status := report(listener, "x").status) and status.tries > 3)
    broadcaster.disconnect()
    assert broadcaster._searches.unresolved == unresolved
    *_, last = caplog.records
    assert len(caplog.records) == warnings and last.levelno == logging.WARNING
    for variable in ("EPICS_CA_ADDR_LIST", "EPICS_CA_NAME_SERVERS", "EPICS_CA_AUTO_ADDR_LIST"):
        assert variable in last.getMessage()


def test_a_host_that_is_not_known_stops_no_other(make_broadcaster, peer, caplog):
    broadcaster, listener = make_broadcaster((UNKNOWN, 7000), peer.address), Listener()
    broadcaster._searches.search(listener, ["x"], ["x"])
    peer.search("x")
    assert broadcaster._searches.unresolved == [f"{UNKNOWN}:7000"]
    assert broadcaster._searches.destinations == [peer.address]
    (record,) = caplog.records
    assert UNKNOWN in record.getMessage()


@pytest.mark.parametrize("lack", ["Too many open files", "can't start new thread"])
def test_without_resources_name_servers_are_started_later(
    lack, make_broadcaster, peer, wait_for, monkeypatch, caplog
):
    """And the search by UDP goes on meanwhile."""
    where = (LOOPBACK, free_port())
    broadcaster, listener = make_broadcaster(peer.address, name_servers=(where,)), Listener()
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
            broadcaster._searches.search(listener, ["x"], ["x"])
            for _ in range(3):
                peer.search("x")
            assert broadcaster._searches.report(listener, "x").name_servers == {where: lack}
        report = broadcaster._searches.report
        wait_for(lambda: "refused" in report(listener, "x").name_servers[where])
    assert len([record for record in caplog.records if lack in record.getMessage()]) == 1


# ---- two servers for one name ----------------------------------------------------------------


@item(25)
def test_a_second_answer_of_the_same_server_is_nothing(make_broadcaster, peer, wait_for):
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    broadcaster._searches.search(listener, ["x", "y"], ["x", "y"])
    x, y = sorted(peer.receive()[1:], key=lambda search: search.name)
    peer.send(reply(x), reply(x))
    peer.send(reply(x))
    peer.send(reply(y))
    wait_for(lambda: listener.keys == ["x", "y"])
    assert not listener.again


@item(26)
def test_two_servers_with_one_name_are_reported_once(make_broadcaster, peer, wait_for):
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    broadcaster._searches.search(listener, ["x", "y"], ["x", "y"])
    x, y = sorted(peer.receive()[1:], key=lambda search: search.name)
    peer.send(reply(x, 7000), reply(x, 8000), reply(x, 8000), reply(x, 7000))
    peer.send(reply(x, 8000), reply(y))
    wait_for(lambda: listener.keys == ["x", "y"])
    assert listener.again == [("x", (LOOPBACK, 7000), (LOOPBACK, 8000))]


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
        gc.collect(1)  # what is young, which takes no time; everything only if that is not enough
        if open_sockets() != sockets:
            gc.collect()
        assert open_sockets() == sockets, where
    assert len(places) > 30


@closed_by_python
def test_an_interrupted_first_search_is_repaired_by_the_next_call(peer, wait_for):
    """Whether the thread was started or not; and there is only one."""
    broadcasters = []

    def begin() -> None:
        broadcasters.append(SharedBroadcaster(configuration=configuration(peer.address)))
        broadcasters[-1]._searches.search(listener, ["x"], ["x"])

    listener = Listener()
    for where in interrupt_each_line(begin):
        while broadcasters:
            broadcaster = broadcasters.pop()
            broadcaster._searches.search(listener, ["x", "y"], ["x", "y"])
            wait_for(lambda b=broadcaster: b._searches.open_searches(listener) == 2, message=where)
            threads = broadcaster._service.thread._threads
            assert sum(thread.is_alive() for thread in threads) == 1, where
            broadcaster.disconnect()
            assert not broadcaster._service.thread.alive, where


def test_interrupted_calls_leave_the_search_whole(make_broadcaster, peer, wait_for):
    """Each may be repeated; nothing is searched twice, and nothing is lost."""
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    broadcaster._searches.search(listener, ["x"], ["x"])
    search = peer.search("x")
    newcomer = Listener()

    def add() -> None:
        broadcaster._searches.add_searcher(newcomer)
        broadcaster._searches.search(newcomer, ["short"], ["short"])

    calls = [
        lambda: broadcaster._searches.search(listener, ["x", "y"], ["x", "y"]),
        lambda: broadcaster._searches.search(listener, ["z"], ["z"], delay=0.001),
        add,
        lambda: broadcaster._searches.forget(newcomer),
        broadcaster.search_now,
        broadcaster.time_since_last_heard,
        lambda: broadcaster._searches.report(listener, "x"),
        broadcaster._searches.why_not_found,
        lambda: broadcaster._searches.note(lambda: None),
        lambda: broadcaster._searches.circuit_closed((LOOPBACK, 1)),
    ]
    for call in calls:
        for _where in interrupt_each_line(call):
            call()
    searches, book = broadcaster._searches, broadcaster._service.book
    wait_for(lambda: len(book) == searches.open_searches(listener) == 3)
    peer.send(reply(search))
    for name in "yz":
        peer.send(reply(peer.search(name)))
    wait_for(lambda: listener.keys == ["x", "y", "z"])
    assert len(broadcaster._service.thread._threads) == 1


@pytest.mark.parametrize("started", [False, True])
def test_an_interrupted_disconnect_is_repeated(peer, started, wait_for):
    listener = Listener()
    broadcasters = []

    def end() -> None:
        broadcasters[-1].disconnect()

    def prepare() -> None:
        broadcasters.append(SharedBroadcaster(configuration=configuration(peer.address)))
        if started:
            broadcasters[-1]._searches.search(listener, ["x"], ["x"])

    prepare()
    sockets = open_sockets()
    for where in interrupt_each_line(end):
        broadcasters[-1].disconnect()
        assert broadcasters[-1]._service.socket.socket.fileno() == -1, where
        assert not broadcasters[-1]._service.thread.alive, where
        prepare()
    broadcasters[-1].disconnect()
    assert len(open_sockets()) < len(sockets)


def test_a_call_inside_a_call_never_waits_for_itself(make_broadcaster, peer, wait_for):
    """A signal handler, or a finalizer, that runs between any two lines of another call."""
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    notes: list[str] = []
    others = []

    def handler() -> None:
        others.append(Listener())
        broadcaster._searches.search(others[-1], ["other"], ["other"])
        broadcaster.search_now()
        broadcaster._searches.forget(others[-1])
        broadcaster._searches.note(lambda: notes.append(threading.current_thread().name))
        repr(broadcaster)

    calls = [
        lambda: broadcaster._searches.search(listener, ["x"], ["x"]),
        broadcaster.search_now,
        lambda: broadcaster._searches.report(listener, "x"),
        lambda: broadcaster._searches.forget(listener),
        lambda: broadcaster._searches.open_searches(listener),
    ]
    for call in calls:
        for _where in enter_each_line(call, handler):
            pass
    wait_for(lambda: len(notes) == len(others) > 20)
    assert set(notes) == {"ca-udp"}
    wait_for(lambda: len(broadcaster._service.book) == 0)


def test_what_would_wait_for_itself_is_refused(make_broadcaster):
    broadcaster, refused = make_broadcaster(), []

    def handler() -> None:
        if held(broadcaster._searches.lock):
            with pytest.raises(ca.ReentrantCallError, match="SharedBroadcaster.disconnect"):
                broadcaster.disconnect()
            refused.append(True)

    for _where in enter_each_line(lambda: broadcaster._searches.report(Listener(), "x"), handler):
        pass
    assert refused
    broadcaster.disconnect()


def test_the_thread_goes_on_although_a_note_fails(make_broadcaster, peer, wait_for, caplog):
    broadcaster, listener = make_broadcaster(peer.address), Listener()

    def fail(error: Exception) -> None:
        raise error

    with caplog.at_level(logging.WARNING, "caproto"):
        broadcaster._searches.note(lambda: fail(ZeroDivisionError()), "the:pv")
        broadcaster._searches.note(lambda: fail(ca.CaprotoTimeoutError("too late")), "the:pv")
        broadcaster._searches.search(listener, ["x"], ["x"])
        peer.send(reply(peer.search("x")))
        wait_for(lambda: listener.keys == ["x"])
    defect, ours = caplog.records
    assert defect.exc_info and "'the:pv'" in defect.getMessage()
    assert ours.getMessage() == "'the:pv': too late" and not ours.exc_info


def test_without_threads_the_next_search_starts_one(make_broadcaster, peer, monkeypatch, wait_for):
    broadcaster, listener = make_broadcaster(peer.address), Listener()

    def no_threads(thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_threads)
        with pytest.raises(ca.CaprotoError, match="cannot start the search thread: can't"):
            broadcaster._searches.search(listener, ["x"], ["x"])
        assert broadcaster._searches.report(listener, "x").postponed == 0.0, "it is not forgotten"
    broadcaster._searches.search(listener, ["y"], ["y"])
    for name in "xy":
        peer.send(reply(peer.search(name)))
    wait_for(lambda: listener.keys == ["x", "y"])


# ---- the end, and the log --------------------------------------------------------------------


@pytest.mark.parametrize("started", [False, True])
def test_disconnected_twice(make_broadcaster, peer, started):
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    if started:
        broadcaster._searches.search(listener, ["x"], ["x"])
        peer.search("x")
    broadcaster.disconnect()
    assert broadcaster._service.socket.socket.fileno() == -1
    assert not started or not broadcaster._service.thread.alive
    broadcaster.disconnect()
    broadcaster._searches.search(listener, ["y"], ["y"])
    broadcaster.search_now()
    assert "was disconnected" in repr(broadcaster)
    with pytest.raises(ContextDisconnectedError, match="was disconnected"):
        Context(broadcaster)


def test_without_waiting(make_broadcaster, peer):
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    broadcaster._searches.search(listener, ["x"], ["x"])
    broadcaster.disconnect(wait=False)
    broadcaster._searches.join(10)
    assert not broadcaster._service.thread.alive


def test_a_broadcaster_that_nobody_needs_ends(peer):
    broadcaster = SharedBroadcaster(configuration=configuration(peer.address))
    listener = Listener()
    broadcaster._searches.add_searcher(listener)
    broadcaster._searches.search(listener, ["x"], ["x"])
    peer.search("x")
    (thread,) = broadcaster._service.thread._threads
    del broadcaster
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_every_datagram_is_logged_at_debug(make_broadcaster, peer, wait_for, caplog):
    broadcaster, listener = make_broadcaster(peer.address), Listener()
    broadcaster.log.setLevel("DEBUG")
    broadcaster._searches.search(listener, ["x"], ["x"])
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
