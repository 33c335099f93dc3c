"""Each behaviour in README.md has a test; here are those that belong to no other file."""
from __future__ import annotations

import ast
import inspect
import re
import threading
import time
from pathlib import Path

import pytest

from caproto.threading import pyepics_compat as epics
from caproto.threading.pyepics_compat import PV
from tests.threading.pyepics_compat.conftest import Told

HERE = Path(__file__).parent


def table() -> dict[str, list[str]]:
    """The tests in the table, by behaviour."""
    rows: dict[str, list[str]] = {}
    for line in (HERE / "README.md").read_text().splitlines():
        found = re.fullmatch(r"\| (.+) \| `(\S+\.py)::(\S+)` \|", line)
        if found is not None:
            rows.setdefault(found[1], []).append(f"{found[2]}::{found[3]}")
        else:
            assert not line.startswith("|") or line in ("| behaviour | test |", "|---|---|"), line
    return rows


def names_in(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{one.name}" for one in node.body
                      if isinstance(one, ast.FunctionDef)}  # fmt: skip
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
    return {name for name in names if name.rpartition("::")[2].startswith("test_")}


def test_every_behaviour_names_tests_that_exist():
    rows = table()
    assert len(rows) > 90
    missing = [
        (behaviour, test)
        for behaviour, tests in rows.items()
        for test in tests
        if test.partition("::")[2] not in names_in(HERE / test.partition("::")[0])
    ]
    assert not missing


@pytest.mark.parametrize(
    "function, wanted",
    [
        (PV, "pvname callback form verbose auto_monitor count connection_callback "
             "connection_timeout access_callback monitor_delta"),
        (PV.add_callback, "self callback index run_now with_ctrlvars"),
        (PV.get, "self count as_string as_numpy timeout with_ctrlvars use_monitor"),
        (PV.get_with_metadata, "self count as_string as_numpy timeout with_ctrlvars form "
                               "use_monitor as_namespace"),
        (PV.put, "self value wait timeout use_complete callback callback_data"),
        (PV.clear_callbacks, "self with_access_callback with_connect_callback"),
        (PV.force_connect, "self pvname chid conn"),
        (PV.get_ctrlvars, "self timeout warn"),
        (PV.get_timevars, "self timeout warn"),
        (epics.get_pv, "pvname form connect context timeout connection_callback access_callback "
                       "callback verbose count auto_monitor monitor_delta"),
        (epics.caget, "pvname as_string count as_numpy use_monitor timeout connection_timeout"),
        (epics.caput, "pvname value wait timeout connection_timeout"),
        (epics.cainfo, "pvname print_out timeout connection_timeout"),
        (epics.camonitor, "pvname writer callback connection_timeout monitor_delta"),
        (epics.caget_many, "pvlist as_string as_numpy count timeout connection_timeout "
                           "conn_timeout"),
        (epics.caput_many, "pvlist values wait connection_timeout put_timeout"),
    ],
)  # fmt: skip
def test_arguments_by_position(function, wanted):
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = [one.name for one in inspect.signature(function).parameters.values()
             if one.kind is kinds]  # fmt: skip
    assert names[: len(wanted.split())] == wanted.split()


@pytest.mark.ioc
def test_auto_monitor_before_the_connection(context, records, wait_for):
    told = Told()
    x = PV(records.pv("x"), auto_monitor=False)
    x.auto_monitor = 5
    x.add_callback(told)
    wait_for(lambda: told.calls)
    assert x.auto_monitor == x.auto_monitor_mask == 5


@pytest.mark.ioc
def test_a_busy_client_finds_the_next_pv(context, records, pv):
    end = threading.Event()
    x = pv("x")

    def read():
        while not end.is_set():
            x.get(use_monitor=False)

    threads = [threading.Thread(target=read) for _ in range(30)]
    for thread in threads:
        thread.start()
    try:
        begun = time.monotonic()
        assert PV(records.pv("long")).wait_for_connection(10)
        assert time.monotonic() - begun < 3
    finally:
        end.set()
        for thread in threads:
            thread.join()


@pytest.mark.ioc
def test_lists_of_callbacks_may_be_changed(start_ioc, wait_for, context, records):
    told: list = []
    x = PV(records.pv("x"))
    x.connection_callbacks.append(lambda **keywords: told.append(sorted(keywords)))
    x.access_callbacks = [lambda read, write, pv: told.append((read, write))]
    assert x.wait_for_connection(10)
    assert told == [(True, True), ["conn", "pv", "pvname"]]
    x.access_callbacks.clear()
    x.connection_callbacks = []
    x._channel.pv.circuit_manager.disconnect()
    wait_for(lambda: x.connected)
    assert len(told) == 2


@pytest.mark.ioc
def test_after_clearing_no_callback_comes(pv, told, wait_for):
    x = pv("x", told)
    wait_for(lambda: told.calls)
    second = Told()

    def clear(**_):
        x.clear_callbacks()

    x.clear_callbacks()
    x.add_callback(clear)
    x.add_callback(second)  # after the one that clears
    x.put(1.5 if x.get() != 1.5 else 2.5, wait=True)
    wait_for(lambda: not x.callbacks)
    x.put(3.5, wait=True)
    assert x.get(use_monitor=False) == 3.5 and not second.calls
