"""caproto-explain: print why PVs are not connected, and what to check."""
from __future__ import annotations

import sys

from .._catools.entry import entry
from .._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._catools.program import Tool
    from .._catools.settings import Settings

__all__ = ["main"]


def _work(settings: Settings, names: list[str]) -> int:
    from .._catools.explaining import explain
    from .._catools.extras import Extras

    return explain(settings, settings.extras or Extras(), names)


def _tool() -> Tool:
    from .._catools.more_options import EXPLAIN
    from .._catools.options import CONNECTION, HELP, refusing
    from .._catools.program import Tool

    return Tool(
        name="caproto-explain",
        usage="[options] PV ...",
        about="Prints why PVs are not connected: what was searched where, and what to check.",
        options={**HELP, **refusing(CONNECTION), **EXPLAIN},
        work=_work,
    )


main = entry(_tool)


if __name__ == "__main__":
    sys.exit(main())
