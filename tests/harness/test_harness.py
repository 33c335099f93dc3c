"""The tools of the tests, tested with each other and with the real C client."""
from __future__ import annotations

import gc
import inspect
import socket
import sys
import threading
import time

import pytest

from caproto._protocol.names import parse_record_field
from tests.harness.databases import counter_names, counters, many, many_names
from tests.harness.each_case import each_case
from tests.harness.interrupts import (
    collect_at_each_allocation,
    enter_each_line,
    interrupt_each_line,
)
from tests.harness.ioc_process import IOCFailed, SoftIOC
from tests.harness.leaks import no_leaks
from tests.harness.libca import ScriptFailed, run_libca
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for


def test_wait_for_returns_the_first_true_result():
    results = iter([0, "", "yes"])
    assert wait_for(lambda: next(results)) == "yes"


def test_wait_for_says_what_it_waited_for():
    with pytest.raises(AssertionError, match="not within 0.01 s: the moon"):
        wait_for(lambda: False, timeout=0.01, message="the moon")


def test_each_case_is_tried_and_all_that_fail_are_named():
    tried = []

    @each_case("divisor", {"none": 0, "one": 1, "two": 2})
    @each_case("number", [1, 2, 3], ids=lambda number: f"number {number}")
    def test(number, divisor, told):
        tried.append((number, divisor, told))
        with pytest.raises(ZeroDivisionError):
            number / divisor

    assert list(inspect.signature(test).parameters) == ["told"], "the fixtures that pytest sees"
    with pytest.raises(AssertionError, match="^divisor, 2 of 3: one; two$") as caught:
        test(told="x")
    assert tried == [(number, divisor, "x") for divisor in (0, 1, 2) for number in (1, 2, 3)]
    inner = caught.value.__cause__
    assert str(inner) == "number, 3 of 3: number 1; number 2; number 3"
    assert "DID NOT RAISE" in str(inner.__cause__)


def test_free_port_can_be_bound():
    port = free_port()
    assert port < 32000
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", port))
        udp.bind(("127.0.0.1", port))


def test_a_thread_left_is_a_failure():
    release = threading.Event()
    with pytest.raises(AssertionError, match="ca-left"):
        with no_leaks(timeout=0.05):
            thread = threading.Thread(target=release.wait, name="ca-left")
            thread.start()
    release.set()
    thread.join()


def test_a_socket_left_is_a_failure():
    with pytest.raises(AssertionError, match="sockets left"):
        with no_leaks(timeout=0.05):
            left = socket.socket()
    left.close()


def test_tidy_blocks_pass():
    with no_leaks():
        thread = threading.Thread(target=int, name="ca-tidy")
        thread.start()
        socket.socket().close()


@pytest.mark.ioc
def test_iocsh_commands_answer(ioc):
    ioc.put("double", 12.5)
    assert ioc.get("double") == "12.5"
    ioc.put("double", 3.14)
    assert any("epics" in line.lower() or "." in line for line in ioc.command("coreRelease"))


@pytest.mark.ioc
def test_a_silent_command_is_bounded(own_ioc):
    with pytest.raises(IOCFailed, match="no 'DONE' within"):
        own_ioc.command("epicsThreadSleep 5", timeout=0.2)


@pytest.mark.ioc
def test_an_ioc_that_cannot_start_says_why():
    with pytest.raises(IOCFailed, match="no such record type|no_such_type|cannot load"):
        SoftIOC(['record(no_such_type, "$(P)x") {}\n']).start()


@pytest.mark.ioc
@pytest.mark.libca
def test_records_as_the_c_client_sees_them(ioc):
    (seen,) = run_libca(
        """
        names = ["double", "long", "short", "float", "char", "string", "bool", "enum", "enum16",
                 "array_string", "array_short", "array_float", "array_enum", "array_char",
                 "array_long", "array_double", "empty", "readonly", "noaccess"]
        pvs = {name: epics.PV("T:" + name, auto_monitor=False) for name in names}
        found = {}
        for name, pv in pvs.items():
            assert pv.wait_for_connection(timeout=5), name
            value = pv.get(timeout=5) if name != "noaccess" else None
            if hasattr(value, "tolist"):
                value = value.tolist()
            found[name] = [epics.dbr.Name(epics.ca.field_type(pv.chid)), pv.nelm, value,
                           epics.ca.write_access(pv.chid)]
        report(found)
        """,
        ioc.environ,
    )
    assert seen["double"] == ["DOUBLE", 1, 3.14, 1]
    assert seen["long"] == ["LONG", 1, -123456, 1]
    assert seen["short"] == ["INT", 1, -321, 1]
    assert seen["float"] == ["FLOAT", 1, 2.5, 1]
    assert seen["char"][:3] == ["CHAR", 1, 65]
    assert seen["string"] == ["STRING", 1, "hello", 1]
    assert seen["bool"][:3] == ["ENUM", 1, 1]
    assert seen["enum"][:3] == ["ENUM", 1, 1]
    assert seen["enum16"][:3] == ["ENUM", 1, 15]
    assert seen["array_string"][:2] == ["STRING", 10]
    assert list(seen["array_string"][2]) == ["one", "two", "three"]
    assert seen["array_short"][:3] == ["INT", 100, [1, -2, 3]]
    assert seen["array_float"][2] == [0.5, -1.5, 2.5]
    assert seen["array_enum"][:3] == ["ENUM", 100, [0, 1, 2]]
    assert seen["array_char"][1] == 200
    assert seen["array_long"][2] == [100000, -200000, 300000]
    assert seen["array_double"][2] == [0.25, -0.5, 1e300]
    assert seen["empty"][1:3] == [10, []]
    assert seen["readonly"][3] == 0


