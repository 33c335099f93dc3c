"""caproto-put: write a value to a PV, and print it before and after, as caput does.

Linked as ``caput`` it calls itself so in its messages.
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


def _work(settings: Settings, words: list[str]) -> int:
    if settings.extras is not None:
        from .._catools.putting import put

        return put(settings, settings.extras, words)
    from .._catools.access import connect, read_lines, searchable, start
    from .._catools.settings import Failed
    from .._catools.writing import values_to_write, write

    name, _ = searchable(settings, words[:1])
    values = words[1:]
    with start(settings, name) as context:
        if not values:
            raise Failed(f"No value specified. {settings.hint}")
        if settings.array_input:
            values = values[1:]  # the number of values, which is not needed
        else:
            values = [" ".join(values)]
        pvs = connect(context, name, settings)
        data = values_to_write(pvs[0], values, settings)
        is_terse = settings.form == "terse"
        (old,) = read_lines(pvs, settings)
        if not is_terse:
            print(f"Old : {old}")
        write(pvs[0], data, settings)
        (new,) = read_lines(pvs, settings)
        print(new if is_terse else f"New : {new}")
    return 0


def _more() -> Options:
    from .._catools.more_options import PUT

    return PUT


def _tool() -> Tool:
    from .._catools.options import CONNECTION, COUNT, HELP, PUT_FORMS, SEPARATOR
    from .._catools.program import Tool

    return Tool(
        name="caproto-put",
        usage="[options] PV VALUE ...\n       {tool} [options] -a PV COUNT VALUE ...",
        about="Writes a value to a PV, and prints the old and the new one.\n"
        "Options stand before the PV; all that follows it is the value.",
        options={**HELP, **CONNECTION, **PUT_FORMS, **COUNT, **SEPARATOR},
        work=_work,
        more=_more,
        options_anywhere=False,
    )


main = entry(_tool)


if __name__ == "__main__":
    sys.exit(main())
