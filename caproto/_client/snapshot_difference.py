"""What differs between two snapshots of many PVs."""
from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from .._errors import CaprotoTypeError, CaprotoValueError
from .._numbers import counted, is_real
from .._protocol.text import decode_text
from .snapshot_columns import SnapshotColumns, plain_value, value_words
from .tables import cut_line, html_table, shown_rows, terminal_width, text_table

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from .snapshot_columns import Column

#: Kinds of dtype that can be subtracted.
_NUMBERS = "biuf"
#: Characters of a long text that are shown, and how many of them before the first difference.
_LONGEST_PART, _BEFORE_DIFFERENCE = 40, 10


class SnapshotDifference:
    """The PVs whose values differ between two snapshots. It is falsy if there are none.

    It prints as a table that fits the terminal. Arrays of CHAR that are text with a zero byte at
    the end are shown as text, around the first difference. Element *i* of each array belongs to
    ``names[i]``.

    Attributes
    ----------
    names : tuple of str
        Those that differ, in the order of the first snapshot; then those that only the second one
        has.
    before, after : numpy.ndarray of object, shape (n,)
        The values, as in the snapshots. None where one is missing.
    difference : numpy.ndarray of float, shape (n,)
        *after* - *before*. Of arrays, the one of the element with the largest difference. NaN for
        texts, for arrays of different lengths, and where one value is missing.
    missing_before, missing_after : numpy.ndarray of bool, shape (n,)
        Whether only the other snapshot has a value.
    compared : int
        How many PVs have a value in at least one of the snapshots.
    """

    __slots__ = (
        "names", "before", "after", "difference", "missing_before", "missing_after", "compared",
    )

    def __init__(
        self, before: SnapshotColumns, after: SnapshotColumns, *, atol: float, rtol: float
    ) -> None:
        import numpy

        _check_tolerance("atol", atol)
        _check_tolerance("rtol", rtol)
        names, first, second = _aligned(before, after)
        in_first = numpy.append(before.ok, False)[first]  # the last one for the position -1
        in_second = numpy.append(after.ok, False)[second]
        both = numpy.flatnonzero(in_first & in_second)
        difference = numpy.full(len(names), numpy.nan)
        differs = in_first != in_second
        differs[both], difference[both] = _compare(
            before.values[first[both]], after.values[second[both]], atol, rtol
        )
        rows = numpy.flatnonzero(differs)
        self.names = tuple(names[row] for row in rows.tolist())
        self.before = _objects(before.values, first[rows], in_first[rows])
        self.after = _objects(after.values, second[rows], in_second[rows])
        self.difference = difference[rows]
        self.missing_before, self.missing_after = ~in_first[rows], ~in_second[rows]
        self.compared = int(numpy.count_nonzero(in_first | in_second))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    # ---- for people

    _HEADER = ("name", "before", "after", "difference")

    def to_text(self, width: int | None = None) -> str:
        """Write all rows as a table, also those that are left out where it is printed.

        Parameters
        ----------
        width : int, optional
            Longer lines are cut to this width. Default: no line is cut.
        """
        return self._text(map(self._row, range(len(self))), width)

    def _text(self, rows: Iterable[Sequence[str]], width: int | None) -> str:
        if not self:
            return f"no differences ({counted(self.compared, 'PV')} compared)"
        width = sys.maxsize if width is None else width
        table = text_table(self._HEADER, list(rows), width)
        return f"{cut_line(self._title(), width)}\n{table}"

    def _title(self) -> str:
        return f"{len(self)} of {self.compared} PVs differ"

    def _rows(self) -> Iterator[Sequence[str]]:
        first, left_out, last = shown_rows(len(self))
        for row in first:
            yield self._row(row)
        if left_out:
            yield f"… {left_out} more …", ""
        for row in last:
            yield self._row(row)

    def _row(self, row: int) -> Sequence[str]:
        difference = float(self.difference[row])
        texts = _texts(self.before[row], self.after[row])
        if texts:
            return (self.names[row], *texts, "")
        return (
            self.names[row],
            "missing" if self.missing_before[row] else value_words(self.before[row]),
            "missing" if self.missing_after[row] else value_words(self.after[row]),
            f"{difference:+.6g}" if difference == difference else "",
        )

    def __str__(self) -> str:
        return self._text(self._rows(), terminal_width())

    __repr__ = __str__  # at the prompt

    def _repr_html_(self) -> str:
        return html_table(self._title(), self._HEADER, self._rows())


def _texts(before: object, after: object) -> tuple[str, str] | None:
    """Return two long texts, cut to where they differ; None if the values are others."""
    one, other = _long_text(before), _long_text(after)
    if one is None or other is None or not (one or other):
        return None
    start = max(0, len(os.path.commonprefix((one, other))) - _BEFORE_DIFFERENCE)
    return _part(one, start), _part(other, start)


