"""The threads that run callbacks: order, ends, backlog, and what happens when a target fails."""
from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import weakref
from time import monotonic

import pytest

from caproto._client.deliveries import Call, Deliveries
from caproto.threading import _waiting
from caproto.threading.client import _callback_queue
from caproto.threading.client._callback_queue import CallbackQueue


@pytest.fixture
def delivery():
    made = CallbackQueue("test")
    yield made
    made.stop()
    made.join(10)


def collector():
    """A list and a target that appends to it."""
    seen: list = []
    return seen, Call(seen.append)


def finish(delivery: CallbackQueue) -> None:
    """Wait until everything that is queued was run."""
    done = threading.Event()
    delivery.put(((Call(lambda _: done.set()), None),))
    assert done.wait(10)


def test_in_order_in_a_thread_of_its_own(delivery):
    seen, target = collector()
    threads = set()
    delivery.put(((Call(lambda _: threads.add(threading.current_thread().name)), None),))
    for i in range(0, 1000, 4):
        delivery.put([(target, i + j) for j in range(4)])
    finish(delivery)
    assert seen == list(range(1000))
    assert threads == {"ca-callback test"}


def test_no_thread_before_the_first_use(delivery):
    assert delivery.threads == ()
    delivery.put(())
    assert len(delivery.threads) == 1


def test_without_a_thread_what_is_queued_waits_until_there_is_one(delivery, monkeypatch, caplog):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    seen, target = collector()
    with monkeypatch.context() as scarce:
        scarce.setattr(_waiting, "start_thread", refuse)
        delivery.put(((target, 1),))
        delivery.put(())
        assert delivery.starved and not delivery.threads
    assert len(caplog.records) == 1, "it is reported once"
    delivery.put(())
    finish(delivery)
    assert seen == [1] and not delivery.starved


def test_a_failing_target_is_logged_and_harms_nobody(delivery, caplog):
    seen, target = collector()

    def fail(_):
        raise ZeroDivisionError("a defect")

    with caplog.at_level(logging.ERROR, "caproto"):
        delivery.put(((target, 1), (Call(fail), None), (target, 2)))
        delivery.put(((target, 3),))
        finish(delivery)
    assert seen == [1, 2, 3]
    assert "ZeroDivisionError: a defect" in caplog.text


def test_what_fails_between_callbacks_ends_no_thread(delivery, caplog):
    seen, target = collector()

    def fail():
        raise MemoryError

    with caplog.at_level(logging.ERROR, "caproto"):
        delivery.call_below(fail, below=100)
        delivery.put(((target, 1),), cost=10)
        delivery.put(((target, 2),), cost=10)
        finish(delivery)
    assert seen == [1, 2]
    assert caplog.text.count("Unexpected error between callbacks") >= 2
    delivery.call_below(None)
    finish(delivery)
    assert not delivery.backlog


def test_stop_runs_what_is_queued(delivery):
    seen, target = collector()
    gate = threading.Event()
    delivery.put(((Call(lambda _: gate.wait(10)), None),))
    for i in range(10):
        delivery.put(((target, i),))
    delivery.stop()
    gate.set()
    delivery.join(10)
    assert not any(thread.is_alive() for thread in delivery.threads)
    assert seen == list(range(10))


def test_finish_drops_what_is_queued_except_the_last_words(delivery):
    seen, target = collector()
    gate, running = threading.Event(), threading.Event()

    def block(_):
        running.set()
        gate.wait(10)
        seen.append("running")

    delivery.put(((Call(block), None), (target, "rest of the batch")))
    delivery.put(((target, "queued"),))
    assert running.wait(10)
    delivery.finish(((target, "last words"),))
    gate.set()
    delivery.join(10)
    assert seen == ["running", "last words"]
    assert not any(thread.is_alive() for thread in delivery.threads)


def test_the_backlog_counts_what_is_queued_or_running(delivery):
    gate, running = threading.Event(), threading.Event()

    def block(_):
        running.set()
        gate.wait(10)

    delivery.put(((Call(block), None),), cost=100)
    delivery.put((), cost=20)
    assert running.wait(10)
    assert delivery.backlog == 120
    gate.set()
    finish(delivery)
    assert delivery.backlog == 0


def test_a_function_is_called_when_the_backlog_is_low(delivery):
    told = threading.Event()
    delivery.call_below(told.set, below=100)
    delivery.put((), cost=1)
    assert told.wait(10)
    told.clear()
    delivery.call_below(None)
    delivery.put((), cost=1)
    finish(delivery)
    assert not told.is_set()


def test_that_call_waits_until_the_backlog_is_low(delivery):
    gate, told = threading.Event(), []
    delivery.call_below(lambda: told.append(delivery.backlog), below=50)
    delivery.put(((Call(lambda _: gate.wait(10)), None),), cost=10)
    for cost in (30, 30, 30):
        delivery.put((), cost)
    gate.set()
    finish(delivery)
    assert told[:2] == [30, 0]


def test_the_backlog_is_as_old_as_what_is_running(delivery):
    gate, running = threading.Event(), threading.Event()

    def block(_):
        running.set()
        gate.wait(10)

    assert delivery.load(monotonic() + 100) == (0, 0.0)
    before = monotonic()
    delivery.put(((Call(block), None),), cost=1)
    after = monotonic()
    assert running.wait(10)
    delivery.put((), cost=1)  # younger, and not what counts
    assert before + 7 - after <= delivery.load(before + 7)[1] <= 7
    gate.set()
    finish(delivery)
    assert delivery.load(monotonic() + 100) == (0, 0.0)


