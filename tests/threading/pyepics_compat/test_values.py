"""Values as pyepics shows and takes them; expectations are what pyepics 3.5 gave."""
from __future__ import annotations

import numpy
import pytest

from caproto import ChannelType, EventAddResponse, TimeStamp
from caproto.threading.pyepics_compat import _values
from caproto.threading.pyepics_compat._values import decode, encode, text

STRING, SHORT, FLOAT, ENUM, CHAR, LONG, DOUBLE = range(7)


def update(data, data_type, metadata=None):
    return EventAddResponse(data, data_type, None, 1, 0, metadata=metadata)


class TestDecode:
    def test_a_time_stamp_is_in_the_epoch_of_posix(self):
        stamp = TimeStamp(10, 250_000_000)
        found = decode(update([1.5], ChannelType.TIME_DOUBLE, (3, 2, stamp)), True)
        assert found == {
            "value": 1.5, "status": 3, "severity": 2, "timestamp": 631152010.25,
            "posixseconds": 631152010.0, "nanoseconds": 250_000_000,
        }

    @pytest.mark.parametrize(
        "data_type, value",
        [
            ("TIME_INT", -5), ("TIME_FLOAT", 0.5), ("TIME_ENUM", 3), ("TIME_CHAR", 200),
            ("TIME_LONG", -70000), ("TIME_DOUBLE", 1e300), ("TIME_STRING", "text"),
        ],
    )
    def test_scalars_are_of_python(self, data_type, value):
        wire = [value.encode()] if isinstance(value, str) else [value]
        found = decode(update(wire, ChannelType[data_type], (0, 0, TimeStamp(0, 0))), True)
        assert found["value"] == value and type(found["value"]) is type(value)

    @pytest.mark.parametrize(
        "data_type, dtype",
        [("INT", "int16"), ("FLOAT", "float32"), ("ENUM", "uint16"), ("CHAR", "uint8"),
         ("LONG", "int32"), ("DOUBLE", "float64")],
    )
    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_arrays_are_numpy_in_machine_order(self, data_type, dtype, count):
        found = decode(update(list(range(count)), ChannelType[data_type]), False)
        array = found["value"]
        assert array.dtype == numpy.dtype(dtype) and array.dtype.isnative
        assert array.tolist() == list(range(count))
        array += 1  # it can be written to

    def test_an_array_of_strings(self):
        found = decode(update([b"a", b"bc"], ChannelType.STRING), False)
        assert found["value"].tolist() == ["a", "bc"] and found["value"].dtype.kind == "U"
        assert decode(update([], ChannelType.STRING), False)["value"].dtype.kind == "U"

    def test_control_metadata(self):
        from caproto import DBR_CTRL_DOUBLE

        metadata = DBR_CTRL_DOUBLE(precision=3, units=b"\xb5m", upper_ctrl_limit=8.0, status=4)
        found = decode(update([1.0], ChannelType.CTRL_DOUBLE, metadata), True)
        assert (found["precision"], found["units"], found["upper_ctrl_limit"]) == (3, "µm", 8.0)
        assert found["status"] == 4 and type(found["status"]) is int
        assert "timestamp" not in found

    def test_the_states_of_an_enum(self):
        from caproto import DBR_CTRL_ENUM

        metadata = DBR_CTRL_ENUM(enum_strings=(b"Off", b"On"))
        found = decode(update([1], ChannelType.CTRL_ENUM, metadata), True)
        assert found["enum_strs"] == ("Off", "On") and "units" not in found

    def test_a_native_value_has_nothing_beside(self):
        assert decode(update([2], ChannelType.LONG), True) == {"value": 2}


class TestText:
    @pytest.mark.parametrize(
        "value, precision, wanted",
        [
            (1.23456, 3, "1.235"), (0.0, 3, "0"), (1.5e-7, 3, "1.5e-07"), (-8.0, 3, "-8.000"),
            (123456.0, 3, "1.23e+05"), (2.5, 0, "2"), (float("nan"), 3, "nan"),
            (float("inf"), 3, "inf"), (2.5, None, "2.5"),
        ],
    )
    def test_floats(self, value, precision, wanted):
        assert text(value, DOUBLE, "time_double", precision, None) == wanted

    @pytest.mark.parametrize("value, wanted", [(0, "Off"), (1, "On"), (5, "5")])
    def test_enums(self, value, wanted):
        assert text(value, ENUM, "time_enum", None, ("Off", "On")) == wanted

    def test_the_rest(self):
        assert text(7, LONG, "time_long", None, None) == "7"
        assert text("x", STRING, "time_string", None, None) == "x"
        assert text(None, DOUBLE, "time_double", 3, None) is None
        array = numpy.zeros(3)
        assert text(array, DOUBLE, "time_double", 3, None) == "<array size=3, type=time_double>"
        strings = numpy.array(["a"])
        assert text(strings, STRING, "time_string", None, None) is strings

    @pytest.mark.parametrize(
        "raw, wanted",
        [(b"hello\0rest", "hello"), (b"x" * 60, "x" * 60), (b"a  ", "a"), (b"\0", "")],
    )
    def test_char_arrays(self, raw, wanted):
        array = numpy.frombuffer(raw, "u1")
        assert text(array, CHAR, "time_char", None, None) == wanted


