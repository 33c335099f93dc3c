"""Items 45 to 56: what a client asks for, what it refuses to ask, and what it makes of the answers.

More is in tests/threading: test_circuit_manager.py (50), test_routing.py (50, 51), and in
tests/client/test_flow_control.py (55). Item 57 has a file of its own.
"""
from __future__ import annotations

import logging
import struct
import threading
from dataclasses import replace

import pytest

import caproto as ca
from caproto import (
    AccessError,
    CaprotoTimeoutError,
    CaprotoValueError,
    CAStatus,
    ChannelType,
    ReadError,
    WriteError,
)
from caproto._client import flow_control as flow_control
from caproto.threading.client import Context
from tests.conformance.items import item
from tests.harness.fake_server import FakePV, FakeServer, ignore
from tests.vectors_support import messages as vectors

PVS = {
    "x": 1.5,
    "wave": FakePV([1, 2, 3], ChannelType.LONG, max_count=10),
    "text": FakePV("hello", ChannelType.STRING),
    "texts": FakePV(["a", "b"], ChannelType.STRING),
    "state": FakePV(1, ChannelType.ENUM),
    "readonly": FakePV(7.0, rights=1),
    "writeonly": FakePV(8.0, rights=2),
    "bytes": FakePV([1], ChannelType.CHAR, max_count=100_000),
}


def fresh() -> dict:
    return {
        name: replace(pv) if isinstance(pv, FakePV) else FakePV(pv) for name, pv in PVS.items()
    }


@pytest.fixture
def server():
    with FakeServer(fresh()) as running:
        yield running


@pytest.fixture
def ctx(server):
    with Context(configuration=quiet(server), timeout=10) as context:
        yield context


def quiet(server: FakeServer) -> ca.ClientConfiguration:
    return server.configuration.replace(use_repeater=False)


def connect(ctx, *names):
    pvs = ctx.get_pvs(*names)
    for pv in pvs:
        pv.wait_for_connection()
    return pvs


def watch(sub) -> list:
    """A list that collects the values of a subscription."""
    seen: list = []

    def note(response):
        seen.append(response.data.tolist())

    sub.add_callback(note, strong=True)
    return seen


# ---- reading ---------------------------------------------------------------------------------


@item(45)
@pytest.mark.parametrize("version, count", [(13, 0), (12, 10), (9, 10)])
def test_the_count_of_a_read(version, count, wait_for):
    with FakeServer(fresh(), version=version) as server:
        with Context(configuration=quiet(server), timeout=10) as ctx:
            (wave,) = connect(ctx, "wave")
            response = wave.read()
            assert list(response.data[:3]) == [1, 2, 3]
            assert response.data_count == (count or 3)
            seen = watch(wave.subscribe())
            (subscription,) = server.wait_for(ca.EventAddRequest)
            wave.read(data_count=2)
            assert [c.data_count for c in server.received(ca.ReadNotifyRequest)] == [count, 2]
            assert subscription.data_count == count
            wait_for(lambda: seen)
            assert seen[0][:3] == [1, 2, 3]


@item(46)
@pytest.mark.parametrize("status", [CAStatus.ECA_GETFAIL, CAStatus.ECA_NORDACCESS, 0x7FFF0])
def test_a_read_that_fails_has_the_status_of_the_server(server, ctx, status):
    def fail(connection, command):
        connection.send(
            ca.ReadNotifyResponse([99.0], command.data_type, 1, status, command.ioid)
        )

    server.on[ca.ReadNotifyRequest] = fail
    (x,) = connect(ctx, "x")
    with pytest.raises(ReadError) as raised:
        x.read()
    assert int(raised.value.status) == int(status)
    assert "99" not in str(raised.value).replace(str(server.port), "")
    del server.on[ca.ReadNotifyRequest]
    assert x.read().data[0] == 1.5


@item(46)
def test_a_failed_read_may_come_without_any_payload(server, ctx):
    server.on[ca.ReadNotifyRequest] = lambda connection, command: connection.send(
        ca.ReadNotifyResponse.from_wire(
            (15, 0, command.data_type, 0, int(CAStatus.ECA_GETFAIL), command.ioid), b""
        )
    )
    (x,) = connect(ctx, "x")
    with pytest.raises(ReadError, match="ECA_GETFAIL"):
        x.read()


