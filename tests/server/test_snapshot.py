"""Snapshots: alarms, and a value as each of the data types."""
from __future__ import annotations

import array
import math

import numpy
import pytest

from caproto import AlarmSeverity, AlarmStatus, CaprotoError, CAStatus, ChannelType, TimeStamp
from caproto._protocol.dbr import LAYOUTS
from caproto._protocol.payload import metadata_of, payload_size, strings_of
from caproto._server.snapshot import ChannelAlarm, Refused, Snapshot

STRING, SHORT, FLOAT, ENUM, CHAR, LONG, DOUBLE = map(ChannelType, range(7))
STAMP = TimeStamp(1_000_000_000, 123_456_789)
NO, MINOR, MAJOR, INVALID = AlarmSeverity
LIMITS = {
    "upper_disp_limit": 100.0,
    "lower_disp_limit": -10.0,
    "upper_alarm_limit": 80.0,
    "upper_warning_limit": 70.0,
    "lower_warning_limit": -7.0,
    "lower_alarm_limit": -8.9,
    "upper_ctrl_limit": 90.0,
    "lower_ctrl_limit": -9.0,
}
PROPERTIES = {"reported_record_type": "ai", "precision": 3, "units": "millimetres", **LIMITS}


def snapshot(native=DOUBLE, elements=(3.25,), alarm=None, properties=PROPERTIES, **options):
    return Snapshot(native, elements, alarm or ChannelAlarm(), STAMP, properties, 5, **options)


def elements_of(payload, data_type: int, count: int) -> list:
    """What stands in *payload*, by the layout of the protocol, not by our decoder."""
    layout = LAYOUTS[data_type]
    dtype = numpy.dtype(layout.dtype).newbyteorder(">")
    return numpy.frombuffer(payload, dtype, count, layout.value_offset).tolist()


# ---- alarms ----------------------------------------------------------------------------------


def test_no_alarm_by_default():
    alarm = ChannelAlarm()
    assert (alarm.status, alarm.severity) == (AlarmStatus.NO_ALARM, NO)
    assert alarm.must_acknowledge_transient and alarm.severity_to_acknowledge is NO


def test_an_alarm_is_to_be_acknowledged():
    alarm = ChannelAlarm().raised(AlarmStatus.HIHI, MAJOR)
    assert (alarm.status, alarm.severity) == (AlarmStatus.HIHI, MAJOR)
    assert alarm.severity_to_acknowledge is MAJOR


def test_the_highest_severity_is_to_be_acknowledged_after_it_has_gone():
    alarm = ChannelAlarm().raised(AlarmStatus.HIHI, MAJOR).raised(AlarmStatus.HIGH, MINOR)
    assert alarm.severity is MINOR and alarm.severity_to_acknowledge is MAJOR
    alarm = alarm.raised(0, 0)
    assert alarm.severity is NO and alarm.severity_to_acknowledge is MAJOR


def test_transient_alarms_need_not_be_acknowledged_if_they_are_told_so():
    alarm = ChannelAlarm(must_acknowledge_transient=False).raised(AlarmStatus.HIHI, MAJOR)
    assert alarm.raised(0, 0).severity_to_acknowledge is NO


def test_an_acknowledgement_counts_up_to_its_severity():
    alarm = ChannelAlarm().raised(AlarmStatus.HIHI, MAJOR)
    assert alarm.acknowledged(MINOR) is alarm
    assert alarm.acknowledged(MAJOR).severity_to_acknowledge is NO
    assert alarm.acknowledged(INVALID).severity is MAJOR, "it is still there"


def test_the_same_alarm_again_changes_nothing():
    alarm = ChannelAlarm(AlarmStatus.HIGH, MINOR)
    assert alarm.raised(AlarmStatus.HIGH, MINOR) is alarm


# ---- refusals --------------------------------------------------------------------------------


def test_a_refusal_says_what_the_client_is_told():
    assert Refused("closed").status is CAStatus.ECA_PUTFAIL
    assert Refused("closed", CAStatus.ECA_DEFUNCT).status is CAStatus.ECA_DEFUNCT
    assert str(Refused("closed")) == "closed" and isinstance(Refused("closed"), CaprotoError)


# ---- encoding: the families ------------------------------------------------------------------


