"""The data types of Channel Access (DBR): numbers, names, layouts, alarms.

Everything comes from one table, :data:`_TABLE`: for each of the 39 types the fields of the metadata
that precede the value, their format with its gaps, and the format of one element. The
``DBR_*`` structures, the layouts and the maps between the families are derived from it; each
structure when it is first asked for, because few programs use many.

This module describes the layouts. It does not convert values: :mod:`caproto._protocol.payload`
does.
"""
from __future__ import annotations

import ctypes
import math
import re
import struct
from collections.abc import Sequence

from .._errors import CaprotoAttributeError, CaprotoTypeError, CaprotoValueError
from .._typing import TYPE_CHECKING, NamedTuple
from .constants import MAX_ENUM_STATES, MAX_ENUM_STRING_SIZE
from .enums import ClosedIntEnum, OpenIntEnum, ReadableIntFlag
from .text import decode_text, print_lines
from .timestamp import Moment, TimeStamp

if TYPE_CHECKING:
    from typing import Any

    from .text import Printer

__all__ = [
    "AccessRights",
    "AlarmSeverity",
    "AlarmStatus",
    "CHANNEL_TYPES",
    "ChannelType",
    "DBR_STRING", "DBR_INT", "DBR_FLOAT", "DBR_ENUM", "DBR_CHAR", "DBR_LONG", "DBR_DOUBLE",
    "DBR_STS_STRING", "DBR_STS_INT", "DBR_STS_FLOAT", "DBR_STS_ENUM", "DBR_STS_CHAR",
    "DBR_STS_LONG", "DBR_STS_DOUBLE",
    "DBR_TIME_STRING", "DBR_TIME_INT", "DBR_TIME_FLOAT", "DBR_TIME_ENUM", "DBR_TIME_CHAR",
    "DBR_TIME_LONG", "DBR_TIME_DOUBLE",
    "DBR_GR_STRING", "DBR_GR_INT", "DBR_GR_FLOAT", "DBR_GR_ENUM", "DBR_GR_CHAR",
    "DBR_GR_LONG", "DBR_GR_DOUBLE",
    "DBR_CTRL_STRING", "DBR_CTRL_INT", "DBR_CTRL_FLOAT", "DBR_CTRL_ENUM", "DBR_CTRL_CHAR",
    "DBR_CTRL_LONG", "DBR_CTRL_DOUBLE",
    "DBR_PUT_ACKT", "DBR_PUT_ACKS", "DBR_STSACK_STRING", "DBR_CLASS_NAME",
    "DBR_TYPES",
    "DbrMetadata",
    "FAMILIES",
    "LAYOUTS",
    "Layout",
    "NoMetadata",
    "SubscriptionType",
    "TimeStamp",
    "control_types",
    "field_types",
    "graphic_types",
    "native_type",
    "native_types",
    "status_types",
    "time_types",
]


class ChannelType(ClosedIntEnum):
    """The number of a data type: the base of its family plus that of its native type."""

    STRING = 0
    INT = 1
    FLOAT = 2
    ENUM = 3
    CHAR = 4
    LONG = 5
    DOUBLE = 6

    STS_STRING = 7
    STS_INT = 8
    STS_FLOAT = 9
    STS_ENUM = 10
    STS_CHAR = 11
    STS_LONG = 12
    STS_DOUBLE = 13

    TIME_STRING = 14
    TIME_INT = 15
    TIME_FLOAT = 16
    TIME_ENUM = 17
    TIME_CHAR = 18
    TIME_LONG = 19
    TIME_DOUBLE = 20

    GR_STRING = 21
    GR_INT = 22
    GR_FLOAT = 23
    GR_ENUM = 24
    GR_CHAR = 25
    GR_LONG = 26
    GR_DOUBLE = 27

    CTRL_STRING = 28
    CTRL_INT = 29
    CTRL_FLOAT = 30
    CTRL_ENUM = 31
    CTRL_CHAR = 32
    CTRL_LONG = 33
    CTRL_DOUBLE = 34

    PUT_ACKT = 35
    PUT_ACKS = 36
    STSACK_STRING = 37
    CLASS_NAME = 38

    # EPICS uses both names for the 16 bit integers.
    SHORT = 1
    STS_SHORT = 8
    TIME_SHORT = 15
    GR_SHORT = 22
    CTRL_SHORT = 29


