"""The channel classes: what each accepts, which changes are events, alarms, properties."""
from __future__ import annotations

import array
import math

import numpy
import pytest

import caproto
from caproto import (
    AlarmSeverity,
    AlarmStatus,
    CaprotoTypeError,
    CaprotoValueError,
    ChannelType,
    select_backend,
)
from caproto._server.data import ALARM, LOG, VALUE
from caproto.server import (
    ChannelAlarm,
    ChannelByte,
    ChannelChar,
    ChannelDouble,
    ChannelEnum,
    ChannelFloat,
    ChannelInteger,
    ChannelNumeric,
    ChannelShort,
    ChannelString,
)
from tests.server.test_data import listen, received

NAN, INF = math.nan, math.inf
INTEGERS = {
    ChannelShort: (-(2**15), 2**15 - 1),
    ChannelInteger: (-(2**31), 2**31 - 1),
    ChannelByte: (0, 255),
    ChannelEnum: (0, 65535),
}
DTYPES = {
    ChannelShort: "int16", ChannelInteger: "int32", ChannelByte: "uint8", ChannelEnum: "uint16",
    ChannelFloat: "float32", ChannelDouble: "float64",
}


@pytest.fixture
def without_numpy():
    select_backend("array")
    yield
    select_backend("numpy")


def test_each_class_has_its_type():
    assert {
        kind: kind.data_type
        for kind in (
            ChannelString, ChannelShort, ChannelFloat, ChannelEnum, ChannelByte, ChannelInteger,
            ChannelDouble, ChannelChar,
        )
    } == {
        ChannelString: ChannelType.STRING,
        ChannelShort: ChannelType.INT,
        ChannelFloat: ChannelType.FLOAT,
        ChannelEnum: ChannelType.ENUM,
        ChannelByte: ChannelType.CHAR,
        ChannelInteger: ChannelType.LONG,
        ChannelDouble: ChannelType.DOUBLE,
        ChannelChar: ChannelType.CHAR,
    }


@pytest.mark.parametrize("kind", [*DTYPES, ChannelString, ChannelChar])
def test_each_class_has_a_first_value(kind):
    assert kind().value in (0, "")


# ---- integers --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", INTEGERS)
def test_an_integer_channel_takes_its_range_and_nothing_else(kind):
    lowest, highest = INTEGERS[kind]
    for value in (lowest, highest):
        assert kind(value=value).value == value
        assert list(kind(value=[value, value]).value) == [value, value]
        assert list(kind(value=numpy.array([value], "i8"), max_length=2).value) == [value]
    channel = kind(max_length=2)
    for value in (lowest - 1, highest + 1):
        for form in (value, [0, value], numpy.array([0, value], "i8"), numpy.array([value], "f8")):
            with pytest.raises(CaprotoValueError):
                channel.write(form)


@pytest.mark.parametrize("kind", INTEGERS)
def test_fractions_are_cut_off(kind):
    assert kind(value=2.9).value == 2
    assert list(kind(value=numpy.array([2.9, 0.5])).value) == [2, 0]


@pytest.mark.parametrize("kind", [ChannelShort, ChannelInteger, ChannelByte])
@pytest.mark.parametrize("value", ["12", b"12", "abc", None, NAN, INF, {}, 1j], ids=repr)
def test_an_integer_channel_takes_numbers_only(kind, value):
    channel = kind(value=[1], max_length=3)
    if kind is ChannelByte and isinstance(value, bytes):
        channel.write(value)
        assert list(channel.value) == [49, 50]
        return
    with pytest.raises((CaprotoTypeError, CaprotoValueError)):
        channel.write([value])


