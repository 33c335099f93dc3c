"""The callbacks of one PV."""
from __future__ import annotations

import gc

from caproto.threading.pyepics_compat._callbacks import Callbacks, Forward, guarded


def test_indices_count_from_the_largest():
    callbacks = Callbacks(None)
    assert [callbacks.add(print, None, {}) for _ in range(2)] == [1, 2]
    assert callbacks.add(print, 10, {"a": 1}) == 10 and callbacks.add(print, None, {}) == 11
    callbacks.remove(11)
    callbacks.remove(None)
    assert list(callbacks.entries) == [1, 2, 10]
    callbacks.clear()
    assert callbacks.entries == {}


def test_a_change_leaves_those_that_iterate_alone():
    callbacks = Callbacks([print, repr])
    before = callbacks.entries
    callbacks.add(print, None, {})
    assert len(before) == 2 and len(callbacks.entries) == 3


def test_forwarding_keeps_nothing_alive():
    class Owner:
        taken: list = []

        def take_update(self, response):
            self.taken.append(response)

    owner = Owner()
    forward = Forward(owner)
    forward(1)
    del owner
    gc.collect()
    forward(2)
    assert Owner.taken == [1]


def test_errors_are_logged_with_the_name(caplog):
    def wrong():
        raise ValueError("on purpose")

    guarded(wrong, (), {}, "motor")
    assert "'motor'" in caplog.text and "on purpose" in caplog.text
