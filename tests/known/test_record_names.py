"""Names and filters as programs for caproto 1.x take them apart."""
from __future__ import annotations

import pytest

import caproto as ca
from caproto._known.record_names import ArrayFilter, DeadbandFilter, SyncFilter

LONG, FILTERED = ca.RecordModifiers.long_string, ca.RecordModifiers.filtered


@pytest.mark.parametrize("text, expected", [
    ("X", ("X", "X", None, None)),
    ("X.", ("X", "X", None, None)),
    ("X.HIHI", ("X.HIHI", "X", "HIHI", None)),
    ("X.DESC$", ("X.DESC", "X", "DESC", (LONG, None))),
    ("X[1]", ("X[1]", "X[1]", None, None)),
    ("X.[1]", ("X", "X", None, (FILTERED, "[1]"))),
    ("X.VAL[0:9]", ("X.VAL", "X", "VAL", (FILTERED, "[0:9]"))),
    ("X.VAL$[0:3]", ("X.VAL", "X", "VAL", (LONG | FILTERED, "[0:3]"))),
    ('X.{"ts":{}}', ("X", "X", None, (FILTERED, '{"ts":{}}'))),
    ('X.[1:2]{"dbnd":{"rel":1}}', ("X", "X", None, (FILTERED, '[1:2]{"dbnd":{"rel":1}}'))),
])
def test_a_name_has_four_parts(text, expected):
    found = ca.parse_record_field(text)
    assert found == expected and isinstance(found, ca.RecordAndField)
    if found.modifiers is not None:
        assert isinstance(found.modifiers, ca.RecordModifier)
        assert isinstance(found.modifiers.modifiers, ca.RecordModifiers)


@pytest.mark.parametrize("text", ["", ".VAL", "a b", "X.VAL[", 'X.{"nope":{}}'])
def test_a_wrong_name(text):
    with pytest.raises(ca.CaprotoValueError):
        ca.parse_record_field(text)


def test_the_modifiers_are_bits():
    assert [int(flag) for flag in ca.RecordModifiers] == [1, 2, 4, 8, 16, 32]
    both = ca.RecordModifiers.filter_array | ca.RecordModifiers.filter_deadband
    assert both & ca.RecordModifiers.filter_array and not both & LONG


@pytest.mark.parametrize("text, expected", [
    ("{}", {}),
    ('{"ts":{}}', {"ts": True}),
    ('{"dbnd":{"abs":1.5}}', {"dbnd": DeadbandFilter("abs", 1.5)}),
    ('{"dbnd":{"d":1.5,"m":"rel"}}', {"dbnd": DeadbandFilter("rel", 1.5)}),
    ('{"arr":{"s":1,"i":2,"e":3}}', {"arr": ArrayFilter(1, 2, 3)}),
    ('{"arr":{}}', {"arr": ArrayFilter(0, 1, -1)}),
    ('{"sync":{"while":"red"}}', {"sync": SyncFilter("while", "red")}),
    ('{"ts":{},"arr":{"s":1}}', {"ts": True, "arr": ArrayFilter(1, 1, -1)}),
])
def test_filters(text, expected):
    assert ca.parse_channel_filter(text) == ca.ChannelFilter(**expected)


def test_filters_that_have_no_place():
    with pytest.raises(ca.CaprotoNotImplementedError, match="Decimation"):
        ca.parse_channel_filter('{"dec":{"n":2}}')


@pytest.mark.parametrize("arr, expected", [
    (None, [0, 1, 2, 3, 4, 5]),
    (ArrayFilter(1, 1, 3), [1, 2, 3]),
    (ArrayFilter(-2), [4, 5]),
    (ArrayFilter(1, 2), [1, 3, 5]),
])
def test_a_section_of_values(arr, expected):
    assert ca.apply_arr_filter(arr, [0, 1, 2, 3, 4, 5]) == expected


@pytest.mark.parametrize("wrong", [5, "x", (1, 2)])
def test_what_is_no_array_filter(wrong):
    with pytest.raises(ca.CaprotoTypeError, match="arr_filter must be an ArrayFilter"):
        ca.apply_arr_filter(wrong, [1, 2])
