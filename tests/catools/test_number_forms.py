"""Numbers for people, and without loss."""
from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from caproto import ChannelType
from caproto._catools.number_forms import human, human_texts, precise


def test_numbers_for_people():
    for number, units, text in (
        (1665780000.0, "Hz", "1.666 GHz"), (1e9, "Hz", "1 GHz"), (999.96, "V", "1 kV"),
        (-0.00123, "A", "-1.23 mA"), (1e-9, "s", "1 ns"), (0.0, "V", "0 V"),
        (1.5, "m", "1.5 m"), (12, "V", "12 V"), (3e-30, "A", "3e-06 yA"), (2e27, "eV", "2000 YeV"),
        (1665780000.0, "mm", "1,665,780,000 mm"), (12345.678, "mm", "12,346 mm"),
        (3.14159, "mm", "3.142 mm"), (-123456, "counts", "-123,456 counts"), (7, "", "7"),
        (0.00005, "mm", "5e-05 mm"), (1e20, "", "1e+20"), (0.0, "", "0"), (0.25, "", "0.25"),
        (1536.0, "B", "1.5 KiB"), (1572864, "bytes", "1.5 MiB"), (512, "bytes", "512 bytes"),
        (math.nan, "V", "nan V"), (math.inf, "", "inf"),
    ):
        assert human(number, units) == text


def test_without_loss_and_as_short_as_can_be():
    for number, text in (
        (2.0**-149, "1e-45"), (3 * 2.0**-149, "4e-45"), (-(2.0**-126), "-1.1754944e-38"),
        (0.10000000149011612, "0.1"), (0.0, "0.0"), (16777216.0, "16777216.0"),
    ):
        assert precise(number, ChannelType.FLOAT) == text
    assert precise(0.1, ChannelType.DOUBLE) == "0.1"


def test_an_array_has_its_units_once():
    assert human_texts([1.0, 2000.0], "V") == ["1", "2,000", "V"]
    assert human_texts([2000.0], "V") == ["2 kV"]
    assert human_texts([], "") == []


@given(st.floats(allow_nan=False))
def test_precise_numbers_read_back(number):
    assert float(precise(number, ChannelType.DOUBLE)) == number


def test_precise_numbers_are_short():
    assert precise(9007199254740993.0, ChannelType.DOUBLE) == "9007199254740992.0"
    assert precise(0.10000000149011612, ChannelType.FLOAT) == "0.1"


@given(st.floats(-1e300, 1e300), st.sampled_from(["mm", ""]))
def test_numbers_for_people_are_near(number, units):
    text = human(number, units).removesuffix(units).replace(",", "")
    assert math.isclose(float(text), number, rel_tol=1e-3)
