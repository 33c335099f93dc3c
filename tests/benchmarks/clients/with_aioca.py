"""aioca: everything in the event loop of the main thread."""
from __future__ import annotations

import asyncio
import sys
import time

import numpy  # noqa: F401 - for all clients alike, before anything is measured
from aioca import caget, camonitor, caput, connect
from frame import PATIENCE, Client, Watch


class AiocaWatch(Watch):
    __slots__ = ()

    def take(self, value):
        self.last = value
        self.count += 1

    def check(self, value):
        self.follow(value)


class Aioca(Client):
    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.run = self.loop.run_until_complete

    def pause(self, seconds):
        self.run(asyncio.sleep(seconds))

    def next_line(self):
        return self.run(self.loop.run_in_executor(None, sys.stdin.readline))

    def many_times(self, action, times, *arguments):
        coroutine = getattr(self, "_" + action)

        async def measure():
            seconds = []
            for _ in range(times):
                start = time.perf_counter()
                await coroutine(*arguments)
                seconds.append(time.perf_counter() - start)
            return seconds

        return self.run(measure())

    def connect(self, names):
        self.run(connect(names, timeout=PATIENCE))

    def subscribe(self, check):
        self.watches = [AiocaWatch() for _ in self.names]

        async def monitor():
            return [
                camonitor(name, watch.check if check else watch.take, all_updates=True)
                for name, watch in zip(self.names, self.watches)
            ]

        self.subscriptions = self.run(monitor())

    def read_all(self):
        return self.run(caget(self.names, timeout=PATIENCE))

    def write_all(self, values):
        return sum(
            result.ok for result in self.run(caput(self.names, values, wait=True, timeout=PATIENCE))
        )

    async def _read_one(self):
        return await caget(self.names[0], timeout=PATIENCE)

    async def _write_one(self, value):
        return await caput(self.names[0], value, wait=True, timeout=PATIENCE)

    def read_one(self):
        return self.run(self._read_one())

    def read_array(self):
        return self.run(self._read_one())


if __name__ == "__main__":
    Aioca().serve()
