"""Columns of the table: their titles and widths, what they show of a row, and how they sort."""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ..._typing import NamedTuple
from .cells import fit
from .rows import CONNECTED, Row
from .sparkline import sparkline

__all__ = ["COLUMNS", "GAP", "Column", "Layout", "age_text", "cells_of", "layout_for", "titles_of"]

#: Blanks between columns.
GAP = 2
#: Marks of the column by which the rows are sorted: upwards, downwards.
_UP, _DOWN = "▲", "▼"


class Column(NamedTuple):
    """A column."""

    title: str
    #: Columns of the terminal that it needs at least, and uses at most.
    width: int
    widest: int
    #: What it shows of a row at a moment (POSIX seconds), in a number of columns.
    text: Callable[[Row, float, int], str]
    #: By what it sorts; None for a row without, which comes last. None if it does not sort.
    key: Callable[[Row, float], Any] | None = None
    #: Whether the highest come first, unless the order is reversed.
    downwards: bool = False
    right: bool = False


class Place(NamedTuple):
    """A column that is shown, and how wide."""

    column: Column
    width: int


Layout = Sequence[Place]


def _name_key(row: Row, _now: float) -> list[str | int]:
    """Sort c2 before c10: texts and numbers take turns."""
    parts = re.split(r"([0-9]+)", row.name.lower())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def _value_key(row: Row, _now: float) -> tuple[int, float, str] | None:
    """Sort numbers before texts."""
    number, text = row.shown.number, row.shown.text
    if number is None:
        return (1, 0.0, text) if text else None
    return (0, number, "") if number == number else None


def age_text(seconds: float | None) -> str:
    """Write an age in its largest unit, with at most three digits."""
    if seconds is None:
        return ""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def _rate_text(row: Row) -> str:
    if row.state != CONNECTED:
        return ""
    return f"{row.rate:.1f}" if row.rate < 1000 else f"{row.rate:.0f}"


_NAME = Column("name", 12, 60, lambda row, now, width: row.label, _name_key)
_VALUE = Column("value", 12, 40, lambda row, now, width: row.shown.text, _value_key, right=True)
_UNITS = Column("units", 8, 8, lambda row, now, width: row.units, lambda row, now: row.units)
_ALARM = Column(
    "alarm", 14, 16, lambda row, now, width: row.shown.alarm, lambda row, now: row.rank,
    downwards=True,
)
_AGE = Column(
    "age", 5, 5, lambda row, now, width: age_text(row.age(now)), lambda row, now: row.age(now),
    downwards=True, right=True,
)
_RATE = Column(
    "rate/s", 7, 7, lambda row, now, width: _rate_text(row), lambda row, now: row.rate,
    downwards=True, right=True,
)
_TREND = Column(
    "trend", 10, 60, lambda row, now, width: sparkline(list(row.trend), width)
)
_STATE = Column(
    "state", 12, 12, lambda row, now, width: row.state, lambda row, now: row.state
)

#: From left to right.
COLUMNS = (_NAME, _VALUE, _UNITS, _ALARM, _AGE, _RATE, _TREND, _STATE)
#: In this order they are left out of a terminal that is too narrow.
_FIRST_TO_GO = (_TREND, _RATE, _UNITS, _AGE, _ALARM, _STATE, _VALUE)


def layout_for(width: int, longest_name: int) -> Layout:
    """Choose the columns that fit, and their widths.

    Parameters
    ----------
    width : int
        Columns of the terminal.
    longest_name : int
        The width of the longest name.
    """
    shown = list(COLUMNS)
    for column in _FIRST_TO_GO:
        if _needed(shown) <= width:
            break
        shown.remove(column)
    spare = max(0, width - _needed(shown))
    widths = {column.title: column.width for column in shown}
    # Who gets the spare columns, and up to which width.
    for column, widest in (
        (_NAME, longest_name), (_ALARM, _ALARM.widest), (_TREND, 20), (_VALUE, 24),
        (_TREND, _TREND.widest), (_VALUE, _VALUE.widest),
    ):
        if column in shown:
            more = min(spare, max(0, min(widest, column.widest) - widths[column.title]))
            widths[column.title] += more
            spare -= more
    if shown == [_NAME]:
        widths[_NAME.title] = width
    return [Place(column, widths[column.title]) for column in shown]


def _needed(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def cells_of(row: Row, layout: Layout, now: float) -> list[str]:
    """Write the cells of a row, each as wide as its column."""
    return [
        fit(column.text(row, now, width), width, right=column.right) for column, width in layout
    ]


def titles_of(layout: Layout, sorted_by: Column | None, *, downwards: bool) -> list[str]:
    """Write the titles, with a mark at that of the column by which the rows are sorted."""
    mark = _DOWN if downwards else _UP
    return [
        fit(column.title + mark * (column is sorted_by), width, right=column.right)
        for column, width in layout
    ]
