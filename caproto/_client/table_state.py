"""TableState: which PVs of a table are connected, and who wants to know.

Importing this module imports numpy.
"""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import numpy

from .columns import Columns, Rows, TableForm

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Connectable(Protocol):
    """A PV."""

    @property
    def connected(self) -> bool:
        """Whether it can be used now."""


class Follower(Protocol):
    """A monitor of a table."""

    def connections(self, rows: Rows, pvs: Sequence[Any]) -> None:
        """Note that the connection of *pvs* in these rows has changed; called without a lock."""

    @property
    def updates(self) -> object:
        """What takes its updates."""

    def close(self) -> None:
        """End it."""

    def context_closed(self) -> None:
        """Note that no more updates can come."""


class TableState:
    """What a table knows about its PVs.

    Parameters
    ----------
    form : TableForm
    lock : context manager
        Protects the columns of the table and of its monitors.

    Attributes
    ----------
    connected : numpy.ndarray of bool
        Whether the PVs are connected. May be read without the lock.
    followers : dict with Follower as keys
        Its monitors that were not closed. Changed in single steps, without the lock.
    latest : Columns or None
        What was last read, or came last to monitors that were closed. Its arrays do not change.
    """

    def __init__(self, form: TableForm, lock: AbstractContextManager[object]) -> None:
        self.form = form
        self.lock = lock
        self.connected: NDArray[numpy.bool_] = numpy.zeros(len(form), numpy.bool_)
        self.followers: dict[Follower, None] = {}
        self.latest: Columns | None = None  # until the first of them

    def note(self, rows: Rows, pvs: Sequence[Connectable]) -> None:
        """Note whether *pvs* in these rows are connected now."""
        with self.lock:  # asked for under the lock: the last one to note it is right
            self.connected[rows] = [pv.connected for pv in pvs]

    def connections(self, rows: Rows, pvs: Sequence[Connectable]) -> None:
        """Note whether *pvs* in these rows are connected now, and tell the monitors."""
        self.note(rows, pvs)
        for one in list(self.followers):
            one.connections(rows, pvs)
