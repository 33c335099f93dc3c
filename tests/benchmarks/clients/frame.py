"""What the measured clients have in common: orders by standard input, answers by standard output.

A client is a script, run by its path with the interpreter that has its library, in a process of
its own: ``python with_LIBRARY.py``. It sees neither this project's package nor ``tests``; so this
module uses the standard library only.

Each line on standard input is a JSON object ``{"do": VERB, …arguments}``; each is answered by a
line ``ANSWER`` and a JSON object. The process ends with its standard input, so it cannot outlive
whoever started it.

A library's script has one class derived from `Client`, which does the verbs in the way the
library's manual recommends for many PVs. What is timed is timed here, in the same way for all.
"""
from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
import traceback
from typing import Any

#: Seconds after which something that does not happen is an error.
PATIENCE = 60.0
#: What can be wrong with the values of a counter, see `Watch.follow`.
FAULTS = ("missing", "repeated", "backward")


class Watch:
    """A user's callback for one PV: it counts, and takes the value as users do."""

    __slots__ = ("__weakref__", "backward", "count", "last", "missing", "repeated")

    def __init__(self) -> None:
        self.count = 0
        self.last: float | None = None
        self.missing = self.repeated = self.backward = 0

    def follow(self, value: float) -> None:
        """Take the next value of a counter, and note what is not right with it.

        A repeated value is no loss: an IOC tells the same value again when the state of the alarm
        changes, as that of a counter does whenever it is stopped.
        """
        last = self.last
        if last is not None and value != last + 1:
            if value > last:
                self.missing += int(value - last) - 1
            elif value == last:
                self.repeated += 1
            else:
                self.backward += 1
        self.last = value
        self.count += 1


class Client:
    """A process under test; see the module's text.

    Attributes
    ----------
    names : list of str
        The PVs of the order "names".
    watches : list of Watch
        One for each subscription, in the order of the names.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.watches: list[Any] = []

    # --- what a library's script provides

    def connect(self, names: list[str]) -> None:
        """Return when all are connected; keep them for the verbs below."""
        raise NotImplementedError

    def subscribe(self, check: bool) -> None:
        """Subscribe to all, native type; each callback is that of a `Watch`, one of ours each."""
        raise NotImplementedError

    def read_all(self) -> list[float]:
        """Read all at once."""
        raise NotImplementedError

    def prepare(self, values: list[float]) -> Any:
        """Return values as users of the library have them, for `write_all`; not measured."""
        return values

    def write_all(self, values: Any) -> int:
        """Write all at once; return how many the server has completed successfully."""
        raise NotImplementedError

    def read_one(self) -> float:
        """Read the first one, a scalar, and wait for it."""
        raise NotImplementedError

    def write_one(self, value: float) -> None:
        """Write the first one and wait for completion."""
        raise NotImplementedError

    def read_array(self) -> Any:
        """Read the first one, an array, to numpy."""
        raise NotImplementedError

    def pause(self, seconds: float) -> None:
        """Let the library work meanwhile."""
        time.sleep(seconds)

    def next_line(self) -> str:
        """A line of standard input; the library works meanwhile."""
        return sys.stdin.readline()

    def many_times(self, action: str, times: int, *arguments: Any) -> list[float]:
        """Seconds of each call of a method."""
        method, clock = getattr(self, action), time.perf_counter
        seconds = []
        for _ in range(times):
            start = clock()
            method(*arguments)
            seconds.append(clock() - start)
        return seconds

    # --- the verbs

    def do_names(self, names: list[str]) -> None:
        self.names = names

    def do_connect(self) -> float:
        start = time.perf_counter()
        self.connect(self.names)
        return time.perf_counter() - start

    def do_subscribe(self, check: bool) -> None:
        """Subscribe, and wait until every callback has seen its first value."""
        self.subscribe(check)
        self._until(lambda: all(watch.count for watch in self.watches), "first values")

    def do_mark(self, collect: bool = False) -> dict[str, Any]:
        """Where we are now."""
        if collect:
            gc.collect()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "seconds": time.perf_counter(),
            "updates": sum(watch.count for watch in self.watches),
            "cpu": time.process_time(),
            "switches": usage.ru_nvcsw,
            "resident": resident(),
        }

    def do_expect(self, values: list[float], interval: float = 0.02) -> dict[str, int]:
        """Wait until every callback has these *values*; report what was not right."""
        watches = self.watches

        def wrong() -> int:
            return sum(1 for watch, value in zip(watches, values) if watch.last != value)

        deadline = time.monotonic() + PATIENCE
        while wrong() and time.monotonic() < deadline:
            self.pause(interval)
        return {**self.faults(), "wrong": wrong()}

    def faults(self) -> dict[str, int]:
        """What was not right with the values, all subscriptions together."""
        return {what: sum(getattr(watch, what) for watch in self.watches) for what in FAULTS}

    def do_read_all(self, times: int) -> dict[str, Any]:
        seconds, values = [], None
        for _ in range(times):
            start = time.perf_counter()
            got = self.read_all()
            seconds.append(time.perf_counter() - start)
            if values is None:
                values = sorted(got)
            assert sorted(got) == values, "two reads differ"
        return {"seconds": seconds, "values": values}

    def do_write_all(self, times: int) -> dict[str, Any]:
        """Write its number to each PV in the last round; one more in each round before."""
        seconds, done = [], []
        for number in reversed(range(times)):
            values = self.prepare([float(number + i) for i in range(len(self.names))])
            start = time.perf_counter()
            done.append(self.write_all(values))
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds, "done": done}

    def do_read_one(self, times: int) -> dict[str, Any]:
        return {"seconds": self.many_times("read_one", times), "value": float(self.read_one())}

    def do_write_one(self, times: int, value: float) -> dict[str, Any]:
        return {"seconds": self.many_times("write_one", times, value)}

    def do_read_array(self, times: int, count: int) -> float:
        """Seconds of all reads together; the array holds its own indices."""
        import numpy

        start = time.perf_counter()
        for _ in range(times):
            data = self.read_array()
        elapsed = time.perf_counter() - start
        assert numpy.array_equal(data, numpy.arange(count)), "not the right array"
        return elapsed

    # --- the loop

    def _until(self, condition: Any, what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"no {what} within {PATIENCE} s"
            self.pause(0.01)

    def serve(self) -> None:
        """Obey until standard input ends."""
        say({"ready": True})
        while line := self.next_line():
            order = json.loads(line)
            verb = getattr(self, "do_" + order.pop("do"))
            del line  # ten thousand names are much memory, and memory is measured
            try:
                say({"result": verb(**order)})
            except Exception:
                say({"error": traceback.format_exc()})
        sys.stdout.flush()
        os._exit(0)  # how fast a library shuts down is not asked here


def say(answer: dict[str, Any]) -> None:
    print("ANSWER " + json.dumps(answer), flush=True)


def resident() -> int:
    """Bytes of memory in use (Linux; 0 elsewhere)."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0
