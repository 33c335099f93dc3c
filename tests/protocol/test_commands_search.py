"""Commands that find servers, against bytes from the specification."""
from __future__ import annotations

import pytest

from caproto import (
    DO_REPLY,
    NO_REPLY,
    Beacon,
    CaprotoValueError,
    NotFoundResponse,
    RepeaterConfirmResponse,
    RepeaterRegisterRequest,
    SearchRequest,
    SearchResponse,
    VersionRequest,
)

WIRE = [
    (SearchRequest("VEC:ai", 1, 13), "00060008 0005000d 00000001 00000001 5645433a 61690000"),
    (SearchResponse(25064, None, 1, 13), "00060008 61e80000 ffffffff 00000001 000d0000 00000000"),
    (SearchResponse(25064, None, 0x4D, None), "00060000 61e80000 ffffffff 0000004d"),
    (NotFoundResponse(13, 0x4F), "000e0000 000a000d 0000004f 0000004f"),
    (Beacon(13, 25064, 2), "000d0000 000d61e8 00000002 00000000"),
    (Beacon(13, 5064, 7, "127.0.0.1"), "000d0000 000d13c8 00000007 7f000001"),
    (RepeaterRegisterRequest("127.0.0.1"), "00180000 00000000 00000000 7f000001"),
    (RepeaterConfirmResponse("127.0.0.1"), "00110000 00000000 00000000 7f000001"),
]


@pytest.mark.parametrize(("command", "wire"), WIRE, ids=lambda value: type(value).__name__)
def test_bytes(command, wire):
    assert bytes(command).hex() == wire.replace(" ", "")


def test_search_attributes():
    request = SearchRequest("a.B", 7, 12, DO_REPLY)
    assert (request.name, request.cid, request.version, request.reply) == ("a.B", 7, 12, DO_REPLY)
    assert SearchRequest("a", 7, 12).reply == NO_REPLY
    reply = SearchResponse(5064, "10.1.2.3", 7, 11)
    assert (reply.port, reply.ip, reply.cid, reply.version) == (5064, "10.1.2.3", 7, 11)
    assert SearchResponse(5064, None, 7, None).version is None
    assert SearchResponse(5064, None, 7, None).ip == "255.255.255.255"
    assert SearchResponse(5064, "255.255.255.255", 7, 13) == SearchResponse(5064, None, 7, 13)


def test_beacon_attributes():
    beacon = Beacon(13, 5064, 7, 0x7F000001)
    assert beacon.address == "127.0.0.1"
    assert (beacon.version, beacon.server_port, beacon.beacon_id) == (13, 5064, 7)
    assert RepeaterRegisterRequest().client_address == "0.0.0.0"
    assert RepeaterConfirmResponse("1.2.3.4").repeater_address == "1.2.3.4"


@pytest.mark.parametrize("ip", ["", "host", "1.2.3", "1.2.3.256", "1.2.3.4.5", "1.2.3.-4", 5])
def test_impossible_addresses(ip):
    with pytest.raises(CaprotoValueError, match="IPv4"):
        RepeaterRegisterRequest(ip)


def test_long_names():
    request = SearchRequest("x" * 991, 1, 13)
    assert len(VersionRequest(0, 13)) + len(request) == 1024 and request.name == "x" * 991
    with pytest.raises(CaprotoValueError, match="991"):
        SearchRequest("x" * 992, 1, 13)
