"""What a real IOC's values are and show, read and subscribed to with the client."""
from __future__ import annotations

import copy
import pickle
import queue
import re

import numpy
import pytest

from caproto.threading.client import Context

pytestmark = pytest.mark.ioc


@pytest.fixture
def pv(ioc):
    """``pv(record)``: connected, with nothing known about it but what the server tells at once."""
    with Context(configuration=ioc.configuration) as ctx:

        def connected(record):
            (found,) = ctx.get_pvs(ioc.pv(record))
            found.wait_for_connection()
            return found

        yield connected


def first_update(pv, **options):
    """The first update of a new subscription, as its callback gets it."""
    got = queue.Queue()
    sub = pv.subscribe(**options)
    sub.add_callback(got.put, strong=True)
    try:
        return got.get(timeout=10)
    finally:
        sub.clear()


@pytest.mark.parametrize(
    "record, kind",
    [
        ("double", float), ("long", int), ("string", str), ("bool", int), ("short", int),
        ("array_double", numpy.ndarray), ("array_string", list), ("array_char", numpy.ndarray),
        ("array_enum", numpy.ndarray), ("empty", numpy.ndarray), ("double.DESC$", str),
    ],
)
def test_values(pv, record, kind):
    response = pv(record).read()
    assert isinstance(response.value, kind) and isinstance(response.text, str)
    assert isinstance(first_update(pv(record)).value, kind)


@pytest.mark.parametrize("count", [1, 2, 10])
@pytest.mark.parametrize("record", ["array_double", "array_long", "array_char", "array_enum"])
def test_an_array_stays_one_whatever_part_of_it_is_read(pv, record, count):
    value = pv(record).read(data_count=count).value
    assert value.shape == (count,) and value.dtype.isnative and value.flags.writeable


def test_an_enum_shows_its_name_once_a_reply_has_told_it(pv):
    lamp = pv("bool")
    before = lamp.read()
    assert (str(before), before.text, before.value.name) == ("1", "1", None)
    assert str(lamp.read(data_type="control")).startswith("1 'on', ")
    for response in (lamp.read(), first_update(lamp, data_type="time")):
        assert str(response).startswith("1 'on'")
        assert (response.text, response.value.name) == ("on", "on")
    assert str(before) == "1"


def test_a_number_shows_its_units(start_ioc):
    with Context(configuration=start_ioc(["random_walk.db"]).configuration) as ctx:
        (dt,) = ctx.get_pvs("random_walk:dt")
        assert str(dt.read()) == "3.0"
        dt.read(data_type="graphic")
        assert str(dt.read()) == "3.0 s" and dt.read().text == "3.000"
        shown = str(dt.read(data_type="time"))
        assert re.fullmatch(r"3\.0 s, no alarm, (\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\.\d{3}", shown)


def test_what_is_known_goes_when_the_connection_goes(pv):
    lamp = pv("bool")
    lamp.read(data_type="control")
    assert lamp.read().value.name == "on"
    lamp.go_idle()
    assert lamp.read().value.name is None


@pytest.mark.parametrize("record", ["double", "bool", "string", "million"])
def test_responses_travel_with_what_is_known(pv, record):
    found = pv(record)
    found.read(data_type="control")
    for response in (found.read(data_type="time"), first_update(found, data_type="time")):
        for again in (pickle.loads(pickle.dumps(response)), copy.deepcopy(response)):
            assert again == response and again.facts == response.facts
            assert (str(again), repr(again)) == (str(response), repr(response))


def test_nothing_that_is_shown_asks_the_server(pv):
    found = pv("double")
    response = found.read(data_type="time")
    found.context.disconnect()
    assert str(response) and repr(response) and response._repr_html_() and response.text
