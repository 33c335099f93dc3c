"""Calls inside an import at the first use of something: an answer, or ReentrantCallError."""
from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

import caproto
from caproto import ReentrantCallError, _imports
from caproto._client.callbacks import accepts_two
from caproto._client.results import ReadResults
from caproto._protocol.names import parse_channel_filter
from caproto.threading.client import Context
from tests.harness.each_case import each_case
from tests.harness.fake_server import FakeServer

PACKAGE = Path(caproto.__file__).parent
CLIENT = "caproto.threading.client"


@pytest.fixture
def ctx() -> Iterator[Context]:
    with (
        FakeServer({"x": 1.5}) as server,
        Context(configuration=server.configuration, timeout=10) as made,
    ):
        made.get_pv("x").wait_for_connection()
        yield made


#: What is imported, and a call that imports it.
FIRST_USES: dict[str, tuple[str, Callable[[Context], object]]] = {
    "read": (f"{CLIENT}._many", lambda ctx: ctx.read("x")),
    "write": (f"{CLIENT}._many", lambda ctx: ctx.write({"x": 2.5})),
    "table": (f"{CLIENT}._table", lambda ctx: ctx.table(["x"])),
    "explain": ("caproto._client.explanation", lambda ctx: ctx.explain("x")),
    "watch": (f"{CLIENT}._connection_watch", lambda ctx: ctx.watch_connections(print).close()),
    "info": (f"{CLIENT}._info", lambda ctx: ctx.get_pv("x").info()),
    "metadata": (f"{CLIENT}._info", lambda ctx: ctx.get_pv("x").metadata),
    "watch_metadata": (f"{CLIENT}._info", lambda ctx: ctx.get_pv("x").watch_metadata().close()),
    "state": (f"{CLIENT}._callback_handler", lambda ctx: ctx.get_pv("x").connection_state_callback),
    "rights": (f"{CLIENT}._callback_handler", lambda ctx: ctx.get_pv("x").access_rights_callback),
    "a name": (f"{CLIENT}._batch", lambda ctx: find("Batch")),
    "filters": ("json", lambda ctx: parse_channel_filter('{"ts": {}}')),
    "callbacks": ("inspect", lambda ctx: accepts_two(len)),
    "to_csv": ("csv", lambda ctx: ReadResults({}).to_csv(sys.stderr)),
}


def find(name: str) -> object:
    module = sys.modules[CLIENT]
    vars(module).pop(name, None)
    return getattr(module, name)


def inside_import(module: str, call: Callable[[], object], handler: Callable[[], object]) -> None:
    """Run *call* as the first one that imports *module*, and *handler* in the middle of that."""
    file = sys.modules.pop(module).__file__

    def trace(frame: FrameType, event: str, _argument: object) -> None:
        if frame.f_code.co_filename == file and frame.f_code.co_name == "<module>":
            sys.settrace(None)
            handler()

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("module, call", FIRST_USES.values(), ids=FIRST_USES)
def test_a_signal_handler_inside_the_first_use_is_refused(ctx, monkeypatch, module, call):
    __import__(module)
    parent, _, name = module.rpartition(".")
    if parent:
        monkeypatch.setattr(sys.modules[parent], name, sys.modules[module])  # put back at the end
    monkeypatch.setitem(sys.modules, module, sys.modules[module])
    refused: list[str] = []

    def handler() -> None:
        with pytest.raises(ReentrantCallError) as caught:
            call(ctx)
        refused.append(str(caught.value))

    inside_import(module, lambda: call(ctx), handler)
    assert len(refused) == 1 and "while this thread was importing a part of caproto" in refused[0]
    call(ctx)


def test_another_thread_waits_for_the_import(ctx, monkeypatch):
    module = f"{CLIENT}._many"
    __import__(module)
    monkeypatch.setattr(sys.modules[CLIENT], "_many", sys.modules[module])
    monkeypatch.setitem(sys.modules, module, sys.modules[module])
    values: list[float] = []
    other = threading.Thread(target=lambda: values.append(ctx.read("x")["x"].value))
    inside_import(module, lambda: ctx.read("x"), other.start)
    other.join(10)
    assert values == [1.5]


def test_a_module_of_the_users_may_call_while_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "of_a_user.py").write_text(
        "from caproto import _imports\n_imports.check_reentry('Context.read')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    __import__("of_a_user")
    assert sys.modules.pop("of_a_user")


def test_outside_an_import_nothing_is_refused():
    _imports.check_reentry("Context.read")


def unchecked_imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Functions with an import of their own that do not ask before it, and the line."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            asked = [
                node.lineno for node in ast.walk(function)
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "_imports.check_reentry"
            ]
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom) and (
                    not asked or node.lineno < min(asked)
                ):
                    yield function.name, node.lineno


#: Functions of the client that import what `Context.explain` has imported by then, or that only a
#: notebook calls, between two cells.
EXEMPT = {
    ("_searches.py", "report"), ("_circuit_facts.py", "report"),
    ("_context.py", "_repr_html_"), ("_pv.py", "_repr_html_"),
}


@each_case("name", sorted(path.name for path in (PACKAGE / "threading/client").glob("*.py")))
def test_each_function_of_the_client_asks_before_it_imports(name):
    tree = ast.parse((PACKAGE / "threading/client" / name).read_text())
    assert not {one for one, _ in unchecked_imports(tree) if (name, one) not in EXEMPT}


def test_the_reader_of_imports_finds_those_that_do_not_ask():
    tree = ast.parse(
        "def f():\n    import a\ndef g():\n    _imports.check_reentry('g')\n    import a\n"
    )
    assert [*unchecked_imports(tree)] == [("f", 2)]
