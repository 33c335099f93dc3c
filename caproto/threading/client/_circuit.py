"""ClientCircuit: the threads, socket and lock of one circuit.

``_client.circuit_session`` decides what happens on a circuit; here it is carried out.

Which thread may touch what:

* The session belongs to the lock, but for three things that only the reader thread touches: the
  buffers of the protocol object, the flow control, and ``useful`` and ``deviated``.
* Locked sections change the session, which fills the outbox of the transport; what follows
  (writing, logging, callbacks, searches, other circuits) is done after the release.
* Only background threads, which no Ctrl-C interrupts, make and clear channels and subscriptions,
  and end the circuit: users' threads leave notes for the reader. They send reads and writes.
* The socket is opened, read and closed by the reader thread only. Any thread writes to it, without
  a lock and without waiting; what it does not take stays in the outbox, and is written by the
  sender or by the reader, whichever comes first.
* While asleep the reader holds the socket, not the manager (see ``_transport.serve_socket``).
"""
from __future__ import annotations

import functools
import logging
import weakref
from _thread import RLock, get_ident
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ... import _locks
from ..._client.backoff import Loss
from ..._client.circuit_columns import lose
from ..._client.circuit_session import CircuitSession
from ..._client.deliveries import Deliveries, Delivery, DeliveryBatch
from ..._client.descriptions import (
    CircuitState,
    log_deviation,
    log_end,
    log_refused_request,
    log_refused_updates,
)
from ..._client.flow_control import cost
from ..._client.interfaces import PV, CarriedChannel, Subscription
from ..._client.operations import Operation, fail_all
from ..._client.routing import FollowUp
from ..._errors import (
    CaprotoError,
    CaprotoTimeoutError,
    DeadCircuitError,
    DisconnectedError,
    RemoteProtocolError,
)
from ..._log import CIRCUIT_LOGGER, turned_up
from ..._numbers import counted
from ..._protocol.client_channel import ClientChannel
from ..._protocol.commands import Message
from .. import _waiting
from .._service_thread import ServiceThread
from .._transport import HANG_UP_TIME, Transport, Waker, describe, serve_connection
from .._waiting import Deadline, Waiter
from ._callback_queue import CallbackQueue
from ._circuit_facts import CircuitFacts, CircuitOwner
from ._circuit_manager import VirtualCircuitManager
from ._command_log import CommandLog
from ._notes import Notes
from ._reentry import enter, entered, serving

if TYPE_CHECKING:
    import socket

#: Blocks received in a row before the reader checks its timers again.
BLOCKS_AT_ONCE = 16
#: Seconds until a thread for callbacks is asked for again that the system did not have.
THREAD_RETRY = 1.0

_log = logging.getLogger(CIRCUIT_LOGGER)  # of all circuits: quicker to ask than that of one
_CLOSING = CircuitState.CLOSING  # looked at for each chunk; members are slow to find

P = TypeVar("P", bound=PV)
R = TypeVar("R")


