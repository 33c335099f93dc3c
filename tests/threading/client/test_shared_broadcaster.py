"""What users do with a broadcaster: searches without a Context."""
from __future__ import annotations

import contextlib
import gc
import queue

import pytest

import caproto as ca
from caproto import (
    CaprotoKeyError,
    CaprotoTypeError,
    CaprotoValueError,
    ContextDisconnectedError,
    ReentrantCallError,
)
from caproto.threading.client import Context
from tests.harness.interrupts import enter_each_line, in_time
from tests.harness.ports import LOOPBACK
from tests.threading.client.searching import reply


def test_a_search_puts_the_answers_into_a_queue(make_broadcaster, peer):
    broadcaster, results = make_broadcaster(peer.address), queue.Queue()
    broadcaster.search(results, ["a", "b"])
    gc.collect()  # nothing else refers to the search
    peer.send(reply(peer.search("b"), port=7000))
    assert results.get(timeout=10) == ((LOOPBACK, 7000), ["b"])
    assert broadcaster.get_cached_search_result("b") == (LOOPBACK, 7000)
    with pytest.raises(CaprotoKeyError):
        broadcaster.get_cached_search_result("a")
    peer.send(reply(peer.search("a"), port=7001))
    assert results.get(timeout=10) == ((LOOPBACK, 7001), ["a"])


def test_it_can_be_cancelled(make_broadcaster, peer, wait_for):
    broadcaster = make_broadcaster(peer.address)
    broadcaster.search(queue.Queue(), ["a", "b"])
    peer.search("a")
    broadcaster.cancel("a")
    wait_for(lambda: "1 name is" in repr(broadcaster))
    broadcaster.cancel("b")
    wait_for(lambda: "0 names" in repr(broadcaster))


@pytest.mark.parametrize(
    ("names", "error"),
    [("a", CaprotoTypeError), ([3], CaprotoTypeError), ([""], CaprotoValueError)],
)
def test_what_cannot_be_searched(make_broadcaster, peer, names, error):
    with pytest.raises(error, match="name"):
        make_broadcaster(peer.address).search(queue.Queue(), names)


def test_not_after_the_end(make_broadcaster, peer):
    broadcaster = make_broadcaster(peer.address)
    broadcaster.disconnect()
    with pytest.raises(ContextDisconnectedError):
        broadcaster.search(queue.Queue(), ["a"])


def test_a_disconnect_may_interrupt_a_disconnect(make_broadcaster, peer):
    made = []

    def ready() -> None:
        made.append(make_broadcaster(peer.address))
        made[-1].search(queue.Queue(), ["a"])

    def disconnect() -> None:
        with contextlib.suppress(ReentrantCallError):
            made[-1].disconnect()

    def run() -> int:
        ready()
        return len([ready() for _where in enter_each_line(disconnect, disconnect, library=True)])

    assert in_time(run) > 20


def test_ids_differ(make_broadcaster, peer):
    broadcaster = make_broadcaster(peer.address)
    ids = {broadcaster.new_id() for _ in range(1000)}
    assert len(ids) == 1000 and max(ids) < 1 << 16


def test_a_datagram_of_ones_own(make_broadcaster, peer):
    broadcaster = make_broadcaster(peer.address)
    broadcaster.send(ca.VersionRequest(0, 13), ca.SearchRequest("mine", 77, 13))
    search = peer.search("mine")
    assert search.cid == 77
    with pytest.raises(CaprotoTypeError, match="commands must be messages, not 'mine'"):
        broadcaster.send("mine")


def test_a_context_that_is_removed_is_searched_for_no_more(make_broadcaster, peer, wait_for):
    broadcaster = make_broadcaster(peer.address)
    with Context(broadcaster) as ctx:
        ctx.get_pvs("a")
        peer.search("a")
        broadcaster.remove_listener(ctx)
        wait_for(lambda: "0 names" in repr(broadcaster))
