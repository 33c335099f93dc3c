"""What the prompt of IPython shows of an object, without IPython."""
from __future__ import annotations


class Printer:
    """Takes what IPython would print."""

    def __init__(self):
        self.printed = ""

    def text(self, text):
        assert "\n" not in text
        self.printed += text

    def break_(self):
        self.printed += "\n"


def pretty(thing) -> str:
    printer = Printer()
    thing._repr_pretty_(printer, cycle=False)
    return printer.printed
