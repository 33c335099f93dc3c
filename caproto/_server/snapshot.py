"""The state of a PV at one moment, and what it looks like as each of the 39 data types.

A `Snapshot` is immutable and shared between threads. It is encoded once per (type, count), at
the first request, so that a thousand subscribers share the same bytes.

This module does not deal with changes, subscribers or circuits.
"""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypedDict, get_args

from .._errors import CaprotoError, CaprotoValueError
from .._protocol.dbr import LAYOUTS, AlarmSeverity, AlarmStatus, ChannelType, DbrMetadata, TimeStamp
from .._protocol.payload import encode, payload_size
from .._protocol.status import CAStatus
from .._protocol.text import encode_text
from .conversions import CONVERTERS, Elements, TextFormat, convert, text_of_bytes

__all__ = ["NATIVE", "ChannelAlarm", "Properties", "Refused", "Snapshot"]

#: A snapshot keeps at most this many of its encodings.
_MAX_ENCODINGS = 16
Limit: TypeAlias = Literal[
    "upper_disp_limit",
    "lower_disp_limit",
    "upper_alarm_limit",
    "upper_warning_limit",
    "lower_warning_limit",
    "lower_alarm_limit",
    "upper_ctrl_limit",
    "lower_ctrl_limit",
]
#: Limits that a DBR structure may have; the properties of a channel go by the same names.
_LIMITS: tuple[Limit, ...] = get_args(Limit)


class Refused(CaprotoError):
    """A read or a write cannot be done; *status* is sent to the client.

    A getter or a putter may raise it: unlike other exceptions it is not logged.

    Parameters
    ----------
    message : str
        Why, for the log.
    status : CAStatus
        The ECA status of the reply; by default ECA_PUTFAIL or, from a getter, ECA_GETFAIL.
    """

    def __init__(self, message: str, status: CAStatus = CAStatus.ECA_PUTFAIL) -> None:
        super().__init__(message)
        self.status = status


class Properties(TypedDict, total=False):
    """Values of the `Property` members of a channel, by name; classes of users may have more."""

    reported_record_type: str
    report_as_string: bool
    units: str
    precision: int
    enum_strings: tuple[str, ...]
    upper_disp_limit: float
    lower_disp_limit: float
    upper_alarm_limit: float
    upper_warning_limit: float
    lower_warning_limit: float
    lower_alarm_limit: float
    upper_ctrl_limit: float
    lower_ctrl_limit: float
    value_atol: float
    log_atol: float


@dataclasses.dataclass(frozen=True)
class ChannelAlarm:
    """The alarm state of a channel. Immutable; a channel is given another one.

    Parameters
    ----------
    status : AlarmStatus
        The cause.
    severity : AlarmSeverity
        Its severity.
    must_acknowledge_transient : bool
        Whether an alarm that is over must still be acknowledged (``ackt``).
    severity_to_acknowledge : AlarmSeverity
        Highest severity that has not been acknowledged yet (``acks``).
    """

    status: AlarmStatus = AlarmStatus.NO_ALARM
    severity: AlarmSeverity = AlarmSeverity.NO_ALARM
    must_acknowledge_transient: bool = True
    severity_to_acknowledge: AlarmSeverity = AlarmSeverity.NO_ALARM

    def raised(self, status: int, severity: int) -> ChannelAlarm:
        """Return the alarm state after *status* and *severity* have been set."""
        if self.status == status and self.severity == severity:
            return self
        acks = self.severity_to_acknowledge
        if not self.must_acknowledge_transient or severity >= acks:
            acks = AlarmSeverity(severity)
        return dataclasses.replace(
            self,
            status=AlarmStatus(status),
            severity=AlarmSeverity(severity),
            severity_to_acknowledge=acks,
        )

    def acknowledged(self, severity: int) -> ChannelAlarm:
        """Return the alarm state after a client has acknowledged up to *severity*."""
        if severity < self.severity_to_acknowledge:
            return self
        return dataclasses.replace(self, severity_to_acknowledge=AlarmSeverity.NO_ALARM)


