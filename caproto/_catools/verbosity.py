"""Verbosity: what the client does, on standard error."""
from __future__ import annotations

import logging
import sys

from .._log import (
    CIRCUIT_LOGGER,
    CONTEXT_LOGGER,
    SEARCH_LOGGER,
    SENT,
    config_caproto_logging,
)
from .._protocol.commands import SearchResponse

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
    """Tell whether a record is about something else than a command or a datagram of a repeater."""
    if getattr(record, "direction", None) is None:
        return True
    if record.name == SEARCH_LOGGER:
        commands = record.args[0] if isinstance(record.args, tuple) and record.args else ()
        answers = isinstance(commands, list) and any(
            isinstance(command, SearchResponse) for command in commands
        )
        return answers or getattr(record, "direction", None) == SENT
    return record.name != CIRCUIT_LOGGER
