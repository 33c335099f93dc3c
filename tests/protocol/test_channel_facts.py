"""What is known about a channel, and where it comes from."""
from __future__ import annotations

import pickle

import pytest

from caproto import (
    DBR_CTRL_DOUBLE,
    DBR_CTRL_ENUM,
    DBR_GR_INT,
    ChannelType,
    ReadNotifyResponse,
)
from caproto._protocol.channel_facts import UNKNOWN, facts_of_channel


def reply(data, data_type, metadata=None):
    return ReadNotifyResponse(data, data_type, None, 1, 1, metadata=metadata)


def test_of_an_unknown_channel_nothing_is_claimed():
    assert UNKNOWN == (None, None, False, 0, b"")
    assert not UNKNOWN.is_array
    assert (UNKNOWN.metadata, UNKNOWN.units, UNKNOWN.precision) == (None, "", None)
    assert UNKNOWN.enum_strings == ()


@pytest.mark.parametrize("count, is_array", [(0, True), (1, False), (2, True), (100000, True)])
def test_what_is_an_array(count, is_array):
    facts = facts_of_channel("x", ChannelType.DOUBLE, count)
    assert facts.is_array is is_array
    assert (facts.native_type, facts.native_count) == (ChannelType.DOUBLE, count)


@pytest.mark.parametrize(
    "name, is_long",
    [
        ("X.DESC$", True),
        ("X.$", True),
        ("X.VAL$[0:10]", True),
        ('X.DESC${"dbnd": {"abs": 1}}', True),
        ('X.DESC$[0:5]{"ts": {}}', True),
        ("X.DESC", False),
        ("X$", False),  # a record of that name: modifiers follow a field
        ("X$.DESC", False),
        ("$(P)X.DESC", False),
    ],
)
def test_names_that_ask_for_a_long_text(name, is_long):
    assert facts_of_channel(name, ChannelType.CHAR, 100).long_text is is_long
    assert not facts_of_channel(name, ChannelType.STRING, 1).long_text


def test_similar_channels_share_their_facts():
    assert facts_of_channel("a", 6, 1) is facts_of_channel("b", 6, 1)
    assert facts_of_channel("a", 6, 1) is not facts_of_channel("a", 6, 2)


def test_a_reply_describes_its_channel():
    facts = facts_of_channel("x", ChannelType.DOUBLE, 1)
    control = DBR_CTRL_DOUBLE(units=b"mm", precision=3, upper_ctrl_limit=5.0)
    told = reply(1.0, ChannelType.CTRL_DOUBLE, control)
    known = facts.described(told.fields[2], told.payload)
    assert (known.units, known.precision, known.enum_strings) == ("mm", 3, ())
    assert known.metadata == control
    assert (known.native_type, known.native_count) == (ChannelType.DOUBLE, 1)
    assert facts.units == ""  # the old ones have not changed


def test_states_of_an_enum():
    told = reply(1, ChannelType.CTRL_ENUM, DBR_CTRL_ENUM(enum_strings=[b"Off", b"\xb5"]))
    known = UNKNOWN.described(told.fields[2], told.payload)
    assert known.enum_strings == ("Off", "µ")
    assert (known.units, known.precision) == ("", None)


def test_an_integer_has_units_but_no_precision():
    told = reply(1, ChannelType.GR_INT, DBR_GR_INT(units=b"\xb0C"))
    known = UNKNOWN.described(told.fields[2], told.payload)
    assert (known.units, known.precision) == ("°C", None)


@pytest.mark.parametrize("data_type", [0, 6, 14, 20, 21, 28, 35, 37, 38, 39, 65535])
def test_other_types_describe_nothing(data_type):
    assert UNKNOWN.described(data_type, bytes(500)) is UNKNOWN


def test_a_payload_that_is_too_short_describes_nothing():
    assert UNKNOWN.described(ChannelType.CTRL_DOUBLE, bytes(79)) is UNKNOWN
    assert UNKNOWN.described(ChannelType.CTRL_DOUBLE, b"") is UNKNOWN


def test_facts_can_be_pickled():
    told = reply(1.0, ChannelType.CTRL_DOUBLE, DBR_CTRL_DOUBLE(units=b"mm"))
    known = facts_of_channel("x", 6, 1).described(told.fields[2], memoryview(told.payload))
    again = pickle.loads(pickle.dumps(known))
    assert again == known and again.native_type is ChannelType.DOUBLE and again.units == "mm"