#: Every type at the index that is its number: ``CHANNEL_TYPES[20]`` is much cheaper than a call.
CHANNEL_TYPES: tuple[ChannelType, ...] = tuple(ChannelType)


class AccessRights(ReadableIntFlag):
    """What the server allows on a channel."""

    NO_ACCESS = 0
    READ = 1
    WRITE = 2


class SubscriptionType(ReadableIntFlag):
    """The kinds of change to report; the bits of the mask of a subscription."""

    DBE_VALUE = 1
    DBE_LOG = 2
    DBE_ALARM = 4
    DBE_PROPERTY = 8


class AlarmSeverity(OpenIntEnum):
    """The severity of an alarm."""

    NO_ALARM = 0
    MINOR_ALARM = 1
    MAJOR_ALARM = 2
    INVALID_ALARM = 3


class AlarmStatus(OpenIntEnum):
    """The cause of an alarm."""

    NO_ALARM = 0
    READ = 1
    WRITE = 2
    HIHI = 3
    HIGH = 4
    LOLO = 5
    LOW = 6
    STATE = 7
    COS = 8
    COMM = 9
    TIMEOUT = 10
    HWLIMIT = 11
    CALC = 12
    SCAN = 13
    LINK = 14
    SOFT = 15
    BAD_SUB = 16
    UDF = 17
    DISABLE = 18
    SIMM = 19
    READ_ACCESS = 20
    WRITE_ACCESS = 21


# ---- the table -----------------------------------------------------------------------------------

_ALARM = "status severity"
_STAMP = _ALARM + " seconds nanoseconds"
_ACKNOWLEDGE = _ALARM + " ackt acks"
_STATES = _ALARM + " no_str strings"
_DISPLAY = (
    "units upper_disp_limit lower_disp_limit "
    "upper_alarm_limit upper_warning_limit lower_warning_limit lower_alarm_limit"
)
_INTEGER = f"{_ALARM} {_DISPLAY}"
_REAL = f"{_ALARM} precision {_DISPLAY}"
_CONTROL = " upper_ctrl_limit lower_ctrl_limit"

