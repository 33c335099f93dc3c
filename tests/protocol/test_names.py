from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caproto._errors import CaprotoError, CaprotoTypeError, CaprotoValueError
from caproto._protocol.names import (
    ArraySection,
    DeadBand,
    Decimation,
    RecordField,
    RecordModifiers,
    StateGate,
    TimeOfSending,
    UserTag,
    parse_channel_filter,
    parse_record_field,
)

NONE = RecordModifiers()
LONG = RecordModifiers(long_string=True)


def filtered(*filters):
    return RecordModifiers(filters=filters)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("X", RecordField("X", "VAL", NONE)),
        ("X.", RecordField("X", "VAL", NONE)),
        ("X.VAL", RecordField("X", "VAL", NONE)),
        ("X.HIHI", RecordField("X", "HIHI", NONE)),
        ("sys:dev-1<a>;b_c[0]{Mtr}", RecordField("sys:dev-1<a>;b_c[0]{Mtr}", "VAL", NONE)),
        ("X.DESC$", RecordField("X", "DESC", LONG)),
        ("X.$", RecordField("X", "VAL", LONG)),
        ("X[1:3]", RecordField("X[1:3]", "VAL", NONE)),
        ("X$", RecordField("X$", "VAL", NONE)),
        ("X.[1:3]", RecordField("X", "VAL", filtered(ArraySection(1, 1, 3)))),
        ("X.VAL[1:3]", RecordField("X", "VAL", filtered(ArraySection(1, 1, 3)))),
        ("X.VAL[1:2:-3]", RecordField("X", "VAL", filtered(ArraySection(1, 2, -3)))),
        ("X.[4]", RecordField("X", "VAL", filtered(ArraySection(4, 1, 4)))),
        ("X.[-2]", RecordField("X", "VAL", filtered(ArraySection(-2, 1, -2)))),
        ("X.[5:]", RecordField("X", "VAL", filtered(ArraySection(5, 1, -1)))),
        ("X.[:5]", RecordField("X", "VAL", filtered(ArraySection(0, 1, 5)))),
        ("X.[::5]", RecordField("X", "VAL", filtered(ArraySection(0, 1, 5)))),
        ("X.[:2:]", RecordField("X", "VAL", filtered(ArraySection(0, 2, -1)))),
        ('X.{"dec":{"n":2}}', RecordField("X", "VAL", filtered(Decimation(2)))),
        ('X.A{"dec":{"n":2}}', RecordField("X", "A", filtered(Decimation(2)))),
        (
            'X.DESC$[0:9]{"dbnd":{"abs":1.5}}',
            RecordField(
                "X",
                "DESC",
                RecordModifiers(True, (ArraySection(0, 1, 9), DeadBand(1.5))),
            ),
        ),
        ('X.{"ts": {}}', RecordField("X", "VAL", filtered(TimeOfSending()))),
    ],
    ids=repr,
)
def test_names(text, expected):
    assert parse_record_field(text) == expected


def test_the_name_without_modifiers():
    assert parse_record_field("X").record_dot_field == "X.VAL"
    assert parse_record_field("X.DESC$").record_dot_field == "X.DESC"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        ".VAL",
        "a b",
        "a\tb",
        "X.VA L",
        "X. VAL",
        "X.VAL ",
        "X.1",
        "X.VAL[rubbish",
        "X.VAL[a:b]",
        "X.VAL[]",
        "X.VAL[1:2:3:4]",
        "X.VAL[0:0:3]",
        "X.VAL[0:-1:3]",
        "X.VAL[99999999999999999999]",
        "X.VAL[1][2]",
        "X.VAL[1]$",
        "X.VAL$$",
        "X.VAL.HIHI",
        "X.{}[1]",
        "X.{",
        "X.{}}",
        "X.\u0661",
    ],
    ids=repr,
)
def test_names_that_cannot_be(text):
    with pytest.raises(CaprotoValueError):
        parse_record_field(text)


@pytest.mark.parametrize("text", [b"X", None, 3])
def test_names_are_str(text):
    with pytest.raises(CaprotoTypeError, match="str"):
        parse_record_field(text)
    with pytest.raises(CaprotoTypeError, match="str"):
        parse_channel_filter(text)


