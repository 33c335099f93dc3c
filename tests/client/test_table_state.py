"""Which PVs of a table are connected."""
from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np

from caproto._client.columns import TableForm
from caproto._client.table_state import TableState


class Follower:
    def __init__(self) -> None:
        self.told: list[list[int]] = []
        self.updates = None

    def connections(self, rows, pvs) -> None:
        self.told.append(rows.tolist())


def pv(connected: bool) -> SimpleNamespace:
    return SimpleNamespace(connected=connected)


def test_connections_are_noted_and_passed_on():
    state = TableState(TableForm(["a", "b", "c"], "time", float, 1), threading.Lock())
    follower = Follower()
    state.follow(follower)
    state.connections(np.array([2, 0]), [pv(True), pv(False)])
    assert state.connected_now().tolist() == [False, False, True]
    assert follower.told == [[2, 0]]
    state.unfollow(follower)
    state.connections(np.array([2]), [pv(False)])
    assert follower.told == [[2, 0]] and not state.connected_now().any()
    assert not state.followers


def test_what_is_given_is_a_copy():
    state = TableState(TableForm(["a"], "time", float, 1), threading.Lock())
    state.connected_now()[0] = True
    assert not state.connected_now()[0]
