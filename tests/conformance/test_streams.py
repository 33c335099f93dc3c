"""Item 57: every recorded conversation of libca and rsrv is legal, seen from either end.

The circuits are driven in the recorded order: what libca sent goes out of a client's circuit and
into a server's, what rsrv answered goes out of the server's and into the client's.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from caproto import (
    CLIENT,
    CLOSED,
    CONNECTED,
    SERVER,
    AccessRightsResponse,
    ClearChannelRequest,
    ClientChannel,
    CreateChanRequest,
    CreateChanResponse,
    CreateChFailResponse,
    EventAddRequest,
    EventAddResponse,
    EventCancelRequest,
    EventCancelResponse,
    Message,
    VersionRequest,
    VersionResponse,
    VirtualCircuit,
)
from tests.conformance.items import item
from tests.vectors_support import CLIENT_TO_SERVER, load, streams

SPEAKER = {"c2s": CLIENT, "s2c": SERVER}
NAMES = sorted({stream.name for stream in streams()} - {"flow_control"})
CONNECTIONS = [
    pytest.param(name, number, id=f"{name}-{number}")
    for name in NAMES
    for number in range(len(load(f"streams/{name}.json")["connections"]))
]

Chunk = tuple[str, bytes]
Cut = Callable[[list[Chunk]], Iterator[Chunk]]


class Replay:
    """A client's and a server's circuit that say what was recorded."""

    def __init__(self) -> None:
        self.circuits = {
            CLIENT: VirtualCircuit(CLIENT, ("127.0.0.1", 5064), 0),
            SERVER: VirtualCircuit(SERVER, ("127.0.0.1", 40000)),
        }
        self.heard: dict[object, list[Message]] = {CLIENT: [], SERVER: []}  # by the listener
        self.channels: list[ClientChannel] = []
        self.sent = {CLIENT: b"", SERVER: b""}

    def play(self, chunks: Iterator[Chunk]) -> Replay:
        for direction, data in chunks:
            speaker = SPEAKER[direction]
            commands = self.circuits[speaker.other].feed(data)
            for command in commands:
                self.say(speaker, command)
                self.circuits[speaker.other].process_command(command)
            self.heard[speaker.other] += commands
        return self

    def say(self, speaker, command: Message) -> None:
        """Take *command* through the circuit of its sender; ProtocolError if that forbids it."""
        if type(command) is VersionRequest:  # the recorded client chose its priority
            self.circuits[CLIENT].priority = command.priority
        if speaker is CLIENT and type(command) is CreateChanRequest:
            self.channels.append(ClientChannel(command.name, self.circuits[CLIENT], command.cid))
        self.sent[speaker] += b"".join(self.circuits[speaker].send(command))


def recorded(name: str, number: int) -> list[Chunk]:
    chunks = load(f"streams/{name}.json")["connections"][number]["chunks"]
    return [(chunk["dir"], bytes.fromhex(chunk["hex"])) for chunk in chunks]


def as_it_came(chunks: list[Chunk]) -> Iterator[Chunk]:
    yield from chunks


def in_pieces_of(size: int) -> Cut:
    def cut(chunks: list[Chunk]) -> Iterator[Chunk]:
        for direction, data in chunks:
            for start in range(0, len(data), size):
                yield direction, data[start:start + size]

    return cut


def neighbours_joined(chunks: list[Chunk]) -> Iterator[Chunk]:
    """What one side said without being interrupted, at once."""
    joined: list[tuple[str, bytes]] = []
    for direction, data in chunks:
        if joined and joined[-1][0] == direction:
            joined[-1] = direction, joined[-1][1] + data
        else:
            joined.append((direction, data))
    yield from joined


def cuts(chunks: list[Chunk]) -> list[Cut]:
    """The pieces that were received, larger and smaller ones."""
    long = sum(len(data) for _, data in chunks) > 10_000
    sizes = (4096,) if long else (1, 7, 23)  # a single byte costs some microseconds
    return [as_it_came, neighbours_joined, *map(in_pieces_of, sizes)]


@item(57)
@pytest.mark.parametrize(("name", "number"), CONNECTIONS)
def test_a_recorded_conversation_is_legal_at_both_ends(name, number):
    chunks = recorded(name, number)
    expected = Replay().play(as_it_came(chunks))
    for cut in cuts(chunks):
        replay = Replay().play(cut(chunks))
        assert replay.heard == expected.heard, "any cut gives the same commands"
        for circuit in replay.circuits.values():
            assert circuit.error is None
            assert circuit.recv()[1] == 16, "nothing is left over"
            assert circuit.states == {CLIENT: CONNECTED, SERVER: CONNECTED}


@item(57)
@pytest.mark.parametrize(("name", "number"), CONNECTIONS)
def test_in_the_end_both_ends_agree_with_what_was_said(name, number):
    """Cleared channels are gone, cancels are confirmed, nothing is owed."""
    replay = Replay().play(as_it_came(recorded(name, number)))
    client, server = replay.circuits[CLIENT], replay.circuits[SERVER]
    said, answered = replay.heard[SERVER], replay.heard[CLIENT]
    created = {c.cid for c in answered if type(c) is CreateChanResponse}
    gone = {c.cid for c in said if type(c) is ClearChannelRequest}
    gone |= {c.cid for c in answered if type(c) is CreateChFailResponse}
    for circuit in client, server:
        assert {cid for cid, ch in circuit.channels.items() if ch.connected} == created - gone
        assert circuit.pending == {}
    for channel in replay.channels:
        rights = [
            c.access_rights for c in answered
            if type(c) is AccessRightsResponse and c.cid == channel.cid
        ]
        assert not rights or channel.access_rights == rights[-1]
        if channel.cid in created & gone:
            assert channel.states == {CLIENT: CLOSED, SERVER: CLOSED}
    added = {c.subscriptionid for c in said if type(c) is EventAddRequest}
    cancelled = {c.subscriptionid for c in said if type(c) is EventCancelRequest}
    confirmed = {c.subscriptionid for c in answered if type(c) is EventCancelResponse}
    assert confirmed == cancelled
    live = {c.subscriptionid: c.sid for c in said if type(c) is EventAddRequest}
    cleared = {c.sid for c in said if type(c) is ClearChannelRequest}
    live = {number for number, sid in live.items() if sid not in cleared}
    assert set(client.subscriptions) == set(server.subscriptions) == live - cancelled
    assert {c.subscriptionid for c in answered if type(c) is EventAddResponse} <= added


@item(57)
@pytest.mark.parametrize(("name", "number"), CONNECTIONS)
def test_our_requests_have_the_bytes_of_libca(name, number):
    replay = Replay().play(as_it_came(recorded(name, number)))
    said = b"".join(data for direction, data in recorded(name, number) if direction == "c2s")
    assert replay.sent[CLIENT] == said


@item(57)
def test_all_streams_are_replayed():
    replayed = {(parameters.values[0], parameters.values[1]) for parameters in CONNECTIONS}
    assert {(s.name, s.connection) for s in streams() if s.name != "flow_control"} == replayed
    assert len(replayed) >= 20


@item(57)
def test_the_requests_of_a_slow_client():
    """Only the client's bytes are recorded, so the greeting of the server is made up."""
    (stream,) = streams("flow_control")
    assert stream.direction == CLIENT_TO_SERVER
    greeting = VersionResponse(13), AccessRightsResponse(1, 3), CreateChanResponse(4, 70_000, 1, 3)
    chunks = [("c2s", data) for data in stream.chunks]
    chunks.insert(1, ("s2c", b"".join(map(bytes, greeting))))
    for cut in cuts(chunks):
        replay = Replay().play(cut(chunks))
        assert [type(command).__name__ for command in replay.heard[SERVER]] == [
            "VersionRequest", "ClientNameRequest", "HostNameRequest", "CreateChanRequest",
            "EventAddRequest", *["EventsOffRequest", "EventsOnRequest"] * 3, "EventCancelRequest",
            "ClearChannelRequest",
        ]
        assert replay.sent[CLIENT] == stream.data
