"""Snapshots of many PVs: read-only columns, and tables of them for people."""
from __future__ import annotations

import copy
import pickle

import numpy
import pytest

from caproto import (
    CaprotoError,
    CaprotoKeyError,
    CaprotoTimeoutError,
    CaprotoValueError,
    DisconnectedError,
)
from caproto._client.table_snapshot import TableSnapshot

STAMP = numpy.datetime64("2026-11-22T20:01:02.123456789", "ns")
ERROR = CaprotoTimeoutError("'gone' was not found within 2 s: no server has answered")


def snapshot(values, names=None, **columns) -> TableSnapshot:
    """A snapshot of good values, except for the columns that are given."""
    values = numpy.asarray(values)
    n = len(values)
    defaults = {
        "timestamps": numpy.full(n, STAMP), "severity": numpy.zeros(n, "u2"),
        "status": numpy.zeros(n, "u2"), "connected": numpy.ones(n, bool),
        "ok": numpy.ones(n, bool), "errors": {},
    }
    names = tuple(names or (f"n{i}" for i in range(n)))
    return TableSnapshot(names, values=values, **{**defaults, **columns})


def objects(*values):
    """An array of objects, also of sequences."""
    array = numpy.empty(len(values), object)
    array[:] = values
    return array


@pytest.fixture
def snap() -> TableSnapshot:
    return snapshot(
        [1.5, 2.5, 3.5, numpy.nan, 4.5],
        ("good", "minor", "invalid", "gone", "major"),
        severity=numpy.array([0, 1, 3, 0, 2]), status=numpy.array([0, 4, 17, 0, 3]),
        timestamps=numpy.array([STAMP, STAMP, STAMP, "NaT", STAMP], "datetime64[ns]"),
        connected=numpy.array([True, True, True, False, True]),
        ok=numpy.array([True, True, True, False, True]), errors={"gone": ERROR},
    )


def test_the_arrays_are_those_that_were_given_and_read_only(snap):
    values = numpy.array([1.0])
    assert snapshot(values).values is values
    for name in ("values", "timestamps", "severity", "status", "connected", "ok"):
        column = getattr(snap, name)
        assert len(column) == len(snap) == 5
        with pytest.raises(ValueError, match="read-only"):
            column[0] = column[1]
    with pytest.raises(TypeError):
        snap.errors["x"] = ERROR


def test_arrays_of_another_length_are_refused():
    with pytest.raises(CaprotoValueError, match="2 names need arrays of .*, not of 3"):
        snapshot([1.0, 2.0], ok=numpy.ones(3, bool))


def test_it_is_a_collection_of_names(snap):
    assert list(snap) == list(snap.names) == ["good", "minor", "invalid", "gone", "major"]
    assert snap.index["invalid"] == 2 and len(snap.index) == 5
    assert "good" in snap and "bad" not in snap


def test_one_value(snap):
    assert snap["minor"] == 2.5 and type(snap["minor"]) is float
    assert type(snapshot(numpy.array([7], "u2"))["n0"]) is int
    assert snapshot(numpy.array([b"caf\xc3\xa9"]))["n0"] == snapshot(["café"])["n0"] == "café"
    row = snapshot([[1, 2], [3, 4]])["n1"]
    assert row.tolist() == [3, 4] and not row.flags.writeable


def test_one_value_that_is_missing(snap):
    with pytest.raises(CaprotoTimeoutError) as caught:
        snap["gone"]
    assert caught.value is ERROR
    with pytest.raises(CaprotoKeyError, match="the snapshot has no 'bad'"):
        snap["bad"]
    nothing = snapshot(
        [0.0, 0.0], ok=numpy.zeros(2, bool), connected=numpy.array([True, False])
    )
    with pytest.raises(CaprotoError, match="'n0' has had no value yet"):
        nothing["n0"]
    with pytest.raises(DisconnectedError, match="'n1' is not connected"):
        nothing["n1"]


def test_to_dict_has_the_values_that_are_there(snap):
    assert snap.to_dict() == {"good": 1.5, "minor": 2.5, "invalid": 3.5, "major": 4.5}
    mixed = snapshot(objects(1.5, "text", numpy.int32(3), numpy.array([1, 2]))).to_dict()
    assert mixed.pop("n3").tolist() == [1, 2]
    assert mixed == {"n0": 1.5, "n1": "text", "n2": 3}
    assert snapshot(numpy.array([b"\xe9"])).to_dict() == {"n0": "é"}


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
        numpy.float32(0.1), "a text", b"bytes", numpy.arange(20), numpy.array([0.1], "f4"), None, 7
    ))).splitlines()
    cells = [line[6:].split("  ")[0] for line in lines[2:]]
    assert cells == [
        "0.1", "'a text'", "'bytes'", "[0, 1, 2, ..., 17, 18, 19]", "[0.1]", "None", "7"
    ]


def test_time_stamps_that_no_server_sends_are_printed():
    lines = str(snapshot([1], timestamps=numpy.array(["1970-01-01"], "datetime64[ns]")))
    assert "1970-01-01T00:00:00" in lines


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
