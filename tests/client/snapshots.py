"""Snapshots for the tests."""
from __future__ import annotations

import numpy

from caproto import CaprotoTimeoutError
from caproto._client.table_snapshot import TableSnapshot

STAMP = numpy.datetime64("2026-11-22T20:01:02.123456789", "ns")
ERROR = CaprotoTimeoutError("'gone' was not found within 2 s: no server has answered")


def snapshot(values, names=None, **columns) -> TableSnapshot:
    """A snapshot of good values, except for the columns that are given."""
    values = numpy.asarray(values)
    n = len(values)
    defaults = {
        "timestamps": numpy.full(n, STAMP), "severity": numpy.zeros(n, "u2"),
        "status": numpy.zeros(n, "u2"), "connected": numpy.ones(n, bool),
        "ok": numpy.ones(n, bool), "errors": {},
    }
    names = tuple(names or (f"n{i}" for i in range(n)))
    return TableSnapshot(names, values=values, **{**defaults, **columns})


def objects(*values):
    """An array of objects, also of sequences."""
    array = numpy.empty(len(values), object)
    array[:] = values
    return array


def example() -> TableSnapshot:
    """Five PVs: a good one, three in alarm and one that was not found."""
    return snapshot(
        [1.5, 2.5, 3.5, numpy.nan, 4.5],
        ("good", "minor", "invalid", "gone", "major"),
        severity=numpy.array([0, 1, 3, 0, 2]), status=numpy.array([0, 4, 17, 0, 3]),
        timestamps=numpy.array([STAMP, STAMP, STAMP, "NaT", STAMP], "datetime64[ns]"),
        connected=numpy.array([True, True, True, False, True]),
        ok=numpy.array([True, True, True, False, True]), errors={"gone": ERROR},
    )
