"""The client and servers of every minor version from 4 to 13: what came when, and what it costs."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

import caproto as ca
from caproto import ChannelType
from caproto.threading.client import Context
from tests.conformance.items import item
from tests.harness.fake_server import Connection, FakePV, FakeServer
from tests.harness.waiting import wait_for

VERSIONS = range(4, 14)
#: Replies say this where they mean nothing: nobody lives there.
NOWHERE = "192.0.2.1"
LARGE = 10_000  # doubles: 80,000 bytes, more than a header of 16 bytes can announce
SETTLED = 8_000  # doubles: 64,000 bytes, which it can


class OldServer(FakeServer):
    """A server that says in its search replies only what servers of its version say."""

    def search_reply(self, search: ca.SearchRequest) -> ca.SearchResponse:
        port = self.port if self.version >= 5 else 1
        ip = None if self.version >= 8 else NOWHERE
        return ca.SearchResponse(port, ip, search.cid, self.version)


@pytest.fixture(params=VERSIONS, ids="4.{}".format)
def server(request) -> Iterator[OldServer]:
    pvs = {
        "x": 1.5,
        "wave": FakePV([1, 2, 3], ChannelType.LONG, max_count=10),
        "large": FakePV([0.0] * LARGE, ChannelType.DOUBLE),
    }
    with OldServer(pvs, version=request.param, greeting=request.param >= 11) as running:
        yield running


@pytest.fixture
def ctx(server) -> Iterator[Context]:
    with Context(configuration=server.configuration, timeout=10) as context:
        yield context


def sent(server: FakeServer) -> list:
    """All that clients sent over TCP."""
    return [command for connection in server.connections for command in connection.received]


@item(24, 32, 45)
def test_the_life_of_a_pv(server, ctx):
    x, wave = ctx.get_pvs("x", "wave")
    assert x.read().data.tolist() == [1.5]
    x.write(2.5)
    assert server.pvs["x"].value == 2.5
    x.write(3.5, wait=False)
    assert x.read(data_type="time").data.tolist() == [3.5]
    assert wave.read(data_count=2).data.tolist() == [1, 2]

    updates = []
    subscription = wave.subscribe(data_type="time")
    token = subscription.add_callback(updates.append, strong=True)
    wait_for(lambda: len(updates) == 1)
    server.post("wave", [4, 5, 6])
    wait_for(lambda: len(updates) == 2)
    assert [update.data[:3].tolist() for update in updates] == [[1, 2, 3], [4, 5, 6]]
    subscription.remove_callback(token)
    server.wait_for(ca.EventCancelRequest)
    assert server.wished("wave") == 0

    for pv in (x, wave):
        pv.go_idle()
    server.wait_for(ca.ClearChannelRequest, 2)
    wait_for(lambda: not server.open_connections)
    assert x.read().data.tolist() == [3.5]  # woken
    assert server.connections[0] is not server.connection

    counts = {
        command.data_count
        for command in sent(server)
        if isinstance(command, (ca.ReadNotifyRequest, ca.EventAddRequest))
    }
    if server.version >= 13:
        assert counts == {0, 2}
    else:
        assert counts == {1, 2, 10}  # the announced ones, and what was asked for


@item(31)
def test_every_conversation_begins_in_the_same_way(server, ctx):
    (x,) = ctx.get_pvs("x", priority=7)
    x.wait_for_connection()
    version, client_name, host_name, create = server.connection.received[:4]
    assert version == ca.VersionRequest(7, 13)
    assert client_name == ca.ClientNameRequest(ctx.client_name)
    assert host_name == ca.HostNameRequest(ctx.host_name)
    assert create == ca.CreateChanRequest("x", x.channel.cid, 13)


@item(4)
def test_what_is_too_large_for_the_version_is_refused_and_nothing_is_lost(server, ctx):
    x, large = ctx.get_pvs("x", "large")
    large.wait_for_connection()
    large.write([7.0] * SETTLED)  # every version carries this
    assert server.pvs["large"].value == [7.0] * SETTLED
    if server.version >= 9:
        large.write([8.0] * LARGE)
        assert server.pvs["large"].value == [8.0] * LARGE
        assert large.read().data.tolist() == [8.0] * LARGE
        return
    for options in ({}, {"wait": False}, {"wait": False, "notify": True}):
        with pytest.raises(ca.CaprotoValueError) as caught:
            large.write([8.0] * LARGE, **options)
        for word in ("'large'", "80000 bytes", f"4.{server.version}", f"127.0.0.1:{server.port}"):
            assert word in str(caught.value)
    assert x.read().data.tolist() == [1.5]
    assert server.pvs["large"].value == [7.0] * SETTLED
    assert ctx.explain(large).circuit.operations == 0
    assert all(command.fields[1] < 0xFFFF for command in sent(server))


@item(50)
@pytest.mark.parametrize("server", range(4, 9), indirect=True, ids="4.{}".format)
def test_a_value_too_large_for_the_version_is_an_error_of_the_server(server, ctx):
    def refuse(connection: Connection, command: ca.ReadNotifyRequest) -> None:
        cid = connection.channel("large").cid
        connection.send(ca.ErrorResponse(command, cid, ca.CAStatus.ECA_TOLARGE, "large"))

    (large,) = ctx.get_pvs("large")
    server.on[ca.ReadNotifyRequest] = refuse
    with pytest.raises(ca.ErrorResponseReceived, match="'large'.*ECA_TOLARGE"):
        large.read()
    server.on.clear()
    assert large.read(data_count=SETTLED).data.tolist() == [0.0] * SETTLED


@item(37)
def test_an_idle_circuit_is_asked_by_echo(server):
    configuration = server.configuration.replace(conn_tmo=0.15)
    with Context(configuration=configuration, timeout=10) as ctx:
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        server.wait_for(ca.EchoRequest, 2)  # the second one proves that the first was answered
        assert x.connected
    assert not server.received(ca.ReadSyncRequest)


# ---- servers that do not say the same everywhere


def test_a_server_that_owns_up_to_an_ancient_version_is_asked_by_read_sync():
    with FakeServer({"x": 1.5}, version=2) as server:
        server.search_reply = lambda search: ca.SearchResponse(server.port, None, search.cid, 5)
        server.on[ca.ReadSyncRequest] = lambda connection, _: connection.send(
            ca.ReadSyncResponse()
        )
        configuration = server.configuration.replace(conn_tmo=0.15)
        with Context(configuration=configuration, timeout=10) as ctx:
            (x,) = ctx.get_pvs("x")
            x.wait_for_connection()
            server.wait_for(ca.ReadSyncRequest, 2)
            assert x.connected
        assert not server.received(ca.EchoRequest)


@item(32)
@pytest.mark.parametrize("when", ["first", "late", "never"])
def test_the_greeting_may_come_at_any_time(when):
    def create_then_greet(connection: Connection, command: ca.CreateChanRequest) -> None:
        server.usual(connection, command)
        if when == "late":
            connection.send(ca.VersionResponse(13))

    with FakeServer({"x": 1.5}, greeting=when == "first") as server:
        server.on[ca.CreateChanRequest] = create_then_greet
        with Context(configuration=server.configuration, timeout=10) as ctx:
            assert ctx.get_pvs("x")[0].read().data.tolist() == [1.5]


@pytest.mark.parametrize("found, greeted, count", [(13, 12, 10), (12, 13, 0), (13, 14, 0)])
def test_the_greeting_counts_more_than_the_search_reply(found, greeted, count):
    """As behind a gateway, or after an update of the server."""

    def greet(connection: Connection, command: ca.ClientNameRequest) -> None:
        connection.send_raw(ca.VersionResponse(greeted))

    wave = FakePV([1, 2, 3], ChannelType.LONG, max_count=10)
    with FakeServer({"wave": wave}, greeting=False) as server:
        server.on[ca.ClientNameRequest] = greet
        server.search_reply = lambda search: ca.SearchResponse(
            server.port, None, search.cid, found
        )
        with Context(configuration=server.configuration, timeout=10) as ctx:
            ctx.get_pvs("wave")[0].read()
        (request,) = server.received(ca.ReadNotifyRequest)
        assert request.data_count == count


# ---- search replies


@item(24, 25)
@pytest.mark.parametrize("version", [None, 0, 3])
def test_servers_before_4_4_are_not_talked_to(version):
    """They send the answer to another question, with the channel's type in place of the port."""
    with FakeServer({"x": 1.5, "y": 2.5}) as server:
        usual = server.search_reply
        server.search_reply = lambda search: (
            ca.SearchResponse(6, None, search.cid, version)
            if search.name == "x"
            else usual(search)
        )
        with Context(configuration=server.configuration, timeout=10) as ctx:
            x, y = ctx.get_pvs("x", "y")
            assert y.read().data.tolist() == [2.5]
            # Replies are read in the order of sending, so x was answered several times by now.
            wait_for(lambda: [search.name for search in server.searches].count("x") > 3)
            (z,) = ctx.get_pvs("z")
            server.pvs["z"] = FakePV(3.5)
            assert z.read().data.tolist() == [3.5]
            assert ctx.explain(x).state.startswith("searching")
        assert len(server.connections) == 1


@item(24)
@pytest.mark.parametrize("version", range(8, 14))
def test_from_4_8_on_a_reply_may_send_us_elsewhere(version):
    with FakeServer({"x": 1.5}, version=version) as server, FakeServer({"x": 0.0}) as directory:
        directory.search_reply = lambda search: ca.SearchResponse(
            server.port, "127.0.0.1", search.cid, version
        )
        with Context(configuration=directory.configuration, timeout=10) as ctx:
            (x,) = ctx.get_pvs("x")
            assert x.read().data.tolist() == [1.5]
            assert x.circuit_manager.circuit.address == server.address
        assert not directory.connections
