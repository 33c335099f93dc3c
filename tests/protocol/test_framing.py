"""Any bytes give commands or RemoteProtocolError; any cut of a stream gives the same commands."""
from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from caproto import (
    CLIENT,
    SERVER,
    EchoRequest,
    EchoResponse,
    EventAddResponse,
    Message,
    OversizedMessage,
    ReadNotifyResponse,
    RemoteProtocolError,
    SearchRequest,
    VersionRequest,
)
from caproto._protocol.framing import (
    CIRCUIT_CONSTRUCTORS,
    READ_SIZE,
    UNLIMITED,
    Framer,
    read_datagram,
    split,
)
from tests import vectors_support

ADDRESS = ("10.0.0.1", 5064)
SPEAKER = {"c2s": CLIENT, "s2c": SERVER}
STREAMS = vectors_support.streams()


def framer(speaker=SERVER, **options) -> Framer:
    return Framer(CIRCUIT_CONSTRUCTORS[speaker], ADDRESS, **options)


def feed_all(receiver: Framer, chunks) -> list[Message]:
    return [command for chunk in chunks for command in receiver.feed(chunk)]


def update(number: int, elements: int = 1) -> EventAddResponse:
    return EventAddResponse([float(number)] * elements, 20, None, 1, number)


# --- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS, ids=vectors_support.ids(STREAMS))
def test_recorded_streams_in_any_pieces(stream):
    """As it was received, in one piece, byte by byte, and in pieces of awkward sizes."""
    speaker = SPEAKER[stream.direction]
    receiver = framer(speaker)
    expected = feed_all(receiver, stream.chunks)
    assert receiver.error is None
    assert sum(16 + len(command.payload) for command in expected) <= len(stream.data)
    step = 1 if len(stream.data) < 100_000 else 1009  # a single byte costs a microsecond
    for size in (len(stream.data) or 1, step, 7, 16, 23, 4096):
        pieces = [stream.data[i:i + size] for i in range(0, len(stream.data), size)]
        receiver = framer(speaker)
        assert feed_all(receiver, pieces) == expected
        assert receiver.error is None
        assert receiver.bytes_needed == 16, "nothing is left over"


SHORT_STREAMS = [stream for stream in STREAMS if 0 < len(stream.data) < 10_000]


@settings(max_examples=200)
@given(stream=st.sampled_from(SHORT_STREAMS), data=st.data())
def test_recorded_streams_cut_anywhere(stream, data):
    expected = framer(SPEAKER[stream.direction]).feed(stream.data)
    cuts = data.draw(st.lists(st.integers(0, len(stream.data)), max_size=30).map(sorted))
    edges = [0, *cuts, len(stream.data)]
    pieces = [stream.data[a:b] for a, b in zip(edges, edges[1:])]
    assert feed_all(framer(SPEAKER[stream.direction]), pieces) == expected


LARGE = [
    update(1),
    update(2, 8180),  # just fits the read buffer
    update(3, 8190),  # does not
    EchoResponse(),
    update(4, 20_000),  # needs the extended header
    ReadNotifyResponse([1] * 70_000, 4, None, 1, 5),
    update(6),
]


@settings(max_examples=60)
@given(st.lists(st.integers(1, 70_000), min_size=1, max_size=20))
@example([1 << 20])
@example([16])
@example([24])
def test_large_messages_cut_anywhere(sizes):
    data = b"".join(map(bytes, LARGE))
    pieces, start = [], 0
    while start < len(data):
        size = sizes[len(pieces) % len(sizes)] if len(pieces) < 2000 else len(data)
        pieces.append(data[start:start + size])
        start += size
    assert feed_all(framer(), pieces) == LARGE


def test_large_payloads_are_received_in_place():
    command = update(1, 100_000)
    data = bytes(command)
    receiver = framer()
    assert receiver.feed(data[:100]) == []
    assert receiver.bytes_needed == len(data) - 100
    buffer = receiver.get_buffer()
    assert len(buffer) == len(data) - 100
    buffer[:] = data[100:]
    (received,) = receiver.buffer_updated(len(buffer))
    assert received == command
    assert memoryview(received.payload).readonly
    assert memoryview(received.payload).obj is buffer.obj, "no copy was made"


