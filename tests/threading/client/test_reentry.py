"""Calls from inside a call of ours: when there is nothing to wait for, and what the error says."""
from __future__ import annotations

import gc
import sys
import threading
from _thread import RLock
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType

import pytest

from caproto import CaprotoRuntimeError, ReentrantCallError, _locks
from caproto._client.announcements import Announcements
from caproto.threading import _waiting
from caproto.threading.client import Batch, Context, _reentry, _sending
from tests.harness.fake_server import FakeServer


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


def test_a_thread_that_is_being_started_must_not_wait():
    """A finalizer may run in its first steps, even before ``threading`` knows its ident."""
    seen: list[bool] = []

    class Young(threading.Thread):
        def _set_ident(self) -> None:
            seen.append(_reentry.must_not_wait(()))
            super()._set_ident()  # type: ignore[misc]

    thread = Young(target=lambda: seen.append(_reentry.must_not_wait(())))
    _waiting.start_thread(thread)
    thread.join()
    assert seen == [True, False]


def test_a_thread_that_starts_another_one_must_not_wait():
    seen: list[bool] = []

    class Starting(threading.Thread):
        def start(self) -> None:
            seen.append(_reentry.must_not_wait(()))
            other = threading.Thread(target=lambda: seen.append(_reentry.must_not_wait(())))
            other.start()
            other.join()

    _waiting.start_thread(Starting())
    seen.append(_reentry.must_not_wait(()))
    assert seen == [True, False, False]


def test_a_start_that_is_over_does_not_matter(monkeypatch):
    """Ctrl-C may leave it listed."""
    monkeypatch.setattr(_waiting, "starting", [threading.Thread(target=print)])
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


class AskedLock:
    """A lock of ours that tells when the thread of the test takes it without having noted that."""

    #: Where, in the call of the moment.
    offences: set[str] = set()

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_owned = self._lock._is_owned  # type: ignore[attr-defined]

    def acquire(self) -> None:
        asked = _reentry.entered.get(threading.get_ident(), ())
        if threading.current_thread() is threading.main_thread() and self not in asked:
            frame: FrameType | None = sys._getframe(1)
            assert frame is not None
            self.offences.add(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        self._lock.acquire()

    __enter__ = acquire

    def release(self) -> None:
        self._lock.release()

    def __exit__(self, *_: object) -> None:
        self.release()


def ignore(*_arguments: object) -> None:
    """A callback."""


def batch(ctx: Context) -> None:
    x, y = ctx.get_pvs("x", "y")
    with Batch(timeout=5) as block:
        block.read(x, ignore)
        block.write(y, 1, ignore)
        block.write(y, 2)


def listen(ctx: Context) -> None:
    (x,) = ctx.get_pvs("x")
    token = x.subscribe("control").add_callback(ignore)
    x.subscribe("control").add_callback(ignore)
    x.subscribe("control").remove_callback(token)
    x.unsubscribe_all()
    token = x.connection_state_callback.add_callback(ignore)
    x.connection_state_callback.remove_callback(token)
    ctx.watch_connections(ignore).close()


def go_idle(ctx: Context) -> None:
    x, y = ctx.get_pvs("x", "y")
    x.go_idle()
    x.read()
    y.go_idle()
    ctx.read("x", "y")
    x.go_idle()
    x.wait_for_connection()


def lose(ctx: Context) -> None:
    x = ctx.get_pv("x")
    assert x.circuit_manager
    x.circuit_manager.disconnect()
    x.read()


def look(ctx: Context) -> None:
    x = ctx.get_pv("x")
    assert x.info() and x.metadata and ctx.explain("x") and x.circuit_manager
    x.time_since_last_heard()
    x.circuit_manager.events_off()
    x.circuit_manager.events_on()
    ctx.broadcaster.search_now()
    assert repr(ctx) and repr(ctx.broadcaster) and repr(x.circuit_manager)


def use_table(ctx: Context) -> None:
    table = ctx.table(["x", "y"])
    table.read()
    table.write([1.5, 2.5])
    table.write(1.5, wait=False)
    for idle in (table.read, lambda: table.write(1.5), table.wait_for_connection):
        ctx.get_pv("x").go_idle()
        idle()
    assert repr(table) and len(table.values) == len(table.connected) == 2


def use_monitors(ctx: Context) -> None:
    table = ctx.table(["x", "y"])
    with table.monitor() as live, table.record(timeout=5) as recording:
        live.wait(5)
        live.wait(0)
        live.snapshot()
        live.changed(0)
        live.column("values")
        next(recording)
        assert len(table.values) == 2 and repr(live) and repr(recording)
    table.monitor(ignore).close()
    table.close()


USES: dict[str, Callable[[Context], object]] = {
    "read": lambda ctx: ctx.get_pv("x").read(),
    "read, callback": lambda ctx: ctx.get_pv("x").read(wait=False, callback=ignore),
    "write": lambda ctx: ctx.get_pv("x").write(1),
    "write, no wait": lambda ctx: ctx.get_pv("x").write(1, wait=False),
    "write, array": lambda ctx: ctx.get_pv("x").write([1]),
    "new": lambda ctx: ctx.get_pvs("z"),
    "batch": batch,
    "read many": lambda ctx: ctx.read("x", "y"),
    "write many": lambda ctx: ctx.write({"x": 1, "y": 2}),
    "listen": listen,
    "go_idle": go_idle,
    "look": look,
    "table": use_table,
    "monitors": use_monitors,
    "lose": lose,
}


def test_each_call_asks_for_the_locks_that_it_takes(
    start_server: Callable[..., FakeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if a signal handler uses another Context before it, and whenever it waits."""
    monkeypatch.setattr(_locks, "Lock", AskedLock)
    server = start_server({"x": 1.5, "y": 2.5, "z": 3.5})
    others = (_locks.Lock(),)
    wait = _waiting.Latched.wait_until

    def interrupted_wait(latched: _waiting.Latched, deadline: _waiting.Deadline) -> bool:
        filled = wait(latched, deadline)
        _reentry.enter(others)
        return filled

    class InterruptedQueue(SimpleQueue):  # type: ignore[type-arg]
        def get(self, block: bool = True, timeout: float | None = None) -> object:
            thing = super().get(block, timeout)
            _reentry.enter(others)
            return thing

    found: dict[str, set[str]] = {}
    ctx = Context(configuration=server.configuration, timeout=5)
    for pv in ctx.get_pvs("x", "y"):
        pv.read()
    monkeypatch.setattr(_waiting.Latched, "wait_until", interrupted_wait)
    monkeypatch.setattr(_sending, "SimpleQueue", InterruptedQueue)
    for name, use in USES.items():
        _reentry.enter(others)
        monkeypatch.setattr(AskedLock, "offences", set())
        use(ctx)
        if AskedLock.offences:
            found[name] = AskedLock.offences.copy()
    ctx.disconnect()
    assert found == {}


def test_a_lock_that_was_not_asked_for_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AskedLock, "offences", set())
    one, two = AskedLock(), AskedLock()
    assert not _reentry.inside((one,))  # type: ignore[arg-type]
    with one:
        pass
    assert not AskedLock.offences
    with two:
        pass
    assert len(AskedLock.offences) == 1