@pytest.mark.ioc
@pytest.mark.libca
def test_completion_takes_its_time(ioc):
    (took,) = run_libca(
        """
        import time
        pv = epics.PV("T:slow")
        assert pv.wait_for_connection(timeout=5)
        start = time.monotonic()
        pv.put(1, wait=True, timeout=5)
        report(time.monotonic() - start)
        """,
        ioc.environ,
    )
    assert 0.4 < took < 4


@pytest.mark.libca
def test_a_failing_script_is_a_failure():
    with pytest.raises(ScriptFailed, match="wrong on purpose"):
        run_libca("raise SystemExit('wrong on purpose')", {})


@pytest.mark.ioc
def test_kill_and_restart_on_the_same_port(own_ioc):
    port, first = own_ioc.port, own_ioc.process.pid
    socket.create_connection(own_ioc.address, timeout=5).close()
    own_ioc.kill()
    assert not own_ioc.running
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    own_ioc.start()
    assert own_ioc.process.pid != first
    own_ioc.restart()
    assert own_ioc.port == port
    socket.create_connection(("127.0.0.1", port), timeout=5).close()


@pytest.mark.ioc
def test_a_frozen_ioc_keeps_silent_until_it_thaws(own_ioc):
    version = bytes.fromhex("000000000000000d0000000000000000")
    echo = bytes.fromhex("00170000000000000000000000000000")
    with socket.create_connection(own_ioc.address, timeout=5) as sock:
        greeting = sock.recv(4096)
        assert greeting == version
        sock.sendall(version)
        own_ioc.freeze()
        sock.sendall(echo)
        sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            sock.recv(4096)
        own_ioc.thaw()
        sock.settimeout(5)
        assert sock.recv(4096) == echo


@pytest.mark.ioc
def test_stop_ends_without_a_process(start_ioc):
    process = start_ioc()
    assert process.stop() == 0
    assert not process.running and process.stop() is None


@pytest.mark.ioc
@pytest.mark.libca
def test_many_records_and_counters(start_ioc):
    process = start_ioc([many(10_000), counters(100)])
    names = many_names(10_000)
    assert names[-1] == "T:n09999"
    seen = run_libca(
        f"""
        report(epics.caget("{names[-1]}", timeout=5))
        report(epics.caget("{counter_names(100)[42]}", timeout=5))
        """,
        process.environ,
    )
    assert seen == [9999.0, 0.0]
    process.put("run", 1)
    wait_for(lambda: float(process.get("c0042")) > 5)
    start, first = time.monotonic(), float(process.get("c0042"))
    wait_for(lambda: float(process.get("c0042")) > first + 50)
    assert time.monotonic() - start < 5  # 100 Hz; ten would be the fastest rate without our menu
    process.put("run", 0)


# ---- interrupts ----------------------------------------------------------------------------------


def test_a_call_is_interrupted_at_each_of_its_lines():
    names = []
    for where in interrupt_each_line(lambda: names.append(parse_record_field("a.DESC"))):
        assert where.startswith("_protocol/names.py:")
        assert names == [], "the interrupt went through"
    assert len(names) == 1, "the last call was not struck"


def test_a_handler_runs_in_front_of_each_line():
    ran, names = [], []
    places = list(
        enter_each_line(
            lambda: names.append(parse_record_field("a.DESC")), lambda: ran.append(len(names))
        )
    )
    assert ran == list(range(len(places))) and len(places) > 5
    assert len(set(names)) == 1 and sys.gettrace() is None


def test_the_collector_runs_inside_the_call():
    seen, inside = [], []

    class Garbage:
        def __init__(self) -> None:
            self.myself = self

        def __del__(self) -> None:
            seen.append(bool(inside))

    def call() -> None:
        inside.append(1)
        kept = [[] for _ in range(100)]
        inside.pop()
        assert len(kept) == 100

    assert list(collect_at_each_allocation(call, Garbage, 50)) == list(range(1, 51))
    assert seen.count(True) > 10 and gc.isenabled()
