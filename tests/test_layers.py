"""Imports go downwards only, and below the line there is no I/O.

The levels stand here and nowhere else; a new module needs a place in them.
"""
from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

from tests.harness.each_case import each_case

PACKAGE = Path(__file__).parents[1] / "caproto"

# From the bottom to the top. A module may import from the lines above its own, never from its own
# line or from below it.
LEVELS: tuple[tuple[str, ...], ...] = (
    # --- 0: numbers, names, types
    ("_typing",),
    ("_protocol", "_errors", "_locks", "_numbers"),
    ("_imports",),
    ("_faces", "_protocol.constants", "_protocol.headers", "_protocol.roles"),
    ("_log", "_settings"),
    ("_protocol.enums", "_protocol.names", "_protocol.text", "_protocol.timestamp"),
    ("_addresses", "_protocol.dbr", "_protocol.reassembly", "_protocol.status"),
    ("_environment", "_protocol.arrays", "_protocol.type_names"),
    ("_address_lists",),
    # --- 1: commands
    ("_protocol.channel_facts", "_protocol.payload"),
    ("_protocol.presentation",),
    ("_protocol.message",),
    ("_protocol.responses",),
    ("_protocol.commands_circuit", "_protocol.commands_search", "_protocol.commands_values"),
    ("_protocol.commands",),
    # --- 2: the rules of one channel, and the cutting of bytes
    ("_protocol.framing", "_protocol.id_ranges", "_protocol.replies", "_protocol.states"),
    ("_protocol.columns",),
    ("_protocol.channel",),
    ("_protocol.client_channel", "_protocol.server_channel"),
    # --- 3: conversations, and what is due when
    ("_protocol.circuit_tables",),
    ("_protocol.circuit_rules",),
    ("_protocol.broadcaster", "_protocol.circuit"),
    # --- 4: what a client decides
    ("_client",),
    ("_client.search_credits",),
    (
        "_client.arguments",
        "_client.backoff",
        "_client.beacons",
        "_client.callbacks",
        "_client.deliveries",
        "_client.flow_control",
        "_client.heartbeat",
        "_client.registration",
        "_client.search_plan",
        "_client.search_targets",
        "_client.tables",
    ),
    (
        "_client.announcements",
        "_client.interfaces",
        "_client.metadata",
        "_client.results",
        "_client.name_server_session",
        "_client.search_book",
        "_client.snapshot_columns",
    ),
    (
        "_client.descriptions",
        "_client.operations",
        "_client.snapshot_difference",
        "_client.snapshot_frames",
    ),
    (
        "_client.explanation",
        "_client.routing",
        "_client.snapshot_files",
        "_client.subscriptions",
    ),
    ("_client.table_snapshot",),
    ("_client.columns", "_client.info"),
    ("_client.column_requests", "_client.table_state", "_client.written_values"),
    ("_client.circuit_columns", "_client.column_updates"),
    ("_client.circuit_session", "_client.pvs"),
    # --- 4: what a server decides
    ("_server", "_server.conversions", "_server.ioc_arguments"),
    ("_server.beacon_timer", "_server.snapshot"),
    ("_server.properties",),
    ("_server.data",),
    ("_server.channel_types", "_server.directory", "_server.scans", "_server.updates"),
    ("_server.group", "_server.open_channel", "_server.search_replies"),
    ("_server.answers",),
    ("_server.session",),
    # === the line ===
    # --- 5: sockets
    ("_os",),
    ("_os.sockets",),
    ("_os.repeater", "_os.signals"),
    # --- 6: the parts of the client that know no circuit
    (
        "threading",
        "threading._waiting",
    ),
    (
        "threading.client._callback_queue",
        "threading._lifetime",
        "threading.client._notes",
        "threading.client._reentry",
        "threading.client._search_socket",
        "threading._service_thread",
        "threading._transport",
    ),
    ("threading.client._searchers",),
    ("threading.client._replies",),
    (
        "threading.client._name_server",
    ),
    # --- 7: one connection, one PV
    (
        "threading.client._circuit_facts",
        "threading.client._circuit_manager",
        "threading.client._command_log",
    ),
    (
        "threading.client._circuit",
        "threading.client._search_service",
    ),
    ("threading.client._searches",),
    ("threading.client._name_search",),
    ("threading.client._shared_broadcaster",),
    # --- 8: what holds them together
    ("threading.client._home",),
    (
        "threading.client._callback_handler",
        "threading.client._connection_watch",
        "threading.client._requests",
        "threading.client._sending",
        "threading.client._subscription",
        "threading.client._table_shares",
    ),
    ("threading.client._gathering",),
    (
        "threading.client._info",
        "threading.client._table_monitors",
        "threading.client._table_operations",
    ),
    ("threading.client._pv", "threading.client._table_reads", "threading.client._table_writes"),
    (
        "threading.client._batch",
        "threading.client._ensure_connected",
        "threading.client._many",
        "threading.client._table",
    ),
    ("threading.client._context",),
    # --- 8: the threads of a server
    ("threading.server._listening", "threading.server._workers"),
    ("threading.server._connection", "threading.server._loop"),
    ("threading.server._server",),
    # --- 9: the faces
    ("_known", "_known.constants", "_known.conversions", "_known.ports", "_known.record_names"),
    ("_known.callbacks", "_known.requests", "_known.type_sets"),
    ("backend",),
    ("sync", "threading.client", "threading.server"),
    ("server", "sync._requests", "sync._stream", "sync.repeater", "sync.shark"),
    ("sync._updates",),
    ("sync.client",),
    # --- 10: the names of pyepics
    (
        "threading.pyepics_compat._attributes",
        "threading.pyepics_compat._errors",
        "threading.pyepics_compat._values",
        "threading.pyepics_compat._worker",
        "threading.pyepics_compat.dbr",
    ),
    (
        "threading.pyepics_compat._callbacks",
        "threading.pyepics_compat._channels",
        "threading.pyepics_compat._text",
    ),
    ("threading.pyepics_compat._connection",),
    ("threading.pyepics_compat._pv", "threading.pyepics_compat.ca"),
    ("threading.pyepics_compat._functions", "threading.pyepics_compat._epics"),
    ("threading.pyepics_compat",),
    ("",),
    # --- 11: the parts of the command line tools
    (
        "_catools", "_catools.extras", "_catools.interrupts", "_catools.messages",
        "_catools.number_forms", "_catools.progress",
        "_catools.statuses", "_catools.times", "_catools.typenames", "_catools.verbosity",
    ),
    ("_catools.settings",),
    ("_catools.options", "_catools.values"),
    ("_catools.completion", "_catools.exact_values", "_catools.help", "_catools.lines",
     "_catools.moments", "_catools.request_form", "_catools.sources",
     "_catools.template_text"),
    ("_catools.access", "_catools.more_options", "_catools.one_shot", "_catools.program",
     "_catools.samples"),
    ("_catools.blocks", "_catools.entry", "_catools.events", "_catools.expressions",
     "_catools.reasons", "_catools.statistics", "_catools.template", "_catools.writing"),
    ("_catools.forms", "_catools.watching"),
    ("_catools.reports",),
    ("_catools.monitoring",),
    ("_catools.explaining", "_catools.getting"),
    ("_catools.informing", "_catools.putting", "_catools.snapshots"),
    ("_catools.snapshotting",),
    # ... and of the table of one of them
    ("_catools.watch", "_catools.watch.cells", "_catools.watch.ending", "_catools.watch.keys",
     "_catools.watch.sparkline"),
    ("_catools.watch.readings",),
    ("_catools.watch.rows",),
    ("_catools.watch.columns", "_catools.watch.source"),
    ("_catools.watch.table",),
    ("_catools.watch.grid", "_catools.watch.screens"),
    ("_catools.watch.app",),
    ("_catools.watch.program",),
    # --- 12: programs
    ("commandline", "ioc_examples"),
)
LINE = "_os.sockets"  # the first module with sockets
# Packages of programs: no module of theirs imports another.
PROGRAMS = ("commandline.", "ioc_examples.")

