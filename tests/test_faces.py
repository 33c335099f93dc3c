"""Names that a face imports at their first use."""
from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

FACE = """
from caproto import _faces
__getattr__ = _faces.importer(__name__, {".inside": "First Second", ".broken": "Third"}, ["part"])
"""
INSIDE = """
class First:
    __module__ = "caproto._inside"
class Second: ...
"""


@pytest.fixture
def run(tmp_path):
    """Run code that can import the package `face`; return what it prints."""
    package = tmp_path / "face"
    package.mkdir()
    for name, text in (
        ("__init__", FACE), ("inside", INSIDE), ("broken", "1 / 0"), ("part", "number = 7")
    ):
        (package / f"{name}.py").write_text(text)

    def run(code: str) -> str:
        code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import face\n" + code
        return subprocess.check_output(
            [sys.executable, "-c", textwrap.dedent(code)], text=True, timeout=60
        )

    return run


def test_a_module_is_imported_at_the_first_use_of_one_of_its_names(run):
    code = """if True:
        print("face.inside" in sys.modules)
        print(face.First.__name__, "Second" in vars(face), "face.inside" in sys.modules)
        """
    assert run(code) == "False\nFirst True True\n"


def test_what_is_ours_says_that_it_comes_from_the_face(run):
    assert run("print(face.First.__module__, face.Second.__module__)") == "face face.inside\n"


def test_a_submodule(run):
    assert run("print(face.part.number)") == "7\n"


def test_other_names(run):
    code = """if True:
        for name in ("Nonsense", "Third", "inside"):
            try:
                getattr(face, name)
            except Exception as error:
                print(repr(error))
        """
    assert run(code).splitlines() == [
        """AttributeError("module 'face' has no attribute 'Nonsense'")""",
        "ZeroDivisionError('division by zero')",
        """AttributeError("module 'face' has no attribute 'inside'")""",
    ]
