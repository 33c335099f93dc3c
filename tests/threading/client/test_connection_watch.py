"""One callback about the connections of all PVs of a Context."""
from __future__ import annotations

import logging

import pytest

from caproto import AccessRights, AccessRightsResponse, CaprotoTypeError
from caproto.threading.client import ConnectionWatch, ContextDisconnectedError
from tests.threading.client.told import flush


class Heard:
    """A callback that keeps the names of each call, and the states at that time."""

    def __init__(self) -> None:
        self.calls: list[list[tuple[str, bool]]] = []

    def __call__(self, pvs) -> None:
        self.calls.append([(pv.name, pv.connected) for pv in pvs])

    @property
    def flat(self) -> list[tuple[str, bool]]:
        return [one for call in self.calls for one in call]


def test_pvs_that_change_together_are_told_together(server, ctx, wait_for):
    heard = Heard()
    assert isinstance(ctx.watch_connections(heard), ConnectionWatch)
    ctx.get_pvs("x", "y", "not there")
    wait_for(lambda: sorted(heard.flat) == [("x", True), ("y", True)])
    server.drop_all()
    wait_for(lambda: len(heard.flat) == 6 and all(pv.connected for pv in ctx.get_pvs("x", "y")))
    lost = heard.calls[-2] if len(heard.calls[-1]) == 2 else heard.calls[-3]
    assert {name for name, _ in lost} == {"x", "y"}


def test_rights_that_change_are_told(server, ctx, wait_for):
    (x,) = ctx.get_pvs("x")
    x.wait_for_connection()
    flush(x)
    seen = []
    ctx.watch_connections(lambda pvs: seen.extend((pv.name, pv.access_rights) for pv in pvs))
    server.connection.send(AccessRightsResponse(x.channel.cid, AccessRights.READ))
    wait_for(lambda: seen == [("x", AccessRights.READ)])


def test_after_it_is_closed_nothing_is_told(server, ctx, wait_for):
    closed, other = Heard(), Heard()
    with ctx.watch_connections(closed) as watch:
        assert "active" in repr(watch)
    ctx.watch_connections(other)
    watch.close()
    assert "closed" in repr(watch)
    ctx.get_pvs("x")
    wait_for(lambda: other.flat == [("x", True)])
    assert not closed.calls


def test_one_that_raises_is_logged_and_stops_no_other(ctx, wait_for, caplog):
    def failing(pvs) -> None:
        raise RuntimeError("a defect of the user")

    heard = Heard()
    ctx.watch_connections(failing)
    ctx.watch_connections(heard)
    with caplog.at_level(logging.ERROR):
        ctx.get_pvs("x")
        wait_for(lambda: heard.flat == [("x", True)])
    assert "failing" in caplog.text and "a defect of the user" in caplog.text


@pytest.mark.parametrize("wrong", [None, 5, lambda: None, lambda pv, state: None])
def test_what_cannot_be_called_so(ctx, wrong):
    with pytest.raises(CaprotoTypeError, match="callback"):
        ctx.watch_connections(wrong)


def test_not_after_the_end(ctx):
    ctx.disconnect()
    with pytest.raises(ContextDisconnectedError):
        ctx.watch_connections(print)
