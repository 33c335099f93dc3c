"""How a table is read: by columns where it can be, and the rest PV by PV.

Importing this module imports numpy.
"""
from __future__ import annotations

from collections.abc import Sequence

from ..._client.column_requests import ColumnRead, ColumnRequest
from ..._client.columns import Rows, TableForm
from ..._client.operations import failure
from ..._errors import CaprotoError
from ..._protocol.commands import ReadNotifyRequest
from ..._protocol.message import DataMessage
from .._waiting import Deadline, Waiter
from ._gathering import GatheredRead, Gathering
from ._home import ClientPV, Home
from ._reentry import enter
from ._table_operations import ColumnOperation
from ._table_shares import Share


def read_columns(
    home: Home,
    form: TableForm,
    pvs: Sequence[ClientPV],
    shares: tuple[Sequence[Share], Rows],
    deadline: Deadline,
) -> tuple[ColumnRead, dict[str, CaprotoError]]:
    """Read each PV of a table.

    What can be read now is read by columns, with one round trip for each circuit. The others, and
    those that are lost with their circuits, are read one by one as their PVs get connected.

    Returns
    -------
    read : ColumnRead
        With the columns.
    errors : dict of str to CaprotoError
        Why there is no value for some names.
    """
    read = ColumnRead(form, home.columns_lock)
    errors: dict[str, CaprotoError] = {}
    columns = ColumnOperation(home, read, pvs, "read", deadline)
    try:
        rest = columns.send(shares, _reads)
        if not len(rest):
            columns.wait()
        single = SingleReads(home, read, form, pvs, deadline)
        if len(rest) or single.awaited and not deadline.expired:
            errors = single.run(rest.tolist())
    finally:  # also after a Ctrl-C
        read.abandoned = True  # here: a second Ctrl-C would strike at the next call
        late = columns.stop()
    errors.update(columns.errors(late))
    return read, errors


class SingleReads:
    """Reads of a table that cannot be made by columns, or were lost with their circuits.

    Parameters
    ----------
    read : ColumnRead
        What is under way by columns.
    home, form, pvs, deadline
        As for `read_columns`.
    """

    def __init__(
        self,
        home: Home,
        read: ColumnRead,
        form: TableForm,
        pvs: Sequence[ClientPV],
        deadline: Deadline,
    ) -> None:
        self._home = home
        self._read = read
        self._form = form
        self._pvs = pvs
        self._deadline = deadline
        self._rows: list[int] = []

    def run(self, rows: Sequence[int]) -> dict[str, CaprotoError]:
        """Read these rows, and those that are lost meanwhile, until all columns have come.

        Returns
        -------
        dict of str to CaprotoError
            Why there is no value for some names.
        """
        outcomes = Gathering(self._deadline, self).run(self._reads(rows))
        errors: dict[str, CaprotoError] = {}
        for row, outcome in zip(self._rows, outcomes, strict=True):
            if isinstance(outcome, DataMessage):
                problem = self._take(row, outcome)
            else:
                assert isinstance(outcome, CaprotoError)
                problem = outcome
            if problem is not None:
                errors[self._form.names[row]] = problem
        return errors

    def _take(self, row: int, response: DataMessage) -> CaprotoError | None:
        """Take a value; return why it cannot be."""
        try:
            self._read.columns.store_one(row, response)
        except CaprotoError as error:
            return failure(self._pvs[row], "read", error, response.sender_address)
        return None

    def _reads(self, rows: Sequence[int]) -> list[GatheredRead]:
        self._rows += rows
        forms = [(row, self._form.of(row).data_type) for row in rows]
        return [
            GatheredRead(self._pvs[row], None, self._deadline, data_type, self._form.count)
            for row, data_type in forms
        ]

    # ---- what its Gathering asks; see `Others`

    @property
    def awaited(self) -> bool:
        """Whether some rows are to come by columns, or were lost and not read again yet."""
        return bool(self._read.left or self._read.lost_rows)

    def lost(self, waiter: Waiter) -> list[GatheredRead]:
        """Repeat those that were lost, until the deadline: a read changes nothing."""
        enter(self._home.locks)
        return [] if self._deadline.expired else self._reads(self._read.take_lost(waiter))


def _reads(share: Share) -> list[ColumnRequest]:
    return [part.request(ReadNotifyRequest.ID, part.form.data_type) for part in share.parts]