def test_small_payloads_own_their_bytes():
    receiver = framer()
    first, second = receiver.feed(bytes(update(1)) + bytes(update(2)))
    assert type(first.payload) is bytes and len(first.payload) == 24
    receiver.feed(bytes(update(3)) * 1000)
    assert first == update(1) and second == update(2)
    assert first.sender_address == ADDRESS


def test_what_is_missing_is_known():
    receiver = framer()
    data = bytes(update(1))
    assert receiver.bytes_needed == 16
    receiver.feed(data[:5])
    assert receiver.bytes_needed == 11
    receiver.feed(data[5:16])
    assert receiver.bytes_needed == 24
    receiver.feed(data[16:])
    assert receiver.bytes_needed == 16
    receiver.feed(bytes(update(1, 20_000))[:16])
    assert receiver.bytes_needed == 8, "the rest of the extended header"


def test_the_marker_alone_selects_the_extended_form():
    payload = bytes(8)
    raw = struct.pack(">HHHHIIII", 15, 0xFFFF, 6, 77, 1, 2, 8, 1) + payload
    (command,) = framer().feed(raw)
    assert command.fields == (15, 8, 6, 1, 1, 2) and command.payload == payload


def test_messages_without_payload_may_be_born_differently():
    def bare(fields, payload, sender):
        return OversizedMessage.from_wire(fields, payload, sender)

    receiver = framer(empty_constructors={**CIRCUIT_CONSTRUCTORS[SERVER], 1: bare})
    empty = EventAddResponse([], 6, 0, 1, 9)
    with_payload, without = receiver.feed(bytes(update(1)) + bytes(empty))
    assert type(with_payload) is EventAddResponse
    assert type(without) is OversizedMessage and without.fields == empty.fields


# --- what breaks the protocol ------------------------------------------------------------------

MISALIGNED = struct.pack(">HHHHII", 15, 12, 6, 1, 1, 1) + bytes(12)
UNKNOWN = struct.pack(">HHHHII", 28, 0, 0, 0, 0, 0)
OBSOLETE = struct.pack(">HHHHII", 5, 0, 0, 0, 0, 0)
REQUEST_ONLY = struct.pack(">HHHHII", 8, 0, 0, 0, 0, 0)
MISALIGNED_LARGE = struct.pack(">HHHHIIII", 15, 0xFFFF, 6, 0, 1, 1, 1_000_001, 1)


def test_runs_of_different_commands_without_payload():
    pair = [EchoResponse(), EventAddResponse([], 20, 0, 1, 7)]
    stream = b"".join(bytes(command) for command in pair * 5)
    assert list(map(bytes, framer().feed(stream))) == list(map(bytes, pair * 5))
    receiver = framer()
    assert len(receiver.feed(stream + struct.pack(">HHHHII", 77, 0, 0, 0, 0, 0))) == 10
    assert "unknown command number 77" in str(receiver.error)
    receiver = framer()
    assert len(receiver.feed(stream + bytes(update(1)) + stream[:-1])) == 20
    assert receiver.bytes_needed == 1


@pytest.mark.parametrize("bad", [MISALIGNED, UNKNOWN, OBSOLETE, REQUEST_ONLY, MISALIGNED_LARGE])
@pytest.mark.parametrize("size", [1, 10, 1000])
def test_what_was_complete_before_the_fault_is_not_lost(bad, size):
    data = bytes(update(1)) + bytes(update(2)) + bad + bytes(update(3))
    receiver, received = framer(), []
    with pytest.raises(RemoteProtocolError):
        for start in range(0, len(data) + size, size):
            received += receiver.feed(data[start:start + size])
            if receiver.error is not None:
                receiver.get_buffer()
    assert received == [update(1), update(2)]
    for call in (receiver.get_buffer, lambda: receiver.buffer_updated(0)):
        with pytest.raises(RemoteProtocolError):
            call()


