"""One circuit against a scripted server: what it says, what it makes of replies, how it ends."""
from __future__ import annotations

import gc
import logging
import select
import threading
import weakref

import pytest

import caproto as ca
from caproto import (
    AccessRights,
    CaprotoTimeoutError,
    CAStatus,
    ChannelType,
    DeadCircuitError,
    ReadError,
    WriteError,
)
from caproto._client.operations import Write
from caproto.threading import _transport
from caproto.threading._waiting import Deadline
from caproto.threading.client import Context, _circuit
from tests.conformance.items import item
from tests.harness.fake_server import FakePV, ignore


def connect(ctx, *names):
    """Connected PVs."""
    pvs = ctx.get_pvs(*names)
    for pv in pvs:
        pv.wait_for_connection()
    return pvs


def watch(pv, **options):
    """A list that collects the first elements of all updates of *pv*."""
    seen = []

    def note(response):
        seen.append(response.data[0])

    pv.subscribe(**options).add_callback(note, strong=True)
    return seen


# ---- facts -----------------------------------------------------------------------------------


def test_facts_for_users(ctx, server, wait_for):
    x, y = connect(ctx, "x", "y")
    manager = x.circuit_manager
    seen = watch(x)
    wait_for(lambda: seen)
    assert manager is y.circuit_manager
    assert manager.connected and not manager.dead
    assert {manager.pvs[pv.channel.cid] for pv in (x, y)} == {x, y}
    assert {manager.channels[pv.channel.cid] for pv in (x, y)} == {x.channel, y.channel}
    (sub,) = x.subscriptions
    assert manager.subscriptions == {sub.event_id: sub}
    assert 0 <= manager.time_since_last_heard() < 5
    assert manager.circuit.address == server.address
    assert repr(manager) == (
        f"<VirtualCircuitManager: connected to 127.0.0.1:{server.port}, priority 0, 2 PVs, "
        "1 subscription>"
    )


def test_one_thread_reads_and_one_calls_back(ctx, server, wait_for):
    x, y = connect(ctx, "x", "y")
    threads = []

    def note(response):
        threads.append(threading.current_thread().name)

    for pv in (x, y):
        pv.subscribe().add_callback(note)
    wait_for(lambda: len(threads) == 2)
    assert set(threads) == {f"ca-callback 127.0.0.1:{server.port}"}
    names = [t.name for t in threading.enumerate() if t.name.startswith("ca-circuit")]
    assert names == [f"ca-circuit 127.0.0.1:{server.port}"]


def test_the_backlog_is_what_waits_for_callbacks(ctx, server, wait_for):
    (x,) = connect(ctx, "x")
    gate, running = threading.Event(), threading.Event()

    def slow(response):
        running.set()
        gate.wait(10)

    x.subscribe().add_callback(slow)
    manager = x.circuit_manager
    assert running.wait(10)
    before = manager.backlog
    assert before > 0
    server.post("x", 2.5)
    x.read()  # the update came before this reply
    assert manager.backlog > before
    gate.set()
    wait_for(lambda: manager.backlog == 0)


def test_commands_are_logged_with_both_addresses_and_the_direction(ctx, server, caplog):
    (x,) = connect(ctx, "x")
    manager = x.circuit_manager
    manager.log.setLevel("DEBUG")
    x.read()
    records = [r for r in caplog.records if "ReadNotify" in r.getMessage()]
    assert [(r.direction, r.getMessage().split("(")[0]) for r in records] == [
        ("--->>>", "ReadNotifyRequest"), ("<<<---", "ReadNotifyResponse"),
    ]
    for record in records:
        assert record.name == "caproto.circ" and record.role == "CLIENT"
        assert record.their_address == server.address
        assert record.our_address == server.connection.circuit.address


def test_every_command_sent_is_logged(server, caplog):
    with caplog.at_level(logging.DEBUG, "caproto.circ"):
        with Context(configuration=server.configuration, timeout=5) as ctx:
            (x,) = connect(ctx, "x")
            x.read()
            x.write(2.5)
    logged = [r.getMessage() for r in caplog.records if getattr(r, "direction", "") == "--->>>"]
    assert logged == [repr(command) for command in server.connection.received]


def test_nothing_is_composed_for_a_log_that_nobody_reads(ctx, server, monkeypatch):
    (x,) = connect(ctx, "x")

    def fail(self):
        raise AssertionError("repr was asked for")

    monkeypatch.setattr(ca.ReadNotifyResponse, "__repr__", fail)
    assert x.read().data[0] == 1.5


