"""The help names everything, fits a terminal, and its examples are true."""
from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys

from caproto._catools.help import EXAMPLES
from caproto._catools.options import HELP, spellings
from tests.harness.ioc_process import DemoIOC, clean_environ


def test_every_option_is_listed_and_the_lines_fit(call):
    for tool in ("get", "put", "monitor", "info", "explain", "snapshot"):
        module = importlib.import_module(f"caproto.commandline.{tool}")
        options = {**module._tool().options, **module._tool().more()}
        done = call(tool, "--help")
        assert done.status == 0 and done.lines[0].startswith(f"Usage: caproto-{tool} ")
        for name, option in options.items():
            typed = f"-{name}" if len(name) == 1 else f"--{name}"
            assert f" {typed}" in done.out and f"--{option.word or name}" in done.out
        assert max(map(len, done.lines)) < 80
        assert EXAMPLES[f"caproto-{tool}"] in f"{done.out}\n" and "Exit status: 0" in done.out
    assert set(HELP) == {"h", "V"}


def test_meanings_are_those_of_the_tool():
    """They mention no option that it lacks, and no other tool."""
    for tool in ("get", "put", "monitor", "info", "explain", "snapshot", "repeater", "shark"):
        made = importlib.import_module(f"caproto.commandline.{tool}")._tool()
        options = {**made.options, **made.more()}
        known = {typed for name, option in options.items() for typed in spellings(name, option)}
        known |= {"-vv", "-vvv"}
        for option in options.values():
            mentioned = set(re.findall(r"(?<!\S)--?[a-zA-Z#][-a-z]*", option.meaning))
            assert mentioned <= known, (tool, option.meaning)
            assert not re.search(r"\b(get|put|monitor|info|explain)\b", option.meaning)


def test_the_examples_print_what_they_show(tmp_path):
    path = f"{tools(tmp_path)}:{os.environ['PATH']}"
    with DemoIOC("alarms") as ioc:
        environ = clean_environ(**ioc.environ, PATH=path, EPICS_CLI_TIMEOUT="15")
        for text in EXAMPLES.values():
            examples = [part.partition("\n") for part in text.split("\n$ ")[1:]]
            assert len(examples) >= 2
            for command, _, output in examples:
                done = subprocess.run(
                    ["bash", "-c", f"exec 2>&1; {command}"], cwd=tmp_path, capture_output=True,
                    text=True, timeout=60, env=environ,
                )
                assert matches(output, done.stdout), f"{command}\n{done.stdout}"


def tools(tmp_path):
    """Make the tools of this source tree, whatever is installed."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    for name in EXAMPLES:
        module = f"caproto.commandline.{name.removeprefix('caproto-')}"
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def matches(pattern, text):
    """Compare: three dots stand for any text, blanks at ends do not count."""
    parts = [re.escape(part) for part in pattern.rstrip().split("...")]
    text = "\n".join(line.rstrip() for line in text.rstrip().split("\n"))
    return re.fullmatch(".*".join(parts), text, re.DOTALL) is not None
