"""caproto-monitor --watch as users run it, in a terminal."""
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caproto.commandline.monitor import main
from tests.catools.watch.terminals import Terminal
from tests.harness.ioc_process import clean_environ

COMMAND = [sys.executable, "-m", "caproto.commandline.monitor", "--watch"]
#: The commands that set colours, as numbers of the terminal's palette or as RGB.
COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9\d|10\d)(?:;\d+)*m")


def environ_of(ioc, **variables):
    kept = clean_environ(**ioc.environ)
    for name in ("NO_COLOR", "TERM"):
        kept.pop(name, None)
    return {**kept, **variables}


@pytest.mark.parametrize("ending, status", [("\3", 130), (signal.SIGTERM, 143)])
def test_the_terminal_is_as_before(ioc, ending, status):
    # Messages of the client do not come between.
    with Terminal([*COMMAND, "-vvv", ioc.pv("double")], environ_of(ioc)) as terminal:
        terminal.wait_for(b"3.140")
        assert not terminal.restored
        length = terminal.output.index(b"\x1b[?1049h")
        if isinstance(ending, str):
            terminal.type(ending)
        else:
            terminal.process.send_signal(ending)
        assert terminal.end() == status
        assert terminal.is_restored()
        shown = terminal.output[length : terminal.output.rindex(b"\x1b[?1049l")]
        assert b"CLIENT" not in shown and b"Traceback" not in terminal.output


def test_ctrl_z_and_the_return(ioc):
    with Terminal([*COMMAND, ioc.pv("double")], environ_of(ioc)) as terminal:
        terminal.wait_for(b"3.140")
        terminal.type("\x1a")
        terminal.stop()
        assert terminal.is_restored()
        length = len(terminal.output)
        terminal.process.send_signal(signal.SIGCONT)
        for text in (b"1 connected", b"rate/s", b"3.140", b"? Help"):
            terminal.wait_for(text, length)
        terminal.type("q")
        assert terminal.end() == 0 and terminal.is_restored()


@pytest.mark.parametrize("variables, coloured", [
    pytest.param({}, True, marks=pytest.mark.thorough),
    ({"NO_COLOR": ""}, True),
    ({"NO_COLOR": "1"}, False),
    pytest.param({"TERM": "vt100"}, False, marks=pytest.mark.thorough),
    pytest.param({"TERM": "not-in-terminfo"}, True, marks=pytest.mark.thorough),
])
def test_colours_only_where_they_are_wanted(start_ioc, variables, coloured):
    alarm = 'record(ao, "$(P)x") { field(VAL, "9") field(HIHI, "1") field(HHSV, "MAJOR") ' \
            'field(PINI, "YES") }\n'
    ioc = start_ioc((alarm,))
    with Terminal([*COMMAND, ioc.pv("x")], environ_of(ioc, **variables)) as terminal:
        terminal.wait_for(b"MAJOR (HIHI)")
        terminal.type("q")
        assert terminal.end() == 0 and terminal.is_restored()
        assert bool(COLOUR.search(terminal.output)) is coloured


@pytest.mark.parametrize("kind", ["dumb", ""])
def test_a_terminal_that_cannot_move_its_cursor(ioc, kind):
    with Terminal([*COMMAND, "x"], environ_of(ioc, TERM=kind)) as terminal:
        assert terminal.end() == 1
        terminal.wait_for(f"--watch needs a terminal that can move its cursor, not TERM={kind!r}"
                          .encode())


def test_names_cannot_come_from_where_the_keys_come_from(monkeypatch, capsys):
    """Nothing is read there: a terminal would wait."""
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["--watch", "--from", "-"]) == 1
    assert "--from <(COMMAND)" in capsys.readouterr().err


@pytest.mark.parametrize("code, message", [
    ("", "--watch needs a terminal as standard input, output and error."),
    ("for stream in (sys.stdin, sys.stdout, sys.stderr): stream.isatty = lambda: True\n"
     "sys.modules['textual'] = None",
     "caproto-monitor --watch needs the package textual: pip install 'caproto[tui]'"),
])
def test_what_is_missing_is_named(ioc, code, message):
    program = f"import sys\n{code}\nfrom caproto.commandline.monitor import main\n" \
              "sys.exit(main(['--watch', 'x']))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ_of(ioc, TERM="xterm"),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr.strip()) == (1, "", message)


@pytest.mark.parametrize("words", [
    ["--json"], ["--csv"], ["--format", "{name}"], ["--count", "3"], ["--duration", "3"],
    ["--until", "> 3"], ["--metadata"], ["--stats"], ["--quiet"], ["--human"], ["--precise"],
    ["--utc"], ["--time-zone", "Asia/Tokyo"], ["--time-format", "%H"], ["--ago"],
])
def test_what_has_no_meaning_for_a_table_is_refused(words, capsys):
    assert main(["--watch", *words, "x"]) == (2 if words[0] == "--until" else 1)
    error = capsys.readouterr().err
    assert words[0] in error and "cannot be used together with --watch" in error


def test_without_the_option_nothing_of_it_is_imported(ioc):
    program = (
        "import sys\nfrom caproto.commandline.monitor import main\n"
        "assert main(['-w', '0.1', '--duration', '0.1', 'x']) is not None\n"
        "print([name for name in sys.modules if 'textual' in name or 'catools.watch.' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ_of(ioc), capture_output=True, text=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_names_are_needed(ioc):
    with Terminal(COMMAND, environ_of(ioc)) as terminal:
        assert terminal.end() == 1
        terminal.wait_for(b"No pv name specified")


def fast(name, count, seconds):
    """Records that change with this period."""
    return "".join(
        f'record(calc, "$(P){name}{number}") {{ field(SCAN, "{seconds} second") '
        'field(CALC, "VAL+1>100?0:VAL+1") field(PREC, "3") field(EGU, "mm") '
        'field(HIGH, "60") field(HSV, "MINOR") }\n'
        for number in range(count)
    )


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.thorough
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_a_thousand_pvs_at_ten_hertz_take_less_than_half_a_core(start_ioc):
    # Those on the screen are quicker, so that all of them change between two redraws.
    ioc = start_ioc((fast("a", 40, ".02") + fast("b", 960, ".1"),))
    names = [ioc.pv(f"a{number}") for number in range(40)]
    names += [ioc.pv(f"b{number}") for number in range(960)]
    with Terminal([*COMMAND, *names], environ_of(ioc), size=(150, 40)) as terminal:
        terminal.wait_for(b"1000 connected")
        time.sleep(2)
        before, begin = cpu_seconds(terminal.process.pid), time.monotonic()
        time.sleep(10)
        seconds, end = cpu_seconds(terminal.process.pid) - before, time.monotonic()
        share = seconds / (end - begin)
        redraws = bursts(m for m in terminal.moments if begin < m < end) / (end - begin)
        print(f"{share:.2f} of a core, {redraws:.1f} redraws a second")
        assert share < 0.5
        assert redraws > 15


def bursts(moments, pause=0.01):
    """Count groups of moments with a pause between them."""
    count, last = 0, 0.0
    for moment in moments:
        count += moment - last > pause
        last = moment
    return count
