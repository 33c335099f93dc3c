"""Callbacks about the connection and the rights of one PV, added and removed at any time."""
from __future__ import annotations

import gc

import pytest

from caproto import AccessRights, CaprotoTypeError, ReentrantCallError
from caproto.threading.client import CallbackHandler
from tests.harness.interrupts import interrupt_each_line
from tests.threading.client.told import flush


class Heard:
    """A callback that keeps its news."""

    def __init__(self) -> None:
        self.news: list = []

    def __call__(self, pv, news) -> None:
        self.news.append((pv.name, news))


@pytest.fixture
def x(ctx):
    (pv,) = ctx.get_pvs("x")
    pv.wait_for_connection()
    return pv


def test_a_callback_is_told_of_changes_until_it_is_removed(server, x, wait_for):
    kept, removed = Heard(), Heard()
    handler = x.connection_state_callback
    assert isinstance(handler, CallbackHandler) and handler.pv is x
    handler.add_callback(kept)
    token = handler.add_callback(removed)
    assert x.connection_state_callback.callbacks[token] is removed
    x.connection_state_callback.remove_callback(token)
    assert token not in handler.callbacks
    server.drop_all()
    wait_for(lambda: kept.news[:2] == [("x", "disconnected"), ("x", "connected")])
    assert not removed.news


def test_run_tells_the_present_state(x, wait_for):
    at_once, later = Heard(), Heard()
    x.connection_state_callback.add_callback(later)
    x.connection_state_callback.add_callback(at_once, run=True)
    wait_for(lambda: at_once.news == [("x", "connected")])
    flush(x)
    assert not later.news


def test_the_rights_too(x, wait_for):
    heard = Heard()
    token = x.access_rights_callback.add_callback(heard, run=True)
    wait_for(lambda: heard.news == [("x", AccessRights.READ | AccessRights.WRITE)])
    x.access_rights_callback.remove_callback(token)
    x.access_rights_callback.remove_callback(token)  # gone already


def test_callbacks_are_held_weakly(x):
    heard = Heard()
    x.connection_state_callback.add_callback(heard)
    del heard
    gc.collect()
    assert not x.connection_state_callback.callbacks


def test_a_pv_without_callbacks(ctx):
    (pv,) = ctx.get_pvs("not there")
    assert not pv.connection_state_callback.callbacks
    pv.connection_state_callback.remove_callback(0)


def test_what_is_wrong(x):
    with pytest.raises(CaprotoTypeError, match="callback must be callable, not 3"):
        x.connection_state_callback.add_callback(3)
    with pytest.raises(CaprotoTypeError, match=r"f\(pv, state\)"):
        x.connection_state_callback.add_callback(lambda: None)
    with pytest.raises(CaprotoTypeError, match="token"):
        x.connection_state_callback.remove_callback("first")


def test_inside_another_call_a_callback_is_removed_later_and_none_is_added(server, x, wait_for):
    heard = Heard()
    handler = x.connection_state_callback
    token = handler.add_callback(heard)
    with x.context._home.lock:
        handler.remove_callback(token)
        with pytest.raises(ReentrantCallError, match="'x'"):
            handler.add_callback(heard)
    wait_for(lambda: token not in handler.callbacks)


def test_ctrl_c_at_any_line_leaves_no_callback_that_nobody_can_remove(x):
    handler, heard, tokens = x.connection_state_callback, Heard(), []
    for where in interrupt_each_line(lambda: tokens.append(handler.add_callback(heard))):
        assert (handler.callbacks, tokens) == ({}, []), where
    assert [*handler.callbacks] == tokens
