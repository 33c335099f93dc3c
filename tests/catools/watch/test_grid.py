"""The lines of the table, and which of them are drawn again."""
from __future__ import annotations

import asyncio

import pytest
from textual.app import App

from caproto._catools.watch.grid import Grid, Titles
from caproto._catools.watch.table import Table
from tests.catools.watch.updates import MOMENT, row, update


class Shown(App):
    """Nothing but the table, and no timer."""

    def __init__(self, table, colours):
        super().__init__(ansi_color=True)
        self.grid = Grid(table, colours=colours)
        self.titles = Titles(table, self.grid)

    def compose(self):
        yield self.titles
        yield self.grid


def show(script, *rows, colours=True, size=(100, 6)):
    table = Table()
    table.now = MOMENT
    table.add(rows)

    async def run():
        app = Shown(table, colours)
        async with app.run_test(size=size) as pilot:
            app.grid.fit_columns()
            await pilot.pause()
            await script(app, table, pilot)

    asyncio.run(run())


def styles(grid, y):
    """The styles of the texts of a line."""
    return {
        word: segment.style
        for segment in grid.render_line(y) for word in segment.text.split()
    }


@pytest.mark.parametrize("colours", [True, False])
def test_colours_of_alarms(colours):
    lost = row("lost", 5)
    lost.note_disconnected()
    lost.take()
    rows = [row("fine", 1), row("minor", 2, severity=1, status=4), row("major", 3, severity=2),
            row("invalid", 4, severity=3), lost]

    async def script(app, table, pilot):
        table.selected = None
        found = [styles(app.grid, y) for y in range(5)]
        seen = [line[f"{number}.0"].color for number, line in enumerate(found, 1)]
        names = [color.name if color else "" for color in seen]
        assert names == (["", "yellow", "red", "magenta", ""] if colours else [""] * 5)
        assert all(line[made.name].color is None for line, made in zip(found, rows))
        # Without colours there is the text of the alarm.
        assert "(HIGH)" in found[1] and found[2]["3.0"].bold and found[4]["5.0"].dim

    show(script, *rows, colours=colours, size=(100, 9))


def test_the_selected_row_is_reversed():
    async def script(app, table, pilot):
        assert styles(app.grid, 0)["a"].reverse and not styles(app.grid, 1)["b"].reverse
        table.select(1)
        assert styles(app.grid, 1)["b"].reverse and not styles(app.grid, 0)["a"].reverse

    show(script, row("a", 1), row("b", 2, severity=1))


def test_only_lines_that_change_are_drawn():
    first, second = row("a", 1), row("b", 2)

    async def script(app, table, pilot):
        drawn = []
        app.grid.refresh = lambda *regions: drawn.extend(regions)
        app.grid.update()
        assert drawn == []
        second.note_update(update(3))
        app.grid.update()
        assert [(region.y, region.height) for region in drawn] == [(1, 1)]
        app.grid.update()
        assert len(drawn) == 1
        table.now = MOMENT + 1  # all ages change
        app.grid.update()
        assert len(drawn) == 3

    show(script, first, second)


def test_a_frozen_table_is_not_drawn():
    first = row("a", 1)

    async def script(app, table, pilot):
        table.freeze(True)
        first.note_update(update(3))
        app.grid.update()
        app.grid.redraw()
        assert "1.0" in app.grid.render_line(0).text

    show(script, first)


def test_it_scrolls_to_the_selected_row():
    async def script(app, table, pilot):
        for place, first in ((50, 46), (48, 46), (10, 10), (0, 0), (99, 95)):
            table.select(place)
            app.grid.show_selected()
            await pilot.pause()
            assert app.grid.scroll_offset.y == first
            assert table.selected.name in [
                app.grid.render_line(y).text.split()[0] for y in range(app.grid.size.height)
            ]

    show(script, *(row(f"r{number}", number) for number in range(100)))


def test_lines_are_as_wide_as_the_screen_whatever_is_in_them():
    odd = row("n\x1b[2J中", b"\x1b]0;title\x07 \xe4\xb8\xad" + b"x" * 20, data_type=14)

    async def script(app, table, pilot):
        for y in range(3):
            line = app.grid.render_line(y)
            assert line.cell_length == app.grid.region.width
            assert line.text.isprintable()

    for width in (3, 10, 31, 100):
        show(script, odd, row("a", 1), size=(width, 5))
