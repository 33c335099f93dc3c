"""Snapshots as tables of pandas and Arrow, and back from Arrow."""
from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .. import _errors
from .._errors import CaprotoError, CaprotoNotImplementedError, CaprotoTypeError, CaprotoValueError
from .._protocol.dbr import AlarmSeverity, AlarmStatus
from .._typing import NamedTuple
from .snapshot_columns import SnapshotColumns, plain_value

if TYPE_CHECKING:
    import numpy
    import pandas
    import pyarrow
    from numpy.typing import NDArray

    from .snapshot_columns import Column

#: The metadata of an Arrow table: what makes it a snapshot, and the dtype of the values.
_VERSION_KEY, _DTYPE_KEY = b"caproto.snapshot", b"caproto.values"
_VERSION = b"1"
_NUMBERS = "iuf"


class Parts(NamedTuple):
    """What a snapshot is made of: the arguments of `TableSnapshot`."""

    names: tuple[str, ...]
    columns: Mapping[str, Column]
    errors: Mapping[str, CaprotoError]


def check_package(package: str, purpose: str, instead: str) -> None:
    """Raise CaprotoNotImplementedError if a package is not installed."""
    try:
        __import__(package)
    except ImportError:
        raise CaprotoNotImplementedError(
            f"{purpose} needs {package}: install it ('pip install {package}'), or {instead}, which "
            "does not need it"
        ) from None


# ---- pandas


def to_pandas(snap: SnapshotColumns) -> pandas.DataFrame:
    """Make a DataFrame; see `TableSnapshot.to_pandas`."""
    check_package("pandas", "to_pandas()", "use to_dict()")
    import pandas

    severity, severities = _coded(snap.severity, snap.ok, AlarmSeverity)
    status, statuses = _coded(snap.status, snap.ok, AlarmStatus)
    columns = {
        "name": snap.names,
        "value": _pandas_values(snap),
        "severity": pandas.Categorical.from_codes(severity, severities, ordered=True),
        "status": pandas.Categorical.from_codes(status, statuses),
        "timestamp": pandas.Series(snap.timestamps).dt.tz_localize("UTC"),
        "connected": snap.connected,
        "error": pandas.Series(_error_texts(snap)[0], dtype=object),
    }
    return pandas.DataFrame(columns).set_index("name")


def _pandas_values(snap: SnapshotColumns) -> object:
    """Return what the column of values is made of; what is missing is NaN, NA or None."""
    import numpy
    import pandas

    values = snap.values
    if values.ndim == 1 and values.dtype.kind == "f":
        return numpy.where(snap.ok, values, numpy.nan)
    if values.ndim == 1 and values.dtype.kind in _NUMBERS:
        return values if snap.ok.all() else pandas.arrays.IntegerArray(values.copy(), ~snap.ok)
    return pandas.Series(
        [plain_value(value) if ok else None for value, ok in zip(values, snap.ok, strict=True)],
        dtype=object,
    )


def _coded(
    column: Column, ok: NDArray[numpy.bool_], kind: type[AlarmSeverity] | type[AlarmStatus]
) -> tuple[NDArray[numpy.int32], list[str]]:
    """Return positions in a list of names, -1 where there is no value; and this list."""
    import numpy

    numbers = sorted({*map(int, kind), *numpy.unique(column).tolist()})
    codes = numpy.searchsorted(numbers, column).astype(numpy.int32)
    codes[~ok] = -1
    return codes, [str(kind(number)) for number in numbers]


def _error_texts(snap: SnapshotColumns) -> tuple[list[str | None], list[str | None]]:
    """Return the messages of the errors, and their classes; None for PVs that have none."""
    messages: list[str | None] = [None] * len(snap)
    kinds: list[str | None] = [None] * len(snap)
    for name, error in snap.errors.items():
        at = snap.index[name]
        messages[at], kinds[at] = str(error), type(error).__name__
    return messages, kinds


def error_of(kind: str | None, message: str) -> CaprotoError:
    """Make an error again of the name of its class, which may be unknown here, and its message."""
    cls = getattr(_errors, kind) if kind in _errors.__all__ else CaprotoError
    error: CaprotoError = cls(message)
    return error


# ---- Arrow


def to_arrow(snap: SnapshotColumns) -> pyarrow.Table:
    """Make a table of Arrow; see `TableSnapshot.to_arrow`."""
    check_package("pyarrow", "to_arrow()", "use to_dict()")
    import pyarrow

    messages, kinds = _error_texts(snap)
    columns = {
        "name": pyarrow.array(snap.names, pyarrow.string()),
        **_arrow_values(snap),
        "severity": _arrow_codes(*_coded(snap.severity, snap.ok, AlarmSeverity)),
        "status": _arrow_codes(*_coded(snap.status, snap.ok, AlarmStatus)),
        "timestamp": pyarrow.array(snap.timestamps, pyarrow.timestamp("ns", "UTC")),
        "connected": pyarrow.array(snap.connected),
        "error": pyarrow.array(messages, pyarrow.string()),
        "error_type": pyarrow.array(kinds, pyarrow.string()),
    }
    metadata = {_VERSION_KEY: _VERSION, _DTYPE_KEY: snap.values.dtype.str.encode()}
    return pyarrow.table(columns).replace_schema_metadata(metadata)


def _arrow_codes(codes: NDArray[numpy.int32], names: list[str]) -> pyarrow.DictionaryArray:
    import pyarrow

    return pyarrow.DictionaryArray.from_arrays(pyarrow.array(codes, mask=codes < 0), names)


