"""Real C clients: scripts that use pyepics, in processes of their own."""
from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

from tests.harness.ioc_process import clean_environ

_FRAME = """
import json, warnings
warnings.simplefilter("ignore")  # not ours to judge
import epics
def report(value):
    print("REPORT " + json.dumps(value), flush=True)
"""


class ScriptFailed(AssertionError):
    """The script ended with an error; the message has what it printed."""


def run_libca(script: str, environ: Mapping[str, str], timeout: float = 30.0) -> list[Any]:
    """Run *script* with pyepics imported as ``epics``; return what it passed to ``report(value)``.

    Values must be JSON. *environ* is an IOC's `environ`.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _FRAME + textwrap.dedent(script)],
            env=clean_environ(**environ),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        printed = f"{error.stdout!r} {error.stderr!r}"
        raise ScriptFailed(f"no end within {timeout} s: {printed}") from None
    if done.returncode:
        raise ScriptFailed(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    word = "REPORT "
    return [json.loads(ln[len(word) :]) for ln in done.stdout.splitlines() if ln.startswith(word)]
