"""The properties of a circuit: for its PVs, and for explanations.

Nothing here takes a lock; each answer is made of values that are read in one step.
"""
from __future__ import annotations

from _thread import RLock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..._addresses import Address
from ..._client.backoff import Loss
from ..._client.circuit_session import CircuitSession
from ..._client.deliveries import Delivery
from ..._client.descriptions import CircuitState, name_rights
from ..._protocol.client_channel import ClientChannel
from .. import _waiting
from ._callback_queue import CallbackQueue

if TYPE_CHECKING:
    from ..._client.explanation import CircuitReport

_CONNECTED = CircuitState.CONNECTED  # looked at for each request; members are slow to find


C = TypeVar("C", contravariant=True)


class CircuitOwner(Protocol[C]):
    """The Context of a circuit, with its events; what they return is delivered to callbacks."""

    context: Any

    @property
    def lock(self) -> RLock:
        """The lock of the PVs."""

    @property
    def columns_lock(self) -> RLock:
        """The lock of the tables."""

    def channels_created(self, manager: C, pvs: list[Any]) -> list[Delivery]:
        """Note that these PVs are connected."""

    def channels_lost(
        self, manager: C, pvs: list[Any], reason: str, loss: Loss
    ) -> list[Delivery]:
        """Note that these PVs have lost their channels."""

    def responsiveness_changed(self, manager: C, pvs: list[Any], state: str) -> list[Delivery]:
        """Note that the circuit stopped or resumed responding."""

    def pv_idle(self, manager: C, pv: Any) -> list[Delivery]:
        """Note that the channel of this PV was cleared, as it wanted."""

    def circuit_over(self, manager: C) -> None:
        """Note that the circuit takes no more channels."""


class Recorder(Protocol):
    """A queue of updates beside that of the callbacks."""

    def load(self, now: float) -> tuple[int, float]:
        """Return the memory that waiting updates take, and the age of the oldest, in seconds."""


class CircuitFacts:
    """The properties of one circuit.

    Parameters
    ----------
    session : CircuitSession
    delivery : CallbackQueue

    Attributes
    ----------
    session : CircuitSession
        Decides about the circuit.
    circuit : VirtualCircuit
        The protocol's side of the connection.
    log : logging.Logger
        At DEBUG every command sent and received is logged here; records carry ``our_address``,
        ``their_address``, ``direction`` and the name of the ``pv``.
    delivery : CallbackQueue
        Runs the callbacks.
    recorders : tuple of Recorder
        Other queues of updates; replaced whole.
    """

    def __init__(self, session: CircuitSession, delivery: CallbackQueue) -> None:
        self.session = session
        self.circuit = session.circuit
        self.log = session.circuit.log
        self.delivery = delivery
        self.recorders: tuple[Recorder, ...] = ()

    @property
    def address(self) -> Address:
        """The server."""
        return self.circuit.address

    @property
    def backlog(self) -> int:
        """Approximate memory, in bytes, of the updates waiting for callbacks."""
        return self.delivery.backlog

    @property
    def begun(self) -> float:
        """When it was made, on the monotonic clock."""
        return self.session.begun

    def load(self, now: float) -> tuple[int, float]:
        """Return the memory that waiting updates take, and the age of the oldest, in seconds."""
        size, age = self.delivery.load(now)
        for recorder in self.recorders:
            more, waiting = recorder.load(now)
            size, age = size + more, max(age, waiting)
        return size, age

    def time_since_last_heard(self) -> float:
        """Return the seconds since the server sent anything."""
        return _waiting.now() - self.session.heartbeat.last_heard

    def time_up(self, now: float) -> float:
        """Return the seconds since the connection was made; 0 if it has not been."""
        return self.session.time_up(now)

    def serves(self, channel: ClientChannel) -> bool:
        """Tell whether operations on *channel* can be sent now."""
        return self.session.state is _CONNECTED and channel.connected

    def describe(self, channel: ClientChannel) -> str:
        """Tell the state of *channel*, for people."""
        return self.session.describe(channel)

    def report(self, channel: ClientChannel) -> CircuitReport:
        """Report about this circuit, and *channel* on it, for `Context.explain`."""
        from ..._client.explanation import CircuitReport

        return CircuitReport(
            address=self.circuit.address,
            state=self.session.state.value,
            last_heard=self.time_since_last_heard(),
            version=self.circuit.peer_version,
            operations=len(self.session.routes.operations) + self.session.columns.open_requests(),
            backlog=self.backlog,
            pauses=self.session.flow.pauses,
            created=channel.connected,
            rights=name_rights(channel),
        )

    def describe_last_heard(self, now: float) -> str:
        """Tell how long ago the server was heard, for error messages."""
        return self.session.describe_last_heard(now)
