"""Connecting and reading for the tools, against a real IOC."""
from __future__ import annotations

import pytest

from caproto._catools.access import connect, name_problem, read_lines, searchable, start
from caproto._catools.settings import Failed, Settings
from caproto.threading.client import Context


def test_names_are_needed():
    with pytest.raises(Failed, match="No pv name specified"):
        start(Settings("caget"), [])


def test_a_wrong_name_costs_only_itself(capsys):
    settings, wrong = Settings("caget"), "y" * 992
    assert searchable(settings, ["a", "", "b", wrong]) == (["a", "b"], 1)
    text = "CA error Invalid string occurred while trying to create channel '{}'.\n"
    assert capsys.readouterr().err == text.format("") + text.format(wrong)
    assert searchable(settings, ["y" * 991]) == (["y" * 991], 0)
    with pytest.raises(Failed, match="Invalid string"):
        searchable(settings, [""])


@pytest.mark.parametrize(
    ("name", "problem"),
    [("", "the name is empty"), ("a\0b", "the name has a zero byte"), ("\ud800", "UTF-8"),
     ("\u00b5" * 496, "the name has 992 bytes, more than 991"), ("a b", "")],
)
def test_names_that_no_pv_can_have(name, problem):
    assert problem in name_problem(name) and bool(problem) == bool(name_problem(name))


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
