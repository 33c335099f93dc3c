"""The program: checks the terminal, makes the client, runs the app."""
from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from ..access import name_problem, start
from ..extras import Extras
from ..options import UsageError
from ..settings import Failed, Settings
from ..sources import names_from

__all__ = ["watch_table"]

#: What only printed lines have: attributes of the extras, and the options that set them.
_NOT_FOR_TABLES = {
    "output": "--json, --csv and --format",
    "updates": "--count",
    "duration": "--duration",
    "condition": "--until",
    "metadata": "--metadata",
    "statistics": "--stats",
    "quiet": "--quiet",
    "number_form": "--human and --precise",
    "zone": "--utc and --time-zone",
    "time_format": "--time-format",
    "age": "--ago",
}


def watch_table(settings: Settings, names: Sequence[str]) -> int:
    """Show a table of PVs until the user ends it.

    Parameters
    ----------
    settings : Settings
    names : sequence of str
        Those on the command line.

    Returns
    -------
    int
        The exit status: 0, or as after a signal.

    Raises
    ------
    UsageError
        An option is of printed lines only.
    Failed
        There is no terminal that can show it, a name is impossible, or textual is not installed.
    """
    sources = settings.extras.sources if settings.extras is not None else []
    _check_extras(settings.extras)
    _check_terminal(sources)
    names = [*names, *names_from(sources)]
    for name in names:
        if name_problem(name):
            raise Failed(f"{name[:60]!r}: {name_problem(name)}")
    try:
        import textual  # noqa: F401
    except ImportError:
        raise Failed(
            f"{settings.tool} --watch needs the package textual: pip install 'caproto[tui]'"
        ) from None
    from .app import WatchApp
    from .ending import Ending
    from .source import Source
    from .table import Table

    terminal = (sys.stdin.fileno(), sys.stderr.fileno())  # those that textual uses
    with Ending(terminal) as ending, start(settings, names) as context:
        source, table = Source(context, settings), Table()
        table.add(source.add(names))
        app = WatchApp(source, table, ending)
        logging.disable()  # it would write over the table
        try:
            app.run()
        finally:
            logging.disable(logging.NOTSET)
        return app.return_code or 0


def _check_extras(extras: Extras | None) -> None:
    """Refuse what has no meaning for a table."""
    usual = vars(Extras())
    for attribute, options in _NOT_FOR_TABLES.items():
        if extras is not None and getattr(extras, attribute) != usual[attribute]:
            raise UsageError(f"{options} cannot be used together with --watch.")


def _check_terminal(sources: Sequence[str]) -> None:
    """Refuse what cannot show a table; without colours, have none."""
    kind = os.environ.get("TERM", "")
    if "-" in sources:
        raise Failed(
            "--watch reads keys from standard input, so --from - cannot read names there; "
            "name a file, or in bash --from <(COMMAND)."
        )
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise Failed("--watch needs a terminal as standard input, output and error.")
    if kind in ("", "dumb", "unknown"):
        raise Failed(f"--watch needs a terminal that can move its cursor, not TERM={kind!r}.")
    if not _has_colours():
        os.environ["NO_COLOR"] = "1"
    elif not os.environ.get("NO_COLOR"):
        os.environ.pop("NO_COLOR", None)  # empty, it means nothing


def _has_colours() -> bool:
    """Ask terminfo; a terminal that it does not have is taken for a modern one."""
    try:
        import curses
    except ImportError:  # some builds of Python lack it
        return True
    try:
        curses.setupterm()
    except curses.error:
        return True
    return curses.tigetnum("colors") > 0
