"""Readings: what a table shows of an update: text, number, alarm, time."""
from __future__ import annotations

from functools import partial
from typing import Any

from ..._client.metadata import Metadata
from ..._errors import CaprotoError
from ..._protocol.commands import EventAddResponse
from ..._protocol.dbr import LAYOUTS, ChannelType
from ..._protocol.payload import elements_of, shortest
from ..._protocol.presentation import alarm_words, number_text, reads_as_text
from ..._protocol.text import decode_text
from ..._typing import NamedTuple
from ..settings import Settings
from ..values import Reading, signed, value_texts
from .cells import printable

__all__ = ["NOTHING", "WHOLE", "Shown", "count_to_request", "read_update"]

#: Of an array this many elements are written.
_WRITTEN = 16
#: An array that can have more elements is not requested as a whole: it may be an image.
WHOLE = 4096
_FLOATS = (ChannelType.FLOAT, ChannelType.DOUBLE)
_PLAIN_FLOAT = Settings("").float_format


class Shown(NamedTuple):
    """What a table shows of an update."""

    text: str = ""
    #: For sorting and the sparkline; None if it is not one number.
    number: float | None = None
    #: 0 to 3.
    severity: int = 0
    #: Severity and status; empty if there is no alarm.
    alarm: str = ""
    #: When the server set the value, in POSIX seconds; None if that is undefined.
    time: float | None = None


#: Before the first update.
NOTHING = Shown()


def count_to_request(room: int, settings: Settings) -> int | None:
    """Return how many elements to request of a channel that can have *room*; None for all."""
    if settings.count:
        return min(settings.count, room) or None
    return _WRITTEN if room > WHOLE else None


def read_update(
    response: EventAddResponse, room: int, metadata: Metadata, settings: Settings
) -> Shown:
    """Take out of an update what is shown of it.

    Parameters
    ----------
    response : EventAddResponse
        Of a type with time stamp. One with an error, or one that makes no sense, gives its message.
    room : int
        The number of elements that the channel can have.
    metadata : Metadata
        What describes the channel.
    settings : Settings
        The formats.
    """
    try:
        if response.status.name != "ECA_NORMAL":
            return Shown(response.status.description)
        number, text = _value(response, room, metadata, settings)
        structure = response.metadata
    except CaprotoError as error:
        return Shown(printable(str(error)))
    if structure is None or LAYOUTS[response.data_type].family != "time":
        return Shown(printable(text), number)  # not the type that was requested
    status, severity, stamp = structure.status, structure.severity, structure.stamp
    return Shown(
        text=printable(text),
        number=number,
        severity=min(int(severity), 3),
        alarm=alarm_words(status, severity) if severity or status else "",
        time=stamp.timestamp if stamp.seconds else None,
    )


def _value(
    response: EventAddResponse, room: int, metadata: Metadata, settings: Settings
) -> tuple[float | None, str]:
    """Return the number, if it is one, and the text."""
    layout, count = LAYOUTS[response.data_type], response.data_count
    payload = response.payload
    if layout.native is ChannelType.CHAR and room > 1 and (
        settings.char_as_text
        or response.facts.long_text
        or reads_as_text(bytes(payload[layout.value_offset : layout.value_offset + count]))
    ):
        return None, response.strings[0]
    elements = elements_of(payload, response.data_type, count, 0, min(count, _WRITTEN))
    texts = _texts(layout.native, elements, response, metadata, settings)
    if room > 1:
        size = f"[{count}]" if count_to_request(room, settings) is None else f"[up to {room}]"
        more = ", …" if count > _WRITTEN or size != f"[{count}]" else ""
        return None, f"{size} {', '.join(texts)}{more}".rstrip()
    if layout.native is ChannelType.STRING or not texts:
        return None, ", ".join(texts)
    (element,) = elements
    return float(signed(element) if layout.native is ChannelType.CHAR else element), texts[0]


def _texts(
    native: ChannelType,
    elements: Any,
    response: EventAddResponse,
    metadata: Metadata,
    settings: Settings,
) -> list[str]:
    """Write some elements."""
    if native is ChannelType.STRING:
        return list(map(decode_text, elements))
    if native is ChannelType.ENUM and not settings.enum_as_number:
        names = metadata.enum_strings
        return [names[state] if state < len(names) else str(state) for state in elements]
    plain = settings.float_format == _PLAIN_FLOAT and not settings.float_base
    if native in _FLOATS and plain and metadata.precision is not None:
        return list(map(partial(number_text, precision=metadata.precision), elements))
    if native in _FLOATS and plain:
        return list(map(shortest if native is ChannelType.FLOAT else str, elements))
    reading = Reading(response.data_type, len(elements), response.payload)
    return value_texts(reading, settings, False)
