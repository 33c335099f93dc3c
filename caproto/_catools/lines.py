"""Lines: one value in each of the forms that the EPICS tools have."""
from __future__ import annotations

from collections.abc import Callable, Iterator

from .._protocol.dbr import AlarmStatus, ChannelType, DbrMetadata
from .._protocol.text import decode_text
from .._protocol.timestamp import TimeStamp
from .settings import Settings
from .times import local_time
from .typenames import native_name, request_name
from .values import Reading, raw_text, signed, value_texts

__all__ = ["coloured", "line_of", "name_column"]

_NAME_WIDTH = 30
_FLOATS = (ChannelType.FLOAT, ChannelType.DOUBLE)
_KNOWN_STATUSES = frozenset(AlarmStatus)
#: Yellow, red, magenta: the colours of ANSI terminals that are nearest to those of displays.
_COLOURS = {1: 33, 2: 31, 3: 35}
_SEVERITIES = ("NO_ALARM", "MINOR", "MAJOR", "INVALID")
#: The limits in the order in which they are printed: title and field.
_DISPLAY_LIMITS = (
    ("Lo disp limit", "lower_disp_limit"), ("Hi disp limit", "upper_disp_limit"),
    ("Lo alarm limit", "lower_alarm_limit"), ("Lo warn limit", "lower_warning_limit"),
    ("Hi warn limit", "upper_warning_limit"), ("Hi alarm limit", "upper_alarm_limit"),
)
_CONTROL_LIMITS = (
    ("Lo ctrl limit", "lower_ctrl_limit"), ("Hi ctrl limit", "upper_ctrl_limit"),
)


def name_column(name: str, settings: Settings, count: int = 1) -> str:
    """Write the name, and blanks after it if one value follows."""
    return f"{name:<{_NAME_WIDTH}}" if count <= 1 and settings.separator == " " else name


def line_of(
    name: str,
    reading: Reading,
    native: int,
    room: int,
    settings: Settings,
    stamp: Callable[[TimeStamp], str] = local_time,
    texts: list[str] | None = None,
) -> str:
    """Write one value in the form of the settings.

    Parameters
    ----------
    name : str
    reading : Reading
    native : int
        The channel's own type.
    room : int
        The number of elements that the channel can have.
    settings : Settings
    stamp : callable, optional
        Writes the time stamp. Default: the server's, in local time.
    texts : list of str, optional
        The elements as text. Default: as the EPICS tools write them.
    """
    is_text = settings.char_as_text and reading.native is ChannelType.CHAR and room > 1
    if texts is None:
        texts = value_texts(reading, settings, is_text)
    if settings.form == "typed":
        return "\n".join([name, *_details(reading, native, texts, settings, stamp)])
    if not is_text and (reading.length > 1 or settings.count):
        texts.insert(0, str(reading.length))
    severity = reading.metadata.severity if settings.colour and reading.family != "native" else 0
    if severity:
        texts = [coloured(text, severity) for text in texts]
    separator = settings.separator
    if settings.form == "terse":
        return separator.join(texts)
    column = name_column(name, settings, room if is_text else reading.length)
    if settings.form == "plain":
        return column + separator + separator.join(texts)
    metadata = reading.metadata
    alarm = [coloured(text, severity) for text in _alarm(metadata)]
    return separator.join([column, stamp(metadata.stamp), *texts, *alarm])


def coloured(text: str, severity: int) -> str:
    """Write *text* in the colour of a severity, for a terminal."""
    colour = _COLOURS.get(severity)
    return f"\x1b[{colour}m{text}\x1b[0m" if colour and text else text


def _alarm(metadata: DbrMetadata) -> tuple[str, str]:
    """Name status and severity; nothing if there is no alarm."""
    if not metadata.status and not metadata.severity:
        return "", ""
    return _status(metadata), _severity(metadata)


def _status(metadata: DbrMetadata) -> str:
    status = metadata.status
    return status.name if status in _KNOWN_STATUSES else f"Illegal Value ({int(status)})"


def _severity(metadata: DbrMetadata) -> str:
    severity = int(metadata.severity)
    return _SEVERITIES[severity] if severity < len(_SEVERITIES) else f"Illegal Value ({severity})"


# ---- the form 'typed'


def _details(
    reading: Reading,
    native: int,
    texts: list[str],
    settings: Settings,
    stamp: Callable[[TimeStamp], str],
) -> Iterator[str]:
    """Yield everything that came with a value, a line each."""
    yield _titled("Native data type", native_name(native))
    yield _titled("Request type", request_name(reading.data_type))
    if reading.data_type == ChannelType.CLASS_NAME:
        yield _titled("Class Name", "".join(texts[:1]))
        return
    yield _titled("Element count", str(reading.length))
    yield _titled("Value", settings.separator.join(texts))
    if reading.family == "native":
        return
    metadata = reading.metadata
    if reading.family == "time":
        yield _titled("Timestamp", stamp(metadata.stamp))
    yield _titled("Status", _status(metadata))
    yield _titled("Severity", _severity(metadata))
    if reading.family == "special":
        yield _titled("Ack transient?", "YES" if metadata.ackt else "NO")
        yield _titled("Ack severity", _SEVERITIES[metadata.acks & 3])
    elif reading.family in ("graphic", "control") and reading.native is not ChannelType.STRING:
        yield from _properties(reading, metadata, settings)


def _titled(title: str, text: str) -> str:
    return f"    {title + ':':<18}{text}"


def _properties(
    reading: Reading, metadata: DbrMetadata, settings: Settings
) -> Iterator[str]:
    """Yield states, or units, precision and limits."""
    text_of = decode_text if settings.utf8 else raw_text  # the EPICS tools print the bytes
    if reading.native is ChannelType.ENUM:
        states = metadata.enum_strings
        yield _titled("Enums", f"({len(states):2d})")
        for number, state in enumerate(states):
            yield f"{'':22}[{number:2d}] {text_of(state)}"
        return
    yield _titled("Units", text_of(metadata.units))
    is_float = reading.native in _FLOATS
    if is_float:
        yield _titled("Precision", str(metadata.precision))
    limits = _DISPLAY_LIMITS + _CONTROL_LIMITS * (reading.family == "control")
    for title, field in limits:
        limit = getattr(metadata, field)
        if is_float:
            text = f"{limit:g}"
        else:
            text = f"{signed(limit) if reading.native is ChannelType.CHAR else limit:8d}"
        yield _titled(title, text)
