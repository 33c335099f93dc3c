"""Numbers for people (1.67 GHz) and without loss (1665780000.1)."""
from __future__ import annotations

import math

from .._protocol.dbr import ChannelType
from .._protocol.payload import shortest

__all__ = ["JsonNumber", "human", "human_texts", "precise"]

#: Units that take a prefix, as they are written in records.
_TAKE_PREFIX = frozenset(
    "A B Bq C F Gy H Hz J K L Ohm Pa S Sv T V VA W Wb bar bit cps eV g l m mol ohm s \u03a9".split()
)
#: Units that count in powers of 1024.
_BINARY = frozenset(("B", "byte", "bytes", "Byte", "Bytes"))
_PREFIXES = dict(zip(range(-24, 25, 3), "yzafpn\u00b5m kMGTPEZY"))
_BINARY_PREFIXES = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
#: Significant digits.
_DIGITS = 4
#: From here on and down to there, numbers without a prefix have an exponent.
_LARGEST, _SMALLEST = 1e15, 1e-4


class JsonNumber(float):
    """A number as it is written in JSON, of which the nearest float may have lost something."""

    text: str

    def __new__(cls, text: str) -> JsonNumber:
        """Make one."""
        made = super().__new__(cls, text)
        made.text = text
        return made


def precise(number: float, native: ChannelType) -> str:
    """Write a number in the shortest way from which the same number is read again."""
    if native is ChannelType.FLOAT:
        return shortest(number)
    return repr(number)


def human(number: float, units: str) -> str:
    """Write a number for people, with its units.

    Parameters
    ----------
    number : float or int
    units : str
        Of SI, they get a prefix: ``1.666 GHz``. Bytes get a binary one: ``1.5 MiB``. With others
        the digits are grouped: ``1,665,780,000 mm``.
    """
    if not math.isfinite(number):
        return _with_units(str(number), units)
    if units in _BINARY:
        return _with_binary_prefix(number, units)
    if units in _TAKE_PREFIX:
        return _with_prefix(number, units)
    return _with_units(_grouped(number), units)


def human_texts(numbers: list[float], units: str) -> list[str]:
    """Write the elements of an array for people; only the last one has the units."""
    if len(numbers) == 1:
        return [human(numbers[0], units)]
    return [human(number, "") for number in numbers] + [units] * bool(units)


def _with_units(text: str, units: str) -> str:
    return f"{text} {units}" if units else text


def _grouped(number: float) -> str:
    if isinstance(number, int):
        return f"{number:,}"
    if number and not _SMALLEST <= abs(number) < _LARGEST:
        return f"{number:.{_DIGITS}g}"
    whole = len(str(int(abs(number))))  # all digits before the point are kept
    text = f"{number:,.{max(_DIGITS - whole, 0)}f}"
    if abs(number) < 1:
        text = f"{number:.{_DIGITS}g}"
    return _without_zeros(text)


def _without_zeros(text: str) -> str:
    """Drop the zeros at the end of decimals."""
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def _with_prefix(number: float, units: str) -> str:
    mantissa, _, exponent = f"{number:.{_DIGITS - 1}e}".partition("e")
    power = min(max(int(exponent) // 3 * 3, -24), 24) if number else 0
    shown = float(mantissa) * 10.0 ** (int(exponent) - power)
    return f"{shown:.{_DIGITS}g} {_PREFIXES[power].strip()}{units}"


def _with_binary_prefix(number: float, units: str) -> str:
    step = 0
    while abs(number) >= 1024 and step < len(_BINARY_PREFIXES) - 1:
        number, step = number / 1024, step + 1
    letter = "B" if step else units
    return f"{_without_zeros(f'{number:.{_DIGITS}g}')} {_BINARY_PREFIXES[step]}{letter}"
