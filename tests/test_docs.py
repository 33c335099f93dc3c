"""What the manual is made of: its pages are linked, its pictures and tables follow the code."""
from __future__ import annotations

import importlib.util
import inspect
import re
import xml.etree.ElementTree as ElementTree

import pytest

import caproto
from caproto._client import (
    backoff,
    circuit_session,
    operations,
    pvs,
    routing,
    search_book,
)
from caproto._environment import get_environment_variables
from caproto._protocol.states import CHANNEL, CIRCUIT
from tests.harness.ioc_process import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("diagrams", DOCS / "make_state_diagrams.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {path.name: path for path in module.write(tmp_path_factory.mktemp("pictures"))}


@pytest.mark.parametrize("machine, name", [(CIRCUIT, "circuit"), (CHANNEL, "channel")])
def test_pictures_show_every_state_and_command(machine, name, pictures):
    for role, table in machine.items():
        picture = ElementTree.parse(pictures[f"{name}-{role.value}.svg"])
        words = " ".join(text for text in picture.getroot().itertext())
        for state, after in table.items():
            assert repr(state) in words
            for command in after:
                assert command.__name__ in words


def test_the_design_page_shows_every_picture(pictures):
    page = (DOCS / "design.rst").read_text()
    assert set(re.findall(r"generated/([\w-]+\.svg)", page)) == set(pictures)


def test_every_variable_has_a_line():
    page = (DOCS / "environment.rst").read_text()
    missing = [name for name in get_environment_variables() if f"``{name}``" not in page]
    assert not missing


def test_every_page_is_in_the_table_of_contents():
    """Also one that Sphinx does not mention because it is among `exclude_patterns`."""
    pages = {path for path in DOCS.rglob("*.rst") if path.name != "index.rst"}
    listed = {
        page
        for index in DOCS.rglob("index.rst")
        for entry in re.findall(r"^    ([\w/*-]+)$", index.read_text(), re.MULTILINE)
        for page in index.parent.glob(f"{entry}.rst")
    }
    assert pages <= listed


def test_snippets_of_the_client_page_run():
    """Shown as code but not run: only what must not be done, and what the build cannot show."""
    page = (DOCS / "threading-client.rst").read_text()
    assert page.count(".. ipython::") > 20
    assert page.count(".. code-block:: python") < 10


@pytest.mark.parametrize("page", ["design", "drive-the-client", "contributing"])
def test_files_and_methods_that_a_page_names_exist(page):
    text = (DOCS / f"{page}.rst").read_text()
    classes = {
        name: (thing, module)
        for module in (backoff, circuit_session, operations, pvs, routing, search_book, caproto)
        for name, thing in vars(module).items()
        if isinstance(thing, type)
    }
    for name, attribute in re.findall(r"``(\w+)\.(\w+)(?:\(\))?``", text):
        if name in classes:
            cls, module = classes[name]
            found = hasattr(cls, attribute) or f"self.{attribute}" in inspect.getsource(module)
            assert found, f"{name}.{attribute}"
    places = (ROOT, ROOT / "caproto", ROOT / "tests", ROOT / "tests" / "simulation",
              ROOT / "caproto" / "threading" / "client")
    for path in re.findall(r"``([\w/.-]+(?:\.py|/))``", text):
        assert any((place / path).exists() for place in places), path
