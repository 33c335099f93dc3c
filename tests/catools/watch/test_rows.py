"""What callbacks note about a PV, and what a table takes over."""
from __future__ import annotations

import pytest

from caproto._catools.settings import Settings
from caproto._catools.watch.readings import NOTHING
from caproto._catools.watch.rows import CONNECTED, DISCONNECTED, SEARCHING, Row
from tests.catools.watch.updates import MOMENT, properties, row, update


def new():
    return Row("x", Settings("caproto-monitor"))


def test_the_states_of_the_connection():
    made = new()
    made.note_disconnected()  # as every PV begins
    made.take()
    assert (made.state, made.alarm, made.rank) == (SEARCHING, "disconnected", 4)
    made.note_connected(1)
    made.take()
    assert (made.state, made.alarm, made.rank) == (CONNECTED, "", 0)
    made.note_disconnected()
    made.take()
    assert (made.state, made.alarm, made.rank) == (DISCONNECTED, "disconnected", 4)


def test_nothing_changes_before_it_is_taken_over():
    made = new()
    made.note_connected(1)
    made.note_update(update(3.0, severity=1))
    assert (made.state, made.shown) == (SEARCHING, NOTHING)
    made.take()
    assert (made.state, made.shown.number, made.alarm) == (CONNECTED, 3.0, "minor")


def test_units_and_precision_may_come_after_the_value():
    made = row("x", 3.14159)
    assert (made.shown.text, made.units) == ("3.14159", "")
    made.note_properties(properties(units=b"m\x1b", precision=2))
    made.take()
    assert (made.shown.text, made.units) == ("3.14", "m\\x1b")


def test_the_value_stays_when_the_connection_is_lost():
    made = row("x", 5)
    made.note_disconnected()
    made.take()
    assert made.shown.number == 5.0


def test_the_rate_is_that_of_the_last_ten_seconds():
    made = new()
    made.sample(100.0)
    made.note_connected(1)
    made.note_update(update(0.0))
    made.sample(101.0)
    assert made.rate == 0.0  # the time before the first update does not count
    for second in range(102, 107):
        for number in range(4):
            made.note_update(update(float(number)))
        made.sample(second)
    assert made.rate == pytest.approx(4.0)
    for second in range(107, 117):
        made.sample(second)
    assert made.rate == 0.0


def test_the_trend_has_the_number_of_each_second():
    made = row("x", 1, 2)
    made.sample(1.0)
    made.note_update(update(5))
    made.note_update(update(7))
    made.sample(2.0)
    made.sample(3.0)
    made.note_disconnected()
    made.sample(4.0)
    assert list(made.trend) == [2.0, 7.0, 7.0, None]


def test_the_trend_is_a_minute_long():
    made = row("x", 1)
    for second in range(100):
        made.sample(float(second))
    assert len(made.trend) == 60


def test_ages():
    assert new().age(MOMENT) is None
    assert row("x", 1).age(MOMENT + 5) == 5.0
    assert row("x", 1).age(MOMENT - 5) == 0.0  # the clock of the server is ahead
    assert row("x", 1, time=0).age(MOMENT) is None


def test_a_name_with_odd_characters():
    assert Row("a\x1b[m", Settings("caproto-monitor")).label == "a\\x1b[m"
