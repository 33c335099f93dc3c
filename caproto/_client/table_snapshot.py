"""A snapshot of many PVs: their values, alarms and time stamps as columns of numpy."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from .._errors import CaprotoError, CaprotoKeyError, CaprotoValueError, DisconnectedError
from .._protocol.dbr import AlarmSeverity, AlarmStatus, ChannelType
from .._protocol.presentation import alarm_words, array_words, text_words, time_words
from .._protocol.text import decode_text
from .._protocol.timestamp import TimeStamp
from .tables import cut_line, html_table, shown_rows, terminal_width, text_table

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    #: An array with an element, or a row of elements, for each PV.
    Column: TypeAlias = NDArray[numpy.generic]

#: Where a PV without a value stands in the table that is printed: before the worst alarm.
_MISSING_RANK = 1 << 16


class TableSnapshot:
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
        different types. Missing: NaN where a float can stand, else 0 or an empty text.
    timestamps : numpy.ndarray of datetime64[ns], shape (n,)
        UTC, from the server. Missing: NaT.
    severity, status : numpy.ndarray of int, shape (n,)
        Numbers as in `caproto.AlarmSeverity` and `caproto.AlarmStatus`.
    connected : numpy.ndarray of bool, shape (n,)
        Whether the PV was connected.
    ok : numpy.ndarray of bool, shape (n,)
        Whether there is a value.
    errors : mapping of str to CaprotoError
        For names without a value: the exception that a read of this PV alone would have raised.

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

    __slots__ = (
        "names", "values", "timestamps", "severity", "status", "connected", "ok", "errors",
        "_index",
    )

    def __init__(
        self,
        names: tuple[str, ...],
        *,
        values: Column,
        timestamps: NDArray[numpy.datetime64],
        severity: Column,
        status: Column,
        connected: NDArray[numpy.bool_],
        ok: NDArray[numpy.bool_],
        errors: Mapping[str, CaprotoError],
    ) -> None:
        columns = (values, timestamps, severity, status, connected, ok)
        for column in columns:
            if len(column) != len(names):
                raise CaprotoValueError(
                    f"{len(names)} names need arrays of as many elements, not of {len(column)}"
                )
            column.flags.writeable = False
        self.names = names
        self.values, self.timestamps = values, timestamps
        self.severity, self.status = severity, status
        self.connected, self.ok = connected, ok
        self.errors = MappingProxyType(dict(errors))
        self._index: Mapping[str, int] | None = None

    @property
    def index(self) -> Mapping[str, int]:
        """The position of each name in the arrays."""
        if self._index is None:
            self._index = MappingProxyType({name: at for at, name in enumerate(self.names)})
        return self._index

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.index

    def __getitem__(self, name: str) -> object:
        """Return the value of one PV: a number or text of Python, or a read-only array.

        Raises
        ------
        CaprotoKeyError
            The snapshot does not have this name.
        CaprotoError
            There is no value; the exception is the one in `errors`.
        """
        try:
            at = self.index[name]
        except KeyError:
            raise CaprotoKeyError(f"the snapshot has no {name!r}") from None
        if not self.ok[at]:
            raise self._error(at).with_traceback(None)
        return plain_value(self.values[at])

    def to_dict(self) -> dict[str, object]:
        """Make a dict of the values by name. Those that are missing are left out; see `errors`."""
        if self.values.ndim == 1 and self.values.dtype.kind not in "OS":
            values: Iterable[object] = self.values.tolist()
        else:
            values = map(plain_value, self.values)
        triples = zip(self.names, values, self.ok.tolist(), strict=True)
        return {name: value for name, value, ok in triples if ok}

    def _error(self, at: int) -> CaprotoError:
        """Return the reason why there is no value at this position."""
        name = self.names[at]
        if name in self.errors:
            return self.errors[name]
        if self.connected[at]:
            return CaprotoValueError(f"{name!r} has had no value yet")
        return DisconnectedError(f"{name!r} is not connected")

    def __reduce__(self) -> tuple[object, ...]:
        columns = {
            name: getattr(self, name)
            for name in ("values", "timestamps", "severity", "status", "connected", "ok")
        }
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
        return f"{type(self).__name__} of {len(self)} PVs: {', '.join(facts) or 'no alarms'}"

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
            return name, str(self._error(at)).removeprefix(repr(name)).lstrip(": ")
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


def plain_value(value: object) -> object:
    """Return an element of `TableSnapshot.values` as a number or text of Python, or an array."""
    if getattr(value, "ndim", 0):
        return value
    plain = value.item() if hasattr(value, "item") else value
    return decode_text(plain) if isinstance(plain, bytes) else plain


def value_words(value: object) -> str:
    """Write an element of `TableSnapshot.values` for people."""
    import numpy

    if isinstance(value, numpy.ndarray) and value.ndim:
        native = ChannelType.FLOAT if value.dtype == numpy.float32 else ChannelType.DOUBLE
        return array_words(len(value), native, lambda start, stop: value[start:stop].tolist())
    if isinstance(value, numpy.float32):
        return str(value)  # fewer digits than as a float of Python
    plain = plain_value(value)
    return text_words(plain) if isinstance(plain, str) else str(plain)


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
    """Make a snapshot of what `TableSnapshot.__reduce__` tells."""
    return TableSnapshot(names, **columns, errors=errors)  # type: ignore[arg-type]
