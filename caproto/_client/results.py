"""Results of reading or writing many PVs: a response or an error for each name."""
from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, ClassVar, Generic, TypeVar

from .. import _imports
from .._errors import CaprotoError, CaprotoNotImplementedError
from .._protocol.commands import ReadNotifyResponse, WriteNotifyResponse
from .._protocol.dbr import AlarmSeverity, AlarmStatus
from .._protocol.message import TypedMessage
from .._protocol.presentation import alarm_words, time_words
from .._protocol.responses import value_words
from .._protocol.timestamp import TimeStamp
from .._typing import NamedTuple
from .tables import html_table, shown_rows, terminal_width, text_table

if TYPE_CHECKING:
    import pandas

R = TypeVar("R", bound=TypedMessage)


class Row(NamedTuple):
    """What is known about one name, for tables; None for what is not."""

    name: str
    value: object = None
    units: str | None = None
    severity: AlarmSeverity | None = None
    status: AlarmStatus | None = None
    timestamp: TimeStamp | None = None
    error: CaprotoError | None = None


class Results(dict[str, R | CaprotoError], Generic[R]):
    """A dict of responses and errors by name, in the order in which they were asked for.

    Each value is the response, or the exception that the same call for this PV alone would have
    raised. It prints as a table that fits the terminal; of more than 60 rows the first 55 and the
    last 5 are shown.
    """

    #: Titles of the table that is printed.
    _titles: ClassVar[tuple[str, ...]]

    @property
    def ok(self) -> bool:
        """Whether all succeeded."""
        return not self.errors

    @property
    def errors(self) -> dict[str, CaprotoError]:
        """The exceptions of those that failed, by name."""
        return {name: one for name, one in self.items() if isinstance(one, CaprotoError)}

    def to_dict(self) -> dict[str, object]:
        """Make a dict of the values by name. Those that failed are left out; see `errors`."""
        return {row.name: row.value for row in self._rows() if row.error is None}

    def to_pandas(self) -> pandas.DataFrame:
        """Make a DataFrame with a row for each name, which is the index.

        Its columns are ``value units severity status timestamp error``: *timestamp* is UTC to the
        nanosecond, *severity*, *status* and *error* are text. What is unknown is None (NaT for the
        time stamp). The units are known of PVs whose `PV.metadata` or `PV.info` was asked for.

        Raises
        ------
        CaprotoNotImplementedError
            If pandas is not installed.
        """
        _imports.check_reentry("to_pandas")
        try:
            import pandas
        except ImportError:
            raise CaprotoNotImplementedError(
                "to_pandas() needs pandas: install it ('pip install pandas'), or use to_dict() or "
                "to_csv(), which do not need it"
            ) from None
        rows = [_cells(row) for row in self._rows()]
        columns = {
            title: pandas.Series([row[number] for row in rows], dtype=object)
            for number, title in enumerate(Row._fields)
        }
        stamps = [row.timestamp and row.timestamp.as_datetime64() for row in self._rows()]
        columns["timestamp"] = pandas.Series(stamps, dtype="datetime64[ns]").dt.tz_localize("UTC")
        return pandas.DataFrame(columns).set_index("name")

    def to_csv(self, target: str | os.PathLike[str] | IO[str]) -> None:
        """Write a table with the columns of `to_pandas` as CSV, with a line of titles.

        Parameters
        ----------
        target : path or text file
            A path is overwritten. A file is written from where it stands, and stays open; open it
            with ``newline=''``.

        Notes
        -----
        Time stamps are UTC in ISO 8601, to the nanosecond. An array is written as a list,
        ``[1, 2, 3]``. What is unknown stays empty.
        """
        if isinstance(target, str | os.PathLike):
            with open(target, "w", newline="", encoding="utf-8") as file:
                self.to_csv(file)
            return
        _imports.check_reentry("to_csv")
        import csv

        writer = csv.writer(target)
        writer.writerow(Row._fields)
        for row in map(_cells, self._rows()):
            writer.writerow([_plain(cell) for cell in row])

    def _rows(self) -> Iterator[Row]:
        """List what is known about each name."""
        raise NotImplementedError

    def _words(self, name: str, response: R) -> Sequence[str]:
        """Write the cells after the name, for people."""
        raise NotImplementedError

    def _table(self) -> Iterator[Sequence[str]]:
        first, left_out, last = shown_rows(len(self))
        for number, (name, one) in enumerate(self.items()):
            if number == len(first) and left_out:
                yield f"… {left_out} more …", ""
            if number not in first and number not in last:
                continue
            if isinstance(one, CaprotoError):
                # The first column has the name already.
                yield name, str(one).removeprefix(repr(name)).lstrip(": ")
            else:
                yield name, *self._words(name, one)

    def __str__(self) -> str:
        if not self:
            return f"{type(self).__name__}: no names"
        return text_table(self._titles, list(self._table()), terminal_width())

    __repr__ = __str__  # at the prompt

    def _repr_html_(self) -> str:
        return html_table("", self._titles, self._table())