# ---- replies ---------------------------------------------------------------------------------


def test_a_late_reply_is_nobodys(ctx, server):
    (x,) = connect(ctx, "x")
    held = []
    server.on[ca.ReadNotifyRequest] = lambda connection, command: held.append(command)
    with pytest.raises(CaprotoTimeoutError, match="no reply to the read within 0.05 s"):
        x.read(timeout=0.05)
    del server.on[ca.ReadNotifyRequest]
    connection = server.connection
    connection.send(server.read_reply(connection, held[0]))
    assert x.read().data[0] == 1.5
    assert server.connections == [connection]


def test_an_operation_that_was_given_up_keeps_nothing(ctx, server):
    (x,) = connect(ctx, "x")
    manager = x.circuit_manager
    for kind in (ca.ReadNotifyRequest, ca.WriteNotifyRequest):
        server.on[kind] = ignore
    for operation in (x.read, lambda timeout: x.write(1.0, timeout=timeout)):
        with pytest.raises(CaprotoTimeoutError):
            operation(timeout=0.01)
    assert not manager.circuit.pending
    x.go_idle()
    server.wait_for(ca.ClearChannelRequest)


@pytest.mark.parametrize("kind", [ca.ReadNotifyRequest, ca.WriteNotifyRequest])
def test_a_reply_that_comes_twice_counts_once(ctx, server, kind):
    (x,) = connect(ctx, "x")
    seen = []

    def twice(connection, command):
        if kind is ca.ReadNotifyRequest:
            reply = server.read_reply(connection, command)
        else:
            reply = ca.WriteNotifyResponse(command.data_type, command.data_count, 1, command.ioid)
        connection.send_raw(reply, reply)
        connection.circuit.pending.pop(command.ioid)

    server.on[kind] = twice
    if kind is ca.ReadNotifyRequest:
        x.read(wait=False, callback=seen.append)
    else:
        x.write(2.5, wait=False, callback=seen.append)
    del server.on[kind]
    done = threading.Event()
    x.read(wait=False, callback=lambda response: done.set())
    assert done.wait(10)
    assert len(seen) == 1 and len(server.connections) == 1


def test_replies_may_come_in_any_order(ctx, server):
    x, y = connect(ctx, "x", "y")
    held, seen = [], {}
    server.on[ca.ReadNotifyRequest] = lambda connection, command: held.append(command)
    done = threading.Event()
    for pv in (x, y):

        def note(response, pv=pv):
            seen[pv.name] = response.data[0]
            if len(seen) == 2:
                done.set()

        pv.read(wait=False, callback=note)
    server.wait_for(ca.ReadNotifyRequest, 2)
    connection = server.connection
    for command in reversed(held):
        connection.send(server.read_reply(connection, command))
    assert done.wait(10)
    assert seen == {"x": 1.5, "y": 2.5}
    assert list(seen) == ["y", "x"], "told in the order of the wire"


@item(44)
def test_a_stream_that_cannot_be_read_costs_the_circuit_and_its_reads_but_no_pv(
    ctx, server, caplog
):
    (x,) = connect(ctx, "x")
    first = x.circuit_manager

    def answer(connection, command):
        del server.on[ca.ReadNotifyRequest]
        connection.send_raw(bytes.fromhex("00ff0000 00000000 00000000 00000000"))

    server.on[ca.ReadNotifyRequest] = answer
    with caplog.at_level(logging.ERROR, "caproto.circ"):
        with pytest.raises(ca.RemoteProtocolError, match="'x': the read failed.*number 255"):
            x.read()
        assert x.read().data[0] == 1.5
    assert first.dead and x.circuit_manager is not first
    (record,) = caplog.records
    assert f"Protocol violation by 127.0.0.1:{server.port}" in record.getMessage()


@item(44)
@pytest.mark.parametrize(
    "wrong",
    [
        lambda ioid: ca.WriteNotifyResponse(ChannelType.DOUBLE, 1, 1, ioid),
        lambda ioid: ca.ReadNotifyResponse.from_wire((15, 8, 99, 1, 1, ioid), bytes(8)),
        lambda ioid: ca.ReadNotifyResponse.from_wire((15, 8, 6, 2, 1, ioid), bytes(8)),
    ],
    ids=["another kind", "no type", "cut off"],
)
def test_an_answer_that_cannot_be_used_costs_its_operation(ctx, server, wrong):
    (x,) = connect(ctx, "x")
    first = x.circuit_manager

    def answer(connection, command):
        del server.on[ca.ReadNotifyRequest]
        connection.send_raw(wrong(command.ioid))

    server.on[ca.ReadNotifyRequest] = answer
    with pytest.raises(ca.MessageError, match="'x': the read failed: .*127.0.0.1"):
        x.read()
    assert x.read().data[0] == 1.5 and x.circuit_manager is first


