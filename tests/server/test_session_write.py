"""Writes: what is stored, what is refused, and putters: completion as a job."""
from __future__ import annotations

import logging

import pytest

from caproto import (
    AccessRights,
    AlarmSeverity,
    CAStatus,
    ChannelType,
    ClearChannelResponse,
    EchoRequest,
    EchoResponse,
    ErrorResponse,
    EventAddResponse,
    EventsOffRequest,
    WriteNotifyRequest,
    WriteNotifyResponse,
    WriteRequest,
)
from caproto._protocol.headers import pack_header
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

NOTIFY, PLAIN = WriteNotifyRequest, WriteRequest
BOTH = pytest.mark.parametrize("kind", [NOTIFY, PLAIN])


def one(data, **options):
    """A rig that serves *data* as x, and a channel to it."""
    rig = Rig({"x": data}, **options)
    return rig, rig.connect("x")


def write(channel, value, data_type, count=None, kind=NOTIFY, ioid=5):
    return kind(value, data_type, count, channel.sid, ioid)


def raw_write(channel, payload, data_type, count, kind=NOTIFY, ioid=5) -> bytes:
    fields = (kind.ID, len(payload), data_type, count, channel.sid, ioid)
    return pack_header(fields) + payload


def status_of(replies) -> CAStatus:
    """How the one write ended; silence is success."""
    if not replies:
        return CAStatus.ECA_NORMAL
    (reply,) = replies
    assert type(reply) in (WriteNotifyResponse, ErrorResponse)
    return reply.status


# ---- what is stored --------------------------------------------------------------------------


def test_a_write_with_notification_is_answered_with_type_count_status_and_ioid():
    data = ChannelDouble(value=[0.0], max_length=3)
    rig, x = one(data)
    assert rig.ask(write(x, [1, 2], 5, ioid=77)) == [
        WriteNotifyResponse(5, 2, CAStatus.ECA_NORMAL, 77)
    ]
    assert list(data.value) == [1.0, 2.0]


def test_a_write_without_notification_is_silent():
    data = ChannelDouble()
    rig, x = one(data)
    assert rig.ask(x.write(2.5, notify=False), EchoRequest()) == [EchoResponse()]
    assert data.value == 2.5


def test_the_value_is_there_for_the_next_request():
    rig, x = one(ChannelDouble())
    write_, read = rig.ask(x.write(2.5, notify=True), x.read())
    assert write_.status == 1 and values_of(read) == [2.5]


@BOTH
@pytest.mark.parametrize(
    "data, value, data_type, stored",
    [
        (ChannelDouble(), "2.5", 0, 2.5),
        (ChannelDouble(), 7, 3, 7.0),
        (ChannelInteger(), 2.9, 6, 2),
        (ChannelString(), "hello", 0, "hello"),
        (ChannelString(), 42, 5, "42"),
        (ChannelEnum(enum_strings=["a", "b"]), "b", 0, 1),
        (ChannelEnum(enum_strings=["a", "b"]), "1", 0, 1),
        (ChannelEnum(enum_strings=["a", "b"]), 1, 4, 1),
        (ChannelByte(), 300, 5, 44),
        (ChannelChar(), b"some text\0", 4, "some text"),
    ],
    ids=repr,
)
def test_any_plain_type_is_converted(data, value, data_type, stored, kind):
    rig, x = one(data)
    assert status_of(rig.raw(write(x, value, data_type, kind=kind))) is CAStatus.ECA_NORMAL
    assert data.value == stored


def test_a_single_string_may_be_short_and_need_no_end():
    data = ChannelString()
    rig, x = one(data)
    for payload, text in [
        (b"2.25\0\0\0\0", "2.25"), (b"noend..8", "noend..8"), (b"x" * 40, "x" * 39),
        (b"y" * 48, "y" * 39), (bytes(8), ""),
    ]:
        assert status_of(rig.raw(raw_write(x, payload, 0, 1))) is CAStatus.ECA_NORMAL
        assert data.value == text


def test_elements_beyond_the_room_are_dropped():
    data = ChannelDouble(value=[0.0], max_length=10)
    rig, x = one(data)
    (reply,) = rig.raw(write(x, list(range(12)), 6))
    assert (reply.status, reply.data_count) == (CAStatus.ECA_NORMAL, 12)
    assert list(data.value) == list(range(10))


