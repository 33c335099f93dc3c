"""Plays a user of the table: presses keys, looks at the screen. No terminal is needed."""
from __future__ import annotations

import asyncio
import time

from textual.events import Key

from caproto._catools.settings import Settings
from caproto._catools.watch.app import WatchApp
from caproto._catools.watch.ending import Ending
from caproto._catools.watch.source import Source
from caproto._catools.watch.table import Table
from caproto.threading.client import Context


def play(ioc, names, script, size=(120, 16)):
    """Run ``await script(user)`` with a table of these PVs; return the app after its end."""

    async def run(ending):
        with Context(configuration=ioc.configuration) as context:
            source, table = Source(context, Settings("caproto-monitor")), Table()
            table.add(source.add(names))
            app = WatchApp(source, table, ending)
            async with app.run_test(size=size) as pilot:
                await script(User(app, table, pilot))
            return app

    with Ending(()) as ending:
        return asyncio.run(run(ending))


class User:
    """Somebody in front of the screen."""

    def __init__(self, app, table, pilot):
        self.app, self.table, self.pilot = app, table, pilot

    async def press(self, *keys):
        await self.pilot.press(*keys)

    async def type(self, text):
        names = {" ": "space", "!": "exclamation_mark", ":": "colon"}
        await self.press(*(names.get(letter, letter) for letter in text))

    def burst(self, *keys):
        """Type keys without a pause between them, as a paste or a script does."""
        for key in keys:
            letter = {"full_stop": ".", "space": " "}.get(key, key if len(key) == 1 else None)
            self.app.post_message(Key(key, letter))

    def lines(self):
        """The screen, a text for each line."""
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    def text(self):
        return "\n".join(self.lines())

    async def sees(self, *texts, but_not=()):
        """Wait until the screen has these texts, and has not others."""
        await self.until(
            lambda: all(text in self.text() for text in texts)
            and not any(text in self.text() for text in but_not)
        )

    async def until(self, condition, timeout=15.0):
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, self.text()
            await self.pilot.pause(0.02)
