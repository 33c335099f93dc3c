"""ServerChannel: what it composes of its arguments, and what it refuses."""
from __future__ import annotations

import pytest

from caproto import (
    CLIENT,
    SERVER,
    AccessRights,
    AccessRightsResponse,
    AlarmSeverity,
    AlarmStatus,
    CaprotoValueError,
    CAStatus,
    ChannelType,
    ClearChannelResponse,
    ClientChannel,
    CreateChanResponse,
    CreateChFailResponse,
    EventAddResponse,
    EventCancelResponse,
    LocalProtocolError,
    ReadNotifyResponse,
    ReadResponse,
    ServerChannel,
    ServerDisconnResponse,
    TimeStamp,
    VersionResponse,
    WriteNotifyResponse,
)
from tests.pair import Pair

CID, SID = 9, 70
ALARM = AlarmStatus.HIGH, AlarmSeverity.MINOR_ALARM, TimeStamp(7, 8)


@pytest.fixture
def pair() -> Pair:
    pair = Pair().greet()
    pair.send(CLIENT, ClientChannel("x", pair.client, CID).create())
    return pair


@pytest.fixture
def asked(pair) -> ServerChannel:
    """The server's end of a channel that was asked for."""
    return pair.server.channels[CID]


@pytest.fixture
def channel(pair, asked) -> ServerChannel:
    """The server's end of an open channel, an array of up to ten LONG."""
    pair.send(SERVER, asked.create(ChannelType.LONG, 10, SID))
    return asked


def test_the_request_makes_the_channel(pair, asked):
    assert type(asked) is ServerChannel
    assert (asked.name, asked.cid, asked.sid) == ("x", CID, None)
    assert asked.circuit is pair.server and not asked.connected


def test_version(asked):
    assert asked.version() == VersionResponse(13)


@pytest.mark.parametrize("rights", [0, 1, 2, 3, AccessRights.READ])
def test_rights(asked, rights):
    assert asked.rights(rights) == AccessRightsResponse(CID, rights)


def test_create(asked):
    assert asked.create(ChannelType.LONG, 10, SID) == CreateChanResponse(5, 10, CID, SID)
    assert asked.create(
        native_data_type=5, native_data_count=10, sid=SID
    ) == CreateChanResponse(5, 10, CID, SID)
    with pytest.raises(CaprotoValueError, match="data_type=39"):
        asked.create(39, 1, SID)


def test_create_only_with_native_types(pair, asked):
    with pytest.raises(LocalProtocolError, match="20 is not a native type"):
        pair.server.send(asked.create(ChannelType.TIME_DOUBLE, 1, SID))


def test_create_fail_and_disconnect(asked):
    assert asked.create_fail() == CreateChFailResponse(CID)
    assert asked.disconnect() == ServerDisconnResponse(CID)


def test_clear(channel):
    assert channel.clear() == ClearChannelResponse(SID, CID)


@pytest.mark.parametrize(
    "compose",
    [
        lambda channel: channel.clear(),
        lambda channel: channel.read(1, 5),
        lambda channel: channel.write(5),
        lambda channel: channel.subscribe(1, 5),
        lambda channel: channel.unsubscribe(5),
        lambda channel: channel.unsubscribe(5, 5),
    ],
)
def test_nothing_is_composed_before_the_channel_is_created(asked, compose):
    with pytest.raises(LocalProtocolError, match="'x' is not connected"):
        compose(asked)


def test_read_by_default_in_the_native_type(channel):
    assert channel.read([1, 2], 5) == ReadNotifyResponse([1, 2], ChannelType.LONG, 2, 1, 5)


def test_read_with_every_argument(channel):
    expected = ReadNotifyResponse([1.5], 20, 1, CAStatus.ECA_GETFAIL, 5, metadata=ALARM)
    assert channel.read([1.5, 2.5], 5, 20, 1, CAStatus.ECA_GETFAIL, metadata=ALARM) == expected
    assert expected == channel.read(
        data=[1.5], ioid=5, data_type=ChannelType.TIME_DOUBLE, data_count=1, status=152,
        metadata=ALARM,
    )
    assert expected.metadata.severity is AlarmSeverity.MINOR_ALARM


def test_write(channel):
    assert channel.write(5) == WriteNotifyResponse(ChannelType.LONG, 10, CAStatus.ECA_NORMAL, 5)
    assert channel.write(5, 0, 1, 160) == WriteNotifyResponse(0, 1, CAStatus.ECA_PUTFAIL, 5)
    assert channel.write(
        ioid=5, data_type=ChannelType.STRING, data_count=0, status=CAStatus.ECA_PUTFAIL
    ) == WriteNotifyResponse(0, 0, 160, 5)


def test_subscribe_by_default_in_the_native_type(channel):
    assert channel.subscribe([1, 2], 5) == EventAddResponse([1, 2], ChannelType.LONG, 2, 1, 5)


def test_subscribe_with_every_argument(channel):
    expected = EventAddResponse([1.5], 20, 1, CAStatus.ECA_NORDACCESS, 5, metadata=ALARM)
    assert channel.subscribe([1.5, 2.5], 5, 20, 1, CAStatus.ECA_NORDACCESS, ALARM) == expected
    assert expected == channel.subscribe(
        data=[1.5], subscriptionid=5, data_type=ChannelType.TIME_DOUBLE, data_count=1, status=368,
        metadata=ALARM,
    )


def test_unsubscribe(channel):
    assert channel.unsubscribe(5) == EventCancelResponse(ChannelType.LONG, SID, 5, 10)
    assert channel.unsubscribe(5, 20, 0) == EventCancelResponse(20, SID, 5, 0)
    assert channel.unsubscribe(
        subscriptionid=5, data_type=ChannelType.TIME_DOUBLE, data_count=3
    ) == EventCancelResponse(20, SID, 5, 3)


def test_a_whole_conversation_composed_by_both_ends(pair, channel):
    """Each reply, made by the server's end, is accepted by the client's as the right one."""
    client = pair.client.channels[CID]
    read, write, subscribe = client.read(), client.write([1, 2], notify=True), client.subscribe()
    pair.send(CLIENT, read, write, subscribe)
    number = subscribe.subscriptionid
    pair.send(
        SERVER,
        channel.subscribe([1], number),
        channel.read([1, 2], read.ioid),
        channel.write(write.ioid, data_count=2),
        channel.rights(AccessRights.READ),
    )
    pair.send(CLIENT, client.unsubscribe(number))
    pair.send(SERVER, channel.unsubscribe(number))
    pair.send(CLIENT, client.clear())
    pair.send(SERVER, channel.clear())
    for circuit in pair.circuits.values():
        assert circuit.pending == circuit.subscriptions == circuit.channels == {}


def test_a_read_in_the_old_way(channel):
    expected = ReadResponse([1, 2], ChannelType.LONG, 2, SID, 5)
    assert channel.read([1, 2], 5, notify=False) == expected