@pytest.mark.parametrize(
    "filters, expected",
    [
        ({}, ()),
        ({"dbnd": {"abs": 1}}, (DeadBand(1.0),)),
        ({"dbnd": {"rel": 2.5}}, (DeadBand(2.5, relative=True),)),
        ({"dbnd": {"d": 3}}, (DeadBand(3.0),)),
        ({"dbnd": {"m": "rel", "d": 3}}, (DeadBand(3.0, relative=True),)),
        ({"arr": {}}, (ArraySection(0, 1, -1),)),
        ({"arr": {"s": 1, "i": 2, "e": 9}}, (ArraySection(1, 2, 9),)),
        ({"ts": {}}, (TimeOfSending(),)),
        ({"ts": {"num": "dbl", "epoch": "unix"}},
         (TimeOfSending((("epoch", "unix"), ("num", "dbl"))),)),
        ({"dec": {"n": 7}}, (Decimation(7),)),
        ({"sync": {"while": "beam"}}, (StateGate("while", "beam"),)),
        ({"sync": {"m": "unless", "s": "beam"}}, (StateGate("unless", "beam"),)),
        ({"utag": {"M": 3, "V": 1}}, (UserTag(3, 1),)),
        ({"dec": {"n": 2}, "dbnd": {"abs": 1}}, (Decimation(2), DeadBand(1.0))),
        ({"dbnd": {"abs": 1}, "dec": {"n": 2}}, (DeadBand(1.0), Decimation(2))),
    ],
    ids=repr,
)
def test_filters(filters, expected):
    assert parse_channel_filter(json.dumps(filters)) == expected


@pytest.mark.parametrize(
    "text, hint",
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"dbnd": {"abs": NaN}}', "NaN"),
        ("[" * 100_000, "not JSON"),
        ('{"dbn": {}}', "'dbn' is not a filter; they are arr, dbnd"),
        ('{"dbnd": 1}', "JSON object"),
        ('{"dbnd": {}}', "one parameter, not 0"),
        ('{"dbnd": {"abs": 1, "rel": 2}}', "one parameter, not 2"),
        ('{"dbnd": {"m": "abs"}}', "'abs' or 'rel'"),
        ('{"dbnd": {"abs": "1"}}', "cannot be '1'"),
        ('{"dbnd": {"abs": true}}', "cannot be True"),
        ('{"dbnd": {"abs": 1%s}}' % ("0" * 400), "too large"),
        ('{"arr": {"x": 1}}', "no parameter 'x'; it has s, i, e"),
        ('{"arr": {"s": 1.5}}', "cannot be 1.5"),
        ('{"arr": {"i": 0}}', "at least 1"),
        ('{"dec": {"n": 0}}', "must be at least 1"),
        ('{"sync": {"s": "beam"}}', "before, first"),
        ('{"ts": {"num": 3}}', "cannot be 3"),
    ],
)
def test_filters_that_cannot_be(text, hint):
    with pytest.raises(CaprotoValueError, match=hint):
        parse_channel_filter(text)


def test_filters_that_cannot_be_spoil_the_name():
    with pytest.raises(CaprotoValueError, match="not a filter"):
        parse_record_field('X.VAL{"nonsense": {}}')


def test_an_endless_name_has_a_short_error():
    with pytest.raises(CaprotoValueError) as caught:
        parse_record_field("X." + "[" * 100_000)
    assert len(str(caught.value)) < 300


@given(st.integers(-12, 12), st.integers(1, 5), st.integers(-12, 12), st.integers(0, 10))
def test_a_section_has_the_elements_between_its_ends(start, increment, end, length):
    places = range(length)
    first = max(start + length, 0) if start < 0 else start
    last = end + length if end < 0 else end
    expected = [place for place in places if first <= place <= last][::increment]
    assert list(places[ArraySection(start, increment, end).of(length)]) == expected


@given(st.text() | st.text("X.VAL$[]{}:0123456789-\"abs,dbn ", max_size=40))
def test_garbage_is_a_name_or_a_clean_error(text):
    for parse in (parse_record_field, parse_channel_filter):
        try:
            parse(text)
        except CaprotoError:
            pass
