"""Importing caproto stays cheap: no numpy, nothing heavy, within a budget."""
from __future__ import annotations

import subprocess
import sys
import time

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
    """Best of several processes, less the bare interpreter; the budget suits a busy machine."""

    def best(code: str) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            run(code)
            times.append(time.perf_counter() - start)
        return min(times)

    run("import caproto.threading.client")  # writes the byte code
    assert best("import caproto.threading.client") - best("pass") < 0.5
