"""Files of snapshots."""
from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caproto import CaprotoError, CaprotoTypeError, CaprotoValueError
from caproto._client import snapshot_files
from caproto._client.table_snapshot import TableSnapshot
from tests.client.snapshots import example, objects, snapshot

FORMATS = [".npz", ".parquet"]


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize(
    "before",
    [
        example(), snapshot([]), snapshot([[1, 2], [3, 4]]), snapshot(numpy.array([b"a", b"\xe9"])),
        snapshot(objects(1, "x", "long", numpy.array([1, 2]), numpy.float32(0.1))),
        snapshot(objects(1, None), ok=numpy.array([True, False])),
    ],
    ids=["floats", "nothing", "arrays", "texts", "mixed", "missing"],
)
def test_there_and_back(before, extension, tmp_path):
    path = tmp_path / f"some{extension}"
    before.save(path)
    after = TableSnapshot.load(str(path))
    assert after.names == before.names and not before.diff(after)
    for name in ("timestamps", "severity", "status", "connected", "ok"):
        numpy.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert [*map(repr, after.errors.items())] == [*map(repr, before.errors.items())]
    assert os.listdir(tmp_path) == [path.name]


def test_others_can_read_the_files(tmp_path):
    import pandas

    example().save(tmp_path / "some.parquet")
    example().save(tmp_path / "some.npz")
    table = pandas.read_parquet(tmp_path / "some.parquet").set_index("name")
    assert table.loc["minor", "value"] == 2.5 and table.loc["minor", "severity"] == "MINOR_ALARM"
    with numpy.load(tmp_path / "some.npz") as arrays:
        assert arrays["names"][1] == "minor" and arrays["values"][1] == 2.5


@pytest.mark.parametrize("path", ["some.csv", "some", "npz", "some.npz.gz", Path("some.pkl")])
def test_another_extension_raises_at_the_call(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = r"the file of a snapshot ends in \.npz or \.parquet, not 'some|not 'npz"
    for call in (example().save, TableSnapshot.load, snapshot_files.check_path):
        with pytest.raises(CaprotoValueError, match=message):
            call(path)
    assert not os.listdir(tmp_path)


def test_a_path_is_a_path():
    for call in (example().save, TableSnapshot.load):
        with pytest.raises(CaprotoTypeError, match="path must be a str or a path, not 7"):
            call(7)
        with pytest.raises(CaprotoValueError, match="path must not contain a zero character"):
            call("some\0.npz")


def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "some.npz"
    example().save(path)
    before = path.read_bytes()
    with pytest.raises(CaprotoTypeError, match="'n0': a value of dict cannot be saved"):
        snapshot(objects({})).save(path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        snapshot([1.0]).save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_a_missing_file_or_directory(tmp_path):
    with pytest.raises(FileNotFoundError):
        TableSnapshot.load(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError) as caught:
        example().save(tmp_path / "none" / "some.npz")
    assert caught.value.filename == str(tmp_path / "none" / "some.npz")
    assert str(caught.value).endswith("/none/some.npz'")


def test_a_link_and_the_rights_of_the_file_remain(tmp_path):
    path, link = tmp_path / "some.npz", tmp_path / "link.npz"
    path.touch()
    path.chmod(0o640)
    link.symlink_to("some.npz")
    example().save(link)
    assert link.is_symlink() and path.stat().st_mode & 0o777 == 0o640
    assert not example().diff(TableSnapshot.load(path))
    assert sorted(os.listdir(tmp_path)) == ["link.npz", "some.npz"]


@pytest.mark.parametrize(
    "values", [numpy.array([True, False]), numpy.array([1.5, 2.5], ">f8"), numpy.ones((2, 3), bool)]
)
@pytest.mark.parametrize("extension", FORMATS)
def test_types_that_no_pv_has(values, extension, tmp_path):
    path = tmp_path / f"some{extension}"
    snapshot(values).save(path)
    after = TableSnapshot.load(path)
    assert after.values.dtype == values.dtype and after.values.tolist() == values.tolist()


@pytest.mark.parametrize(
    ("before", "extensions", "reason"),
    [
        (snapshot(numpy.array([1j, 2])), FORMATS, "cannot be saved: values has the type complex"),
        (snapshot(numpy.zeros((2, 0))), [".parquet"], "Arrow has no column for values of the type"),
        (snapshot(numpy.ones(2, numpy.longdouble)), [".parquet"], "Arrow has no column for values"),
        (snapshot([1.0, 2.0], ["n0", "n0"]), FORMATS, "cannot be saved: a name is there"),
    ],
)
def test_what_cannot_be_saved_is_no_file(before, extensions, reason, tmp_path):
    for extension in extensions:
        with pytest.raises((CaprotoValueError, CaprotoTypeError), match=reason):
            before.save(tmp_path / f"some{extension}")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"PAR1", b"\x93NUMPY", b"name,value\n"])
