"""Jobs of one PV one after the other, jobs of different PVs side by side."""
from __future__ import annotations

import logging
import random
import threading
from collections.abc import Iterator

import pytest

from caproto.server import ChannelDouble
from caproto.threading.server import _workers
from caproto.threading.server._workers import Workers

PATIENCE = 20.0


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers()
    yield workers
    assert workers.stop(PATIENCE)


class Gate:
    """A job that says that it has begun, and waits until it may end."""

    def __init__(self) -> None:
        self._begun = threading.Event()
        self._opened = threading.Event()

    def __call__(self) -> None:
        self._begun.set()
        assert self._opened.wait(PATIENCE)

    def wait_begun(self) -> None:
        assert self._begun.wait(PATIENCE)

    @property
    def begun(self) -> bool:
        return self._begun.is_set()

    def open(self) -> None:
        self._opened.set()


def test_a_job_runs_in_another_thread(workers):
    names = []
    done = workers.submit("x", lambda: names.append(threading.current_thread()))
    assert done.wait(PATIENCE)
    assert names[0] is not threading.current_thread()
    assert names[0].name.startswith("ca-worker")
    assert names[0].daemon  # a job that never ends does not keep the process alive


def test_jobs_of_one_pv_run_one_after_the_other_in_order(workers):
    order: list[int] = []
    gate = Gate()
    workers.submit("x", gate)
    last = [workers.submit("x", lambda i=i: order.append(i)) for i in range(100)][-1]
    gate.wait_begun()
    assert workers.submit("y", lambda: None).wait(PATIENCE)  # nobody else waits
    assert order == []
    gate.open()
    assert last.wait(PATIENCE)
    assert order == list(range(100))


def test_jobs_of_different_pvs_do_not_wait_for_each_other(workers):
    gates = [Gate() for _ in range(10)]
    done = [workers.submit(i, gate) for i, gate in enumerate(gates)]
    for gate in gates:
        gate.wait_begun()
    gates[7].open()
    assert done[7].wait(PATIENCE)
    assert not any(reply.wait(0) for i, reply in enumerate(done) if i != 7)
    for gate in gates:
        gate.open()


def test_threads_are_used_again(workers):
    threads = set()

    def take_note() -> None:
        threads.add(threading.current_thread())

    for number in range(200):
        assert workers.submit(number, take_note).wait(PATIENCE)
    # A thread fills the reply a moment before it is idle, so there may be a few.
    assert len(threads) <= 20


def test_beyond_the_limit_pvs_wait_for_a_thread(workers, monkeypatch):
    monkeypatch.setattr(_workers, "MAX_THREADS", 2)
    gates = [Gate() for _ in range(5)]
    done = [workers.submit(i, gate) for i, gate in enumerate(gates)]
    gates[0].wait_begun()
    gates[1].wait_begun()
    for i in range(3):
        gates[i].open()
        assert done[i].wait(PATIENCE)
        gates[min(i + 2, 4)].wait_begun()
    gates[3].open()
    gates[4].open()
    assert done[3].wait(PATIENCE) and done[4].wait(PATIENCE)
    # Both threads are of use again.
    pair = [Gate(), Gate()]
    for gate in pair:
        workers.submit(gate, gate)
    for gate in pair:
        gate.wait_begun()
        gate.open()


def test_a_busy_pv_does_not_keep_a_thread_for_itself(workers, monkeypatch):
    monkeypatch.setattr(_workers, "MAX_THREADS", 1)
    order: list[str] = []
    gate = Gate()
    workers.submit("busy", gate)
    gate.wait_begun()
    for name in ("busy 1", "busy 2", "busy 3"):
        last = workers.submit("busy", lambda name=name: order.append(name))
    workers.submit("other", lambda: order.append("other"))
    gate.open()
    assert last.wait(PATIENCE)
    assert order.index("other") < order.index("busy 2")


@pytest.mark.parametrize("error", [ValueError("wrong on purpose"), SystemExit(3)])
def test_a_job_that_raises_is_logged_with_its_pv_and_ends(workers, caplog, error):
    data = ChannelDouble(value=1.0)
    data.name = "some:pv"

    def fail() -> None:
        raise error

    assert workers.submit(data, fail).wait(PATIENCE)
    assert workers.submit(data, lambda: None).wait(PATIENCE)  # the PV lives on
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "some:pv" in record.getMessage()
    assert record.exc_info[1] is error


