"""Columns of a snapshot: read-only arrays, and single values by name."""
from __future__ import annotations

import numpy
import pytest

from caproto import (
    CaprotoAttributeError,
    CaprotoError,
    CaprotoKeyError,
    CaprotoTimeoutError,
    CaprotoTypeError,
    CaprotoValueError,
    DisconnectedError,
)
from caproto._client.snapshot_columns import COLUMNS
from caproto._client.table_snapshot import TableSnapshot
from tests.client.snapshots import ERROR, example, objects, snapshot


@pytest.fixture
def snap() -> TableSnapshot:
    return example()


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


@pytest.mark.parametrize("name", ["values", "names", "errors", "_index", "other"])
def test_its_attributes_stay(snap, name):
    assert snap.index["good"] == 0
    with pytest.raises(CaprotoAttributeError, match=f"a TableSnapshot cannot be .* its '{name}'"):
        setattr(snap, name, None)
    with pytest.raises(CaprotoAttributeError, match="cannot be changed"):
        delattr(snap, name)
    assert snap.names[0] == "good" and snap.index["good"] == 0


def test_arrays_of_another_length_are_refused():
    with pytest.raises(CaprotoValueError, match="2 names, but 3 elements"):
        snapshot([1.0, 2.0], ok=numpy.ones(3, bool))


@pytest.mark.parametrize("column", ["values", "timestamps", "severity", "ok"])
@pytest.mark.parametrize("wrong", [[1.0], None, numpy.array(1.0), "a"])
def test_what_is_no_array_is_refused(column, wrong):
    columns = {name: getattr(snapshot([1.0]), name) for name in COLUMNS}
    with pytest.raises(CaprotoTypeError, match=f"{column} must be an array of numpy"):
        TableSnapshot(("n0",), **{**columns, column: wrong}, errors={})


def test_a_list_of_names_becomes_a_tuple():
    columns = {name: getattr(snapshot([1.0]), name) for name in COLUMNS}
    names = ["n0"]
    assert TableSnapshot(names, **columns, errors={}).names == ("n0",)
    with pytest.raises(CaprotoTypeError, match="names must be a list"):
        TableSnapshot("n", **columns, errors={})


@pytest.mark.parametrize("wrong", [[1], None, 5, "n0"])
def test_errors_that_are_no_mapping_are_refused(wrong):
    columns = {name: getattr(snapshot([1.0]), name) for name in COLUMNS}
    with pytest.raises(CaprotoTypeError, match="errors must be a mapping of names to errors"):
        TableSnapshot(("n0",), **columns, errors=wrong)


def test_arrays_among_objects_are_read_only_too():
    snap = snapshot(objects(1.5, numpy.array([1, 2])))
    for value in (snap.values[1], snap["n1"], snap.to_dict()["n1"]):
        with pytest.raises(ValueError, match="read-only"):
            value[0] = 5


def test_it_is_a_collection_of_names(snap):
    assert list(snap) == list(snap.names) == ["good", "minor", "invalid", "gone", "major"]
    assert snap.index["invalid"] == 2 and len(snap.index) == 5
    assert "good" in snap and "bad" not in snap
    assert ["good"] not in snap and 0 not in snap  # what is no name is not in it


def test_one_value(snap):
    assert snap["minor"] == 2.5 and type(snap["minor"]) is float
    assert type(snapshot(numpy.array([7], "u2"))["n0"]) is int
    assert snapshot(numpy.array([b"caf\xc3\xa9"]))["n0"] == snapshot(["café"])["n0"] == "café"
    texts = snapshot(numpy.array([[b"caf\xc3\xa9", b""]]))["n0"]
    assert texts.tolist() == ["café", ""] and not texts.flags.writeable
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
