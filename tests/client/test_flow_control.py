"""The brake: when it bites, when it lets go, and that the two alternate."""
from __future__ import annotations

from caproto._client.flow_control import (
    HIGH_WATER,
    LATE,
    LATE_HIGH_WATER,
    LATE_LOW_WATER,
    LOW_WATER,
    FlowControl,
    cost,
)
from tests.conformance.items import item


def test_a_message_costs_its_bytes_and_more():
    assert cost(40, 1) > 40
    assert cost(1000, 25) - cost(1000, 24) == cost(0, 1)


def test_quiet_as_long_as_the_backlog_is_small():
    flow = FlowControl()
    assert [flow.backlog(size) for size in (0, LOW_WATER, HIGH_WATER)] == [None] * 3
    assert not flow.held and flow.pauses == 0


@item(55)
def test_hold_above_high_water_until_below_low_water():
    flow = FlowControl()
    assert flow.backlog(HIGH_WATER + 1) is True
    assert flow.held and flow.pauses == 1
    assert flow.backlog(HIGH_WATER + 2) is None, "it was asked already"
    assert flow.backlog(HIGH_WATER - 1) is None, "hysteresis"
    assert flow.backlog(LOW_WATER) is None
    assert flow.resume_below == LOW_WATER
    assert flow.backlog(LOW_WATER - 1) is False
    assert not flow.held
    assert flow.backlog(0) is None
    assert flow.backlog(HIGH_WATER + 1) is True
    assert flow.pauses == 2


@item(55)
def test_a_smaller_backlog_that_is_old_is_held_too():
    flow = FlowControl()
    assert flow.backlog(LATE_HIGH_WATER + 1, LATE) is None, "not old enough"
    assert flow.backlog(LATE_HIGH_WATER, LATE + 1) is None, "not large enough"
    assert flow.backlog(LATE_HIGH_WATER + 1, LATE + 1) is True
    assert flow.resume_below == LATE_LOW_WATER
    assert flow.backlog(LATE_LOW_WATER, 0.0) is None, "hysteresis"
    assert flow.backlog(LATE_LOW_WATER - 1, 0.0) is False
    assert flow.pauses == 1


def test_switched_off_it_never_brakes_by_itself():
    flow = FlowControl(enabled=False)
    assert flow.backlog(HIGH_WATER * 100, LATE * 100) is None
    assert flow.user_holds(True) is True
    assert flow.backlog(0) is None
    assert flow.user_holds(False) is False


def test_the_wish_of_the_user_outlasts_the_backlog():
    flow = FlowControl()
    assert flow.user_holds(True) is True
    assert flow.user_holds(True) is None
    assert flow.backlog(HIGH_WATER + 1) is None, "held already"
    assert flow.backlog(0) is None, "still wished"
    assert flow.user_holds(False) is False


def test_the_backlog_outlasts_the_wish():
    flow = FlowControl()
    flow.user_holds(True)
    flow.backlog(HIGH_WATER + 1)
    assert flow.user_holds(False) is None
    assert flow.held
    assert flow.backlog(LOW_WATER - 1) is False
    assert flow.pauses == 1


@item(55)
def test_random_walks_keep_off_and_on_alternating():
    import random

    rng = random.Random(1)
    flow = FlowControl()
    sent = []
    for _ in range(5000):
        if rng.random() < 0.2:
            asked = flow.user_holds(rng.random() < 0.5)
        else:
            asked = flow.backlog(rng.randrange(2 * HIGH_WATER))
        if asked is not None:
            assert asked is flow.held
            sent.append(asked)
    assert sent[:4] == [True, False, True, False]
    assert all(a is not b for a, b in zip(sent, sent[1:]))
    assert flow.pauses == sent.count(True) > 10
