"""One UDP conversation, from both ends."""
from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caproto import (
    CLIENT,
    SERVER,
    Beacon,
    Broadcaster,
    CaprotoTypeError,
    CaprotoValueError,
    EchoRequest,
    LocalProtocolError,
    RemoteProtocolError,
    RepeaterConfirmResponse,
    RepeaterRegisterRequest,
    SearchRequest,
    SearchResponse,
    VersionRequest,
    VersionResponse,
    extract_address,
)
from caproto._protocol.broadcaster import searches_in
from tests import vectors_support
from tests.conformance.items import item

ADDRESS = ("10.0.0.1", 40000)


def test_a_search_and_its_reply():
    client, server = Broadcaster(CLIENT), Broadcaster(SERVER)
    datagram = client.send(*client.search("x", cid=7, sequence=3))
    version, request = server.recv(datagram, ADDRESS)
    server.process_commands([version, request])
    assert (version.sequence, request.name, request.cid) == (3, "x", 7)
    assert request.sender_address == ADDRESS
    answer = server.send(VersionResponse(13, version.sequence), SearchResponse(5064, None, 7, 13))
    greeting, reply = client.recv(answer, ("10.0.0.2", 5064))
    client.process_commands([greeting, reply])
    assert greeting.sequence == 3 and reply.cid == 7
    assert extract_address(reply) == ("10.0.0.2", 5064)


def test_registration():
    client = Broadcaster(CLIENT)
    assert client.send(client.register()) == bytes(RepeaterRegisterRequest("0.0.0.0"))
    assert not client.registered
    client.process_commands(client.recv(bytes(RepeaterConfirmResponse("127.0.0.1")), ADDRESS))
    assert client.registered


def test_an_empty_datagram():
    assert Broadcaster(CLIENT).recv(b"", ADDRESS) == []


def test_ids_of_searches_differ():
    client = Broadcaster(CLIENT)
    assert client.search("x")[1].cid != client.search("y")[1].cid


def test_the_fast_way_makes_the_same_datagram():
    client = Broadcaster(CLIENT)
    searches = [(1, "a"), (2, "b" * 8), (0xFFFFFFFF, "\u00b5:x.VAL")]
    slow = [VersionRequest(0, 13, 9), *(SearchRequest(name, cid, 13) for cid, name in searches)]
    assert client.search_datagram(9, searches) == b"".join(map(bytes, slow))


def test_recorded_searches():
    """What libca sends, byte for byte."""
    count = 0
    for vector in vectors_support.datagrams():
        names = [(m["decoded"]["cid"], m["decoded"]["name"]) for m in vector.messages[1:]
                 if vector.direction == "c2s" and m["header"]["command"] == 6]
        if names:
            count += 1
            sequence = vector.messages[0]["decoded"]["sequence"]
            assert Broadcaster(CLIENT).search_datagram(sequence, names) == vector.data
    assert count > 5


@pytest.mark.parametrize(
    ("role", "command"),
    [
        (CLIENT, VersionResponse(13)),
        (CLIENT, EchoRequest()),
        (SERVER, SearchRequest("x", 1, 13)),
        (SERVER, RepeaterRegisterRequest()),
    ],
)
def test_wrong_sends(role, command):
    with pytest.raises(LocalProtocolError, match=type(command).__name__):
        Broadcaster(role).send(command)


def test_the_role_must_be_one():
    with pytest.raises(CaprotoValueError, match="our_role"):
        Broadcaster("client")


def test_the_rest_of_a_bad_datagram_is_dropped_and_noted(caplog):
    client = Broadcaster(CLIENT)
    client.log.setLevel(logging.DEBUG)
    good = bytes(Beacon(13, 5064, 1))
    with caplog.at_level(logging.DEBUG, "caproto"):
        assert client.recv(good + b"junk" * 5, ADDRESS) == [Beacon(13, 5064, 1)]
    assert "10.0.0.1" in caplog.text


@item(24)
@pytest.mark.parametrize("version", [None, 0, 3])
def test_replies_from_servers_that_are_too_old_are_ignored(version):
    old = SearchResponse(5064, None, 1, version)
    good = SearchResponse(5064, None, 2, 13)
    assert Broadcaster(CLIENT).recv(bytes(old) + bytes(good), ADDRESS) == [good]


