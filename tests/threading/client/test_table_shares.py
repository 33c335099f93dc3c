"""Which PVs of a table can be asked for by columns, and on which circuits."""
from __future__ import annotations

import numpy as np

import caproto as ca
from caproto import AccessRights, ChannelType
from caproto._client.columns import TableForm
from caproto.threading.client import Context
from caproto.threading.client._table_shares import Shares


def shares_of(ctx: Context, *names: str, right: AccessRights = AccessRights.READ, **form) -> Shares:
    pvs = ctx.get_pvs(*names)
    return Shares(TableForm(names, "time", form.get("dtype", float), form.get("count", 1)),
                  pvs, right)  # fmt: skip


def connect(ctx: Context, *names: str) -> None:
    for pv in ctx.get_pvs(*names):
        pv.wait_for_connection()


def test_by_circuit(start_server):
    first, second = start_server({"a": 1.0, "c": 3.0}), start_server({"b": 2.0})
    environ = {**first.environ, "EPICS_CA_ADDR_LIST":
               f"127.0.0.1:{first.port} 127.0.0.1:{second.port}"}  # fmt: skip
    configuration = type(first.configuration).from_environment(environ)
    with Context(configuration=configuration) as ctx:
        connect(ctx, "a", "b", "c")
        shares, others = shares_of(ctx, "a", "b", "c").now()
        found = {share.circuit.address[1]: share.rows.tolist() for share in shares}
        assert found == {first.port: [0, 2], second.port: [1]} and not len(others)


def test_those_that_cannot_be_used_are_left(ctx):
    connect(ctx, "x", "readonly", "writeonly", "wave")
    names = ("x", "readonly", "writeonly", "missing", "wave")
    (share,), others = shares_of(ctx, *names).now()
    assert share.rows.tolist() == [0, 1, 4] and others.tolist() == [2, 3]
    (share,), others = shares_of(ctx, *names, right=AccessRights.WRITE).now()
    assert share.rows.tolist() == [0, 2, 4]
    (share,), others = shares_of(ctx, *names, count=2).now()
    assert share.rows.tolist() == [4]


def test_by_form(ctx):
    connect(ctx, "x", "text", "y")
    (share,), _ = shares_of(ctx, "x", "text", "y", dtype=[float, str, float]).now()
    sids = [pv.channel.sid for pv in ctx.get_pvs("x", "text", "y")]
    parts = [(one.form.dtype.kind, one.rows.tolist(), one.sids.tolist()) for one in share.parts]
    assert parts == [("f", [0, 2], [sids[0], sids[2]]), ("S", [1], [sids[1]])]


def test_requests_to_all_of_a_form_have_one_composer_for_each_command(ctx):
    connect(ctx, "x", "y")
    (share,), _ = shares_of(ctx, "x", "y").now()
    (part,), values = share.parts, np.array([1.0, 2.0])
    read = part.request(15, ChannelType.TIME_DOUBLE)
    writes = [part.request(command, ChannelType.DOUBLE, values) for command in (4, 19)]
    for request in (read, *writes, *writes, read):
        alone = request._replace(composers=None)
        assert request.composed(7) == alone.composed(7) and request.rows.tolist() == [0, 1]
    assert read.composers is writes[0].composers and set(read.composers) == {4, 15, 19}
    assert [request.composed(7)[:2] for request in writes] == [b"\0\4", b"\0\x13"]


def test_they_are_kept_until_something_changes(server, ctx, wait_for):
    connect(ctx, "x")
    shares = shares_of(ctx, "x", "late")
    before, others = shares.now()
    assert shares.now()[0] is before and others.tolist() == [1]
    server.pvs["late"] = server.pvs["x"]
    connect(ctx, "late")
    (share,), others = shares.now()
    assert share.rows.tolist() == [0, 1] and not before[0].current
    server.connection.send(
        ca.AccessRightsResponse(server.connection.channel("x").cid, AccessRights(0))
    )
    wait_for(lambda: not share.current)
    (share,), others = shares.now()
    assert share.rows.tolist() == [1] and np.array_equal(others, [0])
