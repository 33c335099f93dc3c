"""Updates of a table: the latest of each PV, or all of them in their order.

The readers of circuits fill in what comes; any thread takes it. Importing this module imports
numpy.
"""
from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy

from .._errors import CaprotoError
from .._protocol.commands import ErrorResponse, ReadNotifyResponse
from .._protocol.dbr import SubscriptionType
from .._protocol.id_ranges import Block, IdRange
from .._protocol.message import DataMessage, Message
from .columns import Columns, Rows, TableForm, decode, decode_one
from .interfaces import Waiter
from .operations import NORMAL
from .table_snapshot import TableSnapshot
from .table_state import TableState

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ColumnUpdates:
    """The subscriptions of a table; a `ColumnSubscriber`.

    Parameters
    ----------
    state : TableState
        Of the table; its lock protects what is here, too.
    mask : int
        Which kinds of event are wanted.

    Attributes
    ----------
    closed : bool
        Whether no more updates are wanted.
    """

    def __init__(self, state: TableState, mask: int) -> None:
        self._state = state
        self._form: TableForm = state.form
        self.mask = mask
        self.closed = self.abandoned = False
        # Each row is touched by the reader of its present circuit only, so these need no lock.
        self._on: NDArray[numpy.bool_] = numpy.zeros(len(state.form), numpy.bool_)
        self._waiters: list[Waiter] = []

    def form(self, row: int) -> tuple[int, int]:
        """See `ColumnSubscriber`."""
        form = self._form.of(row)
        return form.data_type, form.count

    def subscribed(self, row: int) -> bool:
        """See `ColumnSubscriber`."""
        return bool(self._on[row])

    def begin(self, rows: Sequence[int]) -> None:
        """See `ColumnSubscriber`."""
        self._on[rows] = True

    def lost(self, requests: IdRange, offsets: Sequence[int], error: CaprotoError) -> None:
        """See `ColumnSubscriber`."""
        rows = requests.rows[numpy.asarray(offsets, numpy.intp)]
        self._on[rows] = False
        self._missing(rows)

    def take_one(self, requests: IdRange, offset: int, answer: Message | CaprotoError) -> None:
        """See `ColumnSubscriber`."""
        row = int(requests.rows[offset])
        if isinstance(answer, DataMessage) and answer.fields[4] == NORMAL:
            try:
                self._update(row, answer)
            except CaprotoError as error:
                self.refuse(row, error)
        elif isinstance(answer, Message):
            assert isinstance(answer, DataMessage | ErrorResponse)
            self.refuse(row, answer)
        else:
            self.refuse(row, answer)

    def wait_for(self, waiter: Waiter, ready: Callable[[], bool]) -> bool:
        """Have *waiter* called when something has happened; False if it is *ready* already."""
        with self._state.lock:
            if self.closed or ready():
                return False
            self._waiters.append(waiter)
            return True

    def end(self) -> None:
        """See `ColumnSink`; subscriptions end by `close`."""

    def close(self) -> None:
        """Want nothing more; wake those that wait. Complete, if it is repeated after a Ctrl-C."""
        with self._state.lock:
            self.closed = True
            waiters = list(self._waiters)
        wake(waiters)

    # ---- what the kinds of monitors do

    def take(self, block: Block) -> None:
        """See `ColumnSubscriber`."""
        raise NotImplementedError

    def _update(self, row: int, message: DataMessage) -> None:
        """Take one update."""
        raise NotImplementedError

    def refuse(self, row: int, reason: DataMessage | ErrorResponse | CaprotoError) -> None:
        """Note why there are no updates of a row."""
        raise NotImplementedError

    def _missing(self, rows: Rows) -> None:
        """Note that these rows were lost."""
        raise NotImplementedError

    def connections(self, rows: Rows) -> None:
        """Note that the connection of these rows has changed."""
        raise NotImplementedError


def wake(waiters: Sequence[Waiter]) -> None:
    """Tell *waiters* that something has happened; without a lock."""
    for waiter in waiters:
        waiter.answered(None)


