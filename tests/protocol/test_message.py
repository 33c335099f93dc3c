"""What all commands have in common."""
from __future__ import annotations

import copy
import pickle
import struct
import subprocess
import sys
import textwrap

import pytest

import caproto
from caproto import (
    AccessRightsResponse,
    CaprotoTypeError,
    CaprotoValueError,
    CAStatus,
    ChannelType,
    EchoRequest,
    EventAddResponse,
    ReadNotifyRequest,
    ReadNotifyResponse,
    RemoteProtocolError,
    TimeStamp,
    WriteNotifyRequest,
)
from caproto._protocol.message import name_payload, text_of, text_payload, u16, u32

# A real IOC's update: 51.0, HIGH, MINOR; the gap in front of the value holds a left-over.
UPDATE = bytes.fromhex(
    "00010018 00140001 00000001 00000001 00040001 45648e20 3284eb57 0000005f 40498000 00000000"
)


def received() -> EventAddResponse:
    fields = (1, 24, 20, 1, 1, 1)
    return EventAddResponse.from_wire(fields, UPDATE[16:], ("10.0.0.1", 5064))


def test_one_representation_many_views():
    update = received()
    assert update.fields == (1, 24, 20, 1, 1, 1)
    assert bytes(update) == UPDATE
    assert len(update) == update.nbytes == 40
    assert bytes(update.header) == UPDATE[:16]
    assert b"".join(map(bytes, update.buffers)) == UPDATE[16:]
    assert update.sender_address == ("10.0.0.1", 5064)
    assert update.data_type is ChannelType.TIME_DOUBLE
    assert update.data_count == 1
    assert update.status is CAStatus.ECA_NORMAL
    assert update.subscriptionid == 1
    assert update.data.tolist() == [51.0]
    assert update.native_data.tolist() == [51.0]
    assert update.strings == ["51.0"]
    assert update.metadata.stamp == TimeStamp(0x45648E20, 0x3284EB57)


def test_the_header_is_a_snapshot():
    update = received()
    update.header.data_count = 77
    assert update.data_count == 1
    assert update.header.data_count == 1


def test_nothing_a_reader_does_changes_a_response():
    update = received()
    with pytest.raises(ValueError):
        update.data[0] = 1.0
    update.native_data[0] = 1.0  # a copy
    update.metadata.status = 0
    metadata, values = update.buffers
    assert memoryview(values).readonly
    metadata.severity = 3
    assert bytes(update) == UPDATE


def test_native_data_is_a_new_array_each_time():
    update = received()
    first, second = update.native_data, update.native_data
    assert first is not second and first.dtype.isnative
    first += 1
    assert first.tolist() == [52.0] and update.native_data.tolist() == [51.0]


def test_commands_can_be_pickled_and_copied():
    view = memoryview(bytearray(UPDATE[16:])).toreadonly()
    update = EventAddResponse.from_wire((1, 24, 20, 1, 1, 1), view, ("10.0.0.1", 5064))
    for command in (update, *SAMPLES, EchoRequest()):
        for again in (pickle.loads(pickle.dumps(command)), copy.copy(command)):
            assert again == command and type(again) is type(command)
            assert again.sender_address == command.sender_address


def test_payloads_may_be_views():
    view = memoryview(bytearray(UPDATE[16:])).toreadonly()
    update = EventAddResponse.from_wire((1, 24, 20, 1, 1, 1), view)
    assert update == received()
    assert bytes(update) == UPDATE
    assert update.data.tolist() == [51.0]
    assert b"".join(map(bytes, update.buffers)) == UPDATE[16:]


def test_equality_goes_by_class_and_bytes_not_by_sender():
    other = EventAddResponse.from_wire(received().fields, UPDATE[16:])
    assert other == received() and hash(other) == hash(received())
    assert other != EventAddResponse.from_wire((1, 24, 20, 1, 1, 2), UPDATE[16:])
    assert other != EventAddResponse.from_wire((1, 24, 20, 1, 1, 1), bytes(24))
    assert other != UPDATE
    assert EchoRequest() != caproto.EchoResponse()
    assert ReadNotifyRequest(6, 1, 2, 3) != caproto.ReadRequest(6, 1, 2, 3)


def test_messages_are_true_although_some_have_no_payload():
    assert EchoRequest() and len(EchoRequest()) == 16


def test_reprs_are_readable():
    assert repr(EchoRequest()) == "EchoRequest()"
    assert repr(ReadNotifyRequest(6, 1, 2, 3)) == (
        "ReadNotifyRequest(data_type=ChannelType.DOUBLE, data_count=1, sid=2, ioid=3)"
    )
    assert repr(AccessRightsResponse(4, 3)) == (
        "AccessRightsResponse(cid=4, access_rights=AccessRights.READ | AccessRights.WRITE)"
    )


NAMES: dict[str, object] = {}
exec("from caproto import *", NAMES)

