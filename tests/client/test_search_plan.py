"""SearchPlan with a clock that the test moves by hand.

Numbers in brackets are items of the conformance list.
"""
from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caproto._client.search_plan import SearchDatagram, SearchPlan
from caproto._errors import CaprotoKeyError, CaprotoValueError
from tests.conformance.items import item


def names(number: int, prefix: str = "some:record:name") -> list[str]:
    return [f"{prefix}:{index:06d}" for index in range(number)]


def size(datagram: SearchDatagram) -> int:
    """Bytes on the wire: VERSION, and per name a header and the padded text with its zero."""
    return 16 + sum(16 + -(-(len(name.encode()) + 1) // 8) * 8 for _, name in datagram.searches)


class Network:
    """Moves the clock from deadline to deadline, and keeps what was sent when."""

    def __init__(self, plan: SearchPlan, now: float = 0.0, *, numbered: bool = True) -> None:
        self.plan = plan
        self.numbered = numbered
        self.now = now
        self.sent: list[tuple[float, SearchDatagram]] = []

    def run(
        self,
        until: float,
        answers: Callable[[str], bool] = lambda name: False,
        round_trip: float = 0.001,
    ) -> None:
        """Until a time, or until every name is found; replies come after *round_trip*."""
        replies: list[tuple[float, int, int]] = []
        while len(self.plan):
            moment = self.plan.next_deadline()
            if replies:
                moment = min(moment, replies[0][0])
            if moment > until:
                break
            self.now = max(self.now, moment)
            while replies and replies[0][0] <= self.now:
                _, cid, sequence = replies.pop(0)
                self.plan.reply(cid, sequence if self.numbered else None, self.now)
            for datagram in self.plan.due(self.now):
                self.sent.append((self.now, datagram))
                replies += [
                    (self.now + round_trip, cid, datagram.sequence)
                    for cid, name in datagram.searches
                    if answers(name)
                ]
        self.now = max(self.now, until) if len(self.plan) else self.now

    def times(self, name: str) -> list[float]:
        return [
            moment
            for moment, datagram in self.sent
            if any(name == searched for _, searched in datagram.searches)
        ]

    def worst_second(self, after: float = 0.0) -> int:
        """The largest number of datagrams within one second."""
        moments = [moment for moment, _ in self.sent if moment >= after]
        return max(
            (bisect.bisect_left(moments, moment + 1) - i for i, moment in enumerate(moments)),
            default=0,
        )


def intervals(moments: Iterable[float]) -> list[float]:
    moments = list(moments)
    return [b - a for a, b in zip(moments, moments[1:], strict=False)]


def test_nothing_to_search_is_nothing_to_do() -> None:
    plan = SearchPlan()
    assert plan.next_deadline() == math.inf
    assert plan.due(5.0) == []
    assert len(plan) == 0


@pytest.mark.parametrize("period", [0.0, -1.0, math.inf, math.nan])
def test_the_longest_period_is_a_positive_finite_number(period: float) -> None:
    with pytest.raises(CaprotoValueError, match="max_period"):
        SearchPlan(period)


def test_first_search_comes_within_milliseconds() -> None:
    plan = SearchPlan(now=100.0)
    [cid] = plan.add(["x"], 100.0)
    assert 100.0 <= plan.next_deadline() <= 100.005
    [datagram] = plan.due(plan.next_deadline())
    assert datagram.searches == [(cid, "x")]


@item(20)
def test_names_of_one_burst_share_datagrams() -> None:
    """[20] also when they are added one at a time."""
    plan = SearchPlan()
    for index, name in enumerate(names(20)):
        plan.add([name], index * 1e-5)
    [datagram] = plan.due(plan.next_deadline())
    assert sorted(name for _, name in datagram.searches) == names(20)


@item(18)
@given(st.lists(st.text(min_size=1, max_size=70), max_size=300))
@settings(max_examples=50)
def test_datagrams_are_small_full_and_numbered(texts: list[str]) -> None:
    """[18] at most 1024 bytes, increasing sequence numbers; every name once per round."""
    plan = SearchPlan()
    plan.add(texts, 0.0)
    network = Network(plan)
    network.run(0.025)
    datagrams = [datagram for _, datagram in network.sent]
    assert all(size(datagram) <= 1024 for datagram in datagrams)
    sequences = [datagram.sequence for datagram in datagrams]
    assert sequences == list(range(1, len(sequences) + 1))
    first = [name for datagram in datagrams for _, name in datagram.searches]
    if len(texts) < 50:
        assert sorted(first) == sorted(texts)
    # No datagram could have taken the first name of the next one.
    for one, two in zip(datagrams, datagrams[1:], strict=False):
        [(_, head), *_] = two.searches
        longest = max(len(name.encode()) for _, name in two.searches)
        assert size(one) + 16 + longest + 8 > 1024 or len(head) == 0


def test_21_names_of_26_characters_fit() -> None:
    """As in the recorded traffic of the C library."""
    plan = SearchPlan()
    plan.add([f"{index:026d}" for index in range(30)], 0.0)
    datagrams = plan.due(1.0)
    assert [len(datagram.searches) for datagram in datagrams] == [21, 9]


def test_ids_are_unique_and_not_used_again_quickly() -> None:
    plan = SearchPlan()
    first = plan.add(names(100), 0.0)
    plan.remove(first)
    second = plan.add(names(100), 0.0)
    assert len({*first, *second}) == 200


def test_ids_wrap_around_and_skip_live_ones() -> None:
    plan = SearchPlan()
    [live] = plan.add(["long:lived"], 0.0)
    plan._last_id = 0xFFFFFFFE  # four thousand million names later
    assert plan.add(names(3), 0.0) == [0xFFFFFFFF, live + 1, live + 2]


@pytest.mark.parametrize("name", ["", "x" * 1000])
def test_impossible_names_are_refused_and_nothing_is_added(name: str) -> None:
    plan = SearchPlan()
    with pytest.raises(CaprotoValueError, match="cannot search"):
        plan.add(["good", name], 0.0)
    assert len(plan) == 0


@item(21)
def test_interval_doubles_and_saturates_and_never_stops() -> None:
    """[21] from about 30 ms to the maximum, 200 to 300 s by default."""
    plan = SearchPlan(max_period=300.0)
    plan.add(["nobody:has:it"], 0.0)
    network = Network(plan)
    network.run(4000.0)
    gaps = intervals(network.times("nobody:has:it"))
    assert gaps[0] == pytest.approx(0.032, abs=0.005)
    for shorter, longer in zip(gaps[:12], gaps[1:13], strict=True):
        assert longer == pytest.approx(2 * shorter, rel=0.1)
    assert all(200 <= gap <= 300.1 for gap in gaps[14:])
    assert len(gaps) > 20


@item(22)
def test_maximum_period_is_kept() -> None:
    """[22] the smallest that EPICS allows."""
    plan = SearchPlan(max_period=60.0)
    plan.add(["x"], 0.0)
    network = Network(plan)
    network.run(1000.0)
    gaps = intervals(network.times("x"))
    assert max(gaps) == pytest.approx(60.0, abs=0.1)
    assert gaps[-1] == pytest.approx(60.0, abs=0.1)


def test_a_reply_finds_the_name_once() -> None:
    plan = SearchPlan()
    [cid] = plan.add(["x"], 0.0)
    [datagram] = plan.due(1.0)
    assert cid in plan
    assert plan.reply(cid, datagram.sequence, 1.001).name == "x"
    assert cid not in plan
    # [25] duplicates and unknown ids are nothing special
    assert plan.reply(cid, datagram.sequence, 1.002) is None
    assert plan.reply(12345, datagram.sequence, 1.003) is None
    assert plan.due(2.0) == []
    assert plan.next_deadline() == math.inf


def test_a_reply_without_sequence_number_counts() -> None:
    """As over TCP, and from servers before 4.11; also when it comes before we asked."""
    plan = SearchPlan()
    [one, two] = plan.add(["x", "y"], 0.0)
    assert plan.reply(one, None, 0.0).name == "x"
    [datagram] = plan.due(1.0)
    assert datagram.searches == [(two, "y")]
    assert plan.reply(two, None, 1.1).name == "y"


def test_removed_names_are_not_searched() -> None:
    plan = SearchPlan()
    ids = plan.add(names(3), 0.0)
    plan.remove(ids[:1])
    [datagram] = plan.due(1.0)
    assert {cid for cid, _ in datagram.searches} == set(ids[1:])
    plan.remove(ids)
    plan.remove(ids)
    assert plan.due(100.0) == []
    assert plan.next_deadline() == math.inf


def test_round_trip_time_is_learnt_between_its_limits() -> None:
    plan = SearchPlan()
    assert plan.round_trip == pytest.approx(0.032)
    for index in range(200):
        now = index * 10.0
        [cid] = plan.add([f"x{index}"], now)
        [datagram] = plan.due(now + 0.01)
        plan.reply(cid, datagram.sequence, now + 0.01 + 0.5)
    assert plan.round_trip == pytest.approx(0.5, rel=0.1)
    for index in range(200):
        now = 10000 + index * 10.0
        [cid] = plan.add([f"y{index}"], now)
        [datagram] = plan.due(now + 0.01)
        plan.reply(cid, datagram.sequence, now + 0.01 + 1e-6)
    assert plan.round_trip == pytest.approx(0.032, rel=0.1)


def test_a_distant_server_is_learnt_from_although_we_ask_again_meanwhile() -> None:
    plan = SearchPlan()
    [cid] = plan.add(["far"], 0.0)
    network = Network(plan)
    network.run(0.5, answers=lambda name: True, round_trip=0.2)
    assert cid not in plan
    assert plan.round_trip > 0.05


def test_forged_sequence_numbers_teach_nothing() -> None:
    plan = SearchPlan()
    [cid] = plan.add(["x"], 0.0)
    plan.due(1.0)
    assert plan.reply(cid, 99999, 30.0).name == "x"
    assert plan.round_trip == pytest.approx(0.032)


def test_ten_thousand_names_that_exist_are_found_in_a_few_round_trips() -> None:
    plan = SearchPlan()
    plan.add(names(10_000), 0.0)
    network = Network(plan)
    network.run(10.0, answers=lambda name: True, round_trip=0.001)
    assert len(plan) == 0
    assert network.now < 0.05
    assert len(network.sent) < 10_000 / 20


def test_names_are_found_as_quickly_by_replies_without_number() -> None:
    """As over TCP. They say nothing about the round trip, but that somebody reads what we send."""
    plan = SearchPlan()
    plan.add(names(10_000), 0.0)
    network = Network(plan, numbered=False)
    network.run(10.0, answers=lambda name: True, round_trip=0.001)
    assert len(plan) == 0
    assert network.now < 0.05
    assert len(network.sent) < 10_000 / 20
    assert plan.round_trip == pytest.approx(0.032)


def test_only_a_datagram_that_is_answered_earns_credits_and_only_once() -> None:
    """Not replies to names that nobody waits for, nor the replies to its other names."""
    histories = []
    for nonsense in (False, True):
        plan = SearchPlan()
        ids = plan.add(names(10_000), 0.0)
        [datagram, *_] = plan.due(1.0)
        for cid, _ in datagram.searches if nonsense else datagram.searches[:1]:
            plan.reply(cid, None, 1.0)
        if nonsense:
            for cid in (*range(20_000, 21_000), *(cid for cid, _ in datagram.searches)):
                plan.reply(cid, None, 1.0)
                plan.reply(cid, datagram.sequence, 1.0)
        assert plan.reply(ids[5000], None, 1.0), "never asked for: it was answered by no datagram"
        histories.append(len(plan.due(1.0)))
    assert histories == [2, 2]


def test_names_that_exist_are_found_among_names_that_do_not() -> None:
    plan = SearchPlan()
    pairs = zip(names(5000, "good"), names(5000, "bad"), strict=True)
    plan.add([name for pair in pairs for name in pair], 0.0)
    network = Network(plan)
    network.run(0.1, answers=lambda name: name.startswith("good"))
    assert {name for _, d in network.sent for _, name in d.searches} >= set(names(5000, "good"))
    assert len(plan) == 5000


@item(23)
def test_unanswered_names_do_not_flood() -> None:
    """[23] twenty thousand of them, from the first second to the steady state."""
    longest = 100.0
    plan = SearchPlan(longest)
    plan.add(names(20_000), 0.0)
    network = Network(plan)
    network.run(1200.0)
    assert network.worst_second() <= 130
    # In the steady state each name is asked for once in the longest period, and no more.
    tail = [moment for moment, _ in network.sent if moment > 1200.0 - longest]
    fitting = len(network.sent[0][1].searches)
    assert len(tail) <= 1.2 * 20_000 / fitting
    assert all(plan.status(cid).tries >= 10 for cid in range(1, 20_001, 97))


def test_a_new_name_is_not_held_up_by_a_hundred_thousand_hopeless_ones() -> None:
    plan = SearchPlan()
    plan.add(names(100_000), 0.0)
    network = Network(plan)
    network.run(300.0)
    for index in range(5):  # and some more, one after the other
        begun = network.now
        plan.add([f"new{index}"], begun)
        network.run(begun + 0.005)
        [moment] = network.times(f"new{index}")
        assert moment - begun < 0.005


def test_a_new_name_is_found_soon_also_while_the_flood_is_fresh() -> None:
    plan = SearchPlan()
    plan.add(names(100_000), 0.0)
    network = Network(plan)
    network.run(5.0)
    for index in range(20):
        begun = network.now
        plan.add([f"new{index}"], begun)
        network.run(begun + 0.1)
        assert network.times(f"new{index}")[0] - begun < 0.05


def test_the_oldest_names_are_asked_for_although_new_ones_keep_coming() -> None:
    plan = SearchPlan()
    plan.add(["first"], 0.0)
    network = Network(plan)
    for index in range(100):
        plan.add(names(200, f"flood{index}"), network.now)
        network.run(network.now + 0.1)
    assert len(network.times("first")) >= 3


class Watched:
    """When some names were asked for, as `Network` tells, without keeping all the others."""

    def __init__(self, plan: SearchPlan) -> None:
        self.plan = plan
        self.now = 0.0
        self.moments: dict[int, list[float]] = {}

    def run(self, until: float, answers: Callable[[int], bool] = lambda cid: False) -> None:
        plan = self.plan
        while len(plan) and (moment := max(self.now, plan.next_deadline())) <= until:
            self.now = moment
            for datagram in plan.due(moment):
                for cid, _ in datagram.searches:
                    if cid in self.moments:
                        self.moments[cid].append(moment)
                    if answers(cid):
                        plan.reply(cid, datagram.sequence, moment)
        self.now = until

    def add(self, texts: Iterable[str], *, lost: bool = False) -> list[int]:
        ids = self.plan.add(texts, self.now, lost=lost)
        self.moments |= {cid: [] for cid in ids}
        return ids


#: A name that is due is asked for by one of the next two or three datagrams.
SOON = 0.05


def assert_asked_as_if_alone(moments: list[float], added: float, lost: bool) -> None:
    """For half a minute; each rest may last a moment longer."""
    alone = Watched(SearchPlan())
    [cid] = alone.add(["x"], lost=lost)
    alone.run(100.0)
    expected = alone.moments[cid]
    assert moments[0] - added <= SOON
    rests = intervals(expected)
    searches = bisect.bisect(expected, 28.0)
    assert len(moments) > searches
    for gap, rest in zip(intervals(moments)[:searches], rests[:searches], strict=True):
        assert gap <= rest + SOON


@pytest.mark.parametrize(
    "number, moments, lost",
    [
        (10_000, [0.003, 1.0, 10.0, 60.0], False),
        (10_000, [0.003, 1.0, 10.0, 60.0], True),
        (40_000, [0.003, 1.0, 10.0, 60.0, 200.0, 700.0], False),
        (100_000, [1.0, 100.0], True),
        pytest.param(
            40_000, [0.003, 1.0, 10.0, 60.0, 200.0, 700.0], True, marks=pytest.mark.thorough
        ),
        pytest.param(100_000, [1.0, 100.0], False, marks=pytest.mark.thorough),
    ],
)
def test_a_name_is_asked_for_in_a_flood_as_if_it_were_alone(
    number: int, moments: list[float], lost: bool
) -> None:
    """Whenever it is added, and although the first searches remain without answer."""
    watched = Watched(SearchPlan(jitter=lambda: 0.5))
    watched.plan.add(names(number), 0.0)
    added = {}
    for moment in moments:
        watched.run(moment)
        [added[moment]] = watched.add([f"x{moment}"], lost=lost)
    watched.run(moments[-1] + 45.0)
    for moment, cid in added.items():
        assert_asked_as_if_alone(watched.moments[cid], moment, lost)


def test_a_name_that_was_there_before_a_flood_goes_on_as_if_it_were_alone() -> None:
    watched = Watched(SearchPlan())
    [cid] = watched.add(["x"], lost=True)
    watched.run(1.0)
    watched.plan.add(names(100_000), 1.0)
    watched.run(40.0)
    assert_asked_as_if_alone(watched.moments[cid], 0.0, lost=True)


def test_each_name_of_a_flood_is_asked_for_again_and_again() -> None:
    """Its rest, at most twice the one before, and then all the others may come first."""
    watched = Watched(SearchPlan())
    flood = watched.add(names(10_000))
    watched.run(2000.0)
    whole_round = 10_000 / 20 * 0.016  # twenty names in a datagram, one datagram in 16 ms
    for cid in flood:
        moments = watched.moments[cid]
        gaps = [*intervals(moments), watched.now - moments[-1]]
        assert all(gap <= min(300.0, 2 * before) + 4 * whole_round
                   for before, gap in zip([1.0, *gaps], gaps, strict=False))


def test_names_that_are_lost_after_a_hundred_floods_rest_a_second_or_two() -> None:
    """As when many screens with bad names were opened, one after the other."""
    watched = Watched(SearchPlan())
    for index in range(100):
        watched.plan.add(names(1000, f"screen{index}"), watched.now)
        watched.run(watched.now + 0.5)
    lost = watched.add(names(500, "lost"), lost=True)
    watched.run(watched.now + 30.0)
    for cid in lost:
        moments = watched.moments[cid]
        assert max(intervals(moments)) <= 3.0
        assert len(moments) >= 15


def test_servers_that_stay_away_do_not_hold_up_those_that_come_back() -> None:
    """A thousand servers are lost one after the other; all but the last ten come back."""
    watched = Watched(SearchPlan())
    servers = []
    for index in range(1000):
        servers.append(watched.plan.add(names(100, f"ioc{index}"), watched.now, lost=True))
        watched.run(watched.now + 0.01)
    dead = {cid for ids in servers[-10:] for cid in ids}
    watched.run(watched.now + 10.0, answers=lambda cid: cid not in dead)
    assert len(watched.plan) == len(dead)


def test_nobody_starves_while_new_names_keep_coming() -> None:
    """Each second a thousand names that nobody has, given up five seconds later."""
    watched = Watched(SearchPlan())
    flood = watched.add(names(2000))
    given_up: list[list[int]] = []
    for index in range(1200):
        given_up.append(watched.plan.add(names(100, f"new{index}"), watched.now))
        if index >= 50:
            watched.plan.remove(given_up[index - 50])
        watched.run(watched.now + 0.1)
    # One datagram of four is for the 7,000 that wait at most, so it takes 22 s to be rid of them;
    # no rest is longer than that in the first minute.
    for cid in flood:
        moments = [0.0, *watched.moments[cid], watched.now]
        assert all(after <= 2 * before + 30.0 for before, after in zip(moments, moments[1:]))


def test_lost_names_stay_on_short_intervals_for_half_a_minute() -> None:
    plan = SearchPlan()
    [cid] = plan.add(["lost"], 100.0, lost=True)
    assert plan.status(cid).lost
    network = Network(plan, now=100.0)
    network.run(130.0)
    moments = network.times("lost")
    assert moments[0] == pytest.approx(100.0, abs=0.005)
    assert all(gap <= 1.1 for gap in intervals(moments))
    network.run(2000.0)
    later = intervals(moment for moment in network.times("lost") if moment > 131.0)
    assert later[-1] > 200


def test_500_lost_names_are_found_quickly_when_their_server_is_back() -> None:
    """Beside a crowd of names that nobody has."""
    plan = SearchPlan()
    plan.add(names(20_000, "nobody"), 0.0)
    network = Network(plan)
    network.run(400.0)
    lost = plan.add(names(500, "lost"), network.now, lost=True)
    network.run(network.now + 7.3)
    back = network.now
    network.run(back + 2.5, answers=lambda name: name.startswith("lost"))
    assert not [cid for cid in lost if cid in plan]


@item(29)
def test_beacon_anomaly_brings_long_waiting_names_back() -> None:
    """[29] at once, and then at an interval of at most about 10 s."""
    plan = SearchPlan(jitter=lambda: 1.0)
    plan.add(["x"], 0.0)
    network = Network(plan)
    network.run(1000.0)
    before = len(network.times("x"))
    plan.beacon_anomaly(network.now)
    network.run(1020.0)
    moments = network.times("x")[before:]
    assert moments[0] - 1000.0 <= 1.0
    assert moments[1] - moments[0] <= 10.0
    network.run(1300.0)
    gaps = intervals(network.times("x")[before:])
    assert gaps[1] == pytest.approx(2 * gaps[0], rel=0.05)


def test_beacon_anomaly_leaves_quick_names_alone() -> None:
    one, two = SearchPlan(), SearchPlan()
    histories = []
    for plan, disturbed in ((one, False), (two, True)):
        plan.add(["x"], 0.0)
        network = Network(plan)
        network.run(5.0)
        if disturbed:
            plan.beacon_anomaly(network.now)
        network.run(9.0)
        histories.append(network.times("x"))
    assert histories[0] == histories[1]


def test_many_anomalies_do_not_flood() -> None:
    plan = SearchPlan()
    plan.add(names(10_000), 0.0)
    network = Network(plan)
    network.run(2000.0)
    for _ in range(50):
        plan.beacon_anomaly(network.now)
        network.run(network.now + 0.1)
    assert network.worst_second(after=2000.0) <= 130


def test_search_now_begins_anew() -> None:
    plan = SearchPlan()
    plan.add(["x"], 0.0)
    network = Network(plan)
    network.run(1000.0)
    before = len(network.times("x"))
    plan.search_now(network.now)
    network.run(1001.0)
    moments = network.times("x")[before:]
    assert moments[0] == 1000.0
    assert intervals(moments)[0] == pytest.approx(0.032, abs=0.005)


def test_facts_for_people() -> None:
    plan = SearchPlan()
    [cid] = plan.add(["x"], 10.0)
    facts = plan.status(cid)
    assert (facts.name, facts.tries, facts.last_sent, facts.lost) == ("x", 0, -math.inf, False)
    plan.due(10.01)
    facts = plan.status(cid)
    assert (facts.tries, facts.last_sent) == (1, 10.01)
    assert facts.next_due == pytest.approx(10.042)
    plan.remove([cid])
    with pytest.raises(CaprotoKeyError):
        plan.status(cid)


def test_a_late_driver_does_not_make_up_for_lost_time() -> None:
    """After the computer slept for an hour, one search per name, not all that were missed."""
    plan = SearchPlan()
    plan.add(["x"], 0.0)
    plan.due(1.0)
    assert sum(len(datagram.searches) for datagram in plan.due(3600.0)) == 1


def test_deadlines_are_worth_waking_up_for() -> None:
    """A driver that sleeps until each deadline does not spin."""
    plan = SearchPlan()
    plan.add(names(1000), 0.0)
    now, wake_ups = 0.0, 0
    while now < 100.0:
        now = max(now, plan.next_deadline())
        plan.due(now)
        wake_ups += 1
        assert plan.next_deadline() > now
    assert wake_ups < 100 * 130


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 60), st.booleans()),
            st.tuples(st.just("pass"), st.floats(0, 400), st.booleans()),
            st.tuples(st.just("reply"), st.integers(0, 200), st.booleans()),
            st.tuples(st.just("remove"), st.integers(0, 200), st.booleans()),
            st.tuples(st.just("anomaly"), st.just(0), st.booleans()),
        ),
        max_size=40,
    )
)
@settings(max_examples=100)
def test_no_name_is_ever_forgotten_or_asked_for_in_vain(steps: list[tuple]) -> None:
    """Whatever happens: what is searched for is live, and what is live is searched for."""
    plan = SearchPlan(max_period=60.0)
    now, live, last = 0.0, {}, 1
    for action, value, flag in steps:
        if action == "add":
            live |= dict.fromkeys(plan.add(names(value), now, lost=flag))
        elif action == "pass":
            now += value
        elif action == "anomaly":
            (plan.search_now if flag else plan.beacon_anomaly)(now)
        elif value in live:
            del live[value]
            if action == "reply":
                assert plan.reply(value, last if flag else None, now)
            else:
                plan.remove([value])
        for datagram in plan.due(now):
            last = datagram.sequence
            assert size(datagram) <= 1024
            assert {cid for cid, _ in datagram.searches} <= set(live)
    assert len(plan) == len(live)
    seen: set[int] = set()
    until = now + 200.0
    while now < until and plan.next_deadline() < until:
        now = max(now, plan.next_deadline())
        seen |= {cid for datagram in plan.due(now) for cid, _ in datagram.searches}
    assert seen == set(live)
