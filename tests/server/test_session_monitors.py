"""Subscriptions: masks, first updates, dead bands, filters, cancelling, holding, overload."""
from __future__ import annotations

import threading

import numpy
import pytest

from caproto import (
    AccessRights,
    AlarmSeverity,
    CAStatus,
    ChannelType,
    EchoRequest,
    EchoResponse,
    ErrorResponse,
    EventAddRequest,
    EventAddResponse,
    EventCancelRequest,
    EventCancelResponse,
    EventsOffRequest,
    EventsOnRequest,
    WriteNotifyResponse,
)
from caproto._protocol.headers import pack_header
from caproto._server.updates import MAX_UPDATE_BYTES, MAX_UPDATES
from caproto.server import (
    ChannelAlarm,
    ChannelChar,
    ChannelDouble,
    ChannelEnum,
    ChannelInteger,
    ChannelString,
    Refused,
)
from tests.server.session_rig import Rig, values_of

VALUE, LOG, ALARM, PROPERTY = 1, 2, 4, 8
LOST_ALARM = ChannelAlarm(severity=AlarmSeverity.INVALID_ALARM)


def one(data, **options):
    """A rig that serves *data* as x, and a channel to it."""
    rig = Rig({"x": data}, **options)
    return rig, rig.connect("x")


def updates(rig: Rig) -> list:
    """The values of the updates that come now; nothing else may come."""
    replies = rig.received()
    assert all(type(reply) is EventAddResponse for reply in replies), replies
    return [values_of(reply)[0] if reply.data_count == 1 else values_of(reply) for reply in replies]


def event_add(channel, data_type=6, count=1, subid=5, mask=1) -> bytes:
    payload = bytes(12) + mask.to_bytes(2, "big") + bytes(2)
    return pack_header((1, 16, data_type, count, channel.sid, subid)) + payload


# ---- the first update ------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [VALUE, LOG, ALARM, PROPERTY, 0x80, 0xFF])
def test_the_first_update_comes_whatever_the_mask(mask):
    rig, x = one(ChannelDouble(value=3.25))
    (update,) = rig.ask(x.subscribe(mask=mask, subscriptionid=77))
    assert update.fields == (1, 8, 6, 1, 1, 77)
    assert values_of(update) == [3.25]


@pytest.mark.parametrize("count, size, elements", [(1, 24, 1), (0, 16, 0)])
def test_the_first_update_comes_without_the_right_to_read(count, size, elements):
    rig, x = one(ChannelDouble(value=3.25, access_rights=AccessRights.WRITE))
    (update,) = rig.ask(x.subscribe(data_type=20, data_count=count, subscriptionid=7))
    assert update.fields == (1, size, 20, elements, 368, 7)
    assert bytes(update.payload) == bytes(size)


def test_the_getter_is_asked_for_the_first_update():
    data = ChannelInteger(value=-1)
    data.getter = lambda instance: 5
    rig, x = one(data, run_jobs=False)
    rig.send(x.subscribe(), EchoRequest())
    assert rig.received() == [EchoResponse()], "nobody waits for it"
    (job,) = rig.jobs
    assert job.data is data
    rig.run()
    assert updates(rig) == [5]
    data.write(6)
    assert updates(rig) == [6], "and for later ones it is not needed"


@pytest.mark.parametrize("error", [RuntimeError("broken"), Refused("closed"), SystemExit()])
def test_a_getter_that_fails_leaves_the_old_value(error):
    data = ChannelInteger(value=-1)

    def getter(instance):
        raise error

    data.getter = getter
    rig, x = one(data)
    assert [values_of(update) for update in rig.ask(x.subscribe())] == [[-1]]


def test_a_change_while_the_getter_runs_is_not_lost_and_comes_once():
    data = ChannelInteger(value=1)
    data.getter = lambda instance: None
    rig, x = one(data, run_jobs=False)
    rig.send(x.subscribe())
    data.write(2)
    rig.run()
    data.write(3)
    assert updates(rig) == [2, 3]


# ---- masks -----------------------------------------------------------------------------------


def change_value(data):
    data.write(data.value + 100)


def change_alarm(data):
    data.write_metadata(severity=(data.alarm.severity + 1) % 4)


def change_limits(data):
    data.upper_disp_limit += 1


def change_value_a_little(data):
    data.write(data.value + 1.5)  # more than the dead band of VALUE, less than that of LOG


