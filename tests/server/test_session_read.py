"""Reads: types, counts, conversions, failures, getters, and the obsolete READ."""
from __future__ import annotations

import logging

import pytest

import caproto
from caproto import (
    AccessRights,
    AlarmSeverity,
    AlarmStatus,
    CAStatus,
    ChannelType,
    EchoRequest,
    EchoResponse,
    ErrorResponse,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
    TimeStamp,
    WriteNotifyRequest,
    WriteNotifyResponse,
)
from caproto._protocol.headers import pack_header
from caproto._protocol.payload import payload_size
from caproto.server import (
    ChannelByte,
    ChannelChar,
    ChannelDouble,
    ChannelEnum,
    ChannelInteger,
    ChannelString,
    Refused,
)
from tests.harness.each_case import each_case
from tests.server.session_rig import Rig, values_of

NO_READ = AccessRights.WRITE
TYPES = list(map(ChannelType, range(39)))


def one(data, **options):
    """A rig that serves *data* as x, and a channel to it."""
    rig = Rig({"x": data}, **options)
    return rig, rig.connect("x")


# ---- READ_NOTIFY -----------------------------------------------------------------------------


def test_status_and_ioid_of_the_reply():
    rig, x = one(ChannelDouble(value=3.25))
    (reply,) = rig.ask(x.read(ioid=77))
    assert type(reply) is ReadNotifyResponse
    assert reply.fields == (15, 8, 6, 1, 1, 77)
    assert bytes(reply.payload) == bytes.fromhex("400a000000000000")


def test_a_read_tells_time_alarm_and_value_of_one_moment():
    rig, x = one(ChannelDouble(value=3.25, timestamp=TimeStamp(5, 6)))
    rig.session.directory.open("x").data.write(
        4.5, timestamp=TimeStamp(7, 8), status=AlarmStatus.HIGH, severity=AlarmSeverity.MINOR_ALARM
    )
    (reply,) = rig.ask(x.read(ChannelType.TIME_DOUBLE))
    metadata = reply.metadata
    assert (metadata.status, metadata.severity) == (4, 1)
    assert (metadata.stamp.seconds, metadata.stamp.nanoseconds) == (7, 8)
    assert list(reply.data) == [4.5]


@each_case("data_type", [t for t in TYPES if t not in (35, 36)], ids=lambda t: t.name)
def test_every_type_can_be_read(data_type):
    rig, x = one(ChannelEnum(value=1, enum_strings=["0", "7"]))
    (reply,) = rig.ask(x.read(data_type))
    assert reply.status is CAStatus.ECA_NORMAL
    assert (reply.data_type, reply.data_count) == (data_type, 1)
    assert len(reply.payload) == payload_size(data_type, 1)
    expected = {0: "7", 37: "7", 38: "caproto"}.get(data_type if data_type > 34 else data_type % 7)
    assert values_of(reply) == [1 if expected is None else expected]


@pytest.mark.parametrize("count, expected", [(0, [1, 2, 3]), (2, [1, 2]), (5, [1, 2, 3, 0, 0])])
def test_count_0_gives_what_there_is_and_n_gives_n(count, expected):
    rig, x = one(ChannelInteger(value=[1, 2, 3], max_length=5))
    for data_type in (None, ChannelType.TIME_DOUBLE, ChannelType.CTRL_CHAR):
        assert rig.value(x, data_type, count) == expected


def test_an_empty_array():
    rig, x = one(ChannelDouble(value=[], max_length=5))
    (reply,) = rig.ask(x.read())
    assert reply.fields[:5] == (15, 0, 6, 0, 1)
    (reply,) = rig.ask(x.read(ChannelType.TIME_DOUBLE))
    assert reply.fields[:5] == (15, 16, 20, 0, 1)
    assert rig.value(x, None, 2) == [0, 0]


def test_a_large_array_has_an_extended_header():
    rig, x = one(ChannelDouble(value=[1.5] * 100_000))
    (reply,) = rig.ask(x.read())
    assert reply.fields[1] == 800_000 and reply.data_count == 100_000
    assert reply.data.min() == reply.data.max() == 1.5


@pytest.mark.parametrize("count", [2, 0xFFFE, 0xFFFFFFFF])
@pytest.mark.parametrize("data_type", [6, 20, 38])
def test_more_than_the_channel_can_have_is_refused(count, data_type):
    rig, x = one(ChannelDouble(value=3.25))
    (reply,) = rig.raw(ReadNotifyRequest(data_type, count, x.sid, 5))
    assert (reply.status, reply.data_count) == (CAStatus.ECA_BADCOUNT, 1)
    assert not any(reply.payload)


