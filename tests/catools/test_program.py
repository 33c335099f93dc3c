"""How every tool begins and ends."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from caproto import CaprotoValueError, __version__
from caproto._catools.options import CONNECTION, HELP
from caproto._catools.program import Tool, run
from caproto._catools.settings import Failed


def tool(work=lambda settings, words: 0):
    return Tool("caproto-get", "PV", "Prints.", {**HELP, **CONNECTION}, work)


def test_the_status_is_that_of_the_work():
    assert run(tool(lambda settings, words: len(words)), ["a", "b"]) == 2


@pytest.mark.parametrize(
    ("error", "said"),
    [(Failed("It failed."), "It failed.\n"),
     (CaprotoValueError("bad name"), "caproto-get: bad name\n")],
)
def test_errors_are_one_line(error, said, capsys):
    def work(settings, words):
        raise error

    assert run(tool(work), []) == 1
    assert capsys.readouterr() == ("", said)


def test_ctrl_c_is_silent(capsys):
    def work(settings, words):
        raise KeyboardInterrupt

    assert run(tool(work), []) == 130
    assert capsys.readouterr() == ("", "")


def test_help_and_version(capsys):
    assert run(tool(), ["-h"]) == 0
    assert capsys.readouterr().out.startswith("Usage: caproto-get PV\n")
    assert run(tool(), ["-V"]) == 0
    assert capsys.readouterr().out == f"\ncaproto {__version__}, CA Protocol version 4.13\n"


def test_the_name_of_a_link(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/caget", "-z"])
    assert run(tool(), None) == 1
    assert capsys.readouterr().err == "Unrecognized option: '-z'. ('caget -h' for help.)\n"


def test_a_closed_pipe_is_silent():
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "caproto.commandline.get", "-h"],
            stdout=write, stderr=subprocess.PIPE, timeout=60, cwd=Path(__file__).parents[2],
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
