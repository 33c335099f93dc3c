"""Searches go on after an exception, such as a MemoryError, at any line of the plan or the book."""
from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import pytest

from caproto import SearchResponse
from caproto._client.search_book import SearchBook, SearchNews
from caproto._client.search_plan import SearchPlan
from tests.harness.interrupts import strike
from tests.harness.ports import LOOPBACK

NAMES = [f"some:long:record:name:{number:04d}" for number in range(60)]


def fail_at_each_line(prepare: Callable[[], Callable[[], object]]) -> Iterator[str]:
    """Raise a MemoryError at each line of the call that *prepare* returns; yields the places."""
    for line in itertools.count(1):
        places: list[str] = []

        def fail(where: str, places: list[str] = places) -> None:
            places.append(where)
            raise MemoryError

        call = prepare()
        with contextlib.suppress(MemoryError):
            strike(call, line, fail)
        if not places:
            return
        yield places[0]


def found_in_time(plan: SearchPlan[str], now: float) -> set[str]:
    """Answer every search; return the names that were asked for within a minute."""
    found, end = set(), now + 60.0
    while len(plan) and now < end:
        now = max(now, plan.next_deadline())
        for datagram in plan.due(now):
            found |= {name for _, name in datagram.searches}
            for cid, _ in datagram.searches:
                plan.reply(cid, datagram.sequence, now)
    return found


@pytest.mark.parametrize(
    "call",
    [
        lambda plan: plan.due(20.0),
        lambda plan: plan.search_now(20.0),
        lambda plan: plan.beacon_anomaly(20.0),
    ],
)
def test_no_name_is_lost(call: Callable[[SearchPlan[str]], object]) -> None:
    plans: list[SearchPlan[str]] = []

    def prepare() -> Callable[[], object]:
        plan = SearchPlan[str](jitter=lambda: 0.5)
        plans.append(plan)
        plan.add(NAMES[:40], 0.0)
        for step in range(10):  # some wait for credits, some rest
            plan.due(step * 1.5)
        plan.add(NAMES[40:], 19.0)
        return lambda: call(plan)

    places = 0
    for where in fail_at_each_line(prepare):
        assert found_in_time(plans[-1], 20.0) <= set(NAMES)
        assert not len(plans[-1]), f"lost by {where}"
        places += 1
    assert places > 10


def test_what_fails_adds_nothing() -> None:
    plans: list[SearchPlan[str]] = []

    def prepare() -> Callable[[], object]:
        plan = SearchPlan[str]()
        plans.append(plan)
        plan.add(["other"], 0.0)
        return lambda: plan.add(["x", "y"], 0.0)

    for where in fail_at_each_line(prepare):
        assert found_in_time(plans[-1], 0.0) == {"other"}, where


@pytest.mark.parametrize("delay", [0.0, 3.0])
def test_what_could_not_be_added_can_be_added_again(delay: float) -> None:
    books: list[SearchBook[str]] = []

    def prepare() -> Callable[[], object]:
        book = SearchBook[str](0.0, use_repeater=False)
        books.append(book)

        def call() -> None:
            book.add("ctx", ["x", "y"], ["x", "y"], 0.0, delay=delay)
            book.due(delay + 0.5)

        return call

    places = 0
    for where in fail_at_each_line(prepare):
        book, found = books[-1], set()
        book.add("ctx", ["x", "y"], ["x", "y"], 10.0)
        for step in range(10):
            for _, searches in book.due(10.0 + 0.5 * step):
                found |= {name for _, name in searches}
        assert found == {"x", "y"} and book.open_searches(["ctx"]) == len(book) == 2, where
        places += 1
    assert places > 20


def test_an_answer_that_could_not_be_used_is_asked_for_again() -> None:
    book = SearchBook[str](0.0, use_repeater=False)
    book.add("ctx", ["x"], ["x"], 0.0)
    ((_, ((cid, _),)),) = book.due(1.0)
    answer = SearchResponse(5064, LOOPBACK, cid, 13)
    broken, news = SearchNews[str](), SearchNews[str]()
    broken.found = None  # type: ignore[assignment]
    with pytest.raises(TypeError):
        book.received([answer], 1.0, broken)
    assert book.due(2.0) and book.open_searches(["ctx"]) == 1
    book.received([answer], 2.0, news)
    assert [names for names, _ in news.found.values()] == [["x"]]
    assert not len(book) and not book.open_searches(["ctx"])
