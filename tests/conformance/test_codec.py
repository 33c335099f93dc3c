"""Items 1 to 17 of the conformance list: bytes to commands and back, without a network."""
from __future__ import annotations

import math
import random
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caproto as ca
from caproto._protocol.constants import EPICS_EPOCH
from caproto._protocol.dbr import LAYOUTS
from caproto._protocol.framing import CIRCUIT_CONSTRUCTORS, OversizedMessage, read_datagram
from caproto._protocol.headers import pack_header, unpack_header
from caproto._protocol.payload import data_view, encode, metadata_of, payload_size, strings_of
from caproto._protocol.status import status_from_number
from tests.conformance.items import item
from tests.harness.each_case import each_case
from tests.vectors_support import (
    CLIENT_TO_SERVER,
    eca_codes,
    layouts,
    messages,
    streams,
)

ADDRESS = ("127.0.0.1", 5064)
#: Formats of the layouts and their sizes.
SIZES = {"h": 2, "H": 2, "I": 4, "i": 4, "f": 4, "d": 8, "B": 1, "8s": 8, "40s": 40, "16x26s": 416}
REPLIES = [vector for vector in messages() if "dbr_type" in vector.decoded]


def receiver(speaker: ca.CLIENT, **options) -> ca.VirtualCircuit:
    """Our end of a circuit to *speaker*."""
    return ca.VirtualCircuit(speaker.other, ADDRESS, 0, **options)


def facts(commands) -> list[tuple]:
    """What of commands does not depend on how they were received."""
    return [(type(c), c.fields, bytes(c.payload)) for c in commands]


def values(data) -> list:
    return data.tolist() if hasattr(data, "tolist") else list(data)


# ---- headers ---------------------------------------------------------------------------------


@item(1)
def test_both_forms_of_a_header_decode_to_the_same_structure():
    fields = (15, 24, 20, 1, 1, 7)
    normal = struct.pack(">HHHHII", *fields)
    extended = struct.pack(">HHHHIIII", 15, 0xFFFF, 20, 0, 1, 7, 24, 1)
    assert unpack_header(normal) == (fields, 16)
    assert unpack_header(extended) == (fields, 24)
    (one,), _ = receiver(ca.SERVER).recv(normal + bytes(24))
    (two,), _ = receiver(ca.SERVER).recv(extended + bytes(24))
    assert one == two
    assert isinstance(two, ca.ReadNotifyResponse)


@item(2)
@pytest.mark.parametrize("count", [0, 1, 0xFFFF])
def test_the_payload_size_alone_selects_the_extended_form(count):
    """libca ignores the count field of an extended header, and so do we."""
    message = struct.pack(">HHHHIIII", 15, 0xFFFF, 20, count, 1, 7, 24, 1) + bytes(24)
    (command,), needed = receiver(ca.SERVER).recv(message)
    assert command.fields == (15, 24, 20, 1, 1, 7)
    assert needed == 16


@item(2)
def test_a_full_count_field_alone_does_not():
    # PCAS believes so; libca and rsrv do not.
    message = struct.pack(">HHHHII", 18, 0, 4, 0xFFFF, 2, 3)
    (command,), _ = receiver(ca.SERVER).recv(message)
    assert command.data_count == 0xFFFF


@item(3)
@pytest.mark.parametrize(
    "size, count, extended",
    [
        (0, 0, False),
        (65528, 1, False),
        (8, 65534, False),
        (0, 65535, True),
        (65536, 1, True),
        (65535, 1, True),
        (16, 70000, True),
    ],
)
def test_the_extended_form_is_used_when_it_has_to_be(size, count, extended):
    header = pack_header((15, size, 4, count, 1, 2))
    assert len(header) == (24 if extended else 16)
    assert (header[2:4] == b"\xff\xff") is extended
    assert unpack_header(header)[0] == (15, size, 4, count, 1, 2)


@item(3)
@pytest.mark.parametrize("vector", messages("extended_header"), ids=lambda vector: vector.name)
def test_real_peers_use_the_extended_form_in_the_same_cases(vector):
    """But for replies to count 0: rsrv chooses the form before it knows the size."""
    ours = pack_header(vector.fields)
    if vector.header["extended"] and vector.fields[1] < 0xFFFF and vector.fields[3] < 0xFFFF:
        assert vector.direction == "s2c" and len(ours) == 16
    else:
        assert vector.data.startswith(ours)


