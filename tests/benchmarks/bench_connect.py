"""Connecting, and what connections cost."""
from __future__ import annotations

import time

from tests.benchmarks.libraries import Library
from tests.benchmarks.rig import Rig, row


def connect(rig: Rig, library: Library, count: int) -> float:
    """Milliseconds from the call until the last PV is connected, in a new process."""
    with rig.client(library, rig.quiet_ioc()) as client:
        client.do("names", names=rig.many_names(count))
        return client.do("connect") * 1e3


@row("connect 1,000 new PVs", "ms", at_most=50, peers=True)
def connect_thousand(rig: Rig, library: Library) -> float:
    return connect(rig, library, 1_000)


@row("connect 10,000 new PVs", "ms", at_most=250, peers=True)
def connect_ten_thousand(rig: Rig, library: Library) -> float:
    return connect(rig, library, 10_000)


@row("memory of one connected PV (of 10,000)", "kB", at_most=2.5, peers=True)
def memory(rig: Rig, library: Library) -> float:
    names = rig.many_names(10_000)
    with rig.client(library, rig.quiet_ioc(), names[:1]) as client:
        client.do("read_all", times=1)  # what the first PV needs, all others need not
        client.do("names", names=names)
        before = client.do("mark", collect=True)["resident"]
        client.do("connect")
        after = client.do("mark", collect=True)["resident"]
    return (after - before) / len(names) / 1e3


@row("wake-ups of an idle client with 1,000 PVs", "/s", at_most=0.5, peers=True)
def idle(rig: Rig, library: Library) -> float:
    seconds = 0.3 if rig.small else 10.0
    with rig.client(library, rig.quiet_ioc(), rig.many_names(1_000)) as client:
        time.sleep(0.1 if rig.small else 1.0)  # until the last reply is handled
        before = client.do("mark")
        time.sleep(seconds)
        after = client.do("mark")
    # Less the one by which the question itself woke it.
    return max(0, after["switches"] - before["switches"] - 1) / (
        after["seconds"] - before["seconds"]
    )
