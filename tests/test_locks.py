"""The lock: who holds it, and that no interrupt leaves it taken."""
from __future__ import annotations

import threading

from caproto import _locks


def test_a_thread_knows_which_locks_it_holds_itself():
    one, two = _locks.Lock(), _locks.Lock()
    assert not _locks.held(one, two)
    with two:
        assert _locks.held(one, two)
        assert not _locks.held(one)
        seen: list[bool] = []
        other = threading.Thread(target=lambda: seen.append(_locks.held(one, two)))
        other.start()
        other.join()
        assert seen == [False]
    assert not _locks.held(one, two)


def test_taking_the_lock_is_one_step_of_the_interpreter():
    """A lock written in Python could be interrupted between taking it and saying so."""
    assert type(_locks.Lock()).__module__ == "_thread"
