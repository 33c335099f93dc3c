"""Print figures of an orbit, ten times a second, for some seconds.

Usage: python watch_orbit.py [SECONDS]
Demo IOC: python -m caproto.ioc_examples.orbit
"""
import sys
import time

import numpy

from caproto.threading.client import Context

NAMES = [f"orbit:{plane}{number:03}" for plane in "xy" for number in range(1, 251)]


def show(snap, changed):
    """Print one line about a snapshot; this runs in a thread of the client."""
    if not snap.ok.all():
        print(f"{numpy.count_nonzero(~snap.ok)} positions are missing")
        return
    x, y = snap.values.reshape(2, -1)
    largest = numpy.abs(snap.values).argmax()
    print(
        f"rms x {x.std():.3f} mm, y {y.std():.3f} mm; "
        f"largest: {snap.names[largest]} {snap.values[largest]:+.3f} mm; "
        f"{numpy.count_nonzero(snap.severity)} alarms"
    )


with Context() as ctx:
    table = ctx.table(NAMES)
    table.wait_for_connection()
    with table.monitor(show, period=0.1):
        time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
