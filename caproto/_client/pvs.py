"""PVs: the phase of each one on its way to a connection, and what to do next.

`PVState` is the client's side of a PV, without waiting or sending; a driver derives its own PV from
it. `PVTable` has all PVs of a client, by name and priority, and changes their phases. Each event is
one method. It decides, and returns what follows as `Steps`, which the driver carries out when the
lock is released; other events may come between two steps, so each method checks again what it
relies on.

The table belongs to a lock of its driver; so do the private attributes of its PVs, which are used
in this file only. Properties are read without it.
"""
from __future__ import annotations

import enum
import logging
import weakref
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from .._addresses import Address
from .._log import CHANNEL_LOGGER, adapter
from .._protocol.dbr import AccessRights
from .announcements import Announcements, PVCallback
from .arguments import waited
from .backoff import Failure, Loss, ServerBackoff
from .callbacks import Function
from .deliveries import Delivery, Target
from .interfaces import CarriedChannel, Carrier, TableOfPVs, Waiter
from .subscriptions import Form, SubscriptionState, find_subscription

#: Of a PV: its name and priority.
PVKey = tuple[str, int]
#: Of a circuit: its server and priority.
CircuitKey = tuple[Address, int]

_log = logging.getLogger(CHANNEL_LOGGER)


class PVPhase(enum.Enum):
    """The phases of a PV on its way to a connection.

    Only background threads change it, so that no KeyboardInterrupt comes between two phases. A PV
    that is NEW or IDLE is announced to them by each use of it.
    """

    NEW = "new"  #: not announced yet
    SEARCHING = "searching"
    FOUND = "found"  #: a circuit has it: connecting, connected or unresponsive
    IDLE = "idle"


#: Phases of PVs that are not being connected.
_AT_REST = frozenset({PVPhase.NEW, PVPhase.IDLE})

C = TypeVar("C", bound=Carrier)


