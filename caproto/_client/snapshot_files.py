"""Files of snapshots: arrays of numpy (``.npz``) and Parquet."""
from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from typing import IO, TYPE_CHECKING

from .._errors import CaprotoTypeError, CaprotoValueError
from .._numbers import counted
from .._typing import NamedTuple
from .snapshot_columns import COLUMNS, SnapshotColumns
from .snapshot_frames import (
    Parts,
    check_package,
    element_array,
    error_of,
    from_arrow,
    to_arrow,
)

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from .snapshot_columns import Column

_VERSION = 1
#: Kinds of dtype and numbers of dimensions that the columns of a file may have.
_COLUMN_TYPES = {
    "values": ("biufSUO", (1, 2)),
    "timestamps": ("M", (1,)),
    "severity": ("iu", (1,)),
    "status": ("iu", (1,)),
    "connected": ("b", (1,)),
    "ok": ("b", (1,)),
}


#: The arrays of each file .npz, beside the columns.
_FIELDS = ("version", "names", "error_names", "error_types", "error_texts")


class _Format(NamedTuple):
    """A kind of file."""

    #: The package that it needs, and what does without it.
    package: str
    instead: str
    write: Callable[[SnapshotColumns, IO[bytes]], None]
    read: Callable[[IO[bytes]], Parts]


def save(snap: SnapshotColumns, path: str | os.PathLike[str]) -> None:
    """Write a file; see `TableSnapshot.save`."""
    form = _format_of(path)
    columns = {name: getattr(snap, name) for name in COLUMNS}
    try:
        _check(Parts(snap.names, columns, snap.errors))
    except CaprotoValueError as error:
        raise CaprotoValueError(f"the snapshot cannot be saved: {error}") from None
    data = BytesIO()
    form.write(snap, data)
    # Whoever opens the file finds the old one or the new one, as a whole. A link remains one.
    place = os.path.realpath(path)
    part = f"{place}.{os.getpid()}.part"
    try:
        with open(part, "wb") as file:
            file.write(data.getbuffer())
        if os.path.exists(place):
            os.chmod(part, os.stat(place).st_mode & 0o777)
        os.replace(part, place)
    except BaseException as error:
        if os.path.exists(part):
            os.unlink(part)
        if isinstance(error, OSError):  # with the name that the caller knows
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None
        raise


def load(path: str | os.PathLike[str]) -> Parts:
    """Read a file; see `TableSnapshot.load`."""
    form = _format_of(path)
    with open(path, "rb") as file:
        data = BytesIO(file.read())
    try:
        parts = form.read(data)
        _check(parts)
    # What the libraries raise depends on which byte is damaged.
    except Exception as error:
        reason = str(error) or type(error).__name__
        if "allow_pickle" in reason:  # numpy tells its callers how to trust the file
            reason = "it has Python objects"
        raise CaprotoValueError(
            f"{os.fspath(path)!r} is damaged, or not a snapshot: {reason}"
        ) from None
    return parts


def check_path(path: object) -> None:
    """Raise unless a snapshot can be saved in, or loaded from, a file with the name *path*."""
    _format_of(path)


def _format_of(path: object) -> _Format:
    if not isinstance(path, str | os.PathLike):
        raise CaprotoTypeError(f"path must be a str or a path, not {path!r}")
    if "\0" in os.fsdecode(path):
        raise CaprotoValueError(f"path must not contain a zero character: {os.fspath(path)!r}")
    extension = os.path.splitext(os.fspath(path))[1]
    if extension not in _FORMATS:
        raise CaprotoValueError(
            f"the file of a snapshot ends in {' or '.join(_FORMATS)}, not {os.fspath(path)!r}"
        )
    form = _FORMATS[extension]
    check_package(form.package, f"a file {extension}", f"use {form.instead}")
    return form


