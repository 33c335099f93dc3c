"""Calls from inside a call of ours: when there is nothing to wait for, and what the error says."""
from __future__ import annotations

import gc
import threading
from _thread import RLock, start_new_thread
from queue import SimpleQueue

import pytest

from caproto import CaprotoRuntimeError, ReentrantCallError, _locks
from caproto._client.announcements import Announcements
from caproto.threading import _waiting
from caproto.threading.client import _reentry


def test_a_thread_without_our_locks_may_wait():
    assert not _reentry.must_not_wait((_locks.Lock(), _locks.Lock()))


def test_a_thread_that_holds_one_of_the_locks_must_not_wait():
    one, two, other = RLock(), RLock(), RLock()
    with two:
        assert _reentry.must_not_wait((one, two))
        assert not _reentry.must_not_wait((one, other))
    assert not _reentry.must_not_wait((one, two))


def test_another_thread_that_holds_one_is_waited_for():
    lock, taken, go_on = RLock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            assert go_on.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(10)
    assert not _reentry.must_not_wait((lock,))
    go_on.set()
    thread.join()


def test_a_thread_that_holds_a_lock_of_its_last_call_must_not_wait_for_others():
    one, two = (RLock(), RLock()), (RLock(),)
    assert not _reentry.must_not_wait(one)
    with one[1]:  # a section of that call
        assert _reentry.must_not_wait(two)
        assert _reentry.must_not_wait(two)  # it was not entered
    assert not _reentry.must_not_wait(two)


def test_the_last_call_of_another_thread_does_not_matter():
    lock = RLock()
    thread = threading.Thread(target=_reentry.must_not_wait, args=((lock,),))
    thread.start()
    thread.join()
    with lock:
        assert not _reentry.must_not_wait((RLock(),))


def test_a_thread_that_serves_a_socket_must_not_wait():
    with _reentry.serving():
        assert _reentry.must_not_wait(())
        seen: list[bool] = []
        thread = threading.Thread(target=lambda: seen.append(_reentry.must_not_wait(())))
        thread.start()
        thread.join()
        assert seen == [False]
    assert not _reentry.must_not_wait(())


class Listed(threading.Thread):
    """As a thread is listed while it is started: with the ident of this thread, and not alive."""

    ident = property(lambda self: threading.get_ident())


def test_a_thread_whose_starter_waits_for_it_must_not_wait(monkeypatch):
    """A finalizer may run in its first steps, before it has said that it serves a socket."""
    monkeypatch.setattr(_waiting, "starting", [Listed()])
    seen: SimpleQueue[bool] = SimpleQueue()
    start_new_thread(lambda: seen.put(_reentry.must_not_wait(())), ())
    assert seen.get(timeout=10)


def test_one_that_was_listed_under_the_same_ident_and_has_ended_does_not_matter(monkeypatch):
    monkeypatch.setattr(_waiting, "starting", [Listed()])
    assert not _reentry.must_not_wait(())


def test_threads_are_listed_while_they_are_started():
    seen: list[bool] = []

    class Starting(threading.Thread):
        def start(self) -> None:
            seen.append(self in _waiting.starting)

    thread = Starting()
    _waiting.start_thread(thread)
    assert seen == [True] and thread not in _waiting.starting


def test_the_child_of_a_fork_has_none_of_the_threads_of_its_parent():
    lock = RLock()
    with _reentry.serving(), lock:
        assert not _reentry.inside(()) and _reentry.must_not_wait(())
        _reentry.enter((lock,))
        _reentry._after_fork()
        assert not _reentry.must_not_wait(())


def test_the_mark_goes_when_the_thread_fails():
    with pytest.raises(ZeroDivisionError), _reentry.serving():
        raise ZeroDivisionError
    assert not _reentry.must_not_wait(())


def test_the_error_names_the_call_and_what_it_interrupted():
    errors: list[ReentrantCallError] = []

    class Listener:
        def function(self):
            errors.append(_reentry.refusal("PV.read('x')"))
            return lambda: None

    announcements = Announcements(None, threading.Lock())  # type: ignore[arg-type]
    announcements.add(Listener())  # type: ignore[arg-type]
    announcements.dead()
    (error,) = errors
    assert isinstance(error, CaprotoRuntimeError)
    assert "PV.read('x')" in str(error)
    assert "Announcements.dead" in str(error)


def test_a_finalizer_that_is_collected_in_a_call_of_ours_is_told_which_one():
    errors: list[ReentrantCallError] = []

    class Widget:
        def __init__(self) -> None:
            self.myself = self

        def __del__(self) -> None:
            errors.append(_reentry.refusal("PV.read('x')"))

    class Listener:
        def function(self):
            gc.collect()

    Widget()
    announcements = Announcements(None, threading.Lock())  # type: ignore[arg-type]
    announcements.add(Listener())  # type: ignore[arg-type]
    announcements.dead()
    (error,) = errors
    assert "Announcements.dead" in str(error)


def test_without_an_interrupted_call_the_error_still_makes_sense():
    assert "a call of caproto's" in str(_reentry.refusal("PV.read('x')"))
