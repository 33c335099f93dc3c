"""ClientChannel: what it composes of its arguments, and what it refuses.

ServerChannel has its tests in test_channel_server.
"""
from __future__ import annotations

import array
import gc
import weakref
from collections import deque

import numpy
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
    AccessRights,
    CaprotoKeyError,
    CaprotoTypeError,
    CaprotoValueError,
    ChannelType,
    ClearChannelRequest,
    ClientChannel,
    ClientNameRequest,
    CreateChanRequest,
    EventAddRequest,
    EventCancelRequest,
    HostNameRequest,
    LocalProtocolError,
    ReadNotifyRequest,
    ReadRequest,
    SubscriptionType,
    VersionRequest,
    VersionResponse,
    WriteNotifyRequest,
    WriteRequest,
)
from tests.pair import Pair

SID = 70
PLAIN = [ChannelType(number) for number in range(7)]


def connected(data_type=ChannelType.DOUBLE, data_count=10, **options) -> ClientChannel:
    """The client's end of an open channel."""
    channel, _ = Pair(**options).greet().connect("x", data_type, data_count, sid=SID)
    return channel


# --- what is known --------------------------------------------------------------------------------


def test_a_channel_that_nobody_has_asked_for_yet():
    circuit = Pair().client
    channel = ClientChannel("x", circuit)
    assert (channel.name, channel.circuit) == ("x", circuit)
    assert circuit.channels == {channel.cid: channel}
    assert channel.sid is channel.native_data_type is channel.native_data_count is None
    assert channel.access_rights is None
    assert not channel.subscriptionids and not channel.connected
    assert channel.states == {CLIENT: SEND_CREATE_CHAN_REQUEST, SERVER: IDLE}


def test_what_a_channel_knows_once_it_is_open():
    channel = connected(ChannelType.ENUM, 3)
    assert channel.connected and channel.states == {CLIENT: CONNECTED, SERVER: CONNECTED}
    assert (channel.sid, channel.native_data_count) == (SID, 3)
    assert channel.native_data_type is ChannelType.ENUM
    assert channel.access_rights == AccessRights.READ | AccessRights.WRITE


def test_the_states_are_a_copy():
    channel = connected()
    channel.states.clear()
    assert channel.states[CLIENT] is CONNECTED


def test_its_repr_says_how_far_it_came():
    pair = Pair().greet()
    channel = ClientChannel("x", pair.client, 9)
    assert repr(channel) == (
        "<ClientChannel 'x' cid=9 sid=None client SEND_CREATE_CHAN_REQUEST, server IDLE>"
    )
    pair.send(CLIENT, channel.create())
    assert repr(pair.server.channels[9]) == (
        "<ServerChannel 'x' cid=9 sid=None client AWAIT_CREATE_CHAN_RESPONSE, "
        "server SEND_CREATE_CHAN_RESPONSE>"
    )


def test_channels_are_small_and_may_be_referred_to_weakly():
    """A client may have very many."""
    pair = Pair().greet()
    channel, _ = pair.connect()
    assert not hasattr(channel, "__dict__")
    reference = weakref.ref(channel)
    pair.client.disconnect()
    del channel
    gc.collect()
    assert reference() is None


# --- opening and closing --------------------------------------------------------------------------


def test_create():
    pair = Pair().greet()
    channel = ClientChannel("x", pair.client, 9)
    assert channel.create() == CreateChanRequest("x", 9, 13)
    assert channel.states[CLIENT] is SEND_CREATE_CHAN_REQUEST, "composing changes nothing"
    pair.send(CLIENT, channel.create())
    assert channel.states == {
        CLIENT: AWAIT_CREATE_CHAN_RESPONSE, SERVER: SEND_CREATE_CHAN_RESPONSE,
    }


@pytest.mark.parametrize("name", ["", "x\0y", "r" * 992])
def test_a_name_that_no_channel_can_have(name):
    with pytest.raises(CaprotoValueError):
        ClientChannel(name, Pair().client).create()


@pytest.mark.parametrize(
    ("cid", "error"),
    [
        (-1, CaprotoValueError), (1 << 32, CaprotoValueError), ("x", CaprotoTypeError),
        (1.0, CaprotoTypeError),
    ],
)
def test_an_impossible_cid(cid, error):
    circuit = Pair().client
    with pytest.raises(error, match="cid"):
        ClientChannel("x", circuit, cid)
    assert circuit.channels == {}


