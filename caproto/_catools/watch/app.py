"""The app: keys and clicks change the table, a timer has it drawn."""
from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress
from functools import partial

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.events import Event, Key, Paste
from textual.widgets import Static

from ..._errors import CaprotoError
from .cells import printable
from .ending import Ending
from .grid import Grid, Titles
from .keys import KEYS, help_text, key_line
from .rows import Row
from .screens import Confirmation, KeyLine, Page, Question
from .source import Source
from .table import TICKS_PER_SECOND, Table

__all__ = ["WatchApp"]

#: Seconds that a message stays on the screen.
_MESSAGE_TIME = 10.0
#: What the keys of the table do.
_ACTIONS = frozenset(key.action.partition("(")[0] for key in KEYS)


class WatchApp(App[None]):
    """The table on the screen.

    Parameters
    ----------
    source : Source
    table : Table
    ending : Ending
        What has signals end the app.
    """

    TITLE = "caproto-monitor"
    ENABLE_COMMAND_PALETTE = False
    # The colours are those of the terminal, whose background may be light or dark.
    CSS = """
    Screen, Screen * { color: ansi_default; background: ansi_default; }
    Screen * {
        scrollbar-background: ansi_default; scrollbar-background-hover: ansi_default;
        scrollbar-background-active: ansi_default; scrollbar-color: ansi_bright_black;
        scrollbar-color-hover: ansi_bright_black; scrollbar-color-active: ansi_bright_black;
    }
    Question, Confirmation { background: transparent; }
    #summary { height: 1; text-style: bold; }
    #message { height: auto; text-style: bold; }
    """
    BINDINGS = [
        *(Binding(key.keys, key.action, priority=True) for key in KEYS),
        Binding("ctrl+c", "interrupt", priority=True),
        Binding("ctrl+z", "suspend_process"),
    ]

    def __init__(self, source: Source, table: Table, ending: Ending) -> None:
        super().__init__(ansi_color=True)
        self._source = source
        self._table = table
        self._ending = ending
        self._summary = Static(markup=False, id="summary")
        self._message = Static(markup=False, id="message")
        self._message_end = 0.0  # of its time on the screen, on the monotonic clock
        self._grid = Grid(table, colours=not self.no_color)
        self._titles = Titles(table, self._grid)

    def compose(self) -> ComposeResult:
        """Make the parts."""
        yield self._summary
        yield self._titles
        yield self._grid
        yield self._message
        yield KeyLine(key_line())

    # ---- what happens

    def on_mount(self) -> None:
        """Begin to draw, and have signals end the app so that the terminal is as before."""
        self.set_interval(1 / TICKS_PER_SECOND, self._tick)
        # After Ctrl-Z the shell has used the screen.
        self.app_resume_signal.subscribe(self, lambda _app: self.screen.refresh(layout=True))
        loop = asyncio.get_running_loop()

        def end(status: int) -> None:
            with suppress(RuntimeError):  # it has ended already
                loop.call_soon_threadsafe(partial(self.exit, return_code=status))

        self._ending.call_at_signals(end)

    async def on_event(self, event: Event) -> None:
        """Do what a key asks for, all of it before the next one."""
        await super().on_event(event)
        if isinstance(event, (Key, Paste)) and isinstance(self.screen, Question):
            await self.screen.wait_for_line()

    def on_grid_resized(self) -> None:
        """Choose the columns that fit."""
        self._arrange()

    def on_titles_clicked(self, event: Titles.Clicked) -> None:
        """Sort."""
        self._table.sort_by(event.column)
        self._arrange()

    def _tick(self) -> None:
        """Draw what has changed."""
        before = self._table.shown
        if self._table.tick(time.time(), time.monotonic()):
            self._say_summary()
        if self._table.shown is before or self._table.shown == before:
            self._grid.update()
        else:
            self._grid.show_selected()
        while self._source.messages:
            self._say(self._source.messages.popleft())
        if self._message.content and time.monotonic() > self._message_end:
            self._message.update("")

    def _say(self, text: str) -> None:
        """Show a message for a while."""
        self._message.update(printable(text))
        self._message_end = time.monotonic() + _MESSAGE_TIME

    def _say_summary(self) -> None:
        summary = self._table.summary()
        if summary != self._summary.content:
            self._summary.update(summary)

    def _arrange(self) -> None:
        """Draw everything: rows, filters or the size of the terminal have changed."""
        self._grid.fit_columns()
        self._titles.refresh()
        self._say_summary()

    # ---- keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the keys of the table to the screen over it, if there is one."""
        return len(self.screen_stack) == 1 or action not in _ACTIONS

    def action_move(self, step: int) -> None:
        """Select another row."""
        self._table.select(self._table.place + step)
        self._grid.show_selected()

    def action_page(self, step: int) -> None:
        """Select a row that is a screen away."""
        self.action_move(step * max(1, self._grid.size.height - 1))

    def action_first(self) -> None:
        """Select the first row."""
        self.action_move(-len(self._table.shown))

    def action_last(self) -> None:
        """Select the last row."""
        self.action_move(len(self._table.shown))

    def action_sort(self, step: int) -> None:
        """Sort by another column."""
        self._table.sort_by_next(step)
        self._arrange()

    def action_reverse(self) -> None:
        """Reverse the order."""
        self._table.sort_by(self._table.sorted_by)
        self._arrange()

    def action_freeze(self) -> None:
        """Stop the display, or go on."""
        self._table.freeze(not self._table.frozen)
        self._arrange()

    def action_alarms(self) -> None:
        """Show only alarms, or all."""
        self._table.alarms_only = not self._table.alarms_only
        self._table.arrange()
        self._arrange()

    async def action_filter(self) -> None:
        """Ask for a filter; it applies while it is typed."""
        before = self._table.filter

        def apply(text: str | None) -> None:
            self._table.filter = before if text is None else text
            self._table.arrange()
            self._arrange()

        question = "Names to show: parts or patterns (*, ?), ! before what is not to be shown"
        await self.push_screen(Question(question, before, changed=apply), apply)

    async def action_add(self) -> None:
        """Ask for names of PVs to add."""

        def add(text: str | None) -> None:
            try:
                self._table.add(self._source.add((text or "").split()))
            except CaprotoError as error:
                self._say(str(error))
            self._arrange()

        await self.push_screen(Question("PVs to add, with blanks between their names"), add)

    def action_remove(self) -> None:
        """Remove the selected PV."""
        row = self._table.selected
        if row is not None:
            self._source.remove(row)
            self._table.remove(row)
            self._arrange()

    async def action_write(self) -> None:
        """Ask for a value for the selected PV, and whether it is to be written."""
        row = self._table.selected
        if row is None:
            return
        label = row.label
        present = f"{row.shown.text} {row.units}".rstrip() or "without a value"

        async def ask(text: str | None) -> None:
            if text:  # Enter in an empty line writes nothing
                question = f"Write '{printable(text)}' to {label}? It is {present}."
                await self.push_screen(Confirmation(question), partial(write, text))

        def write(text: str, confirmed: bool | None) -> None:
            if confirmed:
                self.run_worker(self._write(row, text))

        await self.push_screen(Question(f"Value for {label}, which is {present}"), ask)

    async def _write(self, row: Row, text: str) -> None:
        try:
            await asyncio.to_thread(self._source.write, row, text)
        except CaprotoError as error:
            self._say(f"{row.name} = {text}: {error}")

    async def action_describe(self) -> None:
        """Show everything about the selected PV."""
        row = self._table.selected
        if row is not None:
            await self.push_screen(Page(partial(self._source.describe, row)))

    async def action_help(self) -> None:
        """Show the keys."""
        await self.push_screen(Page(help_text))

    def action_interrupt(self) -> None:
        """End as programs do after Ctrl-C."""
        self.exit(return_code=128 + signal.SIGINT)
