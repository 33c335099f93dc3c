"""How a table is read: by columns where it can be, and the rest PV by PV."""
from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest

import caproto as ca
from caproto import CaprotoTimeoutError
from caproto._client.columns import TableForm, make_form
from caproto.threading._waiting import Deadline
from caproto.threading.client import AccessError, Context, ReentrantCallError
from caproto.threading.client._table_operations import ColumnOperation, read_columns
from caproto.threading.client._table_shares import Shares
from tests.harness.fake_server import FakePV, ignore, reset
from tests.harness.interrupts import enter_each_line
from tests.harness.waiting import wait_for


def test_shares_that_are_out_of_date_are_read_pv_by_pv(ctx, server):
    form = TableForm(["x", "y"], "time", float, 1)
    pvs = ctx.get_pvs("x", "y")
    for pv in pvs:
        pv.wait_for_connection()
    shares = Shares(form, pvs, ca.AccessRights.READ)
    old = shares.now()
    server.connection.send(
        ca.AccessRightsResponse(server.connection.channel("x").cid, ca.AccessRights(1))
    )
    pvs[0].read()  # so it has come
    read, errors = read_columns(form, pvs, old, threading.RLock(), Deadline(5))
    assert read.columns.values.tolist() == [1.5, 2.5] and not errors


def test_several_circuits_are_asked_at_once(start_server):
    """Neither server answers before both were asked."""
    first, second = start_server({"a": 1.0}), start_server({"b": 2.0})
    both = threading.Barrier(2)

    def answer(connection, command):
        both.wait(5)
        connection.server.usual(connection, command)

    environ = {**first.environ,
               "EPICS_CA_ADDR_LIST": f"127.0.0.1:{first.port} 127.0.0.1:{second.port}"}  # fmt: skip
    configuration = type(first.configuration).from_environment(environ)
    with Context(configuration=configuration, timeout=5) as ctx:
        table = ctx.table(["a", "b"])
        table.wait_for_connection()
        first.on[ca.ReadNotifyRequest] = second.on[ca.ReadNotifyRequest] = answer
        assert table.read().values.tolist() == [1.0, 2.0]


def read_in_a_thread(table) -> tuple[threading.Event, list]:
    """Have *table* read without end; return the event of its end, and a list for the snapshot."""
    done, snapshots = threading.Event(), []

    def read() -> None:
        snapshots.append(table.read(timeout=None))
        done.set()

    threading.Thread(target=read).start()
    return done, snapshots


def test_a_lost_read_is_repeated_at_once_although_another_pv_stays_missing(server, ctx):
    table = ctx.table(["x", "missing", "y"])
    for name in ("x", "y"):
        ctx.get_pv(name).wait_for_connection()

    def twice(connection, command):
        (reset if len(server.connections) < 3 else server.usual)(connection, command)

    server.on[ca.ReadNotifyRequest] = twice
    done, snapshots = read_in_a_thread(table)
    wait_for(lambda: len(server.connections) == 3, 30, "the third circuit")
    wait_for(lambda: len(server.connection.commands(ca.ReadNotifyRequest)) == 2, 30, "both reads")
    assert not done.is_set()
    server.pvs["missing"] = server.pvs["x"]
    assert done.wait(30)
    assert snapshots[0].values.tolist() == [1.5, 1.5, 2.5] and not snapshots[0].errors


def test_a_lost_read_is_repeated_at_once_although_another_server_is_silent(start_server):
    lossy, silent = start_server({"a": 1.0}), start_server({"b": 2.0})
    environ = {**lossy.environ,
               "EPICS_CA_ADDR_LIST": f"127.0.0.1:{lossy.port} 127.0.0.1:{silent.port}"}  # fmt: skip
    configuration = type(lossy.configuration).from_environment(environ)
    with Context(configuration=configuration, timeout=10) as ctx:
        table = ctx.table(["a", "b"])
        table.wait_for_connection()
        silent.on[ca.ReadNotifyRequest] = ignore
        lossy.on[ca.ReadNotifyRequest] = lambda connection, command: (
            lossy.on.clear(), reset(connection, command)
        )
        done, snapshots = read_in_a_thread(table)
        lossy.wait_for(ca.ReadNotifyRequest, count=2, timeout=30)
        assert not done.is_set()
        (request,) = silent.wait_for(ca.ReadNotifyRequest)
        silent.usual(silent.connection, request)
        assert done.wait(30)
    assert snapshots[0].values.tolist() == [1.0, 2.0] and not snapshots[0].errors


