"""The callbacks of one PV."""
from __future__ import annotations

import gc

from caproto.threading.pyepics_compat._callbacks import (
    NO_ENTRIES,
    Monitor,
    first_entries,
    guarded,
    with_entry,
    without_entry,
)


def test_indices_count_from_the_largest():
    entries, first = with_entry(NO_ENTRIES, print, None, {})
    entries, second = with_entry(entries, repr, None, {})
    entries, given = with_entry(entries, print, 10, {"a": 1})
    entries, last = with_entry(entries, print, None, {})
    assert (first, second, given, last) == (1, 2, 10, 11)
    entries = without_entry(without_entry(entries, 11), None)
    assert entries == {1: (print, {}), 2: (repr, {}), 10: (print, {"a": 1})}


def test_those_that_are_given_together_count_from_zero():
    assert first_entries(None) is NO_ENTRIES
    assert list(first_entries(print)) == [0]
    assert list(first_entries([print, repr])) == [0, 1]


def test_a_change_leaves_those_that_iterate_alone():
    before = first_entries([print, repr])
    after, _ = with_entry(before, print, None, {})
    assert len(before) == len(without_entry(after, 0)) == 2 and len(after) == 3


class FakeSubscription:
    """Keeps the callback, as a subscription does."""

    def add_callback(self, function, strong):
        assert strong
        self.function = function
        return 7

    def remove_callback(self, token):
        assert token == 7
        self.function = None


def test_a_monitor_keeps_nothing_alive():
    class Owner:
        taken: list = []

        def take_update(self, response):
            self.taken.append(response)

    owner, subscription = Owner(), FakeSubscription()
    monitor = Monitor(owner, subscription)
    subscription.function(1)
    del owner
    gc.collect()
    subscription.function(2)
    assert Owner.taken == [1]
    monitor.end()
    assert subscription.function is None


def test_errors_are_logged_with_the_name(caplog):
    def wrong():
        raise ValueError("on purpose")

    guarded(wrong, (), {}, "motor")
    assert "'motor'" in caplog.text and "on purpose" in caplog.text


def test_errors_of_an_object_that_cannot_be_shown(caplog):
    class Gone:
        def told(self):
            raise RuntimeError("the object has been deleted")

        def __repr__(self):
            raise RuntimeError("the object has been deleted")

    guarded(Gone().told, (), {}, "motor")
    assert "'motor': the user callback " in caplog.text and "Gone.told" in caplog.text