@pytest.mark.parametrize(
    "change, fires",
    [
        (change_value, VALUE | LOG),
        (change_value_a_little, VALUE),
        (change_alarm, ALARM),
        (change_limits, PROPERTY),
    ],
)
@pytest.mark.parametrize("mask", [1, 2, 4, 8, 3, 5, 7, 12, 15, 0x10, 0x80])
def test_later_updates_come_for_the_events_in_the_mask_only(change, fires, mask):
    data = ChannelDouble(value=0.0, value_atol=1, log_atol=10)
    rig, x = one(data)
    rig.ask(x.subscribe(mask=mask))
    change(data)
    assert len(updates(rig)) == (1 if mask & fires else 0)


def test_one_change_is_one_update_however_many_events_it_is():
    data = ChannelDouble()
    rig, x = one(data)
    rig.ask(x.subscribe(mask=15))
    data.write(5, severity=2, units="m")
    assert updates(rig) == [5.0]


def test_the_same_value_is_no_update_but_every_array_is():
    number, array = ChannelDouble(value=1), ChannelDouble(value=[1.0, 2.0])
    rig = Rig({"n": number, "a": array})
    rig.ask(rig.connect("n").subscribe())
    rig.ask(rig.connect("a").subscribe())
    for _ in range(2):
        number.write(1)
        array.write([1, 2])
    assert updates(rig) == [[1.0, 2.0]] * 2


def test_an_update_has_value_alarm_and_time_of_one_moment():
    data = ChannelInteger(upper_alarm_limit=8)
    rig, x = one(data)
    rig.ask(x.subscribe(data_type=ChannelType.TIME_LONG, mask=5))
    data.write(9, timestamp=1.5e9)
    data.write(1, timestamp=1.6e9)
    one_, two = rig.received()
    assert (values_of(one_), one_.metadata.severity, one_.metadata.timestamp) == ([9], 2, 1.5e9)
    assert (values_of(two), two.metadata.severity, two.metadata.timestamp) == ([1], 0, 1.6e9)


def test_property_updates_carry_the_properties():
    data = ChannelEnum(value=1, enum_strings=["a", "b"])
    rig, x = one(data)
    rig.ask(x.subscribe(data_type=ChannelType.CTRL_ENUM, mask=PROPERTY))
    data.enum_strings = ["closed", "open"]
    (update,) = rig.received()
    assert update.strings == ["open"]


# ---- types and counts ------------------------------------------------------------------------


def test_subscriptions_to_one_channel_may_differ_in_everything():
    data = ChannelDouble(value=[1.0, 2.0, 3.0], precision=1)
    rig, x = one(data)
    requests = [
        x.subscribe(), x.subscribe(data_type=5, data_count=2), x.subscribe(data_type=0, mask=1),
        x.subscribe(data_type=20, data_count=1, mask=PROPERTY),
    ]
    rig.ask(*requests)
    data.write([4, 5])
    got = {u.subscriptionid: values_of(u) for u in rig.received()}
    ids = [request.subscriptionid for request in requests]
    assert got == {ids[0]: [4.0, 5.0], ids[1]: [4, 5], ids[2]: ["4.0", "5.0"]}


def test_count_0_follows_the_length_and_n_stays_n():
    data = ChannelDouble(value=[1.0, 2.0], max_length=4)
    rig, x = one(data)
    rig.ask(x.subscribe(data_type=20), x.subscribe(data_type=20, data_count=3))
    data.write([])
    data.write([7])
    assert [values_of(u) for u in rig.received()] == [[], [0, 0, 0], [7], [7, 0, 0]]


def test_an_empty_array_of_a_plain_type_is_an_update_without_payload():
    data = ChannelDouble(value=[1.0, 2.0])
    rig, x = one(data)
    rig.ask(x.subscribe(subscriptionid=7))
    data.write([])
    (update,) = rig.received()
    assert type(update) is EventAddResponse and update.fields == (1, 0, 6, 0, 1, 7)


def test_a_value_that_cannot_be_converted_is_an_update_that_says_so():
    data = ChannelString(value="5")
    rig, x = one(data)
    assert [values_of(u) for u in rig.ask(x.subscribe(data_type=6, data_count=1))] == [[5.0]]
    data.write("five")
    data.write("6")
    bad, good = rig.received()
    assert (bad.status, bytes(bad.payload)) == (CAStatus.ECA_GETFAIL, bytes(8))
    assert values_of(good) == [6.0]


