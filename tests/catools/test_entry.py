"""The entry of the tools: Ctrl-C at any moment is silent, and ends the process as it ends caget."""
from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from caproto.commandline.get import main
from tests.harness.ioc_process import clean_environ

TOOLS = ("get", "put", "monitor", "info", "explain", "snapshot", "repeater", "shark")


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python as a script of the tool get that the shell has started, after *code*."""
    script = f"import sys, os, signal\n{code}\nsys.argv = ['caproto-get', '-h']\n"
    script += "from caproto.commandline.get import main\nsys.exit(main())"
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, env=clean_environ(), timeout=60)


@pytest.mark.parametrize("tool", TOOLS)
def test_before_that_nothing_is_imported_that_takes_long(tool):
    code = f"import sys; before = {{*sys.modules}}; from caproto.commandline.{tool} import main; "
    code += "print(*{*sys.modules} - before)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60,
        env=clean_environ(),
    )
    assert {*done.stdout.split()} == {
        "__future__", "caproto", "caproto._errors", "caproto._faces", "caproto._imports",
        "caproto._typing", "caproto._catools", "caproto._catools.entry", "caproto.commandline",
        f"caproto.commandline.{tool}",
    }


@pytest.mark.parametrize("module", ["_catools.program", "_catools.options", "_catools.help"])
def test_ctrl_c_while_something_is_imported(module):
    done = run(f"""if True:
        class Interrupt:
            def find_spec(self, name, *_):
                if name == "caproto.{module}":
                    os.kill(os.getpid(), signal.SIGINT)
        sys.meta_path.insert(0, Interrupt())
    """)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_ctrl_c_while_the_interpreter_ends():
    done = run("import atexit; atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))")
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
    assert done.stdout.startswith("Usage: caproto-get")


def test_a_tool_that_is_deaf_to_ctrl_c_stays_so():
    """A shell without job control makes programs in the background so."""
    done = run("""if True:
        import atexit
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
    """)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_calls_it_keeps_its_handler(capsys):
    before = signal.getsignal(signal.SIGINT)
    assert main(["-h"]) == 0
    assert signal.getsignal(signal.SIGINT) is before
