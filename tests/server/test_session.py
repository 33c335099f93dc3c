"""A session as such: greeting, names, echo, search, what is malformed, taking and closing.

Channels, reads, writes and subscriptions are in the other files test_session_*.py, the recorded
conversations of a real IOC in test_session_recorded.py.
"""
from __future__ import annotations

import random

import pytest

from caproto import (
    CAStatus,
    ChannelType,
    ClearChannelRequest,
    ClientNameRequest,
    CreateChanRequest,
    CreateChFailResponse,
    EchoRequest,
    EchoResponse,
    ErrorResponse,
    EventAddRequest,
    EventAddResponse,
    EventsOffRequest,
    EventsOnRequest,
    HostNameRequest,
    NotFoundResponse,
    ReadNotifyRequest,
    ReadSyncRequest,
    ReadSyncResponse,
    RemoteProtocolError,
    SearchRequest,
    SearchResponse,
    VersionRequest,
    VersionResponse,
    WriteRequest,
)
from caproto._protocol.headers import pack_header
from caproto._server.directory import Directory
from caproto._server.session import ServerSession
from caproto.server import ChannelByte, ChannelDouble
from tests.server.session_rig import CLIENT_ADDRESS, Rig

NOBODY = 0xFFFFFFFF


@pytest.fixture
def rig():
    return Rig({"x": ChannelDouble(value=1.5)})


def is_alive(rig: Rig) -> bool:
    """Whether the circuit goes on."""
    return not rig.session.closing and rig.raw(EchoRequest()) == [EchoResponse()]


def only_error(replies) -> tuple:
    """cid, status and command of the request of the one ERROR in *replies*."""
    (error,) = replies
    assert isinstance(error, ErrorResponse) and error.error_message
    return error.cid, error.status, error.original_fields[0]


# ---- the greeting ----------------------------------------------------------------------------


def test_the_version_is_told_before_the_client_has_said_anything():
    rig = Rig({}, greet=False)
    assert rig.received() == [VersionResponse(13)]
    assert rig.received() == []


def test_the_clients_version_gets_no_reply_and_its_priority_is_noted():
    rig = Rig({}, greet=False)
    rig.received()
    assert rig.ask(VersionRequest(0, 11)) == []
    assert rig.session.circuit.peer_version == 11
    assert Rig({}, priority=42).session.circuit.priority == 42


@pytest.mark.parametrize(
    "version, priority", [(0, 0), (3, 0), (13, 100), (13, 0xFFFF)],
)
def test_a_version_that_is_too_old_or_an_impossible_priority_ends_the_conversation(
    version, priority
):
    rig = Rig({}, greet=False)
    replies = rig.raw(pack_header((0, 0, priority, version, 0, 0)), EchoRequest())
    assert replies == [VersionResponse(13)], "no message, as an IOC"
    assert rig.session.closing


@pytest.mark.parametrize("version", range(4, 14))
def test_versions_from_4_on_are_served(version):
    rig = Rig({"x": ChannelDouble(value=1.5)}, version=version)
    x = rig.connect("x")
    assert rig.value(x, count=1) == [1.5]
    assert rig.session.circuit.peer_version == version


def test_a_version_from_the_future_is_served_as_ours():
    rig = Rig({}, greet=False)
    rig.raw(pack_header((0, 0, 0, 99, 0, 0)))
    assert rig.session.circuit.peer_version == 13 and is_alive(rig)


def test_the_version_may_be_said_again(rig):
    assert rig.raw(VersionRequest(7, 10)) == []
    assert rig.session.circuit.peer_version == 10 and rig.session.circuit.priority == 7


@pytest.mark.parametrize(
    "command",
    [
        CreateChanRequest("x", 3, 13),
        EchoRequest(),
        ClientNameRequest("me"),
        SearchRequest("x", 1, 13),
        ReadNotifyRequest(6, 1, 0, 0),
        EventsOffRequest(),
    ],
    ids=lambda command: type(command).__name__,
)
def test_before_the_version_everything_is_refused(command):
    rig = Rig({"x": ChannelDouble()}, greet=False)
    rig.received()
    assert only_error(rig.raw(command)) == (NOBODY, CAStatus.ECA_DEFUNCT, command.ID)
    assert rig.ask(VersionRequest(0, 13)) == []
    rig.connect("x")


