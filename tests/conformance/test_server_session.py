"""Items 59, 60, 64 to 71 and 73 to 79 of the conformance list: what a server says to one client.

In memory, with the bytes of the protocol on one side and a `ServerSession` on the other. What needs
sockets, and the real C client, is elsewhere.
"""
from __future__ import annotations

import struct

import pytest

import caproto as ca
from caproto import CAStatus
from caproto._protocol.headers import pack_header
from caproto.server import (
    ChannelByte,
    ChannelDouble,
    ChannelEnum,
    ChannelInteger,
    ChannelString,
)
from tests.conformance.items import item
from tests.server.session_rig import Rig, values_of

NOBODY = 0xFFFFFFFF


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


def shown(replies) -> list[str]:
    """Replies as the protocol document prints messages: words of four bytes in hex."""
    return [bytes(reply).hex(" ", 4) for reply in replies]


def header_of(reply) -> tuple:
    """command, payload size, type, count, parameter 1, parameter 2."""
    return reply.fields


# ---- channels --------------------------------------------------------------------------------


@item(59)
def test_access_rights_come_before_the_reply_that_creates_the_channel():
    rig = Rig({"VEC:ai": ChannelDouble(value=3.25)})
    request = hexed("00120008 00000000 00000001 0000000d 5645433a 61690000")
    assert shown(rig.raw(request)) == [
        "00160000 00000000 00000001 00000003", "00120000 00060001 00000001 00000000"
    ]


@item(59)
@pytest.mark.parametrize(
    "version, count, reply",
    [
        (13, 65534, "00120000 0004fffe 00000001 00000000"),
        (13, 65535, "0012ffff 00040000 00000001 00000000 00000000 0000ffff"),
        (9, 70000, "0012ffff 00040000 00000001 00000000 00000000 00011170"),
        (8, 65534, "00120000 0004fffe 00000001 00000000"),
        (8, 70000, "00120000 0004fffe 00000001 00000000"),
    ],
)
def test_a_large_count_is_told_in_an_extended_header_or_capped(version, count, reply):
    rig = Rig({"x": ChannelByte(value=[], max_length=count)}, version=version)
    assert shown(rig.raw(ca.CreateChanRequest("x", 1, version)))[1] == reply


@item(60)
def test_an_unknown_name_fails_with_its_cid_and_the_circuit_goes_on():
    rig = Rig({"x": ChannelDouble()})
    replies = rig.raw(ca.CreateChanRequest("y", 1, 13), ca.EchoRequest())
    assert shown(replies) == [
        "001a0000 00000000 00000001 00000000", "00170000 00000000 00000000 00000000"
    ]
    rig.connect("x")


# ---- reading ---------------------------------------------------------------------------------


@item(64)
def test_a_read_replies_with_status_and_ioid():
    rig = Rig({"x": ChannelDouble(value=3.25, timestamp=ca.TimeStamp(0x45648E0E, 0x246CB9F0))})
    rig.connect("x")
    assert shown(rig.raw(hexed("000f0000 00140001 00000000 00000001"))) == [
        "000f0018 00140001 00000001 00000001 00000000 45648e0e 246cb9f0 00000000 400a0000 00000000"
    ]


@item(64)
@pytest.mark.parametrize("now", [0, 1, 3, 5])
def test_count_0_is_the_present_length_and_n_is_n(now):
    rig = Rig({"x": ChannelDouble(value=[1.0] * now, max_length=5)})
    channel = rig.connect("x")
    assert rig.value(channel, 20, 0) == [1.0] * now
    for count in range(1, 6):
        assert rig.value(channel, 20, count) == ([1.0] * now + [0.0] * 5)[:count]


@item(64)
def test_without_access_a_read_gives_368_and_zeros():
    rig = Rig({"x": ChannelDouble(value=3.25, access_rights=ca.AccessRights.NO_ACCESS)})
    rig.connect("x")
    assert shown(rig.raw(hexed("000f0000 00140001 00000000 0000001e"))) == [
        "000f0018 00140001 00000170 0000001e 00000000 00000000 00000000 00000000 00000000 00000000"
    ]


