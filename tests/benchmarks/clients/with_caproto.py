"""caproto.threading.client: ours, and the package of that name from PyPI, by the same script."""
from __future__ import annotations

import threading

from frame import PATIENCE, Client, Watch

from caproto.threading.client import Batch, Context


class CaprotoWatch(Watch):
    __slots__ = ()

    def take(self, sub, response):
        self.last = response.data[0]
        self.count += 1

    def check(self, sub, response):
        self.follow(response.data[0])


class Caproto(Client):
    def __init__(self):
        super().__init__()
        self.ctx = Context(timeout=PATIENCE)
        self.kept = []

    def connect(self, names):
        connected = threading.Event()
        left = len(names)

        def state(pv, state):
            nonlocal left
            left -= state == "connected"
            if not left:
                connected.set()

        self.kept.append(state)  # callbacks are held weakly
        self.pvs = self.ctx.get_pvs(*names, connection_state_callback=state)
        assert connected.wait(PATIENCE), f"{left} not connected"
        assert all(pv.connected for pv in self.pvs)

    def subscribe(self, check):
        self.watches = [CaprotoWatch() for _ in self.pvs]
        self.subscriptions = [pv.subscribe() for pv in self.pvs]
        for subscription, watch in zip(self.subscriptions, self.watches):
            subscription.add_callback(watch.check if check else watch.take)

    def read_all(self):
        values, everything, count = [], threading.Event(), len(self.pvs)

        def keep(response):
            values.append(response.data[0])
            if len(values) == count:
                everything.set()

        with Batch(timeout=PATIENCE) as batch:
            for pv in self.pvs:
                batch.read(pv, keep)
        assert everything.wait(PATIENCE), f"{len(values)} of {count} came"
        return values

    def write_all(self, values):
        done, everything, count = [], threading.Event(), len(self.pvs)

        def keep(response):
            done.append(response.status.success == 1)
            if len(done) == count:
                everything.set()

        with Batch(timeout=PATIENCE) as batch:
            for pv, value in zip(self.pvs, values):
                batch.write(pv, value, keep)
        assert everything.wait(PATIENCE), f"{len(done)} of {count} were completed"
        return sum(done)

    def read_one(self):
        return self.pvs[0].read().data[0]

    def write_one(self, value):
        self.pvs[0].write(value)

    def read_array(self):
        return self.pvs[0].read(timeout=PATIENCE).data

    def do_trace_array(self):
        """The most memory that one read took at any time, as Python knows it, in arrays."""
        import tracemalloc

        size = self.read_array().nbytes
        tracemalloc.start()
        data = self.read_array()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert data.nbytes == size
        return peak / size


if __name__ == "__main__":
    Caproto().serve()