def _long_text(value: object) -> str | None:
    """Return the text in an array of CHAR that ends in zero bytes; None if it is something else."""
    import numpy

    if not isinstance(value, numpy.ndarray) or value.ndim != 1 or value.dtype != numpy.uint8:
        return None
    raw, zero, rest = value.tobytes().partition(b"\0")
    text = decode_text(raw)
    return text if zero and not rest.strip(b"\0") and text.isprintable() else None


def _part(text: str, start: int) -> str:
    """Write a part of a text, with dots where more of it is."""
    end = start + _LONGEST_PART
    return f"'{'…' * (start > 0)}{text[start:end]}{'…' * (end < len(text))}'"


def _check_tolerance(name: str, tolerance: object) -> None:
    if not is_real(tolerance):
        raise CaprotoTypeError(f"{name} must be a number, not {tolerance!r}")
    if not float(tolerance) >= 0:
        raise CaprotoValueError(f"{name} must be 0 or more, not {tolerance!r}")


def _aligned(
    before: SnapshotColumns, after: SnapshotColumns
) -> tuple[Sequence[str], NDArray[numpy.intp], NDArray[numpy.intp]]:
    """List the names of both, and their positions in each; -1 for those that it does not have."""
    import numpy

    if before.names == after.names:
        positions = numpy.arange(len(before), dtype=numpy.intp)
        return before.names, positions, positions
    names = list(dict.fromkeys([*before.names, *after.names]))
    first, second = (
        numpy.fromiter((one.index.get(name, -1) for name in names), numpy.intp, len(names))
        for one in (before, after)
    )
    return names, first, second


def _are_numbers(*columns: Column) -> bool:
    return all(column.dtype.kind in _NUMBERS for column in columns)


def _compare(
    before: Column, after: Column, atol: float, rtol: float
) -> tuple[NDArray[numpy.bool_], NDArray[numpy.float64]]:
    """Tell for each row whether it differs, and by how much."""
    import numpy

    if _are_numbers(before, after) and before.shape[1:] == after.shape[1:]:
        return _by_rows(*_compare_numbers(before, after, atol, rtol))
    pairs = [
        _compare_one(plain_value(one), plain_value(other), atol, rtol)
        for one, other in zip(before, after, strict=True)
    ]
    return (
        numpy.array([differs for differs, _ in pairs], bool),
        numpy.array([difference for _, difference in pairs], float),
    )


def _compare_numbers(
    before: Column, after: Column, atol: float, rtol: float
) -> tuple[NDArray[numpy.bool_], NDArray[numpy.float64]]:
    """Compare arrays of numbers of one shape, element by element."""
    import numpy

    one, other = before.astype(numpy.float64), after.astype(numpy.float64)
    with numpy.errstate(invalid="ignore", over="ignore"):  # inf - inf
        difference = other - one
        near = numpy.abs(difference) <= atol + rtol * numpy.abs(one)
    finite = numpy.isfinite(one) & numpy.isfinite(other)
    both_nan = numpy.isnan(one) & numpy.isnan(other)
    return ~(near & finite | (one == other) | both_nan), difference


def _by_rows(
    differs: NDArray[numpy.bool_], difference: NDArray[numpy.float64]
) -> tuple[NDArray[numpy.bool_], NDArray[numpy.float64]]:
    """Of elements in rows, tell whether any differs, and the largest difference."""
    import numpy

    if differs.ndim == 1:
        return differs, difference
    any_differs: NDArray[numpy.bool_] = numpy.logical_or.reduce(differs, axis=1)
    if not differs.shape[1]:
        return any_differs, numpy.full(len(differs), numpy.nan)
    largest = numpy.argmax(numpy.nan_to_num(numpy.abs(difference), nan=-1.0), axis=1)
    return any_differs, difference[numpy.arange(len(differs)), largest]


def _compare_one(one: object, other: object, atol: float, rtol: float) -> tuple[bool, float]:
    """Compare two values of any type, as `_compare` does with rows."""
    import numpy

    first, second = numpy.atleast_1d(numpy.asarray(one)), numpy.atleast_1d(numpy.asarray(other))
    if first.shape != second.shape:
        return True, numpy.nan
    if _are_numbers(first, second):
        rows = _by_rows(*_compare_numbers(first[None], second[None], atol, rtol))
        return bool(rows[0][0]), float(rows[1][0])
    texts, others = (list(map(plain_value, array.tolist())) for array in (first, second))
    return texts != others, numpy.nan


def _objects(
    values: Column, positions: NDArray[numpy.intp], there: NDArray[numpy.bool_]
) -> NDArray[numpy.object_]:
    """Make an array of the values at some positions; None for those that are not there."""
    import numpy

    found = numpy.empty(len(positions), object)
    for row, (at, is_there) in enumerate(zip(positions, there, strict=True)):
        if is_there:
            found[row] = values[at]
    return found
