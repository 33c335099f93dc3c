"""The channel classes: one for each kind of value in Channel Access.

Each says what it accepts, how it is kept, which changes are worth an event, and which properties it
has. Everything else is in ``data``.
"""
from __future__ import annotations

import array
import math
import operator
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, SupportsIndex

from .._errors import CaprotoTypeError, CaprotoValueError
from .._numbers import counted
from .._protocol import arrays
from .._protocol.constants import MAX_ENUM_STATES, MAX_ENUM_STRING_SIZE, MAX_STRING_SIZE
from .._protocol.dbr import LAYOUTS, AlarmSeverity, AlarmStatus, ChannelType
from .._protocol.message import u32
from .._protocol.text import encode_text
from .conversions import CONVERTERS, Elements, convert, text_of_bytes
from .data import LOG, VALUE, ChannelData
from .properties import Property, check_text
from .snapshot import ChannelAlarm, Limit, Properties

__all__ = [
    "ChannelByte",
    "ChannelChar",
    "ChannelDouble",
    "ChannelEnum",
    "ChannelFloat",
    "ChannelInteger",
    "ChannelNumeric",
    "ChannelShort",
    "ChannelString",
]

_NAN = math.nan
_ROUND = CONVERTERS[ChannelType.DOUBLE][ChannelType.FLOAT]  #: to 32 bits


def _check_precision(value: SupportsIndex) -> int:
    number = operator.index(value)
    if not 0 <= number <= 0x7FFF:
        raise CaprotoValueError(f"precision={value!r} is not within 0..32767")
    return number


def _check_states(value: Iterable[object]) -> tuple[str, ...]:
    states = tuple(check_text(state) for state in value)
    if len(states) > MAX_ENUM_STATES:
        raise CaprotoValueError(
            f"{len(states)} enum states; Channel Access has room for {MAX_ENUM_STATES}"
        )
    for state in states:
        if len(encode_text(state)) >= MAX_ENUM_STRING_SIZE:
            raise CaprotoValueError(
                f"the enum state {state!r} is {len(encode_text(state))} bytes long; Channel Access "
                f"has room for {MAX_ENUM_STRING_SIZE - 1}"
            )
    return states


_INTEGER_RANGES = {
    ChannelType.INT: (-(2**15), 2**15 - 1),
    ChannelType.ENUM: (0, 2**16 - 1),
    ChannelType.CHAR: (0, 2**8 - 1),
    ChannelType.LONG: (-(2**31), 2**31 - 1),
}

#: Limit, comparison, and the alarm beyond the limit; the first that applies counts.
_ALARMS: tuple[
    tuple[Limit, Callable[[float, float], bool], AlarmStatus, AlarmSeverity], ...
] = (
    ("upper_alarm_limit", operator.ge, AlarmStatus.HIHI, AlarmSeverity.MAJOR_ALARM),
    ("lower_alarm_limit", operator.le, AlarmStatus.LOLO, AlarmSeverity.MAJOR_ALARM),
    ("upper_warning_limit", operator.ge, AlarmStatus.HIGH, AlarmSeverity.MINOR_ALARM),
    ("lower_warning_limit", operator.le, AlarmStatus.LOW, AlarmSeverity.MINOR_ALARM),
)


