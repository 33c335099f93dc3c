"""Searchers: who is known, and who is gone."""
from __future__ import annotations

import gc

import pytest

from caproto._os.sockets import READABLE, WakeUp, poll
from caproto.threading.client._searchers import Searchers


class Somebody:
    """As equal as can be: what counts is identity."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


@pytest.fixture
def wakeup():
    made = WakeUp()
    yield made
    made.close()


@pytest.fixture
def searchers(wakeup):
    return Searchers(wakeup)


def woken(wakeup: WakeUp) -> bool:
    return bool(poll({wakeup: READABLE}, 0))


def test_one_token_for_each(searchers, wakeup):
    one, two = Somebody(), Somebody()
    token = searchers.token(one)
    assert searchers.token(one) is token is not searchers.token(two)
    assert token.searcher() is one
    assert searchers.tokens(Somebody()) == []
    assert [searcher is one for searcher in searchers.living()] == [True, False]
    assert searchers.gone() == [] and not woken(wakeup)


def test_what_dies_is_given_out_once(searchers, wakeup):
    one, two = Somebody(), Somebody()
    token, other = searchers.token(one), searchers.token(two)
    del one
    gc.collect()
    assert woken(wakeup)
    assert token.searcher() is None and searchers.living() == [two]
    assert searchers.gone() == [token] and searchers.gone() == []
    assert searchers.tokens(two) == [other]


def test_what_is_forgotten_is_like_dead_and_may_come_again(searchers, wakeup):
    one = Somebody()
    token = searchers.token(one)
    searchers.forget(one)
    searchers.forget(one)
    searchers.forget(Somebody())
    assert woken(wakeup)
    assert token.searcher() is None and searchers.living() == []
    again = searchers.token(one)
    assert again is not token
    assert searchers.gone() == [token]
    assert searchers.token(one) is again


def test_a_new_object_at_the_old_place_is_another_one(searchers):
    """The system gives the same identity again and again."""
    for _ in range(100):
        one = Somebody()
        assert searchers.tokens(one) == []
        searchers.token(one)
        del one
    assert searchers.living() == []
