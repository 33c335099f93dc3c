"""Subscriptions of a circuit: updates, cancels and their confirmations, refreshes.

Section numbers are those of the protocol notes.
"""
from __future__ import annotations

import pytest

from caproto import (
    CLIENT,
    SERVER,
    AlarmSeverity,
    AlarmStatus,
    CAStatus,
    ChannelType,
    ClientChannel,
    EventAddRequest,
    EventAddResponse,
    EventCancelRequest,
    EventCancelResponse,
    LocalProtocolError,
    MessageError,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadResponse,
    RemoteProtocolError,
    TimeStamp,
    WriteNotifyRequest,
    WriteNotifyResponse,
)
from tests.pair import Pair

DOUBLE, LONG, TIME_DOUBLE = ChannelType.DOUBLE, ChannelType.LONG, ChannelType.TIME_DOUBLE
SID, SUBID = 70, 5


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


def receive(pair: Pair, *commands) -> list:
    """The client gets *commands* from a server that does not care for rules."""
    received, _ = pair.client.recv(*map(bytes, commands))
    for command in received:
        pair.client.process_command(command)
    return received


def not_sent(pair: Pair, role, command, match: str) -> None:
    with pytest.raises(LocalProtocolError, match=match):
        pair.circuits[role].send(command)
    assert pair.circuits[role].send() == []


def kinds(commands) -> list[type]:
    return [type(command) for command in commands]


# --- updates --------------------------------------------------------------------------------------


def test_a_subscription_lives_from_its_request_to_its_cancel(pair, channel, other):
    request = channel.subscribe(subscriptionid=SUBID)
    pair.send(CLIENT, request)
    for circuit, end in (pair.client, channel), (pair.server, other):
        assert circuit.subscriptions == {SUBID: request} and end.subscriptionids == {SUBID}
    pair.send(SERVER, *(other.subscribe([float(n)], SUBID) for n in range(3)))
    pair.send(CLIENT, channel.unsubscribe(SUBID))
    for circuit, end in (pair.client, channel), (pair.server, other):
        assert circuit.subscriptions == {} and end.subscriptionids == set()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (EventAddResponse([1, 2], LONG, 2, 1, SUBID), "has type 5, not 6"),
        (EventAddResponse([1.0], DOUBLE, 1, 1, SUBID), "has 1 element, not 2"),
        (EventAddResponse([1.0] * 3, DOUBLE, 3, 1, SUBID), "has 3 elements, not 2"),
        (ReadNotifyResponse([1, 2], LONG, 2, 1, SUBID), "has type 5, not 6"),
    ],
)
def test_updates_have_the_type_and_count_that_were_asked_for(pair, channel, wrong, words):
    pair.send(CLIENT, channel.subscribe(data_count=2, subscriptionid=SUBID))
    words = f"{type(wrong).__name__} for id 5 {words}"
    not_sent(pair, SERVER, wrong, words)
    for _ in range(2):
        with pytest.raises(MessageError, match=words) as raised:
            receive(pair, wrong)
        assert raised.value.usable


@pytest.mark.parametrize(
    "fields",
    [(1, 16, 99, 2, 1, SUBID), (1, 8, DOUBLE, 2, 1, SUBID), (1, 16, 20, 1, 1, SUBID)],
    ids=["no type", "cut off", "cut off behind its metadata"],
)
def test_an_update_that_cannot_be_read_is_not_usable(pair, channel, fields):
    """Also where a right one came before, which is remembered."""
    pair.send(CLIENT, channel.subscribe(data_count=2, subscriptionid=SUBID))
    right = EventAddResponse([1, 2], DOUBLE, 2, 1, SUBID)
    for _ in range(2):
        receive(pair, right)
        with pytest.raises(MessageError, match="EventAddResponse for id 5 has") as raised:
            receive(pair, EventAddResponse.from_wire(fields, bytes(fields[1])))
        assert not raised.value.usable


def test_the_number_of_elements_may_change_each_time(pair, channel):
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID))
    for count in (*range(30), 5, 0, 5):
        receive(pair, EventAddResponse([1.0] * count, DOUBLE, count, 1, SUBID))


@pytest.mark.parametrize("count", [0, 1, 10])
def test_who_subscribed_to_all_elements_gets_any_number(pair, channel, other, count):
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID))
    (update,) = pair.send(SERVER, other.subscribe([1.5] * count, SUBID))
    assert type(update) is EventAddResponse and update.data.tolist() == [1.5] * count


