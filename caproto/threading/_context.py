"""Context: the PVs of one client by name, its circuits by server.

It carries facts between the layers, one step at a time, holding its lock only to decide: names go
to the broadcaster; found names to circuits; created channels to whoever waits; lost ones back to
the broadcaster. Between two steps nothing is held, so each step checks again what it relies on.
"""
from __future__ import annotations

import contextlib
import enum
import functools
import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, NoReturn

from .. import _locks
from .._client.backoff import Loss, ServerBackoff
from .._client.callbacks import EXITING, Reference, make_reference
from .._constants import MAX_PRIORITY
from .._dbr import AccessRights
from .._environment import ClientConfiguration
from .._errors import (
    CaprotoKeyError,
    CaprotoNetworkError,
    CaprotoTimeoutError,
    CaprotoTypeError,
    CaprotoValueError,
    ContextDisconnectedError,
)
from .._framing import UNLIMITED
from .._log import CONTEXT_LOGGER, LogAllowance, adapter
from .._message import name_payload, text_payload
from .._sockets import Address, user_name
from . import _lifetime
from ._announcements import Listener
from ._callback_queue import CallbackQueue
from ._circuit_manager import VirtualCircuitManager
from ._explain import Explanation
from ._pv import DEFAULT, PV, Link, Phase, Timeout, check_timeout
from ._reentry import must_not_wait, refusal
from ._shared_broadcaster import SharedBroadcaster
from ._subscription import Subscription
from ._waiting import Deadline, Reply, Waiter

#: Seconds that a disconnect waits for callbacks that are running.
CLOSE_TIME = 2.0
#: Default timeout in seconds, unless the environment variable says otherwise.
DEFAULT_TIMEOUT, TIMEOUT_VARIABLE = 2.0, "CAPROTO_DEFAULT_TIMEOUT"

#: Phases of PVs that are not on their way to a connection.
_AT_REST = frozenset({Phase.NEW, Phase.IDLE})

PVKey = tuple[str, int]
CircuitKey = tuple[Address, int]


