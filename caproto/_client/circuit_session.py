"""CircuitSession: what a client decides about the circuit to one server at one priority.

Its inputs are what users want, what was received, and the present time. It holds the rules of the
protocol, the routing tables, the watchdog and the flow control of the circuit. Its outputs are the
bytes to send, what to deliver, and the next deadline. It belongs to the lock of its driver: a
locked section changes the session, and the driver acts after the release.
"""
from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from .._addresses import Address
from .._errors import CaprotoError, DeadCircuitError, MessageError, RemoteProtocolError
from .._log import CIRCUIT_LOGGER, turned_up
from .._protocol.circuit import VirtualCircuit
from .._protocol.client_channel import ClientChannel
from .._protocol.commands import (
    ClientNameRequest,
    EchoRequest,
    EventAddResponse,
    EventsOffRequest,
    EventsOnRequest,
    HostNameRequest,
    Message,
    ReadNotifyRequest,
    ReadSyncRequest,
    VersionRequest,
)
from .._protocol.constants import DEFAULT_PROTOCOL_VERSION, ECHO_VERSION
from .._protocol.framing import UNLIMITED
from .._protocol.message import Payload
from .._protocol.roles import CLIENT
from .backoff import Loss
from .circuit_columns import CircuitColumns, messages_in
from .deliveries import Deliveries
from .descriptions import CircuitState, describe_channel
from .flow_control import FlowControl
from .heartbeat import Action, Heartbeat
from .interfaces import PV, CarriedChannel, Subscription
from .operations import NORMAL, NotSent, Operation
from .routing import HANDLERS, REPLIES, End, FollowUp, Routes, Unresponsive

# Looked at for each request and each chunk received; members are slow to find.
_CONNECTED = CircuitState.CONNECTED

P = TypeVar("P", bound=PV)
_log = logging.getLogger(CIRCUIT_LOGGER)  # of all circuits: quicker to ask than that of one

#: A request that was composed, with the channel for which; None if it is not on this circuit.
Composed = tuple[Operation, ClientChannel | None, Message | None]