@pytest.mark.parametrize("data_type", [ChannelType.PUT_ACKT, ChannelType.PUT_ACKS])
def test_what_can_only_be_written_cannot_be_read(data_type):
    rig, x = one(ChannelDouble())
    (reply,) = rig.ask(x.read(data_type, 1))
    assert (reply.status, bytes(reply.payload)) == (CAStatus.ECA_GETFAIL, bytes(8))


@pytest.mark.parametrize("data_type", [39, 0xFFFF])
def test_an_unknown_type_is_refused_and_the_circuit_goes_on(data_type):
    rig, x = one(ChannelDouble())
    reply, echo = rig.raw(pack_header((15, 0, data_type, 1, x.sid, 5)), EchoRequest())
    assert reply.fields == (15, 0, data_type, 0, CAStatus.ECA_BADTYPE.code_with_severity, 5)
    assert echo == EchoResponse()


def test_text_that_is_no_number_cannot_be_read_as_one():
    rig, x = one(ChannelString(value="abc"))
    (reply,) = rig.ask(x.read(ChannelType.TIME_DOUBLE, 1))
    assert (reply.status, bytes(reply.payload)) == (CAStatus.ECA_GETFAIL, bytes(24))


@pytest.mark.parametrize(
    "data_type, count, size", [(6, 1, 8), (20, 1, 24), (20, 0, 16), (6, 0, 0), (6, 3, 24)]
)
def test_without_the_right_the_reply_is_368_and_zeros(data_type, count, size):
    rig, x = one(ChannelDouble(value=[1.0, 2.0, 3.0], access_rights=NO_READ))
    (reply,) = rig.raw(x.read(data_type, count, ioid=9))
    assert reply.fields == (15, size, data_type, count, 368, 9)
    assert bytes(reply.payload) == bytes(size)


def test_a_payload_of_the_request_is_ignored():
    rig, x = one(ChannelDouble(value=3.25))
    (reply,) = rig.raw(pack_header((15, 16, 6, 1, x.sid, 5)) + b"x" * 16)
    assert values_of(reply) == [3.25]


def test_a_needless_extended_header_is_understood():
    rig, x = one(ChannelDouble(value=3.25))
    request = bytes.fromhex("000fffff 00060000 00000000 00000005 00000000 00000001")
    (reply,) = rig.raw(request)
    assert reply.fields[5] == 5 and values_of(reply) == [3.25]


def test_an_ioid_may_be_used_again_before_its_reply():
    rig, x = one(ChannelDouble(value=3.25))
    requests = [x.read(t, 1, ioid=7) for t in (6, 5, 0, 20)]
    replies = rig.raw(*requests, WriteNotifyRequest(1.5, 6, 1, x.sid, 7))
    assert [reply.data_type for reply in replies] == [6, 5, 0, 20, 6]
    assert type(replies[-1]) is WriteNotifyResponse
    assert values_of(rig.raw(x.read(ioid=7))[0]) == [1.5]


def test_an_unknown_sid_is_refused_and_the_circuit_goes_on():
    rig, x = one(ChannelDouble())
    request = ReadNotifyRequest(6, 1, x.sid + 1, 5)
    error, echo = rig.raw(request, EchoRequest())
    assert (error.cid, error.status) == (0xFFFFFFFF, CAStatus.ECA_INTERNAL)
    assert error.original_fields == request.fields and echo == EchoResponse()


def test_a_value_that_is_too_large_is_refused():
    rig, x = one(ChannelDouble(value=[1.0] * 1000), max_payload=4000)
    request = x.read()
    (error,) = rig.ask(request)
    assert type(error) is ErrorResponse
    assert (error.cid, error.status) == (x.cid, CAStatus.ECA_TOLARGE)
    assert error.original_fields == request.fields
    assert rig.value(x, None, 500) == [1.0] * 500


@pytest.mark.parametrize("data_type, count", [(6, 0), (6, 8300), (20, 8191)])
def test_a_client_below_4_9_gets_no_large_array(data_type, count):
    rig, x = one(ChannelDouble(value=[1.0] * 8300), version=8)
    (error,) = rig.raw(x.read(data_type, count))
    assert (error.cid, error.status) == (x.cid, CAStatus.ECA_16KARRAYCLIENT)
    assert rig.value(x, 6, 8191) == [1.0] * 8191, "the largest that fits"


@pytest.mark.parametrize("value, text", [(3.25, "3.250"), (float("nan"), "nan"), (2.0, "2.000")])
def test_text_has_the_precision_of_the_channel(value, text):
    rig, x = one(ChannelDouble(value=value, precision=3))
    assert rig.value(x, ChannelType.STRING) == [text]
    assert rig.value(x, ChannelType.CTRL_STRING, 1) == [text]