@item(54)
def test_an_empty_array_with_time_is_an_empty_array(server, ctx, wait_for):
    (wave,) = connect(ctx, "wave")
    seen, stamps = [], []

    def note(response):
        seen.append(list(response.data))
        stamps.append(response.metadata.stamp.seconds)

    wave.subscribe(data_type="time").add_callback(note)
    wait_for(lambda: seen == [[1, 2, 3]])
    server.post("wave", [])
    wait_for(lambda: len(seen) == 2)
    assert seen[1] == [] and stamps[1] > 0
    response = wave.read(data_type="time")
    assert list(response.data) == [] and response.data_count == 0
    server.post("wave", [5])
    wait_for(lambda: seen[2:] == [[5]])


@item(54)
@pytest.mark.ioc
def test_an_empty_array_of_a_real_ioc(ioc, wait_for):
    with Context(configuration=ioc.configuration, timeout=10) as ctx:
        (pv,) = ctx.get_pvs("T:empty")
        assert list(pv.read(data_type="time").data) == []
        seen = watch(pv.subscribe(data_type="time"))
        wait_for(lambda: seen == [[]])


# ---- writing ---------------------------------------------------------------------------------


@item(47)
def test_writes_carry_sid_and_cid_or_sid_and_ioid(server, ctx):
    x, wave = connect(ctx, "x", "wave")
    for pv in (x, wave):
        pv.write(2, wait=False)
        pv.write(3)
    plain, notified = server.wait_for(ca.WriteRequest, 2), server.received(ca.WriteNotifyRequest)
    for pv, command in zip((x, wave), plain, strict=True):
        assert command.fields[0] == 4
        assert command.fields[4:] == (pv.channel.sid, pv.channel.cid)
    for pv, command in zip((x, wave), notified, strict=True):
        assert command.fields[0] == 19
        assert command.fields[4] == pv.channel.sid
    assert len({command.fields[5] for command in notified}) == 2


@item(47, 48)
def test_recorded_writes_of_the_c_library_are_what_we_send(ctx, server):
    """All but the numbers that client and server choose."""
    recorded = [v for v in vectors("write") if v.header["command"] == 4 and v.fields[3] == 1]
    compared = 0
    for vector in recorded:
        value = vector.decoded["data"][0]
        name = {0: "text", 6: "x"}.get(vector.fields[2])
        if name is None:
            continue
        (pv,) = connect(ctx, name)
        before = len(server.received(ca.WriteRequest))
        pv.write(value, wait=False)
        pv.read()
        command = server.received(ca.WriteRequest)[before]
        assert command.fields[:4] == vector.fields[:4]
        assert bytes(command.payload) == vector.payload
        compared += 1
    assert compared >= 2


@item(48)
@pytest.mark.parametrize(
    "text, size", [("", 8), ("2.25", 8), ("1234567", 8), ("12345678", 16), ("y" * 39, 40)]
)
def test_a_single_string_is_sent_short(server, ctx, text, size):
    (pv,) = connect(ctx, "text")
    pv.write(text)
    (command,) = server.received(ca.WriteNotifyRequest)
    assert bytes(command.payload) == text.encode().ljust(size, b"\0")
    assert command.fields[1:4] == (size, ChannelType.STRING, 1)


@item(48)
@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("value", ["y" * 40, "y" * 41, ["ok", "y" * 40]])
def test_long_strings_are_refused_here(server, ctx, value, wait):
    (pv,) = connect(ctx, "texts")
    with pytest.raises(CaprotoValueError, match="40|39"):
        pv.write(value, wait=wait)
    pv.read()
    assert not server.received(ca.WriteNotifyRequest) and not server.received(ca.WriteRequest)


@item(49)
def test_what_cannot_succeed_is_not_sent(server, ctx):
    readonly, writeonly, wave, x = connect(ctx, "readonly", "writeonly", "wave", "x")
    before = len(server.connection.received)
    for wait in (True, False):
        with pytest.raises(AccessError, match="no write access.*ECA_NOWTACCESS"):
            readonly.write(1.0, wait=wait)
        with pytest.raises(AccessError, match="no read access.*ECA_NORDACCESS"):
            writeonly.read(wait=wait)
        for data_type in ("time", "status", "graphic", "control", ChannelType.STSACK_STRING):
            with pytest.raises(CaprotoValueError, match="plain type"):
                x.write(1.0, data_type=data_type, wait=wait)
        with pytest.raises(CaprotoValueError, match="11 elements"):
            wave.write(range(11), wait=wait)
        with pytest.raises(CaprotoValueError, match="11 elements"):
            wave.read(data_count=11, wait=wait)
    x.read()
    assert len(server.connection.received) == before + 1


@item(49)
def test_acknowledgements_of_alarms_may_be_written(server, ctx):
    server.on[ca.WriteRequest] = ignore
    (x,) = connect(ctx, "x")
    x.write(1, data_type=ChannelType.PUT_ACKT, wait=False)
    x.write(2, data_type=ChannelType.PUT_ACKS, wait=False)
    assert [c.data_type for c in server.wait_for(ca.WriteRequest, 2)] == [35, 36]


