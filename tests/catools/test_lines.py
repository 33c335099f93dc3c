"""A value in each form."""
from __future__ import annotations

import pytest

from caproto import ChannelType, ReadNotifyResponse
from caproto._catools.lines import line_of
from caproto._catools.settings import Settings
from caproto._catools.values import Reading


def line(data, form, room=1, data_type=ChannelType.TIME_LONG, metadata=(4, 1, (0, 0)), **options):
    settings = Settings("caget")
    settings.form = form
    for name, value in options.items():
        setattr(settings, name, value)
    reading = Reading.from_response(
        ReadNotifyResponse(data, data_type, None, 1, 1, metadata=metadata)
    )
    return line_of("x", reading, ChannelType.LONG, room, settings)


@pytest.mark.parametrize(
    ("data", "form", "options", "expected"),
    [
        ([7], "plain", {}, f"{'x':30} 7"),
        ([7], "plain", {"separator": ","}, "x,7"),
        ([7], "plain", {"count": 1}, f"{'x':30} 1 7"),
        ([7, 8], "plain", {}, "x 2 7 8"),
        ([7, 8], "terse", {"separator": ";"}, "2;7;8"),
        ([7], "terse", {}, "7"),
        ([7], "wide", {}, f"{'x':30} <undefined> 7 HIGH MINOR"),
        ([], "wide", {}, f"{'x':30} <undefined> HIGH MINOR"),
        ([7, 8], "wide", {"metadata": (0, 0, (0, 0))}, "x <undefined> 2 7 8  "),
        ([7], "wide", {"metadata": (99, 9, (0, 0))},
         f"{'x':30} <undefined> 7 Illegal Value (99) Illegal Value (9)"),
    ],
)
def test_forms(data, form, options, expected):
    assert line(data, form, **options) == expected


def test_text():
    options = {"data_type": ChannelType.TIME_CHAR, "char_as_text": True}
    assert line(b"abc", "plain", room=10, **options) == "x abc"
    assert line([65], "plain", room=1, **options) == f"{'x':30} 65"


def test_units_have_the_bytes_of_the_server_or_are_utf8():
    metadata = (0, 0, b"\xb5m", 10, -10, 9, 8, -8, -9, 7, -7)
    for utf8, units in (False, "\udcb5m"), (True, "\u00b5m"):
        shown = line([5], "typed", data_type=ChannelType.CTRL_INT, metadata=metadata, utf8=utf8)
        assert f"    Units:            {units}" in shown.splitlines()


def test_everything_of_a_type():
    metadata = (0, 0, b"V", 10, -10, 9, 8, -8, -9, 7, -7)
    shown = line([5], "typed", data_type=ChannelType.CTRL_INT, metadata=metadata)
    assert shown.splitlines() == [
        "x",
        "    Native data type: DBF_LONG",
        "    Request type:     DBR_CTRL_SHORT",
        "    Element count:    1",
        "    Value:            5",
        "    Status:           NO_ALARM",
        "    Severity:         NO_ALARM",
        "    Units:            V",
        "    Lo disp limit:         -10",
        "    Hi disp limit:          10",
        "    Lo alarm limit:         -9",
        "    Lo warn limit:          -8",
        "    Hi warn limit:           8",
        "    Hi alarm limit:          9",
        "    Lo ctrl limit:          -7",
        "    Hi ctrl limit:           7",
    ]
