"""Monitors of a table: subscriptions of all its PVs that follow their connections.

Importing this module imports numpy.
"""
from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy

from ..._client.arguments import check_timeout, check_whole
from ..._client.callbacks import Callbacks
from ..._client.column_updates import AllUpdates, ColumnUpdates, LatestUpdates, Updates
from ..._client.columns import Rows
from ..._client.operations import failure, refusal
from ..._client.pvs import channel_of
from ..._client.table_snapshot import TableSnapshot
from ..._client.table_state import TableState
from ..._errors import CaprotoError, CaprotoTypeError, CaprotoValueError
from ..._numbers import counted
from ..._protocol.commands import ErrorResponse
from ..._protocol.message import DataMessage
from .. import _lifetime, _waiting
from .._service_thread import ServiceThread
from .._waiting import Alarm, Deadline
from . import _reentry
from ._circuit import ClientCircuit
from ._home import ClientPV, Home

if TYPE_CHECKING:
    from numpy.typing import NDArray

M = TypeVar("M", bound="TableMonitor")


class TableSubscriptions:
    """The subscriptions of one monitor of a table. They follow the connections of its PVs.

    They do not refer to the monitor, and end when nothing refers to it any more.

    Parameters
    ----------
    home : Home
    state : TableState
        Of the table.
    pvs : sequence of PV
        Its PVs, in the order of the rows.
    updates : ColumnUpdates
        Takes the updates.
    at_end : callable, optional
        Called when there can be no more updates; more than once, perhaps.
    """

    def __init__(
        self,
        home: Home,
        state: TableState,
        pvs: Sequence[ClientPV],
        updates: ColumnUpdates,
        at_end: Callable[[], object] = lambda: None,
    ) -> None:
        self.updates = updates
        self._home = home
        self._state = state
        self._pvs = pvs
        self._at_end = at_end
        # Changed in single steps, by the readers of circuits.
        self._circuits: dict[ClientCircuit, None] = {}
        self._end_note: object = None

    @property
    def circuits(self) -> list[ClientCircuit]:
        """Those with subscriptions."""
        return list(self._circuits)

    def start(self, monitor: TableMonitor) -> None:
        """Subscribe to all PVs that are connected; to the others as soon as they are.

        Until `close`, or until nothing refers to *monitor* any more.
        """
        self._home.check_open()
        self._end_note = self._home.searches.note_at_end_of(monitor, self._close_now)
        self._state.followers[self] = None
        self._subscribe_all(numpy.arange(len(self._pvs)), self._pvs)
        self._home.announce([pv for pv in self._pvs if self._home.table.at_rest(pv)])

    def close(self) -> None:
        """End the subscriptions; inside another call of ours, after it."""
        if _reentry.must_not_wait(self._home.locks):
            self._home.searches.note(self._close_now)
        else:
            self._close_now()

    def _close_now(self) -> None:
        self.context_closed()
        for circuit in self.circuits:
            circuit.note(functools.partial(self._cancel, circuit))
        self._state.followers.pop(self, None)
        self._end_note = None  # last: if this is interrupted, `Table.close` or the end repeats it

    # ---- for background threads

    def connections(self, rows: Rows, pvs: Sequence[ClientPV]) -> None:
        """Note that the connection of *pvs* in these rows has changed."""
        self._subscribe_all(rows, pvs)
        self.updates.connections(rows)

    def context_closed(self) -> None:
        """Wake the callers that wait: no more updates can come."""
        self._at_end()
        self.updates.close()

    def _subscribe_all(self, rows: Rows, pvs: Sequence[ClientPV]) -> None:
        """Have the readers of their circuits subscribe to those that are connected."""
        groups: dict[ClientCircuit, tuple[list[ClientPV], list[int]]] = {}
        for row, pv in zip(rows.tolist(), pvs, strict=True):
            channel = channel_of(pv)
            if channel is not None and channel.connected:
                group = groups.setdefault(channel.carrier, ([], []))
                group[0].append(pv)
                group[1].append(row)
        for circuit, (there, where) in groups.items():
            circuit.note(functools.partial(self._subscribe, circuit, there, where))

    def _subscribe(
        self, circuit: ClientCircuit, pvs: Sequence[ClientPV], rows: Sequence[int]
    ) -> None:
        """Subscribe, in the reader thread of the circuit."""
        if circuit not in self._circuits:
            for one in list(self._circuits):
                if one.session.over:
                    self._circuits.pop(one, None)
            self._circuits[circuit] = None
            if isinstance(self.updates, AllUpdates):
                circuit.recorders = (*circuit.recorders, self.updates)
        refused = circuit.act(
            lambda session: session.columns.subscribe(self.updates, pvs, rows), Deadline(None)
        )
        for row, error in refused:
            self.updates.refuse(row, error)
        if self.updates.closed:  # meanwhile
            self._cancel(circuit)

    def _cancel(self, circuit: ClientCircuit) -> None:
        """End the subscriptions on one circuit, in its reader thread."""
        circuit.act(lambda session: session.columns.cancel(self.updates), Deadline(None))
        self._circuits.pop(circuit, None)
        mine: object = self.updates
        circuit.recorders = tuple(one for one in circuit.recorders if one is not mine)


