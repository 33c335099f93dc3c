"""The 16 or 24 bytes before every message: six numbers.

Everywhere in the core a header *is* the tuple ``(command, payload_size, data_type, data_count,
parameter1, parameter2)``, whichever form it had on the wire. This module turns that tuple into
bytes and into ctypes structures. It does not interpret the numbers.

The protocol's rule for senders: the extended form exactly if the payload size or the element count
does not fit the 16 bit fields, where 0xFFFF counts as not fitting because it is the marker. For
receivers: a payload size field of 0xFFFF alone means "extended".
"""
from __future__ import annotations

import ctypes
import struct

__all__ = ["ExtendedMessageHeader", "MessageHeader"]

#: ``(command, payload_size, data_type, data_count, parameter1, parameter2)``
Fields = tuple[int, int, int, int, int, int]

#: The normal header, and the first 16 bytes of an extended one.
HEADER = struct.Struct(">HHHHII")
#: What an extended header adds: payload size and element count.
EXTENSION = struct.Struct(">II")
#: A whole extended header, in wire order.
EXTENDED = struct.Struct(">HHHHIIII")
#: In the payload size field: the real size and count follow the first 16 bytes.
MARKER = 0xFFFF


class MessageHeader(ctypes.BigEndianStructure):
    """The normal header, 16 bytes.

    Parameters
    ----------
    command, payload_size, data_type, data_count : int
        16 bit numbers. The payload size is in bytes and includes the padding.
    parameter1, parameter2 : int
        32 bit numbers; what they mean depends on the command.
    """

    _fields_ = [
        ("command", ctypes.c_uint16),
        ("payload_size", ctypes.c_uint16),
        ("data_type", ctypes.c_uint16),
        ("data_count", ctypes.c_uint16),
        ("parameter1", ctypes.c_uint32),
        ("parameter2", ctypes.c_uint32),
    ]

    def __repr__(self) -> str:
        return _show(self)


class ExtendedMessageHeader(ctypes.BigEndianStructure):
    """The header for large payloads and counts, 24 bytes; servers understand it from 4.9 on.

    Takes the same six numbers in the same order as :class:`MessageHeader`. On the wire the size and
    the count stand at the end, with ``marker`` (0xFFFF) and ``zero`` in their usual places.

    Parameters
    ----------
    command, data_type : int
        16 bit numbers.
    payload_size, data_count, parameter1, parameter2 : int
        32 bit numbers.
    """

    _fields_ = [
        ("command", ctypes.c_uint16),
        ("marker", ctypes.c_uint16),
        ("data_type", ctypes.c_uint16),
        ("zero", ctypes.c_uint16),
        ("parameter1", ctypes.c_uint32),
        ("parameter2", ctypes.c_uint32),
        ("payload_size", ctypes.c_uint32),
        ("data_count", ctypes.c_uint32),
    ]

    def __init__(
        self,
        command: int = 0,
        payload_size: int = 0,
        data_type: int = 0,
        data_count: int = 0,
        parameter1: int = 0,
        parameter2: int = 0,
    ) -> None:
        super().__init__(
            command, MARKER, data_type, 0, parameter1, parameter2, payload_size, data_count
        )

    def __repr__(self) -> str:
        return _show(self)


Header = MessageHeader | ExtendedMessageHeader


def needs_extension(fields: Fields) -> bool:
    """Whether *fields* do not fit a normal header."""
    return fields[1] >= MARKER or fields[3] >= MARKER


def pack_header(fields: Fields) -> bytes:
    """Return the bytes of the shortest header that holds *fields*."""
    command, size, data_type, count, parameter1, parameter2 = fields
    if size < MARKER and count < MARKER:
        return HEADER.pack(command, size, data_type, count, parameter1, parameter2)
    return EXTENDED.pack(command, MARKER, data_type, 0, parameter1, parameter2, size, count)


def unpack_header(data: bytes | memoryview, offset: int = 0) -> tuple[Fields, int]:
    """Read a header of either form.

    Returns
    -------
    fields : tuple of six int
    length : int
        16 or 24, the length of the header in bytes.

    Raises
    ------
    struct.error
        If *data* ends too early.
    """
    command, size, data_type, count, parameter1, parameter2 = HEADER.unpack_from(data, offset)
    if size != MARKER:
        return (command, size, data_type, count, parameter1, parameter2), HEADER.size
    size, count = EXTENSION.unpack_from(data, offset + HEADER.size)
    return (command, size, data_type, count, parameter1, parameter2), EXTENDED.size


def make_header(fields: Fields) -> Header:
    """Make a ctypes structure of the shortest form that holds *fields*."""
    return (ExtendedMessageHeader if needs_extension(fields) else MessageHeader)(*fields)


def fields_of(header: Header) -> Fields:
    """Return the six numbers of a structure of either form."""
    return (
        header.command,
        header.payload_size,
        header.data_type,
        header.data_count,
        header.parameter1,
        header.parameter2,
    )


_NAMES = ("command", "payload_size", "data_type", "data_count", "parameter1", "parameter2")


def _show(header: Header) -> str:
    arguments = ", ".join(f"{name}={getattr(header, name)}" for name in _NAMES)
    return f"{type(header).__name__}({arguments})"