# ---- names -----------------------------------------------------------------------------------


def test_names_are_noted(rig):
    assert rig.session.host_name == CLIENT_ADDRESS[0] and rig.session.client_name == ""
    assert rig.ask(ClientNameRequest("me"), HostNameRequest("here")) == []
    assert (rig.session.client_name, rig.session.host_name) == ("me", "here")


@pytest.mark.parametrize("kind", [ClientNameRequest, HostNameRequest])
def test_names_come_too_late_after_the_first_channel(rig, kind):
    rig.connect("x")
    assert only_error(rig.ask(kind("late"))) == (NOBODY, CAStatus.ECA_INTERNAL, kind.ID)
    assert rig.session.host_name == CLIENT_ADDRESS[0] and rig.session.client_name == ""
    assert is_alive(rig)


def test_the_longest_name_has_511_bytes(rig):
    assert rig.ask(HostNameRequest("h" * 511)) == []
    assert rig.session.host_name == "h" * 511


@pytest.mark.parametrize("kind", [20, 21])
@pytest.mark.parametrize("payload", [b"", b"noend..8", b"h" * 512 + bytes(8)])
def test_a_name_that_is_too_long_or_has_no_end_ends_the_conversation(rig, kind, payload):
    replies = rig.raw(pack_header((kind, len(payload), 0, 0, 0, 0)) + payload, EchoRequest())
    assert only_error(replies) == (NOBODY, CAStatus.ECA_INTERNAL, kind)
    assert rig.session.closing


# ---- echo ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_, kind", [(EchoRequest, EchoResponse), (ReadSyncRequest, ReadSyncResponse)]
)
def test_an_echo_is_returned_as_it_came(rig, request_, kind):
    for fields, payload in [
        ((request_.ID, 0, 0, 0, 0, 0), b""),
        ((request_.ID, 8, 3, 2, 7, 8), b"abcdefgh"),
        ((request_.ID, 70000, 3, 99999, 7, 8), b"x" * 70000),
    ]:
        (reply,) = rig.raw(pack_header(fields) + payload)
        assert type(reply) is kind
        assert (reply.fields, reply.payload) == (fields, payload)


# ---- search over TCP -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x", "x.VAL", "x.[1:2]"])
@pytest.mark.parametrize("reply", [5, 10])
def test_a_search_finds_what_is_here(name, reply):
    rig = Rig({"x": ChannelDouble()}, port=5066)
    assert rig.ask(SearchRequest(name, 77, 13, reply)) == [
        SearchResponse.from_wire((6, 0, 5066, 0, NOBODY, 77), b"")
    ]


def test_what_is_not_here_is_told_only_if_the_client_wants_to_hear_it(rig):
    assert rig.ask(SearchRequest("y", 79, 13, 5)) == []
    (reply,) = rig.ask(SearchRequest("y", 79, 13, 10))
    assert type(reply) is NotFoundResponse and reply.fields == (14, 0, 10, 13, 79, 79)


def test_a_search_for_nothing_is_ignored(rig):
    for payload in (b"", bytes(8)):
        assert rig.raw(pack_header((6, len(payload), 10, 13, 1, 1)) + payload) == []
    assert is_alive(rig)


def test_a_search_by_a_client_that_is_too_old_ends_the_conversation(rig):
    assert rig.raw(SearchRequest("x", 1, 3), EchoRequest()) == []
    assert rig.session.closing


# ---- nonsense --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        bytes.fromhex("001c0000 00000000 00000000 00000000"),  # an unknown command
        bytes.fromhex("001b0000 00000000 00000000 00000000"),  # one that only servers send
        bytes.fromhex("00170007 00000000 00000000 00000000") + bytes(7),  # misaligned
        bytes.fromhex("0017ffff 00000000 00000000 00000000 00000004 00000000") + bytes(4),
    ],
    ids=["unknown", "of a server", "misaligned", "misaligned, extended"],
)
def test_what_cannot_be_read_ends_the_conversation(rig, data):
    first, error = rig.raw(EchoRequest(), data, EchoRequest())
    assert first == EchoResponse(), "what came before it is answered"
    assert (error.cid, error.status) == (NOBODY, CAStatus.ECA_INTERNAL) and error.error_message
    assert rig.session.closing


