"""Table: many PVs whose values, alarms and times are columns of numpy.

Importing this module imports numpy.
"""
from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from reprlib import repr as short_repr
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, overload

import numpy

from ..._client.arguments import (
    DEFAULT,
    Mask,
    Timeout,
    check_callback,
    check_mask,
    check_seconds,
    check_timeout,
    rows_by_priority,
)
from ..._client.callbacks import check_accepts
from ..._client.column_requests import ColumnRead, TableWritten
from ..._client.column_updates import LatestUpdates
from ..._client.columns import (
    Columns,
    Rows,
    TableForm,
    equal_rows,
)
from ..._client.pvs import PVPhase
from ..._client.table_snapshot import TableSnapshot
from ..._client.table_state import TableState
from ..._client.written_values import check_values, restored_values
from ..._errors import (
    CaprotoError,
    CaprotoTimeoutError,
    CaprotoTypeError,
    CaprotoValueError,
    DisconnectedError,
)
from ..._numbers import counted
from ..._protocol.dbr import AccessRights
from .._waiting import Deadline
from ._home import Home
from ._pv import PV
from ._reentry import must_not_wait, refusal
from ._table_monitors import Live, LiveCallback, Recording, TableMonitor
from ._table_reads import read_columns
from ._table_shares import Share, Shares
from ._table_writes import write_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

M = TypeVar("M", bound=TableMonitor)


