"""Results of reading or writing many PVs: dicts of responses and errors, and tables of them."""
from __future__ import annotations

import csv
import io
import json
import pickle
import subprocess
import sys
from datetime import datetime, timezone

import pytest

import caproto as ca
from caproto import CaprotoTimeoutError, ChannelType, TimeStamp
from caproto._client.results import ReadResults, WriteResults

STAMP = TimeStamp.from_flexible_value("2026-11-22T20:01:02.123456789Z")
MINOR = (ca.AlarmStatus.HIGH, ca.AlarmSeverity.MINOR_ALARM, STAMP)
ERROR = CaprotoTimeoutError("'gone' was not found within 2 s: no server has answered")


def response(data, data_type, metadata=None, count=None):
    return ca.ReadNotifyResponse(data, data_type, count, 1, 0, metadata=metadata)


@pytest.fixture
def results() -> ReadResults:
    control = ca.DBR_CTRL_DOUBLE(units=b"mm", precision=2)
    return ReadResults({
        "x": response([1.5], ChannelType.TIME_DOUBLE, MINOR),
        "wave": response([1, 2, 3], ChannelType.TIME_LONG, MINOR),
        "gone": ERROR,
        "name": response([b"a, \"b\""], ChannelType.STRING),
        "motor": response([2.5], ChannelType.CTRL_DOUBLE, control),
    })


@pytest.fixture
def written() -> WriteResults:
    done = ca.WriteNotifyResponse(ChannelType.DOUBLE, 1, 1, 0)
    return WriteResults({"x": done, "gone": ERROR}, {"x": 3.0, "gone": "on"})


def test_a_dict_in_the_order_of_asking(results):
    assert isinstance(results, dict) and list(results) == ["x", "wave", "gone", "name", "motor"]
    assert results["x"].data.tolist() == [1.5] and results["gone"] is ERROR


def test_ok_and_errors(results, written):
    assert not results.ok and not written.ok
    assert results.errors == written.errors == {"gone": ERROR}
    del results["gone"]
    assert results.ok and results.errors == {} and ReadResults().ok


def test_to_dict_has_the_values_of_those_that_succeeded(results, written):
    values = results.to_dict()
    assert values.pop("wave").tolist() == [1, 2, 3]
    assert values == {"x": 1.5, "name": 'a, "b"', "motor": 2.5}
    assert written.to_dict() == {"x": 3.0}


def test_csv_without_pandas(results, tmp_path):
    path = tmp_path / "results.csv"
    results.to_csv(path)
    with open(path, newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(results)
    assert rows["x"] == {
        "name": "x", "value": "1.5", "units": "", "severity": "MINOR_ALARM", "status": "HIGH",
        "timestamp": "2026-11-22T20:01:02.123456789Z", "error": "",
    }
    assert json.loads(rows["wave"]["value"]) == [1, 2, 3]
    assert rows["gone"]["value"] == "" and rows["gone"]["error"] == str(ERROR)
    assert rows["name"]["value"] == 'a, "b"'
    assert rows["motor"]["units"] == "mm" and rows["motor"]["timestamp"] == ""


def test_csv_into_a_file_that_stays_open(written):
    file = io.StringIO()
    file.write("# before\n")
    written.to_csv(file)
    lines = file.getvalue().splitlines()
    assert lines[0] == "# before" and lines[1].startswith("name,value,units,severity")
    assert lines[2].startswith("x,3.0,") and lines[3].startswith("gone,on,")


def test_pandas(results):
    table = results.to_pandas()
    assert list(table.index) == list(results) and table.index.name == "name"
    assert list(table) == ["value", "units", "severity", "status", "timestamp", "error"]
    x = table.loc["x"]
    assert x["value"] == 1.5 and x["severity"] == "MINOR_ALARM" and x["status"] == "HIGH"
    assert x["timestamp"].nanosecond == 789 and x["error"] is None
    assert x["timestamp"].to_pydatetime(warn=False) == datetime(
        2026, 11, 22, 20, 1, 2, 123456, timezone.utc
    )
    assert table.loc["wave"]["value"].tolist() == [1, 2, 3]
    assert table.loc["gone"]["value"] is None and table.loc["gone"]["error"] == str(ERROR)
    assert str(table["timestamp"].dtype) == "datetime64[ns, UTC]"
    assert table["timestamp"].isna().tolist() == [False, False, True, True, True]
    assert table.loc["motor"]["units"] == "mm"
    assert list(table[table["error"].isna()].index) == ["x", "wave", "name", "motor"]


def test_pandas_of_nothing():
    assert len(ReadResults().to_pandas()) == 0


def test_pandas_is_loaded_only_there_and_missed_with_a_clear_error():
    code = """
import sys
from caproto._client.results import ReadResults
assert "pandas" not in sys.modules
sys.modules["pandas"] = None  # as if it were not installed
try:
    ReadResults().to_pandas()
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("CaprotoNotImplementedError to_pandas() needs pandas")


def test_it_prints_as_a_table_that_fits(results, written, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    lines = str(results).splitlines()
    assert repr(results) == str(results) and max(map(len, lines)) <= 60
    assert lines[0].split() == ["name", "value", "alarm", "time"]
    assert lines[1].split()[:2] == ["x", "1.5"] and "MINOR" in lines[1]
    assert lines[3].startswith("gone   was not found within 2 s")  # the name stands there once
    assert str(written).splitlines()[1].split() == ["x", "3.0", "written"]
    assert str(ReadResults()) == "ReadResults: no names"


def test_of_many_rows_the_first_and_last_are_printed():
    one = response([1.5], ChannelType.DOUBLE)
    lines = str(ReadResults({f"n{i}": one for i in range(61)})).splitlines()
    assert len(lines) == 1 + 61  # the titles, 55, the row for what is left out, 5
    assert lines[55].startswith("n54") and lines[56] == "… 1 more …" and lines[57].startswith("n56")
    assert len(str(ReadResults({f"n{i}": one for i in range(60)})).splitlines()) == 61


def test_html(results):
    html = results._repr_html_()
    assert html.startswith("<table>") and "was not found within 2 s" in html and "wave" in html


def test_they_pickle(results, written):
    again = pickle.loads(pickle.dumps(written))
    assert again.to_dict() == {"x": 3.0} and type(again["gone"]) is CaprotoTimeoutError