def test_a_broken_stream_is_reported_once_and_then_all_is_ignored(rig):
    rig.session.broken(RemoteProtocolError("nonsense"))
    assert rig.session.closing
    assert rig.session.process(EchoRequest()) is None
    (error,) = rig.taken()
    assert error.error_message == "nonsense"


LIMIT = 900


@pytest.mark.parametrize(
    "command, cid",
    [
        (WriteRequest(b"x" * 2000, ChannelType.CHAR, 2000, 0, 1), 1),
        (CreateChanRequest("V" * 990, 5, 13), NOBODY),
    ],
    ids=["write", "create"],
)
def test_what_is_too_large_is_skipped_and_refused(command, cid):
    rig = Rig({"x": ChannelByte(value=b"abc", max_length=5000)}, max_payload=LIMIT)
    x = rig.connect("x")
    assert (x.sid, x.cid) == (0, 1)
    if cid == NOBODY:
        rig.ask(x.clear())
    first, error, last = rig.raw(EchoRequest(), command, EchoRequest())
    assert first == last == EchoResponse()
    assert (error.cid, error.status) == (cid, CAStatus.ECA_TOLARGE)
    assert error.original_fields == command.fields
    assert str(LIMIT) in error.error_message


def test_a_message_at_the_limit_is_taken():
    rig = Rig({"x": ChannelByte(value=b"abc", max_length=5000)}, max_payload=LIMIT)
    x = rig.connect("x")
    size = LIMIT // 8 * 8  # payloads are padded
    assert rig.ask(x.write(b"x" * size, notify=True))[0].status == 1
    assert rig.ask(x.write(b"x" * (size + 8), notify=True))[0].status is CAStatus.ECA_TOLARGE
    assert rig.session.directory.open("x").data.length == size


@pytest.mark.parametrize("version", [8, 13])
def test_random_requests_are_answered_or_refused_and_never_break_the_session(version):
    """Headers that are legal, with numbers and payloads that are mostly not."""
    rng = random.Random(version)
    commands = [1, 2, 3, 4, 6, 8, 9, 10, 12, 15, 18, 19, 20, 21, 23]
    rig = None
    for _ in range(1500):
        if rig is None or rig.session.closing:
            rig = Rig({"x": ChannelDouble(), "s": ChannelByte(value=b"abc")}, version=version)
            rig.connect("x")
            rig.connect("s")
        size = rng.choice([0, 8, 16, 40, 80])
        command = rng.choice(commands)
        number = 0 if command == 18 else rng.randrange(20)
        data_type = rng.choice([0, 3, 6, 20, 34, 38, 39, 0xFFFF])
        count = rng.choice([0, 1, 2, 0xFFFE, 0xFFFFFFFF])
        header = pack_header((command, size, data_type, count, rng.randrange(3), number))
        rig.raw(header + rng.randbytes(size))
        assert rig.session.closing or rig.raw(EchoRequest())[-1] == EchoResponse()


def test_extended_headers_of_a_client_that_cannot_know_them_are_refused():
    rig = Rig({"x": ChannelByte(value=b"abc")}, version=8)
    x = rig.connect("x")
    for fields in ((23, 0, 0, 0xFFFF, 0, 0), (2, 0, 4, 70000, x.sid, 5), (19, 0, 4, 70000, 0, 1)):
        assert only_error(rig.raw(pack_header(fields))) == (
            NOBODY, CAStatus.ECA_INTERNAL, fields[0]
        )
    assert is_alive(rig)


# ---- taking, sleeping, closing ---------------------------------------------------------------


def test_replies_are_in_the_order_of_the_requests(rig):
    x = rig.connect("x")
    replies = rig.raw(
        EchoRequest(), x.read(), CreateChanRequest("y", 9, 13), x.write(2.0, notify=True)
    )
    assert [type(reply).__name__ for reply in replies] == [
        "EchoResponse", "ReadNotifyResponse", "CreateChFailResponse", "WriteNotifyResponse"
    ]


