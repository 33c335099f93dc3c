"""The values that users write to a table, converted to the types of its columns.

Importing this module imports numpy.
"""
from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, MappingView, Set
from reprlib import repr as short_repr
from typing import Any

import numpy
from numpy.typing import NDArray

from .._errors import CaprotoError, CaprotoKeyError, CaprotoTypeError, CaprotoValueError
from .._numbers import counted
from .._protocol.constants import MAX_STRING_SIZE
from .._protocol.text import decode_text, encode_text
from .columns import Form, Rows, TableForm, empty_values, place
from .table_snapshot import TableSnapshot

__all__ = ["check_values", "restored_values"]


def check_values(
    values: object, form: TableForm, rows: Rows
) -> list[tuple[Form, Rows, NDArray[Any]]]:
    """Return the values to be written to *rows*, in each form, as arrays of its type.

    Parameters
    ----------
    values : array, sequence or scalar
        One for each row of the table, or one for all.

    Raises
    ------
    CaprotoTypeError, CaprotoValueError
        They have another shape, or cannot be converted without loss.
    """
    if type(values) is numpy.ndarray:
        if (values.dtype, values.shape) == form.exact and len(rows) == len(values):
            return [(form.forms[0], rows, values.copy())]  # 10 us are a percent of a write
    elif _is_masked(values):
        raise CaprotoValueError(
            "values has masked elements; call its filled() to choose what to write for them"
        )
    elif isinstance(values, Mapping | Set | MappingView | Iterator | TableSnapshot):
        hint = ": pass its values, or call restore()" if isinstance(values, TableSnapshot) else ""
        raise CaprotoTypeError(
            "values must be an array, a list or one value for all, not "
            f"{type(values).__name__}{hint}"
        )
    else:
        values = _in_order(values, form)
    return list(_by_form(values, form, rows))


def restored_values(
    snapshot: TableSnapshot, form: TableForm
) -> tuple[NDArray[Any], NDArray[numpy.bool_]]:
    """Return the values of a snapshot as a column of a table, and the rows that have one.

    Raises
    ------
    CaprotoKeyError
        The table does not have one of the names.
    CaprotoValueError
        A value cannot be one of this table.
    """
    unknown = [name for name in snapshot.names if name not in form.index]
    if unknown:
        raise CaprotoKeyError(f"the table has no {unknown[0]!r}, which is in the snapshot")
    given, size = snapshot.values, len(form)
    count = 1 if given.ndim == 1 else given.shape[1]
    if count != form.count and given.dtype != object:
        raise CaprotoValueError(
            f"the values of the snapshot cannot be those of this table: of each PV, they have "
            f"{counted(count, 'element')}, and the table {form.count}"
        )
    rows = numpy.array([form.index[name] for name in snapshot.names], numpy.intp)
    values, mask = empty_values(form), numpy.zeros(size, numpy.bool_)
    mask[rows] = snapshot.ok
    spread = numpy.zeros((size, *given.shape[1:]), given.dtype)
    spread[rows] = given
    wanted = numpy.flatnonzero(mask)
    try:
        for _, chosen, converted in check_values(spread, form, wanted):
            place(values, chosen, converted)
    except CaprotoError as error:
        raise CaprotoValueError(
            "the values of the snapshot cannot be those of this table: "
            f"{_first_wrong(spread, form, wanted) or error}"
        ) from None
    return values, mask


def _first_wrong(values: NDArray[Any], form: TableForm, rows: Rows) -> str:
    """Name the first row whose value cannot be written, and tell why; empty if all can.

    It is found by halving, because each check may look at all values.
    """

    def problem(part: Rows) -> str:
        try:
            check_values(values, form, part)
        except CaprotoError as error:
            return str(error)
        return ""

    numbers = range(1, len(rows) + 1)
    before = bisect_left(numbers, True, key=lambda number: bool(problem(rows[:number])))
    if before == len(rows):
        return ""
    return f"{form.names[rows[before]]!r}: {problem(rows[before : before + 1])}"


def _by_form(
    values: object, form: TableForm, rows: Rows
) -> Iterable[tuple[Form, Rows, NDArray[Any]]]:
    element, size = () if form.count == 1 else (form.count,), len(form)
    shared = not form.mixed or _is_for_all(values, form)
    for one in form.forms:
        chosen = form.select(one, rows)
        if not len(chosen):
            continue
        if shared:
            array, every = _array(values), (size, *element)
            shapes = [(), element, *([every] if not form.mixed else [])]
        else:
            array, every = _array(_chosen(values, form, chosen)), (len(chosen), *element)
            shapes = [every]
        if array.shape not in shapes:
            raise _wrong_shape(array.shape if shared else (size, *array.shape[1:]), form)
        if array.shape == every and not form.mixed and len(chosen) < size:
            array = array[chosen]  # the others may be anything
        array, shape = _converted(array, one), (len(chosen), *element)
        yield one, chosen, array if array.shape == shape else numpy.broadcast_to(array, shape)


def _is_masked(values: object) -> bool:
    """Whether an array of numpy, or one in a list, has masked elements."""
    if isinstance(values, list | tuple):
        return any(isinstance(one, numpy.ma.MaskedArray) and _is_masked(one) for one in values)
    return bool(numpy.ma.is_masked(values))