class CircuitSession:
    """One circuit, from before the connection to after its end.

    A `Carrier` for a `PVTable`, unless the driver has one of its own.

    Parameters
    ----------
    address : tuple of (str, int)
        The server.
    priority : int
    peer_version : int
        Minor version of the server, from the search reply.
    host_name, client_name : str
        Sent to the server, which may have access rules for them.
    now : float
        The present time.
    connection_timeout : float
        Seconds without a sign of life before the server is asked for one.
    max_payload : int
        Larger messages are skipped, and fail their operations.
    flow_control : bool
        Whether a backlog of updates makes us hold them.
    outbox : deque of bytes-like, optional
        Where to put what is to be sent, in order. Default: one that `data_to_send` empties.

    Attributes
    ----------
    circuit : VirtualCircuit
        The rules of the protocol.
    routes : Routes
        PVs, operations and subscriptions.
    columns : CircuitColumns
        The requests of tables.
    heartbeat : Heartbeat
    flow : FlowControl
    state : CircuitState
    begun, up_since : float
        When it was made, and connected (infinite before that).
    useful : bool
        Whether it has brought values, or confirmations of writes.
    idling : set of PV
        PVs with channels to clear; see `clear_idle`.
    expire_at : float
        When to call `expire`; infinite if there is nothing to wait for.
    sent : deque of Message
        What was sent, for the log of the driver; filled only while it logs at DEBUG.
    deviated : bool
        Whether the server has deviated from the protocol; the driver sets it.
    """

    def __init__(
        self,
        address: Address,
        priority: int,
        peer_version: int,
        *,
        host_name: str,
        client_name: str,
        now: float,
        connection_timeout: float = 30.0,
        max_payload: int = UNLIMITED,
        flow_control: bool = True,
        outbox: deque[Payload] | None = None,
    ) -> None:
        self.circuit = VirtualCircuit(
            CLIENT, address, priority, peer_version=peer_version, max_payload=max_payload
        )
        self.routes = Routes()
        self.heartbeat = Heartbeat(connection_timeout, now=now)
        self.flow = FlowControl(flow_control)
        self.state = CircuitState.CONNECTING
        self.begun = now
        self.up_since = math.inf
        self.useful = False
        self.expire_at = math.inf
        self.sent: deque[Message] = deque()
        self.deviated = False
        self.idling: set[PV] = set()
        self._outbox: deque[Payload] = deque() if outbox is None else outbox
        self.columns = CircuitColumns(self.circuit, self.routes, self._send_block)
        self._send(
            VersionRequest(priority, DEFAULT_PROTOCOL_VERSION),
            ClientNameRequest(client_name),
            HostNameRequest(host_name),
        )

    # ---- facts

    @property
    def over(self) -> bool:
        """Whether it takes no more channels."""
        return self.state in (CircuitState.CLOSING, CircuitState.DEAD)

    @property
    def deadline(self) -> float:
        """When to call `beat` and `expire`, even if nothing happens before."""
        return min(self.heartbeat.deadline, self.expire_at)

    @property
    def address(self) -> Address:
        """The server."""
        return self.circuit.address

    def serves(self, channel: ClientChannel) -> bool:
        """Whether operations on *channel* can be sent now."""
        return self.state is _CONNECTED and channel.connected

    def time_up(self, now: float) -> float:
        """Return the seconds since the connection was made; 0 if it has not been."""
        return max(0.0, now - self.up_since)

    def describe(self, channel: ClientChannel) -> str:
        """Tell the state of *channel*, for people."""
        return describe_channel(self.state, channel)

    def describe_last_heard(self, now: float) -> str:
        """Tell how long ago the server was heard, for people."""
        host, port = self.circuit.address
        return f"{host}:{port} was last heard {now - self.heartbeat.last_heard:.1f} s ago"

    # ---- bytes to send

    def _send(self, *commands: Message) -> None:
        self._outbox.extend(self.circuit.send(*commands))
        if turned_up or _log.isEnabledFor(logging.DEBUG):
            self.sent += commands

    def _send_block(self, data: bytes) -> None:
        """Send requests that were composed as one block."""
        self._outbox.extend(self.circuit.send_block(data))
        if turned_up or _log.isEnabledFor(logging.DEBUG):
            self.sent += messages_in(data)

    def data_to_send(self) -> list[Payload]:
        """Take what is to be written after all that was taken before."""
        out = list(self._outbox)
        self._outbox.clear()
        return out

    # ---- channels

    def attach(self, pvs: Sequence[P]) -> dict[P, CarriedChannel[Any]] | None:
        """Make channels for *pvs*, to be created later; None if this circuit is over."""
        if self.over:
            return None
        made: dict[P, CarriedChannel[Any]]
        made = {pv: CarriedChannel(pv.name, self.circuit) for pv in pvs}
        routed = self.routes.pvs
        for pv, channel in made.items():
            routed[channel.cid] = pv
        return made

    def create(self, channels: Iterable[ClientChannel]) -> bool:
        """Ask the server for channels that were attached; False if the circuit is over."""
        if self.over:
            return False
        blocks = self.circuit.create_channels(tuple(channels))
        self._outbox.extend(blocks)
        if turned_up or _log.isEnabledFor(logging.DEBUG):
            self.sent += messages_in(b"".join(blocks))
        return True

    def idle(self, pv: PV, channel: ClientChannel) -> None:
        """Clear *channel* as soon as it is possible; see `clear_idle`."""
        if self.routes.pvs.get(channel.cid) is pv:
            self.idling.add(pv)

    def clear_idle(self) -> list[PV]:
        """Clear the channels of PVs that are to go idle and are not needed; return the PVs.

        Those with operations under way, or not yet created, are kept for the next call.
        """
        cleared: list[PV] = []
        busy = self.columns.busy() | {one.fields[4] for one in self.circuit.pending.values()}
        for pv in list(self.idling):
            channel = pv.channel
            if channel is None or channel.circuit is not self.circuit or not pv._may_idle:
                self.idling.discard(pv)
            elif channel.sid not in busy and self.serves(channel):
                self.idling.discard(pv)
                self.routes.clear_channel(pv, channel.cid)
                self._send(channel.clear())
                cleared.append(pv)
        return cleared

    def close_if_unused(self) -> bool:
        """Begin to close if no PV is left; return whether this call did."""
        unused = not self.routes.pvs and not self.over
        if unused:
            self.state = CircuitState.CLOSING
        return unused

    # ---- operations

    def new_number(self, channel: ClientChannel) -> int:
        """Return an id for an operation on *channel*.

        Raises
        ------
        NotSent
            If the channel is not connected.
        """
        if self.state is not _CONNECTED or not channel.connected:
            raise _lost(channel)
        return self.circuit.new_ioid()

    def start(self, operation: Operation, channel: ClientChannel) -> int:
        """Compose and send an operation that is `quick` to compose; return its id.

        Raises
        ------
        NotSent
            If the channel is not connected.
        """
        if self.state is not _CONNECTED or not channel.connected:
            raise _lost(channel)
        circuit = self.circuit
        number = circuit.new_ioid()
        message = operation.compose(channel, number)
        # As `_add` does, without a call.
        if operation.has_reply:
            self.routes.operations[number] = operation
            if operation.expires and operation.deadline.moment < self.expire_at:
                self.expire_at = operation.deadline.moment
        self._outbox.append(circuit.send_one(message))
        if turned_up or _log.isEnabledFor(logging.DEBUG):
            self.sent.append(message)
        return number

    def submit(
        self, operation: Operation, channel: ClientChannel, number: int, message: Message
    ) -> None:
        """Send an operation that was composed under a `new_number`.

        Raises
        ------
        NotSent
            If the channel was lost meanwhile.
        """
        if self.state is not _CONNECTED or not channel.connected:
            raise _lost(channel)
        self._add(operation, number, message)

    def _add(self, operation: Operation, number: int, message: Message) -> None:
        if operation.has_reply:
            self.routes.operations[number] = operation
            if operation.expires and operation.deadline.moment < self.expire_at:
                self.expire_at = operation.deadline.moment
        self._outbox.extend(self.circuit.send(message))
        if turned_up or _log.isEnabledFor(logging.DEBUG):
            self.sent.append(message)

    def compose(
        self, operations: Iterable[Operation], numbers: Iterable[int]
    ) -> tuple[list[Composed], list[tuple[Operation, CaprotoError]]]:
        """Compose the messages of operations; return them, and what failed with its error.

        Changes nothing, so no lock is needed. The numbers come from ``circuit.new_ioids``.
        """
        composed: list[Composed] = []
        failed: list[tuple[Operation, CaprotoError]] = []
        circuit = self.circuit
        for operation, number in zip(operations, numbers, strict=True):
            channel = operation.pv.channel
            if channel is None or channel.circuit is not circuit or channel.sid is None:
                composed.append((operation, None, None))
                continue
            try:
                composed.append((operation, channel, operation.compose(channel, number)))
            except CaprotoError as error:
                failed.append((operation, error))
        return composed, failed

    def submit_many(self, composed: Sequence[Composed]) -> list[Operation]:
        """Send many operations; return those that could not be sent, because of their channels.

        None is sent before an earlier one of its PV.
        """
        unsent: list[Operation] = []
        late: set[PV] = set()
        messages: list[Message] = []
        alive, operations = self.state is _CONNECTED, self.routes.operations
        expire_at = self.expire_at
        for operation, channel, message in composed:
            if (
                channel is None or message is None
                or not alive or not channel.connected
                or (late and operation.pv in late)
            ):  # fmt: skip
                unsent.append(operation)
                late.add(operation.pv)
                continue
            if operation.has_reply:
                operations[message.fields[5]] = operation
                if operation.deadline.moment < expire_at:
                    expire_at = operation.deadline.moment
            messages.append(message)
        self.expire_at = expire_at
        if messages:
            self._send(*messages)
        return unsent

    def forget(self, number: int) -> bool:
        """Forget an operation; return False if it has finished already."""
        self.circuit.pending.pop(number, None)
        return self.routes.operations.pop(number, None) is not None

    def withdraw(self, operations: Iterable[Operation]) -> None:
        """Undo operations if an interrupt came while they were sent, in whatever state they are."""
        withdrawn = set(map(id, operations))
        table = self.routes.operations
        for number in [n for n, operation in table.items() if id(operation) in withdrawn]:
            self.circuit.pending.pop(number, None)
            del table[number]

    def expire(self, now: float) -> list[Operation]:
        """Remove and return the operations past their deadline for which no caller waits."""
        expired, self.expire_at = self.routes.take_expired(now)
        for number in expired:
            self.circuit.pending.pop(number, None)
        return list(expired.values())

    # ---- subscriptions

    def reconcile(self, subscriptions: Iterable[Subscription]) -> None:
        """Have the server send updates for those that are wanted, and for no others."""
        if self.over:
            return
        commands: list[Message] = []
        # Each once: users change the wish meanwhile, and what is not sent yet cannot be cancelled.
        for sub in dict.fromkeys(subscriptions):
            channel = sub.pv.channel
            if channel is None or channel.circuit is not self.circuit or not channel.connected:
                continue
            if sub.wanted and sub.event_id is None:
                # Composed each time: the type of a channel may have changed while it was away.
                command = sub._request(channel)
                sub.event_id = number = command.subscriptionid
                sub.refused = False
                self.routes.subscriptions[number] = sub
                commands.append(command)
            elif not sub.wanted and sub.event_id is not None:
                del self.routes.subscriptions[sub.event_id]
                commands.append(channel.unsubscribe(sub.event_id))
                sub._stopped()
        if commands:
            self._send(*commands)

    def hold(self, hold: bool) -> None:
        """Have the server hold updates, or send them again, as `flow` says."""
        self._send(EventsOffRequest() if hold else EventsOnRequest())

    # ---- what comes from the server

    def established(self, now: float) -> None:
        """Note that the connection was made."""
        if self.state is CircuitState.CONNECTING:
            self.state = CircuitState.CONNECTED
        self.up_since = now
        self.heartbeat.received(now)

    def receive_data(
        self, data: bytes | bytearray | memoryview, now: float
    ) -> tuple[FollowUp, CaprotoError | None]:
        """Take in bytes, as read from the socket; the simple form of `receive`.

        Parameters
        ----------
        data : bytes-like
            In pieces of any size. Nothing, if the server has closed the connection.
        now : float

        Returns
        -------
        FollowUp
            What is to be done.
        CaprotoError or None
            Why the circuit must be ended after that.
        """
        out = Deliveries()
        commands = self.circuit.feed(data)
        then, error = self.receive(commands, now, out) if commands else (None, None)
        closed = None if data else DeadCircuitError("the server closed the connection")
        return then or FollowUp(out), error or self.circuit.error or closed

    def receive(
        self, commands: Sequence[Message], now: float, out: Deliveries
    ) -> tuple[FollowUp | None, RemoteProtocolError | None]:
        """Check *commands* by the rules, and route them.

        Returns
        -------
        FollowUp or None
            What is to be done; nothing, if they were updates and replies.
        RemoteProtocolError or None
            What the server did wrong, after all that is in *out* and in the follow-up.
        """
        process, usual_update = self.circuit.process_command, self.circuit.usual_update
        routes = self.routes
        subscriptions, operations = routes.subscriptions, routes.operations
        add_target, add_argument = out.targets.append, out.arguments.append
        then: FollowUp | None = None
        error: RemoteProtocolError | None = None
        useful = False
        self.heartbeat.received(now)
        try:
            for command in commands:
                kind = type(command)
                if kind is not EventAddResponse or not usual_update(command):  # type: ignore[arg-type]
                    try:
                        process(command)
                    except MessageError as exc:
                        then = then or FollowUp(out)
                        then.deviations.append(exc)
                        if not exc.usable:
                            routes.reject(command, exc, then)
                            continue
                    if kind in REPLIES:
                        operation = operations.pop(command.fields[5], None)
                        if operation is not None:
                            operation.answered(command, out)
                            useful = True
                            continue
                    if kind is not EventAddResponse or command.fields[4] != NORMAL:
                        if kind in HANDLERS:
                            then = then or FollowUp(out)
                            HANDLERS[kind](routes, command, then)
                        continue
                # An update. Nearly all there is; in a handler, each would take 120 ns more.
                sub = subscriptions.get(command.fields[5])
                if sub is None or sub.refused:
                    then = then or FollowUp(out)
                    HANDLERS[kind](routes, command, then)
                    continue
                add_target(sub._updates)
                add_argument(command)
                useful = True
        except RemoteProtocolError as exc:
            error = exc
        self.useful |= useful
        if then is not None:
            self._settle(then, now)
        return then, error

    def _settle(self, then: FollowUp, now: float) -> None:
        """Decide what follows from special commands."""
        if then.columns:
            self.useful = True
        if self.routes.sinks:
            self.columns.settle(then)
        if then.lost:
            then.failed = self.routes.take_orphans(self.circuit.pending)
        if then.requests:
            self._send(*then.requests)
        for _ in range(then.echoes):
            if self.heartbeat.echo_received(now) and self.state is CircuitState.UNRESPONSIVE:
                then.responding = self._resume()

    # ---- signs of life

    def beacon(self, good: bool, now: float) -> None:
        """Note a beacon of the server, in its rhythm or not."""
        if good:
            self.heartbeat.beacon(now)
        else:
            self.heartbeat.beacon_anomaly()

    def sending(self, taken_at: float) -> None:
        """Note that bytes wait; the server last took some, or they began to wait, at *taken_at*."""
        self.heartbeat.sending(taken_at)

    def beat(self, now: float, taken_at: float) -> Unresponsive | None:
        """Do what the heartbeat asks for; return what is lost if the server has not responded."""
        self.heartbeat.sending(taken_at)  # the deadline is later if bytes were sent meanwhile
        action = self.heartbeat.check(now)
        if action is Action.NOTHING:
            return None
        old = self.circuit.peer_version < ECHO_VERSION
        self._send(ReadSyncRequest() if old else EchoRequest())
        if action is not Action.UNRESPONSIVE or self.state is not CircuitState.CONNECTED:
            return None
        self.state = CircuitState.UNRESPONSIVE
        operations, self.routes.operations = self.routes.operations, {}
        for number in operations:
            self.circuit.pending.pop(number, None)
        return Unresponsive(self._created(), operations, self.columns.take_requests())

    def _resume(self) -> list[PV]:
        """Note that the server responds again; return the PVs that can be used."""
        self.state = CircuitState.CONNECTED
        # What was missed meanwhile comes as an answer under the subscription's own id.
        self._send(
            *(
                ReadNotifyRequest(request.data_type, request.data_count, request.sid, number)
                for number, request in self.circuit.subscriptions.items()
            )
        )
        self.columns.refresh()
        return self._created()

    def _created(self) -> list[PV]:
        created = {cid for cid, channel in self.circuit.channels.items() if channel.connected}
        return [pv for cid, pv in self.routes.pvs.items() if cid in created]

    # ---- the end

    def closing(self) -> None:
        """Begin to end in good order."""
        if self.state is not CircuitState.DEAD:
            self.state = CircuitState.CLOSING

    def end(self, error: Exception | None) -> End:
        """Note the end of the connection, because of *error* or in good order."""
        connecting = self.state is CircuitState.CONNECTING
        self.state = CircuitState.DEAD
        self.circuit.disconnect()
        self._outbox.clear()
        self.idling.clear()
        pvs, operations = self.routes.take_all()
        columns = self.columns.take_all()
        if error is None:
            loss = Loss.CLOSED
        else:
            loss = Loss.BROKEN if self.useful else Loss.USELESS
        return End(pvs, operations, loss, connecting, columns)


def _lost(channel: ClientChannel) -> NotSent:
    return NotSent(f"{channel.name!r}: the channel was lost before anything was sent")
