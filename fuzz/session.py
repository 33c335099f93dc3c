"""A server's session: bytes of a client in, bytes for it out, and the PVs changed.

The first byte of an input says whether the client has greeted and created three channels before.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from unittest import mock

from caproto import (
    CLIENT,
    CreateChanRequest,
    Message,
    TimeStamp,
    VersionRequest,
    VirtualCircuit,
)
from caproto._server.directory import Directory
from caproto._server.session import ServerSession
from caproto.server import ChannelChar, ChannelDouble, ChannelEnum, ChannelString

from .support import (
    check_memory,
    check_same,
    pieces,
    recorded_messages,
    recorded_streams,
    renumbered,
)

_ADDRESS = ("10.0.0.2", 40000)
_NAMES = ("number", "wave", "state")
_STAMP = TimeStamp(1, 0)
#: More bytes of payload than this are refused.
_MAX_PAYLOAD = 1 << 16


def seeds() -> Iterator[bytes]:
    for data in recorded_streams(CLIENT):
        yield b"\0" + data
    for index, data in enumerate(recorded_messages(CLIENT)):
        yield b"\1" + renumbered(data, index % 3, 1 + index % 7)
        yield b"\1" + renumbered(data, None, index % 3)


def fuzz_target(data: bytes) -> None:
    greeted, data = bool(data and data[0] % 2), data[1:]
    with mock.patch.object(TimeStamp, "now", lambda: _STAMP):
        whole = _converse(greeted, [data])
        check_same(whole, _converse(greeted, pieces(data)))
        check_memory(lambda: _converse(greeted, [data]), data)


def _directory() -> Directory:
    return Directory(
        {
            "number": ChannelDouble(value=1.5, timestamp=_STAMP),
            "wave": ChannelDouble(value=[1.0, 2.0], max_length=100, timestamp=_STAMP),
            "state": ChannelEnum(value=1, enum_strings=["off", "on"], timestamp=_STAMP),
            "text": ChannelString(value="text", timestamp=_STAMP),
            "bytes": ChannelChar(value=b"text", max_length=500, timestamp=_STAMP),
        }
    )


def _converse(greeted: bool, chunks: Iterable[bytes]) -> list[Any]:
    """Everything that the session says, and the values at the end."""
    directory = _directory()
    session = ServerSession(directory, _ADDRESS, port=5064, max_payload=_MAX_PAYLOAD)
    if greeted:
        session.process(VersionRequest(0, 13))
        for cid, name in enumerate(_NAMES):
            session.process(CreateChanRequest(name, cid, 13))
    for chunk in chunks:
        if session.closing:
            break
        for command in session.circuit.feed(chunk):
            job = session.process(command)
            if job is not None:
                job.run()
        if session.circuit.error is not None and not session.closing:
            session.broken(session.circuit.error)
    outcome: list[Any] = [session.closing, _taken(session)]
    outcome += [repr(directory.open(name).data.value) for name in (*_NAMES, "text", "bytes")]
    session.close()
    return outcome


def _taken(session: ServerSession) -> list[Message]:
    """What the session says; a client's circuit can read all of it."""
    client = VirtualCircuit(CLIENT, _ADDRESS, 0)
    said: list[Message] = []
    while buffers := session.take():
        said += client.recv(*buffers)[0]
    assert client.error is None, client.error
    return said
