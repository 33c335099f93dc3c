"""caproto-explain: print why PVs are not connected, and what to check."""
from __future__ import annotations

import sys
from collections.abc import Sequence

from .._catools.options import CONNECTION, HELP, Options
from .._catools.program import Tool, run
from .._catools.settings import Settings

__all__ = ["main"]


def _work(settings: Settings, names: list[str]) -> int:
    from .._catools.explaining import explain
    from .._catools.extras import Extras

    return explain(settings, settings.extras or Extras(), names)


def _more() -> Options:
    from .._catools.more_options import EXPLAIN

    return EXPLAIN


_TOOL = Tool(
    name="caproto-explain",
    usage="[options] PV ...",
    about="Prints why PVs are not connected: what was searched where, and what to check.",
    options={**HELP, **CONNECTION},
    work=_work,
    more=_more,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments. Default: those of the process.

    Returns
    -------
    int
        Exit status: 0 if all PVs are connected, else 1.
    """
    return run(_TOOL, argv)


if __name__ == "__main__":
    sys.exit(main())
