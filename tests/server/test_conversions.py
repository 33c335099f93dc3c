"""Conversions between the native types; what numbers and texts become is what an EPICS IOC says."""
from __future__ import annotations

import array
import itertools
import math
from decimal import Decimal

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caproto import CaprotoValueError, ChannelType
from caproto._protocol.text import encode_text
from caproto._server.conversions import (
    CONVERTERS,
    TextFormat,
    convert,
    cut,
    text_of_bytes,
)

STRING, SHORT, FLOAT, ENUM, CHAR, LONG, DOUBLE = map(ChannelType, range(7))
NUMBERS = (SHORT, FLOAT, ENUM, CHAR, LONG, DOUBLE)
DTYPES = {SHORT: "i2", FLOAT: "f4", ENUM: "u2", CHAR: "u1", LONG: "i4", DOUBLE: "f8"}
RANGES = {
    SHORT: (-(2**15), 2**15 - 1),
    ENUM: (0, 2**16 - 1),
    CHAR: (0, 2**8 - 1),
    LONG: (-(2**31), 2**31 - 1),
}
NAN, INF = math.nan, math.inf
LARGEST_FLOAT = (2 - 2**-23) * 2.0**127


def same(one, other) -> bool:
    return one == other or (one != one and other != other)


def test_there_is_a_converter_for_every_pair():
    types = set(map(ChannelType, range(7)))
    assert set(CONVERTERS) == types
    assert all(set(targets) == types for targets in CONVERTERS.values())


# ---- numbers ---------------------------------------------------------------------------------

# Recorded from an IOC: value -> what waveforms of SHORT, ENUM, CHAR and LONG made of it.
OF_DOUBLES = [
    (1e10, 0, 0, 0, -(2**31)),
    (-1e10, 0, 0, 0, -(2**31)),
    (70000.0, 4464, 4464, 112, 70000),
    (-70000.0, -4464, 61072, 144, -70000),
    (2.9, 2, 2, 2, 2),
    (-2.9, -2, 65534, 254, -2),
    (300.0, 300, 300, 44, 300),
    (2147483647.5, -1, 65535, 255, 2147483647),
    (-1.0, -1, 65535, 255, -1),
    (NAN, 0, 0, 0, -(2**31)),
    (INF, 0, 0, 0, -(2**31)),
    (-INF, 0, 0, 0, -(2**31)),
]


@pytest.mark.parametrize("value, short, enum, char, long", OF_DOUBLES)
def test_a_double_that_does_not_fit_an_integer_becomes_what_an_ioc_makes_of_it(
    value, short, enum, char, long
):
    for target, expected in ((SHORT, short), (ENUM, enum), (CHAR, char), (LONG, long)):
        assert convert([value], DOUBLE, target, TextFormat()) == [expected]
        assert convert(numpy.array([value]), DOUBLE, target, TextFormat()).tolist() == [expected]


# Recorded from an IOC as well.
@pytest.mark.parametrize(
    "value, short, enum, char",
    [
        (70000, 4464, 4464, 112),
        (-1, -1, 65535, 255),
        (-70000, -4464, 61072, 144),
        (300, 300, 300, 44),
    ],
)
def test_integers_wrap(value, short, enum, char):
    for target, expected in ((SHORT, short), (ENUM, enum), (CHAR, char), (DOUBLE, value)):
        assert convert([value], LONG, target, TextFormat()) == [expected]
        values = numpy.array([value], "i4")
        assert convert(values, LONG, target, TextFormat()).tolist() == [expected]


def test_bytes_and_states_have_no_sign():
    assert convert([200], CHAR, LONG, TextFormat()) == [200]
    assert convert([65535], ENUM, LONG, TextFormat()) == [65535]
    assert convert([-3], SHORT, ENUM, TextFormat()) == [65533]


def test_a_double_beyond_single_precision_becomes_the_largest_float():
    for value in (1e39, 1e300):
        expected = [LARGEST_FLOAT, -LARGEST_FLOAT]
        assert convert([value, -value], DOUBLE, FLOAT, TextFormat()) == expected


def test_nan_and_infinity_pass_between_the_float_types():
    for source, target in itertools.permutations((FLOAT, DOUBLE), 2):
        one, two, three = convert([NAN, INF, -INF], source, target, TextFormat())
        assert one != one and two == INF and three == -INF