#: Fields of the metadata; their format, in the letters of ``struct``, where ``x`` is a gap; one
#: element of the value. All big-endian, without alignment: the gaps that C leaves are written out.
_TABLE: tuple[tuple[str, str, str], ...] = (
    ("", "", "40s"),  # STRING
    ("", "", "h"),  # INT
    ("", "", "f"),  # FLOAT
    ("", "", "H"),  # ENUM
    ("", "", "B"),  # CHAR
    ("", "", "i"),  # LONG
    ("", "", "d"),  # DOUBLE
    (_ALARM, "hh", "40s"),  # STS_STRING
    (_ALARM, "hh", "h"),  # STS_INT
    (_ALARM, "hh", "f"),  # STS_FLOAT
    (_ALARM, "hh", "H"),  # STS_ENUM
    (_ALARM, "hhx", "B"),  # STS_CHAR
    (_ALARM, "hh", "i"),  # STS_LONG
    (_ALARM, "hh4x", "d"),  # STS_DOUBLE
    (_STAMP, "hhII", "40s"),  # TIME_STRING
    (_STAMP, "hhII2x", "h"),  # TIME_INT
    (_STAMP, "hhII", "f"),  # TIME_FLOAT
    (_STAMP, "hhII2x", "H"),  # TIME_ENUM
    (_STAMP, "hhII3x", "B"),  # TIME_CHAR
    (_STAMP, "hhII", "i"),  # TIME_LONG
    (_STAMP, "hhII4x", "d"),  # TIME_DOUBLE
    (_ALARM, "hh", "40s"),  # GR_STRING
    (_INTEGER, "hh8s6h", "h"),  # GR_INT
    (_REAL, "hhh2x8s6f", "f"),  # GR_FLOAT
    (_STATES, "hhh416s", "H"),  # GR_ENUM
    (_INTEGER, "hh8s6Bx", "B"),  # GR_CHAR
    (_INTEGER, "hh8s6i", "i"),  # GR_LONG
    (_REAL, "hhh2x8s6d", "d"),  # GR_DOUBLE
    (_ALARM, "hh", "40s"),  # CTRL_STRING
    (_INTEGER + _CONTROL, "hh8s8h", "h"),  # CTRL_INT
    (_REAL + _CONTROL, "hhh2x8s8f", "f"),  # CTRL_FLOAT
    (_STATES, "hhh416s", "H"),  # CTRL_ENUM
    (_INTEGER + _CONTROL, "hh8s8Bx", "B"),  # CTRL_CHAR
    (_INTEGER + _CONTROL, "hh8s8i", "i"),  # CTRL_LONG
    (_REAL + _CONTROL, "hhh2x8s8d", "d"),  # CTRL_DOUBLE
    ("", "", "H"),  # PUT_ACKT
    ("", "", "H"),  # PUT_ACKS
    (_ACKNOWLEDGE, "HHHH", "40s"),  # STSACK_STRING
    ("", "", "40s"),  # CLASS_NAME
)

#: Format of a field -> type of its C counterpart.
_CTYPES: dict[str, object] = {
    "h": ctypes.c_int16,
    "H": ctypes.c_uint16,
    "i": ctypes.c_int32,
    "I": ctypes.c_uint32,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
    "B": ctypes.c_uint8,
    "8s": ctypes.c_char * 8,
    "40s": ctypes.c_char * 40,
    "416s": (ctypes.c_char * MAX_ENUM_STRING_SIZE) * MAX_ENUM_STATES,
}

#: Format of an element -> (native type, numpy's name of it, bytes).
_ELEMENTS: dict[str, tuple[ChannelType, str, int]] = {
    "40s": (ChannelType.STRING, "S40", 40),
    "h": (ChannelType.INT, ">i2", 2),
    "f": (ChannelType.FLOAT, ">f4", 4),
    "H": (ChannelType.ENUM, ">u2", 2),
    "B": (ChannelType.CHAR, "|u1", 1),
    "i": (ChannelType.LONG, ">i4", 4),
    "d": (ChannelType.DOUBLE, ">f8", 8),
}


# ---- structures ----------------------------------------------------------------------------------