@item(49)
def test_what_is_not_connected_is_not_asked(server, ctx):
    server.on[ca.CreateChanRequest] = ignore
    (x,) = ctx.get_pvs("x")
    server.wait_for(ca.CreateChanRequest)
    before = len(server.connection.received)
    for operation in (
        x.read, lambda **k: x.read(wait=False, **k),
        lambda **k: x.write(1.0, **k), lambda **k: x.write(1.0, wait=False, **k),
    ):
        with pytest.raises(CaprotoTimeoutError, match="'x'"):
            operation(timeout=0.01)
    watch(x.subscribe())
    server.on.clear()
    server.usual(server.connection, server.received(ca.CreateChanRequest)[0])
    x.read()
    kinds = [type(command) for command in server.connection.received[before:]]
    assert sorted(kind.__name__ for kind in kinds) == ["EventAddRequest", "ReadNotifyRequest"]


# ---- errors ----------------------------------------------------------------------------------


@item(50)
def test_errors_go_to_whom_they_concern(server, ctx, caplog, wait_for):
    def refuse(connection, command):
        channel = connection.circuit.channels_sid[command.sid]
        connection.send(ca.ErrorResponse(command, channel.cid, CAStatus.ECA_PUTFAIL, "why"))

    (x,) = connect(ctx, "x")
    for kind in (
        ca.ReadNotifyRequest, ca.ReadRequest, ca.WriteNotifyRequest, ca.WriteRequest,
        ca.EventAddRequest,
    ):
        server.on[kind] = refuse
    with caplog.at_level(logging.WARNING, "caproto"):
        with pytest.raises(ReadError, match="ECA_PUTFAIL.*why"):
            x.read()
        with pytest.raises(ReadError, match="ECA_PUTFAIL.*why"):
            x.read(notify=False)
        with pytest.raises(WriteError, match="ECA_PUTFAIL.*why"):
            x.write(2.5)
        assert not caplog.records
        x.write(2.5, wait=False)
        wait_for(lambda: len(caplog.records) == 1)
        watch(x.subscribe())
        wait_for(lambda: len(caplog.records) == 2)
        server.connection.send(
            ca.ErrorResponse(ca.EchoRequest(), 0xFFFFFFFF, CAStatus.ECA_INTERNAL, "anything")
        )
        wait_for(lambda: len(caplog.records) == 3)
    write, subscription, general = caplog.records
    assert write.pv == subscription.pv == "x" and not hasattr(general, "pv")
    assert "write" in write.getMessage() and "updates" in subscription.getMessage()
    assert "anything" in general.getMessage()
    assert len(server.connections) == 1


@item(50)
def test_an_extended_header_in_an_error_is_understood(server, ctx):
    """24 bytes instead of 16 in front of the text."""
    (pv,) = connect(ctx, "bytes")

    def refuse(connection, command):
        size = len(command.payload)
        header = struct.pack(
            ">HHHHIIII", 19, 0xFFFF, 4, 0, command.sid, command.ioid, size, command.data_count
        )
        payload = header + b"far too much".ljust(16, b"\0")
        connection.send_raw(
            struct.pack(">HHHHII", 11, len(payload), 0, 0, pv.channel.cid, 160) + payload
        )
        connection.circuit.pending.pop(command.ioid)

    server.on[ca.WriteNotifyRequest] = refuse
    with pytest.raises(WriteError, match="ECA_PUTFAIL.*far too much"):
        pv.write(bytes(100_000))


# ---- ids -------------------------------------------------------------------------------------


@item(51)
def test_ids_of_operations_and_subscriptions_never_collide(server, ctx, wait_for):
    x, wave = connect(ctx, "x", "wave")
    seen = {}
    for data_type in (None, "time", "control"):
        for pv in (x, wave):
            seen[pv.name, data_type] = watch(pv.subscribe(data_type=data_type))
            pv.read()
            pv.write(4)
    wait_for(all_of(seen))
    subids = [command.subscriptionid for command in server.received(ca.EventAddRequest)]
    ioids = [
        command.ioid
        for kind in (ca.ReadNotifyRequest, ca.WriteNotifyRequest)
        for command in server.received(kind)
    ]
    assert len(set(subids + ioids)) == 6 + 12


def all_of(seen: dict):
    return lambda: all(seen.values())


