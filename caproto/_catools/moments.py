"""Time stamps in other zones and formats than those of the EPICS tools, and as ages."""
from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime, tzinfo

from .._protocol.timestamp import TimeStamp
from .extras import Extras
from .options import UsageError
from .times import UNDEFINED, local_time, microseconds_of, seconds_between

__all__ = ["check_time_format", "check_zone", "iso", "stamp_writer"]

_PLAIN_FORMAT = "%Y-%m-%d %H:%M:%S.%f"
#: Of a width in a format; glibc has them: ``%9d``. strftime writes nothing at all if the text would
#: be longer than 256 times the format, which widths of three digits never make it.
_MOST_DIGITS = 3
#: Ages are written in the first of these units of which they have two or more.
_AGES = ((86400, "d"), (3600, "h"), (60, "min"))


def check_zone(name: str) -> None:
    """Raise unless the system knows this time zone.

    Raises
    ------
    UsageError
    """
    _zone(name)


def check_time_format(form: str, option: str = "--time-format") -> None:
    """Raise unless `strftime` can write times in this format.

    Parameters
    ----------
    form : str
    option : str
        For the message.

    Raises
    ------
    UsageError
    """
    for width in re.findall(r"%(?:%|[-_0^#+]*([1-9]\d*))", form):
        if len(width) > _MOST_DIGITS:
            raise UsageError(
                f"{option}: {form!r}: widths have at most {_MOST_DIGITS} digits"
            )
    try:
        datetime(2000, 1, 1).strftime(form)
    except ValueError as error:  # bytes that are no UTF-8, for example
        raise UsageError(f"{option}: {form!r}: {error}") from None


def _zone(name: str) -> tzinfo | None:
    """Return a time zone; None for that of this host."""
    if name == "local":
        try:
            datetime.now().astimezone()
        except ValueError:
            raise UsageError(
                "the time zone of this host (TZ) is a day or more from UTC; use --time-zone"
            ) from None
        return None
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # no such file; not a name
        raise UsageError(
            f"--time-zone: {name!r} is unknown here; use a name such as Europe/Berlin or UTC"
        ) from None


def stamp_writer(extras: Extras, form: str = "") -> Callable[[TimeStamp], str]:
    """Return what writes time stamps as the extras say.

    Parameters
    ----------
    extras : Extras
    form : str, optional
        For `strftime`, instead of the format of the extras, or of ages.
    """
    if extras.age and not form:
        return _age
    form = form or extras.time_format
    if extras.zone == "local" and not form:
        return local_time
    zone = _zone(extras.zone)

    def write(stamp: TimeStamp) -> str:
        if stamp == UNDEFINED:
            return "<undefined>"
        time = moment(stamp, zone)
        return time.strftime(_with_posix_seconds(form or _PLAIN_FORMAT, time))

    return write


def _with_posix_seconds(form: str, time: datetime) -> str:
    """Replace ``%s``, for which `strftime` takes any time for one of this host's zone."""
    seconds = str(math.floor(time.timestamp()))
    # With a flag or a width, which the system's may have, too.
    return re.sub(
        r"%([-_0^#+]*\d*)(.)", lambda found: seconds if found[2] == "s" else found[0], form
    )


def moment(stamp: TimeStamp, zone: tzinfo | None) -> datetime:
    """Return a time stamp to the microsecond as a time in a zone; None: that of this host."""
    time = stamp.as_datetime().replace(microsecond=microseconds_of(stamp))
    return time.astimezone(zone)


def iso(stamp: TimeStamp, extras: Extras) -> str | None:
    """Write a time stamp in ISO 8601 with nanoseconds; None if it is undefined.

    In UTC with ``Z`` at its end, unless another zone was asked for.
    """
    if stamp == UNDEFINED:
        return None
    if extras.zone in ("local", "UTC"):
        return str(stamp)
    whole = moment(stamp, _zone(extras.zone)).replace(microsecond=0).isoformat()
    return f"{whole[:19]}.{stamp.nanoseconds:09d}{whole[19:]}"


def _age(stamp: TimeStamp) -> str:
    if stamp == UNDEFINED:
        return "<undefined>"
    seconds = seconds_between(TimeStamp.now(), stamp)
    amount = f"{abs(seconds):.3f} s"
    for size, unit in _AGES:
        if abs(seconds) >= 2 * size:
            amount = f"{abs(seconds) / size:.1f} {unit}"
            break
    return f"{amount} ago" if seconds >= 0 else f"in {amount}"