@pytest.mark.parametrize("cid", [0, 0xFFFFFFFF])
def test_a_client_with_several_circuits_chooses_its_cids(cid):
    pair = Pair().greet()
    channel = ClientChannel("x", pair.client, cid)
    pair.send(CLIENT, channel.create())
    assert channel.cid == cid and pair.server.channels[cid].name == "x"


@pytest.mark.parametrize("priority", [0, 42])
def test_version(priority):
    pair = Pair(priority=priority)
    assert ClientChannel("x", pair.client).version() == VersionRequest(priority, 13)


def test_clear():
    channel = connected()
    assert channel.clear() == ClearChannelRequest(SID, channel.cid)


COMPOSE = {
    "clear": lambda channel: channel.clear(),
    "read": lambda channel: channel.read(),
    "read as": lambda channel: channel.read(6),
    "write": lambda channel: channel.write(1.0, notify=True),
    "write as": lambda channel: channel.write(1.0, 6, notify=True),
    "write without notification": lambda channel: channel.write(1.0, 6, notify=False),
    "subscribe": lambda channel: channel.subscribe(),
    "subscribe as": lambda channel: channel.subscribe(6),
}


@pytest.mark.parametrize("compose", COMPOSE.values(), ids=COMPOSE)
def test_nothing_is_composed_before_the_server_has_answered(compose):
    pair = Pair().greet()
    channel = ClientChannel("x", pair.client)
    pair.send(CLIENT, channel.create())
    with pytest.raises(LocalProtocolError, match="'x' is not connected .*AWAIT_CREATE_CHAN"):
        compose(channel)
    assert pair.client.new_ioid() == 1, "no id was spent"


@pytest.mark.parametrize("compose", COMPOSE.values(), ids=COMPOSE)
def test_what_is_composed_too_late_is_not_sent(compose):
    pair = Pair().greet()
    channel, other = pair.connect("x")
    pair.send(SERVER, other.disconnect())
    assert channel.states[CLIENT] is CLOSED
    with pytest.raises(LocalProtocolError):
        pair.client.send(compose(channel))


# --- reading --------------------------------------------------------------------------------------


def test_read_by_default_all_there_is_in_the_native_type():
    channel = connected(ChannelType.LONG)
    request = channel.read()
    assert request == ReadNotifyRequest(ChannelType.LONG, 0, SID, request.ioid)
    assert channel.read().ioid != request.ioid


@pytest.mark.parametrize("data_type", [ChannelType.STRING, ChannelType.ENUM, ChannelType.DOUBLE])
@pytest.mark.parametrize("version", [4, 12, 13])
def test_a_plain_read_is_a_read_without_arguments(version, data_type):
    channel = connected(data_type, version=version)
    assert channel.plain_read(7) == channel.read(ioid=7)
    assert channel.plain_read(7).ioid == 7


def test_a_plain_read_of_a_channel_that_is_not_open():
    with pytest.raises(LocalProtocolError, match="'x'"):
        ClientChannel("x", Pair().greet().client).plain_read(1)


def test_read_with_every_argument():
    channel = connected()
    assert channel.read(20, 3, 99) == ReadNotifyRequest(ChannelType.TIME_DOUBLE, 3, SID, 99)
    assert channel.read(data_type=ChannelType.CLASS_NAME, data_count=1, ioid=0) == (
        ReadNotifyRequest(38, 1, SID, 0)
    )
    assert channel.read(data_count=0, ioid=5).data_count == 0


@pytest.mark.parametrize("version", range(4, 14))
@pytest.mark.parametrize("method", ["read", "subscribe"])
def test_servers_below_4_13_are_told_the_number_of_elements(version, method):
    """There, 0 does not stand for all."""
    channel = connected(version=version)
    compose = getattr(channel, method)
    expected = 0 if version == 13 else 10
    assert compose().data_count == compose(data_count=0).data_count == expected
    assert compose(data_count=3).data_count == 3


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"data_type": 39}, CaprotoValueError, "data_type=39"),
        ({"data_type": -1}, CaprotoValueError, "data_type=-1"),
        ({"data_type": 2.5}, CaprotoTypeError, "data_type.*2.5"),
        ({"data_count": 11}, CaprotoValueError, r"11 elements.*'x'.*\(10\)"),
        ({"data_count": -1}, CaprotoValueError, "data_count=-1"),
        ({"data_count": 1.5}, CaprotoTypeError, "data_count"),
        ({"ioid": 1 << 32}, CaprotoValueError, "ioid"),
        ({"ioid": "x"}, CaprotoTypeError, "ioid"),
    ],
)
def test_read_refuses_what_can_never_be(arguments, error, words):
    with pytest.raises(error, match=words):
        connected().read(**arguments)


