"""Captures: made here of recorded traffic, or of single packets."""
from __future__ import annotations

import io
import random
import struct
import subprocess
import sys

import pytest

from caproto import (
    Beacon,
    CaprotoRuntimeError,
    CaprotoValueError,
    ClientNameRequest,
    CreateChanRequest,
    EchoRequest,
    EchoResponse,
    EventCancelResponse,
    RemoteProtocolError,
    RepeaterConfirmResponse,
    SearchRequest,
    SearchResponse,
    VersionRequest,
    VersionResponse,
)
from caproto.sync.shark import shark
from tests.sync.captures import ACK, CLIENT, FIN, HEADERS, SERVER, SYN, Capture
from tests.vectors_support import CLIENT_TO_SERVER, datagrams, messages, streams

HELLO = bytes(VersionRequest(0, 13))
NAME = bytes(ClientNameRequest("somebody"))
CHANNEL = bytes(CreateChanRequest("x", 1, 13))


def kinds(capture: Capture, **arguments: object) -> list[str]:
    return [type(seen.command).__name__ for seen in shark(capture.file(), **arguments)]


@pytest.mark.parametrize("session", sorted({stream.name for stream in streams()}))
def test_recorded_sessions(session):
    """Every message of both sides, whole and in order, as an independent decoder found it."""
    recorded = [stream for stream in streams() if stream.name == session]
    capture, expected = Capture(), {}
    for stream in recorded:
        client = (CLIENT[0], CLIENT[1] + stream.connection)
        way = (client, SERVER) if stream.direction == CLIENT_TO_SERVER else (SERVER, client)
        capture.tcp(*way, flags=SYN if way[0] == client else SYN | ACK)
        for chunk in stream.chunks:
            for start in range(0, len(chunk), 1400):
                capture.tcp(*way, chunk[start : start + 1400])
        expected[way] = stream.data
    found: dict[object, bytes] = {}
    for seen in shark(capture.file()):
        way = ((seen.src, seen.transport.sport), (seen.dst, seen.transport.dport))
        found[way] = found.get(way, b"") + bytes(seen.command)
    assert {way: data for way, data in expected.items() if data} == found


@pytest.mark.parametrize("link", HEADERS)
@pytest.mark.parametrize("form", [Capture.file, Capture.file_ng])
def test_recorded_messages_have_their_numbers(link, form):
    capture, recorded = Capture(link), messages("monitor")
    capture.connect()
    for message in recorded:
        way = (CLIENT, SERVER) if message.direction == CLIENT_TO_SERVER else (SERVER, CLIENT)
        capture.tcp(*way, message.data)
    found = list(shark(form(capture)))
    assert [seen.command.fields for seen in found] == [message.fields for message in recorded]
    assert [seen.timestamp for seen in found] == [
        pytest.approx(1000.002 + 0.001 * number) for number in range(len(found))
    ]


def test_recorded_datagrams():
    capture, expected = Capture(), []
    for datagram in datagrams("handshake"):
        way = (CLIENT, SERVER) if datagram.direction == CLIENT_TO_SERVER else (SERVER, CLIENT)
        capture.udp(*way, datagram.data)
        expected += [message["header"]["command"] for message in datagram.messages]
    assert expected and [seen.command.ID for seen in shark(capture.file())] == expected


def test_ports_that_search_replies_name_are_ports_of_servers():
    server, capture = ("10.0.0.3", 7777), Capture()
    search = bytes(VersionRequest(0, 13)) + bytes(SearchRequest("x", 1, 13))
    capture.tcp(CLIENT, server, CHANNEL)  # not yet known
    capture.udp(CLIENT, ("10.0.0.255", 5064), search)
    capture.udp(SERVER, CLIENT, bytes(SearchResponse(7777, "10.0.0.3", 1, 13)))
    capture.tcp(CLIENT, server, CHANNEL)
    capture.tcp(server, CLIENT, bytes(EchoResponse()))
    assert kinds(capture) == [
        "VersionRequest", "SearchRequest", "SearchResponse", "CreateChanRequest", "EchoResponse",
    ]