@item(51)
def test_ids_in_use_are_skipped_when_the_counter_comes_round(server, ctx, wait_for):
    x, wave = connect(ctx, "x", "wave")
    seen = watch(x.subscribe())
    wait_for(lambda: seen)
    (subid,) = x.circuit_manager.subscriptions
    server.on[ca.ReadNotifyRequest] = ignore
    x.read(wait=False)
    (pending,) = server.wait_for(ca.ReadNotifyRequest)
    del server.on[ca.ReadNotifyRequest]
    circuit = x.circuit_manager.circuit
    for taken in (subid, pending.ioid):
        circuit._next_id = taken  # four thousand million operations later
        assert list(wave.read().data) == [1, 2, 3]
    later = [command.ioid for command in server.received(ca.ReadNotifyRequest)[1:]]
    assert len(later) == 2 and not {subid, pending.ioid} & set(later)
    circuit._next_id = 0xFFFFFFFF
    assert [x.read().data[0] for _ in range(2)] == [1.5, 1.5]
    assert server.received(ca.ReadNotifyRequest)[-2].ioid == 0xFFFFFFFF


@item(51)
def test_a_read_reply_under_the_id_of_a_subscription_is_an_update(server, ctx, wait_for):
    (x,) = connect(ctx, "x")
    seen = watch(x.subscribe())
    wait_for(lambda: seen == [[1.5]])
    (subid,) = x.circuit_manager.subscriptions
    server.connection.send_raw(ca.ReadNotifyResponse([8.5], ChannelType.DOUBLE, 1, 1, subid))
    wait_for(lambda: seen == [[1.5], [8.5]])


# ---- subscriptions ---------------------------------------------------------------------------


@item(52)
def test_a_subscription_is_cancelled_once(server, ctx, wait_for):
    (x,) = connect(ctx, "x")
    sub = x.subscribe()
    one, two = watch(sub), watch(sub)
    wait_for(lambda: one and two)
    first, second = sub.callbacks
    sub.remove_callback(first)
    assert not server.received(ca.EventCancelRequest)
    sub.remove_callback(second)
    sub.remove_callback(second)
    sub.clear()
    x.unsubscribe_all()
    wait_for(lambda: server.received(ca.EventCancelRequest))  # by the reader thread
    x.read()
    (cancel,) = server.received(ca.EventCancelRequest)
    (request,) = server.received(ca.EventAddRequest)
    assert cancel.fields[2:] == request.fields[2:]


@item(52)
def test_nothing_is_cancelled_after_the_channel_is_cleared(server, ctx, wait_for):
    x, _y = connect(ctx, "x", "wave")
    sub = x.subscribe()
    seen = watch(sub)
    wait_for(lambda: seen)
    (number,) = sub.callbacks
    sub.remove_callback(number)
    x.go_idle()
    server.wait_for(ca.ClearChannelRequest)
    sub.clear()
    x.unsubscribe_all()
    _y.read()
    kinds = [type(command) for command in server.connection.received]
    assert kinds.count(ca.EventCancelRequest) == 1
    assert kinds.index(ca.EventCancelRequest) < kinds.index(ca.ClearChannelRequest)


@item(52)
def test_nothing_is_cancelled_that_the_server_has_given_up(server, ctx, wait_for):
    x, y = connect(ctx, "x", "wave")
    sub = x.subscribe()
    seen = watch(sub)
    wait_for(lambda: seen)
    server.connection.send(server.connection.channel("x").disconnect())
    wait_for(lambda: not x.connected)
    sub.clear()
    y.read()
    assert not server.received(ca.EventCancelRequest)


@item(52)
def test_late_updates_and_the_confirmation_are_ignored(server, ctx, wait_for):
    held = []
    server.on[ca.EventCancelRequest] = lambda connection, command: held.append(command)
    (x,) = connect(ctx, "x")
    sub = x.subscribe()
    seen = watch(sub)
    wait_for(lambda: seen == [[1.5]])
    sub.clear()
    (cancel,) = server.wait_for(ca.EventCancelRequest)
    late = ca.EventAddResponse([6.5], ChannelType.DOUBLE, 1, 1, cancel.subscriptionid)
    connection = server.connection
    connection.send(late)
    server.usual(connection, cancel)
    connection.send_raw(late)  # not even legal
    assert x.read().data[0] == 1.5
    assert seen == [[1.5]] and server.connections == [connection]
    again = watch(sub)
    wait_for(lambda: again == [[1.5]])


