"""Context: the user's way to PVs. What happens to these is in ``_home``."""
from __future__ import annotations

import functools
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NoReturn, cast

from ... import _imports
from ..._addresses import Address
from ..._client.announcements import PVCallback
from ..._client.arguments import (
    DEFAULT,
    DataType,
    Timeout,
    check_address,
    check_configuration,
    check_data_type,
    check_default_timeout,
    check_keys,
    check_names,
    check_priority,
    check_timeout,
    check_whole,
    listed,
)
from ..._client.callbacks import listener
from ..._client.pvs import CircuitKey, PVKey, PVPhase, carrier_of
from ..._environment import ClientConfiguration
from ..._errors import (
    CaprotoError,
    CaprotoKeyError,
    CaprotoNotImplementedError,
    CaprotoTypeError,
    CaprotoValueError,
)
from ..._numbers import counted
from ..._os.sockets import user_name
from ..._protocol.dbr import AccessRights
from ..._protocol.message import text_payload
from .. import _lifetime
from .._waiting import Deadline
from ._circuit_manager import VirtualCircuitManager
from ._home import ClientPV, Home
from ._pv import PV
from ._reentry import inside, refusal
from ._shared_broadcaster import SharedBroadcaster

# Imported where they are used: most scripts need neither, and start sooner.
if TYPE_CHECKING:
    from ..._client.explanation import Explanation
    from ..._client.results import ReadResults, WriteResults
    from ._connection_watch import ConnectionWatch
    from ._table import Table

#: Seconds that a disconnect waits for callbacks that are running.
CLOSE_TIME = 2.0
#: Default timeout in seconds, unless the environment variable says otherwise.
DEFAULT_TIMEOUT, TIMEOUT_VARIABLE = 2.0, "CAPROTO_DEFAULT_TIMEOUT"


