"""What the rows of the table share: their list, IOCs to measure against, cores to run on."""
from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.libraries import IN_C, LIMIT, OURS, ClientProcess, Library, compiler
from tests.harness.databases import counters, many, many_names
from tests.harness.ioc_process import SoftIOC

MANY, COUNTERS = 10_000, 5_000
#: How far the threads of an IOC that serve clients stand back behind its scans. More than this, and
#: they come so late that the IOC itself loses values.
SERVING_NICENESS = 5
_OTHERS = """
record(ao, "$(P)double") { field(VAL, "3.5") field(PINI, "YES") }
record(ao, "$(P)written") { field(VAL, "0") field(PINI, "YES") }
record(waveform, "$(P)thousand") { field(FTVL, "DOUBLE") field(NELM, "1000") }
record(waveform, "$(P)million") { field(FTVL, "DOUBLE") field(NELM, "1000000") }
"""
#: The same scheduling whether or not this user may have real-time priorities.
NO_PRIORITIES = {"EPICS_ALLOW_POSIX_THREAD_PRIORITY_SCHEDULING": "NO"}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    name, unit : str
    goal : float
    less_is_better : bool
    measure : callable
        Measures a library once, checks what it did, and returns the figure.
    peers, limit, in_c : bool
        Whether peers, bare sockets, and the C library driven by C, are measured too.
    only : str
        The one peer that does this, if not all do.
    beside_c : bool
        Whether it measures ours and the C library, driven by C, in turns; without a compiler it
        cannot.
    """

    name: str
    unit: str
    goal: float
    less_is_better: bool
    measure: Callable[[Rig, Library], float]
    peers: bool
    limit: bool
    in_c: bool = False
    only: str = ""
    beside_c: bool = False

    def reached(self, figure: float) -> bool:
        return figure <= self.goal if self.less_is_better else figure >= self.goal

    def measures(self, library: Library) -> bool:
        """Whether it is of use with this library."""
        if library.name == IN_C:
            return self.in_c
        if library.is_peer and not library.name.startswith(self.only):
            return False
        if self.beside_c:
            return library is OURS and compiler() is not None
        return (self.peers or not library.is_peer) and (self.limit or library is not LIMIT)

    def best(self, figures: list[float]) -> float:
        return min(figures) if self.less_is_better else max(figures)

    def worst(self, figures: list[float]) -> float:
        return max(figures) if self.less_is_better else min(figures)


ROWS: list[Row] = []


def row(
    name: str,
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    peers: bool = False,
    limit: bool = False,
    in_c: bool = False,
    only: str = "",
    beside_c: bool = False,
):
    """Decorator for functions that measure; see `Row`."""

    def register(measure: Callable[[Rig, Library], float]) -> Callable[[Rig, Library], float]:
        goal = at_most if at_least is None else at_least
        assert goal is not None
        ROWS.append(
            Row(name, unit, goal, at_least is None, measure, peers, limit, in_c, only, beside_c)
        )
        return measure

    return register


class Rig:
    """Holds what is costly to start.

    Nothing that is measured lives here: every client is a process of its own, for one measurement.

    Parameters
    ----------
    small : bool
        Measure with sizes that only show that it works.

    Attributes
    ----------
    notes : list of str
        What a row has to say besides its figure; whoever runs the row takes them away.
    """

    def __init__(self, small: bool = False) -> None:
        self.small = small
        self.notes: list[str] = []
        self._quiet = ExitStack()
        self._quiet_ioc: SoftIOC | None = None
        self._counting = ExitStack()
        self._counting_ioc: SoftIOC | None = None

    def size(self, full: int, small: int) -> int:
        return small if self.small else full

    # --- IOCs

    def quiet_ioc(self, *, core: int = 0) -> SoftIOC:
        """An IOC in which nothing happens by itself; its records keep the values they have.

        Analog outputs n00000 ... with their number as value, "double" (3.5), "written"; "thousand"
        and "million", arrays that hold their own indices.
        """
        if self._quiet_ioc is None:
            databases = [many(self.size(MANY, 100)), _OTHERS]
            ioc = SoftIOC(databases, environ=NO_PRIORITIES)
            self._quiet_ioc = self._quiet.enter_context(ioc)
            for record, count in (("thousand", 1_000), ("million", 1_000_000)):
                with self.client(LIMIT, ioc, [ioc.pv(record)]) as client:
                    client.do("fill", count=count)
        pin(self._quiet_ioc.process.pid, core)
        return self._quiet_ioc

    def counting_ioc(self) -> SoftIOC:
        """An IOC with 5,000 counters of 100 Hz, see `counters`; it is gone when the row ends."""
        if self._counting_ioc is None:
            databases = [counters(self.size(COUNTERS, 100))]
            ioc = SoftIOC(databases, environ=NO_PRIORITIES)
            self._counting_ioc = self._counting.enter_context(ioc)
            pin(ioc.process.pid, 0)
        return self._counting_ioc

    def end_row(self) -> None:
        """End what would disturb the next row: counters take time even while they stand."""
        if not self.small:
            self._counting_ioc = None
            self._counting.close()

    def close(self) -> None:
        self._quiet.close()
        self._counting.close()

    # --- clients

    @contextmanager
    def client(
        self, library: Library, ioc: SoftIOC, names: list[str] | None = None, *, core: int = 1
    ) -> Iterator[ClientProcess]:
        """A process of this library that finds this IOC only; connected to *names*, if given."""
        with ClientProcess(library, ioc.environ) as client:
            pin(client.pid, core)
            if names is not None:
                client.do("names", names=names)
                client.do("connect")
            yield client

    def many_names(self, count: int) -> list[str]:
        return many_names(self.size(count, 50))

    def values(self, ioc: SoftIOC, names: list[str]) -> list[float]:
        """What the IOC has now, read by somebody who is not measured."""
        with self.client(LIMIT, ioc, names) as client:
            values = client.do("read_all_in_order")
        assert len(values) == len(names)
        return values


def scans_first(ioc: SoftIOC) -> None:
    """Let the scans of *ioc* come before the threads that serve its clients (on Linux).

    On one core they would else take turns for each event, and an IOC makes 80,000 events a second
    where it makes 300,000 in this way. One of many cores would not wait for the only one we leave
    it.
    """
    pid = ioc.process.pid
    if sys.platform == "linux":
        for thread in threads_of(pid):
            with suppress(*_ENDED):
                if Path(f"/proc/{pid}/task/{thread}/comm").read_text().startswith("CAS-"):
                    os.setpriority(os.PRIO_PROCESS, thread, SERVING_NICENESS)


def no_interruptions(ioc: SoftIOC) -> None:
    """Let the threads of *ioc* run on instead of waking each other for each event (on Linux).

    So the events of one scan come together, if they are not too many.
    """
    if sys.platform == "linux":
        for thread in threads_of(ioc.process.pid):
            with suppress(*_ENDED):
                os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))


#: What the system says of a thread that has ended since it was listed.
_ENDED = (ProcessLookupError, FileNotFoundError)


def threads_of(pid: int) -> list[int]:
    return [int(name) for name in os.listdir(f"/proc/{pid}/task")]


def pin(pid: int, core: int) -> None:
    """Pin a process, and the threads that it will start, to the first or second of our cores.

    Where the system lets us (Linux): where the kernel happens to put the two sides moves figures of
    latency by a factor of six.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if len(cores) >= 2:
        for thread in threads_of(pid):
            with suppress(*_ENDED):
                os.sched_setaffinity(thread, {cores[core]})


__all__ = [
    "COUNTERS", "MANY", "NO_PRIORITIES", "ROWS", "Rig", "Row", "no_interruptions", "pin", "row",
    "scans_first",
]  # fmt: skip
