"""A program of an ophyd user: ``program.py SCENARIO PREFIX``; it prints what it sees."""
from __future__ import annotations

import os
import signal
import sys
import threading

os.environ["OPHYD_CONTROL_LAYER"] = "caproto"

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import ophyd
from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted
from ophyd import (
    Component,
    Device,
    EpicsMotor,
    EpicsSignal,
    EpicsSignalRO,
    EpicsSignalWithRBV,
    PVPositioner,
)

prefix = sys.argv[2]


class Axis(PVPositioner):
    setpoint = Component(EpicsSignal, "")
    readback = Component(EpicsSignalRO, ":readback", kind="hinted")
    done = Component(EpicsSignalRO, ":done")
    stop_signal = Component(EpicsSignal, ":stop")
    done_value = 1


def connected(device):
    device.wait_for_connection(timeout=20)
    return device


def scan(engine, plan):
    """Run a plan; return the data of its events."""
    events = []
    engine(plan, {"event": lambda _, document: events.append(document["data"])})
    return events


def signals():
    axis = connected(EpicsSignal(prefix + "axis:readback", write_pv=prefix + "axis", name="axis"))
    axis.set(3.5).wait(10)
    print(axis.get(), axis.limits, axis.precision, axis.describe()["axis"]["units"])
    switch = connected(EpicsSignal(prefix + "switch", string=True, name="switch"))
    switch.set("On").wait(10)
    print(switch.get(), switch.enum_strs, switch.describe()["switch"]["dtype"])
    wave = connected(EpicsSignal(prefix + "wave", name="wave"))
    wave.put([1, 2, 3], wait=True)
    print(wave.get(use_monitor=False).tolist(), wave.describe()["wave"]["shape"])
    chars = connected(EpicsSignal(prefix + "chars", string=True, name="chars"))
    chars.put("hello world", wait=True)
    print(chars.get(use_monitor=False))
    print(chars.read()["chars"]["timestamp"] > 1.6e9)
    updated = threading.Event()
    text = connected(EpicsSignal(prefix + "text", name="text"))
    text.subscribe(lambda value, **_: value == "new" and updated.set(), run=False)
    text.put("new")
    print(updated.wait(10))


def devices():
    class Both(Device):
        axis = Component(Axis, "axis")
        square = Component(EpicsSignalRO, "square")
        switch = Component(EpicsSignal, "switch", string=True)

    both = connected(Both(prefix, name="both"))
    both.axis.set(4.0).wait(10)
    print(sorted(both.read()), both.axis.position)
    print(both.connected, both.axis.limits)


def scans():
    engine = RunEngine({})
    axis, other = connected(Axis(prefix + "axis", name="axis")), connected(
        Axis(prefix + "other", name="other")
    )
    square = connected(EpicsSignalRO(prefix + "square", name="square"))
    ticks = connected(EpicsSignalRO(prefix + "ticks", name="ticks"))
    events = scan(engine, bp.scan([axis], axis, -2, 2, 5))
    print([event["axis_readback"] for event in events])
    print(len(scan(engine, bp.count([square, ticks], num=3))))
    events = scan(engine, bp.grid_scan([axis], axis, 0, 1, 2, other, 0, 2, 3, snake_axes=False))
    print([(event["axis_readback"], event["other_readback"]) for event in events])

    def monitored():
        yield from bps.open_run()
        yield from bps.monitor(ticks, name="ticks")
        yield from bps.sleep(0.5)
        yield from bps.unmonitor(ticks)
        yield from bps.close_run()

    events = [event["ticks"] for event in scan(engine, monitored())]
    print(len(events) >= 3 and events == sorted(events))


def motor():
    engine = RunEngine({})
    m = connected(EpicsMotor(prefix + "m", name="m"))
    moving = []
    m.subscribe(lambda value, **_: moving.append(value), event_type=m.SUB_READBACK, run=False)
    status = m.move(2.0, wait=True, timeout=20)
    print(status.success, m.position, m.user_setpoint.get(), m.moving, m.limits, m.egu)
    print(moving[-1], moving == sorted(moving) and len(moving) > 2)
    events = scan(engine, bp.scan([m], m, 0, 1, 3))
    print([event["m"] for event in events])
    status = m.move(40.0, wait=False)
    m.stop(success=True)
    status.wait(10)
    print(m.position < 40.0, m.motor_done_move.get())
    try:
        m.move(60.0)
    except ValueError as error:
        print(type(error).__name__)


def interrupted():
    engine = RunEngine({})
    axis = connected(Axis(prefix + "axis", name="axis"))
    events = []

    def see(_, document):
        events.append(document["data"]["axis_readback"])
        if len(events) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    try:
        engine(bp.scan([axis], axis, 1, 6, 6), {"event": see})
    except RunEngineInterrupted:
        print("paused", engine.state)
    engine.resume()
    print(engine.state, events)


def restarted():
    """The test kills the IOC during the first scan, and starts it again."""
    engine = RunEngine({})
    axis = connected(Axis(prefix + "axis", name="axis"))
    axis.move_timeout = 3

    def moving():
        for number in range(1000):
            yield from bps.mv(axis, number % 5, timeout=5)
            print("moved", flush=True)

    try:
        engine(moving())
    except Exception as error:
        print("failed", type(error).__name__, flush=True)
    input()
    connected(axis)
    print("connected", flush=True)
    events = scan(engine, bp.scan([axis], axis, -2, 2, 5))
    print([event["axis_readback"] for event in events])


def names():
    """Print the PVs of a plug-in of an area detector, with what ophyd expects of them."""
    from ophyd.areadetector.plugins import StatsPlugin

    Device.lazy_wait_for_connection = False
    plugin = StatsPlugin(prefix + "Stats1:", name="stats")
    for walk in plugin.walk_signals(include_lazy=True):
        item = walk.item
        if isinstance(item, EpicsSignal | EpicsSignalRO | EpicsSignalWithRBV):
            for pv in {item.pvname, getattr(item, "setpoint_pvname", item.pvname)}:
                print("text" if item._string else "number", pv)


def plugin():
    from ophyd.areadetector.plugins import StatsPlugin

    stats = StatsPlugin(prefix + "Stats1:", name="stats")
    stats.wait_for_connection(all_signals=True, timeout=30)
    stats.mean_value.wait_for_connection(timeout=5)
    stats.enable.put("Enable", wait=True)
    print(stats.connected, stats.mean_value.get(), stats.enable.get_setpoint(as_string=True))


print(ophyd.cl.name)
{one.__name__: one for one in (
    signals, devices, scans, motor, interrupted, restarted, names, plugin
)}[sys.argv[1]]()  # fmt: skip
