"""Text and its bytes. Channel Access names no encoding; today it is UTF-8.

Bytes that are not UTF-8 are taken for Latin-1, which older systems send, so that every text can be
printed and stored. Such a text remembers where it came from, and is sent as the same bytes.
"""
from __future__ import annotations

from collections.abc import Iterable

from .._errors import CaprotoValueError
from .._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Protocol

    class Printer(Protocol):
        """What IPython hands to ``_repr_pretty_``."""

        def text(self, text: str, /) -> object:
            """Print *text*."""

        def break_(self) -> object:
            """Begin a new line."""

__all__ = [
    "Latin1Text", "check_encoding", "decode_text", "encode_as", "encode_text",
    "print_lines",
]


def print_lines(printer: Printer, lines: Iterable[str]) -> None:
    """Hand *lines* to IPython."""
    for number, line in enumerate(lines):
        if number:
            printer.break_()
        printer.text(line)


class Latin1Text(str):
    """Text that was received in Latin-1 and is sent in Latin-1; else like any str.

    What is made from it (a slice, an upper-case copy) is an ordinary str, which is sent as UTF-8.
    """

    __slots__ = ()


def decode_text(raw: bytes) -> str:
    """Decode *raw* as UTF-8, or as Latin-1 if it is not UTF-8; never fails."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return Latin1Text(raw.decode("latin-1"))


def encode_text(text: str) -> bytes:
    """Encode *text* as UTF-8, or as the Latin-1 that it was received in.

    Raises
    ------
    CaprotoValueError
        If *text* has surrogates, which neither encoding has. Those by which Python's
        "surrogateescape" stands for bytes are sent as these bytes.
    """
    if isinstance(text, Latin1Text):
        return text.encode("latin-1")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise CaprotoValueError(f"{text[:60]!r} cannot be sent as UTF-8: {error}") from None


def check_encoding(encoding: str) -> None:
    """Refuse the name of an encoding that Python does not have.

    Raises
    ------
    CaprotoValueError
        There is no such encoding.
    """
    try:
        "".encode(encoding)
    except (LookupError, TypeError):
        raise CaprotoValueError(f"string_encoding={encoding!r} is not an encoding") from None


def encode_as(text: str, encoding: str) -> bytes:
    """Encode *text* in an encoding that the user has chosen.

    Raises
    ------
    CaprotoValueError
        If the encoding lacks one of its characters.
    """
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as error:
        raise CaprotoValueError(f"{text[:60]!r} cannot be sent: {error}") from None
