"""Screens over the table."""
from __future__ import annotations

import asyncio

import pytest
from textual.app import App
from textual.widgets import Input

from caproto._catools.watch.screens import Confirmation, Page, Question


def answer(screen, *keys):
    """Show a screen and press keys; return what it answers, 'open' if it is still there."""
    answers = []

    async def run():
        app = App()
        async with app.run_test() as pilot:
            app.push_screen(screen, answers.append)
            await pilot.pause()
            await pilot.press(*keys)
            await pilot.pause()
            return answers[0] if answers else "open"

    return asyncio.run(run())


@pytest.mark.parametrize(
    "text, keys, expected",
    [
        ("", ["5", "enter"], "5"),
        ("ab", ["c", "enter"], "abc"),
        ("ab", ["enter"], "ab"),
        ("ab", ["escape"], None),
        ("", ["q", "y"], "open"),
    ],
)
def test_questions(text, keys, expected):
    assert answer(Question("Value?", text), *keys) == expected


def test_each_change_is_passed_on():
    seen = []
    answer(Question("Which?", "", changed=seen.append), "a", "b", "backspace")
    assert [text for text in seen if text] == ["a", "ab", "a"]


@pytest.mark.parametrize(
    "key, expected",
    [("y", True), ("n", False), ("escape", False), ("enter", "open"), ("space", "open")],
)
def test_confirmations(key, expected):
    assert answer(Confirmation("Sure?"), key) == expected


def test_a_question_is_shown_as_it_is():
    """It has names and values of others: nothing in it is markup."""
    text = "Write [red]x[/red] to [/]?"

    async def run():
        app = App()
        async with app.run_test() as pilot:
            for screen in (Question(text), Confirmation(text)):
                app.push_screen(screen)
                await pilot.pause()
                shown = [strip.text for strip in screen._compositor.render_strips()]
                assert text in "".join(shown)
            assert app.screen_stack[1].query_one(Input).value == ""

    asyncio.run(run())


def test_a_page_is_made_again_on_request():
    made = []

    def make():
        made.append(f"[text] number {len(made)}")
        return made[-1]

    async def run():
        app = App()
        async with app.run_test() as pilot:
            page = Page(make)
            app.push_screen(page)
            for number in range(2):
                while page._text.content != f"[text] number {number}":
                    await pilot.pause(0.01)
                await pilot.press("r")
            await pilot.press("escape")
            assert len(app.screen_stack) == 1

    asyncio.run(run())
