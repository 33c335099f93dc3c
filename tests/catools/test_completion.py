"""Completion, as the shells do it."""
from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys

import pytest

from caproto._catools.completion import VARIABLE, script
from caproto._catools.more_options import GET, PUT
from caproto._catools.options import CONNECTION, GET_FORMS, HELP, PUT_FORMS

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


#: What a tool with commands completes.
COMMANDS = {
    "caproto-snapshot sa": ["save"],
    "caproto-snapshot -w 3 d": ["diff"],
    "caproto-snapshot save nam": ["names.txt"],
    "caproto-snapshot save x.npz ran": ["random_walk:dt", "random_walk:x"],
}


def snapshot_script(name):
    return script(name, "caproto-snapshot", OPTIONS, ("save", "diff", "restore"))


def test_commands_and_files_in_bash(tmp_path):
    code = snapshot_script("bash") + _TRY_BASH.replace("_caproto_get", "_caproto_snapshot")
    code += "".join(f"try '{line}'\n" for line in COMMANDS)
    found = shell("bash", code, tmp_path).splitlines()
    assert found == [" ".join(words) for words in COMMANDS.values()]


def test_commands_and_files_in_fish(tmp_path):
    code = snapshot_script("fish")
    code += "".join(f"\ncomplete -C '{line}'" for line in COMMANDS)
    found = shell("fish", code, tmp_path).splitlines()
    assert found == [word for words in COMMANDS.values() for word in words]


#: What a tool completes that takes all that follows the PV as the value.
VALUES = {
    "caproto-put --js": ["--json"],
    "caproto-put -c -w 3 --color=never ran": ["random_walk:dt", "random_walk:x"],
    "caproto-put -cw 3 --timeout 4 --qui": ["--quiet"],
    "caproto-put other:pv --js": [],
    "caproto-put -c -w 3 other:pv ran": [],
    "caproto-put other:pv --color a": [],
    "caproto-put other:pv nam": [],
}


def put_script(name):
    options = {**HELP, **CONNECTION, **PUT_FORMS, **PUT}
    return script(name, "caproto-put", options, options_anywhere=False)


def test_no_options_after_the_pv_in_bash(tmp_path):
    code = put_script("bash") + _TRY_BASH.replace("_caproto_get", "_caproto_put")
    code += "".join(f"try '{line}'\n" for line in VALUES)
    found = shell("bash", code, tmp_path).splitlines()
    assert found == [" ".join(words) for words in VALUES.values()]


def test_no_options_after_the_pv_in_fish(tmp_path):
    code = put_script("fish")
    code += "".join(f"\ncomplete -C '{line}' | string replace -r '\t.*' ''" for line in VALUES)
    found = shell("fish", code, tmp_path).splitlines()
    assert found == [word for words in VALUES.values() for word in words]


@pytest.mark.parametrize("link", ["caget", "my get"])
def test_the_name_of_a_link_is_completed(link, tmp_path):
    def made(name):
        return script(name, "caproto-get", OPTIONS, called=link)

    assert link in shell("bash", f"{made('bash')}\ncomplete -p", tmp_path)
    asked = f"complete -C '{link.replace(' ', chr(92) + ' ')} --js'"
    assert shell("fish", f"{made('fish')}\n{asked}", tmp_path).startswith("--json\t")
    code = f"compdef() {{ echo $2 }}\n{made('zsh')}"
    assert shell("zsh", code, tmp_path) == f"{link}\n"


def test_a_tool_completes_what_it_was_called():
    program = "import sys; sys.argv[0] = '/opt/bin/caput'; from caproto.commandline.put import main"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; main()", "--completion", "zsh"],
        capture_output=True, text=True, timeout=60,
    )
    assert done.stdout.splitlines()[0] == "#compdef caput"
    assert done.stdout.endswith("compdef _caproto_put caput\n")
    assert "_arguments -s -A '-*'" in done.stdout  # no options after the PV


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
    code += '\ntouch a1; complete -C "caproto-get --js"; complete -C "caproto-get random_walk:d"'
    code += '; complete -C "caproto-get --color "; complete -C "caproto-get --from a"'
    code += '; complete -C "caproto-get --timeout a"'
    assert shell("fish", code, tmp_path).splitlines() == [
        "--json\tPrint one JSON object a line", "random_walk:dt",
        *(f"{word}\t{OPTIONS['color'].meaning}" for word in ("always", "auto", "never")), "a1",
    ]


