"""What commands change in a circuit, and which ids, types and counts they may carry.

Section numbers are those of the protocol notes.
"""
from __future__ import annotations

import struct

import pytest

from caproto import (
    CLIENT,
    CLOSED,
    CONNECTED,
    FAILED,
    MUST_CLOSE,
    SERVER,
    AccessRights,
    AccessRightsResponse,
    CaprotoValueError,
    CAStatus,
    ChannelType,
    ClearChannelRequest,
    ClearChannelResponse,
    ClientChannel,
    CreateChanRequest,
    CreateChanResponse,
    CreateChFailResponse,
    ErrorResponse,
    EventAddRequest,
    EventAddResponse,
    EventCancelRequest,
    LocalProtocolError,
    MessageError,
    NotFoundResponse,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
    RemoteProtocolError,
    SearchRequest,
    SearchResponse,
    ServerDisconnResponse,
    VersionRequest,
    WriteNotifyRequest,
    WriteNotifyResponse,
    WriteRequest,
)
from tests.pair import Pair

DOUBLE, LONG = ChannelType.DOUBLE, ChannelType.LONG
SID = 70


@pytest.fixture
def pair() -> Pair:
    """Two circuits with one open channel, an array of up to ten DOUBLE."""
    pair = Pair().greet()
    pair.connect("x", data_count=10, sid=SID)
    return pair


@pytest.fixture
def channel(pair) -> ClientChannel:
    return pair.client.channels[1]


@pytest.fixture
def other(pair):
    """The server's end of it."""
    return pair.server.channels[1]


def deviates(pair: Pair, command, match: str, *, usable: bool) -> None:
    """The client says that *command* is not right, and whether it can be used; it goes on."""
    (received,), _ = pair.client.recv(bytes(command))
    with pytest.raises(MessageError, match=match) as raised:
        pair.client.process_command(received)
    assert raised.value.usable is usable


def refused_by_server(pair: Pair, command, match: str) -> None:
    (received,), _ = pair.server.recv(bytes(command))
    with pytest.raises(RemoteProtocolError, match=match):
        pair.server.process_command(received)


def not_sent(pair: Pair, role, command, match: str) -> None:
    with pytest.raises(LocalProtocolError, match=match):
        pair.circuits[role].send(command)
    assert pair.circuits[role].send() == []


# --- operations and their replies -----------------------------------------------------------------

#: Request -> the right reply, as functions of the ioid.
OPERATIONS = {
    "read": (
        lambda ioid: ReadNotifyRequest(DOUBLE, 2, SID, ioid),
        lambda ioid, data_type=DOUBLE, count=2, status=1: ReadNotifyResponse(
            [0] * count, data_type, count, status, ioid
        ),
    ),
    "old read": (
        lambda ioid: ReadRequest(DOUBLE, 2, SID, ioid),
        lambda ioid, data_type=DOUBLE, count=2: ReadResponse(
            [0] * count, data_type, count, 1, ioid
        ),
    ),
    "write": (
        lambda ioid: WriteNotifyRequest([1, 2], DOUBLE, 2, SID, ioid),
        lambda ioid, data_type=DOUBLE, count=2, status=1: WriteNotifyResponse(
            data_type, count, status, ioid
        ),
    ),
}
each_operation = pytest.mark.parametrize("kind", OPERATIONS)


@each_operation
def test_an_operation_is_pending_until_its_reply(pair, kind):
    request, reply = OPERATIONS[kind]
    pair.send(CLIENT, request(5), request(6))
    assert pair.client.pending == pair.server.pending == {5: request(5), 6: request(6)}
    pair.send(SERVER, reply(6))
    assert pair.client.pending == pair.server.pending == {5: request(5)}
    pair.send(SERVER, reply(5))
    assert pair.client.pending == pair.server.pending == {}


@each_operation
def test_a_reply_has_the_type_that_was_asked_for(pair, kind):
    request, reply = OPERATIONS[kind]
    pair.send(CLIENT, request(5))
    wrong = reply(5, data_type=LONG)
    words = f"{type(wrong).__name__} for id 5 has type 5, not 6"
    not_sent(pair, SERVER, wrong, words)
    deviates(pair, wrong, words, usable=True)
    assert 5 in pair.server.pending and 5 not in pair.client.pending, "an answer all the same"


