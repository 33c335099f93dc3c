"""Columns: which fit, what they show, how they sort."""
from __future__ import annotations

import math

import pytest

from caproto._catools.watch.cells import width_of
from caproto._catools.watch.columns import COLUMNS, GAP, age_text, cells_of, layout_for, titles_of
from tests.catools.watch.updates import MOMENT, row

BY_TITLE = {column.title: column for column in COLUMNS}


def titles(width, longest_name=12):
    return [column.title for column, _ in layout_for(width, longest_name)]


def test_a_wide_terminal_has_all_columns():
    assert titles(150) == [column.title for column in COLUMNS]


def test_the_usual_terminal_has_the_important_ones():
    assert titles(80) == ["name", "value", "units", "alarm", "age", "state"]


def test_a_narrow_one_keeps_name_and_value():
    assert titles(30) == ["name", "value"]
    assert titles(10) == ["name"]


@pytest.mark.parametrize("longest_name", [0, 20, 200])
def test_it_always_fits(longest_name):
    for width in range(1, 300):
        layout = layout_for(width, longest_name)
        assert sum(place.width for place in layout) + GAP * (len(layout) - 1) <= width
        assert all(place.width > 0 for place in layout)


def test_long_names_get_the_space_first():
    assert {place.column.title: place.width for place in layout_for(120, 35)}["name"] == 35


def test_cells():
    made = row("x", 3.5, severity=1, status=4)
    layout = layout_for(150, 12)
    cells = dict(zip([column.title for column, _ in layout], cells_of(made, layout, MOMENT + 70)))
    assert [width_of(cell) for cell in cells.values()] == [place.width for place in layout]
    assert {title: cell.strip() for title, cell in cells.items()} == {
        "name": "x", "value": "3.5", "units": "", "alarm": "MINOR (HIGH)", "age": "1 m",
        "rate/s": "0.0", "trend": "", "state": "connected",
    }
    assert cells["value"].endswith("3.5") and cells["name"].startswith("x")


def test_without_connection_there_is_no_rate():
    made = row("x", 1)
    made.rate = 12345.6
    (place,) = [place for place in layout_for(150, 12) if place.column.title == "rate/s"]
    assert cells_of(made, [place], MOMENT) == ["  12346"]
    made.note_disconnected()
    made.take()
    assert cells_of(made, [place], MOMENT) == ["       "]


@pytest.mark.parametrize(
    "seconds, text",
    [(None, ""), (0.9, "0 s"), (59.9, "59 s"), (60, "1 m"), (3599, "59 m"), (3600, "1 h"),
     (86399, "23 h"), (86400, "1 d"), (999 * 86400, "999 d")],
)
def test_ages(seconds, text):
    assert age_text(seconds) == text


def test_the_title_of_the_sorted_column_is_marked():
    layout = layout_for(150, 12)
    for column in COLUMNS:
        if column.key is None:
            continue
        up = titles_of(layout, column, downwards=False)
        down = titles_of(layout, column, downwards=True)
        assert "".join(up).count("▲") == "".join(down).count("▼") == 1
        assert list(map(width_of, up)) == [place.width for place in layout]
    assert "▲" not in "".join(titles_of(layout, None, downwards=False))


def sorted_by(title, *rows):
    key = BY_TITLE[title].key
    return sorted(rows, key=lambda made: key(made, MOMENT))


def test_names_sort_by_their_numbers():
    rows = [row(name) for name in ("b", "a10", "A9", "a", "10")]
    assert [made.name for made in sorted_by("name", *rows)] == ["10", "a", "A9", "a10", "b"]


def test_values_sort_as_numbers_before_texts():
    texts = row("x", b"text", data_type=14)
    rows = [texts, row("x", 10), row("x", -2), row("x", math.inf)]
    found = [made.shown.text for made in sorted_by("value", *rows)]
    assert found == ["-2.0", "10.0", "inf", "text"]


def test_rows_without_value_or_age_have_no_key():
    for title in ("value", "age"):
        assert BY_TITLE[title].key(row("x"), MOMENT) is None
    assert BY_TITLE["value"].key(row("x", math.nan), MOMENT) is None


def test_alarms_sort_by_severity():
    lost = row("x", 1)
    lost.note_disconnected()
    lost.take()
    rows = [row("x", 1), lost, row("x", 1, severity=3), row("x", 1, severity=1)]
    assert [made.rank for made in sorted_by("alarm", *rows)] == [0, 1, 3, 4]
