"""pyepics: the functions of epics.ca, which its manual recommends where speed matters."""
from __future__ import annotations

import threading

import numpy  # noqa: F401 - for all clients alike, before anything is measured
from epics import ca
from frame import PATIENCE, Client, Watch


class PyepicsWatch(Watch):
    __slots__ = ()

    def take(self, value=None, **others):
        self.last = value
        self.count += 1

    def check(self, value=None, **others):
        self.follow(value)


class Pyepics(Client):
    def __init__(self):
        super().__init__()
        ca.initialize_libca()
        self.subscriptions = []

    def connect(self, names):
        connected = threading.Event()
        left = set(names)

        def state(pvname=None, chid=None, conn=None, **others):
            if conn:
                left.discard(pvname)
            if not left:
                connected.set()

        self.state = state
        self.channels = [
            ca.create_channel(name, connect=False, auto_cb=True, callback=state) for name in names
        ]
        ca.flush_io()
        assert connected.wait(PATIENCE), f"{len(left)} not connected"

    def subscribe(self, check):
        self.watches = [PyepicsWatch() for _ in self.channels]
        for channel, watch in zip(self.channels, self.watches):
            callback = watch.check if check else watch.take
            self.subscriptions.append(
                ca.create_subscription(channel, use_time=False, use_ctrl=False, callback=callback)
            )
        ca.flush_io()

    def read_all(self):
        for channel in self.channels:
            ca.get(channel, wait=False)
        ca.flush_io()
        return [ca.get_complete(channel, timeout=PATIENCE) for channel in self.channels]

    def write_all(self, values):
        done, everything, count = [], threading.Event(), len(self.channels)

        def keep(**others):
            done.append(True)
            if len(done) == count:
                everything.set()

        for channel, value in zip(self.channels, values):
            ca.put(channel, value, wait=False, callback=keep)
        ca.flush_io()
        assert everything.wait(PATIENCE), f"{len(done)} of {count} were completed"
        return len(done)

    def read_one(self):
        return ca.get(self.channels[0], timeout=PATIENCE)

    def write_one(self, value):
        ca.put(self.channels[0], value, wait=True, timeout=PATIENCE)

    def read_array(self):
        return ca.get(self.channels[0], timeout=PATIENCE)


if __name__ == "__main__":
    Pyepics().serve()