class PVState(Generic[C]):
    """The client's side of one PV.

    Parameters
    ----------
    name : str
        The name that is searched.
    priority : int
        Of the circuit, 0 to 99.
    now : float
        The present time.
    """

    __slots__ = (
        "__weakref__",
        "_access_callbacks",
        "_channel",
        "_idle_wish",
        "_log",
        "_phase",
        "_server",
        "_since",
        "_state_callbacks",
        "_subscriptions",
        "_tables",
        "_waiters",
        "key",
        "name",
    )

    def __init__(self, name: str, priority: int, now: float) -> None:
        self.name = name
        #: Its key in the table, and in searches.
        self.key: PVKey = (name, priority)
        self._channel: CarriedChannel[C] | None = None  # and the circuit, in one step
        self._phase = PVPhase.NEW
        self._server: Address | None = None  # that has, or last had, this PV
        self._since = now
        self._waiters: list[Waiter] | None = None
        self._idle_wish = False  # whether it was asked to go idle, and not used since
        self._subscriptions: tuple[SubscriptionState, ...] = ()  # replaced whole
        self._tables: tuple[TableOfPVs, ...] = ()
        self._state_callbacks: Announcements | None = None
        self._access_callbacks: Announcements | None = None
        self._log: logging.Logger | None = None

    # ---- facts

    @property
    def priority(self) -> int:
        """Priority of the circuit, 0 to 99."""
        return self.key[1]

    @property
    def connected(self) -> bool:
        """Whether the server's channel is there and the server responds."""
        channel = self._channel
        return channel is not None and channel.carrier.serves(channel)

    @property
    def channel(self) -> CarriedChannel[C] | None:
        """The protocol's side of the connection; None while there is no circuit."""
        return self._channel

    @property
    def access_rights(self) -> AccessRights | None:
        """What the server allows; None while not connected, and until they have come."""
        channel = self._channel
        return channel.access_rights if channel is not None and self.connected else None

    @property
    def _found(self) -> bool:
        """Whether a circuit has it."""
        return self._phase is PVPhase.FOUND

    @property
    def server(self) -> Address | None:
        """The server that has, or last had, this PV."""
        return self._server

    @property
    def subscriptions(self) -> Sequence[SubscriptionState]:
        """The subscriptions made so far, wanted or not."""
        return list(self._subscriptions)

    @property
    def _wanted(self) -> bool:
        """Whether a subscription with callbacks, or a monitor of a table, needs a connection."""
        if any(table.monitored for table in self._tables):
            return True
        return any(sub.wanted for sub in self._subscriptions)

    def _subscribed(self, form: Form) -> SubscriptionState | None:
        """Find the subscription in this form; None if there is none yet."""
        return find_subscription(self._subscriptions, form)

    def _used(self) -> C | None:
        """Note that it is used, so that it stays connected; return the circuit that serves it."""
        self._idle_wish = False
        channel = self._channel
        return channel.carrier if channel is not None else None

    @property
    def _may_idle(self) -> bool:
        """Whether the user asked it to go idle, and nothing needs it since."""
        return self._idle_wish and not self._wanted

    @property
    def log(self) -> logging.Logger:
        """The logger of this PV; its records carry the name as ``record.pv``."""
        if self._log is None:
            self._log = adapter(CHANNEL_LOGGER, pv=self.name, role="CLIENT")
        return self._log

    def _debug(
        self, message: str, *args: object, extra: Mapping[str, object] | None = None
    ) -> None:
        """Log, without making a logger for each of many PVs while DEBUG is off for all."""
        if (self._log or _log).isEnabledFor(logging.DEBUG):
            self.log.debug(message, *args, extra=extra)

    def _describe(self, now: float) -> str:
        """Describe its state, in a few words."""
        channel = self._channel
        if channel is not None:
            return channel.carrier.describe(channel)
        if self._phase is PVPhase.IDLE:
            return "idle"
        return f"searching for {now - self._since:.1f} s"

    # ---- callbacks about states and rights

    def _dead_listeners(self) -> set[PVCallback]:
        """Find the callbacks that were garbage-collected; call it without holding a lock."""
        found = (self._state_callbacks, self._access_callbacks)
        return set().union(*(group.dead() for group in found if group is not None))

    def _rights_news(self, rights: AccessRights) -> list[Delivery]:
        """Note what the server allows; return what to deliver.

        The rights that come before the channel is connected are announced with the connection.
        """
        if self._access_callbacks is None or not self.connected:
            return []
        return [self._note_rights(self._access_callbacks, rights)]

    def _note_rights(
        self, callbacks: Announcements, rights: AccessRights, listener: PVCallback | None = None
    ) -> Delivery:
        # A callback is not called again for the same rights of the same channel.
        channel = weakref.ref(self._channel) if self._channel is not None else None
        return callbacks.note(rights, (channel, rights), listener)


def channel_of(pv: PVState[C]) -> CarriedChannel[C] | None:
    """Return the channel of *pv*, which knows its circuit; None while there is none."""
    return pv._channel


def carrier_of(pv: PVState[C]) -> C | None:
    """Return the circuit that serves *pv*; None while there is none."""
    channel = pv._channel
    return channel.carrier if channel is not None else None


def _announcements(pv: PVState[Any], news: str) -> Announcements | None:
    return pv._state_callbacks if news == "state" else pv._access_callbacks


P = TypeVar("P", bound=PVState[Any])


class Steps(Generic[P, C]):
    """What follows from an event, to be carried out without a lock, in this order.

    Attributes
    ----------
    attach : dict of Carrier to list of PVState
        Circuits that get PVs; see `PVTable.attached`.
    searches : list of (PVs, lost, delay)
        What to search, whether it was lost with its server, and after how many seconds.
    reconcile : list of SubscriptionState
        Those on the circuit concerned that the server should send updates for.
    log : list of (PVs, state)
        Changes of state, for the logs of the PVs.
    tables : dict of TableOfPVs to list of PVState
        Tables, with those of their PVs whose connection has changed.
    wake : list of Waiter
    deliver : list of (Target, argument)
        Calls of user callbacks.
    """

    __slots__ = ("attach", "deliver", "log", "reconcile", "searches", "tables", "wake")

    def __init__(self) -> None:
        self.attach: dict[C, list[P]] = {}
        self.searches: list[tuple[Sequence[P], bool, float]] = []
        self.reconcile: list[SubscriptionState] = []
        self.tables: dict[TableOfPVs, list[P]] = {}
        self.wake: list[Waiter] = []
        self.log: list[tuple[Sequence[P], str]] = []
        self.deliver: list[Delivery] = []


