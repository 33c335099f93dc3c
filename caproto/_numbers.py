"""What counts as a number, and how numbers of things are written.

Numbers are those of Python and of other libraries such as numpy; a bool is none.
"""
from __future__ import annotations

import operator

from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import SupportsFloat, TypeGuard



def whole(value: object) -> int:
    """Return *value* as an int.

    Raises
    ------
    TypeError
        It is not a whole number.
    """
    # Older versions of numpy would take their own bool, with a warning.
    if type(value).__name__ in ("bool", "bool_"):
        raise TypeError(f"{value!r} is not a whole number")
    return operator.index(value)  # type: ignore[arg-type]


def is_real(value: object) -> TypeGuard[SupportsFloat]:
    """Tell whether *value* is a real number."""
    if isinstance(value, int | float):
        return not isinstance(value, bool)
    import numbers  # here, because few scripts need it

    return isinstance(value, numbers.Real)


def counted(number: int, singular: str, plural: str = "") -> str:
    """Write a number of things: ``1 name``, ``2 names``.

    Parameters
    ----------
    number : int
    singular : str
        What follows 1.
    plural : str, optional
        What follows another number. Default: the singular with an s.
    """
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
