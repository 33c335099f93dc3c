"""Contexts that come and go leave nothing; one that has nothing to do takes no time."""
from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections import Counter
from pathlib import Path

import pytest

from caproto import CaprotoError
from caproto.threading.client import Context, SharedBroadcaster
from tests.harness.databases import many, many_names
from tests.harness.leaks import our_threads
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.ioc]


def descriptors():
    """How many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def resident():
    """Bytes of memory in use."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def objects():
    """How many objects of each class of ours there are."""
    gc.collect()
    kinds = Counter(type(each).__name__ for each in gc.get_objects() if _ours(type(each)))
    return {name: count for name, count in kinds.items() if count}


def _ours(kind):
    return str(getattr(kind, "__module__", "")).startswith("caproto.threading")


def state():
    """What must not grow."""
    return (descriptors(), threading.active_count(), len(our_threads()), objects())


def connected_cycle(ioc):
    updates = threading.Event()

    def callback(response):
        updates.set()

    with Context(configuration=ioc.configuration, timeout=20) as ctx:
        (pv,) = ctx.get_pvs(ioc.pv("double"))
        pv.subscribe().add_callback(callback)
        assert pv.read().data_count == 1
        assert updates.wait(20)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2000, pytest.param(9_900, marks=pytest.mark.thorough)])
def test_thousands_of_contexts_leave_nothing_behind(ioc, count):
    """Most are closed while they search, as in scripts that give up."""

    def cycles(count):
        for _ in range(count):
            with Context(configuration=ioc.configuration) as ctx:
                ctx.get_pvs("nobody:has:this")

    cycles(100)
    before, memory = state(), resident()
    cycles(count)
    assert state() == before
    assert resident() - memory < 20 << 20


@pytest.mark.slow
def test_200_connected_contexts_leave_nothing_behind(ioc):
    for _ in range(10):
        connected_cycle(ioc)
    before = state()
    for _ in range(200):
        connected_cycle(ioc)
    assert state() == before
    wait_for(lambda: "No clients connected" in "\n".join(ioc.command("casr 1")))


def test_a_context_that_is_dropped_is_closed(ioc):
    """Nobody says disconnect(): the last reference does."""

    def drop():
        ctx = Context(configuration=ioc.configuration, timeout=20)
        (pv,) = ctx.get_pvs(ioc.pv("double"))
        pv.subscribe().add_callback(lambda response: None, strong=True)
        pv.read()
        return weakref.ref(ctx)

    before = state()
    for _ in range(8):
        reference = drop()
        # The collector finds it as soon as no callback is running any more.
        wait_for(lambda: gc.collect() is not None and reference() is None)  # noqa: B023
    wait_for(lambda: not our_threads())
    assert state() == before


def test_a_pv_keeps_its_context_alive(ioc):
    (pv,) = Context(configuration=ioc.configuration, timeout=20).get_pvs(ioc.pv("double"))
    gc.collect()
    assert pv.read().data.tolist() == [3.14]
    pv.context.disconnect()


def test_requests_sent_before_the_end_still_arrive(ioc):
    for number in range(20):
        with Context(configuration=ioc.configuration, timeout=20) as ctx:
            (pv,) = ctx.get_pvs(ioc.pv("long"))
            pv.wait_for_connection()
            for step in range(50):
                pv.write(100 * number + step, wait=False)
        wait_for(lambda: ioc.get("long").startswith(f"{100 * number + 49} "))  # noqa: B023


def close_in_the_middle(configuration, names, enough):
    """Disconnect while PVs connect, updates stream in and threads wait."""
    outcomes = []

    def callback(response):
        outcomes.append(response)

    ctx = Context(configuration=configuration, timeout=20)
    pvs = ctx.get_pvs(*names)
    for pv in pvs:
        pv.subscribe().add_callback(callback)

    def wait():
        try:
            outcomes.append(pvs[-1].read())
        except CaprotoError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(outcomes) >= enough)
    ctx.disconnect()
    count = len(outcomes)
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert len(outcomes) - count <= len(threads)  # no callback comes after the end
    assert not any(pv.connected for pv in pvs)


def test_closing_in_the_middle_of_everything(start_ioc):
    process = start_ioc([many(1000)])
    before = state()
    for turn in range(8):
        close_in_the_middle(process.configuration, many_names(1000), 120 * turn)
    assert state() == before


def test_an_idle_context_takes_no_time(start_ioc, request):
    """A thousand connected PVs and as many subscriptions that have nothing to tell."""
    process = start_ioc([many(1000)])
    names = many_names(1000)
    updates = Counter()

    def callback(sub, response):
        updates[sub.pv.name] += 1

    with Context(configuration=process.configuration, timeout=20) as ctx:
        pvs = ctx.get_pvs(*names)
        for pv in pvs:
            pv.subscribe().add_callback(callback)
        wait_for(lambda: len(updates) == 1000)
        gc.collect()
        thread_ids = [thread.native_id for thread in our_threads()]
        assert len(thread_ids) == 3
        started, used, woken = time.monotonic(), time.process_time(), switches(thread_ids)
        threading.Event().wait(3)
        seconds = time.monotonic() - started
        share = (time.process_time() - used) / seconds
        wakes = (switches(thread_ids) - woken) / seconds
        with request.config.pluginmanager.getplugin(
            "capturemanager"
        ).global_and_fixture_disabled():
            print(f"\n    idle: {100 * share:.3f} % of a core, {wakes:.1f} wake-ups a second")
        assert share < 0.005
        assert wakes < 1  # the watchdog asks every half minute; nothing polls


def switches(thread_ids):
    """How often these threads went to sleep so far."""
    total = 0
    for number in thread_ids:
        for line in Path(f"/proc/self/task/{number}/status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def test_a_context_with_a_lent_broadcaster_leaves_it_running(ioc):
    broadcaster = SharedBroadcaster(configuration=ioc.configuration)
    try:
        for _ in range(50):
            with Context(broadcaster, timeout=20) as ctx:
                (pv,) = ctx.get_pvs(ioc.pv("double"))
                pv.wait_for_connection()
            assert [thread.name for thread in our_threads()] == ["ca-udp"]
    finally:
        broadcaster.disconnect()
    assert not our_threads()
