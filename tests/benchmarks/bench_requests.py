"""Reads and writes: many at once, one at a time, large and small."""
from __future__ import annotations

import statistics

from tests.benchmarks.libraries import Library
from tests.benchmarks.rig import Rig, row


def batch_of_reads(rig: Rig, library: Library, count: int) -> float:
    """PVs per second, the best of a few reads of all."""
    names = rig.many_names(count)
    with rig.client(library, rig.quiet_ioc(), names) as client:
        answer = client.do("read_all", times=rig.size(5, 1))
    assert answer["values"] == list(range(len(names)))
    return len(names) / min(answer["seconds"])


@row("read 1,000 PVs in a batch", "PV/s", at_least=300_000, peers=True, limit=True)
def read_thousand(rig: Rig, library: Library) -> float:
    return batch_of_reads(rig, library, 1_000)


@row("read 10,000 PVs in a batch", "PV/s", at_least=250_000, peers=True, limit=True)
def read_ten_thousand(rig: Rig, library: Library) -> float:
    return batch_of_reads(rig, library, 10_000)


@row("memory that 30 more reads of 10,000 PVs take", "MB", at_most=1, peers=True)
def memory_of_reads(rig: Rig, library: Library) -> float:
    names = rig.many_names(10_000)
    with rig.client(library, rig.quiet_ioc(), names) as client:
        client.do("read_all", times=rig.size(10, 1))
        before = client.do("mark", collect=True)["resident"]
        client.do("read_all", times=rig.size(30, 1))
        after = client.do("mark", collect=True)["resident"]
    return max(0, after - before) / 1e6


@row(
    "write 1,000 PVs with completion in a batch", "PV/s", at_least=70_000, peers=True, limit=True
)
def write_thousand(rig: Rig, library: Library) -> float:
    names, ioc = rig.many_names(1_000), rig.quiet_ioc()
    with rig.client(library, ioc, names) as client:
        answer = client.do("write_all", times=rig.size(5, 2))
    assert set(answer["done"]) == {len(names)}
    assert rig.values(ioc, names) == list(range(len(names)))
    return len(names) / min(answer["seconds"])


@row("blocking read of a scalar, one core", "µs", at_most=28, peers=True, limit=True)
def blocking_read(rig: Rig, library: Library) -> float:
    ioc = rig.quiet_ioc(core=0)
    with rig.client(library, ioc, [ioc.pv("double")], core=0) as client:
        answer = client.do("read_one", times=rig.size(3_000, 20))
    assert answer["value"] == 3.5
    return statistics.median(answer["seconds"]) * 1e6


@row("blocking write with completion, one core", "µs", at_most=50, peers=True, limit=True)
def blocking_write(rig: Rig, library: Library) -> float:
    ioc = rig.quiet_ioc(core=0)
    ioc.put("written", 0)
    with rig.client(library, ioc, [ioc.pv("written")], core=0) as client:
        answer = client.do("write_one", times=rig.size(3_000, 20), value=4.25)
    assert float(ioc.get("written")) == 4.25
    return statistics.median(answer["seconds"]) * 1e6


def array_reads(
    rig: Rig, library: Library, record: str, count: int, times: int, client_core: int
) -> float:
    """MB/s of data that arrive in numpy arrays."""
    ioc = rig.quiet_ioc(core=0)
    with rig.client(library, ioc, [ioc.pv(record)], core=client_core) as client:
        client.do("read_array", times=1, count=count)
        return 8 * count * times / client.do("read_array", times=times, count=count) / 1e6


@row("read 1,000,000 doubles", "MB/s", at_least=1_100, peers=True, limit=True)
def large_array(rig: Rig, library: Library) -> float:
    return array_reads(rig, library, "million", 1_000_000, rig.size(20, 1), 1)


@row("memory of that read at its peak, in arrays", "", at_most=1.05)
def memory_of_array(rig: Rig, library: Library) -> float:
    """1 is one allocation and nothing else; who copies in Python needs 2."""
    ioc = rig.quiet_ioc()
    with rig.client(library, ioc, [ioc.pv("million")]) as client:
        return client.do("trace_array")


@row("read 1,000 doubles, one core", "MB/s", at_least=220, peers=True, limit=True)
def small_array(rig: Rig, library: Library) -> float:
    return array_reads(rig, library, "thousand", 1_000, rig.size(3_000, 10), 0)
