"""Conversions of text, addresses and times under the names of caproto 1.x."""
from __future__ import annotations

from datetime import datetime

from .._errors import CaprotoTypeError, CaprotoValueError
from .._protocol.text import encode_text
from .._protocol.timestamp import TimeStamp

__all__ = [
    "ensure_bytes",
    "epics_timestamp_to_unix",
    "ipv4_from_int32",
    "ipv4_to_int32",
    "timestamp_to_epics",
]


def ensure_bytes(s: str | bytes) -> bytes:
    """Encode text and add a zero byte; return bytes as they are.

    Raises
    ------
    CaprotoTypeError
        *s* is neither.
    """
    if isinstance(s, bytes):
        return s
    if not isinstance(s, str):
        raise CaprotoTypeError(f"expected str or bytes, not {s!r} ({type(s).__name__})")
    return encode_text(s) + b"\0"


def ipv4_to_int32(ip: str) -> int:
    """Convert ``'1.2.3.4'`` to the number that travels.

    Raises
    ------
    CaprotoValueError
        *ip* is not a dotted quad.
    """
    parts = ip.split(".")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) < 256 for part in parts):
        raise CaprotoValueError(f"{ip!r} is not an IPv4 address")
    return int.from_bytes(bytes(map(int, parts)), "big")


def ipv4_from_int32(int_packed_ip: int) -> str:
    """Convert the number that travels to ``'1.2.3.4'``.

    Raises
    ------
    CaprotoValueError
        It does not have 32 bits.
    """
    if not 0 <= int_packed_ip < 1 << 32:
        raise CaprotoValueError(f"{int_packed_ip!r} is not a 32 bit address")
    return ".".join(map(str, int_packed_ip.to_bytes(4, "big")))


def epics_timestamp_to_unix(seconds_since_epoch: int, nano_seconds: int) -> float:
    """Convert the two numbers of a time stamp to POSIX time in seconds."""
    return TimeStamp(seconds_since_epoch, nano_seconds).timestamp


def timestamp_to_epics(ts: float | datetime) -> tuple[int, int]:
    """Convert POSIX time in seconds, or a datetime, to the two numbers of a time stamp.

    Raises
    ------
    CaprotoValueError
        The moment is outside the range of the wire: 1990 to 2126.
    """
    stamp = TimeStamp.from_flexible_value(ts)
    return stamp.seconds, stamp.nanoseconds
