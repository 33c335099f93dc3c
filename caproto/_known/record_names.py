"""Parts of channel names as caproto 1.x gives them: filters as text, or as a tuple of four.

The module that our server uses is :mod:`caproto._protocol.names`; it checks the form here, too.
"""
from __future__ import annotations

from collections.abc import Sequence
from enum import IntFlag
from typing import TypeVar

from .._errors import CaprotoNotImplementedError, CaprotoTypeError
from .._protocol import names
from .._typing import NamedTuple

__all__ = [
    "ArrayFilter",
    "ChannelFilter",
    "DeadbandFilter",
    "RecordAndField",
    "RecordModifier",
    "RecordModifiers",
    "SyncFilter",
    "apply_arr_filter",
    "parse_channel_filter",
    "parse_record_field",
]

Values = TypeVar("Values", bound=Sequence[object])


class RecordModifiers(IntFlag):
    """What follows record and field in a name."""

    long_string = 1
    filtered = 2
    filter_timestamp = 4
    filter_deadband = 8
    filter_array = 16
    filter_synchronize = 32


class RecordModifier(NamedTuple):
    """The modifiers of a name.

    Attributes
    ----------
    modifiers : RecordModifiers
        ``long_string`` for ``$``, ``filtered`` for a section or filters.
    filter_ : str or None
        The text of the section and the filters.
    """

    modifiers: RecordModifiers
    filter_: str | None = None


class RecordAndField(NamedTuple):
    """The parts of a channel name.

    Attributes
    ----------
    record_dot_field : str
        The name without modifiers.
    record : str
    field : str or None
    modifiers : RecordModifier or None
    """

    record_dot_field: str
    record: str
    field: str | None
    modifiers: RecordModifier | None


class ArrayFilter(NamedTuple):
    """``{"arr": {"s": start, "i": increment, "e": end}}``; both ends belong to the section."""

    s: int = 0
    i: int = 1
    e: int = -1


class DeadbandFilter(NamedTuple):
    """``{"dbnd": {m: d}}``: no update until the value has moved by *d*; *m* is 'abs' or 'rel'."""

    m: str
    d: float


class SyncFilter(NamedTuple):
    """``{"sync": {m: s}}``: updates depend on the state *s* of the server."""

    m: str
    s: str


class ChannelFilter(NamedTuple):
    """The filters of a channel; None for those that it does not have."""

    ts: bool | None = None
    dbnd: DeadbandFilter | None = None
    arr: ArrayFilter | None = None
    sync: SyncFilter | None = None


def parse_record_field(text: str) -> RecordAndField:
    """Split a channel name into its parts.

    Parameters
    ----------
    text : str
        For example ``"X"``, ``"X.HIHI"``, ``"X.DESC$"``, ``"X.VAL[0:9]"``.

    Returns
    -------
    RecordAndField
        Its parts. The field is None if the name has none.

    Raises
    ------
    CaprotoTypeError
        *text* is not a str.
    CaprotoValueError
        The form is wrong; the message says where.
    """
    found = names.parse_record_field(text)
    record, _, rest = text.partition(".")
    ends = [place for place in map(rest.find, "$[{") if place >= 0]
    field = rest[: min(ends, default=len(rest))] or None
    filters = rest[len(field or "") :].removeprefix("$") or None
    modifiers = RecordModifiers(0)
    if found.modifiers.long_string:
        modifiers |= RecordModifiers.long_string
    if filters is not None:
        modifiers |= RecordModifiers.filtered
    return RecordAndField(
        f"{record}.{field}" if field else record,
        record,
        field,
        RecordModifier(modifiers, filters) if modifiers else None,
    )


def parse_channel_filter(text: str) -> ChannelFilter:
    """Read the filters of a channel.

    Parameters
    ----------
    text : str
        A JSON object from names of filters to their parameters:
        ``'{"dbnd": {"abs": 1.5}, "arr": {"s": 1}}'``.

    Raises
    ------
    CaprotoTypeError
        *text* is not a str.
    CaprotoValueError
        The text is not JSON, or a filter or a parameter is unknown.
    CaprotoNotImplementedError
        The filter is one of those for which a ChannelFilter has no place: ``dec`` and ``utag``.
    """
    found = ChannelFilter()
    for one in names.parse_channel_filter(text):
        if isinstance(one, names.TimeOfSending):
            found = found._replace(ts=True)
        elif isinstance(one, names.DeadBand):
            mode = "rel" if one.relative else "abs"
            found = found._replace(dbnd=DeadbandFilter(mode, one.width))
        elif isinstance(one, names.ArraySection):
            found = found._replace(arr=ArrayFilter(*one))
        elif isinstance(one, names.StateGate):
            found = found._replace(sync=SyncFilter(one.mode, one.state))
        else:
            raise CaprotoNotImplementedError(f"a ChannelFilter has no place for {one!r}")
    return found


def apply_arr_filter(arr_filter: ArrayFilter | None, values: Values) -> Values | Sequence[object]:
    """Return the section of *values* that the filter names; all of them if it is None."""
    if arr_filter is None:
        return values
    if not isinstance(arr_filter, tuple) or len(arr_filter) != len(ArrayFilter._fields):
        raise CaprotoTypeError(f"arr_filter must be an ArrayFilter or None, not {arr_filter!r}")
    return values[names.ArraySection(*arr_filter).of(len(values))]
