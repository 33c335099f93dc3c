"""The page about the shell: what it shows is what is printed, and its table has every option."""
from __future__ import annotations

import importlib
import re
import subprocess
import sys
from typing import NamedTuple

import pytest

from tests.harness.ioc_process import ROOT, DemoIOC, clean_environ

PAGE = ROOT / "docs" / "command-line.rst"
TOOLS = ("get", "put", "monitor", "info", "explain")
#: The tools of this source tree, whatever is installed; their messages come after their output.
FUNCTIONS = "".join(
    f'caproto-{tool}() {{ "{sys.executable}" -m caproto.commandline.{tool} "$@"; }}\n'
    for tool in TOOLS
) + "exec 2>&1\n"


class Shown(NamedTuple):
    """A command on the page, and what it prints there."""

    command: str
    output: str


def shown_on(page: str) -> list[Shown]:
    """Find the commands on the page; a line that begins with '> ' continues one."""
    found = []
    for block in re.findall(r"^\.\. code-block:: console\n\n((?:    .*\n|\n)+)", page, re.M):
        text = "\n" + "\n".join(line[4:] for line in block.rstrip().splitlines())
        for part in text.split("\n$ ")[1:]:
            lines = part.split("\n")
            command = [lines.pop(0)]
            while lines and lines[0].startswith("> "):
                command.append(lines.pop(0)[2:])
            found.append(Shown("\n".join(command), "\n".join(lines)))
    return found


def matches(pattern: str, text: str) -> bool:
    """Compare as the page says: three dots stand for any text, blanks at ends do not count."""
    parts = [re.escape(part) for part in pattern.split("...")]
    text = "\n".join(line.rstrip() for line in text.rstrip().split("\n"))
    return re.fullmatch(".*".join(parts), text, re.DOTALL) is not None


def test_what_the_page_shows(tmp_path):
    commands = shown_on(PAGE.read_text())
    assert len(commands) > 20
    with DemoIOC("alarms") as ioc:
        for command, output in commands:
            done = subprocess.run(
                ["bash", "-c", FUNCTIONS + command], env=clean_environ(**ioc.environ),
                cwd=tmp_path, capture_output=True, text=True, timeout=60,
            )
            assert matches(output, done.stdout), f"{command}\n{done.stdout}"


def test_its_table_has_every_option():
    table = PAGE.read_text().partition("Beside the EPICS tools")[2]
    rows = re.findall(
        r"    \* - (.+)\n      - (.+)\n      - .+\n      - (.+)\n", table
    )
    listed = {
        (tool, word)
        for _, words, tools in rows
        for word in re.findall(r"--([\w-]+)", words)
        for tool in (TOOLS if tools == "all" else tools.strip("`").split())
    }
    there = {
        (tool, option.word or name)
        for tool in TOOLS
        for module in [importlib.import_module(f"caproto.commandline.{tool}")]
        for name, option in {**module._tool().options, **module._tool().more()}.items()
    }
    assert listed == there
    letters = {letter for row in rows for letter in re.findall(r"-(\S)", row[0])}
    assert letters == set("hVwptaldc#nsSefgs0Fmv") | {"l"}


def test_the_comparison_can_fail():
    assert matches("a ... c\nd", "a b c  \nd\n")
    assert not matches("a ... c\nd", "a b c\ne\n")
    with pytest.raises(AssertionError):
        assert matches("1", "12")
