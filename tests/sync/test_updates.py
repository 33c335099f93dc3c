"""Updates for the thread that blocks, from a real IOC."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from caproto import CaprotoTypeError, CaprotoValueError, EventAddResponse, SubscriptionType
from caproto.sync.client import Subscription, block, interrupt, subscribe
from tests.harness.ioc_process import clean_environ

pytestmark = [pytest.mark.ioc, pytest.mark.usefixtures("environment")]


def test_updates_come_to_the_thread_that_blocks(ioc):
    threads, values = [], []

    def note(sub, response):
        threads.append((sub, threading.current_thread(), type(response)))
        values.append(response.data[0])
        if len(values) == 3:
            interrupt()

    sub = subscribe(ioc.pv("counter"), data_type="time")
    token = sub.add_callback(note)
    assert sub.block(repeater=False) is None
    assert values == [values[0] + n for n in range(3)]
    assert set(threads) == {(sub, threading.current_thread(), EventAddResponse)}
    # Again; and without the callback.
    values.clear()
    sub.block(repeater=False)
    assert len(values) == 3
    sub.remove_callback(token)
    sub.block(duration=0.15, repeater=False)
    assert len(values) == 3


def test_several_pvs_and_callbacks(ioc, double):
    got = []
    first, second = subscribe(double), subscribe(ioc.pv("bool"), 7)
    first.add_callback(lambda response: got.append(("first", response.data.tolist())))
    second.add_callback(lambda sub, response: got.append((sub.pv_name, response.data)))
    for subscription in (first, second):
        subscription.add_callback(lambda response: len(got) > 1 and interrupt())
    block(first, second, repeater=False, duration=20)
    assert sorted(got) == [(ioc.pv("bool"), [b"on"]), ("first", [3.5])]
    first.clear(), second.clear()
    numbers = []
    second.add_callback(lambda response: (numbers.extend(response.data), interrupt()))
    second.block(force_int_enums=True, repeater=False)
    assert numbers == [1]


def test_a_duration(double):
    start = time.monotonic()
    block(subscribe(double), duration=0.3, repeater=False)
    assert 0.3 <= time.monotonic() - start < 5


@pytest.mark.parametrize("duration", [float("inf"), 1e15])
def test_a_duration_longer_than_a_system_can_wait(double, duration):
    subscription = subscribe(double)
    subscription.add_callback(lambda response: interrupt())
    block(subscription, duration=duration, repeater=False)


def test_a_duration_that_is_none(double):
    with pytest.raises(CaprotoValueError, match="duration must be a number of seconds"):
        block(subscribe(double), duration=float("nan"))


def test_interrupted_by_another_thread(ioc, double):
    sub, blocking = subscribe(double), threading.Event()
    sub.add_callback(lambda _: blocking.set())
    other = threading.Thread(target=lambda: (blocking.wait(20), sub.interrupt()))
    other.start()
    sub.block(repeater=False)
    other.join()
    interrupt()  # nothing blocks: nothing happens, now or later
    blocking.clear()
    sub.block(duration=0.1, repeater=False)
    assert blocking.is_set()


def test_ctrl_c_ends_it(ioc, double):
    code = """
        import os, signal, threading
        from caproto.sync.client import subscribe
        sub = subscribe({name!r})
        sub.add_callback(lambda response: print(response.data_count, flush=True))
        sub.block(repeater=False)
        print("goes on")
        """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code.format(name=double))],
        env=clean_environ(**ioc.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("goes on\n", "")


def test_ctrl_c_in_a_callback(double):
    sub = subscribe(double)
    sub.add_callback(lambda _: os.kill(os.getpid(), signal.SIGINT))
    sub.block(repeater=False)


def test_what_a_callback_raises_comes_out(double):
    sub = subscribe(double)
    sub.add_callback(lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sub.block(repeater=False)


def test_an_unknown_pv(double):
    with pytest.raises(TimeoutError, match="'nonsense' was not found within 0.2 s"):
        block(subscribe(double), subscribe("nonsense"), timeout=0.2, repeater=False)


def test_wrong_arguments(double):
    with pytest.raises(CaprotoValueError, match="at least one subscription"):
        block()
    with pytest.raises(CaprotoTypeError, match=r"block takes what subscribe\(\) returns"):
        block(double)
    for arguments, named in (
        ({"priority": -1}, "priority"),
        ({"data_type": "nonsense"}, "data type"),
        ({"data_count": "1"}, "data_count"),
        ({"mask": 0}, "mask"),
    ):
        with pytest.raises((CaprotoValueError, CaprotoTypeError), match=named):
            subscribe(double, **arguments)
    with pytest.raises(CaprotoTypeError):
        subscribe(double).add_callback(None)
    with pytest.raises(KeyError, match="no callback with token 7"):
        subscribe(double).remove_callback(7)


def test_the_mask(ioc, double):
    sub = subscribe(double, mask=SubscriptionType.DBE_PROPERTY)
    assert sub.mask is SubscriptionType.DBE_PROPERTY
    assert repr(sub) == f"<Subscription to {double!r} with 0 callbacks>"
    assert isinstance(sub, Subscription)