def test_without_access_an_update_may_be_empty(pair, channel):
    """2.1, 9: status 368, and the subscription goes on."""
    pair.send(CLIENT, channel.subscribe(data_count=2, subscriptionid=SUBID))
    pair.send(SERVER, EventAddResponse([], DOUBLE, 0, CAStatus.ECA_NORDACCESS, SUBID))
    pair.send(SERVER, EventAddResponse([1.0, 2.0], DOUBLE, 2, 1, SUBID))


def test_special_types_come_one_by_one_whatever_was_asked_for(pair, channel):
    pair.send(CLIENT, channel.subscribe(ChannelType.CLASS_NAME, 10, subscriptionid=SUBID))
    pair.send(SERVER, EventAddResponse(["ai"], ChannelType.CLASS_NAME, 1, 1, SUBID))


def test_an_update_under_an_id_that_was_never_used_is_a_deviation(pair, channel):
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID))
    wrong = EventAddResponse([1.0], DOUBLE, 1, 1, SUBID + 1)
    words = "EventAddResponse for id 6, which was never used"
    not_sent(pair, SERVER, wrong, words)
    with pytest.raises(MessageError, match=words):
        receive(pair, wrong)
    with pytest.raises(MessageError, match=words):
        receive(pair, EventCancelResponse(DOUBLE, SID, SUBID + 1, 0))


# --- ids ------------------------------------------------------------------------------------------


def test_operations_and_subscriptions_have_one_number_space(pair, channel):
    """8.8"""
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID), channel.read(ioid=6))
    not_sent(pair, CLIENT, channel.subscribe(subscriptionid=6), "subscriptionid 6 is in use")
    not_sent(pair, CLIENT, channel.subscribe(subscriptionid=SUBID), "subscriptionid 5 is in use")
    not_sent(pair, CLIENT, channel.write([1.0], ioid=SUBID, notify=True), "ioid 5 is in use")
    assert set(pair.client.subscriptions) == {SUBID} and set(pair.client.pending) == {6}


def test_a_server_takes_no_second_subscription_under_one_number(pair, channel):
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID))
    (again,), _ = pair.server.recv(bytes(channel.subscribe(LONG, subscriptionid=SUBID)))
    with pytest.raises(RemoteProtocolError, match="EventAddRequest: subscriptionid 5 is in use"):
        pair.server.process_command(again)
    assert pair.server.subscriptions[SUBID].data_type is DOUBLE


def test_a_number_is_not_used_again_before_the_confirmation(pair, channel, other):
    """4.6"""
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID))
    pair.send(CLIENT, channel.unsubscribe(SUBID))
    for again in (
        channel.subscribe(subscriptionid=SUBID), channel.read(ioid=SUBID),
        channel.write([1.0], ioid=SUBID, notify=True),
    ):
        not_sent(pair, CLIENT, again, f"{type(again).__name__}: .*id 5 is in use")
    (again,), _ = pair.server.recv(bytes(channel.subscribe(subscriptionid=SUBID)))
    with pytest.raises(RemoteProtocolError, match="subscriptionid 5 is in use"):
        pair.server.process_command(again)
    pair.send(SERVER, other.unsubscribe(SUBID, data_count=0))
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID))
    assert pair.client.subscriptions.keys() == pair.server.subscriptions.keys() == {SUBID}


# --- cancels --------------------------------------------------------------------------------------


def test_each_subscription_is_cancelled_once(pair, channel, other):
    """4.6: for a second cancel real servers hang up."""
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID))
    cancel = channel.unsubscribe(SUBID)
    pair.send(CLIENT, cancel)
    words = "EventCancelRequest: channel 'x' has no live subscription 5"
    not_sent(pair, CLIENT, cancel, words)
    with pytest.raises(RemoteProtocolError, match=words):
        pair.server.process_command(cancel)
    pair.send(SERVER, other.unsubscribe(SUBID, data_count=0))
    not_sent(pair, CLIENT, cancel, words)


def test_a_subscription_is_cancelled_on_its_own_channel(pair, channel):
    pair.connect("y", sid=71)
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID))
    wrong = EventCancelRequest(DOUBLE, 71, SUBID, 0)
    words = "EventCancelRequest: channel 'y' has no live subscription 5"
    not_sent(pair, CLIENT, wrong, words)
    with pytest.raises(RemoteProtocolError, match=words):
        pair.server.process_command(wrong)
    assert channel.subscriptionids == {SUBID}


