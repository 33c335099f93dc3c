"""Flatten an orbit by trial and error: each step writes 50 PVs and reads 500.

The class has the methods of an environment of gymnasium; make it a ``gymnasium.Env`` for a library
of reinforcement learning.

Usage: python train_on_orbit.py [STEPS]
Demo IOC: python -m caproto.ioc_examples.orbit
"""
import sys
import time

import numpy

from caproto.threading.client import Context

MAGNETS = [f"orbit:{kind}{number:02}" for kind in "hv" for number in range(1, 26)]
POSITIONS = [f"orbit:{plane}{number:03}" for plane in "xy" for number in range(1, 251)]


class OrbitEnvironment:
    """The actions are kicks in mrad, the observations positions in mm."""

    def __init__(self, ctx):
        self.magnets, self.positions = ctx.table(MAGNETS), ctx.table(POSITIONS)
        self.magnets.wait_for_connection()
        self.positions.wait_for_connection()
        # The IOC measures so often; the second measurement after a write is one of the new orbit.
        self.settling_time = 2 * ctx.get_pv("orbit:period").read().value

    def reset(self):
        """Begin an episode; returns observation and info."""
        observation, *_, info = self.step(numpy.zeros(len(MAGNETS)))
        return observation, info

    def step(self, action):
        """Set all magnets; returns observation, reward, terminated, truncated and info."""
        written = self.magnets.write(action)
        time.sleep(self.settling_time)
        snap = self.positions.read()
        truncated = not (written.ok.all() and snap.ok.all())  # this step counts for nothing
        reward = -numpy.sqrt(numpy.mean(snap.values**2))
        return snap.values, reward, bool(reward > -0.01), truncated, {"snapshot": snap}


steps = int(sys.argv[1]) if len(sys.argv) > 1 else 100
random = numpy.random.default_rng(0)

with Context() as ctx:
    environment = OrbitEnvironment(ctx)
    observation, info = environment.reset()
    before = numpy.sqrt(numpy.mean(observation**2))
    best_action, best = numpy.zeros(len(MAGNETS)), -numpy.inf
    began = time.monotonic()
    taken = 0
    while taken < steps:
        # A policy that learns nothing but the best action: try something near it.
        action = best_action + random.normal(0, 0.02, len(MAGNETS))
        observation, reward, terminated, truncated, info = environment.step(action)
        taken += 1
        if reward > best and not truncated:
            best_action, best = action, reward
        if terminated:
            break
    print(f"{taken / (time.monotonic() - began):.1f} steps per second")
    after = environment.step(best_action)[1]
    print(f"rms {before:.3f} mm before, {-after:.3f} mm after")