#: Zsh completes only on a terminal. Ctrl-G shows what the line has become.
_ZSH_SETUP = """
PROMPT='READY> '
autoload -Uz compinit; compinit -u -D
source script
show() { print -rn -- "<<$BUFFER>>"; BUFFER= }
zle -N show
bindkey '^G' show
"""


def zsh(lines, setup, tmp_path):
    """Type lines and a tab into zsh; what it makes of each."""
    if shutil.which("zsh") is None:
        pytest.skip("needs zsh")
    scripts = (script("zsh", "caproto-get", OPTIONS), snapshot_script("zsh"), put_script("zsh"))
    (tmp_path / "script").write_text("\n".join(scripts))
    (tmp_path / ".zshrc").write_text(_ZSH_SETUP + setup)
    controller, terminal = os.openpty()
    process = subprocess.Popen(
        ["zsh", "--no-globalrcs", "-i"], stdin=terminal, stdout=terminal, stderr=terminal,
        cwd=tmp_path, start_new_session=True,
        env={"PATH": os.environ["PATH"], "TERM": "dumb", "ZDOTDIR": str(tmp_path),
             "LC_ALL": "C.UTF-8", VARIABLE: "names.txt"},
    )
    os.close(terminal)
    seen = ""

    def read_until(text):
        nonlocal seen
        while text not in seen:
            assert select.select([controller], [], [], 30)[0], seen
            seen += os.read(controller, 10_000).decode()
        found, _, seen = seen.partition(text)
        return found

    try:
        read_until("READY> ")
        found = []
        for line in lines:
            os.write(controller, f"{line}\t\a".encode())
            found.append(read_until(">>").rpartition("<<")[2])
        return found
    finally:
        process.kill()
        process.wait()
        os.close(controller)


def test_zsh(tmp_path):
    (tmp_path / "names.txt").write_text(
        "# all\nrandom_walk:x\n  random_walk:dt  # a step\nother:pv\nodd:$(touch${IFS}run)`*\n"
    )
    lines = {
        "caproto-get --js": "--json ",
        "caproto-get -a --par": "-a --partial ",
        "caproto-get ran": "random_walk:",
        "caproto-get -w 3 random_walk:d": "-w 3 random_walk:dt ",
        "caproto-get other:pv --from nam": "other:pv --from names.txt ",
        "caproto-get --color alw": "--color always ",
        "caproto-get --color=ne": "--color=never ",
        "caproto-get -w oth": "-w oth",  # a number, not a PV
        "caproto-get his": "history:pv ",
        "caproto-get odd": r"odd:\$\(touch\$\{IFS\}run\)\`\* ",
    }
    found = zsh(lines, "print -s caproto-get -w 3 history:pv\n", tmp_path)
    assert found == [f"caproto-get {text}" for text in lines.values()]
    found = zsh(COMMANDS, "", tmp_path)
    assert found == [
        "caproto-snapshot save ", "caproto-snapshot -w 3 diff ",
        "caproto-snapshot save names.txt ", "caproto-snapshot save x.npz random_walk:",
    ]
    assert zsh(VALUES, "", tmp_path) == [
        "caproto-put --json ", "caproto-put -c -w 3 --color=never random_walk:",
        "caproto-put -cw 3 --timeout 4 --quiet ", *list(VALUES)[3:],
    ]
    assert not (tmp_path / "run").exists()


def test_zsh_without_its_completion_set_up(tmp_path):
    """The script sets it up."""
    (tmp_path / "names.txt").write_text("random_walk:x\n")
    setup = "unfunction compdef compinit; source script\n"
    assert zsh(["caproto-get ran"], setup, tmp_path) == ["caproto-get random_walk:x "]


def test_all_options_are_in_all_of_them():
    for name in ("bash", "zsh", "fish"):
        text = script(name, "caproto-get", OPTIONS)
        assert VARIABLE in text
        assert all(word in text for word in ("json", "timeout", "partial", "completion"))
