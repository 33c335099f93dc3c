"""caget, caput and the others."""
from __future__ import annotations

import re
import threading
import time

import numpy
import pytest

from caproto import CaprotoTimeoutError, CaprotoValueError
from caproto.threading import pyepics_compat as epics
from caproto.threading.client import Context
from tests.threading.pyepics_compat.conftest import Told

pytestmark = [pytest.mark.ioc, pytest.mark.usefixtures("context")]


@pytest.fixture
def name(records):
    return records.pv


class TestGetPV:
    def test_the_cache_is_by_name_and_form(self, name):
        x = epics.get_pv(name("x"))
        assert epics.get_pv(f" {name('x')} ") is x and epics.get_pv(name("x"), form="ctrl") is not x
        assert epics.get_pv(name("x"), form="nonsense") is epics.get_pv(name("x"), None) is x
        assert epics.PV(name("x")) is not x

    def test_after_a_disconnect_there_is_a_new_one(self, name):
        x = epics.get_pv(name("x"), connect=True)
        x.disconnect()
        new = epics.get_pv(name("x"), connect=True)
        assert new is not x and new.connected and isinstance(epics.caget(name("x")), float)

    def test_callbacks_join_a_pv_that_is_connected(self, name):
        x = epics.get_pv(name("x"), connect=True)
        x.get()
        connection, access, value = Told(), Told(), Told()
        epics.get_pv(
            name("x"), connection_callback=connection, access_callback=access, callback=value
        )
        assert connection.calls == [((), {"pvname": x.pvname, "conn": True, "pv": x})]
        assert access.calls == [((True, True), {"pv": x})]
        assert len(value.calls) >= 1

    def test_threads_that_ask_at_once_get_the_same_one_and_all_are_called(self, name, wait_for):
        called: list = []
        pvs: list = []
        gate = threading.Barrier(20)

        def ask(number):
            gate.wait()
            pvs.append(epics.get_pv(name("x"), "ctrl", callback=lambda **_: called.append(number)))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(pv) for pv in pvs}) == 1 and len(pvs[0].callbacks) == 20
        wait_for(lambda: set(called) == set(range(20)))

    def test_the_cache_is_for_one_context(self, name, records):
        first = epics.get_pv(name("x"))
        with Context(configuration=records.configuration) as other:
            second = epics.get_pv(name("x"), context=other)
            assert second is not first and second is epics.get_pv(name("x"), context=other)

    def test_a_missing_one_is_printed(self, capsys):
        missing = epics.get_pv("nobody", connect=True, timeout=0.05)
        assert not missing.connected and capsys.readouterr().out == "cannot connect to nobody\n"


def test_caget_and_caput(name, capsys):
    assert epics.caput(name("x"), 1.25, wait=True) == 1
    assert epics.caget(name("x"), use_monitor=False) == 1.25
    assert epics.caget(name("x"), True, use_monitor=False) == "1.250"
    assert epics.caget("nobody", connection_timeout=0.05) is None
    assert epics.caput("nobody", 1, connection_timeout=0.05) is None
    assert capsys.readouterr().out == 2 * "cannot connect to nobody\n"


def test_cainfo(name, capsys):
    epics.caput(name("x"), 1.25, wait=True)
    shown = epics.cainfo(name("x"), print_out=False)
    lines = shown.splitlines()
    assert lines[0] == f"== {name('x')}  (time_double) =="
    assert "   units           = mm" in lines and "   char_value      = '1.250'" in lines
    assert "internally monitored" in shown
    assert epics.cainfo(name("switch")) is None
    assert "1 = On" in capsys.readouterr().out
    assert epics.cainfo("nobody", connection_timeout=0.05) is None


def test_camonitor(name, capsys, wait_for):
    lines: list = []
    epics.camonitor(name("x"), writer=lines.append)
    epics.caput(name("x"), 3.5, wait=True)
    wait_for(lambda: any(line.endswith(" 3.500") for line in lines))
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{5}"
    assert re.fullmatch(rf"{re.escape(name('x'))} {stamp} \S+", lines[0]), lines[0]
    epics.camonitor_clear(name("x"))
    epics.camonitor_clear("nobody")
    told = Told()
    epics.camonitor(name("x"), callback=told)
    assert told.calls
    epics.camonitor(name("x"))
    assert name("x") in capsys.readouterr().out
    epics.camonitor_clear(name("x"))


def test_camonitor_writes_the_first_value_once(name, wait_for):
    other = epics.PV(name("x"), auto_monitor=False)

    def watch(first, second):
        lines: list = []
        epics.camonitor(name("x"), writer=lines.append)
        other.put(second, wait=True)
        wait_for(lambda: lines and lines[-1].endswith(f" {second:.3f}"))
        epics.camonitor_clear(name("x"))
        assert [line.split()[-1] for line in lines] == [f"{first:.3f}", f"{second:.3f}"]

    other.put(3.0, wait=True)
    watch(3.0, 4.0)  # the subscription is new
    other.put(5.0, wait=True)
    wait_for(lambda: epics.get_pv(name("x")).get() == 5.0)
    watch(5.0, 6.0)  # its value is known


class TestMany:
    def test_values_in_order(self, name):
        epics.caput(name("x"), 1.5, wait=True)
        epics.caput(name("y"), 2.5, wait=True)
        begun = time.monotonic()
        values = epics.caget_many(
            [name("x"), "nobody", name("y"), "noone", name("x")], connection_timeout=0.3
        )
        assert values == [1.5, None, 2.5, None, 1.5]
        assert time.monotonic() - begun < 3, "one timeout for all that are missing"
        assert epics.caget_many([name("x")], as_string=True) == ["1.500"]
        assert epics.caget_many([]) == []

    def test_an_error_instead_of_none(self, name):
        with pytest.raises(CaprotoTimeoutError, match="nobody"):
            epics.caget_many([name("x"), "nobody"], conn_timeout=0.05, raises=True)

    @pytest.mark.parametrize("wait", [False, None, "each", "all"])
    def test_puts(self, name, wait):
        names = [name("x"), "nobody", name("y")]
        assert None not in epics.caget_many([name("x"), name("y")])  # they are connected
        found = epics.caput_many(names, [3.5, 1, 4.5], wait=wait, connection_timeout=0.3)
        assert found == [1, -1, 1]
        if wait:
            assert epics.caget_many([name("x"), name("y")]) == [3.5, 4.5]

    def test_completion_in_time_or_not(self, name):
        assert epics.caput_many([name("slow.PROC")], [1], wait="all", put_timeout=0.05) == [-1]
        assert epics.caput_many([name("slow.PROC")], [1], wait="all", put_timeout=10) == [1]

    def test_timeouts_of_numpy(self, name):
        """With ``time.monotonic()`` they would make another float32, which no wait takes."""
        seconds = numpy.float32(10)
        options = {"connection_timeout": seconds}
        assert epics.caput_many([name("y")], [4.5], "all", put_timeout=seconds, **options) == [1]
        assert epics.caget_many([name("y")], timeout=seconds, **options) == [4.5]

    def test_wrong_arguments(self, name):
        with pytest.raises(CaprotoValueError, match="2 names, but 1 value$"):
            epics.caput_many(["a", "b"], [1])
        with pytest.raises(CaprotoValueError, match="wait must be"):
            epics.caput_many(["a"], [1], wait="some")


def test_poll_returns():
    epics.poll()
