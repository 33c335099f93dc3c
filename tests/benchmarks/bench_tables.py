"""Many PVs as columns; peers, where they are measured, do the same in their own best way."""
from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

from tests.benchmarks.bench_updates import SyntheticServer, run_counters
from tests.benchmarks.libraries import LIMIT, OURS, ClientProcess, Library, in_c
from tests.benchmarks.rig import COUNTERS, NO_PRIORITIES, Rig, pin, row
from tests.harness.databases import many, many_names
from tests.harness.ioc_process import SoftIOC
from tests.harness.ports import LOOPBACK

TABLES = dataclasses.replace(OURS, script="with_table.py")
#: Bytes that a row of the columns of time-stamped doubles takes: value, time, severity, status,
#: whether it is ok and connected, and its version.
ROW = 8 + 8 + 2 + 2 + 1 + 1 + 8
HUGE = 100_000


def by_table(library: Library) -> Library:
    return TABLES if library is OURS else library


def reads(rig: Rig, library: Library, count: int) -> float:
    names = rig.many_names(count)
    with rig.client(by_table(library), rig.quiet_ioc(), names) as client:
        client.do("read_all", times=2)
        answer = client.do("read_all", times=rig.size(20, 1))
    assert answer["values"] == list(range(len(names)))
    return len(names) / min(answer["seconds"])


@row("read 1,000 PVs by a table", "PV/s", at_least=1_500_000, peers=True, limit=True, in_c=True)
def read_thousand(rig: Rig, library: Library) -> float:
    return reads(rig, library, 1_000)


@row("read 10,000 PVs by a table", "PV/s", at_least=1_500_000, peers=True, limit=True, in_c=True)
def read_ten_thousand(rig: Rig, library: Library) -> float:
    return reads(rig, library, 10_000)


@row(
    "write 1,000 PVs with completion by a table",
    "PV/s", at_least=70_000, peers=True, limit=True, in_c=True,
)  # fmt: skip
def write_thousand(rig: Rig, library: Library) -> float:
    """The median of thirty times the best of ten: single figures scatter by a third."""
    names, ioc = rig.many_names(1_000), rig.quiet_ioc()
    seconds = []
    with rig.client(by_table(library), ioc, names) as client:
        client.do("write_all", times=1)
        for _ in range(rig.size(30, 2)):
            answer = client.do("write_all", times=rig.size(10, 2))
            assert set(answer["done"]) == {len(names)}
            seconds.append(min(answer["seconds"]))
    assert rig.values(ioc, names) == list(range(len(names)))
    return len(names) / statistics.median(seconds)


@row(
    "write 1,000 PVs by a table, as part of the rate of libca in C, in turns",
    "", at_least=1.0, beside_c=True,
)  # fmt: skip
def writes_in_turns(rig: Rig, library: Library) -> float:
    """Best of ten each, mean of the middle ratios.

    Both are measured within milliseconds, because the machine changes within seconds by more than
    they differ.
    """
    names, ioc, theirs = rig.many_names(1_000), rig.quiet_ioc(), in_c()
    assert theirs is not None
    ratios = []
    with rig.client(by_table(library), ioc, names) as ours, rig.client(theirs, ioc, names) as other:
        for number in range(rig.size(500, 5)):
            best = {
                client: min(client.do("write_all", times=rig.size(10, 1))["seconds"])
                for client in ((ours, other) if number % 2 else (other, ours))
            }
            ratios.append(best[other] / best[ours])
    ratios.sort()
    fifth = len(ratios) // 5
    return statistics.mean(ratios[fifth:-fifth])


