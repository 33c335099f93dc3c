"""One read or write goes over the circuit that the PV has, or over the next; see also test_pv_*."""
from __future__ import annotations

import threading

import pytest

import caproto as ca
from caproto import CaprotoTimeoutError, ReentrantCallError
from caproto._client.operations import NotSent, Read
from caproto.threading._waiting import Deadline
from caproto.threading.client import WriteError, _reentry
from caproto.threading.client._circuit import ClientCircuit
from caproto.threading.client._replies import BlockingRead, BlockingWrite
from tests.harness.fake_server import ignore


@pytest.fixture
def x(ctx):
    pv = ctx.get_pv("x")
    pv.wait_for_connection()
    return pv


def read(pv, timeout: float = 10.0):
    deadline = Deadline(timeout)
    return pv._ask(BlockingRead(pv, None, deadline), deadline)


def test_the_reply_is_returned(server, x):
    assert read(x).data.tolist() == [1.5]


def test_a_pv_that_is_not_connected_is_waited_for(server, ctx):
    assert read(ctx.get_pv("y")).data.tolist() == [2.5]


def test_a_channel_that_is_lost_before_the_request_is_sent(server, x, monkeypatch):
    """It is sent on the next one; no caller sees that."""
    request, lost = ClientCircuit.request, []

    def lose(manager, channel, operation, deadline):
        if not lost:
            lost.append(channel)
            raise NotSent("the channel was lost")
        return request(manager, channel, operation, deadline)

    monkeypatch.setattr(ClientCircuit, "request", lose)
    assert read(x).data.tolist() == [1.5] and lost


def test_no_reply(server, x):
    server.on[ca.ReadNotifyRequest] = ignore
    with pytest.raises(CaprotoTimeoutError, match="'x': no reply to the read within 0.2 s"):
        read(x, timeout=0.2)
    assert not x.circuit_manager._circuit.session.routes.operations


def test_a_refusal_is_raised(server, x):
    server.on[ca.WriteNotifyRequest] = lambda connection, command: connection.send(
        ca.WriteNotifyResponse(command.data_type, 1, 160, command.ioid)
    )
    deadline = Deadline(10)
    with pytest.raises(WriteError, match="'x'"):
        x._ask(BlockingWrite(x, None, deadline, 1.0, None, None, True), deadline)


def test_an_interrupt_leaves_no_operation_behind(server, x, monkeypatch):
    server.on[ca.ReadNotifyRequest] = ignore

    def interrupted(operation, deadline):
        raise KeyboardInterrupt

    monkeypatch.setattr(BlockingRead, "wait_until", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(x)
    assert not x.circuit_manager._circuit.session.routes.operations


def test_inside_another_call_of_ours(server, ctx, x, wait_for):
    """What needs an answer is refused; the rest is left to the reader thread."""
    seen: list = []
    deadline = Deadline(10)
    with x.context._home.lock:
        with pytest.raises(ReentrantCallError, match=r"PV.read of 'x'"):
            read(x)
        x._send(Read(x, seen.append, deadline), deadline)
    wait_for(lambda: seen)
    not_connected = ctx.get_pv("missing")
    with _reentry.serving(), pytest.raises(ReentrantCallError, match="not connected"):
        not_connected._send(Read(not_connected, seen.append, deadline), deadline)


def test_two_calls_inside_calls_on_each_others_circuits(server, ctx, monkeypatch):
    """Say, a signal handler and a finalizer; each has the lock that the other one needs."""
    x, y = ctx.get_pv("x"), ctx.get_pv("y", priority=1)
    both_inside = threading.Barrier(2)
    errors: list[ReentrantCallError] = []

    def read_inside(outer, inner) -> None:
        """Read *outer*; read *inner* while that holds the lock of its circuit."""
        session = outer._channel.carrier.session
        start = session.start

        def interrupted(operation, channel):
            both_inside.wait(10)
            with pytest.raises(ReentrantCallError) as caught:
                inner.read(timeout=None)
            errors.append(caught.value)
            return start(operation, channel)

        monkeypatch.setattr(session, "start", interrupted)
        outer.read(timeout=5)

    x.wait_for_connection()
    y.wait_for_connection()
    assert x._channel.carrier is not y._channel.carrier
    threads = [
        threading.Thread(target=read_inside, args=pair, daemon=True) for pair in ((x, y), (y, x))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert len(errors) == 2 and all("inside" in str(error) for error in errors)
