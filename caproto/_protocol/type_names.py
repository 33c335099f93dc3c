"""The data type that a user asks for, by its name, its number or its family."""
from __future__ import annotations

import operator

from .._errors import CaprotoValueError
from .._typing import TYPE_CHECKING
from .dbr import CHANNEL_TYPES, FAMILIES, ChannelType, field_types, native_type, native_types

if TYPE_CHECKING:
    from typing import SupportsIndex

__all__ = ["resolve_data_type"]

#: Those that belong to no family.
_SPECIAL_TYPES = CHANNEL_TYPES[35:]

#: Family -> its type for each type of a channel, by number.
_BY_NUMBER = {
    family: tuple(types[native_type(number)] for number in CHANNEL_TYPES[:35])
    for family, types in field_types.items()
}

#: Every legal text, in upper case, of a type.
_NAMES = {
    prefix + name: member
    for name, member in ChannelType.__members__.items()
    for prefix in ("", "DBR_")
}


def _index(spec: SupportsIndex) -> int:
    """Return *spec* as an int; -1 if it is not a whole number (the class ``int``, for example)."""
    try:
        return operator.index(spec)
    except TypeError:
        return -1


def resolve_data_type(spec: int | str | None, native: int) -> ChannelType:
    """Find the type that the user asks for.

    Parameters
    ----------
    spec : ChannelType, int, str or None
        A type; its number; its name in any case, with or without ``DBR_``; or a family: 'native',
        'status', 'time', 'graphic' or 'control'. None means 'native'.
    native : ChannelType or int
        Native type of the channel, which the families are about.

    Raises
    ------
    CaprotoValueError
        None of these; the message says what is possible.
    """
    if spec is None:
        return CHANNEL_TYPES[native]
    if isinstance(spec, str):
        family = _BY_NUMBER.get(spec) or _BY_NUMBER.get(spec.lower())
        if family is not None:
            return family[native]
        named = _NAMES.get(spec.upper())
        if named is not None:
            return named
    else:
        number = _index(spec)
        if 0 <= number < len(CHANNEL_TYPES):
            return CHANNEL_TYPES[number]
    raise CaprotoValueError(
        f"data_type={spec!r} is not a data type: give one of {', '.join(map(repr, FAMILIES))}; "
        f"or one of the names {', '.join(map(str, native_types))}, also with STS_, TIME_, GR_ or "
        f"CTRL_ in front ({ChannelType.TIME_DOUBLE}), or {', '.join(map(str, _SPECIAL_TYPES))}; or "
        f"a ChannelType or its number, 0 to {len(CHANNEL_TYPES) - 1}"
    )
