"""Samples: values as programs have them, and as text."""
from __future__ import annotations

import struct

from caproto import ChannelType
from caproto._catools.extras import Extras
from caproto._catools.samples import Sample, sample_texts, sample_value, sampled_type, severity_name
from caproto._catools.settings import Settings
from caproto._catools.values import Reading
from caproto._client.metadata import Metadata


def sample(data_type, payload, count=1, native=None, room=None, **about):
    reading = Reading(int(data_type), count, payload)
    return Sample(
        "x", reading=reading, native=native or reading.native, room=room or count,
        about=Metadata(**about),
    )


def settings(number_form="plain", **attributes):
    made = Settings("caproto-get")
    made.extras = Extras()
    made.extras.number_form = number_form
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


FLOAT = sample(ChannelType.FLOAT, struct.pack(">f", 0.1), units="V")
STATES = sample(
    ChannelType.ENUM, struct.pack(">3H", 1, 0, 7), 3, enum_strings=("off", "5 \u00b5m")
)
BYTES = sample(ChannelType.CHAR, b"\xc2\xb5m\0x", 5)


def test_values():
    assert sample_value(FLOAT, settings()) == 0.1  # not 0.10000000149011612
    assert sample_value(STATES, settings()) == [1, 0, 7]
    assert sample_value(BYTES, settings()) == [0xC2, 0xB5, 0x6D, 0, 0x78]
    assert sample_value(BYTES, settings(char_as_text=True)) == "\u00b5m"
    assert sample_value(sample(ChannelType.LONG, b"", 0, room=10), settings()) == []
    one_of_many = sample(ChannelType.LONG, struct.pack(">i", 5), 1, room=10)
    assert sample_value(one_of_many, settings()) == [5]
    assert sample_value(Sample("x", "disconnected"), settings()) is None


def test_texts():
    assert sample_texts(FLOAT, settings()) == ["0.1"]
    assert sample_texts(FLOAT, settings("human")) == ["100 mV"]
    assert sample_texts(FLOAT, settings("precise")) == ["0.1"]
    assert sample_texts(STATES, settings()) == ["5 \\xc2\\xb5m", "off", "7"]
    assert sample_texts(STATES, settings(utf8=True)) == ["5 \u00b5m", "off", "7"]
    assert sample_texts(STATES, settings(enum_as_number=True)) == ["1", "0", "7"]
    assert sample_texts(BYTES, settings(char_as_text=True, utf8=True)) == ["\u00b5m"]


def test_states_and_alarms():
    assert STATES.state == "5 \u00b5m" and FLOAT.state is None
    assert FLOAT.severity is None and FLOAT.stamp is None  # no alarm comes with a plain type
    alarm = sample(ChannelType.STS_LONG, struct.pack(">hhi", 4, 2, 5))
    assert (alarm.severity, str(alarm.status)) == (2, "HIGH")
    assert severity_name(2) == "MAJOR" and severity_name(9) == "9"


def test_types_that_are_asked_for():
    assert sampled_type(ChannelType.ENUM, settings()) == ChannelType.TIME_ENUM
    assert sampled_type(ChannelType.DOUBLE, settings(float_as_string=True)) == (
        ChannelType.TIME_STRING
    )
    typed = settings(form="typed", data_type=int(ChannelType.CTRL_LONG))
    assert sampled_type(ChannelType.DOUBLE, typed) == ChannelType.CTRL_LONG


def test_an_empty_text_is_a_text_where_there_is_one_element():
    """Servers send none of an empty long string."""
    empty = Reading(0, 0, b"")
    settings = Settings("caproto-get")
    assert sample_value(Sample("x", reading=empty, room=1), settings) == ""
    assert sample_value(Sample("x", reading=empty, room=3), settings) == []
