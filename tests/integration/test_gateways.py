"""Servers that behave as gateways and directories do: odd ids, late answers, channels that go."""
from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Iterator

import pytest

import caproto as ca
from caproto import AccessRights, ChannelType
from caproto._client.backoff import LONGEST_PAUSE, Loss
from caproto.threading.client import Context
from tests.conformance.items import item
from tests.harness.fake_server import Connection, FakePV, FakeServer
from tests.harness.waiting import wait_for

COUNT = 200


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer({f"n{i}": float(i) for i in range(COUNT)}) as running:
        yield running


@pytest.fixture
def ctx(server) -> Iterator[Context]:
    with Context(configuration=server.configuration, timeout=10) as context:
        yield context


def create(connection: Connection, command: ca.CreateChanRequest, sid: int) -> None:
    """Answer a request for a channel with a certain *sid*."""
    channel = connection.circuit.channels[command.cid]
    pv = connection.server.pvs[command.name]
    connection.send(channel.rights(pv.rights), channel.create(pv.data_type, pv.count, sid))


@pytest.fixture
def updates() -> dict[str, list[float]]:
    """What `watch` has seen, by name."""
    return {}


@pytest.fixture
def watch(updates):
    """``watch(pv)``: collect the updates of a PV in `updates`."""

    def collect(sub, response) -> None:
        updates.setdefault(sub.pv.name, []).append(response.data[0])

    return lambda pv: pv.subscribe().add_callback(collect, strong=True)


def test_sids_may_be_any_numbers(server, ctx, updates, watch):
    numbers = random.Random(13).sample(range(1, 0xFFFFFFFF), COUNT - 2)
    sids = iter([0, 0xFFFFFFFF, *numbers])
    server.on[ca.CreateChanRequest] = lambda c, command: create(c, command, next(sids))
    pvs = ctx.get_pvs(*server.pvs)
    assert [pv.read().data[0] for pv in pvs] == list(range(COUNT))
    for pv in pvs:
        watch(pv)
        pv.write(pv.read().data[0] + 0.5)
    assert [server.pvs[pv.name].value for pv in pvs] == [i + 0.5 for i in range(COUNT)]
    for name in server.pvs:
        server.post(name, -1.0)
    wait_for(lambda: all(updates.get(pv.name, [None])[-1] == -1.0 for pv in pvs))
    for pv in pvs:
        pv.unsubscribe_all()
        pv.go_idle()
    server.wait_for(ca.ClearChannelRequest, COUNT)  # and the server's circuit knew every sid


def test_channels_may_be_created_late_and_in_any_order(server, ctx, updates, watch):
    held: list[ca.CreateChanRequest] = []

    def hold(connection: Connection, command: ca.CreateChanRequest) -> None:
        if command.name == "n0":
            server.usual(connection, command)
        else:
            held.append(command)

    server.on[ca.CreateChanRequest] = hold
    first, *others = pvs = ctx.get_pvs(*server.pvs)
    for pv in pvs:
        watch(pv)
    assert first.read().data.tolist() == [0.0]
    with pytest.raises(ca.CaprotoTimeoutError) as caught:
        others[0].read(timeout=0)
    assert f"waiting for 127.0.0.1:{server.port} to create the channel" in str(caught.value)
    wait_for(lambda: len(held) == COUNT - 1)
    random.Random(13).shuffle(held)
    for number, command in enumerate(held):
        create(server.connection, command, 1000 + number)
    assert [pv.read().data[0] for pv in pvs] == list(range(COUNT))
    wait_for(lambda: len(updates) == COUNT)
    assert updates == {f"n{i}": [float(i)] for i in range(COUNT)}
    assert len(server.connections) == 1


@item(35)
def test_channels_that_the_server_drops_one_by_one_come_back(
    server, ctx, updates, watch, monkeypatch
):
    monkeypatch.setitem(LONGEST_PAUSE, Loss.REFUSED, 0.2)
    changes: dict[str, list[str]] = {}

    def on_change(pv, state: str) -> None:
        changes.setdefault(pv.name, []).append(state)

    pvs = ctx.get_pvs(*server.pvs, connection_state_callback=on_change)
    keeper, *others = pvs
    for pv in pvs:
        watch(pv)
    wait_for(lambda: len(updates) == COUNT)
    connection = server.connection
    for number, pv in enumerate(others, 1):
        connection.send(connection.channel(pv.name).disconnect())
        server.post("n0", float(number))
        assert keeper.read().data[0] == number
    # Reads wait until their channel is there again.
    assert [pv.read().data[0] for pv in others] == list(range(1, COUNT))
    wait_for(lambda: all(len(updates[pv.name]) == 2 for pv in others))
    wait_for(lambda: len(updates["n0"]) == COUNT)
    assert updates["n0"] == list(range(COUNT))
    assert changes.pop("n0") == ["connected"]
    assert set(map(tuple, changes.values())) == {("connected", "disconnected", "connected")}
    # Judged by the server as well: no word about channels that were gone.
    assert server.connections == [connection] and connection.open