@pytest.mark.parametrize("kind", DTYPES)
def test_an_array_has_the_type_of_the_channel_and_cannot_be_changed(kind):
    for source in ([0, 1], (0, 1), range(2), numpy.array([0, 1], DTYPES[kind]),
                   numpy.array([0, 1], ">i4"), array.array("d", [0, 1]), numpy.arange(4)[::3] // 3):
        channel = kind(value=source)
        value = channel.value
        assert isinstance(value, numpy.ndarray) and value.dtype == DTYPES[kind]
        assert value.tolist() == [0, 1]
        with pytest.raises(ValueError, match="read-only"):
            value[0] = 7
        assert channel.value.tolist() == [0, 1]


class Subclass(numpy.ndarray):
    """As numpy.memmap and many others are."""


@pytest.mark.parametrize("view", [numpy.asarray, lambda a: a.view(Subclass), lambda a: a[:]])
@pytest.mark.parametrize("kind", [ChannelDouble, ChannelInteger])
def test_the_writer_keeps_its_array_and_the_channel_its_value(kind, view):
    data = view(numpy.array([1, 2, 3], DTYPES[kind]))
    channel = kind(value=data)
    data[0] = 100
    assert channel.value.tolist() == [1, 2, 3]
    channel.write(data)
    data[1] = 200
    assert channel.value.tolist() == [100, 2, 3]
    assert data.flags.writeable


@pytest.mark.parametrize(
    "bad", [numpy.zeros((2, 2)), numpy.array(["a"]), numpy.array([1j]), numpy.array([None])]
)
def test_arrays_of_other_shapes_and_kinds_are_refused(bad):
    channel = ChannelDouble(max_length=10)
    with pytest.raises(CaprotoTypeError, match="one-dimensional arrays of numbers"):
        channel.write(bad)


def test_an_array_with_nan_is_no_array_of_integers():
    with pytest.raises(CaprotoValueError):
        ChannelInteger(value=numpy.array([1.0, NAN]))


def test_scalars_of_numpy_are_taken():
    channel = ChannelDouble()
    for value in (numpy.float32(1.5), numpy.array(1.5), numpy.array([1.5])):
        channel.write(0)
        channel.write(value)
        assert channel.value == 1.5 and type(channel.value) is float


def test_arrays_without_numpy(without_numpy):
    channel = ChannelDouble(value=[1.0, 2.0])
    assert isinstance(channel.value, array.array) and list(channel.value) == [1.0, 2.0]
    channel.put(received(channel, [3, 4], ChannelType.LONG))
    assert list(channel.value) == [3.0, 4.0]
    text = ChannelChar(value="abc")
    text.put(received(text, b"xy\0", ChannelType.CHAR))
    assert text.value == "xy"
    payload, count = channel.snapshot.encode(ChannelType.TIME_SHORT, 0)
    assert count == 2 and payload[14:18] == bytes([0, 3, 0, 4])


# ---- floats ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ChannelFloat, ChannelDouble])
def test_a_float_channel_takes_numbers_nan_and_infinities(kind):
    channel = kind(value=1)
    assert channel.value == 1.0 and type(channel.value) is float
    channel.write(-INF)
    assert channel.value == -INF
    channel.write(NAN)
    assert math.isnan(channel.value)
    for bad in ("1.5", b"1.5", {}, None, 1j):
        with pytest.raises(CaprotoTypeError, match="takes numbers"):
            channel.write([bad])


def test_single_precision_is_kept_as_it_will_be_read():
    assert ChannelFloat(value=0.1).value == numpy.float32(0.1)
    assert ChannelFloat(value=1e300).value == numpy.finfo("f4").max
    assert ChannelFloat(value=numpy.array([0.1, 1e300])).value.tolist() == [
        numpy.float32(0.1), numpy.finfo("f4").max
    ]


@pytest.mark.parametrize("precision", [-1, 0x8000])
def test_precision_is_a_small_number(precision):
    with pytest.raises(CaprotoValueError, match="precision"):
        ChannelDouble(precision=precision)
    with pytest.raises(TypeError):
        ChannelDouble(precision=1.5)


def test_units_are_text():
    with pytest.raises(CaprotoTypeError):
        ChannelDouble(units=b"mm")


def test_the_defaults_of_the_limits_mean_undefined():
    channel = ChannelInteger()
    for name in ("upper_alarm_limit", "upper_warning_limit", "lower_warning_limit",
                 "lower_alarm_limit"):
        assert math.isnan(getattr(channel, name))
    assert channel.upper_disp_limit == channel.lower_ctrl_limit == 0


# ---- dead bands ------------------------------------------------------------------------------


def test_events_need_a_change_of_more_than_the_tolerance_since_the_last_one():
    channel = ChannelDouble(value=0.0, value_atol=1.0, log_atol=2.0)
    listener = listen(channel)
    for value in (0.5, 1.0, 1.5, 2.0, 2.5, 2.0):
        channel.write(value)
    assert list(zip(listener.values, listener.events)) == [(1.5, VALUE), (2.5, LOG)]
    assert channel.value == 2.0


def test_a_small_step_at_a_time_is_an_event_in_the_end():
    channel = ChannelDouble(value=0.0, value_atol=1.0)
    listener = listen(channel, VALUE)
    for step in range(1, 30):
        channel.write(step / 10)
    assert listener.values == [1.1, 2.2]


def test_with_a_negative_tolerance_every_write_is_an_event():
    channel = ChannelInteger(value=1, value_atol=-1)
    listener = listen(channel, VALUE)
    channel.write(1)
    channel.write(1)
    assert listener.values == [1, 1]


def test_nan_and_infinity_are_events_when_they_come_and_when_they_go():
    channel = ChannelDouble(value=0.0)
    listener = listen(channel, VALUE)
    for value in (NAN, NAN, INF, INF, -INF, 0.0):
        channel.write(value)
    assert [str(value) for value in listener.values] == ["nan", "inf", "-inf", "0.0"]


def test_nan_is_not_swallowed_by_a_dead_band():
    channel = ChannelDouble(value=0.0, value_atol=1.0)
    listener = listen(channel, VALUE)
    for value in (NAN, 0.5):
        channel.write(value)
    assert [str(value) for value in listener.values] == ["nan", "0.5"]


def test_a_dead_band_can_be_changed():
    channel = ChannelDouble(value=0.0, value_atol=10)
    listener = listen(channel, VALUE)
    channel.write(5, value_atol=1)
    assert listener.values == [5]


# ---- alarms by limits ------------------------------------------------------------------------

LIMITS = {
    "upper_alarm_limit": 8, "upper_warning_limit": 7, "lower_warning_limit": -7,
    "lower_alarm_limit": -8,
}


@pytest.mark.parametrize("kind", [ChannelShort, ChannelInteger, ChannelFloat, ChannelDouble])
def test_a_value_beyond_a_limit_gets_the_alarm_that_belongs_to_it(kind):
    channel = kind(**LIMITS)
    seen = []
    for value in (0, 7, 8, 9, 7, 6, -7, -8, 0):
        channel.write(value)
        seen.append((channel.alarm.status.name, int(channel.alarm.severity)))
    assert seen == [
        ("NO_ALARM", 0), ("HIGH", 1), ("HIHI", 2), ("HIHI", 2), ("HIGH", 1), ("NO_ALARM", 0),
        ("LOW", 1), ("LOLO", 2), ("NO_ALARM", 0),
    ]
    assert channel.alarm.severity_to_acknowledge is AlarmSeverity.MAJOR_ALARM


def test_the_alarm_comes_with_the_value():
    channel = ChannelInteger(**LIMITS)
    listener = listen(channel)
    channel.write(9)
    ((snapshot, events),) = listener.posted
    assert events == VALUE | LOG | ALARM
    assert snapshot.elements[0] == 9 and snapshot.alarm.status is AlarmStatus.HIHI


def test_an_alarm_that_is_given_counts_more_than_the_limits():
    channel = ChannelInteger(**LIMITS)
    channel.write(9, alarm=ChannelAlarm(AlarmStatus.COMM, AlarmSeverity.INVALID_ALARM))
    assert channel.alarm.status is AlarmStatus.COMM
    channel.write(9, severity=AlarmSeverity.NO_ALARM)
    assert channel.alarm.severity is AlarmSeverity.NO_ALARM


def test_a_new_limit_takes_effect_at_once():
    channel = ChannelInteger(value=5)
    channel.upper_alarm_limit = 5
    assert channel.alarm.status is AlarmStatus.HIHI


def test_without_limits_the_alarm_is_left_alone():
    channel = ChannelInteger(alarm=ChannelAlarm(AlarmStatus.COMM, AlarmSeverity.MAJOR_ALARM))
    channel.write(5)
    assert channel.alarm.status is AlarmStatus.COMM


def test_arrays_have_no_limits():
    channel = ChannelInteger(value=[0, 0], **LIMITS)
    channel.write([9, 9])
    assert channel.alarm.severity is AlarmSeverity.NO_ALARM


# ---- control limits --------------------------------------------------------------------------


def test_what_clients_write_is_cut_to_the_control_limits():
    channel = ChannelDouble(upper_ctrl_limit=10, lower_ctrl_limit=-1.5)
    for written, kept in ((5, 5), (11, 10), (-2, -1.5), (INF, 10)):
        channel.put(received(channel, written, ChannelType.DOUBLE))
        assert channel.value == kept
    channel.write(100)
    assert channel.value == 100, "the server itself knows what it does"


@pytest.mark.parametrize("limits", [{}, {"upper_ctrl_limit": -1}, {"upper_ctrl_limit": NAN}])
def test_control_limits_that_make_no_sense_cut_nothing(limits):
    channel = ChannelInteger(**limits)
    channel.put(received(channel, 50, ChannelType.LONG))
    assert channel.value == 50


def test_arrays_are_not_cut():
    channel = ChannelInteger(value=[0, 0], upper_ctrl_limit=10, lower_ctrl_limit=0)
    channel.put(received(channel, [50, -50], ChannelType.LONG))
    assert channel.value.tolist() == [50, -50]


# ---- bytes -----------------------------------------------------------------------------------


def test_bytes_are_an_array_of_bytes():
    assert ChannelByte(value=b"AB").value.tolist() == [65, 66]
    channel = ChannelByte(value=b"", max_length=4)
    channel.write(bytearray(b"\xff\x00"))
    assert channel.value.tolist() == [255, 0]


# ---- enums -----------------------------------------------------------------------------------


def test_an_enum_may_be_written_by_name_or_number():
    channel = ChannelEnum(value="On", enum_strings=["Off", "On"])
    assert (channel.value, channel.text) == (1, "On")
    channel.write(0)
    assert (channel.value, channel.text) == (0, "Off")
    channel.write("On")
    assert channel.value == 1
    assert channel.enum_strings == ("Off", "On")
    with pytest.raises(CaprotoValueError, match="no state 'on'.*Off.*On"):
        channel.write("on")


def test_a_state_without_a_name_is_its_number():
    channel = ChannelEnum(value=17, enum_strings=["Off", "On"])
    assert channel.text == "17"


def test_an_array_of_states():
    channel = ChannelEnum(value=["a", 1], enum_strings=["a", "b"])
    assert channel.value.tolist() == [0, 1]
    channel.write([])
    assert channel.text == ""


def test_names_of_states_have_limits_that_the_error_tells():
    assert ChannelEnum(enum_strings=["x" * 25] * 16).enum_strings[15] == "x" * 25
    with pytest.raises(CaprotoValueError, match="26 bytes long.*room for 25"):
        ChannelEnum(enum_strings=["x" * 26])
    with pytest.raises(CaprotoValueError, match="26 bytes"):
        ChannelEnum(enum_strings=["ä" * 13])
    with pytest.raises(CaprotoValueError, match="17 enum states; .*room for 16"):
        ChannelEnum(enum_strings=list("abcdefghijklmnopq"))
    with pytest.raises(CaprotoTypeError):
        ChannelEnum(enum_strings=[1, 2])


def test_new_names_take_effect_at_once():
    channel = ChannelEnum(value=1, enum_strings=["Off", "On"])
    channel.enum_strings = ["closed", "open"]
    assert channel.text == "open"
    channel.write("closed")
    channel.put(received(channel, "open", ChannelType.STRING))
    assert channel.value == 1


def test_a_value_may_be_given_by_a_name_that_comes_with_it():
    channel = ChannelEnum(value=0, enum_strings=["Off", "On"])
    channel.write("moving", enum_strings=["closed", "moving", "open"])
    assert (channel.value, channel.text) == (1, "moving")
    with pytest.raises(CaprotoValueError):
        channel.write("Off", enum_strings=["a", "b"])
    channel.write("open")
    assert channel.value == 2, "the names of the failed write are not in force"


# ---- strings ---------------------------------------------------------------------------------


def test_a_string_has_room_for_39_bytes():
    channel = ChannelString(value="x" * 39)
    assert channel.value == "x" * 39
    with pytest.raises(CaprotoValueError, match="40 bytes long.*39.*ChannelChar"):
        channel.write("x" * 40)
    with pytest.raises(CaprotoValueError):
        channel.write("ä" * 20)
    for bad in (5, 1.5, ["a", "b"]):
        with pytest.raises((CaprotoTypeError, CaprotoValueError)):
            channel.write(bad)


def test_a_string_may_be_given_as_bytes():
    channel = ChannelString(value=b"abc\0def")
    assert channel.value == "abc"
    channel.write(b"\xe4")
    assert caproto.ReadNotifyResponse(
        channel.snapshot.encode(0, 1)[0], 0, 1, 1, 0
    ).payload.rstrip(b"\0") == b"\xe4"


def test_an_array_of_strings():
    channel = ChannelString(value=["a", "b"], max_length=3)
    assert channel.value == ("a", "b")
    channel.write(["x", b"y", "z"])
    assert channel.value == ("x", "y", "z")


# ---- long text -------------------------------------------------------------------------------


def test_a_long_text():
    channel = ChannelChar(value="x" * 100)
    assert channel.value == "x" * 100
    assert channel.max_length == 101 and channel.length == 101
    channel.write("short")
    assert channel.value == "short" and channel.length == 6
    channel.write(b"bytes")
    assert channel.value == "bytes"


def test_a_long_text_has_room_for_at_least_a_string():
    channel = ChannelChar(value="a")
    assert channel.max_length == 40
    channel.write("x" * 39)
    with pytest.raises(CaprotoValueError, match="room for 40 bytes, not 41"):
        channel.write("x" * 40)


def test_the_room_of_a_long_text_can_be_chosen():
    channel = ChannelChar(value="ab", max_length=1000)
    channel.write("ä" * 499)
    assert channel.value == "ä" * 499 and channel.length == 999
    with pytest.raises(CaprotoValueError, match="max_length=3 is less than the 4 elements"):
        ChannelChar(value="abc", max_length=3)
    for bad in (5, ["a"], None):
        with pytest.raises(CaprotoTypeError, match="takes text"):
            channel._elements(bad)
    for first in (5, ["a"]):
        with pytest.raises(CaprotoTypeError, match="takes text"):
            ChannelChar(value=first)


def test_what_clients_write_to_a_long_text():
    channel = ChannelChar(value="", max_length=100)
    seen = []
    channel.putter = lambda instance, value: seen.append(value)
    channel.put(received(channel, b"from a client\0", ChannelType.CHAR))
    assert channel.value == "from a client" and channel.length == 14
    channel.put(received(channel, "a string", ChannelType.STRING))
    assert channel.value == "a string" and channel.length == 9
    channel.put(received(channel, b"without end", ChannelType.CHAR))
    assert channel.value == "without end"
    channel.put(received(channel, [72, 105], ChannelType.LONG))
    assert channel.value == "Hi"
    assert seen == ["from a client", "a string", "without end", "Hi"]
    channel.put(channel.from_client(b"", ChannelType.CHAR, 0))
    assert channel.value == ""


def test_the_same_long_text_again_is_an_event_like_any_array():
    channel = ChannelChar(value="a")
    listener = listen(channel)
    channel.write("a")
    assert listener.events == [VALUE | LOG]


def test_numeric_is_the_base_of_the_numbers():
    assert all(
        issubclass(kind, ChannelNumeric)
        for kind in (ChannelShort, ChannelInteger, ChannelByte, ChannelFloat, ChannelDouble)
    )
    assert not issubclass(ChannelEnum, ChannelNumeric)
