"""Commands about a circuit and the life of its channels, against bytes from the specification."""
from __future__ import annotations

import pytest

from caproto import (
    REQUEST,
    RESPONSE,
    AccessRights,
    AccessRightsResponse,
    CaprotoTypeError,
    CaprotoValueError,
    CAStatus,
    ChannelType,
    ClearChannelRequest,
    ClearChannelResponse,
    ClientNameRequest,
    CreateChanRequest,
    CreateChanResponse,
    CreateChFailResponse,
    EchoRequest,
    EchoResponse,
    ErrorResponse,
    EventsOffRequest,
    EventsOnRequest,
    ExtendedMessageHeader,
    HostNameRequest,
    MessageHeader,
    ReadNotifyRequest,
    ReadSyncRequest,
    RemoteProtocolError,
    ServerDisconnResponse,
    VersionRequest,
    VersionResponse,
    WriteRequest,
)

WIRE = [
    (VersionRequest(0, 13), "00000000 0000000d 00000000 00000000"),
    (VersionRequest(42, 13), "00000000 002a000d 00000000 00000000"),
    (VersionRequest(0, 13, 1), "00000000 0001000d 00000001 00000000"),
    (VersionResponse(13), "00000000 0000000d 00000000 00000000"),
    (VersionResponse(13, 1), "00000000 0001000d 00000001 00000000"),
    (ClientNameRequest("root"), "00140008 00000000 00000000 00000000 726f6f74 00000000"),
    (
        HostNameRequest("vector-host"),
        "00150010 00000000 00000000 00000000 76656374 6f722d68 6f737400 00000000",
    ),
    (EchoRequest(), "00170000 00000000 00000000 00000000"),
    (EchoResponse(), "00170000 00000000 00000000 00000000"),
    (EventsOffRequest(), "00080000 00000000 00000000 00000000"),
    (EventsOnRequest(), "00090000 00000000 00000000 00000000"),
    (ReadSyncRequest(), "000a0000 00000000 00000000 00000000"),
    (CreateChanRequest("VEC:ai", 1, 13), "00120008 00000000 00000001 0000000d 5645433a 61690000"),
    (CreateChanResponse(6, 1, 1, 0), "00120000 00060001 00000001 00000000"),
    (
        CreateChanResponse(ChannelType.CHAR, 70000, 2, 0x50),
        "0012ffff 00040000 00000002 00000050 00000000 00011170",
    ),
    (AccessRightsResponse(1, 3), "00160000 00000000 00000001 00000003"),
    (AccessRightsResponse(3, AccessRights.READ), "00160000 00000000 00000003 00000001"),
    (CreateChFailResponse(1), "001a0000 00000000 00000001 00000000"),
    (ServerDisconnResponse(1), "001b0000 00000000 00000001 00000000"),
    (ClearChannelRequest(0x5F, 1), "000c0000 00000000 0000005f 00000001"),
    (ClearChannelResponse(0x5F, 1), "000c0000 00000000 0000005f 00000001"),
    (
        ErrorResponse(MessageHeader(4, 8, 6, 1, 0x29, 3), 3, CAStatus.ECA_NOWTACCESS, "VEC:ro"),
        "000b0018 00000000 00000003 00000178 00040008 00060001 00000029 00000003 5645433a 726f0000",
    ),
]


@pytest.mark.parametrize(("command", "wire"), WIRE, ids=lambda value: type(value).__name__)
def test_bytes(command, wire):
    assert bytes(command).hex() == wire.replace(" ", "")


def test_directions():
    assert VersionRequest.DIRECTION is REQUEST and VersionResponse.DIRECTION is RESPONSE
    assert EchoRequest.ID == EchoResponse.ID == 23


def test_the_sequence_number_counts_only_in_datagrams():
    assert VersionRequest(42, 13).sequence is None
    assert VersionRequest(0, 13, 0).sequence == 0
    assert VersionResponse(13).sequence is None
    assert VersionResponse(13, 7).sequence == 7


@pytest.mark.parametrize("priority", [-1, 100])
def test_impossible_priorities(priority):
    with pytest.raises(CaprotoValueError, match="priority"):
        VersionRequest(priority, 13)


def test_access_rights_ignore_bits_without_meaning():
    rights = AccessRightsResponse.from_wire((22, 0, 0, 0, 1, 0xFFFFFFFE), b"").access_rights
    assert rights == AccessRights.WRITE


def test_errors_carry_the_header_of_any_form():
    small, large = ReadNotifyRequest(6, 1, 2, 3), ReadNotifyRequest(6, 70000, 2, 3)
    for request, header in (small, MessageHeader), (large, ExtendedMessageHeader):
        error = ErrorResponse(request, 4, CAStatus.ECA_TOLARGE, "too much")
        assert type(error.original_request) is header
        assert error.original_fields == request.fields
        assert error.error_message == "too much"
        assert error.status is CAStatus.ECA_TOLARGE and error.cid == 4
        assert ErrorResponse(error.original_request, 4, 72, "too much") == error


def test_an_error_does_not_repeat_the_payload_of_the_request():
    error = ErrorResponse(WriteRequest([1.5], 6, 1, 2, 3), 3, 160, "")
    assert len(error.payload) == 16 + 8 and error.original_request.payload_size == 8


@pytest.mark.parametrize("payload", [b"", bytes(8), bytes.fromhex("000fffff") + bytes(12)])
def test_an_error_that_is_too_short_for_a_header(payload):
    error = ErrorResponse.from_wire((11, len(payload), 0, 0, 1, 160), payload)
    with pytest.raises(RemoteProtocolError, match="cannot hold"):
        error.original_request  # noqa: B018
    assert "ErrorResponse" in repr(error)


def test_an_error_about_something_that_is_no_request():
    with pytest.raises(CaprotoTypeError, match="original_request"):
        ErrorResponse("WRITE", 1, 160, "")


def test_an_unknown_status_survives():
    error = ErrorResponse(EchoRequest(), 1, 0x7FFF, "")
    assert error.status == 0x7FFF and not error.status.success == 0


def test_impossible_types_and_ids():
    with pytest.raises(CaprotoValueError, match="data_type=39"):
        CreateChanResponse(39, 1, 1, 1)
    with pytest.raises(CaprotoValueError, match="cid"):
        ClearChannelRequest(1, 1 << 32)
    with pytest.raises(CaprotoTypeError, match="sid"):
        ClearChannelRequest(None, 1)