class DbrMetadata(ctypes.BigEndianStructure):
    """What precedes the values: alarm, time, units, limits, states, as the type has them.

    The base of the ``DBR_*`` structures, with the fields of the wire. Where the fields allow
    it, ``status`` is an :class:`AlarmStatus` and ``severity`` an :class:`AlarmSeverity`; ``stamp``
    is a :class:`TimeStamp` and ``timestamp`` the same as POSIX seconds (both accept whatever
    :meth:`TimeStamp.from_flexible_value` does); ``enum_strings`` is a tuple of the states' names.

    Texts (``units``, ``enum_strings``) are bytes: the protocol defines no encoding.

    Raises
    ------
    CaprotoTypeError
        A value that the field cannot hold, or a field that the type does not have.
    CaprotoAttributeError
        The type does not have the field.
    """

    __slots__ = ()
    #: The type with this metadata.
    DBR_ID: ChannelType
    #: The attributes that contain everything, in the order of the wire.
    _shown: tuple[str, ...]

    def __init__(self, *values: object, **fields: object) -> None:
        try:
            named = dict(zip(self._shown, _without_gaps(values, self._shown), strict=False))
            super().__init__(**named, **fields)
        except (TypeError, ValueError, AttributeError) as error:
            raise CaprotoTypeError(f"{type(self).__name__}: {error}") from None

    def __getattr__(self, name: str) -> Any:
        shown = ", ".join(self._shown)
        if shown in ("", "value"):
            shown = "no metadata at all: read it as time, graphic or control"
        raise CaprotoAttributeError(f"{type(self).__name__} has no {name!r}; it has {shown}")

    def __repr__(self) -> str:
        shown = (
            f"timestamp={str(value)!r}" if name == "stamp" else f"{name}={_readable(value)}"
            for name, value in self._items()
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        """Print it at the prompt of IPython: one line for each field."""
        shown = (("timestamp" if name == "stamp" else name, value) for name, value in self._items())
        lines = (f"  {name:19}  {_words(value)}" for name, value in shown)
        print_lines(printer, [type(self).__name__, *lines])

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bytes(self.cleaned()) == bytes(other.cleaned())  # bytes: NaN equals NaN

    __hash__ = None  # type: ignore[assignment]

    def _items(self) -> list[tuple[str, object]]:
        return [(name, getattr(self, name)) for name in self._shown]

    def to_dict(self) -> dict[str, Any]:
        """Return everything in a dictionary that is ready for JSON: texts as str, POSIX time."""
        return {
            "timestamp" if name == "stamp" else name: _for_json(value)
            for name, value in self._items()
        }

    def cleaned(self) -> DbrMetadata:
        """Copy it with zeros in the gaps and after the ends of texts, and one NaN for all.

        The bits of a NaN mean nothing, and not all of them survive as a Python float.
        """
        # Only a NaN differs from itself.
        return type(self)(**{n: v if v == v else math.nan for n, v in self._items()})


def _without_gaps(values: Sequence[object], names: Sequence[str]) -> Sequence[object]:
    """Leave out the values for the gaps of the layout, which programs give by position.

    Raises
    ------
    TypeError
        There are more values than names.
    """
    kept = list(values)
    if "units" in names:
        place = names.index("units")
        if len(kept) > place and not isinstance(kept[place], bytes):
            del kept[place]
    while len(kept) > len(names) and kept[-1] == 0:
        kept.pop()
    if len(kept) > len(names):
        raise TypeError(f"{len(kept)} values for {', '.join(names) or 'no metadata'}")
    return kept


class NoMetadata(DbrMetadata):
    """What precedes the values of a plain type: nothing."""

    __slots__ = ()
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = ()
    _shown = ()


def _words(value: object) -> str:
    """Write *value* for people."""
    if type(value) is tuple:  # names of states; a time stamp is a tuple, too
        return ", ".join(repr(decode_text(state)) for state in value)
    return decode_text(value) if isinstance(value, bytes) else str(value)


def _for_json(value: object) -> object:
    if isinstance(value, TimeStamp):
        return value.timestamp
    if isinstance(value, tuple):
        return [decode_text(state) for state in value]
    return decode_text(value) if isinstance(value, bytes) else value


def _readable(value: object) -> str:
    """Write *value* like repr, but so that NaN (undefined limits) evaluates back, too."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    return repr(value)


def _enum_property(raw: Any, enum: type[OpenIntEnum]) -> property:
    """Show the number in the field *raw* as a member of *enum*."""
    return property(lambda self: enum(raw.__get__(self)), raw.__set__, doc=enum.__doc__)


def _get_stamp(self: DbrMetadata) -> TimeStamp:
    return TimeStamp(self.seconds, self.nanoseconds)


def _set_stamp(self: DbrMetadata, value: Moment) -> None:
    self.seconds, self.nanoseconds = TimeStamp.from_flexible_value(value)


def _get_states(self: DbrMetadata) -> tuple[bytes, ...]:
    count = min(max(self.no_str, 0), MAX_ENUM_STATES)  # a peer may send any number
    return tuple(state.value for state in self.strings[:count])


def _set_states(self: DbrMetadata, states: Sequence[bytes]) -> None:
    if len(states) > MAX_ENUM_STATES:
        raise CaprotoValueError(f"{len(states)} enum states; {MAX_ENUM_STATES} is the limit")
    for slot, state in zip(self.strings, states, strict=False):
        slot.value = state
    self.no_str = len(states)


_STAMP_PROPERTY = property(_get_stamp, _set_stamp, doc="The time as a TimeStamp.")
_TIMESTAMP_PROPERTY = property(
    lambda self: _get_stamp(self).timestamp, _set_stamp, doc="The time as POSIX seconds."
)
_STATES_PROPERTY = property(_get_states, _set_states, doc="The names of the states.")


def _fields(names: str, format: str) -> list[tuple[str, object]]:
    """Spell a row of the table as ctypes fields, gaps included."""
    name, fields = iter(names.split()), list[tuple[str, object]]()
    for number, letter in re.findall(r"(\d*)([a-zA-Z])", format):
        if letter == "x":
            fields.append(("_gap", ctypes.c_uint8 * int(number or 1)))
        elif letter == "s":
            fields.append((next(name), _CTYPES[number + letter]))
        else:
            fields.extend((next(name), _CTYPES[letter]) for _ in range(int(number or 1)))
    return fields


def _properties(cls: Any, names: list[str]) -> dict[str, property]:
    """Make the attributes of a structure that are not plain fields."""
    found: dict[str, property] = {}
    if "status" in names:
        found["status"] = _enum_property(cls.status, AlarmStatus)
        found["severity"] = _enum_property(cls.severity, AlarmSeverity)
    if "seconds" in names:
        found["stamp"], found["timestamp"] = _STAMP_PROPERTY, _TIMESTAMP_PROPERTY
    if "strings" in names:
        found["enum_strings"] = _STATES_PROPERTY
    return found


def _structure(channel_type: ChannelType, names: str, format: str) -> type[DbrMetadata]:
    """Make the DBR structure of one row of the table."""
    listed = names.split()
    shown = {"seconds": ["stamp"], "nanoseconds": [], "no_str": [], "strings": ["enum_strings"]}
    namespace = {
        "__slots__": (),
        "__module__": __name__,
        "__doc__": (
            f"A value of {channel_type}, which has no metadata."
            if names == "value" else f"Metadata of {channel_type}: {', '.join(listed)}."
        ),
        "DBR_ID": channel_type,
        "_pack_": 1,
        "_layout_": "ms",  # what _pack_ implies; newer Pythons want it said
        "_fields_": _fields(names, format),
        "_shown": tuple(name for field in listed for name in shown.get(field, [field])),
    }
    meta: Any = type(DbrMetadata)  # that of ctypes, which makes the fields
    cls = meta(f"DBR_{channel_type}", (DbrMetadata,), namespace)
    for name, attribute in _properties(cls, listed).items():
        setattr(cls, name, attribute)
    return cls  # type: ignore[no-any-return]


# ---- layouts -------------------------------------------------------------------------------------

FAMILIES = ("native", "status", "time", "graphic", "control")


class Layout(NamedTuple):
    """Where the parts of a payload are, for one type."""

    #: The type itself.
    channel_type: ChannelType
    #: The type of its elements, STRING to DOUBLE.
    native: ChannelType
    #: 'native', 'status', 'time', 'graphic', 'control' or 'special'.
    family: str
    #: Offset of the first element in bytes.
    value_offset: int
    #: Bytes per element.
    item_size: int
    #: numpy's name of an element.
    dtype: str
    #: The letter of ``struct`` for an element (that of ``array.array`` too, except for strings).
    typecode: str

    @property
    def struct(self) -> type[DbrMetadata]:
        """Structure of the metadata."""
        if not self.value_offset:
            return NoMetadata
        return _structures.get(self.channel_type) or _made(self.channel_type)


def _layout(channel_type: ChannelType, format: str, element: str) -> Layout:
    family = FAMILIES[channel_type // 7] if channel_type < 35 else "special"
    native, dtype, item_size = _ELEMENTS[element]
    offset = struct.calcsize(f">{format}")
    return Layout(channel_type, native, family, offset, item_size, dtype, element)


#: The layout of each type, at the index that is its number.
LAYOUTS: tuple[Layout, ...] = tuple(
    _layout(channel_type, format, element)
    for channel_type, (_, format, element) in zip(CHANNEL_TYPES, _TABLE, strict=True)
)

#: The structures made so far.
_structures: dict[ChannelType, type[DbrMetadata]] = {}


def _made(channel_type: ChannelType) -> type[DbrMetadata]:
    """Make the structure of the metadata, or of a single value for a type without metadata."""
    names, format, element = _TABLE[channel_type]
    made = _structure(channel_type, names or "value", format or element)
    return _structures.setdefault(channel_type, made)  # another thread may have been quicker


def __getattr__(name: str) -> Any:
    """Make the structures that this module has by name."""
    number = ChannelType.__members__.get(name.removeprefix("DBR_"))
    if name == "DBR_TYPES":
        found: object = {each: _structures.get(each) or _made(each) for each in CHANNEL_TYPES}
    elif number is not None and name.startswith("DBR_"):
        found = _structures.get(number) or _made(number)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, found)


if TYPE_CHECKING:  # for editors and type checkers
    #: Type -> structure of its metadata, or of a single value for a type without metadata.
    DBR_TYPES: dict[ChannelType, type[DbrMetadata]] = {}
    (
        DBR_STRING, DBR_INT, DBR_FLOAT, DBR_ENUM, DBR_CHAR, DBR_LONG, DBR_DOUBLE,
        DBR_STS_STRING, DBR_STS_INT, DBR_STS_FLOAT, DBR_STS_ENUM, DBR_STS_CHAR,
        DBR_STS_LONG, DBR_STS_DOUBLE,
        DBR_TIME_STRING, DBR_TIME_INT, DBR_TIME_FLOAT, DBR_TIME_ENUM, DBR_TIME_CHAR,
        DBR_TIME_LONG, DBR_TIME_DOUBLE,
        DBR_GR_STRING, DBR_GR_INT, DBR_GR_FLOAT, DBR_GR_ENUM, DBR_GR_CHAR,
        DBR_GR_LONG, DBR_GR_DOUBLE,
        DBR_CTRL_STRING, DBR_CTRL_INT, DBR_CTRL_FLOAT, DBR_CTRL_ENUM, DBR_CTRL_CHAR,
        DBR_CTRL_LONG, DBR_CTRL_DOUBLE,
        DBR_PUT_ACKT, DBR_PUT_ACKS, DBR_STSACK_STRING, DBR_CLASS_NAME,
    ) = DBR_TYPES.values()


# ---- families ------------------------------------------------------------------------------------


def _family(name: str) -> tuple[ChannelType, ...]:
    return tuple(layout.channel_type for layout in LAYOUTS if layout.family == name)


#: The types that carry values alone.
native_types = _family("native")
#: The types that carry status and severity of the alarm with the value.
status_types = _family("status")
#: The types that carry status, severity and time stamp with the value.
time_types = _family("time")
#: The types that carry alarm, units, precision, limits or states with the value.
graphic_types = _family("graphic")
#: The types that carry what the graphic ones carry, and the limits for writing.
control_types = _family("control")

#: Family -> native type -> type of that family.
field_types: dict[str, dict[ChannelType, ChannelType]] = {
    name: dict(zip(native_types, _family(name), strict=True)) for name in FAMILIES
}


def native_type(data_type: int) -> ChannelType:
    """Return the type of the elements: ``native_type(ChannelType.TIME_ENUM)`` is ENUM.

    Raises
    ------
    CaprotoValueError
        There is no such type.
    """
    return LAYOUTS[ChannelType(data_type)].native
