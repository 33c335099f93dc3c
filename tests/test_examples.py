"""The examples do what they say, on our demo IOC and on a real one."""
from __future__ import annotations

import subprocess
import sys

import pytest

from tests.harness.ioc_process import ROOT, clean_environ
from tests.harness.ports import free_port


def play(environ=None, script="tutorial.py", *arguments, options=()):
    """Run an example, with *options* of Python; the caller judges its output and exit code."""
    return end(begin(environ, script, *arguments, options=options))


def begin(environ=None, script="tutorial.py", *arguments, options=()):
    """Start an example, for `end`."""
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", *options, str(ROOT / "examples" / script),
         *arguments],
        env=clean_environ(**(environ or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process):
    """Wait for an example; its output and exit code."""
    with process:
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def check_tutorial(done):
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything as described" in done.stdout
    assert done.stdout.count("was garbage-collected before") == 1  # the trap of the weak reference
    assert done.stderr == ""


def test_tutorial_on_the_demo_ioc(demo_ioc):
    assert sorted(demo_ioc.pv_names) == ["random_walk:dt", "random_walk:x"]
    check_tutorial(play(demo_ioc.environ))


@pytest.mark.ioc
def test_tutorial_on_a_real_ioc(start_ioc):
    check_tutorial(play(start_ioc(["random_walk.db"]).environ))


def nowhere():
    """Return an environment in which no server answers."""
    return {
        "EPICS_CA_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_SERVER_PORT": str(free_port()),
        "EPICS_CA_REPEATER_PORT": str(free_port()),
        "CAPROTO_USE_REPEATER": "NO",  # one would outlive the test
    }


def test_without_an_ioc_they_fail():
    """The tutorial judges: without a server it must not end well. Both wait for ten seconds."""
    tutorial = begin(nowhere())
    driving = end(begin(nowhere(), "drive_the_client.py", "random_walk:dt"))
    done = end(tutorial)
    assert done.returncode != 0
    assert "random_walk:dt" in done.stderr
    assert driving.returncode != 0 and driving.stdout == ""
    assert "'random_walk:dt': there was no answer within 10 s." in driving.stderr


def test_demo():
    done = play(script="demo.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PVs: ['random_walk:dt', 'random_walk:x']" in done.stdout
    assert "Everything as described" in done.stdout


def test_driving_the_client_on_the_demo_ioc(demo_ioc):
    done = play(demo_ioc.environ, "drive_the_client.py", "random_walk:dt")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[3.]\n", "")


@pytest.mark.ioc
def test_driving_the_client_on_a_real_ioc(start_ioc):
    environ = start_ioc(["random_walk.db"]).environ
    done = play(environ, "drive_the_client.py", "random_walk:dt")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[3.]\n", "")


def test_driving_the_client_without_a_name_says_how():
    done = play(nowhere(), "drive_the_client.py")
    assert done.returncode != 0 and done.stdout == ""
    assert "Usage: python3 examples/drive_the_client.py random_walk:dt" in done.stderr
    assert "Traceback" not in done.stderr


def test_driving_the_client_takes_no_thread():
    """The page says so."""
    text = (ROOT / "examples" / "drive_the_client.py").read_text()
    assert "caproto.threading" not in text and "import threading" not in text


def test_a_script_for_pyepics(demo_ioc):
    done = play(demo_ioc.environ, "with_pyepics_names.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "dt = 0.1",
        "<PV 'random_walk:x', count=1, type=time_double, access=read/write>",
        "three updates: True",
    ]


def test_a_scan_with_bluesky(start_demo):
    motors = start_demo("motors")
    done = play(motors.environ, "ophyd_scan.py", options=("-W", "default"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "control layer: caproto" and lines[-1] == "most at x = 1"
    assert [float(line.split()[0]) for line in lines[1:-1]] == [-1, 0, 1, 2, 3]