@item(53)
def test_an_id_waits_for_the_confirmation_of_its_cancel(server, ctx, wait_for):
    held = []
    server.on[ca.EventCancelRequest] = lambda connection, command: held.append(command)
    (x,) = connect(ctx, "x")
    sub = x.subscribe()
    seen = watch(sub)
    wait_for(lambda: seen)
    sub.clear()
    (cancel,) = server.wait_for(ca.EventCancelRequest)
    circuit = x.circuit_manager.circuit
    circuit._next_id = cancel.subscriptionid
    seen = watch(sub)
    wait_for(lambda: seen)
    assert server.received(ca.EventAddRequest)[1].subscriptionid != cancel.subscriptionid
    circuit._next_id = cancel.subscriptionid
    x.read()
    assert server.received(ca.ReadNotifyRequest)[0].ioid != cancel.subscriptionid
    server.usual(server.connection, cancel)
    x.read()
    circuit._next_id = cancel.subscriptionid
    x.read()
    assert server.received(ca.ReadNotifyRequest)[2].ioid == cancel.subscriptionid


def hold_above(monkeypatch, size: int) -> None:
    """A brake that bites soon, lest the test take long."""
    monkeypatch.setattr(flow_control, "HIGH_WATER", size)
    monkeypatch.setattr(flow_control, "LOW_WATER", size // 6)


@item(55)
def test_updates_are_held_when_they_are_late(server, ctx, wait_for, monkeypatch):
    monkeypatch.setattr(flow_control, "LATE_HIGH_WATER", 20_000)
    monkeypatch.setattr(flow_control, "LATE", 0.2)
    (x,) = connect(ctx, "x")
    gate = threading.Event()
    seen = []

    def slow(response):
        gate.wait(10)
        seen.append(response.data[0])

    x.subscribe().add_callback(slow)
    wait_for(lambda: x.circuit_manager.backlog)  # the callback has begun to wait
    value = 0.0
    while not server.received(ca.EventsOffRequest):
        assert value < 100_000, "the brake does not bite"
        server.post("x", value := value + 1)
        x.read()
    assert x.circuit_manager.backlog < flow_control.HIGH_WATER
    server.post("x", 1234.0)
    gate.set()
    server.wait_for(ca.EventsOnRequest)
    wait_for(lambda: seen[-1:] == [1234.0], message="the last value")


@item(55)
def test_updates_are_held_while_callbacks_are_far_behind(server, ctx, wait_for, monkeypatch):
    hold_above(monkeypatch, size=60_000)
    (x,) = connect(ctx, "x")
    gate = threading.Event()
    seen = []

    def slow(response):
        gate.wait(10)
        seen.append(response.data[0])

    x.subscribe().add_callback(slow)
    value = 100.0
    for round_ in (1, 2):
        gate.clear()
        while len(server.received(ca.EventsOffRequest)) < round_:
            assert value < 100_000, "the brake does not bite"
            server.post("x", value := value + 1)
        for _ in range(500):
            server.post("x", value := value + 1)
        assert x.read().data[0] == value, "replies are not held"
        gate.set()
        server.wait_for(ca.EventsOnRequest, round_)
        wait_for(lambda: seen[-1:] == [value], message="the last value")
    assert len(seen) < value - 100, "values in between were left out"
    assert seen == sorted(seen)
    brakes = [
        type(command)
        for command in server.connection.received
        if isinstance(command, (ca.EventsOffRequest, ca.EventsOnRequest))
    ]
    assert brakes == [ca.EventsOffRequest, ca.EventsOnRequest] * 2
    assert x.circuit_manager.pauses == 2


@item(56)
def test_a_subscription_without_access_says_so_and_goes_on_by_itself(
    server, ctx, caplog, wait_for
):
    (x,) = connect(ctx, "x")
    seen = watch(x.subscribe())
    wait_for(lambda: seen == [[1.5]])
    connection = server.connection
    (subid,) = connection.subscriptions("x")

    def no_access():
        connection.send(
            connection.channel("x").rights(0),
            ca.EventAddResponse([0.0], ChannelType.DOUBLE, 1, CAStatus.ECA_NORDACCESS, subid),
        )

    with caplog.at_level(logging.WARNING, "caproto"):
        no_access()
        no_access()
        wait_for(lambda: not x.access_rights)
        with pytest.raises(AccessError):
            x.read()
        wait_for(lambda: caplog.records)
        connection.send(connection.channel("x").rights(3))
        server.post("x", 5.5)
        wait_for(lambda: seen == [[1.5], [5.5]])
    (record,) = caplog.records
    assert record.pv == "x" and "ECA_NORDACCESS" in record.getMessage()
    assert len(server.received(ca.EventAddRequest)) == 1
    with caplog.at_level(logging.WARNING, "caproto"):
        no_access()
        wait_for(lambda: len(caplog.records) == 2, message="a new occasion, a new report")
