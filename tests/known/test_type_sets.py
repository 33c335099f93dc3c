"""The sets of types cover each ordinary type once, by what it holds."""
from __future__ import annotations

import caproto as ca

SETS = (ca.char_types, ca.string_types, ca.int_types, ca.float_types, ca.enum_types)


def test_each_ordinary_type_is_in_one_set():
    ordinary = [data_type for data_type in ca.ChannelType if data_type < 35]
    assert sorted(data_type for one in SETS for data_type in one) == ordinary


def test_a_set_holds_the_forms_of_its_native_types():
    Type = ca.ChannelType
    assert {Type.DOUBLE, Type.STS_FLOAT, Type.TIME_DOUBLE, Type.CTRL_FLOAT} <= ca.float_types
    assert Type.TIME_CHAR in ca.char_types and Type.CTRL_ENUM in ca.enum_types
    assert {Type.INT, Type.TIME_LONG} <= ca.int_types and Type.TIME_STRING in ca.string_types


def test_native_and_graphic_sets():
    Type = ca.ChannelType
    assert ca.native_int_types == {Type.INT, Type.ENUM, Type.CHAR, Type.LONG}
    assert ca.native_float_types == {Type.FLOAT, Type.DOUBLE}
    assert ca.graphical_types == set(ca.graphic_types)