@item(65)
def test_an_old_read_replies_with_the_cid():
    rig = Rig({"x": ChannelDouble(value=3.25)})
    rig.connect("x")
    assert shown(rig.raw(hexed("00030000 00060001 00000000 00000014"))) == [
        "00030008 00060001 00000001 00000014 400a0000 00000000"
    ]


@item(65)
@pytest.mark.parametrize(
    "message",
    [
        "000a0000 00000000 00000005 00000006",
        "00170000 00000000 00000000 00000000",
        "00170008 00030002 00000007 00000008 61626364 65666768",
        "000a0008 00030002 00000007 00000008 61626364 65666768",
    ],
)
def test_echo_and_read_sync_are_returned_as_they_came(message):
    assert shown(Rig({}).raw(hexed(message))) == [message]


# ---- writing ---------------------------------------------------------------------------------


@item(66)
def test_a_write_without_permission_gives_an_error_with_its_header():
    rig = Rig({"VEC:ro": ChannelDouble(access_rights=ca.AccessRights.READ)})
    assert rig.connect("VEC:ro").cid == 1
    request = hexed("00040008 00060001 00000000 00000001 3ff80000 00000000")
    assert shown(rig.raw(request)) == [
        "000b0018 00000000 00000001 00000178 00040008 00060001 00000000 00000001 "
        "5645433a 726f0000"
    ]


@item(66)
def test_a_write_that_fails_gives_an_error_and_one_that_succeeds_is_silent():
    x = ChannelDouble()
    rig = Rig({"x": x})
    channel = rig.connect("x")
    bad = ca.WriteRequest("abc", 0, 1, channel.sid, channel.cid)
    (error, echo) = rig.raw(bad, ca.WriteRequest(2.5, 6, 1, channel.sid, 1), ca.EchoRequest())
    assert (error.cid, error.status) == (channel.cid, CAStatus.ECA_PUTFAIL)
    assert error.original_fields == bad.fields
    assert type(echo) is ca.EchoResponse and x.value == 2.5


@item(67)
@pytest.mark.parametrize("fails", [False, True])
def test_a_write_with_notification_is_answered_once_after_completion(fails, caplog):
    x, done = ChannelDouble(), []

    def putter(instance, value):
        done.append(value)
        if fails:
            raise RuntimeError("the motor is stuck")

    x.putter = putter
    rig = Rig({"x": x, "y": ChannelDouble(value=7.0)}, run_jobs=False)
    slow, other = rig.connect("x"), rig.connect("y")
    rig.send(slow.write(2.5, notify=True), other.read(), ca.EchoRequest())
    read, echo = rig.received()
    assert values_of(read) == [7.0] and type(echo) is ca.EchoResponse and not done
    rig.run()
    (reply,) = rig.received()
    assert done == [2.5]
    assert reply.status is (CAStatus.ECA_PUTFAIL if fails else CAStatus.ECA_NORMAL)
    assert rig.ask(ca.EchoRequest()) == [ca.EchoResponse()]


@item(67)
@pytest.mark.parametrize(
    "data_type, payload, status",
    [(0, b"abc\0\0\0\0\0", 160), (13, bytes(16), 160), (39, bytes(8), 114), (6, b"", 176)],
)
def test_a_write_with_notification_that_cannot_be_done_is_answered_once(
    data_type, payload, status
):
    rig = Rig({"x": ChannelDouble()})
    rig.connect("x")
    request = pack_header((19, len(payload), data_type, 1, 0, 9)) + payload
    (reply,) = rig.raw(request)
    assert header_of(reply) == (19, 0, data_type, 1, status, 9)


@item(68)
def test_clearing_a_channel_cancels_its_notifications_and_kills_its_sid():
    x = ChannelDouble()
    x.putter = lambda instance, value: None
    rig = Rig({"x": x}, run_jobs=False)
    channel = rig.connect("x")
    rig.send(channel.write(2.5, notify=True))
    assert shown(rig.raw(hexed("000c0000 00000000 00000000 00000001"))) == [
        "000c0000 00000000 00000000 00000001"
    ]
    rig.run()
    assert rig.taken() == []
    (error,) = rig.raw(ca.ReadNotifyRequest(6, 1, channel.sid, 5))
    assert (error.cid, error.status) == (NOBODY, CAStatus.ECA_INTERNAL)


