"""The examples of test suites with a fake IOC pass, and fail where they should."""
from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.ioc_process import ROOT, clean_environ


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A copy in a folder of its own, as a reader of the page has it."""
    for path in (ROOT / "examples" / "testing").glob("*.py"):
        shutil.copy(path, tmp_path)
    return tmp_path


def run(suite: Path) -> subprocess.CompletedProcess[str]:
    """Run the suite as the page says."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=suite,
        env=clean_environ(),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_passes(suite):
    done = run(suite)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout and done.stderr == ""


def test_it_finds_defects(suite):
    code = suite / "align.py"
    text = code.read_text()
    for good, bad in (
        ("best = max(", "best = min("), ("if response.metadata.severity:", "if False:")
    ):
        assert good in text
        text = text.replace(good, bad)
    code.write_text(text)
    done = run(suite)
    assert done.returncode == 1, done.stdout + done.stderr
    failed = re.findall(r"^FAILED test_align.py::(\w+)", done.stdout, re.MULTILINE)
    assert set(failed) == {
        "test_it_finds_the_peak",
        "test_an_alarm_of_the_detector_ends_it",
        "test_the_program_says_where_the_peak_is",
    }


def test_the_tests_of_the_oven(tmp_path):
    for name in ("oven_3.py", "test_oven_3.py"):
        shutil.copy(ROOT / "examples" / "oven" / name, tmp_path)
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    code = tmp_path / "oven_3.py"
    code.write_text(code.read_text().replace('self.door.text == "Open"', "False"))
    assert "1 failed, 1 passed" in run(tmp_path).stdout