class LatestUpdates(ColumnUpdates):
    """The latest update of each PV of a table.

    Attributes
    ----------
    columns : Columns
    version : int
        Grows with each change.
    """

    def __init__(self, state: TableState, mask: int) -> None:
        super().__init__(state, mask)
        self.columns = Columns(state.form)
        self.version = 0
        # Why the server sends no updates of a row, or None; no array before the first refusal.
        self._refused: NDArray[numpy.object_] | None = None
        self._versions: NDArray[numpy.int64] = numpy.zeros(len(state.form), numpy.int64)

    def take(self, block: Block) -> None:
        """See `ColumnSubscriber`."""
        rows = block.range.rows[block.offsets]
        with self._state.lock:
            self.columns.store(rows, block)
            self._accept(rows)
            waiters = self._change(rows)
        wake(waiters)

    def _update(self, row: int, message: DataMessage) -> None:
        with self._state.lock:
            self.columns.store_one(row, message)
            self._accept(row)
            waiters = self._change(row)
        wake(waiters)

    def refuse(self, row: int, reason: DataMessage | ErrorResponse | CaprotoError) -> None:
        """See `ColumnUpdates`."""
        with self._state.lock:
            if self._refused is None:
                self._refused = numpy.full(len(self._form), None)
            self._refused[row] = reason
            self.columns.ok[row] = False
            waiters = self._change(row)
        wake(waiters)

    def _missing(self, rows: Rows) -> None:
        with self._state.lock:
            self.columns.ok[rows] = False
            self._accept(rows)
            waiters = self._change(rows)
        wake(waiters)

    def connections(self, rows: Rows) -> None:
        """See `ColumnUpdates`."""
        with self._state.lock:
            waiters = self._change(rows)
        wake(waiters)

    def close(self) -> None:
        """See `ColumnUpdates`. The table keeps what came."""
        with self._state.lock:
            if not self.closed:
                self._state.latest = self.after(self._state.latest)
        super().close()

    def _accept(self, rows: Rows | int) -> None:
        """Note that the server does not refuse these rows. With the lock."""
        if self._refused is not None:
            self._refused[rows] = None

    def _change(self, rows: Rows | int) -> list[Waiter]:
        """Note that rows have changed; return who waits. With the lock."""
        self.version = version = self.version + 1
        self._versions[rows] = version
        waiters, self._waiters = self._waiters, []
        return waiters

    # ---- for any thread

    def changed(self, since: int) -> Rows:
        """Return the rows that have changed after the version *since*."""
        with self._state.lock:
            rows: Rows = numpy.flatnonzero(self._versions > since)
        return rows

    def column(self, name: str, earlier: Columns | None = None) -> NDArray[Any]:
        """Return a copy of one column, with what is newer in *earlier*."""
        with self._state.lock:
            column: NDArray[Any] = getattr(self.columns, name).copy()
            if earlier is not None:
                rows = self._newer_in(earlier)
                column[rows] = getattr(earlier, name)[rows]
        column.flags.writeable = False
        return column

    def after(self, earlier: Columns | None) -> Columns:
        """Return what is newest of each row: here, or in *earlier*. With the lock."""
        latest = self.columns.copy()
        if earlier is not None:
            rows = self._newer_in(earlier)
            for name in ("values", "timestamps", "severity", "status", "ok"):
                getattr(latest, name)[rows] = getattr(earlier, name)[rows]
        return latest

    def _newer_in(self, earlier: Columns) -> Rows:
        """Return the rows of which *earlier* has what came last. With the lock."""
        latest = self.columns
        here, there = (one.ok | ~numpy.isnat(one.timestamps) for one in (latest, earlier))
        newer = earlier.timestamps > latest.timestamps
        if not self.mask & SubscriptionType.DBE_VALUE:  # then values may have changed unseen
            newer |= numpy.isnat(latest.timestamps)
        rows: Rows = numpy.flatnonzero(there & (~here | newer))
        return rows

    def snapshot(
        self, error_of: Callable[[int, DataMessage | ErrorResponse | CaprotoError], CaprotoError]
    ) -> tuple[TableSnapshot, int]:
        """Return a consistent copy of everything, and its version.

        Parameters
        ----------
        error_of : callable
            Makes the error of a row that the server refuses.
        """
        with self._state.lock:
            columns = self.columns.copy()
            connected = self._state.connected.copy()
            refused = None if self._refused is None else self._refused.copy()
            version = self.version
        columns.ok &= connected

        def reason(row: int) -> CaprotoError | None:
            return None if refused is None or refused[row] is None else error_of(row, refused[row])

        return columns.snapshot(connected, reason), version


@dataclass(frozen=True, eq=False)
class Updates:
    """Some updates of a table, in the order in which they came.

    Attributes
    ----------
    index : numpy.ndarray of intp
        The row of each update in the table.
    value : numpy.ndarray, shape (n,) or (n, count)
    timestamp : numpy.ndarray of datetime64[ns]
        UTC, from the server. NaT if it was not asked for.
    severity, status : numpy.ndarray of uint16
    gap : numpy.ndarray of bool
        True for the first update of a PV after a lost connection: others may be missing before it.
    """

    index: Rows
    value: NDArray[Any]
    timestamp: NDArray[numpy.datetime64]
    severity: NDArray[numpy.uint16]
    status: NDArray[numpy.uint16]
    gap: NDArray[numpy.bool_]

    def __len__(self) -> int:
        return len(self.index)

    def columns(self) -> list[NDArray[Any]]:
        """Return all arrays, in the order of the attributes."""
        return [getattr(self, field.name) for field in fields(self)]