class ClientCircuit(CircuitFacts):
    """The circuit to one server at one priority, shared by all PVs there.

    Attributes
    ----------
    manager : VirtualCircuitManager
        What users see of it.
    locks : tuple of RLock
        All that a call about a PV of this circuit may need, that of the PVs included; see
        ``_reentry``.
    """

    def __init__(
        self,
        owner: CircuitOwner[ClientCircuit],
        address: tuple[str, int],
        priority: int,
        peer_version: int,
        *,
        host_name: str,
        client_name: str,
        connection_timeout: float,
        max_payload: int,
        flow_control: bool,
        delivery: CallbackQueue,
    ) -> None:
        self._transport = Transport(address, connection_timeout)
        session = CircuitSession(
            address, priority, peer_version, host_name=host_name, client_name=client_name,
            connection_timeout=connection_timeout, max_payload=max_payload,
            flow_control=flow_control, now=_waiting.now(), outbox=self._transport.outbox,
        )  # fmt: skip
        super().__init__(session, delivery)
        self._framer = session.circuit.framer  # of the reader thread alone
        self._owner = owner
        self._lock = _locks.Lock()
        self._changed: deque[Subscription] = deque()  # with callbacks added or removed
        self._notes = Notes()
        self._command_log = CommandLog(self.session)
        self._deliveries = Deliveries()  # empty, for the next chunk
        self._silent = False  # whether queued callbacks are dropped at the end
        self.locks = self._all_locks()
        self.manager = VirtualCircuitManager(self, owner.context)
        host, port = address
        alive = weakref.ref(self, Waker(self._transport.wakeup))
        serve = functools.partial(_serve, alive, self._transport)
        self._thread = ServiceThread(serve, f"ca-circuit {host}:{port}")

    def hold_events(self, hold: bool) -> None:
        """Ask the server to hold the updates of this circuit for the user, or to send them."""
        self.note(functools.partial(self._user_holds, hold))

    # ---- life

    def start(self) -> None:
        """Begin to connect. Called once."""
        try:
            self._thread.start()
        except RuntimeError as error:
            self._end(CaprotoError(f"cannot start a thread for the circuit: {error}"))
            self._transport.wakeup.close()

    def close(self) -> None:
        """End in good order: send what is queued, hang up, let operations fail.

        Callbacks that have not begun are dropped.
        """
        self._silent = True
        with self._lock:
            self.session.closing()
        self.delivery.discard()
        self._transport.wakeup.set()

    def disconnect(self) -> None:
        """End in good order, like :meth:`close`; the PVs look for their servers again."""
        with self._lock:
            self.session.closing()
        self._transport.wakeup.set()

    def join(self, timeout: float | None) -> None:
        """Wait for the reader thread to end; it does not wait for itself."""
        self._thread.join(Deadline(timeout))

    def abandon(self) -> None:
        """Give the circuit up in the child of a fork; the parent goes on with it."""
        self._lock = _locks.Lock()
        self.session.state = CircuitState.DEAD
        self._transport.abandon()
        self.delivery.abandon()
        self.locks = self._all_locks()

    def beacon(self, good: bool) -> None:
        """Note a beacon of the server, in its rhythm or not."""
        with self._lock:
            self.session.beacon(good, _waiting.now())

    # ---- what others leave to the reader thread

    def note(self, function: Callable[[], object], name: str = "") -> None:
        """Have *function* called by the reader thread, without a lock. Takes no lock.

        Parameters
        ----------
        function : callable
            Called once, soon. A second call must do no harm.
        name : str
            Of the PV concerned, for the log if *function* fails.
        """
        self._notes.leave(function, name)
        self._transport.wakeup.set()

    def wake(self) -> None:
        """Have the reader thread look at its backlog again. Takes no lock."""
        self._transport.wakeup.set()

    def reconcile(self, subscriptions: Iterable[Subscription]) -> None:
        """Make the server send updates for those that have callbacks, and for no others.

        Takes no lock; the reader thread does it, for all that have changed together.
        """
        self._changed.extend(subscriptions)
        self._transport.wakeup.set()

    def idle(self, pv: PV, channel: ClientChannel, done: Waiter | None = None) -> None:
        """Clear *channel* as soon as its operations are finished, if nothing needs it then.

        *done* is called when it was cleared, or has to wait for operations.
        """
        self.note(functools.partial(self._idle, pv, channel, done), pv.name)

    def _all_locks(self) -> tuple[RLock, ...]:
        owner = self._owner
        return (owner.lock, self._lock, self._transport.token, owner.columns_lock)

    # ---- channels

    def attach(self, pvs: Sequence[P]) -> dict[P, CarriedChannel[ClientCircuit]] | None:
        """Make channels for *pvs*; None if this circuit is over."""
        with self._lock:
            return self.session.attach(pvs)

    def create(self, channels: Iterable[ClientChannel]) -> bool:
        """Ask the server for channels that were attached; False if the circuit is over."""
        with self._lock:
            created = self.session.create(channels)
        self._flush()
        return created

    # ---- operations

    def request(self, channel: ClientChannel, operation: Operation, deadline: Deadline) -> int:
        """Send a read or write on *channel*.

        Returns
        -------
        int
            Its id, for `forget`.

        Raises
        ------
        NotSent
            If the channel is not connected, or was lost before anything was sent.
        CaprotoError
            If the message cannot be composed.
        """
        session, transport, quick = self.session, self._transport, operation.quick
        # As `enter`, without a call. It has asked for those of the circuit where the PV was then.
        entered[get_ident()] = self.locks
        try:
            if quick:
                with self._lock:
                    expire_at = session.expire_at
                    number = session.start(operation, channel)
            else:
                with self._lock:
                    number = session.new_number(channel)
                message = operation.compose(channel, number)
                with self._lock:
                    expire_at = session.expire_at
                    session.submit(operation, channel, number, message)
            if session.expire_at < expire_at:
                transport.wakeup.set()
            if session.sent:
                self._command_log.sent()
            # What another thread writes for us may be much: then it slows us down, too.
            if not transport.flush() or (transport.outbox and not quick):
                self._push(deadline)
        except BaseException:
            self.withdraw((operation,))
            raise
        return number

    def request_many(
        self, operations: Sequence[Operation], deadline: Deadline
    ) -> tuple[list[Operation], list[tuple[Operation, CaprotoError]]]:
        """Send many reads and writes at once.

        Returns
        -------
        unsent : list of Operation
            Those whose channels are not connected, or on another circuit.
        failed : list of (Operation, CaprotoError)
            Those that could not be composed.
        """
        session, transport = self.session, self._transport
        enter(self.locks)
        with self._lock:
            numbers = session.circuit.new_ioids(len(operations))
        composed, failed = session.compose(operations, numbers)
        try:
            with self._lock:
                expire_at = session.expire_at
                unsent = session.submit_many(composed)
            if session.expire_at < expire_at:
                transport.wakeup.set()
            if session.sent:
                self._command_log.sent()
            if not transport.flush() or transport.outbox:
                self._push(deadline)
        except BaseException:
            self.withdraw(operations)
            raise
        return unsent, failed

    def forget(self, number: int) -> bool:
        """Forget an operation; return False if it has finished already."""
        enter(self.locks)  # a signal handler may have made calls on other circuits meanwhile
        with self._lock:
            found = self.session.forget(number)
        if self.session.idling:  # perhaps its channel can be cleared now
            self._transport.wakeup.set()
        return found

    def withdraw(self, operations: Iterable[Operation]) -> None:
        """Undo requests that were interrupted, in whatever state they are."""
        enter(self.locks)
        with self._lock:
            self.session.withdraw(operations)
        self._transport.wakeup.set()  # what was queued meanwhile must not stay there

    def act(self, change: Callable[[CircuitSession], R], deadline: Deadline) -> R:
        """Return what *change* does to the session under the lock; send what follows from it."""
        enter(self.locks)
        with self._lock:
            result = change(self.session)
        if self.session.sent:
            self._command_log.sent()
        if not self._transport.flush() or self._transport.outbox:
            self._push(deadline)
        return result

    # ---- sending

    def _flush(self) -> None:
        """Write what the socket takes; call it without holding a lock."""
        if self.session.sent:
            self._command_log.sent()
        self._transport.flush()

    def _push(self, deadline: Deadline) -> None:
        """Write what is queued, all of it; but the reader does not wait for itself."""
        if not self._thread.current:
            self._transport.push(deadline)

    # ---- the reader thread

    def _open(self) -> socket.socket | None:
        """Begin to connect; None if that failed at once."""
        try:
            return self._transport.open()
        except CaprotoError as error:
            self._end(error)
            return None

    def service(self, readable: bool, writable: bool) -> tuple[float | None, bool] | None:
        """Do what is to be done now; see ``_transport.Serviced``."""
        transport, session = self._transport, self.session
        try:
            if not transport.established and session.state is CircuitState.CONNECTING:
                again_at = transport.connect(writable)
                if again_at is not None:
                    if self._notes.waiting:
                        self._notes.run(self.log)
                    return again_at, True
                self._established()
            now = _waiting.now()
            if readable:
                self._receive(now)
            if transport.error is not None:
                raise transport.error
            if self._notes.waiting:
                self._notes.run(self.log)
            if self._changed:
                self._reconcile()
            if now >= session.expire_at:
                self._expire(now)
            if session.idling:
                self._clear_idle()
            if session.state is _CLOSING:
                self._close()
                return None
            if session.flow.held or self.delivery.backlog or self.recorders:
                self._hold_updates(session.flow.backlog(*self.load(now)))
            if now >= session.heartbeat.deadline:
                self._beat(now)
            if session.sent:
                self._command_log.sent()
            held_up = bool(transport.outbox) and not transport.flush(serving=True)
            if held_up:
                with self._lock:
                    session.sending(transport.taken_at)
            deadline = session.heartbeat.deadline
            if session.expire_at < deadline:
                deadline = session.expire_at
            if self.delivery.starved:
                self.delivery.put(())  # perhaps there is a thread now
                deadline = min(deadline, now + THREAD_RETRY)
            return deadline, held_up
        except (OSError, CaprotoError) as error:
            self._end(error)
        except Exception as error:
            self.fail(error)
        return None

    def fail(self, error: Exception) -> None:
        """End because of a defect of ours, or because there is no memory; the PVs go elsewhere."""
        self.log.error("Unexpected error; closing the circuit", exc_info=error)
        self._end(error)

    def _established(self) -> None:
        self.log.context["our_address"] = self._transport.our_address()
        self.log.debug("Connected")
        with self._lock:
            self.session.established(_waiting.now())

    def _receive(self, now: float) -> None:
        """Read until the socket is empty, at most some blocks."""
        framer, transport = self._framer, self._transport
        for _ in range(BLOCKS_AT_ONCE):
            buffer = framer.get_buffer()
            received = transport.receive_into(buffer)
            if received is None:
                return
            if not received:
                raise DeadCircuitError("the server closed the connection")
            self._take(framer.buffer_updated(received), received, now)
            if framer.error is not None:
                raise framer.error  # the messages before it have been handled
            if received < len(buffer):
                return
            # A flood. On one core we would read until our time slice ends, and each update that
            # waits costs time in the garbage collector: 2.3 us per update instead of 2.05.
            if self.delivery.backlog:
                _waiting.yield_cpu()

    def _take(self, commands: Sequence[Message], received: int, now: float) -> None:
        """Have the session decide what *commands* mean, and do what follows."""
        if turned_up or _log.isEnabledFor(logging.DEBUG):
            self._command_log.received(commands)
        out = self._deliveries
        self._lock.acquire()  # no Ctrl-C strikes here, and `with` takes 120 ns more
        try:
            then, error = self.session.receive(commands, now, out)
        finally:
            self._lock.release()
        if out.targets:
            self._deliveries = Deliveries()
            self.delivery.put(out, cost(received, len(out.targets)))
        if then is not None:
            self._follow_up(then)
        if error is not None:
            raise error

    def _follow_up(self, then: FollowUp) -> None:
        """Do what follows from other commands than updates and replies."""
        owner = self._owner
        for take in then.columns:
            take()
        if then.lost:
            host, port = self.circuit.address
            error = DisconnectedError(f"{host}:{port} dropped the channel")
            batch = fail_all(then.failed.values(), error)
            batch += owner.channels_lost(self, then.lost, "the server dropped it", Loss.REFUSED)
            self._deliver(batch)
            self._close_if_unused()
        if then.created:
            self._deliver(owner.channels_created(self, then.created))
        for sub, response in then.refused_updates:
            log_refused_updates(sub, response)
        for pv, response in then.refused_requests:
            log_refused_request(self.log, pv, response)
        for deviation in then.deviations:
            log_deviation(self.log, deviation, first=not self.session.deviated)
            self.session.deviated = True
        if then.responding is not None:
            back = counted(len(then.responding), "PV is", "PVs are")
            self.log.warning("The server responds again; %s back", back)
            self._deliver(owner.responsiveness_changed(self, then.responding, "connected"))

    def _deliver(self, batch: DeliveryBatch) -> None:
        if batch:
            self.delivery.put(batch)

    def _reconcile(self) -> None:
        """Make the server's subscriptions follow the callbacks, where these have changed."""
        changed = [self._changed.popleft() for _ in range(len(self._changed))]
        with self._lock:
            self.session.reconcile(changed)

    def _expire(self, now: float) -> None:
        """Fail the operations past their deadline for which no caller waits."""
        with self._lock:
            expired = self.session.expire(now)
        last_heard, batch = self.describe_last_heard(now), list[Delivery]()
        for operation in expired:
            operation.failed(CaprotoTimeoutError(operation.no_reply(last_heard)), batch)
        self._deliver(batch)

    def _idle(self, pv: PV, channel: ClientChannel, done: Waiter | None) -> None:
        with self._lock:
            self.session.idle(pv, channel)
        self._reconcile()  # first cancel the updates of callbacks that were removed before
        self._clear_idle()
        if done is not None:
            done.answered(None)

    def _clear_idle(self) -> None:
        """Clear the channels that can be given back, after all that happened before."""
        with self._lock:
            cleared = self.session.clear_idle()
        self._flush()
        for pv in cleared:
            self._deliver(self._owner.pv_idle(self, pv))
        if cleared:
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        with self._lock:
            unused = self.session.close_if_unused()
        if unused:
            self._owner.circuit_over(self)

    def _user_holds(self, hold: bool) -> None:
        if not self.session.over:  # a server that does not respond may do so again
            self._hold_updates(self.session.flow.user_holds(hold))

    def _hold_updates(self, hold: bool | None) -> None:
        """Have the server hold updates, or send them again; None leaves it as it is."""
        if hold is None:
            return
        resume = self._transport.wakeup.set if hold else None
        self.delivery.call_below(resume, self.session.flow.resume_below)
        with self._lock:
            self.session.hold(hold)

    def _beat(self, now: float) -> None:
        """Do what the heartbeat asks for at its deadline."""
        with self._lock:
            lost = self.session.beat(now, self._transport.taken_at)
        if lost is None:
            return
        host, port = self.circuit.address
        seconds = self.time_since_last_heard()
        text = f"{host}:{port} does not respond, last heard {seconds:.1f} s ago"
        batch = fail_all(lost.operations.values(), DisconnectedError(text))
        lose(lost.columns, DisconnectedError(text))
        unusable = counted(len(lost.pvs), "PV is", "PVs are")
        self.log.warning("%s; %s unusable until it answers", text, unusable)
        batch += self._owner.responsiveness_changed(self, lost.pvs, "disconnected")
        self._deliver(batch)

    def _close(self) -> None:
        """Send what is queued, then end; the thread hangs up."""
        self._transport.push(Deadline(HANG_UP_TIME))
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        """End the circuit; fail its operations, and notify its Context.

        By the reader thread, unless it cannot be started.
        """
        host, port = address = self.circuit.address
        with self._lock:
            end = self.session.end(error)
        reason = "the circuit was closed" if error is None else describe(error)
        # Reads are repeated after a DisconnectedError, but not those that may have broken the
        # circuit.
        kind = RemoteProtocolError if isinstance(error, RemoteProtocolError) else DeadCircuitError
        # First, because a caller whose time is over waits for this, perhaps in a log handler.
        batch: list[Delivery] = []
        try:
            batch = fail_all(end.operations.values(), kind(f"{host}:{port}: {reason}"))
            lose(end.columns, kind(f"{host}:{port}: {reason}"))
            self._notes.run(self.log)
            if error is not None:
                log_end(self.log, address, error, reason, len(end.pvs), end.connecting)
        finally:  # whatever fails, the PVs go elsewhere
            self._owner.circuit_over(self)
            lost = self._owner.channels_lost(self, end.pvs, reason, end.loss)
            if self._silent:  # after `close` no callback comes
                self.delivery.finish(lost)
            else:
                self._deliver(batch + lost)
                self.delivery.stop()


def _serve(reference: Callable[[], ClientCircuit | None], transport: Transport) -> None:
    """Run the reader thread: serve the socket."""
    with serving():
        try:
            circuit = reference()
            sock = circuit._open() if circuit is not None else None
            del circuit
            if sock is not None:
                serve_connection(reference, sock, transport)
        except Exception as error:  # between two turns
            circuit = reference()
            if circuit is not None:
                circuit.fail(error)
        transport.wakeup.close()
