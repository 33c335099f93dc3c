"""The conformance list as a page of the manual: statement, tests, result.

``python -m tests.conformance.table`` runs all tests that name a statement and writes
``docs/conformance.rst``; test_table.py sees to it that the page names the tests that there are.
"""
from __future__ import annotations

import ast
import functools
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.items import PARTS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "conformance.rst"
TESTS = ROOT / "tests"

INTRODUCTION = """\
***********
Conformance
***********

What a Channel Access peer must do, in numbered statements, and the tests that show that caproto
does it. The statements follow the C++ client and server of EPICS, version 4.13 of the protocol;
where caproto deliberately does something else, the statement says so. Versions are minor
versions.

The page is written by ``python -m tests.conformance.table``, which runs the tests. To run those
of one part yourself: ``make test TESTS="-m item tests/conformance"``.
"""
COLUMNS = """
.. list-table::
    :header-rows: 1
    :widths: 5 55 32 8

    * - Item
      - Statement
      - Tests
      - Result
"""

#: A test function: its file relative to tests/, and its name.
Name = tuple[str, str]


@functools.cache
def marked_tests() -> dict[int, list[Name]]:
    """Statement -> the tests that name it, read from their source."""
    found: dict[int, list[Name]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        file = str(path.relative_to(TESTS))
        body = ast.parse(path.read_text()).body
        everywhere = [number for node in body for number in _numbers_of_module(node)]
        for name, numbers in _marks(body, tuple(everywhere)):
            for number in numbers:
                found[number].append((file, name))
    return dict(found)


def _marks(
    body: list[ast.stmt], outer: tuple[int, ...]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Each test function in *body* with the statements that it and its class are about."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _marks(node.body, (*outer, *_numbers(node)))
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            numbers = dict.fromkeys((*outer, *_numbers(node)))
            if numbers:
                yield node.name, tuple(numbers)


def _numbers_of_module(node: ast.stmt) -> Iterator[int]:
    """The statements in ``pytestmark = [item(83), ...]``."""
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
        for call in ast.walk(node.value):
            yield from _arguments(call)


def _numbers(node: ast.FunctionDef | ast.ClassDef) -> Iterator[int]:
    for decorator in node.decorator_list:
        yield from _arguments(decorator)


def _arguments(node: ast.AST) -> Iterator[int]:
    """Those of a call of `item`."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "item":
        yield from (ast.literal_eval(argument) for argument in node.args)


class Recorder:
    """A plugin of pytest that notes how each test function ended."""

    def __init__(self) -> None:
        self.results: dict[Name, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        path, _, rest = report.nodeid.partition("::")
        name = path.removeprefix("tests/"), rest.split("[")[0].rpartition("::")[2]
        if report.failed or (report.skipped and self.results.get(name) != "failed"):
            self.results[name] = report.outcome
        elif report.when == "call":
            self.results.setdefault(name, report.outcome)


def page(results: dict[Name, str]) -> str:
    """The text of the page."""
    tests = marked_tests()
    lines = [INTRODUCTION]
    for part, statements in PARTS.items():
        lines += ["", part, "=" * len(part), COLUMNS]
        for number, statement in statements.items():
            names = tests.get(number, [])
            lines.append(f"    * - {number}")
            lines.append(f"      - {statement.replace('*', chr(92) + '*')}")
            lines += _listed(names)
            lines.append(f"      - {_result(names, results)}")
    return "\n".join(lines) + "\n"


def _listed(names: list[Name]) -> Iterator[str]:
    """The tests of one statement, by file."""
    by_file: dict[str, int] = defaultdict(int)
    for file, _ in names:
        by_file[file] += 1
    text = [
        f"| ``{file.removesuffix('.py')}``" + (f" ({count})" if count > 1 else "")
        for file, count in by_file.items()
    ]
    yield from (f"      {'-' if not i else ' '} {line}" for i, line in enumerate(text or [""]))


def _result(names: list[Name], results: dict[Name, str]) -> str:
    outcomes = {results.get(name, "not run") for name in names} or {"no test"}
    return "passed" if outcomes == {"passed"} else ", ".join(sorted(outcomes - {"passed"}))


def main() -> int:
    recorder = Recorder()
    files = sorted({str(TESTS / file) for names in marked_tests().values() for file, _ in names})
    code = pytest.main(["-m", "item", "-q", *files], plugins=[recorder])
    PAGE.write_text(page(recorder.results))
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
