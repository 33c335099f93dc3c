"""Conversions of text, addresses and times under the names of caproto 1.x."""
from __future__ import annotations

from datetime import datetime

from .._errors import CaprotoTypeError, CaprotoValueError
from .._protocol.commands_search import unpack_ip
from .._protocol.message import u32
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
    CaprotoValueError, CaprotoTypeError
        *ip* is not a dotted quad.
    """
    if not isinstance(ip, str):
        raise CaprotoTypeError(f"ip must be a str such as '1.2.3.4', not {ip!r}")
    parts = ip.split(".")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) < 256 for part in parts):
        raise CaprotoValueError(f"{ip!r} is not an IPv4 address")
    return int.from_bytes(bytes(map(int, parts)), "big")


def ipv4_from_int32(int_packed_ip: int) -> str:
    """Convert the number that travels to ``'1.2.3.4'``.

    Raises
    ------
    CaprotoValueError, CaprotoTypeError
        It is not a number of 32 bits.
    """
    return unpack_ip(u32("int_packed_ip", int_packed_ip))


def epics_timestamp_to_unix(seconds_since_epoch: int, nano_seconds: int) -> float:
    """Convert the two numbers of a time stamp to POSIX time in seconds.

    Raises
    ------
    CaprotoValueError, CaprotoTypeError
        One of them is not a number of 32 bits.
    """
    seconds = u32("seconds_since_epoch", seconds_since_epoch)
    return TimeStamp(seconds, u32("nano_seconds", nano_seconds)).timestamp


def timestamp_to_epics(ts: float | datetime) -> tuple[int, int]:
    """Convert POSIX time in seconds, or a datetime, to the two numbers of a time stamp.

    Raises
    ------
    CaprotoValueError
        The moment is outside the range of the wire: 1990 to 2126.
    """
    stamp = TimeStamp.from_flexible_value(ts)
    return stamp.seconds, stamp.nanoseconds