def _in_order(values: object, form: TableForm) -> object:
    """Return what pandas has by name in the order of the table; other values as they are.

    Raises
    ------
    CaprotoValueError
        The names are not those of the table.
    """
    index = getattr(values, "index", None)
    if not hasattr(values, "reindex") or index is None or callable(index):
        return values
    labels = tuple(index)
    if labels == form.names or not any(
        isinstance(label, str) and label in form.index for label in labels
    ):
        return values
    if sorted(map(str, labels)) != sorted(form.names):
        raise CaprotoValueError(
            "values has names of PVs as its index, but not each name of the table once; call its "
            "reindex() with them"
        )
    return values.reindex(list(form.names))


def _is_for_all(values: object, form: TableForm) -> bool:
    """Whether this is one value for all PVs: a scalar, or one array where they are arrays."""
    if not isinstance(values, list | tuple):  # these may have values of several types
        values = _array(values)
        if not values.ndim:
            return True
    elements = list(values)
    return (
        form.count > 1 and len(elements) == form.count and not any(map(numpy.ndim, elements))
    )


def _chosen(values: object, form: TableForm, rows: Rows) -> object:
    """Return the values of some rows, all of one form of several."""
    if not isinstance(values, list | tuple):
        values = _array(values)
    if len(values) != len(form):
        raise _wrong_shape((len(values),), form)
    return [values[row] for row in rows.tolist()]


def _wrong_shape(shape: tuple[int, ...], form: TableForm) -> CaprotoValueError:
    wanted = (len(form),) if form.count == 1 else (len(form), form.count)
    return CaprotoValueError(
        f"values has the shape {shape}; the table needs {wanted}, or one value for all"
    )


def _array(values: object) -> NDArray[Any]:
    """Make an array of what the user gave.

    Raises
    ------
    CaprotoValueError
        It is nested unevenly.
    """
    try:
        return numpy.asarray(values)
    except (TypeError, ValueError) as error:
        raise CaprotoValueError(f"values cannot be made an array: {error}") from None


def _converted(array: NDArray[Any], form: Form) -> NDArray[Any]:
    """Convert to the type of a column.

    Raises
    ------
    CaprotoTypeError, CaprotoValueError
    """
    if form.dtype.kind == "S":
        return _encoded(array)
    if array.dtype == form.dtype:
        return numpy.array(array)
    array = _numbers(array, form)
    if array.dtype.kind == "f":  # the limits of integers are no numbers of shorter types
        array = array.astype(numpy.promote_types(array.dtype, numpy.float64))
    if form.dtype.kind == "f":
        fits = ~(numpy.isfinite(array) & (abs(array) > numpy.finfo(form.dtype).max))
    else:
        if array.dtype.kind == "f":
            whole = numpy.isfinite(array) & (numpy.floor(array) == array)
            if not whole.all():
                raise CaprotoValueError(
                    f"values are not whole numbers, which {form.dtype} needs: {array[~whole][0]!s}"
                )
        limits = numpy.iinfo(form.dtype)
        fits = (array >= limits.min) & (array <= limits.max)
    if not fits.all():
        raise CaprotoValueError(
            f"values are out of the range of {form.dtype}: {array[~fits][0]!s}"
        )
    return array.astype(form.dtype)


def _numbers(array: NDArray[Any], form: Form) -> NDArray[Any]:
    """Make an array of numbers.

    Raises
    ------
    CaprotoTypeError, CaprotoValueError
    """
    try:
        if array.dtype.kind in "OSU":
            # By Python, because numpy would take None for NaN.
            array = numpy.array([float(one) for one in array.ravel().tolist()]).reshape(array.shape)
    except OverflowError:
        raise CaprotoValueError(f"values are out of the range of {form.dtype}") from None
    except (TypeError, ValueError) as error:
        hint = "; a table with dtype=str writes texts" if isinstance(error, ValueError) else ""
        raise CaprotoTypeError(
            f"values cannot be written as {form.dtype}: {error}{hint}"
        ) from None
    if array.dtype.kind not in "biuf":
        raise CaprotoTypeError(
            f"values cannot be written as {form.dtype}: they are of type {array.dtype}"
        )
    return array


def _encoded(array: NDArray[Any]) -> NDArray[Any]:
    """Convert texts, and numbers as texts, to what is sent."""
    given = array.ravel().tolist()
    kinds = str | bytes | int | float | numpy.number
    wrong = [one for one in given if not isinstance(one, kinds) or isinstance(one, bool)]
    if wrong:
        raise CaprotoTypeError(f"values cannot be written as texts: {wrong[0]!r} is none")
    encoded = [
        one.rstrip(b"\0") if isinstance(one, bytes) else encode_text(str(one)) for one in given
    ]
    long = [one for one in encoded if len(one) >= MAX_STRING_SIZE]
    if long:
        raise CaprotoValueError(
            f"a text of more than {MAX_STRING_SIZE - 1} bytes cannot be written: "
            f"{short_repr(decode_text(long[0]))}"
        )
    if any(b"\0" in one for one in encoded):
        raise CaprotoValueError("a text contains a zero byte, where receivers would cut it")
    return numpy.array(encoded, f"S{MAX_STRING_SIZE}").reshape(array.shape)
