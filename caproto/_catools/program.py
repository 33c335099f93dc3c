"""How every tool begins and ends: its name, its options, its exit status."""
from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import NamedTuple

from .._errors import CaprotoError
from .._protocol.constants import DEFAULT_PROTOCOL_VERSION
from .options import Inquiry, Options, UsageError, help_text, parse
from .settings import Failed, Settings

__all__ = ["Tool", "run"]

#: Exit statuses, as a shell has them for programs that a signal ended.
_INTERRUPTED, _PIPE_CLOSED = 128 + 2, 128 + 13


class Tool(NamedTuple):
    """What distinguishes one tool from the others."""

    #: Its name, if it is not called by a link with another one.
    name: str
    usage: str
    about: str
    options: Options
    #: Does the work with the settings and the words of the command line; returns the exit status.
    work: Callable[[Settings, list[str]], int]
    #: Whether options may also stand after the name of a PV.
    options_anywhere: bool = True
    #: The exit status if nothing was done, because the command line is wrong, for example.
    failed: int = 1


def run(tool: Tool, argv: Sequence[str] | None) -> int:
    """Run a tool; no traceback, whatever happens.

    Parameters
    ----------
    tool : Tool
    argv : sequence of str or None
        The arguments. None: those of the process, which may also have given the tool its name.

    Returns
    -------
    int
        The exit status.
    """
    try:
        status = _run(tool, argv)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # What is left in the buffer would raise again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED


def _run(tool: Tool, argv: Sequence[str] | None) -> int:
    settings = Settings(_name(tool, argv))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names and units may have bytes of any encoding
            stream.reconfigure(errors="surrogateescape")
    arguments = sys.argv[1:] if argv is None else argv
    try:
        settings.read_environment()
        words = parse(settings, tool.options, arguments, anywhere=tool.options_anywhere)
        return tool.work(settings, words)
    except Inquiry as inquiry:
        print(_answers(tool, settings.tool)[str(inquiry)])
        return 0
    except (UsageError, Failed) as failure:
        print(failure, file=sys.stderr)
    except CaprotoError as error:
        print(f"{settings.tool}: {error}", file=sys.stderr)
    return tool.failed


def _name(tool: Tool, argv: Sequence[str] | None) -> str:
    """Return the name by which the tool was called."""
    called = os.path.basename(sys.argv[0]) if argv is None else ""
    return tool.name if not called or called.endswith(".py") else called


def _answers(tool: Tool, name: str) -> dict[str, str]:
    from .. import __version__

    return {
        "help": help_text(name, tool.usage, tool.about, tool.options),
        "version": f"\ncaproto {__version__}, CA Protocol version 4.{DEFAULT_PROTOCOL_VERSION}",
    }
