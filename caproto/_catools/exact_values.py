"""Exact values: what is sent is what was asked for, or nothing is.

The EPICS tools send text, and the server takes what it can use of it: 1 of ``1.7`` and of ``1 2``
for a LONG, 39 bytes of a longer text. Under ``--strict``, and for values from files, words and JSON
are converted here to the type of the channel, and refused if that loses anything.
"""
from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from reprlib import repr as short_repr

from .._errors import CaprotoValueError
from .._protocol.constants import MAX_STRING_SIZE
from .._protocol.dbr import ChannelType
from .._protocol.text import decode_text, encode_text
from .number_forms import JsonNumber
from .values import escaped, unescaped

__all__ = [
    "JSON_KINDS", "checked_string", "checked_text", "element_from_json", "number_from_word",
    "state_number", "state_with_name", "unknown_state",
]

_WHOLE = re.compile(r"[+-]?(0|[1-9]\d{0,99}|0[xX][0-9a-fA-F]{1,99})", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
#: Not numbers, but what floating point has, as C writes them.
_SPECIAL = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]|[^x]|x)", re.DOTALL)
_KNOWN_ESCAPES = "abtnvfr\"'\\"

_ZERO = re.compile(r"[+-]?(0+\.?0*|\.0+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE_TYPES = (ChannelType.CHAR, ChannelType.INT, ChannelType.LONG, ChannelType.ENUM)
#: Characters of a number or of JSON in a message.
_LONGEST_SHOWN = 60
_HIGHEST_STATE = 0xFFFF
#: What JSON has for numbers that it does not have.
_JSON_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


# ---- words


def number_from_word(word: str, native: ChannelType) -> float:
    """Return the number that a word of a command line stands for.

    Parameters
    ----------
    word : str
        Decimal, or for whole numbers hexadecimal; for floating point also ``nan`` and ``inf``.
    native : ChannelType
        The channel's own type, not STRING. The range of whole numbers is checked when the message
        is made.

    Raises
    ------
    CaprotoValueError
        It is not a number of this type, but text, with a fraction, or with leading zeros, which
        servers read as octal.
    """
    text = word.strip()
    if native in _WHOLE_TYPES:
        if _WHOLE.fullmatch(text):
            return int(text, 0)
        if _DECIMAL.fullmatch(text):
            return _whole_of_decimal(text, native)
    elif _ZERO.fullmatch(text):
        return float(text)
    elif _WHOLE.fullmatch(text):
        return _kept(int(text, 0), text, native)
    elif _DECIMAL.fullmatch(text):
        number = float(text)
        if math.isinf(number) or not number:
            raise _beyond(text, native)
        return _kept(number, text, native)
    elif _SPECIAL.fullmatch(text):
        return float(text)
    kind = "a whole number" if native in _WHOLE_TYPES else "a number"
    raise CaprotoValueError(f"{short_repr(word)} is not {kind}, as {native} needs")


def _whole_of_decimal(text: str, native: ChannelType) -> int:
    """Return the whole number that is written as ``5.0`` or ``1e3``, without rounding."""
    from decimal import Decimal, InvalidOperation

    digits = text.lstrip("+-")
    if digits.startswith("0") and digits.isdecimal():
        raise CaprotoValueError(f"{text!r} has leading zeros, which servers read as octal")
    if _ZERO.fullmatch(text):
        return 0
    try:
        number = Decimal(text)
        is_whole = number == number.to_integral_value()
    except InvalidOperation:  # an exponent beyond all bounds
        raise _beyond(text, native) from None
    if not is_whole:
        raise CaprotoValueError(f"{_short(text)} is not a whole number, as {native} needs")
    if number.adjusted() > 20:  # before it becomes an int of that many digits
        raise _beyond(text, native)
    return int(number)


def _kept(number: float, text: str, native: ChannelType) -> float:
    """Return a number if FLOAT or DOUBLE holds it: a whole one exactly, another one rounded."""
    form = ">f" if native is ChannelType.FLOAT else ">d"
    try:
        (stored,) = struct.unpack(form, struct.pack(form, number))
    except (OverflowError, struct.error):  # the second one for an int that no float holds
        raise _beyond(text, native) from None
    if not stored or (isinstance(number, int) and stored != number):
        raise CaprotoValueError(
            f"{native} cannot hold {_short(text)}; the nearest it has is {stored:.17g}"
        )
    return number


def _beyond(text: str, native: ChannelType) -> CaprotoValueError:
    return CaprotoValueError(f"{short_repr(text)} is beyond the range of {native}")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def checked_text(word: str) -> bytes:
    """Return the bytes of a text with escape sequences, if no character of it is lost.

    Raises
    ------
    CaprotoValueError
        An escape sequence is unknown, or it stands for a zero byte, where receivers cut texts.
    """
    for found in _ESCAPE.finditer(word):
        if found[1] not in _KNOWN_ESCAPES and len(found[1]) == 1:
            raise CaprotoValueError(
                f"{short_repr(word)}: {found[0]} is not an escape sequence; "
                r"a backslash is written \\"
            )
    raw = unescaped(word)
    if b"\0" in raw:
        raise _cut_at_zero(word)
    return raw


def _cut_at_zero(text: str) -> CaprotoValueError:
    return CaprotoValueError(f"{short_repr(text)} has a zero byte, where receivers would cut it")


def checked_string(word: str) -> bytes:
    """Return the bytes of a text for a STRING.

    Raises
    ------
    CaprotoValueError
        As for `checked_text`, or it is too long.
    """
    raw = checked_text(word)
    _check_size(word, raw)
    return raw


def _check_size(text: str, raw: bytes) -> None:
    if len(raw) >= MAX_STRING_SIZE:
        raise CaprotoValueError(
            f"{short_repr(text)} has {len(raw)} bytes; STRING holds {MAX_STRING_SIZE - 1}"
        )


def unknown_state(word: str, states: Sequence[str]) -> CaprotoValueError:
    """Make the error about a state that a PV does not have."""
    known = ", ".join(_shown(name) for name in states if name)
    return CaprotoValueError(
        f"{short_repr(word)} is not a state" + (f"; there are {known}" if known else "")
    )


def state_with_name(word: str, states: Sequence[str], escapes: bool = False) -> int | None:
    """Return the number of the state of this name; None if there is none.

    Parameters
    ----------
    word : str
        The name as it is, or as JSON has it. An empty word is the name of none.
    states : sequence of str
        The names of the states; surrogates stand for bytes that are not UTF-8.
    escapes : bool
        Whether *word* may also have escape sequences, as the tools print them.
    """
    if not word:
        return None
    forms = [states, [_shown(name) for name in states]]
    if escapes:
        forms.append([escaped(encode_text(name)) for name in states])
    for names in forms:
        if word in names:
            return names.index(word)
    return None


def _shown(name: str) -> str:
    """Write the name of a state as JSON has it: Latin-1 if it is not UTF-8."""
    return decode_text(encode_text(name))


def state_number(number: int, states: Sequence[str]) -> int:
    """Check that an enum has this state; return its number.

    Parameters
    ----------
    number : int
    states : sequence of str
        Their names. Empty if the server does not name them: then it may be any number.

    Raises
    ------
    CaprotoValueError
    """
    highest = len(states) - 1 if states else _HIGHEST_STATE
    if not 0 <= number <= highest:
        raise CaprotoValueError(f"{number} is not the number of a state, 0 to {highest}")
    return number


# ---- JSON


def _text(value: object, native: ChannelType, states: Sequence[str]) -> object:
    if not isinstance(value, str):
        return None
    raw = encode_text(value)
    if b"\0" in raw:
        raise _cut_at_zero(value)
    _check_size(value, raw)
    return value


def _number(value: object, native: ChannelType, states: Sequence[str]) -> float | None:
    return number_from_word(value.text, native) if isinstance(value, JsonNumber) else None


def _real(value: object, native: ChannelType, states: Sequence[str]) -> object:
    if isinstance(value, str):
        return _JSON_NUMBERS.get(value)
    return _number(value, native, states)


def _state(value: object, native: ChannelType, states: Sequence[str]) -> object:
    if isinstance(value, str):
        state = state_with_name(value, states)
        if state is None:
            raise unknown_state(value, states)
        return state
    number = _number(value, native, states)
    return None if number is None else state_number(int(number), states)


_REAL = 'a number, "NaN", "Infinity" or "-Infinity"'
#: What of JSON may be written to each type: in words, and what makes a value of it, or None.
JSON_KINDS: Mapping[
    ChannelType, tuple[str, Callable[[object, ChannelType, Sequence[str]], object]]
] = {
    ChannelType.STRING: ("a text", _text),
    ChannelType.CHAR: ("a whole number, or for arrays a text", _number),
    ChannelType.INT: ("a whole number", _number),
    ChannelType.LONG: ("a whole number", _number),
    ChannelType.FLOAT: (_REAL, _real),
    ChannelType.DOUBLE: (_REAL, _real),
    ChannelType.ENUM: ("the number or the name of a state", _state),
}


def element_from_json(value: object, native: ChannelType, states: Sequence[str]) -> object:
    """Return an element as it is written to a channel.

    Parameters
    ----------
    value : object
        What JSON has; its numbers are `JsonNumber`.
    native : ChannelType
        The channel's own type.
    states : sequence of str
        The names of the states of an ENUM.

    Raises
    ------
    CaprotoValueError
        It has another type: `true` or a text for a number, for example.
    """
    kind, make = JSON_KINDS[native]
    made = make(value, native, states)
    if made is None:
        import json

        if isinstance(value, JsonNumber):
            shown = _short(value.text)
        else:
            shown = _short(json.dumps(value, ensure_ascii=False))
        raise CaprotoValueError(f"{shown} cannot be written to {native}, which takes {kind}")
    return made
