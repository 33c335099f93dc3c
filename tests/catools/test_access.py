"""Connecting and reading for the tools, against a real IOC."""
from __future__ import annotations

import pytest

from caproto._catools.access import connect, read_lines, start
from caproto._catools.settings import Failed, Settings
from caproto.threading.client import Context


def test_names_are_needed():
    with pytest.raises(Failed, match="No pv name specified"):
        start(Settings("caget"), [])
    with pytest.raises(Failed, match="Invalid string"):
        start(Settings("caget"), ["x", ""])


def test_one_that_is_missing_and_several(ioc):
    settings = Settings("caget")
    settings.timeout = 0.2
    with Context(configuration=ioc.configuration) as context:
        with pytest.raises(Failed, match="timed out: 'nonsense' not found"):
            connect(context, ["nonsense"], settings)
        with pytest.raises(Failed, match=r"timed out: some PV\(s\) not found"):
            connect(context, [ioc.pv("double"), "nonsense"], settings)


def test_lines(ioc):
    settings = Settings("caget")
    settings.form = "terse"
    with Context(configuration=ioc.configuration) as context:
        pvs = connect(context, [ioc.pv("double"), ioc.pv("double")], settings)
        assert read_lines(pvs, settings) == ["3.14", "3.14"]
