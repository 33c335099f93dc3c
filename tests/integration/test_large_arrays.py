"""64 MiB in one message, in both directions: right, and received where the user will see it."""
from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy
import pytest

from caproto.threading.client import Context
from tests.harness.ioc_process import SoftIOC

pytestmark = [pytest.mark.ioc]

SIZE = 64 << 20
CHARS = numpy.arange(SIZE // 8, dtype=numpy.uint64).view(numpy.uint8)
DOUBLES = numpy.arange(SIZE // 8, dtype=numpy.float64) - 0.5


@pytest.fixture(scope="module")
def ioc() -> Iterator[SoftIOC]:
    with SoftIOC(["large.db"]) as process:
        yield process


@pytest.fixture
def ctx(ioc) -> Iterator[Context]:
    with Context(configuration=ioc.configuration, timeout=60) as context:
        yield context


@contextmanager
def memory(limit: float) -> Iterator[None]:
    """Fail if the block ever holds more than *limit* times 64 MiB more than before."""
    tracemalloc.start(1)
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit * SIZE, f"{peak / SIZE:.2f} times the size of the array"


def is_big_endian_view(response, wire_type):
    return response.data.dtype == wire_type and not response.data.flags.owndata


@pytest.mark.parametrize(
    "record, values, wire_type",
    [("large_char", CHARS, "u1"), ("large_double", DOUBLES, ">f8")],
    ids=["char", "double"],
)
def test_64_mib_there_and_back(ioc, ctx, record, values, wire_type):
    (pv,) = ctx.get_pvs(ioc.pv(record))
    pv.wait_for_connection()
    with memory(2.1):  # converted, and in wire byte order
        pv.write(values)
    assert int(ioc.get(f"{record}.NORD").split()[0]) == len(values)
    for family in ("native", "time", "control"):
        with memory(1.1):
            response = pv.read(data_type=family)
            assert is_big_endian_view(response, wire_type)
        assert response.data_count == len(values)
        assert numpy.array_equal(response.data, values), family
        del response


def test_64_mib_as_an_update(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("large_double"))
    pv.write(DOUBLES)
    seen, arrived = [], threading.Event()

    def callback(response):
        seen.append(response)
        arrived.set()

    with memory(1.1):
        token = pv.subscribe(data_type="time").add_callback(callback)
        assert arrived.wait(60)
    assert numpy.array_equal(seen[0].data, DOUBLES)
    arrived.clear()
    seen.clear()
    pv.write(-DOUBLES)
    assert arrived.wait(60)
    assert numpy.array_equal(seen[0].data, -DOUBLES)
    pv.subscribe(data_type="time").remove_callback(token)


def test_a_small_read_behind_a_large_one_gets_the_right_answer(ioc, ctx):
    large, small = ctx.get_pvs(ioc.pv("large_double"), ioc.pv("large_double.NELM"))
    large.write(DOUBLES)
    done, order = threading.Event(), []
    large.read(wait=False, callback=lambda response: order.append(len(response.data)))
    small.read(wait=False, callback=lambda response: (order.append("small"), done.set()))
    assert small.read().data.tolist() == [len(DOUBLES)]
    assert done.wait(60)
    assert order == [len(DOUBLES), "small"]


def test_two_threads_write_64_mib_each_while_they_read(ioc, ctx):
    """Pipes that are full in both directions hold up nobody for ever."""
    pvs = ctx.get_pvs(ioc.pv("large_char"), ioc.pv("large_double"))
    for pv, values in zip(pvs, (CHARS, DOUBLES)):
        pv.write(values)
    sizes = []

    def exchange(pv, values):
        for _ in range(3):
            pv.write(values, wait=False)
            sizes.append(len(pv.read().data))

    threads = [
        threading.Thread(target=exchange, args=pair) for pair in zip(pvs, (CHARS, DOUBLES))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(sizes) == [len(DOUBLES)] * 3 + [len(CHARS)] * 3
