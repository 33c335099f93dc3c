"""What the manual is made of: its pages are linked, its pictures and tables follow the code."""
from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree

import pytest

import caproto
from caproto._catools.watch.columns import COLUMNS
from caproto._catools.watch.keys import KEYS
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
from caproto.server import ChannelDouble, ChannelEnum
from tests.harness.ioc_process import ROOT, DemoIOC, clean_environ

DOCS = ROOT / "docs"


def from_docs(name):
    """A module that the build of the manual uses."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    module = from_docs("make_state_diagrams")
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


def reference():
    """The names that the pages of the reference have entries for, as their directives say."""
    entries = set()
    tables = from_docs("make_tables").TABLES
    for page in (DOCS / "api").glob("*.rst"):
        text = re.sub(
            r"\.\. include:: \.\./generated/([\w-]+)\.txt", lambda found: tables[found[1]](),
            page.read_text(),
        )
        module = ""
        for directive, name in re.findall(r"^\.\. (?:py:)?(\w+):: ([\w.]+)", text, re.MULTILINE):
            if directive in ("module", "automodule", "currentmodule"):
                module = name
                entries |= {name} if directive != "currentmodule" else set()
            elif directive.startswith("auto") or directive in ("class", "data", "function"):
                entries.add(f"{module}.{name}")
    return entries


def test_every_public_name_has_an_entry_in_the_reference():
    """The build of the manual checks the same with the inventory that it writes."""
    assert not from_docs("public_names").missing(reference())


def test_a_name_without_an_entry_is_found():
    entries = reference()
    lost = {"caproto.TimeStamp", "caproto.CLIENT", "caproto.server.run", "caproto.backend"}
    assert lost <= entries
    missing = from_docs("public_names").missing
    assert set(missing(entries - lost)) == lost | set(missing(entries))


README = (ROOT / "README.rst").read_text()


def test_the_script_of_the_readme_prints_a_value_and_updates():
    block = re.search(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", README)[1]
    with DemoIOC("random_walk") as ioc:
        script = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(block)], env=clean_environ(**ioc.environ),
            capture_output=True, text=True, timeout=60, check=True,
        )
    first, *others = script.stdout.splitlines()
    assert first == "period 3.0"
    assert len(others) >= 2 and all(line.startswith("update ") for line in others)
    assert not script.stderr


def test_the_readme_has_the_commands_to_begin_with():
    commands = re.findall(r"^    make (\w+)", README, re.MULTILINE)
    assert commands == ["demo", "test"]
    assert all(f"\n{command}: " in (ROOT / "Makefile").read_text() for command in commands)


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"<(docs/[^>]+)>`_|image:: (\S+)", README)
    assert links and all((ROOT / (page or picture)).exists() for page, picture in links)


def test_the_picture_of_the_readme_shows_the_session():
    """What was typed is what docs/make_session_picture.py types; it has drawn what came out."""
    picture = ElementTree.parse(DOCS / "session.svg").getroot()
    rows = ["".join(row.itertext()) for row in picture.iter() if row.tag.endswith("text")]
    typed = [re.sub(r"^(In \[\d+\]| +\.\.\.): ", "", row) for row in rows
             if re.match(r"In \[\d+\]: | +\.\.\.: ", row)]
    session = from_docs("make_session_picture").SESSION
    assert typed == [line for code, _ in session for line in code.split("\n")]
    assert max(map(len, rows)) <= 100


def test_every_property_of_a_channel_has_a_line():
    table = from_docs("make_tables").channel_properties()
    names = set(ChannelDouble.properties()) | set(ChannelEnum.properties())
    assert set(re.findall(r"^    \* - ``(\w+)``$", table, re.MULTILINE)) >= names
    assert "From here up: HIHI, major." in table


def test_the_picture_of_the_table_shows_the_table():
    """It is drawn by docs/make_watch_picture.py; what it shows is what the table has now."""
    picture = ElementTree.parse(DOCS / "watch.svg").getroot()
    text = " ".join("".join(row.itertext()) for row in picture.iter() if row.tag.endswith("text"))
    text = text.replace("\xa0", " ")
    shown = [column.title for column in COLUMNS] + [key.word for key in KEYS if key.word]
    assert all(word in text for word in shown)
    assert all(name in text for name in from_docs("make_watch_picture").NAMES)


def test_pictures_load_nothing_from_elsewhere():
    for path in DOCS.glob("*.svg"):
        links = re.findall(r"url\(\S+?\)|href=\S+|src=\S+", path.read_text())
        assert all(link.startswith("url(#") for link in links)
