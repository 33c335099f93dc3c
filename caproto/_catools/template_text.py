"""The text of the option ``--format``: its escape sequences, and what stands in its braces."""
from __future__ import annotations

import re
import string

from .._typing import NamedTuple
from .options import UsageError
from .values import unescaped

__all__ = ["Braces", "read_template"]

#: Of a width or a precision: more would fill the memory before they fill a line.
_MOST_DIGITS = 4


class Braces(NamedTuple):
    """What stands in one pair of braces: ``{field!conversion:form}``."""

    field: str
    form: str
    conversion: str

    def check_widths(self) -> None:
        """Raise unless a line can have the widths and precisions of the format.

        Raises
        ------
        UsageError
        """
        for digits in re.findall(r"\d+", self.form):
            if len(digits) > _MOST_DIGITS:
                raise UsageError(
                    f"--format: {{{self.field}:{self.form}}}: widths and precisions have at most "
                    f"{_MOST_DIGITS} digits"
                )


def read_template(text: str) -> tuple[str, list[Braces]]:
    """Read a template.

    Parameters
    ----------
    text : str
        With ``\\n``, ``\\t`` and the other escape sequences of C.

    Returns
    -------
    text : str
        Without escape sequences, for `str.format`.
    braces : list of Braces

    Raises
    ------
    UsageError
        Braces are not in pairs, or stand in the format of others.
    """
    try:
        plain = unescaped(text).decode("utf-8", "surrogateescape")
        parts = list(string.Formatter().parse(plain))
    except ValueError as error:
        raise UsageError(f"--format: {text!r}: {error}") from None
    found = [
        Braces(field, form or "", conversion or "")
        for _, field, form, conversion in parts if field is not None
    ]
    for one in found:
        if "{" in one.form:
            raise UsageError(f"--format: {{{one.field}}} takes no braces")
    return plain, found
