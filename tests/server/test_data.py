"""ChannelData: what all kinds of channels have in common."""
from __future__ import annotations

import datetime
import itertools
import threading

import numpy
import pytest

import caproto
from caproto import (
    AccessRights,
    AlarmSeverity,
    AlarmStatus,
    CaprotoTypeError,
    CaprotoValueError,
    ChannelType,
    SubscriptionType,
    TimeStamp,
)
from caproto._server.conversions import is_sequence
from caproto._server.data import ALARM, LOG, PROPERTY, VALUE
from caproto.server import (
    ChannelAlarm,
    ChannelData,
    ChannelDouble,
    ChannelEnum,
    ChannelInteger,
    ChannelNumeric,
    ChannelString,
)

MINOR, MAJOR = AlarmSeverity.MINOR_ALARM, AlarmSeverity.MAJOR_ALARM
ALL = VALUE | LOG | ALARM | PROPERTY


class Listener:
    """A subscriber that remembers."""

    def __init__(self, mask: int = ALL) -> None:
        self.mask = mask
        self.posted: list[tuple[object, int]] = []

    def post(self, snapshot, events: int) -> None:
        self.posted.append((snapshot, events))

    @property
    def events(self) -> list[int]:
        return [events for _, events in self.posted]

    @property
    def values(self) -> list:
        return [snapshot.elements[0] for snapshot, _ in self.posted]


def listen(channel: ChannelData, mask: int = ALL) -> Listener:
    listener = Listener(mask)
    assert channel.subscribe(listener) is channel.snapshot
    return listener


# ---- making one ------------------------------------------------------------------------------


def test_the_masks_are_those_of_the_protocol():
    assert (VALUE, LOG, ALARM, PROPERTY) == tuple(
        int(getattr(SubscriptionType, f"DBE_{n}")) for n in ("VALUE", "LOG", "ALARM", "PROPERTY")
    )


def test_a_scalar():
    channel = ChannelDouble(value=1.5)
    assert channel.value == 1.5 and channel.max_length == 1 and channel.length == 1
    assert channel.alarm == ChannelAlarm()
    assert channel.access_rights == AccessRights.READ | AccessRights.WRITE
    assert abs(channel.timestamp.timestamp - TimeStamp.now().timestamp) < 60


def test_a_sequence_makes_an_array():
    channel = ChannelDouble(value=[1.0, 2.0])
    assert channel.value.tolist() == [1.0, 2.0] and channel.max_length == channel.length == 2


def test_max_length_makes_room():
    channel = ChannelDouble(value=[1.0], max_length=3)
    assert channel.length == 1 and channel.max_length == 3
    channel.write([1, 2, 3])
    assert channel.length == 3
    channel.write([])
    assert channel.length == 0 and len(channel.value) == 0
    assert ChannelDouble(value=[], max_length=3).length == 0


def test_a_scalar_in_a_channel_with_room_is_an_array_of_one():
    channel = ChannelDouble(value=1.0, max_length=3)
    assert channel.value.tolist() == [1.0]
    channel.write(7)
    assert channel.value.tolist() == [7.0]


def test_the_first_value_must_fit():
    with pytest.raises(CaprotoValueError, match="max_length=1 .* 2 elements"):
        ChannelDouble(value=[1.0, 2.0], max_length=1)
    with pytest.raises(CaprotoValueError):
        ChannelDouble(max_length=0)


def test_first_alarm_time_and_rights_can_be_given():
    alarm = ChannelAlarm(AlarmStatus.COMM, MAJOR)
    channel = ChannelDouble(
        value=1, alarm=alarm, timestamp=TimeStamp(5, 6), access_rights=AccessRights.READ
    )
    assert channel.alarm is alarm
    assert channel.timestamp == TimeStamp(5, 6)
    assert channel.access_rights is AccessRights.READ


@pytest.mark.parametrize(
    "when",
    [
        1_600_000_000.5,
        (1_600_000_000 - 631152000, 500_000_000),
        datetime.datetime.fromtimestamp(1_600_000_000.5, datetime.timezone.utc),
        TimeStamp(1_600_000_000 - 631152000, 500_000_000),
    ],
    ids=["float", "tuple", "datetime", "TimeStamp"],
)
def test_a_time_stamp_may_have_any_form(when):
    assert ChannelDouble(timestamp=when).timestamp.timestamp == 1_600_000_000.5
    channel = ChannelDouble()
    channel.write(1, timestamp=when)
    assert channel.timestamp.timestamp == 1_600_000_000.5