@row("updates to a table, synthetic sender", "/s", at_least=20_000_000, limit=True, in_c=True)
def synthetic(rig: Rig, library: Library) -> float:
    channels, rounds = 100, rig.size(20_000 if library is LIMIT else 300_000, 100)
    with SyntheticServer(channels, rounds) as server:
        with rig.client(by_table(library), server) as client:
            if library is not LIMIT:
                client.do("family", family="native")
            client.do("names", names=[f"S:{i}" for i in range(channels)])
            client.do("connect")
            before = client.do("mark")
            client.do("subscribe", check=False)
            wrong = client.do("expect", values=[float(rounds - 1)] * channels, interval=0.002)
            after = client.do("mark")
    assert not any(wrong.values()), wrong
    return channels * rounds / (after["seconds"] - before["seconds"])


@row(
    "CPU for 100,000 updates of a flood: a table, as part of callbacks",
    "", at_most=0.2, peers=True, in_c=True,
)  # fmt: skip
def flood(rig: Rig, library: Library) -> float:
    seconds, count = (0.3, 100) if rig.small else (5.0, COUNTERS)
    figures = []
    for measured in (by_table(library), OURS):
        run = run_counters(rig, measured, count, seconds, check=False)
        assert run.updates
        rig.notes.append(f"{run.rate:,.0f}/s with {run.cpu / run.seconds:.0%} of a core")
        figures.append(run.cpu / run.updates)
    return figures[0] / figures[1]


@contextmanager
def huge(
    rig: Rig, library: Library, servers: int = 1
) -> Iterator[tuple[ClientProcess, list[str]]]:
    """A client with one or more new IOCs, of many records together, and their names."""
    count = rig.size(HUGE, 100) // servers
    names: list[str] = []
    with ExitStack() as stack:
        iocs = [
            stack.enter_context(SoftIOC([many(count)], prefix=f"T{i}:", environ=NO_PRIORITIES))
            for i in range(servers)
        ]
        for ioc in iocs:
            pin(ioc.process.pid, 0)
            names += many_names(count, ioc.prefix)
        addresses = " ".join(f"{LOOPBACK}:{ioc.port}" for ioc in iocs)
        environ = {**iocs[0].environ, "EPICS_CA_ADDR_LIST": addresses}
        with rig.client(by_table(library), SimpleNamespace(environ=environ)) as client:
            client.do("names", names=names)
            yield client, names


@row("connect 100,000 PVs of a table", "s", at_most=3.0, in_c=True)
def connect_huge(rig: Rig, library: Library) -> float:
    with huge(rig, library) as (client, _):
        return client.do("connect")


@row("subscribe to these 100,000, until all have a value", "s", at_most=3.0, in_c=True)
def subscribe_huge(rig: Rig, library: Library) -> float:
    with huge(rig, library) as (client, _):
        client.do("connect")
        return client.do("subscribe", check=False)


@row("subscribe to these 100,000 by four priorities, until all have a value", "s", at_most=3.0)
def subscribe_by_priorities(rig: Rig, library: Library) -> float:
    with huge(rig, library) as (client, _):
        client.do("circuits", number=4)
        client.do("connect")
        return client.do("subscribe", check=False)


@row("subscribe to 100,000 PVs of four IOCs, until all have a value", "s", at_most=3.0, in_c=True)
def subscribe_four(rig: Rig, library: Library) -> float:
    with huge(rig, library, servers=4) as (client, _):
        client.do("connect")
        return client.do("subscribe", check=False)


@row("memory of one of them, beside its columns", "kB", at_most=1.0, in_c=True)
def memory_huge(rig: Rig, library: Library) -> float:
    with huge(rig, library) as (client, names):
        before = client.do("mark", collect=True)["resident"]
        client.do("connect")
        client.do("subscribe", check=False)
        after = client.do("mark", collect=True)["resident"]
    columns = ROW if library is OURS else 0
    return ((after - before) / len(names) - columns) / 1e3


@row("snapshot of 100,000 PVs of a table", "ms", at_most=1.0)
def snapshot_huge(rig: Rig, library: Library) -> float:
    with huge(rig, library) as (client, _):
        client.do("connect")
        client.do("subscribe", check=False)
        return min(client.do("snapshot", times=rig.size(100, 2))) * 1e3
