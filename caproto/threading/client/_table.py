"""Table: many PVs whose values, alarms and times are columns of numpy.

Importing this module imports numpy.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

import numpy

from ... import _locks
from ..._client.arguments import DEFAULT, Timeout, check_timeout
from ..._client.columns import Columns, TableForm
from ..._client.table_snapshot import TableSnapshot
from ..._client.table_state import TableState
from ..._errors import CaprotoTimeoutError, CaprotoTypeError
from ..._protocol.dbr import AccessRights
from .._waiting import Deadline
from ._home import Home
from ._pv import PV
from ._table_operations import read_columns
from ._table_shares import Shares

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Table:
    """Many PVs as the rows of a table, made by :meth:`Context.table`.

    Its columns are arrays of numpy. What a read, a write or a monitor costs hardly depends on the
    number of PVs: requests are composed, and replies and updates taken apart, by columns.

    The PVs are those that :meth:`Context.get_pvs` returns; they may be in other tables, and be
    read, written and subscribed to one by one at the same time.

    Parameters
    ----------
    home : Home
    form : TableForm
    pvs : sequence of PV
    timeout : float, None or DEFAULT

    Attributes
    ----------
    names : tuple of str
    index : mapping of str to int
        The row of each name.
    pvs : tuple of PV
    """

    def __init__(
        self, home: Home, form: TableForm, pvs: Sequence[PV], timeout: Timeout
    ) -> None:
        self._home = home
        self._form = form
        self._timeout = timeout
        self.pvs = tuple(pvs)
        self.names = form.names
        self.index: Mapping[str, int] = MappingProxyType(form.index)
        self._core = Core(home, form, self.pvs)
        self._readable = Shares(form, self.pvs, AccessRights.READ)
        self._core.enlist()

    # ---- columns

    def __len__(self) -> int:
        return len(self.names)

    def _latest(self) -> Columns:
        return self._core.latest

    @property
    def values(self) -> NDArray[Any]:
        """What was last read, or came last to a monitor: read-only, shape (n,) or (n, count).

        NaN, 0 or an empty text where there is nothing yet. A new array after each `read`.
        """
        return self._core.latest.values

    @property
    def timestamps(self) -> NDArray[numpy.datetime64]:
        """The times of `values` (datetime64[ns], UTC), from the servers; NaT for none."""
        return self._core.latest.timestamps

    @property
    def severity(self) -> NDArray[numpy.uint16]:
        """The severities of the alarms of `values`, numbers of `caproto.AlarmSeverity`."""
        return self._core.latest.severity

    @property
    def status(self) -> NDArray[numpy.uint16]:
        """The kinds of the alarms of `values`, numbers of `caproto.AlarmStatus`."""
        return self._core.latest.status

    @property
    def connected(self) -> NDArray[numpy.bool_]:
        """Which PVs are connected (a copy)."""
        return self._core.state.connected_now()

    def __repr__(self) -> str:
        kinds = ", ".join(dict.fromkeys(form.dtype.name for form in self._form.forms))
        count = "" if self._form.count == 1 else f" with {self._form.count} elements each"
        return (
            f"<Table of {len(self)} PVs ({kinds}{count}), {int(self.connected.sum())} connected>"
        )

    def __reduce__(self) -> NoReturn:
        raise CaprotoTypeError(
            "a Table cannot be copied or pickled, because its PVs have connections; pass names, or "
            "the snapshot that read() returns"
        )

    # ---- calls

    def _deadline(self, timeout: Timeout) -> Deadline:
        if timeout is not DEFAULT:
            return Deadline(check_timeout(timeout))
        own = self._timeout
        return Deadline(self._home.timeout if own is DEFAULT else own)

    def wait_for_connection(self, *, timeout: Timeout = DEFAULT) -> None:
        """Wait until all PVs are connected.

        Parameters
        ----------
        timeout : float or None, optional
            Seconds; None waits without end.

        Raises
        ------
        CaprotoTimeoutError
            If some are not connected by then; the message says how many, and why the first is not.
        """
        deadline = self._deadline(timeout)
        self._home.check_reentry("Table.wait_for_connection")
        for pv in self.pvs:
            if pv.connected:
                continue
            try:
                pv.wait_for_connection(timeout=deadline.remaining())
            except CaprotoTimeoutError as error:
                missing = sum(not one.connected for one in self.pvs)
                raise CaprotoTimeoutError(
                    f"{missing} of {len(self)} PVs are not connected; the first one: {error}"
                ) from None

    def read(self, *, timeout: Timeout = DEFAULT) -> TableSnapshot:
        """Read each PV once: one send and one round trip for each server.

        Parameters
        ----------
        timeout : float or None, optional
            Seconds for everything, searches and connections included; None waits without end.

        Returns
        -------
        TableSnapshot
            Also if some PVs, or all, could not be read: see its ``ok`` and ``errors``. The errors
            are those that :meth:`PV.read` raises.

        Raises
        ------
        ContextDisconnectedError
            If the Context was disconnected before.
        """
        deadline = self._deadline(timeout)
        self._home.check_open()
        self._home.check_reentry("Table.read")
        read, errors = read_columns(self._form, self.pvs, self._readable.now(), deadline)
        self._core.latest = read.columns
        return read.columns.snapshot(self.connected, errors)


class Core:
    """What the PVs of a table, and its monitors, know of it.

    Parameters
    ----------
    home : Home
    form : TableForm
    pvs : tuple of PV

    Attributes
    ----------
    state : TableState
    latest : Columns
        What came last.
    """

    def __init__(self, home: Home, form: TableForm, pvs: tuple[PV, ...]) -> None:
        self._home = home
        self._pvs = pvs
        self.state = TableState(form, _locks.Lock())
        self.latest = Columns(form)
        self._index = form.index

    @property
    def monitored(self) -> bool:
        """Whether its PVs are needed."""
        return bool(self.state.followers)

    def enlist(self) -> None:
        """Have the PVs report their connections."""
        with self._home.lock:
            self._home.table.enlist(self._pvs, self)
        self.changed(self._pvs)

    def changed(self, pvs: Sequence[PV]) -> None:
        """Note that these PVs are connected, or not any more."""
        index = self._index
        self.state.connections(numpy.array([index[pv.name] for pv in pvs], numpy.intp), pvs)
