"""Writing: when it is complete, what goes on meanwhile, and how failures reach the user."""
from __future__ import annotations

import logging
import re
import threading
import time
from functools import partial

import pytest

from caproto import (
    AccessError,
    CaprotoTimeoutError,
    CaprotoValueError,
    CAStatus,
    DisconnectedError,
    WriteError,
)
from caproto.threading.client import Context
from tests.conformance.items import item
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.ioc]

#: Seconds between a write to T:slow and its completion.
SLOW = 0.5


class Collector:
    """A callback that keeps what it is given."""

    def __init__(self):
        self.got = []
        self.called = threading.Event()

    def __call__(self, response):
        self.got.append(response)
        self.called.set()

    def wait(self):
        assert self.called.wait(20), "the callback was not called"
        return self.got[0]


def slow_count(ioc):
    """How many slow writes are complete."""
    return float(ioc.get("slow_count"))


# ---- completion


def test_a_write_returns_when_all_that_it_triggers_is_done(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("slow"))
    pv.wait_for_connection()
    before = slow_count(ioc)
    start = time.monotonic()
    assert pv.write(5).status is CAStatus.ECA_NORMAL
    assert time.monotonic() - start >= SLOW * 0.99
    assert slow_count(ioc) == before + 1


def test_a_callback_comes_when_all_is_done(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("slow"))
    pv.wait_for_connection()
    before, done = slow_count(ioc), Collector()
    start = time.monotonic()
    assert pv.write(6, wait=False, callback=done) is None
    response = done.wait()
    assert time.monotonic() - start >= SLOW * 0.99
    assert slow_count(ioc) == before + 1
    assert response.status is CAStatus.ECA_NORMAL
    assert type(response).__name__ == "WriteNotifyResponse"


def test_wait_and_callback_together_tell_both(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("double"))
    done = Collector()
    response = pv.write(1, callback=done)
    assert done.wait() is response


def test_a_calculation_with_a_delay_is_waited_for(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("calcout.A"))
    pv.write(21)
    assert ioc.get("calcout") == "42"


def test_writes_that_take_their_time_do_so_at_the_same_time(ioc, ctx):
    """Of different channels; a server may let those of one channel wait for each other."""
    slow, calcout = ctx.get_pvs(ioc.pv("slow"), ioc.pv("calcout.A"))
    order = []
    finished = threading.Event()

    def note(name, _response):
        order.append(name)
        if len(order) == 2:
            finished.set()

    slow.write(1, wait=False, callback=partial(note, "slow"), timeout=20)
    calcout.write(2, wait=False, callback=partial(note, "calcout"), timeout=20)
    assert finished.wait(20)
    assert order == ["calcout", "slow"]  # 0.3 s and 0.5 s


