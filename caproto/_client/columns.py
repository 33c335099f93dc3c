"""Columns: the values, alarms and times of many PVs as arrays, and how replies get into them.

Importing this module imports numpy.
"""
from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy
from numpy.typing import NDArray

from .._errors import CaprotoError, CaprotoValueError
from .._numbers import counted
from .._protocol.columns import record_type
from .._protocol.constants import EPICS_EPOCH
from .._protocol.dbr import ChannelType, field_types
from .._protocol.framing import UNLIMITED
from .._protocol.id_ranges import Block
from .._protocol.message import DataMessage
from .._protocol.payload import payload_size
from .arguments import check_whole
from .table_snapshot import TableSnapshot

#: Positions in a table.
Rows: TypeAlias = NDArray[numpy.intp]

_BILLION = 1_000_000_000
#: Families that a table can ask for: those of one small layout.
_FAMILIES = ("time", "status", "native")
#: What users may call the type of a column -> plain type on the wire.
_TYPES: dict[object, ChannelType] = {
    float: ChannelType.DOUBLE, int: ChannelType.LONG, str: ChannelType.STRING,
    **{name.lower(): ChannelType[name] for name in
       ("STRING", "FLOAT", "ENUM", "CHAR", "LONG", "DOUBLE")},
    "short": ChannelType.INT,  # not "int", which is longer for Python and numpy
}  # fmt: skip
#: Type of a column by its letter and size -> plain type on the wire.
_BY_DTYPE = {
    "f8": ChannelType.DOUBLE, "f4": ChannelType.FLOAT, "i4": ChannelType.LONG,
    "i2": ChannelType.INT, "u2": ChannelType.ENUM, "u1": ChannelType.CHAR,
}  # fmt: skip
#: Plain type on the wire -> type of a column.
_DTYPES = {
    ChannelType.STRING: "S40", **{plain: name for name, plain in _BY_DTYPE.items()}
}  # fmt: skip


@dataclass(frozen=True)
class Form:
    """In which form the PVs of a column are read.

    Attributes
    ----------
    data_type : int
        What is asked for.
    plain : int
        What is written.
    count : int
        Number of elements.
    dtype : numpy.dtype
        Type of the column.
    """

    data_type: int
    plain: int
    count: int
    dtype: numpy.dtype[Any]

    @property
    def name(self) -> str:
        """The type of the column, for people."""
        return "str" if self.dtype.kind == "S" else self.dtype.name


def make_form(dtype: object, family: str, count: int) -> Form:
    """Find the form that the user asks for.

    Raises
    ------
    CaprotoValueError
        There is no such type.
    """
    key = dtype.lower() if isinstance(dtype, str) else dtype
    plain = _TYPES.get(key) if isinstance(key, Hashable) else None
    if isinstance(dtype, ChannelType) and dtype in _DTYPES:
        plain = dtype
    if plain is None:
        try:
            # None would be the double of numpy.
            found = None if dtype is None else numpy.dtype(dtype)  # type: ignore[call-overload]
        except (TypeError, ValueError, SyntaxError):
            found = None
        if found is not None:
            text = found.kind in "SU"
            plain = ChannelType.STRING if text else _BY_DTYPE.get(f"{found.kind}{found.itemsize}")
    if plain is None:
        raise CaprotoValueError(
            f"dtype={dtype!r} is not a type of Channel Access: give the type float, int or str; "
            "a dtype of numpy (float64, float32, int32, int16, uint8; uint16 for enums); "
            "'double', 'float', 'long', 'short', 'char', 'enum' or 'string'; "
            "or a plain ChannelType"
        )
    data_type = field_types[family][plain]
    if payload_size(data_type, count) > UNLIMITED:
        raise CaprotoValueError(
            f"count={count}: that number of elements of type {plain.name} does not fit a message"
        )
    return Form(int(data_type), int(plain), count, numpy.dtype(_DTYPES[plain]))


