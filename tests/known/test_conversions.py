"""Text, addresses and times."""
from __future__ import annotations

from datetime import datetime, timezone

import pytest

import caproto as ca


def test_bytes_of_a_text():
    assert ca.ensure_bytes("é") == b"\xc3\xa9\0"
    assert ca.ensure_bytes(b"abc") == b"abc"
    for wrong in (None, 5):
        with pytest.raises(ca.CaprotoTypeError, match="str or bytes"):
            ca.ensure_bytes(wrong)


@pytest.mark.parametrize("text, number", [
    ("1.2.3.4", 0x01020304), ("0.0.0.0", 0), ("255.255.255.255", 2**32 - 1)
])
def test_addresses_as_numbers(text, number):
    assert ca.ipv4_to_int32(text) == number and ca.ipv4_from_int32(number) == text


def test_what_is_no_address():
    for text in ("localhost", "1.2.3", "1.2.3.256", "1.2.3.-4", ""):
        with pytest.raises(ca.CaprotoValueError):
            ca.ipv4_to_int32(text)
    for number in (-1, 2**32):
        with pytest.raises(ca.CaprotoValueError):
            ca.ipv4_from_int32(number)


def test_times():
    assert ca.epics_timestamp_to_unix(1, 500_000_000) == 631152001.5
    assert ca.timestamp_to_epics(631152001.5) == (1, 500_000_000)
    moment = datetime(1990, 1, 2, tzinfo=timezone.utc)
    assert ca.timestamp_to_epics(moment) == (86_400, 0)
    with pytest.raises(ca.CaprotoValueError):
        ca.timestamp_to_epics(0)


@pytest.mark.parametrize("call", [
    lambda wrong: ca.ipv4_to_int32(wrong),
    lambda wrong: ca.ipv4_from_int32(wrong),
    lambda wrong: ca.epics_timestamp_to_unix(wrong, 0),
    lambda wrong: ca.epics_timestamp_to_unix(0, wrong),
])
@pytest.mark.parametrize("wrong", [None, b"1.2.3.4", 1.5, [1]])
def test_wrong_arguments_are_named(call, wrong):
    with pytest.raises(ca.CaprotoTypeError, match=r"ip|seconds"):
        call(wrong)
