"""What the callbacks of one PV are told, when two circuits' threads do the telling."""
from __future__ import annotations

import gc
import logging
import threading
import weakref

import pytest

from caproto._client.announcements import Announcements, PVCallback


class FakePV:
    log = logging.getLogger("caproto.ch")


def listener(function, knows=None) -> PVCallback:
    return PVCallback(weakref.ref(function), knows)


class Callback:
    """Notes what it is told; may be made to wait."""

    def __init__(self) -> None:
        self.told: list = []
        self.gate: threading.Event | None = None
        self.entered = threading.Event()

    def __call__(self, pv, news) -> None:
        self.told.append(news)
        if self.gate is not None:
            self.entered.set()
            assert self.gate.wait(10)


@pytest.fixture
def announcements():
    return Announcements(FakePV(), threading.Lock())


@pytest.fixture
def callback(announcements):
    """One that knows nothing yet."""
    made = Callback()
    announcements.add(listener(made))
    return made


def test_in_the_order_of_noting(announcements, callback):
    for news in ("connected", "disconnected", "connected"):
        announcement, argument = announcements.note(news)
        announcement.deliver(argument)
    assert callback.told == ["connected", "disconnected", "connected"]


def test_who_comes_first_tells_what_is_earlier(announcements, callback):
    """The second circuit's thread is quicker than the first one's."""
    lost, _ = announcements.note("disconnected")
    found, _ = announcements.note("connected")
    announcements.note("disconnected")
    found.deliver(None)
    assert callback.told == ["disconnected", "connected"]
    lost.deliver(None)
    assert callback.told == ["disconnected", "connected"]


def test_one_thread_at_a_time_and_the_other_does_not_wait(announcements, callback):
    callback.gate = threading.Event()
    lost, _ = announcements.note("disconnected")
    found, _ = announcements.note("connected")
    thread = threading.Thread(target=lost.deliver, args=(None,))
    thread.start()
    try:
        assert callback.entered.wait(10)
        found.deliver(None)  # returns although the callback is still busy with the first
        assert callback.told == ["disconnected"]
    finally:
        callback.gate.set()
        thread.join(10)
    assert callback.told == ["disconnected", "connected"]


def test_what_one_knows_is_not_told_again(announcements):
    new, late = Callback(), Callback()
    announcements.add(listener(new, knows="disconnected"))
    for news in ("disconnected", "connected", "connected"):
        announcements.note(news)[0].deliver(None)
    one = listener(late)
    announcements.add(one)
    announcements.note("connected", listener=one)[0].deliver(None)
    announcements.note("connected")[0].deliver(None)
    announcements.note("disconnected")[0].deliver(None)
    assert new.told == late.told == ["connected", "disconnected"]


def test_the_same_news_about_another_fact_are_told(announcements, callback):
    for fact in ((1, "READ"), (1, "READ"), (2, "READ")):
        announcements.note("READ", fact)[0].deliver(None)
    assert callback.told == ["READ", "READ"]


def test_what_was_noted_before_is_not_for_who_comes_later(announcements):
    announcement, _ = announcements.note("connected")
    late = Callback()
    announcements.add(listener(late))
    announcement.deliver(None)
    assert late.told == []


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_an_error_of_the_user_is_logged_and_the_next_one_is_told(announcements, caplog, error):
    def fails(pv, news):
        raise error("the user's mistake")

    good = Callback()
    announcements.add(listener(fails))
    announcements.add(listener(good))
    announcements.note("connected")[0].deliver(None)
    assert good.told == ["connected"]
    assert "the user callback" in caplog.text and "the user's mistake" in caplog.text


def test_the_dead_are_forgotten(announcements, callback):
    for _ in range(100):
        announcements.add(listener(Callback()))
    gc.collect()
    announcements.add(listener(callback), announcements.dead())
    assert len(announcements.note("connected")[0].listeners) == 2


def test_one_that_is_cancelled_hears_nothing_more_and_is_forgotten(announcements, callback):
    late = Callback()
    cancelled = listener(late)
    announcements.add(cancelled)
    announcement, argument = announcements.note("connected")
    cancelled.cancel()
    announcement.deliver(argument)
    assert late.told == [] and callback.told == ["connected"]
    assert announcements.dead() == {cancelled}


def test_a_last_reference_goes_where_no_lock_is_held(announcements):
    """Another thread gives the callback up while we look whether it is alive."""
    gone: list = []

    class Last:
        def __del__(self) -> None:
            gone.append(True)

    last = [Last()]
    announcements.add(PVCallback(last.pop))
    assert announcements.dead() == set() and gone
    announcements.add(PVCallback(lambda: None))  # looks at nothing: the list is empty by now


def test_one_with_a_token_can_be_listed_and_removed(announcements):
    told, others = [], []

    def named(pv, news):
        told.append(news)

    def other(pv, news):
        others.append(news)

    one = listener(named)
    one.token = 7
    announcements.add(one)
    announcements.add(listener(other))
    assert announcements.functions() == {7: named}
    announcements.remove(7)
    assert announcements.functions() == {} and announcements.dead() == set()