@item(34)
def test_access_rights_may_change_all_the_time(server, ctx, updates, watch):
    seen: list[AccessRights] = []

    def on_rights(pv, rights: AccessRights) -> None:
        seen.append(rights)

    (pv,) = ctx.get_pvs("n1", access_rights_callback=on_rights)
    watch(pv)
    wait_for(lambda: updates)
    connection = server.connection
    channel = connection.channel("n1")
    sent = [random.Random(13).choice(list(range(4))) for _ in range(500)] + [1]
    for number, rights in enumerate(sent):
        connection.send(channel.rights(rights))
        server.post("n1", float(number))
    wait_for(lambda: len(updates["n1"]) == 1 + len(sent))
    assert updates["n1"] == [1.0, *range(len(sent))]
    assert seen == [rights for rights, _ in itertools.groupby([3, *sent])]  # each change once
    assert pv.access_rights == AccessRights.READ and pv.connected
    with pytest.raises(ca.AccessError, match="'n1'.*ECA_NOWTACCESS"):
        pv.write(5)
    connection.send(channel.rights(2))
    wait_for(lambda: pv.access_rights == AccessRights.WRITE)
    with pytest.raises(ca.AccessError, match="'n1'.*ECA_NORDACCESS"):
        pv.read()
    assert not server.received(ca.WriteNotifyRequest) and not server.received(ca.ReadNotifyRequest)
    pv.write(5)
    assert server.pvs["n1"].value == 5.0


# ---- directories


def only_by_tcp(server: FakeServer):
    """The configuration of a client that asks *server* over TCP and nobody else."""
    return server.configuration.replace(addr_list=(), name_servers=(server.address,))


@item(28)
@pytest.mark.parametrize("port", [0, 1, 65535])
def test_a_search_reply_over_tcp_without_an_address_means_the_sender(server, port):
    server.on[ca.SearchRequest] = lambda connection, search: connection.send(
        ca.SearchResponse(port, None, search.cid, None)
    )
    with Context(configuration=only_by_tcp(server), timeout=10) as ctx:
        pvs = ctx.get_pvs("n1", "n2")
        assert [pv.read().data[0] for pv in pvs] == [1.0, 2.0]
        assert pvs[0].circuit_manager.circuit.address == server.address
    assert not server.searches


@item(28)
def test_a_directory_sends_us_to_the_server(server):
    with FakeServer() as directory:
        directory.on[ca.SearchRequest] = lambda connection, search: connection.send(
            ca.SearchResponse(server.port, "127.0.0.1", search.cid, None)
            if search.name in server.pvs
            else ca.NotFoundResponse(13, search.cid)
        )
        with Context(configuration=only_by_tcp(directory), timeout=10) as ctx:
            pv, missing = ctx.get_pvs("n1", "missing")
            assert pv.read().data.tolist() == [1.0]
            assert pv.circuit_manager.circuit.address == server.address
            asked = len(directory.received(ca.SearchRequest))
            wait_for(lambda: len(directory.received(ca.SearchRequest)) > asked)
            assert ctx.explain(missing).search.status.tries > 1


@item(26)
def test_a_second_server_is_reported_once_however_often_it_answers(server, caplog):
    class Insistent(FakeServer):
        def _answer_datagram(self, sock, data, sender) -> None:
            for _ in range(3):
                super()._answer_datagram(sock, data, sender)

    def answers(search: ca.SearchRequest) -> bool:
        return bool(search.name in rival.pvs and wait_for(lambda: server.open_connections))

    server.pvs["here"] = FakePV(1.5)
    with Insistent({"n1": 0.0, "elsewhere": 2.5}) as rival:
        rival.answers = answers
        configuration = server.configuration.replace(addr_list=(server.address, rival.address))
        with Context(configuration=configuration, timeout=10) as ctx:
            pv, _ = ctx.get_pvs("n1", "here")
            assert pv.read().data.tolist() == [1.0]
            # Its three answers come before those to a later question.
            assert ctx.get_pvs("elsewhere")[0].read().data.tolist() == [2.5]
            assert ctx.get_pvs("n1")[0].circuit_manager.circuit.address == server.address
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert warnings == [
        f"'n1' is served by two servers: 127.0.0.1:{server.port}, which is used, and "
        f"127.0.0.1:{rival.port}"
    ]


def test_a_number_of_elements_that_shrank_while_the_channel_was_away(server, ctx, monkeypatch):
    """The size of a channel behind a gateway may change with the server behind it."""
    monkeypatch.setitem(LONGEST_PAUSE, Loss.REFUSED, 0.05)
    server.pvs["wave"] = FakePV([1, 2, 3, 4], ChannelType.LONG, max_count=4)
    (wave,) = ctx.get_pvs("wave")
    sizes: list[int] = []

    def on_update(response) -> None:
        sizes.append(len(response.data))

    wave.subscribe(data_count=4).add_callback(on_update)
    wait_for(lambda: sizes == [4])
    server.pvs["wave"] = FakePV([1, 2], ChannelType.LONG, max_count=2)
    server.connection.send(server.connection.channel("wave").disconnect())
    wait_for(lambda: sizes == [4, 2])
    assert wave.read().data.tolist() == [1, 2]
