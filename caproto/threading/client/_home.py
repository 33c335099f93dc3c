"""Home: the part of a Context that its PVs, its circuits and the broadcaster use.

The table (``_client.pvs``) decides the phase of each PV, and what happens next, under the lock of
the Context. Its steps are carried out here, after the lock is released: names go to
the broadcaster, found names to circuits, created channels to the callers that wait, lost ones
back to the broadcaster.
"""
from __future__ import annotations

import functools
import logging
import os
import threading
from _thread import RLock
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ... import _locks
from ..._addresses import Address
from ..._client.announcements import PVCallback
from ..._client.arguments import DEFAULT, Timeout, check_default_timeout, check_timeout, waited
from ..._client.backoff import Loss
from ..._client.callbacks import EXITING, Reference
from ..._client.deliveries import Delivery
from ..._client.interfaces import CarriedChannel, Waiter
from ..._client.pvs import CircuitKey, PVKey, PVState, PVTable, Steps, carrier_of
from ..._environment import ClientConfiguration
from ..._errors import CaprotoNetworkError, CaprotoTimeoutError, ContextDisconnectedError
from ..._log import CHANNEL_LOGGER, CONTEXT_LOGGER, LogAllowance, adapter, turned_up
from ..._numbers import counted
from ..._protocol.constants import DEFAULT_PROTOCOL_VERSION
from ..._protocol.dbr import AccessRights
from ..._protocol.framing import UNLIMITED
from .. import _waiting
from .._waiting import Alarm, Deadline
from ._callback_queue import CallbackQueue
from ._circuit import ClientCircuit
from ._circuit_manager import VirtualCircuitManager
from ._reentry import enter, must_not_wait, refusal
from ._shared_broadcaster import SharedBroadcaster, searches_of

_pv_log = logging.getLogger(CHANNEL_LOGGER)  # of all PVs


class ClientPV(PVState[ClientCircuit]):
    """A PV with its Context and its default timeout.

    Parameters
    ----------
    name, priority, now
        As for `PVState`.
    home : Home
        Of its Context.
    timeout : float, None or DEFAULT
    """

    __slots__ = ("_home", "_timeout")

    def __init__(
        self, name: str, priority: int, home: Home, timeout: Timeout, now: float
    ) -> None:
        super().__init__(name, priority, now)
        self._home = home
        self._timeout = timeout

    @property
    def context(self) -> Any:
        """The Context that made it."""
        return self._home.context

    @property
    def circuit_manager(self) -> VirtualCircuitManager | None:
        """The circuit that serves this PV; None while there is none."""
        circuit = carrier_of(self)
        return None if circuit is None else circuit.manager

    @property
    def timeout(self) -> float | None:
        """Default timeout in seconds; None means to wait without end. Can be set."""
        timeout = self._timeout
        return self._home.timeout if timeout is DEFAULT else timeout

    @timeout.setter
    def timeout(self, value: Timeout) -> None:
        self._timeout = check_default_timeout(value)

    def _describe(self, now: float) -> str:
        """Describe its state, in a few words."""
        if self._home.closed:
            return "disconnected, the Context is closed"
        return super()._describe(now)

    def _rights_news(self, rights: AccessRights) -> list[Delivery]:
        if not self.connected:  # the connection is to be announced first
            return []
        return super()._rights_news(rights) + self._home.table.watch_news([self])

    def _deadline(self, timeout: Timeout) -> Deadline:
        if timeout is not DEFAULT:
            return Deadline(check_timeout(timeout))
        own = self._timeout
        return Deadline(self._home.timeout if own is DEFAULT else own)

    def _check_reentry(self, call: str) -> None:
        """Raise ReentrantCallError if this thread would wait for itself."""
        channel = self._channel
        if must_not_wait(self._home.locks if channel is None else channel.carrier.locks):
            raise refusal(f"PV.{call} of {self.name!r}")

    def _wait_until_usable(self, deadline: Deadline) -> CarriedChannel[ClientCircuit]:
        """Wait until the PV is connected; return its channel."""
        while True:
            channel = self._channel
            if channel is not None and channel.carrier.serves(channel):
                return channel
            self._home.wait(self, lambda: self.connected, deadline)


def home_of(pv: ClientPV) -> Home:
    """Return the part of a Context that *pv* and the others inside use."""
    return pv._home


