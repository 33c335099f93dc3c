"""Operations on many PVs for which one caller waits: all are sent, all outcomes collected."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from ..._client.arguments import DataType
from ..._client.operations import (
    NORMAL,
    Answer,
    Operation,
    Out,
    TypedRead,
    Write,
    failure,
    refusal,
)
from ..._client.pvs import carrier_of
from ..._errors import (
    CaprotoError,
    CaprotoTimeoutError,
    ContextDisconnectedError,
    DisconnectedError,
)
from .._waiting import Deadline, Waiter
from ._circuit import ClientCircuit
from ._home import ClientPV, home_of
from ._sending import Sending

#: What became of an operation: the response of a success, or the error.
Outcome = Answer | CaprotoError
#: What to read: data type and data count, as for `PV.read`.
Form = tuple[DataType | None, int | None]


class _Gathered(Operation):
    """An operation whose outcome goes to a `Gathering`."""

    __slots__ = ()
    expires = False  # the caller checks the time

    if TYPE_CHECKING:

        @property
        def gathering(self) -> Gathering:
            """What collects the outcome; the slot is the subclass's."""

    def answered(self, response: Answer, out: Out) -> None:  # type: ignore[override]
        """Pass *response* on to the caller that waits."""
        self.gathering.finish(self, response)

    def failed(self, error: CaprotoError, out: Out) -> None:
        """Pass *error*, which may concern many at once, on to the caller that waits."""
        pv: ClientPV = self.pv
        self.gathering.finish(self, failure(pv, self.verb, error, pv.server))


class GatheredRead(_Gathered, TypedRead):
    """See `TypedRead`."""

    __slots__ = ("gathering",)

    def failed(self, error: CaprotoError, out: Out) -> None:
        """Have it sent again if its circuit was lost: a read changes nothing."""
        if isinstance(error, DisconnectedError) and not self.deadline.expired:
            self.gathering.sending.again(self)
        else:
            super().failed(error, out)


class GatheredWrite(_Gathered, Write):
    """See `Write`."""

    __slots__ = ("gathering",)


def read_all(
    pvs: Sequence[ClientPV],
    forms: Sequence[Form],
    deadline: Deadline,
) -> list[tuple[Outcome, ...]]:
    """Read each of *pvs*, in each of some *forms*, with one send for each circuit.

    Reads that are lost with a circuit are repeated on the next one at once, until the deadline.

    Parameters
    ----------
    pvs : sequence of PV
    forms : sequence of Form
    deadline : Deadline
        For everything.

    Returns
    -------
    list of tuple of response or CaprotoError
        For each of *pvs*, in each of *forms*. The errors name the PV.
    """
    outcomes = iter(read_each([(pv, form) for pv in pvs for form in forms], deadline))
    return [tuple(next(outcomes) for _ in forms) for _ in pvs]


def read_each(wanted: Sequence[tuple[ClientPV, Form]], deadline: Deadline) -> list[Outcome]:
    """Read PVs, each in a form of its own; else as `read_all`."""
    reads = [GatheredRead(pv, None, deadline, *form) for pv, form in wanted]
    return Gathering(deadline).run(reads)


def write_all(values: Mapping[ClientPV, object], deadline: Deadline) -> list[Outcome]:
    """Write a value to each PV, with one send for each circuit; none is sent twice."""
    writes = [
        GatheredWrite(pv, None, deadline, value, None, None, True) for pv, value in values.items()
    ]
    return Gathering(deadline).run(writes)


class Others(Protocol):
    """Requests that are under way, and are repeated by a `Gathering` if they are lost."""

    @property
    def awaited(self) -> bool:
        """Whether some are under way, or lost and not taken yet."""

    def lost(self, waiter: Waiter) -> Sequence[_Gathered]:
        """Take those that were lost; have *waiter* called when more are, or none is under way."""


