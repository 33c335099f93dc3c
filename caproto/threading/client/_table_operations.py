"""ColumnOperation: the requests of one read or write of a table, by columns.

Importing this module imports numpy.
"""
from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Sequence

import numpy

from ..._client.arguments import waited
from ..._client.circuit_session import CircuitSession
from ..._client.column_requests import ColumnRequest, ColumnRequests
from ..._client.columns import Rows
from ..._client.descriptions import CircuitState
from ..._client.operations import Read, Write, failure, no_reply, refusal
from ..._client.pvs import carrier_of
from ..._errors import (
    CaprotoError,
    CaprotoTimeoutError,
    ContextDisconnectedError,
    DisconnectedError,
)
from .._waiting import Alarm, Deadline
from ._circuit import ClientCircuit
from ._home import ClientPV, Home, home_of
from ._reentry import enter
from ._table_shares import Share

#: How many must be finished before more are sent. All that may be under way are sent at once: in
#: four parts, 1,000 take 25 % longer.
PART = 250
_NO_ROWS: Rows = numpy.zeros(0, numpy.intp)


class ColumnOperation:
    """Sends the requests of a table to its circuits, and says what became of them. Used once.

    Each step notes its locks again (`_reentry.enter`): a signal handler may have used other
    Contexts while the step before waited.

    Parameters
    ----------
    home : Home
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
        home: Home,
        requests: ColumnRequests,
        pvs: Sequence[ClientPV],
        verb: str,
        deadline: Deadline,
        replies: bool = True,
        most: int | None = None,
    ) -> None:
        self._home = home
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
            if queues and not progress and (
                self._deadline.expired or not self._wait_for_room(queues)
            ):
                self._unsent += [one.rows for _, queue in queues for one in queue]
                break
        return numpy.concatenate(rest)

    def _send(self, share: Share, request: ColumnRequest) -> int | None:
        """Send as many of some requests as may be under way, and return how many.

        None if the channels of the circuit have changed.
        """
        least = self._least
        enter(self._home.locks)
        if self._replies:
            self._requests.expect(request.rows)
        self._circuits[share.circuit] = None  # first, because it may be interrupted
        sent = share.circuit.act(
            functools.partial(
                _request,
                share,
                request,
                self._requests if self._replies else None,
                least,
                self._most,
            ),
            self._deadline,
        )
        enter(self._home.locks)
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
        return alarm.wait_until(self._deadline)

    def foresee(self) -> None:
        """Prepare for the replies to writes, while the servers work on them."""
        for circuit in self._circuits:
            circuit.act(lambda session: session.columns.foresee(self._requests), self._deadline)

    def wait(self) -> None:
        """Wait until all have been answered, or for the deadline."""
        waiter = Alarm()
        enter(self._home.locks)
        if self._requests.wait_for(waiter, 0):
            waiter.wait_until(self._deadline)

    def stop(self) -> Rows:
        """Withdraw what is under way; return the rows that had no reply."""
        if self._requests.done:
            return _NO_ROWS
        enter(self._home.locks)
        late = self._requests.close()
        try:
            if len(late):
                for circuit in self._circuits:
                    circuit.act(
                        lambda session: session.columns.withdraw(self._requests), Deadline(0)
                    )
            self._requests.end()
        except BaseException:  # Ctrl-C: others may wait for the end of these
            for circuit in self._circuits:
                circuit.note(self._requests.end)
            raise
        return late

    def errors(self, late: Rows) -> dict[str, CaprotoError]:
        """Make the error of each request that failed, was lost, or had no reply."""
        found: dict[str, CaprotoError] = {}
        if self._requests.done and not self._unsent:
            return found
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
    return request._replace(
        sids=request.sids[part], rows=request.rows[part], payloads=payloads, composers=None
    )


def _request(
    share: Share,
    request: ColumnRequest,
    sink: ColumnRequests | None,
    least: int,
    most: int | None,
    session: CircuitSession,
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

