"""Screens over the table: a question with one line of text, a yes or no, a long text.

Their keys have priority, as those of the table have: each is done before the next key is looked at,
which so reaches the screen that is then there, however quickly keys are typed.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

__all__ = ["Confirmation", "KeyLine", "Page", "Question"]

_BOX = """
{name} {{ align: center bottom; }}
{name} Vertical {{ height: auto; border: round ansi_default; }}
"""


class KeyLine(Static):
    """The last line of a screen, with its keys.

    Parameters
    ----------
    text : str
    """

    DEFAULT_CSS = "KeyLine { height: 1; text-style: reverse; }"

    def __init__(self, text: str) -> None:
        super().__init__(text, markup=False)


class _Line(Input, inherit_bindings=False):
    """A line of text whose keys have priority, too."""

    BINDINGS = [
        replace(binding, priority=True) for binding in Input.BINDINGS
        if isinstance(binding, Binding)
    ]


class Question(ModalScreen["str | None"]):
    """A question that is answered with one line of text; Escape gives None.

    Parameters
    ----------
    question : str
    text : str, optional
        What is in the line at first.
    changed : callable, optional
        Called with the text at each change.
    """

    DEFAULT_CSS = _BOX.format(name="Question")
    BINDINGS = [
        Binding("escape", "answer(False)", priority=True),
        Binding("enter", "answer(True)", priority=True),
    ]

    def __init__(
        self, question: str, text: str = "", changed: Callable[[str], None] | None = None
    ) -> None:
        super().__init__()
        self._question, self._text, self._changed = question, text, changed
        self._answered = False

    def compose(self) -> ComposeResult:
        """Make the parts."""
        with Vertical():
            yield Static(self._question, markup=False)
            yield _Line(self._text, select_on_focus=False, compact=True)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Pass the text on."""
        if self._changed is not None and not self._answered:
            self._changed(event.value)

    async def wait_for_line(self) -> None:
        """Wait until the line of text has taken what was typed."""
        taken = asyncio.Event()
        if self.query_one(Input).call_later(taken.set):
            await taken.wait()

    def action_answer(self, taken: bool) -> None:
        """End with the text, or with None."""
        self._answered = True
        self.dismiss(self.query_one(Input).value if taken else None)


class Confirmation(ModalScreen[bool]):
    """A question that is answered with y or n; Escape means n, Enter nothing.

    Parameters
    ----------
    question : str
    """

    DEFAULT_CSS = _BOX.format(name="Confirmation")
    BINDINGS = [
        Binding("y", "dismiss(True)", priority=True),
        Binding("n,escape", "dismiss(False)", priority=True),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Make the parts."""
        with Vertical():
            yield Static(self._question, markup=False)
            yield Static("y: yes    n, Esc: no", markup=False)


class Page(ModalScreen[None]):
    """A long text, to scroll through.

    Parameters
    ----------
    make : callable
        Returns the text. It may wait: it runs in a thread.
    """

    BINDINGS = [
        Binding("escape,q,enter", "dismiss(None)", priority=True),
        Binding("r", "load", priority=True),
    ]

    def __init__(self, make: Callable[[], str]) -> None:
        super().__init__()
        self._make = make
        self._text = Static("...", markup=False)

    def compose(self) -> ComposeResult:
        """Make the parts."""
        with VerticalScroll():
            yield self._text
        yield KeyLine("Esc Back  r Renew")

    def on_mount(self) -> None:
        """Get the text for the first time."""
        self.action_load()

    def action_load(self) -> None:
        """Get the text."""
        self.run_worker(self._load(), exclusive=True)

    async def _load(self) -> None:
        text = await asyncio.to_thread(self._make)
        if self.is_attached:  # the user may have left it meanwhile
            self._text.update(text)