class Context:
    """A client: finds PVs, connects them and keeps them connected, in background threads.

    Parameters
    ----------
    broadcaster : SharedBroadcaster, optional
        Searches for our PVs. Default: one of our own, closed with us.
    timeout : float or None, optional
        Default timeout of all operations in seconds, 2.0 unless the environment variable
        CAPROTO_DEFAULT_TIMEOUT says otherwise; None means to wait without end.
    host_name, client_name : str, optional
        What we tell servers, whose access rules may depend on it. Default: this host, this user.
    max_workers : int
        Number of threads per circuit that run callbacks. With more than one, their order is only
        the order of starting.
    configuration : ClientConfiguration, optional
        The network, instead of the environment. With a *broadcaster* it rules circuits only
        (conn_tmo, size of arrays): searches go where the broadcaster's own configuration says.
    flow_control : bool
        Whether to ask a server to hold updates while callbacks are far behind. The last value
        always arrives; False lets memory grow instead.

    Attributes
    ----------
    broadcaster : SharedBroadcaster
    host_name, client_name : str
    timeout : float or None
    log : logging.Logger
        At DEBUG it reports now and then how many searches are still unanswered.

    Raises
    ------
    CaprotoTypeError, CaprotoValueError
        Naming the argument.

    Notes
    -----
    A Context ends with ``disconnect()``, at the end of a ``with`` block, when the garbage collector
    finds that nothing refers to it or its PVs any more, or with the interpreter.
    """

    def __init__(
        self,
        broadcaster: SharedBroadcaster | None = None,
        *,
        timeout: Timeout = DEFAULT,
        host_name: str | None = None,
        client_name: str | None = None,
        max_workers: int = 1,
        configuration: ClientConfiguration | None = None,
        flow_control: bool = True,
    ) -> None:
        if broadcaster is not None and not isinstance(broadcaster, SharedBroadcaster):
            raise CaprotoTypeError(f"broadcaster must be a SharedBroadcaster, not {broadcaster!r}")
        if configuration is not None and not isinstance(configuration, ClientConfiguration):
            raise CaprotoTypeError(
                f"configuration must be a ClientConfiguration, not {configuration!r}"
            )
        if not isinstance(max_workers, int) or max_workers < 1:
            raise CaprotoValueError(f"max_workers must be 1 or more, not {max_workers!r}")
        default = isinstance(timeout, enum.Enum)
        self.timeout = _default_timeout() if default else check_timeout(timeout)
        self.host_name = socket.gethostname() if host_name is None else host_name
        self.client_name = user_name() if client_name is None else client_name
        text_payload("host_name", self.host_name)  # raises if it is not text
        text_payload("client_name", self.client_name)
        self._owns_broadcaster = broadcaster is None
        self.broadcaster = broadcaster or SharedBroadcaster(configuration=configuration)
        self.configuration = configuration or self.broadcaster.configuration
        self._max_workers = max_workers
        self._flow_control = flow_control
        self.log: logging.Logger = adapter(CONTEXT_LOGGER, role="CLIENT")
        self._lock = _locks.Lock()
        self._closed = ""
        self._pvs: dict[PVKey, PV] = {}
        self._managers: dict[CircuitKey, VirtualCircuitManager] = {}
        # Of circuits that are over, and have perhaps not told everything yet.
        self._earlier: list[tuple[CircuitKey, CallbackQueue]] = []
        self._backoff = ServerBackoff()
        #: Of warnings about callbacks of subscriptions that died; a program may have thousands.
        self.dead_callbacks = LogAllowance(10)
        # For callbacks about PVs that no circuit has; its thread starts only if that happens.
        self._delivery = CallbackQueue("without circuit", max_workers)
        #: All that a call about a PV without circuit may need.
        self.locks = (self._lock, self.broadcaster.lock, self._delivery.lock)
        self.broadcaster.add_searcher(self)
        _lifetime.register(self)

    # ---- for users

    def get_pvs(
        self,
        *names: str,
        priority: int = 0,
        connection_state_callback: Callable[[PV, str], Any] | None = None,
        access_rights_callback: Callable[[PV, AccessRights], Any] | None = None,
        timeout: Timeout = DEFAULT,
    ) -> list[PV]:
        """PVs by name; returns at once, while they are searched and connected in the background.

        Parameters
        ----------
        *names : str
            Any number of names. Asking for many at once is efficient.
        priority : int
            0 to 99. The server may give circuits of higher priority more of its time.
        connection_state_callback : callable, optional
            Called as ``f(pv, state)`` with 'connected' or 'disconnected' at each change, and now if
            the PV is known already. Held weakly: keep a reference to it.
        access_rights_callback : callable, optional
            Called as ``f(pv, access_rights)`` likewise.
        timeout : float or None, optional
            Default timeout, in seconds, of those PVs that are new. Default: that of the Context.
            Known ones keep theirs; set ``pv.timeout``.

        Returns
        -------
        list of PV
            The same object for the same name and priority, for the lifetime of the Context.

        Raises
        ------
        ContextDisconnectedError
            If the Context was disconnected.
        CaprotoTypeError, CaprotoValueError
            For a name that is not a str, empty or too long, an impossible priority, or what cannot
            be a callback. No PV is made then.
        """
        _check_names(names)
        states = _reference(connection_state_callback)
        access = _reference(access_rights_callback)
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise CaprotoTypeError(f"priority must be a whole number, not {priority!r}")
        if not 0 <= priority <= MAX_PRIORITY:
            raise CaprotoValueError(f"priority must be 0 to {MAX_PRIORITY}, and is {priority}")
        if not isinstance(timeout, enum.Enum):
            check_timeout(timeout)
        self._check_open()
        new: set[PV] = set()
        found = [self._pvs.get((name, priority)) for name in names]
        if None in found or states is not None or access is not None:
            if _locks.held(*self.locks):
                raise refusal("Context.get_pvs")
            new = self._file(names, priority, timeout)
        added: list[Listener] = []
        try:
            pvs = [self._pvs[name, priority] for name in names]
            if states is not None or access is not None:
                for pv in dict.fromkeys(pvs):
                    self._register(pv, pv not in new, states, access, added)
            self._announce([pv for pv in pvs if pv._phase is Phase.NEW])
            return pvs
        except BaseException:  # Ctrl-C: asked again, they would be told twice
            for listener in added:
                listener.cancel()
            raise

    def _file(self, names: Iterable[str], priority: int, timeout: Timeout) -> set[PV]:
        """Make those that there are not; these are returned."""
        new: set[PV] = set()
        with self._lock:
            self._check_open()
            now = monotonic()
            for name in names:
                if (name, priority) not in self._pvs:
                    pv = self._pvs[name, priority] = PV(name, priority, self, timeout, now)
                    new.add(pv)
        return new

    @property
    def pvs(self) -> dict[PVKey, PV]:
        """All PVs, by name and priority (a copy)."""
        return self._pvs.copy()  # in one step, so it needs no lock

    @property
    def circuit_managers(self) -> dict[CircuitKey, VirtualCircuitManager]:
        """All circuits, by address and priority (a copy)."""
        return self._managers.copy()

    @property
    def closed(self) -> bool:
        """Whether this Context was disconnected."""
        return bool(self._closed)

    def explain(self, pv: PV | str) -> Explanation:
        """Why is this PV not connected? Everything that is known about it, with hints.

        Parameters
        ----------
        pv : PV or str
            A PV of this Context, or the name of one (of the lowest priority).

        Returns
        -------
        Explanation
            Prints as text; its attributes are for programs. Destinations searched, name servers,
            unknown hosts and errors of sending, number of tries and the next one, the server and
            its last failure, the state of the circuit, the environment in force.

        Raises
        ------
        CaprotoKeyError
            If this Context has no such PV.
        CaprotoTypeError
            If it is neither a PV nor a name.
        """
        found = self._own(pv)
        self._check_reentry(f"Context.explain of {found.name!r}")
        now = monotonic()
        link = found._link
        server = found._server
        trouble = self._backoff.get(server)
        return Explanation(
            name=found.name,
            state=found._state(),
            connected=found.connected,
            search=self.broadcaster.report(self, (found.name, found.priority)),
            server=server,
            trouble=trouble,
            circuit=link.manager.report(link.channel) if link is not None else None,
            configuration=self.configuration,
            since=found._since,
            now=now,
        )

    def _own(self, pv: PV | str) -> PV:
        if not isinstance(pv, (PV, str)):
            raise CaprotoTypeError(f"pv must be a PV or the name of one, not {pv!r}")
        if isinstance(pv, str):
            names = [key for key in self.pvs if key[0] == pv]
            found = self._pvs[min(names, key=lambda key: key[1])] if names else None
        else:
            found = self._pvs.get((pv.name, pv.priority))
            found = pv if found is pv else None
        if found is None:
            raise CaprotoKeyError(
                f"{getattr(pv, 'name', pv)!r} is not a PV of this Context; create it with get_pvs()"
            )
        return found

    def disconnect(self, *, wait: bool = True) -> None:
        """Close all circuits and end all threads. May be called twice.

        Requests that were sent before still reach the servers; callbacks that are queued are
        dropped, but for connection state callbacks, which are told 'disconnected'.

        Parameters
        ----------
        wait : bool
            Whether to wait for the threads to end. A callback that is running is waited for a
            moment only.
        """
        reason = "the Context was disconnected"
        if wait:
            self._check_reentry("Context.disconnect")
            self._join(self._close(reason), Deadline(CLOSE_TIME))
        elif self._must_not_wait():
            self.broadcaster.note(functools.partial(self._close, reason))
        else:
            self._close(reason)

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.disconnect()

    def __repr__(self) -> str:
        if self._closed:
            return f"<Context: disconnected, {self._closed}>"
        phases = Counter(pv._phase for pv in self.pvs.values())
        return (
            f"<Context: {phases[Phase.NEW] + phases[Phase.SEARCHING]} searches pending, "
            f"{len(self._managers)} circuits, {phases.total()} PVs ({phases[Phase.IDLE]} idle)>"
        )

    def __reduce__(self) -> NoReturn:
        raise CaprotoTypeError(
            "a Context cannot be copied or pickled, because it has threads and connections; make "
            "one where it is used, in each process"
        )

    # ---- for PVs

    @staticmethod
    def now() -> float:
        """The clock of all waiting: seconds, monotonic."""
        return monotonic()

    def _wait(self, pv: PV, ready: Callable[[], bool], deadline: Deadline) -> None:
        """Wait until *ready* or *deadline*, waking *pv* if it is idle."""
        self._check_reentry(f"A wait for {pv.name!r}, which")
        told = True
        while told:
            waiter = _Alarm()
            try:
                if not self._watch(pv, waiter, ready):
                    return
                told = waiter.wait(deadline.remaining())
            finally:
                self._unwatch(pv, waiter)
        if not ready():
            self._check_open()
            raise CaprotoTimeoutError(self._why_not(pv, deadline))

    def _watch(self, pv: PV, waiter: Waiter, ready: Callable[[], bool]) -> bool:
        """Have *waiter* answered when something has happened to *pv*, which is woken if it is idle.

        Returns
        -------
        bool
            False if it is *ready* already; nothing is told then.
        """
        with self._lock:
            self._check_open()
            if ready():
                return False
            if pv._waiters is None:
                pv._waiters = []
            pv._waiters.append(waiter)
        self._activate(pv)
        return True

    def _unwatch(self, pv: PV, waiter: Waiter) -> None:
        """Tell *waiter* nothing."""
        with self._lock:
            if pv._waiters is not None and waiter in pv._waiters:
                pv._waiters.remove(waiter)

    def _activate(self, pv: PV) -> None:
        """Have *pv* searched if it is new or idle."""
        if pv._phase in _AT_REST:
            self._announce((pv,))

    def _why_not(self, pv: PV, deadline: Deadline) -> str:
        """Why *pv* is not connected, for an error message."""
        waited = f"after {deadline.timeout} s"
        link, server = pv._link, pv._server
        if link is not None:
            text = f"{pv.name!r} was found but is not connected {waited}: {pv._state()}"
            if link.manager.time_up():
                text += f"; {link.manager.describe_last_heard()}"
            return text
        trouble = self._backoff.get(server)
        if server is not None and trouble is not None and trouble.when >= pv._since:
            return (
                f"{pv.name!r} is not connected {waited}: it was found at {server[0]}:{server[1]}, "
                f"but {monotonic() - trouble.when:.1f} s ago: {trouble}; it is searched again"
            )
        why = self.broadcaster.why_not_found()
        return f"{pv.name!r} was not found within {deadline.timeout} s: {why}"

    def _must_not_wait(self) -> bool:
        """Whether this thread would wait for itself if it waited for one of our threads."""
        circuits = self.circuit_managers.values()
        return must_not_wait(self.locks) or any(must_not_wait(one.locks) for one in circuits)

    def _check_reentry(self, call: str) -> None:
        """Raise ReentrantCallError if this thread would wait for itself."""
        if self._must_not_wait():
            raise refusal(call)

    def _note(self, pv: PV, function: Callable[[], object]) -> None:
        """Have *function* called soon by the thread that serves *pv*; takes no lock."""
        link = pv._link
        if link is None:
            self.broadcaster.note(function, pv.name)
        else:
            link.manager.note(function, pv.name)

    def _check_open(self) -> None:
        if self._closed:
            if self._closed is EXITING and threading.current_thread().daemon:
                raise SystemExit(EXITING)  # it ends the thread without a word
            raise ContextDisconnectedError(self._closed)

    def _register(
        self,
        pv: PV,
        known: bool,
        states: Reference | None,
        access: Reference | None,
        added: list[Listener],
    ) -> None:
        """Add callbacks; tell them the present state of a PV that was *known*."""
        batch: list[Any] = []
        dead = pv._dead_listeners()
        with self._lock:
            link = pv._link
            if access is not None:
                added.append(listener := Listener(access))
                pv._rights().add(listener, dead)
                rights = pv.access_rights
                if known and rights is not None:
                    batch.append(pv._note_rights(rights, listener))
            if states is not None:
                added.append(listener := Listener(states, None if known else "disconnected"))
                pv._states().add(listener, dead)
                if known:
                    state = "connected" if pv.connected else "disconnected"
                    batch.append(pv._states().note(state, listener=listener))
        if batch:
            (self._delivery if link is None else link.manager.delivery).put(batch)

    # ---- steps on the way of a PV: searching, found, created, lost

    def _announce(self, pvs: Sequence[PV]) -> None:
        """Have those searched that are not; may be repeated at any time."""
        if pvs and not self._closed:
            self.broadcaster.note(functools.partial(self._begin, pvs))

    def _begin(self, pvs: Iterable[PV]) -> None:
        """Search for those that are announced; in the search thread."""
        now = monotonic()
        announced: list[PV] = []
        with self._lock:
            for pv in pvs:
                if pv._phase in _AT_REST:
                    pv._phase = Phase.SEARCHING
                    pv._since = now
                    announced.append(pv)
        self._search(announced)

    def _search(self, pvs: Sequence[PV], *, lost: bool = False, delay: float = 0.0) -> None:
        if pvs:
            names = [pv.name for pv in pvs]
            keys = [(pv.name, pv.priority) for pv in pvs]
            self.broadcaster.search(self, names, keys, lost=lost, delay=delay)
            if self._closed:
                self.broadcaster.forget(self)  # closed meanwhile: these came too late for that

    def found(self, address: Address, version: int, keys: Sequence[PVKey]) -> None:
        """The search was answered: give the PVs to the circuit to that server."""
        now = monotonic()
        with self._lock:
            if self._closed:
                return
            delay = self._backoff.pause(address, now)
            wanted = {priority for _, priority in keys}
            missing = [] if delay else [
                (priority, self._latest_delivery((address, priority)))
                for priority in wanted
                if (address, priority) not in self._managers
            ]
        # A circuit has sockets and logs, so it is made outside the lock.
        made: dict[CircuitKey, VirtualCircuitManager] = {}
        failure = ""
        for priority, earlier in missing:
            try:
                made[address, priority] = self._make_manager(address, priority, version, earlier)
            except CaprotoNetworkError as error:  # there are no descriptors left
                failure = str(error)
        self._settle(address, keys, made, failure)

    def _settle(
        self,
        address: Address,
        keys: Sequence[PVKey],
        made: dict[CircuitKey, VirtualCircuitManager],
        failure: str,
    ) -> None:
        """Give PVs to circuits, of which some were *made* now, unless another thread was faster."""
        groups: dict[VirtualCircuitManager, list[PV]] = {}
        left: list[PV] = []
        now = monotonic()
        with self._lock:
            delay = self._backoff.pause(address, now)
            if failure:
                delay = self._backoff.note(address, Loss.USELESS, failure, now, 0.0, now)
            for key in () if self._closed else keys:
                pv = self._pvs[key]
                if pv._phase is not Phase.SEARCHING:
                    continue
                where = address, pv.priority
                manager = self._managers.get(where) or made.get(where)
                if manager is None:
                    left.append(pv)
                    pv._server = address
                else:
                    self._managers[where] = manager
                    groups.setdefault(manager, []).append(pv)
        if failure:
            self.log.warning("%s; %d PVs of %s:%d wait", failure, len(left), *address)
        self._search(left, delay=delay)
        for manager, pvs in groups.items():
            self._attach(manager, pvs)
        for manager in made.values():
            if manager in groups:
                self.broadcaster.circuit_opened(address)
                manager.start()
            else:
                manager.abandon()

    def _make_manager(
        self, address: Address, priority: int, version: int, earlier: CallbackQueue | None
    ) -> VirtualCircuitManager:
        host, port = address
        return VirtualCircuitManager(
            self,
            address,
            priority,
            version,
            host_name=self.host_name,
            client_name=self.client_name,
            connection_timeout=self.configuration.conn_tmo,
            max_payload=int(min(self.configuration.max_payload, UNLIMITED)),
            flow_control=self._flow_control,
            delivery=CallbackQueue(f"{host}:{port}", self._max_workers, earlier),
        )

    def _latest_delivery(self, key: CircuitKey) -> CallbackQueue | None:
        """That of the circuit before, if it has not told everything yet. Locked."""
        return next((entry for where, entry in reversed(self._earlier) if where == key), None)

    def _attach(self, manager: VirtualCircuitManager, pvs: list[PV]) -> None:
        channels = manager.attach(pvs)
        if channels is None:  # over in this moment
            self._search(pvs)
            return
        waiters: list[Waiter] = []
        with self._lock:
            for pv, channel in channels.items():
                pv._link = Link(manager, channel)
                pv._server = manager.circuit.address
                pv._phase = Phase.FOUND
                _take_waiters(pv, waiters)
        _wake(waiters)
        if not manager.create(channels.values()):
            self.channels_lost(manager, pvs, "the circuit is over", Loss.CLOSED)

    def found_elsewhere(self, key: PVKey, first: Address, second: Address) -> None:
        """Two servers have the same name: the first one is kept, the user is told."""
        name, _ = key
        self.log.warning(
            "%r is served by two servers: %s:%d, which is used, and %s:%d",
            name, *first, *second,
            extra={"pv": name},
        )

    def channels_created(self, manager: VirtualCircuitManager, pvs: list[PV]) -> list[Any]:
        """PVs are connected: subscribe again, tell who waits."""
        waiters: list[Waiter] = []
        wanted: list[Subscription] = []
        batch: list[Any] = []
        now = monotonic()
        with self._lock:
            for pv in pvs:
                link = pv._link
                if link is None or link.manager is not manager:
                    continue
                pv._since = now
                _take_waiters(pv, waiters)
                rights = link.channel.access_rights
                if pv._access_callbacks is not None and rights is not None:
                    batch.append(pv._note_rights(rights))
                if pv._state_callbacks is not None:
                    batch.append(pv._state_callbacks.note("connected"))
                for sub in pv.subscriptions:
                    if sub.wanted:
                        sub.begin()
                        wanted.append(sub)
        for sub in wanted:
            sub.prune()
        manager.reconcile(wanted)
        _wake(waiters)
        _log_each(pvs, "connected", manager)
        return batch

    def channels_lost(
        self, manager: VirtualCircuitManager, pvs: list[PV], reason: str, loss: Loss
    ) -> list[Any]:
        """PVs have lost their server: search again."""
        lost: list[PV] = []
        waiters: list[Waiter] = []
        batch: list[Any] = []
        now = monotonic()
        with self._lock:
            for pv in pvs:
                link = pv._link
                if link is None or link.manager is not manager:
                    continue
                pv._since = now
                pv._phase = Phase.SEARCHING
                pv._link = None
                lost.append(pv)
                if pv._state_callbacks is not None:
                    batch.append(pv._state_callbacks.note("disconnected"))
                if self._closed:
                    _take_waiters(pv, waiters)
            if pvs:
                address = manager.circuit.address
                delay = self._backoff.note(
                    address, loss, reason, manager.begun, manager.time_up(), now
                )
            closed = self._closed
        if lost and not closed:
            self._search(lost, lost=True, delay=delay)
        _wake(waiters)
        _log_each(lost, "disconnected", manager)
        return batch

    def responsiveness_changed(
        self, manager: VirtualCircuitManager, pvs: list[PV], state: str
    ) -> list[Any]:
        """A server stopped or resumed responding."""
        waiters: list[Waiter] = []
        batch: list[Any] = []
        with self._lock:
            for pv in pvs:
                _take_waiters(pv, waiters)
                if pv._state_callbacks is not None:
                    batch.append(pv._state_callbacks.note(state))
        _wake(waiters)
        _log_each(pvs, state, manager)
        return batch

    def pv_idle(self, manager: VirtualCircuitManager, pv: PV) -> list[Any]:
        """A PV has given its channel back; if it is needed again by now, it is searched."""
        with self._lock:
            link = pv._link
            if link is None or link.manager is not manager:
                return []
            needed = bool(pv._waiters) or pv._wanted()
            pv._since = monotonic()
            pv._phase = Phase.SEARCHING if needed else Phase.IDLE
            pv._link = None  # last, so that no thread reads a phase from before
            callbacks = pv._state_callbacks
            batch = [callbacks.note("disconnected")] if callbacks is not None else []
        if needed:
            self._search((pv,))
        _log_each((pv,), "idle", manager)
        return batch

    def circuit_over(self, manager: VirtualCircuitManager) -> None:
        """A circuit takes no more channels; the next search makes a new one."""
        address = manager.circuit.address
        key = (address, manager.circuit.priority or 0)
        with self._lock:
            if self._managers.get(key) is not manager:
                return  # it has said so before
            del self._managers[key]
            self._earlier = [entry for entry in self._earlier if not entry[1].over]
            self._earlier.append((key, manager.delivery))
            self._backoff.over(address, manager.time_up())
        self.broadcaster.circuit_closed(address)

    def beacon(self, address: Address, good: bool) -> None:
        """A server sent a beacon: if it is in its rhythm, its circuits need not ask for an echo."""
        for (where, _), manager in self.circuit_managers.items():
            if where == address:
                manager.beacon(good)

    def searching(self) -> None:
        """Report how many searches are open; called when some have just been sent."""
        if self.log.isEnabledFor(logging.DEBUG):
            self.log.debug(
                "%d searches still await an answer", self.broadcaster.open_searches(self)
            )

    def last_heard(self) -> dict[Address, float]:
        """Seconds since each server sent anything."""
        return {
            address: manager.time_since_last_heard()
            for (address, _), manager in self.circuit_managers.items()
        }

    # ---- the end

    def _close(self, reason: str) -> list[VirtualCircuitManager]:
        """Close everything; returns what there is to wait for."""
        with self._lock:
            self._closed = self._closed or reason
            managers = list(self._managers.values())
            earlier = [delivery for _, delivery in self._earlier]
            waiters = [waiter for pv in self._pvs.values() for waiter in pv._waiters or ()]
        # All of it each time: the first call may have been interrupted.
        _wake(waiters)
        self.broadcaster.forget(self)
        for manager in managers:
            manager.close()
        for delivery in (*earlier, self._delivery):
            delivery.finish(())
        if self._owns_broadcaster:
            self.broadcaster.disconnect(wait=False)
        return managers

    def _join(self, managers: Iterable[VirtualCircuitManager], deadline: Deadline) -> None:
        for manager in managers:
            manager.join(deadline.remaining())
        for manager in managers:
            manager.delivery.join(deadline.remaining())
        with self._lock:
            earlier = [delivery for _, delivery in self._earlier]
        for delivery in (*earlier, self._delivery):
            delivery.join(deadline.remaining())
        if self._owns_broadcaster:
            self.broadcaster.join(deadline.remaining())

    def _at_exit(self, deadline: Deadline) -> None:
        self._join(self._close(EXITING), deadline)

    def _after_fork(self) -> None:
        self._lock = _locks.Lock()
        self.locks = (self._lock, self.broadcaster.lock, self._delivery.lock)
        self._closed = (
            f"this Context was created before fork, in the parent of process {os.getpid()}; "
            "create a new one in the child"
        )
        for manager in self._managers.values():
            manager.abandon()
        for delivery in (*(delivery for _, delivery in self._earlier), self._delivery):
            delivery.abandon()
        for pv in self._pvs.values():
            pv._link = None


