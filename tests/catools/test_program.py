"""How every tool begins and ends."""
from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from caproto import CaprotoValueError, __version__
from caproto._catools.options import CONNECTION, HELP, Option
from caproto._catools.program import Tool, run
from caproto._catools.settings import Failed, TimeUp
from tests.harness.ioc_process import clean_environ


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


def test_ctrl_c_ends_a_loop_of_the_shell_too():
    """A shell goes on with its loop unless the signal has ended the program."""
    code = (
        "import sys, time; from caproto._catools.program import Tool, run; sys.exit(run(Tool("
        "'x', '', '', {}, lambda *_: print('ready', flush=True) or time.sleep(60)), None))"
    )
    shell = subprocess.Popen(
        ["bash", "-c", f'for i in 1 2; do {sys.executable} -c "{code}"; done; echo went on'],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert shell.stdout is not None and shell.stdout.readline() == "ready\n"
        os.killpg(shell.pid, signal.SIGINT)
        assert shell.communicate(timeout=20) == ("", "")
    finally:
        shell.kill()
    assert shell.returncode == -signal.SIGINT


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


def on_terminal(command, ioc, **variables):
    """What a tool prints on a terminal."""
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", *command], stdout=theirs, stderr=subprocess.PIPE, timeout=60,
            env={**clean_environ(**ioc.environ), "TERM": "xterm", "LC_ALL": "C.UTF-8", **variables},
        )
        assert (done.returncode, done.stderr) == (0, b"")
        return os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_terminals_have_colours_and_utf8(start_ioc):
    fields = 'field(VAL, "5 \u00b5m") field(SIMM, "YES") field(SIMS, "MAJOR") field(PINI, "YES")'
    ioc = start_ioc([f'record(stringout, "$(P)t") {{ {fields} }}\n'])
    command = ["caproto.commandline.get", ioc.pv("t")]
    assert "\x1b[31m5 \u00b5m\x1b[0m" in on_terminal(command, ioc)
    plain = on_terminal([*command, "--ascii"], ioc, NO_COLOR="1")
    assert "5 \\xc2\\xb5m" in plain and "\x1b" not in plain


TOOLS = ("get", "put", "monitor", "info", "explain", "snapshot")


@pytest.mark.parametrize("tool_name", TOOLS)
def test_output_that_cannot_be_written(tool_name):
    for redirection, said in (
        (">/dev/full", "No space left on device"), (">&-", "standard output is closed"),
    ):
        done = subprocess.run(
            f"{sys.executable} -m caproto.commandline.{tool_name} -h {redirection}", shell=True,
            stderr=subprocess.PIPE, text=True, timeout=60, env=clean_environ(),
        )
        status = 2 if tool_name == "snapshot" else 1
        assert (done.returncode, done.stderr) == (status, f"caproto-{tool_name}: {said}\n")


def test_closed_output_does_not_matter_if_nothing_is_printed(ioc):
    name = ioc.pv("double")
    for options, status in (("--quiet --strict", 0), ("--strict", 2)):
        done = subprocess.run(
            f"{sys.executable} -m caproto.commandline.put {options} {name} 3.14 >&-", shell=True,
            stderr=subprocess.PIPE, text=True, timeout=60, env=clean_environ(**ioc.environ),
        )
        assert done.returncode == status
        assert done.stderr == ("" if not status else "caproto-put: standard output is closed\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_output_has_the_bytes_of_the_server_whatever_the_locale(encoding, monkeypatch):
    """Half characters, which are no bytes of anything, are printed as escape sequences."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    assert run(tool(lambda *_: print("5 \u00b5m \udcff \ud800") or 0), []) == 0
    assert raw.getvalue() == b"5 \xc2\xb5m \xff \\ud800\n"


def test_words_have_the_bytes_of_the_command_line_whatever_the_locale(monkeypatch):
    words = []
    monkeypatch.setattr(sys, "argv", ["caproto-get", "\u00c3\u00a9", "\u00b5"])
    monkeypatch.setattr(os, "fsencode", lambda word: word.encode("latin-1"))
    assert run(tool(lambda settings, found: words.extend(found) or 0), None) == 0
    assert words == ["\u00e9", "\udcb5"]


def test_what_should_not_happen_is_one_line(capsys):
    def work(settings, words):
        raise ZeroDivisionError("no")

    assert run(tool(work), []) == 1
    assert capsys.readouterr().err == (
        "caproto-get: a defect of caproto (see -vvv): ZeroDivisionError: no\n"
    )


def test_statuses_are_exact_when_that_is_asked_for(capsys):
    def work(settings, words):
        raise TimeUp("late") if words else Failed("wrong")

    assert run(tool(work), ["x"]) == run(tool(work), []) == 1
    strict = tool(work)._replace(more=lambda: {"strict": Option("", "", lambda *_: None)})
    assert run(strict, ["--strict", "x"]) == 1
    assert run(strict, ["--strict"]) == run(strict, ["--strict", "-z"]) == 2


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_messages_that_cannot_be_written_change_no_status(redirection):
    done = subprocess.run(
        f"{sys.executable} -m caproto.commandline.get --strict -w x PV {redirection}", shell=True,
        stdout=subprocess.PIPE, timeout=60, env=clean_environ(),
    )
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.parametrize("threads", ["", "import threading"], ids=["at once", "as usual"])
def test_the_end_of_a_process(threads):
    """It keeps the status, all output, and what is to be done at the exit."""
    code = f"""if True:
        import atexit
        {threads}
        from caproto._catools.program import end_process
        atexit.register(print, "functions", flush=True)
        print("output", end=" ")
        end_process(7)
        """
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "output functions\n", "")


def test_the_end_of_a_process_waits_for_threads():
    code = """if True:
        import threading, time
        from caproto._catools.program import end_process
        threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
        end_process(0)
        """
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "thread\n", "")


@pytest.mark.parametrize("watching", ["sys.setprofile", "sys.settrace"])
def test_the_end_of_a_process_that_is_watched_is_an_ordinary_one(watching):
    code = f"""if True:
        import sys
        from caproto._catools.program import end_process
        {watching}(lambda *_: None)
        try:
            end_process(3)
        finally:
            print("report", flush=True)
        """
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "report\n", "")
