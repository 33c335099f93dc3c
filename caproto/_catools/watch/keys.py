"""Keys: what each does; the table, its help and the manual have them from here."""
from __future__ import annotations

from ..._typing import NamedTuple

__all__ = ["KEYS", "Key", "help_text", "key_line"]


class Key(NamedTuple):
    """A key, or several for the same."""

    #: As textual names them, with commas.
    keys: str
    #: As people name them.
    label: str
    action: str
    #: A word for the last line of the screen; empty for a key that is not there.
    word: str
    meaning: str


#: A narrow terminal shows the first ones only.
KEYS = (
    Key("question_mark,f1", "?, F1", "help", "Help", "Show these keys"),
    Key("q", "q", "quit", "Quit", "End, as Ctrl-C does"),
    Key("up,k", "up, k", "move(-1)", "", "Select the row above"),
    Key("down,j", "down, j", "move(1)", "", "Select the row below"),
    Key("pageup", "PgUp", "page(-1)", "", "Go up by a screen"),
    Key("pagedown", "PgDn", "page(1)", "", "Go down by a screen"),
    Key("home,g", "Home, g", "first", "", "Go to the first row"),
    Key("end,G", "End, G", "last", "", "Go to the last row"),
    Key("enter", "Enter", "describe", "Info", "All about the PV, and why it is not connected"),
    Key("w", "w", "write", "Write", "Write a value, after a confirmation"),
    Key("space", "Space", "freeze", "Freeze", "Stop the display, or go on"),
    Key("slash,f", "/, f", "filter", "Filter", "Show only some names: c1 or *:c? !c12"),
    Key("a", "a", "alarms", "Alarms", "Show only alarms and PVs without connection, or all"),
    Key("s", "s", "sort(1)", "Sort", "Sort by the next column"),
    Key("S", "S", "sort(-1)", "", "Sort by the previous column"),
    Key("r", "r", "reverse", "Reverse", "Reverse the order"),
    Key("plus,insert", "+, Ins", "add", "Add", "Add PVs by their names"),
    Key("minus,delete", "-, Del", "remove", "Remove", "Remove the PV from the table"),
)


def key_line() -> str:
    """Write the last line of the screen."""
    return "  ".join(f"{key.label.partition(',')[0]} {key.word}" for key in KEYS if key.word)


def help_text() -> str:
    """Write the table of the keys."""
    width = max(len(key.label) for key in KEYS)
    return "\n".join(f"{key.label:{width}}  {key.meaning}" for key in KEYS)