# ---- subscriptions ---------------------------------------------------------------------------


@item(69)
@pytest.mark.parametrize("mask", range(1, 16))
def test_one_first_update_and_later_ones_for_the_bits_of_the_mask(mask):
    x = ChannelDouble(value=1.0, log_atol=10.0)
    rig = Rig({"x": x})
    channel = rig.connect("x")
    assert len(rig.ask(channel.subscribe(mask=mask))) == 1
    for change, bits in [
        (lambda: x.write(2.0), 1),
        (lambda: x.write(20.0), 1 | 2),
        (lambda: x.write_metadata(severity=2), 4),
        (lambda: x.write_metadata(units="mm"), 8),
    ]:
        change()
        assert len(rig.received()) == bool(mask & bits)


@item(69)
def test_an_update_is_built_as_the_protocol_says():
    x = ChannelDouble(value=0.0)
    rig = Rig({"x": x})
    rig.connect("x")
    rig.raw(hexed("00010010 00140001 00000000 00000001 00000000 00000000 00000000 00070000"))
    x.write(51.0, timestamp=ca.TimeStamp(0x45648E20, 0x3284EB57), status=4, severity=1)
    assert shown(rig.taken()) == [
        "00010018 00140001 00000001 00000001 00040001 45648e20 3284eb57 00000000 40498000 00000000"
    ]


@item(70)
@pytest.mark.parametrize("fields", ["00140001", "00000000"])
def test_a_cancel_is_confirmed_and_nothing_follows(fields):
    x = ChannelDouble()
    rig = Rig({"x": x})
    rig.connect("x")
    rig.raw(hexed("00010010 00140001 00000000 00000001 00000000 00000000 00000000 00070000"))
    x.write(1.0)
    assert shown(rig.raw(hexed(f"00020000 {fields} 00000000 00000001"))) == [
        "00010000 00140001 00000000 00000001"
    ]
    x.write(2.0)
    assert rig.taken() == []


@item(71)
def test_updates_are_held_and_let_go_the_newest_of_each():
    x, y = ChannelDouble(), ChannelDouble()
    rig = Rig({"x": x, "y": y})
    one, two = rig.connect("x"), rig.connect("y")
    rig.ask(one.subscribe(), two.subscribe())
    rig.raw(hexed("00080000 00000000 00000000 00000000"))
    for value in (1.0, 2.0, 3.0):
        x.write(value)
        y.write(-value)
    replies = rig.ask(one.read(), one.write(4.0, notify=True), two.write(-4.0, notify=False))
    assert [type(r) for r in replies] == [ca.ReadNotifyResponse, ca.WriteNotifyResponse]
    y.access_rights = ca.AccessRights.READ
    assert [type(r) for r in rig.received()] == [ca.AccessRightsResponse]
    updates = rig.raw(hexed("00090000 00000000 00000000 00000000"))
    assert [values_of(update) for update in updates] == [[4.0], [-4.0]]


@item(73)
def test_other_rights_are_told_before_one_update():
    x = ChannelDouble(value=1.5)
    rig = Rig({"x": x})
    channel = rig.connect("x")
    rig.ask(channel.subscribe(data_count=1))
    seen = []
    for rights in (0, 1, 3):
        x.access_rights = rights
        news, update = rig.received()
        assert news == ca.AccessRightsResponse(channel.cid, rights)
        seen.append((update.status.code_with_severity, values_of(update)))
    assert seen == [(368, [0.0]), (1, [1.5]), (1, [1.5])]


# ---- what is wrong ---------------------------------------------------------------------------


@item(74)
@pytest.mark.parametrize("command", [1, 2, 3, 4, 12, 15, 19])
def test_the_sid_of_another_circuit_is_rejected(command):
    pvs = {"x": ChannelDouble(value=1.5)}
    one, two = Rig(pvs), Rig(pvs)
    one.session._next_sid = 64
    channel = one.connect("x")
    fields = (command, 16, 6, 1, channel.sid, 5)
    error, echo = two.raw(pack_header(fields) + bytes(14) + b"\0\1", ca.EchoRequest())
    assert (error.cid, error.original_fields) == (NOBODY, fields)
    assert error.status in (CAStatus.ECA_INTERNAL, CAStatus.ECA_BADCHID)
    assert echo == ca.EchoResponse()
    assert one.value(channel) == [1.5]