# --- writing --------------------------------------------------------------------------------------


def test_write_by_default_in_the_native_type():
    channel = connected(ChannelType.LONG)
    request = channel.write([1, 2], notify=True)
    assert request == WriteNotifyRequest([1, 2], ChannelType.LONG, 2, SID, request.ioid)
    assert channel.write(3, notify=True).ioid != request.ioid


def test_write_with_every_argument():
    channel = connected()
    assert channel.write([1, 2, 3], ChannelType.INT, 2, None, 99, True) == (
        WriteNotifyRequest([1, 2], ChannelType.INT, 2, SID, 99)
    )
    assert channel.write(["4"], data_type=0, notify=False, ioid=98) == (
        WriteRequest(["4"], ChannelType.STRING, 1, SID, 98)
    )


def test_without_notification_the_cid_stands_for_the_request():
    """So that an error can be related to the channel; no id is spent."""
    channel = connected()
    assert channel.write(1.0) == WriteRequest(1.0, 6, 1, SID, channel.cid)
    assert channel.write(1.0, notify=False) == channel.write(1.0)
    assert channel.write(1.0, notify=True).ioid == 1


@pytest.mark.parametrize(
    "data",
    [
        1.5, [1.5], (1.5,), numpy.array([1.5], "<f8"), array.array("d", [1.5]),
        bytes.fromhex("3ff8000000000000"),
    ],
)
def test_values_of_any_kind(data):
    assert bytes(connected().write(data, notify=True).payload).hex() == "3ff8000000000000"


@pytest.mark.parametrize("data_type", [*PLAIN, ChannelType.PUT_ACKT, ChannelType.PUT_ACKS])
def test_what_may_be_written(data_type):
    data = "1" if data_type is ChannelType.STRING else 1
    assert connected().write(data, data_type, notify=True).data_type is data_type


@pytest.mark.parametrize(
    "data_type",
    [*map(ChannelType, range(7, 35)), ChannelType.STSACK_STRING, ChannelType.CLASS_NAME],
)
def test_other_types_are_refused_unless_metadata_come_with_them(data_type):
    with pytest.raises(CaprotoValueError, match=f"{data_type.name} cannot be written"):
        connected().write(1, data_type, notify=True)


def test_metadata_are_for_servers_that_take_more_than_iocs():
    channel = connected()
    request = channel.write([1.5], ChannelType.TIME_DOUBLE, metadata=(4, 1, (7, 8)), ioid=3)
    assert request.metadata.status == 4 and request.metadata.stamp == (7, 8)
    assert request.data.tolist() == [1.5]


@pytest.mark.parametrize(
    "data",
    [
        "On", b"On", bytearray(b"On"), memoryview(b"On"), [b"On"], ["On", "Off"], ("On",),
        deque(["On"]), numpy.array("On"), numpy.array(["On"]), numpy.array([b"On"]),
        numpy.array(["On"], object), numpy.array("On", object), numpy.str_("On"),
    ],
    ids=lambda data: type(data).__name__,
)
def test_text_for_an_enum_is_looked_up_by_the_server(data):
    assert connected(ChannelType.ENUM).write(data, notify=True).data_type is ChannelType.STRING


@pytest.mark.skipif(not hasattr(numpy, "dtypes"), reason="an old numpy without StringDType")
def test_text_of_variable_width_for_an_enum():
    data = numpy.array(["On"], numpy.dtypes.StringDType())
    assert connected(ChannelType.ENUM).write(data, notify=True).strings == ["On"]


@pytest.mark.parametrize(
    "data",
    [1, [0, 1], (), [], range(2), numpy.array([1]), numpy.array([1], object),
     memoryview(array.array("H", [1]))],
    ids=lambda data: type(data).__name__,
)
def test_numbers_for_an_enum_are_numbers(data):
    assert connected(ChannelType.ENUM).write(data, notify=True).data_type is ChannelType.ENUM