class AllUpdates(ColumnUpdates):
    """All updates of a table, until they are taken; a `Recorder`.

    Parameters
    ----------
    state, mask
        As for `ColumnUpdates`.
    now : callable
        The clock.
    """

    def __init__(self, state: TableState, mask: int, now: Callable[[], float]) -> None:
        super().__init__(state, mask)
        self._now = now
        self._known: NDArray[numpy.bool_] = numpy.zeros(len(state.form), numpy.bool_)
        self._gaps: NDArray[numpy.bool_] = numpy.zeros(len(state.form), numpy.bool_)
        self._forms = {form.data_type: form for form in state.form.forms}
        # What came until each `cut`, empty if it was removed since, and since the last one.
        self._batches: deque[list[Updates]] = deque([[]])
        # Of what came since the last one: the memory, and when the oldest came.
        self._size = 0
        self._since = 0.0

    def begin(self, rows: Sequence[int]) -> None:
        """See `ColumnSubscriber`."""
        super().begin(rows)
        self._gaps[rows] |= self._known[rows]
        self._known[rows] = True

    def take(self, block: Block) -> None:
        """See `ColumnSubscriber`."""
        if block.command == ReadNotifyResponse.ID:
            return  # a refresh, not an event
        rows = block.range.rows[block.offsets]
        value, stamps, severity, status = decode(block, self._forms[block.range.data_type])
        size = len(rows)
        self._add(
            Updates(
                rows,
                value,
                numpy.full(size, "NaT", "M8[ns]") if stamps is None else stamps,
                numpy.zeros(size, numpy.uint16) if severity is None else severity,
                numpy.zeros(size, numpy.uint16) if status is None else status,
                self._first_after_gap(rows),
            )
        )

    def _update(self, row: int, message: DataMessage) -> None:
        if isinstance(message, ReadNotifyResponse):
            return
        value, stamp, severity, status = decode_one(message, self._form.of(row))
        rows = numpy.array([row], numpy.intp)
        self._add(
            Updates(
                rows,
                numpy.array([value]),
                numpy.array(["NaT" if stamp is None else stamp], "M8[ns]"),
                numpy.array([severity], numpy.uint16),
                numpy.array([status], numpy.uint16),
                self._first_after_gap(rows),
            )
        )

    def _first_after_gap(self, rows: Rows) -> NDArray[numpy.bool_]:
        """Tell which updates are the first of their row after a gap, and note that they came."""
        first = self._gaps[rows]
        if first.any():
            once = numpy.zeros(len(rows), numpy.bool_)
            once[numpy.unique(rows, return_index=True)[1]] = True
            first &= once
            self._gaps[rows] = False
        return first

    def _add(self, updates: Updates) -> None:
        size = sum(column.nbytes for column in updates.columns())
        if self._form.mixed:
            value, objects = updates.value, _objects(updates.value)
            updates = replace(updates, value=objects)
            size += objects.nbytes + len(objects) * sys.getsizeof(objects[0])
            if value.ndim == 1:  # rows of more dimensions are views, which keep the whole
                size -= value.nbytes
        with self._state.lock:
            if self.closed:
                return
            if not self._batches[-1]:
                self._since = self._now()
            self._batches[-1].append(updates)
            self._size += size
            waiters, self._waiters = self._waiters, []
        wake(waiters)

    def refuse(self, row: int, reason: DataMessage | ErrorResponse | CaprotoError) -> None:
        """See `ColumnUpdates`; there is nothing to record."""

    def _missing(self, rows: Rows) -> None:
        """Note nothing: the first update after the loss tells."""

    def connections(self, rows: Rows) -> None:
        """See `ColumnUpdates`; there is nothing to record."""

    # ---- for any thread

    @property
    def ready(self) -> bool:
        """Whether updates wait."""
        return any(self._batches)

    def load(self, now: float) -> tuple[int, float]:
        """Return the memory that waiting updates take, and the age of the oldest, in seconds."""
        return self._size, now - self._since if self._batches[-1] else 0.0

    def cut(self) -> list[Updates] | None:
        """Return the oldest updates that wait, up to now at most; None if there are none.

        They are kept until the caller removes them from the list. Not by two threads at once.
        """
        with self._state.lock:
            while len(self._batches) > 1 and not self._batches[0]:  # it was removed
                self._batches.popleft()
            if self._batches[-1]:
                self._batches.append([])
                self._size = 0
            return self._batches[0] if len(self._batches) > 1 else None

    def join(self, batch: list[Updates]) -> None:
        """Make one of the updates that `cut` has returned."""
        parts = batch.copy()  # a signal handler may take them
        if len(parts) > 1:
            columns = zip(*(part.columns() for part in parts), strict=True)
            joined = Updates(*map(numpy.concatenate, columns))
            with self._state.lock:  # inside, a signal handler is refused
                if batch:
                    batch[:] = [joined]


def _objects(values: NDArray[Any]) -> NDArray[Any]:
    """Make a column of objects, which can hold values of any type."""
    column = numpy.empty(len(values), object)
    for row, value in enumerate(values):
        column[row] = value
    return column
