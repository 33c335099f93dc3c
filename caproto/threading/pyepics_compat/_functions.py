"""The functions of pyepics: one call, one PV or many. They keep their PVs for the next call."""

from __future__ import annotations

import datetime
import functools
import sys
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from ..._errors import CaprotoError, CaprotoTimeoutError, CaprotoValueError
from ..._numbers import counted
from ..client import Batch, Context
from ._channels import channels_of
from ._pv import PV
from ._values import FORMS

if TYPE_CHECKING:
    from ._values import Response


def get_pv(
    pvname: str,
    form: str = "time",
    connect: bool = False,
    context: Context | None = None,
    timeout: float = 5.0,
    connection_callback: Callable[..., object] | None = None,
    access_callback: Callable[..., object] | None = None,
    callback: Callable[..., object] | None = None,
    verbose: bool = False,
    count: int | None = None,
    auto_monitor: bool | int | None = None,
    monitor_delta: float | None = None,
) -> PV:
    """Return the PV of this name and form that all callers share.

    Parameters
    ----------
    pvname, form, connection_callback, access_callback, callback, verbose, count, auto_monitor, \
monitor_delta, context
        As for `PV`. Callbacks are added to a PV that exists; an unknown form means ``'time'``.
    connect : bool
        Whether to wait for the connection; if there is none in time, that is printed.
    timeout : float
        Seconds to wait.
    """
    form = str(form).lower()
    form = form if form in FORMS else "time"
    pvname = pvname.strip()
    channels = channels_of(context or PV.default_context())
    found: PV | None = channels.cache.get((pvname, form))
    ours = False
    if found is None:
        new = PV(
            pvname, callback, form, verbose, auto_monitor, count, connection_callback, None,
            access_callback, monitor_delta, context=channels.context,
        )  # fmt: skip
        with channels.lock:
            found = channels.cache.setdefault((pvname, form), new)
        ours = found is new
        if not ours:  # another thread has just made one
            new.disconnect()
    if not ours:
        _join(found, connection_callback, access_callback, callback, auto_monitor)
    if connect and not found.wait_for_connection(timeout):
        print(f"cannot connect to {pvname}")
    return found


def _join(
    pv: PV,
    connection_callback: Callable[..., object] | None,
    access_callback: Callable[..., object] | None,
    callback: Callable[..., object] | None,
    auto_monitor: bool | int | None,
) -> None:
    """Add callbacks to a PV that exists, and call them with its present state."""
    if connection_callback is not None:
        pv.connection_callbacks.append(connection_callback)
        if pv.connected:
            connection_callback(pvname=pv.pvname, conn=True, pv=pv)
    if access_callback is not None:
        pv.access_callbacks.append(access_callback)
        if pv.connected:
            access_callback(pv.read_access, pv.write_access, pv=pv)
    if callback is not None:
        pv.run_callback(pv.add_callback(callback) or 0)
    if auto_monitor and not pv.auto_monitor:
        pv.auto_monitor = auto_monitor


def caget(
    pvname: str,
    as_string: bool = False,
    count: int | None = None,
    as_numpy: bool = True,
    use_monitor: bool = True,
    timeout: float = 5.0,
    connection_timeout: float = 5.0,
    context: Context | None = None,
) -> Any:
    """Return the value of a PV; None if it is not connected or does not answer in time.

    That one cannot be connected is printed, as by `get_pv`; so do the other functions.
    """
    pv = get_pv(pvname, connect=True, context=context, timeout=connection_timeout)
    if not pv.connected:
        return None
    return pv.get(count, as_string, as_numpy, timeout, use_monitor=use_monitor)


def caput(
    pvname: str,
    value: Any,
    wait: bool = False,
    timeout: float = 60.0,
    connection_timeout: float = 5.0,
    context: Context | None = None,
) -> int | None:
    """Write to a PV; return 1, -1 if there was no completion in time, None if not connected."""
    pv = get_pv(pvname, connect=True, context=context, timeout=connection_timeout)
    if not pv.connected:
        return None
    return pv.put(value, wait, timeout)


def cainfo(
    pvname: str, print_out: bool = True, timeout: float = 5.0, connection_timeout: float = 5.0
) -> str | None:
    """Print all that is known about a PV, or return it as text."""
    pv = get_pv(pvname, connect=True, timeout=connection_timeout)
    if not pv.connected:
        return None
    pv.get(timeout=timeout)
    if not print_out:
        return pv.info
    print(pv.info)
    return None


#: The index of `camonitor` among the callbacks of a PV.
_MONITOR_INDEX = -999


def camonitor(
    pvname: str,
    writer: Callable[[str], object] | None = None,
    callback: Callable[..., object] | None = None,
    connection_timeout: float = 5.0,
    monitor_delta: float | None = None,
) -> None:
    """Call *callback* at each update of a PV, or write a line with *writer*."""
    pv = get_pv(pvname, connect=True, timeout=connection_timeout)
    if not pv.connected:
        return
    pv.get_ctrlvars()  # the first value is shown with its precision, too
    watch = _Watch(callback or _Writer(writer))
    pv.add_callback(watch, _MONITOR_INDEX, with_ctrlvars=False, run_now=True)
    if not pv.auto_monitor:
        pv.auto_monitor = True


