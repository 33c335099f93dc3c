"""Values of Channel Access as pyepics shows and takes them. Pure: no network, no threads.

Received: Python scalars, numpy arrays in machine order, str. Sent: whatever pyepics accepts,
converted by the channel's own type.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..._errors import CaprotoTypeError, CaprotoValueError
from ..._protocol.constants import EPICS_EPOCH, MAX_STRING_SIZE
from ..._protocol.dbr import LAYOUTS, DbrMetadata
from ..._protocol.text import decode_text, encode_text

if TYPE_CHECKING:
    from ..._protocol.commands import EventAddResponse, ReadNotifyResponse, ReadResponse

    Response = ReadNotifyResponse | ReadResponse | EventAddResponse

#: What is known of a PV, by the keywords of its callbacks.
Known: TypeAlias = dict[str, Any]

#: The limits of a control reply, by the names that pyepics and CA share.
LIMITS: Final = (
    "upper_disp_limit",
    "lower_disp_limit",
    "upper_alarm_limit",
    "upper_warning_limit",
    "lower_warning_limit",
    "lower_alarm_limit",
    "upper_ctrl_limit",
    "lower_ctrl_limit",
)
#: What comes with a control reply.
CONTROL: Final = ("units", "precision", "enum_strs", *LIMITS)
#: What comes with a reply that has a time stamp.
TIME: Final = ("status", "severity", "timestamp", "posixseconds", "nanoseconds")

#: By form: what is added to the number of the native type, and what precedes its name.
FORMS: Final[dict[str, tuple[int, str, str]]] = {
    "native": (0, "", "native"),
    "time": (14, "time_", "time"),
    "ctrl": (28, "ctrl_", "control"),
}
#: The names of the native types in pyepics.
TYPE_NAMES: Final = ("string", "short", "float", "enum", "char", "long", "double")
_STRING, _SHORT, _FLOAT, _ENUM, _CHAR, _LONG, _DOUBLE = range(7)

_TIME_FRONT = struct.Struct(">HHII")
_SCALARS: Final[dict[int, struct.Struct]] = {
    _SHORT: struct.Struct(">h"),
    _FLOAT: struct.Struct(">f"),
    _ENUM: struct.Struct(">H"),
    _CHAR: struct.Struct(">B"),
    _LONG: struct.Struct(">i"),
    _DOUBLE: struct.Struct(">d"),
}
#: Of whole numbers: the least and the greatest.
_RANGES: Final = {
    _SHORT: (-(2**15), 2**15 - 1),
    _ENUM: (0, 2**16 - 1),
    _CHAR: (-128, 255),
    _LONG: (-(2**31), 2**31 - 1),
}
_DTYPES: Final = {
    _SHORT: "i2", _FLOAT: "f4", _ENUM: "u2", _CHAR: "u1", _LONG: "i4", _DOUBLE: "f8",
}  # fmt: skip


# ---- received ------------------------------------------------------------------------------------


def decode(response: Response, scalar: bool) -> Known:
    """Take a response apart.

    Parameters
    ----------
    response : ReadNotifyResponse or EventAddResponse
    scalar : bool
        Whether the channel has one element by nature.

    Returns
    -------
    dict
        ``value`` and, as far as the type carries them, the names of `TIME` and `CONTROL`.
    """
    number, payload = response.fields[2], response.payload
    layout = LAYOUTS[number]
    found: Known
    if layout.family == "time":
        status, severity, seconds, nanoseconds = _TIME_FRONT.unpack_from(payload)
        seconds += EPICS_EPOCH
        found = {
            "status": status,
            "severity": severity,
            "timestamp": seconds + 1e-9 * nanoseconds,
            "posixseconds": float(seconds),
            "nanoseconds": nanoseconds,
        }
    else:
        metadata = response.metadata
        found = {} if metadata is None else _control(metadata)
    found["value"] = decode_scalar(response) if scalar else _array(response, layout.native)
    return found


def decode_scalar(response: Response) -> Any:
    """Return the value in a response of a channel that has one element by nature."""
    layout = LAYOUTS[response.fields[2]]
    if layout.native == _STRING:
        start = layout.value_offset
        raw = bytes(response.payload[start : start + MAX_STRING_SIZE])
        return decode_text(raw.split(b"\0", 1)[0])
    return _SCALARS[layout.native].unpack_from(response.payload, layout.value_offset)[0]


def _control(metadata: DbrMetadata) -> Known:
    found: Known = {}
    fields = {name for name, *_ in metadata._fields_}
    for name in LIMITS:
        if name in fields:
            found[name] = getattr(metadata, name)
    if "precision" in fields:
        found["precision"] = metadata.precision
    if "units" in fields:
        found["units"] = decode_text(metadata.units)
    if "strings" in fields:
        found["enum_strs"] = tuple(decode_text(state) for state in metadata.enum_strings)
    if "status" in fields:
        found["status"], found["severity"] = int(metadata.status), int(metadata.severity)
    return found


def _array(response: Response, native: int) -> Any:
    import numpy

    if native == _STRING:
        return numpy.array(response.strings, dtype=str)
    data = numpy.asarray(response.data)
    return data.astype(_DTYPES[native])  # in machine order, a copy


def text(
    value: Any, native: int, type_name: str, precision: int | None, states: Sequence[str] | None
) -> Any:
    """Show *value* as text, as pyepics does; an array of strings stays one.

    Parameters
    ----------
    value : int, float, str or array
    native : int
        The number of the plain type.
    type_name : str
        The name of the type, for arrays.
    precision : int or None
        Digits of floating-point numbers; None if unknown.
    states : sequence of str or None
        Of an enum.
    """
    if value is None or isinstance(value, str):
        return value
    if native == _STRING:
        return value
    if hasattr(value, "__len__"):
        return _text_of_array(value, native, type_name)
    if native == _ENUM:
        return states[value] if states and 0 <= value < len(states) else str(value)
    if native in (_FLOAT, _DOUBLE):
        return _text_of_float(value, precision)
    return str(value)


def _text_of_array(value: Any, native: int, type_name: str) -> str:
    if native == _CHAR:
        raw = bytes(bytearray(int(number) & 0xFF for number in value))
        return decode_text(raw.split(b"\0", 1)[0]).rstrip()
    return f"<array size={len(value)}, type={type_name}>"


def _text_of_float(value: float, precision: int | None) -> str:
    if precision is None or not math.isfinite(value):
        return str(value)
    exponent = int(math.log10(abs(value))) if value else 5
    return f"{value:.{precision}{'g' if abs(exponent) > 4 else 'f'}}"


# ---- sent ----------------------------------------------------------------------------------------


def encode(value: object, native: int, nelm: int, states: Sequence[str] | None) -> Any:
    """Convert what a program puts to what the channel takes.

    Parameters
    ----------
    value : object
        A number, text, bytes, or a sequence of those.
    native : int
        The number of the channel's plain type.
    nelm : int
        How many elements it can have; more than these are dropped.
    states : sequence of str or None
        Of an enum.

    Raises
    ------
    CaprotoTypeError, CaprotoValueError
        If it cannot be converted, or does not fit.
    """
    if nelm > 1:
        return _encode_array(value, native, nelm, states)
    if native == _STRING:
        return _encode_text(value)
    if value is None or isinstance(value, list | tuple):
        raise CaprotoTypeError(f"{value!r} is not a number, and cannot be put to a scalar")
    return _CONVERTERS[native](value, native, states)


def _plain(value: object) -> object:
    """Text of bytes; other things as they are."""
    return decode_text(value) if isinstance(value, bytes) else value


def _encode_text(value: object) -> str | bytes:
    if isinstance(value, list | tuple) and value:
        value = value[0] if isinstance(value[0], str | bytes) else str(value[0])
    if not isinstance(value, str | bytes):
        raise CaprotoTypeError(f"{value!r} is not text, and cannot be put to a string")
    return _checked_text(value)


def _checked_text(value: str | bytes) -> str | bytes:
    """Return *value*; raise if it does not fit a string."""
    raw = encode_text(value) if isinstance(value, str) else value
    if len(raw) >= MAX_STRING_SIZE:
        raise CaprotoValueError(
            f"{value!r} has {len(raw)} bytes; a string takes {MAX_STRING_SIZE - 1}"
        )
    return value


def _to_int(value: Any, native: int, _states: Sequence[str] | None) -> int:
    value = _plain(value)
    try:
        number = int(value, 0) if isinstance(value, str) else int(value)
    except TypeError:
        raise CaprotoTypeError(f"{value!r} is not a number") from None
    except (ValueError, OverflowError):
        raise CaprotoValueError(f"{value!r} is not a whole number") from None
    lowest, highest = _RANGES[native]
    if not lowest <= number <= highest:
        raise CaprotoValueError(f"{value!r} is not between {lowest} and {highest}")
    return number


def _to_float(value: Any, _native: int, _states: Sequence[str] | None) -> float:
    value = _plain(value)
    try:
        return float(value)
    except TypeError:
        raise CaprotoTypeError(f"{value!r} is not a number") from None
    except (ValueError, OverflowError):
        raise CaprotoValueError(f"{value!r} is not a number") from None


def _to_state(value: Any, native: int, states: Sequence[str] | None) -> int:
    value = _plain(value)
    if isinstance(value, str):
        if states and value in states:
            return states.index(value)
        try:
            return int(value, 0)
        except ValueError:
            known = ", ".join(map(repr, states or ())) or "unknown"
            raise CaprotoValueError(
                f"{value!r} is not a state, nor a number; the states are {known}"
            ) from None
    return _to_int(value, native, states)


_Converter = Callable[[Any, int, "Sequence[str] | None"], Any]
_CONVERTERS: Final[dict[int, _Converter]] = {
    _SHORT: _to_int,
    _FLOAT: _to_float,
    _ENUM: _to_state,
    _CHAR: _to_int,
    _LONG: _to_int,
    _DOUBLE: _to_float,
}


def _encode_array(value: Any, native: int, nelm: int, states: Sequence[str] | None) -> Any:
    if value is None:
        raise CaprotoTypeError("None cannot be put to an array")
    if native == _CHAR and isinstance(value, str | bytes):
        raw = encode_text(value) if isinstance(value, str) else value
        return list((raw + b"\0")[:nelm])
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        value = [value]
    elif not hasattr(value, "__getitem__"):  # a set, or an iterator
        value = list(value)
    if len(value) == 0:  # there is no such thing as an empty put: it clears all elements
        value = ([""] if native == _STRING else [0]) * nelm
    value = value[:nelm]
    if native == _STRING:
        return [_checked_text(one if isinstance(one, str | bytes) else str(one)) for one in value]
    return _numbers(value, native, states)


def _numbers(value: Any, native: int, states: Sequence[str] | None) -> Any:
    """Make an array of the channel's type; fractions of whole numbers are dropped."""
    import numpy

    array = numpy.asarray(value)
    if array.dtype.kind not in "fiub":  # text among them
        return [_CONVERTERS[native](item, native, states) for item in value]
    if native in _RANGES:
        lowest, highest = _RANGES[native]
        if not (array.min() >= lowest and array.max() <= highest):  # neither with NaN
            raise CaprotoValueError(f"the values must be between {lowest} and {highest}")
    return array.astype(_DTYPES[native])


def _form_of(form: str, native: int) -> tuple[int, str, str]:
    """Find a form; CTRL_STRING has not even an alarm, so pyepics takes TIME_STRING for it."""
    return FORMS["time" if form == "ctrl" and native == _STRING else form]


def type_name(form: str, native: int) -> str:
    """Name a type as pyepics does, ``'time_double'`` for example."""
    if form == "native" and native == _SHORT:
        return "int"
    return _form_of(form, native)[1] + TYPE_NAMES[native]


def type_number(form: str, native: int) -> int:
    """Return the DBR number of a type in a form."""
    return _form_of(form, native)[0] + native


def family(form: str, native: int) -> str:
    """Return the family of types that the client is to ask for."""
    return _form_of(form, native)[2]
