"""The commands of caproto-snapshot, each with a demo IOC."""
from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path

import pytest

from caproto.commandline import put
from caproto.commandline.snapshot import main
from caproto.threading.client import Context, TableSnapshot
from tests.client.snapshots import example
from tests.harness.ioc_process import ROOT, DemoIOC, clean_environ

NAMES = [
    f"settings:{name}"
    for name in ("exposure", "gain", "mode", "sample", "comment", "labels", "region", "offsets")
]
READ_ONLY = "settings:serial_number"


@pytest.fixture(scope="module")
def settings():
    with DemoIOC("settings") as ioc:
        yield ioc


@pytest.fixture
def tool(settings, monkeypatch, tmp_path, capsys):
    """Run the tool in a directory of its own; return status, output, errors."""
    for name, value in clean_environ(**settings.environ).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, list[str], list[str]]:
        status = main(arguments)
        out, err = capsys.readouterr()
        return status, out.splitlines(), err.splitlines()

    return run


@pytest.fixture
def write(settings):
    """Write values; the old ones return at the end of the test."""
    with Context(configuration=settings.configuration) as context:
        before = context.read(*NAMES).to_dict()
        yield lambda values: context.write(values)
        context.write(before)


@pytest.mark.parametrize("file", ["some.npz", "some.parquet"])
def test_save_diff_restore(file, tool, write):
    assert tool("save", file, *NAMES) == (0, [f"8 of 8 PVs saved in {file}"], [])
    assert tool("diff", file) == (0, ["no differences (8 PVs compared)"], [])
    assert write({
        "settings:exposure": 0.7, "settings:mode": 2, "settings:labels": ["x", "y"],
        "settings:comment": "new", "settings:region": [1, 2, 3, 4],
    }).ok
    status, lines, errors = tool("diff", file)
    assert (status, errors, lines[0]) == (1, [], "5 of 8 PVs differ")
    assert lines[2].split() == ["settings:exposure", "0.1", "0.7", "+0.6"]
    status, lines, errors = tool("restore", file, "--dry-run")
    assert (status, errors, lines[-1]) == (0, [], "5 of 8 PVs would be written")
    assert lines[2].split() == ["settings:exposure", "0.7", "0.1", "-0.6"]
    assert tool("diff", file)[0] == 1
    status, lines, errors = tool("restore", file)
    assert (status, errors, lines[-1]) == (0, [], f"5 of 5 PVs written from {file}")
    assert tool("diff", file) == (0, ["no differences (8 PVs compared)"], [])
    assert tool("restore", file)[1][-1] == f"0 of 0 PVs written from {file}"
    assert tool("restore", file, "--all")[1][-1] == f"8 of 8 PVs written from {file}"


def test_what_may_not_be_written_is_no_success_of_a_dry_run(tool):
    assert tool("save", "x.npz", NAMES[0], READ_ONLY)[0] == 0
    status, lines, errors = tool("restore", "x.npz", "--all", "--dry-run")
    assert (status, lines[-1]) == (1, "1 of 2 PVs would be written")
    assert [error for error in errors if READ_ONLY in error and "no write access" in error]
    status, lines, errors = tool("restore", "x.npz", "--all")
    assert (status, lines[-1]) == (1, "1 of 2 PVs written from x.npz")


def test_long_texts_in_arrays_are_compared(tool, write):
    """With more than eight letters."""
    assert write({"settings:labels": ["a long text of many letters", "b"]}).ok
    assert tool("save", "texts.npz", "settings:labels")[0] == 0
    assert write({"settings:labels": ["another text", "b"]}).ok
    status, lines, errors = tool("diff", "texts.npz")
    assert (status, errors) == (1, []) and "'another text'" in "".join(lines)


def test_a_name_that_no_pv_can_have_costs_only_itself(tool):
    status, lines, errors = tool("save", "some.npz", NAMES[0], 992 * "x", NAMES[1])
    assert (status, lines) == (1, ["2 of 3 PVs saved in some.npz"])
    assert errors == ["'xxxxxxxxxxxx...xxxxxxxxxxxxx': the name has 992 bytes, more than 991"]
    assert tool("save", "some.npz", "x\0")[0] == 2


def test_some_names_and_tolerances(tool, write):
    tool("save", "some.npz", *NAMES)
    write({"settings:exposure": 0.11, "settings:gain": 3})
    assert tool("diff", "some.npz", "settings:mode")[0] == 0
    assert tool("diff", "some.npz", "settings:gain")[0] == 1
    assert tool("diff", "some.npz", "settings:exposure", "--atol", "0.02")[0] == 0
    assert tool("diff", "some.npz", "settings:exposure", "--rtol=0.2")[0] == 0
    assert tool("restore", "some.npz", "settings:gain")[1][-1].startswith("1 of 1 PVs written")
    assert tool("diff", "some.npz", "settings:gain")[0] == 0
    assert tool("diff", "some.npz", "settings:exposure")[0] == 1