class Column:
    """Like a column of pandas: it has a dtype and becomes an array, but is none."""

    def __init__(self, values, dtype):
        self.values = values
        self.dtype = numpy.dtype(dtype)

    def __array__(self, dtype=None, copy=None):
        return numpy.array(self.values, self.dtype)


def test_what_becomes_an_array_is_like_one():
    enum = connected(ChannelType.ENUM)
    assert enum.write(Column(["On", "Off"], object), notify=True).strings == ["On", "Off"]
    assert enum.write(Column([1, 0], "i8"), notify=True).data.tolist() == [1, 0]
    assert connected(ChannelType.LONG).write(Column([1.0, 2.0], "f8")).data.tolist() == [1, 2]
    with pytest.raises(CaprotoValueError, match="1.5 is not a whole number"):
        connected(ChannelType.LONG).write(Column([1.5], object), notify=True)


@pytest.mark.parametrize("text, sent", [
    ("abcde", b"abcde"), ("abcd", b"abcd\0"), ("Größ"[:3], b"Gr\xc3\xb6\0"), ("", b"\0"),
    ("größ"[1:], b"r\xc3\xb6\xc3\x9f"),
])
@pytest.mark.parametrize("data_type", [None, ChannelType.CHAR])
def test_text_that_fills_an_array_goes_without_its_zero(text, sent, data_type):
    request = connected(ChannelType.CHAR, 5).write(text, data_type, notify=True)
    assert request.payload[: request.data_count] == sent


@pytest.mark.parametrize("data", ["abcdef", b"abcdef", [1] * 6, "größe"])
def test_text_that_is_too_long_for_its_array(data):
    with pytest.raises(CaprotoValueError, match="elements are more than channel .* can have .5."):
        connected(ChannelType.CHAR, 5).write(data, notify=True)


def test_the_type_that_was_asked_for_counts_also_for_an_enum():
    with pytest.raises(CaprotoTypeError, match="'On'"):
        connected(ChannelType.ENUM).write("On", ChannelType.ENUM, notify=True)


def test_a_single_string_is_sent_as_short_as_its_text():
    channel = connected(ChannelType.STRING)
    assert [channel.write(text).fields[1] for text in ("", "1234567", "12345678")] == [8, 8, 16]
    assert channel.write(["a", "b"], notify=True).fields[1] == 80
    with pytest.raises(CaprotoValueError, match="40 bytes"):
        channel.write("x" * 40, notify=True)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"data": [0.0] * 11}, CaprotoValueError, r"11 elements.*'x'.*\(10\)"),
        ({"data": "abc"}, CaprotoTypeError, "'abc'"),
        ({"data": [1.0], "data_count": 2}, CaprotoValueError, "data_count=2"),
        ({"data": 1.5, "data_type": ChannelType.LONG}, CaprotoValueError, "1.5"),
        ({"data": 1.5, "data_type": 39}, CaprotoValueError, "data_type=39"),
        ({"data": 1.5, "ioid": -1}, CaprotoValueError, "ioid=-1"),
        ({"data": 1.5, "ioid": -1, "notify": False}, CaprotoValueError, "ioid=-1"),
    ],
)
def test_write_refuses_what_can_never_be(arguments, error, words):
    with pytest.raises(error, match=words):
        connected().write(**arguments)


def test_only_the_elements_that_are_sent_must_fit():
    assert connected().write([0.0] * 20, data_count=10, notify=True).data_count == 10


def test_an_empty_array_may_be_written():
    request = connected().write([], notify=True)
    assert request.data_count == 0 and request.payload == b""


@pytest.mark.parametrize("version", range(4, 14))
def test_what_no_message_of_that_version_can_carry_is_refused_by_name(version):
    channel = connected(ChannelType.CHAR, 65_534 if version < 9 else 100_000, version=version)
    assert channel.write(bytes(65_528), notify=True).fields[1] == 65_528
    if version < 9:
        with pytest.raises(CaprotoValueError, match=f"65536 bytes.*'x'.*4.{version}, .*65528"):
            channel.write(bytes(65_529), notify=True)
    else:
        assert channel.write(bytes(65_529), notify=True).fields[1] == 65_536


