"""Callbacks about the state of a connection and its access rights."""
from __future__ import annotations

import gc
import threading

import pytest

from caproto import (
    AccessRights,
    AccessRightsResponse,
    ChannelType,
    CreateChanRequest,
    CreateChanResponse,
    ServerDisconnResponse,
)
from caproto._client.backoff import LONGEST_PAUSE, Loss
from caproto.threading.client import AccessError, CaprotoKeyError
from caproto.threading.client._home import Home
from tests.conformance.items import item
from tests.harness.fake_server import FakePV, ignore
from tests.threading.client.told import flush

READ, WRITE, BOTH, NONE = (
    AccessRights.READ,
    AccessRights.WRITE,
    AccessRights.READ | AccessRights.WRITE,
    AccessRights.NO_ACCESS,
)


class Log:
    """What the callbacks of some PVs were told, in order."""

    def __init__(self):
        self.told = []

    def state(self, pv, state):
        self.told.append((pv.name, state))

    def rights(self, pv, rights):
        self.told.append((pv.name, rights))

    @property
    def callbacks(self):
        return {"connection_state_callback": self.state, "access_rights_callback": self.rights}


@pytest.fixture
def log():
    return Log()


class TestStates:
    def test_connected(self, server, ctx, log):
        (x,) = ctx.get_pvs("x", connection_state_callback=log.state)
        x.wait_for_connection()
        flush(x)
        assert log.told == [("x", "connected")]

    @item(40)
    def test_lost_and_found_again(self, server, ctx, log):
        (x,) = ctx.get_pvs("x", connection_state_callback=log.state)
        x.wait_for_connection()
        server.drop_all()
        assert x.read().data[0] == 1.5
        flush(x)
        assert log.told == [("x", "connected"), ("x", "disconnected"), ("x", "connected")]

    @item(35)
    def test_one_channel_lost(self, server, ctx, log, wait_for, monkeypatch):
        monkeypatch.setitem(LONGEST_PAUSE, Loss.REFUSED, 0.05)
        x, y = ctx.get_pvs("x", "y", connection_state_callback=log.state)
        for pv in (x, y):
            pv.wait_for_connection()
        flush(x)
        log.told.clear()
        server.connection.send(ServerDisconnResponse(server.connection.channel("x").cid))
        wait_for(lambda: len(log.told) == 2)
        assert log.told == [("x", "disconnected"), ("x", "connected")]
        assert len(server.connections) == 1

    def test_an_attempt_that_fails_is_no_change(self, server, ctx, log, wait_for, monkeypatch):
        monkeypatch.setitem(LONGEST_PAUSE, Loss.REFUSED, 0.01)
        server.on[CreateChanRequest] = lambda connection, command: connection.send(
            connection.circuit.channels[command.cid].create_fail()
        )
        (x,) = ctx.get_pvs("x", connection_state_callback=log.state)
        server.wait_for(CreateChanRequest, 3)
        server.on.clear()
        x.wait_for_connection()
        flush(x)
        assert log.told[-1] == ("x", "connected")
        assert "connected" not in [state for _, state in log.told[:-1]]

    def test_the_end_of_the_context(self, server, ctx, log, wait_for):
        (x,) = ctx.get_pvs("x", connection_state_callback=log.state)
        x.wait_for_connection()
        flush(x)
        ctx.disconnect()
        assert log.told == [("x", "connected"), ("x", "disconnected")]

    def test_the_pv_is_what_it_is_said_to_be(self, ctx, server):
        """When told that it is connected, one may use it at once."""
        seen = []

        def state(pv, state):
            seen.append((state, pv.connected, state == "connected" and pv.read().data[0]))

        (x,) = ctx.get_pvs("x", connection_state_callback=state)
        flush(x)
        assert seen == [("connected", True, 1.5)]

    def test_several_names_and_a_name_given_twice(self, ctx, log):
        x, y, _ = ctx.get_pvs("x", "y", "x", connection_state_callback=log.state)
        for pv in (x, y):
            pv.wait_for_connection()
        flush(x)
        assert sorted(log.told) == [("x", "connected"), ("y", "connected")]

    def test_an_error_in_one_is_logged_with_the_name_and_the_others_are_told(
        self, ctx, log, caplog
    ):
        def fails(pv, state):
            raise ValueError("the user's mistake")

        (x,) = ctx.get_pvs("x", connection_state_callback=fails)
        ctx.get_pvs("x", connection_state_callback=log.state)
        x.wait_for_connection()
        flush(x)
        assert log.told[-1] == ("x", "connected")
        errors = [r for r in caplog.records if "user callback" in r.getMessage()]
        assert len(errors) == 1 and "'x'" in errors[0].getMessage()
        assert isinstance(errors[0].exc_info[1], ValueError)

    def test_they_are_held_weakly(self, server, ctx):
        told = []

        def function(pv, state):
            told.append(state)

        (x,) = ctx.get_pvs("x", connection_state_callback=function)
        x.wait_for_connection()
        flush(x)
        del function
        gc.collect()
        server.drop_all()
        x.read()
        flush(x)
        assert told == ["connected"]