class PVTable(Generic[P, C]):
    """All PVs of a client, and the circuits that carry them.

    Parameters
    ----------
    lock : context manager
        The lock that the table belongs to. The table only passes it on to `Announcements`, for
        callback threads.

    Attributes
    ----------
    pvs : dict of PVKey to PVState
    carriers : dict of CircuitKey to Carrier
        The circuits that take PVs. Not changed, but replaced: other threads look at it.
    backoff : ServerBackoff
    closed : str
        Why it was closed; empty if it was not.
    watches : dict of Target to None
        Told of all PVs that change. Changed in single steps, so they need no lock.
    """

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self._lock = lock
        self.pvs: dict[PVKey, P] = {}
        self.carriers: dict[CircuitKey, C] = {}
        self.backoff = ServerBackoff()
        self.closed = ""
        self.watches: dict[Target, None] = {}

    # ---- what users want

    def file(self, names: Iterable[str], priority: int, make: Callable[[str], P]) -> list[P]:
        """Add PVs for those names that have none yet; return the new ones."""
        new: list[P] = []
        for name in names:
            if (name, priority) not in self.pvs:
                pv = make(name)
                self.pvs[pv.key] = pv
                new.append(pv)
        return new

    def listen(
        self,
        pv: P,
        states: PVCallback | None,
        access: PVCallback | None,
        dead: Collection[PVCallback],
        known: bool,
    ) -> list[Delivery]:
        """Add callbacks of *pv*; if it was *known* before, return calls with its present state."""
        deliver: list[Delivery] = []
        if access is not None:
            if pv._access_callbacks is None:
                pv._access_callbacks = Announcements(pv, self._lock)
            pv._access_callbacks.add(access, dead)
            rights = pv.access_rights
            if known and rights is not None:
                deliver.append(pv._note_rights(pv._access_callbacks, rights, access))
        if states is not None:
            if pv._state_callbacks is None:
                pv._state_callbacks = Announcements(pv, self._lock)
            pv._state_callbacks.add(states, dead)
            if known:
                state = "connected" if pv.connected else "disconnected"
                deliver.append(pv._state_callbacks.note(state, listener=states))
        return deliver

    def stop_listening(self, pv: P, news: str, token: int) -> None:
        """Do not call the callback about 'state' or 'access_rights' with this token any more."""
        group = _announcements(pv, news)
        if group is not None:
            group.remove(token)

    @staticmethod
    def listeners(pv: P, news: str) -> dict[int, Function]:
        """Return the callbacks of *pv* with a token, about 'state' or 'access_rights'."""
        group = _announcements(pv, news)
        return {} if group is None else group.functions()

    @staticmethod
    def subscription(pv: P, form: Form, new: SubscriptionState) -> SubscriptionState:
        """Return the subscription of *pv* in this form; add *new* if there is none."""
        found = find_subscription(pv._subscriptions, form)
        if found is None:
            found = new
            pv._subscriptions = (*pv._subscriptions, new)
        return found

    @staticmethod
    def enlist(pvs: Iterable[P], table: TableOfPVs) -> None:
        """Have *table* told about the connections of its PVs."""
        alone = (table,)
        for pv in pvs:
            pv._tables = (*pv._tables, table) if pv._tables else alone

    @staticmethod
    def strike(pvs: Iterable[P], table: TableOfPVs) -> None:
        """Tell *table* nothing more about them."""
        for pv in pvs:
            pv._tables = tuple(one for one in pv._tables if one is not table)

    @staticmethod
    def at_rest(pv: P) -> bool:
        """Tell whether *pv* must be announced before it can connect. Needs no lock."""
        return pv._phase in _AT_REST

    def announced(self, pvs: Iterable[P], now: float) -> Steps[P, C]:
        """Note the announcement of PVs: those that are new or idle are searched."""
        steps: Steps[P, C] = Steps()
        searched: list[P] = []
        for pv in pvs:
            if pv._phase in _AT_REST:
                pv._phase = PVPhase.SEARCHING
                pv._since = now
                searched.append(pv)
        steps.searches.append((searched, False, 0.0))
        return steps

    def rest(self, pvs: Sequence[P], now: float) -> list[P]:
        """Have those of *pvs* rest that are searched but may be idle; return all that are idle."""
        for pv in pvs:
            if pv._phase is PVPhase.SEARCHING and pv._may_idle and not pv._waiters:
                self._unlink(pv, PVPhase.IDLE, now)
        return [pv for pv in pvs if pv._phase is PVPhase.IDLE]

    def watch(self, pv: P, waiter: Waiter) -> None:
        """Have *waiter* called when something has happened to *pv*."""
        if pv._waiters is None:
            pv._waiters = []
        pv._waiters.append(waiter)

    def unwatch(self, pv: P, waiter: Waiter) -> None:
        """Do not call *waiter* any more."""
        if pv._waiters is not None and waiter in pv._waiters:
            pv._waiters.remove(waiter)

    # ---- from the search to a circuit

    def missing(self, address: Address, keys: Iterable[PVKey], now: float) -> list[CircuitKey]:
        """List the circuits that would have to be made for PVs that were found."""
        if self.closed or self.backoff.pause(address, now):
            return []
        wanted = dict.fromkeys(priority for _, priority in keys)
        return [(address, one) for one in wanted if (address, one) not in self.carriers]

    def found(
        self,
        address: Address,
        keys: Iterable[PVKey],
        made: Mapping[CircuitKey, C],
        problem: str,
        now: float,
    ) -> Steps[P, C]:
        """Give PVs to circuits.

        Parameters
        ----------
        address : tuple of (str, int)
            The server that has them.
        keys : iterable of PVKey
        made : dict of CircuitKey to Carrier
            Circuits that were made for them. Those that are not in the steps are not needed:
            another thread has made the same.
        problem : str
            Why others could not be made; empty if all were made.
        now : float
        """
        steps: Steps[P, C] = Steps()
        left: list[P] = []
        searched: defaultdict[int, list[P]] = defaultdict(list)  # by priority
        delay = self.backoff.pause(address, now)
        if problem:
            delay = self.backoff.note(address, Loss.USELESS, problem, now, 0.0, now)
        for key in () if self.closed else keys:
            pv = self.pvs[key]
            if pv._phase is PVPhase.SEARCHING:
                searched[key[1]].append(pv)
        for priority, pvs in searched.items():
            where = address, priority
            carrier = self.carriers.get(where) or made.get(where)
            if carrier is None:
                left += pvs
                for pv in pvs:
                    pv._server = address
            else:
                self.carriers = {**self.carriers, where: carrier}
                steps.attach[carrier] = pvs
        steps.searches.append((left, False, delay))
        return steps

    def attached(self, carrier: C, channels: Mapping[P, CarriedChannel[C]]) -> Steps[P, C]:
        """Note that a circuit has taken PVs and made these channels for them."""
        steps: Steps[P, C] = Steps()
        for pv, channel in channels.items():
            channel.carrier = carrier
            pv._channel = channel
            pv._server = carrier.address
            pv._phase = PVPhase.FOUND
            self._wake(pv, steps)
        return steps

    # ---- what happens on a circuit

    def created(self, carrier: C, pvs: Iterable[P], now: float) -> Steps[P, C]:
        """Note that PVs are connected: subscribe again, wake the waiters."""
        steps: Steps[P, C] = Steps()
        for pv in self._changed(carrier, pvs, "connected", steps):
            pv._since = now
            self._wake(pv, steps)
            for sub in pv._subscriptions:
                if sub.wanted:
                    sub._begin()
                    steps.reconcile.append(sub)
        return steps

    def lost(
        self, carrier: C, pvs: Sequence[P], reason: str, loss: Loss, now: float
    ) -> Steps[P, C]:
        """Note that PVs have lost their channels, for *reason*: search again."""
        steps: Steps[P, C] = Steps()
        lost = self._changed(carrier, pvs, "disconnected", steps)
        for pv in lost:
            self._unlink(pv, PVPhase.SEARCHING, now)
            if self.closed:
                self._wake(pv, steps)
        if pvs:
            up = carrier.time_up(now)
            delay = self.backoff.note(carrier.address, loss, reason, carrier.begun, up, now)
            if not self.closed:
                steps.searches.append((lost, True, delay))
        return steps

    def responsive(self, carrier: C, pvs: Iterable[P], responds: bool) -> Steps[P, C]:
        """Note that the server of connected PVs has stopped responding, or resumed."""
        steps: Steps[P, C] = Steps()
        news = "connected" if responds else "disconnected"
        for pv in self._changed(carrier, pvs, news, steps):
            self._wake(pv, steps)
        return steps

    def idle(self, carrier: C, pv: P, now: float) -> Steps[P, C]:
        """Note that the channel of *pv* was cleared; if it is needed again, it is searched."""
        steps: Steps[P, C] = Steps()
        if self._changed(carrier, (pv,), "disconnected", steps, "idle"):
            needed = bool(pv._waiters) or pv._wanted
            self._unlink(pv, PVPhase.SEARCHING if needed else PVPhase.IDLE, now)
            if needed:
                steps.searches.append(((pv,), False, 0.0))
        return steps

    def circuit_over(self, key: CircuitKey, carrier: C, now: float) -> bool:
        """Note that a circuit takes no more PVs; return False if that was noted before."""
        if self.carriers.get(key) is not carrier:
            return False
        self.carriers = {where: one for where, one in self.carriers.items() if where != key}
        self.backoff.over(carrier.address, carrier.time_up(now))
        return True

    def close(self, reason: str) -> Steps[P, C]:
        """Close, for *reason*: from now on no PV is searched. May be called again."""
        steps: Steps[P, C] = Steps()
        self.closed = self.closed or reason
        for pv in self.pvs.values():
            for table in pv._tables:
                steps.tables.setdefault(table, [])
        steps.wake += (waiter for pv in self.pvs.values() for waiter in pv._waiters or ())
        return steps

    def abandon(self, reason: str) -> None:
        """Note that all connections belong to another process."""
        self.closed = reason
        for pv in self.pvs.values():
            pv._channel = None
        for table in {table for pv in self.pvs.values() for table in pv._tables}:
            table.abandon()

    def _changed(
        self, carrier: C, pvs: Iterable[P], news: str, steps: Steps[P, C], log: str = ""
    ) -> list[P]:
        """Notify the callbacks of those PVs that are still on this circuit; return these PVs."""
        changed: list[P] = []
        for pv in pvs:
            channel = pv._channel
            if channel is None or channel.carrier is not carrier:
                continue
            changed.append(pv)
            rights = channel.access_rights
            if news == "connected" and pv._access_callbacks is not None and rights is not None:
                steps.deliver.append(pv._note_rights(pv._access_callbacks, rights))
            if pv._state_callbacks is not None:
                steps.deliver.append(pv._state_callbacks.note(news))
            for table in pv._tables:
                steps.tables.setdefault(table, []).append(pv)
        steps.log.append((changed, log or news))
        if changed:
            steps.deliver += self.watch_news(changed)
        return changed

    def watch_news(self, pvs: Sequence[P]) -> list[Delivery]:
        """Return what to deliver when *pvs*, which may be many, have changed."""
        return [(watch, pvs) for watch in list(self.watches)]

    @staticmethod
    def _unlink(pv: P, phase: PVPhase, now: float) -> None:
        pv._since = now
        pv._phase = phase
        pv._channel = None  # last, so that nothing reads a phase from before

    @staticmethod
    def _wake(pv: P, steps: Steps[P, C]) -> None:
        if pv._waiters is not None:
            steps.wake += pv._waiters
            pv._waiters = None

    # ---- for people

    def failure(self, pv: P) -> Failure | None:
        """Return the last failure of the server of *pv*."""
        return self.backoff.get(pv._server)

    def why_not_connected(self, pv: P, timeout: float | None, now: float) -> str:
        """Tell why *pv* is not connected after *timeout* seconds; empty if it was not found."""
        channel, server, failure = pv._channel, pv._server, self.failure(pv)
        after = waited("after", timeout)
        if channel is not None:
            carrier, phase = channel.carrier, pv._describe(now)
            text = f"{pv.name!r} was found but is not connected {after}: {phase}"
            if not carrier.time_up(now):
                return text
            return f"{text}; {carrier.describe_last_heard(now)}"
        if server is None or failure is None or failure.when < pv._since:
            return ""
        host, port = server
        return (
            f"{pv.name!r} is not connected {after}: found at {host}:{port}, but it "
            f"failed {now - failure.when:.1f} s ago: {failure}; searching again"
        )