def connected_pair(version: int = 13, count: int = 100_000, data_type=ca.ChannelType.CHAR):
    """A client channel, created by a server of the given minor version."""
    circuit = ca.VirtualCircuit(ca.CLIENT, ADDRESS, 0, peer_version=version)
    channel = ca.ClientChannel("x", circuit)
    circuit.send(ca.VersionRequest(0, 13), channel.create())
    commands, _ = circuit.recv(
        *map(
            bytes,
            (
                ca.VersionResponse(version),
                ca.AccessRightsResponse(channel.cid, ca.AccessRights.READ | ca.AccessRights.WRITE),
                ca.CreateChanResponse(data_type, count, channel.cid, 1),
            ),
        )
    )
    for command in commands:
        circuit.process_command(command)
    return circuit, channel


@item(4)
@pytest.mark.parametrize("version", range(4, 14))
def test_no_extended_message_for_a_peer_below_4_9(version):
    circuit, channel = connected_pair(version)
    requests = [
        ca.WriteNotifyRequest(bytes(70_000), ca.ChannelType.CHAR, None, channel.sid, 7),
        channel.read(data_count=70_000),
        channel.subscribe(data_count=70_000),
    ]
    for request in requests:
        if version < 9:
            with pytest.raises(ca.LocalProtocolError, match=f"4.{version}"):
                circuit.send(request)
        else:
            assert circuit.send(request)
    # What fits a normal header goes through, and the refusals did no harm.
    assert circuit.send(channel.read(data_count=1000))


# ---- streams ---------------------------------------------------------------------------------

RECORDED = [s for s in streams() if s.data]


@item(5)
@pytest.mark.parametrize("stream", RECORDED, ids=lambda s: f"{s.name}-{s.connection}-{s.direction}")
def test_any_cut_of_a_stream_gives_the_same_commands(stream):
    speaker = ca.CLIENT if stream.direction == CLIENT_TO_SERVER else ca.SERVER
    data = stream.data
    whole, _ = receiver(speaker).recv(data)
    assert whole
    random.seed(len(data))
    sizes = [1, 7, 16, 24, 4096] if len(data) < 100_000 else [61, 4096]
    for size in sizes:
        circuit = receiver(speaker)
        pieces = [data[i : i + size] for i in range(0, len(data), size)]
        commands = [c for piece in pieces for c in circuit.recv(piece)[0]]
        assert facts(commands) == facts(whole)
    cuts = sorted(random.sample(range(1, len(data)), min(50, len(data) - 1)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)])]
    commands, _ = receiver(speaker).recv(*pieces)
    assert facts(commands) == facts(whole)


@item(5)
def test_the_memory_to_receive_into_gives_the_same():
    """get_buffer and buffer_updated, with messages larger than the buffer."""
    large = bytes(ca.ReadNotifyResponse(bytes(300_000), ca.ChannelType.CHAR, 300_000, 1, 5))
    data = (bytes(ca.EchoResponse()) + large) * 3
    whole, _ = receiver(ca.SERVER).recv(data)
    assert [type(c) for c in whole] == [ca.EchoResponse, ca.ReadNotifyResponse] * 3
    circuit, found, position = receiver(ca.SERVER), [], 0
    while position < len(data):
        buffer = circuit.get_buffer()
        size = min(len(buffer), len(data) - position, 1 + position % 5000)
        buffer[:size] = data[position : position + size]
        del buffer
        found += circuit.buffer_updated(size)
        position += size
    assert facts(found) == facts(whole)


SAMPLES = [
    (ca.ClientNameRequest("a"), b"a"),
    (ca.HostNameRequest("a host of eight "), b"a host of eight "),
    (ca.CreateChanRequest("T:name", 1, 13), b"T:name"),
    (ca.SearchRequest("12345678", 1, 13), b"12345678"),
    (ca.SearchResponse(5064, None, 1, 13), b"\0\x0d"),
    (ca.WriteRequest("1234567", ca.ChannelType.STRING, 1, 1, 1), b"1234567"),
    (ca.WriteRequest((1, 2, 3), ca.ChannelType.INT, 3, 1, 1), b"\0\1\0\2\0\3"),
    (ca.WriteNotifyRequest((1,), ca.ChannelType.CHAR, 1, 1, 1), b"\1"),
    (ca.ReadNotifyResponse((1.5,), ca.ChannelType.FLOAT, 1, 1, 1), b"\x3f\xc0"),
]