@pytest.mark.parametrize("data_type", range(35), ids=lambda number: ChannelType(number).name)
def test_a_double_as_every_regular_type(data_type):
    payload, count = snapshot(alarm=ChannelAlarm(AlarmStatus.LOW, MINOR)).encode(data_type, 0)
    assert count == 1 and len(payload) == payload_size(data_type, 1)
    if data_type % 7 == STRING:
        assert strings_of(payload, data_type, 1) == ["3.250"]
    else:
        assert elements_of(payload, data_type, 1) == [3.25 if data_type % 7 in (2, 6) else 3]
    metadata = metadata_of(payload, data_type) if data_type > 6 else None
    if metadata is not None:
        assert (metadata.status, metadata.severity) == (AlarmStatus.LOW, MINOR)


@pytest.mark.parametrize("data_type", range(14, 21), ids=lambda number: ChannelType(number).name)
def test_the_time_stamp_is_exact(data_type):
    payload, _ = snapshot().encode(data_type, 0)
    assert payload[4:12] == (1_000_000_000).to_bytes(4, "big") + (123_456_789).to_bytes(4, "big")


@pytest.mark.parametrize("family", [21, 28], ids=["GR", "CTRL"])
@pytest.mark.parametrize("native", [SHORT, FLOAT, CHAR, LONG, DOUBLE])
def test_limits_units_and_precision_of_numbers(family, native):
    metadata = metadata_of(snapshot().encode(family + native, 0)[0], family + native)
    assert metadata.units == b"millime"
    names = {name for name, *_ in metadata._fields_}
    assert ("precision" in names) == (native in (FLOAT, DOUBLE))
    if "precision" in names:
        assert metadata.precision == 3
    assert ("upper_ctrl_limit" in names) == (family == 28)
    for name in LIMITS.keys() & names:
        expected = LIMITS[name]
        if native in (SHORT, LONG):
            expected = int(expected)
        elif native == CHAR:  # as an IOC sends them
            expected = int(expected) & 0xFF
        assert getattr(metadata, name) == pytest.approx(expected), name


@pytest.mark.parametrize("native", [SHORT, FLOAT, CHAR, LONG, DOUBLE])
def test_limits_that_are_not_defined_are_nan_and_zero_in_integer_types(native):
    properties = {**PROPERTIES, **dict.fromkeys(LIMITS, math.nan)}
    metadata = metadata_of(snapshot(properties=properties).encode(28 + native, 0)[0], 28 + native)
    for name in LIMITS:
        limit = getattr(metadata, name)
        assert math.isnan(limit) if native in (FLOAT, DOUBLE) else limit == 0


@pytest.mark.parametrize("data_type", [ChannelType.GR_ENUM, ChannelType.CTRL_ENUM])
def test_the_names_of_the_states(data_type):
    properties = {"reported_record_type": "bo", "enum_strings": ("off", "ön")}
    payload, _ = snapshot(ENUM, array.array("H", [1]), properties=properties).encode(data_type, 0)
    metadata = metadata_of(payload, data_type)
    assert [bytes(name) for name in metadata.enum_strings] == [b"off", "ön".encode()]
    assert elements_of(payload, data_type, 1) == [1]


def test_a_channel_without_states_has_none():
    payload, _ = snapshot().encode(ChannelType.GR_ENUM, 0)
    assert metadata_of(payload, ChannelType.GR_ENUM).no_str == 0


def test_the_record_type():
    for count in (0, 1):
        payload, number = snapshot().encode(ChannelType.CLASS_NAME, count)
        assert (len(payload), number) == (40, 1)
        assert payload.rstrip(b"\0") == b"ai"


def test_what_is_to_be_acknowledged():
    alarm = ChannelAlarm(AlarmStatus.HIGH, MINOR, severity_to_acknowledge=MAJOR)
    payload, count = snapshot(alarm=alarm).encode(ChannelType.STSACK_STRING, 0)
    assert (len(payload), count) == (48, 1)
    assert payload[:8] == bytes([0, 4, 0, 1, 0, 1, 0, 2])
    assert payload[8:].rstrip(b"\0") == b"3.250"


def test_the_string_of_an_empty_array_is_empty():
    payload, count = snapshot(elements=()).encode(ChannelType.STSACK_STRING, 1)
    assert payload[8:] == bytes(40) and count == 1
    assert snapshot(elements=()).encode(ChannelType.STSACK_STRING, 0)[1] == 0


def test_arrays_are_as_long_with_what_is_to_be_acknowledged():
    array = snapshot(elements=(1.0, 2.0, 3.0))
    for asked, expected in ((0, 3), (2, 2), (5, 5)):
        payload, count = array.encode(ChannelType.STSACK_STRING, asked)
        assert (len(payload), count) == (8 + 40 * expected, expected)


