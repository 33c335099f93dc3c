"""How a table is written: by columns where it can be, and the rest PV by PV."""
from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest

import caproto as ca
from caproto._client.columns import make_form
from caproto.threading.client import AccessError, Context
from caproto.threading.client._table_operations import ColumnOperation
from tests.harness.fake_server import FakePV, ignore


@pytest.mark.parametrize("wait", [True, False])
def test_a_write_that_is_not_allowed_is_the_error_of_an_ordinary_one(server, ctx, wait):
    server.pvs["readonly"] = FakePV(1.0, rights=1)
    table, pv = ctx.table(["x", "readonly"]), ctx.get_pv("readonly")
    written = table.write(5.0, wait=wait)
    with pytest.raises(AccessError) as caught:
        pv.write(5.0, wait=wait)
    assert written.ok.tolist() == [True, False]
    assert str(written.errors["readonly"]) == str(caught.value)


@pytest.mark.parametrize("connected", [True, False])
def test_all_tables_together_have_at_most_so_many_writes_under_way(
    start_server, monkeypatch, connected
):
    """Also those of PVs that get connected during the write; each is sent when others finish."""
    monkeypatch.setattr("caproto.threading.client._table_writes.MOST_WRITES", 10)
    monkeypatch.setattr("caproto.threading.client._table_operations.PART", 5)
    names = [f"pv{number}" for number in range(40)]
    server = start_server(dict.fromkeys(names, 1.0))
    commands: SimpleQueue[ca.WriteNotifyRequest | None] = SimpleQueue()
    most, full = [0], threading.Event()
    # Tables that send as their PVs get connected leave room for less than a part, perhaps.
    enough = 10 if connected else 6

    def collect(connection, command):
        commands.put(command)
        most[0] = max(most[0], commands.qsize())
        if commands.qsize() == enough:
            full.set()

    def finish() -> None:
        """Answer the writes one after the other, when there are enough."""
        assert full.wait(10)
        while (command := commands.get()) is not None:
            server.usual(server.connection, command)

    server.on[ca.WriteNotifyRequest] = collect
    with Context(configuration=server.configuration, timeout=20) as ctx:
        tables = [ctx.table(names[:20]), ctx.table(names[20:])]
        if connected:
            for table in tables:
                table.wait_for_connection()
        with ThreadPoolExecutor() as pool:
            written = [pool.submit(table.write, 7.0) for table in tables]
            finished = pool.submit(finish)
            assert all(one.result().ok.all() for one in written)
            commands.put(None)
            finished.result()
    assert enough <= most[0] <= 10


@pytest.mark.parametrize("lost", [False, True])
def test_a_write_that_waits_for_another_goes_on_when_that_has_failed(
    start_server, monkeypatch, lost
):
    """Because its time is over, or its circuit is lost."""
    monkeypatch.setattr("caproto.threading.client._table_writes.MOST_WRITES", 2)
    server = start_server({"a": 1.0, "b": 2.0, "c": 3.0})
    with Context(configuration=server.configuration, timeout=10) as ctx:
        first, second = ctx.table(["a", "b"]), ctx.table(["c"])
        first.wait_for_connection()
        second.wait_for_connection()
        waits = threading.Event()
        wait_for_room = ColumnOperation._wait_for_room

        def about_to_wait(operation, queues):
            waits.set()
            return wait_for_room(operation, queues)

        monkeypatch.setattr(ColumnOperation, "_wait_for_room", about_to_wait)
        server.on[ca.WriteNotifyRequest] = ignore
        with ThreadPoolExecutor() as pool:
            fails = pool.submit(first.write, 5.0, timeout=10 if lost else 0.3)
            server.wait_for(ca.WriteNotifyRequest, count=2)
            server.on.clear()
            goes_on = pool.submit(second.write, 5.0)
            assert waits.wait(10)
            if lost:
                server.connection.reset()
            assert len(fails.result().errors) == 2 and goes_on.result().ok.all()


@pytest.mark.parametrize("call", ["read", "write"])
def test_two_interrupts_in_a_row_leave_nothing_behind(start_server, monkeypatch, call):
    """The second one strikes before the call has withdrawn what it sent."""
    monkeypatch.setattr("caproto.threading.client._table_writes.MOST_WRITES", 2)
    server = start_server({"a": 1.0, "b": 2.0})
    with Context(configuration=server.configuration, timeout=10) as ctx:
        table = ctx.table(["a", "b"])
        table.wait_for_connection()

        def interrupted(operation):
            raise KeyboardInterrupt

        for request in (ca.WriteNotifyRequest, ca.ReadNotifyRequest):
            server.on[request] = ignore
        with monkeypatch.context() as patched:
            patched.setattr(ColumnOperation, "stop", interrupted)
            with pytest.raises(KeyboardInterrupt):
                table.read(timeout=0.1) if call == "read" else table.write(5.0, timeout=0.1)
        server.on.clear()
        assert table.write([6.0, 7.0]).ok.all() and table.read().values.tolist() == [6.0, 7.0]
        (circuit,) = ctx.circuit_managers.values()
        assert not circuit.circuit.ranges


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize(
    "dtype, count, value",
    [(float, 1, 0.1), ("float", 1, 0.1), (int, 1, -5), ("short", 1, 7), ("enum", 1, 1),
     ("char", 1, 200), (str, 1, "1.234567"), (float, 2, [0.5, math.nan]), (str, 2, ["a", "2.5"])],
)  # fmt: skip
def test_a_write_is_sent_in_the_form_of_the_table_before_the_pvs_are_connected_too(
    server, ctx, dtype, count, value, wait
):
    """Not in the types of the PVs, of which the bytes of a text would make other numbers."""
    table = ctx.table(["wave"] if count > 1 else ["x", "text", "wave"], dtype=dtype, count=count)
    command = ca.WriteNotifyRequest if wait else ca.WriteRequest
    server.on[command] = lambda connection, request: (
        connection.send(ca.WriteNotifyResponse(request.data_type, request.data_count, 1,
                                               request.ioid)) if wait else None
    )  # fmt: skip
    assert table.write(value, wait=wait).ok.all()
    first = server.wait_for(command, count=len(table))
    assert table.write(value, wait=wait).ok.all()
    later = server.wait_for(command, count=2 * len(table))[len(table) :]
    for requests in (first, later):
        requests.sort(key=lambda request: request.sid)
    # Of a single text, the bytes after its end need not be sent.
    sent, by_columns = (
        [(one.sid, one.data_type, one.data_count, bytes(one.payload).rstrip(b"\0"))
         for one in requests]
        for requests in (first, later)
    )  # fmt: skip
    assert sent == by_columns and {one[1] for one in sent} == {make_form(dtype, "time", 1).plain}


def test_a_write_that_is_too_large_for_an_old_server_is_not_sent(start_server):
    """It cannot take the long header; as the ordinary write says, before and after connecting."""
    server = start_server({"a": FakePV([1.0], max_count=8192)}, version=8)
    with Context(configuration=server.configuration, timeout=5) as ctx:
        for count, ok in ((8191, True), (8192, False)):
            table = ctx.table(["a"], count=count)
            for _ in range(2):
                written = table.write(1.0)
                assert written.ok[0] == ok
        assert "65536 bytes are too large for channel 'a'" in str(written.errors["a"])
