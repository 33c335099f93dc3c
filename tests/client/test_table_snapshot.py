"""Snapshots of many PVs: tables of them for people, copies, files."""
from __future__ import annotations

import copy
import pickle

import numpy
import pytest

from caproto import CaprotoKeyError, CaprotoTypeError, CaprotoValueError
from caproto._client.table_snapshot import TableSnapshot
from tests.client.snapshots import ERROR, example, objects, snapshot


@pytest.fixture
def snap() -> TableSnapshot:
    return example()


def test_missing_ones_and_alarms_are_printed_first(snap, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    lines = str(snap).splitlines()
    assert repr(snap) == str(snap) and max(map(len, lines)) <= 60
    assert lines[0] == "TableSnapshot of 5 PVs: 1 missing, 1 INVALID, 1 MAJOR, 1 MI…"
    assert lines[1].split() == ["name", "value", "alarm", "time"]
    assert [line.split()[0] for line in lines[2:]] == ["gone", "invalid", "major", "minor", "good"]
    assert lines[2].startswith("gone     was not found within 2 s")  # the name stands there once
    assert lines[3].split()[:4] == ["invalid", "3.5", "INVALID", "(UDF)"]
    assert lines[-1].split()[:4] == ["good", "1.5", "no", "alarm"]


def test_of_many_rows_the_middle_is_cut():
    severity = numpy.zeros(1000, int)
    severity[500] = 2
    lines = str(snapshot(numpy.arange(1000), severity=severity)).splitlines()
    assert lines[0] == "TableSnapshot of 1000 PVs: 1 MAJOR"
    assert len(lines) == 2 + 61 and lines[2].split()[:3] == ["n500", "500", "MAJOR"]
    assert lines[57] == "… 940 more …" and lines[-1].startswith("n999")


def test_every_kind_of_value_is_printed():
    lines = str(snapshot(objects(
        numpy.float32(0.1), "a text", b"bytes", numpy.arange(20), numpy.array([0.1], "f4"), None, 7,
        1 / 3, numpy.float32(1 / 3), 123456789012345,
    ))).splitlines()
    cells = [line[6:].split("  ")[0] for line in lines[2:]]
    assert cells == [
        "0.1", "'a text'", "'bytes'", "[0, 1, 2, ..., 17, 18, 19]", "[0.1]", "None", "7",
        "0.33333333", "0.33333334", "123456789012345",
    ]


def test_time_stamps_that_no_server_sends_are_printed():
    lines = str(snapshot([1], timestamps=numpy.array(["1970-01-01"], "datetime64[ns]")))
    assert "1970-01-01T00:00:00" in lines


def test_without_time_stamps_the_column_is_empty():
    stamps = numpy.array(["NaT"], "datetime64[ns]")
    row = str(snapshot([1.5], timestamps=stamps)).splitlines()[-1]
    assert row.split() == ["n0", "1.5", "no", "alarm"]


def test_html(snap):
    html = snap._repr_html_()
    assert html.startswith("<table><caption>TableSnapshot of 5 PVs: 1 missing")
    assert "was not found within 2 s" in html and "<b>" not in html


def test_nothing():
    assert str(snapshot([])) == "TableSnapshot: no names"
    assert snapshot([]).to_dict() == {} and len(snapshot([])) == 0


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_is_read_only_too(snap, again):
    other = again(snap)
    assert other.to_dict() == snap.to_dict() and other.names == snap.names
    assert str(other.errors["gone"]) == str(ERROR)
    with pytest.raises(ValueError, match="read-only"):
        other.values[0] = 2


def test_it_is_compared_with_snapshots_only(snap):
    assert not snap.diff(snap)
    with pytest.raises(CaprotoTypeError, match="other must be a TableSnapshot, not 7"):
        snap.diff(7)


def test_a_file(snap, tmp_path):
    path = tmp_path / "some.npz"
    snap.save(path)
    again = TableSnapshot.load(path)
    assert type(again) is TableSnapshot and again.names == snap.names
    assert str(again) == str(snap)


def test_frames(snap):
    assert snap.to_pandas().loc["minor", "value"] == 2.5
    assert snap.to_arrow()["value"].to_pylist()[:2] == [1.5, 2.5]


def test_some_of_the_pvs(snap):
    some = snap.select(["major", "gone"])
    assert some.names == ("major", "gone") and some.ok.tolist() == [True, False]
    assert some["major"] == 4.5 and dict(some.errors) == {"gone": ERROR}
    assert some.severity.tolist() == [2, 0] and snap.select([]).names == ()
    with pytest.raises(CaprotoKeyError, match="the snapshot has no 'bad'"):
        snap.select(["good", "bad"])
    with pytest.raises(CaprotoTypeError, match="names must be a list"):
        snap.select("good")
    with pytest.raises(CaprotoTypeError, match="PV names must be str, not .*True"):
        snap.select(snap.ok)
    with pytest.raises(CaprotoValueError, match="'gone' is twice among the names"):
        snap.select(["good", "gone", "gone"])
