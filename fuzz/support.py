"""What the targets share: seeds from the recorded traffic, cuts, and a look at every command."""
from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from caproto import CLIENT, SERVER, Message, ReadError, RemoteProtocolError, Role
from tests import vectors_support

#: What may be raised by looking at a command that a stranger has sent: it makes no sense, or says
#: that there is no value.
ALLOWED = (RemoteProtocolError, ReadError)
#: Longest seed; longer recordings are cut, so that thousands of inputs can be tried in seconds.
MAX_SEED = 4096
#: How far memory may exceed the size of the input: the first step of a large message and buffers.
SLACK = (1 << 26) + (1 << 20)
#: One input out of this many is run with its memory measured, which is slow.
MEASURED = 32

_HEADER = struct.Struct(">HHHHII")
_SPEAKER = {"c2s": CLIENT, "s2c": SERVER}


def recorded_streams(speaker: Role) -> Iterator[bytes]:
    """The beginning of everything that *speaker* was recorded to say over TCP."""
    for stream in vectors_support.streams():
        if _SPEAKER[stream.direction] is speaker:
            yield stream.data[:MAX_SEED]


def recorded_messages(speaker: Role) -> Iterator[bytes]:
    """Each recorded message of *speaker* over TCP."""
    for vector in vectors_support.messages():
        if _SPEAKER[vector.direction] is speaker and len(vector.data) <= MAX_SEED:
            yield vector.data


def recorded_datagrams(speaker: Role) -> Iterator[bytes]:
    """Each recorded datagram of *speaker*."""
    for vector in vectors_support.datagrams():
        if _SPEAKER[vector.direction] is speaker:
            yield vector.data


def renumbered(message: bytes, parameter1: int | None, parameter2: int) -> bytes:
    """*message* with other ids, so that it is about something that the target knows."""
    command, size, data_type, count, first, _ = _HEADER.unpack_from(message)
    first = first if parameter1 is None else parameter1
    return _HEADER.pack(command, size, data_type, count, first, parameter2) + message[16:]


def pieces(data: bytes) -> Iterator[bytes]:
    """*data* in pieces of any size; the same data are always cut the same way."""
    chance = random.Random(zlib.crc32(data))
    largest = chance.choice((1, 3, 17, 40, 1000))
    start = 0
    while start < len(data):
        size = chance.randint(1, largest)
        yield data[start:start + size]
        start += size


def look_at(command: Message) -> None:
    """Read everything that a command offers, as a log or a user would."""
    repr(command)
    str(command)
    bytes(command)
    for cls in type(command).__mro__:
        for name, attribute in vars(cls).items():
            if isinstance(attribute, property):
                try:
                    getattr(command, name)
                except ALLOWED:
                    pass


def check_same(whole: Any, cut: Any) -> None:
    """The invariant of cuts."""
    if whole != cut:
        raise AssertionError(f"in one piece: {whole}\nin pieces:    {cut}")


def check_memory(run: Callable[[], object], data: bytes) -> None:
    """Run with the memory measured, for some inputs."""
    if zlib.crc32(data) % MEASURED or tracemalloc.is_tracing():
        return
    tracemalloc.start()
    try:
        run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if peak > SLACK + 64 * len(data):
        raise AssertionError(f"{peak} bytes of memory for {len(data)} bytes of input")
