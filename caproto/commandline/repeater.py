"""caproto-repeater: pass the beacons of servers on to all Channel Access clients of this host."""
from __future__ import annotations

import sys

from .._catools.entry import entry
from .._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._catools.program import Tool
    from .._catools.settings import Settings

__all__ = ["main"]


def _work(settings: Settings, words: list[str]) -> int:
    import errno
    import logging

    from .._catools.messages import say
    from .._catools.more_options import extras_of
    from .._catools.options import UsageError
    from .._errors import CaprotoNetworkError
    from .._log import config_caproto_logging
    from ..sync.repeater import run

    if words:
        raise UsageError(f"'{words[0]}' is not an option. {settings.hint}")
    given = extras_of(settings).given
    verbose = "verbose" in given
    ports = given.get("port", "").split()
    config_caproto_logging(file=sys.stderr, level=logging.INFO if verbose else logging.WARNING)
    try:
        run(port=int(ports[-1]) if ports else None)
    except CaprotoNetworkError as error:
        runs_already = error.errno == errno.EADDRINUSE
        if verbose or not runs_already:
            note = "; a repeater runs already" * runs_already
            say(f"{settings.tool}: {error.strerror}{note}")
        return 0 if runs_already else 1
    return 0


def _tool() -> Tool:
    from .._catools.more_options import REPEATER
    from .._catools.options import HELP
    from .._catools.program import Tool

    return Tool(
        name="caproto-repeater",
        usage="[options]",
        about="Passes the beacons of servers on to all Channel Access clients of this host, until "
        "Ctrl-C.\n"
        "One repeater per host is enough; a second one sees that, and ends at once without "
        "complaint.\n"
        "Clients, those of the EPICS C library included, find it at the port "
        "EPICS_CA_REPEATER_PORT.",
        options={**HELP, **REPEATER},
        work=_work,
        failed=2,
    )


main = entry(_tool)


if __name__ == "__main__":
    sys.exit(main())
