"""`Property`: units, limits, states ... of a channel, as attributes of its class."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, overload

from .._errors import CaprotoTypeError
from .snapshot import Snapshot

__all__ = ["Property", "check_text"]

_T = TypeVar("_T")


class Channel(Protocol):
    """What has properties: a `ChannelData`."""

    @property
    def snapshot(self) -> Snapshot:
        """The present state; the values of its properties are there."""

    def write_metadata(self, **changes: Any) -> None:
        """Change properties."""


class Property(Generic[_T]):
    """A property of a channel: read from its snapshot; assigning publishes a PROPERTY event.

    Parameters
    ----------
    default
        Its value if the constructor is not told otherwise.
    check : callable
        Returns the value in its proper form, or raises.
    doc : str
        What it means.
    """

    def __init__(self, default: _T, check: Callable[[Any], _T], doc: str) -> None:
        self.default = default
        self.check = check
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Property[_T]: ...

    @overload
    def __get__(self, instance: Channel, owner: type) -> _T: ...

    def __get__(self, instance: Channel | None, owner: type) -> Property[_T] | _T:
        if instance is None:
            return self
        value: _T = instance.snapshot.properties[self.name]
        return value

    def __set__(self, instance: Channel, value: Any) -> None:
        instance.write_metadata(**{self.name: value})


def check_text(value: Any) -> str:
    """Return *value* if it is a str; raise if not."""
    if not isinstance(value, str):
        raise CaprotoTypeError(f"expected a str, got {value!r} ({type(value).__name__})")
    return value
