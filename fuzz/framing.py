"""Bytes to commands: streams of either role, and datagrams.

The first byte of an input says who speaks.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator

from caproto import CLIENT, SERVER, Broadcaster, Message, VirtualCircuit

from .support import (
    check_memory,
    check_same,
    look_at,
    pieces,
    recorded_datagrams,
    recorded_messages,
    recorded_streams,
)

_ADDRESS = ("10.0.0.1", 5064)
_SPEAKERS = (CLIENT, SERVER)


def seeds() -> Iterator[bytes]:
    for number, speaker in enumerate(_SPEAKERS):
        for recorded in (recorded_streams, recorded_messages, recorded_datagrams):
            for data in recorded(speaker):
                yield bytes([number]) + data


def fuzz_target(data: bytes) -> None:
    speaker, data = _SPEAKERS[data[0] % 2 if data else 0], data[1:]
    for limit in (256, 0xFFFFFFFF):
        def receive(chunks: Iterable[bytes], limit: int = limit) -> tuple[list[Message], str]:
            circuit = VirtualCircuit(speaker.other, _ADDRESS, 0, max_payload=limit)
            commands = []
            for chunk in chunks:
                if circuit.error is not None:
                    break
                commands += circuit.feed(chunk)
            return commands, str(circuit.error)

        whole = receive([data])
        check_same(whole, receive(pieces(data)))
        check_memory(lambda receive=receive: receive([data]), data)
        for command in whole[0]:
            look_at(command)
    for command in Broadcaster(speaker.other).recv(data, _ADDRESS):
        look_at(command)