def _check(parts: Parts) -> None:
    """Raise CaprotoValueError unless the parts fit together."""
    names, columns, errors = parts
    if not all(isinstance(name, str) for name in names):
        raise CaprotoValueError("a name is not text")
    if len({*names}) != len(names):
        raise CaprotoValueError("a name is there twice")
    if not errors.keys() <= {*names}:
        raise CaprotoValueError("an error has a name that is not there")
    for name, (kinds, dimensions) in _COLUMN_TYPES.items():
        column = columns[name]
        if column.dtype.kind not in kinds or column.ndim not in dimensions:
            raise CaprotoValueError(f"{name} has the type {column.dtype}")
        if len(column) != len(names):
            raise CaprotoValueError(
                f"{name} has {counted(len(column), 'element')} for {counted(len(names), 'name')}"
            )


# ---- numpy


def _write_npz(snap: SnapshotColumns, file: IO[bytes]) -> None:
    import numpy

    arrays: dict[str, Column] = {name: getattr(snap, name) for name in COLUMNS}
    if snap.values.dtype.kind == "O":
        del arrays["values"]
        arrays.update(_groups(snap))
    arrays["names"] = numpy.array(snap.names, str)
    arrays["error_names"] = numpy.array(list(snap.errors), str)
    arrays["error_types"] = numpy.array([type(e).__name__ for e in snap.errors.values()], str)
    arrays["error_texts"] = numpy.array([str(error) for error in snap.errors.values()], str)
    arrays["version"] = numpy.array(_VERSION)
    numpy.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _groups(snap: SnapshotColumns) -> dict[str, Column]:
    """Make an array of the values of each type, and one of their rows."""
    import numpy

    rows: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    elements: dict[tuple[str, tuple[int, ...]], list[NDArray[numpy.generic]]] = {}
    for at in numpy.flatnonzero(snap.ok).tolist():
        array = element_array(snap.names[at], snap.values[at])
        # Texts of different lengths are of one type.
        key = "U" if array.dtype.kind == "U" else array.dtype.str, array.shape
        rows.setdefault(key, []).append(at)
        elements.setdefault(key, []).append(array)
    found: dict[str, Column] = {}
    for number, key in enumerate(rows):
        found[f"rows_{number}"] = numpy.array(rows[key], numpy.int64)
        found[f"values_{number}"] = numpy.stack(elements[key])
    return found


def _read_npz(file: IO[bytes]) -> Parts:
    import zipfile  # here, as numpy: most programs read no snapshot

    import numpy

    if not zipfile.is_zipfile(file):
        raise CaprotoValueError("it is not a zip archive, as .npz files are")
    file.seek(0)
    with numpy.load(file, allow_pickle=False) as arrays:
        lacking = [name for name in _FIELDS if name not in arrays]
        if lacking:
            raise CaprotoValueError(f"it has no array {lacking[0]!r}")
        if arrays["version"] != _VERSION:
            raise CaprotoValueError("it was written by another version of caproto")
        names = tuple(arrays["names"].tolist())
        columns = {name: arrays[name] for name in COLUMNS if name in arrays}
        if "values" not in columns:
            columns["values"] = values = numpy.empty(len(names), object)
            lacking_values = columns["ok"].copy()
            number = 0
            while f"rows_{number}" in arrays:
                group = arrays[f"values_{number}"]
                for at, value in zip(arrays[f"rows_{number}"], group, strict=True):
                    values[at] = value
                    lacking_values[at] = False
                number += 1
            if lacking_values.any():
                raise CaprotoValueError("some values are not there")
        triples = zip(
            *(arrays[name].tolist() for name in ("error_names", "error_types", "error_texts")),
            strict=True,
        )
        return Parts(names, columns, {name: error_of(kind, text) for name, kind, text in triples})


# ---- Parquet


def _write_parquet(snap: SnapshotColumns, file: IO[bytes]) -> None:
    from pyarrow import parquet

    parquet.write_table(to_arrow(snap), file, write_page_checksum=True)


def _read_parquet(file: IO[bytes]) -> Parts:
    from pyarrow import parquet

    return from_arrow(parquet.read_table(file, page_checksum_verification=True))


_FORMATS = {
    ".npz": _Format("numpy", "Context.read() and to_csv()", _write_npz, _read_npz),
    ".parquet": _Format("pyarrow", "a name that ends in .npz", _write_parquet, _read_parquet),
}
