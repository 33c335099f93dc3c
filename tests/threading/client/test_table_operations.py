"""How a table is read: by columns where it can be, and the rest PV by PV."""
from __future__ import annotations

import threading

import caproto as ca
from caproto._client.columns import TableForm
from caproto.threading._waiting import Deadline
from caproto.threading.client import Context, ReentrantCallError
from caproto.threading.client._table_operations import read_columns
from caproto.threading.client._table_shares import Shares
from tests.harness.fake_server import ignore
from tests.harness.interrupts import enter_each_line


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