class TableMonitor:
    """What users hold of a monitor, of all kinds: wait for updates, end them.

    Parameters
    ----------
    home, state, pvs, updates, at_end
        As for `TableSubscriptions`.

    Attributes
    ----------
    table : object
        The table, which lives until its monitors are closed; set by it.
    """

    table: object = None

    def __init__(
        self,
        home: Home,
        state: TableState,
        pvs: Sequence[ClientPV],
        updates: ColumnUpdates,
        at_end: Callable[[], object] = lambda: None,
    ) -> None:
        self._home = home
        self._pvs = pvs
        self._updates = updates
        self._subscriptions = TableSubscriptions(home, state, pvs, updates, at_end)

    def start(self) -> None:
        """Subscribe to all PVs that are connected; to the others as soon as they are."""
        self._subscriptions.start(self)

    def close(self) -> None:
        """End the subscriptions. May be called twice, from any thread.

        A signal handler or finalizer that interrupts another call may call it, too; the
        subscriptions end after that call then.
        """
        self._subscriptions.close()
        self.table = None

    @property
    def closed(self) -> bool:
        """Whether it was closed, or its Context."""
        return self._updates.closed or self._home.closed

    def __enter__(self: M) -> M:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise CaprotoTypeError(
            f"a {type(self).__name__} cannot be copied or pickled, because it has connections; "
            "pass on what comes from it"
        )

    # ---- waiting

    def _wait(self, ready: Callable[[], bool], deadline: Deadline) -> bool:
        """Wait until *ready*, the end, or *deadline*; return whether it is ready."""
        self._home.check_reentry(f"{type(self).__name__}: a wait for updates")
        while not ready() and not self.closed:
            waiter = Alarm()
            if self._updates.wait_for(waiter, ready):
                woken = waiter.wait_until(deadline)
                _reentry.enter(self._home.locks)  # a signal handler may have made calls meanwhile
                if not woken:
                    break
        return ready()

    def _check_reentry(self, call: str) -> None:
        """Raise ReentrantCallError if this thread is inside another call of ours."""
        if _reentry.must_not_wait(self._home.locks):
            raise _reentry.refusal(f"{type(self).__name__}.{call}")


