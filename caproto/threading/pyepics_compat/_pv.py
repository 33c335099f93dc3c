"""PV: a process variable as programs written for pyepics use it: callbacks, reading, writing."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from ..._errors import CaprotoError, CaprotoValueError, WriteError
from ..._protocol.dbr import ChannelType
from ..._protocol.status import CAStatus
from ..client import Batch
from ._callbacks import NO_ENTRIES, Entries, guarded, with_entry, without_entry
from ._channels import Put
from ._connection import Connection
from ._errors import AccessRightsException
from ._text import describe, describe_briefly
from ._values import CONTROL, FORMS, TIME, Known, decode, encode, family, text, type_name

if TYPE_CHECKING:
    from ..._protocol.commands import ErrorResponse, WriteNotifyResponse
    from ._values import Response

#: Seconds that reading an attribute may take that is not known yet.
ATTRIBUTE_TIME = 1.0
#: Which form carries an attribute.
_FORM_OF: Final = {"time": "time", "control": "ctrl"}
_ENUM: Final = int(ChannelType.ENUM)


class PV(Connection):
    """A process variable.

    Parameters
    ----------
    pvname : str
        Its name; blanks around it are dropped.
    callback : callable or sequence of callables, optional
        Called with keywords at each update.
    form : {'time', 'native', 'ctrl'}
        The family of types of reads and of the monitor.
    verbose : bool
        Kept, not used.
    auto_monitor : bool or int, optional
        Whether to subscribe, or the mask to subscribe with. Default: up to 65,536 elements.
    count : int, optional
        The most elements that reads and the monitor ask for.
    connection_callback : callable, optional
        Called as ``f(pvname=, conn=, pv=)``.
    connection_timeout : float, optional
        Seconds to wait for a connection, where a call has no time of its own.
    access_callback : callable, optional
        Called as ``f(read_access, write_access, pv=)``.
    monitor_delta : float, optional
        Kept, not used.
    context : Context, optional
        Default: `PV.default_context`.
    """

    __slots__ = ()

    # ---- callbacks on values

    @property
    def callbacks(self) -> Entries:
        """The callbacks and their further keywords, by index."""
        if self._entries is NO_ENTRIES:  # which all PVs share
            self._entries = {}
        return self._entries

    @callbacks.setter
    def callbacks(self, value: Entries) -> None:
        self._entries = value

    def add_callback(
        self,
        callback: Callable[..., object] | None = None,
        index: int | None = None,
        run_now: bool = False,
        with_ctrlvars: bool = True,
        **kw: Any,
    ) -> int | None:
        """Call *callback* at each update, with keywords; return its index.

        Parameters
        ----------
        callback : callable
        index : int, optional
            Its place in the order; it replaces the one that is there. Default: a new one.
        run_now : bool
            Whether to call it once now, with a value that is read if none is known.
        with_ctrlvars : bool
            Whether to fetch units, limits and so on now, if connected.
        **kw
            Further keywords for *callback*.
        """
        if not callable(callback):
            return None
        with self._channel.channels.lock:
            self._entries, index = with_entry(self._entries, callback, index, kw)
        if self.connected:
            if with_ctrlvars:
                self._fetch_control(ATTRIBUTE_TIME)
            if run_now:
                self.get(as_string=True)
                self.run_callback(index)
        return index

    def remove_callback(self, index: int | None = None) -> None:
        """Call this one no more."""
        with self._channel.channels.lock:
            self._entries = without_entry(self._entries, index)

    def clear_callbacks(
        self, with_access_callback: bool = False, with_connect_callback: bool = False
    ) -> None:
        """Drop all callbacks on values, and others if wanted."""
        self._entries = NO_ENTRIES
        if with_access_callback:
            self.access_callbacks = []
        if with_connect_callback:
            self.connection_callbacks = []

    def run_callbacks(self) -> None:
        """Call all callbacks with what is known."""
        keywords = self._keywords()
        for index in sorted(self._entries):
            self._run(index, keywords)

    def run_callback(self, index: int) -> None:
        """Call one callback with what is known."""
        self._run(index, self._keywords())

    def _keywords(self) -> Known:
        """All that is known, with the value as text."""
        known = self._args
        if self._facts is not None:
            known["char_value"] = self._formed(known["value"], True, True, known)
        return known

    def _run(self, index: int, keywords: Known) -> None:
        entry = self._entries.get(index)
        if entry is not None:
            function, kw = entry
            guarded(function, (), {**keywords, **kw, "cb_info": (index, self)}, self.pvname)

    # ---- reading

    def get(
        self,
        count: int | None = None,
        as_string: bool = False,
        as_numpy: bool = True,
        timeout: float | None = None,
        with_ctrlvars: bool = False,
        use_monitor: bool = True,
    ) -> Any:
        """Return the value; None if there is none in time.

        Parameters
        ----------
        count : int, optional
            The most elements. Default: all.
        as_string : bool
            Whether to return text.
        as_numpy : bool
            Whether arrays are numpy's; else lists.
        timeout : float, optional
            Seconds. Default: half a second, more for long arrays.
        with_ctrlvars : bool
            Whether to fetch units, limits and so on, too.
        use_monitor : bool
            Whether the latest update will do; else the server is asked.
        """
        if use_monitor and self.connected and count is None and as_numpy and self._is_fresh():
            if not as_string and not with_ctrlvars:
                value = self.latest_value()
                if value is not None:
                    return value
        found = self.get_with_metadata(
            count, as_string, as_numpy, timeout, with_ctrlvars, None, use_monitor
        )
        return None if found is None else found["value"]

    def get_with_metadata(
        self,
        count: int | None = None,
        as_string: bool = False,
        as_numpy: bool = True,
        timeout: float | None = None,
        with_ctrlvars: bool = False,
        form: str | None = None,
        use_monitor: bool = True,
        as_namespace: bool = False,
    ) -> Any:
        """Return the value with all that comes with it; None if there is none in time.

        Parameters
        ----------
        count, as_string, as_numpy, timeout, with_ctrlvars, use_monitor
            As for `get`.
        form : {'time', 'native', 'ctrl'}, optional
            The family of types to read. Default: that of the PV.
        as_namespace : bool
            Whether to return a namespace; else a dict.
        """
        form = self.form if form is None else form.lower()
        if form not in FORMS:
            raise CaprotoValueError(f"form must be one of {', '.join(FORMS)}, not {form!r}")
        if self._facts is None and not self.wait_for_connection(timeout):
            return None
        found = self._from_cache(count, form) if use_monitor else None
        if found is None:
            found = self._read(count, form, timeout)
        facts = self._facts
        if found is None or facts is None:
            return None
        if as_string or with_ctrlvars:
            self._fetch_control(timeout or ATTRIBUTE_TIME)
            if with_ctrlvars:
                found = {**self._args, **found, **self._channel.last_metadata}
        found["value"] = self._formed(found["value"], as_string, as_numpy)
        return SimpleNamespace(**found) if as_namespace else found

    def _from_cache(self, count: int | None, form: str) -> Known | None:
        """Copy what is known, if that is enough."""
        if form != self.form or not self._is_fresh():
            return None
        found = self._keywords()
        value, facts = found["value"], self._facts
        if value is None or facts is None:
            return None
        if facts.nelm != 1 and count:
            if count > len(value):
                return None
            found["value"] = value[:count]
        return found

    def _read(self, count: int | None, form: str, timeout: float | None) -> Known | None:
        """Ask the server; also keep the answer."""
        puts = self._channel.puts
        found, facts = self._asked(count, form, timeout), self._facts
        if found is None or facts is None:
            return None
        if not count or facts.nelm == 1:  # else it is not what others ask for
            self._keep(found)
            self._puts = puts
        found.pop("count", None)
        return found

    def _asked(self, count: int | None, form: str, timeout: float | None) -> Known | None:
        """Ask the server; return what came with the answer, None if none came in time."""
        facts = self._facts
        if facts is None:
            return None
        if timeout is None:
            timeout = 0.5 + math.log10(max(1, facts.nelm))
        elements = min(count or self._most, facts.nelm) or None
        try:
            response = self._channel.pv.read(
                timeout=timeout, data_type=family(form, facts.native), data_count=elements
            )
        except CaprotoError:
            return None
        return self._taken_apart(response, facts)

    def read_in(
        self, batch: Batch, count: int | None, callback: Callable[[Response], object]
    ) -> None:
        """Add a read to *batch*; *callback* gets the response."""
        facts = self._facts
        if facts is None:  # lost since
            return
        most = min(count or self._most, facts.nelm)
        batch.read(
            self._channel.pv, callback, family(self.form, facts.native), most or None
        )

    def shown(self, response: Response, as_string: bool = False, as_numpy: bool = True) -> Any:
        """Return the value in *response*, as `get` does."""
        facts = self._facts
        if facts is None:
            return None
        if as_string:
            self._fetch_control(ATTRIBUTE_TIME)
        return self._formed(decode(response, facts.nelm == 1)["value"], as_string, as_numpy)

    def _formed(
        self, value: Any, as_string: bool, as_numpy: bool, known: Known | None = None
    ) -> Any:
        facts = self._facts
        if as_string and facts is not None:
            known = self._channel.last_metadata if known is None else known
            name = type_name(self.form, facts.native)
            return text(value, facts.native, name, known.get("precision"), known.get("enum_strs"))
        return value.tolist() if not as_numpy and hasattr(value, "tolist") else value

    def get_ctrlvars(self, timeout: float = 5, warn: bool = True) -> Known | None:
        """Read units, limits and so on from the server; None without a connection."""
        return self._read_some("ctrl", (*CONTROL, *TIME), timeout)

    def get_timevars(self, timeout: float = 5, warn: bool = True) -> Known | None:
        """Read alarm and time stamp from the server; None without a connection."""
        return self._read_some("time", TIME, timeout)

    def _read_some(
        self, form: str, names: tuple[str, ...], timeout: float
    ) -> Known | None:
        """Ask the server for what comes with a value of *form*."""
        if self._facts is None and not self.wait_for_connection():
            return None
        found = self._asked(1, form, timeout)
        if found is None:
            return None
        if form == "ctrl":
            self._channel.keep_metadata({name: found[name] for name in CONTROL if name in found})
        wanted = {name: found[name] for name in names if name in found}
        self._keep({name: wanted[name] for name in TIME if name in wanted})
        return wanted

    def _fetch_control(self, timeout: float) -> None:
        """See to it that units, limits and so on are known."""
        if self._channel.metadata is None and self._facts is not None:
            self.get_ctrlvars(timeout)

    # ---- writing

    def put(
        self,
        value: object,
        wait: bool = False,
        timeout: float | None = 30.0,
        use_complete: bool = False,
        callback: Callable[..., object] | None = None,
        callback_data: object = None,
    ) -> int | None:
        """Write a value; return 1, -1 if there was no completion in time, None if not connected.

        Parameters
        ----------
        value : number, text, bytes, or a sequence
            Converted to the channel's type; of an array's elements what does not fit is dropped.
        wait : bool
            Whether to wait until the server has finished.
        timeout : float or None
            Seconds to wait; None waits without end.
        use_complete : bool
            Whether `put_complete` is to tell when the server has finished.
        callback : callable, optional
            Called as ``f(pvname=, ...)`` when the server has finished.
        callback_data : dict or object, optional
            Further keywords for *callback*; what is not a dict is passed as ``data``.

        Raises
        ------
        AccessRightsException
            If the access rights forbid it.
        CaprotoTypeError, CaprotoValueError
            If *value* cannot be converted.
        """
        if self._facts is None and not self.wait_for_connection():
            return None
        facts = self._facts
        if facts is None:
            return None
        if not facts.write_access:
            raise AccessRightsException(f"{self.pvname!r}: the access rights forbid writing")
        if facts.native == _ENUM and isinstance(value, str | bytes):
            self._fetch_control(ATTRIBUTE_TIME)
        data = encode(
            value, facts.native, facts.nelm, self._channel.last_metadata.get("enum_strs")
        )
        if use_complete or self.put_complete is not None:
            self.put_complete = False if use_complete else None
        if not (wait or use_complete or callback):
            self._channel.pv.write(data, wait=False, notify=False)
            return 1
        call = functools.partial(self._put_done, callback, callback_data)
        if not wait:
            done = functools.partial(self._put_confirmed, call)
            self._channel.pv.write(data, wait=False, notify=True, callback=done, timeout=timeout)
            return 1
        put = Put(self._channel)
        try:
            response = self._channel.pv.write(data, timeout=timeout, callback=put.passed)
            put.finished()
            call(response)
        except WriteError as error:  # pyepics does not tell, so nothing is raised
            self._channel.pv.log.warning("%s", error)
            call(None)
        except CaprotoError as error:
            self._channel.pv.log.debug("%s", error)
            return -1
        return 1

    def _put_confirmed(self, call: Callable[..., None], response: object) -> None:
        """Tell that the server has finished; in the callback thread."""
        with self._channel.channels.lock:
            self._channel.puts += 1
        call(response)

    def _put_done(
        self,
        callback: Callable[..., object] | None,
        callback_data: object,
        response: WriteNotifyResponse | ErrorResponse | None,
    ) -> None:
        """Tell that the server has finished."""
        if response is not None and response.status == CAStatus.ECA_TIMEOUT:
            return
        if self.put_complete is False:
            self.put_complete = True
        if callback is not None:
            more = callback_data if isinstance(callback_data, dict) else {"data": callback_data}
            guarded(callback, (), {"pvname": self.pvname, **more}, self.pvname)

    # ---- attributes

    @property
    def value(self) -> Any:
        """The value: `get` and `put`."""
        return self.get()

    @value.setter
    def value(self, value: Any) -> None:
        self.put(value)

    @property
    def char_value(self) -> Any:
        """The value as text."""
        return self.get(as_string=True)

    def attribute(self, family: str, name: str) -> Any:
        """Return one attribute; fetch it if it is not known."""
        known = self._args
        if known[name] is None and self._facts is not None:
            if family == "time" or (family == "control" and self._channel.metadata is None):
                self._read_some(_FORM_OF[family], (name,), ATTRIBUTE_TIME)
                known = self._args
        return known[name]

    @property
    def info(self) -> str | None:
        """All that is known, one attribute a line; None without a connection."""
        if not self.wait_for_connection():
            return None
        self.get(as_string=True)
        self._fetch_control(ATTRIBUTE_TIME)
        known = self._keywords()
        known["char_status"], known["char_severity"] = self.char_status, self.char_severity
        return describe(known, self._monitored is not None, len(self._entries))

    def poll(self, evt: float = 1e-4, iot: float = 1.0) -> None:
        """Let other threads run; nothing needs polling."""
        time.sleep(evt)

    def __repr__(self) -> str:
        return describe_briefly(self._args, self.connected)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PV) and other._channel is self._channel

    def __hash__(self) -> int:
        return hash(self.pvname)
