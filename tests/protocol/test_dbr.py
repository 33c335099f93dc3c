from __future__ import annotations

import ctypes
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import caproto._protocol.dbr as dbr
from caproto._errors import CaprotoAttributeError, CaprotoError, CaprotoTypeError, CaprotoValueError
from caproto._protocol.dbr import (
    CHANNEL_TYPES,
    DBR_TYPES,
    LAYOUTS,
    AccessRights,
    AlarmSeverity,
    AlarmStatus,
    ChannelType,
    DbrMetadata,
    SubscriptionType,
    TimeStamp,
    field_types,
    native_type,
)
from tests.harness.each_case import each_case
from tests.pretty import pretty
from tests.vectors_support import layouts

TABLE = layouts()
nan = math.nan


def test_layouts_are_complete():
    assert len(LAYOUTS) == len(CHANNEL_TYPES) == len(DBR_TYPES) == len(TABLE) == 39


@each_case("entry", TABLE, ids=lambda entry: entry["name"])
def test_layout_is_that_of_a_real_client(entry):
    channel_type = ChannelType[entry["name"].removeprefix("DBR_")]
    layout = LAYOUTS[entry["code"]]
    assert layout.channel_type is channel_type is CHANNEL_TYPES[entry["code"]]
    assert layout.native is ChannelType[entry["element"]]
    assert layout.value_offset == entry["value_offset"]
    assert layout.item_size == entry["element_size"]
    assert layout.typecode == entry["element_format"]
    assert ctypes.sizeof(layout.struct) == entry["value_offset"]
    named = getattr(dbr, f"DBR_{channel_type}")
    assert dbr.DBR_TYPES[channel_type] is named
    assert layout.struct is (named if layout.value_offset else dbr.NoMetadata)
    assert named.DBR_ID is channel_type