def test_the_traffic_of_repeaters():
    capture, repeater, other = Capture(), ("10.0.0.1", 5065), ("10.0.0.1", 33333)
    capture.udp(CLIENT, repeater, bytes.fromhex("00180000000000000000000000000000"))
    capture.udp(other, CLIENT, bytes(RepeaterConfirmResponse("10.0.0.1")))
    capture.udp(("10.0.0.2", 44444), ("10.0.0.255", 5065), bytes(Beacon(13, 5064, 0, "10.0.0.2")))
    capture.udp(other, CLIENT, bytes(Beacon(13, 5064, 0, "10.0.0.2")))
    assert kinds(capture) == ["RepeaterRegisterRequest", "RepeaterConfirmResponse"] + 2 * ["Beacon"]


def test_the_side_that_speaks_is_known_by_the_first_packet_the_ports_or_the_first_message():
    first, low, high = Capture(), ("10.0.0.1", 1000), ("10.0.0.2", 2000)
    first.connect(low, high)
    first.tcp(low, high, HELLO)
    first.tcp(high, low, HELLO)
    assert kinds(first) == ["VersionRequest", "VersionResponse"]
    ports = Capture()
    ports.tcp(low, high, bytes(EchoRequest()))
    ports.tcp(high, low, bytes(EchoRequest()))
    assert kinds(ports) == []
    assert kinds(ports, server_ports=[2000]) == ["EchoRequest", "EchoResponse"]
    message = Capture()
    message.tcp(high, low, HELLO + NAME)
    message.tcp(low, high, HELLO)
    assert kinds(message) == ["VersionRequest", "ClientNameRequest", "VersionResponse"]
    both = Capture()
    both.tcp(low, high, NAME)
    both.tcp(high, low, HELLO)
    assert kinds(both, server_ports=[1000, 2000]) == ["ClientNameRequest", "VersionResponse"]


def test_other_traffic_is_left_out():
    capture, web, dns = Capture(), ("10.0.0.9", 80), ("10.0.0.9", 53)
    capture.connect(CLIENT, web)
    capture.tcp(CLIENT, web, b"GET / HTTP/1.1\r\n\r\n")
    capture.tcp(CLIENT, web, HELLO)
    capture.udp(CLIENT, dns, bytes(range(40)))
    assert kinds(capture) == []


def test_segments_out_of_order_repeated_and_overlapping():
    capture, data = Capture(), HELLO + NAME + CHANNEL
    capture.connect()
    start = capture.tcp(CLIENT, SERVER, data, lost=True)
    for begin, end in ((20, 40), (60, 80), (0, 10), (0, 30), (20, 40), (30, 70), (78, 500)):
        number = (start + begin) % (1 << 32)
        capture.tcp(CLIENT, SERVER, data[begin:end], sequence=number)
    assert kinds(capture) == ["VersionRequest", "ClientNameRequest", "CreateChanRequest"]


def test_a_lost_segment_is_reported_and_reading_goes_on():
    capture = Capture()
    capture.connect()
    capture.tcp(CLIENT, SERVER, HELLO)
    capture.tcp(CLIENT, SERVER, NAME, lost=True)
    capture.tcp(CLIENT, SERVER, CHANNEL)
    capture.tcp(CLIENT, SERVER, flags=FIN | ACK)
    first, error, last = (seen.command for seen in shark(capture.file()))
    assert isinstance(first, VersionRequest) and isinstance(last, CreateChanRequest)
    assert isinstance(error, RemoteProtocolError)
    assert str(error) == f"{len(NAME)} bytes missing in the capture"


def test_wrong_bytes_are_reported_and_reading_goes_on():
    capture = Capture()
    capture.connect()
    capture.tcp(CLIENT, SERVER, HELLO + b"\x77" * 50)
    capture.tcp(CLIENT, SERVER, CHANNEL)
    capture.udp(CLIENT, SERVER, bytes(VersionRequest(0, 13)) + b"\x00\x99" + bytes(14))
    assert kinds(capture) == [
        "VersionRequest", "RemoteProtocolError", "CreateChanRequest",
        "VersionRequest", "RemoteProtocolError",
    ]


