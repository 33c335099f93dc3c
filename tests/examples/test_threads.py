"""The examples of slow callbacks, idle PVs, asyncio and processes do what their pages say."""
from __future__ import annotations

import asyncio
import contextlib
import re
import runpy

import pytest

from caproto import CAStatus
from caproto.threading.client import Context
from tests.harness.ioc_process import ROOT
from tests.test_examples import play


def output(done) -> str:
    """What the example printed, after a good end."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def number(pattern: str, text: str) -> float:
    """The number in *text* at the place of the parentheses in *pattern*."""
    found = re.search(pattern, text)
    assert found, f"no {pattern!r} in:\n{text}"
    return float(found[1])


def test_slow_callbacks(demo_ioc):
    text = output(play(demo_ioc.environ, "slow_callbacks.py"))
    every, waiting = r"every update: (\d+) drawn", r"every update: .*, (\d+) bytes"
    assert number(every, text) > 0 and number(waiting, text) > 0
    assert number(r"latest only: (\d+) drawn", text) > 0
    assert number(r"latest only: .*, (\d+) bytes", text) < number(waiting, text)
    assert number(r"held: (\d+) updates", text) == 0
    assert number(r"on again: (\d+) updates", text) > 0
    assert number(r"pauses: (\d+)", text) == 1
    # One after the other they would take a second.
    assert 0.5 <= number(r"were done after ([\d.]+) s", text) < 1.0


def test_go_idle(start_demo):
    text = output(play(start_demo("types_and_enums").environ, "go_idle.py"))
    assert "types:double 3.25\n" in text and "types:string hello\n" in text
    counts = re.findall(r"(\d+) circuits?, (\d+) PVs \((\d+) idle\)", text)
    assert counts == [("1", "3", "0"), ("1", "6", "3"), ("1", "8", "6"), ("0", "8", "8")]
    states = re.findall(r"<PV 'types:double': (\w+)", text)
    assert states == ["idle", "connected"]
    assert "with a callback: connected\n" in text and "without: idle\n" in text


def test_asyncio(demo_ioc):
    text = output(play(demo_ioc.environ, "asyncio_values.py"))
    assert text.startswith("period: 3.0\nwritten: ECA_NORMAL\n")
    assert len(re.findall(r"^random_walk:x -?\d+\.\d+", text, re.M)) == 3
    assert text.count("random_walk:dt 0.1\n") == 1


def test_asyncio_completion_of_a_write(start_demo):
    """A refusal and a reply that does not come in time have a status, too."""
    example = runpy.run_path(str(ROOT / "examples" / "asyncio_values.py"))
    put = example["put"]

    async def statuses(motor, refuses, delay):
        await put(delay, 0.3)
        return await asyncio.gather(put(motor, 1.0), put(refuses, 1.0), put(motor, 2.0, 0.01))

    ioc = start_demo("slow_put")
    with Context(configuration=ioc.configuration, timeout=10) as ctx:
        pvs = ctx.get_pvs("slow:motor", "slow:refuses", "slow:delay")
        for pv in pvs:
            pv.wait_for_connection()
        found = asyncio.run(statuses(*pvs))
    assert found == [CAStatus.ECA_NORMAL, CAStatus.ECA_PUTFAIL, CAStatus.ECA_TIMEOUT]


def test_asyncio_updates_end_with_the_loop_over_them(demo_ioc):
    example = runpy.run_path(str(ROOT / "examples" / "asyncio_values.py"))

    async def first(pv):
        async with contextlib.aclosing(example["updates"](pv)) as responses:
            async for response in responses:
                return response.value, len(pv.subscribe().callbacks)

    with Context(configuration=demo_ioc.configuration, timeout=10) as ctx:
        (dt,) = ctx.get_pvs("random_walk:dt")
        assert asyncio.run(first(dt)) == (3.0, 1)
        assert not dt.subscribe().callbacks


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_processes(demo_ioc, method):
    # From Python 3.12 on a fork with threads warns; the page says so.
    allowed = ["-W", "ignore:This process:DeprecationWarning"]
    text = output(play(demo_ioc.environ, "processes.py", method, options=allowed))
    assert re.search(r"^random_walk:x is -?[\d.]+, read in a child$", text, re.M)
    assert "random_walk:dt is 3.0, read in a child\n" in text
    if method == "fork":
        assert "in the child: 'random_walk:dt': this Context was created before fork" in text
        assert text.endswith("in the parent: 3.0\n")
    else:
        assert "in the child" not in text