@item(75)
@pytest.mark.parametrize("data_type, count, size", [(6, 2, 8), (0, 2, 40), (5, 3, 8), (4, 1, 0)])
def test_a_payload_shorter_than_type_and_count_demand_is_rejected(data_type, count, size):
    x = ChannelDouble(value=[7.0], max_length=10)
    rig = Rig({"x": x})
    rig.connect("x")
    for command in (4, 19):
        (reply,) = rig.raw(pack_header((command, size, data_type, count, 0, 5)) + bytes(size))
        assert reply.status is CAStatus.ECA_BADCOUNT
    assert list(x.value) == [7.0]


@item(75)
def test_a_message_that_is_too_large_is_skipped():
    x = ChannelByte(value=b"", max_length=10_000_000)
    rig = Rig({"x": x}, max_payload=1_000_000)
    channel = rig.connect("x")
    fields = (19, 8_000_000, 4, 8_000_000, channel.sid, 5)
    rig.feed(pack_header(fields))
    for _ in range(8):
        rig.feed(bytes(1_000_000))
    error, echo = rig.raw(ca.EchoRequest())
    assert (error.cid, error.status) == (channel.cid, CAStatus.ECA_TOLARGE)
    assert error.original_fields == fields
    assert echo == ca.EchoResponse() and x.length == 0


@item(76)
@pytest.mark.parametrize(
    "message",
    [
        "00170007 00000000 00000000 00000000 00000000 000000",
        "001c0000 00000000 00000000 00000000",
        "00050000 00000000 00000000 00000000",
        "ffff0000 00000000 00000000 00000000",
    ],
)
def test_nonsense_is_answered_by_an_error_before_the_circuit_is_closed(message):
    rig = Rig({})
    (error,) = rig.raw(hexed(message), ca.EchoRequest())
    assert (error.cid, error.status) == (NOBODY, CAStatus.ECA_INTERNAL)
    assert rig.session.closing


@item(77)
@pytest.mark.parametrize(
    "message",
    ["00000000 00000003 00000000 00000000", "00000000 0064000d 00000000 00000000"],
    ids=["version 3", "priority 100"],
)
def test_a_version_below_4_or_a_priority_above_99_closes_the_circuit(message):
    rig = Rig({}, greet=False)
    rig.taken()
    assert rig.raw(hexed(message)) == []
    assert rig.session.closing


@item(77)
def test_before_the_version_requests_are_defunct_and_the_circuit_stays_open():
    rig = Rig({"x": ChannelDouble()}, greet=False)
    rig.taken()
    request = ca.CreateChanRequest("x", 1, 13)
    (error,) = rig.raw(request)
    assert (error.cid, error.status) == (NOBODY, CAStatus.ECA_DEFUNCT)
    assert error.original_fields == request.fields
    rights, created = rig.raw(ca.VersionRequest(0, 13), request)
    assert created.cid == 1 and not rig.session.closing


# ---- values ----------------------------------------------------------------------------------