class TableForm:
    """What the columns of a table are made of.

    Parameters
    ----------
    names : sequence of str
    data_type : str
        'time', 'status' or 'native'.
    dtype : type, or sequence or mapping of types
        One for all, one for each name in their order, or by name.
    count : int

    Attributes
    ----------
    names : tuple of str
    forms : tuple of Form
        The different ones.
    exact : tuple of (numpy.dtype, tuple of int), or None
        The type and shape of arrays that can be written as they are; None if none can.

    Raises
    ------
    CaprotoTypeError, CaprotoValueError
        For a wrong argument.
    """

    def __init__(
        self, names: Sequence[str], data_type: object, dtype: object, count: object
    ) -> None:
        self.names = tuple(names)
        self._index: dict[str, int] | None = None
        self._check_different()
        if not isinstance(data_type, str) or data_type.lower() not in _FAMILIES:
            raise CaprotoValueError(
                f"data_type={data_type!r}: a table is read as 'time', 'status' or 'native'"
            )
        count = check_whole("count", count)
        if not 1 <= count < 1 << 32:
            raise CaprotoValueError(f"count must be between 1 and 2**32 - 1, not {count!r}")
        family = data_type.lower()
        wanted = _one_for_each(dtype, self.names)
        if not wanted:
            only = dtype if wanted is None else float
            self.forms: tuple[Form, ...] = (make_form(only, family, count),)
            self._numbers: NDArray[numpy.uint8] | None = None
        else:
            forms: dict[Form, int] = {}
            numbers = [
                forms.setdefault(make_form(one, family, count), len(forms)) for one in wanted
            ]
            self.forms = tuple(forms)
            self._numbers = numpy.array(numbers, numpy.uint8) if len(forms) > 1 else None
        self.count = count
        kind, element = self.forms[0].dtype, () if count == 1 else (count,)
        self.exact = None if self.mixed or kind.kind == "S" else (kind, (len(self), *element))

    def _check_different(self) -> None:
        # By their hashes first, because an index of very many names takes long and much memory.
        hashes = numpy.fromiter(map(hash, self.names), numpy.int64, len(self.names))
        hashes.sort()
        if (hashes[1:] == hashes[:-1]).any():
            for row, name in enumerate(self.names):
                if self.index[name] != row:
                    raise CaprotoValueError(f"{name!r} is twice among the names of the table")

    @property
    def index(self) -> dict[str, int]:
        """The row of each name; made when it is first asked for."""
        if self._index is None:
            self._index = {name: row for row, name in enumerate(self.names)}
        return self._index

    def __len__(self) -> int:
        return len(self.names)

    def of(self, row: int) -> Form:
        """Return the form of a row."""
        return self.forms[0] if self._numbers is None else self.forms[self._numbers[row]]

    def select(self, form: Form, rows: Rows) -> Rows:
        """Return those of *rows* that have this form."""
        if self._numbers is None:
            return rows
        chosen: Rows = rows[self._numbers[rows] == self.forms.index(form)]
        return chosen

    @property
    def mixed(self) -> bool:
        """Whether the rows have different types, so that the values are objects."""
        return self._numbers is not None


def _one_for_each(dtype: object, names: Sequence[str]) -> list[object] | None:
    """Return the type of each name; None if there is one for all."""
    if isinstance(dtype, Mapping):
        missing = [name for name in names if name not in dtype]
        if missing:
            raise CaprotoValueError(f"dtype has no type for {missing[0]!r}")
        return [dtype[name] for name in names]
    if isinstance(dtype, list | tuple):
        if len(dtype) != len(names):
            raise CaprotoValueError(
                f"{counted(len(names), 'name')}, but {counted(len(dtype), 'type')}"
            )
        return list(dtype)
    return None


class Columns:
    """The values, alarms and times of a table. Belongs to a lock of its owner.

    Parameters
    ----------
    form : TableForm

    Attributes
    ----------
    values, timestamps, severity, status : numpy.ndarray
        As in `TableSnapshot`.
    ok : numpy.ndarray of bool
        Whether there is a value.
    """

    def __init__(self, form: TableForm) -> None:
        size = len(form)
        self._form = form
        self._forms = {one.data_type: one for one in form.forms}
        self.values = empty_values(form)
        self.timestamps = numpy.full(size, "NaT", "M8[ns]")
        self.severity = numpy.zeros(size, numpy.uint16)
        self.status = numpy.zeros(size, numpy.uint16)
        self.ok = numpy.zeros(size, numpy.bool_)

    def store(self, rows: Rows, block: Block) -> None:
        """Put a run of replies or updates into these rows; of several for one, the last stays."""
        values, seconds, severity, status = decode(block, self._forms[block.range.data_type])
        place(self.values, rows, values)
        if seconds is not None:
            self.timestamps[rows] = seconds
        if severity is not None and status is not None:
            self.severity[rows] = severity
            self.status[rows] = status
        self.ok[rows] = True

    def store_one(self, row: int, message: DataMessage) -> None:
        """Put one reply or update into a row.

        Raises
        ------
        CaprotoError
            It cannot be used.
        """
        value, stamp, severity, status = decode_one(message, self._form.of(row))
        self.values[row] = value
        if stamp is not None:
            self.timestamps[row] = stamp
        self.severity[row], self.status[row] = severity, status
        self.ok[row] = True

    def copy(self) -> Columns:
        """Return a copy."""
        new = copy.copy(self)
        new.values, new.timestamps = self.values.copy(), self.timestamps.copy()
        new.severity, new.status = self.severity.copy(), self.status.copy()
        new.ok = self.ok.copy()
        return new

    def snapshot(
        self,
        connected: NDArray[numpy.bool_],
        errors: Mapping[str, CaprotoError] | Callable[[int], CaprotoError | None],
    ) -> TableSnapshot:
        """Make a snapshot that takes these arrays over; see there for *errors*."""
        return TableSnapshot(
            self._form.names,
            values=self.values,
            timestamps=self.timestamps,
            severity=self.severity,
            status=self.status,
            connected=connected,
            ok=self.ok,
            errors=errors,
        )


