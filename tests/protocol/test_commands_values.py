"""Commands that carry values or ask for them, against bytes from the specification."""
from __future__ import annotations

import array

import numpy
import pytest

from caproto import (
    CaprotoError,
    CaprotoTypeError,
    CaprotoValueError,
    CAStatus,
    ChannelType,
    EventAddRequest,
    EventAddResponse,
    EventCancelRequest,
    EventCancelResponse,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
    RemoteProtocolError,
    SubscriptionType,
    TimeStamp,
    WriteNotifyRequest,
    WriteNotifyResponse,
    WriteRequest,
)
from tests.pretty import pretty

LONGS = "0000000a 00000014 0000001e 00000000"
WIRE = [
    (ReadNotifyRequest(20, 1, 0, 1), "000f0000 00140001 00000000 00000001"),
    (
        ReadNotifyRequest(ChannelType.CHAR, 70000, 0x50, 3),
        "000fffff 00040000 00000050 00000003 00000000 00011170",
    ),
    (
        ReadNotifyResponse(
            [3.25], 20, 1, 1, 1, metadata=(0, 0, TimeStamp(0x45648E0E, 0x246CB9F0))
        ),
        "000f0018 00140001 00000001 00000001 00000000 45648e0e 246cb9f0 00000000 400a0000 00000000",
    ),
    (ReadRequest(6, 1, 0x20, 0x14), "00030000 00060001 00000020 00000014"),
    (ReadResponse(3.25, 6, 1, 1, 0x14), "00030008 00060001 00000001 00000014 400a0000 00000000"),
    (WriteRequest(1.5, 6, 1, 0x51, 1), "00040008 00060001 00000051 00000001 3ff80000 00000000"),
    (WriteRequest("2.25", 0, 1, 0x51, 1), "00040008 00000001 00000051 00000001 322e3235 00000000"),
    (
        WriteRequest("01234567", 0, 1, 0x57, 7),
        "00040010 00000001 00000057 00000007 30313233 34353637 00000000 00000000",
    ),
    (WriteRequest([10, 20, 30], 5, 3, 0x53, 3), "00040010 00050003 00000053 00000003" + LONGS),
    (
        WriteNotifyRequest(2.5, 6, 1, 0x58, 1),
        "00130008 00060001 00000058 00000001 40040000 00000000",
    ),
    (WriteNotifyResponse(6, 1, 1, 1), "00130000 00060001 00000001 00000001"),
    (
        WriteNotifyResponse(0, 1, CAStatus.ECA_PUTFAIL, 2),
        "00130000 00000001 000000a0 00000002",
    ),
    (
        WriteNotifyResponse(4, 66000, 1, 4),
        "0013ffff 00040000 00000001 00000004 00000000 000101d0",
    ),
    (
        EventAddRequest(20, 1, 0x5F, 1, 0.0, 0.0, 0.0, 7),
        "00010010 00140001 0000005f 00000001 00000000 00000000 00000000 00070000",
    ),
    (EventCancelRequest(20, 0x5F, 1, 1), "00020000 00140001 0000005f 00000001"),
    (EventCancelResponse(20, 0x5F, 1, 1), "00010000 00140001 0000005f 00000001"),
]


@pytest.mark.parametrize(("command", "wire"), WIRE, ids=lambda value: type(value).__name__)
def test_bytes(command, wire):
    assert bytes(command).hex() == wire.replace(" ", "")


DATA = [
    [10, 20, 30],
    (10, 20, 30),
    bytes.fromhex(LONGS)[:12],
    numpy.array([10, 20, 30], ">i4"),
    numpy.array([10, 20, 30], "<i8"),
    array.array("i", [10, 20, 30]),
]


@pytest.mark.parametrize("data", DATA, ids=lambda data: type(data).__name__)
def test_data_of_many_kinds(data):
    assert bytes(WriteRequest(data, 5, 3, 0x53, 3)).hex() == WIRE[8][1].replace(" ", "")


def test_names_of_the_fields():
    request = ReadNotifyRequest(6, 2, 3, 4)
    assert (request.data_type, request.data_count, request.sid, request.ioid) == (6, 2, 3, 4)
    reply = ReadNotifyResponse([1.0, 2.0], 6, None, 160, 4)
    assert (reply.data_count, reply.status, reply.ioid) == (2, CAStatus.ECA_PUTFAIL, 4)
    update = EventAddResponse([1.0], 6, None, 1, 9)
    assert (update.status, update.subscriptionid) == (CAStatus.ECA_NORMAL, 9)
    write = WriteNotifyRequest([1.0], 6, None, 3, 4)
    assert (write.data_count, write.sid, write.ioid) == (1, 3, 4)
    cancel = EventCancelRequest(6, 3, 9)
    assert (cancel.sid, cancel.subscriptionid, cancel.data_count) == (3, 9, 0)


def test_the_mask():
    request = EventAddRequest(6, 1, 2, 3, 1.0, 2.0, 3.0, SubscriptionType.DBE_VALUE)
    assert request.mask is SubscriptionType.DBE_VALUE
    assert (request.low, request.high, request.to) == (1.0, 2.0, 3.0)
    assert EventAddRequest(6, 1, 2, 3, 0, 0, 0, 0x85).mask == 0x85
    with pytest.raises(CaprotoValueError, match="mask=0"):
        EventAddRequest(6, 1, 2, 3, 0, 0, 0, 0)
    with pytest.raises(CaprotoValueError, match="low="):
        EventAddRequest(6, 1, 2, 3, "low", 0, 0, 1)


def test_an_event_request_that_is_too_short():
    request = EventAddRequest.from_wire((1, 8, 6, 1, 2, 3), bytes(8))
    with pytest.raises(RemoteProtocolError, match="16 bytes"):
        request.mask  # noqa: B018


@pytest.mark.parametrize(
    ("data", "data_type", "count", "error"),
    [
        ("1.5", 6, None, CaprotoTypeError),
        ("x" * 40, 0, None, CaprotoValueError),
        ([1, 2], 5, 3, CaprotoValueError),
        (1 << 40, 5, None, CaprotoError),
        ([1], 39, None, CaprotoValueError),
        ([1], "DOUBLE", None, CaprotoTypeError),
        (object(), 6, None, CaprotoTypeError),
    ],
)
def test_impossible_values_are_refused_at_the_call(data, data_type, count, error):
    with pytest.raises(error):
        WriteNotifyRequest(data, data_type, count, 1, 1)
    with pytest.raises(error):
        ReadNotifyResponse(data, data_type, count, 1, 1)


def test_an_old_read_reply_is_a_success_like_any_other():
    assert ReadResponse(3.25, 6, 1, 1, 0x14).status is CAStatus.ECA_NORMAL


def test_the_prompt_says_whether_a_write_is_done():
    assert pretty(WriteNotifyResponse(6, 1, 1, 1)) == "written"
    refused = WriteNotifyResponse(0, 1, CAStatus.ECA_PUTFAIL, 2)
    assert pretty(refused).startswith("not written: ECA_PUTFAIL (writing failed")
    assert max(map(len, repr(refused).splitlines())) <= 100
    assert eval(repr(refused)) == refused