@item(6)
@pytest.mark.parametrize("command, text", SAMPLES, ids=lambda value: type(value).__name__)
def test_payloads_are_padded_with_zeros(command, text):
    payload = bytes(command.payload)
    terminated = isinstance(command, (ca.ClientNameRequest, ca.HostNameRequest)) or hasattr(
        command, "name"
    )
    size = (len(text) + terminated + 7) // 8 * 8
    assert payload == text.ljust(size, b"\0")
    assert bytes(command)[16:] == payload and command.fields[1] == size


@item(6)
@each_case("code", range(39))
@each_case("count", [0, 1, 2, 3, 5])
def test_values_of_every_type_are_padded_with_zeros(code, count):
    layout = LAYOUTS[code]
    native = ca.native_type(code)
    value = b"text" if native == ca.ChannelType.STRING else 1
    payload, made = encode([value] * count, code)
    assert made == count and len(payload) % 8 == 0 and len(payload) == payload_size_of(code, count)
    end = layout.value_offset + count * layout.item_size
    if (code, count) != (0, 1):
        assert not any(bytes(payload)[end:])


def payload_size_of(code: int, count: int) -> int:
    """By the recorded layouts; a single string is sent short."""
    if (code, count) == (0, 1):
        return 8
    entry = layouts()[code]
    end = entry["value_offset"] + count * SIZES[entry["element_format"]]
    return (end + 7) // 8 * 8


@item(7)
@pytest.mark.parametrize("speaker", [ca.CLIENT, ca.SERVER], ids=repr)
@pytest.mark.parametrize("size", [1, 4, 7, 9, 1001, 70001])
def test_a_misaligned_size_breaks_the_circuit(speaker, size):
    good = bytes(ca.EchoRequest())
    header = struct.pack(">HHHHIIII", 15, 0xFFFF, 6, 0, 1, 1, size, 1)
    if size < 0xFFFF:
        header = struct.pack(">HHHHII", 15, size, 6, 1, 1, 1)
    circuit = receiver(speaker)
    commands, _ = circuit.recv(good + header + bytes(size))
    assert len(commands) == 1  # what came before is not lost
    assert isinstance(circuit.error, ca.RemoteProtocolError)
    with pytest.raises(ca.RemoteProtocolError, match=str(size)):
        circuit.recv(good)


@item(8)
@pytest.mark.parametrize("chunk", [1000, 65536, 1 << 22])
def test_a_payload_above_the_limit_is_skipped(chunk):
    circuit = receiver(ca.SERVER, max_payload=100_000)
    size = 1 << 22
    header = pack_header((15, size, 4, size, 1, 1))
    data = bytes(ca.EchoResponse()) + header + bytes(size) + bytes(ca.EchoResponse())
    found = []
    tracemalloc.start()
    try:
        for start in range(0, len(data), chunk):
            found += circuit.recv(memoryview(data)[start : start + chunk])[0]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [type(c) for c in found] == [ca.EchoResponse, OversizedMessage, ca.EchoResponse]
    assert found[1].fields == (15, size, 4, size, 1, 1)
    assert peak < 500_000  # the read buffer, and copies of parts of it


# ---- values ----------------------------------------------------------------------------------


@item(9)
@each_case("entry", layouts(), ids=lambda entry: entry["name"])
def test_the_offsets_of_every_type(entry):
    layout = LAYOUTS[entry["code"]]
    assert layout.value_offset == entry["value_offset"]
    assert layout.item_size == SIZES[entry["element_format"]]
    payload = bytearray(entry["value_offset"] + 8)
    expected = {}
    for number, field in enumerate(entry["metadata_fields"], start=1):
        if field["format"] in ("8s", "16x26s"):
            value = f"s{number}".encode()
            payload[field["offset"] : field["offset"] + len(value)] = value
        else:
            value = number
            struct.pack_into(">" + field["format"], payload, field["offset"], value)
        expected[field["name"]] = value
    if expected:
        metadata = metadata_of(bytes(payload), entry["code"])
        if "strings" in expected:
            assert metadata.strings[0].value == expected.pop("strings")
        assert {name: getattr(metadata, name) for name in expected} == expected
    for count in (0, 1, 2, 7):
        end = entry["value_offset"] + count * SIZES[entry["element_format"]]
        assert payload_size(entry["code"], count) == (end + 7) // 8 * 8


