"""Tables for people are aligned and fit; HTML tables show the same, escaped."""
from __future__ import annotations

import pytest

from caproto._client.tables import cut, html_table, terminal_width, text_block, text_table


def test_columns_are_aligned():
    table = text_table(("name", "value"), [("a", "1"), ("longer", "22")], 80)
    assert table.splitlines() == ["name    value", "a       1", "longer  22"]


@pytest.mark.parametrize("width", [20, 40, 79])
def test_a_wide_table_is_cut_to_the_width(width):
    rows = [("name" * 10, "value" * 20, "x"), ("n", "v", "text " * 40)]
    lines = text_table(("a", "b", "c"), rows, width).splitlines()
    assert max(map(len, lines)) <= width
    assert "…" in lines[1] and "…" in lines[2]


def test_only_the_widest_columns_are_cut():
    (_, line) = text_table(("a", "b"), [("x" * 10, "y" * 100)], 40).splitlines()
    assert line == "x" * 10 + "  " + "y" * 27 + "…"


def test_a_short_row_ends_with_a_cell_over_the_other_columns():
    rows = [("one", "1", "2"), ("two", "a long text about what went wrong")]
    assert text_table(("name", "a", "b"), rows, 80).splitlines() == [
        "name  a  b", "one   1  2", "two   a long text about what went wrong",
    ]


def test_a_cell_with_several_lines_stays_on_one():
    assert text_table(("a",), [("one\ntwo",)], 80).splitlines()[1:] == ["one two"]
    assert cut("one\n two", 80) == "one two" and cut("abcdef", 4) == "abc…"
    assert cut("two  blanks ", 80) == "two  blanks " and cut("a\tb", 80) == "a b"


def test_a_block_is_aligned_and_cut():
    block = text_block("title", [("a", "1"), ("longer", "x" * 50), ("empty", "")], 30)
    assert block.splitlines() == ["title", "  a       1", "  longer  " + "x" * 19 + "…", "  empty"]
    assert text_block("title", [], 30) == "title"


def test_html_is_escaped():
    html = html_table("<caption>", ("a", "b"), [("<x>", "&"), ("one cell",)])
    assert "&lt;caption&gt;" in html and "&lt;x&gt;" in html and "&amp;" in html
    assert 'colspan="2"' in html and "<x>" not in html
    assert "thead" not in html_table("", (), [("a", "b")])


def test_the_width_of_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "123")
    assert terminal_width() == 123