def test_the_error_says_what_was_wrong():
    receiver = framer()
    receiver.feed(MISALIGNED)
    assert "12 bytes" in str(receiver.error) and "multiple of 8" in str(receiver.error)
    receiver = framer()
    receiver.feed(UNKNOWN)
    assert "28" in str(receiver.error)


@settings(max_examples=300)
@given(
    st.sampled_from([CLIENT, SERVER]),
    st.lists(st.binary(max_size=200), max_size=10),
    st.sampled_from([UNLIMITED, 16384]),
)
def test_any_bytes_give_commands_or_the_one_error(speaker, chunks, limit):
    receiver = framer(speaker, max_payload=limit)
    for chunk in chunks:
        try:
            commands = receiver.feed(chunk)
        except RemoteProtocolError:
            break
        for command in commands:
            assert len(bytes(command)) == command.nbytes or type(command) is OversizedMessage
            repr(command)


HEADERS = st.builds(
    lambda command, size, data_type, count, p1, p2: struct.pack(
        ">HHHHII", command, size, data_type, count, p1, p2
    ),
    st.integers(0, 28), st.sampled_from([0, 8, 16, 24, 40, 0xFFFF, 12]),
    st.integers(0, 40), st.integers(0, 3), st.integers(0, 3), st.integers(0, 0xFFFFFFFF),
)


@settings(max_examples=300)
@given(
    st.sampled_from([CLIENT, SERVER]),
    st.lists(HEADERS | st.binary(max_size=48).map(lambda b: b + bytes(-len(b) % 8)), max_size=12),
    st.integers(1, 40),
)
def test_likely_nonsense_in_any_pieces(speaker, parts, size):
    data = b"".join(parts)
    whole, pieces = framer(speaker), framer(speaker)
    expected = whole.feed(data)
    received: list[Message] = []
    for start in range(0, len(data), size):
        if pieces.error is None:
            received += pieces.feed(data[start:start + size])
    assert received == expected
    assert str(pieces.error) == str(whole.error)


# --- memory ------------------------------------------------------------------------------------


def lie(size: int) -> bytes:
    return struct.pack(">HHHHIIII", 15, 0xFFFF, 6, 0, 1, 1, size, 1)


