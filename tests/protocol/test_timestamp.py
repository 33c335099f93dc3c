from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from fractions import Fraction

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caproto._errors import CaprotoTypeError, CaprotoValueError
from caproto._protocol.timestamp import TimeStamp

stamps = st.builds(TimeStamp, st.integers(0, 2**32 - 1), st.integers(0, 999_999_999))


@given(stamps)
def test_text_is_exact(stamp):
    assert TimeStamp.from_flexible_value(str(stamp)) == stamp


@given(stamps)
def test_datetime64_is_exact(stamp):
    moment = stamp.as_datetime64()
    assert moment.dtype == "datetime64[ns]"
    assert TimeStamp.from_flexible_value(moment) == stamp


@given(stamps)
def test_a_tuple_holds_the_two_fields(stamp):
    assert TimeStamp.from_flexible_value(tuple(stamp)) == stamp
    assert TimeStamp.from_flexible_value(stamp) is stamp


@given(stamps)
def test_datetime_is_exact_to_the_microsecond(stamp):
    moment = stamp.as_datetime()
    assert moment.utcoffset() == timedelta(0)
    again = TimeStamp.from_flexible_value(moment)
    assert again == stamp._replace(nanoseconds=stamp.nanoseconds // 1000 * 1000)


@given(stamps)
def test_float_is_as_exact_as_a_float_can_be(stamp):
    if stamp.timestamp >= 2**32 + 631152000:  # rounded up, beyond what a time stamp can hold
        with pytest.raises(CaprotoValueError, match="outside"):
            TimeStamp.from_flexible_value(stamp.timestamp)
        return
    again = TimeStamp.from_flexible_value(stamp.timestamp)
    difference = (again.seconds - stamp.seconds) * 10**9 + again.nanoseconds - stamp.nanoseconds
    assert abs(difference) < 1000


@given(st.floats(1.0e9, 4.9e9))
def test_a_float_is_rounded_to_the_nearest_nanosecond(value):
    stamp = TimeStamp.from_flexible_value(value)
    posix = (stamp.seconds + 631152000) * 10**9 + stamp.nanoseconds
    assert posix == round(Fraction(value) * 10**9)


@given(stamps, stamps)
def test_order_is_that_of_time(one, other):
    assert (one < other) == (one.as_datetime64() < other.as_datetime64())


def test_known_moments():
    # date -u -d @1795377662 says: Sun Nov 22 20:01:02 UTC 2026
    stamp = TimeStamp(1795377662 - 631152000, 123456789)
    assert str(stamp) == "2026-11-22T20:01:02.123456789Z"
    assert stamp.as_datetime() == datetime(2026, 11, 22, 20, 1, 2, 123456, timezone.utc)
    assert stamp.as_datetime64() == numpy.datetime64("2026-11-22T20:01:02.123456789")
    assert stamp.timestamp == pytest.approx(1795377662.123456789, abs=1e-6)
    assert str(TimeStamp(0, 0)) == "1990-01-01T00:00:00.000000000Z"
    assert repr(stamp) == "TimeStamp(seconds=1164225662, nanoseconds=123456789)"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T20:01:02.5Z",
        "2026-11-22 20:01:02.5Z",
        "2026-11-22T21:01:02.500+01:00",
        "2026-11-22T12:01:02.500000000-08:00",
    ],
)
def test_forms_of_text(text):
    assert TimeStamp.from_flexible_value(text) == TimeStamp(1164225662, 500_000_000)


def test_numbers_are_posix_seconds():
    assert TimeStamp.from_flexible_value(631152000) == TimeStamp(0, 0)
    assert TimeStamp.from_flexible_value(631152001.25) == TimeStamp(1, 250_000_000)
    # Rounds up to the next second without leaving 10**9 nanoseconds behind.
    assert TimeStamp.from_flexible_value(631152001.9999999999) == TimeStamp(2, 0)


def test_a_datetime_without_zone_is_local_time():
    moment = datetime(2026, 11, 22, 20, 1, 2, 123456)
    stamp = TimeStamp.from_flexible_value(moment)
    assert stamp.timestamp == pytest.approx(moment.timestamp(), abs=1e-6)


def test_now():
    before = time.time_ns()
    stamp = TimeStamp.now()
    after = time.time_ns()
    assert before <= stamp.as_datetime64().astype(int) <= after


@pytest.mark.parametrize(
    "value",
    [
        0.0,
        631151999.9,
        float(2**32 + 631152000),
        float("nan"),
        float("inf"),
        1e300,
        (-1, 0),
        (2**32, 0),
        (0, 10**9),
        (0, -1),
        datetime(1989, 12, 31, 23, 59, 59, tzinfo=timezone.utc),
        "2126-11-22T20:01:02Z",
        "2026-13-22T20:01:02Z",
        "2026-11-22T20:01:02",
        "yesterday",
        numpy.datetime64("NaT", "ns"),
        numpy.datetime64("3000-01-01"),
    ],
    ids=str,
)
def test_moments_that_cannot_travel(value):
    with pytest.raises(CaprotoValueError):
        TimeStamp.from_flexible_value(value)


@pytest.mark.parametrize("value", [None, b"x", (1,), (1, 2, 3), (1.5, 2), [1, 2]], ids=str)
def test_not_a_time(value):
    with pytest.raises(CaprotoTypeError, match="is not a time"):
        TimeStamp.from_flexible_value(value)


def test_numpy_is_not_needed():
    code = (
        "import sys\n"
        "from caproto._protocol.timestamp import TimeStamp\n"
        "print(TimeStamp.from_flexible_value(1e9).as_datetime(), 'numpy' in sys.modules)\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.endswith("False\n")


def test_the_names_of_the_c_library():
    stamp = TimeStamp(7, 8)
    assert (stamp.secondsSinceEpoch, stamp.nanoSeconds) == (7, 8)


def test_from_a_posix_time():
    assert TimeStamp.from_unix_timestamp(631152001.5) == (1, 500_000_000)
    with pytest.raises(CaprotoValueError):
        TimeStamp.from_unix_timestamp(0.0)


def test_a_dictionary_for_json():
    stamp = TimeStamp(1, 500_000_000)
    assert json.loads(json.dumps(stamp.to_dict())) == {"timestamp": 631152001.5}