class Snapshot:
    """Everything about a channel at one moment. Immutable, shared between threads.

    Attributes
    ----------
    native : ChannelType
        Native type, 0 to 6.
    elements : sequence
        The elements, also of a scalar.
    alarm : ChannelAlarm
    stamp : TimeStamp
    properties : dict
        Name -> value of the `Property` members of the channel. Never changed in place.
    serial : int
        Grows with every change of the channel.
    """

    __slots__ = (
        "_encoded", "alarm", "elements", "is_text", "native", "properties", "serial", "stamp"
    )

    def __init__(
        self,
        native: ChannelType,
        elements: Elements,
        alarm: ChannelAlarm,
        stamp: TimeStamp,
        properties: Properties,
        serial: int,
        is_text: bool = False,
    ) -> None:
        self.native = native
        self.elements = elements
        self.alarm = alarm
        self.stamp = stamp
        self.properties = properties
        self.serial = serial
        self.is_text = is_text
        self._encoded: dict[tuple[int, int], tuple[bytes, int]] = {}

    def replace(self, **changes: Any) -> Snapshot:
        """Return a copy with other values; it has encoded nothing yet."""
        arguments = {name: getattr(self, name) for name in self.__slots__ if name != "_encoded"}
        return Snapshot(**{**arguments, **changes})

    @property
    def nbytes(self) -> int:
        """About how much memory the elements occupy."""
        elements = self.elements
        if isinstance(elements, (tuple, list)):
            return 40 * len(elements)
        return memoryview(elements).nbytes  # type: ignore[arg-type]

    @property
    def text_format(self) -> TextFormat:
        """How numbers and states look as text."""
        properties = self.properties
        return TextFormat(properties.get("precision", 0), properties.get("enum_strings", ()))

    def converted(self, target: ChannelType) -> Elements:
        """Convert the elements to another native type. A long text is one string."""
        if target is self.native and target is not ChannelType.STRING:
            return self.elements
        if self.is_text and target is ChannelType.STRING:
            texts = [text_of_bytes(bytes(self.elements))]
            return convert(texts, ChannelType.STRING, target, self.text_format)
        return convert(self.elements, self.native, target, self.text_format)

    def encode(self, data_type: int, data_count: int) -> tuple[bytes, int]:
        """Encode the value as *data_type*: the payload of a reply, and its element count.

        Parameters
        ----------
        data_type : int
            Any DBR type.
        data_count : int
            0 for as many elements as there are; more than there are: the rest is zero.

        Returns
        -------
        payload : bytes
            Padded to a multiple of 8.
        data_count : int

        Raises
        ------
        Refused
            GETFAIL for types that cannot be read (PUT_ACKT, PUT_ACKS) and values that cannot be
            converted.
        """
        key = data_type, data_count
        try:
            return self._encoded[key]
        except KeyError:
            pass
        try:
            result = _ENCODERS[data_type // 7](self, data_type, data_count)
        except CaprotoValueError as exc:
            raise Refused(str(exc), CAStatus.ECA_GETFAIL) from exc
        if len(self._encoded) >= _MAX_ENCODINGS:  # a client may ask for every count there is
            self._encoded.clear()
        self._encoded[key] = result
        return result


def _encode_regular(snapshot: Snapshot, data_type: int, data_count: int) -> tuple[bytes, int]:
    """Encode plain, STS, TIME, GR and CTRL types, and STSACK_STRING."""
    elements = snapshot.converted(_TARGETS[data_type])
    present = len(elements)
    count = data_count or present
    if count < present:
        elements = elements[:count]
        present = count
    metadata = _METADATA[data_type // 7](snapshot, data_type)
    payload, _ = encode(elements, data_type, present, metadata)
    if present < count or len(payload) < payload_size(data_type, count):
        payload = bytes(payload).ljust(payload_size(data_type, count), b"\0")
    return payload, count


def _encode_special(snapshot: Snapshot, data_type: int, data_count: int) -> tuple[bytes, int]:
    """Encode CLASS_NAME, always one element; the PUT types are only for writing."""
    if data_type == ChannelType.STSACK_STRING:
        return _encode_regular(snapshot, data_type, data_count)
    if data_type != ChannelType.CLASS_NAME:
        raise Refused(
            f"{ChannelType(data_type).name} can only be written", CAStatus.ECA_GETFAIL
        )
    payload, _ = encode([snapshot.properties["reported_record_type"]], data_type, 1)
    return bytes(payload).ljust(payload_size(data_type, 1), b"\0"), 1


def _no_metadata(snapshot: Snapshot, data_type: int) -> None:
    return None


def _times(snapshot: Snapshot, data_type: int) -> tuple[int, int, TimeStamp]:
    alarm = snapshot.alarm
    return alarm.status, alarm.severity, snapshot.stamp


def _structure(snapshot: Snapshot, data_type: int) -> DbrMetadata:
    """Fill the DBR structure of *data_type* with what the channel has."""
    structure = LAYOUTS[data_type].struct()
    alarm = snapshot.alarm
    structure.status = alarm.status
    structure.severity = alarm.severity
    if data_type == ChannelType.STSACK_STRING:
        structure.ackt = alarm.must_acknowledge_transient
        structure.acks = alarm.severity_to_acknowledge
        return structure
    properties = snapshot.properties
    number = CONVERTERS[ChannelType.DOUBLE][NATIVE[data_type % 7]]
    present = {field for field, *_ in structure._fields_}
    if "units" in present:
        structure.units = encode_text(properties.get("units", ""))[:7]
    if "precision" in present:
        structure.precision = properties.get("precision", 0)
    for name in _LIMITS:
        if name in present:
            limit = float(properties.get(name, _NOT_DEFINED.get(name, 0.0)))
            if math.isnan(limit) and data_type % 7 not in _FLOATS:
                limit = 0.0
            setattr(structure, name, number(limit, TextFormat()))
    if data_type % 7 == ChannelType.ENUM:
        states = properties.get("enum_strings", ())
        structure.enum_strings = [encode_text(state) for state in states]
    return structure


#: The native types at the index that is their number.
NATIVE: tuple[ChannelType, ...] = tuple(ChannelType(number) for number in range(7))
#: What the elements become, for each type.
_TARGETS = (*NATIVE * 5, *[ChannelType.STRING] * 4)
_FLOATS = (ChannelType.FLOAT, ChannelType.DOUBLE)
#: The limits of channels that have no such property.
_NOT_DEFINED = {name: math.nan for name in _LIMITS if "alarm" in name or "warning" in name}
_METADATA: tuple[Callable[[Snapshot, int], object], ...] = (
    _no_metadata, _times, _times, _structure, _structure, _structure
)
_ENCODERS = (_encode_regular,) * 5 + (_encode_special,)
