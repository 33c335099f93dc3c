"""How values read."""
from __future__ import annotations

import math
import re
from datetime import datetime

import pytest

from caproto import AlarmSeverity, AlarmStatus, ChannelType, TimeStamp
from caproto._protocol.presentation import (
    WIDTH,
    alarm_words,
    array_words,
    evaluable,
    fill_lines,
    html_of,
    number_text,
    reads_as_text,
    state_words,
    text_words,
    time_words,
    wrapped,
)


@pytest.mark.parametrize(
    "text, words",
    [
        ("idle", "'idle'"),
        ("", "''"),
        ("it's", '"it\'s"'),
        ("two\nlines\0", r"'two\nlines\x00'"),
        ("µm", "'µm'"),
    ],
)
def test_texts(text, words):
    assert text_words(text) == words


@pytest.mark.parametrize("character", ["x", "\0", "'", "\n", "\\"])
def test_long_texts_are_cut_and_say_so(character):
    words = text_words(character * 5000)
    assert len(words) <= 80 and words.endswith("...")
    shown = eval(words.removesuffix("..."))
    assert shown and set(shown) == {character}


@pytest.mark.parametrize(
    "number, names, words",
    [
        (1, ("Off", "On"), "1 'On'"),
        (1, (), "1"),
        (2, ("Off", "On"), "2 (a state without name)"),
        (0, ("",), "0 ''"),
    ],
)
def test_states(number, names, words):
    assert state_words(number, names) == words


@pytest.mark.parametrize(
    "number, precision, text",
    [
        (3.0, 3, "3.000"),
        (3.14159, 2, "3.14"),
        (3.75, 0, "4"),
        (3.25, None, "3.25"),
        (3.25, -1, "3.25"),
        (3.25, 30000, "3.25"),
        (7, 2, "7"),
        (1.5e300, 2, "1.50e+300"),
        (math.nan, 2, "nan"),
        (-math.inf, 2, "-inf"),
    ],
)
def test_numbers(number, precision, text):
    assert number_text(number, precision) == text


def words_of(values, native=ChannelType.DOUBLE):
    return array_words(len(values), native, lambda start, stop: values[start:stop])


def test_units_are_not_cut():
    units = " " + "x" * WIDTH
    assert array_words(1, ChannelType.DOUBLE, lambda *_: [1.5], units) == "[1.5]" + units


def test_arrays():
    assert words_of([]) == "[]"
    assert words_of([1.5]) == "[1.5]"
    assert words_of([math.nan, math.inf]) == "[nan, inf]"
    assert words_of(list(range(9)), ChannelType.LONG) == "[0, 1, 2, 3, 4, 5, 6, 7, 8]"
    assert words_of(list(range(10)), ChannelType.LONG) == "[0, 1, 2, ..., 7, 8, 9]"
    assert words_of([b"one", b"\xb5"], ChannelType.STRING) == "['one', 'µ']"
    assert words_of([0.10000000149011612], ChannelType.FLOAT) == "[0.1]"
    assert words_of([1 / 3]) == "[0.33333333]"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9, 10, 1000])
@pytest.mark.parametrize("element", [b"\xff" * 40, b"x" * 40, b"\0"])
def test_arrays_fit_on_a_line(count, element):
    assert len(words_of([element] * count, ChannelType.STRING)) <= WIDTH


def test_of_a_large_array_only_the_ends_are_looked_at():
    asked = []

    def elements(start, stop):
        asked.append((start, stop))
        return [0.0] * (stop - start)

    array_words(1_000_000, ChannelType.DOUBLE, elements)
    assert sum(stop - start for start, stop in asked) == 6


@pytest.mark.parametrize(
    "values, is_text",
    [
        (b"abc\0", True),
        (b"abc\0\0\0", True),
        (b"short\0er text\0", True),
        (b"two\nlines\t\0", True),
        ("µm".encode() + b"\0", True),
        (b"abc", True),
        (b"A", True),
        (b"a" * 256, True),
        (b"a" * 257, False),  # no end: an image in one tint of grey
        (b"a" * 1000 + b"\0", True),
        (b"", False),
        (b"\0", False),
        (b"\0abc\0", False),
        (b"\xff\xff\0\0", False),  # a mask
        (b"\xb5m\0", False),
        (b"ab\x01\0", False),
    ],
)
def test_which_chars_are_text(values, is_text):
    assert reads_as_text(values) is is_text


@pytest.mark.parametrize(
    "status, severity, words",
    [
        (0, 0, "no alarm"),
        (4, 1, "MINOR (HIGH)"),
        (3, 2, "MAJOR (HIHI)"),
        (17, 3, "INVALID (UDF)"),
        (0, 1, "MINOR"),
        (17, 0, "no alarm (UDF)"),
        (99, 7, "UNKNOWN(7) (UNKNOWN(99))"),
    ],
)
def test_alarms(status, severity, words):
    assert alarm_words(AlarmStatus(status), AlarmSeverity(severity)) == words


def local(*moment):
    """A time stamp of this moment of local time."""
    return TimeStamp.from_flexible_value(datetime(*moment))


def test_times():
    moment = local(2026, 11, 29, 9, 12, 3, 512999)
    assert time_words(moment, local(2026, 11, 29, 23, 59)) == "09:12:03.512"
    assert time_words(moment, local(2026, 11, 30)) == "2026-11-29 09:12:03.512"
    assert time_words(TimeStamp(0, 0), moment) == "time undefined"
    assert time_words(TimeStamp(0, 5), moment) == "time undefined"
    last = time_words(TimeStamp(0xFFFFFFFF, 0xFFFFFFFF), moment)  # whatever a peer sends
    assert last.startswith("2126-")


def test_parts_share_a_line_if_they_fit():
    assert fill_lines(["a", "b", "c"]) == ["a, b, c"]
    assert fill_lines(["a" * 90, "b" * 5, "c" * 5]) == ["a" * 90, "bbbbb, ccccc"]
    assert fill_lines(["a" * 200]) == ["a" * 200]


def test_html_is_escaped():
    html = html_of(["<script>'&\"", "second"], '"<b>')
    assert re.findall("<[^>]*>", html)[0].startswith("<span") and "<script" not in html
    assert "&lt;script&gt;&#x27;&amp;&quot;<br>second" in html and '"&quot;&lt;b&gt;"' in html


def test_what_is_written_evaluates():
    values = [1.5, math.nan, math.inf, -math.inf]
    assert repr(eval(evaluable(values))) == repr(values)


@pytest.mark.parametrize(
    "value",
    [
        list(range(200)),
        [b"a b, c" * 5] * 20,
        [b"\xff" * 40] * 3,
        ["it's \"both\"" * 20],
        [b"x" * 500],
        ["\n'\\" * 100],
        {"a b": ("c d",) * 50},
    ],
)
def test_long_expressions_are_wrapped_and_still_evaluate(value):
    text = wrapped(f"list(data=[{value!r}])".replace("list(data=", "("))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert eval(text) == [value]