def test_single_precision_loses_digits():
    assert convert([0.1], DOUBLE, FLOAT, TextFormat()) == [0.10000000149011612]


def test_numbers_of_the_same_type_are_not_copied():
    values = numpy.arange(3.0)
    assert convert(values, DOUBLE, DOUBLE, TextFormat()) is values


@given(
    st.sampled_from(NUMBERS), st.sampled_from(NUMBERS),
    st.lists(st.floats() | st.integers(-(2**31), 2**31 - 1), max_size=5),
)
def test_arrays_give_the_same_results_as_single_elements(source, target, values):
    elements = convert(values, DOUBLE, source, TextFormat())
    one_by_one = convert(elements, source, target, TextFormat())
    at_once = convert(numpy.array(elements, DTYPES[source]), source, target, TextFormat())
    assert at_once.dtype == numpy.dtype(DTYPES[target])
    assert all(map(same, one_by_one, at_once.tolist()))
    assert len(one_by_one) == len(at_once)


@given(st.sampled_from(NUMBERS), st.sampled_from(sorted(RANGES)), st.floats())
def test_whatever_becomes_an_integer_is_in_its_range(source, target, value):
    (element,) = convert([value], DOUBLE, source, TextFormat())
    (result,) = convert([element], source, target, TextFormat())
    lowest, highest = RANGES[target]
    assert type(result) is int and lowest <= result <= highest


def test_arrays_of_the_standard_library_are_taken():
    assert convert(array.array("d", [1.5, 2.5]), DOUBLE, LONG, TextFormat()) == [1, 2]
    assert convert(array.array("d", [1.5]), DOUBLE, STRING, TextFormat(1)) == ["1.5"]


def test_no_elements_give_no_elements():
    for source, target in itertools.product(CONVERTERS, CONVERTERS):
        assert len(convert([], source, target, TextFormat())) == 0


# ---- numbers to text -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, precision, text",
    [
        (3.25, 3, "3.250"),
        (1.5, 0, "2"),
        (0.5, 0, "1"),  # halves go away from zero
        (-2.5, 0, "-3"),
        (0.125, 2, "0.13"),
        (0.0, 8, "0.00000000"),
        (1 / 3, 6, "0.333333"),
        (1e-3, 0, "0"),
        (1e16, 0, "1e+16"),
        (12345678.9, 3, "12345678.900"),
        (1e20, 3, "1.000e+20"),
        (1e300, 10, "1.0000000000e+300"),
        (NAN, 3, "nan"),
        (INF, 3, "inf"),
        (-INF, 3, "-inf"),
    ],
)
def test_a_float_becomes_text_with_the_precision_of_the_channel(value, precision, text):
    for source in (FLOAT, DOUBLE):
        assert convert([value], source, STRING, TextFormat(precision)) == [text]


@given(st.floats(), st.integers(0, 0x7FFF))
def test_the_text_of_a_number_always_fits_and_reads_back(value, precision):
    (text,) = convert([value], DOUBLE, STRING, TextFormat(precision))
    assert len(text) < 40
    tolerance = 0.5000001 * 10.0 ** -min(precision, 300)
    if not math.isfinite(value):
        assert same(float(text), value)
    elif abs(value) < 1e16:
        assert abs(float(text) - value) <= max(tolerance, abs(value) * 1e-15)
    else:
        # Not as a float: the largest ones are rounded to 2e+308.
        assert abs(Decimal(text) / Decimal(value) - 1) <= 0.5


@pytest.mark.parametrize("source", [SHORT, CHAR, LONG])
def test_an_integer_becomes_its_digits_whatever_the_precision(source):
    assert convert([0, 123], source, STRING, TextFormat(3)) == ["0", "123"]


def test_a_state_becomes_its_name_and_a_number_if_it_has_none():
    texts = convert([0, 1, 2, 17], ENUM, STRING, TextFormat(0, ("Off", "On")))
    assert texts == ["Off", "On", "2", "17"]


