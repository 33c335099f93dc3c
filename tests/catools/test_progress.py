"""The bar of a terminal."""
from __future__ import annotations

import io

import pytest

from caproto._catools.progress import Progress


class Terminal(io.StringIO):
    """What a terminal shows of one line."""

    def isatty(self) -> bool:
        return True

    def line(self) -> str:
        shown = ""
        for part in self.getvalue().split("\r"):
            shown = part + shown[len(part):]
        return shown


def test_the_bar_grows_and_disappears():
    terminal = Terminal()
    with Progress(terminal) as progress:
        progress.show("reading", 0, 4)
        assert terminal.line() == f"reading [{'-' * 30}] 0/4"
        progress.show("reading", 4, 4)
        assert terminal.line() == f"reading [{'#' * 30}] 4/4"
    assert terminal.line().strip() == "" and terminal.getvalue().endswith("\r")


def test_it_is_not_drawn_more_often_than_one_can_see():
    terminal = Terminal()
    progress = Progress(terminal)
    for done in range(1000):
        progress.show("reading", done, 1000)
    assert terminal.getvalue().count("\r") < 100


def test_it_is_drawn_at_once_before_a_long_wait():
    terminal = Terminal()
    progress = Progress(terminal)
    progress.show("reading", 0, 4)
    progress.show("reading", 1, 4)
    assert terminal.line().endswith("0/4")
    progress.show("reading", 1, 4, at_once=True)
    assert terminal.line().endswith("1/4")


def test_nothing_of_a_longer_line_remains():
    terminal = Terminal()
    progress = Progress(terminal)
    progress.show("connecting", 1000, 1000)
    progress.show("reading", 5, 5)
    assert terminal.line().rstrip() == f"reading [{'#' * 30}] 5/5"


def test_it_disappears_after_an_exception():
    terminal = Terminal()
    with pytest.raises(KeyboardInterrupt), Progress(terminal) as progress:
        progress.show("reading", 5, 5)
        raise KeyboardInterrupt
    assert terminal.line().strip() == ""


def test_there_is_none_without_a_terminal(monkeypatch):
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.show("reading", 5, 5)
    assert stream.getvalue() == ""
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    with Progress(terminal) as progress:
        progress.show("reading", 5, 5)
    assert terminal.getvalue() == ""


def test_nothing_to_do():
    terminal = Terminal()
    with Progress(terminal) as progress:
        progress.show("reading", 0, 0)
        assert terminal.line() == f"reading [{'#' * 30}] 0/0"
