from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caproto._errors import CaprotoValueError
from caproto._protocol.enums import ClosedIntEnum, OpenIntEnum, ReadableIntFlag


class Metal(OpenIntEnum):
    IRON = 26
    GOLD = 79


class Wheel(ClosedIntEnum):
    FRONT = 0
    REAR = 1


class Mode(ReadableIntFlag):
    NONE = 0
    READ = 1
    WRITE = 2


@given(st.integers())
def test_an_open_enum_takes_any_integer(number):
    member = Metal(number)
    assert isinstance(member, Metal)
    assert member == number
    assert eval(repr(member)) == member


def test_an_open_enum_keeps_its_members():
    Metal(1)
    assert list(Metal) == [Metal.IRON, Metal.GOLD]
    assert repr(Metal(1)) == "Metal(1)"
    assert str(Metal(1)) == "UNKNOWN(1)"
    assert repr(Metal(79)) == "Metal.GOLD"


@pytest.mark.parametrize("value", ["IRON", None, 2.5])
def test_an_open_enum_wants_integers(value):
    with pytest.raises(CaprotoValueError, match="is not a Metal"):
        Metal(value)


@pytest.mark.parametrize("value", [2, -1, "FRONT", None])
def test_a_closed_enum_names_its_range(value):
    with pytest.raises(CaprotoValueError, match=r"is not a Wheel; they run from 0 to 1 \(REAR\)"):
        Wheel(value)


def test_names_in_text_and_numbers_on_request():
    assert f"{Wheel.REAR}" == str(Wheel.REAR) == "REAR"
    assert f"{Wheel.REAR:d}" == "1"
    assert f"{Mode.WRITE:d}" == "2"


@given(st.integers(0, 255))
def test_a_flag_evaluates_back(number):
    mode = Mode(number)
    assert mode == number
    assert eval(repr(mode)) == number


def test_how_a_flag_prints():
    assert repr(Mode(0)) == "Mode.NONE"
    assert repr(Mode.READ | Mode.WRITE) == "Mode.READ | Mode.WRITE"
    assert repr(Mode(5)) == "Mode(5)"