# What the core must not even name; `time` too: the present moment is always an argument.
FORBIDDEN = {
    "_socket", "_thread", "asyncio", "concurrent", "multiprocessing", "queue", "sched", "select",
    "selectors", "signal", "socket", "socketserver", "ssl", "subprocess", "threading", "time",
}
# What TimeStamp.now() is asked for *is* the present moment.
# The lock is handed to the core, which knows no thread. Functions of a group wait for its event
# `stopping`, which the core makes and the server sets. The log asks which thread it runs in.
ALLOWED = {
    "_locks": {"threading"},
    "_log": {"threading"},
    "_protocol.timestamp": {"time"},
    "_server.group": {"threading"},
}


def module_names() -> list[str]:
    """Every module of the package, relative to it: "_protocol.dbr"; "" for the face."""
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        names.append(".".join(part for part in parts if part != "__init__"))
    return names


@functools.cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def imports_of(name: str, nodes=None) -> tuple[set[str], set[str]]:
    """Modules that *name* imports: (of our own, of others, first part only).

    When it runs, or, with ``nodes=ast.walk``, also for the type checker and inside functions.
    """
    path = PACKAGE.joinpath(*name.split(".")) if name else PACKAGE
    is_package = path.is_dir()
    file = path / "__init__.py" if is_package else path.with_suffix(".py")
    here = ["caproto", *filter(None, name.split("."))]
    package = here if is_package else here[:-1]
    found: set[str] = set()
    for node in (nodes or runtime_nodes)(tree_of(file)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{origin}.{alias.name}"
                found.add(whole if is_module(whole) else origin)
    own = {full.removeprefix("caproto").removeprefix(".") for full in found if is_own(full)}
    return own, {full.split(".")[0] for full in found if not is_own(full)}


def runtime_nodes(tree: ast.AST):
    """All nodes except what only the type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for branch in node.orelse:
                yield branch
                yield from runtime_nodes(branch)
            continue
        yield node
        yield from runtime_nodes(node)


def is_own(full: str) -> bool:
    return full.split(".")[0] == "caproto"


def is_module(full: str) -> bool:
    if not is_own(full):
        return False
    path = PACKAGE.joinpath(*full.split(".")[1:])
    return path.is_dir() or path.with_suffix(".py").exists()


LEVEL_OF = {name: number for number, level in enumerate(LEVELS) for name in level}
LEVEL_OF.update({name: len(LEVELS) for name in module_names() if name.startswith(PROGRAMS)})


def test_every_module_has_a_level():
    assert set(LEVEL_OF) == set(module_names())


@each_case("name", module_names())
def test_imports_go_downwards(name):
    own, _ = imports_of(name)
    wrong = {other for other in own if LEVEL_OF.get(other, 99) >= LEVEL_OF[name]}
    assert not wrong, f"caproto.{name} imports from its own level or above: {wrong}"


CORE = [name for name in module_names() if LEVEL_OF.get(name, 99) < LEVEL_OF.get(LINE, 99)]


@each_case("name", module_names())
def test_the_type_checker_sees_no_circle(name):
    """Nor does a reader, in the whole package: imports inside functions count, too.

    Where each module imports only what is below it there can be no circle.
    """
    own, _ = imports_of(name, nodes=ast.walk)
    wrong = {other for other in own if LEVEL_OF.get(other, 99) >= LEVEL_OF[name]}
    assert not wrong, f"caproto.{name} imports from its own level or above: {wrong}"


@each_case("name", CORE)
def test_no_io_below_the_line(name):
    _, others = imports_of(name)
    wrong = others & FORBIDDEN - ALLOWED.get(name, set())
    assert not wrong, f"caproto.{name} must not import {wrong}"


#: An interpreter that knows no module of ours imports each in a child of its own: a tenth of the
#: time that an interpreter for each would take. Python imports the package of a module first, so a
#: child that has imported a package and nothing else is where its modules are tried.
_IMPORT_EACH = """
import gc, os, sys, traceback
import argparse, ctypes, dataclasses, inspect, logging, selectors, socket, threading, typing
import numpy
gc.disable()
if sys.dont_write_bytecode:  # else each child would compile all that it imports
    sys.pycache_prefix, sys.dont_write_bytecode = sys.argv[1], False
names = sys.argv[2:]
package = {name: name.rpartition(".")[0] for name in names}
def try_modules_of(parent):
    for name in names:
        if parent != (package[name] if package[name] in names else None):
            continue
        pid = os.fork()
        if not pid:
            status = 0
            try:
                __import__(name)
            except BaseException:
                print(name, traceback.format_exc(), file=sys.stderr, flush=True)
                status = 1
            else:
                try_modules_of(name)
            os._exit(status)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            print(name, flush=True)
try_modules_of(None)
"""


def failed_imports(names: list[str], cache: Path) -> tuple[list[str], str]:
    """Import each module alone; return those that fail, and what was written to stderr."""
    command = [sys.executable, "-W", "error", "-c", _IMPORT_EACH, str(cache), *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=True)
    return done.stdout.split(), done.stderr


def test_each_module_imports_alone(tmp_path):
    """No circle is hidden by the order in which the face imports its parts."""
    names = [".".join(filter(None, ["caproto", name])) for name in module_names()]
    assert failed_imports(names, tmp_path) == ([], "")


def test_an_import_that_fails_is_named(tmp_path):
    names = ["math", "caproto", "caproto.there_is_none", "xml.there_is_none"]
    failed, told = failed_imports(names, tmp_path)
    assert failed == names[2:] and told.count("ModuleNotFoundError") == 2


def test_the_reader_of_imports_reads():
    """These tests would pass on everything if it found nothing."""
    own, others = imports_of("_log")
    assert "_errors" in own and {"__future__", "typing"} < others
    assert "_protocol.constants" in set().union(*(imports_of(name)[0] for name in module_names()))


def test_the_reader_of_imports_sees_the_type_checkers_and_those_in_functions():
    tree = ast.parse(
        "import a\n"
        "if TYPE_CHECKING:\n    import b\nelse:\n    import c\n"
        "def function():\n    import d\n"
    )

    def names(nodes):
        return {one.name for node in nodes if isinstance(node, ast.Import) for one in node.names}

    assert names(runtime_nodes(tree)) == {"a", "c", "d"}
    assert names(ast.walk(tree)) == {"a", "b", "c", "d"}