@pytest.mark.parametrize(
    "commands",
    [
        [SearchRequest("x", 1, 13)],
        [VersionRequest(0, 3), SearchRequest("x", 1, 13)],
        [VersionRequest(0, 13), SearchRequest("x", 1, 3)],
    ],
)
def test_searches_without_a_good_version(commands):
    server = Broadcaster(SERVER)
    with pytest.raises(RemoteProtocolError):
        server.process_commands(server.recv(b"".join(map(bytes, commands)), ADDRESS))


def test_searches_count_up_to_the_first_bad_one():
    first, second = VersionRequest(0, 13, 1), VersionRequest(0, 12, 2)
    x, y, bad = SearchRequest("x", 1, 13), SearchRequest("y", 2, 12), SearchRequest("z", 3, 3)
    other = RepeaterRegisterRequest("127.0.0.1")  # which is no business of a search
    found = []
    with pytest.raises(RemoteProtocolError, match="not preceded by a valid VERSION"):
        for version, search in searches_in([first, x, other, second, y, bad, x]):
            found.append((version, search))
    assert found == [(first, x), (second, y)]


SENDER = ("10.9.9.9", 5064)


@item(24)
@pytest.mark.parametrize(
    ("version", "ip", "expected"),
    [
        (13, None, ("10.9.9.9", 7000)),
        (13, "10.1.2.3", ("10.1.2.3", 7000)),
        (8, "10.1.2.3", ("10.1.2.3", 7000)),
        (7, "10.1.2.3", ("10.9.9.9", 7000)),
        (5, "10.1.2.3", ("10.9.9.9", 7000)),
        (4, "10.1.2.3", ("10.9.9.9", 5070)),
        (None, None, SENDER),
        (None, "10.1.2.3", ("10.1.2.3", 7000)),
    ],
)
def test_where_the_server_is(version, ip, expected):
    reply = SearchResponse(7000, ip, 1, version)
    reply.sender_address = SENDER
    assert extract_address(reply, 5070) == expected


def test_a_name_server_that_says_port_0_means_itself():
    reply = SearchResponse.from_wire((6, 0, 0, 0, 0xFFFFFFFF, 1), b"", SENDER)
    assert extract_address(reply) == SENDER


def test_where_a_beacon_comes_from():
    beacon = Beacon(13, 0, 1, "0.0.0.0")
    with pytest.raises(CaprotoValueError, match="no sender"):
        extract_address(beacon)
    beacon.sender_address = SENDER
    assert extract_address(beacon) == ("10.9.9.9", 5064)
    assert extract_address(Beacon(13, 7000, 1, "10.1.2.3")) == ("10.1.2.3", 7000)


@settings(max_examples=200)
@given(st.sampled_from([CLIENT, SERVER]), st.binary(max_size=200))
def test_strangers_cannot_make_it_fail(role, data):
    broadcaster = Broadcaster(role)
    try:
        broadcaster.process_commands(broadcaster.recv(data, ADDRESS))
    except RemoteProtocolError:
        assert role is SERVER


@pytest.mark.parametrize("role", [CLIENT, SERVER])
def test_addresses_are_noted_by_the_owner(role):
    broadcaster = Broadcaster(role)
    assert broadcaster.our_addresses == broadcaster.their_addresses == []
    broadcaster.client_address = ("10.0.0.9", 40000)
    broadcaster.server_addresses.append(ADDRESS)
    client, server = [("10.0.0.9", 40000)], [ADDRESS]
    ours, theirs = (client, server) if role is CLIENT else (server, client)
    assert (broadcaster.our_addresses, broadcaster.their_addresses) == (ours, theirs)


def test_a_closed_broadcaster_is_not_registered():
    broadcaster = Broadcaster(CLIENT)
    confirmation = bytes(RepeaterConfirmResponse("127.0.0.1"))
    broadcaster.process_commands(broadcaster.recv(confirmation, ADDRESS))
    broadcaster.disconnect()
    assert not broadcaster.registered


@pytest.mark.parametrize("wrong", [None, 5, EchoRequest()])
def test_what_names_no_address(wrong):
    with pytest.raises(CaprotoTypeError, match="response must be a SearchResponse or Beacon"):
        extract_address(wrong)


@pytest.mark.parametrize("wrong", [b"1.2.3.4", 5, "1.2.3"])
def test_what_is_no_ip(wrong):
    with pytest.raises(CaprotoValueError, match="is not an IPv4 address"):
        RepeaterRegisterRequest(wrong)