class ChannelNumeric(ChannelData):
    """Base of the channels that hold numbers with units and limits.

    Limits that are NaN, the default of the alarm limits, are not defined. A scalar beyond a defined
    alarm limit gets the alarm that belongs to it. What a client writes to a scalar is cut to the
    control limits, if the upper one is above the lower one.
    """

    _default: ClassVar[object] = 0
    _posted: float
    _logged: float

    units = Property("", check_text, "Engineering units; clients see the first 7 bytes.")
    upper_disp_limit = Property(0.0, float, "Upper end of a display's range.")
    lower_disp_limit = Property(0.0, float, "Lower end of a display's range.")
    upper_alarm_limit = Property(_NAN, float, "From here up: HIHI, major.")
    upper_warning_limit = Property(_NAN, float, "From here up: HIGH, minor.")
    lower_warning_limit = Property(_NAN, float, "From here down: LOW, minor.")
    lower_alarm_limit = Property(_NAN, float, "From here down: LOLO, major.")
    upper_ctrl_limit = Property(0.0, float, "Highest value that clients can set.")
    lower_ctrl_limit = Property(0.0, float, "Lowest value that clients can set.")
    value_atol = Property(
        0.0, float, "VALUE events need a change of more than this; below 0: every write is one."
    )
    log_atol = Property(0.0, float, "The same for LOG events.")

    def _element(self, value: object) -> float:
        return _checked_integer(self, value)

    def _array(self, values: Any) -> Elements:
        if not hasattr(values, "dtype"):
            return [self._element(value) for value in values]
        if values.ndim != 1 or values.dtype.kind not in "biuf":
            raise CaprotoTypeError(
                f"{self._whoami()} takes one-dimensional arrays of numbers, not {values.dtype} of "
                f"shape {values.shape}"
            )
        lowest, highest = _INTEGER_RANGES.get(self.data_type, (-math.inf, math.inf))
        if math.isfinite(highest) and len(values):
            if not (lowest <= values.min() and values.max() <= highest):
                raise CaprotoValueError(
                    f"{self._whoami()} holds numbers from {lowest} to {highest}, not from "
                    f"{values.min()} to {values.max()}"
                )
        source = ChannelType.DOUBLE if values.dtype.kind == "f" else ChannelType.LONG
        if source is not self.data_type:
            return convert(values, source, self.data_type, self._text_format)
        numbers: Elements = values
        return numbers

    def _freeze(self, elements: Elements) -> Elements:
        return _frozen(elements, self.data_type)

    def _value_events(self, elements: Elements, properties: Properties) -> int:
        if self.max_length != 1:
            return VALUE | LOG
        value = elements[0]
        events = 0
        if _differs(value, self._posted, properties["value_atol"]):
            self._posted = value
            events |= VALUE
        if _differs(value, self._logged, properties["log_atol"]):
            self._logged = value
            events |= LOG
        return events

    def _limit_alarm(
        self, elements: Elements, properties: Properties, alarm: ChannelAlarm
    ) -> ChannelAlarm:
        if self.max_length != 1:
            return alarm
        defined = False
        for name, beyond, status, severity in _ALARMS:
            limit = properties[name]
            if limit == limit:  # not NaN
                defined = True
                if beyond(elements[0], limit):
                    return alarm.raised(status, severity)
        return alarm.raised(0, 0) if defined else alarm

    def _limit(self, elements: Elements) -> Elements:
        properties = self._snapshot.properties
        lower, upper = properties["lower_ctrl_limit"], properties["upper_ctrl_limit"]
        if self.max_length != 1 or not lower < upper or not len(elements):
            return elements
        value = elements[0]
        return (self._element(upper if value > upper else lower if value < lower else value),)


class ChannelShort(ChannelNumeric):
    """16 bit integers, signed (DBR_INT). See `ChannelNumeric` and `ChannelData`."""

    data_type = ChannelType.INT


class ChannelInteger(ChannelNumeric):
    """32 bit integers, signed (DBR_LONG). See `ChannelNumeric` and `ChannelData`."""

    data_type = ChannelType.LONG


class ChannelByte(ChannelNumeric):
    """Bytes, 0 to 255 (DBR_CHAR). `bytes` objects are taken as arrays.

    See `ChannelNumeric` and `ChannelData`.
    """

    data_type = ChannelType.CHAR

    def _normal(self, value: object) -> object:
        return tuple(value) if isinstance(value, (bytes, bytearray)) else value


class ChannelDouble(ChannelNumeric):
    """Double precision floats (DBR_DOUBLE). See `ChannelNumeric` and `ChannelData`."""

    data_type = ChannelType.DOUBLE
    _default = 0.0

    precision = Property(0, _check_precision, "Digits after the decimal point when shown as text.")

    def _element(self, value: Any) -> float:
        if isinstance(value, (str, bytes)):
            raise CaprotoTypeError(f"{self._whoami()} takes numbers, not {value!r}")
        try:
            return float(value)
        except (TypeError, ValueError) as exc:
            raise CaprotoTypeError(f"{self._whoami()} takes numbers, not {value!r}") from exc


class ChannelFloat(ChannelDouble):
    """Single precision floats (DBR_FLOAT). See `ChannelNumeric` and `ChannelData`."""

    data_type = ChannelType.FLOAT

    def _element(self, value: object) -> float:
        number = super()._element(value)
        rounded: float = _ROUND(number, self._text_format)
        return rounded


class ChannelEnum(ChannelData):
    """One of at most 16 named states (DBR_ENUM).

    `value` is the number of the state, `text` its name; either may be written. See `ChannelData`.
    """

    data_type = ChannelType.ENUM
    _default = 0

    enum_strings: Property[tuple[str, ...]] = Property(
        (), _check_states, "Names of the states, at most 16 of at most 25 bytes."
    )

    @property
    def text(self) -> str:
        """Name of the present state; its number if it has no name."""
        snapshot = self._snapshot
        texts = snapshot.converted(ChannelType.STRING)
        return str(texts[0]) if texts else ""

    def write(self, value: object = None, **changes: Any) -> None:
        """Write as `ChannelData.write` does; state names given in the same call count already."""
        if isinstance(value, str) and "enum_strings" in changes:
            value = self._number(value, _check_states(changes["enum_strings"]))
        super().write(value, **changes)

    def _element(self, value: object) -> object:
        if not isinstance(value, str):
            return _checked_integer(self, value)
        return self._number(value, self._text_format.states)

    def _number(self, text: str, states: tuple[str, ...]) -> int:
        try:
            return states.index(text)
        except ValueError:
            raise CaprotoValueError(
                f"{self._whoami()} has no state {text!r}; it has {states}"
            ) from None

    def _freeze(self, elements: Elements) -> Elements:
        return _frozen(elements, self.data_type)