@each_operation
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_reply_has_as_many_elements_as_were_asked_for(pair, kind, count):
    request, reply = OPERATIONS[kind]
    pair.send(CLIENT, request(5))
    wrong = reply(5, count=count)
    words = f"{type(wrong).__name__} for id 5 has {count} elements?, not 2"
    not_sent(pair, SERVER, wrong, words)
    deviates(pair, wrong, words, usable=True)
    assert pair.client.pending == {}


@pytest.mark.parametrize("count", [0, 1, 2, 10])
def test_who_asks_for_all_elements_gets_any_number(pair, channel, other, count):
    read = channel.read()
    assert read.data_count == 0
    pair.send(CLIENT, read)
    (reply,) = pair.send(SERVER, other.read([1.5] * count, read.ioid))
    assert reply.data.tolist() == [1.5] * count
    assert pair.client.pending == {}


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_failure_may_come_with_any_number_of_elements(pair, kind):
    """With a status that is no success the data mean nothing."""
    request, reply = OPERATIONS[kind]
    pair.send(CLIENT, request(5))
    pair.send(SERVER, reply(5, count=0, status=CAStatus.ECA_NORDACCESS))
    assert pair.client.pending == {}


def test_the_reply_to_an_old_read_carries_no_status(pair):
    """2.3: but the cid, and an even one does not excuse a wrong number of elements."""
    pair.send(CLIENT, ReadRequest(DOUBLE, 2, SID, 5))
    wrong = ReadResponse([1.0], DOUBLE, 1, 2, 5)
    deviates(pair, wrong, "ReadResponse for id 5 has 1 element, not 2", usable=True)


@pytest.mark.parametrize("data_type", [ChannelType.STSACK_STRING, ChannelType.CLASS_NAME])
def test_special_types_are_scalars_however_many_were_asked_for(pair, data_type):
    """3.3"""
    pair.send(CLIENT, ReadNotifyRequest(data_type, 10, SID, 5))
    pair.send(SERVER, ReadNotifyResponse(["ai"], data_type, 1, 1, 5))
    assert pair.client.pending == {}


@each_operation
def test_a_reply_is_of_the_kind_that_is_awaited(pair, kind):
    """One value is as good as another; a confirmation is no value."""
    request, reply = OPERATIONS[kind]
    for other_kind, (_, other_reply) in OPERATIONS.items():
        if other_kind != kind:
            pair.send(CLIENT, request(5))
            wrong, right = type(other_reply(5)).__name__, type(reply(5)).__name__
            words = f"{wrong} for ioid 5, which awaits a {right}"
            not_sent(pair, SERVER, other_reply(5), words)
            deviates(pair, other_reply(5), words, usable="write" not in (kind, other_kind))
            assert pair.client.pending == {}
            pair.send(SERVER, reply(5))


def test_an_update_may_answer_a_read(pair):
    pair.send(CLIENT, ReadNotifyRequest(DOUBLE, 1, SID, 5))
    update = EventAddResponse([1.0], DOUBLE, 1, 1, 5)
    deviates(pair, update, "EventAddResponse for ioid 5, which awaits a Read", usable=True)
    assert pair.client.pending == {}


@each_operation
@pytest.mark.parametrize("shape", [(99, 2, 16), (DOUBLE, 2, 8), (DOUBLE, 2, 0), (DOUBLE, 3, 16)])
def test_a_value_that_cannot_be_read_answers_its_request_too(pair, kind, shape):
    request, reply = OPERATIONS[kind]
    pair.send(CLIENT, request(5))
    data_type, count, size = shape
    right = reply(5)
    fields = (right.ID, size, int(data_type), count, 1, 5)
    wrong = type(right).from_wire(fields, bytes(size))
    usable = kind == "write"
    if usable and (data_type, count) == (DOUBLE, 2):
        return  # a confirmation has no payload
    deviates(pair, wrong, f"{type(right).__name__} for id 5 has", usable=usable)
    assert pair.client.pending == {}


@each_operation
def test_a_reply_under_an_id_that_was_never_used_is_a_deviation(pair, kind):
    request, reply = OPERATIONS[kind]
    pair.send(CLIENT, request(5))
    words = f"{type(reply(6)).__name__} for id 6, which was never used"
    not_sent(pair, SERVER, reply(6), words)
    deviates(pair, reply(6), words, usable=True)
    assert set(pair.client.pending) == {5}


