"""The C library without Python in the way: this script only gives orders to ``libca.c``.

The variable LIBCA_CLIENT names the shared library made of it.
"""
from __future__ import annotations

import ctypes
import os
import time

from frame import FAULTS, PATIENCE, Client

C = ctypes.CDLL(os.environ["LIBCA_CLIENT"])


def well(status):
    assert not status, f"the C library says {status}"


def doubles(values):
    return (ctypes.c_double * len(values))(*values)


class LibCA(Client):
    def __init__(self):
        super().__init__()
        self.patience = ctypes.c_double(PATIENCE)
        self.subscribed = False
        self.with_time = True
        well(C.start())

    def connect(self, names):
        texts = (ctypes.c_char_p * len(names))(*[name.encode() for name in names])
        well(C.connect_all(texts, len(names), self.patience))
        self.values = (ctypes.c_double * len(names))()

    def do_family(self, family):
        self.with_time = family == "time"

    # --- reads and writes

    def read_all(self):
        well(C.read_all(self.values, self.patience))
        return self.values

    def do_read_all(self, times):
        answer = super().do_read_all(times)
        return {**answer, "values": list(answer["values"])}

    def prepare(self, values):
        return doubles(values)

    def write_all(self, values):
        return C.write_all(values, self.patience)

    # --- updates

    def do_subscribe(self, check):
        """Subscribe, and wait until all have their first values; seconds."""
        start = time.perf_counter()
        self.subscribe(check)
        self._until(lambda: not C.without_value(), "first values")
        return time.perf_counter() - start

    def subscribe(self, check):
        well(C.subscribe_all(self.with_time))
        self.subscribed = True

    def do_mark(self, collect=False):
        mark = super().do_mark(collect)
        return {**mark, "updates": C.updates() if self.subscribed else 0}

    def faults(self):
        return {**dict.fromkeys(FAULTS, 0), "backward": C.backward()}

    def do_expect(self, values, interval=0.02):
        wanted = doubles(values)
        deadline = time.monotonic() + PATIENCE
        while (wrong := C.wrong(wanted)) and time.monotonic() < deadline:
            self.pause(interval)
        return {**self.faults(), "wrong": wrong}


if __name__ == "__main__":
    LibCA().serve()