def test_no_elements_empty_an_array():
    data = ChannelDouble(value=[1.0, 2.0])
    rig, x = one(data)
    assert status_of(rig.raw(raw_write(x, b"", 6, 0))) is CAStatus.ECA_NORMAL
    assert data.length == 0


def test_no_elements_leave_a_scalar_as_it_is_but_in_alarm():
    data = ChannelDouble(value=5.0)
    rig, x = one(data)
    assert status_of(rig.raw(raw_write(x, b"", 6, 0))) is CAStatus.ECA_NORMAL
    assert data.value == 5.0 and data.alarm.severity is AlarmSeverity.INVALID_ALARM


def test_a_text_written_through_the_dollar():
    data = ChannelString()
    rig = Rig({"x": data})
    channel = rig.connect("x.$")
    assert status_of(rig.ask(channel.write(b"hello\0", notify=True))) is CAStatus.ECA_NORMAL
    assert data.value == "hello"


def test_a_large_array_is_stored():
    data = ChannelDouble(value=[0.0], max_length=200_000)
    rig, x = one(data)
    (reply,) = rig.ask(x.write(range(200_000), notify=True))
    assert (reply.status, reply.data_count) == (CAStatus.ECA_NORMAL, 200_000)
    assert data.value.tolist() == list(range(200_000))


# ---- what is refused -------------------------------------------------------------------------


def test_a_failing_write_is_answered_by_an_error_with_the_header_of_the_request():
    rig, x = one(ChannelDouble(access_rights=AccessRights.READ))
    request = write(x, 2.5, 6, kind=PLAIN)
    (error,) = rig.raw(request)
    assert type(error) is ErrorResponse
    assert (error.cid, error.status) == (x.cid, CAStatus.ECA_NOWTACCESS)
    assert error.original_fields == request.fields and error.error_message == "x"


def test_a_failing_write_with_notification_is_answered_by_its_status():
    rig, x = one(ChannelDouble(access_rights=AccessRights.READ))
    assert rig.raw(write(x, 2.5, 6, ioid=9)) == [
        WriteNotifyResponse(6, 1, CAStatus.ECA_NOWTACCESS, 9)
    ]


@BOTH
@pytest.mark.parametrize("data_type", [39, 0xFFFF])
def test_an_unknown_type_is_refused_and_the_circuit_goes_on(kind, data_type):
    rig, x = one(ChannelDouble(value=5.0))
    reply, echo = rig.raw(raw_write(x, bytes(8), data_type, 1, kind), EchoRequest())
    assert reply.status is CAStatus.ECA_BADTYPE and echo == EchoResponse()
    assert rig.value(x) == [5.0]


@BOTH
@each_case("data_type", [*range(7, 35), 37, 38])
def test_only_plain_types_can_be_written(kind, data_type):
    rig, x = one(ChannelDouble(value=5.0))
    reply = raw_write(x, bytes(496), data_type, 1, kind)
    assert status_of(rig.raw(reply)) is CAStatus.ECA_PUTFAIL
    assert rig.value(x) == [5.0]


@BOTH
@pytest.mark.parametrize(
    "data, text",
    [(ChannelDouble(), "abc"), (ChannelInteger(), "99999999999"),
     (ChannelEnum(enum_strings=["a", "b"]), "c"), (ChannelInteger(value=[0], max_length=3), "x")],
    ids=["number", "range", "state", "array"],
)
def test_text_that_cannot_be_converted_is_refused(kind, data, text):
    rig, x = one(data)
    assert status_of(rig.raw(write(x, text, 0, kind=kind))) is CAStatus.ECA_PUTFAIL
    assert list(rig.value(x)) == [0]


@BOTH
@pytest.mark.parametrize(
    "size, data_type, count",
    [(0, 6, 1), (8, 6, 2), (40, 0, 2), (0, 0, 1), (8, 4, 9), (8, 6, 0xFFFFFFFF), (0, 36, 1)],
)
def test_a_payload_that_is_too_short_is_refused(kind, size, data_type, count):
    """The real server takes the rest from what its buffer happens to hold."""
    data = ChannelDouble(value=[5.0], max_length=20)
    rig, x = one(data)
    request = raw_write(x, bytes(size), data_type, count, kind)
    assert status_of(rig.raw(request)) is CAStatus.ECA_BADCOUNT
    assert list(data.value) == [5.0]


