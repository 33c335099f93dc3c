"""Importing caproto stays cheap: no numpy, nothing heavy, within a budget."""
from __future__ import annotations

import subprocess
import sys

import pytest

# Large parts of the standard library, and others', that a client does not need to start.
HEAVY = ("asyncio", "http", "multiprocessing", "numpy", "unittest", "xml")


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.parametrize("name", ["caproto", "caproto.threading.client"])
def test_nothing_heavy_is_imported(name):
    loaded = run(f"import sys, {name}; print(*sorted(sys.modules))").split()
    assert not [heavy for heavy in HEAVY if heavy in loaded]


def test_import_within_budget():
    """Seconds of CPU, because other processes must not count; less those of the interpreter."""

    def best(code: str) -> float:
        return min(float(run(f"{code}; import time; print(time.process_time())")) for _ in range(5))

    run("import caproto.threading.client")  # writes the byte code
    assert best("import caproto.threading.client") - best("pass") < 0.5
