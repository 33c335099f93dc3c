"""Figures about the source that must stay small: long files, `Any`, private names of others."""
from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

from tests.harness.each_case import each_case

PACKAGE = Path(__file__).parents[1] / "caproto"
FILES = sorted(PACKAGE.rglob("*.py"))

LONGEST_FILE = 600
#: Per 1,000 code lines, imports of it counted.
MOST_ANY = 8.0
#: Per 1,000 lines: ``x._y``, where x is neither self nor cls, and another file defines ``_y``.
MOST_REACHING = 1.5


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def code_lines(path: Path) -> int:
    """Lines that are neither blank nor a comment alone."""
    stripped = (line.strip() for line in path.read_text().splitlines())
    return sum(1 for line in stripped if line and not line.startswith("#"))


def is_any(node: ast.AST | None) -> bool:
    """Tell whether *node* is ``Any`` or ``typing.Any``, perhaps as text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.fullmatch(r"(\w+\.)?Any", node.value) is not None
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
    return name == "Any"


def lines_with_any(path: Path) -> set[int]:
    return {
        node.lineno
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.expr) and is_any(node)
        or isinstance(node, ast.alias) and node.name == "Any"
    }


def names_for_any(path: Path) -> list[int]:
    """Find the lines that give Any another name, so that its uses would not be counted."""
    return [
        node.lineno
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Assign | ast.AnnAssign) and is_any(node.value)
        or isinstance(node, ast.alias) and node.name == "Any" and node.asname
    ]


def names_defined_in(path: Path) -> set[str]:
    """Everything that this file defines, assigns or declares as a slot."""
    names: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.attr if isinstance(node, ast.Attribute) else node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names


def reaching(path: Path) -> Iterator[str]:
    """Private attributes of other files' objects that this file touches."""
    own = names_defined_in(path)
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
            continue
        if node.attr.startswith("__") or node.attr in own:
            continue
        if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
            yield f"{path}:{node.lineno} {ast.unparse(node)}"


@each_case("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


def test_any_is_rare() -> None:
    lines = {path: len(lines_with_any(path)) for path in FILES}
    share = 1000 * sum(lines.values()) / sum(map(code_lines, FILES))
    most = sorted(lines.items(), key=lambda item: -item[1])[:5]
    assert share < MOST_ANY, f"{share:.1f} per 1,000 lines, most in {most}"


@each_case("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_any_has_no_other_name(path: Path) -> None:
    assert names_for_any(path) == []


def test_files_leave_the_private_names_of_others_alone() -> None:
    found = [place for path in FILES for place in reaching(path)]
    share = 1000 * len(found) / sum(len(path.read_text().splitlines()) for path in FILES)
    assert share < MOST_REACHING, f"{share:.2f} per 1,000 lines: {found}"


@each_case("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_lock_is_taken_unseen(path: Path) -> None:
    """In Python 3.10 and 3.11, a ``cached_property`` has a lock, one for all instances."""
    assert "cached_property" not in path.read_text()


def named_but_gone(paths: list[Path]) -> list[str]:
    """Private names that texts in these files refer to, and that none of them has."""
    there = {path.stem for path in paths}.union(*map(names_defined_in, paths))
    return [
        f"{path}: {name}"
        for path in paths
        for name in re.findall(r"``(_[a-z]\w*)``", path.read_text())
        if name not in there
    ]


def test_texts_name_what_is_there() -> None:
    assert named_but_gone(FILES) == []


def test_the_figures_would_tell(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text(
        "import typing\n"
        "from typing import Any\n"
        "\n"
        "# a comment\n"
        "x: Any = 1\n"
        "Thing: typing.TypeAlias = typing.Any\n"
        "self._own = self._private\n"
        "y = x._private + x._own + x.__class__\n"
    )
    assert lines_with_any(path) == {2, 5, 6}
    assert names_for_any(path) == [6]
    assert code_lines(path) == 6
    assert [place.split()[-1] for place in reaching(path)] == ["x._private"]
    (tmp_path / "texts.py").write_text(
        '"""See ``_there``, ``_gone`` and ``_bad``."""\nself._there = 1\n'
    )
    (tmp_path / "_bad.py").touch()
    assert [one.split()[-1] for one in named_but_gone(list(tmp_path.iterdir()))] == ["_gone"]