@pytest.mark.parametrize("base", [ChannelData, ChannelNumeric])
def test_a_class_without_a_type_says_so(base):
    with pytest.raises(CaprotoTypeError, match=f"{base.__name__} has no data type; .*Double"):
        base(value=0)


def test_a_first_value_without_elements_needs_a_length():
    with pytest.raises(CaprotoValueError, match="has max_length=1; 0 elements do not fit"):
        ChannelDouble(value=[])
    assert len(ChannelDouble(value=[], max_length=3).value) == 0


def test_an_unknown_property_is_an_error_that_lists_the_known_ones():
    with pytest.raises(CaprotoTypeError, match="no property colour; it has .*units"):
        ChannelDouble(colour="red")
    channel = ChannelDouble()
    with pytest.raises(CaprotoTypeError, match="no property colour"):
        channel.write(1, colour="red")
    assert channel.value == 0


def test_repr_names_the_channel_its_value_and_its_alarm():
    channel = ChannelInteger(value=5)
    assert repr(channel) == "<ChannelInteger value=5>"
    channel.name = "x"
    channel.write(status=AlarmStatus.HIGH, severity=MINOR)
    assert repr(channel) == "<ChannelInteger x value=5 HIGH/MINOR_ALARM>"


# ---- changes ---------------------------------------------------------------------------------


def test_a_write_replaces_the_snapshot_as_a_whole():
    channel = ChannelDouble(value=1)
    before = channel.snapshot
    channel.write(2, timestamp=TimeStamp(7, 8), status=AlarmStatus.HIGH, severity=MINOR, units="m")
    after = channel.snapshot
    assert after.serial > before.serial
    assert before.elements[0] == 1 and before.properties["units"] == ""
    assert before.alarm.severity is AlarmSeverity.NO_ALARM
    assert after.elements[0] == 2 and after.stamp == TimeStamp(7, 8)
    assert (after.alarm.status, after.alarm.severity) == (AlarmStatus.HIGH, MINOR)
    assert channel.units == after.properties["units"] == "m"


def test_what_is_changed_together_is_told_together():
    channel = ChannelDouble(value=1)
    listener = listen(channel)
    channel.write(2, severity=MAJOR, units="m")
    assert listener.events == [VALUE | LOG | ALARM | PROPERTY]


def test_a_write_takes_the_time():
    channel = ChannelDouble(timestamp=1.0e9)
    channel.write(1)
    assert channel.timestamp.timestamp > 1.6e9


def test_what_cannot_be_written_changes_nothing():
    channel = ChannelDouble(value=1)
    listener = listen(channel)
    before = channel.snapshot
    for bad in (
        {"value": "abc"},
        {"value": [1, 2]},
        {"value": 2, "precision": -1},
        {"value": 2, "timestamp": "noon"},
    ):
        with pytest.raises((CaprotoValueError, CaprotoTypeError)):
            channel.write(**bad)
    assert channel.snapshot is before and not listener.posted


def test_a_scalar_takes_a_sequence_of_one():
    channel = ChannelDouble()
    channel.write([3])
    assert channel.value == 3
    for nothing in ([], [1, 2]):
        with pytest.raises(CaprotoValueError, match="max_length=1; . elements"):
            channel.write(nothing)


def test_an_array_does_not_take_more_than_its_room():
    channel = ChannelDouble(value=[0.0], max_length=2)
    channel.name = "wave"
    with pytest.raises(CaprotoValueError, match="ChannelDouble wave holds at most 2 .* not 3"):
        channel.write([1, 2, 3])


def test_parts_of_the_alarm_can_be_written():
    channel = ChannelDouble()
    channel.write_metadata(status=AlarmStatus.COMM, severity=MAJOR)
    channel.write_metadata(severity=MINOR)
    assert (channel.alarm.status, channel.alarm.severity) == (AlarmStatus.COMM, MINOR)
    channel.write_metadata(status=AlarmStatus.LINK)
    assert (channel.alarm.status, channel.alarm.severity) == (AlarmStatus.LINK, MINOR)
    assert channel.alarm.severity_to_acknowledge is MAJOR
    fresh = ChannelAlarm()
    channel.write(1, alarm=fresh)
    assert channel.alarm is fresh


