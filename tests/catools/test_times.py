"""Time stamps."""
from __future__ import annotations

import time

import pytest

from caproto import TimeStamp
from caproto._catools.times import Stamps, local_time


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_rounded_but_not_to_the_next_second():
    assert local_time(TimeStamp(0, 1_500)) == "1990-01-01 00:00:00.000002"
    assert local_time(TimeStamp(1, 999_999_999)) == "1990-01-01 00:00:01.999999"
    assert local_time(TimeStamp(0, 0)) == "<undefined>"


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("sr", ["1990-01-01 00:00:10.000000", f"{'+2.500000':>26}", f"{'-1.000000':>26}"]),
        ("si", ["1990-01-01 00:00:10.000000", f"{'+2.500000':>26}", f"{'-3.500000':>26}"]),
        ("sI", ["1990-01-01 00:00:10.000000", "1990-01-01 00:00:12.500000",
                f"{'-1.000000':>26}"]),
        ("r", ["", "", ""]),
        ("c", ["(1990-01-01 00:00:20.000000)"] * 3),
        ("ci", ["(1990-01-01 00:00:20.000000)"] + [f"{'':14}(   +0.000000)"] * 2),
    ],
)
def test_differences(letters, expected):
    stamps, arrival = Stamps(letters), TimeStamp(20, 0)
    server = [("a", TimeStamp(10, 0)), ("b", TimeStamp(12, 500_000_000)), ("a", TimeStamp(9, 0))]
    assert [stamps.text(channel, stamp, arrival) for channel, stamp in server] == expected