class Gathering:
    """Sends operations and collects what becomes of them. Used once.

    Parameters
    ----------
    deadline : Deadline
        Operations without outcome by then have failed.
    others : Others, optional
        Requests that are under way elsewhere, and can be lost and come here.

    Attributes
    ----------
    sending : Sending
        Sends the operations.
    """

    def __init__(self, deadline: Deadline, others: Others | None = None) -> None:
        self.sending = Sending(deadline, self.finish, self.awaited, self._more)
        self._others = others
        self._operations: list[_Gathered] = []
        # Changed by the readers of several circuits, in single steps.
        self._outcomes: dict[Operation, Outcome] = {}
        self._pending: dict[Operation, None] = {}

    def run(self, operations: Sequence[_Gathered]) -> list[Outcome]:
        """Send *operations* and wait for their outcomes, until the deadline.

        Returns
        -------
        list of Outcome
            Those of *operations*, then those of the ones that have come from the others.
        """
        self._begin(operations)
        try:
            self.sending.run(operations)
        finally:  # also after a Ctrl-C
            late = self._withdraw()
        outcomes = self._outcomes.copy()  # those that come from now on are too late
        for operation in self._operations:
            if operation not in outcomes:
                outcomes[operation] = self._no_reply(operation, late)
        return [_judge(operation, outcomes[operation]) for operation in self._operations]

    def _begin(self, operations: Sequence[_Gathered]) -> None:
        """Await the outcomes of *operations*, which are about to be sent."""
        self._operations += operations
        for operation in operations:
            operation.gathering = self  # type: ignore[misc]  # the slots are the subclasses'
        self._pending.update(dict.fromkeys(operations))

    def awaited(self) -> bool:
        """Tell whether outcomes are to come."""
        return bool(self._pending) or (self._others is not None and self._others.awaited)

    def _more(self) -> Sequence[Operation]:
        if self._others is None:
            return ()
        operations = self._others.lost(self)
        self._begin(operations)
        return operations

    def answered(self, response: object, batch: object = None) -> None:
        """Look again what has become of the others; called by any thread."""
        self.sending.wake()

    def finish(self, operation: Operation, outcome: Outcome) -> None:
        """Note what became of *operation*; called by any thread."""
        self._outcomes[operation] = outcome
        self._pending.pop(operation, None)
        if not self._pending:
            self.sending.wake()

    def _withdraw(self) -> dict[Operation, ClientCircuit]:
        """Withdraw the operations that are pending still; return these, with their circuits."""
        late: dict[Operation, ClientCircuit] = {}
        circuits: dict[ClientCircuit, list[Operation]] = {}
        for operation in list(self._pending):
            pv: ClientPV = operation.pv
            circuit = carrier_of(pv)
            if circuit is not None:
                late[operation] = circuit
                circuits.setdefault(circuit, []).append(operation)
        for circuit, operations in circuits.items():
            circuit.withdraw(operations)
        return late

    def _no_reply(
        self, operation: Operation, late: Mapping[Operation, ClientCircuit]
    ) -> CaprotoError:
        pv: ClientPV = operation.pv
        circuit = late.get(operation)
        last_heard = (
            "its circuit was lost" if circuit is None
            else circuit.describe_last_heard(home_of(pv).now())
        )
        return CaprotoTimeoutError(f"{pv.name!r}: {operation.no_reply(last_heard)}")


def _judge(operation: Operation, outcome: Outcome) -> Outcome:
    """Return *outcome*; an error instead of a refusal, or of a loss if the Context was closed."""
    pv: ClientPV = operation.pv
    if isinstance(outcome, DisconnectedError):
        try:
            home_of(pv).check_open(pv)
        except ContextDisconnectedError as closed:
            outcome = closed
    elif not isinstance(outcome, CaprotoError) and outcome.status != NORMAL:
        outcome = refusal(pv, operation.verb, outcome, outcome.sender_address)
    # A traceback would keep our frames, and all that is in them.
    return outcome.with_traceback(None) if isinstance(outcome, CaprotoError) else outcome
