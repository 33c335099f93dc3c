"""VirtualCircuitManager: what users see of the circuit to one server.

Nothing here takes a lock; each answer is made of values that are read in one step.
"""
from __future__ import annotations

import logging
from _thread import RLock
from collections.abc import Callable
from typing import Protocol, cast

from ..._addresses import Address
from ..._client.circuit_session import CircuitSession
from ..._client.descriptions import CircuitState, describe_circuit
from ..._client.interfaces import PV, Subscription
from ..._client.operations import Operation
from ..._numbers import counted
from ..._protocol.circuit import VirtualCircuit
from ..._protocol.client_channel import ClientChannel
from ._reentry import must_not_wait, refusal

#: Seconds that `disconnect` waits at most for the circuit to end.
CLOSE_TIME = 2.0


class ManagedCircuit(Protocol):
    """The circuit that a manager shows; see ``_circuit``."""

    session: CircuitSession
    circuit: VirtualCircuit
    locks: tuple[RLock, ...]

    @property
    def log(self) -> logging.Logger:
        """The logger of the circuit."""

    @property
    def backlog(self) -> int:
        """Memory of the updates waiting for callbacks."""

    def time_since_last_heard(self) -> float:
        """Return the seconds since the server sent anything."""

    def note(self, function: Callable[[], object], name: str = "") -> None:
        """Have *function* called by the reader thread, soon."""

    def hold_events(self, hold: bool) -> None:
        """Ask the server to hold updates, or to send them."""

    def disconnect(self) -> None:
        """End in good order."""

    def join(self, timeout: float | None) -> None:
        """Wait for the end."""


class VirtualCircuitManager:
    """The circuit to one server at one priority, shared by all PVs there.

    Made by the Context. See ``PV.circuit_manager``.

    Attributes
    ----------
    context : Context
        The Context that made it.
    """

    def __init__(self, circuit: ManagedCircuit, context: object) -> None:
        self._circuit = circuit
        self.context = context

    @property
    def circuit(self) -> VirtualCircuit:
        """The protocol's side of the connection."""
        return self._circuit.circuit

    @property
    def log(self) -> logging.Logger:
        """The logger of the circuit.

        At DEBUG every command sent and received is logged here; records carry ``our_address``,
        ``their_address``, ``direction`` and the name of the ``pv``.
        """
        return self._circuit.log

    @property
    def address(self) -> Address:
        """The server."""
        return self._circuit.circuit.address

    @property
    def connected(self) -> bool:
        """Whether the server is there and responds."""
        return self._circuit.session.state is CircuitState.CONNECTED

    @property
    def dead(self) -> Ended:
        """Whether this circuit is over; the PVs then go to another one."""
        return Ended(self._circuit)

    @property
    def channels(self) -> dict[int, ClientChannel]:
        """The channels by their cid."""
        return cast("dict[int, ClientChannel]", self.circuit.channels)

    @property
    def pvs(self) -> dict[int, PV]:
        """The PVs of this circuit, by the cid of their channel (a copy)."""
        return self._circuit.session.routes.pvs.copy()  # in one step, so it needs no lock

    @property
    def all_created_pvnames(self) -> list[str]:
        """The names of the PVs that the server has created channels for."""
        channels = self.channels
        return [
            pv.name for cid, pv in self.pvs.items()
            if (channel := channels.get(cid)) is not None and channel.connected
        ]

    @property
    def subscriptions(self) -> dict[int, Subscription]:
        """The active subscriptions by their id on the wire (a copy)."""
        return self._circuit.session.routes.subscriptions.copy()

    @property
    def ioids(self) -> dict[int, Operation]:
        """The reads and writes that wait for a reply, by their id on the wire (a copy)."""
        return self._circuit.session.routes.operations.copy()

    @property
    def backlog(self) -> int:
        """Approximate memory, in bytes, of the updates waiting for callbacks."""
        return self._circuit.backlog

    @property
    def pauses(self) -> int:
        """How often the server was asked to hold its updates (EVENTS_OFF)."""
        return self._circuit.session.flow.pauses

    def time_since_last_heard(self) -> float:
        """Return the seconds since the server sent anything."""
        return self._circuit.time_since_last_heard()

    def events_off(self) -> None:
        """Ask the server to hold the updates of this circuit.

        The server keeps the newest one of each subscription until :meth:`events_on`.
        """
        self._circuit.hold_events(True)

    def events_on(self) -> None:
        """Let updates come again; the newest suppressed value of each subscription comes first."""
        self._circuit.hold_events(False)

    def disconnect(self) -> None:
        """End the connection to the server; its PVs are searched and connect again."""
        if must_not_wait(self._circuit.locks):
            self._circuit.note(self._circuit.disconnect)
        else:
            self._circuit.disconnect()
            self._circuit.join(CLOSE_TIME)

    def __repr__(self) -> str:
        session = self._circuit.session
        routes = session.routes
        return (
            f"<VirtualCircuitManager: {describe_circuit(session.state, self.address)}, "
            f"priority {self.circuit.priority}, {counted(len(routes.pvs), 'PV')}, "
            f"{counted(len(routes.subscriptions), 'subscription')}>"
        )


class Ended:
    """Whether a circuit is over: true or false, and with the methods of an Event for that."""

    def __init__(self, circuit: ManagedCircuit) -> None:
        self._circuit = circuit

    def is_set(self) -> bool:
        """Return whether the circuit is over."""
        return self._circuit.session.over

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the circuit is over, at most *timeout* seconds; return whether it is.

        Raises
        ------
        ReentrantCallError
            If this thread would wait for itself.
        """
        if timeout != 0 and must_not_wait(self._circuit.locks):
            raise refusal("VirtualCircuitManager.dead.wait")
        self._circuit.join(timeout)
        return self.is_set()

    __bool__ = is_set

    def __repr__(self) -> str:
        return repr(self.is_set())
