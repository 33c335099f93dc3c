"""Attributes that are known, and those that are fetched when they are asked for."""
from __future__ import annotations

import pytest

from caproto.threading.pyepics_compat import PV

pytestmark = pytest.mark.ioc


@pytest.mark.parametrize("monitor", [True, False])
def test_they_are_fetched(pv, monitor):
    x = pv("x", auto_monitor=monitor)
    x.put(7.5, wait=True)
    assert (x.precision, x.units, x.enum_strs) == (3, "mm", None)
    assert (x.upper_disp_limit, x.lower_disp_limit) == (10.0, -10.0)
    assert (x.upper_ctrl_limit, x.lower_ctrl_limit) == (8.0, -8.0)
    assert x.upper_alarm_limit == 7.0
    x.get(use_monitor=False)
    assert (x.status, x.severity, x.char_status, x.char_severity) == (3, 2, "HIHI", "MAJOR")
    assert type(x.status) is int and type(x.severity) is int
    x.put(0.0, wait=True)


def test_what_a_type_does_not_have(pv):
    assert pv("long").precision is None and pv("text").units is None
    assert pv("switch").enum_strs == ("Off", "On") and pv("switch").units is None


def test_without_a_connection_nothing_is_known(context):
    missing = PV("nobody")
    assert (missing.units, missing.status, missing.char_status, missing.host) == (None,) * 4


def test_types(pv):
    names = {name: pv(name).type for name in ("x", "long", "switch", "text", "shorts", "chars")}
    assert names == {
        "x": "time_double", "long": "time_long", "switch": "time_enum", "text": "time_string",
        "shorts": "time_short", "chars": "time_char",
    }
