"""How a table is read: by columns where it can be, and the rest PV by PV."""
from __future__ import annotations

import threading

import pytest

import caproto as ca
from caproto import CaprotoTimeoutError
from caproto._client.columns import TableForm
from caproto.threading._waiting import Deadline
from caproto.threading.client import Context, ReentrantCallError
from caproto.threading.client._table_reads import read_columns
from caproto.threading.client._table_shares import Shares
from tests.harness.fake_server import ignore, reset
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
    read, errors = read_columns(ctx._home, form, pvs, old, Deadline(5))
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
