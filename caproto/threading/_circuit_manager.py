"""VirtualCircuitManager: one TCP conversation, its socket and the thread that reads it.

Who may touch what:

* The protocol object, the routing tables and the outbox belong to the lock. Locked sections decide;
  what follows from it (writing, callbacks, searches, other circuits) is done after.
* The socket is opened, read and closed by the reader thread only. Anybody writes to it, holding
  nothing and without waiting; what it does not take stays in the outbox, and is pushed by the
  sender and by the reader, whoever comes first.
* While asleep the reader holds the socket, not the manager (see ``_transport.take_turns``).
"""
from __future__ import annotations

import functools
import logging
import math
import threading
import weakref
from _thread import RLock
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from .. import _locks
from .._channel import ClientChannel
from .._circuit import VirtualCircuit
from .._commands import (
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
from .._constants import DEFAULT_PROTOCOL_VERSION, ECHO_VERSION
from .._errors import (
    CaprotoError,
    CaprotoTimeoutError,
    DeadCircuitError,
    DisconnectedError,
    MessageError,
    RemoteProtocolError,
)
from .._flow_control import FlowControl, cost
from .._heartbeat import Action, Heartbeat
from .._log import RECEIVED, SENT, turned_up
from .._roles import CLIENT
from . import _waiting
from ._circuit_words import (
    State,
    describe_channel,
    log_deviation,
    log_end,
    log_refusal,
    name_rights,
)
from ._delivery import Deliveries, Delivery
from ._explain import CircuitReport
from ._notes import Notes
from ._operations import NORMAL, NotSent, Operation
from ._reentry import serving
from ._routing import HANDLERS, REPLIES, Routes, Turn
from ._subscription import Subscription
from ._transport import HANG_UP_TIME, Transport, Waker, describe, hang_up, take_turns
from ._troubles import Loss
from ._waiting import Deadline, Waiter

if TYPE_CHECKING:
    import socket

    from ._pv import PV

#: Blocks received in a row before the reader looks after its timers again.
BLOCKS_PER_TURN = 16


class Owner(Protocol):
    """What a manager tells its Context."""

    @property
    def locks(self) -> tuple[RLock, ...]:
        """The locks of a Context that a call about one of its PVs may need."""

    def channels_created(self, manager: VirtualCircuitManager, pvs: list[PV]) -> list[Any]:
        """These PVs are connected; returns what to deliver."""

    def channels_lost(
        self, manager: VirtualCircuitManager, pvs: list[PV], reason: str, loss: Loss
    ) -> list[Any]:
        """These PVs have lost their channels; returns what to deliver."""

    def pvs_told(self, manager: VirtualCircuitManager, pvs: list[PV], state: str) -> list[Any]:
        """The circuit stopped or resumed responding; returns what to deliver."""

    def pv_idle(self, manager: VirtualCircuitManager, pv: PV) -> list[Any]:
        """This PV has given its channel back; returns what to deliver."""

    def circuit_over(self, manager: VirtualCircuitManager) -> None:
        """The circuit takes no more channels."""


# Looked at for each request and each chunk received; members are slow to find.
_CONNECTED, _CLOSING = State.CONNECTED, State.CLOSING


class VirtualCircuitManager:
    """The circuit to one server at one priority, shared by all PVs there.

    Made by the Context. See ``PV.circuit_manager``.

    Attributes
    ----------
    circuit : VirtualCircuit
        The protocol's side of the connection.
    begun : float
        When it was made, on the monotonic clock.
    log : logging.Logger
        At DEBUG every command sent and received is logged here; records carry ``our_address``,
        ``their_address``, ``direction`` and the name of the ``pv``.
    locks : tuple of RLock
        All that a call about a PV of this circuit may need, those of the Context included; see
        ``_reentry``.
    """

    def __init__(
        self,
        owner: Owner,
        address: tuple[str, int],
        priority: int,
        peer_version: int,
        *,
        host_name: str,
        client_name: str,
        connection_timeout: float,
        max_payload: int,
        flow_control: bool,
        delivery: Delivery,
    ) -> None:
        self.circuit = VirtualCircuit(
            CLIENT, address, priority, peer_version=peer_version, max_payload=max_payload
        )
        self.log = self.circuit.log
        self.delivery = delivery
        self._owner = owner
        self._lock = _locks.Lock()
        self._state = State.CONNECTING
        self._routes = Routes()
        self._retiring: set[PV] = set()
        self._unlogged: deque[Message] = deque()  # sent under the lock, to be logged after it
        self._changed: deque[Subscription] = deque()  # whose callbacks have come or gone
        self._notes = Notes()
        self._expire_at = math.inf  # when an operation without a waiting thread is over
        self.begun = monotonic()
        self._up_since = math.inf  # when the connection was made
        self._useful = False  # whether it has brought values, or confirmations of writes
        self._deviated = False  # whether the server was seen to deviate from the protocol
        self._silent = False  # whether what waits for callbacks is dropped at the end
        self._flow = FlowControl(flow_control)
        self._heartbeat = Heartbeat(connection_timeout, now=monotonic())
        self._transport = Transport(address, connection_timeout)
        self._queue(
            (
                VersionRequest(priority, DEFAULT_PROTOCOL_VERSION),
                ClientNameRequest(client_name),
                HostNameRequest(host_name),
            )
        )
        self.locks = self._all_locks()
        host, port = address
        self._thread = threading.Thread(
            target=_serve,
            args=(weakref.ref(self, Waker(self._transport.wakeup)), self._transport),
            name=f"ca-circuit {host}:{port}",
            daemon=True,
        )

    # ---- facts for users

    @property
    def connected(self) -> bool:
        """Whether the server is there and responds."""
        return self._state is State.CONNECTED

    @property
    def dead(self) -> bool:
        """Whether this circuit is over; the PVs then go to another one."""
        return self._state in (State.CLOSING, State.DEAD)

    @property
    def channels(self) -> dict[int, ClientChannel]:
        """The channels by their cid."""
        return self.circuit.channels

    @property
    def pvs(self) -> dict[int, PV]:
        """The PVs of this circuit, by the cid of their channel (a copy)."""
        with self._lock:
            return dict(self._routes.pvs)

    @property
    def subscriptions(self) -> dict[int, Subscription]:
        """The active subscriptions by their id on the wire (a copy)."""
        with self._lock:
            return dict(self._routes.subscriptions)

    @property
    def backlog(self) -> int:
        """Approximate memory, in bytes, of the updates waiting for callbacks."""
        return self.delivery.backlog

    @property
    def pauses(self) -> int:
        """How often the server was asked to hold its updates (EVENTS_OFF)."""
        return self._flow.pauses

    def time_since_last_heard(self) -> float:
        """Seconds since the server sent anything."""
        return monotonic() - self._heartbeat.last_heard

    def time_up(self) -> float:
        """Seconds since the connection was made; 0 if it has not been."""
        return max(0.0, monotonic() - self._up_since)

    def events_off(self) -> None:
        """Ask the server to hold the updates of this circuit.

        The server keeps the newest one of each subscription until :meth:`events_on`.
        """
        self.note(functools.partial(self._wish, True))

    def events_on(self) -> None:
        """Let updates come again; the newest suppressed value of each subscription comes first."""
        self.note(functools.partial(self._wish, False))

    def __repr__(self) -> str:
        host, port = self.circuit.address
        return (
            f"<VirtualCircuitManager: {self._state.value} {host}:{port}, "
            f"priority {self.circuit.priority}, {len(self._routes.pvs)} PVs, "
            f"{len(self._routes.subscriptions)} subscriptions>"
        )

    # ---- facts for PVs and the Context

    def serves(self, channel: ClientChannel) -> bool:
        """Whether operations on *channel* can be sent now."""
        return self._state is _CONNECTED and channel.connected

    def describe(self, channel: ClientChannel) -> str:
        """The state of *channel* for people."""
        return describe_channel(self._state, channel)

    def report(self, channel: ClientChannel) -> CircuitReport:
        """What `Context.explain` says about this circuit, and *channel* on it."""
        with self._lock:
            operations = len(self._routes.operations)
        return CircuitReport(
            address=self.circuit.address,
            state=self._state.value,
            last_heard=self.time_since_last_heard(),
            version=self.circuit.peer_version,
            operations=operations,
            backlog=self.backlog,
            pauses=self.pauses,
            created=channel.connected,
            rights=name_rights(channel),
        )

    def silence(self) -> str:
        """Who has not answered, for error messages."""
        host, port = self.circuit.address
        return f"{host}:{port} was last heard {self.time_since_last_heard():.1f} s ago"

    # ---- life

    def start(self) -> None:
        """Begin to connect. Called once."""
        try:
            self._thread.start()
        except RuntimeError as error:
            self._die(CaprotoError(f"cannot start a thread for the circuit: {error}"))
            self._transport.wakeup.close()

    def close(self) -> None:
        """End in good order: send what is queued, hang up, let operations fail.

        Callbacks that have not begun are dropped.
        """
        with self._lock:
            self._silent = True
            if self._state is not State.DEAD:
                self._state = State.CLOSING
        self.delivery.discard()
        self._transport.wakeup.set()

    def join(self, timeout: float | None) -> None:
        """Wait for the reader thread to end; it does not wait for itself."""
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join(timeout)

    def abandon(self) -> None:
        """We are the child of a fork: the parent goes on with this circuit, and we do not."""
        self._lock = _locks.Lock()
        self._state = State.DEAD
        self._transport.abandon()
        self.delivery.abandon()
        self.locks = self._all_locks()

    def beacon(self, good: bool) -> None:
        """The server sent a beacon, in its rhythm or not."""
        with self._lock:
            if good:
                self._heartbeat.beacon(monotonic())
            else:
                self._heartbeat.beacon_anomaly()

    # ---- what others leave to the reader thread

    def note(self, function: Callable[[], object], name: str = "") -> None:
        """Have *function* called by the reader thread, holding nothing. Takes no lock.

        Parameters
        ----------
        function : callable
            Called once, soon; calling it twice, or without need, must do no harm.
        name : str
            Of the PV concerned, for the log if *function* fails.
        """
        self._notes.leave(function, name)
        self._transport.wakeup.set()

    def _all_locks(self) -> tuple[RLock, ...]:
        return (*self._owner.locks, self._lock, self._transport.token, self.delivery.lock)

    # ---- channels

    def attach(self, pvs: Sequence[PV]) -> dict[PV, ClientChannel] | None:
        """Create channels for *pvs*; None if this circuit is over."""
        with self._lock:
            if self.dead:
                return None
            channels = {pv: ClientChannel(pv.name, self.circuit) for pv in pvs}
            self._routes.pvs.update((channel.cid, pv) for pv, channel in channels.items())
        return channels

    def create(self, channels: Iterable[ClientChannel]) -> bool:
        """Ask the server for channels that were attached; False if the circuit is over."""
        with self._lock:
            if self.dead:
                return False
            self._queue([channel.create() for channel in channels])
        self._flush()
        return True

    def retire(self, pv: PV, channel: ClientChannel, done: Waiter | None = None) -> None:
        """Give *channel* back as soon as its operations are finished, if it is not needed then.

        *done* is told when it was given back, or has to wait for operations.
        """
        self.note(functools.partial(self._retire, pv, channel, done), pv.name)

    def _retire(self, pv: PV, channel: ClientChannel, done: Waiter | None) -> None:
        with self._lock:
            if self._routes.pvs.get(channel.cid) is pv:
                self._retiring.add(pv)
        self._retire_idle()
        if done is not None:
            done.answered(None)

    def _retire_idle(self) -> None:
        """Clear the channels that were to be given back and have no operation under way.

        Reader thread only, so that users hear of it after all that happened before.
        """
        retired: list[PV] = []
        commands: list[Message] = []
        with self._lock:
            busy = {command.fields[4] for command in self.circuit.pending.values()}
            for pv in list(self._retiring):
                link = pv._link
                if link is None or link.manager is not self or not pv._may_idle:
                    self._retiring.discard(pv)
                elif link.channel.sid not in busy and self.serves(link.channel):
                    self._retiring.discard(pv)
                    self._routes.retire(pv, link.channel.cid)
                    commands.append(link.channel.clear())
                    retired.append(pv)
            if commands:
                self._queue(commands)
        self._flush()
        for pv in retired:
            self._deliver(self._owner.pv_idle(self, pv))
        if retired:
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        with self._lock:
            unused = not self._routes.pvs and not self.dead
            if unused:
                self._state = State.CLOSING  # nothing uses the circuit any more
        if unused:
            self._owner.circuit_over(self)

    # ---- operations

    def request(self, channel: ClientChannel, operation: Operation, deadline: Deadline) -> int:
        """Send a read or write on *channel*.

        Returns
        -------
        int
            The id under which it may be forgotten.

        Raises
        ------
        NotSent
            If the channel is not connected, or was lost before anything was sent.
        CaprotoError
            If the message cannot be composed.
        """
        try:
            with self._lock:
                self._check(channel)
                number = self.circuit.new_ioid()
            command = operation.compose(channel, number)
            with self._lock:
                self._check(channel)
                if operation.has_reply:
                    self._routes.operations[number] = operation
                    if operation.expires:
                        self._note_deadline(deadline)
                self._queue((command,))
            self._write(deadline)
        except BaseException:
            self.withdraw((operation,))
            raise
        return number

    def request_many(
        self, requests: Sequence[Operation], deadline: Deadline
    ) -> tuple[list[Operation], list[tuple[Operation, CaprotoError]]]:
        """Send many reads and writes at once.

        Returns
        -------
        unsent : list of Operation
            Those whose channels are not connected, or on another circuit.
        failed : list of (Operation, CaprotoError)
            Those that could not be composed.
        """
        composed, failed = self._compose_many(requests)
        unsent: list[Operation] = []
        late: set[PV] = set()  # whose further requests must not be sent before those that wait
        commands: list[Message] = []
        try:
            with self._lock:
                alive, operations = self._state is _CONNECTED, self._routes.operations
                for operation, channel, command in composed:
                    if (
                        channel is None or command is None
                        or not alive or not channel.connected
                        or (late and operation.pv in late)
                    ):  # fmt: skip
                        unsent.append(operation)
                        late.add(operation.pv)
                        continue
                    if operation.has_reply:
                        operations[command.fields[5]] = operation
                    commands.append(command)
                self._note_deadline(deadline)
                if commands:
                    self._queue(commands)
            self._write(deadline)
        except BaseException:
            self.withdraw(requests)
            raise
        return unsent, failed

    def _compose_many(
        self, requests: Sequence[Operation]
    ) -> tuple[
        list[tuple[Operation, ClientChannel | None, Message | None]],
        list[tuple[Operation, CaprotoError]],
    ]:
        """The message of each operation, None if its channel is not here; and what failed."""
        composed: list[tuple[Operation, ClientChannel | None, Message | None]] = []
        failed: list[tuple[Operation, CaprotoError]] = []
        with self._lock:
            numbers = self.circuit.new_ioids(len(requests))
        for operation, number in zip(requests, numbers, strict=True):
            link = operation.pv._link
            if link is None or link.manager is not self or not link.channel.connected:
                composed.append((operation, None, None))
                continue
            channel = link.channel
            try:
                composed.append((operation, channel, operation.compose(channel, number)))
            except CaprotoError as error:
                failed.append((operation, error))
        return composed, failed

    def withdraw(self, operations: Iterable[Operation]) -> None:
        """Undo requests that were interrupted, however far they came."""
        withdrawn = set(map(id, operations))
        with self._lock:
            table = self._routes.operations
            for number in [n for n, operation in table.items() if id(operation) in withdrawn]:
                self.circuit.pending.pop(number, None)
                del table[number]
        self._transport.wakeup.set()  # what was queued meanwhile must not stay there

    def _note_deadline(self, deadline: Deadline) -> None:
        """The reader has to look for operations that are over then. Locked."""
        if deadline.moment < self._expire_at:
            self._expire_at = deadline.moment
            self._transport.wakeup.set()

    def _expire(self, now: float) -> None:
        """Give up operations that no thread waits for and that are out of time."""
        with self._lock:
            expired, self._expire_at = self._routes.take_expired(now)
            for number in expired:
                self.circuit.pending.pop(number, None)
        batch: list[Any] = []
        for operation in expired.values():
            timeout = operation.deadline.timeout
            error = CaprotoTimeoutError(f"no reply within {timeout} s; {self.silence()}")
            operation.failed(error, batch)
        self._deliver(batch)

    def forget(self, number: int) -> bool:
        """Give up an operation; False if it has been finished already."""
        with self._lock:
            self.circuit.pending.pop(number, None)
            found = self._routes.operations.pop(number, None) is not None
        if self._retiring:  # perhaps this was what it waited for
            self._transport.wakeup.set()
        return found

    def reconcile(self, subscriptions: Iterable[Subscription]) -> None:
        """Make the server send updates for those that have callbacks, and for no others.

        Takes no lock; the reader thread does it, for all that have changed together.
        """
        self._changed.extend(subscriptions)
        self._transport.wakeup.set()

    def _reconcile(self) -> None:
        """Make facts of wishes."""
        changed: list[Subscription] = []
        while self._changed:
            changed.append(self._changed.popleft())
        commands: list[Message] = []
        with self._lock:
            for sub in changed:
                link = sub.pv._link
                if link is None or link.manager is not self or not link.channel.connected:
                    continue
                if self.dead:
                    continue
                if sub.wanted and sub.event_id is None:
                    commands.append(self._event_add(sub, link.channel))
                elif not sub.wanted and sub.event_id is not None:
                    del self._routes.subscriptions[sub.event_id]
                    commands.append(link.channel.unsubscribe(sub.event_id))
                    sub.stopped()
            if commands:
                self._queue(commands)
        self._flush()

    def _event_add(self, sub: Subscription, channel: ClientChannel) -> Message:
        # The type of a channel may have changed while it was away.
        command = channel.subscribe(
            sub.resolved_type(channel), sub.data_count, sub.low, sub.high, sub.to, sub.mask
        )
        sub.event_id = number = command.subscriptionid
        sub.refused = False
        self._routes.subscriptions[number] = sub
        return command

    def _check(self, channel: ClientChannel) -> None:
        if self._state is not _CONNECTED or not channel.connected:
            raise NotSent(f"{channel.name!r}: the channel was lost before anything was sent")

    # ---- sending

    def _queue(self, commands: Iterable[Message]) -> None:
        """Have *commands* sent, when the lock is released. Locked."""
        self._transport.queue(self.circuit.send(*commands))
        if turned_up or self.log.isEnabledFor(logging.DEBUG):
            self._unlogged.extend(commands)

    def _flush(self, *, serving: bool = False) -> bool:
        """Write what the socket takes; holding nothing. Returns as `Transport.flush`."""
        while self._unlogged:
            try:
                command = self._unlogged.popleft()
            except IndexError:  # another thread was faster
                break
            self._log_command(command, SENT)
        return self._transport.flush(serving=serving)

    def _log_command(self, command: Message, direction: str) -> None:
        """Log one command here, or else in its PV's log, if one of them is at DEBUG."""
        channel = self.circuit.channel_of(command)
        facts = {**self.log.facts, "direction": direction}
        if channel is not None:
            facts["pv"] = channel.name
        if self.log.isEnabledFor(logging.DEBUG):
            self.log.debug("%r", command, extra=facts)
        elif channel is not None and channel.cid in (pvs := self._routes.pvs):
            pvs[channel.cid].debug("%r", command, extra=facts)

    def _write(self, deadline: Deadline) -> None:
        """Write what is queued, all of it; but the reader does not wait for itself."""
        if not self._flush() and threading.current_thread() is not self._thread:
            self._transport.push(deadline)

    def _throttle(self, hold: bool | None) -> None:
        """Send EVENTS_OFF or EVENTS_ON, unless *hold* is None. Reader thread only."""
        if hold is None:
            return
        self.delivery.relieve(self._transport.wakeup.set if hold else None, self._flow.resume_below)
        with self._lock:
            self._queue((EventsOffRequest() if hold else EventsOnRequest(),))
        self._flush()

    def _wish(self, hold: bool) -> None:
        if self._state is State.CONNECTED:
            self._throttle(self._flow.wish(hold))

    # ---- the reader thread

    def _open(self) -> socket.socket | None:
        """Begin to connect; None if that failed at once."""
        try:
            return self._transport.open()
        except CaprotoError as error:
            self._die(error)
            return None

    def _turn(self, readable: bool, writable: bool) -> tuple[float | None, bool] | None:
        """Do what is to be done now; see ``_transport.Turning``."""
        transport = self._transport
        try:
            if self._notes:
                self._notes.run(self.log)
            if not transport.established and self._state is State.CONNECTING:
                again_at = transport.connect(writable)
                if again_at is not None:
                    return again_at, True
                self._established()
            if readable:
                self._receive()
            if transport.error is not None:
                raise transport.error
            if self._changed:
                self._reconcile()
            now = monotonic()
            if now >= self._expire_at:
                self._expire(now)
            if self._retiring:
                self._retire_idle()
            if self._state is _CLOSING:
                self._close()
                return None
            if self._flow.held or self.delivery.backlog:
                self._throttle(
                    self._flow.backlog(self.delivery.backlog, self.delivery.age(now))
                )
            if now >= self._heartbeat.deadline:
                self._beat(now)
            held_up = not self._flush(serving=True)
            if held_up:
                with self._lock:
                    self._heartbeat.sending(transport.taken_at)
            return min(self._heartbeat.deadline, self._expire_at), held_up
        except (OSError, CaprotoError) as error:
            self._die(error)
        except Exception as error:  # a defect of ours must not leave PVs waiting
            self.log.exception("Unexpected error; the circuit is given up")
            self._die(error)
        return None

    def _established(self) -> None:
        self.log.facts["our_address"] = self._transport.our_address()
        self.log.debug("Connected")
        with self._lock:
            if self._state is State.CONNECTING:
                self._state = State.CONNECTED
            self._up_since = now = monotonic()
            self._heartbeat.received(now)

    def _receive(self) -> None:
        """Read until the socket is empty, at most some blocks."""
        circuit, transport = self.circuit, self._transport
        for _ in range(BLOCKS_PER_TURN):
            buffer = circuit.get_buffer()
            received = transport.receive_into(buffer)
            if received is None:
                return
            if not received:
                raise DeadCircuitError("the server closed the connection")
            commands = circuit.buffer_updated(received)
            self._dispatch(commands, received)
            if circuit.error is not None:
                raise circuit.error  # what was in front of it has been dealt with
            if received < len(buffer):
                return
            # A flood. On one core we would read on until our time is over, and each update that
            # waits costs time in the garbage collector: 2.3 us per update instead of 2.05.
            if self.delivery.backlog:
                _waiting.give_way()

    def _dispatch(self, commands: Sequence[Message], received: int) -> None:
        """Let the protocol check *commands*, route them, then do what they ask for."""
        process, routes = self.circuit.process_command, self._routes
        subscriptions, operations = routes.subscriptions, routes.operations
        batch = Deliveries()
        add_target, add_argument = batch.targets.append, batch.arguments.append
        turn: Turn | None = None  # most chunks bring nothing but updates and replies
        error: RemoteProtocolError | None = None
        useful = False
        if turned_up or self.log.isEnabledFor(logging.DEBUG):
            for command in commands:
                self._log_command(command, RECEIVED)
        now = monotonic()
        with self._lock:
            self._heartbeat.received(now)
            try:
                for command in commands:
                    try:
                        process(command)
                    except MessageError as exc:
                        turn = turn or Turn(batch)
                        turn.deviations.append(exc)
                        if not exc.usable:
                            routes.reject(command, exc, turn)
                            continue
                    kind = type(command)
                    if kind is EventAddResponse:
                        # Nearly all there is. Here rather than in a handler: 120 ns less for each.
                        sub = subscriptions.get(command.fields[5])
                        if sub is not None and command.fields[4] == NORMAL and not sub.refused:
                            add_target(sub)
                            add_argument(command)
                            useful = True
                            continue
                    elif kind in REPLIES:
                        operation = operations.pop(command.fields[5], None)
                        if operation is not None:
                            operation.answered(command, batch)
                            useful = True
                            continue
                    handler = HANDLERS.get(kind)
                    if handler is not None:
                        if turn is None:
                            turn = Turn(batch)
                        handler(routes, command, turn)
            except RemoteProtocolError as exc:
                error = exc  # what came before it is good
            if turn is not None and turn.lost:
                turn.failed = routes.take_orphans(self.circuit.pending)
            if turn is not None:
                for _ in range(turn.echoes):
                    turn.recovered |= self._heartbeat.echo_received(now)
                if turn.requests:
                    self._queue(turn.requests)
        if batch:
            self.delivery.put(batch, cost(received, len(batch)))
        if useful:
            self._useful = True
        if turn is not None:
            self._finish(turn)
        if error is not None:
            raise error

    def _finish(self, turn: Turn) -> None:
        """Do outside the lock what special commands have led to."""
        if turn.lost:
            host, port = self.circuit.address
            batch = self._fail(
                turn.failed, DisconnectedError(f"{host}:{port} has given the channel up")
            )
            batch += self._owner.channels_lost(
                self, turn.lost, "the server gave it up", Loss.REFUSED
            )
            self._deliver(batch)
            self._close_if_unused()
        if turn.created:
            self._deliver(self._owner.channels_created(self, turn.created))
        for whose, command in turn.refused:
            log_refusal(self.log, whose, command)
        for deviation in turn.deviations:
            log_deviation(self.log, deviation, first=not self._deviated)
            self._deviated = True
        if turn.recovered:
            self._responds_again()

    def _deliver(self, batch: list[Any]) -> None:
        if batch:
            self.delivery.put(batch)

    def _beat(self, now: float) -> None:
        """The deadline of the heartbeat has come."""
        with self._lock:
            self._heartbeat.sending(self._transport.taken_at)  # or not, if the sender has got on
            action = self._heartbeat.check(now)
            if action is Action.SEND_ECHO or action is Action.UNRESPONSIVE:
                old = self.circuit.peer_version < ECHO_VERSION
                self._queue((ReadSyncRequest() if old else EchoRequest(),))
        if action is Action.UNRESPONSIVE:
            self._stopped_responding()

    def _stopped_responding(self) -> None:
        with self._lock:
            if self._state is not State.CONNECTED:
                return
            self._state = State.UNRESPONSIVE
            operations, self._routes.operations = self._routes.operations, {}
            for number in operations:
                self.circuit.pending.pop(number, None)
            pvs = [pv for pv in self._routes.pvs.values() if self._is_created(pv)]
        self.log.warning("%s; %d PVs are unusable until it answers", self._no_answer(), len(pvs))
        batch = self._fail(operations, DisconnectedError(self._no_answer()))
        self._deliver(batch + self._owner.pvs_told(self, pvs, "disconnected"))

    def _responds_again(self) -> None:
        with self._lock:
            if self._state is not State.UNRESPONSIVE:
                return
            self._state = State.CONNECTED
            pvs = [pv for pv in self._routes.pvs.values() if self._is_created(pv)]
            # What was missed meanwhile comes as an answer under the subscription's own id.
            self._queue(
                [
                    ReadNotifyRequest(
                        request.data_type, request.data_count, request.sid, number
                    )
                    for number, request in self.circuit.subscriptions.items()
                ]
            )
        self.log.warning("The server responds again; %d PVs are back", len(pvs))
        self._deliver(self._owner.pvs_told(self, pvs, "connected"))

    def _is_created(self, pv: PV) -> bool:
        link = pv._link
        return link is not None and link.channel.connected

    def _no_answer(self) -> str:
        host, port = self.circuit.address
        seconds = self.time_since_last_heard()
        return f"{host}:{port} does not respond, last heard {seconds:.1f} s ago"

    def _close(self) -> None:
        """Send what is queued, then end; the thread hangs up."""
        self._transport.push(Deadline(HANG_UP_TIME))
        self._die(None)

    def _die(self, error: Exception | None) -> None:
        """The end: everybody concerned is told. Reader thread only, unless it cannot be started."""
        host, port = self.circuit.address
        with self._lock:
            connecting = self._state is State.CONNECTING
            self._state = State.DEAD
            self.circuit.disconnect()
            pvs, operations = self._routes.clear()
            self._transport.clear()
        self._notes.run(self.log)
        reason = "the circuit was closed" if error is None else describe(error)
        if error is not None:
            log_end(self.log, (host, port), error, reason, len(pvs), connecting)
        # Reads are sent again after a DisconnectedError; not those that broke the circuit, perhaps.
        kind = RemoteProtocolError if isinstance(error, RemoteProtocolError) else DeadCircuitError
        batch = self._fail(operations, kind(f"{host}:{port}: {reason}"))
        if self._silent:
            batch = []  # who closed the Context knows that no callback will come
        self._owner.circuit_over(self)
        batch += self._owner.channels_lost(self, pvs, reason, self._loss(error))
        if self._silent:
            self.delivery.finish(batch)
        else:
            self._deliver(batch)
            self.delivery.stop()

    def _loss(self, error: Exception | None) -> Loss:
        if error is None:
            return Loss.CLOSED
        return Loss.BROKEN if self._useful else Loss.USELESS

    @staticmethod
    def _fail(operations: dict[int, Any], error: CaprotoError) -> list[Any]:
        batch: list[Any] = []
        for operation in operations.values():
            operation.failed(error, batch)
        return batch


def _serve(reference: Callable[[], VirtualCircuitManager | None], transport: Transport) -> None:
    """The reader thread."""
    with serving():
        manager = reference()
        sock = manager._open() if manager is not None else None
        del manager
        if sock is not None:
            poller = take_turns(reference, sock, transport.wakeup)
            transport.detach()
            hang_up(sock, poller)
        transport.wakeup.close()
