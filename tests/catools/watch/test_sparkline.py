"""The trend of a number in one line."""
from __future__ import annotations

import math

import pytest

from caproto._catools.watch.sparkline import sparkline


@pytest.mark.parametrize(
    "numbers, drawn",
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([-1000, 1000, -1000], "▁█▁"),
        ([5, 5, 5], "▁▁▁"),
        ([], ""),
        ([1, None, math.nan, 2], "▁  █"),
        ([1, math.inf, -math.inf, 2], "▁█▁█"),
        ([math.inf, math.inf], "██"),
        ([-1.7e308, 0, 1.7e308], "▁▅█"),
        ([0, 5e-324], "▁█"),
    ],
)
def test_drawing(numbers, drawn):
    assert sparkline(numbers, len(numbers)) == drawn


def test_the_newest_are_at_the_right():
    assert sparkline([9, 0, 1], 2) == "▁█"
    assert sparkline([0, 1], 4) == "  ▁█"
    assert sparkline([0, 1], 0) == ""
