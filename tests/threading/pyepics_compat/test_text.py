"""What a PV shows of itself."""
from __future__ import annotations

import numpy

from caproto.threading.pyepics_compat._text import describe, describe_briefly

KNOWN = {"pvname": "a", "value": 1.5, "char_value": "1.500", "count": 1, "nelm": 1,
         "type": "time_double", "access": "read/write", "timestamp": 0.0}  # fmt: skip


def test_a_repr():
    assert describe_briefly(KNOWN, True) == (
        "<PV 'a', count=1, type=time_double, access=read/write>"
    )
    array = {**KNOWN, "count": 3, "nelm": 10}
    assert "count=3/10" in describe_briefly(array, True)
    assert describe_briefly(KNOWN, False) == "<PV 'a': not connected>"


def test_a_listing():
    lines = describe({**KNOWN, "enum_strs": ("Off", "On")}, True, 2).splitlines()
    assert lines[0] == "== a  (time_double) ==" and "   char_value      = '1.500'" in lines
    assert lines[-4:-1] == [
        "       0 = Off", "       1 = On",
        "   PV is internally monitored, with 2 user-defined callbacks",
    ]
    assert "NOT internally" in describe(KNOWN, False, 0)


def test_long_arrays_are_cut():
    shown = describe({**KNOWN, "value": numpy.arange(100)}, False, 0)
    assert "array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...])" in shown
