"""ServiceThread: one thread, whoever starts it and whatever interrupts that."""
from __future__ import annotations

import threading
from functools import partial

import pytest

from caproto.threading._service_thread import ServiceThread
from caproto.threading._waiting import Deadline
from tests.harness.interrupts import enter_each_line, in_time, interrupt_each_line


@pytest.fixture
def over():
    event = threading.Event()
    yield event
    event.set()


def serve(runs: list[str], over: threading.Event) -> None:
    runs.append(threading.current_thread().name)
    over.wait(30)


def test_it_is_started_once(over):
    runs: list[str] = []
    thread = ServiceThread(partial(serve, runs, over), "ca-test")
    assert not thread.started and not thread.alive
    thread.join(Deadline(0))
    thread.start()
    thread.start()
    assert thread.started and thread.alive
    thread.join(Deadline(0.01))
    assert thread.alive
    over.set()
    thread.join(Deadline(10))
    assert thread.started and not thread.alive and runs == ["ca-test"]
    thread.start()
    assert not thread.alive, "what is over is not started again"


def test_many_may_start_it_at_once(over, wait_for):
    for _ in range(20):
        runs: list[str] = []
        thread = ServiceThread(partial(serve, runs, over), "ca-test")
        barrier = threading.Barrier(4)

        def start(thread=thread, barrier=barrier) -> None:
            barrier.wait(10)
            thread.start()

        starters = [threading.Thread(target=start) for _ in range(4)]
        for starter in starters:
            starter.start()
        for starter in starters:
            starter.join(10)
        wait_for(lambda runs=runs: runs)
        wait_for(lambda t=thread: sum(one.is_alive() for one in t._threads) == 1)
        assert len(runs) == 1


def test_a_start_that_fails_is_repeated(over, monkeypatch):
    runs: list[str] = []
    thread = ServiceThread(partial(serve, runs, over), "ca-test")

    def no_threads(_thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_threads)
        with pytest.raises(RuntimeError):
            thread.start()
    assert not thread.started
    thread.join(Deadline(0))
    thread.start()
    assert thread.alive


def test_a_start_that_is_interrupted_is_repeated(over, wait_for):
    made = []

    def start() -> None:
        made.append(ServiceThread(partial(serve, [], over), "ca-test"))
        made[-1].start()

    for where in interrupt_each_line(start):
        while made:
            thread = made.pop()
            thread.start()
            assert thread.alive, where
            wait_for(lambda t=thread: sum(one.is_alive() for one in t._threads) == 1, message=where)


def test_a_start_may_interrupt_a_start(over, wait_for):
    """Also between the lines of ``threading``, which holds locks there."""
    made = []

    def start() -> None:
        made.append(ServiceThread(partial(serve, [], over), "ca-test"))
        made[-1].start()

    lines = in_time(lambda: len(list(enter_each_line(start, start, library=True))))
    assert len(made) > lines > 20
    wait_for(lambda: all(thread.alive for thread in made))


def test_a_join_may_interrupt_a_join(over):
    made = []

    def ready() -> None:
        ended = threading.Event()
        thread = ServiceThread(partial(ended.wait, 10), "ca-test")
        thread.start()
        ended.set()
        made.append(thread)

    def join() -> None:
        made[-1].join(Deadline(None))

    def run() -> int:
        ready()
        return len([ready() for _where in enter_each_line(join, join, library=True)])

    assert in_time(run) > 10
    assert not any(thread.alive for thread in made[:-1])


def test_it_does_not_wait_for_itself():
    ended = threading.Event()

    def serve() -> None:
        thread.join(Deadline(10))
        ended.set()

    thread = ServiceThread(serve, "ca-test")
    thread.start()
    assert ended.wait(5)
    thread.join(Deadline(10))
