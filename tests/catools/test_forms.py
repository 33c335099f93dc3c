"""Forms of output."""
from __future__ import annotations

import csv
import json
import math
import struct

import pytest

from caproto import ChannelType, TimeStamp
from caproto._catools.extras import Extras
from caproto._catools.forms import form_of, json_line, json_object
from caproto._catools.options import UsageError
from caproto._catools.samples import Sample
from caproto._catools.settings import Settings
from caproto._catools.values import Reading
from caproto._client.metadata import Metadata

STAMP = TimeStamp.from_posix_nanoseconds(1741529716_123456789)
ALARM = struct.pack(">hhII", 3, 2, *STAMP)
NUMBER = Sample(
    "x", reading=Reading(20, 1, ALARM + struct.pack(">id", 0, 7.5)), native=ChannelType.DOUBLE,
    about=Metadata("mm", 2, (), 10.0, -10.0, 8.0, math.nan, math.nan, -8.0, 9.0, -9.0),
    host="127.0.0.1:5064",
)
STATE = Sample(
    "s", reading=Reading(17, 1, ALARM + struct.pack(">hH", 0, 1)), native=ChannelType.ENUM,
    about=Metadata(enum_strings=("off", 'on, "really"')),
)
LOST = Sample("x", "disconnected", arrival=STAMP, text="disconnected")
MISSING = Sample("y", "not connected", text="searching")


def form(output, **attributes):
    settings, extras = Settings("caproto-monitor"), Extras()
    settings.form, extras.output, extras.zone = "wide", output, "UTC"
    for name, value in attributes.items():
        setattr(settings, name, value)
    return form_of(settings, extras)


def test_json_has_everything():
    found = json.loads(form("json").write(NUMBER))
    assert found == {
        "name": "x", "event": "value", "value": 7.5, "state": None,
        "time": "2025-03-09T14:15:16.123456789Z", "timestamp": 1741529716.1234567,
        "severity": "MAJOR", "status": "HIHI", "units": "mm", "precision": 2,
        "limits": {"display": [-10.0, 10.0], "warning": [None, None], "alarm": [-8.0, 8.0],
                   "control": [-9.0, 9.0]},
        "enum_strings": None, "type": "DOUBLE", "count": 1, "host": "127.0.0.1:5064",
    }
    state = json.loads(form("json").write(STATE))
    assert (state["value"], state["state"]) == (1, 'on, "really"')
    assert json.loads(form("json").write(LOST)) == {
        "name": "x", "event": "disconnected", "text": "disconnected",
        "arrival": "2025-03-09T14:15:16.123456789Z",
    }


def test_json_of_numbers_that_json_does_not_have():
    values = Reading(6, 3, struct.pack(">3d", math.nan, math.inf, -math.inf))
    sample = Sample("x", reading=values, native=ChannelType.DOUBLE, room=3)
    content = json_object(sample, Settings("caproto-get"), Extras())
    assert json.loads(json_line(content))["value"] == ["NaN", "Infinity", "-Infinity"]


def test_json_of_a_name_that_is_no_utf8():
    line = json_line({"name": "\udcffx\u00b5"})
    assert json.loads(line.encode()) == {"name": "\udcffx\u00b5"}


def test_csv_is_quoted():
    made = form("csv")
    written = "\n".join(map(made.write, (NUMBER, STATE, LOST, MISSING)))
    rows = list(csv.DictReader(written.splitlines()))
    assert [row["value"] for row in rows] == ["7.5", 'on, "really"', "", ""]
    assert rows[0]["time"] == rows[2]["time"] == "2025-03-09T14:15:16.123456789Z"
    assert [row["event"] for row in rows] == ["value", "value", "disconnected", "not connected"]
    array = Sample("a", reading=Reading(0, 2, b"a, b".ljust(40, b"\0") + b"\"".ljust(40, b"\0")),
                   room=2)
    (cells,) = csv.reader([made.write(array)])
    assert json.loads(cells[2]) == ["a, b", '"']


def test_csv_and_json_have_the_same_words_for_what_is_no_number():
    payload = ALARM + struct.pack(">i2d", 0, math.nan, -math.inf)
    for count, value in (1, "NaN"), (2, ["NaN", "-Infinity"]):
        sample = Sample("x", reading=Reading(20, count, payload), native=ChannelType.DOUBLE,
                        room=count)
        _, row = csv.reader(form("csv").write(sample).splitlines())
        assert row[2] == (value if count == 1 else json.dumps(value))
        assert json.loads(form("json").write(sample))["value"] == value


def test_a_time_within_the_first_second_is_one():
    for stamp, found in (TimeStamp(0, 1), 631152000.000000001), (TimeStamp(0, 0), None):
        payload = struct.pack(">hhIIid", 0, 0, *stamp, 0, 7.5)
        sample = NUMBER._replace(reading=Reading(20, 1, payload))
        assert json.loads(form("json").write(sample))["timestamp"] == found


def test_csv_has_the_separator_of_the_command_line():
    made = form("csv", separator=";")
    titles, row = made.write(NUMBER).splitlines()
    assert titles.startswith("time;name;value;units;") and row.split(";")[1:3] == ["x", "7.5"]
    for separator in '"', "\n", "\0":
        with pytest.raises(UsageError, match="cannot separate CSV"):
            form("csv", separator=separator)


def test_lines_are_those_of_the_tools():
    made = form("lines")
    assert made.write(NUMBER).split() == [
        "x", "2025-03-09", "14:15:16.123457", "7.5", "HIHI", "MAJOR"
    ]
    assert made.write(LOST).split() == [
        "x", "2025-03-09", "14:15:16.123457", "***", "disconnected"
    ]
    assert made.write(MISSING) is None  # it goes to standard error
    assert made.write(STATE._replace(event="old")).startswith("Old : s ")


def test_colours_of_alarms():
    line = form("lines", colour=True).write(NUMBER)
    assert line.endswith("\x1b[31m7.5\x1b[0m \x1b[31mHIHI\x1b[0m \x1b[31mMAJOR\x1b[0m")
    assert "\x1b[35m*** disconnected\x1b[0m" in form("lines", colour=True).write(LOST)
    calm = NUMBER._replace(reading=Reading(20, 1, bytes(16) + struct.pack(">d", 7.5)))
    assert "\x1b" not in form("lines", colour=True).write(calm)


def test_metadata_in_lines_are_written_as_texts_are():
    sample = Sample("x", "metadata", text="units: µm -> kg")
    assert form("lines", utf8=True).write(sample).endswith("units: µm -> kg")
    assert form("lines", utf8=False).write(sample).endswith(r"units: \xc2\xb5m -> kg")