class Home:
    """The PVs and circuits of a Context, and what happens to them.

    Parameters
    ----------
    context : Context
        What users have of it.
    broadcaster : SharedBroadcaster
        Searches for the PVs.
    owns_broadcaster : bool
        Whether it is closed with the Context.
    configuration : ClientConfiguration
    timeout : float or None
    host_name, client_name : str
    max_workers : int
    flow_control : bool
        As for the Context.

    Attributes
    ----------
    lock : RLock
        Protects the table, and the callbacks of subscriptions.
    columns_lock : RLock
        Protects what is in columns; one for all, so that `locks` has it.
    locks : tuple of RLock
        All that a call about a PV without circuit may need; see ``_reentry``.
    table : PVTable
        Decides about the PVs.
    dead_callbacks : LogAllowance
        Limits warnings about garbage-collected callbacks; a program may have thousands.
    """

    def __init__(
        self,
        context: Any,
        broadcaster: SharedBroadcaster,
        owns_broadcaster: bool,
        configuration: ClientConfiguration,
        *,
        timeout: float | None,
        host_name: str,
        client_name: str,
        max_workers: int,
        flow_control: bool,
    ) -> None:
        self.context = context
        self.broadcaster = broadcaster
        self.searches = searches_of(broadcaster)
        self._owns_broadcaster = owns_broadcaster
        self.configuration = configuration
        self.timeout = timeout
        self.host_name = host_name
        self.client_name = client_name
        self._max_workers = max_workers
        self._flow_control = flow_control
        self.log: logging.Logger = adapter(CONTEXT_LOGGER, role="CLIENT")
        self.lock: RLock = _locks.Lock()
        self.columns_lock: RLock = _locks.Lock()
        self.table: PVTable[ClientPV, ClientCircuit] = PVTable(self.lock)
        # Of circuits that have ended, whose callbacks may not all have run yet.
        self._earlier: list[tuple[CircuitKey, CallbackQueue]] = []
        self.dead_callbacks = LogAllowance(10)
        # For callbacks of PVs without a circuit; its thread starts only if one is called.
        self._callbacks = CallbackQueue("without circuit", max_workers)
        self.locks = self._all_locks()
        self._every_lock = self.table.carriers, self.locks  # of all these circuits, and ours

    @property
    def closed(self) -> bool:
        """Whether this Context was disconnected."""
        return bool(self.table.closed)

    # ---- for PVs

    @staticmethod
    def now() -> float:
        """Return the present time on the monotonic clock, in seconds."""
        return _waiting.now()

    def wait(self, pv: ClientPV, ready: Callable[[], bool], deadline: Deadline) -> None:
        """Wait until *ready* or *deadline*; have *pv* searched if it is not yet.

        Raises
        ------
        CaprotoTimeoutError
            It is not ready in time; the message says why.
        """
        self.check_reentry(f"A wait for {pv.name!r}, which")
        notified = True
        while notified:
            waiter = Alarm()
            try:
                if not self.watch(pv, waiter, ready):
                    return
                notified = waiter.wait_until(deadline)
            finally:
                self.unwatch(pv, waiter)
        if not ready():
            raise self.not_connected(pv, deadline)

    def not_connected(
        self, pv: ClientPV, deadline: Deadline
    ) -> CaprotoTimeoutError | ContextDisconnectedError:
        """Make the error for a PV that is not connected at *deadline*."""
        try:
            self.check_open(pv)
        except ContextDisconnectedError as error:
            return error.with_traceback(None)
        return CaprotoTimeoutError(
            self.table.why_not_connected(pv, deadline.timeout, self.now())
            or f"{pv.name!r} was not found {waited('within', deadline.timeout)}: "
            f"{self.searches.why_not_found()}"
        )

    def watch(self, pv: ClientPV, waiter: Waiter, ready: Callable[[], bool]) -> bool:
        """Have *waiter* called when something has happened to *pv*; have it searched if necessary.

        Returns
        -------
        bool
            False if it is *ready* already; then *waiter* is not called.
        """
        enter(self.locks)  # a signal handler may have used other Contexts meanwhile
        with self.lock:
            self.check_open(pv)
            if ready():
                return False
            self.table.watch(pv, waiter)
        self.activate(pv)
        return True

    def unwatch(self, pv: ClientPV, waiter: Waiter) -> None:
        """Do not call *waiter* any more."""
        enter(self.locks)
        with self.lock:
            self.table.unwatch(pv, waiter)

    def activate(self, pv: ClientPV) -> None:
        """Have *pv* searched if it is new or idle."""
        if self.table.at_rest(pv):
            self.announce((pv,))

    def note(self, pv: ClientPV, function: Callable[[], object]) -> None:
        """Have *function* called soon by the thread that serves *pv*; takes no lock."""
        circuit = carrier_of(pv)
        if circuit is None:
            self.searches.note(function, pv.name)
        else:
            circuit.note(function, pv.name)

    def check_open(self, pv: ClientPV | None = None) -> None:
        """Raise ContextDisconnectedError, which names *pv*, if this Context is over."""
        reason = self.table.closed
        if reason:
            if reason is EXITING and threading.current_thread().daemon:
                raise SystemExit(EXITING)  # it ends the thread without a message
            raise ContextDisconnectedError(reason if pv is None else f"{pv.name!r}: {reason}")

    def check_reentry(self, call: str) -> None:
        """Raise ReentrantCallError if this thread would wait for itself."""
        if self.must_not_wait():
            raise refusal(call)

    def must_not_wait(self) -> bool:
        """Tell whether this thread, if it waited for one of our threads, would wait for itself."""
        carriers, (known, locks) = self.table.carriers, self._every_lock
        if known is not carriers:
            locks = tuple({*self.locks}.union(*(one.locks for one in carriers.values())))
            self._every_lock = carriers, locks
        return must_not_wait(locks)

    # ---- callbacks about PVs

    def listen(
        self,
        pv: ClientPV,
        states: Reference | None,
        access: Reference | None,
        added: list[PVCallback],
        *,
        known: bool,
        token: int | None = None,
    ) -> None:
        """Add callbacks, and have them called with the present state of a PV that was *known*.

        They are in *added* before anything else happens, so that a caller that is interrupted can
        cancel them.
        """
        dead = pv._dead_listeners()
        last_state = None if known else "connected" if pv.connected else "disconnected"
        on_states = PVCallback(states, last_state, token) if states is not None else None
        on_access = PVCallback(access, None, token) if access is not None else None
        added += filter(None, (on_states, on_access))
        with self.lock:
            circuit = carrier_of(pv)
            deliver = self.table.listen(pv, on_states, on_access, dead, known)
        if deliver:
            # Left to another thread: the first one starts a thread, which Ctrl-C must not
            # interrupt.
            queue = self._callbacks if circuit is None else circuit.delivery
            note = self.searches.note if circuit is None else circuit.note
            note(functools.partial(queue.put, deliver), pv.name)

    def stop_listening(self, pv: ClientPV, news: str, token: int) -> None:
        """Do not call the callback about 'state' or 'access_rights' with this token any more."""
        with self.lock:
            self.table.stop_listening(pv, news, token)

    # ---- what happens to PVs; in background threads

    def _carry_out(
        self,
        steps: Steps[ClientPV, ClientCircuit],
        circuit: ClientCircuit | None = None,
    ) -> list[Delivery]:
        """Carry out *steps* about *circuit*; return what to deliver to callbacks."""
        for carrier, pvs in steps.attach.items():
            self._attach(carrier, pvs)
        for table, pvs in steps.tables.items():
            table.changed(pvs)
        for searched, lost, delay in steps.searches:
            self._search(searched, lost=lost, delay=delay)
        if circuit is not None:
            for searched, _, _ in steps.searches:
                if any(map(self.table.at_rest, searched)):  # before their search was asked for
                    self.searches.note(functools.partial(self.rest, searched))
            for sub in steps.reconcile:
                sub._prune()
            if steps.reconcile:
                circuit.reconcile(steps.reconcile)
            if turned_up or _pv_log.isEnabledFor(logging.DEBUG):
                for changed, state in steps.log:
                    for pv in changed:
                        pv._debug("%s, %s:%d", state, *circuit.address)
        for waiter in steps.wake:
            waiter.answered(None)
        return steps.deliver

    def announce(self, pvs: Sequence[ClientPV]) -> None:
        """Have PVs searched that are new or idle; may be repeated at any time."""
        if pvs and not self.closed:
            self.searches.note(functools.partial(self._begin, pvs))

    def rest(self, pvs: Sequence[ClientPV], done: Waiter | None = None) -> None:
        """End the searches for PVs that may be idle; for the search thread."""
        with self.lock:
            idle = self.table.rest(pvs, self.now())
        self.searches.withdraw(self, [pv.key for pv in idle])
        for pv in pvs:
            channel = pv.channel
            if channel is not None:  # found meanwhile
                channel.carrier.idle(pv, channel)
        if done is not None:
            done.answered(None)

    def _begin(self, pvs: Sequence[ClientPV]) -> None:
        with self.lock:
            steps = self.table.announced(pvs, self.now())
        self._carry_out(steps)

    def _search(self, pvs: Sequence[ClientPV], *, lost: bool = False, delay: float = 0.0) -> None:
        if pvs:
            names = [pv.name for pv in pvs]
            self.searches.search(self, names, [pv.key for pv in pvs], lost=lost, delay=delay)
            if self.closed:
                self.searches.forget(self)  # closed meanwhile, before these were added

    def found(self, address: Address, version: int, keys: Sequence[PVKey]) -> None:
        """Give PVs that were found to the circuit to their server."""
        with self.lock:
            missing = {
                where: self._latest_queue(where)
                for where in self.table.missing(address, keys, self.now())
            }
        made, problem = self._make_circuits(missing, version)
        with self.lock:
            steps = self.table.found(address, keys, made, problem, self.now())
        if problem:
            waiting = counted(sum(len(pvs) for pvs, _, _ in steps.searches), "PV")
            host, port = address
            self.log.warning("%s; %s of %s:%d will be retried", problem, waiting, host, port)
        self._carry_out(steps)
        for circuit in made.values():
            if circuit in steps.attach:
                self.searches.circuit_opened(address)
                circuit.start()
            else:  # another thread has made the same one
                circuit.abandon()

    def _make_circuits(
        self, missing: Mapping[CircuitKey, CallbackQueue | None], version: int
    ) -> tuple[dict[CircuitKey, ClientCircuit], str]:
        """Make circuits, and tell why others cannot be made. Without a lock: they open sockets."""
        made: dict[CircuitKey, ClientCircuit] = {}
        for where, earlier in missing.items():
            (host, port), priority = where
            try:
                made[where] = ClientCircuit(
                    self,
                    (host, port),
                    priority,
                    version,
                    host_name=self.host_name,
                    client_name=self.client_name,
                    connection_timeout=self.configuration.conn_tmo,
                    max_payload=int(min(self.configuration.max_payload, UNLIMITED)),
                    flow_control=self._flow_control,
                    delivery=CallbackQueue(f"{host}:{port}", self._max_workers, earlier),
                )
            except CaprotoNetworkError as error:  # there are no descriptors left
                return made, str(error)
        return made, ""

    def circuit_to(self, address: Address, priority: int) -> ClientCircuit:
        """Return the circuit to a server; make it if there is none."""
        where = address, priority
        with self.lock:
            found, earlier = self.table.carriers.get(where), self._latest_queue(where)
        if found is not None:
            return found
        made, problem = self._make_circuits({where: earlier}, DEFAULT_PROTOCOL_VERSION)
        if problem:
            raise CaprotoNetworkError(problem)
        with self.lock:
            circuit = self.table.carriers.get(where) or made[where]
            self.table.carriers = {**self.table.carriers, where: circuit}
        if circuit is made[where]:
            self.searches.circuit_opened(address)
            self.searches.note(circuit.start)  # Ctrl-C must not interrupt the start of a thread
        else:  # another thread has made the same one
            made[where].abandon()
        return circuit

    def _latest_queue(self, where: CircuitKey) -> CallbackQueue | None:
        """Find the queue of the previous circuit, if its callbacks have not all run. Locked."""
        return next((queue for key, queue in reversed(self._earlier) if key == where), None)

    def _attach(self, circuit: ClientCircuit, pvs: list[ClientPV]) -> None:
        channels = circuit.attach(pvs)
        if channels is None:  # it has just ended
            self._search(pvs)
            return
        with self.lock:
            steps = self.table.attached(circuit, channels)
        self._carry_out(steps)
        if not circuit.create(channels.values()):
            self.channels_lost(circuit, pvs, "the circuit is over", Loss.CLOSED)

    def channels_created(
        self, manager: ClientCircuit, pvs: Sequence[ClientPV]
    ) -> list[Delivery]:
        """Subscribe again for PVs that are connected, and wake the callers that wait."""
        with self.lock:
            steps = self.table.created(manager, pvs, self.now())
        return self._carry_out(steps, manager)

    def channels_lost(
        self, manager: ClientCircuit, pvs: Sequence[ClientPV], reason: str, loss: Loss
    ) -> list[Delivery]:
        """Search again for PVs that have lost their server."""
        with self.lock:
            steps = self.table.lost(manager, pvs, reason, loss, self.now())
        return self._carry_out(steps, manager)

    def responsiveness_changed(
        self, manager: ClientCircuit, pvs: Sequence[ClientPV], state: str
    ) -> list[Delivery]:
        """Note that the server of connected PVs stopped or resumed responding."""
        with self.lock:
            steps = self.table.responsive(manager, pvs, state == "connected")
        return self._carry_out(steps, manager)

    def pv_idle(self, manager: ClientCircuit, pv: ClientPV) -> list[Delivery]:
        """Note that the channel of a PV was cleared; if the PV is needed again, search for it."""
        with self.lock:
            steps = self.table.idle(manager, pv, self.now())
        return self._carry_out(steps, manager)

    def circuit_over(self, manager: ClientCircuit) -> None:
        """Note that a circuit takes no more channels; the next search makes a new one."""
        where = manager.address, manager.circuit.priority or 0
        with self.lock:
            if not self.table.circuit_over(where, manager, self.now()):
                return
            self._earlier = [entry for entry in self._earlier if not entry[1].over]
            self._earlier.append((where, manager.delivery))
        self._every_lock = {}, ()  # it would keep the circuit
        self.searches.circuit_closed(manager.address)

    # ---- other events from the broadcaster

    def found_elsewhere(self, key: PVKey, first: Address, second: Address) -> None:
        """Warn that two servers have the same name; the first one is kept."""
        name, _ = key
        self.log.warning(
            "%r is served by two servers: %s:%d, which is used, and %s:%d",
            name, *first, *second,
            extra={"pv": name},
        )

    def beacon(self, address: Address, good: bool) -> None:
        """Pass a beacon on to the circuits of its server: in its rhythm, it replaces an echo."""
        for (where, _), manager in self.table.carriers.items():
            if where == address:
                manager.beacon(good)

    def searching(self) -> None:
        """Report how many searches are open; called when some have just been sent.

        A thread for callbacks that the system did not have is asked for again.
        """
        if self._callbacks.starved:
            self._callbacks.put(())
        if self.log.isEnabledFor(logging.DEBUG):
            self.log.debug("Searches without an answer: %d", self.searches.open_searches(self))

    def last_heard(self) -> dict[Address, float]:
        """Return the seconds since each server sent anything."""
        return {
            address: manager.time_since_last_heard()
            for (address, _), manager in self.table.carriers.items()
        }

    # ---- the end

    def close(self, reason: str) -> list[ClientCircuit]:
        """Close everything, for *reason*; return the circuits that there are to wait for."""
        with self.lock:
            steps = self.table.close(reason)
            circuits = list(self.table.carriers.values())
            earlier = [queue for _, queue in self._earlier]
        # All of it each time: the first call may have been interrupted.
        self._carry_out(steps)
        self.searches.forget(self)
        for circuit in circuits:
            circuit.close()
        for queue in (*earlier, self._callbacks):
            queue.finish(())
        if self._owns_broadcaster:
            self.broadcaster.disconnect(wait=False)
        return circuits

    def join(self, circuits: Iterable[ClientCircuit], deadline: Deadline) -> None:
        """Wait for the threads of closed *circuits*, and for all others, until *deadline*."""
        for circuit in circuits:
            circuit.join(deadline.remaining())
        for circuit in circuits:
            circuit.delivery.join(deadline.remaining())
        with self.lock:
            earlier = [queue for _, queue in self._earlier]
        for queue in (*earlier, self._callbacks):
            queue.join(deadline.remaining())
        if self._owns_broadcaster:
            self.searches.join(deadline.remaining())

    def _at_exit(self, deadline: Deadline) -> None:
        self.join(self.close(EXITING), deadline)

    def _all_locks(self) -> tuple[RLock, ...]:
        return (self.lock, self.searches.lock, self._callbacks.lock, self.columns_lock)

    def _after_fork(self) -> None:
        self.lock, self.columns_lock = _locks.Lock(), _locks.Lock()
        for circuit in self.table.carriers.values():
            circuit.abandon()
        for queue in (*(queue for _, queue in self._earlier), self._callbacks):
            queue.abandon()
        self.locks = self._all_locks()
        self._every_lock = {}, ()
        self.table.abandon(
            f"this Context was created before fork, in the parent of process {os.getpid()}; "
            "create a new one in the child"
        )
