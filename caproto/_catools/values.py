"""Values as the EPICS tools write them: numbers, states, texts, in the format of the options."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .._protocol.dbr import LAYOUTS, ChannelType, DbrMetadata
from .._protocol.message import DataMessage
from .._protocol.payload import elements_of, metadata_of
from .._protocol.text import decode_text, encode_text
from .._typing import TYPE_CHECKING, NamedTuple
from .settings import Settings

if TYPE_CHECKING:
    from typing import Any

__all__ = ["Reading", "escaped", "raw_text", "shown", "signed", "unescaped", "value_texts"]

#: Characters that have an escape sequence of their own.
_ESCAPES = {
    7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r",
    34: '\\"', 39: "\\'", 92: "\\\\",
}
_UNESCAPED = {sequence[1]: code for code, sequence in _ESCAPES.items()}
_HEX_DIGITS = "0123456789abcdefABCDEF"
_INTEGERS = (ChannelType.INT, ChannelType.LONG)
_FLOATS = (ChannelType.FLOAT, ChannelType.DOUBLE)
#: How an unsigned number of 32 bits is written in each base.
_BASES: dict[str, Callable[[int], str]] = {
    "x": "0x{:X}".format, "o": "0o{:o}".format, "b": "{:b}".format,
}
_LOWEST = -(1 << 31)


class Reading(NamedTuple):
    """What came from the server: a type, a number of elements, bytes."""

    data_type: int
    length: int
    payload: bytes | memoryview

    @classmethod
    def from_response(cls, response: DataMessage) -> Reading:
        """Take it out of a response."""
        return cls(response.data_type, response.data_count, response.payload)

    @classmethod
    def zeros(cls, data_type: int, length: int) -> Reading:
        """Make one with zeros; what the EPICS tools print where the server sent no value."""
        layout = LAYOUTS[data_type]
        return cls(data_type, length, bytes(layout.value_offset + length * layout.item_size))

    @property
    def native(self) -> ChannelType:
        """The type of the elements."""
        return LAYOUTS[self.data_type].native

    @property
    def family(self) -> str:
        """The family of the type, 'native' to 'control', or 'special'."""
        return LAYOUTS[self.data_type].family

    @property
    def elements(self) -> Sequence[Any]:
        """The values: numbers, or bytes for texts."""
        return elements_of(self.payload, self.data_type, self.length, 0, self.length)

    @property
    def metadata(self) -> DbrMetadata:
        """What comes with the values."""
        return metadata_of(self.payload, self.data_type)


def value_texts(reading: Reading, settings: Settings, long_text: bool) -> list[str]:
    """Write each element, or with *long_text* all of them as one text."""
    native, elements = reading.native, reading.elements
    if long_text:
        return [shown(bytes(elements).partition(b"\0")[0], settings)]
    if native is ChannelType.STRING:
        return [shown(text, settings) for text in elements]
    if native in _FLOATS:
        return [_float_text(number, settings) for number in elements]
    if native is ChannelType.ENUM and reading.family in ("graphic", "control"):
        return [_state_text(state, reading.metadata, settings) for state in elements]
    if native is ChannelType.CHAR:
        return [str(signed(number)) for number in elements]
    if native in _INTEGERS and settings.integer_base:
        write = _BASES[settings.integer_base]
        return [write(number & 0xFFFFFFFF) for number in elements]
    return [str(number) for number in elements]


def signed(number: int) -> int:
    """Return a CHAR as C has it."""
    return number - 256 if number > 127 else number


def _float_text(number: float, settings: Settings) -> str:
    if settings.float_base:
        return _BASES[settings.float_base](_rounded(number) & 0xFFFFFFFF)
    text = settings.float_format % number
    return f"-{text}" if number != number and math.copysign(1, number) < 0 else text


def _rounded(number: float) -> int:
    """Round half away from zero to 32 bits; what does not fit is the lowest number, as on x86."""
    if not math.isfinite(number):
        return _LOWEST
    whole = int(number + math.copysign(0.5, number))
    return whole if _LOWEST <= whole < -_LOWEST else _LOWEST


def _state_text(state: int, metadata: DbrMetadata, settings: Settings) -> str:
    if settings.enum_as_number:
        return str(state)
    names = metadata.enum_strings
    return raw_text(names[state]) if state < len(names) else f"Enum Index Overflow ({state})"


def raw_text(raw: bytes) -> str:
    """Decode *raw* so that printing it gives the same bytes."""
    return raw.decode("utf-8", "surrogateescape")


def shown(raw: bytes, settings: Settings) -> str:
    """Write a text as the EPICS tools do, or with all characters that can be printed."""
    if not settings.utf8 or raw.isascii():
        return escaped(raw)
    return "".join(
        letter if letter.isprintable() and not letter.isascii() else escaped(encode_text(letter))
        for letter in decode_text(raw)
    )


def escaped(raw: bytes) -> str:
    """Write bytes as printable ASCII, with the escape sequences of C."""
    return "".join(
        _ESCAPES.get(code) or (chr(code) if 32 <= code < 127 else f"\\x{code:02x}") for code in raw
    )


def unescaped(text: str) -> bytes:
    """Return the bytes that a text with escape sequences of C stands for.

    A backslash before any other character is left out.

    Parameters
    ----------
    text : str
        Decoded as UTF-8, whatever the locale; surrogates stand for bytes that are not UTF-8.
    """
    raw, place = bytearray(), 0
    while place < len(text):
        start = place
        place = text.find("\\", start)
        if place < 0 or place + 1 == len(text):
            raw += encode_text(text[start:])
            break
        raw += encode_text(text[start:place])
        letter, place = text[place + 1], place + 2
        if letter == "x":
            digits = "".join(_hex_digits(text[place : place + 2]))
            place += len(digits)
            raw.append(int(digits or "0", 16))
        elif letter in _UNESCAPED:
            raw.append(_UNESCAPED[letter])
        else:
            raw += encode_text(letter)
    return bytes(raw)


def _hex_digits(text: str) -> list[str]:
    """Return the digits that *text* begins with."""
    digits: list[str] = []
    for letter in text:
        if letter not in _HEX_DIGITS:
            break
        digits.append(letter)
    return digits
