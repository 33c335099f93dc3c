"""How a table is written: by columns where it can be, and the rest PV by PV.

Importing this module imports numpy.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy

from ..._client.column_requests import ColumnRequest, ColumnRequests
from ..._client.columns import Form, Rows, TableForm
from ..._client.operations import NORMAL, Operation
from ..._errors import CaprotoError
from ..._protocol.columns import payloads_of
from ..._protocol.commands import WriteNotifyRequest, WriteNotifyResponse, WriteRequest
from .._waiting import Deadline
from ._gathering import GatheredWrite, Gathering
from ._home import ClientPV, Home
from ._sending import Sending, send_all
from ._table_operations import ColumnOperation
from ._table_shares import Share, Shares

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Writes of tables that may await their completion on one circuit. An IOC queues at most 2,000
#: completions in all (``callbackQueueSize``), and forgets those beyond.
MOST_WRITES = 1000
def write_columns(
    home: Home,
    form: TableForm,
    pvs: Sequence[ClientPV],
    shares: Shares,
    parts: Sequence[tuple[Form, Rows, NDArray[Any]]],
    wait: bool,
    deadline: Deadline,
) -> tuple[NDArray[numpy.bool_], dict[str, CaprotoError]]:
    """Write values to rows of a table; each is sent once at most.

    Parameters
    ----------
    home, form, pvs, deadline
        As for `read_columns`.
    shares : Shares
    parts : sequence of (Form, rows, values)
        What to write.
    wait : bool
        Whether to wait for the confirmations.

    Returns
    -------
    ok : numpy.ndarray of bool
    errors : dict of str to CaprotoError
    """
    written = ColumnRequests(len(form), home.columns_lock)
    command = WriteNotifyRequest.ID if wait else WriteRequest.ID
    values = Values(form, parts)

    def compose(share: Share) -> list[ColumnRequest]:
        return values.requests(share, command)

    columns = ColumnOperation(
        home, written, pvs, "write", deadline, replies=wait, most=MOST_WRITES if wait else None
    )
    try:
        rest = columns.send(shares.now(), compose)
        columns.foresee()
        late_rows = {pvs[row]: row for row in rest.tolist() if values.asked[row]}

        def write(late: Sequence[ClientPV]) -> tuple[set[ClientPV], set[ClientPV]]:
            rows = numpy.array(sorted(late_rows[pv] for pv in late), numpy.intp)
            usable, others = shares.among(rows)
            again = columns.send((usable, others[:0]), compose)
            return {pvs[row] for row in others.tolist()}, {pvs[row] for row in again.tolist()}

        errors = _write_late(
            [_write(pv, parts, row, wait, deadline) for pv, row in late_rows.items()],
            write if wait else None, deadline,
        )  # fmt: skip
        ok = values.asked
        columns.wait()
    finally:  # also after a Ctrl-C
        written.abandoned = True  # here: a second Ctrl-C would strike at the next call
        late = columns.stop()
    errors.update(columns.errors(late))
    for name in errors:
        ok[form.index[name]] = False
    return ok, errors


class Values:
    """The values that are to be written, by form.

    Parameters
    ----------
    form : TableForm
    parts : sequence of (Form, rows, values)
    """

    def __init__(
        self, form: TableForm, parts: Sequence[tuple[Form, Rows, NDArray[Any]]]
    ) -> None:
        self._form = form
        self._parts = parts
        self._asked: NDArray[numpy.bool_] | None = None

    @property
    def asked(self) -> NDArray[numpy.bool_]:
        """Which rows are to be written. If all are, it is first looked at when they are sent."""
        if self._asked is None:
            asked: NDArray[numpy.bool_] = numpy.zeros(len(self._form), numpy.bool_)
            for _, rows, _ in self._parts:
                asked[slice(None) if len(rows) == len(self._form) else rows] = True
            self._asked = asked
        return self._asked

    def requests(self, share: Share, command: int) -> list[ColumnRequest]:
        """Make the requests for the PVs of one circuit."""
        requests = []
        for part in share.parts:
            form, rows = part.form, part.rows
            for form_of_values, asked, values in self._parts:
                if form_of_values is not form:
                    continue
                if len(rows) == len(asked) == len(self._form):  # all of the table
                    payloads = payloads_of(values, form.plain)
                    requests.append(part.request(command, form.plain, payloads))
                    continue
                there = self.asked[rows]
                rows, sids = rows[there], part.sids[there]
                if len(rows):
                    payloads = payloads_of(values[numpy.searchsorted(asked, rows)], form.plain)
                    requests.append(
                        ColumnRequest(command, form.plain, form.count, sids, rows, payloads)
                    )
        return requests


def _write_late(
    writes: Sequence[GatheredWrite],
    by_columns: ByColumns | None,
    deadline: Deadline,
) -> dict[str, CaprotoError]:
    """Write to PVs that are not connected yet, or may not be written; return the errors.

    With *by_columns* and confirmations, or without both.
    """
    if by_columns is not None:
        gathering = Gathering(deadline)
        gathering.sending = LateWrites(deadline, gathering, by_columns)
        outcomes = gathering.run(writes)
        return {
            write.pv.name: outcome
            for write, outcome in zip(writes, outcomes, strict=True)
            if isinstance(outcome, CaprotoError)
        }
    return {
        operation.pv.name: error.with_traceback(None)
        for operation, error in send_all(writes, deadline)
    }


#: The outcome of a write that goes by columns; what becomes of it is seen there.
_BY_COLUMNS = WriteNotifyResponse.from_wire((WriteNotifyResponse.ID, 0, 0, 0, NORMAL, 0), b"")


#: Writes to some PVs by columns, and waits while too many writes are under way. Returns those for
#: which it cannot be done, and those for which it is to be done again, because channels changed.
ByColumns: TypeAlias = Callable[[Sequence[ClientPV]], tuple[set[ClientPV], set[ClientPV]]]


class LateWrites(Sending):
    """Sends writes to PVs that get connected: by columns, so that they are counted.

    Parameters
    ----------
    deadline : Deadline
    gathering : Gathering
        Collects the outcomes of those that cannot be sent, because the server does not allow it.
    by_columns : ByColumns
    """

    def __init__(
        self,
        deadline: Deadline,
        gathering: Gathering,
        by_columns: ByColumns,
    ) -> None:
        super().__init__(deadline, gathering.finish, gathering.awaited)
        self._gathering = gathering
        self._by_columns = by_columns

    def _send(self, requests: Sequence[Operation]) -> None:
        # Before: those that get connected meanwhile are not for the others.
        connected = {request.pv for request in requests if request.pv.connected}
        others, again = self._by_columns([request.pv for request in requests])
        alone = []
        for request in requests:
            if request.pv in again:
                self.again(request)
            elif request.pv not in others:
                self._gathering.finish(request, _BY_COLUMNS)
            elif request.pv in connected:
                alone.append(request)
            else:
                self._add(request)
        super()._send(alone)


def _write(
    pv: ClientPV,
    parts: Sequence[tuple[Form, Rows, NDArray[Any]]],
    row: int,
    wait: bool,
    deadline: Deadline,
) -> GatheredWrite:
    """Make the write of one row, in the type in which it would go by columns."""
    for form, rows, values in parts:
        place = int(numpy.searchsorted(rows, row))
        if place < len(rows) and rows[place] == row:
            value = values[place]
            # A number or bytes of Python, which are quick to encode; or an array.
            data = value if value.ndim else value.item()
            return GatheredWrite(pv, None, deadline, data, form.plain, form.count, wait)
    raise KeyError(row)
