"""Time stamps: exact to the nanosecond, on the wire and in Python.

Channel Access counts seconds since 1990-01-01 UTC and nanoseconds, 32 bits each, without leap
seconds. A float cannot hold that, so the two numbers are what a :class:`TimeStamp` is; floats and
datetimes are conversions. The only place below the sockets that reads a clock is
:meth:`TimeStamp.now`, on behalf of its caller.
"""
from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from time import time_ns

from .._errors import CaprotoTypeError, CaprotoValueError
from .._numbers import is_real, whole
from .._typing import TYPE_CHECKING, NamedTuple
from .constants import EPICS_EPOCH

if TYPE_CHECKING:
    from datetime import datetime
    from types import ModuleType
    from typing import Any, TypeAlias

    import numpy

__all__ = ["Moment", "TimeStamp"]

#: A time as users may give it; see `TimeStamp.from_flexible_value`.
Moment: TypeAlias = "float | tuple[int, int] | datetime | str | numpy.datetime64"

_BILLION = 1_000_000_000
# Not compiled here: most programs need it never, and start sooner.
_ISO = r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)"


class TimeStamp(NamedTuple):
    """A moment as it travels: exact to the nanosecond, comparable, never changed.

    The range of the wire is 1990 to 2126. ``TimeStamp(0, 0)`` comes from a record that was never
    processed.

    Parameters
    ----------
    seconds : int
        Whole seconds since 1990-01-01 00:00 UTC.
    nanoseconds : int
        The rest, 0 to 999,999,999.
    """

    seconds: int
    nanoseconds: int

    @classmethod
    def now(cls) -> TimeStamp:
        """Return the present moment, by the system's clock."""
        return cls.from_posix_nanoseconds(time_ns())

    @classmethod
    def from_posix_nanoseconds(cls, nanoseconds: int) -> TimeStamp:
        """Make the moment *nanoseconds* after 1970-01-01 00:00 UTC.

        Raises
        ------
        CaprotoValueError
            The moment is outside the range of the wire.
        """
        seconds, rest = divmod(nanoseconds, _BILLION)
        return cls(seconds - EPICS_EPOCH, rest)._checked()

    @classmethod
    def from_unix_timestamp(cls, timestamp: float) -> TimeStamp:
        """Make the moment *timestamp* seconds after 1970-01-01 00:00 UTC, a POSIX time.

        Raises
        ------
        CaprotoValueError
            The moment is outside the range of the wire.
        """
        return _from_number(timestamp)

    @classmethod
    def from_flexible_value(cls, value: Moment) -> TimeStamp:
        """Make a time stamp from any form of a moment.

        Parameters
        ----------
        value : float, int, tuple of (int, int), datetime, numpy.datetime64 or str
            A number is POSIX time in seconds. A tuple holds the two fields of a time stamp. A
            datetime without time zone is local time. Text is what ``str(stamp)`` gives:
            ``"2026-11-22T20:01:02.123456789Z"``.

        Raises
        ------
        CaprotoTypeError
            None of the above.
        CaprotoValueError
            The moment is outside the range of the wire, or the text is not a time.
        """
        if isinstance(value, cls):
            return value
        for kind, convert in _SOURCES:
            if isinstance(value, kind):
                return convert(value)
        if is_real(value):
            return _from_number(value if isinstance(value, int) else float(value))
        if type(value).__name__ == "datetime64":  # asked by name, not to load numpy
            return _from_datetime64(value)
        if isinstance(value, _calendar()[0].datetime):
            return _from_datetime(value)
        raise CaprotoTypeError(
            f"{value!r} of type {type(value).__name__} is not a time: give POSIX seconds, "
            "(seconds since 1990, nanoseconds), a datetime or ISO 8601 text"
        )

    def _checked(self) -> TimeStamp:
        """Return itself if it can travel."""
        if not (0 <= self.seconds < 1 << 32 and 0 <= self.nanoseconds < _BILLION):
            raise CaprotoValueError(
                f"{self!r} is outside what a time stamp can hold: 0 to 2**32 - 1 seconds since "
                "1990-01-01 UTC, 0 to 999999999 nanoseconds"
            )
        return self

    @property
    def timestamp(self) -> float:
        """POSIX time in seconds; a float resolves about 0.2 microseconds here."""
        return (self.seconds + EPICS_EPOCH) + self.nanoseconds / _BILLION

    @property
    def secondsSinceEpoch(self) -> int:
        """The same as ``seconds``, under the name of the C library."""
        return self.seconds

    @property
    def nanoSeconds(self) -> int:
        """The same as ``nanoseconds``, under the name of the C library."""
        return self.nanoseconds

    def to_dict(self) -> dict[str, float]:
        """Return the POSIX time in a dictionary that is ready for JSON."""
        return {"timestamp": self.timestamp}

    def as_datetime(self) -> datetime:
        """Convert to UTC, cut to the microsecond that a datetime can hold."""
        calendar, epoch = _calendar()
        moment: datetime = epoch + calendar.timedelta(
            seconds=self.seconds, microseconds=self.nanoseconds // 1000
        )
        return moment

    def as_datetime64(self) -> numpy.datetime64:
        """Convert to ``numpy.datetime64`` in nanoseconds: exact, and UTC as always in numpy."""
        import numpy

        total = (self.seconds + EPICS_EPOCH) * _BILLION + self.nanoseconds
        return numpy.datetime64(total, "ns")

    def __str__(self) -> str:
        whole = self.as_datetime().replace(microsecond=0, tzinfo=None)
        return f"{whole.isoformat()}.{self.nanoseconds % _BILLION:09d}Z"