def test_no_cancel_after_the_channel_was_cleared(pair, channel, other):
    """13.8"""
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID))
    cancel = channel.unsubscribe(SUBID)
    pair.send(CLIENT, channel.clear())
    not_sent(pair, CLIENT, cancel, "EventCancelRequest is not allowed on channel 'x'")
    pair.send(SERVER, other.clear())
    not_sent(pair, CLIENT, cancel, "EventCancelRequest: no channel has sid 70")


def test_updates_under_way_when_the_cancel_was_sent_are_ignored(pair, channel, other):
    """13.7: whatever they carry."""
    pair.send(CLIENT, channel.subscribe(data_count=2, subscriptionid=SUBID))
    pair.client.send(channel.unsubscribe(SUBID))
    pair.send(SERVER, other.subscribe([1.0, 2.0], SUBID))
    receive(pair, EventAddResponse([1], LONG, 1, 1, SUBID))
    assert pair.client.subscriptions == {}


def test_a_cancel_is_confirmed_with_the_number_of_an_update(pair, channel, other):
    """2.1, 2.2"""
    pair.send(CLIENT, channel.subscribe(data_count=2, subscriptionid=SUBID))
    pair.send(CLIENT, channel.unsubscribe(SUBID))
    (confirmation,) = pair.send(SERVER, other.unsubscribe(SUBID, data_count=2))
    assert type(confirmation) is EventCancelResponse
    assert confirmation.fields == (1, 0, DOUBLE, 2, SID, SUBID)


def test_without_a_cancel_what_looks_like_a_confirmation_is_an_empty_update(pair, channel, other):
    """3.7: they differ by nothing but whether a cancel is outstanding."""
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID))
    empty = other.subscribe([], SUBID)
    assert len(empty.payload) == 0
    (update,) = pair.send(SERVER, empty)
    assert type(update) is EventAddResponse and update.data.tolist() == []
    assert SUBID in pair.client.subscriptions
    # Also if its status happens to be the sid.
    (update,) = receive(pair, EventAddResponse([], DOUBLE, 0, SID, SUBID))
    assert type(update) is EventAddResponse


def test_an_empty_update_of_a_time_type_is_never_a_confirmation(pair, channel):
    """3.7: its time stamp is its payload."""
    pair.send(CLIENT, channel.subscribe(TIME_DOUBLE, subscriptionid=SUBID))
    metadata = AlarmStatus.NO_ALARM, AlarmSeverity.NO_ALARM, TimeStamp(1, 2)
    empty = EventAddResponse([], TIME_DOUBLE, 0, 1, SUBID, metadata=metadata)
    (update,) = pair.send(SERVER, empty)
    assert update.data.tolist() == [] and update.metadata.seconds == 1
    pair.client.send(channel.unsubscribe(SUBID))
    assert kinds(receive(pair, empty)) == [EventAddResponse]
    not_sent(pair, CLIENT, channel.subscribe(subscriptionid=SUBID), "in use")  # not confirmed yet
    confirmation = EventCancelResponse(TIME_DOUBLE, SID, SUBID, 0)
    assert kinds(receive(pair, confirmation)) == [EventCancelResponse]
    pair.client.send(channel.subscribe(subscriptionid=SUBID))


def test_what_looks_like_a_second_confirmation_changes_nothing(pair, channel, other):
    """In one piece with the first one, or later."""
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID))
    pair.send(CLIENT, channel.unsubscribe(SUBID))
    confirmation = other.unsubscribe(SUBID, data_count=0)
    receive(pair, confirmation, confirmation)
    receive(pair, confirmation)
    assert pair.client.subscriptions == {}


def test_confirmations_of_several_cancels_go_their_own_ways(pair, channel, other):
    numbers = [5, 6, 7]
    pair.send(CLIENT, *(channel.subscribe(subscriptionid=number) for number in numbers))
    pair.send(CLIENT, channel.unsubscribe(5), channel.unsubscribe(7))
    bare = [
        other.unsubscribe(5, data_count=0), other.subscribe([], 6),
        other.unsubscribe(7, data_count=0),
    ]
    assert kinds(pair.send(SERVER, *bare)) == [
        EventCancelResponse, EventAddResponse, EventCancelResponse,
    ]
    assert set(pair.client.subscriptions) == {6}


# --- refreshes ------------------------------------------------------------------------------------