def test_a_port_that_is_used_again():
    capture = Capture()
    for data in (HELLO + NAME[:20], HELLO + CHANNEL):
        capture.connect()
        capture.tcp(CLIENT, SERVER, data)
        capture.tcp(SERVER, CLIENT, bytes(EventCancelResponse(6, 1, 2, 1)))
    assert kinds(capture) == [
        "VersionRequest", "EventCancelResponse", "VersionRequest", "CreateChanRequest",
        "EventCancelResponse",
    ]


def test_any_bytes_are_read_and_shown():
    """Recordings with bytes changed at random: commands and errors, each of which prints."""
    changes = random.Random(7)
    capture = Capture()
    capture.connect()
    for stream in streams():
        way = (CLIENT, SERVER) if stream.direction == CLIENT_TO_SERVER else (SERVER, CLIENT)
        data = bytearray(stream.data[:3000])
        for _ in range(8):
            data[changes.randrange(len(data))] = changes.randrange(256)
        capture.tcp(*way, bytes(data))
        capture.udp(*way, bytes(data[:1000]))
    shown = [f"{seen.command!r} {seen.command}" for seen in shark(capture.file())]
    assert len(shown) > 100 and any("RemoteProtocolError" in text for text in shown)


def test_what_is_not_a_capture():
    with pytest.raises(CaprotoValueError, match="not a capture"):
        list(shark(io.BytesIO(b"nonsense" * 10)))
    with pytest.raises(CaprotoValueError, match="not a capture"):
        list(shark(io.BytesIO(b"")))
    strange = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 147)
    with pytest.raises(CaprotoValueError, match="link of type 147"):
        list(shark(io.BytesIO(strange)))


def test_a_capture_that_ends_in_the_middle_of_a_packet():
    capture = Capture()
    capture.connect()
    capture.tcp(CLIENT, SERVER, HELLO)
    capture.tcp(CLIENT, SERVER, CHANNEL)
    data = capture.file().getvalue()
    found = [type(seen.command) for seen in shark(io.BytesIO(data[:-50]))]
    assert found[0] is VersionRequest and CreateChanRequest not in found


@pytest.mark.parametrize("form", ["file", "file_ng"])
def test_a_capture_that_is_cut_off_anywhere(form):
    capture = Capture()
    capture.connect()
    capture.tcp(CLIENT, SERVER, HELLO)
    first = len(getattr(capture, form)().getvalue())
    capture.tcp(CLIENT, SERVER, CHANNEL)
    data = getattr(capture, form)().getvalue()
    for end in range(first, len(data)):
        assert VersionRequest in [type(seen.command) for seen in shark(io.BytesIO(data[:end]))]


def test_a_capture_that_is_damaged_says_so_after_what_is_whole():
    capture = Capture()
    capture.connect()
    capture.tcp(CLIENT, SERVER, HELLO)
    data = bytearray(capture.file_ng().getvalue())
    capture.tcp(CLIENT, SERVER, CHANNEL)
    data += struct.pack("<III", 6, 44, 0) + bytes(32)  # the two lengths of the block differ
    found = []
    with pytest.raises(CaprotoValueError, match="from here on this is not a capture"):
        found += shark(io.BytesIO(bytes(data)))
    assert VersionRequest in [type(seen.command) for seen in found]


def test_without_dpkt(monkeypatch):
    monkeypatch.setitem(sys.modules, "dpkt", None)
    with pytest.raises(CaprotoRuntimeError, match=r"needs the package dpkt: pip install"):
        list(shark(io.BytesIO()))


def test_dpkt_is_imported_when_a_capture_is_read():
    code = "import sys, caproto.sync.shark; print('dpkt' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_replies_have_their_sender():
    capture = Capture()
    capture.connect()
    capture.tcp(SERVER, CLIENT, HELLO)
    (seen,) = shark(capture.file())
    assert type(seen.command) is VersionResponse
    assert (seen.src, seen.dst, seen.command.sender_address) == (SERVER[0], CLIENT[0], SERVER)