def test_any_cut_of_the_requests_gives_the_same_replies():
    requests = b"".join(
        map(bytes, (EchoRequest(), ReadNotifyRequest(6, 1, 0, 5), ClientNameRequest("late"),
                    ReadNotifyRequest(20, 0, 0, 6), ClearChannelRequest(0, 1)))
    )
    expected = None
    for step in (1, 7, 16, 1000):
        rig = Rig({"x": ChannelDouble(value=1.5, timestamp=1.0e9)})
        rig.connect("x")
        replies = []
        for start in range(0, len(requests), step):
            replies += rig.raw(requests[start : start + step])
        assert expected is None or replies == expected
        expected = replies
    assert len(expected) == 5


def test_take_gives_all_replies_and_a_part_of_the_updates():
    wave = ChannelDouble(value=[0.0] * 1000)
    rig = Rig({"wave": wave})
    channel = rig.connect("wave")
    rig.ask(channel.subscribe())
    for _ in range(10):
        wave.write([1.0] * 1000)
    rig.send(*[EchoRequest()] * 20)
    kinds = [type(command) for command in rig.received(limit=20000)]
    assert kinds[:20] == [EchoResponse] * 20
    assert kinds[20:] == [EventAddResponse] * 3
    assert len(rig.received()) == 7
    assert rig.session.take() == []


def test_the_owner_is_woken_when_there_is_something_to_take():
    x = ChannelDouble()
    rig = Rig({"x": x})
    channel = rig.connect("x")
    rig.ask(channel.subscribe())
    assert rig.session.sleep()
    x.write(1)
    assert rig.wakes == 1
    assert not rig.session.sleep(), "there is something to take"
    rig.received()
    assert rig.session.sleep()
    x.access_rights = 1
    assert rig.wakes == 2


def test_a_session_needs_no_wake_function():
    session = ServerSession(Directory({}), CLIENT_ADDRESS)
    assert session.take() and session.sleep()
    session.process(VersionRequest(0, 13))
    session.process(EchoRequest())
    assert not session.sleep()


def test_a_closed_session_is_forgotten_by_the_pvs():
    x = ChannelDouble()
    rig = Rig({"x": x})
    channel = rig.connect("x")
    rig.ask(channel.subscribe(), channel.subscribe(mask=8))
    assert len(x._subscribers) == 2 and len(x._listeners) == 1
    rig.session.sleep()
    rig.session.close()
    x.write(5)
    x.access_rights = 0
    assert not x._subscribers and not x._listeners
    assert rig.wakes == 0 and rig.session.take() == []


def test_many_clients_are_independent():
    x = ChannelDouble(value=1)
    rigs = [Rig({"x": x}) for _ in range(5)]
    channels = [rig.connect("x") for rig in rigs]
    for rig, channel in zip(rigs, channels):
        rig.ask(channel.subscribe())
    rigs[0].ask(EventsOffRequest())
    rigs[1].session.close()
    rigs[2].raw(pack_header((99, 0, 0, 0, 0, 0)))
    rigs[3].ask(channels[3].write(7.0, notify=True))
    (update,) = rigs[4].received()
    assert list(update.data) == [7.0]
    assert rigs[0].received() == []
    assert [list(u.data) for u in rigs[0].ask(EventsOnRequest())] == [[7.0]]


def test_a_name_that_is_unknown_or_broken_is_refused_and_the_circuit_goes_on(rig):
    for name in ("y", "x.[", "x.$", 'x.{"nosuch":{}}'):
        assert rig.raw(CreateChanRequest(name, 8, 13)) == [CreateChFailResponse(8)]
    assert is_alive(rig)


def test_an_event_request_without_its_payload_is_refused(rig):
    x = rig.connect("x")
    request = EventAddRequest(6, 1, x.sid, 5, 0, 0, 0, 1)
    for size in (0, 8):
        fields = (1, size, *request.fields[2:])
        assert only_error(rig.raw(pack_header(fields) + bytes(size))) == (
            NOBODY, CAStatus.ECA_INTERNAL, 1
        )
    assert is_alive(rig)