def test_names_from_files(tool, monkeypatch):
    Path("names").write_text(f"# settings\n\n{NAMES[0]} {NAMES[1]} # two\n{NAMES[0]}\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(NAMES[2].encode())))
    status, lines, _ = tool("save", "some.npz", NAMES[3], "-f", "names", "-f", "-")
    assert (status, lines) == (0, ["4 of 4 PVs saved in some.npz"])
    saved = TableSnapshot.load("some.npz")
    assert saved.names == (NAMES[3], *NAMES[:3])


def test_two_files_without_an_ioc(tool, write, monkeypatch):
    tool("save", "before.npz", *NAMES)
    write({"settings:gain": 3})
    tool("save", "after.parquet", *NAMES)
    monkeypatch.setenv("EPICS_CA_ADDR_LIST", "")
    status, lines, errors = tool("diff", "before.npz", "--with", "after.parquet")
    assert (status, errors, lines[0]) == (1, [], "1 of 8 PVs differ")
    assert lines[2].split() == ["settings:gain", "2", "3", "+1"]


def test_a_reader_of_the_output_that_has_gone_does_not_prevent_the_restore(
    tool, write, monkeypatch
):
    class Gone(io.TextIOBase):
        def write(self, text):
            raise BrokenPipeError

    tool("save", "some.npz", NAMES[0])
    write({NAMES[0]: 0.5})
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Gone())
        assert main(["restore", "some.npz"]) == 141
    assert tool("diff", "some.npz")[0] == 0


def test_what_is_missing(tool):
    status, lines, errors = tool("save", "some.npz", "-w", "0.6", NAMES[0], "nonsense")
    assert (status, lines) == (1, ["1 of 2 PVs saved in some.npz"])
    assert len(errors) == 1 and errors[0].startswith("'nonsense' was not found within 0.6 s: ")
    status, lines, errors = tool("diff", "some.npz", "-w", "0.6")
    assert (status, lines) == (1, ["no differences (1 PV compared)"])
    assert errors[0].startswith("'nonsense' was not found")
    status, lines, errors = tool("restore", "some.npz", "--dry-run")
    assert (status, lines[-1]) == (1, "0 of 2 PVs would be written")
    assert errors == ["'nonsense': some.npz has no value of it"]


def test_a_file_without_values(tool):
    example().select([example().names[row] for row in (~example().ok).nonzero()[0]]).save("no.npz")
    status, lines, errors = tool("restore", "no.npz")
    assert (status, lines) == (2, [])
    assert errors[-1] == "no.npz has no values. Nothing was written."


def test_what_is_refused(tool, write):
    tool("save", "some.npz", NAMES[0], READ_ONLY)
    write({NAMES[0]: 0.5})
    status, lines, errors = tool("restore", "some.npz", "--all")
    assert (status, lines[-1]) == (1, "1 of 2 PVs written from some.npz")
    assert len(errors) == 1
    assert errors[0].startswith(f"{READ_ONLY!r}: no write access at ")
    assert tool("diff", "some.npz")[0] == 0


def test_nothing_is_done_if_no_pv_is_there(tool, write):
    status, lines, errors = tool("save", "some.npz", "-w", "0.3", "nonsense")
    assert (status, lines, os.listdir()) == (2, [], [])
    assert errors[-1] == "No PV could be read. some.npz was not written."
    tool("save", "some.npz", NAMES[0])
    os.environ["EPICS_CA_ADDR_LIST"] = "127.0.0.1:9"
    status, lines, errors = tool("restore", "some.npz", "-w", "0.3")
    assert (status, lines) == (2, [])
    assert errors[-1] == "No PV could be read. Nothing was written."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "The first word must be save, diff or restore. ('caproto-snapshot -h' for help.)"),
        ("show some.npz", "The first word must be save, diff or restore."),
        ("save", "Name the file."),
        ("save some.npz", "Name the PVs to save."),
        ("save some.csv x", "caproto-snapshot: the file of a snapshot ends in .npz or .parquet"),
        ("save some.npz --dry-run x", "'save' has no option '--dry-run'."),
        ("restore some.npz --with other.npz", "'restore' has no option '--with'."),
        ("diff some.npz --atol -1", "--atol must be a number of 0 or more, not '-1'."),
        ("diff some.npz --rtol x", "--rtol must be a number of 0 or more, not 'x'."),
        ("diff some.npz -z", "Unrecognized option: '-z'."),
        ("diff none.npz", "none.npz: No such file or directory"),
        ("save some.npz -f none", "none cannot be read: No such file or directory"),
        ("save none/some.npz settings:gain", "none/some.npz: No such file or directory"),
        ("diff broken.npz", "caproto-snapshot: 'broken.npz' is damaged, or not a snapshot: "),
        ("diff good.npz nonsense", "good.npz has no 'nonsense'"),
        (
            "diff good.npz broken.npz",
            "good.npz has no 'broken.npz'; to compare two files, write --with broken.npz",
        ),
    ],
)
def test_nothing_is_done_after_a_mistake(words, message, tool):
    Path("broken.npz").write_text("broken")
    example().save("good.npz")
    status, lines, errors = tool(*words.split())
    assert (status, lines, len(errors)) == (2, [], 1)
    assert errors[0].startswith(message)
    assert sorted(os.listdir()) == ["broken.npz", "good.npz"]


def test_the_page_shows_what_is_printed(tool, write, capsys):
    page = (ROOT / "docs" / "tables.rst").read_text()
    section = page[page.index("On the command line"):]
    commands = re.findall(r"^    \$ (caproto-.*?)(?: +#.*)?$", section, re.MULTILINE)
    shown = re.search(r"code-block:: text\n\n((?:    .*\n)+)", section)[1]
    programs = {"caproto-snapshot": main, "caproto-put": put.main}
    for command in commands:
        program, *arguments = command.split()
        programs[program](arguments)
    assert capsys.readouterr() == (re.sub("^    ", "", shown, flags=re.MULTILINE), "")
    assert len(commands) == 5


def test_the_help_names_every_option(capsys):
    assert main(["-h"]) == 0
    text = capsys.readouterr().out
    for option in ("-w", "-f", "--from", "--atol", "--rtol", "--with", "--all", "--dry-run"):
        assert f" {option} " in text or f" {option}, " in text
