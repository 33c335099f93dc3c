"""Deadlines, replies, sleeping on sockets."""
from __future__ import annotations

import math
import socket
import threading
import time
from queue import SimpleQueue

import pytest

from caproto._os.sockets import WakeUp
from caproto.threading._waiting import Alarm, Deadline, Ending, OneShot, Poller, join_thread
from tests.harness.interrupts import enter_each_line, in_time


class TestDeadline:
    def test_never(self):
        deadline = Deadline(None)
        assert deadline.remaining() is None
        assert not deadline.expired
        assert deadline.moment == math.inf

    def test_over_at_once(self):
        deadline = Deadline(0)
        assert deadline.remaining() == 0
        assert deadline.expired

    def test_spent_over_several_steps(self):
        deadline = Deadline(100)
        first = deadline.remaining()
        assert 99 < first <= 100
        time.sleep(0.001)
        assert deadline.remaining() < first
        assert not deadline.expired

    def test_never_below_zero(self):
        deadline = Deadline(1e-6)
        time.sleep(0.001)
        assert deadline.remaining() == 0.0
        assert deadline.expired


class TestReply:
    def test_filled_before_the_wait(self):
        reply = OneShot()
        reply.answered("yes")
        assert reply.wait(None)
        assert reply.response == "yes" and reply.error is None

    def test_failure(self):
        reply, error = OneShot(), OSError("lost")
        reply.failed(error)
        assert reply.wait(0)
        assert reply.error is error and reply.response is None

    def test_nothing_came(self):
        reply = OneShot()
        started = time.monotonic()
        assert not reply.wait(0.02)
        assert time.monotonic() - started >= 0.02
        assert not reply.wait(0)

    def test_filled_during_the_wait(self):
        reply = OneShot()
        waiting = threading.Event()

        def fill():
            waiting.wait()
            reply.answered(42)

        thread = threading.Thread(target=fill)
        thread.start()
        waiting.set()
        assert reply.wait(10)
        assert reply.response == 42
        thread.join()

    def test_very_long_timeouts_are_no_error(self):
        reply = OneShot()
        threading.Timer(0.01, reply.answered, [1]).start()
        assert reply.wait(1e300)


class TestEnding:
    def test_it_has_not_come(self):
        ending = Ending()
        assert not ending.is_set()
        assert not ending.wait(0) and not ending.wait(0.01)

    def test_it_came_before_the_wait(self):
        ending = Ending()
        ending.set()
        ending.set()
        assert ending.is_set() and ending.wait() and ending.wait(0)

    def test_all_that_wait_are_woken(self):
        ending = Ending()
        woken: SimpleQueue[bool] = SimpleQueue()
        for timeout in (None, 10, 1e300):
            threading.Thread(target=lambda t=timeout: woken.put(ending.wait(t))).start()
        ending.set()
        assert [woken.get(timeout=10) for _ in range(3)] == [True] * 3

    @pytest.mark.parametrize("call", [Ending.set, lambda ending: ending.wait(0.05)])
    def test_its_methods_may_interrupt_each_other(self, call):
        endings: list[Ending] = []

        def begin() -> None:
            endings.append(Ending())

        def handler() -> None:
            endings[-1].wait(0)
            endings[-1].set()
            assert endings[-1].wait()

        def run() -> int:
            begin()
            lines = enter_each_line(lambda: call(endings[-1]), handler, library=True)
            return len([begin() for _where in lines])

        assert in_time(run) >= 2


@pytest.fixture
def pair():
    """A poller on one end of a connection, the other end, and the wake-up."""
    ours, theirs = socket.socketpair()
    wake = WakeUp()
    yield Poller(ours, wake), ours, theirs, wake
    for thing in (ours, theirs, wake):
        thing.close()


class TestPoller:
    def test_readable(self, pair):
        poller, _, theirs, _ = pair
        theirs.send(b"x")
        assert poller.wait(time.monotonic() + 10) == (True, False)

    def test_writable_only_if_asked(self, pair):
        poller, *_ = pair
        assert poller.wait(time.monotonic() + 10, writing=True) == (False, True)
        assert poller.wait(time.monotonic(), writing=False) == (False, False)

    def test_deadline_is_not_missed_nor_early(self, pair):
        poller, *_ = pair
        deadline = time.monotonic() + 0.03
        assert poller.wait(deadline) == (False, False)
        assert time.monotonic() >= deadline

    @pytest.mark.parametrize("deadline", [None, 1e9, 1e300, math.inf])
    def test_far_deadlines_are_no_error(self, pair, deadline):
        poller, _, theirs, _ = pair
        theirs.send(b"x")
        assert poller.wait(deadline) == (True, False)

    def test_a_deadline_in_the_past_does_not_wait(self, pair):
        poller, *_ = pair
        assert poller.wait(time.monotonic() - 100) == (False, False)

    def test_the_other_end_hung_up(self, pair):
        poller, _, theirs, _ = pair
        theirs.close()
        readable, _ = poller.wait(time.monotonic() + 10)
        assert readable

    def test_woken_from_another_thread(self, pair):
        poller, _, _, wake = pair
        timer = threading.Timer(0.01, wake.set)
        timer.start()
        assert poller.wait(time.monotonic() + 60) == (False, False)
        timer.join()

    def test_a_wake_up_is_used_up(self, pair):
        poller, _, _, wake = pair
        wake.set()
        wake.set()
        poller.wait(time.monotonic() + 60)
        started = time.monotonic()
        poller.wait(started + 0.02)
        assert time.monotonic() - started >= 0.02

    def test_no_wake_up_is_lost(self, pair):
        """Work is put in front of each wake-up; when all are done none may be left unseen."""
        poller, _, _, wake = pair
        todo, seen = [], 0

        def work():
            for i in range(2000):
                todo.append(i)
                wake.set()

        thread = threading.Thread(target=work)
        thread.start()
        deadline = time.monotonic() + 20
        while seen < 2000:
            assert time.monotonic() < deadline
            poller.wait(deadline)
            seen = len(todo)
        thread.join()


def test_an_alarm_may_ring_more_than_once() -> None:
    alarm = Alarm()
    assert not alarm.wait(0)
    for _ in range(2):
        alarm.answered(None)
    assert alarm.wait(0) and not alarm.wait(0)


def test_a_thread_that_is_just_being_started_is_not_waited_for() -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Started(threading.Event):
        """Holds the new thread where it has its ident and is not yet known to run."""

        def set(self) -> None:
            begun.set()
            go_on.wait(10)
            super().set()

    thread = threading.Thread(target=lambda: None)
    thread._started = Started()  # type: ignore[attr-defined]
    starter = threading.Thread(target=thread.start)
    starter.start()
    assert begun.wait(10) and thread.ident is not None
    join_thread(thread, 10)  # raised RuntimeError when it was asked by its ident
    go_on.set()
    starter.join(10)
    join_thread(thread, 10)
    assert not thread.is_alive()


def test_a_thread_does_not_wait_for_itself_in_its_last_steps() -> None:
    """A finalizer may run when ``threading`` does not list it any more."""

    class Last(threading.Thread):
        def _delete(self) -> None:
            super()._delete()  # type: ignore[misc]
            join_thread(self, 10)

    thread = Last(target=lambda: None, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def test_a_thread_does_not_wait_for_itself_nor_for_one_that_never_ran() -> None:
    join_thread(threading.current_thread(), 10)
    join_thread(threading.Thread(target=lambda: None), 10)