def test_modifiers_of_the_name_are_applied():
    rig = Rig({
        "w": ChannelDouble(value=[0.0, 1.0, 2.0, 3.0]),
        "s": ChannelString(value="hello"),
        "c": ChannelChar(value="a long text"),
    })
    assert rig.value(rig.connect("w.[1:2]")) == [1.0, 2.0]
    assert rig.value(rig.connect("w.[1:2]"), ChannelType.TIME_LONG, 1) == [1]
    assert bytes(rig.value(rig.connect("s.$"))) == b"hello\0"
    assert rig.value(rig.connect("s.$"), ChannelType.STRING) == ["hello"]
    assert rig.value(rig.connect("c"), ChannelType.STRING) == ["a long text"]
    section = rig.connect("w.[1:2]")
    (reply,) = rig.raw(ReadNotifyRequest(6, 3, section.sid, 99))
    assert (reply.status, reply.data_count) == (CAStatus.ECA_BADCOUNT, 2)
    empty = rig.connect("w.[9:10]")
    assert empty.native_data_count == 0 and rig.value(empty) == []


# ---- getters ---------------------------------------------------------------------------------


def test_a_getter_is_asked_before_each_read():
    numbers = iter(range(10))
    x = ChannelInteger(value=-1)
    x.getter = lambda instance: next(numbers)
    rig, channel = one(x)
    assert [rig.value(channel), rig.value(channel)] == [[0], [1]]
    assert x.value == 1


def test_a_read_that_calls_a_getter_is_a_job_and_others_do_not_wait():
    x = ChannelInteger(value=-1)
    x.getter = lambda instance: 5
    rig = Rig({"x": x, "y": ChannelInteger(value=7)}, run_jobs=False)
    slow, quick = rig.connect("x"), rig.connect("y")
    rig.send(slow.read(ioid=1), quick.read(ioid=2), EchoRequest())
    first, second = rig.received()
    assert first.ioid == 2 and second == EchoResponse()
    (job,) = rig.jobs
    assert job.data is x
    rig.session.sleep()
    job.run()
    assert rig.wakes == 1
    (reply,) = rig.received()
    assert reply.ioid == 1 and values_of(reply) == [5]


def refuse(instance):
    raise Refused("closed", CAStatus.ECA_UNAVAILINSERV)


def fail(instance):
    raise RuntimeError("broken")


def end(instance):
    raise SystemExit


@pytest.mark.parametrize("getter", [fail, end, lambda instance: "abc"])
def test_a_getter_that_fails_is_logged_and_the_read_fails(getter, caplog):
    x = ChannelInteger(value=7)
    x.getter = getter
    rig, channel = one(x)
    (reply,) = rig.ask(channel.read(data_count=1))
    assert (reply.status, bytes(reply.payload)) == (CAStatus.ECA_GETFAIL, bytes(8))
    assert "the getter of x failed" in caplog.text
    assert x.value == 7


def refuse_simply(instance):
    raise Refused("closed")


@pytest.mark.parametrize(
    "getter, status",
    [(refuse, CAStatus.ECA_UNAVAILINSERV), (refuse_simply, CAStatus.ECA_GETFAIL)],
)
def test_a_getter_may_refuse_without_an_entry_in_the_log(getter, status, caplog):
    x = ChannelInteger(value=7)
    x.getter = getter
    rig, channel = one(x)
    with caplog.at_level(logging.WARNING):
        (reply,) = rig.ask(channel.read(data_count=1))
    assert (reply.status, bytes(reply.payload)) == (status, bytes(8))
    assert not caplog.records


def test_the_getter_is_not_called_for_who_may_not_read_or_asks_nonsense():
    calls = []
    x = ChannelInteger(access_rights=NO_READ)
    x.getter = calls.append
    rig, channel = one(x)
    rig.ask(channel.read(), channel.subscribe())
    x.access_rights = 3
    rig.raw(pack_header((15, 0, 39, 1, channel.sid, 9)))
    assert not calls


def test_a_read_is_not_answered_after_its_channel_was_cleared():
    x = ChannelInteger()
    x.getter = lambda instance: 5
    rig, channel = one(x, run_jobs=False)
    rig.send(channel.read(), channel.clear())
    assert [type(r).__name__ for r in rig.received()] == ["ClearChannelResponse"]
    rig.run()
    assert rig.received() == []


def test_nothing_is_said_after_the_client_has_gone():
    x = ChannelInteger()
    x.getter = lambda instance: 5
    rig, channel = one(x, run_jobs=False)
    rig.send(channel.read(), channel.subscribe())
    rig.session.close()
    rig.run()
    assert rig.session.take() == [] and not x._subscribers


# ---- READ, obsolete --------------------------------------------------------------------------


