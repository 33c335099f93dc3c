"""A thread that does what is left to it."""
from __future__ import annotations

import threading

from caproto.threading.pyepics_compat import _worker
from caproto.threading.pyepics_compat._worker import Worker
from tests.harness.interrupts import interrupt_each_line


def test_it_does_everything_in_order_and_ends(monkeypatch, wait_for):
    monkeypatch.setattr(_worker, "IDLE_TIME", 0.01)
    done: list[int] = []
    worker: Worker[int] = Worker("ca-test", done.extend)
    for number in range(1000):
        worker.put(number)
    wait_for(lambda: len(done) == 1000)
    assert done == list(range(1000))
    wait_for(lambda: "ca-test" not in [thread.name for thread in threading.enumerate()])
    worker.put(-1)
    wait_for(lambda: done[-1] == -1)


def test_nothing_is_lost_at_the_moment_of_its_end(monkeypatch, wait_for):
    monkeypatch.setattr(_worker, "IDLE_TIME", 0)
    done: list[int] = []
    worker: Worker[int] = Worker("ca-test", done.extend)

    def put() -> None:
        for number in range(300):
            worker.put(number)

    threads = [threading.Thread(target=put) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: len(done) == 900)


def test_without_a_thread_the_caller_does_it(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    done: list[int] = []
    worker: Worker[int] = Worker("ca-test", done.extend)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    worker.put(1)
    worker.put(2)
    assert done == [1, 2]


def test_a_put_after_one_that_was_interrupted_starts_the_thread(wait_for):
    done: list[int] = []
    fresh = [Worker[int]("ca-test", done.extend) for _ in range(100)]
    used: list[Worker[int]] = []

    def put() -> None:
        used.append(fresh.pop())
        used[-1].put(0)

    for number, where in enumerate(interrupt_each_line(put), 1):
        used[-1].put(number)
        wait_for(lambda number=number: number in done, message=where)
    assert number > 10