def _arrow_values(snap: SnapshotColumns) -> dict[str, pyarrow.Array]:
    """Make the column of values; if they have different types, as JSON, and one of their types."""
    import pyarrow

    values = snap.values
    missing = ~snap.ok
    # Neither complex nor longer than double; and no arrays without elements.
    if values.dtype.kind not in "biufSUO" or values.dtype.kind == "f" and values.itemsize > 8 or (
        values.shape[1:] == (0,)
    ):
        raise CaprotoTypeError(
            f"Arrow has no column for values of the type {values.dtype} and the shape "
            f"{values.shape}"
        )
    if values.dtype.kind == "O":
        elements = [
            element_array(name, value) if ok else None
            for name, value, ok in zip(snap.names, values, snap.ok, strict=True)
        ]
        texts = [None if one is None else json.dumps(one.tolist()) for one in elements]
        types = [None if one is None else one.dtype.str for one in elements]
        return {
            "value": pyarrow.array(texts, pyarrow.string()),
            "value_type": pyarrow.array(types, pyarrow.string()),
        }
    if values.ndim == 1:
        return {"value": _arrow_elements(values, missing)}
    flat = _arrow_elements(values.ravel(), None)
    rows = pyarrow.FixedSizeListArray.from_arrays(
        flat, values.shape[1], mask=pyarrow.array(missing)
    )
    return {"value": rows}


def _arrow_elements(values: Column, missing: NDArray[numpy.bool_] | None) -> pyarrow.Array:
    import pyarrow

    if values.dtype.kind in f"b{_NUMBERS}":
        return pyarrow.array(values.astype(values.dtype.newbyteorder("=")), mask=missing)
    texts = [plain_value(value) for value in values]
    return pyarrow.array(texts, pyarrow.string(), mask=missing)


def element_array(name: str, value: object) -> NDArray[numpy.generic]:
    """Make an array of one value: without dimension for a scalar.

    Raises
    ------
    CaprotoTypeError
        It is neither number, text nor array.
    """
    import numpy

    array: NDArray[numpy.generic] = numpy.asarray(value)
    if array.dtype.kind == "S":
        array = numpy.asarray([plain_value(text) for text in array.ravel()]).reshape(array.shape)
    if array.dtype.kind not in "biufSU":
        raise CaprotoTypeError(f"{name!r}: a value of {type(value).__name__} cannot be saved")
    return array


def from_arrow(table: pyarrow.Table) -> Parts:
    """Read a table that `to_arrow` has made.

    Raises
    ------
    CaprotoValueError
        It is another one. Damaged ones may raise other exceptions.
    """
    import numpy

    metadata = table.schema.metadata or {}
    if metadata.get(_VERSION_KEY) != _VERSION:
        raise CaprotoValueError("it has no snapshot that this version of caproto can read")
    names = tuple(table["name"].to_pylist())
    ok = table["value"].is_valid().to_numpy()
    columns = {
        "values": _numpy_values(table, numpy.dtype(metadata[_DTYPE_KEY].decode()), ok),
        "timestamps": table["timestamp"].to_numpy(),
        "severity": _numbers_of(table["severity"].combine_chunks(), AlarmSeverity),
        "status": _numbers_of(table["status"].combine_chunks(), AlarmStatus),
        "connected": table["connected"].to_numpy(),
        "ok": ok,
    }
    triples = zip(names, table["error_type"].to_pylist(), table["error"].to_pylist(), strict=True)
    errors = {name: error_of(kind, text) for name, kind, text in triples if text is not None}
    return Parts(names, columns, errors)


def _numbers_of(
    column: pyarrow.DictionaryArray, kind: type[AlarmSeverity] | type[AlarmStatus]
) -> NDArray[numpy.uint16]:
    """Return the numbers of names of alarms; 0 for what is missing."""
    import numpy

    known = {str(member): int(member) for member in kind}
    texts = column.dictionary.to_pylist()
    numbers = [known[text] if text in known else int(text.strip("UNKOW()")) for text in texts]
    codes: NDArray[numpy.intp] = column.indices.fill_null(len(numbers)).to_numpy()
    return numpy.array([*numbers, 0], numpy.uint16)[codes]


def _numpy_values(
    table: pyarrow.Table, dtype: numpy.dtype[numpy.generic], ok: NDArray[numpy.bool_]
) -> Column:
    import numpy
    import pyarrow

    column = table["value"]
    if dtype.kind == "O":
        values = numpy.empty(len(ok), object)
        pairs = zip(column.to_pylist(), table["value_type"].to_pylist(), strict=True)
        for at, (text, its_type) in enumerate(pairs):
            if text is not None:
                values[at] = numpy.array(json.loads(text), its_type)[()]
        return values
    present = column.drop_null().combine_chunks()
    shape: tuple[int, ...] = (len(ok),)
    if pyarrow.types.is_fixed_size_list(column.type):
        present, shape = present.flatten(), (len(ok), column.type.list_size)
    if dtype.kind in f"b{_NUMBERS}":
        elements = present.to_numpy(zero_copy_only=False).astype(dtype)
    else:
        elements = numpy.array(present.to_pylist(), str)
    fill = numpy.nan if dtype.kind == "f" else elements.dtype.type()
    values = numpy.full(shape, fill, elements.dtype)
    values[ok] = elements.reshape(-1, *shape[1:])
    return values
