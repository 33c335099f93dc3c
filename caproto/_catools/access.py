"""Connecting and reading: what the tools do with our client, and what they say when it fails."""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from .._environment import ClientConfiguration
from .._errors import (
    AccessError,
    CaprotoError,
    CaprotoTimeoutError,
    CaprotoValueError,
    DisconnectedError,
)
from .._log import log_as_messages
from .._protocol.constants import MAX_NAME_SIZE
from .._protocol.dbr import ChannelType
from .._protocol.message import DataMessage
from .._protocol.text import encode_text
from ..threading._waiting import Deadline
from ..threading.client import PV, Context
from ..threading.client._gathering import Form, Outcome, read_each
from .lines import line_of, name_column
from .messages import say
from .request_form import request_form
from .settings import Failed, Settings, TimeUp
from .values import Reading

__all__ = [
    "connect", "facts_of", "name_problem", "not_found", "read_lines", "searchable", "start",
]


def name_problem(name: str) -> str:
    """Say why there cannot be a PV of this name; nothing if there can."""
    if not name:
        return "the name is empty"
    if "\0" in name:
        return "the name has a zero byte"
    try:
        size = len(encode_text(name))
    except CaprotoValueError as error:
        return str(error)
    return f"the name has {size} bytes, more than {MAX_NAME_SIZE}" if size > MAX_NAME_SIZE else ""


def searchable(settings: Settings, names: Sequence[str]) -> tuple[list[str], int]:
    """Return the names that can be searched, and the exit status if nothing else goes wrong.

    The others are named on standard error.

    Raises
    ------
    Failed
        None can.
    """
    good = [name for name in names if not name_problem(name)]
    messages = [
        f"CA error Invalid string occurred while trying to create channel '{name}'."
        for name in names if name_problem(name)
    ]
    if messages and not good:
        raise Failed("\n".join(messages))
    for message in messages:
        say(message)
    return good, int(bool(messages))


def start(
    settings: Settings, names: Sequence[str], configuration: ClientConfiguration | None = None
) -> AbstractContextManager[Context]:
    """Make the client.

    Parameters
    ----------
    settings : Settings
    names : sequence of str
        Of the PVs.
    configuration : ClientConfiguration, optional
        Default: that of the environment, about which messages may be printed.

    Raises
    ------
    Failed
        No name was given.
    """
    if not names:
        sources = settings.extras.sources if settings.extras is not None else []
        empty = " or ".join("standard input" if one == "-" else one for one in sources)
        problem = f"No pv name specified: there is none in {empty}" if empty else (
            "No pv name specified"
        )
        raise Failed(f"{problem}. {settings.hint}")
    log_as_messages(settings.tool)
    return Context(configuration=configuration)


def connect(context: Context, names: Sequence[str], settings: Settings) -> list[PV]:
    """Connect to all PVs within the timeout.

    Raises
    ------
    TimeUp
        At least one of them is not connected.
    """
    pvs = context.get_pvs(*names, priority=settings.priority)
    deadline = Deadline(settings.patience)
    try:
        for pv in pvs:
            pv._wait_until_usable(deadline)
    except CaprotoTimeoutError:
        raise not_found(names) from None
    return pvs


def not_found(names: Sequence[str]) -> TimeUp:
    """Make the error that ends a tool if at least one of its PVs is not connected in time."""
    which = f"'{names[0]}'" if len(names) == 1 else "some PV(s)"
    return TimeUp(f"Channel connect timed out: {which} not found.")


def facts_of(pv: PV) -> tuple[ChannelType, int]:
    """Return type and room of a PV that was connected: how many elements it can have."""
    channel = pv.channel
    if channel is None or channel.native_data_type is None:
        raise DisconnectedError(f"{pv.name!r} is not connected")
    return channel.native_data_type, channel.native_data_count or 0


def read_lines(pvs: Sequence[PV], settings: Settings) -> list[str]:
    """Read all PVs at once; return what to print about each.

    Where there is no value, a message says so on standard error.
    """
    forms: list[Form] = [request_form(*facts_of(pv), settings) for pv in pvs]
    outcomes = read_each(list(zip(pvs, forms, strict=True)), Deadline(settings.patience))
    if any(isinstance(outcome, CaprotoError) for outcome in outcomes):
        _complain(outcomes, alone=settings.tool.endswith("put"))
    return [
        _line(pv, form, outcome, settings)
        for pv, form, outcome in zip(pvs, forms, outcomes, strict=True)
    ]


def _complain(outcomes: Sequence[Outcome], alone: bool) -> None:
    for outcome in outcomes:
        if isinstance(outcome, CaprotoError):
            say(outcome)
    what = "PV data" if alone else "some PV data"
    say(f"Read operation timed out: {what} was not read.")


def _line(pv: PV, form: Form, outcome: Outcome, settings: Settings) -> str:
    column = name_column(pv.name, settings) + settings.separator
    beginning = "" if settings.form == "terse" else column
    if isinstance(outcome, AccessError):
        return f"{beginning}*** no read access"
    if isinstance(outcome, DisconnectedError):
        return f"{beginning}*** not connected"
    data_type, count = form
    assert isinstance(data_type, ChannelType)
    if isinstance(outcome, DataMessage):
        reading = Reading.from_response(outcome)
    elif count is None:
        return f"{beginning}*** no data available (timeout)"
    else:
        reading = Reading.zeros(data_type, count)
    native, room = facts_of(pv)
    return line_of(pv.name, reading, native, room, settings)

