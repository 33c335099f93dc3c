"""How a table is read and written: by columns where it can be, and the rest PV by PV.

Importing this module imports numpy.
"""
from __future__ import annotations

import functools
from _thread import RLock
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy

from ..._client.arguments import waited
from ..._client.circuit_columns import ColumnRequest
from ..._client.circuit_session import CircuitSession
from ..._client.column_requests import ColumnRead, ColumnRequests
from ..._client.columns import Form, Rows, TableForm
from ..._client.descriptions import CircuitState
from ..._client.operations import NORMAL, Operation, Read, Write, failure, no_reply, refusal
from ..._client.pvs import carrier_of
from ..._errors import (
    CaprotoError,
    CaprotoTimeoutError,
    ContextDisconnectedError,
    DisconnectedError,
)
from ..._protocol.columns import payloads_of
from ..._protocol.commands import (
    ReadNotifyRequest,
    WriteNotifyRequest,
    WriteNotifyResponse,
    WriteRequest,
)
from ..._protocol.message import DataMessage
from .._waiting import Alarm, Deadline, OneShot, Waiter
from ._circuit import ClientCircuit
from ._gathering import GatheredRead, GatheredWrite, Gathering
from ._home import ClientPV, home_of
from ._sending import Sending, send_all
from ._table_shares import Share, Shares

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_columns(
    form: TableForm,
    pvs: Sequence[ClientPV],
    shares: tuple[Sequence[Share], Rows],
    lock: RLock,
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
    read = ColumnRead(form, lock)
    errors: dict[str, CaprotoError] = {}
    columns = ColumnOperation(read, pvs, "read", deadline)
    try:
        rest = columns.send(shares, _reads)
        if not len(rest):
            columns.wait()
        single = SingleReads(read, form, pvs, deadline)
        if len(rest) or single.awaited and not deadline.expired:
            errors = single.run(rest.tolist())
    finally:  # also after a Ctrl-C
        late = columns.stop()
    errors.update(columns.errors(late))
    return read, errors


class SingleReads:
    """Reads of a table that cannot be made by columns, or were lost with their circuits.

    Parameters
    ----------
    read : ColumnRead
        What is under way by columns.
    form, pvs, deadline
        As for `read_columns`.
    """

    def __init__(
        self, read: ColumnRead, form: TableForm, pvs: Sequence[ClientPV], deadline: Deadline
    ) -> None:
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
        return [] if self._deadline.expired else self._reads(self._read.take_lost(waiter))


def write_columns(
    form: TableForm,
    pvs: Sequence[ClientPV],
    shares: Shares,
    parts: Sequence[tuple[Form, Rows, NDArray[Any]]],
    wait: bool,
    lock: RLock,
    deadline: Deadline,
) -> tuple[NDArray[numpy.bool_], dict[str, CaprotoError]]:
    """Write values to rows of a table; each is sent once at most.

    Parameters
    ----------
    form, pvs, lock, deadline
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
    written = ColumnRequests(len(form), lock)
    command = WriteNotifyRequest.ID if wait else WriteRequest.ID
    asked = numpy.zeros(len(form), numpy.bool_)
    places = numpy.zeros(len(form), numpy.intp)  # of the value of each row, in its part
    for _, rows, _ in parts:
        asked[rows] = True
        places[rows] = numpy.arange(len(rows))

    def compose(share: Share) -> list[ColumnRequest]:
        return [
            ColumnRequest(command, one.plain, one.count, sids[there], rows[there],
                          payloads_of(values[places[rows[there]]], one.plain))
            for one, rows, sids in share.parts
            for form_of_values, _, values in parts
            if form_of_values is one
            for there in (asked[rows],)
            if there.any()
        ]  # fmt: skip

    columns = ColumnOperation(
        written, pvs, "write", deadline, replies=wait, most=MOST_WRITES if wait else None
    )
    try:
        rest = columns.send(shares.now(), compose)
        late_rows = {pvs[row]: row for row in rest.tolist() if asked[row]}

        def write(late: Sequence[ClientPV]) -> tuple[set[ClientPV], set[ClientPV]]:
            rows = numpy.array(sorted(late_rows[pv] for pv in late), numpy.intp)
            usable, others = shares.among(rows)
            again = columns.send((usable, others[:0]), compose)
            return {pvs[row] for row in others.tolist()}, {pvs[row] for row in again.tolist()}

        errors = _write_late(
            [_write(pv, parts, row, wait, deadline) for pv, row in late_rows.items()],
            write if wait else None, deadline,
        )  # fmt: skip
        columns.wait()
    finally:  # also after a Ctrl-C
        late = columns.stop()
    errors.update(columns.errors(late))
    ok = asked
    for name in errors:
        ok[form.index[name]] = False
    return ok, errors


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


def _reads(share: Share) -> list[ColumnRequest]:
    return [
        ColumnRequest(ReadNotifyRequest.ID, form.data_type, form.count, sids, rows)
        for form, rows, sids in share.parts
    ]


#: Writes of tables that may await their completion on one circuit. An IOC queues at most 2,000
#: completions in all (``callbackQueueSize``), and forgets those beyond.
MOST_WRITES = 1000
#: How many must be finished before more are sent. All that may be under way are sent at once: in
#: four parts, 1,000 take 25 % longer.
PART = 250


class ColumnOperation:
    """Sends the requests of a table to its circuits, and says what became of them. Used once.

    Parameters
    ----------
    requests : ColumnRequests
        Takes the replies.
    pvs : sequence of PV
    verb : str
        For messages.
    deadline : Deadline
    replies : bool
        Whether the servers reply.
    most : int or None
        How many requests may be under way on one circuit; None for any number.
    """

    def __init__(
        self,
        requests: ColumnRequests,
        pvs: Sequence[ClientPV],
        verb: str,
        deadline: Deadline,
        replies: bool = True,
        most: int | None = None,
    ) -> None:
        self._replies = replies
        self._most = most
        self._unsent: list[Rows] = []
        self._requests = requests
        self._pvs = pvs
        self._verb = verb
        self._deadline = deadline
        self._circuits: dict[ClientCircuit, None] = {}

    def send(
        self,
        shares: tuple[Sequence[Share], Rows],
        compose: Callable[[Share], Sequence[ColumnRequest]],
    ) -> Rows:
        """Send what can be sent now, as far as it may be under way; return the rows that cannot.

        Waits, until the deadline, for others to be finished.
        """
        rest = [shares[1]]
        queues = [(share, deque(compose(share))) for share in shares[0]]
        while queues:
            progress = False
            for share, queue in queues:
                while queue:
                    request = queue.popleft()
                    sent = self._send(share, request)
                    if sent is None:
                        rest.append(request.rows)
                    elif sent < len(request.rows):
                        queue.appendleft(_part(request, slice(sent, None)))
                    progress = progress or sent != 0
                    if sent == 0:
                        break
            queues = [(share, queue) for share, queue in queues if queue]
            if queues and not progress and not self._wait_for_room(queues):
                self._unsent += [one.rows for _, queue in queues for one in queue]
                break
        return numpy.concatenate(rest)

    def _send(self, share: Share, request: ColumnRequest) -> int | None:
        """Send as many of some requests as may be under way, and return how many.

        None if the channels of the circuit have changed.
        """
        least = self._least
        if self._replies:
            self._requests.expect(request.rows)
        self._circuits[share.circuit] = None  # first, because it may be interrupted
        sent = share.circuit.act(
            functools.partial(
                _request,
                share=share,
                request=request,
                sink=self._requests if self._replies else None,
                least=least,
                most=self._most,
            ),
            self._deadline,
        )
        if self._replies and sent != len(request.rows):
            self._requests.unsent(request.rows[sent or 0 :])
        return sent

    @property
    def _least(self) -> int:
        """How many requests are worth a send."""
        return PART if self._requests.left else 1  # others may take long to finish

    def _wait_for_room(self, queues: Sequence[tuple[Share, object]]) -> bool:
        """Wait until fewer writes are under way on a circuit; False if the deadline comes first.

        They may be those of other callers.
        """
        alarm, finished = Alarm(), (self._least + 1) // 2
        for share, _ in queues:
            number, sinks = share.circuit.act(
                lambda session: session.columns.writes(), self._deadline
            )
            if not number:
                return True
            for sink in sinks:
                assert isinstance(sink, ColumnRequests)
                if not sink.wait_for(alarm, max(sink.left - finished, 0)):
                    return True
        return alarm.wait(self._deadline.remaining())

    def wait(self) -> None:
        """Wait until all have been answered, or for the deadline."""
        self._wait(0)

    def _wait(self, left: int) -> bool:
        """Wait until at most *left* replies are awaited; False if the deadline comes first."""
        waiter = OneShot()
        if not self._requests.wait_for(waiter, max(left, 0)):
            return True
        return waiter.wait(self._deadline.remaining())

    def stop(self) -> Rows:
        """Withdraw what is under way; return the rows that had no reply."""
        late = self._requests.close()
        if len(late):
            for circuit in self._circuits:
                circuit.act(
                    lambda session: session.columns.withdraw(self._requests), Deadline(0)
                )
        self._requests.end()
        return late

    def errors(self, late: Rows) -> dict[str, CaprotoError]:
        """Make the error of each request that failed, was lost, or had no reply."""
        found: dict[str, CaprotoError] = {}
        for row, answer in self._requests.refused.items():
            pv = self._pvs[row]
            if isinstance(answer, CaprotoError):
                found[pv.name] = failure(pv, self._verb, answer, pv.server)
            else:
                found[pv.name] = refusal(pv, self._verb, answer, answer.sender_address)
        for row, error in self._requests.lost_rows.items():
            found[self._pvs[row].name] = _lost(self._pvs[row], self._verb, error)
        for row in [row for rows in self._unsent for row in rows.tolist()]:
            name, within = self._pvs[row].name, waited("within", self._deadline.timeout)
            found[name] = CaprotoTimeoutError(
                f"{name!r}: the {self._verb} was not sent {within}, because the server was busy "
                "with others"
            )
        heard: dict[ClientCircuit | None, str] = {}
        for row in late.tolist():
            pv = self._pvs[row]
            circuit = carrier_of(pv)
            if circuit not in heard:
                heard[circuit] = (
                    "its circuit was lost" if circuit is None
                    else circuit.describe_last_heard(home_of(pv).now())
                )
            hint = Write.hint if self._verb == Write.verb else Read.hint
            text = no_reply(self._verb, self._deadline.timeout, heard[circuit], hint)
            found[pv.name] = CaprotoTimeoutError(f"{pv.name!r}: {text}")
        return found


def _part(request: ColumnRequest, part: slice) -> ColumnRequest:
    payloads = None if request.payloads is None else request.payloads[part]
    return request._replace(sids=request.sids[part], rows=request.rows[part], payloads=payloads)


def _request(
    session: CircuitSession,
    share: Share,
    request: ColumnRequest,
    sink: ColumnRequests | None,
    least: int,
    most: int | None,
) -> int | None:
    """Send requests under the lock of the circuit, while at most *most* writes are under way.

    Returns how many, *least* or none if not all; None if the channels of the circuit have changed.
    """
    if session.state is not CircuitState.CONNECTED or not share.current:
        return None
    wanted = len(request.rows)
    if most is not None:
        room = most - session.columns.writes()[0]
        if room < min(wanted, least):
            return 0
        if room < wanted:
            wanted, request = room, _part(request, slice(room))
    session.columns.request((request,), sink)
    return wanted


def _lost(pv: ClientPV, verb: str, error: CaprotoError) -> CaprotoError:
    """Make the error of a request that was lost, perhaps because the Context was closed."""
    if isinstance(error, DisconnectedError):
        try:
            home_of(pv).check_open(pv)
        except ContextDisconnectedError as closed:
            return closed.with_traceback(None)
    return failure(pv, verb, error, pv.server)

