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


#: What a script does without, if it only reads and writes PVs.
UNUSED = (
    "datetime", "encodings.idna", "importlib", "inspect", "json", "numbers", "pathlib",
    "subprocess",
    "caproto._client.explanation", "caproto._client.results", "caproto._protocol.names",
    "caproto._server", "caproto.backend", "caproto.server", "caproto.threading.client._batch",
    "caproto.threading.client._many", "caproto.threading.server",
)


@pytest.mark.parametrize("name", ["caproto", "caproto.threading.client", "caproto.sync.client"])
def test_nothing_heavy_is_imported(name):
    loaded = run(f"import sys, {name}; print(*sorted(sys.modules))").split()
    assert not [heavy for heavy in HEAVY if heavy in loaded]


def test_a_script_imports_what_it_needs(ioc):
    """From the start to a value that is a number: no numpy, no part for other purposes."""
    code = f"""if True:
        import os, sys
        os.environ.update({ioc.environ!r})
        from caproto.sync.client import read
        response = read({ioc.pv("double")!r}, repeater=False)
        assert str(response.value) == response.text == "3.14", response
        print(*sorted(sys.modules))
        """
    loaded = run(code).split()
    before = run("import sys; print(*sys.modules)").split()  # some interpreters start with more
    assert not [name for name in {*HEAVY, *UNUSED} - {*before} if name in loaded]


def test_the_tool_that_prints_a_value_starts_no_client(ioc):
    """Neither client, threads nor loggers: they would take longer than all the rest."""
    code = f"""if True:
        import os, sys
        os.environ.update({ioc.environ!r})
        from caproto._catools import one_shot
        one_shot._PATIENCE = 10.0  # more than a slow machine needs
        from caproto.commandline.get import main
        assert main(["-t", {ioc.pv("double")!r}]) == 0
        print(*sorted(sys.modules))
        """
    value, *loaded = run(code).split()
    assert value == "3.14"
    heavy = {"caproto.threading.client", "logging", "rich", "textual", "threading", "typing"}
    before = run("import sys; print(*sys.modules)").split()  # some interpreters start with more
    assert not [name for name in {*HEAVY, *heavy} - {*before} if name in loaded]


def test_import_within_budget():
    """Seconds of CPU, because other processes must not count; less those of the interpreter."""

    def best(code: str) -> float:
        return min(float(run(f"{code}; import time; print(time.process_time())")) for _ in range(5))

    run("import caproto.threading.client")  # writes the byte code
    assert best("import caproto.threading.client") - best("pass") < 0.5
