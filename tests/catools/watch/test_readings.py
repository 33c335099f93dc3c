"""What is shown of an update."""
from __future__ import annotations

import pytest

from caproto import CAStatus, ChannelType, EventAddResponse
from caproto._catools.settings import Settings
from caproto._catools.watch.readings import WHOLE, Shown, count_to_request, read_update
from caproto._client.metadata import Metadata
from tests.catools.watch.updates import MOMENT, update

SETTINGS = Settings("caproto-monitor")
STATES = Metadata(enum_strings=("off", "on"))


def shown(response, *, room=1, metadata=None, **settings):
    chosen = Settings("caproto-monitor")
    for name, value in settings.items():
        setattr(chosen, name, value)
    return read_update(response, room, metadata or Metadata(), chosen)


def test_a_number_with_its_alarm_and_time():
    found = shown(update(3.14159, severity=2, status=3), metadata=Metadata(precision=2))
    assert found == ("3.14", 3.14159, 2, "MAJOR (HIHI)", MOMENT)


@pytest.mark.parametrize(
    "data, data_type, text, number",
    [
        (0.1, ChannelType.TIME_DOUBLE, "0.1", 0.1),
        (0.1, ChannelType.TIME_FLOAT, "0.1", pytest.approx(0.1)),
        (-5, ChannelType.TIME_LONG, "-5", -5.0),
        (200, ChannelType.TIME_CHAR, "-56", -56.0),
        (1, ChannelType.TIME_ENUM, "on", 1.0),
        (7, ChannelType.TIME_ENUM, "7", 7.0),
        (b"hello", ChannelType.TIME_STRING, "hello", None),
        (b"\x1b[2J\xb5", ChannelType.TIME_STRING, "\\x1b[2Jµ", None),
    ],
)
def test_scalars(data, data_type, text, number):
    found = shown(update(data, data_type), metadata=STATES)
    assert (found.text, found.number) == (text, number)


@pytest.mark.parametrize(
    "data, data_type, room, text",
    [
        ([1.5, 2.5], ChannelType.TIME_DOUBLE, 10, "[2] 1.5, 2.5"),
        ([1.5], ChannelType.TIME_DOUBLE, 10, "[1] 1.5"),
        ([], ChannelType.TIME_DOUBLE, 10, "[0]"),
        ([b"a", b"b"], ChannelType.TIME_STRING, 3, "[2] a, b"),
        ([0, 1], ChannelType.TIME_ENUM, 2, "[2] off, on"),
        (list(range(20)), ChannelType.TIME_LONG, 20,
         "[20] 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, …"),
        ([1, 2], ChannelType.TIME_LONG, WHOLE + 1, "[up to 4097] 1, 2, …"),
        (list(b"a text\0\0"), ChannelType.TIME_CHAR, 40, "a text"),
        ([1, 2], ChannelType.TIME_CHAR, 40, "[2] 1, 2"),
    ],
)
def test_arrays(data, data_type, room, text):
    found = shown(update(data, data_type), room=room, metadata=STATES)
    assert (found.text, found.number) == (text, None)


def test_the_formats_of_the_options():
    precise = Metadata(precision=1)
    assert shown(update(3.14159), metadata=precise, float_format="%.4f").text == "3.1416"
    assert shown(update(255, ChannelType.TIME_LONG), integer_base="x").text == "0xFF"
    assert shown(update(1, ChannelType.TIME_ENUM), metadata=STATES, enum_as_number=True).text == "1"
    assert shown(update([1, 2, 0], ChannelType.TIME_CHAR), room=9, char_as_text=True).text == (
        "\\x01\\x02"
    )


def test_a_time_that_is_undefined():
    assert shown(update(1.0, time=0)).time is None


def test_an_update_without_value_gives_the_reason():
    response = update([], reply=CAStatus.ECA_NORDACCESS)
    assert shown(response) == Shown(CAStatus.ECA_NORDACCESS.description)


def test_a_type_without_time_gives_the_value():
    response = EventAddResponse([2], ChannelType.LONG, 1, CAStatus.ECA_NORMAL, 0)
    assert shown(response) == Shown("2", 2.0)


def test_an_update_that_makes_no_sense_gives_its_error():
    whole = update([1.0, 2.0])
    short = EventAddResponse.from_wire(whole.fields, whole.payload[:-8])
    found = shown(short, room=2)
    assert "payload" in found.text and found.time is None


def test_how_much_is_requested_of_an_array():
    assert count_to_request(1, SETTINGS) is None
    assert count_to_request(WHOLE, SETTINGS) is None
    assert 0 < count_to_request(WHOLE + 1, SETTINGS) < WHOLE
    chosen = Settings("caproto-monitor")
    chosen.count = 5
    assert count_to_request(100, chosen) == 5
    assert count_to_request(3, chosen) == 3