class ReadResults(Results[ReadNotifyResponse]):
    """What :meth:`Context.read` returns: a dict of responses and errors by name.

    Examples
    --------
    >>> result = ctx.read('random_walk:x', 'random_walk:dt')  # doctest: +SKIP
    >>> result['random_walk:dt'].data                         # doctest: +SKIP
    array([3.])
    >>> result.to_dict()                                      # doctest: +SKIP
    {'random_walk:x': 0.5, 'random_walk:dt': 3.0}
    >>> result.to_csv('snapshot.csv')                         # doctest: +SKIP
    """

    _titles = ("name", "value", "alarm", "time")

    def _rows(self) -> Iterator[Row]:
        for name, one in self.items():
            if isinstance(one, CaprotoError):
                yield Row(name, error=one)
            else:
                yield _row(name, one)

    def _words(self, name: str, response: ReadNotifyResponse) -> Sequence[str]:
        row = _row(name, response)
        alarm = moment = ""
        if row.status is not None and row.severity is not None:
            alarm = alarm_words(row.status, row.severity)
        if row.timestamp is not None:
            moment = time_words(row.timestamp, TimeStamp.now())
        return value_words(response), alarm, moment


class WriteResults(Results[WriteNotifyResponse]):
    """What :meth:`Context.write` returns: a dict of confirmations and errors by name.

    In its tables the value is the one to be written.

    Parameters
    ----------
    results : mapping of str to WriteNotifyResponse or CaprotoError
    values : mapping of str to object
        What was to be written.
    """

    _titles = ("name", "value", "result")

    def __init__(
        self,
        results: Mapping[str, WriteNotifyResponse | CaprotoError],
        values: Mapping[str, object],
    ) -> None:
        super().__init__(results)
        self._values = dict(values)

    def _rows(self) -> Iterator[Row]:
        for name, one in self.items():
            error = one if isinstance(one, CaprotoError) else None
            yield Row(name, self._values[name], error=error)

    def _words(self, name: str, response: WriteNotifyResponse) -> Sequence[str]:
        return str(self._values[name]), "written"


def _row(name: str, response: ReadNotifyResponse) -> Row:
    """List what is known about a value."""
    metadata = response.metadata
    facts = response.facts.described(response.data_type, response.payload)
    return Row(
        name,
        response.value,
        facts.units or None,
        getattr(metadata, "severity", None),
        getattr(metadata, "status", None),
        getattr(metadata, "stamp", None),
    )


def _cells(row: Row) -> tuple[object, ...]:
    """Write all but value and time as text."""
    return tuple(
        cell if cell is None or title in ("value", "timestamp") else str(cell)
        for title, cell in zip(Row._fields, row, strict=True)
    )


def _plain(cell: object) -> object:
    """Make of *cell* what CSV can hold."""
    if cell is None:
        return ""
    return cell.tolist() if hasattr(cell, "tolist") else cell
