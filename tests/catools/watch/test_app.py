"""The table as a user sees it, with the PVs of a real IOC."""
from __future__ import annotations

import asyncio
import os
import signal

import pytest
from textual.widgets import Input

from tests.catools.watch.playing import play


def test_values_and_their_alarms(own_ioc):
    names = [own_ioc.pv(name) for name in ("double", "enum", "string")]
    own_ioc.put("double", "85")

    async def script(user):
        await user.sees("85.000", "MAJOR (HIHI)", "green", "hello")
        line = next(line for line in user.lines() if "85.000" in line)
        assert line.split() == [names[0], "85.000", "mm", "MAJOR", "(HIHI)", *line.split()[5:]]
        assert line.rstrip().endswith("connected")
        await user.sees("3 PVs, 3 connected, 1 in alarm")
        own_ioc.put("double", "1")
        await user.sees("  1.000", but_not=["MAJOR"])

    play(own_ioc, names, script)


def test_a_server_that_dies_and_comes_back(own_ioc):
    async def script(user):
        await user.sees("3.140", "1 connected")
        own_ioc.kill()
        await user.sees("disconnected", "3.140", "0 connected")
        await asyncio.to_thread(own_ioc.start)
        await user.until(lambda: "1 connected" in user.text(), timeout=30)
        await user.sees("3.140", but_not=["disconnected"])

    play(own_ioc, [own_ioc.pv("double")], script)


def test_filter_sort_and_selection(ioc):
    names = [ioc.pv(name) for name in ("long", "double", "enum")]

    async def script(user):
        def shown():
            return [row.name for row in user.table.shown]

        await user.sees("3 connected", "green")
        await user.press("down")
        assert user.table.selected.name == ioc.pv("double")
        await user.press("s")
        assert shown() == sorted(names) and "name▲" in user.text()
        assert user.table.selected.name == ioc.pv("double")
        await user.press("r")
        assert shown() == sorted(names, reverse=True) and "name▼" in user.text()
        await user.press("S")
        assert shown() == names
        await user.press("slash")
        await user.type("!long")
        await user.sees("2 shown", "filter: !long", but_not=["-123456"])
        await user.press("enter")
        assert shown() == names[1:]
        await user.press("f", "backspace")
        await user.press("escape")
        await user.until(lambda: shown() == names[1:])
        await user.press("end", "home", "pagedown", "pageup", "G", "g", "j", "k")
        assert user.table.selected.name == names[1]
        await user.press("a")
        await user.sees("alarms only", "0 shown")
        await user.press("w", "enter", "minus")  # without a selected row they do nothing

    play(ioc, names, script)


def test_clicks(ioc):
    names = [ioc.pv(name) for name in ("long", "double")]

    async def script(user):
        await user.sees("3.140")
        await user.pilot.click("Grid", offset=(5, 1))
        assert user.table.selected.name == ioc.pv("double")
        await user.pilot.click("Titles", offset=(1, 0))
        assert [row.name for row in user.table.shown] == names[::-1]
        await user.pilot.click("Titles", offset=(1, 0))
        assert [row.name for row in user.table.shown] == names

    play(ioc, names, script)


def test_freezing(own_ioc):
    async def script(user):
        await user.sees("3.140")
        await user.press("space")
        await user.sees("FROZEN")
        own_ioc.put("double", "7")
        feed = user.table.rows[0]
        await user.until(lambda: feed._received > 1)
        await user.pilot.pause(0.2)
        assert "3.140" in user.text()
        await user.press("space")
        await user.sees("7.000", but_not=["FROZEN"])

    play(own_ioc, [own_ioc.pv("double")], script)


def test_adding_and_removing(ioc):
    async def script(user):
        await user.sees("3.140")
        await user.press("plus")
        await user.type(f"{ioc.pv('long')} {ioc.pv('enum')}")
        await user.press("enter")
        await user.sees("3 PVs", "-123456", "green")
        await user.press("minus")
        await user.sees("2 PVs", but_not=["3.140"])
        assert user.table.selected.name == ioc.pv("long")
        await user.press("insert")
        user.app.screen.query_one(Input).value = "x" * 5000
        await user.press("enter")
        await user.sees("has more than the")
        assert len(user.table.rows) == 2
        await user.press("plus", "escape", "minus", "minus", "minus")
        await user.sees("0 PVs")

    play(ioc, [ioc.pv("double")], script)


