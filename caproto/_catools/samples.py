"""Samples: one value with all that is known about it, or why there is none."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from .._client.metadata import Metadata
from .._protocol.dbr import AlarmSeverity, AlarmStatus, ChannelType, field_types
from .._protocol.payload import shortest
from .._protocol.text import decode_text, encode_text
from .._protocol.timestamp import TimeStamp
from .._typing import NamedTuple
from ..threading.client import PV
from .number_forms import human_texts, precise
from .settings import Settings
from .values import Reading, shown, value_texts

__all__ = [
    "SEVERITIES", "Sample", "Value", "host_of", "is_text", "sample_texts", "sample_value",
    "sampled_type", "severity_name",
]

#: An element of a value.
Scalar: TypeAlias = "float | int | str"
Value: TypeAlias = "Scalar | list[Scalar]"

SEVERITIES = ("NO_ALARM", "MINOR", "MAJOR", "INVALID")
_FLOATS = (ChannelType.FLOAT, ChannelType.DOUBLE)
_NUMBERS = (*_FLOATS, ChannelType.INT, ChannelType.LONG, ChannelType.CHAR)


class Sample(NamedTuple):
    """A value of a PV, or an event without one.

    Attributes
    ----------
    name : str
        Of the PV.
    event : str
        'value', 'old' and 'new' (of a write), 'metadata', 'disconnected', 'not connected', 'error'.
    reading : Reading or None
        None if the event has no value.
    native : ChannelType
        The channel's own type.
    room : int
        The number of elements that the channel can have.
    about : Metadata
        Units, precision, limits and states; empty if they are unknown.
    host : str
        'host:port' of the server, empty if unknown.
    arrival : TimeStamp or None
        When it came.
    text : str
        What happened, for events without a value.
    place : int
        The place of the name on the command line.
    """

    name: str
    event: str = "value"
    reading: Reading | None = None
    native: ChannelType = ChannelType.STRING
    room: int = 1
    about: Metadata = Metadata()
    host: str = ""
    arrival: TimeStamp | None = None
    text: str = ""
    place: int = 0

    @property
    def stamp(self) -> TimeStamp | None:
        """When the value was set; None if the server does not say."""
        stamp = self._field("stamp")
        return stamp if isinstance(stamp, TimeStamp) else None

    @property
    def severity(self) -> int | None:
        """The severity of its alarm, 0 to 3."""
        severity = self._field("severity")
        return int(severity) if isinstance(severity, AlarmSeverity) else None

    @property
    def status(self) -> AlarmStatus | None:
        """The cause of its alarm."""
        status = self._field("status")
        return status if isinstance(status, AlarmStatus) else None

    @property
    def state(self) -> str | None:
        """The name of the state of an enum; None for other values."""
        if self.reading is None or self.reading.native is not ChannelType.ENUM:
            return None
        return "".join(self.states(self.reading.elements[:1]))

    def states(self, numbers: Sequence[int]) -> list[str]:
        """Name states by their numbers; the number is the name where there is none."""
        names = self.about.enum_strings
        return [names[one] if one < len(names) and names[one] else str(one) for one in numbers]

    def _field(self, name: str) -> object:
        if self.reading is None or self.reading.family == "native":
            return None
        return getattr(self.reading.metadata, name, None)


def severity_name(severity: int) -> str:
    """Return the name of a severity; its number if it has none."""
    return SEVERITIES[severity] if severity < len(SEVERITIES) else str(severity)


def sampled_type(native: ChannelType, settings: Settings) -> ChannelType:
    """Return the type that samples are requested as: states as numbers, unlike in the EPICS tools.

    Parameters
    ----------
    native : ChannelType
        The channel's own type.
    settings : Settings
    """
    if settings.form == "typed" and settings.data_type is not None:
        return ChannelType(settings.data_type)
    if native in _FLOATS and settings.float_as_string:
        native = ChannelType.STRING
    return field_types["time"][native]


def host_of(pv: PV) -> str:
    """Return the server of a PV, 'host:port'; empty if it has none."""
    return "{}:{}".format(*pv.server) if pv.server is not None else ""


def is_text(sample: Sample, settings: Settings) -> bool:
    """Tell whether the value is an array of CHAR that is printed as text."""
    reading = sample.reading
    is_char = reading is not None and reading.native is ChannelType.CHAR
    return is_char and settings.char_as_text and sample.room > 1


def sample_value(sample: Sample, settings: Settings) -> Value | None:
    """Return the value as a program has it; None if there is none.

    Returns
    -------
    float, int, str, list or None
        A list if the channel can have several elements, whatever their number now is. The number
        of a state, not its name. An array of CHAR as text, or as numbers of 0 to 255.
    """
    reading = sample.reading
    if reading is None:
        return None
    elements = reading.elements
    if is_text(sample, settings):
        return decode_text(bytes(elements).partition(b"\0")[0])
    if reading.native is ChannelType.STRING:
        values: list[Scalar] = [decode_text(text) for text in elements]
        if sample.room == 1 and not values:  # an empty text of a long string
            return ""
    elif reading.native is ChannelType.FLOAT:
        values = [float(shortest(number)) for number in elements]
    else:
        values = list(elements)
    return values[0] if sample.room == 1 and len(values) == 1 else values


def sample_texts(sample: Sample, settings: Settings) -> list[str]:
    """Write each element as the settings say; a text is one element."""
    reading, extras = sample.reading, settings.extras
    if reading is None:
        return []
    form = extras.number_form if extras is not None else "plain"
    if reading.native is ChannelType.ENUM and not settings.enum_as_number:
        states = sample.states(reading.elements)
        return [shown(encode_text(state), settings) for state in states]
    if is_text(sample, settings) or reading.native not in _NUMBERS:
        return value_texts(reading, settings, is_text(sample, settings))
    if form == "human":
        units = shown(encode_text(sample.about.units), settings)
        return human_texts(list(reading.elements), units)
    if form == "precise" and reading.native in _FLOATS:
        return [precise(number, reading.native) for number in reading.elements]
    return value_texts(reading, settings, False)
