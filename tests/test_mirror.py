"""Every module has a test file of its own, and every test file a module."""
from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "caproto"
TESTS = ROOT / "tests"

# Modules without behaviour of their own: numbers, names, and faces that only re-export.
WITHOUT_TESTS = {"_client/interfaces.py", "_protocol/constants.py", "backend.py"}
# Demo IOCs are tested together, as users run them.
TOGETHER = {"ioc_examples": "server/test_ioc_examples.py"}
# Directories of tests that belong to no module.
APART = {"benchmarks", "conformance", "examples", "harness", "integration", "simulation"}
# Tests of the project as a whole.
OF_THE_WHOLE = {
    "test_docs.py", "test_error_messages.py", "test_examples.py", "test_exports.py", "test_fuzz.py",
    "test_house.py", "test_import_time.py", "test_known_names.py",
    "test_language.py", "test_layers.py", "test_mirror.py",
    "test_vectors_support.py",
    "threading/client/test_client.py", "threading/client/test_interrupts.py",
    "threading/client/test_tracebacks.py",
}


def expected() -> dict[str, str]:
    """Test file (relative to tests/) of each module file (relative to caproto/)."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE)
        if path.name == "__init__.py" or str(module) in WITHOUT_TESTS:
            continue
        if module.parts[0] in TOGETHER:
            found[str(module)] = TOGETHER[module.parts[0]]
        else:
            folders = (part.lstrip("_") for part in module.parts[:-1])
            found[str(module)] = str(Path(*folders, f"test_{module.name.lstrip('_')}"))
    return found


def test_every_module_has_its_test_file():
    missing = [f"{m} -> tests/{t}" for m, t in expected().items() if not (TESTS / t).is_file()]
    assert not missing


def test_test_files_contain_tests():
    empty = [t for t in set(expected().values()) if "def test_" not in (TESTS / t).read_text()]
    assert not empty


def test_no_test_file_of_a_module_that_is_gone():
    """Extra files, like test_circuit_server.py, must begin with the name of their module."""
    known = {t.removesuffix(".py") for t in expected().values()}
    orphans = []
    for path in sorted(TESTS.rglob("test_*.py")):
        name = path.relative_to(TESTS)
        if name.parts[0] in APART or str(name) in OF_THE_WHOLE:
            continue
        if not any(str(name).startswith(f"{stem}_") or str(name) == f"{stem}.py" for stem in known):
            orphans.append(str(name))
    assert not orphans
