"""Channel: states, the hook for them, the encoding of text, and what both ends share."""
from __future__ import annotations

import pytest

from caproto import (
    AWAIT_CREATE_CHAN_RESPONSE,
    CLIENT,
    CLOSED,
    CONNECTED,
    IDLE,
    SEND_CREATE_CHAN_REQUEST,
    SEND_CREATE_CHAN_RESPONSE,
    SERVER,
    CaprotoKeyError,
    CaprotoTypeError,
    CaprotoValueError,
    ChannelType,
    ClientChannel,
    CreateChanRequest,
    CreateChanResponse,
    CreateChFailResponse,
    LocalProtocolError,
    ServerChannel,
    ServerDisconnResponse,
)
from tests.pair import Pair


@pytest.fixture
def pair() -> Pair:
    return Pair().greet()


class Watched(ClientChannel):
    """Notes its states."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.seen = []

    def state_changed(self, role, old_state, new_state, command):
        self.seen.append((role, old_state, new_state, type(command)))


def test_a_subclass_hears_of_every_new_state(pair):
    channel = Watched("x", pair.client)
    pair.send(CLIENT, channel.create())
    assert channel.seen == [
        (CLIENT, SEND_CREATE_CHAN_REQUEST, AWAIT_CREATE_CHAN_RESPONSE, CreateChanRequest),
        (SERVER, IDLE, SEND_CREATE_CHAN_RESPONSE, CreateChanRequest),
    ]
    channel.seen.clear()
    other = pair.server.channels[channel.cid]
    pair.send(SERVER, other.rights(3))
    assert channel.seen == []
    pair.send(SERVER, other.create(ChannelType.DOUBLE, 1, 70))
    assert channel.seen == [
        (CLIENT, AWAIT_CREATE_CHAN_RESPONSE, CONNECTED, CreateChanResponse),
        (SERVER, SEND_CREATE_CHAN_RESPONSE, CONNECTED, CreateChanResponse),
    ]
    channel.seen.clear()
    pair.send(CLIENT, channel.read())
    assert channel.seen == []
    pair.send(SERVER, other.disconnect())
    assert channel.seen == [
        (CLIENT, CONNECTED, CLOSED, ServerDisconnResponse),
        (SERVER, CONNECTED, CLOSED, ServerDisconnResponse),
    ]


def test_a_channel_takes_a_command_through_its_own_states(pair):
    channel = Watched("x", pair.client)
    channel.process_command(channel.create())
    assert channel.states[CLIENT] is AWAIT_CREATE_CHAN_RESPONSE and len(channel.seen) == 2
    with pytest.raises(LocalProtocolError, match="CreateChanRequest is not allowed.*'x'"):
        channel.process_command(channel.create())
    channel.process_command(CreateChFailResponse(channel.cid))
    assert not channel.connected


def test_a_key_error_of_a_subclass_is_not_blamed_on_the_peer(pair):
    class Broken(Watched):
        def state_changed(self, role, old_state, new_state, command):
            if type(command) is CreateChanResponse:
                raise KeyError("mine")

    channel = Broken("x", pair.client)
    pair.send(CLIENT, channel.create())
    with pytest.raises(KeyError, match="mine"):
        pair.send(SERVER, pair.server.channels[channel.cid].create(ChannelType.DOUBLE, 1, 70))


def test_a_channel_with_many_subscriptions(pair):
    channel, other = pair.connect()
    made = [channel.subscribe() for _ in range(40)]
    pair.send(CLIENT, *made)
    ids = [request.subscriptionid for request in made]
    assert sorted(channel.subscriptions) == sorted(other.subscriptions) == ids
    pair.send(CLIENT, *(channel.unsubscribe(number) for number in ids[:39]))
    assert list(channel.subscriptions) == list(other.subscriptions) == ids[39:]
    with pytest.raises(CaprotoKeyError):
        channel.unsubscribe(ids[0])


def test_the_live_subscriptions_by_their_ids(pair):
    channel, other = pair.connect()
    assert channel.subscriptions == {}
    first, second = channel.subscribe(), channel.subscribe()
    pair.send(CLIENT, first, second)
    assert channel.subscriptions == {
        first.subscriptionid: first, second.subscriptionid: second
    } == other.subscriptions
    pair.send(CLIENT, channel.unsubscribe(first.subscriptionid))
    assert channel.subscriptions == {second.subscriptionid: second}


def test_a_server_channel_made_before_the_request_is_the_one_that_is_used(pair):
    mine = ServerChannel("x", pair.server, 5)
    pair.send(CLIENT, ClientChannel("x", pair.client, 5).create())
    assert pair.server.channels[5] is mine
    assert mine.states[SERVER] is SEND_CREATE_CHAN_RESPONSE
    pair.send(SERVER, mine.create(ChannelType.LONG, 1, 70))
    assert mine.connected and pair.server.channels_sid[70] is mine


def test_a_server_channel_of_another_name_is_not_used(pair):
    mine = ServerChannel("y", pair.server, 5)
    pair.send(CLIENT, ClientChannel("x", pair.client, 5).create())
    assert pair.server.channels[5] is not mine and pair.server.channels[5].name == "x"


# --- text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("data_type", [ChannelType.STRING, ChannelType.CHAR])
def test_text_is_sent_in_the_encoding_of_the_channel(pair, data_type):
    channel, other = pair.connect(data_type=data_type, data_count=10)
    assert channel.string_encoding is other.string_encoding is None
    assert channel.write("é", notify=True).payload.startswith(b"\xc3\xa9\0")
    channel.string_encoding = other.string_encoding = "latin-1"
    assert channel.write("é", notify=True).payload.startswith(b"\xe9\0")
    for response in (other.read("é", 1), other.read("é", 1, notify=False), other.subscribe("é", 1)):
        assert response.payload.startswith(b"\xe9\0")


def test_texts_of_a_list_are_encoded_and_bytes_are_left(pair):
    channel = ClientChannel("x", pair.client, string_encoding="latin-1")
    pair.send(CLIENT, channel.create())
    other = pair.server.channels[channel.cid]
    pair.send(SERVER, other.create(ChannelType.STRING, 2, 70))
    assert channel.write(["é", b"\xc3"]).data.tolist() == [b"\xe9", b"\xc3"]
    assert channel.write([1.5], ChannelType.DOUBLE).data.tolist() == [1.5]
    with pytest.raises(CaprotoValueError, match="'€'.*latin-1"):
        channel.write("€")


def test_text_that_just_fills_an_array_of_char_goes_without_its_zero(pair):
    channel, _ = pair.connect(data_type=ChannelType.CHAR, data_count=2)
    channel.string_encoding = "latin-1"
    assert channel.write("éü").data_count == 2


def test_what_is_no_text_is_not_encoded(pair):
    channel, _ = pair.connect(data_type=ChannelType.CHAR, data_count=2)
    channel.string_encoding = "latin-1"
    assert channel.write(b"\xc3\xa9").payload[:2] == b"\xc3\xa9"
    assert channel.write(7).data.tolist() == [7]


def test_an_encoding_that_there_is_not(pair):
    with pytest.raises(CaprotoValueError, match="string_encoding='klingon'"):
        ServerChannel("x", pair.server, 5, string_encoding="klingon")
    assert 5 not in pair.server.channels


# --- types --------------------------------------------------------------------------------------


def test_a_type_may_be_named(pair):
    channel, other = pair.connect(data_type=ChannelType.ENUM)
    for data_type, number in (("time", 17), ("CTRL_ENUM", 31), ("native", 3), ("DBR_STRING", 0)):
        assert channel.read(data_type=data_type).data_type == number
        assert channel.subscribe(data_type).data_type == number
        assert other.write(1, data_type).data_type == number
    assert channel.write("On", "string").data_type is ChannelType.STRING
    with pytest.raises(CaprotoValueError, match="data_type='nope'"):
        channel.read("nope")


def test_a_family_of_types_needs_the_type_of_the_channel(pair):
    channel = ClientChannel("x", pair.client)
    with pytest.raises(LocalProtocolError, match="not connected"):
        channel.read("time")


@pytest.mark.parametrize("kind", [ClientChannel, ServerChannel])
@pytest.mark.parametrize("wrong", [None, "circuit", ("127.0.0.1", 5064)])
def test_what_is_no_circuit(kind, wrong):
    with pytest.raises(CaprotoTypeError, match="circuit must be a VirtualCircuit, not"):
        kind("a", wrong)
