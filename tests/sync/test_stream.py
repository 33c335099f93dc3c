"""The stream between the threads that receive and the one that handles what they received."""
from __future__ import annotations

import threading

from caproto.sync import _stream


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


def test_nothing_in_time():
    assert _stream.Stream[int]().get(0.01) is None
