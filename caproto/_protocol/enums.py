"""Enums of numbers that a peer sends.

Two things set them apart from plain ``IntEnum`` and ``IntFlag``: their ``repr`` is an expression
that evaluates back, and (for :class:`OpenIntEnum`) a number that we have no name for is kept
instead of refused, because peers may be newer than we are. Nothing here is about Channel Access.
"""
from __future__ import annotations

from enum import IntEnum, IntFlag

from .._errors import CaprotoValueError
from .._numbers import whole

__all__ = ["ClosedIntEnum", "OpenIntEnum", "ReadableIntFlag"]


class _Readable(IntEnum):
    """An integer that prints as its name."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self._name_}"

    def __str__(self) -> str:
        return self._name_

    def __reduce_ex__(self, _protocol: object) -> tuple[type, tuple[int]]:
        """Pickle by number: members without a name have no other (some Pythons pickle by name)."""
        return type(self), (int(self),)

    def __format__(self, format_spec: str) -> str:
        # f"{x}" gives the name and f"{x:d}" the number, on every version of Python
        return int.__format__(self, format_spec)


class ClosedIntEnum(_Readable):
    """Named numbers; any other is an error.

    Raises
    ------
    CaprotoValueError
        When called with a number that has no name.
    """

    @classmethod
    def _missing_(cls, value: object) -> ClosedIntEnum:
        last = max(cls)
        raise CaprotoValueError(
            f"{value!r} is not a {cls.__name__}; they run from {min(cls):d} to {last:d} ({last})"
        )


class OpenIntEnum(_Readable):
    """Named numbers. A peer may use others: an unknown one becomes a member without a name.

    Nameless members compare, hash and calculate as the number; they are made on each call and not
    remembered, so a peer that sends many cannot fill our memory.

    Raises
    ------
    CaprotoValueError
        When called with something that is not a whole number.
    """

    @classmethod
    def _missing_(cls, value: object) -> OpenIntEnum:
        try:
            number = whole(value)
        except TypeError:
            raise CaprotoValueError(
                f"{value!r} is not a {cls.__name__}: not a whole number"
            ) from None
        member = int.__new__(cls, number)
        member._name_ = f"UNKNOWN({number:d})"
        member._value_ = number
        return member

    def __repr__(self) -> str:
        if self._value_ in type(self)._value2member_map_:
            return super().__repr__()
        return f"{type(self).__name__}({self._value_:d})"


class ReadableIntFlag(IntFlag):
    """Bits with names; unknown bits are kept."""

    def __repr__(self) -> str:
        cls, number = type(self), int(self)
        members = {name: int(member) for name, member in cls.__members__.items()}
        names = [name for name, bits in members.items() if bits == number] or [
            name for name, bits in members.items() if bits & number
        ]
        if sum(members[name] for name in names) != number:
            return f"{cls.__name__}({number})"  # with bits that have no name
        return " | ".join(f"{cls.__name__}.{name}" for name in names) or f"{cls.__name__}(0)"

    __str__ = __repr__

    def __reduce_ex__(self, _protocol: object) -> tuple[type, tuple[int]]:
        """Pickle by number, as `OpenIntEnum` does."""
        return type(self), (int(self),)

    def __format__(self, format_spec: str) -> str:
        return int.__format__(self, format_spec)
