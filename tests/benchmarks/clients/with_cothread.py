"""cothread: everything in the cooperative threads of the main thread."""
from __future__ import annotations

import select
import sys

import cothread
import numpy  # noqa: F401 - for all clients alike, before anything is measured
from cothread.catools import caget, camonitor, caput, connect
from frame import PATIENCE, Client, Watch


class CothreadWatch(Watch):
    __slots__ = ()

    def take(self, value):
        self.last = value
        self.count += 1

    def check(self, value):
        self.follow(value)


class Cothread(Client):
    def pause(self, seconds):
        cothread.Sleep(seconds)

    def next_line(self):
        cothread.poll_list([(sys.stdin.fileno(), select.POLLIN | select.POLLHUP)])
        return sys.stdin.readline()

    def connect(self, names):
        connect(names, timeout=PATIENCE)

    def subscribe(self, check):
        self.watches = [CothreadWatch() for _ in self.names]
        self.subscriptions = [
            camonitor(name, watch.check if check else watch.take, all_updates=True)
            for name, watch in zip(self.names, self.watches)
        ]

    def read_all(self):
        return caget(self.names, timeout=PATIENCE)

    def write_all(self, values):
        return sum(map(bool, caput(self.names, values, wait=True, timeout=PATIENCE)))

    def read_one(self):
        return caget(self.names[0], timeout=PATIENCE)

    def write_one(self, value):
        caput(self.names[0], value, wait=True, timeout=PATIENCE)

    def read_array(self):
        return caget(self.names[0], timeout=PATIENCE)


if __name__ == "__main__":
    Cothread().serve()
