"""Sparkline: the trend of a number, a character for each second."""
from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["sparkline"]

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(numbers: Sequence[float | None], width: int) -> str:
    """Draw the last numbers between the lowest and the highest of them.

    Parameters
    ----------
    numbers : sequence of float or None
        None and NaN leave a blank. Infinite ones do not count for the scale.
    width : int
        Columns.

    Returns
    -------
    str
        The newest at the right.
    """
    shown = numbers[-width:] if width else []
    finite = [number for number in shown if number is not None and math.isfinite(number)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(_bar(number, low, high) for number in shown).rjust(width)


def _bar(number: float | None, low: float, high: float) -> str:
    if number is None or number != number:
        return " "
    if number <= low:
        return _BARS[0]
    if number >= high:
        return _BARS[-1]
    # Halves, because the difference of the largest numbers is infinite.
    share = (number / 2 - low / 2) / (high / 2 - low / 2)
    return _BARS[min(int(share * len(_BARS)), len(_BARS) - 1)]