class TestEncode:
    @pytest.mark.parametrize(
        "value, native, wanted",
        [
            (3.7, LONG, 3), ("12", LONG, 12), ("0x10", LONG, 16), (True, LONG, 1),
            (numpy.float64(2.5), SHORT, 2), ("3.25", DOUBLE, 3.25), (b"2", FLOAT, 2.0),
            ("On", ENUM, 1), ("1", ENUM, 1), (5, ENUM, 5), (1.7, ENUM, 1), (-1, CHAR, -1),
            ("text", STRING, "text"), (b"raw", STRING, b"raw"), ([1], STRING, "1"),
        ],
    )
    def test_scalars(self, value, native, wanted):
        assert encode(value, native, 1, ("Off", "On")) == wanted

    @pytest.mark.parametrize(
        "value, native",
        [
            ("3.9", LONG), ("x", LONG), ("x", DOUBLE), ([4], LONG), (None, LONG), (None, DOUBLE),
            ((2,), DOUBLE), ("Maybe", ENUM), (2**40, LONG), (40000, SHORT), (12, STRING),
            (None, STRING), ("x" * 40, STRING), (float("nan"), LONG), ({}, DOUBLE), (1j, LONG),
        ],
    )
    def test_what_cannot_be_put(self, value, native):
        with pytest.raises((TypeError, ValueError)):
            encode(value, native, 1, ("Off", "On"))

    def test_a_wrong_state_lists_the_right_ones(self):
        with pytest.raises(ValueError, match="'Maybe' is not a state.*'Off', 'On'"):
            encode("Maybe", ENUM, 1, ("Off", "On"))

    @pytest.mark.parametrize(
        "value, native, wanted",
        [
            ([1, 2], DOUBLE, [1.0, 2.0]), ((4,), LONG, [4]), (range(20), LONG, list(range(10))),
            ([1.9, 2.9], LONG, [1, 2]), (["1", "2"], DOUBLE, [1.0, 2.0]), (7, DOUBLE, [7.0]),
            ([], DOUBLE, [0.0] * 10), (numpy.arange(3), SHORT, [0, 1, 2]),
            ("ab", CHAR, [97, 98, 0]), ("x" * 10, CHAR, [120] * 10), ("", CHAR, [0]),
            (b"ab", CHAR, [97, 98, 0]), ([65, 66], CHAR, [65, 66]), ("µ", CHAR, [0xC2, 0xB5, 0]),
            (iter([1, 2]), DOUBLE, [1.0, 2.0]), ({3}, LONG, [3]),
            ("one", STRING, ["one"]), (["a", 2], STRING, ["a", "2"]), ([], STRING, [""] * 10),
        ],
    )
    def test_arrays(self, value, native, wanted):
        assert list(encode(value, native, 10, None)) == wanted

    @pytest.mark.parametrize("value", [None, "abc", [2**40], [float("nan")]])
    def test_arrays_that_cannot_be_put(self, value):
        with pytest.raises((TypeError, ValueError)):
            encode(value, LONG, 10, None)

    def test_a_text_in_an_array_fits_a_string_or_is_refused(self):
        assert encode(["x" * 39], STRING, 10, None) == ["x" * 39]
        with pytest.raises(ValueError, match="has 40 bytes"):
            encode(["a", "x" * 40], STRING, 10, None)


def test_types_by_form():
    assert _values.type_name("time", ChannelType.INT) == "time_short"
    assert _values.type_number("time", ChannelType.DOUBLE) == 20
    assert _values.type_number("ctrl", ChannelType.ENUM) == ChannelType.CTRL_ENUM
    assert _values.type_name("native", ChannelType.STRING) == "string"
    assert _values.type_name("native", ChannelType.INT) == "int"


def test_control_values_of_text_are_asked_for_with_a_time_stamp():
    assert _values.type_name("ctrl", ChannelType.STRING) == "time_string"
    assert _values.type_number("ctrl", ChannelType.STRING) == ChannelType.TIME_STRING
    assert _values.family("ctrl", STRING) == _values.family("time", DOUBLE) == "time"
    assert _values.family("ctrl", DOUBLE) == "control"