def test_the_alarm_stays_if_nothing_is_said_of_it():
    channel = ChannelDouble()
    channel.write(1, severity=MAJOR)
    channel.write(2)
    assert channel.alarm.severity is MAJOR


# ---- events ----------------------------------------------------------------------------------


def test_a_subscriber_hears_only_of_events_in_its_mask():
    channel = ChannelDouble()
    ears = {mask: listen(channel, mask) for mask in (VALUE, LOG, ALARM, PROPERTY)}
    channel.write(1)
    channel.write(severity=MAJOR)
    channel.units = "m"
    assert {mask: len(ear.posted) for mask, ear in ears.items()} == dict.fromkeys(ears, 1)
    assert ears[ALARM].posted[0][0].alarm.severity is MAJOR


def test_the_same_value_again_is_no_event():
    channel = ChannelInteger(value=1)
    listener = listen(channel)
    channel.write(1)
    channel.write(2)
    channel.write(2)
    assert listener.values == [2]


def test_the_same_value_again_is_an_event_if_the_alarm_changes():
    channel = ChannelInteger(value=1)
    listener = listen(channel)
    channel.write(1, severity=MAJOR)
    channel.write(1, severity=MAJOR)
    assert listener.events == [ALARM]


@pytest.mark.parametrize("channel", [ChannelString(value="a"), ChannelEnum(value=0)])
def test_texts_and_states_are_told_when_they_change(channel):
    listener = listen(channel)
    new = "b" if isinstance(channel, ChannelString) else 1
    channel.write(new)
    channel.write(new)
    assert listener.values == [new] and listener.events == [VALUE | LOG]


def test_every_write_to_an_array_is_an_event():
    channel = ChannelDouble(value=[1.0, 2.0])
    listener = listen(channel)
    channel.write([1.0, 2.0])
    channel.write([])
    assert listener.events == [VALUE | LOG] * 2
    texts = ChannelString(value=["a", "b"])
    listener = listen(texts)
    texts.write(["a", "b"])
    assert listener.events == [VALUE | LOG]


def test_who_has_unsubscribed_hears_nothing():
    channel = ChannelDouble()
    one, two, three = listen(channel), listen(channel), listen(channel)
    channel.unsubscribe([one, three])
    channel.unsubscribe([one])
    channel.write(1)
    assert not one.posted and not three.posted and len(two.posted) == 1