SAMPLES = [
    EventAddResponse([1.5, float("nan"), float("-inf")], 6, None, 1, 7),
    ReadNotifyResponse([1, 2, 3], 5, 3, CAStatus.ECA_GETFAIL, 7),
    ReadNotifyResponse(["one", "two"], 0, 2, 1, 7),
    ReadNotifyResponse([1, 255], 4, 2, 1, 7),
    ReadNotifyResponse([], 20, 0, 1, 7),
    ReadNotifyResponse([3.25], 20, 1, 1, 7, metadata=(4, 1, TimeStamp(5, 999999999))),
    ReadNotifyResponse([3.25], 13, 1, 9999, 7, metadata=(4, 1, TimeStamp(0, 0))),
    WriteNotifyRequest("text", 0, 1, 2, 3),
    caproto.EventAddRequest(34, 0, 2, 3, 0.0, 1.5, 0.0, 5),
    caproto.EventAddRequest(6, 70000, 2, 3, 0.0, 1.5, 0.0, 0x85),
    caproto.ErrorResponse(ReadNotifyRequest(6, 1, 2, 3), 4, 160, "no"),
    caproto.ErrorResponse(ReadNotifyRequest(6, 70000, 2, 3), 4, 12345, "no"),
    caproto.VersionRequest(0, 13, 17),
    caproto.SearchResponse(5064, None, 3, 13),
    caproto.SearchResponse(5064, "10.1.2.3", 3, None),
    caproto.Beacon(13, 5064, 7, "10.1.2.3"),
]


@pytest.mark.parametrize("command", SAMPLES, ids=lambda command: type(command).__name__)
def test_reprs_evaluate_back(command):
    assert eval(repr(command), NAMES) == command


def test_commands_say_that_they_come_from_the_face_before_it_has_imported_them():
    code = """
        from caproto._protocol import commands
        print(commands.ReadNotifyResponse.__module__, commands.EchoRequest.__module__)
        """
    printed = subprocess.check_output([sys.executable, "-c", textwrap.dedent(code)], text=True)
    assert printed.split() == ["caproto", "caproto"]


def test_the_repr_of_a_large_array_is_short():
    text = repr(WriteNotifyRequest(range(100000), 5, None, 1, 7))
    assert "shape=(100000,)" in text and len(text) < 200
    small = WriteNotifyRequest(range(1000), 5, None, 1, 7)
    assert eval(repr(small), NAMES) == small


def test_a_type_that_nobody_knows():
    strange = EventAddResponse.from_wire((1, 8, 99, 1, 1, 1), bytes(8))
    for attribute in ("data_type", "data", "native_data", "strings"):
        with pytest.raises(RemoteProtocolError):
            getattr(strange, attribute)
    assert strange.metadata is None
    assert bytes(strange)[16:] == bytes(8)
    assert "99" in repr(strange)


def test_a_payload_that_is_too_short():
    short = EventAddResponse.from_wire((1, 8, 20, 1, 1, 1), bytes(8))
    with pytest.raises(RemoteProtocolError):
        short.data  # noqa: B018
    with pytest.raises(RemoteProtocolError):
        short.metadata  # noqa: B018


@pytest.mark.parametrize(("check", "limit"), [(u16, 0xFFFF), (u32, 0xFFFFFFFF)])
def test_numbers(check, limit):
    assert check("n", limit) == limit and check("n", ChannelType.DOUBLE) == 6
    for wrong in (-1, limit + 1):
        with pytest.raises(CaprotoValueError, match=f"cid={wrong}"):
            check("cid", wrong)
    for wrong in (1.0, "1", None):
        with pytest.raises(CaprotoTypeError, match="cid"):
            check("cid", wrong)


@pytest.mark.parametrize("length", range(20))
def test_texts_are_terminated_and_padded(length):
    payload = text_payload("name", "x" * length)
    assert len(payload) % 8 == 0 and length < len(payload) <= length + 8
    assert payload == b"x" * length + bytes(len(payload) - length)
    assert text_of(payload) == "x" * length


@pytest.mark.parametrize("wrong, error, words", [
    (5, CaprotoTypeError, "name must be a str, not 5"),
    ("a\0b", CaprotoValueError, "contains a zero byte"),
    (b"a\0b", CaprotoValueError, "contains a zero byte"),
    ("\ud800", CaprotoValueError, "name="),
])  # fmt: skip
def test_what_is_no_text(wrong, error, words):
    with pytest.raises(error, match=words):
        text_payload("name", wrong)


def test_bytes_are_sent_as_they_are():
    assert text_payload("name", b"\xb5m") == b"\xb5m" + bytes(6)


def test_a_value_without_metadata_is_one_buffer():
    plain = EventAddResponse([1.5], ChannelType.DOUBLE, 1, 1, 9)
    assert [bytes(part) for part in plain.buffers] == [struct.pack(">d", 1.5)]
    assert EventAddResponse.from_wire((1, 0, 20, 0, 1, 9), b"").buffers == ()


def test_texts_survive_whatever_bytes_they_are():
    assert text_of(b"\xb5m\0garbage") == "µm"
    assert text_payload("name", text_of(b"\xb5m")) == b"\xb5m" + bytes(6)
    assert text_payload("name", "µm") == "µm".encode() + bytes(5)
    assert text_of(b"no end") == "no end"
    assert text_of(memoryview(b"view\0\0")) == "view"


def test_names():
    assert name_payload("x" * 60 + ".DESC")
    assert len(name_payload("x" * 991)) == len(name_payload("ü" * 495)) == 992
    for too_long in ("x" * 992, "ü" * 496):
        with pytest.raises(CaprotoValueError, match="991 bytes that fit in a search datagram"):
            name_payload(too_long)
    with pytest.raises(CaprotoValueError, match="empty"):
        name_payload("")
    with pytest.raises(CaprotoValueError, match="zero byte"):
        name_payload("a\0b")
    with pytest.raises(CaprotoTypeError, match="name"):
        name_payload(5)
