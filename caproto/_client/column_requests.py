"""Reads and writes of a table: what has come of each, filled in by the readers of its circuits.

Importing this module imports numpy.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy

from .._errors import CaprotoError
from .._numbers import counted
from .._protocol.columns import Composer, requests
from .._protocol.commands import ErrorResponse
from .._protocol.id_ranges import Block, IdRange
from .._protocol.message import DataMessage, Message
from .._typing import NamedTuple
from .columns import Columns, Rows, TableForm
from .interfaces import Waiter
from .operations import NORMAL, Answer
from .snapshot_columns import refuse_change

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: At most this many errors are shown at the prompt.
MOST_ERRORS = 10


class ColumnRequest(NamedTuple):
    """Requests of one form on one circuit.

    Attributes
    ----------
    command : int
        READ_NOTIFY, WRITE_NOTIFY or WRITE.
    data_type, data_count : int
    sids : numpy.ndarray of uint32
        The server's ids of the channels.
    rows : numpy.ndarray of intp
        The rows of the table.
    payloads : numpy.ndarray or None
        What is written to each, as from `payloads_of`.
    composers : dict of int to Composer, or None
        By command, what composes requests to these channels, if there are to be more of them.
    """

    command: int
    data_type: int
    data_count: int
    sids: NDArray[numpy.uint32]
    rows: NDArray[numpy.intp]
    payloads: NDArray[Any] | None = None
    composers: dict[int, Composer] | None = None

    def composed(self, first: int) -> bytes:
        """Return the messages, with ids from *first* on; with the lock of the circuit."""
        if self.composers is None:
            return requests(
                self.command, self.data_type, self.data_count, self.sids, first, self.payloads
            )
        composer = self.composers.get(self.command)
        if composer is None:
            kind = None if self.payloads is None else self.payloads.dtype
            composer = self.composers[self.command] = Composer(
                self.command, self.data_type, self.data_count, self.sids, kind
            )
        return composer.compose(first, self.payloads)


class ColumnRequests:
    """Requests of a table for which one caller waits; a `ColumnSink`.

    Parameters
    ----------
    size : int
        Rows of the table.
    lock : context manager
        Protects what is here: the readers of several circuits fill it.

    Attributes
    ----------
    abandoned : bool
        Whether the caller waits no more; see `ColumnSink`.
    awaited : numpy.ndarray of bool
        Whether the reply of a row is still to come.
    refused : dict of int to response or CaprotoError
        Rows whose requests have failed.
    lost_rows : dict of int to CaprotoError
        Rows whose requests were lost with their channels.
    """

    def __init__(self, size: int, lock: AbstractContextManager[object]) -> None:
        self._lock = lock
        self._waiters: dict[Waiter, int] = {}  # and for how many replies left each waits
        self._left = 0
        self._closed = self._over = self.abandoned = False
        self.awaited: NDArray[numpy.bool_] = numpy.zeros(size, numpy.bool_)
        self.refused: dict[int, Answer | CaprotoError] = {}
        self.lost_rows: dict[int, CaprotoError] = {}

    @property
    def left(self) -> int:
        """How many replies are awaited."""
        return self._left

    @property
    def done(self) -> bool:
        """Whether all were answered, and none of them failed or was lost."""
        return not (self._left or self.refused or self.lost_rows)

    def wait_for(self, waiter: Waiter, left: int) -> bool:
        """Have *waiter* called when at most *left* replies are awaited; False if that is so now.

        For reads, also when some were lost. Of those of another caller, also at their end.
        """
        with self._lock:
            if self._over or self._met(left):
                return False
            self._waiters[waiter] = left
            return True

    def expect(self, rows: Rows) -> None:
        """Await replies for these rows; before they are sent."""
        with self._lock:
            self._mark(rows, True)
            self._left += len(rows)

    def _mark(self, rows: Rows, awaited: bool) -> None:
        if len(rows) == len(self.awaited):
            self.awaited.fill(awaited)  # in an eighth of the time
        else:
            self.awaited[rows] = awaited

    def unsent(self, rows: Rows) -> None:
        """Do not await replies for these rows: they were not sent."""
        with self._lock:
            self.awaited[rows] = False
            self._left -= len(rows)

    def close(self) -> Rows:
        """Take nothing more; return the rows that had no reply."""
        with self._lock:
            self._closed = True
            late: Rows = self.awaited.nonzero()[0]
            return late

    def end(self) -> None:
        """Wake those that wait: nothing is under way any more. May be called twice."""
        with self._lock:
            self._over = True
            waiters = list(self._waiters)
        for waiter in waiters:
            waiter.answered(None)

    # ---- for the readers of circuits

    def take(self, block: Block) -> None:
        """See `ColumnSink`."""
        rows = block.range.rows[block.offsets]
        with self._lock:
            if not self._closed:
                self._store(rows, block)
            self._mark(rows, False)
            self._left -= len(rows)
            waiters = self._reached()
        for waiter in waiters:
            waiter.answered(None)

    def take_one(self, requests: IdRange, offset: int, answer: Message | CaprotoError) -> None:
        """See `ColumnSink`."""
        row = int(requests.rows[offset])
        with self._lock:
            if not self.awaited[row]:
                return
            if self._closed:
                pass
            elif isinstance(answer, CaprotoError):
                self.refused[row] = answer
            elif isinstance(answer, ErrorResponse) or answer.fields[4] != NORMAL:
                self.refused[row] = cast("Answer", answer)
            else:
                try:
                    self._store_one(row, answer)
                except CaprotoError as error:
                    self.refused[row] = error
            self.awaited[row] = False
            self._left -= 1
            waiters = self._reached()
        for waiter in waiters:
            waiter.answered(None)

    def lost(self, requests: IdRange, offsets: Sequence[int], error: CaprotoError) -> None:
        """See `ColumnSink`."""
        with self._lock:
            for row in requests.rows[numpy.asarray(offsets, numpy.intp)].tolist():
                if self.awaited[row]:
                    if not self._closed:
                        self.lost_rows[row] = error
                    self.awaited[row] = False
                    self._left -= 1
            waiters = self._reached()
        for waiter in waiters:
            waiter.answered(None)

    def _reached(self) -> list[Waiter]:
        """Return who waits for what is left now, to be called once. With the lock."""
        met = [waiter for waiter, left in self._waiters.items() if self._met(left)]
        for waiter in met:
            del self._waiters[waiter]
        return met

    # ---- what the kinds of requests do; with the lock

    def _met(self, left: int) -> bool:
        """Tell whether one who waits for at most *left* replies is to be called."""
        return self._left <= left

    def _store(self, rows: Rows, block: Block) -> None:
        """Take the values of a run of replies."""

    def _store_one(self, row: int, answer: Message) -> None:
        """Take the value of one reply."""


class ColumnRead(ColumnRequests):
    """Reads of a table.

    Parameters
    ----------
    form : TableForm
    lock : context manager
        As for `ColumnRequests`.

    Attributes
    ----------
    columns : Columns
        What was read.
    """

    def __init__(self, form: TableForm, lock: AbstractContextManager[object]) -> None:
        super().__init__(len(form), lock)
        self.columns = Columns(form)

    def take_lost(self, waiter: Waiter) -> list[int]:
        """Take the rows that were lost; have *waiter* called when more are, or all have come."""
        with self._lock:
            rows = list(self.lost_rows)
            self.lost_rows.clear()
            if self._left:
                self._waiters[waiter] = 0
        return rows

    def _met(self, left: int) -> bool:
        return self._left <= left or bool(self.lost_rows)

    def _store(self, rows: Rows, block: Block) -> None:
        self.columns.store(rows, block)

    def _store_one(self, row: int, answer: Message) -> None:
        self.columns.store_one(row, cast(DataMessage, answer))


class TableWritten:
    """What became of a write to a table.

    Attributes
    ----------
    names : tuple of str
        Of the table.
    ok : numpy.ndarray of bool, shape (n,)
        Which rows were written: the server has confirmed it, or with ``wait=False``, the request
        was sent. False, too, for rows that were not to be written.
    errors : mapping of str to CaprotoError
        Why the others were not, by name.
    confirmed : bool
        Whether the servers have confirmed what is ``ok``; False with ``wait=False``.
    """

    __slots__ = ("confirmed", "errors", "names", "ok")

    names: tuple[str, ...]
    ok: NDArray[numpy.bool_]
    errors: Mapping[str, CaprotoError]
    confirmed: bool

    def __init__(
        self,
        names: tuple[str, ...],
        ok: NDArray[numpy.bool_],
        errors: Mapping[str, CaprotoError],
        confirmed: bool = True,
    ) -> None:
        ok.setflags(write=False)
        put = object.__setattr__  # as `fix`, in half the time
        put(self, "names", names)
        put(self, "ok", ok)
        put(self, "errors", MappingProxyType(dict(errors)))
        put(self, "confirmed", confirmed)

    __setattr__ = __delattr__ = refuse_change

    def __reduce__(self) -> tuple[object, ...]:
        return TableWritten, (self.names, self.ok, dict(self.errors), self.confirmed)

    def __repr__(self) -> str:
        what = "PVs were written" if self.confirmed else "writes were sent"
        lines = [f"{int(self.ok.sum())} of {len(self.names)} {what}"]
        lines += [str(error) for error in list(self.errors.values())[:MOST_ERRORS]]
        if len(self.errors) > MOST_ERRORS:
            lines.append(f"… {counted(len(self.errors) - MOST_ERRORS, 'more error')}")
        return "\n".join(lines)
