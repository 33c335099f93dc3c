"""Snapshots as tables of pandas and Arrow."""
from __future__ import annotations

import json
import subprocess
import sys

import numpy
import pandas
import pyarrow
import pytest

from caproto import CaprotoError, CaprotoTypeError, CaprotoValueError, ReadError
from caproto._client.snapshot_frames import element_array, error_of, from_arrow
from tests.client.snapshots import ERROR, STAMP, example, objects, snapshot

SOME = numpy.array([True, False, True])


def test_pandas():
    table = example().to_pandas()
    assert list(table.index) == ["good", "minor", "invalid", "gone", "major"]
    assert table.index.name == "name"
    assert list(table) == ["value", "severity", "status", "timestamp", "connected", "error"]
    minor = table.loc["minor"]
    assert minor["value"] == 2.5 and minor["status"] == "HIGH"
    assert minor["timestamp"].value == STAMP.astype("int64")
    assert str(table["timestamp"].dtype) == "datetime64[ns, UTC]"
    gone = table.loc["gone"]
    assert gone["error"] == str(ERROR) and not gone["connected"]
    assert gone[["value", "severity", "status", "timestamp"]].isna().all()
    assert minor["error"] is None


def test_severities_of_pandas_compare():
    table = example().to_pandas()
    assert list(table[table["severity"] >= "MAJOR_ALARM"].index) == ["invalid", "major"]
    odd = snapshot([1.0], severity=numpy.array([77])).to_pandas()
    assert odd["severity"].max() == "UNKNOWN(77)"


@pytest.mark.parametrize(
    ("values", "ok", "dtype", "listed"),
    [
        (numpy.array([1.0, 2.0, 3.0], "f4"), None, "float32", [1.0, 2.0, 3.0]),
        (numpy.array([1, 2, 3], "u2"), None, "uint16", [1, 2, 3]),
        (numpy.array([1, 0, 3], "u2"), SOME, "UInt16", [1, pandas.NA, 3]),
        (numpy.array([b"a", b"", b"\xe9"]), SOME, "object", ["a", None, "é"]),
        (objects(1, None, "x"), SOME, "object", [1, None, "x"]),
    ],
)
def test_values_of_pandas(values, ok, dtype, listed):
    column = snapshot(values, **({} if ok is None else {"ok": ok})).to_pandas()["value"]
    assert column.dtype == dtype and column.tolist() == listed


def test_the_last_value_of_a_lost_pv_is_missing_in_pandas():
    column = snapshot([1.0, 2.0, 3.0], ok=SOME).to_pandas()["value"]
    assert column.isna().tolist() == [False, True, False] and column.dtype == "float64"


def test_arrays_of_pandas():
    column = snapshot([[1, 2], [3, 4], [5, 6]], ok=SOME).to_pandas()["value"]
    assert column.iloc[0].tolist() == [1, 2] and column.iloc[1] is None


def test_a_table_of_pandas_is_the_users_own():
    snap = snapshot([1.0, 2.0])
    table = snap.to_pandas()
    table["value"] += 1
    assert table["value"].tolist() == [2.0, 3.0] and snap.values.tolist() == [1.0, 2.0]


def test_arrow():
    table = example().to_arrow()
    assert table.column_names == [
        "name", "value", "severity", "status", "timestamp", "connected", "error", "error_type",
    ]
    assert table["value"].to_pylist() == [1.5, 2.5, 3.5, None, 4.5]
    assert table["severity"].to_pylist() == [
        "NO_ALARM", "MINOR_ALARM", "INVALID_ALARM", None, "MAJOR_ALARM",
    ]
    assert table["timestamp"].type == pyarrow.timestamp("ns", "UTC")
    assert table["timestamp"].cast("int64").to_pylist() == [
        None if name == "gone" else int(STAMP.astype("int64")) for name in example()
    ]
    assert table["error"].to_pylist()[3] == str(ERROR)
    assert table["error_type"].to_pylist() == [None, None, None, "CaprotoTimeoutError", None]


def test_values_of_different_types_are_json_in_arrow():
    table = snapshot(objects(1.5, "x", numpy.array([1, 2]))).to_arrow()
    assert [json.loads(text) for text in table["value"].to_pylist()] == [1.5, "x", [1, 2]]
    assert table["value_type"].to_pylist() == ["<f8", "<U1", "<i8"]


def test_values_that_cannot_be_stored():
    with pytest.raises(CaprotoTypeError, match="'n1': a value of dict cannot be saved"):
        snapshot(objects(1, {}, 2)).to_arrow()


@pytest.mark.parametrize(
    "values",
    [
        numpy.array([1.5, numpy.nan, numpy.inf]), numpy.array([0.1, 2, 3], "f4"),
        numpy.array([1, 2, 65535], "u2"), numpy.array([-1, 2, 3], "i4"),
        numpy.array([b"a", b"", b"\xe9"], "S40"), numpy.array(["a", "", "é"]),
        numpy.array([[1.5, 2.5], [numpy.nan, 4], [5, 6]]), numpy.array([["a", "b"]] * 3),
        objects(numpy.float32(0.1), b"\xe9", numpy.array([b"a", b"bc"])), objects(1, "x", [1, 2]),
    ],
    ids=lambda values: f"{values.dtype}-{values.ndim}",
)
@pytest.mark.parametrize("ok", [numpy.ones(3, bool), SOME, numpy.zeros(3, bool)])
def test_there_and_back(values, ok):
    errors = {} if ok.all() else {"n1": ERROR}
    before = snapshot(values, ok=ok.copy(), errors=errors, severity=numpy.array([0, 3, 2]))
    names, columns, errors = from_arrow(before.to_arrow())
    after = snapshot(**{**columns, "names": names, "errors": errors})
    assert after.names == before.names and not before.diff(after)
    assert after.values.shape == before.values.shape
    if values.dtype.kind in "iuf":
        assert after.values.dtype == before.values.dtype
    if values.dtype.kind == "f":
        assert numpy.isnan(after.values[~ok]).all()
    assert after.severity[ok].tolist() == before.severity[ok].tolist()
    for name in ("timestamps", "connected", "ok"):
        numpy.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert [*map(repr, after.errors.values())] == [*map(repr, before.errors.values())]


def test_another_table_of_arrow():
    with pytest.raises(CaprotoValueError, match="it has no snapshot that this version"):
        from_arrow(pyarrow.table({"name": ["x"]}))


def test_errors_of_a_file():
    assert repr(error_of("ReadError", "no")) == repr(ReadError("no"))
    assert type(error_of("SystemExit", "no")) is CaprotoError
    assert type(error_of(None, "no")) is CaprotoError


def test_one_element():
    assert element_array("x", 1.5).tolist() == 1.5
    assert element_array("x", b"\xe9").tolist() == "é"
    assert element_array("x", numpy.float32(1)).dtype == "f4"


@pytest.mark.parametrize(
    ("package", "call"), [("pandas", "to_pandas()"), ("pyarrow", "to_arrow()")]
)
def test_a_package_is_loaded_only_there_and_missed_with_a_clear_error(package, call):
    code = f"""
import sys
from tests.client.snapshots import example
snap = example()
assert "{package}" not in sys.modules
sys.modules["{package}"] = None  # as if it were not installed
try:
    snap.{call}
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith(
        f"CaprotoNotImplementedError {call} needs {package}: install it ('pip install {package}')"
    )
