"""The properties of a circuit: for users, for its PVs, and for explanations.

Nothing here takes a lock; each answer is made of values that are read in one step.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..._addresses import Address
from ..._client.circuit_session import CircuitSession
from ..._client.descriptions import CircuitState, name_rights
from ..._client.interfaces import PV, Subscription
from ..._protocol.client_channel import ClientChannel
from .. import _waiting
from ._callback_queue import CallbackQueue

if TYPE_CHECKING:
    from ..._client.explanation import CircuitReport

_CONNECTED = CircuitState.CONNECTED  # looked at for each request; members are slow to find


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
    """

    def __init__(self, session: CircuitSession, delivery: CallbackQueue) -> None:
        self.session = session
        self.circuit = session.circuit
        self.log = session.circuit.log
        self.delivery = delivery

    # ---- facts for users

    @property
    def address(self) -> Address:
        """The server."""
        return self.circuit.address

    @property
    def connected(self) -> bool:
        """Whether the server is there and responds."""
        return self.session.state is _CONNECTED

    @property
    def dead(self) -> bool:
        """Whether this circuit is over; the PVs then go to another one."""
        return self.session.over

    @property
    def channels(self) -> dict[int, ClientChannel]:
        """The channels by their cid."""
        return cast("dict[int, ClientChannel]", self.circuit.channels)

    @property
    def pvs(self) -> dict[int, PV]:
        """The PVs of this circuit, by the cid of their channel (a copy)."""
        return self.session.routes.pvs.copy()  # in one step, so it needs no lock

    @property
    def subscriptions(self) -> dict[int, Subscription]:
        """The active subscriptions by their id on the wire (a copy)."""
        return self.session.routes.subscriptions.copy()

    @property
    def backlog(self) -> int:
        """Approximate memory, in bytes, of the updates waiting for callbacks."""
        return self.delivery.backlog

    @property
    def pauses(self) -> int:
        """How often the server was asked to hold its updates (EVENTS_OFF)."""
        return self.session.flow.pauses

    @property
    def begun(self) -> float:
        """When it was made, on the monotonic clock."""
        return self.session.begun

    def time_since_last_heard(self) -> float:
        """Return the seconds since the server sent anything."""
        return _waiting.now() - self.session.heartbeat.last_heard

    def time_up(self, now: float) -> float:
        """Return the seconds since the connection was made; 0 if it has not been."""
        return self.session.time_up(now)

    def __repr__(self) -> str:
        host, port = self.circuit.address
        routes = self.session.routes
        return (
            f"<VirtualCircuitManager: {self.session.state.value} {host}:{port}, "
            f"priority {self.circuit.priority}, {len(routes.pvs)} PVs, "
            f"{len(routes.subscriptions)} subscriptions>"
        )

    # ---- facts for PVs and the Context

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
            operations=len(self.session.routes.operations),
            backlog=self.backlog,
            pauses=self.pauses,
            created=channel.connected,
            rights=name_rights(channel),
        )

    def describe_last_heard(self, now: float) -> str:
        """Tell how long ago the server was heard, for error messages."""
        return self.session.describe_last_heard(now)
