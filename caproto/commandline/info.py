"""caproto-info: print what is known about the connection to PVs, as cainfo does.

Linked as ``cainfo`` it calls itself so in its messages.
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
    if settings.extras is not None:
        from .._catools.informing import info

        return info(settings, settings.extras, names)
    from .._catools.access import connect, searchable, start
    from .._catools.blocks import info_block

    names, status = searchable(settings, names)
    with start(settings, names) as context:
        for pv in connect(context, names, settings):
            print(context.explain(pv) if settings.interest else info_block(pv))
    return status


def _more() -> Options:
    from .._catools.more_options import INFO

    return INFO


def _tool() -> Tool:
    from .._catools.options import CONNECTION, HELP, INTEREST
    from .._catools.program import Tool

    return Tool(
        name="caproto-info",
        usage="[options] PV ...",
        about="Prints what is known about the connection to PVs.",
        options={**HELP, **CONNECTION, **INTEREST},
        work=_work,
        more=_more,
    )


main = entry(_tool)


if __name__ == "__main__":
    sys.exit(main())