class _Watch:
    """Calls a function at each update, but once only for the first value.

    That value may come twice: it is read, and it is the first update if the subscription is new.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function
        self._calls = 0
        self._first: tuple[object, object] | None = None

    def __call__(
        self, *, char_value: str | None = None, timestamp: float | None = None, **others: Any
    ) -> None:
        shown = timestamp, char_value
        self._calls += 1
        if self._calls == 1:
            self._first = shown
        elif self._calls == 2 and shown == self._first:
            return
        self._function(char_value=char_value, timestamp=timestamp, **others)


class _Writer:
    """Writes updates as lines."""

    def __init__(self, writer: Callable[[str], object] | None) -> None:
        self._writer = writer

    def __call__(
        self,
        pvname: str = "",
        char_value: Any = None,
        value: Any = None,
        timestamp: float | None = None,
        **_: object,
    ) -> None:
        moment = datetime.datetime.fromtimestamp(time.time() if timestamp is None else timestamp)
        shown = value if char_value is None else char_value
        line = f"{pvname} {moment:%Y-%m-%d %H:%M:%S.%f}"[:-1] + f" {shown}"
        if self._writer is None:
            sys.stdout.write(line + "\n")
        else:
            self._writer(line)


def camonitor_clear(pvname: str) -> None:
    """End what `camonitor` began; others that use the PV go on."""
    get_pv(pvname).remove_callback(_MONITOR_INDEX)


def caget_many(
    pvlist: Sequence[str],
    as_string: bool = False,
    as_numpy: bool = True,
    count: int | None = None,
    timeout: float = 1.0,
    connection_timeout: float = 5.0,
    conn_timeout: float | None = None,
    context: Context | None = None,
    raises: bool = False,
) -> list[Any]:
    """Return the values of many PVs, in order; None for those without an answer in time.

    Parameters
    ----------
    pvlist : sequence of str
    as_string, as_numpy, count, timeout
        As for `caget`.
    connection_timeout : float
        Seconds to wait for all connections.
    conn_timeout : float, optional
        Its old name.
    context : Context, optional
    raises : bool
        Whether to raise a timeout error instead of returning None.
    """
    pvs = [get_pv(name, context=context, auto_monitor=False) for name in pvlist]
    _wait_for_all(pvs, connection_timeout if conn_timeout is None else conn_timeout)
    responses = _read_all(pvs, count, timeout)
    missing = [pv.pvname for number, pv in enumerate(pvs) if number not in responses]
    if missing and raises:
        raise CaprotoTimeoutError(f"no answer in time from {', '.join(missing)}")
    return [
        pv.shown(responses[number], as_string, as_numpy) if number in responses else None
        for number, pv in enumerate(pvs)
    ]


def _read_all(pvs: Sequence[PV], count: int | None, timeout: float) -> dict[int, Response]:
    """Read those that are connected in one batch; return what comes in time, by position."""
    came: SimpleQueue[tuple[int, Response]] = SimpleQueue()
    end = time.monotonic() + float(timeout)
    wanted = [number for number, pv in enumerate(pvs) if pv.connected]
    try:
        with Batch(timeout=timeout) as batch:
            for number in wanted:
                pvs[number].read_in(batch, count, functools.partial(_keep, came, number))
    except CaprotoError:
        pass  # the others have been sent
    responses: dict[int, Response] = {}
    try:
        for _ in wanted:
            number, response = came.get(timeout=max(0.0, end - time.monotonic()))
            responses[number] = response
    except Empty:
        pass
    return responses


def _keep(came: SimpleQueue[tuple[int, Response]], number: int, response: Response) -> None:
    came.put((number, response))


def _wait_for_all(pvs: Sequence[PV], timeout: float) -> None:
    end = time.monotonic() + float(timeout)
    for pv in pvs:
        if not pv.connected:
            pv.wait_for_connection(max(0.0, end - time.monotonic()))


def caput_many(
    pvlist: Sequence[str],
    values: Sequence[object],
    wait: bool | str | None = False,
    connection_timeout: float = 5.0,
    put_timeout: float = 60,
) -> list[int]:
    """Write to many PVs; return 1 for each that was done, else -1.

    Parameters
    ----------
    pvlist : sequence of str
    values : sequence
    wait : {False, None, 'each', 'all'}
        Whether to wait for each put before the next one, or for all of them at the end.
    connection_timeout : float
        Seconds to wait for all connections.
    put_timeout : float
        Seconds to wait for completion.

    Raises
    ------
    CaprotoValueError
        If there are not as many values as names, or *wait* is something else.
    """
    if len(pvlist) != len(values):
        raise CaprotoValueError(
            f"{counted(len(pvlist), 'name')}, but {counted(len(values), 'value')}"
        )
    if wait not in (False, None, True, "each", "all"):
        raise CaprotoValueError(f"wait must be False, None, 'each' or 'all', not {wait!r}")
    pvs = [get_pv(name) for name in pvlist]
    _wait_for_all(pvs, connection_timeout)
    done: SimpleQueue[int] = SimpleQueue()
    results = [-1] * len(pvs)
    pending = set()
    for number, (pv, value) in enumerate(zip(pvs, values, strict=True)):
        if not pv.connected:
            continue
        if wait == "all":
            pv.put(value, callback=functools.partial(_finished, done, number), timeout=put_timeout)
            pending.add(number)
        else:
            results[number] = pv.put(value, wait == "each", put_timeout) or -1
    end = time.monotonic() + float(put_timeout)
    try:
        while pending:
            number = done.get(timeout=max(0.0, end - time.monotonic()))
            results[number] = 1
            pending.discard(number)
    except Empty:
        pass
    return results


def _finished(done: SimpleQueue[int], number: int, **_: object) -> None:
    done.put(number)


def poll(evt: float = 1e-5, iot: float = 1.0) -> None:
    """Let other threads run; nothing needs polling."""
    time.sleep(evt)