def test_what_came_before_the_breach_counts(ctx, server):
    (x,) = connect(ctx, "x")
    done = []

    def answer(connection, command):
        good = ca.WriteNotifyResponse(command.data_type, command.data_count, 1, command.ioid)
        done.append(command)  # first: the reply may be there before this function is over
        connection.send_raw(bytes(good) + bytes.fromhex("00ff0000 00000000 00000000 00000000"))

    server.on[ca.WriteNotifyRequest] = answer
    assert x.write(2.5).status == CAStatus.ECA_NORMAL
    assert len(done) == 1


def test_a_second_answer_to_create_chan_is_ignored(ctx, server):
    (x,) = connect(ctx, "x")
    sid = x.channel.sid
    server.connection.send_raw(ca.CreateChanResponse(ChannelType.LONG, 7, x.channel.cid, 999))
    assert x.read().data[0] == 1.5
    assert (x.channel.sid, x.channel.native_data_count) == (sid, 1)


# ---- refusals --------------------------------------------------------------------------------


def refuse(status, text=""):
    """A handler: answers with ERROR."""

    def handler(connection, command):
        channel = connection.circuit.channels_sid[command.sid]
        connection.send(ca.ErrorResponse(command, channel.cid, status, text))

    return handler


@item(50)
@pytest.mark.parametrize("notify", [True, False])
def test_an_error_message_finishes_a_read(ctx, server, notify):
    (x,) = connect(ctx, "x")
    for kind in (ca.ReadNotifyRequest, ca.ReadRequest):
        server.on[kind] = refuse(CAStatus.ECA_GETFAIL, "T:x")
    with pytest.raises(ReadError, match="ECA_GETFAIL.*'T:x'") as raised:
        x.read(notify=notify)
    assert (raised.value.status, raised.value.pv) == (CAStatus.ECA_GETFAIL, x)
    assert raised.value.address == server.address
    assert len(server.connections) == 1


@item(50)
def test_an_error_message_finishes_a_write(ctx, server):
    (x,) = connect(ctx, "x")
    server.on[ca.WriteNotifyRequest] = refuse(CAStatus.ECA_PUTFAIL, "DISP is set")
    with pytest.raises(WriteError, match="DISP is set") as raised:
        x.write(2.5)
    assert raised.value.status == CAStatus.ECA_PUTFAIL


@item(50)
def test_a_write_that_nobody_waits_for_is_refused_in_the_log(ctx, server, caplog, wait_for):
    x, y = connect(ctx, "x", "y")
    server.on[ca.WriteRequest] = refuse(CAStatus.ECA_NOWTACCESS, "T:x")
    with caplog.at_level(logging.WARNING, "caproto"):
        x.write(2.5, wait=False)
        assert y.read().data[0] == 2.5
        wait_for(lambda: caplog.records)
    (record,) = caplog.records
    assert record.pv == "x" and record.levelno == logging.WARNING
    assert "ECA_NOWTACCESS" in record.getMessage() and "'T:x'" in record.getMessage()


@item(50)
def test_a_refused_subscription_is_reported_once_until_updates_come(ctx, server, caplog, wait_for):
    (x,) = connect(ctx, "x")
    server.on[ca.EventAddRequest] = refuse(CAStatus.ECA_GETFAIL)
    with caplog.at_level(logging.WARNING, "caproto"):
        seen = watch(x)
        (request,) = server.wait_for(ca.EventAddRequest)
        server.on[ca.EventAddRequest](server.connection, request)
        x.read()
        wait_for(lambda: caplog.records)
        assert "'x'" in caplog.records[0].getMessage()
        assert "ECA_GETFAIL" in caplog.records[0].getMessage()
        server.post("x", 3.5)
        wait_for(lambda: seen == [3.5])
    assert len(caplog.records) == 1
    assert len(server.connections) == 1


