"""What programs written for pyepics do and go through: screens, restarts, rights, threads, fork."""
from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import threading
import time

import pytest

from caproto import EventAddRequest
from caproto.threading.client import Context
from caproto.threading.pyepics_compat import PV, ca, caget, caget_many, caput_many, dbr, get_pv
from tests.harness.fake_server import FakePV
from tests.harness.ioc_process import SoftIOC

pytestmark = pytest.mark.ioc

DATABASE = """
record(ao, "$(P)x") { field(PREC, "3") field(EGU, "mm") field(DRVH, "8") field(DRVL, "-8") }
record(ao, "$(P)y") {}
record(stringout, "$(P)group") { field(OUT, "$(P)y.ASG PP") }
record(bo, "$(P)switch") { field(ZNAM, "Off") field(ONAM, "On") }
record(waveform, "$(P)wave") { field(FTVL, "DOUBLE") field(NELM, "10") }
"""


@pytest.fixture(scope="module")
def records():
    with SoftIOC([DATABASE]) as process:
        yield process


@pytest.fixture
def context(records, monkeypatch):
    with Context(configuration=records.configuration, timeout=10) as made:
        monkeypatch.setattr(PV, "default_context", classmethod(lambda cls: made))
        yield made


class Screen:
    """What a display program does with each of its PVs."""

    def __init__(self, name: str) -> None:
        self.log: list = []
        mask = dbr.DBE_VALUE | dbr.DBE_ALARM | dbr.DBE_PROPERTY
        self.pv = PV(
            name, connection_callback=self.connection, form="ctrl", auto_monitor=mask,
            access_callback=self.access,
        )  # fmt: skip
        self.pv.add_callback(self.value, with_ctrlvars=True)

    def connection(self, conn=None, **_):
        self.log.append(("connection", conn))
        if conn:
            self.pv.run_callbacks()

    def access(self, read_access, write_access, **_):
        self.log.append((read_access, write_access, ca.write_access(self.pv.chid)))

    def value(self, value=None, char_value=None, count=None, ftype=None, **others):
        if value is not None:
            self.log.append((value, char_value, count, ftype, others["units"], others["enum_strs"]))


@pytest.mark.parametrize(
    "name, wanted",
    [("x", (0.0, "0", 1, 34, "mm", None)), ("switch", (0, "Off", 1, 31, None, ("Off", "On")))],
)
def test_a_screen(context, records, wait_for, name, wanted):
    screen = Screen(records.pv(name))
    wait_for(lambda: len(screen.log) >= 3)
    assert screen.log[:3] == [(True, True, 1), ("connection", True), wanted]
    screen.pv.access_callbacks = []
    screen.pv.connection_callbacks = []
    screen.pv.clear_callbacks()
    screen.pv.disconnect()
    before = len(screen.log)
    caput_many([records.pv(name)], [1], wait="all")
    assert len(screen.log) == before and not screen.pv.connected
    caput_many([records.pv(name)], [0], wait="all")


def test_rights_that_change_are_told(context, records, wait_for):
    told: list = []

    def access(read, write, pv):
        told.append((read, write, pv.read_access, pv.write_access, pv.access))

    x = PV(records.pv("y"), access_callback=access)
    assert x.wait_for_connection(10)
    group = PV(records.pv("group"))
    assert group.wait_for_connection(10)
    group.put("READONLY", wait=True)
    wait_for(lambda: len(told) == 2)
    group.put("NOACCESS", wait=True)
    wait_for(lambda: len(told) == 3)
    assert x.get(use_monitor=False, timeout=1) is None
    group.put("DEFAULT", wait=True)
    wait_for(lambda: len(told) == 4)
    assert told == [
        (True, True, True, True, "read/write"),
        (True, False, True, False, "read-only"),
        (False, False, False, False, "no access"),
        (True, True, True, True, "read/write"),
    ]
    assert x.connected and x.put(1.0, wait=True) == 1


def test_restarts_of_an_ioc_are_told_to_each_pv_once_and_in_order(start_ioc, wait_for):
    count, restarts = 50, 4
    ioc = start_ioc(["".join(f'record(ao, "$(P)n{i}") {{}}\n' for i in range(count))])
    events: list[list] = [[] for _ in range(count)]

    def make(own: list, name: str, context: Context) -> PV:
        return PV(
            name,
            lambda **_: own.append("value"),
            connection_callback=lambda conn, **_: own.append(("connection", conn)),
            access_callback=lambda read, write, pv: own.append((read, write)),
            context=context,
        )

    with Context(configuration=ioc.configuration) as ctx:
        pvs = [make(own, ioc.pv(f"n{i}"), ctx) for i, own in enumerate(events)]
        wait_for(lambda: all(len(own) == 3 for own in events), timeout=20)
        for number in range(restarts):
            ioc.kill()
            wait_for(lambda: not any(pv.connected for pv in pvs))
            ioc.start()
            wait_for(lambda n=number: all(len(own) == 5 * n + 8 for own in events), timeout=30)
        up = [(True, True), ("connection", True), "value"]
        down = [("connection", False), (False, False)]
        assert events == [(up + down) * restarts + up] * count


