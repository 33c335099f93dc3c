"""PVs by name, and what modifiers behind the dot make of them."""
from __future__ import annotations

import time

import numpy
import pytest

from caproto import (
    CaprotoKeyError,
    CaprotoValueError,
    ChannelType,
    TimeStamp,
    WriteRequest,
)
from caproto._server.data import ALARM, LOG, PROPERTY, VALUE
from caproto._server.directory import Directory, View
from caproto.server import ChannelByte, ChannelChar, ChannelDouble, ChannelEnum, ChannelString


def pvs(**more):
    return {
        "x": ChannelDouble(value=1.0),
        "wave": ChannelDouble(value=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        "short": ChannelDouble(value=[0, 1, 2], max_length=10),
        "text": ChannelString(value="hello"),
        "texts": ChannelString(value=["a", "b", "c"]),
        "long": ChannelChar(value="a long text", max_length=200),
        "enum": ChannelEnum(enum_strings=["a", "b"]),
        "motor": ChannelDouble(value=2.0),
        "motor.RBV": ChannelDouble(value=3.0),
        "motor.DESC": ChannelString(value="a motor"),
        **more,
    }


def view(name: str, **more) -> View:
    return Directory(pvs(**more)).open(name)


def elements(a_view: View) -> list:
    return list(a_view.select(a_view.data.snapshot).elements)


# ---- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x", "x.", "x.VAL"])
def test_the_value_field_need_not_be_named(name):
    one = view(name)
    assert one.data.value == 1.0 and one.name == name
    assert (one.data_type, one.data_count) == (ChannelType.DOUBLE, 1)
    assert one.filter() is None
    assert one.select(one.data.snapshot) is one.data.snapshot


def test_other_fields_are_pvs_of_their_own():
    directory = Directory(pvs())
    assert directory.open("motor.RBV").data.value == 3.0
    assert directory.open("motor").data.value == directory.open("motor.VAL").data.value == 2.0
    assert directory.open('motor.RBV{"dec":{"n":2}}').data.value == 3.0
    assert directory.open("motor.DESC$").data_type is ChannelType.CHAR


def test_a_field_may_be_called_val():
    both = {"m": ChannelDouble(value=1), "m.VAL": ChannelDouble(value=2)}
    assert Directory(both).open("m.VAL").data.value == 2
    assert Directory(both).open("m.").data.value == 1


def test_a_name_that_is_served_as_it_stands_has_no_modifiers():
    odd = ChannelDouble(value=7.0)
    assert view("x.[1:3]", **{"x.[1:3]": odd}).data is odd
    assert view("y[1]", **{"y[1]": odd}).data is odd


@pytest.mark.parametrize(
    "name",
    ["y", "X", "", ".", ".VAL", "x.HIHI", "x.val", "x$", "wave[1:3]", "x{}", " x", "x "],
)
def test_what_is_not_there(name):
    directory = Directory(pvs())
    assert not directory.has(name)
    with pytest.raises(CaprotoKeyError, match="there is no PV"):
        directory.open(name)


def test_pvs_may_be_added_while_the_directory_is_in_use():
    served = pvs()
    directory = Directory(served)
    assert not directory.has("new")
    served["new"] = ChannelDouble()
    assert directory.has("new.VAL") and directory.open("new").data is served["new"]
    del served["new"]
    assert not directory.has("new")


def test_a_search_looks_at_record_and_field_only():
    """As an IOC: ``x.VAL[rubbish`` is found, and fails when it is to be created."""
    directory = Directory(pvs())
    for name in ("x.VAL[rubbish", "x.{", "x.$", "x.VAL{}x", "x.VAL ", "motor.RBV.VAL"):
        assert directory.has(name)
        with pytest.raises(CaprotoValueError):
            directory.open(name)


# ---- long strings ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["text.$", "text.VAL$"])
def test_a_text_as_an_array_of_characters(name):
    one = view(name)
    assert (one.data_type, one.data_count) == (ChannelType.CHAR, 40)
    snapshot = one.select(one.data.snapshot)
    assert bytes(snapshot.elements) == b"hello\0"
    payload, count = snapshot.encode(ChannelType.CHAR, 0)
    assert count == 6 and payload == b"hello\0\0\0"
    payload, _ = snapshot.encode(ChannelType.STRING, 1)
    assert payload == b"hello".ljust(40, b"\0")


def test_a_long_text_is_an_array_of_characters_already():
    one = view("long.$")
    assert (one.data_type, one.data_count) == (ChannelType.CHAR, 200)
    assert bytes(one.select(one.data.snapshot).elements) == b"a long text\0"


def reported():
    """A text of 60 bytes that clients see as a string."""
    return ChannelChar(value="ten bytes " * 6, max_length=200, report_as_string=True)


def test_a_long_text_that_is_reported_as_a_string_is_cut_without_the_dollar():
    one = view("valve.DESC", **{"valve.DESC": reported()})
    assert (one.data_type, one.data_count) == (ChannelType.STRING, 1)
    snapshot = one.select(one.data.snapshot)
    payload, count = snapshot.encode(ChannelType.STRING, 0)
    assert (payload.rstrip(b"\0"), count) == (b"ten bytes ten bytes ten bytes ten bytes", 1)
    follow = one.filter()
    one.data.write("new")
    assert list(follow(one.data.snapshot, VALUE).elements) == ["new"]


def test_a_long_text_that_is_reported_as_a_string_is_whole_with_the_dollar():
    one = view("valve.DESC$", **{"valve.DESC": reported()})
    assert (one.data_type, one.data_count) == (ChannelType.CHAR, 200)
    assert bytes(one.select(one.data.snapshot).elements) == b"ten bytes " * 6 + b"\0"


@pytest.mark.parametrize("name", ["long", "long.VAL$"])
@pytest.mark.parametrize(
    "data_type, payload, count",
    [(ChannelType.STRING, b"new".ljust(8, b"\0"), 1), (ChannelType.CHAR, b"new\0\0\0\0\0", 4)],
)
def test_a_text_that_is_reported_as_a_string_may_be_written_as_both(
    name, data_type, payload, count
):
    one = view(name, long=reported())
    one.data.put(one.from_client(payload, data_type, count))
    assert one.data.value == "new"


@pytest.mark.parametrize("name", ["x.$", "wave.VAL$", "enum.$"])
def test_other_types_are_no_texts(name):
    with pytest.raises(CaprotoValueError, match="is for texts"):
        view(name)


# The first is recorded traffic of an IOC: an array of 12 characters, without a zero.
@pytest.mark.parametrize(
    "payload, count, text",
    [
        (b"twelve bytes\0\0\0\0", 12, "twelve bytes"),
        (b"abc\0garbage.", 12, "abc"),
        (b"abcdefgh", 3, "abc"),
        (b"x" * 40, 40, "x" * 39),
        ("ä".encode() * 30, 60, "ä" * 19),
        (bytes(8), 1, ""),
    ],
)
def test_a_text_may_be_written_as_an_array_of_characters(payload, count, text):
    one = view("text.$")
    one.data.put(one.from_client(payload, ChannelType.CHAR, count))
    assert one.data.value == text


def test_a_text_may_be_written_as_a_string_through_the_dollar_too():
    one = view("text.$")
    one.data.put(one.from_client(b"new\0\0\0\0\0", ChannelType.STRING, 1))
    assert one.data.value == "new"


# ---- sections --------------------------------------------------------------------------------


# Counts as recorded from an IOC (an array of room for 10).
@pytest.mark.parametrize(
    "section, count, expected",
    [
        ("[1:3]", 3, [1, 2, 3]),
        ("[-2:-1]", 2, [8, 9]),
        ("[2]", 1, [2]),
        ("[0:2:8]", 5, [0, 2, 4, 6, 8]),
        ("[99:100]", 0, []),
        ("[7:]", 3, [7, 8, 9]),
        ("[:2]", 3, [0, 1, 2]),
        ("[-3:5:-1]", 1, [7]),
        ("[5:3]", 0, []),
        ('{"arr":{"s":1,"e":3}}', 3, [1, 2, 3]),
        ('{"arr":{"s":0,"i":4}}', 3, [0, 4, 8]),
        ('[2:8]{"arr":{"s":1,"e":2}}', 2, [3, 4]),
        ("{}", 10, list(range(10))),
    ],
)
def test_a_section_of_an_array(section, count, expected):
    one = view(f"wave.{section}")
    assert one.data_type is ChannelType.DOUBLE
    assert one.data_count == count
    assert elements(one) == expected


def test_negative_numbers_count_from_the_present_end():
    one = view("short.[-2:-1]")
    assert one.data_count == 2 and elements(one) == [1, 2]
    one.data.write([5])
    assert elements(one) == [5]
    one.data.write([])
    assert elements(one) == []
    assert elements(view("short.[2:5]")) == [2]


def test_sections_of_texts_and_bytes():
    assert elements(view("texts.[1:2]")) == ["b", "c"]
    assert bytes(elements(view("text.$[1:3]"))) == b"ell"
    assert elements(view("b.[1:2]", b=ChannelByte(value=b"abc"))) == [98, 99]


@pytest.mark.parametrize("section", ["[", "[1:2:3:4]", "[a]", "[]", "[1:0:2]"])
def test_a_section_that_makes_no_sense(section):
    with pytest.raises(CaprotoValueError):
        view(f"wave.{section}")


def test_what_is_written_through_a_section_goes_to_the_beginning():
    """As recorded from an IOC: it has two elements afterwards."""
    one = view("wave.[1:2]")
    request = WriteRequest([10.0, 20.0], ChannelType.DOUBLE, 2, 0, 0)
    one.data.put(one.from_client(request.payload, ChannelType.DOUBLE, 2))
    assert one.data.value.tolist() == [10.0, 20.0]


# ---- filters ---------------------------------------------------------------------------------


def updates(name: str, values, events: int = VALUE | LOG) -> list:
    """Which of *values* pass the filter of *name*, after the first update, which has 0."""
    channel = ChannelDouble(value=0.0)
    decide = view(name, y=channel).filter()
    assert decide(channel.snapshot, VALUE) is not None, "the first one always passes"
    passed = []
    for value in values:
        channel.write(value)
        snapshot = decide(channel.snapshot, events)
        if snapshot is not None:
            passed.append(snapshot.elements[0])
    return passed


@pytest.mark.parametrize(
    "band", ['{"abs":1}', '{"d":1}', '{"d":1,"m":"abs"}'], ids=["abs", "d", "d and m"]
)
def test_a_dead_band(band):
    name = f'y.{{"dbnd":{band}}}'
    assert updates(name, [0.5, 1.0, 1.5, 2.5, 2.6, 1.6, 1.5]) == [1.5, 2.6, 1.5]


def test_a_relative_dead_band_is_in_percent_of_the_last_value_sent():
    assert updates('y.{"dbnd":{"rel":10}}', [100, 110, 111, 120, 99]) == [100, 111, 99]


def test_a_dead_band_is_about_values_only():
    for events in (ALARM, PROPERTY, VALUE | ALARM):
        assert updates('y.{"dbnd":{"abs":1}}', [0.1, 0.2], events) == [0.1, 0.2]


def test_what_an_alarm_lets_through_does_not_move_the_dead_band():
    channel = ChannelDouble(value=0.0)
    decide = view('y.{"dbnd":{"abs":1}}', y=channel).filter()
    decide(channel.snapshot, VALUE)
    channel.write(0.9)
    assert decide(channel.snapshot, VALUE | ALARM) is not None
    channel.write(1.5)
    assert decide(channel.snapshot, VALUE) is not None


def test_a_dead_band_lets_nan_pass():
    assert [str(v) for v in updates('y.{"dbnd":{"abs":1}}', [float("nan"), 0.5])] == ["nan", "0.5"]


@pytest.mark.parametrize("name", ["wave", "text", "texts"])
def test_arrays_and_texts_have_no_dead_band(name):
    one = view(name + '.{"dbnd":{"abs":100}}')
    decide = one.filter()
    assert all(decide(one.data.snapshot, VALUE) is not None for _ in range(3))


def test_decimation_sends_the_first_and_every_nth():
    assert updates('y.{"dec":{"n":3}}', [1, 2, 3, 4, 5, 6, 7]) == [3, 6]
    assert updates('y.{"dec":{"n":1}}', [1, 2]) == [1, 2]


def test_filters_are_applied_in_their_order():
    assert updates('y.{"dbnd":{"abs":1},"dec":{"n":2}}', [0.1, 5, 0.1, 9, 20]) == [0.1, 20]
    assert updates('y.{"dec":{"n":2},"dbnd":{"abs":1}}', [5, 0.1, 5, 9]) == [9]


def test_each_subscription_has_filters_of_its_own():
    one = view('x.{"dec":{"n":2}}')
    first, second = one.filter(), one.filter()
    snapshot = one.data.snapshot
    assert first(snapshot, VALUE) and not first(snapshot, VALUE)
    assert second(snapshot, VALUE)


def test_filters_and_sections_together():
    one = view('wave.[1:2]{"dec":{"n":2}}')
    decide = one.filter()
    assert list(decide(one.data.snapshot, VALUE).elements) == [1, 2]
    assert decide(one.data.snapshot, VALUE) is None


def test_the_time_of_sending_replaces_the_time_stamp():
    """Of updates and, as recorded from an IOC, of reads."""
    old = ChannelDouble(value=5.0, timestamp=TimeStamp(5, 6))
    one = view('y.{"ts":{}}', y=old)
    before = time.time()
    for snapshot in (one.select(old.snapshot), one.filter()(old.snapshot, VALUE)):
        assert before - 1 < snapshot.stamp.timestamp < time.time() + 1
        assert snapshot.elements == old.snapshot.elements
    assert old.timestamp == TimeStamp(5, 6)
    both = view('y.{"ts":{},"dec":{"n":2}}', y=old).filter()
    assert both(old.snapshot, VALUE).stamp.timestamp > before - 1


@pytest.mark.parametrize(
    "name",
    [
        'x.{"nosuch":{}}',
        'x.{"dbnd":',
        'x.{"dbnd":{}}',
        'x.{"dec":{"n":0}}',
        'x.{"ts":{"num":"dbl"}}',
        'x.{"sync":{"while":"red"}}',
        'x.{"utag":{"M":1,"V":1}}',
    ],
)
def test_filters_that_we_do_not_have_or_that_make_no_sense(name):
    assert Directory(pvs()).has(name)
    with pytest.raises(CaprotoValueError):
        view(name)


def test_a_section_shares_the_memory_of_the_array():
    data = ChannelDouble(value=numpy.zeros(1000))
    section = view("y.[0:499]", y=data).select(data.snapshot).elements
    assert numpy.shares_memory(section, data.value)