# --- subscribing ----------------------------------------------------------------------------------

USUAL = SubscriptionType.DBE_VALUE | SubscriptionType.DBE_ALARM


def test_subscribe_by_default_to_values_and_alarms_in_the_native_type():
    channel = connected(ChannelType.LONG)
    request = channel.subscribe()
    number = request.subscriptionid
    assert request == EventAddRequest(ChannelType.LONG, 0, SID, number, 0.0, 0.0, 0.0, USUAL)
    assert channel.subscribe().subscriptionid != number


def test_subscribe_with_every_argument():
    channel = connected()
    expected = EventAddRequest(20, 3, SID, 99, 1.0, 2.0, 0.5, SubscriptionType.DBE_LOG)
    assert channel.subscribe(20, 3, 99, 1.0, 2.0, 0.5, SubscriptionType.DBE_LOG) == expected
    by_name = channel.subscribe(
        data_type=ChannelType.TIME_DOUBLE, data_count=3, low=1.0, high=2.0, to=0.5, mask=2,
        subscriptionid=99,
    )
    assert by_name == expected


@pytest.mark.parametrize("limits", [{"low": 1.0}, {"high": 1.0}, {"to": 1.0}])
def test_the_mask_has_its_default_also_beside_limits(limits):
    request = connected().subscribe(**limits)
    assert request.mask == USUAL
    assert {name: getattr(request, name) for name in limits} == limits


def test_a_subscription_to_more_than_there_is_gets_what_there_is():
    """After a reconnect the channel may be smaller than it was."""
    assert connected().subscribe(data_count=11).data_count == 10


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"data_type": 39}, CaprotoValueError, "data_type=39"),
        ({"data_count": -1}, CaprotoValueError, "data_count=-1"),
        ({"data_count": "all"}, CaprotoTypeError, "data_count"),
        ({"mask": 0}, CaprotoValueError, "mask=0 subscribes to nothing"),
        ({"mask": 1 << 16}, CaprotoValueError, "mask=65536"),
        ({"mask": "VALUE"}, CaprotoTypeError, "mask"),
        ({"low": "x"}, CaprotoValueError, "low='x'"),
        ({"high": 1e300}, CaprotoValueError, "high=1e\\+300"),
        ({"subscriptionid": -1}, CaprotoValueError, "subscriptionid=-1"),
    ],
)
def test_subscribe_refuses_what_can_never_be(arguments, error, words):
    with pytest.raises(error, match=words):
        connected().subscribe(**arguments)


def test_unsubscribe_repeats_type_and_count_of_the_request():
    pair = Pair().greet()
    channel, _ = pair.connect("x", data_count=10, sid=SID)
    request = channel.subscribe(ChannelType.TIME_LONG, 3)
    pair.send(CLIENT, request)
    number = request.subscriptionid
    assert channel.unsubscribe(number) == EventCancelRequest(19, SID, number, 3)


def test_unsubscribe_knows_what_can_be_cancelled():
    pair = Pair().greet()
    channel, _ = pair.connect("x", sid=SID)
    second, _ = pair.connect("y", sid=71)
    number = channel.subscribe().subscriptionid
    with pytest.raises(CaprotoKeyError, match=f"unknown subscription id {number}"):
        channel.unsubscribe(number)  # it was not sent
    pair.send(CLIENT, channel.subscribe(subscriptionid=number))
    with pytest.raises(CaprotoValueError, match=f"subscription {number} .* channel 'y'"):
        second.unsubscribe(number)
    pair.send(CLIENT, channel.unsubscribe(number))
    with pytest.raises(CaprotoKeyError, match=f"unknown subscription id {number}"):
        channel.unsubscribe(number)


def test_a_new_version_of_the_server_changes_what_is_composed():
    """Its greeting may come late."""
    pair = Pair().greet()
    channel, _ = pair.connect("x", data_count=10)
    assert channel.read().data_count == 0
    pair.send(SERVER, VersionResponse(11))
    assert channel.read().data_count == 10


def test_a_read_in_the_old_way():
    assert connected().read(6, 2, 99, False) == ReadRequest(6, 2, SID, 99)


def test_the_names_of_host_and_user():
    channel = connected()
    assert channel.host_name("here") == HostNameRequest("here")
    assert channel.client_name(client_name="me") == ClientNameRequest("me")