@pytest.mark.parametrize(
    "options, limit, status",
    [
        ({"max_payload": 4000}, 500, CAStatus.ECA_TOLARGE),
        ({"max_payload": 70_000}, 8750, CAStatus.ECA_TOLARGE),
        ({"version": 8}, 8191, CAStatus.ECA_16KARRAYCLIENT),
    ],
)
def test_an_update_that_is_too_large_is_an_error_and_the_subscription_goes_on(
    options, limit, status
):
    data = ChannelDouble(value=[1.0], max_length=10_000)
    rig, x = one(data, **options)
    rig.raw(event_add(x, count=0))
    data.write([2.0] * (limit + 1))
    (error,) = rig.taken()
    assert type(error) is ErrorResponse
    assert (error.cid, error.status) == (x.cid, status)
    assert error.original_fields == (1, 16, 6, 0, x.sid, 5)
    data.write([3.0] * limit)
    (update,) = rig.taken()
    assert update.data_count == limit and update.data[0] == 3.0


# ---- refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data_type, count, mask, status",
    [
        (39, 1, 1, CAStatus.ECA_BADTYPE),
        (0xFFFF, 1, 1, CAStatus.ECA_BADTYPE),
        (6, 1, 0, CAStatus.ECA_BADMASK),
        (6, 1, 0x100, CAStatus.ECA_BADMASK),
        (6, 2, 1, CAStatus.ECA_BADCOUNT),
        (6, 0xFFFFFFFF, 1, CAStatus.ECA_BADCOUNT),
    ],
)
def test_what_is_impossible_is_refused_and_the_circuit_goes_on(data_type, count, mask, status):
    data = ChannelDouble()
    rig, x = one(data)
    error, echo = rig.raw(event_add(x, data_type, count, 5, mask), EchoRequest())
    assert type(error) is ErrorResponse and echo == EchoResponse()
    assert (error.cid, error.status) == (x.cid, status)
    assert error.original_fields == (1, 16, data_type, count, x.sid, 5)
    data.write(1)
    assert rig.taken() == []
    assert type(rig.raw(event_add(x, subid=5))[0]) is EventAddResponse, "the id is free"


def test_an_unknown_sid_is_refused():
    rig, x = one(ChannelDouble())
    request = EventAddRequest(6, 1, x.sid + 1, 5, 0, 0, 0, 1)
    (error,) = rig.raw(request)
    assert (error.cid, error.status) == (0xFFFFFFFF, CAStatus.ECA_INTERNAL)
    assert error.original_fields == request.fields


def test_an_id_in_use_is_refused_and_the_subscription_that_has_it_goes_on():
    data = ChannelDouble()
    rig, x = one(data)
    rig.raw(event_add(x))
    (error,) = rig.raw(event_add(x, data_type=20))
    assert error.status is CAStatus.ECA_INTERNAL
    data.write(1)
    (update,) = rig.taken()
    assert update.data_type == 6


# ---- cancelling ------------------------------------------------------------------------------


def test_a_cancel_is_confirmed_with_type_and_count_of_the_subscription():
    data = ChannelDouble(value=[1.0, 2.0])
    rig, x = one(data)
    rig.ask(x.subscribe(data_type=20, data_count=2, subscriptionid=7))
    (reply,) = rig.raw(pack_header((2, 0, 0, 0, x.sid, 7)))
    assert reply.fields == (1, 0, 20, 2, x.sid, 7)
    data.write([3, 4])
    assert rig.taken() == [] and not data._subscribers


def test_updates_that_wait_do_not_follow_a_cancel():
    data = ChannelDouble()
    rig, x = one(data)
    request = x.subscribe()
    rig.ask(request)
    data.write(1)
    (reply,) = rig.ask(x.unsubscribe(request.subscriptionid))
    assert type(reply) is EventCancelResponse


def test_a_cancel_leaves_other_subscriptions():
    data = ChannelDouble()
    rig, x = one(data)
    first, second = x.subscribe(), x.subscribe()
    rig.ask(first, second)
    rig.ask(x.unsubscribe(first.subscriptionid))
    data.write(1)
    (update,) = rig.received()
    assert update.subscriptionid == second.subscriptionid


