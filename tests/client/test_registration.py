"""Registration with the repeater, with a clock that the test moves by hand."""
from __future__ import annotations

import math

import pytest

from caproto._client.registration import (
    ATTEMPTS_PER_START,
    PATIENCE,
    SILENCE,
    Registration,
    RegistrationAction,
)

NOTHING, REGISTER, START_REPEATER = RegistrationAction


def acts(registration: Registration, now: float) -> RegistrationAction:
    """What is done at the deadline; a moment before, nothing."""
    assert registration.deadline == pytest.approx(now)
    assert registration.due(registration.deadline - 0.001) is NOTHING
    return registration.due(registration.deadline)


def test_the_first_attempt_is_made_at_once():
    registration = Registration(100.0)
    assert registration.deadline == 100.0
    assert registration.due(100.0) is REGISTER
    assert not registration.registered


def test_a_repeater_is_started_after_a_second_and_not_with_each_attempt():
    """A script that is over by then needs no beacons."""
    registration = Registration(0.0)
    assert acts(registration, 0.0) is REGISTER
    assert acts(registration, 1.0) is START_REPEATER
    assert [acts(registration, when) for when in (2.0, 4.0, 8.0, 16.0)] == [REGISTER] * 4


def test_now_and_then_another_one_is_started():
    """The first may have been ended before it could confirm."""
    registration, starts = Registration(0.0, retry_time=10.0), []
    for _ in range(3 * ATTEMPTS_PER_START):
        now = registration.deadline
        if registration.due(now) is START_REPEATER:
            starts.append(now)
    assert len(starts) == 3
    assert all(200 < b - a < 400 for a, b in zip(starts, starts[1:])), "every five minutes or so"


def test_attempts_go_on_for_ever_but_more_and_more_rarely():
    registration, moments = Registration(0.0, retry_time=10.0), []
    for _ in range(9):
        moments.append(registration.deadline)
        assert registration.due(registration.deadline) is not NOTHING
    pauses = [later - earlier for earlier, later in zip(moments, moments[1:])]
    assert pauses == [1.0, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_the_longest_pause_may_be_shorter_than_the_first():
    registration = Registration(0.0, retry_time=0.25)
    actions = [acts(registration, when) for when in (0.0, 0.25, 0.5, 0.75)]
    assert actions == [REGISTER, START_REPEATER, REGISTER, REGISTER]


def test_who_comes_late_does_not_make_up_for_it():
    """The pause counts from when something was done, so a suspended computer sends no burst."""
    registration = Registration(0.0)
    registration.due(0.0)
    assert registration.due(5000.0) is START_REPEATER
    assert registration.due(5000.5) is NOTHING
    assert registration.deadline == 5001.0


def test_a_confirmation_ends_the_attempts():
    registration = Registration(0.0)
    registration.due(0.0)
    registration.confirmed(0.1)
    assert registration.registered
    assert registration.deadline == pytest.approx(0.1 + SILENCE)
    assert registration.due(SILENCE) is NOTHING
    assert registration.registered


def test_who_hears_the_repeater_stays_registered():
    registration = Registration(0.0)
    registration.due(0.0)
    registration.confirmed(0.0)
    for now in range(0, 3600, 15):
        assert registration.due(now) is NOTHING
        registration.heard(now)
    assert registration.registered and registration.deadline == 3585 + SILENCE


def test_after_a_long_silence_we_register_again():
    """A repeater that was restarted has forgotten us; it confirms, and nobody starts another."""
    registration = Registration(0.0)
    registration.due(0.0)
    for begun in (0.0, SILENCE, 2 * SILENCE):
        registration.confirmed(begun)
        assert registration.registered and registration.deadline == begun + SILENCE
        assert acts(registration, begun + SILENCE) is REGISTER
        assert not registration.registered
    assert registration.deadline == 3 * SILENCE + PATIENCE


@pytest.mark.parametrize("ours", [False, True])
def test_a_repeater_that_died_is_replaced(ours):
    """Whoever had started it; clients of the C library have the benefit, too."""
    registration = Registration(0.0)
    registration.due(0.0)
    if ours:
        assert registration.due(1.0) is START_REPEATER
    registration.confirmed(1.5)
    actions = [acts(registration, 1.5 + SILENCE + when) for when in (0.0, 1.0, 2.0, 4.0, 8.0)]
    assert actions == [REGISTER, START_REPEATER, REGISTER, REGISTER, REGISTER]
    registration.confirmed(SILENCE + 20.0)
    assert registration.registered and registration.deadline == 2 * SILENCE + 20.0


def test_what_is_heard_before_the_confirmation_does_not_count():
    """A server may send its beacons right to us."""
    registration = Registration(0.0)
    registration.due(0.0)
    registration.heard(0.5)
    assert registration.deadline == 1.0 and not registration.registered


def test_who_wants_no_repeater_is_never_due():
    registration = Registration(0.0, wanted=False)
    assert registration.deadline == math.inf
    assert registration.due(1e9) is NOTHING
    registration.confirmed(2e9)  # that nobody asked for
    registration.heard(2e9)
    assert registration.due(3e9) is NOTHING
    assert not registration.registered


def test_an_unexpected_confirmation_does_no_harm():
    """It may come before the first attempt, to a port that somebody else had."""
    registration = Registration(0.0)
    registration.confirmed(0.0)
    assert registration.due(0.0) is NOTHING
    assert acts(registration, SILENCE) is REGISTER