class ChannelString(ChannelData):
    """Text of at most 39 bytes in UTF-8 (DBR_STRING). See `ChannelData`."""

    data_type = ChannelType.STRING
    _default = ""

    def _element(self, value: object) -> object:
        if isinstance(value, bytes):
            value = text_of_bytes(value)
        if not isinstance(value, str):
            raise CaprotoTypeError(f"{self._whoami()} takes text, not {value!r}")
        if len(encode_text(value)) >= MAX_STRING_SIZE:
            raise CaprotoValueError(
                f"{value!r} is {len(encode_text(value))} bytes long; a Channel Access string has "
                f"room for {MAX_STRING_SIZE - 1} (ChannelChar holds more)"
            )
        return value

    def _freeze(self, elements: Elements) -> Elements:
        return tuple(elements)


class ChannelChar(ChannelData):
    """Text of any length, as an array of DBR_CHAR with a zero at its end.

    Clients that ask for a DBR_STRING get the first 39 bytes. See `ChannelData`.

    Parameters
    ----------
    value : str or bytes
        The text; `value` returns a str.
    max_length : int, optional
        Room for the text in bytes, with the zero. Default: 40, or what the first value needs.
    """

    data_type = ChannelType.CHAR
    _default = ""
    _texts = True

    report_as_string = Property(
        False,
        bool,
        "Clients see a DBR_STRING with the first 39 bytes, and the whole text as NAME.VAL$, or as "
        "NAME$ if the name has a field (x.DESC), as of an EPICS record.",
    )

    @property
    def value(self) -> str:
        """The present text."""
        return text_of_bytes(bytes(self._snapshot.elements))

    def _normal(self, value: object) -> object:
        if isinstance(value, str):
            return encode_text(value) + b"\0"
        return value

    def _first_length(self, value: object, max_length: int | None) -> int:
        raw = self._text_bytes(value)
        if max_length is None:
            return max(len(raw), MAX_STRING_SIZE)
        return super()._first_length(list(raw), max(2, u32("max_length", max_length)))

    def _elements(self, value: object) -> Elements:
        raw = self._text_bytes(value)
        if len(raw) > self.max_length:
            raise CaprotoValueError(
                f"{self._whoami()} has room for {counted(self.max_length, 'byte')}, not {len(raw)}"
            )
        return raw

    def _text_bytes(self, value: object) -> bytes:
        raw = self._normal(value)
        if not isinstance(raw, (bytes, bytearray)):
            raise CaprotoTypeError(f"{self._whoami()} takes text, not {value!r}")
        return bytes(raw)

    def _freeze(self, elements: Elements) -> Elements:
        return bytes(elements)

    def _for_putter(self, elements: Elements) -> str:
        return text_of_bytes(bytes(elements))


def _checked_integer(channel: ChannelData, value: Any) -> int:
    """Convert *value* to an integer in the range of the channel's type; cuts fractions off."""
    lowest, highest = _INTEGER_RANGES[channel.data_type]
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise CaprotoTypeError(f"{channel!r} takes numbers, not {value!r}") from None
    if not lowest <= number <= highest:
        raise CaprotoValueError(
            f"{value!r} does not fit {channel.data_type.name}, {lowest} to {highest}"
        )
    return number


def _differs(new: float, old: float, tolerance: float) -> bool:
    """Tell whether *new* is worth an event. NaN after NaN is not, by default."""
    if tolerance == 0:
        return new != old and (new == new or old == old)
    return not abs(new - old) <= tolerance


def _frozen(elements: Elements, data_type: ChannelType) -> Elements:
    """Copy numbers into an array of the current backend that cannot be changed."""
    if arrays.backend_name() != "numpy":
        return array.array(LAYOUTS[data_type].typecode, elements)
    import numpy

    frozen: Any = numpy.asarray(elements, numpy.dtype(LAYOUTS[data_type].dtype).newbyteorder("="))
    if frozen.flags.writeable:
        if frozen is elements or frozen.base is not None:  # the writer may go on changing it
            frozen = frozen.copy()
        frozen.setflags(write=False)
    elements = frozen
    return elements