@pytest.mark.parametrize("data_type", [ChannelType.PUT_ACKT, ChannelType.PUT_ACKS])
def test_acknowledgements_can_only_be_written(data_type):
    with pytest.raises(Refused) as caught:
        snapshot().encode(data_type, 0)
    assert caught.value.status is CAStatus.ECA_GETFAIL


def test_text_that_is_no_number_cannot_be_read_as_one():
    for data_type in (DOUBLE, ChannelType.TIME_LONG, ChannelType.CTRL_ENUM):
        with pytest.raises(Refused) as caught:
            snapshot(STRING, ("abc",)).encode(data_type, 0)
        assert caught.value.status is CAStatus.ECA_GETFAIL
    assert strings_of(*snapshot(STRING, ("abc",)).encode(STRING, 0)[:1], STRING, 1) == ["abc"]


# ---- encoding: counts ------------------------------------------------------------------------


@pytest.mark.parametrize("data_type", [DOUBLE, ChannelType.TIME_LONG, ChannelType.CTRL_CHAR])
def test_count_0_means_all_there_are(data_type):
    for values in ([], [1.0], [1.0, 2.0, 3.0]):
        payload, count = snapshot(elements=numpy.array(values)).encode(data_type, 0)
        assert count == len(values) and len(payload) == payload_size(data_type, count)
        assert elements_of(payload, data_type, count) == values


@pytest.mark.parametrize(
    "data_type",
    [STRING, DOUBLE, ChannelType.TIME_STRING, ChannelType.STS_CHAR, ChannelType.GR_ENUM],
)
def test_missing_elements_are_zero_and_others_are_left_out(data_type):
    one = snapshot(elements=numpy.array([1.0, 2.0, 3.0]), properties={})
    for wanted, expected in ((2, [1, 2]), (5, [1, 2, 3, 0, 0])):
        payload, count = one.encode(data_type, wanted)
        assert count == wanted and len(payload) == payload_size(data_type, wanted)
        if data_type % 7 == STRING:
            assert strings_of(payload, data_type, wanted) == [str(n or "") for n in expected]
        else:
            assert elements_of(payload, data_type, wanted) == expected


def test_a_payload_is_made_once():
    one = snapshot()
    assert one.encode(DOUBLE, 0)[0] is one.encode(DOUBLE, 0)[0]
    assert one.encode(DOUBLE, 0) != one.encode(FLOAT, 0)


def test_a_client_that_tries_all_counts_does_not_fill_the_memory():
    one = snapshot(elements=numpy.zeros(1000))
    for count in range(1, 1000):
        one.encode(DOUBLE, count)
    kept = sum(len(payload) for payload, _ in one._encoded.values())
    assert kept < 40 * one.nbytes


# ---- text ------------------------------------------------------------------------------------


def test_long_text_is_one_string_of_39_bytes():
    text = "the quick brown fox jumps over the lazy dog"
    one = snapshot(CHAR, text.encode() + b"\0", is_text=True, properties={})
    payload, count = one.encode(STRING, 0)
    assert count == 1 and payload == text[:39].encode() + b"\0"
    payload, count = one.encode(CHAR, 0)
    assert count == 44 and payload == (text.encode() + b"\0").ljust(48, b"\0")
    payload, _ = one.encode(ChannelType.TIME_CHAR, 3)
    assert payload[15:18] == b"the"


def test_bytes_that_are_no_text_are_numbers():
    payload, count = snapshot(CHAR, array.array("B", b"AB"), properties={}).encode(STRING, 0)
    assert count == 2 and strings_of(payload, STRING, 2) == ["65", "66"]


# ---- the rest --------------------------------------------------------------------------------


def test_replace_gives_a_copy_that_encodes_for_itself():
    one = snapshot()
    one.encode(DOUBLE, 0)
    two = one.replace(elements=(7.0,), serial=6)
    assert elements_of(two.encode(DOUBLE, 0)[0], DOUBLE, 1) == [7.0]
    assert elements_of(one.encode(DOUBLE, 0)[0], DOUBLE, 1) == [3.25]
    assert (one.serial, two.serial) == (5, 6)
    assert two.alarm is one.alarm and two.stamp == one.stamp and two.properties is one.properties


@pytest.mark.parametrize(
    "native, elements, size",
    [
        (DOUBLE, numpy.zeros(1000), 8000),
        (DOUBLE, array.array("d", [0.0] * 1000), 8000),
        (CHAR, bytes(1000), 1000),
        (STRING, ("x",) * 10, 400),
    ],
)
def test_the_size_of_a_value_is_about_right(native, elements, size):
    assert snapshot(native, elements).nbytes == pytest.approx(size, rel=0.1)