def test_what_is_not_a_snapshot(extension, data, tmp_path):
    path = tmp_path / f"some{extension}"
    path.write_bytes(data)
    with pytest.raises(CaprotoValueError, match="is damaged, or not a snapshot: ."):
        TableSnapshot.load(path)


@pytest.mark.parametrize("extension", FORMATS)
@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_read(extension, data, tmp_path_factory):
    """No byte of it leads to another exception."""
    path = tmp_path_factory.mktemp("damaged") / f"some{extension}"
    example().save(path)
    content = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        TableSnapshot.load(path)
    except CaprotoError as error:
        assert "is damaged, or not a snapshot" in str(error)


@pytest.mark.parametrize("data", [b"rubbish", b"", b"\x80\x04N."])
def test_numpys_advice_to_trust_a_file_is_not_passed_on(data, tmp_path):
    path = tmp_path / "some.npz"
    path.write_bytes(data)
    with pytest.raises(CaprotoValueError, match="it is not a zip archive, as .npz files are"):
        TableSnapshot.load(path)
    numpy.savez(path, [1.0, 2.0])
    with pytest.raises(CaprotoValueError, match="it has no array 'version'"):
        TableSnapshot.load(path)
    example().save(path)
    changed(path, severity=numpy.array([{}], object))
    with pytest.raises(CaprotoValueError, match="it has Python objects$"):
        TableSnapshot.load(path)


def changed(path, **arrays):
    """Replace some arrays of a file of numpy; None removes them."""
    with numpy.load(path) as old:
        new = {**old, **arrays}
    numpy.savez(path, **{name: array for name, array in new.items() if array is not None})


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"version": numpy.array(2)}, "another version of caproto"),
        ({"ok": numpy.ones(4, bool)}, "ok has 4 elements for 5 names"),
        ({"ok": numpy.ones(5)}, "ok has the type float64"),
        ({"severity": numpy.zeros((5, 1), int)}, "severity has the type int64"),
        ({"names": numpy.arange(5)}, "a name is not text"),
        ({"error_names": numpy.array(["other"])}, "an error has a name that is not there"),
        ({"status": None}, "status"),
        ({"values": None}, "some values are not there"),
        ({"names": numpy.array(["major", "major", "x", "y", "z"])}, "a name is there twice"),
    ],
)
def test_parts_that_do_not_fit(arrays, reason, tmp_path):
    path = tmp_path / "some.npz"
    example().save(path)
    changed(path, **arrays)
    with pytest.raises(CaprotoValueError, match=reason):
        TableSnapshot.load(path)


def test_nothing_in_a_file_is_executed(tmp_path):
    """An array of objects would be a pickle."""
    path = tmp_path / "some.npz"
    example().save(path)
    changed(path, values=objects(1, 2, 3, 4, 5))
    assert b"pickle" not in zipfile.ZipFile(path).read("names.npy")
    with pytest.raises(CaprotoValueError, match="is damaged, or not a snapshot"):
        TableSnapshot.load(path)


@pytest.mark.parametrize(("package", "extension"), [("pyarrow", ".parquet"), ("numpy", ".npz")])
def test_a_missing_package_is_told_at_the_call(package, extension, tmp_path):
    code = f"""
import sys
sys.modules[{package!r}] = None  # as if it were not installed
from caproto.threading.client import TableSnapshot
from caproto._client.snapshot_files import check_path
for call in (check_path, TableSnapshot.load):
    try:
        call({str(tmp_path / "some")!r} + {extension!r})
    except Exception as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    message = f"CaprotoNotImplementedError a file {extension} needs {package}: install it ('pip "
    assert [line.startswith(message) for line in done.stdout.splitlines()] == [True, True]
