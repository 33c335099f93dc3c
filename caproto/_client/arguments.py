"""Check the arguments that users pass; a wrong one raises at the call, and the error names it."""
from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Final, TypeVar

from .._addresses import Address
from .._environment import ClientConfiguration
from .._errors import CaprotoTypeError, CaprotoValueError
from .._numbers import counted, is_real, whole
from .._protocol.commands_search import pack_ip
from .._protocol.constants import MAX_PRIORITY
from .._protocol.dbr import ChannelType, SubscriptionType, field_types
from .._protocol.message import name_payload
from .._protocol.type_names import resolve_data_type

#: How users name a type: a member, its number or name, or the name of a family such as 'time'.
DataType = ChannelType | int | str


class _Default(enum.Enum):
    """Stands for "the default timeout" in signatures."""

    DEFAULT = "the default timeout"

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = _Default.DEFAULT
Timeout = float | None | _Default

#: How users name the kinds of event: members, their bits, or names such as 'value|alarm'.
Mask = SubscriptionType | int | str
#: The kinds of event by name.
_EVENTS = {
    name.removeprefix("DBE_"): int(member)
    for name, member in SubscriptionType.__members__.items()
}
_DEFAULT_MASK = SubscriptionType.DBE_VALUE | SubscriptionType.DBE_ALARM
T = TypeVar("T")

_ALL_EVENTS = 0xFFFF  #: the mask has 16 bits; servers may define more bits than we do
#: Numbers of seconds from 0 to this one need no further look.
_LONG = 1e9
#: Names with this many characters, and shorter ones, fit into a search datagram.
_SURELY_SHORT = 60


def check_timeout(timeout: object, *, lasting: bool = False, name: str = "timeout") -> float | None:
    """Return *timeout* as a number of seconds, or None for no end.

    A negative one, as in ``timeout=deadline - time.time()``, is a deadline that has passed; it is
    refused for *lasting* ones, the defaults of many calls. Errors call the argument by its *name*.
    """
    if timeout is None:
        return None
    kind = type(timeout)
    if (kind is float or kind is int) and 0 <= timeout < _LONG:  # type: ignore[operator]  # see `kind`
        return timeout  # type: ignore[return-value]
    if not is_real(timeout):
        raise CaprotoTypeError(f"{name} must be a number of seconds or None, not {timeout!r}")
    try:
        number = float(timeout)  # numpy's numbers, for example
    except OverflowError:
        raise CaprotoValueError(f"{name} is too large; None waits without end") from None
    seconds = int(number) if number.is_integer() and kind is not float else number
    if seconds != seconds:
        raise CaprotoValueError(f"{name} must be a number of seconds or None, not NaN")
    if lasting and seconds < 0:
        raise CaprotoValueError(f"a default timeout must not be negative, got {timeout!r}")
    return seconds


def check_default_timeout(timeout: Timeout) -> Timeout:
    """Return *timeout* as `check_timeout` does for lasting ones, or `DEFAULT`."""
    return timeout if isinstance(timeout, _Default) else check_timeout(timeout, lasting=True)


def waited(preposition: str, timeout: float | None) -> str:
    """Tell how long a call waited that had *timeout* seconds: ``within 2.0 s``."""
    if timeout is not None and timeout < 0:
        return f"{preposition} 0 s (timeout={timeout:.3g}: the time was over before the call)"
    return f"{preposition} {timeout} s"


def check_seconds(name: str, seconds: object) -> None:
    """Raise unless *seconds*, the argument called *name*, is a time longer than nothing."""
    if not is_real(seconds):
        raise CaprotoTypeError(f"{name} must be a number of seconds, not {seconds!r}")
    try:
        number = float(seconds)
    except OverflowError:
        raise CaprotoValueError(f"{name} is too large, a number of seconds") from None
    if not number > 0:
        raise CaprotoValueError(f"{name} must be more than 0 seconds, not {seconds!r}")


def check_configuration(configuration: object) -> None:
    """Raise CaprotoTypeError unless *configuration* is a ClientConfiguration or None."""
    if configuration is not None and not isinstance(configuration, ClientConfiguration):
        raise CaprotoTypeError(
            f"configuration must be a ClientConfiguration, not {configuration!r}"
        )


def check_whole(name: str, value: object) -> int:
    """Return *value*, the argument called *name*, as an int; raise unless it is a whole number."""
    try:
        return whole(value)
    except TypeError:
        raise CaprotoTypeError(f"{name} must be a whole number, not {value!r}") from None


def check_count(data_count: object) -> None:
    """Raise unless *data_count* is a possible number of elements or None."""
    if data_count is None:
        return
    try:
        count = whole(data_count)
    except TypeError:
        raise CaprotoTypeError(
            f"data_count must be a whole number or None, not {data_count!r}"
        ) from None
    if not 0 <= count < 1 << 32:
        raise CaprotoValueError(f"data_count must be between 0 and 2**32 - 1, not {data_count!r}")


def check_data_type(data_type: DataType | None) -> None:
    """Raise unless *data_type* can be resolved for every channel."""
    if data_type is not None:
        resolve_data_type(data_type, ChannelType.DOUBLE)