def test_a_lost_read_that_cannot_be_repeated_in_time_says_what_an_ordinary_one_says(server, ctx):
    table = ctx.table(["x"])

    def hang_up_for_good(connection, command):
        server.stop_tcp()
        server.stop_udp()
        reset(connection, command)

    said = []
    for read in (table.read, lambda timeout: ctx.read("x", timeout=timeout)):
        table.wait_for_connection()
        server.on[ca.ReadNotifyRequest] = hang_up_for_good
        said.append(read(timeout=0.5).errors["x"])
        server.on.clear()
        server.start()
    assert type(said[0]) is type(said[1]) is CaprotoTimeoutError
    assert str(said[0]) == str(said[1]).replace(" (2 attempts in a row)", "")


@pytest.mark.parametrize("connected", [True, False])
def test_a_reply_of_another_length_is_an_error_that_names_the_pv(server, ctx, connected):
    """Whether it is read by columns, or alone because it was not connected."""
    server.on[ca.ReadNotifyRequest] = lambda connection, command: connection.send_raw(
        ca.ReadNotifyResponse([1.0], ca.ChannelType.DOUBLE, 1, 1, command.ioid)
    )
    table = ctx.table(["wave"], data_type="native", count=2)
    if connected:
        table.wait_for_connection()
    assert str(table.read().errors["wave"]) == "'wave': the read failed: 1 element came, not 2"


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
    monkeypatch.setattr("caproto.threading.client._table_operations.MOST_WRITES", 10)
    monkeypatch.setattr("caproto.threading.client._table_operations.PART", 5)
    names = [f"pv{number}" for number in range(40)]
    server = start_server(dict.fromkeys(names, 1.0))
    commands: SimpleQueue[ca.WriteNotifyRequest | None] = SimpleQueue()
    most, full = [0], threading.Event()

    def collect(connection, command):
        commands.put(command)
        most[0] = max(most[0], commands.qsize())
        if commands.qsize() == 10:
            full.set()

    def finish() -> None:
        """Answer the writes one after the other, when there are as many as may be."""
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
    assert most[0] == 10


@pytest.mark.parametrize("lost", [False, True])
def test_a_write_that_waits_for_another_goes_on_when_that_has_failed(
    start_server, monkeypatch, lost
):
    """Because its time is over, or its circuit is lost."""
    monkeypatch.setattr("caproto.threading.client._table_operations.MOST_WRITES", 2)
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


def test_a_server_has_at_most_so_many_writes_under_way(start_server, monkeypatch):
    """An IOC forgets completions if there are more than it can queue."""
    monkeypatch.setattr("caproto.threading.client._table_operations.MOST_WRITES", 10)
    monkeypatch.setattr("caproto.threading.client._table_operations.PART", 5)
    names = [f"pv{number}" for number in range(30)]
    server = start_server(dict.fromkeys(names, 1.0))
    with Context(configuration=server.configuration, timeout=5) as ctx:
        table = ctx.table(names)
        table.wait_for_connection()
        waiting: list[ca.WriteNotifyRequest] = []
        most = [0]

        def answer_late(connection, command):
            waiting.append(command)
            most[0] = max(most[0], len(waiting))
            if len(waiting) == 5:
                for one in waiting:
                    connection.server.usual(connection, one)
                waiting.clear()

        server.on[ca.WriteNotifyRequest] = answer_late
        assert table.write(range(30)).ok.all() and most[0] == 5
        assert table.read().values.tolist() == list(range(30))
        server.on[ca.WriteNotifyRequest] = ignore
        errors = table.write(7.0, timeout=0.3).errors
        assert len(errors) == 30
        unsent = [one for one in errors.values() if "was not sent within 0.3 s" in str(one)]
        assert len(unsent) == 20 and "'pv29': " in str(unsent[-1])


# ---- calls inside a call


def test_a_signal_handler_reads_a_table_at_any_line_of_a_read(server):
    """It gets the values, or is told that it would wait for itself; it does not wait in vain."""
    with Context(configuration=server.configuration, timeout=5) as ctx:
        table, pv = ctx.table(["x", "y"]), ctx.get_pv("x")
        table.wait_for_connection()
        outcomes: list[str] = []

        def read_the_table() -> None:
            try:
                snapshot = table.read(timeout=2)
            except ReentrantCallError:
                outcomes.append("refused")
            else:
                outcomes.append("read" if snapshot.ok.all() else str(snapshot.errors))

        def read_a_pv() -> None:
            try:
                pv.read(timeout=2)
            except ReentrantCallError:
                outcomes.append("refused")
            else:
                outcomes.append("read")

        for handler in (read_the_table, read_a_pv):
            outcomes.clear()
            for _where in enter_each_line(table.read, handler):
                pass
            assert set(outcomes) == {"refused", "read"}
        for _where in enter_each_line(lambda: table.monitor().close(), read_the_table):
            pass
        assert set(outcomes) == {"refused", "read"}
