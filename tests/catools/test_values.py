"""Numbers and texts as the EPICS tools write them."""
from __future__ import annotations

import math

import pytest

from caproto import DBR_CTRL_ENUM, ChannelType, ReadNotifyResponse
from caproto._catools.settings import Settings
from caproto._catools.values import Reading, escaped, unescaped, value_texts


def texts(data, data_type, long_text=False, metadata=None, **options):
    settings = Settings("caget")
    for name, value in options.items():
        setattr(settings, name, value)
    response = ReadNotifyResponse(data, data_type, None, 1, 1, metadata=metadata)
    return value_texts(Reading.from_response(response), settings, long_text)


def test_floats():
    assert texts([3.14159265, 1e6, -0.0], ChannelType.DOUBLE) == ["3.14159", "1e+06", "-0"]
    assert texts([0.5], ChannelType.FLOAT, float_format="%.3f") == ["0.500"]
    assert texts([math.nan, -math.nan], ChannelType.DOUBLE) == ["nan", "-nan"]


def test_floats_rounded():
    values = [2.5, -2.5, 1e20, math.nan, -2147483648.2]
    assert texts(values, ChannelType.DOUBLE, float_base="x") == [
        "0x3", "0xFFFFFFFD", "0x80000000", "0x80000000", "0x80000000",
    ]


def test_integers():
    assert texts([200], ChannelType.CHAR, integer_base="x") == ["-56"]
    assert texts([-1], ChannelType.INT, integer_base="o") == ["0o37777777777"]
    assert texts([5], ChannelType.LONG, integer_base="b") == ["101"]


def test_states():
    metadata = DBR_CTRL_ENUM(enum_strings=[b"off", "µ".encode()])
    assert texts([1], ChannelType.CTRL_ENUM, metadata=metadata) == ["µ"]
    assert texts([7], ChannelType.CTRL_ENUM, metadata=metadata) == ["Enum Index Overflow (7)"]
    assert texts([1], ChannelType.CTRL_ENUM, metadata=metadata, enum_as_number=True) == ["1"]
    assert texts([1], ChannelType.ENUM) == ["1"]


def test_long_text_ends_at_its_zero():
    assert texts(b"abc\0def", ChannelType.CHAR, long_text=True) == ["abc"]


@pytest.mark.parametrize(
    ("raw", "text"),
    [(b"a\tb\"c'\\", "a\\tb\\\"c\\'\\\\"), (b"\xc2\xb5\x7f\x1b", "\\xc2\\xb5\\x7f\\x1b")],
)
def test_escapes_there_and_back(raw, text):
    assert escaped(raw) == text
    assert unescaped(text) == raw


@pytest.mark.parametrize(
    ("text", "raw"),
    [("\\101", b"101"), ("\\x41B", b"AB"), ("\\xg", b"\0g"), ("end\\", b"end\\"),
     ("\udce9", b"\xe9")],
)
def test_unusual_escapes(text, raw):
    assert unescaped(text) == raw


def test_zeros():
    assert list(Reading.zeros(ChannelType.TIME_LONG, 3).elements) == [0, 0, 0]
