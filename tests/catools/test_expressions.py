"""Conditions are parsed, never evaluated as Python."""
from __future__ import annotations

import struct

import pytest

from caproto import ChannelType
from caproto._catools.expressions import Condition
from caproto._catools.options import UsageError
from caproto._catools.samples import Sample
from caproto._catools.settings import Failed, Settings
from caproto._catools.values import Reading
from caproto._client.metadata import Metadata

#: HIGH, MINOR, POSIX time 1000000000.5
ALARM = struct.pack(">hhII", 4, 1, 1_000_000_000 - 631_152_000, 500_000_000)
NUMBER = Sample(
    "x", reading=Reading(20, 1, ALARM + struct.pack(">id", 0, 7.5)), native=ChannelType.DOUBLE,
    about=Metadata(units="mm"),
)
STATE = Sample(
    "s", reading=Reading(17, 1, ALARM + struct.pack(">hH", 0, 2)), native=ChannelType.ENUM,
    about=Metadata(enum_strings=("Idle", "Moving", "Done")),
)
ARRAY = Sample(
    "a", reading=Reading(5, 3, struct.pack(">3i", 1, -2, 30)), native=ChannelType.LONG, room=10
)
TEXT = Sample("t", reading=Reading(0, 1, b"a text".ljust(40, b"\0")))


def holds(text, sample):
    return Condition(text).holds(sample, Settings("caproto-get"))


def test_what_is_true():
    for sample, texts in {
        NUMBER: [
            "> 3", "value == 7.5", "not value < 7", "7 < value <= 7.5", "value * 2 - 15 == 0",
            "-value < 0", "abs(-value) == 7.5", "severity == MINOR", 'severity == "MINOR"',
            "severity >= MINOR and severity < MAJOR", 'status == "HIGH"', 'units == "mm"',
            "time == 1000000000.5", "age > 1000", "count == 1", 'name == "x"', "value != nan",
            "value < inf", "value in [1, 7.5]", "not in (1, 2)", "value // 2 == 3", "value % 2 > 1",
            "+value > 0 or value / 0 > 1", " > 3 or value == 0", "severity in [MINOR, MAJOR]",
        ],
        STATE: [
            '== "Done"', "== 2", 'value in ("Done", "Idle")', 'state == "Done"', "value > 1",
            '"on" in state', "value & 2", "value | 1 == 3", '!= "Idle"', '"Done" == value',
        ],
        ARRAY: [
            "value[0] == 1", "value[-1] == 30", "max(value) == 30", "min(value) == -2",
            "sum(value) == 29", "len(value) == 3", "-2 in value", "count == 3",
            "severity == 0 or 1",
        ],
        TEXT: ['== "a text"', '"text" in value', 'value != "b"', 'len(value) == 6'],
    }.items():
        for text in texts:
            assert holds(text, sample) is True, text


def test_what_is_false():
    for text in ("> 8", "value == 'x'", "severity > MINOR", "value == nan", "not value", "in []"):
        assert holds(text, NUMBER) is False, text


def test_what_is_refused():
    for text in (
        "", "value >", "__import__('os').system('true')", "value.__class__", "().__class__",
        "[x for x in value]", "lambda: 1", "value if 1 else 2", "f'{value}'", "open('x')",
        "value ** 9", "1 << 99999999999", "value := 3", "value is 3", "x == 1", "None", "...",
        "True", "~value", "value[1:2]", "min(value, 3)", "abs(*value)", "{1: 2}", "b'x'", "1j",
        "(" * 400 + "1" + ")" * 400, "1 + " * 1000 + "1", "value == 1\n\nimport os", "\0", "é ==",
    ):
        with pytest.raises(UsageError, match="cannot be read"):
            Condition(text)


@pytest.mark.parametrize(("text", "said"), [
    ("value = 3", "at character 7: write '==' for '='"),
    ("value == '=' && severity < 1", "at character 14: write 'and' for '&&'"),
    ("> 3 || units == 'a||b'", "at character 5: write 'or' for '||'"),
    ("!(value > 3)", "at character 1: write 'not' for '!'"), ("= 3", "write '==' for '='"),
    ("value > > 3", "at character 9: invalid syntax"), ("> > 3", "at character 3: invalid syntax"),
    ("value == True", "True is not allowed"),
])
def test_where_the_fault_is(text, said):
    with pytest.raises(UsageError) as caught:
        Condition(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(("text", "sample", "said"), [
    ("min(value) > 1", NUMBER, "min() is for lists; 7.5 is a single value"),
    ("len(value) > 1", NUMBER, "len() is for lists; 7.5 is a single value"),
    ("max([]) > 1", NUMBER, "max() of an empty list"),
    ("value[3] > 1", ARRAY, "there is no element 3; there are 3"),
    ("value[-4] > 1", ARRAY, "there is no element -4; there are 3"),
])
def test_what_has_no_meaning_for_a_value(text, sample, said):
    with pytest.raises(Failed) as caught:
        holds(text, sample)
    assert str(caught.value) == f"the condition {text!r}: {said}"


def test_what_does_not_go_together():
    for text, sample in (
        ("value < 'a'", NUMBER), ("value + 1 > 2", TEXT), ("value[3] == 1", ARRAY),
        ("value[0.5] == 1", ARRAY), ("value / 0 == 1", NUMBER), ("value % 0 == 1", NUMBER),
        ("value[0] == 1", NUMBER), ("3 in value", NUMBER), ("sum(value) > 1", NUMBER),
        ("'a' * 1000000000 == 1", NUMBER), ("value & 1", NUMBER), ("max([]) > 1", NUMBER),
    ):
        with pytest.raises(Failed, match="the condition"):
            holds(text, sample)


def test_a_long_array_is_not_printed_in_messages():
    values = struct.pack(">10000i", *range(10000))
    sample = Sample("a", reading=Reading(5, 10000, values), native=ChannelType.LONG, room=10000)
    for text in ("> 3", "value[value] == 1", "value + 1 == 2", "1 in severity or value < 1"):
        with pytest.raises(Failed) as caught:
            holds(text, sample)
        assert len(str(caught.value)) < 200
