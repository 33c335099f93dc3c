"""The stream between the threads that receive and the one that handles what they received."""
from __future__ import annotations

import threading

from caproto.sync import _stream
from tests.harness.interrupts import enter_each_line, in_time


def test_too_many_items_wait_where_flow_control_counts_them(monkeypatch, wait_for):
    """In the queue of the circuit: the thread that calls us back does not return before."""
    monkeypatch.setattr(_stream, "WAITING_ITEMS", 3)
    stream, put = _stream.Stream[int](), []

    def fill():
        for number in range(6):
            stream.put(number)
            put.append(number)

    thread = threading.Thread(target=fill)
    thread.start()
    wait_for(lambda: len(put) == 3)
    assert stream.get(20) == 0
    wait_for(lambda: len(put) == 4)
    assert thread.is_alive() and len(put) == 4
    stream.end()
    thread.join(20)
    assert not thread.is_alive() and stream.get(20) is None


def test_a_signal_handler_may_end_it_anywhere(monkeypatch):
    monkeypatch.setattr(_stream, "WAITING_ITEMS", 3)
    streams = []

    def call():
        streams.append(_stream.Stream[int]())
        streams[-1].put(1)
        streams[-1].get(None)
        streams[-1].put(2)
        streams[-1].end()

    def end():
        if streams:
            streams[-1].end()

    assert in_time(lambda: len(list(enter_each_line(call, end, library=True)))) > 10
    assert all(stream.get(None) is None for stream in streams)


def test_nothing_in_time():
    assert _stream.Stream[int]().get(0.01) is None
