"""caproto-get: print the values of PVs, as caget does.

Linked as ``caget`` it calls itself so in its messages.
"""
from __future__ import annotations

import sys

from .._catools.entry import entry
from .._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

    from .._catools.options import Options
    from .._catools.program import Tool
    from .._catools.settings import Settings

__all__ = ["main"]


def _work(settings: Settings, names: list[str]) -> int:
    if settings.extras is not None:
        from .._catools.getting import get

        return get(settings, settings.extras, names)
    configuration = None
    if names and all(names) and not settings.verbosity:
        from .._addresses import warn_as
        from .._catools.one_shot import read_once
        from .._environment import ClientConfiguration

        warn_as(settings.tool)
        configuration = ClientConfiguration.from_environment()
        answers = read_once(names, settings, configuration)
        if answers is not None:
            from .._catools.lines import line_of
            from .._catools.values import Reading

            for name, (native, room, response) in zip(names, answers, strict=True):
                print(line_of(name, Reading.from_response(response), native, room, settings))
            return 0
    from .._catools.access import connect, read_lines, searchable, start

    names, status = searchable(settings, names)
    with start(settings, names, configuration) as context:
        for line in read_lines(connect(context, names, settings), settings):
            print(line)
    return status


def _more() -> Options:
    from .._catools.more_options import GET

    return GET


def _tool() -> Tool:
    from .._catools.options import (
        CONNECTION,
        COUNT,
        ENUM,
        GET_FORMS,
        HELP,
        NUMBERS,
        SEPARATOR,
        TEXT,
    )
    from .._catools.program import Tool

    return Tool(
        name="caproto-get",
        usage="[options] PV ...",
        about="Prints the values of PVs.",
        options={
            **HELP, **CONNECTION, **GET_FORMS, **COUNT, **ENUM, **TEXT, **NUMBERS, **SEPARATOR,
        },
        work=_work,
        more=_more,
    )


main = entry(_tool)


def script() -> NoReturn:
    """Run the tool as the whole of a process, which it ends: what the shell calls."""
    status = main()
    from .._catools.program import end_process

    end_process(status)


if __name__ == "__main__":
    sys.exit(main())
