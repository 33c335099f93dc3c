"""Elements of one native type to elements of another, the way an EPICS IOC converts them.

Clients ask for any type, and write any type, whatever the channel holds; the server converts. This
module has the rules element by element, without channels, alarms or bytes. One table,
``CONVERTERS[source][target]``, holds a function for every pair; arrays of numbers take a short cut
through numpy that gives the same results.

Surprising rules: a double that does not fit an integer becomes 0x80000000 (and is then cut
to the width of the target), integers wrap, text is cut at 39 bytes, floats are rounded to their
precision with halves away from zero, an enum is written by the text of its state before its number
is tried, and text that is not a number is an error.
"""
from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeGuard, overload

from .._errors import CaprotoValueError
from .._protocol.constants import MAX_STRING_SIZE
from .._protocol.dbr import ChannelType
from .._protocol.text import Latin1Text, decode_text, encode_text
from .._typing import NamedTuple

__all__ = [
    "CONVERTERS",
    "Elements",
    "TextFormat",
    "convert",
    "cut",
    "is_sequence",
    "text_of_bytes",
]

STRING = ChannelType.STRING
SHORT = ChannelType.INT
FLOAT = ChannelType.FLOAT
ENUM = ChannelType.ENUM
CHAR = ChannelType.CHAR
LONG = ChannelType.LONG
DOUBLE = ChannelType.DOUBLE

_LOWEST = -(2**31)
_BEYOND = 2**31
#: The largest single precision float; doubles beyond it are cut to it, infinities pass.
_FLOAT_MAX: float = struct.unpack(">f", b"\x7f\x7f\xff\xff")[0]


class Elements(Protocol):
    """The elements of a value: a tuple, list, bytes, ``array.array`` or numpy array."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...

    @overload
    def __getitem__(self, index: int, /) -> Any: ...

    @overload
    def __getitem__(self, index: slice, /) -> Elements: ...


class TextFormat(NamedTuple):
    """How numbers and states of a channel look as text."""

    #: Digits after the decimal point when a float becomes text.
    precision: int = 0
    #: Texts of the states of an enum.
    states: tuple[str, ...] = ()


def text_of_bytes(data: bytes) -> str:
    """Return the text before the first zero byte of *data*."""
    return decode_text(data.split(b"\0", 1)[0])


def cut(text: str) -> str:
    """Shorten *text* to what fits a DBR_STRING (39 bytes), never in the middle of a letter."""
    raw = encode_text(text)
    if len(raw) < MAX_STRING_SIZE:
        return text
    is_utf8 = not isinstance(decode_text(raw), Latin1Text)
    raw = raw[: MAX_STRING_SIZE - 1]
    return raw.decode("utf-8", "ignore") if is_utf8 else text_of_bytes(raw)


# One element of any number type to one of another.


def _long(value: float) -> int:
    """Cut off the fraction; what does not fit 32 bits, or is not a number, is 0x80000000."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return _LOWEST
        value = int(value)
    return value if _LOWEST <= value < _BEYOND else _LOWEST


def _short(value: float) -> int:
    return ((_long(value) + 0x8000) & 0xFFFF) - 0x8000


def _enum(value: float) -> int:
    return _long(value) & 0xFFFF


def _char(value: float) -> int:
    return _long(value) & 0xFF


def _float(value: float) -> float:
    value = float(value)
    if math.isfinite(value):
        value = max(-_FLOAT_MAX, min(_FLOAT_MAX, value))
    return struct.unpack(">f", struct.pack(">f", value))[0]  # type: ignore[no-any-return]


_NUMBERS: dict[ChannelType, Callable[[float], float]] = {
    SHORT: _short,
    FLOAT: _float,
    ENUM: _enum,
    CHAR: _char,
    LONG: _long,
    DOUBLE: float,
}

#: What a text may say when it is written to an integer channel.
_RANGES = {
    SHORT: (-(2**15), 2**15),
    ENUM: (0, 2**16),
    CHAR: (-(2**7), 2**8),
    LONG: (_LOWEST, _BEYOND),
}


def _parse(text: str) -> float:
    """Read the number in *text*: decimal, hexadecimal with 0x, a float with exponent, inf, nan."""
    text = text.strip()
    try:
        return int(text, 16 if text.lower().lstrip("+-").startswith("0x") else 10)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise CaprotoValueError(f"{text!r} is not a number") from None


def _integer_from_text(target: ChannelType) -> Callable[[str, TextFormat], int]:
    lowest, beyond = _RANGES[target]
    wrap = _NUMBERS[target]

    def parse(text: str, form: TextFormat) -> int:
        number = _parse(text)
        if not lowest <= number < beyond:  # false for nan as well
            raise CaprotoValueError(f"{text!r} does not fit {target.name}")
        return int(wrap(number))

    return parse