@each_operation
def test_a_second_reply_is_ignored(pair, kind):
    """13.7: words about what is finished are normal."""
    request, reply = OPERATIONS[kind]
    pair.send(CLIENT, request(5), request(6))
    pair.send(SERVER, reply(5), reply(5), reply(5, data_type=LONG, count=7))
    assert pair.client.pending == {6: request(6)}


@each_operation
def test_an_id_serves_one_operation_at_a_time(pair, kind):
    request, reply = OPERATIONS[kind]
    pair.send(CLIENT, request(5))
    for another, _ in OPERATIONS.values():
        not_sent(pair, CLIENT, another(5), f"{type(another(5)).__name__}: ioid 5 is in use")
    pair.send(SERVER, reply(5))
    pair.send(CLIENT, request(5))


def test_a_careless_client_gets_each_of_its_answers(pair):
    """Real servers answer every request, whatever its id."""
    requests = [OPERATIONS["read"][0](5), OPERATIONS["write"][0](5), OPERATIONS["read"][0](5)]
    received, _ = pair.server.recv(*map(bytes, requests))
    for request in received:
        pair.server.process_command(request)
    for kind, left in [("read", 1), ("write", 1), ("read", 0)]:
        pair.server.send(OPERATIONS[kind][1](5))
        assert len(pair.server.pending) == left


def test_writes_without_notification_leave_no_trace(pair, channel):
    (request,) = pair.send(CLIENT, channel.write(1.0, notify=False))
    assert type(request) is WriteRequest
    assert pair.client.pending == pair.server.pending == {}


@pytest.mark.parametrize(
    "request_of",
    [
        lambda sid: ReadNotifyRequest(DOUBLE, 1, sid, 5),
        lambda sid: ReadRequest(DOUBLE, 1, sid, 5),
        lambda sid: WriteNotifyRequest([1], DOUBLE, 1, sid, 5),
        lambda sid: WriteRequest([1], DOUBLE, 1, sid, 5),
        lambda sid: EventAddRequest(DOUBLE, 1, sid, 5, 0, 0, 0, 1),
        lambda sid: EventCancelRequest(DOUBLE, sid, 5, 1),
        lambda sid: ClearChannelRequest(sid, 1),
    ],
)
def test_requests_name_a_channel_of_this_circuit(pair, request_of):
    request = request_of(999)
    words = f"{type(request).__name__}: no channel has sid 999"
    not_sent(pair, CLIENT, request, words)
    refused_by_server(pair, request, words)
    assert pair.server.pending == {} and pair.server.subscriptions == {}


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["read", "old read", "write"])
def test_an_error_finishes_the_operation_that_it_names(pair, kind):
    """2.11"""
    request, reply = OPERATIONS[kind]
    pair.send(CLIENT, request(5), request(6))
    pair.send(SERVER, ErrorResponse(request(5), 1, CAStatus.ECA_GETFAIL, "x"))
    assert set(pair.client.pending) == set(pair.server.pending) == {6}
    pair.send(SERVER, reply(5))
    assert set(pair.client.pending) == {6}, "and a reply all the same does no harm"


def test_an_error_with_an_extended_header_inside(pair):
    request = ReadNotifyRequest(DOUBLE, 70_000, SID, 5)
    pair.send(CLIENT, request)
    pair.send(SERVER, ErrorResponse(request, 1, CAStatus.ECA_TOLARGE, "x"))
    assert pair.client.pending == {}


def test_an_error_about_another_request_with_the_same_number_finishes_nothing(pair, channel):
    """The number in a WRITE is the cid, which may be anybody's ioid."""
    pair.send(CLIENT, ReadNotifyRequest(DOUBLE, 1, SID, 1))
    write = channel.write(1.0, notify=False)
    assert write.ioid == 1
    pair.send(CLIENT, write)
    pair.send(SERVER, ErrorResponse(write, 1, CAStatus.ECA_PUTFAIL, "x"))
    assert set(pair.client.pending) == {1}


def test_a_subscription_survives_an_error(pair, channel, other):
    """2.11: it reaches the user as an update with that status."""
    request = channel.subscribe()
    pair.send(CLIENT, request)
    pair.send(SERVER, ErrorResponse(request, 1, CAStatus.ECA_GETFAIL, "x"))
    assert request.subscriptionid in pair.client.subscriptions
    pair.send(SERVER, other.subscribe([1.0], request.subscriptionid))