def test_info_and_explanation(ioc):
    async def script(user):
        await user.sees("3.140")
        await user.press("enter")
        await user.sees("upper_ctrl_limit", "90.0")
        await user.press("r", "escape")
        await user.press("down", "enter")
        await user.sees("'nonsense': searching")
        await user.press("q")
        await user.sees("3.140", but_not=["'nonsense': searching"])

    play(ioc, [ioc.pv("double"), "nonsense"], script, size=(120, 30))


def test_writing_needs_a_confirmation(own_ioc):
    async def script(user):
        await user.sees("3.140")
        await user.press("w")
        await user.sees(f"Value for {own_ioc.pv('double')}, which is 3.140 mm")
        await user.type("42")
        await user.press("enter")
        await user.sees(f"Write '42' to {own_ioc.pv('double')}? It is 3.140 mm.")
        await user.press("enter", "x")
        await user.press("n")
        await user.pilot.pause(0.2)
        assert own_ioc.get("double") == "3.14"
        await user.press("w")
        await user.type("42")
        await user.press("enter", "y")
        await user.sees("42.000", "= 42: written")
        await user.press("down", "w")
        await user.type("5")
        await user.press("enter", "y")
        await user.sees("is not connected, so nothing was written")

    play(own_ioc, [own_ioc.pv("double"), "nonsense"], script)


def test_keys_in_a_burst_reach_what_they_open(own_ioc):
    """No pause is needed after a key that opens or closes something."""
    name = own_ioc.pv("double")

    async def script(user):
        await user.sees("3.140")
        user.burst("w", "2", "full_stop", "5", "enter")
        await user.sees(f"Write '2.5' to {name}?")
        user.burst("n", "w", "4", "2", "enter", "y", "w", "enter", "w", "7", "escape", "s", "r")
        await user.sees("42.000", "= 42: written", "name▼", but_not=["Write '", "Value for"])
        user.burst("plus", *own_ioc.pv("long"), "enter", "slash", *"xy", "enter")
        await user.sees("2 PVs", "0 shown", "filter: xy")
        user.burst("f", "backspace", "backspace", "escape", "f", *"z", "escape")
        await user.sees("filter: xy", but_not=["filter: xyz"])
        user.burst("f", "backspace", "backspace", "enter", "enter", "q", "question_mark", "q")
        await user.sees("2 PVs", "42.000", "-123456", but_not=["filter", "upper_ctrl_limit"])
        user.burst("f", *"ab", "left", "c", "home", "d", "end", "backspace", "enter")
        await user.sees("filter: dac")
        user.burst("q", "w")
        await user.until(lambda: user.app._exit)

    play(own_ioc, [name], script)
    assert own_ioc.get("double") == "42"


def test_help(ioc):
    async def script(user):
        await user.press("question_mark")
        await user.sees("Stop the display, or go on")
        await user.press("escape")

    play(ioc, [], script, size=(100, 30))


@pytest.mark.parametrize("keys", [["q"], ["w", "ctrl+c"], ["enter", "ctrl+c"]])
def test_ending(ioc, keys):
    async def script(user):
        await user.sees("3.140")
        await user.press(*keys)

    app = play(ioc, [ioc.pv("double")], script)
    assert app.return_code == (0 if keys == ["q"] else 130)


def test_signals_end_it(ioc):
    for number in (signal.SIGTERM, signal.SIGINT):
        async def script(user, number=number):
            await user.sees("3.140")
            os.kill(os.getpid(), number)
            await user.until(lambda: user.app._exit)

        assert play(ioc, [ioc.pv("double")], script).return_code == 128 + number


@pytest.mark.parametrize(
    "size",
    [
        (10, 3),
        *(pytest.param(size, marks=pytest.mark.thorough)
          for size in ((1, 1), (30, 5), (80, 24), (300, 90))),
    ],
)
def test_sizes(ioc, size):
    async def script(user):
        await user.until(lambda: all(row.shown.text for row in user.table.rows))
        await user.press("down", "end", "enter", "escape", "w", "escape")
        await user.pilot.resize_terminal(100, 20)
        await user.sees("3.140", "green")
        await user.pilot.resize_terminal(*size)
        await user.press("up", "question_mark", "escape")

    play(ioc, [ioc.pv("double"), ioc.pv("enum")], script, size=size)