def _enum_from_text(text: str, form: TextFormat) -> int:
    """Find the state with this text; else take the number in the text, if there is such a state."""
    try:
        return form.states.index(text)
    except ValueError:
        pass
    beyond = len(form.states) or 2**16
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 <= number < beyond:
        raise CaprotoValueError(f"{text!r} is not one of the states {form.states}")
    return number


def _float_text(value: float, form: TextFormat) -> str:
    if not math.isfinite(value):
        return str(value)
    if form.precision <= 8 and abs(value) <= 1e7:
        # Rounded by the next digit alone, halves away from zero: so does an IOC, printf does not.
        unit = 10**form.precision
        fraction, whole = math.modf(abs(value))
        whole, digits = divmod(int(whole) * unit + (int(fraction * unit * 10) + 5) // 10, unit)
        sign = "-" if value < 0 else ""
        return f"{sign}{whole}.{digits:0{form.precision}}" if form.precision else f"{sign}{whole}"
    style = "f" if abs(value) < 1e16 else "e"
    text = f"{value:.{form.precision}{style}}"
    return text if len(text) < MAX_STRING_SIZE else f"{value:.17g}"


def _enum_text(value: int, form: TextFormat) -> str:
    return form.states[value] if 0 <= value < len(form.states) else str(value)


def _number_to_number(target: ChannelType) -> Callable[[float, TextFormat], float]:
    element = _NUMBERS[target]
    return lambda value, form: element(value)


def _integer_text(value: int, form: TextFormat) -> str:
    return str(value)


_TO_TEXT: dict[ChannelType, Callable[[Any, TextFormat], str]] = {
    STRING: lambda value, form: cut(value),
    SHORT: _integer_text,
    FLOAT: _float_text,
    ENUM: _enum_text,
    CHAR: _integer_text,
    LONG: _integer_text,
    DOUBLE: _float_text,
}

_FROM_TEXT: dict[ChannelType, Callable[[str, TextFormat], str | float]] = {
    STRING: lambda value, form: cut(value),
    SHORT: _integer_from_text(SHORT),
    FLOAT: lambda text, form: _float(_parse(text)),
    ENUM: _enum_from_text,
    CHAR: _integer_from_text(CHAR),
    LONG: _integer_from_text(LONG),
    DOUBLE: lambda text, form: float(_parse(text)),
}

#: ``CONVERTERS[source][target](element, form)`` for all 49 pairs of native types.
CONVERTERS: dict[ChannelType, dict[ChannelType, Callable[[Any, TextFormat], Any]]] = {
    source: {
        target: (
            _FROM_TEXT[target]
            if source is STRING
            else _TO_TEXT[source]
            if target is STRING
            else _number_to_number(target)
        )
        for target in _FROM_TEXT
    }
    for source in _TO_TEXT
}

_NUMPY_TYPES = {SHORT: "i2", FLOAT: "f4", ENUM: "u2", CHAR: "u1", LONG: "i4", DOUBLE: "f8"}


def _convert_array(values: Any, target: ChannelType) -> Any:
    """Convert numbers in a numpy array to another type of number, in machine byte order."""
    import numpy

    wanted = numpy.dtype(_NUMPY_TYPES[target])
    if values.dtype.kind != "f":
        return values.astype(wanted)  # wraps, like the element functions
    if wanted.kind == "f":
        if wanted.itemsize < values.dtype.itemsize:
            finite = numpy.isfinite(values)
            values = numpy.where(finite, numpy.clip(values, -_FLOAT_MAX, _FLOAT_MAX), values)
        return values.astype(wanted)
    with numpy.errstate(invalid="ignore"):
        whole = numpy.trunc(values.astype("f8", copy=False))
        fits = (whole >= _LOWEST) & (whole < _BEYOND)
        return numpy.where(fits, whole, _LOWEST).astype("i4").astype(wanted)


def convert(
    values: Elements, source: ChannelType, target: ChannelType, form: TextFormat
) -> Elements:
    """Convert all elements of *values* from native type *source* to native type *target*.

    Parameters
    ----------
    values : sequence
        Elements: a numpy array, an ``array.array``, a list or tuple of numbers or of str.
    source, target : ChannelType
        Native types, 0 to 6.
    form : TextFormat
        Precision and state texts of the channel.

    Returns
    -------
    sequence
        *values* itself if there is nothing to do; a numpy array for numbers that came in one; else
        a list.

    Raises
    ------
    CaprotoValueError
        A text is not a number, does not fit, or names no state.
    """
    if source is target and source is not STRING:
        return values
    if source is not STRING and target is not STRING and hasattr(values, "astype"):
        converted: Elements = _convert_array(values, target)
        return converted
    element = CONVERTERS[source][target]
    elements = values.tolist() if hasattr(values, "tolist") else values
    return [element(value, form) for value in elements]


def is_sequence(value: object) -> TypeGuard[Elements]:
    """Tell whether *value* is an array, rather than a number or a text."""
    if isinstance(value, (str, bytes)) or getattr(value, "shape", None) == ():
        return False  # numpy has arrays without dimensions
    return hasattr(value, "__len__")
