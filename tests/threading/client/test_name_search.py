"""Searches for names without a Context."""
from __future__ import annotations

import queue

import pytest

from caproto import CaprotoKeyError
from caproto.threading import _waiting
from caproto.threading.client._name_search import NameSearches

SERVER = ("10.0.0.9", 5064)


class FakeSearches:
    """Notes which searches are open."""

    def __init__(self) -> None:
        self.open: dict = {}

    def search(self, search, names, keys) -> None:
        self.open[search] = keys

    def forget(self, search) -> None:
        self.open.pop(search, None)


@pytest.fixture
def searches() -> FakeSearches:
    return FakeSearches()


def test_answers_come_through_the_queue(searches):
    results: queue.Queue = queue.Queue()
    names = NameSearches(searches)
    names.begin(results, ["a", "b"], None)
    ((search, keys),) = searches.open.items()
    assert keys == [("a", 0), ("b", 0)]
    search.found(SERVER, 13, [("b", 0)])
    assert results.get_nowait() == (SERVER, ["b"]) and searches.open
    search.found(SERVER, 13, [("a", 0)])
    assert results.get_nowait() == (SERVER, ["a"])
    assert not searches.open, "all are found"


def test_cancelled_names_are_not_searched_any_more(searches):
    results: queue.Queue = queue.Queue()
    names = NameSearches(searches)
    names.begin(results, ["a", "b"], None)
    names.begin(results, ["c"], None)
    (old, _) = searches.open
    names.cancel(["a", "unknown"])
    assert list(searches.open.values()) == [[("c", 0)], [("b", 0)]]
    names.cancel(["b", "c"])
    assert not searches.open
    old.found(SERVER, 13, [("a", 0), ("b", 0)])  # was under way


def test_after_the_time_nothing_comes_and_the_search_ends(searches, monkeypatch):
    results: queue.Queue = queue.Queue()
    now = 100.0
    monkeypatch.setattr(_waiting, "now", lambda: now)
    names = NameSearches(searches)
    names.begin(results, ["a", "b"], 5.0)
    (search,) = searches.open
    search.searching()
    assert searches.open
    now = 105.0
    search.found(SERVER, 13, [("a", 0)])
    assert results.empty()
    search.searching()
    assert not searches.open


def test_results_are_remembered_for_some_time(searches, monkeypatch):
    now = 100.0
    monkeypatch.setattr(_waiting, "now", lambda: now)
    names = NameSearches(searches)
    names.begin(queue.Queue(), ["a"], None)
    with pytest.raises(CaprotoKeyError, match="'a'"):
        names.result("a", 10.0)
    (search,) = searches.open
    search.found(SERVER, 13, [("a", 0)])
    now = 110.0
    assert names.result("a", 10.0) == SERVER
    now = 110.1
    with pytest.raises(CaprotoKeyError, match="'a' was not found by a search in the last 10.0 s"):
        names.result("a", 10.0)


def test_the_other_events_mean_nothing_here(searches):
    names = NameSearches(searches)
    names.begin(queue.Queue(), ["a"], None)
    (search,) = searches.open
    search.beacon(SERVER, True)
    search.found_elsewhere(("a", 0), SERVER, SERVER)
    assert search.last_heard() == {}