def test_threads_that_make_and_drop_pvs_all_the_time(context, records):
    shared = PV(records.pv("switch"))
    assert shared.wait_for_connection(10)
    names = [records.pv(name) for name in ("x", "switch", "wave")]
    end, errors = time.monotonic() + 2, []

    def work(seed: int) -> None:
        pick = random.Random(seed)
        try:
            while time.monotonic() < end:
                pv = PV(pick.choice(names), lambda **_: None, auto_monitor=pick.choice([None, 1]))
                if pick.random() < 0.5:
                    assert pv.wait_for_connection(10) and pv.get(timeout=10) is not None
                    pv.disconnect()
                    assert pv.connect(10) and pv.get(timeout=10) is not None
                elif pick.random() < 0.5:
                    pv.disconnect()
                pv.remove_callback(pv.add_callback(lambda **_: None))
                if pick.random() < 0.2:
                    get_pv(names[0]).disconnect()
                assert caget(records.pv("y"), timeout=10, connection_timeout=10) is not None
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and shared.connected


def test_memory_does_not_grow_with_pvs_that_come_and_go(context, records, wait_for):
    def run(times: int) -> None:
        for number in range(times):
            pv = PV(records.pv("x"), lambda **_: None)
            assert pv.wait_for_connection(10)
            if number % 10 == 0:
                pv.disconnect()

    def objects() -> int:
        gc.collect()
        return len(gc.get_objects())

    kept = PV(records.pv("y"))
    assert kept.wait_for_connection(10)
    run(100)
    before = objects()
    run(200)
    # Updates that are on their way hold some for a moment; each PV would cost more than ten.
    wait_for(lambda: objects() - before < 200)


def test_a_monitor_is_on_the_wire_once_whoever_starts_it(start_server, wait_for):
    server = start_server({f"p{i}": FakePV(float(i)) for i in range(20)})
    with Context(configuration=server.configuration) as ctx:
        pvs = [PV(f"p{i}", context=ctx) for i in range(20) for _ in range(3)]

        def start(pv: PV) -> None:
            pv.auto_monitor = True
            pv.add_callback(lambda **_: None)
            pv.wait_for_connection(10)
            pv.auto_monitor = True

        threads = [threading.Thread(target=start, args=(pv,)) for pv in pvs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(lambda: all(pv.get() is not None for pv in pvs))
        assert len(server.received(EventAddRequest)) == 20


def test_many_of_which_some_are_missing(context, records):
    names = [records.pv("x"), "missing:1", records.pv("y"), "missing:2"]
    begun = time.monotonic()
    assert caput_many(names, [1, 2, 3, 4], wait="all", connection_timeout=0.5) == [1, -1, 1, -1]
    assert caget_many(names, connection_timeout=0.5) == [1.0, None, 3.0, None]
    assert time.monotonic() - begun < 4  # not 0.5 for each missing one and each function


def run(records: SoftIOC, code: str) -> tuple[str, str]:
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        env={**os.environ, **records.environ},
    )  # fmt: skip
    return process.stdout, process.stderr


def test_a_process_after_fork_has_connections_of_its_own(records):
    out, error = run(records, f"""
import os, warnings
from caproto.threading.pyepics_compat import caget, get_pv
warnings.filterwarnings("ignore", "This process .* is multi-threaded")  # since Python 3.12
name = {records.pv("wave")!r}
before = get_pv(name, connect=True)
if os.fork() == 0:
    pv = get_pv(name)
    print(pv is not before, pv.wait_for_connection(10), len(pv.get()), caget(name).size, flush=True)
    os._exit(0)
os.wait()
print(before.connected, len(before.get(use_monitor=False)))
""")
    assert (out, error) == ("True True 0 0\nTrue 0\n", "")


def test_a_fork_while_a_thread_takes_over_the_context_of_all_pvs(records):
    out, error = run(records, """
import os, threading, warnings
from caproto.threading.pyepics_compat import PV, _connection
warnings.filterwarnings("ignore", "This process .* is multi-threaded")  # since Python 3.12
held, forked = threading.Event(), threading.Event()
def hold():
    with _connection._default_lock:
        held.set()
        forked.wait()
threading.Thread(target=hold).start()
held.wait()
if os.fork() == 0:
    print(PV.default_context().closed, flush=True)
    os._exit(0)
forked.set()
os.wait()
""")
    assert (out, error) == ("False\n", "")


def test_the_end_of_a_process_with_updates_is_quiet_and_quick(records):
    out, error = run(records, f"""
import threading, time
from caproto.threading.pyepics_compat import PV
def put():
    while True:
        pvs[0].put(time.time() % 5)
def connection(conn, **_):
    assert conn, "what it would change may be gone, as the objects of Qt are"
pvs = [
    PV({records.pv("x")!r}, lambda **_: None, connection_callback=connection) for _ in range(20)
]
assert all(pv.wait_for_connection(10) for pv in pvs)
threading.Thread(target=put, daemon=True).start()
time.sleep(0.2)
print(time.time())
""")
    assert time.time() - float(out) < 2 and error == ""