def old_read(channel, data_type=6, count=1, ioid=20):
    return ReadRequest(data_type, count, channel.sid, ioid)


def test_an_old_read_is_answered_with_the_cid():
    rig, x = one(ChannelDouble(value=3.25))
    (reply,) = rig.ask(old_read(x))
    assert type(reply) is ReadResponse
    assert reply.fields == (3, 8, 6, 1, x.cid, 20)
    assert list(reply.data) == [3.25]


@pytest.mark.parametrize(
    "text, size", [("", 8), ("hello", 8), ("1234567", 8), ("12345678", 16), ("x" * 39, 40)]
)
def test_one_string_is_short_in_an_old_read(text, size):
    rig, x = one(ChannelString(value=text))
    (reply,) = rig.ask(old_read(x, 0))
    assert bytes(reply.payload) == text.encode().ljust(size, b"\0")
    (reply,) = rig.ask(old_read(x, ChannelType.STS_STRING))
    assert len(reply.payload) == 48


def test_count_0_is_nothing_in_an_old_read():
    rig, x = one(ChannelDouble(value=[1.0, 2.0]))
    (reply,) = rig.ask(old_read(x, 6, 0))
    assert reply.fields == (3, 0, 6, 0, x.cid, 20)
    assert list(rig.ask(old_read(x, 20, 2))[0].data) == [1.0, 2.0]


@pytest.mark.parametrize(
    "data_type, count, rights, status",
    [
        (6, 1, NO_READ, CAStatus.ECA_NORDACCESS),
        (35, 1, 3, CAStatus.ECA_GETFAIL),
        (6, 2, 3, CAStatus.ECA_BADCOUNT),
    ],
)
def test_an_old_read_that_fails_is_answered_by_an_error(data_type, count, rights, status):
    rig, x = one(ChannelDouble(access_rights=rights))
    request = old_read(x, data_type, count)
    (error,) = rig.ask(request)
    assert type(error) is ErrorResponse
    assert (error.cid, error.status) == (x.cid, status)
    assert error.original_fields == request.fields


def test_an_old_read_of_an_unknown_type_or_channel_is_refused_and_the_circuit_goes_on():
    rig, x = one(ChannelDouble())
    error, other, echo = rig.raw(
        pack_header((3, 0, 39, 1, x.sid, 5)), pack_header((3, 0, 6, 1, x.sid + 1, 5)), EchoRequest()
    )
    assert (error.cid, error.status) == (x.cid, CAStatus.ECA_BADTYPE)
    assert (other.cid, other.status) == (0xFFFFFFFF, CAStatus.ECA_INTERNAL)
    assert echo == EchoResponse()


def test_an_old_read_that_is_too_large_is_refused():
    rig, x = one(ChannelByte(value=bytes(1000)), max_payload=500)
    assert rig.ask(old_read(x, 4, 1000))[0].status is CAStatus.ECA_TOLARGE
    rig, x = one(ChannelDouble(value=[1.0] * 8300), version=8)
    assert rig.ask(old_read(x, 6, 8300))[0].status is CAStatus.ECA_16KARRAYCLIENT


def test_an_old_read_asks_the_getter_too():
    x = ChannelInteger()
    x.getter = lambda instance: 5
    rig, channel = one(x)
    assert list(rig.ask(old_read(channel, 5))[0].data) == [5]
    x.getter = fail
    assert rig.ask(old_read(channel, 5))[0].status is CAStatus.ECA_GETFAIL


# ---- all of them -----------------------------------------------------------------------------


@each_case("data_type", TYPES, ids=lambda t: t.name)
@each_case(
    "data",
    [
        ChannelDouble(value=[1.0, 2.0], max_length=4),
        ChannelString(value=["1", "2"], max_length=4),
        ChannelChar(value="3"),
        ChannelEnum(value=[0, 1], enum_strings=["9"], max_length=4),
        ChannelByte(value=b"", max_length=4),
    ],
    ids=lambda data: type(data).__name__,
)
def test_the_reply_always_has_the_size_that_type_and_count_demand(data, data_type):
    rig, x = one(data)
    text = isinstance(data, ChannelChar) and data_type % 7 == ChannelType.STRING
    for count in range(4):
        (reply,) = rig.ask(x.read(data_type, count))
        assert len(reply.payload) == payload_size(data_type, reply.data_count)
        if reply.status == 1 and data_type < 35:
            expected = count or (1 if text else data.length)
            assert len(reply.data) == reply.data_count == expected


def test_the_text_of_an_error_is_for_people():
    rig, x = one(ChannelDouble(value=[1.0] * 100), max_payload=100)
    (error,) = rig.ask(x.read())
    assert error.error_message == "x" and caproto.CAStatus.ECA_TOLARGE is error.status