def test_several_threads_write_the_same_slow_channel(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("slow"))
    pv.wait_for_connection()
    before, statuses = slow_count(ioc), []
    threads = [
        threading.Thread(target=lambda v=value: statuses.append(pv.write(v, timeout=20).status))
        for value in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert statuses == [CAStatus.ECA_NORMAL] * 3
    assert slow_count(ioc) > before


def test_a_write_that_takes_longer_than_the_timeout_says_so(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("slow"))
    pv.wait_for_connection()
    before = slow_count(ioc)
    with pytest.raises(CaprotoTimeoutError, match=r"T:slow.*write within 0\.1 s.*127\.0\.0\.1"):
        pv.write(1, timeout=0.1)
    assert pv.connected
    wait_for(lambda: slow_count(ioc) == before + 1)  # it happened nevertheless
    assert pv.write(2).status is CAStatus.ECA_NORMAL  # and the late reply disturbed nothing


def test_a_callback_comes_at_its_timeout_and_not_again_with_the_reply(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("slow"))
    pv.wait_for_connection()
    late, barrier = Collector(), Collector()
    pv.write(1, wait=False, callback=late, timeout=0.1)
    pv.write(2, wait=False, callback=barrier, timeout=20)
    assert barrier.wait().status is CAStatus.ECA_NORMAL
    assert [response.status for response in late.got] == [CAStatus.ECA_TIMEOUT]


def test_a_write_whose_circuit_is_lost_fails_and_is_not_repeated(start_ioc):
    process = start_ioc()
    with Context(configuration=process.configuration, timeout=20) as own:
        (pv,) = own.get_pvs(process.pv("very_slow"))
        pv.wait_for_connection()
        failures = []

        def write():
            try:
                pv.write(33)
            except DisconnectedError as error:
                failures.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        wait_for(lambda: process.get("very_slow") == "33")
        process.restart()
        thread.join(20)
        assert len(failures) == 1 and "127.0.0.1" in str(failures[0])
        assert pv.read().data.tolist() == [0]  # the new process never saw it


# ---- without completion


def test_writes_without_waiting_arrive_all_and_in_order(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("long"))
    pv.wait_for_connection()
    seen = []

    def callback(response):
        seen.append(int(response.data[0]))

    sub = pv.subscribe()
    sub.add_callback(callback)
    wait_for(lambda: seen)
    del seen[:]
    for number in range(1, 1001):
        assert pv.write(number, wait=False) is None
        if number % 25 == 0:  # a server that has too much to tell leaves values out
            wait_for(lambda: seen and seen[-1] == number)  # noqa: B023
    assert seen == list(range(1, 1001))
    assert pv.read().data.tolist() == [1000]


def test_a_write_without_waiting_needs_no_confirmation(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("slow"))
    pv.wait_for_connection()
    pv.write(4, wait=False)
    assert not pv.circuit_manager.circuit.pending
    assert pv.read().data.tolist() == [4]
    with pytest.raises(CaprotoValueError, match="notify=False"):
        pv.write(5, notify=False)


# ---- failures


@pytest.mark.parametrize(
    "record, value, options",
    [
        ("disabled", 1, {}),
        ("enum", "purple", {}),
        ("bool", "neither", {}),
        ("double", "a text", {"data_type": "STRING"}),
    ],
)
def test_a_write_that_the_server_refuses_raises(ioc, ctx, record, value, options):
    (pv,) = ctx.get_pvs(ioc.pv(record))
    before = ioc.get(record)
    with pytest.raises(WriteError) as caught:
        pv.write(value, **options)
    error = caught.value
    assert (error.pv, error.status, error.address) == (pv, CAStatus.ECA_PUTFAIL, ioc.address)
    for detail in (pv.name, f"127.0.0.1:{ioc.port}", "ECA_PUTFAIL"):
        assert detail in str(error)
    assert ioc.get(record) == before


def test_the_callback_of_a_write_that_fails_gets_the_status(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("disabled"))
    done = Collector()
    pv.write(1, wait=False, callback=done)
    assert done.wait().status is CAStatus.ECA_PUTFAIL


@item(50)
def test_a_failure_that_nobody_waits_for_is_logged_with_the_name(ioc, ctx, caplog):
    """The server reports it by an ERROR message."""
    disabled, other = ctx.get_pvs(ioc.pv("disabled"), ioc.pv("double"))
    disabled.wait_for_connection()
    with caplog.at_level(logging.WARNING, "caproto"):
        disabled.write(1, wait=False)
        other.read()  # the answer comes after the error
        wait_for(lambda: caplog.records)
    (record,) = caplog.records
    assert record.pv == disabled.name and record.levelno == logging.WARNING
    assert re.search(r"T:disabled.*ECA_PUTFAIL", record.getMessage())
    assert disabled.connected and float(ioc.get("disabled")) == 10


@item(49)
def test_what_may_not_be_written_is_refused_without_asking(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("readonly"))
    for options in ({}, {"wait": False}, {"wait": False, "callback": print}):
        with pytest.raises(AccessError, match="T:readonly.*ECA_NOWTACCESS"):
            pv.write(1, **options)
    assert pv.read().data.tolist() == [7]


@pytest.mark.parametrize(
    "record, value", [("double", "text"), ("short", 1e6), ("string", "x" * 40)]
)
@item(48)
def test_what_cannot_be_sent_in_the_type_is_refused_without_asking(ioc, ctx, record, value):
    (pv,) = ctx.get_pvs(ioc.pv(record))
    before = ioc.get(record)
    with pytest.raises((ValueError, TypeError), match=re.escape(str(value)[:10])):
        pv.write(value)
    assert ioc.get(record) == before
    pv.read()
    assert pv.connected


# ---- at the end, because the record is busy for five seconds


def test_everything_else_goes_on_while_a_write_takes_its_time(ioc, ctx):
    """On the same circuit, and even on the very channel that is being written."""
    slow, other, text = ctx.get_pvs(ioc.pv("very_slow"), ioc.pv("double"), ioc.pv("string"))
    slow.wait_for_connection()
    done, updates = Collector(), Collector()
    sub = other.subscribe()
    sub.add_callback(updates)
    slow.write(9, wait=False, callback=done, timeout=60)
    assert slow.circuit_manager is other.circuit_manager
    assert slow.read().data.tolist() == [9]
    for number in range(90):
        other.write(number)
        assert other.read().data.tolist() == [number]
    text.write("meanwhile")
    assert text.read().strings == ["meanwhile"]
    wait_for(lambda: updates.got[-1].data.tolist() == [89])
    assert not done.got  # five seconds have not passed yet