@BOTH
def test_an_unknown_sid_is_refused_and_the_circuit_goes_on(kind):
    rig, x = one(ChannelDouble())
    request = kind(1.0, 6, 1, x.sid + 1, 5)
    error, echo = rig.raw(request, EchoRequest())
    assert (error.cid, error.status) == (0xFFFFFFFF, CAStatus.ECA_INTERNAL)
    assert error.original_fields == request.fields and echo == EchoResponse()


# ---- acknowledging alarms --------------------------------------------------------------------


@BOTH
def test_alarms_can_be_acknowledged(kind):
    data = ChannelDouble()
    data.write(severity=2)
    rig, x = one(data)
    (stsack,) = rig.ask(x.read(ChannelType.STSACK_STRING))
    assert (stsack.metadata.ackt, stsack.metadata.acks) == (1, 2)
    assert status_of(rig.raw(write(x, 2, ChannelType.PUT_ACKS, kind=kind))) is CAStatus.ECA_NORMAL
    assert status_of(rig.raw(write(x, 0, ChannelType.PUT_ACKT, kind=kind))) is CAStatus.ECA_NORMAL
    (stsack,) = rig.ask(x.read(ChannelType.STSACK_STRING))
    assert (stsack.metadata.ackt, stsack.metadata.acks) == (0, 0)


def test_the_putter_is_not_called_for_an_acknowledgement():
    calls = []
    data = ChannelDouble()
    data.putter = lambda instance, value: calls.append(value)
    rig, x = one(data)
    rig.ask(write(x, 2, ChannelType.PUT_ACKS))
    assert not calls


# ---- putters ---------------------------------------------------------------------------------


def test_a_write_that_calls_a_putter_is_answered_when_it_is_done():
    data, calls = ChannelDouble(), []
    data.putter = lambda instance, value: calls.append(value)
    rig, x = one(data, run_jobs=False)
    rig.send(x.write(2.5, ioid=77, notify=True))
    assert rig.received() == [] and not calls and data.value == 0
    (job,) = rig.jobs
    assert job.data is data
    rig.session.sleep()
    rig.run()
    assert rig.wakes == 1 and calls == [2.5] and data.value == 2.5
    assert rig.received() == [WriteNotifyResponse(6, 1, CAStatus.ECA_NORMAL, 77)]


def test_other_requests_are_served_while_a_write_is_under_way():
    """As recorded, an IOC serves other channels, and then lets all wait for the second write."""
    slow, quick = ChannelDouble(), ChannelDouble(value=3.25)
    slow.putter = lambda instance, value: None
    rig = Rig({"slow": slow, "quick": quick}, run_jobs=False)
    a, b = rig.connect("slow"), rig.connect("quick")
    rig.send(a.write(1.0, ioid=1, notify=True), b.read(ioid=2))
    (read,) = rig.received()
    assert read.ioid == 2 and values_of(read) == [3.25]
    rig.send(a.write(2.0, ioid=3, notify=True), b.read(ioid=4), a.read(ioid=5), EchoRequest(),
             b.write(4.0, ioid=6, notify=True))
    replies = rig.received()
    assert [getattr(r, "ioid", type(r)) for r in replies] == [4, 5, EchoResponse, 6]
    assert values_of(replies[1]) == [0.0], "the writes are not done"
    rig.run()
    assert [(r.ioid, r.status.code_with_severity) for r in rig.received()] == [(1, 1), (3, 1)]
    assert slow.value == 2.0


def test_a_plain_write_calls_the_putter_too_and_stays_silent():
    data, calls = ChannelDouble(), []
    data.putter = lambda instance, value: calls.append(value)
    rig, x = one(data)
    assert rig.ask(x.write(2.5, notify=False)) == []
    assert calls == [2.5] and data.value == 2.5


def test_what_the_putter_returns_is_stored():
    data = ChannelDouble()
    data.putter = lambda instance, value: min(value, 10)
    rig, x = one(data)
    rig.ask(x.write(99.0, notify=True))
    assert data.value == 10


@BOTH
def test_a_putter_that_fails_is_logged_and_the_write_fails(kind, caplog):
    data = ChannelDouble(value=5.0)

    def putter(instance, value):
        raise RuntimeError("the motor is stuck")

    data.putter = putter
    rig, x = one(data)
    assert status_of(rig.raw(write(x, 2.5, 6, kind=kind))) is CAStatus.ECA_PUTFAIL
    assert data.value == 5.0
    assert "the putter of x failed" in caplog.text and "the motor is stuck" in caplog.text


