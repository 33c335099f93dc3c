"""`Property`: units, limits, states ... of a channel, as attributes of its class."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar, cast, overload

from .._errors import CaprotoTypeError
from .._numbers import whole
from .._protocol.dbr import AccessRights
from .snapshot import ChannelAlarm, Snapshot

__all__ = ["Property", "check_alarm", "check_clock", "check_text", "checked_rights"]

_T_co = TypeVar("_T_co", covariant=True)


class Channel(Protocol):
    """What has properties: a `ChannelData`."""

    @property
    def snapshot(self) -> Snapshot:
        """The present state; the values of its properties are there."""

    def write_metadata(self, **changes: Any) -> None:
        """Change properties."""


class Property(Generic[_T_co]):
    """A property of a channel: read from its snapshot; assigning publishes a PROPERTY event.

    Parameters
    ----------
    default
        Its value if the constructor has no argument for it.
    check : callable
        Returns the value in its proper form, or raises.
    doc : str
        What it means.
    """

    def __init__(self, default: _T_co, check: Callable[[Any], _T_co], doc: str) -> None:
        self.default = default
        self.check = check
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Property[_T_co]: ...

    @overload
    def __get__(self, instance: Channel, owner: type) -> _T_co: ...

    def __get__(self, instance: Channel | None, owner: type) -> Property[_T_co] | _T_co:
        if instance is None:
            return self
        values: Mapping[str, object] = instance.snapshot.properties
        return cast("_T_co", values[self.name])

    def __set__(self, instance: Channel, value: object) -> None:
        instance.write_metadata(**{self.name: value})


def check_text(value: object) -> str:
    """Return *value* if it is a str; raise if not."""
    if not isinstance(value, str):
        raise CaprotoTypeError(f"expected a str, got {value!r} ({type(value).__name__})")
    return value


def check_alarm(alarm: object) -> None:
    """Raise CaprotoTypeError unless *alarm* is a ChannelAlarm or None."""
    if alarm is not None and not isinstance(alarm, ChannelAlarm):
        raise CaprotoTypeError(f"alarm must be a ChannelAlarm, not {alarm!r}")


def check_clock(clock: object) -> None:
    """Raise CaprotoTypeError unless *clock* can be called."""
    if not callable(clock):
        raise CaprotoTypeError(f"clock must be callable, not {clock!r}")


def checked_rights(rights: object) -> AccessRights:
    """Return *rights*, a member or its number, as a member; raise CaprotoTypeError if not one."""
    try:
        return AccessRights(whole(rights))
    except TypeError:
        raise CaprotoTypeError(f"access_rights must be AccessRights, not {rights!r}") from None
