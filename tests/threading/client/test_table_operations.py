"""How a table is read: by columns where it can be, and the rest PV by PV."""
from __future__ import annotations

import threading

import caproto as ca
from caproto._client.columns import TableForm
from caproto.threading._waiting import Deadline
from caproto.threading.client import Context
from caproto.threading.client._table_operations import read_columns
from caproto.threading.client._table_shares import Shares


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
    read, errors = read_columns(form, pvs, old, Deadline(5))
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