def end(instance, value):
    raise SystemExit


@pytest.mark.parametrize("putter", [end, lambda instance, value: "nonsense"])
def test_other_ways_to_fail(putter, caplog):
    data = ChannelDouble(value=5.0)
    data.putter = putter
    rig, x = one(data)
    assert status_of(rig.ask(x.write(2.5, notify=True))) is CAStatus.ECA_PUTFAIL
    assert data.value == 5.0 and "the putter of x failed" in caplog.text


@BOTH
@pytest.mark.parametrize(
    "refusal, status",
    [
        (Refused("closed"), CAStatus.ECA_PUTFAIL),
        (Refused("closed", CAStatus.ECA_PUTCBINPROG), CAStatus.ECA_PUTCBINPROG),
    ],
)
def test_a_putter_may_refuse_without_an_entry_in_the_log(kind, refusal, status, caplog):
    data = ChannelDouble(value=5.0)

    def putter(instance, value):
        raise refusal

    data.putter = putter
    rig, x = one(data)
    with caplog.at_level(logging.WARNING):
        assert status_of(rig.raw(write(x, 2.5, 6, kind=kind))) is status
    assert data.value == 5.0 and not caplog.records


def test_the_putter_is_not_called_for_what_is_refused():
    data, calls = ChannelDouble(access_rights=AccessRights.READ), []
    data.putter = lambda instance, value: calls.append(value)
    rig, x = one(data)
    rig.raw(write(x, 2.5, 6))
    data.access_rights = 3
    rig.raw(write(x, "abc", 0), raw_write(x, bytes(8), 6, 2), raw_write(x, bytes(8), 39, 1))
    assert not calls and not rig.jobs


@BOTH
def test_nothing_is_said_of_a_write_whose_channel_was_cleared(kind):
    data = ChannelDouble()
    data.putter = lambda instance, value: value
    rig, x = one(data, run_jobs=False)
    rig.send(write(x, 2.5, 6, kind=kind), x.clear())
    assert rig.received() == [ClearChannelResponse(x.sid, x.cid)]
    rig.run()
    assert rig.received() == []
    assert data.value == 2.5, "what was begun is finished"


def test_clearing_one_channel_leaves_the_writes_of_another():
    data = ChannelDouble()
    data.putter = lambda instance, value: value
    rig = Rig({"x": data}, run_jobs=False)
    one_, two = rig.connect("x"), rig.connect("x")
    writes = one_.write(1.0, ioid=1, notify=True), two.write(2.0, ioid=2, notify=True)
    rig.send(*writes, one_.clear())
    rig.run()
    assert [getattr(r, "ioid", None) for r in rig.received()] == [None, 2]


def test_nothing_is_said_after_the_client_has_gone():
    data = ChannelDouble()
    data.putter = lambda instance, value: value
    rig, x = one(data, run_jobs=False)
    rig.send(x.write(2.5, notify=True))
    rig.session.close()
    rig.run()
    assert rig.session.take() == [] and data.value == 2.5


def test_a_putter_may_write_to_its_own_channel_and_others():
    data, other = ChannelDouble(), ChannelDouble()

    def putter(instance, value):
        instance.write(value / 2)
        other.write(value)

    data.putter = putter
    rig = Rig({"x": data, "y": other})
    x, y = rig.connect("x"), rig.connect("y")
    rig.ask(x.subscribe(), y.subscribe())
    replies = rig.ask(x.write(4.0, notify=True))
    assert [values_of(r) for r in replies if type(r) is EventAddResponse] == [[2.0], [4.0], [4.0]]


def test_replies_to_writes_are_not_held():
    data = ChannelDouble()
    data.putter = lambda instance, value: None
    rig, x = one(data)
    rig.ask(x.subscribe(), EventsOffRequest())
    assert [type(r) for r in rig.ask(x.write(2.5, notify=True))] == [WriteNotifyResponse]


def test_subscribers_of_all_clients_hear_of_a_write():
    data = ChannelDouble()
    (rig, x), (other, y) = one(data), one(data)
    rig.ask(x.subscribe())
    other.ask(y.subscribe())
    reply, update = rig.ask(x.write(2.5, notify=True))
    assert type(reply) is WriteNotifyResponse and values_of(update) == [2.5]
    assert [values_of(u) for u in other.received()] == [[2.5]]
