"""Updates on their way from a socket to user callbacks."""
from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.libraries import Library
from tests.benchmarks.rig import COUNTERS, Rig, no_interruptions, row, scans_first
from tests.harness.databases import counter_names
from tests.harness.ioc_process import IOCProcess, SoftIOC
from tests.harness.waiting import wait_for


class SyntheticServer(IOCProcess):
    """tests.benchmarks.synthetic_server in a process of its own."""

    def __init__(self, channels: int, rounds: int) -> None:
        super().__init__()
        self._arguments = (channels, rounds)

    def _command(self):
        arguments = map(str, (self.port, *self._arguments))
        return [sys.executable, "-m", "tests.benchmarks.synthetic_server", *arguments]


@row("updates to callbacks, synthetic sender", "/s", at_least=200_000, peers=True, limit=True)
def synthetic(rig: Rig, library: Library) -> float:
    channels, rounds = 100, rig.size(10_000, 100)
    with SyntheticServer(channels, rounds) as server:
        with rig.client(library, server, [f"S:{i}" for i in range(channels)]) as client:
            before = client.do("mark")
            client.do("subscribe", check=False)
            wrong = client.do("expect", values=[float(rounds - 1)] * channels, interval=0.002)
            after = client.do("mark")
    assert not any(wrong.values()), wrong
    assert after["updates"] == channels * rounds
    return channels * rounds / (after["seconds"] - before["seconds"])


@dataclass
class Run:
    """What a client has seen of some counters between two moments, in the midst of the run.

    Attributes
    ----------
    updates : int
    seconds, cpu : float
        As the clock has it; of all threads of the client.
    offered : float
        Updates per second that the IOC made for it, by the counters' own values.
    missing : int
        Values that never came, from the subscription to the end of the run.
    """

    updates: int
    seconds: float
    cpu: float
    offered: float
    missing: int

    @property
    def rate(self) -> float:
        return self.updates / self.seconds


def run_counters(
    rig: Rig,
    library: Library,
    count: int,
    seconds: float,
    check: bool,
    arrange: Callable[[SoftIOC], None] = scans_first,
) -> Run:
    """Subscribe to *count* counters and let them run; *arrange* tells the threads of the IOC how.

    Right is, at any rate: the last value that a callback has seen of each is what the IOC has, and
    no value comes after a later one.
    """
    ioc, names = rig.counting_ioc(), counter_names(count)
    with rig.client(library, ioc, names) as client:
        client.do("subscribe", check=check)
        arrange(ioc)
        ioc.put("run", 1)
        try:
            start = client.do("mark")
            wait_for(lambda: client.do("mark")["updates"] >= start["updates"] + 3 * count, 60)
            offer = Offer(ioc)
            before = client.do("mark")
            time.sleep(seconds)  # what is measured is how much happens meanwhile
            after = client.do("mark")
            offered = offer.per_second() * count
        finally:
            ioc.put("run", 0)
        faults = client.do("expect", values=rig.values(ioc, names))
    assert not faults["wrong"], f"{faults['wrong']} of {count} last values are not the IOC's"
    assert not faults["backward"], f"{faults['backward']} values came late"
    return Run(
        after["updates"] - before["updates"],
        after["seconds"] - before["seconds"],
        after["cpu"] - before["cpu"],
        offered,
        faults["missing"],
    )


class Offer:
    """How fast the counters count; they all do the same, so two of them tell."""

    def __init__(self, ioc) -> None:
        self._ioc = ioc
        self._start = self._look()

    def _look(self) -> tuple[float, float]:
        values = [float(self._ioc.get(record)) for record in ("c0000", "c0001")]
        return sum(values) / 2, time.perf_counter()

    def per_second(self) -> float:
        (before, start), (after, end) = self._start, self._look()
        return (after - before) / (end - start)


@row(
    "updates to callbacks, real IOC floods (500,000/s offered)",
    "/s", at_least=400_000, peers=True, limit=True,
)  # fmt: skip
def flood(rig: Rig, library: Library) -> float:
    seconds = 0.3 if rig.small else 5.0
    count = rig.size(COUNTERS, 100)
    run = run_counters(rig, library, count, seconds, check=False)
    if run.offered < 0.98 * 100 * count:
        rig.notes.append(f"the IOC offered {run.offered:,.0f}/s only")
    return run.rate


@row(
    "CPU for 100,000 updates at 10,000/s", "s", at_most=0.35, peers=True, limit=True
)
def paced(rig: Rig, library: Library) -> float:
    seconds = 0.3 if rig.small else 10.0
    run = run_counters(rig, library, 100, seconds, check=False, arrange=no_interruptions)
    assert run.updates
    return run.cpu / run.updates * 100_000


def highest(passes: Callable[[int], float], start: int, least: int, most: int) -> float:
    """What *passes* returned for the greatest number for which it is not 0; 0 if there is none.

    Up from *start* by factors of two, or down if that is too much already; then the way between
    what passes and what does not is halved until they are within a tenth of each other.
    """
    count, good, bad, result = start, 0, 0, 0.0
    while True:
        figure = passes(count)
        if figure:
            good, result = count, figure
        else:
            bad = count
        if good == most or 0 < bad <= max(least, 1.1 * good):
            return result
        if not bad:
            count = min(2 * good, most)
        elif not good:
            count = max(bad // 2, least)
        else:
            count = (good + bad) // 2


@row("highest rate without any loss, real IOC", "/s", at_least=300_000, peers=True, limit=True)
def lossless(rig: Rig, library: Library) -> float:
    """No value of any counter may be missing, from the first to the last.

    An IOC holds no more than about four values of each PV back: a few hundredths of a second in
    which it or the client is kept from running are a loss. So there is a second try.
    """
    seconds = 0.2 if rig.small else 3.0
    tries = 2

    def passes(count: int) -> float:
        for _ in range(tries):
            run = run_counters(rig, library, count, seconds, check=True)
            if not run.missing:
                return run.rate
        return 0.0

    most = rig.size(COUNTERS, 50)
    best = highest(passes, start=rig.size(400, 50), least=10, most=most)
    if not best:
        rig.notes.append("values were missing at the lowest rate")
    elif best > 0.95 * 100 * most:
        rig.notes.append("the IOC has no more to offer")
    return best
