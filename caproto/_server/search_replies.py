"""How a server answers a search datagram."""
from __future__ import annotations

from .._errors import RemoteProtocolError
from .._log import SEARCH_LOGGER, adapter
from .._protocol.broadcaster import searches_in
from .._protocol.commands import SearchResponse, VersionRequest, VersionResponse
from .._protocol.constants import DEFAULT_PROTOCOL_VERSION, MAX_SEARCH_DATAGRAM, SENDER_ADDRESS
from .._protocol.framing import read_datagram
from .._protocol.roles import CLIENT
from .directory import Directory

__all__ = ["search_replies"]

_log = adapter(SEARCH_LOGGER, role="SERVER")

#: To clients from this minor version on, replies carry the sequence number of the search.
_SEQUENCE_VERSION = 11
_VERSION_PAYLOAD = DEFAULT_PROTOCOL_VERSION.to_bytes(2, "big") + bytes(6)
#: Found names per datagram: 24 bytes each, after a VERSION of 16.
_FOUND_PER_DATAGRAM = (MAX_SEARCH_DATAGRAM - 16) // 24


def search_replies(
    datagram: bytes, sender: tuple[str, int], directory: Directory, port: int
) -> list[bytes]:
    """Answer a datagram that may be a search.

    Parameters
    ----------
    datagram : bytes
        As received. It is not trusted.
    sender : tuple of (str, int)
        For the log.
    directory : Directory
        The PVs of this server.
    port : int
        Its TCP port.

    Returns
    -------
    list of bytes
        Datagrams to send back, of at most 1024 bytes each; none if we have none of the names.
    """
    commands, error = read_datagram(datagram, sender, CLIENT)
    if error is not None:
        _log.debug("%s", error, extra={"their_address": sender})
    found: list[bytes] = []
    header = b""
    try:
        for version, search in searches_in(commands):
            header = _header(version)
            if directory.has(search.name):
                found.append(_found(search.cid, port))
    except RemoteProtocolError as exc:
        _log.debug("%s", exc, extra={"their_address": sender})
    return [
        header + b"".join(found[start : start + _FOUND_PER_DATAGRAM])
        for start in range(0, len(found), _FOUND_PER_DATAGRAM)
    ]


def _header(version: VersionRequest) -> bytes:
    """Return the sequence number of the search to clients that understand it."""
    if version.version < _SEQUENCE_VERSION:
        return b""
    fields = (VersionResponse.ID, 0, 1, DEFAULT_PROTOCOL_VERSION, version.fields[4], 0)
    return bytes(VersionResponse.from_wire(fields, b""))


def _found(cid: int, port: int) -> bytes:
    fields = (SearchResponse.ID, len(_VERSION_PAYLOAD), port, 0, SENDER_ADDRESS, cid)
    return bytes(SearchResponse.from_wire(fields, _VERSION_PAYLOAD))