def test_a_successor_waits_for_its_predecessor():
    seen, target = collector()
    gate = threading.Event()
    first = CallbackQueue("first")
    first.put(((Call(lambda _: gate.wait(10)), None), (target, "old")))
    first.stop()
    second = CallbackQueue("second", predecessor=first)
    second.put(((target, "new"),))
    gate.set()
    finish(second)
    assert seen == ["old", "new"]
    second.stop()
    second.join(10)


def test_a_successor_waits_even_if_it_is_used_first():
    """A circuit may be replaced before the last words of the old one are queued."""
    seen, target = collector()
    first = CallbackQueue("first")
    second = CallbackQueue("second", predecessor=first)
    second.put(((target, "new"),))
    first.put(((target, "old"),))
    first.stop()
    finish(second)
    assert seen == ["old", "new"]
    second.stop()
    second.join(10)


def test_a_successor_waits_past_a_predecessor_that_had_nothing_to_say():
    seen, target = collector()
    gate = threading.Event()
    first = CallbackQueue("first")
    first.put(((Call(lambda _: gate.wait(10)), None), (target, "old")))
    silent = CallbackQueue("silent", predecessor=first)
    first.stop()
    silent.stop()
    third = CallbackQueue("third", predecessor=silent)
    third.put(((target, "new"),))
    gate.set()
    finish(third)
    assert seen == ["old", "new"]
    third.stop()
    third.join(10)


def test_many_successors_in_a_row_keep_nothing_of_the_old_ones():
    delivery = first = CallbackQueue("first")
    for _ in range(100):
        delivery.stop()
        delivery = CallbackQueue("next", predecessor=delivery)
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    delivery.put(())
    finish(delivery)
    delivery.stop()
    delivery.join(10)


def test_several_workers_run_at_the_same_time():
    delivery = CallbackQueue("test", workers=3)
    barrier = threading.Barrier(3)
    for _ in range(3):
        delivery.put(((Call(lambda _: barrier.wait(10)), None),))
    delivery.stop()
    delivery.join(10)
    assert not barrier.broken
    assert len(delivery.threads) == 3


def test_a_callback_may_stop_and_join_its_own_thread(delivery):
    done = threading.Event()

    def end(_):
        delivery.stop()
        delivery.join(None)
        done.set()

    delivery.put(((Call(end), None),))
    assert done.wait(10)


def test_dropped_it_ends_its_threads():
    delivery = CallbackQueue("test")
    finish(delivery)
    thread = delivery.threads[0]
    del delivery
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_while_asleep_it_keeps_nothing_alive(delivery):
    class Thing:
        def deliver(self, argument):
            pass

    thing, argument = Thing(), Thing()
    references = [weakref.ref(thing), weakref.ref(argument)]
    delivery.put(((thing, argument),))
    finish(delivery)
    del thing, argument
    for _ in range(1000):  # until the thread sleeps again
        if not any(reference() for reference in references):
            break
        finish(delivery)
    assert not any(reference() for reference in references)


def test_a_quiet_note_from_the_garbage_collector_arrives(delivery):
    """`put_quietly` is called by finalizers, at any point of any thread: also inside of `put`."""
    seen, target = collector()
    delivery.put(())

    class Dies:
        def __del__(self):
            delivery.put_quietly(target, 1)

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(300):
            cycle = Dies()
            cycle.me = cycle
            del cycle
            delivery.put([])
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    finish(delivery)
    assert seen == [1] * 300


def test_it_is_stopped_wherever_its_thread_is(delivery):
    """A finalizer in that thread may wait for another one that stops it."""
    places = set()

    def trace(frame, event, _argument):
        if frame.f_code.co_filename != _callback_queue.__file__ or "ca-" not in own_name():
            return None
        if event == "line" and frame.f_lineno not in places:
            places.add(frame.f_lineno)
            other = threading.Thread(target=delivery.stop)
            other.start()
            other.join(10)
            assert not other.is_alive(), frame.f_lineno
        return trace

    def own_name() -> str:
        return threading.current_thread().name

    threading.settrace(trace)
    try:
        delivery.put(((Call(print), None),), cost=1)
        delivery.join(20)
    finally:
        threading.settrace(None)
    assert delivery.over and len(places) > 5


def test_put_after_stop_is_harmless(delivery):
    delivery.put(())
    delivery.stop()
    delivery.join(10)
    delivery.put(((Call(print), None),))
    delivery.stop()
    assert not any(thread.is_alive() for thread in delivery.threads)


def test_a_long_batch_keeps_who_gets_what_in_order():
    batch = Deliveries()
    assert not batch and list(batch) == []
    pairs = [(Call(print), number) for number in range(5)]
    for pair in pairs:
        batch.append(pair)
    assert len(batch) == 5
    assert list(batch) == list(batch) == pairs


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_the_child_of_a_fork_does_not_wait_for_what_a_thread_of_the_parent_held():
    queue = CallbackQueue("test")
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with queue.lock:
            held.set()
            assert go_on.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    pid = os.fork()
    if pid == 0:
        signal.alarm(5)  # ends us, should we hang
        queue.abandon()
        queue.put([(Call(print), "lost")])
        queue.finish(())
        queue.join()
        os._exit(0 if queue.over and not queue.threads else 1)
    _, status = os.waitpid(pid, 0)
    go_on.set()
    thread.join()
    assert status == 0