@item(50)
def test_an_error_about_nothing_in_particular_is_logged(ctx, server, caplog, wait_for):
    (x,) = connect(ctx, "x")
    with caplog.at_level(logging.WARNING, "caproto.circ"):
        server.connection.send(
            ca.ErrorResponse(ca.HostNameRequest("h"), 0xFFFFFFFF, CAStatus.ECA_INTERNAL, "late")
        )
        wait_for(lambda: caplog.records)
        x.read()
    (record,) = caplog.records
    assert "ECA_INTERNAL" in record.getMessage() and "'late'" in record.getMessage()


def test_values_above_the_configured_limit_are_refused_by_us(start_server, caplog, wait_for):
    """The payload is skipped, whoever waits is told, and the circuit goes on."""
    server = start_server({
        "big": FakePV([1] * 30_000, ChannelType.CHAR),
        "small": FakePV([1] * 16_384, ChannelType.CHAR),
    })
    config = server.configuration.replace(auto_array_bytes=False, max_array_bytes=16_384)
    with Context(configuration=config, timeout=5) as ctx:
        big, small = connect(ctx, "big", "small")
        for options in ({}, {"notify": False}):
            with pytest.raises(ReadError, match="'big'.*30000 bytes.*MAX_ARRAY_BYTES") as raised:
                big.read(**options)
            assert (raised.value.status, raised.value.pv) == (CAStatus.ECA_TOLARGE, big)
        assert len(small.read().data) == 16_384
        assert len(big.read(data_count=100).data) == 100
        with caplog.at_level(logging.WARNING, "caproto"):
            seen = watch(big)
            server.wait_for(ca.EventAddRequest)
            server.post("big", [2] * 30_000)
            server.post("big", [3] * 3)
            wait_for(lambda: seen == [3] and caplog.records)
        (record,) = caplog.records
        assert "ECA_TOLARGE" in record.getMessage() and "'big'" in record.getMessage()
        assert len(server.connections) == 1


# ---- rights ----------------------------------------------------------------------------------


@item(34)
def test_changes_of_rights_are_told_in_order_also_among_updates(ctx, server, wait_for):
    order = []

    def rights(pv, access):
        order.append(access)

    (x,) = ctx.get_pvs("x", access_rights_callback=rights)
    x.wait_for_connection()
    x.subscribe().add_callback(lambda response: order.append(response.data[0]), strong=True)
    wait_for(lambda: order == [AccessRights.READ | AccessRights.WRITE, 1.5])
    connection = server.connection
    channel = connection.channel("x")
    for number in range(4):
        connection.send(channel.rights(number))
        server.post("x", float(number))
    wait_for(lambda: len(order) == 10)
    assert order[2:] == [
        AccessRights(0), 0.0, AccessRights.READ, 1.0, AccessRights.WRITE, 2.0, AccessRights(3), 3.0
    ]
    assert x.access_rights == AccessRights(3)


class Flickering:
    """A PV whose way to its server is looked at again and again: now there, now not."""

    def __init__(self, *links) -> None:
        self._links = list(links)

    @property
    def channel(self):
        return self._links.pop(0)


@pytest.mark.parametrize("there, sent", [((False, True), 0), ((True, False), 1)])
def test_what_cannot_be_sent_yet_holds_up_what_comes_later_for_the_same_pv(
    ctx, server, there, sent
):
    x, y = connect(ctx, "x", "y")
    manager, channel = x.circuit_manager, x.channel
    pv = Flickering(*(channel if connected else None for connected in there))
    first, second, other = (
        Write(target, None, Deadline(10), value, None, None, False)
        for target, value in ((pv, 1.0), (pv, 2.0), (y, 3.0))
    )
    unsent, failed = manager._circuit.request_many([first, second, other], Deadline(10))
    assert unsent == [first, second][sent:] and not failed
    values = [c.data.tolist() for c in server.wait_for(ca.WriteRequest, sent + 1)]
    assert values == [[1.0], [3.0]][1 - sent:]


# ---- the brake -------------------------------------------------------------------------------


def test_events_off_and_on(ctx, server, wait_for):
    (x,) = connect(ctx, "x")
    seen = watch(x)
    wait_for(lambda: seen == [1.5])
    manager = x.circuit_manager
    manager.events_off()
    manager.events_off()
    server.wait_for(ca.EventsOffRequest)
    for value in (2.0, 3.0, 4.0):
        server.post("x", value)
    assert x.read().data[0] == 4.0, "replies are not held"
    assert seen == [1.5]
    manager.events_on()
    manager.events_on()
    wait_for(lambda: seen == [1.5, 4.0])
    x.read()
    assert len(server.received(ca.EventsOffRequest)) == 1
    assert len(server.received(ca.EventsOnRequest)) == 1
    assert manager.pauses == 1