def test_a_header_that_lies_about_its_size_costs_little():
    """Memory of the system shows up elsewhere: integration/test_memory."""
    tracemalloc.start()
    try:
        receivers = [framer() for _ in range(2)]
        for receiver in receivers:
            receiver.feed(lie(0xFFFFFFF8) + bytes(1000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * READ_SIZE
    assert receivers[0].bytes_needed == 0xFFFFFFF8 - 1000


@pytest.mark.parametrize("at_once", [1 << 16, 1 << 24])
def test_large_messages_in_memory_of_either_kind(at_once, monkeypatch):
    monkeypatch.setattr("caproto._protocol.framing.AT_ONCE", at_once)
    command = ReadNotifyResponse(bytes(range(256)) * 4000, 4, None, 1, 1)
    data = bytes(command)
    receiver = framer()
    received = receiver.feed(data[:200_000])
    assert received == [] and receiver.bytes_needed == len(data) - 200_000
    (first, echo) = receiver.feed(data[200_000:] + bytes(EchoResponse()))
    (second,) = receiver.feed(data)
    assert first == second == command and echo == EchoResponse()
    assert first.payload.readonly and bytes(first.data) == bytes(command.data)


def test_what_the_system_has_no_memory_for_is_passed_over(monkeypatch):
    def fail(*_):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("caproto._protocol.framing.mmap", fail)
    receiver = framer()
    (skipped,) = receiver.feed(lie(1 << 30) + bytes(1000))
    assert type(skipped) is OversizedMessage and skipped.fields[1] == 1 << 30
    assert receiver.bytes_needed == (1 << 30) - 1000 + 16


@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
@pytest.mark.parametrize("allowed", [80_016, 80_015])
def test_what_cannot_be_right_is_passed_over(size, allowed):
    """The question is asked once for each large message, and never for a small one."""
    asked = []

    def limit(fields):
        asked.append(fields)
        return allowed

    large, small = update(2, 10_000), update(1, 100)
    data = b"".join(map(bytes, [small, large, small, large, EchoResponse()]))
    receiver = framer(payload_limit=limit)
    received = feed_all(receiver, [data[i:i + size] for i in range(0, len(data), size)])
    assert asked == [large.fields] * 2
    if allowed == 80_016:
        assert received == [small, large, small, large, EchoResponse()]
    else:
        assert [type(command) for command in received] == [
            type(small), OversizedMessage, type(small), OversizedMessage, EchoResponse,
        ]
        assert received[1].fields == large.fields and received[1].limit == allowed


@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_payloads_above_the_limit_are_passed_over(size):
    large = update(2, 10_000)
    data = b"".join(map(bytes, [update(1), large, update(3), update(4, 20), large, EchoResponse()]))
    receiver = framer(max_payload=16_384)
    received = feed_all(receiver, [data[i:i + size] for i in range(0, len(data), size)])
    assert [command.fields for command in received] == [
        command.fields
        for command in (update(1), large, update(3), update(4, 20), large, EchoResponse())
    ]
    assert [type(command) is OversizedMessage for command in received] == [
        False, True, False, False, True, False,
    ]
    assert received[1].payload == b"" and received[1].sender_address == ADDRESS
    assert receiver.bytes_needed == 16


def test_passing_over_takes_no_memory():
    receiver = framer(max_payload=16_384)
    assert [type(c) for c in receiver.feed(lie(0xFFFFFFF8))] == [OversizedMessage]
    assert receiver.bytes_needed == 0xFFFFFFF8 + 16
    assert len(receiver.get_buffer()) <= READ_SIZE


# --- the loop itself, and datagrams ------------------------------------------------------------


def test_split_says_how_far_it_came():
    constructors, out = CIRCUIT_CONSTRUCTORS[SERVER], []
    data = bytes(update(1)) + bytes(update(2))
    assert split(data[:60], constructors, constructors, None, out) == (40, 40)
    assert split(data[:50], constructors, constructors, None, out) == (40, 16)
    assert split(data, constructors, constructors, None, out) == (80, 16)
    assert out == [update(1), update(1), update(1), update(2)]
    assert split(bytes(update(1, 20_000))[:20], constructors, constructors, None, out) == (0, 24)


def test_datagrams():
    commands = [VersionRequest(0, 13, 7), SearchRequest("x", 1, 13), SearchRequest("y", 2, 13)]
    data = b"".join(map(bytes, commands))
    assert read_datagram(data, ADDRESS, CLIENT) == (commands, None)
    assert read_datagram(b"", ADDRESS, CLIENT) == ([], None)
    received, error = read_datagram(data[:-4], ADDRESS, CLIENT)
    assert received == commands[:2] and "4 bytes" in str(error)
    assert received[0].sender_address == ADDRESS


@pytest.mark.parametrize("bad", [UNKNOWN, MISALIGNED, bytes(EchoRequest()), b"\0\6\0\10", b"junk"])
def test_the_rest_of_a_bad_datagram_is_dropped(bad):
    good = bytes(VersionRequest(0, 13, 7))
    received, error = read_datagram(good + bad + good, ADDRESS, CLIENT)
    assert received == [VersionRequest(0, 13, 7)]
    assert isinstance(error, RemoteProtocolError)


@settings(max_examples=200)
@given(st.sampled_from([CLIENT, SERVER]), st.binary(max_size=1500))
def test_any_datagram(speaker, data):
    commands, error = read_datagram(data, ADDRESS, speaker)
    assert error is None or isinstance(error, RemoteProtocolError)
    assert b"".join(map(bytes, commands)) == data[:sum(map(len, commands))]