def test_a_read_with_the_id_of_a_subscription_refreshes_it(pair, channel, other):
    """8.5"""
    pair.send(CLIENT, channel.subscribe(TIME_DOUBLE, subscriptionid=SUBID))
    refresh = channel.read(TIME_DOUBLE, ioid=SUBID)
    pair.send(CLIENT, refresh)
    assert pair.client.pending == {}, "the reply belongs to the subscription"
    (reply,) = pair.send(SERVER, other.read([1.0], SUBID, TIME_DOUBLE))
    assert type(reply) is ReadNotifyResponse
    pair.send(SERVER, other.subscribe([2.0], SUBID, TIME_DOUBLE))
    assert set(pair.client.subscriptions) == {SUBID}


def test_only_reads_refresh_and_only_on_the_same_channel(pair, channel):
    second, _ = pair.connect("y", sid=71)
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID))
    not_sent(
        pair, CLIENT, second.read(ioid=SUBID),
        "ReadNotifyRequest: subscription 5 belongs to another channel",
    )
    not_sent(pair, CLIENT, WriteNotifyRequest([1.0], DOUBLE, 1, SID, SUBID), "ioid 5 is in use")


def test_other_replies_under_the_id_of_a_subscription_are_late_ones(pair, channel):
    """To whatever had the number before; they do not concern the subscription."""
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID))
    receive(pair, WriteNotifyResponse(LONG, 7, 1, SUBID), ReadResponse([1], LONG, 1, 1, SUBID))
    assert set(pair.client.subscriptions) == {SUBID}


def test_a_refresh_that_comes_after_the_cancel_is_ignored(pair, channel, other):
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID), channel.read(ioid=SUBID))
    pair.send(CLIENT, channel.unsubscribe(SUBID))
    pair.send(SERVER, other.read([1.0], SUBID), other.unsubscribe(SUBID, data_count=0))
    pair.client.process_command(other.read([1.0], SUBID))
    assert pair.client.pending == pair.client.subscriptions == {}


def test_servers_know_refreshes_as_reads(pair, channel):
    """8.5: they must accept ids that are those of subscriptions."""
    pair.send(CLIENT, channel.subscribe(subscriptionid=SUBID))
    pair.server.process_command(ReadNotifyRequest(DOUBLE, 1, SID, SUBID))
    assert set(pair.server.pending) == set(pair.server.subscriptions) == {SUBID}
    pair.server.send(ReadNotifyResponse([1.0], DOUBLE, 1, 1, SUBID))
    assert pair.server.pending == {} and set(pair.server.subscriptions) == {SUBID}


def test_a_subscription_of_a_server_may_have_the_number_of_a_read(pair):
    """Other clients than ours count them separately."""
    pair.server.process_command(ReadNotifyRequest(DOUBLE, 1, SID, SUBID))
    pair.server.process_command(EventAddRequest(DOUBLE, 0, SID, SUBID, 0, 0, 0, 1))
    pair.server.send(ReadNotifyResponse([1.0], DOUBLE, 1, 1, SUBID))
    pair.server.send(EventAddResponse([1.0], DOUBLE, 1, 1, SUBID))


# ---- text of one character -----------------------------------------------------------------------


@pytest.mark.parametrize("room, strings", [(1, ["65"]), (2, ["A"])])
@pytest.mark.parametrize("data_type", [ChannelType.CHAR, ChannelType.TIME_CHAR], ids=str)
def test_one_char_is_text_if_its_channel_is_an_array(room, strings, data_type):
    pair = Pair().greet()
    channel, other = pair.connect("text", ChannelType.CHAR, room, sid=71)
    pair.send(CLIENT, channel.subscribe(data_type, subscriptionid=SUBID))
    (update,) = pair.send(SERVER, other.subscribe("A", SUBID, data_type, 1))
    pair.send(CLIENT, channel.read(data_type, ioid=8))
    (reply,) = pair.send(SERVER, other.read("A", 8, data_type, 1))
    pair.send(CLIENT, channel.read(data_type, ioid=SUBID))
    (refresh,) = pair.send(SERVER, other.read("A", SUBID, data_type, 1))
    assert update.strings == reply.strings == refresh.strings == strings


def test_updates_of_chars_are_checked_like_all_others():
    pair = Pair().greet()
    channel, other = pair.connect("text", ChannelType.CHAR, 10, sid=71)
    pair.send(CLIENT, channel.subscribe(data_count=4, subscriptionid=SUBID))
    (update,) = pair.send(SERVER, other.subscribe("abc", SUBID))
    assert update.strings == ["abc"]
    with pytest.raises(LocalProtocolError, match="type 6, not 4"):
        other.circuit.send(other.subscribe([1.5] * 4, SUBID, DOUBLE))
    with pytest.raises(LocalProtocolError, match="3 elements, not 4"):
        other.circuit.send(other.subscribe(b"abc", SUBID))
