"""Reads and writes that find the PV, do one thing, and hang up."""
from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from .._client.arguments import (
    DataType,
    check_count,
    check_data_type,
    check_names,
    check_timeout,
)
from .._environment import ClientConfiguration
from .._errors import CaprotoError, CaprotoTypeError, CaprotoValueError
from .._protocol.commands import ReadNotifyResponse, ReadResponse, WriteNotifyResponse
from .._protocol.dbr import ChannelType
from ..threading._waiting import Deadline
from ..threading.client import PV, Context

T = TypeVar("T")


def read(
    pv_name: str,
    *,
    data_type: DataType | None = None,
    data_count: int | None = None,
    timeout: float | None = 2.0,
    priority: int = 0,
    notify: bool = True,
    force_int_enums: bool = False,
    repeater: bool = True,
) -> ReadNotifyResponse | ReadResponse:
    """Read the value of a PV.

    Parameters
    ----------
    pv_name : str
        The name of the PV.
    data_type : ChannelType, int or str, optional
        Wanted type: a member, number or name (``'DBR_TIME_DOUBLE'``, ``'time_double'``), or one of
        ``'native' 'status' 'time' 'graphic' 'control'``. Default: the PV's own, but the names of
        the states of an enum.
    data_count : int, optional
        Wanted number of elements. Default: as many as the PV has now.
    timeout : float or None
        Seconds for everything; None waits without end.
    priority : int
        0 to 99. The server may give circuits of higher priority more of its time.
    notify : bool
        Use READ_NOTIFY. False uses the obsolete READ.
    force_int_enums : bool
        Whether to read an enum as its number.
    repeater : bool
        Whether to register with the repeater of this host, and to start one if there is none.

    Returns
    -------
    ReadNotifyResponse or ReadResponse

    Raises
    ------
    CaprotoTimeoutError
        If there was no reply; the message says in which phase, and for how long.
    ErrorResponseReceived
        If the server refused.
    CaprotoValueError, CaprotoTypeError
        For wrong arguments.
    """
    check_data_type(data_type)
    check_count(data_count)

    def ask(pv: PV, deadline: Deadline) -> ReadNotifyResponse | ReadResponse:
        return _read(pv, data_type, data_count, notify, force_int_enums, deadline)

    return _with_pv(pv_name, priority, timeout, repeater, ask)


def write(
    pv_name: str,
    data: object,
    *,
    notify: bool = False,
    data_type: DataType | None = None,
    metadata: None = None,
    timeout: float | None = 2.0,
    priority: int = 0,
    repeater: bool = True,
) -> WriteNotifyResponse | None:
    """Write a value to a PV.

    Parameters
    ----------
    pv_name : str
        The name of the PV.
    data : scalar, str, bytes, sequence or array
        The value; an enum may be given by the name of its state.
    notify : bool
        Whether to wait until the server has finished: the record, and all that it triggers.
    data_type : ChannelType, int or str, optional
        How to encode: a plain type. Default: the PV's own.
    metadata : None
        Plain types carry none, so anything else is refused.
    timeout : float or None
        Seconds for everything; None waits without end.
    priority : int
        0 to 99.
    repeater : bool
        As for `read`.

    Returns
    -------
    WriteNotifyResponse or None
        None without *notify*: then a refusal by the server goes unnoticed.

    Raises
    ------
    CaprotoTimeoutError
        If the PV was not found, or there was no confirmation in time. The write may still happen.
    ErrorResponseReceived
        If the server refused, or the access rights forbid writing.
    CaprotoValueError, CaprotoTypeError
        For wrong arguments, and if *data* cannot be sent in this type.
    """
    check_data_type(data_type)
    _check_metadata(metadata)

    def send(pv: PV, deadline: Deadline) -> WriteNotifyResponse | None:
        return _write(pv, data, data_type, notify, deadline)

    return _with_pv(pv_name, priority, timeout, repeater, send)


