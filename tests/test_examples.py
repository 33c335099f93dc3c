"""The examples do what they say, on our demo IOC and on a real one."""
from __future__ import annotations

import subprocess
import sys

import pytest

from tests.harness.ioc_process import ROOT, clean_environ


def play(environ=None, script="tutorial.py"):
    """Run an example; its output and exit code are judged by the caller."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", str(ROOT / "examples" / script)],
        env=clean_environ(**(environ or {})),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def check_tutorial(done):
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything as described" in done.stdout
    assert done.stdout.count("garbage-collected") == 1  # the trap of the weak reference
    assert done.stderr == ""


def test_tutorial_on_the_demo_ioc(demo_ioc):
    assert sorted(demo_ioc.pv_names) == ["random_walk:dt", "random_walk:x"]
    check_tutorial(play(demo_ioc.environ))


@pytest.mark.ioc
def test_tutorial_on_a_real_ioc(start_ioc):
    check_tutorial(play(start_ioc(["random_walk.db"]).environ))


def test_tutorial_without_an_ioc_fails():
    """It judges: with nobody there it must not end well."""
    from tests.harness.ports import free_port

    nowhere = {
        "EPICS_CA_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_SERVER_PORT": str(free_port()),
        "EPICS_CA_REPEATER_PORT": str(free_port()),
    }
    done = play(nowhere)
    assert done.returncode != 0
    assert "random_walk:dt" in done.stderr


def test_demo():
    done = play(script="demo.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PVs: ['random_walk:dt', 'random_walk:x']" in done.stdout
    assert "Everything as described" in done.stdout
