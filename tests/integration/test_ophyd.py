"""ophyd and bluesky, unpatched, on this client, against a real IOC.

Each scenario is a program of its own (ophyd_programs/program.py), because ophyd chooses its layer
once per process. ``make test`` runs the plain ones, ``make test-ophyd`` all.
"""
from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.ioc_process import ROOT, IOCProcess, SoftIOC, clean_environ

pytestmark = pytest.mark.ioc

PROGRAMS = Path(__file__).with_name("ophyd_programs")
MOTOR = (PROGRAMS / "motor.db").read_text()


@pytest.fixture(scope="module")
def axes() -> Iterator[SoftIOC]:
    with SoftIOC([MOTOR]) as ioc:
        yield ioc


class MotorServer(IOCProcess):
    """The portable server of EPICS, written in C++, with the fields of a motor record."""

    def pv(self, record: str) -> str:
        return "T:" + record

    def _command(self) -> list[str]:
        return [sys.executable, str(PROGRAMS / "motor_server.py"), self.pv("m")]


def start(scenario: str, ioc: SoftIOC | MotorServer) -> subprocess.Popen[str]:
    environ = {**clean_environ(**ioc.environ), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(PROGRAMS / "program.py"), scenario, ioc.pv("")],
        env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def run(scenario: str, ioc: SoftIOC | MotorServer) -> list[str]:
    """Run a scenario; return the lines it prints."""
    process = start(scenario, ioc)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    layer, *lines = out.splitlines()
    assert layer == "caproto"
    return lines


def test_signals(axes):
    assert run("signals", axes) == [
        "3.5 (-100.0, 100.0) 3 mm", "On ('Off', 'On') string", "[1.0, 2.0, 3.0] [3]",
        "hello world", "True", "True",
    ]


@pytest.mark.thorough
def test_devices(axes):
    lines = run("devices", axes)
    assert lines[0] == (
        "['both_axis_done', 'both_axis_readback', 'both_axis_setpoint', 'both_axis_stop_signal', "
        "'both_square', 'both_switch'] 4.0"
    )
    assert lines[1].startswith("True")


SCANNED = [
    "[-2.0, -1.0, 0.0, 1.0, 2.0]", "3",
    "[(0.0, 0.0), (0.0, 1.0), (0.0, 2.0), (1.0, 0.0), (1.0, 1.0), (1.0, 2.0)]", "True",
]


def test_scans(axes):
    assert run("scans", axes) == SCANNED


@pytest.mark.thorough
def test_a_motor():
    pytest.importorskip("pcaspy", reason="pcaspy has wheels for Linux on x86_64 only")
    with MotorServer() as server:
        assert run("motor", server) == [
            "True 2.0 2.0 False (-50.0, 50.0) mm", "2.0 True", "[0.0, 0.5, 1.0]", "True 1",
            "LimitError",
        ]


def _burn() -> None:
    while True:
        sum(range(100_000))


@pytest.mark.thorough
def test_scans_under_load(axes):
    """Two processes that burn CPU beside them."""
    burners = [
        multiprocessing.get_context("spawn").Process(target=_burn, daemon=True) for _ in range(2)
    ]
    for burner in burners:
        burner.start()
    try:
        assert run("scans", axes) == SCANNED
    finally:
        for burner in burners:
            burner.kill()
            burner.join()


def test_ctrl_c_pauses_a_scan_that_can_be_resumed(axes):
    lines = run("interrupted", axes)  # the engine prints some of its own
    assert "paused paused" in lines and lines[-1] == "idle [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]"


def test_an_ioc_that_is_restarted_during_a_scan(start_ioc):
    ioc = start_ioc([MOTOR])
    process = start("restarted", ioc)
    try:
        for line in process.stdout:
            if line == "moved\n":
                break
        ioc.kill()
        for line in process.stdout:
            if line.startswith("failed"):
                break
        else:
            pytest.fail(process.stderr.read())
        ioc.start()
        out, err = process.communicate("\n", timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert out.splitlines() == ["connected", "[-2.0, -1.0, 0.0, 1.0, 2.0]"]


@pytest.mark.thorough
def test_a_plugin_of_an_area_detector(axes, start_ioc):
    """Some 200 PVs, made of what the class itself says that it needs."""
    records = [_record(*line.split(" ", 1), axes.pv("")) for line in run("names", axes)]
    assert len(records) > 100
    ioc = start_ioc(["\n".join(dict.fromkeys(records)) + "\n"])
    [line] = run("plugin", ioc)
    assert line == "True 0.0 Enable"


def _record(kind: str, name: str, prefix: str) -> str:
    """A record as the area detector has it: its kind, and the values that ophyd looks at."""
    name = "$(P)" + name.removeprefix(prefix)
    if "PluginType" in name:
        return f'record(stringout, "{name}") {{ field(VAL, "NDPluginStats") field(PINI, "YES") }}'
    if "EnableCallbacks" in name:
        return f'record(bo, "{name}") {{ field(ZNAM, "Disable") field(ONAM, "Enable") }}'
    return f'record({"stringout" if kind == "text" else "ao"}, "{name}") {{}}'
