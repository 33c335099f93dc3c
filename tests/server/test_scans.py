"""When scans are due, on a clock that the test moves."""
from __future__ import annotations

import itertools
import math

import pytest

from caproto._server.scans import Scan, Scans
from caproto.server import ChannelData, ChannelDouble, ChannelString


def channel(period: float | ChannelData | None = 1.0) -> ChannelDouble:
    """A channel with a scan function."""
    data = ChannelDouble(value=0.0)
    data.scan = lambda instance: None
    data.scan_period = period
    return data


class Clock:
    """Scans, the time, and who has called wake."""

    def __init__(self, *channels: ChannelData, now: float = 100.0) -> None:
        self.now = now
        self.wakes = 0
        self.scans = Scans(channels, self._wake)
        self.scans.start(now)

    def _wake(self) -> None:
        self.wakes += 1

    def due(self, now: float | None = None) -> list[Scan]:
        self.now = self.now if now is None else now
        return self.scans.due(self.now)

    def end(self, scan: Scan, now: float | None = None) -> None:
        """The function of *scan* has returned, as the server tells."""
        self.now = self.now if now is None else now
        self.scans.ended(scan)

    def starts(self, until: float, step: float = 0.25) -> list[float]:
        """The moments at which something starts, of functions that take no time."""
        found = []
        while self.now < until:
            for scan in self.due():
                found.append(self.now)
                self.end(scan)
            self.due()
            self.now += step
        return found


def test_the_first_call_is_due_at_once_and_the_others_a_period_apart():
    clock = Clock(channel(1.0))
    assert clock.scans.next_deadline() == 100.0
    assert clock.starts(103.5) == [100.0, 101.0, 102.0, 103.0]


def test_channels_without_a_scan_function_are_left_out():
    clock = Clock(ChannelDouble(value=1.0))
    assert clock.scans.next_deadline() == math.inf
    assert clock.due(1e9) == []


def test_several_scans_have_periods_of_their_own():
    fast, slow = channel(1.0), channel(2.5)
    clock = Clock(fast, slow)
    started: dict[ChannelData, list[float]] = {fast: [], slow: []}
    while clock.now <= 105:
        for scan in clock.due():
            started[scan.data].append(clock.now)
            clock.end(scan)
        clock.due()
        deadline = clock.scans.next_deadline()
        assert deadline is not None and deadline > clock.now
        clock.now = deadline
    assert started == {fast: [100, 101, 102, 103, 104, 105], slow: [100, 102.5, 105]}


def test_a_scan_that_still_runs_is_not_started_again():
    clock = Clock(channel(1.0))
    (scan,) = clock.due()
    assert clock.due(101.0) == clock.due(105.0) == []
    assert clock.scans.next_deadline() == math.inf  # it ends some time, and wakes us then
    clock.end(scan)
    assert clock.wakes == 1


def test_a_call_that_took_longer_than_the_period_is_followed_at_once_by_one_more():
    clock = Clock(channel(1.0))
    (scan,) = clock.due()
    clock.end(scan, 103.7)
    assert clock.due() == [scan]
    clock.end(scan, 103.8)
    assert clock.due() == []  # those that were missed are not made up for
    assert clock.scans.next_deadline() == pytest.approx(104.7)


def test_a_new_period_takes_effect_at_once():
    period = ChannelDouble(value=10.0)
    clock = Clock(channel(period))
    assert clock.starts(100.5) == [100.0]
    period.write(2.0)
    assert clock.wakes == 2  # of the end of the call, and of the new period
    assert clock.starts(105.0) == [102.0, 104.0]
    period.write(100.0)
    assert clock.starts(200.0) == []
    period.write(0.25)  # the last start was long ago
    assert clock.due(200.0) != []


def test_what_was_scheduled_before_does_not_start_it_twice():
    period = ChannelDouble(value=3.0)
    clock = Clock(channel(period))
    assert clock.starts(100.5) == [100.0]
    for seconds in (2.0, 4.0, 2.0):
        period.write(seconds)
        assert clock.due() == []
    assert clock.starts(105.9) == [102.0, 104.0]


@pytest.mark.parametrize("pause", [0.0, -1.0, math.nan])
def test_a_period_that_is_not_positive_pauses_the_scan(pause):
    period = ChannelDouble(value=pause)
    clock = Clock(channel(period))
    assert clock.starts(110.0) == []
    period.write(1.0)
    assert clock.starts(112.0) == [110.0, 111.0]
    period.write(pause)
    assert clock.starts(130.0) == []


def test_a_scan_that_is_paused_while_it_runs_stays_paused():
    period = ChannelDouble(value=1.0)
    clock = Clock(channel(period))
    (scan,) = clock.due()
    period.write(0.0)
    clock.end(scan)
    assert clock.starts(110.0) == []


@pytest.mark.parametrize("period", [None, 0, -3])
def test_scans_without_a_period_are_never_due(period):
    assert Clock(channel(period)).starts(110.0) == []


def test_a_period_that_is_no_number_pauses_the_scan():
    period = ChannelString(value="1.0")
    clock = Clock(channel(period))
    assert clock.starts(101.5) == [100.0, 101.0]
    period.write("soon")
    assert clock.starts(110.0) == []
    period.write("2.0")
    assert clock.starts(113.0) == [110.0, 112.0]


def test_a_period_that_is_changed_all_the_time_costs_no_memory():
    period = ChannelDouble(value=1.0, value_atol=-1)  # every write is an event
    clock = Clock(channel(period))
    clock.starts(100.5)
    for seconds, _ in zip(itertools.cycle([1000.0, 2000.0, 2000.0]), range(10_000), strict=False):
        period.write(seconds)
        assert clock.due() == []
    assert len(clock.scans._heap) < 100
    assert clock.starts(2000.0, step=50.0) == [1100.5]


def test_after_close_nothing_is_due_and_periods_are_forgotten():
    period = ChannelDouble(value=1.0)
    clock = Clock(channel(period))
    clock.scans.close()
    assert clock.scans.next_deadline() == math.inf
    assert clock.due(1000.0) == []
    period.write(2.0)
    assert clock.wakes == 0
