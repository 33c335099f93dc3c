"""caproto.threading.client with its tables: many PVs as columns of numpy."""
from __future__ import annotations

import numpy
from frame import FAULTS, PATIENCE, Client

from caproto.threading.client import Context


class View:
    """What a user sees of one PV."""

    __slots__ = ("_row", "_tables")

    def __init__(self, tables, row):
        self._tables, self._row = tables, row

    @property
    def count(self):
        return int(self._tables.live.snapshot().ok[self._row])

    @property
    def last(self):
        return float(self._tables.live.column("values")[self._row])


class Tables(Client):
    def __init__(self):
        super().__init__()
        self.ctx = Context(timeout=PATIENCE)
        self.live = None
        self.updates = 0

    def connect(self, names):
        priority = numpy.arange(len(names)) * self.circuits // len(names)
        self.table = self.ctx.table(
            names, data_type=self.family, priority=priority if self.circuits > 1 else 0
        )
        self.table.wait_for_connection()

    #: What comes with the values.
    family = "time"
    #: Among how many circuits to each server the PVs are divided.
    circuits = 1

    def do_circuits(self, number):
        self.circuits = number

    def do_family(self, family):
        self.family = family

    def subscribe(self, check):
        self.live = self.table.monitor()
        self._count(self.live._updates)

    def do_subscribe(self, check):
        """Subscribe, and wait for all first values; seconds."""
        import time

        start = time.perf_counter()
        self.subscribe(check)
        self._until(lambda: self.live.snapshot().ok.all(), "first values")
        return time.perf_counter() - start

    def _count(self, updates):
        """Count what comes; a user of columns does not."""
        take, take_one = updates.take, updates.take_one

        def counted(block):
            self.updates += len(block.records)
            take(block)

        def counted_one(*arguments):
            self.updates += 1
            take_one(*arguments)

        updates.take, updates.take_one = counted, counted_one

    def do_mark(self, collect=False):
        return {**super().do_mark(collect), "updates": self.updates}

    def faults(self):
        return dict.fromkeys(FAULTS, 0)

    def do_expect(self, values, interval=0.02):
        import time

        deadline = time.monotonic() + PATIENCE
        wanted = numpy.array(values)
        while (
            wrong := int((self.live.column("values") != wanted).sum())
        ) and time.monotonic() < deadline:
            self.pause(interval)
        return {**self.faults(), "wrong": wrong}

    def do_snapshot(self, times):
        """Seconds of each snapshot."""
        return self.many_times("snapshot", times)

    def snapshot(self):
        return self.live.snapshot()

    def read_all(self):
        snap = self.table.read()
        assert snap.ok.all()
        return snap.values

    def do_read_all(self, times):
        answer = super().do_read_all(times)
        return {**answer, "values": [float(value) for value in answer["values"]]}

    def prepare(self, values):
        return numpy.array(values)

    def write_all(self, values):
        return int(numpy.count_nonzero(self.table.write(values).ok))


if __name__ == "__main__":
    Tables().serve()
