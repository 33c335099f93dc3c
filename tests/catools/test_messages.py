"""What the tools say on standard error."""
from __future__ import annotations

import io
import sys

import pytest

from caproto._catools.messages import say


def test_a_line_on_standard_error(capsys):
    say(ValueError("it is wrong"))
    assert capsys.readouterr() == ("", "it is wrong\n")


@pytest.mark.parametrize("closed", [False, True])
def test_what_cannot_be_said_is_no_failure(monkeypatch, closed):
    with open("/dev/full", "wb", buffering=0) as full:
        stream = io.TextIOWrapper(full, line_buffering=True)
        if closed:
            full.close()
        monkeypatch.setattr(sys, "stderr", stream)
        say("it is wrong")
        say("and so is this")
        assert sys.stderr is not stream, "the interpreter would write the rest at its end"
