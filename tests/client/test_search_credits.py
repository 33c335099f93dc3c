"""Credits: how many search datagrams may be sent now."""
from __future__ import annotations

import pytest

from caproto._client.search_credits import EARNED_CREDITS, MAX_CREDITS, Credits


def spend(credits: Credits, now: float) -> int:
    """Take all that there are; return how many there were."""
    spent = 0
    while credits.available(now):
        credits.number -= 1
        spent += 1
    return spent


def test_there_is_a_stock_at_first_and_then_one_drips_at_a_time():
    credits = Credits(0.5, 3, now=10.0)
    assert spend(credits, 10.0) == 3
    assert credits.next_at() == 10.5
    assert spend(credits, 10.4) == 0
    assert spend(credits, 10.5) == 1


def test_not_more_than_the_stock_drip():
    credits = Credits(0.5, 3, now=0.0)
    assert spend(credits, 1000.0) == 3
    assert spend(credits, 1e9) == 3


@pytest.mark.parametrize("answered", [1, 5])
def test_each_datagram_that_is_answered_earns_some(answered):
    credits = Credits(0.5, 2, now=0.0)
    spend(credits, 0.0)
    for _ in range(answered):
        credits.earn()
    assert spend(credits, 0.0) == answered * EARNED_CREDITS


def test_what_is_earned_is_saved_up_to_a_limit_and_drips_add_nothing_to_it():
    credits = Credits(0.5, 2, now=0.0)
    for _ in range(1000):
        credits.earn()
    assert spend(credits, 100.0) == MAX_CREDITS


def test_rounding_does_not_delay_a_credit_when_a_clock_has_run_for_decades():
    start = 1e9
    credits = Credits(0.016, 1, now=start)
    spend(credits, start)
    assert credits.available(credits.next_at())
