"""Programs written for pyepics: the same script on both, each in a process of its own."""
from __future__ import annotations

from tests.benchmarks.libraries import Library, time_of_script
from tests.benchmarks.rig import Rig, row

_INSTALL = """
import caproto.threading.pyepics_compat
caproto.threading.pyepics_compat.install()
"""


def script(rig: Rig, library: Library, code: str, ioc, **values: object) -> float:
    """Run a script; return the last figure that it prints."""
    head = "" if library.is_peer else _INSTALL
    values = {"prefix": ioc.pv(""), **values}
    text = f"values = {values!r}\nglobals().update(values)\n{code}"
    return float(time_of_script(library, head + text, ioc.environ)[1].split()[-1])


@row("pyepics: PV.get from a monitor", "µs", at_most=1.6, peers=True, only="pyepics")
def get_from_monitor(rig: Rig, library: Library) -> float:
    return script(rig, library, _GET, rig.quiet_ioc(), use_monitor=True, times=rig.size(20000, 50))


@row("pyepics: PV.get from the server", "µs", at_most=80, peers=True, only="pyepics")
def get_from_server(rig: Rig, library: Library) -> float:
    return script(rig, library, _GET, rig.quiet_ioc(), use_monitor=False, times=rig.size(1000, 10))


_GET = """
import time
from epics import PV
pv = PV(prefix + "double")
assert pv.wait_for_connection(10)
while pv.get() != 3.5:
    time.sleep(0.01)
best = float("inf")
for _ in range(5):
    begun = time.perf_counter()
    for _ in range(times):
        value = pv.get(use_monitor=use_monitor)
    best = min(best, time.perf_counter() - begun)
    assert value == 3.5
print(best / times * 1e6)
"""


@row("pyepics: 1,000 PVs made, connected, monitored", "ms", at_most=39, peers=True, only="pyepics")
def make_and_monitor(rig: Rig, library: Library) -> float:
    names = rig.many_names(1_000)
    return script(rig, library, _MAKE, rig.quiet_ioc(), names=names)


_MAKE = """
import time
from epics import PV
pv = PV(prefix + "double")
assert pv.wait_for_connection(10) and pv.get() == 3.5
begun = time.perf_counter()
pvs = [PV(name) for name in names]
for pv in pvs:
    assert pv.wait_for_connection(30)
for number, pv in enumerate(pvs):
    while pv.get() != number:
        time.sleep(0.0005)
print((time.perf_counter() - begun) * 1e3)
"""


@row("pyepics: CPU for an update to a callback", "µs", at_most=20, peers=True, only="pyepics")
def update_to_callback(rig: Rig, library: Library) -> float:
    """All keywords, at 10,000 updates a second from 100 counters."""
    ioc = rig.counting_ioc()
    ioc.put("run", 1)
    try:
        return script(rig, library, _UPDATES, ioc, count=100, seconds=rig.size(4, 1))
    finally:
        ioc.put("run", 0)


_UPDATES = """
import time
from epics import PV
seen = 0
def callback(pvname=None, value=None, char_value=None, timestamp=None, **others):
    global seen
    seen += 1
    assert char_value is not None and timestamp and "units" in others
pvs = [PV(f"{prefix}c{number:04d}", callback) for number in range(count)]
for pv in pvs:
    assert pv.wait_for_connection(30)
time.sleep(1)
before, begun = seen, time.process_time()
time.sleep(seconds)
print((time.process_time() - begun) / max(1, seen - before) * 1e6)
assert seen - before > seconds * 30 * count, f"{seen - before} updates only"
print((time.process_time() - begun) / (seen - before) * 1e6)
"""


@row("pyepics: caget_many of 1,000 PVs", "ms", at_most=6.4, peers=True, only="pyepics")
def caget_many(rig: Rig, library: Library) -> float:
    names = rig.many_names(1_000)
    return script(rig, library, _MANY, rig.quiet_ioc(), names=names)


_MANY = """
import time
from epics import caget_many
caget_many(names)
best = float("inf")
for _ in range(5):
    begun = time.perf_counter()
    values = caget_many(names)
    best = min(best, time.perf_counter() - begun)
    assert values == list(range(len(names)))
print(best * 1e3)
"""


@row("pyepics: memory of a connected PV", "kB", at_most=8, peers=True, only="pyepics")
def memory(rig: Rig, library: Library) -> float:
    names = rig.many_names(5_000)
    return script(rig, library, _MEMORY, rig.quiet_ioc(), names=names)


_MEMORY = """
import gc, time
from epics import PV
def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
warm = [PV(name) for name in names[:len(names) // 10]]
assert all(pv.wait_for_connection(30) for pv in warm)
time.sleep(0.5)
before = resident()
pvs = [PV(name) for name in names[len(names) // 10:]]
assert all(pv.wait_for_connection(30) for pv in pvs)
for pv in pvs:
    while pv.get() is None:
        time.sleep(0.001)
print((resident() - before) / len(pvs) / 1e3)
"""


@row("pyepics: an ophyd Device of 500 signals", "ms", at_most=500, peers=True, only="pyepics")
def ophyd_device(rig: Rig, library: Library) -> float:
    """Made, connected and read."""
    layer = "pyepics" if library.is_peer else "caproto"
    names = rig.many_names(500)
    return script(rig, library, _DEVICE, rig.quiet_ioc(), names=names, layer=layer)


_DEVICE = """
import os
os.environ["OPHYD_CONTROL_LAYER"] = layer
import time
from ophyd import Component, Device, EpicsSignal
parts = {name.rpartition(":")[2]: Component(EpicsSignal, name) for name in names}
Big = type("Big", (Device,), parts)
begun = time.perf_counter()
device = Big("", name="big")
device.wait_for_connection(timeout=60)
values = device.read()
assert [values[f"big_{part}"]["value"] for part in parts] == list(range(len(names)))
print((time.perf_counter() - begun) * 1e3)
"""
