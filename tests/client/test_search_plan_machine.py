"""The search plan, whatever is added, answered, removed and pulled forward, at any time.

What is searched for is live, what is live is searched for within its time, and no burst of
datagrams is larger than the credits allow.
"""
from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from caproto._client.search_credits import EARNED_CREDITS, MAX_CREDITS
from caproto._client.search_plan import (
    FRESH_DRIP,
    FRESH_STOCK,
    RETRY_DRIP,
    RETRY_STOCK,
    SearchPlan,
)

MAX_PERIOD = 60.0
NUMBER = st.integers(0, 200)


class Searches(RuleBasedStateMachine):
    """A plan and what a reader of its documentation expects of it."""

    @initialize(start=st.floats(-1e6, 1e9), jitter=st.floats(0, 1))
    def begin(self, start, jitter):
        self.plan = SearchPlan(MAX_PERIOD, start, jitter=lambda: jitter)
        self.now = self.start = start
        self.live: dict[int, str] = {}
        self.used: set[int] = set()
        self.asked: dict[int, float] = {}  # cid -> when it was added or last asked for
        self.sent: list[int] = []  # the sequence numbers that may still be answered
        self.datagrams = 0
        self.earned = 0
        self.serial = 0

    def run_until(self, until: float) -> None:
        """As a driver does it: sleep until the deadline."""
        while (deadline := self.plan.next_deadline()) <= until:
            self.now = max(self.now, deadline)
            for datagram in self.plan.due(self.now):
                self.datagrams += 1
                self.sent.append(datagram.sequence)
                for cid, name in datagram.searches:
                    assert self.live[cid] == name
                    self.asked[cid] = self.now
            assert self.plan.next_deadline() > self.now
        self.now = max(self.now, until)

    @rule(number=st.integers(0, 120), lost=st.booleans(), length=st.integers(1, 400))
    def add(self, number, lost, length):
        names = [f"{'n' * length}{self.serial + index}" for index in range(number)]
        self.serial += number
        for cid, name in zip(self.plan.add(names, self.now, lost=lost), names, strict=True):
            assert cid not in self.used
            self.used.add(cid)
            self.live[cid] = name
            self.asked[cid] = self.now

    @rule(seconds=st.floats(0, 1) | st.floats(0, 300))
    def wait(self, seconds):
        self.run_until(self.now + seconds)

    @precondition(lambda self: self.used)
    @rule(number=NUMBER, late=st.integers(0, 3), numbered=st.booleans())
    def reply(self, number, late, numbered):
        """For any id that was ever used, to any of the latest datagrams, or without a number."""
        cid = sorted(self.used)[number % len(self.used)]
        sequence = self.sent[-1 - late % len(self.sent)] if self.sent and numbered else None
        found = self.plan.reply(cid, sequence, self.now)
        assert (None if found is None else found.name) == self.live.pop(cid, None)
        self.earned += EARNED_CREDITS

    @precondition(lambda self: self.used)
    @rule(numbers=st.lists(NUMBER, max_size=20))
    def remove(self, numbers):
        used = sorted(self.used)
        ids = [used[number % len(used)] for number in numbers]
        self.plan.remove(ids)
        for cid in ids:
            self.live.pop(cid, None)

    @rule(everything=st.booleans())
    def pull_forward(self, everything):
        (self.plan.search_now if everything else self.plan.beacon_anomaly)(self.now)

    @invariant()
    def live_names_are_in_the_plan(self):
        assert len(self.plan) == len(self.live)
        assert all(cid in self.plan for cid in self.live)
        assert self.live or self.plan.next_deadline() == math.inf or self.plan.due(self.now) == []

    @invariant()
    def no_more_datagrams_than_credits(self):
        passed = self.now - self.start
        dripped = FRESH_STOCK + RETRY_STOCK + passed / FRESH_DRIP + passed / RETRY_DRIP
        assert self.datagrams <= dripped + self.earned + 2
        assert self.earned <= EARNED_CREDITS * (len(self.used) * 1000 + MAX_CREDITS)

    def teardown(self):
        if not hasattr(self, "plan"):
            return
        # A name rests for the maximum period at most, then waits for a credit.
        start = self.now
        self.run_until(start + MAX_PERIOD + RETRY_DRIP * len(self.live) + 1.0)
        late = {cid for cid in self.live if self.asked[cid] <= start}
        assert not late


TestSearches = Searches.TestCase
TestSearches.settings = settings(max_examples=60, stateful_step_count=40)
