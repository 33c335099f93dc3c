"""Channels of a session: created, cleared, their ids, and what the client may do with them."""
from __future__ import annotations

import pytest

from caproto import (
    AccessRights,
    AccessRightsResponse,
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
    EventAddResponse,
    EventsOffRequest,
    HostNameRequest,
    ReadNotifyRequest,
    VersionRequest,
)
from caproto._protocol.headers import pack_header
from caproto.server import (
    ChannelByte,
    ChannelChar,
    ChannelDouble,
    ChannelEnum,
    ChannelInteger,
    ChannelShort,
    ChannelString,
)
from tests.server.session_rig import Rig, values_of

NOBODY = 0xFFFFFFFF
READ, WRITE = AccessRights.READ, AccessRights.WRITE


# ---- creating --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, data_type, count",
    [
        (ChannelString(), ChannelType.STRING, 1),
        (ChannelShort(), ChannelType.INT, 1),
        (ChannelEnum(), ChannelType.ENUM, 1),
        (ChannelByte(value=b"abc"), ChannelType.CHAR, 3),
        (ChannelChar(value="abc", max_length=200), ChannelType.CHAR, 200),
        (ChannelInteger(), ChannelType.LONG, 1),
        (ChannelDouble(value=[], max_length=70000), ChannelType.DOUBLE, 70000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_rights_come_before_type_and_largest_count(data, data_type, count):
    rig = Rig({"x": data})
    assert rig.raw(CreateChanRequest("x", 77, 13)) == [
        AccessRightsResponse(77, READ | WRITE), CreateChanResponse(data_type, count, 77, 0)
    ]


def test_a_count_of_an_old_client_has_16_bits():
    for version, announced in ((8, 65534), (9, 70000)):
        rig = Rig({"x": ChannelByte(value=[], max_length=70000)}, version=version)
        assert rig.connect("x").native_data_count == announced


def test_the_version_of_the_request_counts_and_0_leaves_the_one_that_was_told():
    rig = Rig({"x": ChannelDouble()}, version=10)
    rig.raw(CreateChanRequest("x", 1, 0))
    assert rig.session.circuit.peer_version == 10
    rig.raw(CreateChanRequest("x", 2, 8))
    assert rig.session.circuit.peer_version == 8


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_request_of_a_version_that_is_too_old_ends_the_conversation(version):
    rig = Rig({"x": ChannelDouble()})
    assert rig.raw(CreateChanRequest("x", 1, version), EchoRequest()) == []
    assert rig.session.closing


def test_unknown_names_are_refused():
    rig = Rig({"x": ChannelDouble()})
    assert rig.raw(CreateChanRequest("y", 8, 13), EchoRequest()) == [
        CreateChFailResponse(8), EchoResponse()
    ]


def test_an_empty_name_is_refused_and_no_payload_at_all_ignored():
    rig = Rig({"x": ChannelDouble()})
    assert rig.raw(pack_header((18, 8, 0, 0, 3, 13)) + bytes(8)) == [CreateChFailResponse(3)]
    assert rig.raw(pack_header((18, 0, 0, 0, 3, 13)), EchoRequest()) == [EchoResponse()]


def test_a_pv_can_be_opened_several_times():
    rig = Rig({"x": ChannelDouble(value=1.5)})
    channels = [rig.connect(name) for name in ("x", "x", "x.VAL")]
    assert len({channel.sid for channel in channels}) == 3
    assert [rig.value(channel) for channel in channels] == [[1.5]] * 3


def test_the_same_cid_makes_another_channel():
    """As an IOC does it."""
    rig = Rig({"x": ChannelDouble(value=1.5)})
    rig.raw(CreateChanRequest("x", 4, 13))
    assert rig.raw(CreateChanRequest("x", 4, 13))[1] == CreateChanResponse(6, 1, 4, 1)
    replies = rig.raw(ReadNotifyRequest(6, 1, 0, 1), ReadNotifyRequest(6, 1, 1, 2))
    assert [values_of(reply) for reply in replies] == [[1.5]] * 2


def test_numbers_of_channels_are_used_again_as_late_as_possible():
    rig = Rig({"x": ChannelDouble()})
    one, two = rig.connect("x"), rig.connect("x")
    rig.ask(one.clear())
    assert (two.sid, rig.connect("x").sid) == (1, 2)
    rig.session._next_sid = 0xFFFFFFFF
    assert [rig.connect("x").sid for _ in range(3)] == [0xFFFFFFFF, 0, 3], "1 and 2 are in use"


# ---- clearing --------------------------------------------------------------------------------


def test_clearing_is_echoed_and_the_sid_is_dead():
    x = ChannelDouble()
    rig = Rig({"x": x})
    channel = rig.connect("x")
    rig.ask(channel.subscribe())
    sid, cid = channel.sid, channel.cid
    assert rig.ask(channel.clear()) == [ClearChannelResponse(sid, cid)]
    (error,) = rig.raw(ReadNotifyRequest(6, 1, sid, 9))
    assert (error.cid, error.status) == (NOBODY, CAStatus.ECA_INTERNAL)
    assert error.original_request.command == 15
    x.write(1)
    x.access_rights = 1
    assert rig.raw(EchoRequest()) == [EchoResponse()]
    assert not x._subscribers and not x._listeners


def test_clearing_is_echoed_with_the_cid_that_the_channel_has():
    rig = Rig({"x": ChannelDouble()})
    channel = rig.connect("x")
    assert rig.raw(ClearChannelRequest(channel.sid, 555)) == [
        ClearChannelResponse(channel.sid, channel.cid)
    ]


def test_updates_that_wait_are_not_sent_after_clearing():
    x = ChannelDouble()
    rig = Rig({"x": x})
    channel = rig.connect("x")
    rig.ask(channel.subscribe(), EventsOffRequest())
    x.write(1)
    x.write(2)
    assert [type(r) for r in rig.ask(channel.clear())] == [ClearChannelResponse]


def test_an_unknown_sid_cannot_be_cleared():
    rig = Rig({"x": ChannelDouble()})
    channel = rig.connect("x")
    (error,) = rig.raw(ClearChannelRequest(channel.sid + 1, channel.cid))
    assert (error.cid, error.status) == (NOBODY, CAStatus.ECA_BADCHID)
    assert rig.raw(EchoRequest()) == [EchoResponse()]
    rig.ask(channel.clear())
    (error,) = rig.raw(ClearChannelRequest(channel.sid, channel.cid))
    assert error.status is CAStatus.ECA_BADCHID


def test_the_sid_of_another_client_is_unknown():
    pvs = {"x": ChannelDouble(value=1.5)}
    one, two = Rig(pvs), Rig(pvs)
    one.connect("x")
    mine = one.connect("x")
    for request in (
        ReadNotifyRequest(6, 1, mine.sid, 1), mine.write(2.0), mine.subscribe(),
        mine.write(2.0, notify=False),
    ):
        (error,) = two.raw(request)
        assert (error.cid, error.status) == (NOBODY, CAStatus.ECA_INTERNAL)
        assert error.original_fields == request.fields
    assert two.raw(ClearChannelRequest(mine.sid, mine.cid))[0].status is CAStatus.ECA_BADCHID
    assert one.value(mine) == [1.5]


# ---- rights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rights", range(4))
def test_the_client_is_told_its_rights(rights):
    rig = Rig({"x": ChannelDouble(access_rights=rights)})
    assert rig.connect("x").access_rights == rights


def test_other_rights_are_told_at_once_and_only_if_they_are_others():
    x = ChannelDouble(value=1.5)
    rig = Rig({"x": x})
    channel, other = rig.connect("x"), rig.connect("x")
    x.access_rights = READ
    assert rig.received() == [AccessRightsResponse(c.cid, READ) for c in (channel, other)]
    assert channel.access_rights is READ
    x.access_rights = READ
    assert rig.received() == []


def test_rights_take_effect_for_the_next_request():
    x = ChannelDouble(value=1.5)
    rig = Rig({"x": x})
    channel = rig.connect("x")
    x.access_rights = AccessRights.NO_ACCESS
    replies = rig.raw(channel.read(), channel.write(2.0, notify=True))
    assert [reply.status for reply in replies[1:]] == [
        CAStatus.ECA_NORDACCESS, CAStatus.ECA_NOWTACCESS
    ]
    x.access_rights = READ | WRITE
    replies = rig.raw(channel.read(), channel.write(2.0, notify=True))
    assert [reply.status for reply in replies[1:]] == [CAStatus.ECA_NORMAL] * 2


def test_each_subscription_hears_of_other_rights_by_one_update():
    x = ChannelDouble(value=1.5)
    rig = Rig({"x": x})
    channel = rig.connect("x")
    value = channel.subscribe(data_count=1)
    properties = channel.subscribe(data_type=20, data_count=1, mask=8)
    rig.ask(value, properties)

    def told() -> list:
        rights, *updates = rig.received()
        assert type(rights) is AccessRightsResponse
        return [(u.subscriptionid, int(u.status), bytes(u.payload[-8:])) for u in updates]

    x.access_rights = WRITE
    assert told() == [
        (value.subscriptionid, 368, bytes(8)), (properties.subscriptionid, 368, bytes(8))
    ]
    x.write(2.5)
    assert rig.received() == [], "no news for who may not read"
    x.access_rights = READ
    two_and_a_half = bytes.fromhex("4004000000000000")
    assert told() == [
        (value.subscriptionid, 1, two_and_a_half), (properties.subscriptionid, 1, two_and_a_half)
    ]
    x.write(3.5)
    assert [values_of(update) for update in rig.received()] == [[3.5]]


def test_an_update_that_waited_while_the_right_was_lost_does_not_leak():
    x = ChannelDouble(value=1.5)
    rig = Rig({"x": x})
    rig.ask(rig.connect("x").subscribe())
    x.write(42.0)
    x.access_rights = AccessRights.NO_ACCESS
    rights, *updates = rig.received()
    assert type(rights) is AccessRightsResponse and updates
    assert all(u.status is CAStatus.ECA_NORDACCESS and not any(u.payload) for u in updates)


def test_rights_are_told_while_updates_are_held():
    x = ChannelDouble(value=1.5)
    rig = Rig({"x": x})
    rig.ask(rig.connect("x").subscribe(), EventsOffRequest())
    x.access_rights = READ
    assert [type(r) for r in rig.received()] == [AccessRightsResponse]


class Guarded(ChannelDouble):
    """Only the operator may write."""

    def check_access(self, host_name, client_name):
        return READ | WRITE if (host_name, client_name) == ("desk", "operator") else READ


def test_a_channel_may_decide_by_the_names_of_the_client():
    pvs = {"x": Guarded()}
    rig = Rig(pvs)
    rig.ask(ClientNameRequest("operator"), HostNameRequest("desk"))
    assert rig.connect("x").access_rights == READ | WRITE
    stranger = Rig(pvs)
    stranger.ask(ClientNameRequest("operator"), HostNameRequest("home"))
    assert stranger.connect("x").access_rights == READ
    rig.received(), stranger.received()


class Raced(ChannelDouble):
    """While the rights are looked up for the first time, another thread changes them."""

    raced = False

    def check_access(self, host_name, client_name):
        rights = self.access_rights
        if self.raced:
            self.raced = False
            self.access_rights = AccessRights.NO_ACCESS
        return rights


def test_the_last_word_about_rights_is_right_when_two_threads_change_them():
    x = Raced()
    rig = Rig({"x": x})
    channel = rig.connect("x")
    x.raced = True
    x.access_rights = READ
    rig.received()
    assert channel.access_rights == x.access_rights == AccessRights.NO_ACCESS


def test_rights_that_change_while_the_channel_is_made_are_told():
    x = Raced()
    x.raced = True
    rig = Rig({"x": x})
    replies = rig.raw(CreateChanRequest("x", 1, 13))
    assert replies[0] == AccessRightsResponse(1, READ | WRITE)
    assert type(replies[1]) is CreateChanResponse
    assert replies[2] == AccessRightsResponse(1, AccessRights.NO_ACCESS)


def test_other_rights_never_bring_back_an_old_value():
    """A change by another thread, just before the update that other rights cause is queued."""
    x = ChannelDouble(value=1.0)
    rig = Rig({"x": x})
    rig.ask(rig.connect("x").subscribe())
    queue = rig.session.updates
    change = queue.rights_changed

    def write_first(*args):
        x.write(2.0)
        change(*args)

    queue.rights_changed = write_first
    x.access_rights = READ
    updates = [r for r in rig.received() if type(r) is EventAddResponse]
    assert [values_of(update) for update in updates] == [[2.0], [2.0]]


def test_rights_of_a_cleared_channel_are_nobodys_business():
    x = ChannelDouble()
    rig = Rig({"x": x})
    rig.ask(rig.connect("x").clear())
    x.access_rights = READ
    assert rig.received() == []


@pytest.mark.parametrize("version", [4, 5, 8, 9, 11, 13])
def test_the_life_of_a_channel_for_every_version_of_client(version):
    x = ChannelDouble(value=1.5)
    rig = Rig({"x": x}, version=version)
    channel = rig.connect("x")
    assert rig.value(channel, count=1) == [1.5]
    assert rig.ask(channel.write(2.0, notify=True))[0].status == 1
    request = channel.subscribe(data_count=1)
    assert [values_of(u) for u in rig.ask(request)] == [[2.0]]
    x.write(3.0)
    assert [values_of(u) for u in rig.received()] == [[3.0]]
    rig.ask(channel.unsubscribe(request.subscriptionid))
    assert rig.ask(channel.clear()) == [ClearChannelResponse(channel.sid, channel.cid)]


def test_errors_carry_the_whole_header_of_the_request():
    rig = Rig({"x": ChannelDouble()})
    for fields in ((15, 0, 20, 70000, 99, 5), (15, 0, 20, 3, 99, 5)):
        (error,) = rig.raw(pack_header(fields))
        assert isinstance(error, ErrorResponse) and error.original_fields == fields


def test_a_version_request_between_channels_changes_what_is_announced():
    rig = Rig({"x": ChannelByte(value=[], max_length=70000)})
    assert rig.connect("x").native_data_count == 70000
    rig.raw(VersionRequest(0, 8))
    (_, created) = rig.raw(CreateChanRequest("x", 9, 0))
    assert created.data_count == 65534
