"""Tests of align.py; run them with ``python -m pytest``."""
import queue
import subprocess
import sys

import align
import pytest

from caproto import AlarmSeverity, AlarmStatus
from caproto.threading.client import CaprotoTimeoutError, DisconnectedError, WriteError


# begin-good
def test_it_finds_the_peak(ctx, beamline):
    motor, detector = ctx.get_pvs("line:motor", "line:detector")
    assert align.align(motor, detector, range(-5, 6)) == 3
    assert beamline.motor.value == 3.0
# end-good


# begin-bad
def test_an_alarm_of_the_detector_ends_it(ctx, beamline):
    beamline.detector.write(status=AlarmStatus.READ, severity=AlarmSeverity.INVALID_ALARM)
    motor, detector = ctx.get_pvs("line:motor", "line:detector")
    with pytest.raises(align.DetectorAlarm, match="line:detector is in alarm at -5"):
        align.align(motor, detector, range(-5, 6))


def test_a_move_that_is_refused_ends_it(ctx, beamline):
    motor, detector = ctx.get_pvs("line:motor", "line:detector")
    with pytest.raises(WriteError, match="line:motor"):
        align.align(motor, detector, [0, 5, 20])
    assert beamline.motor.value == 5.0


def test_an_ioc_that_dies_ends_it(ctx, server):
    motor, detector = ctx.get_pvs("line:motor", "line:detector")
    motor.wait_for_connection()
    server.stop()
    with pytest.raises((CaprotoTimeoutError, DisconnectedError), match="line:motor"):
        align.align(motor, detector, [1], timeout=0.5)
# end-bad


# begin-updates
def test_updates_arrive_in_order(ctx, beamline):
    updates = queue.Queue()
    (motor,) = ctx.get_pvs("line:motor")
    motor.subscribe().add_callback(updates.put, strong=True)
    assert updates.get(timeout=5).value == 0.0  # the first update is the present value
    for value in (1.0, 2.0):
        beamline.motor.write(value)
    assert [updates.get(timeout=5).value for _ in range(2)] == [1.0, 2.0]
# end-updates


# begin-program
@pytest.mark.usefixtures("environment")
def test_the_program_says_where_the_peak_is():
    done = subprocess.run([sys.executable, align.__file__], capture_output=True, text=True)
    assert done.stdout == "aligned at 3\n", done.stderr
# end-program
