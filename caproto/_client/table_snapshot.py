"""A snapshot of many PVs: what can be done with its columns, and how it prints."""
from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from .._errors import CaprotoError, CaprotoTypeError, CaprotoValueError
from .._numbers import counted
from .._protocol.dbr import AlarmSeverity, AlarmStatus
from .._protocol.presentation import alarm_words, time_words
from .._protocol.timestamp import TimeStamp
from .arguments import check_names, listed
from .snapshot_columns import COLUMNS, SnapshotColumns, value_words
from .snapshot_difference import SnapshotDifference
from .tables import cut_line, html_table, shown_rows, terminal_width, text_table

if TYPE_CHECKING:
    import numpy
    import pandas
    import pyarrow
    from numpy.typing import NDArray

    from .snapshot_columns import Column

#: Where a PV without a value stands in the table that is printed: before the worst alarm.
_MISSING_RANK = 1 << 16


class TableSnapshot(SnapshotColumns):
    """The values of many PVs at one time, with an array for each kind of fact. It never changes.

    Element *i* of each array belongs to ``names[i]``. A snapshot prints as a table that fits the
    terminal: PVs without a value first, then those in alarm, the worst before the others; of more
    than 60 rows the first 55 and the last 5 are shown. ``snap[name]`` is one value,
    ``name in snap`` and ``len(snap)`` do what they say, and iterating gives the names.

    Parameters
    ----------
    names : tuple of str
    values : numpy.ndarray, shape (n,) or (n, count)
        (n,) for scalars; (n, count) for arrays of one length; an array of objects if the PVs have
        different types. Missing: NaN where a float can stand, else 0 or an empty text. In that of a
        monitor, PVs that were lost have their last value; look at *ok*.
    timestamps : numpy.ndarray of datetime64[ns], shape (n,)
        UTC, from the server. Missing: NaT, or that of the last value.
    severity, status : numpy.ndarray of int, shape (n,)
        Numbers as in `caproto.AlarmSeverity` and `caproto.AlarmStatus`.
    connected : numpy.ndarray of bool, shape (n,)
        Whether the PV was connected.
    ok : numpy.ndarray of bool, shape (n,)
        Whether there is a value.
    errors : mapping of str to CaprotoError, or callable
        For names without a value: the exception that a read of this PV alone would have raised.
        Of a monitor: the reason why the server sends no updates, or that the PV is not connected,
        or has had no value yet; this is also there for names that are not in what is given. A
        function is called with a position and returns the exception, or None.

    Raises
    ------
    CaprotoValueError
        The arrays have different lengths.

    Notes
    -----
    The arrays belong to the snapshot from now on and become read-only. Copy them to change them.

    Examples
    --------
    >>> snap = table.read()                     # doctest: +SKIP
    >>> snap.values.mean()                      # doctest: +SKIP
    0.25
    >>> snap['orbit:x1']                        # doctest: +SKIP
    0.5
    >>> in_alarm = snap.severity > 0            # doctest: +SKIP
    """

    __slots__ = ()

    def select(self, names: Iterable[str]) -> TableSnapshot:
        """Make a snapshot of some of the PVs, in the order of *names*.

        Raises
        ------
        CaprotoKeyError
            This one does not have one of the names.
        CaprotoTypeError
            *names* is a text, not iterable, or has something else than names, a mask for example.
        CaprotoValueError
            A name is there twice.
        """
        names = tuple(check_names(listed("names", names)))
        if len({*names}) != len(names):
            name = next(name for name, times in Counter(names).items() if times > 1)
            raise CaprotoValueError(f"{name!r} is twice among the names")
        positions = [self.position(name) for name in names]
        columns = {column: getattr(self, column)[positions] for column in COLUMNS}
        given = self.errors
        errors = {name: given[name] for name in names if name in given}
        return _again(names, columns, errors)

    def diff(
        self, other: TableSnapshot, *, atol: float = 0.0, rtol: float = 0.0
    ) -> SnapshotDifference:
        """Compare with a later snapshot, value by value.

        Parameters
        ----------
        other : TableSnapshot
            What came after. It may have other PVs, in another order.
        atol, rtol : float
            Two numbers differ if ``abs(after - before) > atol + rtol * abs(before)``.

        Returns
        -------
        SnapshotDifference
            The PVs with different values, and those with a value in only one of the two. It is
            falsy if there are none.

        Raises
        ------
        CaprotoTypeError, CaprotoValueError
            *other* is not a snapshot, or a tolerance is not a number of 0 or more.
        """
        if not isinstance(other, SnapshotColumns):
            raise CaprotoTypeError(f"other must be a TableSnapshot, not {other!r}")
        return SnapshotDifference(self, other, atol=atol, rtol=rtol)

    def to_pandas(self) -> pandas.DataFrame:
        """Make a DataFrame with a row for each name, which is the index.

        Its columns are ``value severity status timestamp connected error``. *severity* and
        *status* are categories with the names of `caproto.AlarmSeverity` and
        `caproto.AlarmStatus`, the severities in order of badness; *timestamp* is UTC; *error* is
        text. What is missing is NaN, NA, NaT or None.

        Raises
        ------
        CaprotoNotImplementedError
            If pandas is not installed.
        """
        from .snapshot_frames import to_pandas

        return to_pandas(self)

    def to_arrow(self) -> pyarrow.Table:
        """Make a table of Arrow: ``name value severity status timestamp connected error``.

        It also has *error_type*, the class of each error. What is missing is null. Values of
        different types become JSON text.

        Raises
        ------
        CaprotoNotImplementedError
            If pyarrow is not installed.
        """
        from .snapshot_frames import to_arrow

        return to_arrow(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the snapshot to a file, which `load` reads.

        Parameters
        ----------
        path : path
            Its extension says how: ``.npz`` (numpy) or ``.parquet`` (needs pyarrow; its columns
            are those of `to_arrow`). A file that exists is replaced as a whole.

        Raises
        ------
        CaprotoValueError, CaprotoTypeError
            The extension is another one, or an object among the values is neither number, text
            nor array. Nothing was written.
        CaprotoNotImplementedError
            If pyarrow is needed and not installed. Nothing was written.
        OSError
            The file cannot be written.
        """
        from .snapshot_files import save

        save(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> TableSnapshot:
        """Read a snapshot that `save` has written. Nothing in the file is executed.

        Of errors, a file holds class and message.

        Raises
        ------
        CaprotoValueError
            The extension is neither ``.npz`` nor ``.parquet``, or the file is damaged, or not a
            snapshot.
        CaprotoNotImplementedError
            If pyarrow is needed and not installed.
        OSError
            The file cannot be read.
        """
        from .snapshot_files import load

        return _again(*load(path))

    def __reduce__(self) -> tuple[object, ...]:
        columns = {name: getattr(self, name) for name in COLUMNS}
        return _again, (self.names, columns, dict(self.errors))

    # ---- for people

    def _ranks(self) -> NDArray[numpy.int64]:
        """Return how urgent each PV is: the number of its severity, more without a value."""
        import numpy

        return numpy.where(self.ok, self.severity.astype(numpy.int64), _MISSING_RANK)

    def _title(self) -> str:
        """Tell how many PVs there are, without a value and in alarm."""
        import numpy

        ranks, counts = numpy.unique(self._ranks(), return_counts=True)
        facts = [
            f"{count} missing" if rank == _MISSING_RANK
            else f"{count} {str(AlarmSeverity(int(rank))).removesuffix('_ALARM')}"
            for rank, count in zip(ranks[::-1], counts[::-1], strict=True)
            if rank
        ]
        title = f"{type(self).__name__} of {counted(len(self), 'PV')}"
        return f"{title}: {', '.join(facts) or 'no alarms'}"

    def _rows(self) -> Iterator[Sequence[str]]:
        import numpy

        order = numpy.argsort(-self._ranks(), kind="stable")
        first, left_out, last = shown_rows(len(self))
        now = TimeStamp.now()
        for number in first:
            yield self._row(int(order[number]), now)
        if left_out:
            yield f"… {left_out} more …", ""
        for number in last:
            yield self._row(int(order[number]), now)

    def _row(self, at: int, now: TimeStamp) -> Sequence[str]:
        name = self.names[at]
        if not self.ok[at]:
            # The first column has the name already.
            return name, str(self.error_at(at)).removeprefix(repr(name)).lstrip(": ")
        status, severity = int(self.status[at]), int(self.severity[at])
        alarm = alarm_words(AlarmStatus(status), AlarmSeverity(severity))
        return name, value_words(self.values[at]), alarm, _moment(self.timestamps[at], now)

    _HEADER = ("name", "value", "alarm", "time")

    def __str__(self) -> str:
        if not self.names:
            return f"{type(self).__name__}: no names"
        width = terminal_width()
        table = text_table(self._HEADER, list(self._rows()), width)
        return f"{cut_line(self._title(), width)}\n{table}"

    __repr__ = __str__  # at the prompt

    def _repr_html_(self) -> str:
        return html_table(self._title(), self._HEADER, self._rows())


def _moment(stamp: numpy.datetime64, now: TimeStamp) -> str:
    """Write a time stamp; nothing for NaT."""
    import numpy

    if numpy.isnat(stamp):
        return ""
    try:
        return time_words(TimeStamp.from_posix_nanoseconds(int(stamp.astype("int64"))), now)
    except CaprotoValueError:  # not one that a server can have sent
        return str(stamp)


def _again(
    names: tuple[str, ...], columns: Mapping[str, Column], errors: Mapping[str, CaprotoError]
) -> TableSnapshot:
    """Make a snapshot of what was in a pickle or a file."""
    return TableSnapshot(names, **columns, errors=errors)  # type: ignore[arg-type]