@item(78)
@pytest.mark.parametrize(
    "data, reads",
    [
        (ChannelDouble(value=-2.75, precision=2), ["-2.75", -2, -2.75, 65534, 254, -2, -2.75]),
        (ChannelDouble(value=70000.0), ["70000", 4464, 70000.0, 4464, 112, 70000, 70000.0]),
        (ChannelInteger(value=-1), ["-1", -1, -1.0, 65535, 255, -1, -1.0]),
        (ChannelByte(value=200), ["200", 200, 200.0, 200, 200, 200, 200.0]),
        (ChannelEnum(value=1, enum_strings=["Off", "On"]), ["On", 1, 1.0, 1, 1, 1, 1.0]),
        (ChannelString(value="12"), ["12", 12, 12.0, 12, 12, 12, 12.0]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_read_as_every_native_type(data, reads):
    rig = Rig({"x": data})
    channel = rig.connect("x")
    assert [rig.value(channel, data_type)[0] for data_type in range(7)] == reads


@item(78)
@pytest.mark.parametrize(
    "text, state", [("Off", 0), ("On", 1), ("1", 1), ("0", 0), ("2", None), ("off", None)]
)
def test_an_enum_is_written_by_the_text_of_a_state_or_a_number(text, state):
    x = ChannelEnum(value=1 - (state or 0), enum_strings=["Off", "On"])
    before = x.value
    rig = Rig({"x": x})
    (reply,) = rig.ask(rig.connect("x").write(text, ca.ChannelType.STRING, notify=True))
    assert reply.status is (CAStatus.ECA_PUTFAIL if state is None else CAStatus.ECA_NORMAL)
    assert x.value == (before if state is None else state)


@item(79)
@pytest.mark.parametrize(
    "name, data_type, count, value",
    [
        ("wave", 6, 10, list(range(10))),
        ("wave.", 6, 10, list(range(10))),
        ("wave.VAL", 6, 10, list(range(10))),
        ("wave.[1:3]", 6, 3, [1, 2, 3]),
        ("wave.VAL[-2:-1]", 6, 2, [8, 9]),
        ("wave.VAL[2]", 6, 1, [2]),
        ("wave.VAL[0:2:8]", 6, 5, [0, 2, 4, 6, 8]),
        ("wave.VAL[99:100]", 6, 0, []),
        ('wave.{"arr":{"s":1,"e":2}}', 6, 2, [1, 2]),
        ("wave.{}", 6, 10, list(range(10))),
        ('x.{"dbnd":{"abs":1}}', 6, 1, [1.5]),
        ('x.VAL{"dec":{"n":2}}', 6, 1, [1.5]),
        ('x.{"ts":{}}', 6, 1, [1.5]),
        ("text.$", 4, 40, [104, 105, 0]),
        ("text.VAL$", 4, 40, [104, 105, 0]),
    ],
)
def test_names_with_modifiers(name, data_type, count, value):
    rig = Rig({
        "wave": ChannelDouble(value=list(range(10))),
        "x": ChannelDouble(value=1.5),
        "text": ChannelString(value="hi"),
    })
    channel = rig.connect(name)
    assert (channel.native_data_type, channel.native_data_count) == (data_type, count)
    assert rig.value(channel) == value


@item(79)
@pytest.mark.parametrize(
    "name",
    [
        "wave[1:3]", "wave{}", "text$", "x.$", "x.HIHI", "x.val", "X", "x ", "x.VAL ", "x.VAL[a]",
        'x.VAL{"nosuch":{}}', 'x.VAL{"dbnd":', "x.VAL{}$", ".VAL",
    ],
)
def test_other_names_fail(name):
    rig = Rig({
        "wave": ChannelDouble(value=list(range(10))),
        "x": ChannelDouble(value=1.5),
        "text": ChannelString(value="hi"),
    })
    assert rig.raw(ca.CreateChanRequest(name, 7, 13)) == [ca.CreateChFailResponse(7)]


@item(64, 69)
def test_every_type_of_every_family_has_the_layout_of_the_protocol():
    """Offsets of the value: those of the table in the protocol document."""
    offsets = {0: 0, 6: 0, 11: 5, 13: 8, 14: 12, 15: 14, 18: 15, 20: 16, 22: 24, 24: 422, 25: 19,
               27: 64, 32: 21, 34: 80, 37: 8}
    x = ChannelDouble(value=65.0)
    rig = Rig({"x": x})
    channel = rig.connect("x")
    formats = ">40s >h >f >H >B >i >d".split()
    for data_type, offset in offsets.items():
        request = channel.subscribe(data_type=data_type)
        for (reply,) in (rig.ask(channel.read(data_type)), rig.ask(request)):
            kind = 0 if data_type > 34 else data_type % 7
            (value,) = struct.unpack_from(formats[kind], reply.payload, offset)
            assert value == (b"65".ljust(40, b"\0") if kind == 0 else 65)
