"""caproto-info: print what is known about the connection to PVs, as cainfo does.

Linked as ``cainfo`` it calls itself so in its messages.
"""
from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .._catools.options import CONNECTION, HELP, INTEREST
from .._catools.program import Tool, run
from .._catools.settings import Settings

if TYPE_CHECKING:
    from ..threading.client import PV

__all__ = ["main"]


def _work(settings: Settings, names: list[str]) -> int:
    from .._catools.access import connect, start

    with start(settings, names) as context:
        for pv in connect(context, names, settings):
            print(context.explain(pv) if settings.interest else _block(pv))
    return 0


def _block(pv: PV) -> str:
    from .._catools.access import facts_of
    from .._catools.typenames import native_name, request_name
    from .._protocol.dbr import AccessRights

    native, room = facts_of(pv)
    rights = pv.access_rights or AccessRights.NO_ACCESS
    access = (
        "" if right in rights else "no " for right in (AccessRights.READ, AccessRights.WRITE)
    )
    return "\n".join([
        pv.name,
        "    State:            connected",
        f"    Host:             {_host(pv)}",
        "    Access:           {}read, {}write".format(*access),
        f"    Native data type: {native_name(native)}",
        f"    Request type:     {request_name(native)}",
        f"    Element count:    {room}",
    ])


def _host(pv: PV) -> str:
    """Return name and port of the server; the address if it has no name."""
    import socket

    assert pv.server is not None
    try:
        host, port = socket.getnameinfo(pv.server, socket.NI_NUMERICSERV)
    except OSError:
        host, port = pv.server[0], str(pv.server[1])
    return f"{host}:{port}"


_TOOL = Tool(
    name="caproto-info",
    usage="[options] PV ...",
    about="Prints what is known about the connection to PVs.",
    options={**HELP, **CONNECTION, **INTEREST},
    work=_work,
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
        Exit status: 1 for a wrong command line and if a PV was not found.
    """
    return run(_TOOL, argv)


if __name__ == "__main__":
    sys.exit(main())
