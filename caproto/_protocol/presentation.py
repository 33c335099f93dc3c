"""How values read: for people at a prompt, and as Python that evaluates back.

Only text is made here; nothing looks at a response or at the network.
"""
from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from .._typing import TYPE_CHECKING
from .dbr import AlarmSeverity, AlarmStatus, ChannelType
from .payload import shortest
from .text import decode_text
from .timestamp import TimeStamp

if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "alarm_words", "array_words", "evaluable", "fill_lines", "html_of", "number_text",
    "reads_as_text", "state_words", "text_words", "time_words", "wrapped",
]

#: Columns of everything that is printed.
WIDTH = 100
#: From this number of elements on, an array is shortened.
SHORTENED = 10
#: Of a shortened array, this many elements at each end are shown, or fewer if they are long.
ENDS = 3
#: A longer text is cut to this many columns; if it is an element of an array, to fewer.
TEXT_WIDTH = 80
ELEMENT_WIDTH = 30
#: An array of CHAR with more elements, none of them zero, is not shown as text.
OPEN_TEXT = 256
#: Above this, a number with decimals is written with an exponent.
_LARGE = 1e16
#: Decimals that a float can have; a server may send any number as precision.
_MOST_DECIMALS = 17

# ---- at the prompt -------------------------------------------------------------------------------


def text_words(text: str, width: int = TEXT_WIDTH) -> str:
    """Write a text in quotes, on one line; what is longer than *width* is cut."""
    whole = repr(text)
    if len(whole) <= width:
        return whole
    shown = text[:width]
    while len(repr(shown)) > width - 3:  # escapes are longer than what they stand for
        shown = shown[:-1]
    return f"{shown!r}..."


def state_words(number: int, names: Sequence[str]) -> str:
    """Write the state of an enum: ``1 'On'`` if the names are known."""
    if number < len(names):
        return f"{number} {names[number]!r}"
    return f"{number} (a state without name)" if names else str(number)


def number_text(number: float, precision: int | None) -> str:
    """Write a number with the decimals that *precision* asks for, if it is a sensible one."""
    if isinstance(number, int) or precision is None or not math.isfinite(number):
        return str(number)
    if not 0 <= precision <= _MOST_DECIMALS:
        return str(number)
    return f"{number:.{precision}{'f' if abs(number) < _LARGE else 'e'}}"


def _element_words(element: Any, native: ChannelType) -> str:
    """Write one element of an array, shorter than it is if that loses little."""
    if isinstance(element, bytes | str):
        text = element if isinstance(element, str) else decode_text(element)
        return text_words(text, ELEMENT_WIDTH)
    if native is ChannelType.FLOAT:
        return shortest(element)
    whole = repr(element)
    return whole if len(whole) <= 10 or isinstance(element, int) else f"{element:.8g}"


def array_words(
    count: int,
    native: ChannelType,
    elements: Callable[[int, int], Sequence[Any]],
    units: str = "",
) -> str:
    """Write an array in brackets on one line; from ten elements on, its ends only.

    Parameters
    ----------
    count : int
        Number of elements.
    native : ChannelType
        Their type.
    elements : callable
        ``elements(start, stop)`` returns some of them.
    units : str
        What follows on the same line.
    """
    def words(start: int, stop: int) -> list[str]:
        return [_element_words(element, native) for element in elements(start, stop)]

    if count < SHORTENED:
        whole = f"[{', '.join(words(0, count))}]{units}"
        if len(whole) <= WIDTH:
            return whole
    for number in range(min(ENDS, (count - 1) // 2), 0, -1):
        whole = f"[{', '.join([*words(0, number), '...', *words(count - number, count)])}]{units}"
        if len(whole) <= WIDTH:
            break
    return whole


def reads_as_text(values: bytes) -> bool:
    """Tell whether an array of CHAR is text: printable up to a zero, with zeros or text after it.

    Servers do not say whether such an array is a text or an image. What is left of a longer text
    may follow the zero. A text without a zero is short, or it is taken for an image.
    """
    if not values or not values[0] or (0 not in values and len(values) > OPEN_TEXT):
        return False
    try:
        text = values.decode()
    except UnicodeDecodeError:
        return False
    return all(part.isprintable() for part in re.split("[\0\t\r\n]", text))


def alarm_words(status: AlarmStatus, severity: AlarmSeverity) -> str:
    """Write an alarm: ``no alarm``, ``MINOR (HIGH)``, ``INVALID (UDF)``."""
    word = "no alarm" if not severity else str(severity).removesuffix("_ALARM")
    return f"{word} ({status})" if status else word


def time_words(stamp: TimeStamp, now: TimeStamp) -> str:
    """Write a time stamp as local time, with its date if that is not the date of *now*."""
    if not stamp.seconds:
        return "time undefined"
    moment = stamp.as_datetime().astimezone()
    clock = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"
    if moment.date() == now.as_datetime().astimezone().date():
        return clock
    return f"{moment:%Y-%m-%d} {clock}"


def fill_lines(parts: Sequence[str]) -> list[str]:
    """Join *parts* on one line; if that is too long, the first one gets a line of its own."""
    whole = ", ".join(parts)
    if len(whole) <= WIDTH or len(parts) == 1:
        return [whole]
    return [parts[0], ", ".join(parts[1:])]


def html_of(lines: Sequence[str], title: str) -> str:
    """Make HTML of plain text, for notebooks."""
    from html import escape  # it loads a table of all entities

    text = "<br>".join(escape(line) for line in lines)
    return f'<span title="{escape(title)}" style="white-space: pre-wrap">{text}</span>'


# ---- as Python -----------------------------------------------------------------------------------

#: What must stay together on a line: no blanks but those in literals.
_WORD = re.compile(r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^\s'"])+""", re.DOTALL)
#: A literal with what is around it, and the characters of a literal as they are written.
_LITERAL = re.compile(r"""([^'"]*?)(b?)(['"])(.*)\3([^'"]*)""", re.DOTALL)
_CHARACTER = re.compile(r"\\x..|\\u.{4}|\\U.{8}|\\.|[^\\]", re.DOTALL)
#: Characters of each part of a literal that is longer than a line.
_PART = 16


def evaluable(value: Any) -> str:
    """Like ``repr``, but evaluates back given ``from caproto import *`` for what commands carry."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(evaluable, value)) + "]"
    return repr(value)


def wrapped(expression: str) -> str:
    """Break an expression in brackets into lines; what it evaluates to stays the same."""
    if len(expression) <= WIDTH:
        return expression
    first, *others = [piece for word in _WORD.findall(expression) for piece in _pieces(word)]
    lines = [first]
    for piece in others:
        if len(lines[-1]) + 1 + len(piece) <= WIDTH:
            lines[-1] += f" {piece}"
        else:
            lines.append(f"    {piece}")
    return "\n".join(lines)


def _pieces(word: str) -> list[str]:
    """Cut a literal that is longer than a line: adjacent literals are one in Python."""
    literal = _LITERAL.fullmatch(word) if len(word) > WIDTH - 4 else None
    if literal is None:
        return [word]
    before, prefix, quote, body, after = literal.groups()
    characters = _CHARACTER.findall(body)
    parts = [
        f"{prefix}{quote}{''.join(characters[at : at + _PART])}{quote}"
        for at in range(0, len(characters), _PART)
    ]
    return [before + parts[0], *parts[1:-1], parts[-1] + after]