def test_writers_in_many_threads_lose_nothing_and_serials_tell_the_order():
    channel = ChannelInteger()
    listener = listen(channel)
    start = threading.Barrier(4)

    def write(numbers) -> None:
        start.wait()
        for number in numbers:
            channel.write(number)

    threads = [
        threading.Thread(target=write, args=(range(first, first + 500),))
        for first in (1000, 2000, 3000, 4000)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(listener.posted) == 2000
    newest, _ = max(listener.posted, key=lambda post: post[0].serial)
    assert newest is channel.snapshot
    assert len({snapshot.serial for snapshot, _ in listener.posted}) == 2000


def test_subscribers_are_told_with_no_lock_held():
    channel = ChannelInteger()

    class Curious(Listener):
        def post(self, snapshot, events):
            super().post(snapshot, events)
            channel.unsubscribe([self])  # takes the lock

    curious = Curious()
    channel.subscribe(curious)
    channel.write(1)
    channel.write(2)
    assert curious.values == [1]


# ---- access ----------------------------------------------------------------------------------


class RightsListener:
    def __init__(self) -> None:
        self.calls = 0

    def rights_changed(self) -> None:
        self.calls += 1


def test_listeners_hear_of_other_rights():
    channel = ChannelDouble()
    one, two = RightsListener(), RightsListener()
    channel.listen(one)
    channel.listen(two)
    channel.access_rights = AccessRights.READ
    channel.unlisten(one)
    channel.access_rights = AccessRights.NO_ACCESS
    assert (one.calls, two.calls) == (1, 2)
    assert channel.check_access("host", "user") is AccessRights.NO_ACCESS


def test_rights_may_be_plain_numbers():
    assert ChannelDouble(access_rights=1).access_rights is AccessRights.READ
    channel = ChannelDouble()
    channel.access_rights = 0
    assert channel.access_rights is AccessRights.NO_ACCESS


# ---- what clients do -------------------------------------------------------------------------


def received(channel: ChannelData, value, data_type, count=None):
    """What *channel* makes of a write by a client."""
    request = caproto.WriteRequest(value, data_type, count, 0, 0)
    return channel.from_client(request.payload, data_type, request.data_count)


def test_a_getter_may_return_a_value():
    channel = ChannelDouble(value=1)
    channel.refresh()
    assert channel.value == 1
    seen = []
    channel.getter = lambda instance: seen.append(instance) or 5
    channel.refresh()
    assert channel.value == 5 and seen == [channel]


def test_a_getter_may_return_none_to_leave_what_is_there():
    channel = ChannelDouble(value=1)
    channel.getter = lambda instance: None
    before = channel.snapshot
    channel.refresh()
    assert channel.snapshot is before


def test_a_put_stores_the_value_and_takes_the_time():
    channel = ChannelDouble(value=1, timestamp=1.0e9)
    listener = listen(channel)
    channel.put(received(channel, 2.5, ChannelType.DOUBLE))
    assert channel.value == 2.5 and channel.timestamp.timestamp > 1.6e9
    assert listener.events == [VALUE | LOG]


def test_a_putter_is_called_before_the_value_is_stored():
    channel = ChannelDouble(value=1)
    calls = []
    channel.putter = lambda instance, value: calls.append((instance, value, instance.value))
    channel.put(received(channel, 2, ChannelType.LONG))
    assert calls == [(channel, 2.0, 1.0)] and channel.value == 2


def test_what_a_putter_returns_is_stored_instead():
    channel = ChannelDouble(value=1)
    channel.putter = lambda instance, value: value * 10
    channel.put(received(channel, 2, ChannelType.LONG))
    assert channel.value == 20


def test_a_putter_gets_arrays_as_arrays_and_texts_as_texts():
    values = []
    array = ChannelDouble(value=[0.0], max_length=3)
    array.putter = lambda instance, value: values.append(list(value))
    array.put(received(array, [1, 2], ChannelType.LONG))
    text = ChannelString()
    text.putter = lambda instance, value: values.append(value)
    text.put(received(text, "abc", ChannelType.STRING))
    assert values == [[1.0, 2.0], "abc"]


def test_what_a_putter_raises_is_raised_and_nothing_is_stored():
    channel = ChannelDouble(value=1)

    def putter(instance, value):
        raise RuntimeError("the motor is stuck")

    channel.putter = putter
    with pytest.raises(RuntimeError, match="stuck"):
        channel.put(received(channel, 2, ChannelType.LONG))
    assert channel.value == 1
    channel.putter = lambda instance, value: "nonsense"
    with pytest.raises(CaprotoTypeError):
        channel.put(received(channel, 2, ChannelType.LONG))
    assert channel.value == 1


def test_elements_beyond_the_room_are_dropped():
    array = ChannelDouble(value=[0.0], max_length=2)
    array.put(received(array, [1.0, 2.0, 3.0], ChannelType.DOUBLE))
    assert array.value.tolist() == [1.0, 2.0]
    scalar = ChannelDouble()
    scalar.put(received(scalar, [7.0, 8.0], ChannelType.DOUBLE))
    assert scalar.value == 7


def test_no_elements_empty_an_array_and_put_a_scalar_in_alarm():
    array = ChannelDouble(value=[1.0, 2.0])
    array.put(array.from_client(b"", ChannelType.DOUBLE, 0))
    assert array.length == 0
    for scalar in (ChannelDouble(value=5), ChannelString(value="five"), ChannelEnum(value=1)):
        value = scalar.value
        scalar.put(scalar.from_client(b"", scalar.data_type, 0))
        assert scalar.value == value
        assert scalar.alarm.status is AlarmStatus.LINK
        assert scalar.alarm.severity is AlarmSeverity.INVALID_ALARM


def test_a_client_may_write_any_type_to_any_channel():
    number, text, state = ChannelDouble(), ChannelString(), ChannelEnum(enum_strings=["a", "b"])
    for channel, value, data_type, expected in [
        (number, "2.5", ChannelType.STRING, 2.5),
        (number, 7, ChannelType.ENUM, 7.0),
        (text, 42, ChannelType.LONG, "42"),
        (text, "x" * 39, ChannelType.STRING, "x" * 39),
        (state, "b", ChannelType.STRING, 1),
        (state, "0", ChannelType.STRING, 0),
        (state, 1.0, ChannelType.DOUBLE, 1),
    ]:
        channel.put(received(channel, value, data_type))
        assert channel.value == expected


# As recorded from an IOC's stringout record, which has no precision.
@pytest.mark.parametrize(
    "value, text", [(1.5, "1.500000"), (1 / 3, "0.333333"), (1e-3, "0.001000")]
)
def test_a_float_written_to_a_text_has_six_digits(value, text):
    channel = ChannelString()
    channel.put(received(channel, value, ChannelType.DOUBLE))
    assert channel.value == text


def test_a_text_from_a_client_may_be_short_or_without_end():
    channel = ChannelString()
    for payload, text in [(b"ab\0garb.", "ab"), (b"x" * 40, "x" * 39), (bytes(8), "")]:
        channel.put(channel.from_client(payload, ChannelType.STRING, 1))
        assert channel.value == text


def test_an_array_of_texts_from_a_client():
    channel = ChannelString(value=[""], max_length=3)
    channel.put(received(channel, ["a", "bc"], ChannelType.STRING))
    assert list(channel.value) == ["a", "bc"]
    numbers = ChannelInteger(value=[0], max_length=3)
    numbers.put(received(numbers, ["1", "0x10"], ChannelType.STRING))
    assert numbers.value.tolist() == [1, 16]


def test_what_a_client_writes_may_be_impossible():
    channel = ChannelDouble()
    with pytest.raises(CaprotoValueError):
        received(channel, "abc", ChannelType.STRING)


def test_acknowledging_alarms():
    channel = ChannelDouble(timestamp=TimeStamp(5, 6))
    channel.write(severity=MAJOR, timestamp=TimeStamp(5, 6))
    listener = listen(channel)
    channel.acknowledge(ChannelType.PUT_ACKS, MINOR)
    assert channel.alarm.severity_to_acknowledge is MAJOR
    channel.acknowledge(ChannelType.PUT_ACKS, MAJOR)
    assert channel.alarm.severity_to_acknowledge is AlarmSeverity.NO_ALARM
    assert channel.alarm.severity is MAJOR
    assert listener.events == [ALARM]
    assert channel.timestamp == TimeStamp(5, 6), "the value is as old as before"


# As recorded from an IOC: a MAJOR alarm has become MINOR, then transients need no acknowledgement.
def test_transient_alarms_need_no_acknowledgement_from_then_on():
    channel = ChannelDouble()
    channel.write(severity=MAJOR)
    channel.write(severity=MINOR)
    channel.acknowledge(ChannelType.PUT_ACKT, 0)
    assert not channel.alarm.must_acknowledge_transient
    assert channel.alarm.severity_to_acknowledge is MINOR
    channel.write(severity=0)
    assert channel.alarm.severity_to_acknowledge is AlarmSeverity.NO_ALARM
    channel.acknowledge(ChannelType.PUT_ACKT, 1)
    assert channel.alarm.must_acknowledge_transient


# ---- time ------------------------------------------------------------------------------------


def test_a_clock_of_its_own_gives_the_time_of_all_that_comes_without_one():
    moments = (TimeStamp(seconds, 0) for seconds in itertools.count(1))
    channel = ChannelDouble(value=1.0, clock=lambda: next(moments))
    assert channel.timestamp == TimeStamp(1, 0)
    channel.write(2.0)
    assert channel.timestamp == TimeStamp(2, 0)
    channel.write(3.0, timestamp=TimeStamp(77, 0))
    assert channel.timestamp == TimeStamp(77, 0)
    channel.put((4.0,))
    assert channel.timestamp == TimeStamp(3, 0)


# ---- sequences -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [[], (1,), numpy.zeros(2), bytearray(b"a"), range(3)])
def test_arrays(value):
    assert is_sequence(value)


@pytest.mark.parametrize("value", [1, 1.5, "text", b"bytes", numpy.float64(1), numpy.array(1.0)])
def test_no_arrays(value):
    assert not is_sequence(value)