def data_type_key(data_type: DataType | None) -> Hashable:
    """Make a key of *data_type*: the same for the same type, however it is spelled."""
    family = "native" if data_type is None else data_type
    if isinstance(family, str) and family.lower() in field_types:
        return family.lower()
    return resolve_data_type(data_type, ChannelType.DOUBLE)


def check_callback(callback: object) -> None:
    """Raise CaprotoTypeError unless *callback* can be called or is None."""
    if callback is not None and not callable(callback):
        raise CaprotoTypeError(f"callback must be callable, not {callback!r}")


def check_token(token: object) -> None:
    """Raise CaprotoTypeError unless *token* can be what add_callback returned."""
    if not isinstance(token, int):
        raise CaprotoTypeError(f"token must be what add_callback returned, not {token!r}")


def check_mask(mask: Mask | None) -> SubscriptionType:
    """Return *mask* as a member; the default for None."""
    if mask is None:
        return _DEFAULT_MASK
    if isinstance(mask, str):
        names = mask.upper().replace("|", " ").replace(",", " ").split()
        number = _combined([_EVENTS.get(name.removeprefix("DBE_")) for name in names])
    else:
        try:
            number = whole(mask)
        except TypeError:
            number = 0
    if not 0 < number <= _ALL_EVENTS:
        raise CaprotoValueError(
            f"mask={mask!r} is not a kind of event: give a combination of SubscriptionType "
            f"members, or of their names, {', '.join(_EVENTS)}, for example 'value|alarm'"
        )
    return SubscriptionType(number)


def _combined(bits: Iterable[int | None]) -> int:
    """Combine *bits*; 0 if one of them is None."""
    found = 0
    for one in bits:
        if one is None:
            return 0
        found |= one
    return found


def check_priority(priority: object, row: int | None = None) -> int:
    """Return *priority* as an int; raise unless it is one that a circuit can have.

    *row* is its position, if there is one for each name.
    """
    try:
        number = whole(priority)
    except TypeError:
        raise CaprotoTypeError(
            f"{_of_row(row)} must be a whole number, not {priority!r}"
        ) from None
    if not 0 <= number <= MAX_PRIORITY:
        raise CaprotoValueError(
            f"{_of_row(row)} must be between 0 and {MAX_PRIORITY}, not {number}"
        )
    return number


def _of_row(row: int | None) -> str:
    return "priority" if row is None else f"priority[{row}]"


def rows_by_priority(priorities: Iterable[object], number: int) -> dict[int, list[int]]:
    """Return the rows of each priority; raise unless there is one for each of *number* rows."""
    rows: dict[int, list[int]] = {}
    given = 0
    for row, one in enumerate(priorities):
        rows.setdefault(check_priority(one, row), []).append(row)
        given += 1
    if given != number:
        wrong = counted(given, "priority", "priorities")
        raise CaprotoValueError(f"{counted(number, 'name')}, but {wrong}")
    return rows


def check_address(address: object) -> Address:
    """Return *address*; raise unless it is a server's: a dotted quad and a port."""
    known = _text_and_number(address)
    if known is None:
        raise CaprotoTypeError(f"address must be a tuple of (host, port), not {address!r}")
    host, port = known
    pack_ip(host)
    if not 0 < port < 1 << 16:
        raise CaprotoValueError(f"address={address!r}: a port is between 1 and 65535")
    return known


def check_keys(keys: Iterable[object]) -> list[tuple[str, int]]:
    """Return *keys*; raise CaprotoTypeError unless they are pairs of a name and a priority."""
    known = []
    for key in listed("keys", keys):
        pair = _text_and_number(key)
        if pair is None:
            raise CaprotoTypeError(f"keys must be tuples of (name, priority), not {key!r}")
        known.append(pair)
    return known


def _text_and_number(value: object) -> tuple[str, int] | None:
    match value:
        case tuple((str() as text, number)):
            try:
                return text, whole(number)
            except TypeError:
                return None
    return None


def listed(argument: str, values: Iterable[T]) -> list[T]:
    """Make a list of *values*; raise CaprotoTypeError if that is a text, or not iterable."""
    try:
        if not isinstance(values, str):
            return list(values)
    except TypeError:
        pass
    raise CaprotoTypeError(f"{argument} must be a list or another iterable, not {values!r}")


def check_names(names: Collection[object], starred: str = "") -> list[str]:
    """Return *names* as plain texts; raise unless all can be searched.

    *starred* is the method that takes them one by one, if that is how they were passed.
    """
    for name in names:
        # Nearly all there is; quicker than to make the payload.
        if type(name) is str and 0 < len(name) <= _SURELY_SHORT and name.isascii():
            if "\0" not in name:
                continue
        if not isinstance(name, str):
            hint = f"; to pass a list, write {starred}(*names)" if starred else ""
            raise CaprotoTypeError(
                f"PV names must be str, not {name!r} ({type(name).__name__}){hint}"
            )
        try:
            name_payload(name)
        except CaprotoValueError as error:
            raise error.with_traceback(None) from None  # users need not see our frames
    return list(map(_plain, names))


#: Texts of numpy, for example, are of subclasses, whose repr would be in messages.
_plain: Callable[[object], str] = str.__str__
