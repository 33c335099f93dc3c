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
    state.followers[follower] = None
    state.connections(np.array([2, 0]), [pv(True), pv(False)])
    assert state.connected.tolist() == [False, False, True]
    assert follower.told == [[2, 0]]
    del state.followers[follower]
    state.connections(np.array([2]), [pv(False)])
    assert follower.told == [[2, 0]] and not state.connected.any()


def test_a_monitor_may_be_closed_while_the_others_are_told():
    class Closing(Follower):
        def connections(self, rows, pvs) -> None:
            super().connections(rows, pvs)
            state.followers.clear()

    state = TableState(TableForm(["a"], "time", float, 1), threading.Lock())
    first, second = Closing(), Follower()
    state.followers.update({first: None, second: None})
    state.connections(np.array([0]), [pv(True)])
    assert first.told == second.told == [[0]] and not state.followers
