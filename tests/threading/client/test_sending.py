"""Requests of many PVs are sent together, as soon as each PV is connected."""
from __future__ import annotations

from functools import partial

import pytest

import caproto as ca
from caproto import AccessError, CaprotoTimeoutError
from caproto._client.operations import Read
from caproto.threading._waiting import Deadline
from caproto.threading.client import Batch, ContextDisconnectedError, _sending


def reads(deadline: Deadline, seen: dict, *pvs) -> list[Read]:
    return [Read(pv, partial(seen.setdefault, pv.name), deadline) for pv in pvs]


def test_all_are_sent(server, ctx, wait_for):
    seen: dict = {}
    deadline = Deadline(10)
    assert _sending.send_all(reads(deadline, seen, *ctx.get_pvs("x", "y")), deadline) == []
    wait_for(lambda: len(seen) == 2)
    assert {name: response.data.tolist() for name, response in seen.items()} == {
        "x": [1.5], "y": [2.5],
    }


def test_no_requests(ctx):
    assert _sending.send_all([], Deadline(0)) == []


def test_failures_come_with_their_request(server, ctx, wait_for):
    seen: dict = {}
    deadline = Deadline(0.3)
    x, writeonly, unknown = ctx.get_pvs("x", "writeonly", "unknown")
    for pv in (x, writeonly):
        pv.wait_for_connection()
    requests = reads(deadline, seen, unknown, writeonly, x)
    failures = dict(_sending.send_all(requests, deadline))
    assert list(failures) == [requests[1], requests[0]]
    assert isinstance(failures[requests[0]], CaprotoTimeoutError)
    assert "'unknown' was not found within 0.3 s" in str(failures[requests[0]])
    assert isinstance(failures[requests[1]], AccessError)
    wait_for(lambda: "x" in seen)


def test_a_closed_context(server, ctx):
    (x,) = ctx.get_pvs("x")
    ctx.disconnect()
    ((_, error),) = _sending.send_all(reads(Deadline(10), {}, x), Deadline(10))
    assert isinstance(error, ContextDisconnectedError)


def test_an_interrupted_wait_leaves_nothing_behind(server, ctx, monkeypatch):
    class Interrupting(_sending.SimpleQueue):
        def get(self, *args, **options):
            raise KeyboardInterrupt

    (unknown,) = ctx.get_pvs("unknown")
    monkeypatch.setattr(_sending, "SimpleQueue", Interrupting)
    with pytest.raises(KeyboardInterrupt):
        _sending.send_all(reads(Deadline(10), {}, unknown), Deadline(10))
    assert not unknown._waiters


def test_a_pv_that_connects_in_the_middle_keeps_the_order_of_its_writes(
    server, ctx, wait_for, monkeypatch
):
    add = _sending.Sending._add

    def add_and_connect(waiting, request):
        add(waiting, request)
        request.pv.wait_for_connection()

    monkeypatch.setattr(_sending.Sending, "_add", add_and_connect)
    server.answers = lambda search: "may be connected" in server.pvs
    (x,) = ctx.get_pvs("x")
    with Batch(timeout=10) as batch:
        for value in (7.0, 8.0, 9.0):
            batch.write(x, value)
        server.pvs["may be connected"] = 0.0
        assert not x.connected
    server.wait_for(ca.WriteRequest, 3)
    assert [command.data.tolist() for command in server.received(ca.WriteRequest)] == [
        [7.0], [8.0], [9.0],
    ]
