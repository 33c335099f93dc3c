"""What people do: press Ctrl-C, use many threads, write scripts that just end, put PVs to rest."""
from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager

import pytest

from caproto.threading.client import Context
from tests.harness.ioc_process import clean_environ
from tests.harness.waiting import wait_for
from tests.threading.client.told import flush

pytestmark = [pytest.mark.ioc]


@contextmanager
def interrupted(when):
    """The block is interrupted as by Ctrl-C as soon as *when* is true, and must end soon then."""
    main = threading.main_thread().ident
    pressed = []

    def press():
        wait_for(when)
        pressed.append(time.monotonic())
        signal.pthread_kill(main, signal.SIGINT)

    user = threading.Thread(target=press)
    user.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    ended = time.monotonic()
    user.join()
    assert ended - pressed[0] < 2


# ---- Ctrl-C


@pytest.mark.parametrize("timeout", [None, 60])
def test_ctrl_c_ends_a_read_that_is_not_answered(own_ioc, timeout):
    with Context(configuration=own_ioc.configuration) as ctx:
        (pv,) = ctx.get_pvs(own_ioc.pv("double"))
        pv.wait_for_connection(timeout=20)
        manager = pv.circuit_manager
        own_ioc.freeze()
        with interrupted(lambda: manager.circuit.pending):
            pv.read(timeout=timeout)
        assert not manager.circuit.pending, "the id is free, whether a reply comes or not"
        own_ioc.thaw()
        assert pv.read(timeout=20).data.tolist() == [3.14]
        assert pv.circuit_manager is manager and not manager.circuit.pending


def test_ctrl_c_ends_a_write_that_takes_its_time(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("very_slow"))
    pv.wait_for_connection()
    with interrupted(lambda: ioc.get("very_slow") == "7"):
        pv.write(7, timeout=None)
    assert pv.read().data.tolist() == [7]


@pytest.mark.parametrize("timeout", [None, 60])
def test_ctrl_c_ends_waiting_for_a_pv_that_nobody_has(ctx, timeout):
    (pv,) = ctx.get_pvs("nobody:has:this")
    with interrupted(lambda: pv._waiters):
        pv.wait_for_connection(timeout=timeout)


# ---- threads


def test_many_threads_read_and_write_each_its_own(ioc, ctx):
    """All on one circuit; nobody gets another's answer."""
    pvs = ctx.get_pvs(*[ioc.pv(f"array_{kind}") for kind in ("long", "float", "double", "short")])
    wrong, done = [], []

    def work(number):
        pv, own = pvs[number % 4], ctx.get_pvs(ioc.pv("double"), priority=number % 3)[0]
        for step in range(100):
            response = pv.read(data_type="LONG", data_count=1 + number)
            if len(response.data) != 1 + number:
                wrong.append((number, response))
            if own.read(data_type="STRING").data_type.name != "STRING":
                wrong.append(number)
            if number < 4:
                pv.write([step] * (number + 1))
        done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == list(range(16)) and not wrong
    for number, pv in enumerate(pvs):
        assert pv.read().data.tolist() == [99] * (number + 1)


def test_subscriptions_come_and_go_in_many_threads(ioc, ctx):
    """However they meet: in the end the server knows of just those that somebody wants."""
    records = ["double", "long", "string", "enum"]
    pvs = ctx.get_pvs(*map(ioc.pv, records))
    end = time.monotonic() + 1.5

    def callback(response):
        pass

    def play(seed):
        choose = random.Random(seed)
        while time.monotonic() < end:
            sub = choose.choice(pvs).subscribe(data_type=choose.choice(["native", "time"]))
            token = sub.add_callback(callback)
            if choose.random() < 0.1:
                sub.clear()
            elif choose.random() < 0.1:
                sub.pv.unsubscribe_all()
            else:
                sub.remove_callback(token)

    def monitors():
        text = "".join("".join(ioc.command(f"dbel {ioc.pv(record)}")) for record in records)
        return sum(int(number) for number in re.findall(r"(\d+) PV Event Sub", text))

    threads = [threading.Thread(target=play, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for pv in pvs:
        pv.unsubscribe_all()
        flush(pv)
    assert monitors() == 0
    updates = []

    def last(sub, response):
        updates.append((sub.pv.name, response.data_type.name))

    for pv in pvs:
        for data_type in ("native", "time"):
            pv.subscribe(data_type=data_type).add_callback(last)
    wait_for(lambda: len(updates) >= 8)
    for pv in pvs:
        pv.read()
    assert len(set(updates)) == len(updates) == 8 == monitors()


# ---- rest


def channels(ioc):
    """The channels that clients have open."""
    return re.findall(r"Channel: '([^']+)'", "\n".join(ioc.command("casr 4")))


def test_a_pv_at_rest_costs_the_server_nothing(ioc, ctx):
    pvs = one, other = ctx.get_pvs(ioc.pv("double"), ioc.pv("long"))
    for pv in pvs:
        pv.wait_for_connection()
    assert sorted(channels(ioc)) == [one.name, other.name]
    one.go_idle()
    wait_for(lambda: channels(ioc) == [other.name])
    assert "idle" in repr(one) and not one.connected
    assert one.read().data_count == 1  # used again, it is there again
    assert sorted(channels(ioc)) == [one.name, other.name]
    for pv in pvs:
        pv.go_idle()
    wait_for(lambda: "No clients connected" in "\n".join(ioc.command("casr 1")))
    assert not ctx.circuit_managers
    other.write(1)
    assert ioc.get("long") == "1 = 0x1"


def test_a_pv_with_a_subscription_does_not_rest(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("long"))
    pv.write(0)
    values = []

    def callback(response):
        values.append(int(response.data[0]))

    token = pv.subscribe().add_callback(callback)
    wait_for(lambda: values == [0])
    for value in range(1, 20):
        pv.go_idle()
        pv.write(value)
    wait_for(lambda: values == list(range(20)))
    pv.subscribe().remove_callback(token)
    pv.go_idle()
    wait_for(lambda: not channels(ioc))


def test_the_server_knows_who_we_are(ioc):
    with Context(
        configuration=ioc.configuration, host_name="beamline", client_name="operator", timeout=10
    ) as ctx:
        ctx.get_pvs(ioc.pv("double"), priority=42)[0].read()
        report = "\n".join(ioc.command("casr 2"))
    assert "'beamline'" in report and "User 'operator', V4.13, Priority = 42" in report


# ---- scripts

SCRIPT = """
    import functools, os, sys, threading
    print = functools.partial(print, flush=True)
    from caproto.threading.client import Context
    ctx = Context(timeout=10)
    x, fast = ctx.get_pvs("T:double", "T:fast_counter")
    seen = threading.Event()

    def callback(response):
        seen.set()

    sub = fast.subscribe()
    sub.add_callback(callback)
    assert seen.wait(10)
    print(x.read().data[0])
"""


@pytest.mark.parametrize(
    "ending, code",
    [("", 0), ("del ctx, x, fast, sub", 0), ("sys.exit(3)", 3), ("ctx.disconnect()", 0)],
)
def test_a_script_may_end_as_it_likes(ioc, ending, code):
    """While a hundred updates a second arrive: soon, and with nothing to complain about."""
    ioc.put("double", 12)
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(SCRIPT) + ending],
        env=clean_environ(**ioc.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "12.0\n", "")
    assert time.monotonic() - started < 20
    wait_for(lambda: "No clients connected" in "\n".join(ioc.command("casr 1")))