@functools.cache
def _calendar() -> tuple[ModuleType, datetime]:
    """Return the module `datetime` and where Channel Access begins to count.

    Imported at the first use, because most scripts that read a value need neither.
    """
    import datetime

    return datetime, datetime.datetime(1990, 1, 1, tzinfo=datetime.timezone.utc)


def _from_datetime(value: datetime) -> TimeStamp:
    """Count the microseconds as whole numbers: a float would lose some."""
    calendar, epoch = _calendar()
    since = value.astimezone(calendar.timezone.utc) - epoch
    seconds = since.days * 86400 + since.seconds
    return TimeStamp(seconds, since.microseconds * 1000)._checked()


def _from_datetime64(value: Any) -> TimeStamp:
    """Count nanoseconds, whatever the unit is; ``NaT`` is not a moment."""
    try:
        nanoseconds, seconds = (
            int(value.astype(f"datetime64[{unit}]").astype("int64")) for unit in ("ns", "s")
        )
    except OverflowError:  # of numpy's nanoseconds; older versions do not tell
        nanoseconds = seconds = -1
    if seconds < 0 or nanoseconds // _BILLION != seconds:  # NaT is negative
        raise CaprotoValueError(f"{value!r} is not a moment that a time stamp can hold")
    return TimeStamp.from_posix_nanoseconds(nanoseconds)


def _from_number(value: float) -> TimeStamp:
    """Round POSIX seconds to the nearest nanosecond."""
    if not math.isfinite(value):
        raise CaprotoValueError(f"{value!r} is not a moment")
    seconds = int(value // 1)
    return TimeStamp.from_posix_nanoseconds(
        seconds * _BILLION + round((value - seconds) * _BILLION)
    )


def _from_pair(value: tuple[int, int]) -> TimeStamp:
    """Take a tuple as the two fields."""
    try:
        seconds, nanoseconds = map(whole, value)
    except (TypeError, ValueError):
        raise CaprotoTypeError(
            f"{value!r} is not a time: a tuple holds whole seconds since 1990 and nanoseconds"
        ) from None
    return TimeStamp(seconds, nanoseconds)._checked()


def _from_text(value: str) -> TimeStamp:
    """Read ISO 8601 with up to nine decimals and a time zone."""
    match = re.fullmatch(_ISO, value)
    if match is None:
        raise CaprotoValueError(f"{value!r} is not a time like '2026-11-22T20:01:02.123456789Z'")
    whole, fraction, zone = match.groups()
    try:
        moment = _calendar()[0].datetime.fromisoformat(
            whole + ("+00:00" if zone == "Z" else zone)
        )
    except ValueError as error:
        raise CaprotoValueError(f"{value!r} is not a time: {error}") from None
    return _from_datetime(moment)._replace(nanoseconds=int((fraction or "").ljust(9, "0")))


_SOURCES: tuple[tuple[type, Callable[[Any], TimeStamp]], ...] = (
    (tuple, _from_pair),
    (str, _from_text),
)