# ---- text to numbers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, target, value",
    [
        ("12", SHORT, 12),
        ("-40000", LONG, -40000),
        ("0x10", LONG, 16),
        ("-0x10", SHORT, -16),
        (" 7 ", LONG, 7),
        ("1.9", LONG, 1),
        ("-1.9", LONG, -1),
        ("1e2", LONG, 100),
        ("255", CHAR, 255),
        ("-1", CHAR, 255),
        ("32767", SHORT, 32767),
        ("-32768", SHORT, -32768),
        ("2147483647", LONG, 2147483647),
        ("1.9", DOUBLE, 1.9),
        ("1e2", DOUBLE, 100.0),
        ("0x10", DOUBLE, 16.0),
        ("1.9", FLOAT, 1.899999976158142),
        ("4294967295", FLOAT, 4294967296.0),
        ("1e39", FLOAT, LARGEST_FLOAT),
        ("inf", DOUBLE, INF),
        ("-Infinity", DOUBLE, -INF),
        ("nan", DOUBLE, NAN),
        ("nan", FLOAT, NAN),
    ],
)
def test_the_text_of_a_number_is_read(text, target, value):
    (result,) = convert([text], STRING, target, TextFormat())
    assert same(result, value) and type(result) is type(value)


@pytest.mark.parametrize(
    "text, target",
    [
        ("", LONG),
        ("", DOUBLE),
        ("abc", LONG),
        ("abc", DOUBLE),
        ("0xg", LONG),
        ("99999", SHORT),
        ("-32769", SHORT),
        ("256", CHAR),
        ("-129", CHAR),
        ("2147483648", LONG),
        ("nan", LONG),
        ("inf", SHORT),
        ("1 2", DOUBLE),
    ],
)
def test_text_that_is_no_number_or_does_not_fit_is_refused(text, target):
    with pytest.raises(CaprotoValueError) as caught:
        convert([text], STRING, target, TextFormat())
    assert repr(text) in str(caught.value)


COLOURS = TextFormat(0, ("red", "green", "3", "0"))


@pytest.mark.parametrize(
    "text, state",
    [("red", 0), ("green", 1), ("1", 1), (" 1 ", 1), ("3", 2), ("0", 3), ("2", 2)],
)
def test_an_enum_is_written_by_the_text_of_a_state_before_its_number(text, state):
    assert convert([text], STRING, ENUM, COLOURS) == [state]


@pytest.mark.parametrize("text", ["blue", "Red", "green ", "4", "-1", "", "1.5"])
def test_text_that_names_no_state_is_refused(text):
    with pytest.raises(CaprotoValueError, match="not one of the states"):
        convert([text], STRING, ENUM, COLOURS)


def test_an_enum_without_names_takes_any_16_bit_number():
    assert convert(["0", "65535"], STRING, ENUM, TextFormat()) == [0, 65535]
    with pytest.raises(CaprotoValueError):
        convert(["65536"], STRING, ENUM, TextFormat())


# ---- text ------------------------------------------------------------------------------------


def test_text_to_text_is_cut_at_39_bytes():
    assert convert(["x" * 39, "y" * 40], STRING, STRING, TextFormat()) == ["x" * 39, "y" * 39]


def test_text_is_never_cut_in_the_middle_of_a_letter():
    assert cut("ä" * 20) == "ä" * 19
    assert cut("x" * 38 + "€") == "x" * 38


def test_text_that_is_not_utf8_is_cut_by_bytes():
    latin = text_of_bytes(b"\xe4" * 50)
    assert encode_text(cut(latin)) == b"\xe4" * 39


def test_text_ends_at_the_first_zero_byte():
    assert text_of_bytes(b"ab\0cd") == "ab"
    assert text_of_bytes(b"\0") == text_of_bytes(b"") == ""


@given(st.binary().filter(lambda data: b"\0" not in data))
def test_bytes_that_are_no_text_go_back_unchanged(data):
    assert encode_text(text_of_bytes(data)) == data


@given(st.text())
def test_cut_text_is_a_beginning_of_it_that_fits(text):
    try:
        encode_text(text)
    except CaprotoValueError:  # lone surrogates that do not stand for bytes
        return
    short = cut(text)
    assert text.startswith(short) and len(encode_text(short)) <= 39
    assert len(encode_text(text)) < 40 or len(encode_text(short)) > 35
