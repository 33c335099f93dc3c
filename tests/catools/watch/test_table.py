"""Which rows a table shows, in which order, and which one is selected."""
from __future__ import annotations

import pytest

from caproto._catools.watch.columns import COLUMNS
from caproto._catools.watch.table import TICKS_PER_SECOND, Table, name_filter
from tests.catools.watch.updates import MOMENT, row, update

NAME, VALUE, _, ALARM = COLUMNS[:4]


def table_of(*rows):
    table = Table()
    table.now = MOMENT
    table.add(rows)
    return table


def names(table):
    return [made.name for made in table.shown]


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("", ["a:x1", "a:x12", "B:y[0]"]),
        ("x1", ["a:x1", "a:x12"]),
        ("b:", ["B:y[0]"]),
        ("*x?", ["a:x1"]),
        ("a: !x12", ["a:x1"]),
        ("!x", ["B:y[0]"]),
        ("[0]", ["B:y[0]"]),
        ("a b", []),
    ],
)
def test_filters(text, wanted):
    check = name_filter(text)
    assert [name for name in ("a:x1", "a:x12", "B:y[0]") if check(name)] == wanted


def test_rows_are_shown_as_they_were_added():
    table = table_of(row("b"), row("a"))
    table.add([row("c")])
    assert names(table) == ["b", "a", "c"]
    assert table.selected is table.rows[0]


def test_sorting_and_the_opposite_order():
    table = table_of(row("b", 2), row("a", 3), row("c"))
    table.sort_by(VALUE)
    assert names(table) == ["b", "a", "c"]
    table.sort_by(VALUE)
    assert names(table) == ["a", "b", "c"]  # what has no value stays last
    table.sort_by(NAME)
    assert names(table) == ["a", "b", "c"]


def test_the_worst_alarm_comes_first():
    table = table_of(row("a", 1), row("b", 1, severity=2), row("c", 1, severity=2))
    table.sort_by(ALARM)
    assert names(table) == ["b", "c", "a"] and table.downwards


def test_the_order_in_which_they_were_added_can_be_reversed():
    table = table_of(row("b"), row("a"))
    table.sort_by(None)
    assert names(table) == ["a", "b"]


def test_the_next_and_the_previous_column():
    table = table_of(row("a"))
    seen = []
    for _ in range(9):
        table.sort_by_next(1)
        seen.append(table.sorted_by)
    assert seen.count(None) == 1 and {*seen} >= {c for c in COLUMNS if c.key}
    before = table.sorted_by
    table.sort_by_next(1)
    table.sort_by_next(-1)
    assert table.sorted_by is before


def test_the_selected_row_stays_selected_when_the_order_changes():
    table = table_of(row("b"), row("c"), row("a"))
    table.select(1)
    table.sort_by(NAME)
    assert table.selected.name == "c" and table.place == 2


def test_whatever_comes_first_is_selected_while_nothing_else_is():
    table = table_of(row("b"), row("c"), row("a"))
    table.sort_by(NAME)
    assert table.selected.name == "a"
    table.select(2)
    table.select(0)
    table.sort_by(NAME)
    assert table.selected.name == "c"


def test_selecting_ends_at_the_first_and_the_last():
    table = table_of(row("a"), row("b"))
    table.select(-3)
    assert table.selected.name == "a"
    table.select(9)
    assert table.selected.name == "b"
    empty = Table()
    empty.select(1)
    assert empty.selected is None


def test_the_row_after_a_removed_one_is_selected():
    table = table_of(row("a"), row("b"), row("c"))
    table.select(1)
    for following in ("c", "a"):
        table.remove(table.selected)
        assert table.selected.name == following
    table.remove(table.selected)
    assert table.selected is None and table.shown == []


def test_filter_and_alarms_only():
    lost = row("lost", 1)
    lost.note_disconnected()
    lost.take()
    table = table_of(row("a", 1), row("b", 1, severity=1), lost)
    table.alarms_only = True
    table.arrange()
    assert names(table) == ["b", "lost"] and table.selected.name == "b"
    table.select(1)
    table.filter = "l"
    table.arrange()
    assert names(table) == ["lost"] and table.selected is lost
    table.filter = "nothing"
    table.arrange()
    assert table.selected is None and table.place == 0


def test_a_frozen_table_stays_as_it_is():
    first, second = row("a", 1), row("b", 1)
    table = table_of(first, second)
    first.note_update(update(2))
    table.freeze(True)
    assert first.shown.number == 2.0  # what came before is still shown
    second.note_update(update(3))
    for number in range(2 * TICKS_PER_SECOND):
        assert not table.tick(MOMENT + 100, number / TICKS_PER_SECOND)
    assert second.shown.number == 1.0 and table.now == MOMENT
    table.freeze(False)
    assert second.shown.number == 3.0


def test_each_row_is_sampled_once_in_a_second():
    table = table_of(*(row(str(number), number) for number in range(50)))
    seconds = [table.tick(MOMENT, 0.0) for _ in range(3 * TICKS_PER_SECOND)]
    assert sum(seconds) == 3
    assert {len(made.trend) for made in table.rows} == {3}


def test_the_order_follows_the_values():
    first, second = row("a", 1), row("b", 2)
    table = table_of(first, second)
    table.sort_by(VALUE)
    first.note_update(update(3))
    for _ in range(TICKS_PER_SECOND):
        table.tick(MOMENT, 0.0)
    assert names(table) == ["b", "a"]


def test_the_summary():
    table = table_of(row("a", 1), row("b", 1, severity=1))
    assert table.summary() == "2 PVs, 2 connected, 1 in alarm"
    table.filter = "b"
    table.alarms_only = True
    table.arrange()
    table.freeze(True)
    assert table.summary() == (
        "2 PVs, 2 connected, 1 in alarm, filter: b, alarms only, 1 shown, FROZEN"
    )
