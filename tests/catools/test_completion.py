"""Completion, as the shells do it."""
from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from caproto._catools.completion import VARIABLE, script
from caproto._catools.more_options import GET
from caproto._catools.options import CONNECTION, GET_FORMS, HELP

OPTIONS = {**HELP, **CONNECTION, **GET_FORMS, **GET}

_TRY_BASH = """
try() {
    COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=()
    _caproto_get
    echo "${COMPREPLY[*]}"
}
"""


def shell(name, code, tmp_path):
    """Run code in a shell; skip where there is no such shell."""
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}")
    names = tmp_path / "names.txt"
    names.write_text("# all\nrandom_walk:x\nrandom_walk:dt  # a step\nother:pv\n")
    done = subprocess.run(
        [name, "-c", code], capture_output=True, text=True, timeout=30, cwd=tmp_path,
        env={**os.environ, VARIABLE: str(names), "HOME": str(tmp_path)},
    )
    assert done.stderr == "", done.stderr
    return done.stdout


def test_bash(tmp_path):
    lines = {
        "caproto-get --js": "--json",
        "caproto-get -a --par": "--partial",
        "caproto-get ran": "random_walk:dt random_walk:x",
        "caproto-get -w 3 random_walk:d": "dt",  # bash replaces what follows the colon
        "caproto-get --color a": "auto always",
        "caproto-get --from nam": "names.txt",
        "caproto-get -w ": "",
    }
    code = script("bash", "caproto-get", OPTIONS) + _TRY_BASH
    code += "".join(f"try '{line}'\n" for line in lines)
    assert shell("bash", code, tmp_path).splitlines() == list(lines.values())


def test_nothing_in_a_name_is_run(tmp_path):
    name = "a:$(touch${IFS}run)`touch${IFS}run`*"
    code = script("bash", "caproto-get", OPTIONS) + _TRY_BASH
    code += f"echo '{name}' > odd.txt; {VARIABLE}=odd.txt; touch a:1; COMP_WORDBREAKS=\n"
    code += "try 'caproto-get a:'\n try 'caproto-get a:$('\n"
    assert shell("bash", code, tmp_path) == f"{name}\n" * 2
    code = script("fish", "caproto-get", OPTIONS) + f"\nset -gx {VARIABLE} odd.txt"
    assert shell("fish", code + '\ncomplete -C "caproto-get a:"', tmp_path) == f"{name}\n"
    assert not (tmp_path / "run").exists()


def test_fish(tmp_path):
    code = script("fish", "caproto-get", OPTIONS)
    code += '\ncomplete -C "caproto-get --js"; complete -C "caproto-get random_walk:d"'
    assert shell("fish", code, tmp_path).splitlines() == [
        "--json\tPrint one JSON object a line", "random_walk:dt",
    ]


def test_zsh_can_read_it(tmp_path):
    """What it completes was tried by hand: it needs a terminal."""
    path = tmp_path / "script"
    path.write_text(script("zsh", "caproto-get", OPTIONS))
    shell("zsh", f"zsh -n {path}", tmp_path)


def test_all_options_are_in_all_of_them():
    for name in ("bash", "zsh", "fish"):
        text = script(name, "caproto-get", OPTIONS)
        assert VARIABLE in text
        assert all(word in text for word in ("json", "timeout", "partial", "completion"))
