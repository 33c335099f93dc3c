"""caproto-monitor: print the values of PVs whenever they change, as camonitor does.

Linked as ``camonitor`` it calls itself so in its messages.
"""
from __future__ import annotations

import sys

from .._catools.entry import entry
from .._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._catools.options import Options
    from .._catools.program import Tool
    from .._catools.settings import Settings

__all__ = ["main"]


def _work(settings: Settings, names: list[str]) -> int:
    if settings.watch:
        from .._catools.watch.program import watch_table

        return watch_table(settings, names)
    settings.form = "wide"
    if settings.extras is not None:
        from .._catools.monitoring import monitor

        return monitor(settings, settings.extras, names)
    from functools import partial

    from .._catools.access import searchable, start
    from .._catools.watching import watch

    names, status = searchable(settings, names)
    with start(settings, names) as context:
        watch(context, names, settings, partial(print, flush=True))
    return status


def _more() -> Options:
    from .._catools.more_options import MONITOR

    return MONITOR


def _tool() -> Tool:
    from .._catools.options import (
        CONNECTION,
        COUNT,
        ENUM,
        HELP,
        MONITORING,
        NUMBERS,
        SEPARATOR,
        TEXT,
    )
    from .._catools.program import Tool

    return Tool(
        name="caproto-monitor",
        usage="[options] PV ...",
        about="Prints the values of PVs whenever they change, until Ctrl-C.",
        options={
            **HELP, **CONNECTION, **MONITORING, **COUNT, **ENUM, **TEXT, **NUMBERS, **SEPARATOR,
        },
        work=_work,
        more=_more,
    )


main = entry(_tool)


if __name__ == "__main__":
    sys.exit(main())