def spelt(value):
    """As the recordings spell it."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


@item(9)
@each_case("vector", REPLIES, ids=lambda vector: vector.name)
def test_every_recorded_value_decodes_and_encodes(vector):
    (command,), _ = receiver(ca.SERVER).recv(vector.data)
    decoded = vector.decoded
    found = [spelt(value) for value in values(command.data)]
    if "data" in decoded:
        assert found == decoded["data"]
    else:
        first, last = decoded["data_first"], decoded["data_last"]
        assert found[: len(first)] == first and found[-len(last) :] == last
    metadata = command.metadata
    for name, value in decoded["metadata"].items():
        if name == "strings":
            assert [text.decode() for text in metadata.enum_strings] == value
        else:
            assert spelt(getattr(metadata, name)) == value
    again = type(command)(
        command.data, command.data_type, command.data_count, 1, 1, metadata=metadata
    )
    assert [spelt(value) for value in values(again.data)] == found
    assert again.metadata == metadata


@item(10)
@each_case("code", [c for c in range(39) if c not in (35, 36)])
def test_gaps_are_ignored_and_written_as_zeros(code):
    entry = layouts()[code]
    used = [(f["offset"], SIZES[f["format"]]) for f in entry["metadata_fields"]]
    element = SIZES[entry["element_format"]]
    offset = entry["value_offset"]
    used.append((offset, 3 * element))
    size = payload_size(code, 3)
    gaps = set(range(size)) - {i for start, length in used for i in range(start, start + length)}
    if element == 40:  # behind the ends of the strings
        gaps |= {offset + n * element + i for n in range(3) for i in range(3, element)}
        data = [b"ab", b"cd", b"ef"]
    else:
        data = [1, 2, 3]
    clean, _ = encode(data, code)
    assert len(clean) == size and not any(clean[i] for i in gaps)
    dirty = bytearray(clean)
    for i in gaps:
        dirty[i] = 0xAA
    if element == 40:
        for n in range(3):
            dirty[offset + n * element + 2] = 0  # the terminator itself
    dirty = bytes(dirty)
    if element != 40:
        assert values(data_view(dirty, code, 3)) == data
    assert strings_of(dirty, code, 3) == strings_of(clean, code, 3)
    assert metadata_of(dirty, code) == metadata_of(clean, code)


@item(10)
def test_units_and_states_end_at_their_terminators():
    payload = bytearray(encode([1.5], ca.ChannelType.CTRL_DOUBLE)[0])
    payload[8:16] = b"mm\0junk!"
    assert metadata_of(bytes(payload), ca.ChannelType.CTRL_DOUBLE).units == b"mm"
    payload = bytearray(encode([1], ca.ChannelType.GR_ENUM)[0])
    struct.pack_into(">h", payload, 4, 2)
    payload[6:32] = b"off\0".ljust(26, b"x")
    payload[32:58] = b"n" * 26  # no terminator at all
    states = metadata_of(bytes(payload), ca.ChannelType.GR_ENUM).enum_strings
    assert tuple(states) == (b"off", b"n" * 26)


@item(11)
@each_case("code", range(39))
def test_an_empty_array_of_every_type(code):
    metadata_size = layouts()[code]["value_offset"]
    size = (metadata_size + 7) // 8 * 8
    command_payload = bytes(size)
    assert len(data_view(command_payload, code, 0)) == 0
    response = ca.ReadNotifyResponse.from_wire((15, size, code, 0, 1, 1), command_payload)
    assert len(response.data) == 0 and response.strings in ([], [""])
    assert payload_size(code, 0) == size
    if metadata_size and code not in (35, 36):
        assert response.metadata is not None
    made = ca.ReadNotifyResponse([], code, 0, 1, 1)
    assert made.fields[1] == size and made.data_count == 0


@item(12)
@pytest.mark.parametrize("size", [8, 16, 24, 32, 40])
def test_a_short_string(size):
    text = b"x" * (size - 1)
    (command,), _ = receiver(ca.SERVER).recv(
        struct.pack(">HHHHII", 15, size, 0, 1, 1, 1) + text.ljust(size, b"\0")
    )
    assert values(command.data) == [text] and command.strings == [text.decode()]


@item(13)
def test_forty_bytes_without_terminator():
    (command,), _ = receiver(ca.SERVER).recv(
        struct.pack(">HHHHII", 15, 40, 0, 1, 1, 1) + b"y" * 40
    )
    assert values(command.data) == [b"y" * 40] and command.strings == ["y" * 40]


@item(14)
@each_case("code", range(39))
@each_case("missing", [8, 16, "all"])
def test_a_payload_that_is_too_short(code, missing):
    full = payload_size(code, 50)
    size = 0 if missing == "all" else full - missing
    payload = bytes(size)
    with pytest.raises(ca.RemoteProtocolError):
        data_view(payload, code, 50)
    response = ca.ReadNotifyResponse.from_wire((15, size, code, 50, 1, 1), payload)
    for attribute in ("data", "native_data", "strings"):
        with pytest.raises(ca.RemoteProtocolError):
            getattr(response, attribute)


@item(15)
@each_case("entry", eca_codes(), ids=lambda entry: entry["name"])
def test_status_codes_convert(entry):
    status = status_from_number(entry["code"])
    assert status is ca.CAStatus[entry["name"]] and int(status) == entry["code"]
    assert (status.code, status.severity.name) == (entry["number"], entry["severity_name"])
    assert status.success is bool(entry["code"] & 1)


@item(15)
@given(st.integers(0, 2**32 - 1))
def test_unknown_status_codes_survive(code):
    response = ca.WriteNotifyResponse(6, 1, code, 1)
    assert int(response.status) == code
    (again,), _ = receiver(ca.SERVER).recv(bytes(response))
    assert int(again.status) == code and bool(again.status.success) is bool(code & 1)
    assert str(code) in repr(again.status) or again.status.name in ca.CAStatus.__members__


@item(16)
@given(st.integers(0, 2**32 - 1), st.integers(0, 999_999_999))
def test_time_stamps_keep_their_nanoseconds(seconds, nanoseconds):
    assert EPICS_EPOCH == 631152000
    payload = bytearray(encode([1.0], ca.ChannelType.TIME_DOUBLE)[0])
    struct.pack_into(">II", payload, 4, seconds, nanoseconds)
    stamp = metadata_of(bytes(payload), ca.ChannelType.TIME_DOUBLE).stamp
    assert (stamp.seconds, stamp.nanoseconds) == (seconds, nanoseconds)
    posix = stamp.as_datetime64().astype("int64") if hasattr(stamp, "as_datetime64") else None
    if posix is not None:
        assert posix == (seconds + 631152000) * 10**9 + nanoseconds
    again, _ = encode([1.0], ca.ChannelType.TIME_DOUBLE, metadata=(0, 0, stamp))
    assert struct.unpack_from(">II", again, 4) == (seconds, nanoseconds)


@item(16)
def test_the_epoch_of_time_stamps():
    stamp = ca.TimeStamp(1164217941, 974071771)  # as recorded from a real server
    assert stamp.as_datetime().isoformat().startswith("2026-11-22T17:52:21.974071")
    assert ca.TimeStamp.from_flexible_value((0, 0)).timestamp == 631152000.0


# ---- garbage ---------------------------------------------------------------------------------


@item(17)
@settings(max_examples=150)
@given(st.binary(max_size=400), st.sampled_from([ca.CLIENT, ca.SERVER]), st.integers(0, 27))
def test_garbage_gives_commands_or_the_codecs_own_error(data, speaker, command):
    circuit = receiver(speaker)
    # A likely command number in front, so that more than the first check is reached.
    data = command.to_bytes(2, "big") + data
    try:
        commands, _ = circuit.recv(data)
        circuit.recv(b"\0")
    except ca.RemoteProtocolError:
        commands = []
    for received in commands:
        try:
            circuit.process_command(received)
            repr(received), received.buffers, bytes(received)
        except ca.RemoteProtocolError:
            pass
        for attribute in ("data", "metadata", "strings", "native_data", "data_type", "status"):
            try:
                getattr(received, attribute, None)
            except ca.RemoteProtocolError:
                pass
    commands, error = read_datagram(data, ADDRESS, speaker)
    assert error is None or isinstance(error, ca.RemoteProtocolError)
    assert ca.Broadcaster(speaker.other).recv(data, ADDRESS) is not None


@item(17)
def test_a_lying_size_takes_no_memory():
    circuit = receiver(ca.SERVER)
    header = pack_header((15, 0xFFFFFFF8, 4, 0xFFFFFFF8, 1, 1))
    tracemalloc.start()
    try:
        commands, needed = circuit.recv(header + bytes(1000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [type(command) for command in commands] == [OversizedMessage], "it was not asked for"
    assert needed == 0xFFFFFFF8 - 1000 + 16
    assert peak < 1_000_000


@item(17)
def test_no_constructor_checks_less_than_its_number():
    """Every command that a stranger may send can be made of nothing but zeros."""
    for constructors in CIRCUIT_CONSTRUCTORS.values():
        for number, constructor in constructors.items():
            command = constructor((number, 0, 0, 0, 0, 0), b"", ADDRESS)
            assert command.fields[0] == number
            try:
                repr(command)
            except ca.CaprotoError as error:
                pytest.fail(f"{type(command).__name__}: {error}")
