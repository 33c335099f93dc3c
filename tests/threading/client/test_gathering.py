"""Operations on many PVs end for one caller: all are answered, have failed, or are too late."""
from __future__ import annotations

import threading

import pytest

import caproto as ca
from caproto import CaprotoTimeoutError
from caproto.threading._waiting import Deadline
from caproto.threading.client import (
    AccessError,
    ContextDisconnectedError,
    DisconnectedError,
    ReadError,
    WriteError,
)
from caproto.threading.client._gathering import read_all, write_all
from tests.harness.fake_server import hang_up, ignore


def values(outcomes) -> list:
    return [outcome.data.tolist() for (outcome,) in outcomes]


def test_reads_in_several_forms_are_sent_together(server, ctx):
    x, wave = ctx.get_pvs("x", "wave")
    forms = [("time", None), ("control", 1)]
    (x_time, x_control), (wave_time, wave_control) = read_all([x, wave], forms, Deadline(10))
    assert x_time.data_type is ca.ChannelType.TIME_DOUBLE
    assert x_control.data_type is ca.ChannelType.CTRL_DOUBLE
    assert wave_time.data.tolist() == [1, 2, 3] and wave_control.data.tolist() == [1]


def test_nothing_to_do():
    assert read_all([], [(None, None)], Deadline(0)) == [] == write_all({}, Deadline(0))


def test_each_failure_is_the_outcome_of_its_operation_and_names_the_pv(server, ctx):
    def refuse(connection, command):
        if command.data_type == ca.ChannelType.TIME_STRING:
            connection.send(ca.ReadNotifyResponse(b"", command.data_type, 0, 152, command.ioid))
        else:
            server.usual(connection, command)

    server.on[ca.ReadNotifyRequest] = refuse
    pvs = ctx.get_pvs("x", "text", "writeonly", "missing", "wave")
    for pv in pvs:
        if pv.name != "missing":
            pv.wait_for_connection()
    (x,), (text,), (writeonly,), (missing,), (wave,) = read_all(pvs, [("time", None)], Deadline(1))
    assert x.data.tolist() == [1.5] and wave.data.tolist() == [1, 2, 3]
    assert isinstance(text, ReadError) and "'text'" in str(text) and text.pv is pvs[1]
    assert isinstance(writeonly, AccessError) and "'writeonly'" in str(writeonly)
    assert isinstance(missing, CaprotoTimeoutError)
    assert "'missing' was not found within 1 s" in str(missing)


def test_replies_that_do_not_come(server, ctx):
    x, y = ctx.get_pvs("x", "y")
    y.wait_for_connection()
    server.on[ca.ReadNotifyRequest] = ignore
    ((error,), _) = read_all([x, y], [(None, None)], Deadline(0.3))
    assert isinstance(error, CaprotoTimeoutError)
    assert str(error).startswith("'x': no reply to the read within 0.3 s; 127.0.0.1:")
    circuit = x.circuit_manager
    assert not circuit.ioids and not circuit.circuit.pending
    del server.on[ca.ReadNotifyRequest]
    assert values(read_all([x, y], [(None, None)], Deadline(5))) == [[1.5], [2.5]]


def test_a_read_that_is_lost_with_its_circuit_is_repeated(server, ctx):
    x, y = ctx.get_pvs("x", "y")
    for pv in (x, y):
        pv.wait_for_connection()

    def once(connection, command):
        del server.on[ca.ReadNotifyRequest]
        hang_up(connection, command)

    server.on[ca.ReadNotifyRequest] = once
    assert values(read_all([x, y], [(None, None)], Deadline(10))) == [[1.5], [2.5]]


def test_a_lost_read_is_repeated_at_once_although_another_pv_stays_missing(server, ctx):
    x, missing = ctx.get_pvs("x", "missing")
    x.wait_for_connection()

    def once(connection, command):
        del server.on[ca.ReadNotifyRequest]
        hang_up(connection, command)

    server.on[ca.ReadNotifyRequest] = once
    done = threading.Event()
    outcomes = []

    def read() -> None:
        outcomes.extend(read_all([x, missing], [(None, None)], Deadline(None)))
        done.set()

    threading.Thread(target=read).start()
    server.wait_for(ca.ReadNotifyRequest, count=2)
    server.pvs["missing"] = server.pvs["x"]
    assert done.wait(30)
    assert values(outcomes) == [[1.5], [1.5]]


def test_a_write_is_never_sent_twice(server, ctx):
    x, y = ctx.get_pvs("x", "y")
    for pv in (x, y):
        pv.wait_for_connection()
    server.on[ca.WriteNotifyRequest] = hang_up
    for error in write_all({x: 1.0, y: 2.0}, Deadline(10)):
        assert isinstance(error, DisconnectedError) and "the write failed" in str(error)
    assert len(server.received(ca.WriteNotifyRequest)) <= 2
    del server.on[ca.WriteNotifyRequest]
    x.wait_for_connection()
    assert x.read().data.tolist() == [1.5]


def test_writes(server, ctx):
    pvs = ctx.get_pvs("x", "readonly", "wave", "text")
    for pv in pvs:
        pv.wait_for_connection()
    x, readonly, wave, text = pvs
    values = {x: 7.0, readonly: 1.0, wave: "no number", text: "new"}
    done, forbidden, impossible, also_done = write_all(values, Deadline(10))
    assert done.status.success and also_done.status.success
    assert isinstance(forbidden, AccessError)
    assert isinstance(impossible, (ca.CaprotoTypeError, ca.CaprotoValueError))
    assert "'wave'" in str(impossible)
    assert x.read().data.tolist() == [7.0] and text.read().strings == ["new"]


def test_a_refused_write(server, ctx):
    def refuse(connection, command):
        connection.send(ca.WriteNotifyResponse(command.data_type, 1, 160, command.ioid))

    server.on[ca.WriteNotifyRequest] = refuse
    (x,) = ctx.get_pvs("x")
    (error,) = write_all({x: 1.0}, Deadline(10))
    assert isinstance(error, WriteError) and error.pv is x and error.status == 160


def test_a_context_that_is_closed_meanwhile(server, ctx):
    (x,) = ctx.get_pvs("x")
    x.wait_for_connection()
    server.on[ca.ReadNotifyRequest] = ignore
    closer = threading.Thread(
        target=lambda: (server.wait_for(ca.ReadNotifyRequest), ctx.disconnect())
    )
    closer.start()
    ((error,),) = read_all([x], [(None, None)], Deadline(None))
    assert isinstance(error, ContextDisconnectedError) and "'x'" in str(error)
    closer.join()


def test_ctrl_c_leaves_no_operation_behind(server, ctx, monkeypatch):
    from caproto.threading.client import _sending

    class Interrupting(_sending.SimpleQueue):
        def get(self, *args, **options):
            raise KeyboardInterrupt

    (x,) = ctx.get_pvs("x")
    x.wait_for_connection()
    server.on[ca.ReadNotifyRequest] = ignore
    monkeypatch.setattr(_sending, "SimpleQueue", Interrupting)
    with pytest.raises(KeyboardInterrupt):
        read_all([x], [(None, None)], Deadline(10))
    assert not x.circuit_manager._circuit.session.routes.operations
