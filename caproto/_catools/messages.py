"""Messages: what the tools say on standard error."""
from __future__ import annotations

import io
import sys

__all__ = ["say"]


class _Nowhere(io.TextIOBase):
    """Takes text and drops it."""

    def write(self, text: str) -> int:
        return len(text)


def say(text: object) -> None:
    """Print a line on standard error.

    If that cannot be written, because a disk is full, or its reader has gone, the work and the exit
    status are what they would be otherwise.
    """
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):  # it is full, its reader has gone, it is closed
        # Else the interpreter tries to write the rest at its end, and changes the status.
        sys.stderr = _Nowhere()
