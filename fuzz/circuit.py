"""The rules of a conversation, as a client and as a server.

The first byte of an input says which end we are; the rest is what the other end says after a
conversation has begun: three channels, one of which is being created, with subscriptions and
operations under way. Whatever comes is accepted or refused with RemoteProtocolError, and the
circuit can still compose requests afterwards.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from caproto import (
    CLIENT,
    SERVER,
    AccessRightsResponse,
    ClientChannel,
    CreateChanRequest,
    CreateChanResponse,
    EventAddRequest,
    LocalProtocolError,
    ReadNotifyRequest,
    RemoteProtocolError,
    VersionRequest,
    VersionResponse,
    VirtualCircuit,
    WriteNotifyRequest,
)

from .support import (
    check_memory,
    check_same,
    pieces,
    recorded_messages,
    recorded_streams,
    renumbered,
)

_ADDRESS = ("10.0.0.1", 5064)
_CHANNELS = ((6, 1), (5, 10))  # type and count of those that exist; cids 1 and 2, sids 1 and 2
_IDS = range(1, 12)


def seeds() -> Iterator[bytes]:
    for number, speaker in enumerate((SERVER, CLIENT)):
        first = bytes([number])
        for data in recorded_streams(speaker):
            yield first + data
        for index, data in enumerate(recorded_messages(speaker)):
            sid = None if speaker is SERVER else index % 3
            yield first + renumbered(data, sid, _IDS[index % len(_IDS)])


def fuzz_target(data: bytes) -> None:
    make = (_client, _server)[data[0] % 2 if data else 0]
    data = data[1:]
    whole = _converse(make(), [data])
    check_same(whole, _converse(make(), pieces(data)))
    check_memory(lambda: _converse(make(), [data]), data)


def _client() -> VirtualCircuit:
    """A client in the middle of things."""
    circuit = VirtualCircuit(CLIENT, _ADDRESS, 0)
    circuit.process_command(VersionResponse(13))
    circuit.send(VersionRequest(0, 13))
    channels = []
    for number, (data_type, count) in enumerate(_CHANNELS, 1):
        channel = ClientChannel(f"x{number}", circuit, number)
        circuit.send(channel.create())
        circuit.process_command(AccessRightsResponse(number, 3))
        circuit.process_command(CreateChanResponse(data_type, count, number, number))
        channels.append(channel)
    circuit.send(ClientChannel("new", circuit, 3).create())
    x, y = channels
    circuit.send(
        x.subscribe(subscriptionid=1), y.subscribe(20, subscriptionid=2),
        y.subscribe(data_count=3, subscriptionid=3), x.read(ioid=4), y.read(data_count=2, ioid=5),
        x.write(1.0, ioid=6), y.write([1, 2], notify=False, ioid=7), x.subscribe(subscriptionid=8),
    )
    circuit.send(x.unsubscribe(8))
    return circuit


def _server() -> VirtualCircuit:
    """A server in the middle of things."""
    circuit = VirtualCircuit(SERVER, _ADDRESS)
    circuit.send(VersionResponse(13))
    circuit.process_command(VersionRequest(0, 13))
    for number, (data_type, count) in enumerate(_CHANNELS, 1):
        circuit.process_command(CreateChanRequest(f"x{number}", number, 13))
        circuit.send(
            AccessRightsResponse(number, 3), CreateChanResponse(data_type, count, number, number)
        )
    circuit.process_command(CreateChanRequest("new", 3, 13))
    for command in (
        EventAddRequest(6, 1, 1, 1, 0, 0, 0, 1), EventAddRequest(20, 0, 2, 2, 0, 0, 0, 1),
        ReadNotifyRequest(6, 1, 1, 4), WriteNotifyRequest([1, 2], 5, None, 2, 6),
    ):
        circuit.process_command(command)
    return circuit


def _converse(circuit: VirtualCircuit, chunks: Iterable[bytes]) -> list[Any]:
    """What becomes of everything that is received, and the state at the end."""
    outcome: list[Any] = []
    for chunk in chunks:
        if circuit.error is not None:
            break
        for command in circuit.feed(chunk):
            # Updates of empty arrays and confirmations look alike: compare what is on the wire.
            outcome.append(bytes(command))
            try:
                circuit.process_command(command)
            except RemoteProtocolError:
                outcome.append("refused")
    outcome += (
        str(circuit.error), circuit.states, sorted(circuit.pending),
        sorted(circuit.subscriptions),
        sorted((cid, repr(channel)) for cid, channel in circuit.channels.items()),
    )
    _go_on(circuit)
    return outcome


def _go_on(circuit: VirtualCircuit) -> None:
    """The channels that are left can be used."""
    if circuit.our_role is CLIENT:
        for channel in circuit.channels.values():
            if channel.connected:
                circuit.send(channel.read(), channel.subscribe())
                circuit.send(channel.clear())
            else:
                try:
                    circuit.send(channel.read())
                except LocalProtocolError:
                    pass
    circuit.disconnect()
