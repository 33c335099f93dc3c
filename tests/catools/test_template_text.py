"""The text of templates."""
from __future__ import annotations

import pytest

from caproto._catools.options import UsageError
from caproto._catools.template_text import Braces, read_template


def test_escape_sequences_and_braces():
    assert read_template(r"{a!r:>5}\t{{}}\xc3\xa9{b.c[0]}") == (
        "{a!r:>5}\t{{}}\u00e9{b.c[0]}", [Braces("a", ">5", "r"), Braces("b.c[0]", "", "")]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [("{a", "'{a': expected '}'"), ("{a:{b}}", "{a} takes no braces"), ("}", "Single '}'")],
)
def test_what_cannot_be_read(text, said):
    with pytest.raises(UsageError, match="^--format: ") as raised:
        read_template(text)
    assert said in str(raised.value)


def test_widths_that_fit_a_line():
    Braces("a", ">9999.1234f", "").check_widths()
    for form in ("10000", ".00001f", "<2000000000"):
        with pytest.raises(UsageError, match="have at most 4 digits"):
            Braces("a", form, "").check_widths()