class TestLate:
    """Callbacks for PVs that are known already are told the present state."""

    def test_connected(self, ctx, log):
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        ctx.get_pvs("x", **log.callbacks)
        flush(x)
        assert log.told == [("x", BOTH), ("x", "connected")]

    def test_not_connected(self, server, ctx, log, wait_for):
        server.answers = lambda search: False
        (x,) = ctx.get_pvs("x")
        ctx.get_pvs("x", **log.callbacks)
        wait_for(lambda: log.told)
        assert log.told == [("x", "disconnected")]
        server.answers = lambda search: True
        ctx.broadcaster.search_now()
        x.wait_for_connection()
        flush(x)
        assert log.told[1:] == [("x", BOTH), ("x", "connected")]

    def test_being_created(self, server, ctx, log, wait_for):
        server.on[CreateChanRequest] = ignore
        ctx.get_pvs("x")
        server.wait_for(CreateChanRequest)
        ctx.get_pvs("x", **log.callbacks)
        wait_for(lambda: log.told)
        assert log.told == [("x", "disconnected")]

    def test_what_comes_after_is_told_once(self, server, ctx, log):
        (x,) = ctx.get_pvs("x", connection_state_callback=log.state)
        x.wait_for_connection()
        flush(x)
        late = Log()
        ctx.get_pvs("x", connection_state_callback=late.state)
        flush(x)
        assert late.told == [("x", "connected")]
        server.drop_all()
        x.read()
        flush(x)
        changes = [("x", "disconnected"), ("x", "connected")]
        assert late.told[1:] == log.told[1:] == changes

    def test_between_the_connection_and_its_announcement(self, server, ctx, monkeypatch, wait_for):
        """What is true already is told once, although it is still to be announced."""
        late = Log()
        really_created = Home.channels_created

        def channels_created(self, manager, pvs):
            ctx.get_pvs("x", **late.callbacks)
            return really_created(self, manager, pvs)

        monkeypatch.setattr(Home, "channels_created", channels_created)
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        flush(x)
        assert late.told == [("x", BOTH), ("x", "connected")]

    def test_between_the_rights_and_the_connection(self, server, ctx, log, wait_for):
        server.on[CreateChanRequest] = lambda connection, command: connection.send(
            AccessRightsResponse(command.cid, READ)
        )
        (x,) = ctx.get_pvs("x")
        (request,) = server.wait_for(CreateChanRequest)
        wait_for(lambda: x.channel.access_rights == READ)
        ctx.get_pvs("x", **log.callbacks)
        wait_for(lambda: log.told)
        assert log.told == [("x", "disconnected")]
        server.connection.send(CreateChanResponse(ChannelType.DOUBLE, 1, request.cid, 7))
        x.wait_for_connection()
        flush(x)
        assert log.told[1:] == [("x", READ), ("x", "connected")]

    def test_from_many_threads(self, server, ctx):
        names = [f"n{i}" for i in range(20)]
        server.pvs.update((name, FakePV(1.0)) for name in names)
        logs = [Log() for _ in range(8)]
        barrier = threading.Barrier(8)

        def get(log):
            barrier.wait(10)
            ctx.get_pvs(*names, connection_state_callback=log.state)

        threads = [threading.Thread(target=get, args=(log,)) for log in logs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        pvs = ctx.get_pvs(*names)
        for pv in pvs:
            pv.wait_for_connection()
        flush(pvs[0])
        for log in logs:
            assert dict(log.told) == dict.fromkeys(names, "connected")


class TestRights:
    def test_they_come_before_the_connection(self, ctx, log):
        (x,) = ctx.get_pvs("x", **log.callbacks)
        x.wait_for_connection()
        flush(x)
        assert log.told == [("x", BOTH), ("x", "connected")]

    @item(34)
    def test_changes_are_told_and_obeyed(self, server, ctx, log):
        (x,) = ctx.get_pvs("x", access_rights_callback=log.rights)
        x.wait_for_connection()
        cid = server.connection.channel("x").cid
        for rights, can_read, can_write in (
            (READ, True, False), (NONE, False, False), (WRITE, False, True), (BOTH, True, True),
        ):
            server.connection.send(AccessRightsResponse(cid, rights))
            ctx.get_pvs("y")[0].read()  # what was sent before has been received
            assert x.access_rights == rights
            for operation, allowed in ((x.read, can_read), (lambda: x.write(1.5), can_write)):
                if allowed:
                    operation()
                else:
                    with pytest.raises(AccessError):
                        operation()
        flush(x)
        assert log.told == [("x", rights) for rights in (BOTH, READ, NONE, WRITE, BOTH)]

    def test_again_after_a_loss(self, server, ctx, log):
        (x,) = ctx.get_pvs("x", access_rights_callback=log.rights)
        x.wait_for_connection()
        server.pvs["x"].rights = 1
        server.drop_all()
        x.read()
        flush(x)
        assert log.told == [("x", BOTH), ("x", READ)]


def test_reconnect_searches_at_once_for_what_is_not_connected(server, ctx):
    x, missing = ctx.get_pvs("x", "not there")
    x.wait_for_connection()
    channel = x.channel
    ctx.reconnect([("x", 0), ("not there", 0)])
    assert x.connected and x.channel is channel
    with pytest.raises(CaprotoKeyError, match="'x' .priority 7. is not a PV of this Context"):
        ctx.reconnect([("x", 7)])


def test_the_circuit_to_a_server_exists_or_is_made(server, ctx, wait_for):
    made = ctx.get_circuit_manager(server.address, 5)
    wait_for(lambda: made.connected)
    assert ctx.get_circuit_manager(server.address, 5) is made
    assert ctx.circuit_managers == {(server.address, 5): made}
    (x,) = ctx.get_pvs("x", priority=5)
    x.wait_for_connection()
    assert x.circuit_manager is made and len(server.connections) == 1