def test_an_unknown_subscription_cannot_be_cancelled_and_the_circuit_goes_on():
    rig, x = one(ChannelDouble())
    request = x.subscribe()
    rig.ask(request)
    rig.ask(x.unsubscribe(request.subscriptionid))
    for number in (request.subscriptionid, 99):
        cancel = EventCancelRequest(6, x.sid, number, 1)
        error, echo = rig.raw(cancel, EchoRequest())
        assert (error.cid, error.status) == (x.cid, CAStatus.ECA_BADMONID)
        assert error.original_fields == cancel.fields and echo == EchoResponse()


def test_a_subscription_cannot_be_cancelled_through_another_channel():
    data = ChannelDouble()
    rig = Rig({"x": data})
    x, other = rig.connect("x"), rig.connect("x")
    request = x.subscribe()
    rig.ask(request)
    for sid, status in ((other.sid, CAStatus.ECA_BADMONID), (99, CAStatus.ECA_INTERNAL)):
        (error,) = rig.raw(EventCancelRequest(6, sid, request.subscriptionid, 1))
        assert error.status is status
    data.write(1)
    assert updates(rig) == [1.0]


def test_an_id_may_be_used_again_after_the_confirmation():
    data = ChannelDouble()
    rig, x = one(data)
    for _ in range(3):
        assert type(rig.ask(x.subscribe(subscriptionid=5))[0]) is EventAddResponse
        assert type(rig.ask(x.unsubscribe(5))[0]) is EventCancelResponse


def test_a_cancel_while_the_getter_runs():
    data = ChannelInteger(value=-1)
    data.getter = lambda instance: 5
    rig, x = one(data, run_jobs=False)
    request = x.subscribe()
    rig.send(request)
    rig.send(x.unsubscribe(request.subscriptionid))
    rig.run()
    assert [type(reply) for reply in rig.received()] == [EventCancelResponse]
    assert not data._subscribers


# ---- names with modifiers --------------------------------------------------------------------


def test_filters_of_the_name():
    data = ChannelDouble(value=0.0)
    rig = Rig({"x": data})
    rig.ask(rig.connect('x.{"dbnd":{"abs":1}}').subscribe())
    for value in (0.5, 1.0, 1.5, 2.0, 3.0):
        data.write(value)
    data.write(3.1, severity=1)
    assert updates(rig) == [1.5, 3.0, 3.1]


def test_a_filter_lets_the_first_update_pass_and_the_one_that_other_rights_cause():
    data = ChannelDouble(value=0.0)
    rig = Rig({"x": data})
    rig.ask(rig.connect('x.{"dec":{"n":100}}').subscribe())
    data.write(1)
    assert updates(rig) == []
    data.access_rights = AccessRights.READ
    assert [values_of(u) for u in rig.received()[1:]] == [[1.0]]


def test_sections_and_long_strings():
    array, text = ChannelDouble(value=[0.0, 1.0, 2.0]), ChannelString(value="a")
    rig = Rig({"a": array, "t": text})
    first = rig.ask(rig.connect("a.[1:2]").subscribe(), rig.connect("t.$").subscribe())
    assert [values_of(u) for u in first] == [[1.0, 2.0], [97, 0]]
    array.write([5, 6, 7])
    text.write("bc")
    assert updates(rig) == [[6.0, 7.0], [98, 99, 0]]


def test_two_subscriptions_through_one_name_have_filters_of_their_own():
    data = ChannelDouble(value=0.0)
    rig = Rig({"x": data})
    channel = rig.connect('x.{"dec":{"n":2}}')
    rig.ask(channel.subscribe())
    data.write(1)
    rig.ask(channel.subscribe())
    data.write(2)
    data.write(3)
    assert updates(rig) == [2.0, 3.0]


# ---- EVENTS_OFF and EVENTS_ON ----------------------------------------------------------------


def test_held_updates_come_when_they_are_let_go_the_newest_of_each():
    a, b = ChannelDouble(value=14), ChannelDouble(value=5)
    rig = Rig({"a": a, "b": b})
    one_, two = rig.connect("a"), rig.connect("b")
    rig.ask(one_.subscribe(), two.subscribe())
    rig.ask(EventsOffRequest())
    for value in range(100, 105):
        a.write(value)
    b.write(1)
    b.write(2)
    assert updates(rig) == []
    assert values_of(rig.ask(one_.read())[0]) == [104.0], "replies are not held"
    assert rig.ask(two.subscribe()) == [], "the first update is"
    assert [values_of(u) for u in rig.ask(EventsOnRequest())] == [[104.0], [2.0], [2.0]]
    a.write(0)
    assert updates(rig) == [0.0]