# ---- the end ---------------------------------------------------------------------------------


@item(42)
def test_the_circuit_goes_with_its_last_channel(ctx, server, wait_for):
    x, y = connect(ctx, "x", "y")
    manager = x.circuit_manager
    x.go_idle()
    server.wait_for(ca.ClearChannelRequest)
    assert y.read().data[0] == 2.5 and not manager.dead
    y.go_idle()
    wait_for(lambda: not server.connection.open)
    manager._circuit.join(10)
    assert manager.dead and not manager._circuit._thread.alive
    assert len(server.received(ca.ClearChannelRequest)) == 2
    assert x.read().data[0] == 1.5, "on a new circuit"
    assert len(server.connections) == 2


def fin_arrived(connection) -> None:
    """Wait until the client's end of file is in the server's socket, read or not."""
    end = select.poll()
    end.register(connection.sock, select.POLLRDHUP)
    assert end.poll(10_000)


@item(43)
def test_closing_half_closes_and_waits_for_the_server(ctx, server, monkeypatch):
    for module in (_transport, _circuit):
        monkeypatch.setattr(module, "HANG_UP_TIME", 10.0)
    (x,) = connect(ctx, "x")
    manager, connection = x.circuit_manager, server.connection
    gate = threading.Event()
    server.on[ca.WriteRequest] = lambda connection, command: gate.wait(10)
    x.write(1.0, wait=False)
    server.wait_for(ca.WriteRequest)
    x.write(2.0, wait=False)
    manager._circuit.close()
    fin_arrived(connection)
    connection.send_raw(ca.EchoResponse())  # we still listen, so nothing is reset
    assert manager._circuit._thread.alive
    gate.set()
    manager._circuit.join(10)
    assert not manager._circuit._thread.alive
    assert [c.data[0] for c in connection.commands(ca.WriteRequest)] == [1.0, 2.0]


def test_what_was_sent_before_the_disconnect_arrives(server, wait_for, monkeypatch):
    """More than all buffers of the kernel take while the server does not read."""
    for module in (_transport, _circuit):
        monkeypatch.setattr(module, "HANG_UP_TIME", 20.0)
    server.pvs["big"] = FakePV([0], ChannelType.CHAR, max_count=20_000_000)
    server.on[ca.WriteRequest] = ignore
    ctx = Context(configuration=server.configuration, timeout=5)
    x, big = connect(ctx, "x", "big")
    server.connection.stop_reading()
    writer = threading.Thread(target=big.write, args=(bytes(20_000_000),), kwargs={"wait": False})
    writer.start()
    wait_for(lambda: x.circuit_manager._circuit._transport.outbox)
    for number in range(100):
        x.write(float(number), wait=False, timeout=0)
    server.connection.go_on_reading()
    ctx.disconnect()
    writer.join(10)
    assert server.wait_for(ca.WriteRequest, 101)[0].data_count == 20_000_000


def test_operations_under_way_fail_when_the_circuit_is_closed(ctx, server, caplog):
    (x,) = connect(ctx, "x")
    circuit = x.circuit_manager._circuit
    server.on[ca.WriteNotifyRequest] = lambda connection, command: circuit.close()
    with pytest.raises(DeadCircuitError, match=f"'x': the write failed: 127.0.0.1:{server.port}"):
        x.write(2.5)


def test_a_circuit_that_has_ended_is_not_kept_by_its_context(server, ctx, wait_for):
    (x,) = connect(ctx, "x")
    assert ctx.table(["x"]).read().ok[0]  # it looks at the locks of all circuits
    alive = weakref.ref(x.circuit_manager._circuit)
    server.answers = lambda search: False
    server.connection.reset()

    def gone() -> bool:
        gc.collect()
        return alive() is None

    wait_for(gone)


def test_a_circuit_that_nobody_needs_is_collected(server, wait_for):
    ctx = Context(configuration=server.configuration, timeout=5)
    (x,) = connect(ctx, "x")
    thread, alive = x.circuit_manager._circuit._thread, weakref.ref(x.circuit_manager)
    del ctx, x

    def ended() -> bool:
        gc.collect()  # more than once: a thread may be in the middle of its turn, and hold them
        return not thread.alive

    wait_for(ended)
    wait_for(lambda: not server.connection.open)
    assert alive() is None
