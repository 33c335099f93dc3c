"""What may be sent exactly as it is given, and what is refused."""
from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caproto import CaprotoValueError, ChannelType
from caproto._catools.exact_values import (
    JSON_KINDS,
    checked_text,
    element_from_json,
    number_from_word,
    state_number,
    state_with_name,
    unknown_state,
)
from caproto._catools.number_forms import JsonNumber

CHAR, INT, LONG = ChannelType.CHAR, ChannelType.INT, ChannelType.LONG
FLOAT, DOUBLE = ChannelType.FLOAT, ChannelType.DOUBLE
STRING, ENUM = ChannelType.STRING, ChannelType.ENUM
STATES = ["off", "on", "1", ""]


@pytest.mark.parametrize(
    ("word", "native", "number"),
    [("7", LONG, 7), (" -7 ", LONG, -7), ("0x1F", INT, 31), ("-0x10", LONG, -16),
     ("1e3", LONG, 1000), ("5.0", CHAR, 5), ("0", LONG, 0), ("0.1", FLOAT, 0.1),
     ("-.5e-3", DOUBLE, -5e-4),
     ("16777216", FLOAT, 2**24), ("0.0", DOUBLE, 0.0), ("0e9", FLOAT, 0.0),
     ("0e99999999", LONG, 0), ("0e9999999999999999999", LONG, 0), (".0e-99999999", DOUBLE, 0.0),
     ("inf", FLOAT, math.inf),
     ("-Infinity", DOUBLE, -math.inf), ("007.5", DOUBLE, 7.5)],
)
def test_numbers(word, native, number):
    assert number_from_word(word, native) == number


def test_not_a_number_is_one_of_floating_point():
    assert math.isnan(number_from_word("nan", DOUBLE))
    with pytest.raises(CaprotoValueError, match="'nan' is not a whole number, as LONG needs"):
        number_from_word("nan", LONG)


@pytest.mark.parametrize(
    ("word", "native", "said"),
    [("1.7", LONG, "1.7 is not a whole number"), ("7abc", LONG, "not a whole number"),
     ("1 2", LONG, "not a whole number"), ("", LONG, "not a whole number"), ("A", CHAR, "whole"),
     ("1.0000000000000000000000000000000001", LONG, "not a whole number"),
     ("1_0", DOUBLE, "number"),
     ("010", LONG, "leading zeros, which servers read as octal"), ("true", LONG, "whole"),
     ("1e99", LONG, "beyond the range of LONG"), ("1e999999999999999999999", LONG, "beyond"),
     ("1e309", DOUBLE, "beyond the range of DOUBLE"), ("1e39", FLOAT, "beyond the range of FLOAT"),
     ("1e-400", DOUBLE, "beyond the range"), ("1e-50", FLOAT, "the nearest it has is 0"),
     ("16777217", FLOAT, "FLOAT cannot hold 16777217; the nearest it has is 16777216"),
     (99 * "9", FLOAT, "beyond the range of FLOAT"), (5000 * "9", LONG, "beyond the range of LONG"),
     (400 * "9", FLOAT, "beyond the range"), (400 * "9", DOUBLE, "beyond the range of DOUBLE"),
     ("0x" + 99 * "f", FLOAT, "beyond the range of FLOAT"),
     ("9007199254740993", DOUBLE, "cannot hold"), ("5 mm", DOUBLE, "is not a number"),
     ("\u0665", LONG, "whole")],
)
def test_what_would_be_lost(word, native, said):
    with pytest.raises(CaprotoValueError, match=said):
        number_from_word(word, native)


@given(st.floats(allow_nan=False, width=32))
def test_a_float_comes_back(number):
    for native in (FLOAT, DOUBLE):
        assert struct.pack("d", number_from_word(repr(number), native)) == struct.pack("d", number)


def test_the_sign_of_zero_is_kept():
    for word in ("-0", "-0.0", "-0e5"):
        assert math.copysign(1, number_from_word(word, DOUBLE)) == -1
        assert math.copysign(1, element_from_json(JsonNumber(word), DOUBLE, ())) == -1


