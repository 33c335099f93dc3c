"""A script that was written for pyepics, on this client.

Demo IOC: python -m caproto.ioc_examples.random_walk
"""
import time

import caproto.threading.pyepics_compat

caproto.threading.pyepics_compat.install()  # before anything imports epics

from epics import PV, caget, caput

caput("random_walk:dt", 0.1, wait=True)
print("dt =", caget("random_walk:dt"))

values = []


def changed(pvname=None, value=None, **others):
    values.append(value)


x = PV("random_walk:x", callback=changed)
x.wait_for_connection()
while len(values) < 3:
    time.sleep(0.05)
print(x)
print("three updates:", len(values) >= 3)
x.disconnect()
caput("random_walk:dt", 3, wait=True)
