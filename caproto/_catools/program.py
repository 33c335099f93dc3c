"""How every tool begins and ends: its name, its options, its exit status."""
from __future__ import annotations

import atexit
import codecs
import os
import sys
from collections.abc import Callable, Sequence
from io import TextIOBase, TextIOWrapper

from .._errors import CaprotoError
from .._protocol.constants import DEFAULT_PROTOCOL_VERSION
from .._typing import TYPE_CHECKING, NamedTuple
from .messages import say
from .options import Inquiry, Options, UsageError, parse
from .settings import Failed, Settings
from .statuses import EXACT, FAILED, INTERRUPTED, PIPE_CLOSED, status_of

if TYPE_CHECKING:
    from typing import NoReturn, TextIO

__all__ = ["Tool", "end_process", "run"]

#: Files in the place of those that the shell has closed.
_KEPT: list[TextIO] = []


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
    #: The words one of which must be the first; after it comes a file.
    commands: Sequence[str] = ()
    #: The exit status if nothing was done, because the command line is wrong, for example.
    failed: int = 1
    #: Returns the options that the EPICS tool does not have; most command lines need none.
    more: Callable[[], Options] = dict


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

    Notes
    -----
    After Ctrl-C the process ends by the signal if the arguments are its own.
    """
    settings = Settings(_name(tool, argv))
    try:
        _prepare_streams(settings)
        status = _run(tool, settings, _arguments() if argv is None else argv)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        if argv is not None:
            return INTERRUPTED
        from .interrupts import end_by_interrupt

        end_by_interrupt()
        raise
    except BrokenPipeError:
        _drop_output()
        return PIPE_CLOSED
    except OSError as error:  # a full disk, no more sockets
        _drop_output()
        _complain(settings, error.strerror or error)
    except Exception as error:
        _complain(settings, f"a defect of caproto (see -vvv): {type(error).__name__}: {error}")
        if settings.verbosity > 2:
            raise
    return FAILED if settings.exact else tool.failed


def _run(tool: Tool, settings: Settings, arguments: Sequence[str]) -> int:
    try:
        settings.exact = any(word.startswith(EXACT) for word in arguments)
        settings.read_environment()
        words = parse(
            settings, tool.options, arguments, anywhere=tool.options_anywhere, more=tool.more
        )
        if settings.verbosity:
            from .verbosity import log_to_stderr

            log_to_stderr(settings.verbosity)
        return tool.work(settings, words)
    except Inquiry as inquiry:
        print(_answer(tool, settings.tool, str(inquiry)))
        return 0
    except (UsageError, Failed) as failure:
        if str(failure):
            say(failure)
        return failure.status if settings.exact else tool.failed
    except CaprotoError as error:
        _complain(settings, error)
        return status_of([error], True) if settings.exact else tool.failed


def end_process(status: int) -> NoReturn:
    """End the process.

    If it never had threads it ends at once: to take the interpreter apart, object by object, takes
    a tenth of the time of a short command. But a profiler, for example, has work to do at the end.
    """
    watched = sys.flags.inspect or sys.getprofile() or sys.gettrace()
    if "threading" not in sys.modules and not watched:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


class _ClosedOutput(TextIOBase):
    """Standard output that the shell has closed: the first line for it is an error."""

    encoding = "ascii"

    def write(self, text: str) -> int:
        raise OSError("standard output is closed")


def _encode_any(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode what an encoding lacks: bytes that were no text as they were, others ``\\xb5``."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeEncodeError:
        return codecs.backslashreplace_errors(error)


def _prepare_streams(settings: Settings) -> None:
    """Make the streams take any text; note what those of a terminal can show."""
    codecs.register_error("caproto", _encode_any)
    if sys.stdout is not None and sys.stdout.isatty():
        settings.utf8 = sys.stdout.encoding.lower() == "utf-8"
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the shell has closed it; a file takes its number before a socket does
            null = open(os.devnull, "w")
            setattr(sys, name, _ClosedOutput() if name == "stdout" else null)
            _KEPT.append(null)
        elif isinstance(stream, TextIOWrapper):  # names and units may have bytes of any encoding
            stream.reconfigure(encoding="utf-8", errors="caproto")
    if sys.stdout.isatty():
        settings.colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _arguments() -> list[str]:
    """Return the words of the command line: their bytes as UTF-8, whatever the locale."""
    return [os.fsencode(word).decode("utf-8", "surrogateescape") for word in sys.argv[1:]]


def _drop_output() -> None:
    """Let go what is left in the buffer, which would raise again when the interpreter ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # it is not a file
        pass


def _complain(settings: Settings, problem: object) -> None:
    say(f"{settings.tool}: {problem}")


def _name(tool: Tool, argv: Sequence[str] | None) -> str:
    """Return the name by which the tool was called."""
    called = os.path.basename(sys.argv[0]) if argv is None else ""
    return tool.name if not called or called.endswith(".py") else called


def _answer(tool: Tool, name: str, question: str) -> str:
    """Write the text that the user wants instead of the work."""
    if question == "help":
        from .help import help_text

        return help_text(tool.name, name, tool.usage, tool.about, tool.options, tool.more())
    if question == "version":
        from .. import __version__

        return f"\ncaproto {__version__}, CA Protocol version 4.{DEFAULT_PROTOCOL_VERSION}"
    from .completion import script

    options = {**tool.options, **tool.more()}
    return script(
        question.split()[1], tool.name, options, tool.commands,
        called=name, options_anywhere=tool.options_anywhere,
    )
