"""Watching PVs of a real IOC that goes and comes back."""
from __future__ import annotations

import pytest

from caproto._catools.settings import Settings
from caproto._catools.watching import watch
from caproto.threading.client import Context


class Enough(Exception):
    """The lines that a test waits for have come."""


def lines_of(ioc, names, settings, count, on_line=lambda lines: None):
    """The first lines."""
    lines: list[str] = []

    def show(line):
        lines.append(line)
        on_line(lines)
        if len(lines) == count:
            raise Enough

    with Context(configuration=ioc.configuration) as context, pytest.raises(Enough):
        watch(context, names, settings, show)
    return lines


@pytest.fixture
def settings(loggers_as_before):
    settings = Settings("camonitor")
    settings.form, settings.timestamps, settings.timeout = "wide", "", 5.0
    return settings


def test_in_the_order_of_the_names(ioc, settings):
    double, long = names = [ioc.pv("double"), ioc.pv("long")]
    lines = lines_of(ioc, [*names, double], settings, 3)
    assert [line.split()[0] for line in lines] == [double, double, long]


def test_what_is_not_found(ioc, settings):
    settings.timeout = 0.2
    (line,) = lines_of(ioc, ["nonsense"], settings, 1)
    assert line == f"{'nonsense':30} *** Not connected (PV not found)"


def test_a_disconnection_and_a_reconnection(own_ioc, settings):
    def on_line(lines):
        if len(lines) == 1:
            own_ioc.kill()
        if len(lines) == 2:
            own_ioc.restart()

    first, lost, again = lines_of(own_ioc, [own_ioc.pv("double")], settings, 3, on_line)
    assert lost.endswith("*** disconnected") and first == again
