"""The connection of a PV: what it knows of its channel, and its monitor.

Everything that `_args` holds comes from here: the facts of the connection, the updates of the
monitor (taken apart when they are asked for), and what `_pv` reads.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ... import _locks
from ..._errors import CaprotoError, CaprotoValueError
from .._waiting import OneShot
from ..client import Context
from ..client._reentry import refusal
from ._attributes import Attributes
from ._callbacks import NO_ENTRIES, Monitor, first_entries, guarded
from ._channels import Channel, Facts, channels_of
from ._values import FORMS, Known, decode, decode_scalar, family

#: A PV with fewer elements than this is monitored by default.
AUTOMONITOR_MAXLENGTH = 65536
#: Seconds to wait for a connection if nothing else is said.
DEFAULT_CONNECTION_TIMEOUT = 2.0
#: VALUE | ALARM.
_DEFAULT_MASK = 5

#: The keywords of each callback, known or not.
KEYS: Final = (
    "pvname", "value", "char_value", "status", "ftype", "chid", "host", "count", "nelm", "type",
    "typefull", "access", "write_access", "read_access", "severity", "timestamp", "posixseconds",
    "nanoseconds", "precision", "units", "enum_strs", "monitor_delta", "upper_disp_limit",
    "lower_disp_limit", "upper_alarm_limit", "lower_alarm_limit", "lower_warning_limit",
    "upper_warning_limit", "upper_ctrl_limit", "lower_ctrl_limit",
)  # fmt: skip

if TYPE_CHECKING:
    from ._values import Response
_EMPTY: Final = dict.fromkeys(KEYS)
#: What is known of a PV before anything came; never changed.
_NOTHING: Final[Known] = {}


class Connection(Attributes):
    """A PV without its calls: see `PV` for the arguments.

    A program may have very many, so they are small: what few have is an attribute of the class
    until it is set.
    """

    __slots__ = (
        "__dict__", "__weakref__", "_attached", "_channel", "_connection", "_entries", "_facts",
        "_known", "_latest", "_mask", "_monitor", "_monitored", "_puts", "_teller", "connected",
        "form", "pvname",
    )  # fmt: skip

    #: Kept, not used.
    verbose: bool = False
    monitor_delta: float | None = None
    #: Seconds to wait for a connection, where a call has no time of its own.
    connection_timeout: float = DEFAULT_CONNECTION_TIMEOUT
    #: Whether the last put with ``use_complete`` has finished; None if there was none.
    put_complete: bool | None = None
    #: The most elements that reads and the monitor ask for; 0 for all.
    _most = 0
    _on_connection: list[Callable[..., object]] | None = None
    _on_access: list[Callable[..., object]] | None = None
    #: Filled when a connection has been told, for calls that wait.
    _arrived: tuple[OneShot, ...] = ()
    #: Whether an update came before the callbacks about the connection.
    _missed = False

    _default: ClassVar[Context | None] = None

    @classmethod
    def default_context(cls) -> Context:
        """Return the Context that all PVs share which were given none; made at its first use.

        Raises
        ------
        ReentrantCallError
            In a signal handler or finalizer that interrupts this call while it takes over a new
            Context.
        """
        found = Connection._default
        if found is not None and not found.closed:  # as those of the parent are after a fork
            return found
        if _locks.held(_default_lock):
            raise refusal("PV.default_context")
        new = Context()  # outside the lock: it looks up names, and starts what Contexts need
        with _default_lock:
            found = Connection._default
            if found is None or found.closed:
                Connection._default = new
                return new
        new.disconnect(wait=False)  # another thread, or a signal handler, was quicker
        return found

    def __init__(
        self,
        pvname: str,
        callback: Callable[..., object] | Iterable[Callable[..., object]] | None = None,
        form: str = "time",
        verbose: bool = False,
        auto_monitor: bool | int | None = None,
        count: int | None = None,
        connection_callback: Callable[..., object] | None = None,
        connection_timeout: float | None = None,
        access_callback: Callable[..., object] | None = None,
        monitor_delta: float | None = None,
        *,
        context: Context | None = None,
    ) -> None:
        if form not in FORMS:
            form = form.lower()
            if form not in FORMS:
                raise CaprotoValueError(f"form must be one of {', '.join(FORMS)}, not {form!r}")
        self.pvname = pvname = pvname.strip()
        self.form = form
        self.connected = False
        self._entries = first_entries(callback)
        self._facts: Facts | None = None  # those that the callbacks know, and of which connection
        self._connection: object = None
        self._known = _NOTHING  # the value, and what came with it; replaced whole
        self._latest: Response | None = None  # an update that is not taken apart yet
        self._puts = 0  # of the channel, when the latest value came
        self._mask: bool | int | None = auto_monitor
        self._monitor: Monitor | None = None
        self._monitored: int | None = None  # the mask in use
        self._teller: int | None = None  # the ident of the thread that tells callbacks of events
        if verbose:
            self.verbose = verbose
        if count:
            self._most = count
        if connection_callback is not None:
            self._on_connection = [connection_callback]
        if connection_timeout is not None:
            self.connection_timeout = connection_timeout
        if access_callback is not None:
            self._on_access = [access_callback]
        if monitor_delta is not None:
            self.monitor_delta = monitor_delta
        self._channel: Channel = channels_of(context or self.default_context()).channel(pvname)
        self._attached = True
        self._channel.add(self)
        if self._channel.facts is not None:
            self.catch_up()

    def __del__(self) -> None:
        monitor = getattr(self, "_monitor", None)
        if monitor is not None:
            monitor.end()

    @property
    def context(self) -> Context:
        """The Context that it is used in."""
        return self._channel.channels.context

    @property
    def connection_callbacks(self) -> list[Callable[..., object]]:
        """The callbacks about connections: a list to change or to replace."""
        if self._on_connection is None:
            self._on_connection = []
        return self._on_connection

    @connection_callbacks.setter
    def connection_callbacks(self, value: list[Callable[..., object]]) -> None:
        self._on_connection = value

    @property
    def access_callbacks(self) -> list[Callable[..., object]]:
        """The callbacks about access rights: a list to change or to replace."""
        if self._on_access is None:
            self._on_access = []
        return self._on_access

    @access_callbacks.setter
    def access_callbacks(self, value: list[Callable[..., object]]) -> None:
        self._on_access = value

    # ---- connecting

    def catch_up(self) -> None:
        """Tell the callbacks what has happened to the channel; one thread at a time, in order.

        Another thread that comes meanwhile leaves its news to the first one.
        """
        with self._channel.channels.lock:
            facts, connection = self._news()
            if self._teller is not None or (
                facts is self._facts and connection is self._connection
            ):
                return
            self._teller = threading.get_ident()
        try:
            while self._tell_next():
                pass
        except BaseException:  # Ctrl-C in a callback
            self._teller = None
            raise

    def _news(self) -> tuple[Facts | None, object]:
        channel = self._channel
        return (channel.facts, channel.connection) if self._attached else (None, None)

    def _tell_next(self) -> bool:
        """Take over one change of the channel, and tell the callbacks; False if there is none."""
        with self._channel.channels.lock:
            old, (new, connection) = self._facts, self._news()
            if connection is not self._connection and old is not None:
                new = connection = None  # first the loss
            elif new is old:
                self._teller = None
                return False
            if new is None:
                self._forget()
            self._facts, self._connection = new, connection
        if new is None:
            self._tell_connection(False)
            for function in list(self._on_access or ()):
                guarded(function, (False, False), {"pv": self}, self.pvname)
            return True
        self._tell_access()
        if old is None:
            self._tell_connection(True)
            self._use(connection)
        return True

    def _use(self, connection: object) -> None:
        """Begin to use a connection that the callbacks know."""
        with self._channel.channels.lock:
            # It may be lost by now, or let go of by a callback.
            if self._connection is not connection:
                return
            self.connected = True
            missed, arrived = self._missed, self._arrived
            if missed:
                self._missed = False
            if arrived:
                self._arrived = ()
        for box in arrived:
            box.answered(None)
        if missed:
            self.run_callbacks()
        if self._wanted_mask() is not None:
            if self._entries and self._channel.metadata is None:
                self._channel.channels.fetch_metadata(self._channel, self)
            else:
                with contextlib.suppress(CaprotoError):  # the Context was closed, for example
                    self.start_monitor()

    def _tell_access(self) -> None:
        for function in list(self._on_access or ()):
            rights = self.read_access, self.write_access
            guarded(function, rights, {"pv": self}, self.pvname)

    def _tell_connection(self, conn: bool) -> None:
        for function in list(self._on_connection or ()):
            keywords = {"pvname": self.pvname, "conn": conn, "pv": self}
            guarded(function, (), keywords, self.pvname)

    def wait_for_connection(self, timeout: float | None = None) -> bool:
        """Wait for the connection; return whether there is one.

        Parameters
        ----------
        timeout : float, optional
            Seconds. Default: `connection_timeout`.
        """
        if self.connected:
            return True
        if not self._attached:
            return False
        seconds = self.connection_timeout if timeout is None else max(0.0, timeout)
        end = time.monotonic() + float(seconds)
        try:
            # Not for the callback thread, which may be the one that waits here.
            self._channel.pv.wait_for_connection(timeout=seconds)
        except CaprotoError:
            return self.connected
        self._channel.look()
        return self._wait_until_told(end)

    def _wait_until_told(self, end: float) -> bool:
        """Wait while another thread tells the callbacks of the connection."""
        if self._teller == threading.get_ident():
            return self._facts is not None  # a callback about the connection waits for it
        with self._channel.channels.lock:
            if self.connected:
                return True
            box = OneShot()
            self._arrived = (*self._arrived, box)
        if not box.wait(max(0.0, end - time.monotonic())):
            with self._channel.channels.lock:
                self._arrived = tuple(one for one in self._arrived if one is not box)
        return self.connected

    def connect(self, timeout: float | None = None) -> bool:
        """Connect again after a `disconnect`; return whether it is connected."""
        if not self._attached:
            self._attached = True
            self._channel.add(self)
            self.catch_up()
        return self.wait_for_connection(timeout)

    def reconnect(self) -> bool:
        """Connect again; return whether it is connected."""
        return self.connect()

    def force_connect(
        self, pvname: str | None = None, chid: object = None, conn: bool = True
    ) -> None:
        """Connect again after a `disconnect`."""
        if conn:
            self.connect()

    def disconnect(self, deepclean: bool = True) -> None:
        """Drop all callbacks and the monitor; the PV stays disconnected until `connect`."""
        self._attached = False
        self._entries = NO_ENTRIES
        self._on_connection = self._on_access = None
        with self._channel.channels.lock:
            self._forget()
            self._missed = False
        self._stop_monitor()
        self._channel.remove(self)
        cache = self._channel.channels.cache
        if cache.get((self.pvname, self.form)) is self:
            cache.pop((self.pvname, self.form), None)

    def _forget(self) -> None:
        """Forget what belongs to a connection. Locked."""
        self._facts = self._connection = self._latest = None
        self.connected = False
        self._known = _NOTHING

    # ---- the monitor

    @property
    def auto_monitor(self) -> bool | int | None:
        """Whether updates are wanted, or the mask that is; None before the first connection."""
        if self._mask is None and self._facts is not None:
            return self._facts.nelm < AUTOMONITOR_MAXLENGTH
        return self._mask

    @auto_monitor.setter
    def auto_monitor(self, value: bool | int | None) -> None:
        self._mask = value
        if self._facts is not None:
            self.start_monitor()
        elif not value:
            self._stop_monitor()

    @property
    def auto_monitor_mask(self) -> int | None:
        """The mask in use; None without a monitor."""
        return self._monitored

    def clear_auto_monitor(self) -> None:
        """End the monitor."""
        self.auto_monitor = False

    def _wanted_mask(self) -> int | None:
        wanted = self.auto_monitor
        if wanted is True:
            return _DEFAULT_MASK
        return int(wanted) or None if wanted else None

    def start_monitor(self) -> None:
        """Make the subscription what the settings ask for."""
        mask, facts = self._wanted_mask(), self._facts
        if facts is None:  # later, with the connection
            return
        data_type = family(self.form, facts.native)
        with self._channel.channels.lock:
            if mask == self._monitored and mask is not None:
                return
            old, self._monitor = self._monitor, None
            self._monitored = mask if self._attached else None
            mask = self._monitored
        _end(old)
        if mask is None:
            return
        try:
            subscription = self._channel.pv.subscribe(data_type, self._most or None, mask=mask)
            new: Monitor | None = Monitor(self, subscription)
        except BaseException:  # the Context was closed, or Ctrl-C
            self._monitored = None
            raise
        with self._channel.channels.lock:
            if self._monitored == mask and self._monitor is None:
                self._monitor, new = new, None
        if new is not None:  # another thread was quicker, or it was switched off meanwhile
            _end(new)
            self._channel.rest()

    def _stop_monitor(self) -> None:
        with self._channel.channels.lock:
            old, self._monitor, self._monitored = self._monitor, None, None
        _end(old)

    @property
    def _auto_monitor_sub(self) -> _AutoMonitor | None:
        """What ophyd clears; None without a monitor."""
        return None if self._monitor is None else _AutoMonitor(self)

    @_auto_monitor_sub.setter
    def _auto_monitor_sub(self, value: None) -> None:
        self._stop_monitor()

    def take_update(self, response: Response) -> None:
        """Keep an update, and call the callbacks; in the callback thread of the circuit."""
        if self._monitored is None:
            return
        if not self._channel.confirming:
            self._puts = self._channel.puts
        self._latest = response
        if not self._entries:
            return
        if not self.connected and self._comes_early():
            return
        self.run_callbacks()

    def _comes_early(self) -> bool:
        """Tell whether callbacks must hear of the connection first, from another thread."""
        with self._channel.channels.lock:
            self._missed = not self.connected
            return self._missed

    def _apply(self) -> None:
        """Take the latest update apart."""
        while True:
            response, facts = self._latest, self._facts
            if response is None or facts is None:
                return
            found = self._taken_apart(response, facts)
            with self._channel.channels.lock:
                if self._latest is response:  # else a newer one has come
                    self._known = {**self._known, **found}
                    self._latest = None

    def latest_value(self) -> Any:
        """Return the value of the latest update, or a later one that was read; None if none came.

        A scalar is not kept apart from its message, because most PVs are never asked for more.
        """
        latest, facts = self._latest, self._facts
        if latest is not None and facts is not None:
            if facts.nelm == 1:
                return decode_scalar(latest)
            self._apply()
        return self._known.get("value")

    def _is_fresh(self) -> bool:
        """Tell whether the latest update is as good as a read: no put has finished since."""
        return self._monitored is not None and self._puts == self._channel.puts

    def _keep(self, found: Known) -> None:
        """Keep what was read, in place of earlier updates."""
        self._apply()
        with self._channel.channels.lock:
            self._known = {**self._known, **found}

    @property
    def _args(self) -> Known:
        """A copy of all that is known; ophyd reads it."""
        self._apply()
        facts = self._facts
        if facts is None:
            return {**_EMPTY, "pvname": self.pvname, "monitor_delta": self.monitor_delta}
        return {
            **_EMPTY,
            **facts.keywords(self.form),
            **self._channel.last_metadata,
            **self._known,
            "pvname": self.pvname,
            "monitor_delta": self.monitor_delta,
            "chid": self.chid,
        }

    def _taken_apart(self, response: Response, facts: Facts) -> Known:
        found = decode(response, facts.nelm == 1)
        if facts.nelm != 1:
            found["count"] = len(found["value"])
        return found

    @property
    def chid(self) -> Chid:
        """Stands for the C library's channel id; leads back to the PV."""
        return Chid(self)

    def run_callbacks(self) -> None:
        """Call all callbacks with what is known."""
        raise NotImplementedError


_default_lock = _locks.Lock()


def _after_fork() -> None:
    """Replace the lock: a thread of the parent may have held it."""
    global _default_lock
    _default_lock = _locks.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


class Chid:
    """Stands for a channel id of the C library.

    Attributes
    ----------
    value : int
    """

    __slots__ = ("_reference", "value")

    def __init__(self, pv: Connection) -> None:
        self._reference = weakref.ref(pv)
        self.value = id(pv)

    @property
    def pv(self) -> Connection | None:
        """The PV; None if it is gone."""
        return self._reference()

    def __int__(self) -> int:
        return self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chid | int) and int(other) == self.value

    def __hash__(self) -> int:
        return hash(self.value)


class _AutoMonitor:
    """The monitor of a PV, as ophyd sees it."""

    __slots__ = ("_pv",)

    def __init__(self, pv: Connection) -> None:
        self._pv = pv

    def clear(self) -> None:
        """End it."""
        self._pv.clear_auto_monitor()


def _end(monitor: Monitor | None) -> None:
    if monitor is not None:
        monitor.end()