def test_an_error_without_the_header_of_a_request_costs_nothing(pair):
    pair.send(CLIENT, ReadNotifyRequest(DOUBLE, 1, SID, 5))
    raw = struct.pack(">HHHHII", 11, 8, 0, 0, 1, 160) + bytes(8)
    deviates(pair, raw, "ErrorResponse.*cannot hold", usable=False)
    assert set(pair.client.pending) == {5}


# --- the life of a channel ------------------------------------------------------------------------


def test_what_the_server_tells_about_a_new_channel(pair):
    channel = ClientChannel("y", pair.client, 5)
    pair.send(CLIENT, channel.create())
    other = pair.server.channels[5]
    assert (other.name, other.cid, other.sid, other.circuit) == ("y", 5, None, pair.server)
    pair.send(SERVER, other.rights(AccessRights.READ))
    assert channel.access_rights == AccessRights.READ and not channel.connected
    pair.send(SERVER, other.create(LONG, 7, 71))
    for end in channel, other:
        assert (end.sid, end.native_data_type, end.native_data_count) == (71, LONG, 7)
        assert end.connected and end.access_rights == AccessRights.READ
    assert pair.client.channels_sid[71] is channel and pair.server.channels_sid[71] is other


def test_rights_may_come_after_the_reply_and_change(pair, channel, other):
    for rights in AccessRights.NO_ACCESS, AccessRights.READ | AccessRights.WRITE:
        pair.send(SERVER, other.rights(rights))
        assert channel.access_rights == other.access_rights == rights
    assert channel.connected


def test_a_second_reply_to_create_chan_says_nothing_new(pair, channel):
    """2.18"""
    pair.send(SERVER, CreateChanResponse(LONG, 3, channel.cid, 99))
    assert (channel.sid, channel.native_data_type, channel.native_data_count) == (SID, DOUBLE, 10)
    assert set(pair.client.channels_sid) == {SID}


def test_a_sid_belongs_to_one_channel(pair):
    second = ClientChannel("y", pair.client)
    pair.send(CLIENT, second.create())
    wrong = CreateChanResponse(DOUBLE, 1, second.cid, SID)
    words = "CreateChanResponse: sid 70 belongs to channel 'x' already"
    not_sent(pair, SERVER, wrong, words)
    deviates(pair, wrong, words, usable=False)
    assert second.sid is None and second.states[CLIENT] is FAILED
    assert set(pair.client.channels) == {1} and pair.client.channels_sid[SID].name == "x"


@pytest.mark.parametrize("data_type", [7, 20, 38, 0xFFFF])
def test_channels_have_native_types(pair, data_type):
    second = ClientChannel("y", pair.client)
    pair.send(CLIENT, second.create())
    wrong = CreateChanResponse.from_wire((18, 0, data_type, 1, second.cid, 71), b"")
    words = f"CreateChanResponse: {data_type} is not a native type"
    not_sent(pair, SERVER, wrong, words)
    deviates(pair, wrong, words, usable=False)
    assert second.states[CLIENT] is FAILED and set(pair.client.channels) == {1}


def test_a_channel_must_be_made_before_it_is_asked_for(pair):
    not_sent(pair, CLIENT, CreateChanRequest("y", 9, 13), "no channel has cid 9")


def test_a_server_with_two_channels_of_one_cid(pair, channel):
    """2.18: a duplicate request simply creates a second channel."""
    pair.server.process_command(CreateChanRequest("x", channel.cid, 13))
    pair.server.send(CreateChanResponse(DOUBLE, 10, channel.cid, 71))
    for sid in SID, 71:
        pair.server.process_command(ReadNotifyRequest(DOUBLE, 1, sid, sid))
        pair.server.send(ReadNotifyResponse([1.0], DOUBLE, 1, 1, sid))
    pair.server.process_command(ClearChannelRequest(SID, channel.cid))
    pair.server.send(ClearChannelResponse(SID, channel.cid))
    assert pair.server.channels[channel.cid].sid == 71, "the second one lives on"