def empty_values(form: TableForm, size: int | None = None) -> NDArray[Any]:
    """Make a column of values that are missing: NaN, or else 0 or an empty text."""
    size = len(form) if size is None else size
    if form.mixed:
        column = numpy.empty(size, object)
        for row in range(size):
            column[row] = _missing(form.of(row))
        return column
    first, shape = form.forms[0], (size,) if form.count == 1 else (size, form.count)
    return numpy.full(shape, _fill(first), first.dtype)


def place(column: NDArray[Any], rows: Rows, values: NDArray[Any]) -> None:
    """Put values into these rows of a column."""
    if column.dtype == object:  # each may be an array
        for row, value in zip(rows.tolist(), values, strict=True):
            column[row] = value
    else:
        column[rows] = values


def equal_rows(first: NDArray[Any], second: NDArray[Any]) -> NDArray[numpy.bool_]:
    """Tell for each row whether the values of two columns are equal; NaN is equal to NaN."""
    if first.dtype == object:
        pairs = zip(map(numpy.asarray, first), map(numpy.asarray, second), strict=True)
        return numpy.array(
            [
                numpy.array_equal(one, other, equal_nan=one.dtype.kind == other.dtype.kind == "f")
                for one, other in pairs
            ],
            numpy.bool_,
        )
    equal: NDArray[numpy.bool_] = first == second
    if first.dtype.kind == "f":
        equal |= numpy.isnan(first) & numpy.isnan(second)
    if equal.ndim > 1:
        equal = numpy.logical_and.reduce(equal, axis=1)
    return equal


def _fill(form: Form) -> float | int | bytes:
    return b"" if form.dtype.kind == "S" else numpy.nan if form.dtype.kind == "f" else 0


def _missing(form: Form) -> Any:
    """Return a single value that is missing."""
    if form.count == 1:
        return form.dtype.type(_fill(form))
    return numpy.full(form.count, _fill(form), form.dtype)


#: Values, and time stamps, severity and status as far as the type has them.
Decoded = tuple[
    NDArray[Any],
    "NDArray[numpy.datetime64] | None",
    "NDArray[numpy.uint16] | None",
    "NDArray[numpy.uint16] | None",
]


def decode(block: Block, form: Form) -> Decoded:
    """Take a run of messages apart."""
    kind = record_type(block.fields[1], form.data_type, form.count)
    records = block.records.view(kind)
    names = kind.names or ()
    values: NDArray[Any] = records["value"]
    values = cut_texts(values) if form.dtype.kind == "S" else values.astype(form.dtype)
    stamps = severity = status = None
    if "seconds" in names:
        since = records["seconds"].astype(numpy.int64)
        since += EPICS_EPOCH
        since *= _BILLION
        since += records["nanoseconds"]
        stamps = since.view("M8[ns]")
    if "status" in names:
        severity = records["severity"].astype(numpy.uint16)
        status = records["status"].astype(numpy.uint16)
    return values, stamps, severity, status


def cut_texts(texts: NDArray[Any]) -> NDArray[Any]:
    """Copy texts, each up to its first zero byte."""
    own = numpy.array(texts, order="C")
    raw = own.view(numpy.uint8).reshape(*own.shape, own.dtype.itemsize)
    raw[numpy.logical_or.accumulate(raw == 0, axis=-1)] = 0
    return own


def decode_one(
    message: DataMessage, form: Form
) -> tuple[Any, numpy.datetime64 | None, int, int]:
    """Take one message apart: value, time stamp, severity and status.

    Raises
    ------
    CaprotoError
        It is not what the form wants.
    """
    values = numpy.asarray(message.native_data)
    if len(values) != form.count:
        raise CaprotoValueError(f"{counted(len(values), 'element')} came, not {form.count}")
    if values.dtype.kind == "S" or form.dtype.kind == "S":
        if values.dtype.kind != form.dtype.kind:
            raise CaprotoValueError(
                f"a value of {message.data_type.name} came, which the column cannot hold"
            )
    values = values.astype(form.dtype)
    metadata = message.metadata
    stamp = getattr(metadata, "stamp", None)
    severity, status = getattr(metadata, "severity", 0), getattr(metadata, "status", 0)
    return (
        values[0] if form.count == 1 else values,
        None if stamp is None else stamp.as_datetime64(),
        int(severity),
        int(status),
    )
