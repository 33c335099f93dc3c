"""Rates and gaps."""
from __future__ import annotations

import pytest

from caproto import TimeStamp
from caproto._catools.statistics import Statistics, statistics_table


def at(seconds):
    return TimeStamp.from_unix_timestamp(1e9 + seconds)


def test_figures():
    one = Statistics("x")
    one.update(at(-5000), at(0))  # the value at the beginning may be old
    for second in (1, 2, 4, 5):
        one.update(at(second), at(second + 0.25))
    one.disconnections += 1
    figures = one.to_dict()
    assert (figures["updates"], figures["disconnections"]) == (5, 1)
    assert figures["rate"] == pytest.approx(3 / 4)
    assert figures["mean_gap"] == pytest.approx(4 / 3)
    assert (figures["shortest_gap"], figures["longest_gap"]) == (1, 2)
    assert figures["mean_delay"] == pytest.approx(0.25)
    title, row = statistics_table([one]).splitlines()
    assert title.split()[:4] == ["name", "updates", "per", "s"]
    assert row.split() == ["x", "5", "0.75", "1.333", "1", "2", "0.25", "1"]


def test_too_few_updates():
    one = Statistics("x")
    one.update(None, at(0))
    one.update(TimeStamp(0, 0), at(1))
    assert one.to_dict()["rate"] is None and one.to_dict()["longest_gap"] is None
    assert statistics_table([one]).splitlines()[1].split() == ["x", "2", *"-----", "0"]
