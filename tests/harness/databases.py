"""Texts of databases with many records, for `SoftIOC`."""
from __future__ import annotations


def many(count: int) -> str:
    """`count` analog outputs ``$(P)n00000 …`` with their number as value."""
    return "\n".join(
        f'record(ao, "$(P)n{i:05d}") {{ field(VAL, "{i}") field(PINI, "YES") }}'
        for i in range(count)
    ) + "\n"


def many_names(count: int, prefix: str = "T:") -> list[str]:
    """The names of the records of `many`."""
    return [f"{prefix}n{i:05d}" for i in range(count)]


def counters(count: int, scan: str = ".01 second") -> str:
    """`count` records ``$(P)c0000 …`` that count while ``$(P)run`` is 1; all stand still at first.

    One switch for all of them, thrown from inside the IOC (`SoftIOC.put`): starting 5,000 counters
    through Channel Access would be traffic of its own.
    """
    lines = ['record(bo, "$(P)run") { field(VAL, "0") field(PINI, "YES") }']
    lines += [
        f'record(calc, "$(P)c{i:04d}") {{ field(SCAN, "{scan}") field(CALC, "VAL+1") '
        'field(SDIS, "$(P)run") field(DISV, "0") }'
        for i in range(count)
    ]
    return "\n".join(lines) + "\n"


def counter_names(count: int, prefix: str = "T:") -> list[str]:
    """The names of the records of `counters`."""
    return [f"{prefix}c{i:04d}" for i in range(count)]
