"""Thousands of PVs: found and connected soon, by a handful of threads, and all of them right."""
from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest

from caproto.threading.client import Batch, Context, SharedBroadcaster
from tests.harness.databases import many, many_names
from tests.harness.ioc_process import SoftIOC
from tests.harness.leaks import our_threads
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.ioc]

NAMES = many_names(10_000)


@pytest.fixture(scope="module")
def ioc() -> Iterator[SoftIOC]:
    with SoftIOC([many(10_000)]) as process:
        yield process


def connect(ctx, names, report, **options):
    """PVs that are all connected; says how long that took."""
    start = time.monotonic()
    pvs = ctx.get_pvs(*names, **options)
    handed_over = time.monotonic() - start
    wait_for(lambda: all(pv.connected for pv in pvs), 30)
    seconds = time.monotonic() - start
    report(f"{len(names)} PVs: get_pvs {handed_over:.3f} s, all connected {seconds:.3f} s")
    return pvs, seconds


@pytest.fixture
def report(request) -> Iterator[callable]:
    """Prints figures also if the test passes."""
    lines: list[str] = []
    yield lines.append
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("", *lines, sep="\n    ")


def threads():
    """How many of our threads there are of each kind."""
    return Counter(thread.name.split()[0] for thread in our_threads())


def test_a_thousand_pvs_connect_in_about_a_second(ctx, report):
    pvs, seconds = connect(ctx, NAMES[:1000], report)
    assert seconds < 5  # a machine at rest takes a few tenths
    assert threads() == {"ca-udp": 1, "ca-circuit": 1}
    assert len(ctx.circuit_managers) == 1
    for pv in pvs[::100]:
        assert pv.read().data.tolist() == [float(pv.name[-5:])]


def test_ten_thousand_pvs_connect_in_a_few_seconds(ctx, report):
    pvs, seconds = connect(ctx, NAMES, report)
    assert seconds < 15  # a machine at rest takes one or two
    assert threads() == {"ca-udp": 1, "ca-circuit": 1}

    values, failures, done = {}, [], threading.Event()

    def collect(pv, response):
        if pv in values:
            failures.append(pv)
        values[pv] = response.data.tolist()
        if len(values) == len(pvs):
            done.set()

    start = time.monotonic()
    with Batch(timeout=30) as batch:
        for pv in pvs:
            batch.read(pv, partial(collect, pv))
    assert done.wait(30)
    report(f"Batch of {len(pvs)} reads: {time.monotonic() - start:.3f} s")
    assert values == {pv: [float(pv.name[-5:])] for pv in pvs}
    assert not failures
    assert threads() == {"ca-udp": 1, "ca-circuit": 1, "ca-callback": 1}


def test_every_one_of_a_thousand_has_its_own_first_update(ctx, report):
    first, states = {}, Counter()
    done = threading.Event()

    def update(sub, response):
        first.setdefault(sub.pv.name, []).append(response.data[0])
        if len(first) == 1000:
            done.set()

    def changed(pv, state):
        states[state] += 1

    pvs = ctx.get_pvs(*NAMES[:1000], connection_state_callback=changed)
    for pv in pvs:  # before they are connected, as scripts do
        pv.subscribe().add_callback(update)
    assert done.wait(30)
    assert first == {pv.name: [float(pv.name[-5:])] for pv in pvs}
    assert states == {"connected": 1000}
    assert threads() == {"ca-udp": 1, "ca-circuit": 1, "ca-callback": 1}


def test_a_batch_of_writes_arrives(ioc, ctx):
    pvs = ctx.get_pvs(*NAMES[5000:6000])
    statuses, done = Counter(), threading.Event()

    def written(response):
        statuses[response.status.name] += 1
        if statuses.total() == 1000:
            done.set()

    with Batch(timeout=30) as batch:  # the PVs need not be connected yet
        for number, pv in enumerate(pvs):
            batch.write(pv, -number, written)
    assert done.wait(30)
    assert statuses == {"ECA_NORMAL": 1000}
    for number in (0, 1, 500, 999):
        assert float(ioc.get(f"n{5000 + number:05d}")) == -number
    with Batch() as batch:
        for number, pv in enumerate(pvs, start=5000):
            batch.write(pv, number)
    assert pvs[-1].read().data.tolist() == [5999]
    assert float(ioc.get("n05000")) == 5000


def test_two_contexts_share_one_search_thread(ioc, report):
    broadcaster = SharedBroadcaster(configuration=ioc.configuration)
    try:
        with Context(broadcaster) as one, Context(broadcaster) as two:
            for ctx in (one, two):
                connect(ctx, NAMES[:500], report)
            assert threads() == {"ca-udp": 1, "ca-circuit": 2}
    finally:
        broadcaster.disconnect()


def test_priorities_have_circuits_of_their_own(ctx, report):
    pvs = [connect(ctx, NAMES[:10], report, priority=priority)[0] for priority in (0, 50, 99)]
    assert threads() == {"ca-udp": 1, "ca-circuit": 3}
    assert sorted(priority for _, priority in ctx.circuit_managers) == [0, 50, 99]
    assert len({pv for group in pvs for pv in group}) == 30


def test_names_that_nobody_has_do_not_hold_up_the_others(ctx, report):
    ctx.get_pvs(*[f"nobody:has:this:{number}" for number in range(20_000)])
    _, seconds = connect(ctx, NAMES[:1000], report)
    assert seconds < 10


def test_sixteen_threads_ask_for_the_same_thousand(ctx):
    start, results = threading.Barrier(16), []

    def ask():
        start.wait()
        results.append(ctx.get_pvs(*NAMES[:1000]))

    group = [threading.Thread(target=ask) for _ in range(16)]
    for thread in group:
        thread.start()
    for thread in group:
        thread.join()
    assert all(result == results[0] for result in results)
    for pv in results[0]:
        pv.wait_for_connection(timeout=30)
    assert len(ctx.circuit_managers) == 1
    assert len(ctx.circuit_managers.popitem()[1].channels) == 1000
