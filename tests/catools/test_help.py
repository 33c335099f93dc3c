"""The help names everything, and its examples can be read by the tools."""
from __future__ import annotations

import importlib
import shlex

from caproto._catools.help import EXAMPLES
from caproto._catools.options import HELP, parse
from caproto._catools.settings import Settings


def test_every_option_is_listed_and_the_lines_fit(call):
    for tool in ("get", "put", "monitor", "info", "explain"):
        module = importlib.import_module(f"caproto.commandline.{tool}")
        options = {**module._tool().options, **module._tool().more()}
        done = call(tool, "--help")
        assert done.status == 0 and done.lines[0].startswith(f"Usage: caproto-{tool} ")
        for name, option in options.items():
            typed = f"-{name}" if len(name) == 1 else f"--{name}"
            assert f" {typed}" in done.out and f"--{option.word or name}" in done.out
        assert max(map(len, done.lines)) <= 110
        assert all(command in done.out for command, _ in EXAMPLES[f"caproto-{tool}"])
    assert set(HELP) == {"h", "V"}


def test_the_examples_have_options_that_exist():
    for tool, examples in EXAMPLES.items():
        module = importlib.import_module(f"caproto.commandline.{tool.removeprefix('caproto-')}")
        for command, _ in examples:
            name, *words = shlex.split(command.partition("|")[0].partition(">")[0]) if (
                "'" not in command) else shlex.split(command)
            assert name == tool
            assert parse(
                Settings(tool), module._tool().options, words,
                anywhere=module._tool().options_anywhere, more=module._tool().more,
            ) or "--from" in words
