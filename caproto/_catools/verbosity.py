"""Verbosity: what the client does, on standard error."""
from __future__ import annotations

import logging
import sys

from .._log import (
    CIRCUIT_LOGGER,
    CONTEXT_LOGGER,
    SEARCH_LOGGER,
    config_caproto_logging,
)

__all__ = ["log_to_stderr"]

#: What each level adds: searches and their answers; circuits; all commands.
_LOGGERS = ((SEARCH_LOGGER, CONTEXT_LOGGER), (CIRCUIT_LOGGER,), ())


def log_to_stderr(verbosity: int) -> None:
    """Log what the client does.

    Parameters
    ----------
    verbosity : int
        1: searches and what was found; 2: circuits, too; 3: every command, too.
    """
    handler = config_caproto_logging(sys.stderr, level="WARNING")
    for level, names in enumerate(_LOGGERS, 1):
        for name in names:
            wanted = level <= verbosity
            logging.getLogger(name).setLevel(logging.DEBUG if wanted else logging.NOTSET)
    if verbosity < len(_LOGGERS):
        handler.addFilter(_is_no_command)


def _is_no_command(record: logging.LogRecord) -> bool:
    """Tell whether a record is something else than a command on a circuit."""
    return record.name != CIRCUIT_LOGGER or getattr(record, "direction", None) is None