class Live(TableMonitor):
    """The latest updates of a table, made by :meth:`Table.monitor`.

    Used as ``with table.monitor() as live:``, or until `close`. It also ends when nothing refers
    to it any more. Any thread may use it.
    """

    _updates: LatestUpdates

    def __init__(
        self,
        home: Home,
        state: TableState,
        pvs: Sequence[ClientPV],
        mask: int,
        at_end: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(home, state, pvs, LatestUpdates(state, mask), at_end)
        self._seen = 0

    @property
    def version(self) -> int:
        """A number that grows with each change."""
        return self._updates.version

    def snapshot(self) -> TableSnapshot:
        """Return a consistent copy of all columns at this moment.

        Returns
        -------
        TableSnapshot
            Of a PV that is not connected, or that the server refuses, the value is the last one
            that came, ``ok`` is False, and ``errors`` says why.
        """
        self._check_reentry("snapshot")
        return self._snapshot()[0]

    def _snapshot(self) -> tuple[TableSnapshot, int]:
        snapshot, version = self._updates.snapshot(self._error)
        self._seen = max(self._seen, version)
        return snapshot, version

    def _error(self, row: int, reason: DataMessage | ErrorResponse | CaprotoError) -> CaprotoError:
        pv = self._pvs[row]
        if isinstance(reason, CaprotoError):
            return failure(pv, "subscription", reason, pv.server)
        return refusal(pv, "subscription", reason, reason.sender_address)  # type: ignore[arg-type]

    def changed(self, since: int) -> NDArray[numpy.intp]:
        """Return the rows that have changed after a version.

        Parameters
        ----------
        since : int
            A `version` of before: take it before the snapshot that you compare with.

        Raises
        ------
        CaprotoTypeError
            If *since* is not a whole number.

        Returns
        -------
        numpy.ndarray of intp
            In ascending order. A change is an update, a refusal, or a connection that was lost or
            made.
        """
        since = check_whole("since", since)
        self._check_reentry("changed")
        return self._updates.changed(since)

    def wait(self, timeout: float | None = None, *, since: int | None = None) -> bool:
        """Wait until something has changed.

        Parameters
        ----------
        timeout : float or None
            Seconds; None waits without end.
        since : int, optional
            A `version`. By default that of the last `snapshot`, or of the last wait.

        Returns
        -------
        bool
            Whether something has changed: False after the timeout, or when it was closed.

        Raises
        ------
        ContextDisconnectedError
            If the Context was disconnected, so that nothing can change any more.
        CaprotoTypeError, CaprotoValueError
            For a wrong argument.
        """
        version = self._seen if since is None else check_whole("since", since)
        deadline = Deadline(check_timeout(timeout))
        found = self._wait(lambda: self._updates.version > version, deadline)
        if found:
            self._seen = max(self._seen, self._updates.version)
        else:
            self._home.check_open()
        return found

    def column(self, name: str) -> NDArray[Any]:
        """Return a copy of one column, which costs less than a snapshot.

        Parameters
        ----------
        name : str
            'values', 'timestamps', 'severity' or 'status'.

        Raises
        ------
        CaprotoValueError
            If it is none of these.
        """
        if name not in ("values", "timestamps", "severity", "status"):
            raise CaprotoValueError(
                f"{name!r} is not a column: 'values', 'timestamps', 'severity' or 'status'"
            )
        self._check_reentry("column")
        return self._updates.column(name)

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"version {self.version}"
        return f"<Live updates of {counted(len(self._pvs), 'PV')}, {state}>"


class LiveCallback(Live):
    """Calls a function with the latest updates of a table, in a thread of its own.

    Parameters
    ----------
    home, state, pvs, mask
        As for `Live`.
    function : callable
        Called as ``function(snapshot, changed)``.
    period : float
        Seconds between two calls, at least.
    """

    def __init__(
        self,
        home: Home,
        state: TableState,
        pvs: Sequence[ClientPV],
        mask: int,
        function: Callable[[TableSnapshot, Rows], object],
        period: float,
    ) -> None:
        self._over = _waiting.Ending()
        super().__init__(home, state, pvs, mask, self._over.set)
        self._period = period
        self._callbacks = Callbacks()
        token = self._callbacks.new_token()
        self._entry = self._callbacks.make_entry(
            token, function, True, True, lambda _reference: None
        )
        self._callbacks.append(self._entry)
        self._thread = ServiceThread(self._run, "ca-callback table")
        _lifetime.register(self)

    def start(self) -> None:
        """Subscribe, and begin to call the function."""
        super().start()
        # Left to another thread: Ctrl-C must not interrupt the start of a thread.
        self._home.searches.note(self._thread.start)

    def _run(self) -> None:
        since = 0
        next_call = _waiting.now()
        # A period may be longer than a thread can wait.
        while not self._over.wait(min(max(0.0, next_call - _waiting.now()), threading.TIMEOUT_MAX)):
            if not self._wait(lambda since=since: self.version > since, Deadline(None)):  # type: ignore[misc]
                continue
            next_call = _waiting.now() + self._period
            snapshot, version = self._snapshot()
            changed = self.changed(since)
            since = version
            if not self._over.is_set():
                self._call(snapshot, changed)

    def _call(self, snapshot: TableSnapshot, changed: Rows) -> None:
        function = self._entry.reference()
        assert function is not None
        try:
            function(snapshot, changed)
        except BaseException as error:
            self._callbacks.failed(
                self._entry.token, self._entry.name, error, "table", self._home.log,
                self._home.now(),
            )

    def _at_exit(self, deadline: Deadline) -> None:
        self.close()
        self._thread.join(deadline)

    def _after_fork(self) -> None:
        self._over.set()


class Recording(TableMonitor):
    """All updates of a table as they come, made by :meth:`Table.record`. An iterator.

    Each step gives what has come since the step before as `Updates`. It ends after `close`, when
    the rest was taken, or when nothing has come for *timeout* seconds. The subscriptions end with
    `close`, or when nothing refers to it any more. One thread at a time may take steps; Ctrl-C in
    a step loses no update.

    Updates that wait take memory. Beyond some tens of megabytes, or some seconds, the servers are
    asked to hold the updates of the circuit, as when callbacks are slow. They send the latest value
    of each PV when the others were taken.
    """

    _updates: AllUpdates

    def __init__(
        self,
        home: Home,
        state: TableState,
        pvs: Sequence[ClientPV],
        mask: int,
        timeout: float | None,
    ) -> None:
        super().__init__(home, state, pvs, AllUpdates(state, mask, home.now))
        self._timeout = timeout

    def __iter__(self) -> Iterator[Updates]:
        return self

    def __next__(self) -> Updates:
        """Return what has come, at least one update.

        Raises
        ------
        ContextDisconnectedError
            If the Context was disconnected, and the rest was taken.
        """
        while (batch := self._next_batch()) is not None:
            try:
                return batch.pop()  # last, in one step: Ctrl-C must lose nothing
            except IndexError:  # a signal handler that interrupted this has taken it
                continue
        self._home.check_open()
        raise StopIteration

    def _next_batch(self) -> list[Updates] | None:
        """Return a list with the next `Updates`, which are taken out of it; None at the end."""
        self._wait(lambda: self._updates.ready, Deadline(self._timeout))
        batch = self._updates.cut()
        for circuit in self._subscriptions.circuits:
            if circuit.session.flow.held:
                circuit.wake()
        if batch is not None:
            self._updates.join(batch)
        return batch

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Recording of {counted(len(self._pvs), 'PV')}, {state}>"