class _Alarm(Reply):
    """Wakes who waits for a change of a PV; may ring more than once."""

    __slots__ = ()

    def answered(self, response: Any, batch: Any = None) -> None:
        """Wake the waiter, unless that has been done."""
        if self._latch.locked():
            with contextlib.suppress(RuntimeError):  # another thread has, in this moment
                super().answered(response)


def _log_each(pvs: Iterable[PV], state: str, manager: VirtualCircuitManager) -> None:
    for pv in pvs:
        pv.debug("%s, %s:%d", state, *manager.circuit.address)


def _take_waiters(pv: PV, waiters: list[Waiter]) -> None:
    if pv._waiters is not None:
        waiters += pv._waiters
        pv._waiters = None


def _wake(waiters: Iterable[Waiter]) -> None:
    for waiter in waiters:
        waiter.answered(None)


def _check_names(names: Sequence[Any]) -> None:
    for name in names:
        if not isinstance(name, str):
            raise CaprotoTypeError(
                f"PV names must be str, not {name!r} ({type(name).__name__}); to pass a list, "
                "write get_pvs(*names)"
            )
        name_payload(name)  # raises if it cannot be searched


def _reference(function: Any) -> Reference | None:
    """A weak reference to a callback, one for all PVs; None for none."""
    if function is None:
        return None
    if not callable(function):
        raise CaprotoTypeError(f"a callback must be callable, not {function!r}")
    return make_reference(function, False, None)


def _default_timeout() -> float | None:
    text = os.environ.get(TIMEOUT_VARIABLE)
    if text is None:
        return DEFAULT_TIMEOUT
    try:
        return check_timeout(float(text))
    except ValueError as error:
        raise CaprotoValueError(f"{TIMEOUT_VARIABLE}={text!r}: {error}") from None
