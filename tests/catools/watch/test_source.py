"""The PVs behind the rows, at a real IOC."""
from __future__ import annotations

from contextlib import contextmanager

import pytest

from caproto import AccessError, CaprotoValueError, DisconnectedError
from caproto._catools.settings import Settings
from caproto._catools.watch.rows import CONNECTED, DISCONNECTED, SEARCHING
from caproto._catools.watch.source import Source
from caproto.threading.client import Context


@contextmanager
def source_of(ioc, **settings):
    chosen = Settings("caproto-monitor")
    for name, value in settings.items():
        setattr(chosen, name, value)
    with Context(configuration=ioc.configuration) as context:
        yield Source(context, chosen)


def taken(row):
    row.take()
    return row


def wait_for_values(wait_for, *rows):
    wait_for(lambda: all(taken(row).shown.text for row in rows), message=str(rows))


def test_values_units_and_states(ioc, wait_for):
    with source_of(ioc) as source:
        names = [ioc.pv(name) for name in ("double", "enum", "string", "array_short")]
        rows = source.add(names)
        assert [row.name for row in rows] == names
        wait_for_values(wait_for, *rows)
        assert [row.shown.text for row in rows] == ["3.140", "green", "hello", "[3] 1, -2, 3"]
        assert [row.units for row in rows][:3] == ["mm", "", ""]
        assert {row.state for row in rows} == {CONNECTED}


def test_the_formats_of_the_options(ioc, wait_for):
    with source_of(ioc, float_as_string=True, count=2) as source:
        rows = source.add([ioc.pv("double"), ioc.pv("array_short")])
        wait_for_values(wait_for, *rows)
        assert [row.shown.text for row in rows] == ["3.140", "[up to 100] 1, -2, …"]


def test_a_name_has_one_row(ioc):
    with source_of(ioc) as source:
        name = ioc.pv("double")
        (row,) = source.add([name, name])
        assert source.add([name]) == []
        source.remove(row)
        (again,) = source.add([name])
        assert again is not row


def test_a_removed_row_gets_nothing_more_and_a_new_one_does(own_ioc, wait_for):
    with source_of(own_ioc) as source:
        name = own_ioc.pv("double")
        (row,) = source.add([name])
        wait_for_values(wait_for, row)
        source.remove(row)
        own_ioc.put("double", "7")
        (again,) = source.add([name])
        wait_for_values(wait_for, again)
        assert (again.shown.text, taken(row).shown.text) == ("7.000", "3.140")


def test_a_name_that_is_not_found(ioc, wait_for):
    with source_of(ioc) as source:
        (row,) = source.add(["nonsense"])
        with pytest.raises(DisconnectedError, match="'nonsense' is not connected"):
            source.write(row, "1")
        assert source.describe(row).startswith("'nonsense': ")
        wait_for(lambda: "by UDP to 127.0.0.1" in source.describe(row))
        assert taken(row).state == SEARCHING


def test_a_removed_row_is_not_searched_any_more(ioc, wait_for):
    with source_of(ioc) as source:
        (row,) = source.add(["nonsense"])
        wait_for(lambda: "searched " in source.describe(row))
        source.remove(row)
        (again,) = source.add(["other"])
        wait_for(lambda: "searched " in source.describe(again))
        assert source.describe(row).startswith("'nonsense': idle")
        (row,) = source.add(["nonsense"])
        wait_for(lambda: "searched " in source.describe(row))


def test_names_that_cannot_be_searched(ioc):
    with source_of(ioc) as source:
        with pytest.raises(CaprotoValueError):
            source.add([ioc.pv("double"), "x" * 1000])
        assert len(source.add([ioc.pv("double")])) == 1


def test_a_server_that_goes_and_comes_back(own_ioc, wait_for):
    with source_of(own_ioc) as source:
        (row,) = source.add([own_ioc.pv("double")])
        wait_for_values(wait_for, row)
        own_ioc.kill()
        wait_for(lambda: taken(row).state == DISCONNECTED)
        own_ioc.start()
        own_ioc.put("double", "4")
        wait_for(lambda: taken(row).state == CONNECTED and row.shown.text == "4.000", timeout=30)
        assert row.units == "mm"


def test_a_channel_that_comes_back_as_an_array(start_ioc, wait_for):
    scalar = 'record(ao, "$(P)x") { field(VAL, "1") field(PINI, "YES") }\n'
    array = 'record(waveform, "$(P)x") { field(FTVL, "LONG") field(NELM, "5000") ' \
            'field(INP, [7]) }\n'
    first = start_ioc((scalar,))
    with source_of(first) as source:
        (row,) = source.add([first.pv("x")])
        wait_for_values(wait_for, row)
        first.kill()
        start_ioc((array,), port=first.port)
        wait_for(lambda: taken(row).shown.text == "[up to 5000] 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, "
                         "0, 0, 0, 0, 0, 0, …", timeout=30)


@pytest.mark.parametrize(
    "record, text, shown",
    [
        ("double", "2.5", "2.500"),
        ("enum", "blue", "blue"),
        ("enum", "0", "red"),
        ("string", "a text; with more", "a text; with more"),
        ("array_short", "4 5", "[2] 4, 5"),
        ("array_string", "one 'two words'", "[2] one, two words"),
        ("array_char", "a text", "a text"),
    ],
)
def test_writing(own_ioc_for_writes, wait_for, record, text, shown):
    ioc = own_ioc_for_writes
    with source_of(ioc) as source:
        (row,) = source.add([ioc.pv(record)])
        wait_for_values(wait_for, row)
        source.write(row, text)
        wait_for(lambda: source.messages)
        assert source.messages.popleft() == f"{ioc.pv(record)} = {text}: written"
        wait_for(lambda: taken(row).shown.text == shown)


@pytest.fixture(scope="module")
def own_ioc_for_writes():
    from tests.harness.ioc_process import SoftIOC

    with SoftIOC() as process:
        yield process


def test_what_cannot_be_written(ioc, wait_for):
    with source_of(ioc) as source:
        double, array, refusing = rows = source.add(
            [ioc.pv("double"), ioc.pv("array_string"), ioc.pv("double.NAME")]
        )
        wait_for_values(wait_for, *rows)
        with pytest.raises(CaprotoValueError, match="No closing quotation"):
            source.write(array, "'abc")
        with pytest.raises(AccessError):
            source.write(refusing, "abc")
        source.write(double, "abc")
        wait_for(lambda: source.messages)
        assert source.messages.popleft().startswith(f"{double.name} = abc: not written: ")


def test_a_description_has_info_and_explanation(ioc, wait_for):
    with source_of(ioc) as source:
        (row,) = source.add([ioc.pv("double")])
        wait_for_values(wait_for, row)
        text = source.describe(row)
        assert "upper_ctrl_limit" in text and "channel created, access: " in text