def test_stop_waits_for_what_runs_and_starts_nothing_more():
    workers = Workers()
    gate, later = Gate(), Gate()
    done = workers.submit("x", gate)
    waiting = workers.submit("x", later)
    gate.wait_begun()
    threading.Timer(0.05, gate.open).start()
    assert workers.stop(PATIENCE)
    assert done.wait(0)
    assert not waiting.wait(0) and not later.begun
    assert not workers.submit("y", later).wait(0.01)
    assert not later.begun


def test_stop_does_not_wait_for_ever():
    workers = Workers()
    gate = Gate()
    done = workers.submit("x", gate)
    gate.wait_begun()
    assert workers.stop(0.01) is False
    gate.open()
    assert done.wait(PATIENCE)
    assert workers.stop(PATIENCE)


def test_a_job_may_stop_the_workers():
    workers = Workers()
    assert workers.submit("x", lambda: workers.stop(PATIENCE)).wait(PATIENCE)
    assert workers.stop(PATIENCE)


def test_every_job_of_many_threads_is_done_in_the_order_of_each(workers, monkeypatch):
    monkeypatch.setattr(_workers, "MAX_THREADS", 5)
    found: dict[tuple[int, int], list[int]] = {}

    def submit(thread: int) -> None:
        choose = random.Random(thread)
        for number in range(500):
            key = choose.randrange(20)
            workers.submit(key, lambda key=key, number=number: found.setdefault(
                (thread, key), []
            ).append(number))

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for key in range(20):
        assert workers.submit(key, lambda: None).wait(PATIENCE)
    assert sum(map(len, found.values())) == 2000
    assert all(numbers == sorted(numbers) for numbers in found.values())


# ---- threads that cannot be started --------------------------------------------------------------


class Scarcity:
    """While `on`, no thread of the workers can be started; `refusals` counts the attempts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on = True
        self.refusals = 0
        self.error: Exception = RuntimeError("can't start new thread")
        self._start = threading.Thread.start
        monkeypatch.setattr(threading.Thread, "start", lambda thread: self._try(thread))

    def _try(self, thread: threading.Thread) -> None:
        if self.on and thread.name.startswith("ca-worker"):
            self.refusals += 1
            raise self.error
        self._start(thread)


@pytest.fixture
def scarcity(monkeypatch) -> Scarcity:
    return Scarcity(monkeypatch)


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_without_any_thread_jobs_wait_until_one_can_be_started(scarcity, caplog, error):
    scarcity.error = error
    told: list[None] = []
    workers = Workers(lambda: told.append(None))
    order: list[str] = []
    done = [workers.submit(key, lambda key=key: order.append(key)) for key in "xyx"]
    assert scarcity.refusals == len(told) == 3  # each attempt, so that the owner tries again
    workers.start_missing()
    assert scarcity.refusals == 4 and order == []
    scarcity.on = False
    workers.start_missing()
    assert all(reply.wait(PATIENCE) for reply in done)
    assert order == ["x", "y", "x"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]  # said once
    assert "0 are running" in caplog.text
    assert workers.stop(PATIENCE)


def test_a_job_of_the_same_pv_finds_a_thread_after_a_failed_start(scarcity):
    workers = Workers()
    first = workers.submit("x", lambda: None)
    scarcity.on = False
    second = workers.submit("x", lambda: None)
    assert first.wait(PATIENCE) and second.wait(PATIENCE)
    assert workers.stop(PATIENCE)


def test_the_threads_that_exist_do_the_work_of_one_that_cannot_be_started(scarcity):
    workers = Workers()
    scarcity.on = False
    gate = Gate()
    workers.submit("busy", gate)
    gate.wait_begun()
    scarcity.on = True
    done = workers.submit("x", lambda: None)
    assert scarcity.refusals == 1 and not done.wait(0)
    gate.open()
    assert done.wait(PATIENCE)
    assert workers.stop(PATIENCE)


def test_stop_waits_for_no_thread_that_never_ran(scarcity):
    workers = Workers()
    done = workers.submit("x", lambda: None)
    assert workers.stop(None)
    assert not done.wait(0)
    workers.start_missing()
    assert scarcity.refusals == 1  # a stopped one does not even try


def test_each_shortage_is_reported(scarcity, caplog):
    workers = Workers()
    for number in range(2):
        scarcity.on = True
        workers.submit(f"first {number}", lambda: None)
        scarcity.on = False
        gates = [Gate() for _ in range(number + 1)]
        for gate in gates:
            workers.submit(gate, gate)
        for gate in gates:
            gate.wait_begun()
            gate.open()
    assert workers.stop(PATIENCE)
    assert len(caplog.records) == 2