def read_write_read(
    pv_name: str,
    data: object,
    *,
    data_type: DataType | None = None,
    metadata: None = None,
    timeout: float | None = 1.0,
    priority: int = 0,
    notify: bool = False,
    force_int_enums: bool = False,
    repeater: bool = True,
    read_data_type: DataType | None = None,
    write_data_type: DataType | None = None,
) -> tuple[
    ReadNotifyResponse | ReadResponse,
    WriteNotifyResponse | None,
    ReadNotifyResponse | ReadResponse,
]:
    """Read a PV, write to it, and read it again, over one connection.

    Without *notify* the second read may come before the server has processed the write.

    Parameters
    ----------
    pv_name, data, metadata, timeout, priority, notify, force_int_enums, repeater
        As for `read` and `write`. The timeout is for all three together.
    data_type : ChannelType, int or str, optional
        Type of all three, where the next two do not say otherwise.
    read_data_type, write_data_type : ChannelType, int or str, optional
        Types of the reads and of the write.

    Returns
    -------
    initial, written, final
        The responses; that of the write is None without *notify*.

    Raises
    ------
    CaprotoTimeoutError, ErrorResponseReceived, CaprotoValueError, CaprotoTypeError
        As `read` and `write` do.
    """
    wanted = data_type if read_data_type is None else read_data_type
    encoding = data_type if write_data_type is None else write_data_type
    check_data_type(wanted)
    check_data_type(encoding)
    _check_metadata(metadata)

    def do(pv: PV, deadline: Deadline) -> tuple[
        ReadNotifyResponse | ReadResponse,
        WriteNotifyResponse | None,
        ReadNotifyResponse | ReadResponse,
    ]:
        initial = _read(pv, wanted, None, True, force_int_enums, deadline)
        written = _write(pv, data, encoding, notify, deadline)
        return initial, written, _read(pv, wanted, None, True, force_int_enums, deadline)

    return _with_pv(pv_name, priority, timeout, repeater, do)


# ---- one PV


def make_context(repeater: bool) -> Context:
    """Make a Context, by the environment, that uses the repeater or not."""
    configuration = ClientConfiguration.from_environment()
    if not repeater:
        configuration = configuration.replace(use_repeater=False)
    return Context(configuration=configuration)


def _with_pv(
    name: str,
    priority: int,
    timeout: float | None,
    repeater: bool,
    use: Callable[[PV, Deadline], T],
) -> T:
    """Return what *use* makes of the PV, within the timeout."""
    deadline = Deadline(check_timeout(timeout))
    check_pv_name(name)
    try:
        with make_context(repeater) as context:
            (pv,) = context.get_pvs(name, priority=priority)
            return use(pv, deadline)
    except CaprotoError as error:
        raise error.with_traceback(None) from None  # users need not see our frames


def check_pv_name(name: object) -> None:
    """Raise unless *name* can be searched."""
    if not isinstance(name, str):
        raise CaprotoTypeError(f"pv_name must be str, not {name!r} ({type(name).__name__})")
    check_names([name])


def wanted_type(pv: PV, data_type: DataType | None, force_int_enums: bool) -> DataType | None:
    """Return the type to ask a connected *pv* for: an enum shows its states by their names."""
    channel = pv.channel
    if data_type is None and not force_int_enums and channel is not None:
        if channel.native_data_type == ChannelType.ENUM:
            return ChannelType.STRING
    return data_type


def _read(
    pv: PV,
    data_type: DataType | None,
    data_count: int | None,
    notify: bool,
    force_int_enums: bool,
    deadline: Deadline,
) -> ReadNotifyResponse | ReadResponse:
    pv._wait_until_usable(deadline)
    kind = wanted_type(pv, data_type, force_int_enums)
    response = pv.read(
        data_type=kind, data_count=data_count, notify=notify, timeout=_left(deadline)
    )
    assert response is not None
    return response


def _write(
    pv: PV, data: object, data_type: DataType | None, notify: bool, deadline: Deadline
) -> WriteNotifyResponse | None:
    return pv.write(
        data, wait=notify, notify=notify, data_type=data_type, timeout=_left(deadline)
    )


def _left(deadline: Deadline) -> float | None:
    """Return the seconds that are left, fit for the message of an error."""
    left = deadline.remaining()
    return None if left is None else round(left, 3)


def _check_metadata(metadata: object) -> None:
    if metadata is not None:
        raise CaprotoValueError(
            "metadata must be None: values are written in a plain type, which carries none"
        )