def test_updates_that_waited_already_are_merged_by_the_hold():
    data = ChannelDouble()
    rig, x = one(data)
    rig.ask(x.subscribe())
    data.write(1)
    data.write(2)
    assert rig.ask(EventsOffRequest()) == []
    assert [values_of(u) for u in rig.ask(EventsOnRequest())] == [[2.0]]


def test_holding_and_letting_go_may_be_repeated():
    data = ChannelDouble()
    rig, x = one(data)
    rig.ask(x.subscribe())
    rig.ask(EventsOffRequest(), EventsOffRequest())
    data.write(1)
    assert [values_of(u) for u in rig.ask(EventsOnRequest(), EventsOnRequest())] == [[1.0]]
    assert rig.ask(EventsOffRequest(), EventsOnRequest()) == []


# ---- a slow reader ---------------------------------------------------------------------------


def test_a_client_that_does_not_read_gets_the_last_value_in_bounded_memory():
    data, other = ChannelInteger(), ChannelInteger()
    rig = Rig({"x": data, "y": other})
    rig.ask(rig.connect("x").subscribe(), rig.connect("y").subscribe())
    other.write(1)
    for value in range(1, 10 * MAX_UPDATES):
        data.write(value)
    other.write(2)
    received = [(u.subscriptionid, values_of(u)[0]) for u in rig.received()]
    assert len(received) <= MAX_UPDATES + 1
    mine = [value for number, value in received if number == 1]
    assert mine == sorted(mine) and mine[-1] == 10 * MAX_UPDATES - 1
    assert [value for number, value in received if number == 2] == [2]


def test_large_values_count_by_their_bytes():
    data = ChannelDouble(value=numpy.zeros(100_000))
    rig, x = one(data)
    rig.ask(x.subscribe())
    for value in range(50):
        data.write(numpy.full(100_000, float(value)))
    received = [u.data[0] for u in rig.received()]
    assert len(received) * 800_000 <= MAX_UPDATE_BYTES + 800_000
    assert received == sorted(received) and received[-1] == 49.0


def test_a_long_text_does_not_count_for_more_than_it_is():
    data = ChannelChar(value="x" * 10_000)
    rig, x = one(data)
    rig.ask(x.subscribe())
    for letter in "abcdefghijklmnopqrstuvwxyz":
        data.write(letter * 10_000)
    assert "".join(chr(u.data[0]) for u in rig.received()) == "abcdefghijklmnopqrstuvwxyz"


def test_many_threads_write_and_the_last_value_comes_last():
    data = [ChannelInteger() for _ in range(4)]
    rig = Rig({f"x{i}": channel for i, channel in enumerate(data)})
    ids = [rig.ask(rig.connect(f"x{i}").subscribe())[0].subscriptionid for i in range(4)]

    def write(channel):
        for value in range(1, 1001):
            channel.write(value)

    threads = [threading.Thread(target=write, args=(channel,)) for channel in data]
    for thread in threads:
        thread.start()
    seen = {number: [0] for number in ids}
    while any(thread.is_alive() for thread in threads) or not rig.session.sleep():
        for update in rig.received(limit=5000):
            seen[update.subscriptionid].append(values_of(update)[0])
    for thread in threads:
        thread.join()
    for values in seen.values():
        assert values == sorted(set(values)) and values[-1] == 1000


def test_an_alarm_that_is_cleared_before_the_client_reads_is_two_updates():
    data = ChannelDouble()
    rig, x = one(data)
    rig.ask(x.subscribe(data_type=ChannelType.STS_DOUBLE, mask=ALARM))
    data.write_metadata(alarm=LOST_ALARM)
    data.write_metadata(alarm=ChannelAlarm())
    assert [u.metadata.severity for u in rig.received()] == [3, 0]


def test_a_write_by_a_subscriber_is_answered_and_told():
    rig, x = one(ChannelDouble())
    rig.ask(x.subscribe())
    reply, update = rig.ask(x.write(5.0, notify=True))
    assert type(reply) is WriteNotifyResponse and values_of(update) == [5.0]
