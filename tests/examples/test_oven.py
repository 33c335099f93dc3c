"""The steps of the tutorial "Writing an IOC", each used as its page says."""
from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from caproto import AccessRights, AlarmSeverity, AlarmStatus
from caproto.threading.client import AccessError, Context, WriteError
from tests.harness.ioc_process import ROOT, IOCProcess, clean_environ
from tests.harness.waiting import wait_for

OVEN = ROOT / "examples" / "oven"


class Step(IOCProcess):
    """One of the scripts, in which warnings are errors."""

    READY = "PVs: "

    def __init__(self, number: int, *arguments: str) -> None:
        super().__init__()
        self._number, self._arguments = number, arguments
        if number == 7:
            self.READY = "serving on port "

    def _command(self) -> Sequence[str]:
        script = str(OVEN / f"oven_{self._number}.py")
        return [sys.executable, "-X", "dev", "-W", "error", script, *self._arguments]


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[Step, Context]]]:
    """``start(2, "--argument")``: the IOC of this step and a client, both ended after the test."""
    started: list[tuple[Step, Context]] = []

    def start(number: int, *arguments: str, **options: Any) -> tuple[Step, Context]:
        step = Step(number, *arguments).start()
        ctx = Context(configuration=step.configuration, timeout=10, **options)
        started.append((step, ctx))
        return step, ctx

    yield start
    for step, ctx in started:
        ctx.disconnect()
        step.kill()
    for step, _ in started:
        assert "Traceback" not in step.text, step.text


def pvs_of(ctx: Context, *names: str, prefix: str = "oven:") -> list[Any]:
    """PVs of the oven, by the ends of their names."""
    return ctx.get_pvs(*(prefix + name for name in names))


def test_step_1(start):
    step, ctx = start(1)
    (temperature,) = pvs_of(ctx, "temperature")
    response = temperature.read(data_type="control")
    assert response.value == 20.0
    assert (response.metadata.units, response.metadata.precision) == (b"C", 1)
    temperature.write(25)
    assert temperature.read().value == 25.0
    assert step.stop() == 0
    step, ctx = start(1, "--prefix", "kitchen:")
    assert pvs_of(ctx, "temperature", prefix="kitchen:")[0].read().value == 20.0


def test_step_1_has_a_command_line():
    done = subprocess.run(
        [sys.executable, str(OVEN / "oven_1.py"), "--help"],
        env=clean_environ(), capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0
    page = (ROOT / "docs" / "writing-an-ioc.rst").read_text()
    for option in ("--prefix", "--interfaces", "--port", "--log"):
        assert option in done.stdout and f"``{option}``" in page


def test_step_2(start):
    _, ctx = start(2)
    temperature, setpoint, period = pvs_of(ctx, "temperature", "setpoint", "period")
    with pytest.raises(AccessError):
        temperature.write(1)
    values: list[float] = []

    def on_update(response):
        values.append(response.value)

    temperature.subscribe().add_callback(on_update)
    period.write(0.02)
    setpoint.write(100)
    wait_for(lambda: values and values[-1] > 95)
    assert values == sorted(values)
    period.write(0)  # pauses
    wait_for(lambda: temperature.read().value == temperature.read().value)
    before = temperature.read().value
    setpoint.write(200)
    assert temperature.read().value == before


def test_step_3(start):
    _, ctx = start(3)
    temperature, setpoint, period, heater, door, sensor = pvs_of(
        ctx, "temperature", "setpoint", "period", "heater", "door", "sensor"
    )
    period.write(0.01)
    setpoint.write(1000)
    assert setpoint.read().value == 250.0  # cut to the limit
    door.write("Open")
    with pytest.raises(WriteError, match="oven:heater.*ECA_PUTFAIL"):
        heater.write("On")
    assert heater.read().value == 0
    door.write("Closed")
    heater.write("On")

    def alarm() -> tuple[AlarmStatus, AlarmSeverity]:
        metadata = temperature.read(data_type="status").metadata
        return metadata.status, metadata.severity

    wait_for(lambda: alarm() == (AlarmStatus.HIHI, AlarmSeverity.MAJOR_ALARM))
    door.write("Open")
    assert heater.read().value == 0
    wait_for(lambda: alarm() == (AlarmStatus.NO_ALARM, AlarmSeverity.NO_ALARM))
    sensor.write("Broken")
    wait_for(lambda: alarm() == (AlarmStatus.READ, AlarmSeverity.INVALID_ALARM))
    sensor.write("Good")
    wait_for(lambda: alarm() == (AlarmStatus.NO_ALARM, AlarmSeverity.NO_ALARM))


def test_step_4(start):
    _, ctx = start(4)
    temperature, goto, busy, stop = pvs_of(ctx, "temperature", "goto", "busy", "stop")
    goto.write(25, timeout=30)
    assert abs(temperature.read().value - 25) <= 0.5
    assert busy.read().value == 0
    failures: list[WriteError] = []

    def go() -> None:
        with pytest.raises(WriteError) as caught:
            goto.write(250, timeout=30)
        failures.append(caught.value)

    thread = threading.Thread(target=go)
    thread.start()
    wait_for(lambda: busy.read().value == 1)
    stop.write(1)  # is served meanwhile
    thread.join(10)
    assert "ECA_PUTFAIL" in str(failures[0])
    assert busy.read().value == 0 and stop.read().value == 0
    assert temperature.read().value < 240
    assert goto.read().value == 25.0  # what was refused is not stored


def test_step_5(start):
    _, ctx = start(5)
    temperature, history, recipe, message, uptime = pvs_of(
        ctx, "temperature", "history", "recipe", "message", "uptime"
    )
    temperature.write(33)
    wait_for(lambda: history.read().data[-1] == 33.0)
    assert len(history.read().data) == 100
    recipe.write([20.4, 99.6, 150.2])
    assert recipe.read().data.tolist() == [20.0, 100.0, 150.0]
    assert message.read().text == "a recipe of 3 temperatures, up to 150.2 C"
    assert message.read(data_type="string").text == "a recipe of 3 temperatures, up to 150.2"
    assert uptime.read().value < uptime.read().value


def test_step_6(start):
    step, ctx = start(6, "--kind", "gas")
    names = [
        "left:temperature", "left:setpoint", "left:setpoint_RBV", "left:gas:label",
        "R:temperature", "R:setpoint", "R:setpoint_RBV", "R:gas:label", "hottest",
    ]
    assert f"PVs: {[f'lab:{name}' for name in names]}" in step.text
    setpoint, readback, hottest, label = pvs_of(
        ctx, "R:setpoint", "R:setpoint_RBV", "hottest", "left:gas:label", prefix="lab:"
    )
    setpoint.write(90)
    assert readback.read().value == 90.0
    wait_for(lambda: hottest.read().value > 80)
    assert label.read().value == "an oven"


def test_step_7(start):
    _, ctx = start(7, client_name="operator")
    temperature, setpoint, state = pvs_of(ctx, "temperature", "setpoint", "state")
    assert state.read().value == 1
    setpoint.write(90)
    wait_for(lambda: temperature.read().value > 60)
    with Context(configuration=ctx.configuration, client_name="guest", timeout=10) as other:
        (guest,) = pvs_of(other, "setpoint")
        assert guest.read().value == 90.0
        assert guest.access_rights == AccessRights.READ
        with pytest.raises(AccessError):
            guest.write(20)
