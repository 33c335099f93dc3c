"""``import epics`` finds this package."""
from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.harness.ioc_process import clean_environ

pytestmark = pytest.mark.ioc


def run(code: str, records) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), records.pv("x")],
        env={**clean_environ(**records.environ)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_a_script_for_pyepics_runs(records):
    out = run(
        """
        import sys
        import caproto.threading.pyepics_compat
        caproto.threading.pyepics_compat.install()
        import epics
        from epics import PV, caget, caput, ca, dbr
        import epics.ca, epics.dbr, epics.pv
        x = PV(sys.argv[1])
        caput(sys.argv[1], 2.5, wait=True)
        print(caget(sys.argv[1], use_monitor=False), epics.ca.isConnected(x.chid), dbr.DBE_VALUE)
        print(epics.NO_ALARM, epics.MINOR_ALARM, epics.MAJOR_ALARM, epics.INVALID_ALARM)
        """,
        records,
    )
    assert out == "2.5 True 1\n0 1 2 3\n"


def test_importing_starts_no_thread_and_the_end_is_quiet(records):
    out = run(
        """
        import sys, threading
        import caproto.threading.pyepics_compat as epics
        print(threading.active_count())
        x = epics.PV(sys.argv[1].replace('x', 'counter'), lambda **_: None)
        assert x.wait_for_connection(10)
        """,
        records,
    )
    assert out == "1\n"


def test_it_refuses_where_pyepics_runs_already(records):
    out = run(
        """
        import sys, types
        sys.modules["epics"] = types.ModuleType("epics")
        import caproto.threading.pyepics_compat as compat
        try:
            compat.install()
        except RuntimeError as error:
            print(error)
        """,
        records,
    )
    assert "was imported before; call install() before" in out


def test_twice_is_once(records):
    out = run(
        """
        import caproto.threading.pyepics_compat as compat
        print(compat.install() is compat.install())
        from epics.pv import fmt_time
        print(len(fmt_time(0)))
        """,
        records,
    )
    assert out == "True\n25\n"


def test_the_upper_layers_of_an_installed_pyepics(records):
    out = run(
        """
        import sys, threading
        import caproto.threading.pyepics_compat as compat
        compat.install()
        from epics import Alarm, CAProcess, Device, Motor, caput
        import epics.devices
        name = sys.argv[1]
        device = Device(name[:-1], attrs=("x", "y"))
        device.put("x", 2.5, wait=True)
        print(device.get("x"), device.x)
        gone_off = threading.Event()
        alarm = Alarm(
            name, trip_point=3.0, comparison="gt", callback=lambda **_: gone_off.set(),
            alert_delay=0.1,
        )
        caput(name, 4.0, wait=True)
        print(gone_off.wait(10))
        print(hasattr(epics, "nonsense"), "epics.ca" in sys.modules, type(compat.ca).__name__)
        """,
        records,
    )
    assert out == "2.5 2.5\nTrue\nFalse True module\n"
