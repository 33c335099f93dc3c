"""Grid: draws the table on the screen, line by line; only lines that have changed.

A line is one strip of a few segments. textual's DataTable, which has a renderable for each cell,
took a third of a core for four redraws a second; this takes a sixth for twenty.
"""
from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from .cells import width_of
from .columns import GAP, Column, Layout, cells_of, layout_for, titles_of
from .rows import Row
from .table import Table

__all__ = ["Grid", "Titles"]

_PLAIN = Style()
_SELECTED = Style(reverse=True)
_TITLE = Style(bold=True, underline=True)
#: By the alarm of a row; without colours the text of the alarm says the same.
_STYLES = {
    "": _PLAIN,
    "minor": Style(color="yellow"),
    "major": Style(color="red", bold=True),
    "invalid": Style(color="magenta", bold=True),
    "disconnected": Style(dim=True, italic=True),
}
#: Columns in the colour of the alarm; all, without connection.
_COLOURED = {"value", "units", "alarm"}
_BLANKS = " " * GAP


class Titles(Widget):
    """The line with the titles of the columns; a click on one sorts by it."""

    DEFAULT_CSS = "Titles { height: 1; }"

    class Clicked(Message):
        """A click on the title of a column."""

        def __init__(self, column: Column) -> None:
            super().__init__()
            self.column = column

    def __init__(self, table: Table, grid: Grid) -> None:
        super().__init__()
        self._table = table
        self._grid = grid

    def render_line(self, y: int) -> Strip:
        """Draw the line."""
        table = self._table
        titles = titles_of(self._grid.layout_shown, table.sorted_by, downwards=table.downwards)
        line = Strip([Segment(_BLANKS.join(titles), _TITLE)])
        return line.crop_extend(0, self.size.width, _TITLE)

    def on_click(self, event: events.Click) -> None:
        """Find the column."""
        end = 0
        for column, width in self._grid.layout_shown:
            end += width + GAP
            if event.x < end:
                if column.key is not None:
                    self.post_message(self.Clicked(column))
                return


class Grid(ScrollView, can_focus=True):
    """The rows.

    Parameters
    ----------
    table : Table
    colours : bool
        Whether alarms have colours.

    Attributes
    ----------
    layout_shown : Layout
        The columns.
    """

    class Resized(Message):
        """There is another number of rows or columns."""

    # The place of the scroll bar is always left free, so that columns do not depend on it.
    DEFAULT_CSS = """
    Grid { height: 1fr; scrollbar-size: 0 1; scrollbar-gutter: stable; }
    """

    def __init__(self, table: Table, *, colours: bool) -> None:
        super().__init__()
        self._table = table
        self.layout_shown: Layout = ()
        self._styles = {
            alarm: style if colours else style.without_color for alarm, style in _STYLES.items()
        }
        #: The cells of rows as they are on the screen.
        self._drawn: dict[Row, list[str]] = {}

    def on_resize(self, event: events.Resize) -> None:
        """Pass it on; meanwhile nothing is drawn."""
        self.post_message(self.Resized())

    def fit_columns(self) -> None:
        """Choose the columns for the width that there is, and draw everything."""
        rows = self._table.rows
        longest = max((width_of(row.label) for row in rows), default=0)
        self.virtual_size = Size(self.size.width, len(self._table.shown))
        self.layout_shown = layout_for(self.scrollable_content_region.width, longest)
        self.show_selected()

    def redraw(self) -> None:
        """Draw all lines."""
        self.virtual_size = Size(self.size.width, len(self._table.shown))
        self._drawn.clear()
        self.refresh()

    def update(self) -> None:
        """Draw the lines that have changed."""
        table, top = self._table, self.scroll_offset.y
        if table.frozen:
            return
        changed = []
        for y, row in enumerate(table.shown[top : top + self.size.height]):
            row.take()
            cells = cells_of(row, self.layout_shown, table.now)
            if cells != self._drawn.get(row):
                self._drawn[row] = cells
                changed.append(Region(0, y, self.size.width, 1))
        if changed:
            self.refresh(*changed)

    def show_selected(self) -> None:
        """Scroll so far that the selected row is on the screen; draw everything."""
        place, top, height = self._table.place, self.scroll_offset.y, self.size.height
        if place < top:
            self.scroll_to(y=place, animate=False)
        elif place >= top + height:
            self.scroll_to(y=place - height + 1, animate=False)
        self.redraw()

    def on_click(self, event: events.Click) -> None:
        """Select the row."""
        place = self.scroll_offset.y + event.y
        if place < len(self._table.shown):
            self._table.select(place)
            self.redraw()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw some lines, without borders and so on: the base class looks for them each time."""
        return [
            self.render_line(y).crop(crop.x, crop.right) for y in range(crop.y, crop.bottom)
        ]

    def render_line(self, y: int) -> Strip:
        """Draw one line."""
        shown, place = self._table.shown, self.scroll_offset.y + y
        width = self.region.width
        if place >= len(shown):
            return Strip.blank(width, _PLAIN)
        row = shown[place]
        cells = self._drawn.get(row)
        if cells is None:
            cells = self._drawn[row] = cells_of(row, self.layout_shown, self._table.now)
        selected = row is self._table.selected
        base = _SELECTED if selected else _PLAIN
        line = Strip(self._segments(row, cells, base))
        return line.crop_extend(0, width, base)

    def _segments(self, row: Row, cells: Sequence[str], base: Style) -> list[Segment]:
        """Join neighbours of the same colour: each segment costs time."""
        alarm = row.alarm
        coloured = base + self._styles[alarm]
        if coloured == base or alarm == "disconnected":
            return [Segment(_BLANKS.join(cells), coloured)]
        segments: list[Segment] = []
        text, style = "", base
        for (column, _), cell in zip(self.layout_shown, cells, strict=True):
            wanted = coloured if column.title in _COLOURED else base
            if wanted is not style:
                segments.append(Segment(text, style))
                text, style = "", wanted
            text += cell + _BLANKS
        segments.append(Segment(text[: -len(_BLANKS)], style))
        return segments
