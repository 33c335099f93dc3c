"""Cells that no text can break."""
from __future__ import annotations

import pytest

from caproto._catools.watch.cells import fit, printable, width_of


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain µ 中", "plain µ 中"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\tb\nc\r\0", "a\\tb\\nc\\r\\x00"),
        ("\x9b31m", "\\x9b31m"),  # the same as ESC [ in eight bits
        ("\u202eright to left", "\\u202eright to left"),
        ("\udcb5", "\\udcb5"),
    ],
)
def test_what_commands_a_terminal_is_escaped(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("text, width", [("abc", 3), ("中文", 4), ("e\u0301", 1), ("", 0)])
def test_widths(text, width):
    assert width_of(text) == width


@pytest.mark.parametrize(
    "text, width, left, right",
    [
        ("abc", 5, "abc  ", "  abc"),
        ("abc", 3, "abc", "abc"),
        ("abcd", 3, "ab…", "ab…"),
        ("中文字", 5, "中文…", "中文…"),
        ("中文字", 4, "中… ", "中… "),
        ("abc", 1, "…", "…"),
        ("abc", 0, "", ""),
    ],
)
def test_fitting(text, width, left, right):
    assert fit(text, width) == left
    assert fit(text, width, right=True) == right


@pytest.mark.parametrize("text", ["", "abc", "中文字中文字", "e\u0301e\u0301中", "a" * 40])
def test_it_is_always_as_wide_as_asked(text):
    assert [width_of(fit(text, width)) for width in range(12)] == list(range(12))