class Context:
    """A client: finds PVs, connects them and keeps them connected, in background threads.

    Parameters
    ----------
    broadcaster : SharedBroadcaster, optional
        Searches for the PVs. Default: a new one, closed with the Context.
    timeout : float or None, optional
        Default timeout of all operations in seconds, 2.0 unless the environment variable
        CAPROTO_DEFAULT_TIMEOUT says otherwise; None means to wait without end.
    host_name, client_name : str, optional
        Sent to servers, which may have access rules for them. Default: this host, this user.
    max_workers : int
        Number of threads per circuit that run callbacks. With more than one, their order is only
        the order of starting.
    configuration : ClientConfiguration, optional
        The network, instead of the environment. With a *broadcaster* it applies to circuits
        only (conn_tmo, size of arrays); searches follow the configuration of the broadcaster.
    flow_control : bool
        Whether to ask a server to hold updates while callbacks are too slow. The last value always
        arrives. With False, memory grows instead.

    Attributes
    ----------
    broadcaster : SharedBroadcaster
    host_name, client_name : str
    timeout : float or None
    log : logging.Logger
        At DEBUG it reports from time to time how many searches are still unanswered.

    Raises
    ------
    CaprotoTypeError, CaprotoValueError
        The message names the argument.

    Notes
    -----
    A Context ends with ``disconnect()``, at the end of a ``with`` block, when the garbage collector
    finds that nothing refers to it or its PVs any more, or when the interpreter exits.
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
        check_configuration(configuration)
        max_workers = check_whole("max_workers", max_workers)
        if max_workers < 1:
            raise CaprotoValueError(f"max_workers must be 1 or more, not {max_workers!r}")
        host_name = socket.gethostname() if host_name is None else host_name
        client_name = user_name() if client_name is None else client_name
        text_payload("host_name", host_name)  # raises if it is not text
        text_payload("client_name", client_name)
        timeout = _default_timeout() if timeout is DEFAULT else check_timeout(timeout, lasting=True)
        owned = broadcaster is None
        broadcaster = broadcaster or SharedBroadcaster(configuration=configuration)
        self._home = Home(
            self,
            broadcaster,
            owned,
            configuration or broadcaster.configuration,
            timeout=timeout,
            host_name=host_name,
            client_name=client_name,
            max_workers=max_workers,
            flow_control=flow_control,
        )
        self.broadcaster = broadcaster
        self.configuration = self._home.configuration
        self.host_name = host_name
        self.client_name = client_name
        self.log = self._home.log
        self._home.searches.add_searcher(self._home)
        _lifetime.register(self._home)

    @property
    def timeout(self) -> float | None:
        """Default timeout of operations in seconds; None waits without end. Can be set."""
        return self._home.timeout

    @timeout.setter
    def timeout(self, value: float | None) -> None:
        self._home.timeout = check_timeout(value, lasting=True)

    @property
    def closed(self) -> bool:
        """Whether this Context was disconnected."""
        return self._home.closed

    @property
    def circuit_managers(self) -> dict[CircuitKey, VirtualCircuitManager]:
        """All circuits, by address and priority (a copy)."""
        circuits = self._home.table.carriers
        return {key: circuit.manager for key, circuit in circuits.items()}

    def get_pvs(
        self,
        *names: str,
        priority: int = 0,
        connection_state_callback: Callable[[PV, str], object] | None = None,
        access_rights_callback: Callable[[PV, AccessRights], object] | None = None,
        timeout: Timeout = DEFAULT,
    ) -> list[PV]:
        """Get PVs by name, at once; they are searched and connected in the background.

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
            For a name that is not a str, empty or too long, a priority out of range, or a
            callback that cannot be called. No PV is made then.
        """
        wanted = check_names(names, "get_pvs")
        on_state, on_access = connection_state_callback, access_rights_callback
        states = None if on_state is None else listener(on_state, "f(pv, state)")
        access = None if on_access is None else listener(on_access, "f(pv, access_rights)")
        priority = check_priority(priority)
        timeout = check_default_timeout(timeout)
        self._home.check_open()
        listening = states is not None or access is not None
        table = self._home.table
        new: list[ClientPV] = []
        if listening or not all((name, priority) in table.pvs for name in wanted):
            if inside(self._home.locks):
                raise refusal("Context.get_pvs")
            now = self._home.now()
            with self._home.lock:
                self._home.check_open()
                new = table.file(
                    wanted, priority, lambda name: PV(name, priority, self._home, timeout, now)
                )
        added: list[PVCallback] = []
        try:
            pvs = [table.pvs[name, priority] for name in wanted]
            if listening:
                unknown = set(new)
                for pv in dict.fromkeys(pvs):
                    self._home.listen(pv, states, access, added, known=pv not in unknown)
            self._home.announce([pv for pv in pvs if pv._phase is PVPhase.NEW])
            return cast("list[PV]", pvs)
        except BaseException:  # Ctrl-C: if the user repeats the call, they would be called twice
            for one in added:
                one.cancel()
            raise

    def get_pv(
        self,
        name: str,
        *,
        priority: int = 0,
        connection_state_callback: Callable[[PV, str], object] | None = None,
        access_rights_callback: Callable[[PV, AccessRights], object] | None = None,
        timeout: Timeout = DEFAULT,
    ) -> PV:
        """Get one PV by its name; see :meth:`get_pvs`.

        Parameters
        ----------
        name : str
        priority, connection_state_callback, access_rights_callback, timeout
            As for :meth:`get_pvs`.

        Returns
        -------
        PV
        """
        try:
            (pv,) = self.get_pvs(
                name,
                priority=priority,
                connection_state_callback=connection_state_callback,
                access_rights_callback=access_rights_callback,
                timeout=timeout,
            )
            return pv
        except CaprotoError as error:
            raise error.with_traceback(None) from None  # users need not see our frames

    def watch_connections(self, function: Callable[[list[PV]], object]) -> ConnectionWatch:
        """Call *function* with the PVs that change: one call for all that change together.

        For thousands of PVs this takes less time and memory than callbacks for each of them.

        Parameters
        ----------
        function : callable
            Called as ``f(pvs)``; see `ConnectionWatch`.

        Raises
        ------
        CaprotoTypeError, ContextDisconnectedError
            If *function* cannot be called so, or the Context was disconnected.
        """
        _imports.check_reentry("Context.watch_connections")
        from ._connection_watch import ConnectionWatch

        return ConnectionWatch(self._home, function)

    def read(
        self, *names: str, data_type: DataType | None = None, timeout: Timeout = DEFAULT
    ) -> ReadResults:
        """Read many PVs at once: one send and one round trip for each server.

        Parameters
        ----------
        *names : str
            Any number of names. PVs that are new are searched and connected first.
        data_type : ChannelType, int or str, optional
            As for :meth:`PV.read`. Default: ``'time'``, the own type of each channel with alarm and
            time stamp, so that the results have these.
        timeout : float or None, optional
            Seconds for everything, searches and connections included; None waits without end.

        Returns
        -------
        ReadResults
            A dict with the response of each name, or with its exception: one of those that
            :meth:`PV.read` raises. In the order of *names*; a name given twice is read once.
            See its ``ok``, ``errors``, ``to_dict()``, ``to_pandas()`` and ``to_csv()``.

        Raises
        ------
        ContextDisconnectedError
            If the Context was disconnected before.
        CaprotoTypeError, CaprotoValueError
            For a wrong argument; nothing is sent then.
        """
        check_names(names, "read")
        data_type = "time" if data_type is None else data_type
        check_data_type(data_type)
        deadline = self._deadline(timeout)
        self._home.check_reentry("Context.read")
        _imports.check_reentry("Context.read")
        from ._many import read_many

        return read_many(self.get_pvs(*dict.fromkeys(names)), data_type, deadline)

    def write(self, values: Mapping[str, object], *, timeout: Timeout = DEFAULT) -> WriteResults:
        """Write to many PVs at once, and wait until the servers have finished.

        Parameters
        ----------
        values : mapping of str to value
            A value for each name, as for :meth:`PV.write`. None is sent twice.
        timeout : float or None, optional
            Seconds for everything, searches and connections included; None waits without end.

        Returns
        -------
        WriteResults
            A dict with the confirmation of each name, or with its exception: one of those that
            :meth:`PV.write` raises. In the order of *values*. All that can be written is written,
            whatever becomes of the others.

        Raises
        ------
        ContextDisconnectedError
            If the Context was disconnected before.
        CaprotoTypeError, CaprotoValueError
            For a wrong argument; nothing is sent then.
        """
        if not isinstance(values, Mapping):
            raise CaprotoTypeError(f"values must be a dict of name -> value, not {values!r}")
        check_names(values)
        deadline = self._deadline(timeout)
        self._home.check_reentry("Context.write")
        _imports.check_reentry("Context.write")
        from ._many import write_many

        return write_many(self.get_pvs(*values), values, deadline)

    def table(
        self,
        names: Iterable[str],
        *,
        data_type: str = "time",
        dtype: object = float,
        count: int = 1,
        priority: int | Iterable[int] = 0,
        timeout: Timeout = DEFAULT,
    ) -> Table:
        """Make a table of many PVs: their values, alarms and times are columns of numpy.

        Parameters
        ----------
        names : iterable of str
            Any number of names, each once. The PVs are searched and connected in the background.
        data_type : str
            What comes with the values: ``'time'`` for alarm and time stamp, ``'status'`` for the
            alarm, ``'native'`` for nothing.
        dtype : type, or sequence or mapping of types
            Type of the values, to which the servers convert: ``float``, ``int`` (int32), ``str``,
            one of the types of numpy that Channel Access has, a name such as ``'enum'``, or a
            plain `ChannelType`. One for all, one for each name, or a mapping of name to type.
        count : int
            Number of elements: 1 for scalars. PVs that have fewer cannot be read.
        priority : int, or iterable of int
            0 to 99: one for all, or one for each name. Each priority has circuits of its own.
        timeout : float or None, optional
            Default timeout of the table in seconds. Default: that of the Context.

        Returns
        -------
        Table

        Raises
        ------
        ContextDisconnectedError
            If the Context was disconnected.
        CaprotoTypeError, CaprotoValueError
            For a wrong argument.
        CaprotoNotImplementedError
            If numpy is not installed.
        """
        wanted = check_names(listed("names", names))
        timeout = check_default_timeout(timeout)
        _imports.check_reentry("Context.table")
        try:
            from ._table import Table, find_pvs
        except ImportError as error:
            raise CaprotoNotImplementedError(
                f"table() needs numpy ({error}): install it ('pip install numpy'), or use read(), "
                "write() and subscriptions, which do not need it"
            ) from None
        from ..._client.columns import TableForm

        form = TableForm(wanted, data_type, dtype, count)
        pvs = find_pvs(self.get_pvs, wanted, priority)
        return Table(self._home, form, pvs, timeout)

    def _deadline(self, timeout: Timeout) -> Deadline:
        return Deadline(self.timeout if timeout is DEFAULT else check_timeout(timeout))

    @property
    def pvs(self) -> dict[PVKey, PV]:
        """All PVs, by name and priority (a copy)."""
        return cast("dict[PVKey, PV]", self._home.table.pvs.copy())  # in one step: it needs no lock

    def reconnect(self, keys: Iterable[PVKey]) -> None:
        """Search at once for those of some PVs that are not connected.

        Parameters
        ----------
        keys : iterable of (str, int)
            Names and priorities of PVs of this Context.

        Raises
        ------
        CaprotoKeyError
            If this Context has no such PV.
        CaprotoTypeError
            If one of *keys* is not a pair of name and priority.
        """
        pvs = []
        for name, priority in check_keys(keys):
            pv = self._home.table.pvs.get((name, priority))
            if pv is None:
                raise CaprotoKeyError(f"{name!r} (priority {priority}) is not a PV of this Context")
            pvs.append(pv)
        self._home.check_open()
        self._home.announce([pv for pv in pvs if self._home.table.at_rest(pv)])
        self.broadcaster.search_now()

    def get_circuit_manager(self, address: Address, priority: int) -> VirtualCircuitManager:
        """Return the circuit to a server at a priority; connect to it if there is none.

        Parameters
        ----------
        address : tuple of (str, int)
        priority : int
            0 to 99.

        Raises
        ------
        ContextDisconnectedError
            If the Context was disconnected.
        CaprotoNetworkError
            If the system has no socket for it.
        CaprotoTypeError, CaprotoValueError
            If *address* or *priority* cannot be those of a circuit.
        """
        address, priority = check_address(address), check_priority(priority)
        self._home.check_open()
        self._home.check_reentry("Context.get_circuit_manager")
        return self._home.circuit_to(address, priority).manager

    def explain(self, pv: PV | str) -> Explanation:
        """Explain why a PV is not connected: its state in every detail, with hints.

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
        found = self._find(pv)
        self._home.check_reentry(f"Context.explain of {found.name!r}")
        now = self._home.now()
        circuit, channel = carrier_of(found), found.channel
        _imports.check_reentry("Context.explain")
        from ..._client.explanation import Explanation

        return Explanation(
            name=found.name,
            state=found._describe(now),
            connected=found.connected,
            search=self._home.searches.report(self._home, found.key),
            server=found.server,
            last_failure=self._home.table.failure(found),
            circuit=circuit.report(channel) if circuit and channel else None,
            configuration=self.configuration,
            since=found._since,
            now=now,
        )

    def _find(self, pv: PV | str) -> PV:
        if not isinstance(pv, PV | str):
            raise CaprotoTypeError(f"pv must be a PV or the name of one, not {pv!r}")
        found: PV | None
        if isinstance(pv, str):
            priorities = [priority for name, priority in self.pvs if name == pv]
            found = self.pvs[pv, min(priorities)] if priorities else None
        else:
            found = pv if self._home.table.pvs.get(pv.key) is pv else None
        if found is None:
            name = pv if isinstance(pv, str) else pv.name
            raise CaprotoKeyError(f"{name!r} is not a PV of this Context; create it with get_pvs()")
        return found

    def disconnect(self, *, wait: bool = True) -> None:
        """Close all circuits and end all threads. May be called twice.

        Requests that were sent before still reach the servers; callbacks that are queued are
        dropped, except connection state callbacks, which are called with 'disconnected'.

        Parameters
        ----------
        wait : bool
            Whether to wait for the threads to end, but for a callback that is running only a
            moment.
        """
        reason = "the Context was disconnected"
        if wait:
            self._home.check_reentry("Context.disconnect")
            self._home.join(self._home.close(reason), Deadline(CLOSE_TIME))
        elif self._home.must_not_wait():
            self._home.searches.note(functools.partial(self._home.close, reason))
        else:
            self._home.close(reason)

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.disconnect()

    def __repr__(self) -> str:
        if self.closed:
            return f"<Context: closed ({self._home.table.closed})>"
        phases = Counter(pv._phase for pv in self.pvs.values())
        searching = phases[PVPhase.NEW] + phases[PVPhase.SEARCHING]
        return (
            f"<Context: {counted(searching, 'search', 'searches')} pending, "
            f"{counted(len(self.circuit_managers), 'circuit')}, {counted(phases.total(), 'PV')} "
            f"({phases[PVPhase.IDLE]} idle)>"
        )

    def _repr_html_(self) -> str:
        """Show it in a notebook, with its circuits."""
        from ..._client.tables import html_table

        rows = [
            (f"{host}:{port}", str(priority), "yes" if circuit.connected else "no",
             str(len(circuit.pvs)), str(len(circuit.subscriptions)))
            for ((host, port), priority), circuit in self.circuit_managers.items()
        ]  # fmt: skip
        titles = ("server", "priority", "connected", "PVs", "subscriptions")
        return html_table(repr(self).strip("<>"), titles, rows)

    def __reduce__(self) -> NoReturn:
        raise CaprotoTypeError(
            "a Context cannot be copied or pickled, because it has threads and connections; make "
            "one where it is used, in each process"
        )


def _default_timeout() -> float | None:
    text = os.environ.get(TIMEOUT_VARIABLE, DEFAULT_TIMEOUT)
    try:
        return check_timeout(float(text), lasting=True)
    except ValueError:
        raise CaprotoValueError(
            f"{TIMEOUT_VARIABLE} must be a number of seconds, 0 or more, not {text!r}"
        ) from None