def test_texts():
    assert checked_text(r"a\tb\\c\x41 'x'") == b"a\tb\\cA 'x'"
    for word, said in (
        (r"C:\dir", r"\\d is not an escape"), (r"a\x00", "zero byte"), (r"a\xg", "not an escape"),
        ("a\\x", "not an escape"),
    ):
        with pytest.raises(CaprotoValueError, match=said):
            checked_text(word)
    assert checked_text("at the end\\") == b"at the end\\"


def test_states():
    assert state_number(3, STATES) == 3 and state_number(65535, []) == 65535
    for number, states in ((4, STATES), (70000, STATES), (-1, STATES), (65536, [])):
        with pytest.raises(CaprotoValueError, match=f"{number} is not the number of a state, 0 to"):
            state_number(number, states)


def test_states_by_name():
    """As they are, as JSON has them, and with escapes as the tools print them."""
    names = ["off", "gr\udcfcn", "µm", "", "two words"]
    for word, state in (("off", 0), ("gr\udcfcn", 1), ("grün", 1), ("µm", 2), ("two words", 4)):
        assert state_with_name(word, names) == state
    assert state_with_name(r"\xc2\xb5m", names, escapes=True) == 2
    assert state_with_name(r"gr\xfcn", names, escapes=True) == 1
    for word in ("", "on", r"\xc2\xb5m"):
        assert state_with_name(word, names) is None
    assert "there are off, grün, µm, two words" in str(unknown_state("x", names))


@pytest.mark.parametrize("text", ["ab\0", "\0", "a\0b"])
def test_a_zero_byte_in_json_is_refused(text):
    """Receivers would take it for the end; at the end it would be lost."""
    with pytest.raises(CaprotoValueError, match="zero byte"):
        element_from_json(text, STRING, ())


#: What JSON has, and the types to which it may be written.
TAKEN = [
    ("text", {STRING}), ("on", {STRING, ENUM}), ("1", {STRING, ENUM}), ("7", {STRING}),
    ("", {STRING}), ("NaN", {STRING, FLOAT, DOUBLE}), ("-Infinity", {STRING, FLOAT, DOUBLE}),
    *(
        (JsonNumber(text), types) for text, types in [
            ("2", {CHAR, INT, LONG, FLOAT, DOUBLE, ENUM}), ("7", {CHAR, INT, LONG, FLOAT, DOUBLE}),
            ("2.0", {CHAR, INT, LONG, FLOAT, DOUBLE, ENUM}), ("1.5", {FLOAT, DOUBLE}),
            ("9007199254740993", {CHAR, INT, LONG}), ("1e-400", set()), ("1e309", set()),
            ("1.00000000000000000001", {FLOAT, DOUBLE}),
            ("2147483647.00000000001", {FLOAT, DOUBLE}),
            ("9" * 5000, set()), ("0.00000000001e-300", {DOUBLE}),
        ]
    ),
    (True, set()), (False, set()), (None, set()), ([1], set()), ({"a": 1}, set()),
]


@pytest.mark.parametrize(("value", "types"), TAKEN)
def test_json(value, types):
    """The ranges of integers are checked when the message is made."""
    taken = set()
    for native in JSON_KINDS:
        try:
            made = element_from_json(value, native, STATES)
        except CaprotoValueError as error:
            assert str(native) in str(error) or "state" in str(error)
            continue
        taken.add(native)
        assert isinstance(made, str) == (native is STRING)
    assert taken == types


def test_json_is_shown_as_json():
    with pytest.raises(CaprotoValueError, match="^5.10 cannot be written to STRING, which takes a"):
        element_from_json(JsonNumber("5.10"), STRING, ())
    with pytest.raises(CaprotoValueError, match="^true cannot be written to LONG, which takes a"):
        element_from_json(True, LONG, ())
    with pytest.raises(CaprotoValueError, match=r"^\[1, 1, .{50}\.\.\. cannot be written to"):
        element_from_json([1] * 1000, DOUBLE, ())
