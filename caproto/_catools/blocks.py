"""Blocks: what cainfo prints about the connection to a PV."""
from __future__ import annotations

import socket

from .._protocol.dbr import AccessRights
from ..threading.client import PV
from .access import facts_of
from .typenames import native_name, request_name

__all__ = ["host_name", "info_block"]


def info_block(pv: PV) -> str:
    """Write what cainfo prints."""
    native, room = facts_of(pv)
    rights = pv.access_rights or AccessRights.NO_ACCESS
    access = (
        "" if right in rights else "no " for right in (AccessRights.READ, AccessRights.WRITE)
    )
    return "\n".join([
        pv.name,
        "    State:            connected",
        f"    Host:             {host_name(pv)}",
        "    Access:           {}read, {}write".format(*access),
        f"    Native data type: {native_name(native)}",
        f"    Request type:     {request_name(native)}",
        f"    Element count:    {room}",
    ])


def host_name(pv: PV) -> str:
    """Return name and port of the server; the address if it has no name."""
    assert pv.server is not None
    try:
        host, port = socket.getnameinfo(pv.server, socket.NI_NUMERICSERV)
    except OSError:
        host, port = pv.server[0], str(pv.server[1])
    return f"{host}:{port}"