def find_pvs(
    get_pvs: Callable[..., Sequence[PV]], names: Sequence[str], priority: int | Iterable[int]
) -> Sequence[PV]:
    """Return the PVs of a table, whose priorities may differ; see :meth:`Context.table`."""
    if (
        not isinstance(priority, Iterable) or getattr(priority, "ndim", 1) == 0
        or isinstance(priority, str | bytes | Mapping)  # which get_pvs refuses
    ):  # fmt: skip
        return get_pvs(*names, priority=priority)
    found: dict[int, PV] = {}
    for one, rows in rows_by_priority(priority, len(names)).items():
        found.update(zip(rows, get_pvs(*(names[row] for row in rows), priority=one), strict=True))
    return [found[row] for row in range(len(names))]


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
        self._core = Core(home, form, self.pvs)
        self._every_row: Rows | None = None  # until they are written
        self._readable = Shares(form, self.pvs, AccessRights.READ)
        self._writable = Shares(form, self.pvs, AccessRights.WRITE)
        self._core.enlist(self)

    # ---- columns

    def __len__(self) -> int:
        return len(self.names)

    @property
    def index(self) -> Mapping[str, int]:
        """The row of each name."""
        return MappingProxyType(self._form.index)

    @property
    def values(self) -> NDArray[Any]:
        """What was last read, or came last to a monitor: read-only, shape (n,) or (n, count).

        Of the two, what has the later time stamp.

        NaN, 0 or an empty text where there is nothing yet. For columns that belong together take a
        snapshot.
        """
        return self._core.column("values")

    @property
    def timestamps(self) -> NDArray[numpy.datetime64]:
        """The times of `values` (datetime64[ns], UTC), from the servers; NaT for none."""
        return self._core.column("timestamps")

    @property
    def severity(self) -> NDArray[numpy.uint16]:
        """The severities of the alarms of `values`, numbers of `caproto.AlarmSeverity`."""
        return self._core.column("severity")

    @property
    def status(self) -> NDArray[numpy.uint16]:
        """The kinds of the alarms of `values`, numbers of `caproto.AlarmStatus`."""
        return self._core.column("status")

    @property
    def connected(self) -> NDArray[numpy.bool_]:
        """Which PVs are connected (a copy)."""
        connected: NDArray[numpy.bool_] = self._core.state.connected.copy()
        return connected

    def __repr__(self) -> str:
        kinds = ", ".join(dict.fromkeys(form.name for form in self._form.forms))
        count = "" if self._form.count == 1 else f" with {self._form.count} elements each"
        return (
            f"<Table of {counted(len(self), 'PV')} ({kinds}{count}), "
            f"{int(self.connected.sum())} connected>"
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
        self._home.announce([pv for pv in self.pvs if pv._phase is PVPhase.IDLE])
        try:
            while len(missing := self._missing()):
                # The last one first: it is searched last, so most are there when it is.
                pv = self.pvs[missing[-1]]
                pv._used()
                self._wait_for(pv, deadline)
                self._core.state.note(missing[-1:], (pv,))  # the reader may be about to do it
        except CaprotoTimeoutError:
            self._raise_missing(deadline)

    def _missing(self) -> Rows:
        """Return the rows that are not connected."""
        return numpy.flatnonzero(~self._core.state.connected)

    def _wait_for(self, pv: PV, deadline: Deadline) -> None:
        self._home.wait(pv, lambda: pv.connected, deadline)

    def _raise_missing(self, deadline: Deadline) -> None:
        """Say at *deadline* what is not connected, if anything is."""
        missing = self._missing().tolist()
        for row in missing:
            try:
                self._wait_for(self.pvs[row], deadline)
            except CaprotoTimeoutError as error:
                raise CaprotoTimeoutError(
                    f"{len(missing)} of {len(self)} PVs are not connected; the first one: {error}"
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
        read, errors = self._read(self._readable.now, timeout)
        self._core.state.latest = read.columns
        return read.columns.snapshot(self.connected, errors)

    def _read(
        self, shares: Callable[[], tuple[Sequence[Share], Rows]], timeout: Timeout
    ) -> tuple[ColumnRead, dict[str, CaprotoError]]:
        deadline = self._deadline(timeout)
        self._home.check_open()
        self._home.check_reentry("Table.read")
        return read_columns(self._home, self._form, self.pvs, shares(), deadline)

    def write(
        self,
        values: object,
        mask: object = None,
        *,
        wait: bool = True,
        timeout: Timeout = DEFAULT,
    ) -> TableWritten:
        """Write to the PVs: one send for each server. No value is sent twice.

        Parameters
        ----------
        values : array, sequence or scalar
            A value for each row of the table, whichever rows are written; or one for all. A Series
            or DataFrame of pandas whose index has the names may have them in another order.
        mask : array of bool, shape (n,), optional
            Which rows to write. Default: all.
        wait : bool
            Whether to wait until the servers have finished: the records, and all that they trigger.
        timeout : float or None, optional
            Seconds for everything; None waits without end.

        Returns
        -------
        TableWritten
            Its ``ok`` and ``errors`` tell what became of each row. The errors are those that
            :meth:`PV.write` raises.

        Raises
        ------
        ContextDisconnectedError
            If the Context was disconnected before.
        CaprotoTypeError, CaprotoValueError
            If *values* or *mask* have the wrong shape, or a value does not fit the type of the
            table: fractions for integers, too large a number. (What floating point cannot hold
            exactly is rounded.) Nothing is sent then.
        """
        rows = self._rows(mask)
        parts = check_values(values, self._form, rows)
        deadline = self._deadline(timeout)
        self._home.check_open()
        self._home.check_reentry("Table.write")
        ok, errors = write_columns(
            self._home, self._form, self.pvs, self._writable, parts, wait, deadline
        )
        return TableWritten(self.names, ok, errors, confirmed=wait)

    def restore(
        self,
        snapshot: TableSnapshot,
        *,
        only_changed: bool = True,
        timeout: Timeout = DEFAULT,
    ) -> TableWritten:
        """Write the values of a snapshot, and wait until the servers have finished.

        Its PVs are read first. Those that are not connected after that are not written, nor arrays
        in a table of scalars, which has only their first elements: see ``errors`` of the result.

        Parameters
        ----------
        snapshot : TableSnapshot
            Its names must be in the table. PVs that have no value in it are left alone.
        only_changed : bool
            Whether to write only what differs; then what cannot be read is not written.
        timeout : float or None, optional
            Seconds for the read, and again for the write; None waits without end.

        Returns
        -------
        TableWritten
            Which rows were written, and why others could not be.

        Raises
        ------
        CaprotoKeyError
            If the table does not have one of the names.
        CaprotoTypeError, CaprotoValueError
            If *snapshot* is none, or has values of another kind.
        """
        if not isinstance(snapshot, TableSnapshot):
            raise CaprotoTypeError(f"snapshot must be a TableSnapshot, not {snapshot!r}")
        values, mask = restored_values(snapshot, self._form)
        rows = numpy.flatnonzero(mask)
        now, errors = self._read(functools.partial(self._readable.among, rows), timeout)
        refused = self._not_to_restore(mask, errors)
        if only_changed:
            refused.update(errors)
            mask &= ~(now.columns.ok & equal_rows(now.columns.values, values))
        mask[[self.index[name] for name in refused]] = False
        for name in itertools.compress(snapshot.names, ~snapshot.ok):
            refused[name] = CaprotoValueError(f"{name!r}: the snapshot has no value of it")
        done = self.write(values, mask, timeout=timeout)
        return TableWritten(self.names, done.ok, {**refused, **done.errors})

    def _not_to_restore(
        self, mask: NDArray[numpy.bool_], errors: Mapping[str, CaprotoError]
    ) -> dict[str, CaprotoError]:
        """Find arrays among some PVs of a table of scalars, and those that may be arrays."""
        found: dict[str, CaprotoError] = {}
        for pv in itertools.compress(self.pvs, mask):
            channel, name = pv.channel, pv.name
            size = None if channel is None else channel.native_data_count
            if size is None:
                found[name] = errors.get(name) or DisconnectedError(f"{name!r} is not connected")
            elif size > 1 == self._form.count:
                found[name] = CaprotoValueError(
                    f"{name!r} has up to {size} elements, of which the snapshot has the first"
                )
        return found

    def _rows(self, mask: object) -> Rows:
        """Return the rows that *mask* selects."""
        if mask is None:
            if self._every_row is None:
                self._every_row = numpy.arange(len(self))
            return self._every_row
        try:
            chosen = numpy.asarray(mask)
        except (TypeError, ValueError):  # lists of different lengths
            chosen = numpy.zeros(0)
        if numpy.ma.is_masked(mask):
            raise CaprotoValueError(
                "mask has masked elements; call its filled() to choose what they mean"
            )
        if chosen.dtype != numpy.bool_ or chosen.shape != (len(self),):
            raise CaprotoValueError(
                f"mask must be an array of bool with the shape ({len(self)},), "
                f"not {short_repr(mask)}"
            )
        rows: Rows = numpy.flatnonzero(chosen)
        return rows

    # ---- monitors

    @overload
    def monitor(
        self, callback: None = None, period: float = 0.1, *, mask: Mask | None = None
    ) -> Live: ...

    @overload
    def monitor(
        self,
        callback: Callable[[TableSnapshot, Rows], object],
        period: float = 0.1,
        *,
        mask: Mask | None = None,
    ) -> LiveCallback: ...

    def monitor(
        self,
        callback: Callable[[TableSnapshot, Rows], object] | None = None,
        period: float = 0.1,
        *,
        mask: Mask | None = None,
    ) -> Live:
        """Subscribe to all PVs, until the result is closed.

        Parameters
        ----------
        callback : callable, optional
            Called as ``callback(snapshot, changed)`` in a thread of its own, with a `TableSnapshot`
            and the rows that have changed since the call before. Kept alive until the end.
        period : float
            Seconds between two calls, at least.
        mask : SubscriptionType, int or str, optional
            Which kinds of change to report, as for :meth:`PV.subscribe`.

        Returns
        -------
        Live
            Its ``close()`` ends the updates, and so does leaving a ``with`` block.

        Raises
        ------
        ContextDisconnectedError
            If the Context was disconnected.
        CaprotoTypeError, CaprotoValueError
            For a wrong argument.
        """
        events, state = int(check_mask(mask)), self._core.state
        check_callback(callback)
        if callback is None:
            live = Live(self._home, state, self.pvs, events)
        else:
            check_accepts(callback, "f(snapshot, changed)", 2)
            check_seconds("period", period)
            live = LiveCallback(self._home, state, self.pvs, events, callback, float(period))
        return self._started(live)

    def record(self, timeout: float | None = None, *, mask: Mask | None = None) -> Recording:
        """Subscribe to all PVs, and give every update, in the order of the wire.

        Parameters
        ----------
        timeout : float or None
            The iteration ends after this many seconds without an update; None waits without end.
        mask : SubscriptionType, int or str, optional
            Which kinds of change to report, as for :meth:`PV.subscribe`.

        Returns
        -------
        Recording
            An iterator of `Updates`: arrays of equal length. Its ``close()`` ends it, and so does
            leaving a ``with`` block.

        Raises
        ------
        ContextDisconnectedError
            If the Context was disconnected.
        CaprotoTypeError, CaprotoValueError
            For a wrong argument.
        """
        events, timeout = int(check_mask(mask)), check_timeout(timeout)
        recording = Recording(self._home, self._core.state, self.pvs, events, timeout)
        return self._started(recording)

    def _started(self, monitor: M) -> M:
        """Start a monitor and return it."""
        monitor.table = self
        try:
            monitor.start()
            return monitor
        except BaseException:  # Ctrl-C: the caller has nothing that it could close
            monitor.close()
            raise

    def close(self) -> None:
        """End the monitors of this table. It can be used again."""
        for follower in list(self._core.state.followers):
            follower.close()


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
    """

    def __init__(self, home: Home, form: TableForm, pvs: tuple[PV, ...]) -> None:
        self._home = home
        self._pvs = pvs
        self.state = TableState(form, home.columns_lock)
        self._form = form
        # By identity: an index of the names would take three times the memory.
        ids = _identities(pvs)
        self._rows: Rows = ids.argsort()
        self._ids = ids[self._rows]
        self._end_note: object = None

    @property
    def monitored(self) -> bool:
        """Whether its PVs are needed."""
        return bool(self.state.followers)

    def enlist(self, table: Table) -> None:
        """Have the PVs report their connections, until nothing refers to *table* any more."""
        self._home.check_reentry("Context.table")
        self._end_note = self._home.searches.note_at_end_of(table, self.retire)
        with self._home.lock:
            self._home.table.enlist(self._pvs, self)
        self.changed(self._pvs)

    def abandon(self) -> None:
        """Forget the connections in the child of a fork; its lock may be held by no thread."""
        self.state.lock = self._home.columns_lock
        self.state.connected[:] = False
        for follower in list(self.state.followers):
            follower.context_closed()

    def retire(self) -> None:
        """Have the PVs report nothing more."""
        with self._home.lock:
            self._home.table.strike(self._pvs, self)
        self._end_note = None

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of what was last read, or came last to a monitor."""
        if must_not_wait(self._home.locks):
            raise refusal(f"Table.{name}")
        latest = self.state.latest
        updates = [one.updates for one in list(self.state.followers)]
        live = [one for one in updates if isinstance(one, LatestUpdates)]
        for one in live[1:]:
            with self.state.lock:
                latest = one.after(latest)
        if live:
            return live[0].column(name, latest)
        column: NDArray[Any] = getattr(latest or Columns(self._form), name)
        column.flags.writeable = False
        return column

    def changed(self, pvs: Sequence[PV]) -> None:
        """Note that these PVs are connected, or not any more, or that the Context is closed."""
        if self._home.closed:
            for follower in list(self.state.followers):
                follower.context_closed()
        self.state.connections(self._rows[self._ids.searchsorted(_identities(pvs))], pvs)


def _identities(pvs: Sequence[PV]) -> NDArray[numpy.uint64]:
    return numpy.fromiter(map(id, pvs), numpy.uint64, len(pvs))