def test_a_lost_circuit_closes_also_the_hidden_one_of_two_channels_with_one_cid(pair, other):
    pair.server.process_command(CreateChanRequest("x", other.cid, 13))
    assert pair.server.channels[other.cid] is not other
    pair.server.disconnect()
    assert not other.connected and other.states[SERVER] is CLOSED


def test_answers_to_several_requests_with_one_cid_come_in_their_order(pair):
    for name in ("x", "nonsense", "y"):
        pair.server.process_command(CreateChanRequest(name, 5, 13))
    pair.server.send(
        CreateChanResponse(DOUBLE, 1, 5, 71),
        CreateChFailResponse(5),
        CreateChanResponse(DOUBLE, 1, 5, 72),
    )
    assert [pair.server.channels_sid[sid].name for sid in (71, 72)] == ["x", "y"]


def test_a_lost_circuit_closes_channels_that_wait_for_the_answer_to_another_one(pair):
    for _ in range(2):
        pair.server.process_command(CreateChanRequest("x", 5, 13))
    waiting = pair.server._next_of_cid[5][0]
    pair.server.disconnect()
    assert waiting.states[SERVER] is CLOSED and not pair.server._next_of_cid


@pytest.mark.parametrize("command", [CreateChFailResponse, ServerDisconnResponse])
def test_a_name_that_was_refused_may_be_tried_again(pair, command):
    for _ in range(2):
        channel = ClientChannel("y", pair.client, 5)
        pair.send(CLIENT, channel.create())
        pair.send(SERVER, command(5))
        final = FAILED if command is CreateChFailResponse else CLOSED
        assert channel.states == {CLIENT: final, SERVER: final}
        assert 5 not in pair.client.channels and 5 not in pair.server.channels
    pair.connect("z", sid=71)


def busy(pair: Pair, channel: ClientChannel, other) -> list:
    """One of everything under way; what the server would say next."""
    read, write = channel.read(), channel.write([1.0], notify=True)
    live, cancelled = channel.subscribe(), channel.subscribe()
    pair.send(CLIENT, read, write, live, cancelled)
    pair.send(CLIENT, channel.unsubscribe(cancelled.subscriptionid))
    return [
        other.read([1.0], read.ioid),
        other.write(write.ioid, data_count=1),
        other.subscribe([1.0], live.subscriptionid),
        other.unsubscribe(cancelled.subscriptionid, data_count=0),
        other.rights(0),
    ]


def test_with_a_cleared_channel_all_that_hangs_on_it_is_gone(pair, channel, other):
    second, second_other = pair.connect("y", sid=71)
    late, later = busy(pair, channel, other), busy(pair, second, second_other)
    pair.send(CLIENT, channel.clear())
    assert channel.states == other.states == {CLIENT: MUST_CLOSE, SERVER: MUST_CLOSE}
    for circuit in pair.circuits.values():
        assert {r.sid for r in circuit.pending.values()} == {71}
        assert {r.sid for r in circuit.subscriptions.values()} == {71}
    assert not channel.subscriptionids and len(second.subscriptionids) == 1
    # Replies that were under way arrive, then the confirmation, then even later ones.
    for command in late:
        pair.client.process_command(command)
    pair.send(SERVER, other.clear())
    assert channel.states == other.states == {CLIENT: CLOSED, SERVER: CLOSED}
    for circuit in pair.circuits.values():
        assert set(circuit.channels) == {second.cid} and set(circuit.channels_sid) == {71}
    for command in late:
        pair.client.process_command(command)
    assert channel.access_rights == AccessRights.NO_ACCESS
    pair.send(SERVER, *later)
    assert pair.client.pending == {} and second.access_rights == AccessRights.NO_ACCESS


def test_a_channel_that_the_server_dropped_takes_all_with_it(pair, channel, other):
    """2.27: and the rest of the circuit goes on."""
    second, second_other = pair.connect("y", sid=71)
    late, later = busy(pair, channel, other), busy(pair, second, second_other)
    pair.send(SERVER, other.disconnect())
    assert channel.states == other.states == {CLIENT: CLOSED, SERVER: CLOSED}
    for circuit in pair.circuits.values():
        assert {r.sid for r in circuit.pending.values()} == {71}
        assert {r.sid for r in circuit.subscriptions.values()} == {71}
        assert set(circuit.channels) == {second.cid} and set(circuit.channels_sid) == {71}
    for command in late:
        pair.client.process_command(command)
    not_sent(pair, CLIENT, ClearChannelRequest(SID, channel.cid), "no channel has sid 70")
    pair.send(SERVER, *later)


