"""Cells: texts that any terminal can show, in a given number of columns."""
from __future__ import annotations

import unicodedata
from functools import lru_cache

__all__ = ["fit", "printable", "width_of"]

_CUT = "…"
_WIDE = ("W", "F")


def printable(text: str) -> str:
    """Replace all characters that a terminal could take for commands, and line ends, by escapes."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def width_of(text: str) -> int:
    """Return the number of columns of a printable text."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1


@lru_cache(4096)  # most cells are what they were before
def fit(text: str, width: int, *, right: bool = False) -> str:
    """Cut a printable text to *width* columns, or fill it with blanks, at its left if *right*."""
    size = width_of(text)
    if size > width:
        text, size = _cut(text, width - 1), width
    blanks = " " * (width - size)
    return blanks + text if right else text + blanks


def _cut(text: str, width: int) -> str:
    """Return as much of *text* as fits, the sign that it was cut, and blanks: one column more."""
    if width < 0:
        return ""
    kept, size = [], 0
    for character in text:
        columns = _columns(character)
        if size + columns > width:
            break
        kept.append(character)
        size += columns
    return "".join(kept) + _CUT + " " * (width - size)