@each_case("entry", TABLE, ids=lambda entry: entry["name"])
def test_fields_are_where_a_real_client_has_them(entry):
    """Each field of a structure, set to its byte offsets, lands on just those bytes."""
    struct = LAYOUTS[entry["code"]].struct
    fields = [field for field in struct._fields_ if field[0] != "_gap"]
    assert [name for name, _ in fields] == [field["name"] for field in entry["metadata_fields"]]
    pattern = bytes(range(1, 1 + ctypes.sizeof(struct) % 256)) * (ctypes.sizeof(struct) // 256 + 1)
    filled = struct.from_buffer_copy(pattern.ljust(ctypes.sizeof(struct), b"\1"))
    for (name, kind), field in zip(fields, entry["metadata_fields"], strict=True):
        start, stop = field["offset"], field["offset"] + ctypes.sizeof(kind)
        blank = struct()
        setattr(blank, name, getattr(filled, name))
        raw = bytes(blank)
        assert raw[start:stop] == bytes(filled)[start:stop]
        assert not any(raw[:start]) and not any(raw[stop:])


def test_numbers_of_the_types():
    assert ChannelType.TIME_DOUBLE == 20 and ChannelType.CTRL_ENUM == 31
    assert ChannelType.SHORT is ChannelType.INT
    assert ChannelType.CTRL_SHORT is ChannelType.CTRL_INT
    assert repr(ChannelType.DOUBLE) == "ChannelType.DOUBLE"
    with pytest.raises(CaprotoValueError, match="0 to 38"):
        ChannelType(39)


def test_alarms_that_we_do_not_know_survive():
    assert AlarmStatus(99) == 99 and AlarmSeverity(7) == 7
    assert [status.name for status in AlarmStatus][:4] == ["NO_ALARM", "READ", "WRITE", "HIHI"]
    assert AlarmStatus.WRITE_ACCESS == 21 and len(AlarmStatus) == 22
    assert AlarmSeverity.INVALID_ALARM == 3
    strange = dbr.DBR_STS_INT.from_buffer_copy(b"\x80\x00\xff\xff")
    assert (strange.status, strange.severity) == (-32768, -1)
    assert repr(strange) == "DBR_STS_INT(status=AlarmStatus(-32768), severity=AlarmSeverity(-1))"


def test_flags():
    assert AccessRights.READ | AccessRights.WRITE == 3 and AccessRights.NO_ACCESS == 0
    assert [mask.value for mask in SubscriptionType.__members__.values()] == [1, 2, 4, 8]


# ---- families ------------------------------------------------------------------------------------


def test_families_by_number():
    for number in range(35):
        family = ("native", "status", "time", "graphic", "control")[number // 7]
        assert LAYOUTS[number].family == family
        assert native_type(number) == number % 7
        assert field_types[family][ChannelType(number % 7)] == number
        assert number in getattr(dbr, f"{family}_types")


def test_native_types_of_the_special_ones():
    assert native_type(ChannelType.PUT_ACKT) is ChannelType.ENUM
    assert native_type(ChannelType.PUT_ACKS) is ChannelType.ENUM
    assert native_type(ChannelType.STSACK_STRING) is ChannelType.STRING
    assert native_type(ChannelType.CLASS_NAME) is ChannelType.STRING



# ---- structures ----------------------------------------------------------------------------------


def test_a_time_structure_reads_well():
    metadata = dbr.DBR_TIME_DOUBLE(3, 2, TimeStamp(1164225662, 123456789))
    assert metadata.status is AlarmStatus.HIHI
    assert metadata.severity is AlarmSeverity.MAJOR_ALARM
    assert metadata.stamp == TimeStamp(1164225662, 123456789)
    assert metadata.timestamp == pytest.approx(1795377662.123456789, abs=1e-6)
    assert repr(metadata) == (
        "DBR_TIME_DOUBLE(status=AlarmStatus.HIHI, severity=AlarmSeverity.MAJOR_ALARM, "
        "timestamp='2026-11-22T20:01:02.123456789Z')"
    )


@pytest.mark.parametrize("name", ["stamp", "timestamp"])
@pytest.mark.parametrize("value", [(1, 500_000_000), 631152001.5, "1990-01-01T00:00:01.5Z"])
def test_the_time_may_be_given_in_many_ways(name, value):
    metadata = dbr.DBR_TIME_CHAR(**{name: value})
    assert (metadata.seconds, metadata.nanoseconds) == (1, 500_000_000)


def test_limits():
    metadata = dbr.DBR_CTRL_LONG(upper_warning_limit=7, lower_ctrl_limit=-3)
    assert bytes(metadata)[24:28] == b"\0\0\0\7"
    assert bytes(metadata)[40:44] == b"\xff\xff\xff\xfd"


def test_enum_states():
    metadata = dbr.DBR_GR_ENUM(enum_strings=(b"off", b"x" * 26))
    assert metadata.no_str == 2
    assert metadata.enum_strings == (b"off", b"x" * 26)
    assert bytes(metadata)[4:6] == b"\0\2" and bytes(metadata)[6:10] == b"off\0"
    with pytest.raises(CaprotoValueError, match="17 enum states; 16 is the limit"):
        metadata.enum_strings = [b""] * 17
    with pytest.raises(CaprotoTypeError):
        dbr.DBR_GR_ENUM(enum_strings=[b"x" * 27])


@pytest.mark.parametrize("claimed, real", [(-5, 0), (17, 16), (32767, 16)])
def test_a_peer_may_claim_any_number_of_states(claimed, real):
    metadata = dbr.DBR_CTRL_ENUM(no_str=claimed)
    assert len(metadata.enum_strings) == real


def test_new_enum_states_replace_the_old_ones():
    metadata = dbr.DBR_GR_ENUM(enum_strings=(b"a long name", b"two"))
    metadata.enum_strings = (b"a",)
    assert metadata.enum_strings == (b"a",)
    assert metadata == dbr.DBR_GR_ENUM(enum_strings=(b"a",))


@given(st.integers(0, 38), st.binary(min_size=424, max_size=424))
def test_any_bytes_make_a_structure_that_prints_and_evaluates_back(number, rubbish):
    metadata = LAYOUTS[number].struct.from_buffer_copy(rubbish)
    text = repr(metadata)
    metadata.cleaned()
    if "seconds" in dict(LAYOUTS[number].struct._fields_) and metadata.nanoseconds >= 10**9:
        return  # no moment at all: it prints, but can't be made anew
    again = eval(text, vars(dbr))
    assert again == metadata
    assert repr(again) == text


@pytest.mark.parametrize("name, kind", [("DBR_GR_FLOAT", "f"), ("DBR_CTRL_DOUBLE", "d")])
def test_a_nan_equals_any_nan(name, kind):
    """Servers differ in the bits of what is undefined: signalling, negative, with a payload."""
    undefined = {
        "f": ["7f800001", "7fc00000", "7fc00001", "ffc00000"],
        "d": ["7ff0000000000001", "7ff8000000000000", "7ff8000000000001", "fff8000000000000"],
    }
    struct = getattr(dbr, name)
    canonical = struct(upper_disp_limit=nan)
    for bits in map(bytes.fromhex, undefined[kind]):
        peer = struct.from_buffer_copy(bytes(16) + bits + bytes(canonical)[16 + len(bits):])
        assert peer == canonical and math.isnan(peer.upper_disp_limit)
        assert eval(repr(peer), vars(dbr)) == peer
        assert bytes(peer.cleaned()) == bytes(canonical)
    assert canonical != struct(upper_disp_limit=0.0)


def test_equality_ignores_rubbish():
    clean = dbr.DBR_CTRL_FLOAT(units=b"mm", upper_disp_limit=nan)
    dirty = dbr.DBR_CTRL_FLOAT.from_buffer_copy(
        bytes(clean)[:6] + b"\xff\xff" + b"mm\0rest!" + bytes(clean)[16:]
    )
    assert dirty == clean and dirty.units == b"mm"
    assert bytes(dirty) != bytes(clean) == bytes(dirty.cleaned())
    assert clean != dbr.DBR_CTRL_FLOAT(units=b"nm", upper_disp_limit=nan)
    assert dbr.DBR_STS_INT() != dbr.DBR_STS_LONG()
    with pytest.raises(TypeError):
        hash(clean)


def test_what_a_type_does_not_carry():
    with pytest.raises(CaprotoAttributeError, match="DBR_TIME_INT has no 'units'.*status"):
        _ = dbr.DBR_TIME_INT().units
    with pytest.raises(CaprotoAttributeError, match="time, graphic or control"):
        _ = dbr.DBR_INT().timestamp
    with pytest.raises(AttributeError):
        dbr.DBR_INT().timestamp = 3
    assert not hasattr(dbr.DBR_INT(), "status")


@pytest.mark.parametrize(
    "arguments", [{"foo": 1}, {"status": "HIHI"}, {"severity": 1.5}], ids=lambda it: next(iter(it))
)
def test_wrong_arguments(arguments):
    with pytest.raises(CaprotoError, match="DBR_STS_INT"):
        dbr.DBR_STS_INT(**arguments)


def test_too_many_arguments():
    with pytest.raises(CaprotoTypeError, match="DBR_STS_INT"):
        dbr.DBR_STS_INT(1, 2, 3)


def test_every_public_name_exists_and_is_listed():
    for name in dbr.__all__:
        assert hasattr(dbr, name)
    made = {struct.__name__ for struct in dbr.DBR_TYPES.values()}
    assert made <= set(dbr.__all__)
    assert all(issubclass(layout.struct, DbrMetadata) for layout in LAYOUTS)
    assert {name for name in dbr.__all__ if re.match(r"DBR_(?!TYPES)", name)} == made


# ---- values, positions, dictionaries -------------------------------------------------------------


@pytest.mark.parametrize("name, value", [
    ("DBR_LONG", -5), ("DBR_DOUBLE", 2.5), ("DBR_STRING", b"abc"), ("DBR_ENUM", 1),
    ("DBR_CHAR", 65), ("DBR_PUT_ACKT", 1), ("DBR_CLASS_NAME", b"ai"),
])
def test_the_structure_of_a_plain_type_holds_a_value(name, value):
    struct = getattr(dbr, name)
    one = struct(value)
    assert one.value == value and one == struct(value=value) != struct()
    assert eval(repr(one), vars(dbr)) == one
    assert struct.from_buffer_copy(bytes(one)).value == value
    assert LAYOUTS[struct.DBR_ID].value_offset == 0


def test_values_by_position_are_in_the_order_of_the_wire():
    stamp = TimeStamp(1, 500_000_000)
    timed = dbr.DBR_TIME_DOUBLE(1, 0, stamp)
    assert timed == dbr.DBR_TIME_DOUBLE(status=1, severity=0, stamp=stamp)
    control = dbr.DBR_CTRL_DOUBLE(1, 2, 3, b"mm", 10.0)
    assert (control.precision, control.units, control.upper_disp_limit) == (3, b"mm", 10.0)
    assert dbr.DBR_CTRL_ENUM(0, 0, (b"off", b"on")).enum_strings == (b"off", b"on")
    for twice in (lambda: dbr.DBR_STS_INT(1, status=2), lambda: dbr.DBR_INT(1, value=1)):
        with pytest.raises((CaprotoTypeError, TypeError), match="multiple values"):
            twice()


def test_values_for_the_gaps_of_the_layout_are_left_out():
    assert dbr.DBR_CTRL_DOUBLE(1, 2, 3, 0, b"mm", 10.0) == dbr.DBR_CTRL_DOUBLE(1, 2, 3, b"mm", 10.0)
    stamp = TimeStamp(1, 2)
    assert dbr.DBR_TIME_CHAR(1, 0, stamp, 0, 0) == dbr.DBR_TIME_CHAR(1, 0, stamp)
    assert dbr.DBR_STS_DOUBLE(1, 2, 0) == dbr.DBR_STS_DOUBLE(1, 2)
    with pytest.raises(CaprotoTypeError, match="4 values for status, severity, stamp"):
        dbr.DBR_TIME_DOUBLE(1, 2, stamp, 5.0)


@each_case("layout", LAYOUTS, ids=lambda layout: layout.channel_type.name)
def test_every_structure_gives_a_dictionary_for_json(layout):
    found = dbr.DBR_TYPES[layout.channel_type]().to_dict()
    assert json.loads(json.dumps(found)) == found
    assert ("timestamp" in found) == (layout.family == "time")
    assert ("value" in found) == (layout.value_offset == 0)


def test_texts_in_the_dictionary_are_str():
    found = dbr.DBR_CTRL_DOUBLE(1, 2, 3, "°C".encode()).to_dict()
    assert found["units"] == "°C" and found["status"] is AlarmStatus.READ
    assert found["precision"] == 3 and found["upper_ctrl_limit"] == 0.0
    states = dbr.DBR_GR_ENUM(enum_strings=(b"off", b"on")).to_dict()
    assert states == {"status": 0, "severity": 0, "enum_strings": ["off", "on"]}
    timed = dbr.DBR_TIME_INT(0, 0, TimeStamp(1, 500_000_000)).to_dict()
    assert timed == {"status": 0, "severity": 0, "timestamp": 631152001.5}
    assert dbr.DBR_STRING("°C".encode()).to_dict() == {"value": "°C"}


@each_case("layout", LAYOUTS, ids=lambda layout: layout.channel_type.name)
def test_the_prompt_shows_a_line_for_each_field(layout):
    structure = dbr.DBR_TYPES[layout.channel_type]()
    lines = pretty(structure).splitlines()
    assert lines[0] == type(structure).__name__
    assert len(lines) == 1 + len(structure.to_dict()) and max(map(len, lines)) <= 100


def test_the_prompt_shows_texts_and_not_bytes():
    shown = pretty(dbr.DBR_CTRL_DOUBLE(17, 3, 3, "°C".encode())).splitlines()
    assert shown[1:5] == [
        "  status               UDF",
        "  severity             INVALID_ALARM",
        "  precision            3",
        "  units                °C",
    ]
    assert pretty(dbr.DBR_GR_ENUM(enum_strings=(b"off", b"on"))).endswith(" 'off', 'on'")
    timed = pretty(dbr.DBR_TIME_INT(0, 0, TimeStamp(1, 500_000_000)))
    assert timed.splitlines()[-1] == "  timestamp            1990-01-01T00:00:01.500000000Z"