def test_ids_of_a_dropped_channel_may_be_used_again(pair, channel, other):
    """Also those whose cancel was never confirmed: nothing more will come for them."""
    request = channel.subscribe(subscriptionid=5)
    pair.send(CLIENT, request)
    pair.send(CLIENT, channel.unsubscribe(5))
    pair.send(SERVER, other.disconnect())
    again = ClientChannel("x", pair.client, channel.cid)
    pair.send(CLIENT, again.create())
    other = pair.server.channels[channel.cid]
    pair.send(SERVER, other.create(DOUBLE, 10, SID))
    pair.send(CLIENT, again.subscribe(subscriptionid=5))
    assert again.subscriptionids == {5}


# --- channels that were given up ------------------------------------------------------------------


def test_a_channel_that_nobody_waits_for_is_given_back(pair):
    """2.18: answer with CLEAR_CHANNEL; once."""
    unclaimed = CreateChanResponse(DOUBLE, 1, 55, 71)
    (received,), _ = pair.client.recv(bytes(unclaimed))
    pair.client.process_command(received)
    assert set(pair.client.channels) == {1} and set(pair.client.channels_sid) == {SID}
    clear = ClearChannelRequest(71, 55)
    assert pair.client.send(clear) == [bytes(clear)]
    pair.client.process_command(ClearChannelResponse(71, 55))
    not_sent(pair, CLIENT, clear, "ClearChannelRequest: no channel has sid 71")


def test_two_channels_that_nobody_waits_for_have_not_one_sid(pair):
    """The client would give it back twice, which the rules forbid."""
    for cid in 55, 56:
        (received,), _ = pair.client.recv(bytes(CreateChanResponse(DOUBLE, 1, cid, 71)))
        if cid == 55:
            pair.client.process_command(received)
        else:
            with pytest.raises(MessageError, match="sid 71"):
                pair.client.process_command(received)
    pair.client.send(ClearChannelRequest(71, 55))


def test_a_channel_in_use_is_not_given_back_in_the_place_of_another(pair, channel):
    wrong = CreateChanResponse(DOUBLE, 1, 55, SID)
    words = "CreateChanResponse: sid 70 belongs to channel 'x' already"
    deviates(pair, wrong, words, usable=False)
    assert channel.connected


def test_what_is_said_about_a_channel_that_was_forgotten_is_ignored(pair, channel):
    """13.7"""
    for command in (
        AccessRightsResponse(55, 1), CreateChFailResponse(55), ServerDisconnResponse(55),
        ClearChannelResponse(71, 55),
    ):
        (received,), _ = pair.client.recv(bytes(command))
        pair.client.process_command(received)
    assert set(pair.client.channels) == {1} and channel.connected
    assert channel.access_rights == AccessRights.READ | AccessRights.WRITE


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (AccessRightsResponse(55, 1), "cid 55"),
        (CreateChanResponse(DOUBLE, 1, 55, 71), "cid 55"),
        (CreateChFailResponse(55), "cid 55"),
        (ServerDisconnResponse(55), "cid 55"),
        (ClearChannelResponse(71, 55), "sid 71"),
    ],
)
def test_a_server_does_not_speak_of_channels_that_do_not_exist(pair, command, words):
    not_sent(pair, SERVER, command, f"{type(command).__name__}: no channel has {words}")


def test_cids_of_open_channels_are_taken(pair, channel):
    with pytest.raises(CaprotoValueError, match="cid 1 is taken by channel 'x'"):
        ClientChannel("y", pair.client, channel.cid)


# --- what has nothing to do with channels ---------------------------------------------------------


def test_searches_over_tcp_change_nothing(pair):
    """6.5: also with libca's VERSION in front, whose data type is no priority."""
    pair.send(CLIENT, VersionRequest(1, 13), SearchRequest("y", 9, 13))
    pair.send(SERVER, SearchResponse(5064, None, 9, 13), NotFoundResponse(13, 9))
    assert pair.client.states == {CLIENT: CONNECTED, SERVER: CONNECTED}
    assert set(pair.client.channels) == set(pair.server.channels) == {1}
