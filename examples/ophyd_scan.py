"""Scan a motor with ophyd and bluesky, and see where a detector counts most.

Demo IOC: python -m caproto.ioc_examples.motors
"""
import os

os.environ["OPHYD_CONTROL_LAYER"] = "caproto"  # before ophyd is imported

import ophyd
from bluesky import RunEngine
from bluesky.plans import scan
from ophyd import Component, EpicsSignal, EpicsSignalRO, PVPositioner


class Motor(PVPositioner):
    setpoint = Component(EpicsSignal, "")
    readback = Component(EpicsSignalRO, ".RBV")
    done = Component(EpicsSignalRO, ".DMOV")
    stop_signal = Component(EpicsSignal, ".STOP")
    done_value = 1


x = Motor("motor:x", name="x")
detector = EpicsSignalRO("motor:detector", name="detector", auto_monitor=False)
for device in (x, detector):
    device.wait_for_connection(timeout=10)
print("control layer:", ophyd.cl.name)

rows = []


def keep(name, event):
    rows.append((event["data"]["detector"], event["data"]["x_readback"]))
    print("{1:6.2f} {0:8.1f}".format(*rows[-1]))


engine = RunEngine()
engine(scan([detector], x, -1, 3, 5), {"event": keep})
counts, place = max(rows)
print(f"most at x = {place:.0f}")
