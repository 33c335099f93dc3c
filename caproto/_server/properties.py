"""`Property`: units, limits, states ... of a channel, as attributes of its class."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar, cast, overload

from .._errors import CaprotoTypeError
from .snapshot import Snapshot

__all__ = ["Property", "check_text"]

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
