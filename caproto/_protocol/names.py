"""Channel names and their parts: ``record.FIELD$[start:increment:end]{"filter": {...}}``.

The record name ends at the first dot, so modifiers need one: ``X.[1:3]`` is a section of an array,
``X[1:3]`` a record of that name. Without a field, or with an empty one, the field is VAL.

This module reads names and checks their form. A server decides which records and fields
exist, and what a filter does to an update.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from reprlib import repr as short_repr
from typing import Any, NoReturn, TypeAlias

from .. import _imports
from .._errors import CaprotoTypeError, CaprotoValueError
from .._typing import NamedTuple

__all__ = [
    "ArraySection",
    "ChannelFilter",
    "DeadBand",
    "Decimation",
    "RecordField",
    "RecordModifiers",
    "StateGate",
    "TimeOfSending",
    "UserTag",
    "parse_channel_filter",
    "parse_record_field",
]


class ArraySection(NamedTuple):
    """``[start:increment:end]`` or ``{"arr": {"s":, "i":, "e":}}``: some elements of an array.

    Both ends belong to the section; negative numbers count from the end of the array.
    """

    start: int = 0
    increment: int = 1
    end: int = -1

    def of(self, length: int) -> slice:
        """Return the section as a slice of an array that now has *length* elements."""
        first, last = (
            max(place + length, 0) if place < 0 else place for place in (self.start, self.end)
        )
        if self.end < -length:  # ends before the first element
            last = -1
        return slice(first, last + 1, self.increment)


class DeadBand(NamedTuple):
    """``{"dbnd": {"abs": 1.5}}``: no update until the value has moved that far."""

    #: In units of the value, or in percent of it.
    width: float
    #: Whether *width* is in percent.
    relative: bool = False


class TimeOfSending(NamedTuple):
    """``{"ts": {}}``: the time stamp is the moment of sending, or the value is the time."""

    #: How the time is to be sent as a value, by the keys "num", "epoch" and "str".
    options: tuple[tuple[str, str], ...] = ()


class Decimation(NamedTuple):
    """``{"dec": {"n": 10}}``: every n-th update."""

    every: int


class StateGate(NamedTuple):
    """``{"sync": {"while": "beam"}}``: updates depend on a named state of the server."""

    #: "before", "first", "last", "after", "while" or "unless".
    mode: str
    state: str


class UserTag(NamedTuple):
    """``{"utag": {"M": 1, "V": 1}}``: updates with a tag that, masked, has that value."""

    mask: int = -1
    value: int = 0


ChannelFilter: TypeAlias = (
    ArraySection | DeadBand | TimeOfSending | Decimation | StateGate | UserTag
)


class RecordModifiers(NamedTuple):
    """The parts of a name after record and field.

    Attributes
    ----------
    long_string : bool
        ``$``: the text of the field as an array of CHAR.
    filters : tuple of ChannelFilter
        What is done to updates, in this order; a section in brackets comes first.
    """

    long_string: bool = False
    filters: tuple[ChannelFilter, ...] = ()


class RecordField(NamedTuple):
    """The parts of a channel name."""

    record: str
    field: str
    modifiers: RecordModifiers

    @property
    def record_dot_field(self) -> str:
        """The name without modifiers; that of the VAL field is spelled out."""
        return f"{self.record}.{self.field}"


_PLACE = r"(-?\d{1,18})?"
# Not compiled here: most programs that import this need none of them.
_SECTION = rf"\[{_PLACE}(?:(:){_PLACE})?(?:(:){_PLACE})?\]"
_AFTER_THE_DOT = (
    r"(?P<field>[A-Za-z_]\w*)?(?P<long>\$)?(?P<section>\[[^\]]*\])?(?P<filters>\{.*)?"
)


def parse_record_field(text: str) -> RecordField:
    """Split a channel name into its parts.

    Parameters
    ----------
    text : str
        For example ``"X"``, ``"X.HIHI"``, ``"X.DESC$"``, ``"X.VAL[0:9]"``,
        ``'X.{"dbnd": {"abs": 1}}'``.

    Returns
    -------
    RecordField
        Its parts. The field is "VAL" if the name has none.

    Raises
    ------
    CaprotoTypeError
        *text* is not a str.
    CaprotoValueError
        The form is wrong; the message says where.
    """
    if not isinstance(text, str):
        raise CaprotoTypeError(f"a channel name is a str, not {text!r}")
    record, _, rest = text.partition(".")
    if not record or not record.isprintable() or " " in record:
        raise CaprotoValueError(f"{short_repr(text)} has no record name, or one with blanks in it")
    parts = re.fullmatch(_AFTER_THE_DOT, rest, re.ASCII)
    if parts is None:
        raise CaprotoValueError(
            f"{short_repr(rest)} of {short_repr(text)} is not FIELD, $, [section] and {{filters}}, "
            "in this order"
        )
    filters: tuple[ChannelFilter, ...] = ()
    if parts["section"]:
        filters += (_section(parts["section"]),)
    if parts["filters"]:
        filters += parse_channel_filter(parts["filters"])
    return RecordField(
        record, parts["field"] or "VAL", RecordModifiers(bool(parts["long"]), filters)
    )


def _section(text: str) -> ArraySection:
    """Read ``[s]``, ``[s:e]`` or ``[s:i:e]``; parts left out have their defaults."""
    match = re.fullmatch(_SECTION, text)
    if match is None or text == "[]":
        raise CaprotoValueError(
            f"{short_repr(text)} is not [element], [start:end] or [start:increment:end]"
        )
    first, colon, second, another_colon, third = match.groups()
    if not colon:
        start = end = first
        increment = None
    elif not another_colon:
        start, increment, end = first, None, second
    else:
        start, increment, end = first, second, third
    return _made_section(
        0 if start is None else int(start),
        1 if increment is None else int(increment),
        -1 if end is None else int(end),
    )


def _made_section(start: int = 0, increment: int = 1, end: int = -1) -> ArraySection:
    if increment < 1:
        raise CaprotoValueError(f"the increment of a section must be at least 1, not {increment}")
    return ArraySection(start, increment, end)


#: The parameters of one filter, out of JSON.
_Parameters: TypeAlias = Mapping[str, Any]

# ---- filters -------------------------------------------------------------------------------------


def parse_channel_filter(text: str) -> tuple[ChannelFilter, ...]:
    """Read the filters of a channel.

    Parameters
    ----------
    text : str
        A JSON object from names of filters to their parameters:
        ``'{"dbnd": {"abs": 1.5}, "dec": {"n": 10}}'``.

    Returns
    -------
    tuple of ChannelFilter
        In the order in which they are applied.

    Raises
    ------
    CaprotoTypeError
        *text* is not a str.
    CaprotoValueError
        The text is not JSON, or a filter or a parameter is unknown. A server answers such a name
        with CREATE_CH_FAIL.
    """
    if not isinstance(text, str):
        raise CaprotoTypeError(f"filters are a str of JSON, not {text!r}")
    _imports.check_reentry("The first use of a filter")
    try:
        import json  # here, because few programs use filters

        filters = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CaprotoValueError(f"{short_repr(text)} is not JSON: {error}") from None
    if not isinstance(filters, dict):
        raise CaprotoValueError(f"{short_repr(text)} is not a JSON object")
    return tuple(_filter(name, parameters) for name, parameters in filters.items())


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _filter(name: str, parameters: object) -> ChannelFilter:
    """Make one filter of its name and its JSON."""
    if name not in _FILTERS:
        raise CaprotoValueError(f"{name!r} is not a filter; they are {', '.join(_FILTERS)}")
    make, kinds = _FILTERS[name]
    if not isinstance(parameters, dict):
        raise CaprotoValueError(f"the parameters of filter {name!r} are a JSON object")
    for key, value in parameters.items():
        if key not in kinds:
            raise CaprotoValueError(
                f"filter {name!r} has no parameter {key!r}; it has {', '.join(kinds)}"
            )
        if not isinstance(value, kinds[key]) or isinstance(value, bool):
            raise CaprotoValueError(f"parameter {key!r} of filter {name!r} cannot be {value!r}")
    return make(parameters)


def _one(parameters: _Parameters, name: str) -> tuple[str, Any]:
    """Take the only parameter of a filter that has one of several."""
    if len(parameters) != 1:
        raise CaprotoValueError(f"filter {name!r} takes one parameter, not {len(parameters)}")
    ((key, value),) = parameters.items()
    return key, value


def _make_arr(parameters: _Parameters) -> ArraySection:
    names = {"s": "start", "i": "increment", "e": "end"}
    return _made_section(**{names[key]: value for key, value in parameters.items()})


def _make_dbnd(parameters: _Parameters) -> DeadBand:
    """Read ``{"abs": width}`` or ``{"rel": width}``, or ``{"d": width, "m": "abs" or "rel"}``."""
    if "d" in parameters and not parameters.keys() & {"abs", "rel"}:
        mode, width = parameters.get("m", "abs"), parameters["d"]
    else:
        mode, width = _one(parameters, "dbnd")
    if mode not in ("abs", "rel"):
        raise CaprotoValueError(f"the mode of filter 'dbnd' must be 'abs' or 'rel', not {mode!r}")
    try:
        return DeadBand(float(width), mode == "rel")
    except OverflowError:
        raise CaprotoValueError("the width of filter 'dbnd' is too large") from None


def _make_ts(parameters: _Parameters) -> TimeOfSending:
    return TimeOfSending(tuple(sorted(parameters.items())))


def _make_dec(parameters: _Parameters) -> Decimation:
    _, every = _one(parameters, "dec")
    if every < 1:
        raise CaprotoValueError(f"n of filter 'dec' must be at least 1, not {every}")
    return Decimation(every)


def _make_sync(parameters: _Parameters) -> StateGate:
    """Read ``{mode: state}``, or the older ``{"m": mode, "s": state}``."""
    if parameters.keys() == {"m", "s"}:
        mode, state = parameters["m"], parameters["s"]
    else:
        mode, state = _one(parameters, "sync")
    if mode not in _MODES:
        raise CaprotoValueError(
            f"the mode of filter 'sync' must be one of {', '.join(_MODES)}, not {mode!r}"
        )
    return StateGate(mode, state)


def _make_utag(parameters: _Parameters) -> UserTag:
    return UserTag(parameters.get("M", -1), parameters.get("V", 0))


#: What a parameter may be, for isinstance().
_Kind: TypeAlias = type | tuple[type, ...]

_MODES = ("before", "first", "last", "after", "while", "unless")


def _kinds(kind: _Kind, keys: Iterable[str]) -> dict[str, _Kind]:
    return dict.fromkeys(keys, kind)


#: Name -> (what makes the filter, type of each parameter).
_FILTERS: dict[str, tuple[Callable[[_Parameters], ChannelFilter], dict[str, _Kind]]] = {
    "arr": (_make_arr, _kinds(int, "sie")),
    "dbnd": (_make_dbnd, _kinds((int, float), ("abs", "rel", "d")) | _kinds(str, "m")),
    "ts": (_make_ts, _kinds(str, ("num", "epoch", "str"))),
    "dec": (_make_dec, _kinds(int, "n")),
    "sync": (_make_sync, _kinds(str, (*_MODES, "m", "s"))),
    "utag": (_make_utag, _kinds(int, "MV")),
}
