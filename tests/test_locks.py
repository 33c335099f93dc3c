"""The lock: who holds it, and that no interrupt leaves it taken."""
from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections.abc import Callable

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


# ---- finalizers ----------------------------------------------------------------------------------


def collect_with(finalizer: Callable[[], object], collect: Callable[[], object]) -> None:
    """Have *finalizer* run by the garbage collector inside *collect*."""

    class Garbage:
        def __init__(self) -> None:
            self.myself = self

        def __del__(self) -> None:
            finalizer()

    gc.collect()
    Garbage()
    collect()


def function_of(module: str, body: str, **names: object) -> Callable[[], object]:
    """Make a function, with one statement, as if it were written in *module*."""
    scope = {"__name__": module, "gc": gc, "contextlib": contextlib, **names}
    exec(f"def function():\n    {body}", scope)
    return scope["function"]


COLLECT = "gc.collect()"


def told(collect: Callable[[], object]) -> bool:
    """What `held` says, of a lock that is free, in a finalizer that runs inside *collect*."""
    lock, seen = _locks.Lock(), []
    collect_with(lambda: seen.append(_locks.held(lock)), collect)
    [answer] = seen
    return answer


def test_a_finalizer_inside_a_function_of_ours_may_wait_for_no_lock():
    """A signal handler in another thread may hold it, and wait for the one that we hold."""
    assert told(function_of("caproto.threading.client", COLLECT))


def test_the_standard_library_counts_as_whoever_called_it():
    close = "with contextlib.ExitStack() as stack: stack.callback(gc.collect)"
    assert told(function_of("caproto.threading.client", close))
    assert not told(function_of("plots", close))


def test_a_finalizer_inside_code_of_the_user_may_wait():
    assert not told(function_of("plots", COLLECT))
    callback = function_of("plots", COLLECT)
    assert not told(function_of("caproto.threading.client", "callback()", callback=callback))


def test_outside_a_finalizer_nothing_is_refused():
    lock = _locks.Lock()
    seen: list[bool] = []
    function_of("caproto.x", "look()", look=lambda: seen.append(_locks.held(lock)))()
    assert seen == [False]


def test_a_stale_note_of_the_collector_is_harmless():
    """Ctrl-C may strike before its end is noted."""
    frames: list[object] = []
    function_of("caproto.x", "look()", look=lambda: frames.append(sys._getframe(1)))()
    _locks.collecting[threading.get_ident()] = frames[0]
    try:
        assert not _locks.held(_locks.Lock())
    finally:
        _locks.collecting.clear()
