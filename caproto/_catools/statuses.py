"""Exit statuses: one table for all tools.

========= ==========================================================================================
0         all was done, exactly as it was asked for; the condition is true
1         the time was up: a PV was not found, a reply did not come, the condition was never true
2         it failed: the server refused, access is not allowed, the command line is wrong, output
          cannot be written
130, 141  Ctrl-C; the reader of the pipe has gone
========= ==========================================================================================

The tools return 1 in place of 2 unless ``--strict``, ``--until`` or ``--wait-for`` asks for exact
statuses, and, as the EPICS tools do, 0 for some failures.
"""
from __future__ import annotations

from collections.abc import Iterable

from .._errors import CaprotoTimeoutError

__all__ = [
    "DONE", "EXACT", "FAILED", "INTERRUPTED", "PIPE_CLOSED", "TIMED_OUT", "status_of",
]

DONE, TIMED_OUT, FAILED = 0, 1, 2
#: As a shell has them for programs that a signal ended.
INTERRUPTED, PIPE_CLOSED = 128 + 2, 128 + 13
#: The options that ask for exact statuses.
EXACT = ("--strict", "--until", "--wait-for")


def status_of(errors: Iterable[Exception], exact: bool) -> int:
    """Return the exit status after some errors: that of the worst of them.

    Parameters
    ----------
    errors : iterable of Exception
    exact : bool
        False: 1 for any error.
    """
    statuses = [
        TIMED_OUT if isinstance(error, CaprotoTimeoutError) or not exact else FAILED
        for error in errors
    ]
    return max(statuses, default=DONE)
