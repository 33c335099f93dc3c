"""Commands that find servers: searches, beacons, and the registration with the repeater.

See ``commands``.
"""
from __future__ import annotations

from .._errors import CaprotoValueError
from .constants import DO_REPLY, NO_REPLY, SENDER_ADDRESS
from .message import Message, header_field, name_payload, text_of, u16, u32
from .roles import REQUEST, RESPONSE


def pack_ip(ip: str) -> int:
    """Return a dotted quad as a 32 bit number."""
    try:
        quad = bytes(map(int, ip.split(".")))
    except (AttributeError, TypeError, ValueError):
        quad = b""
    if len(quad) != 4:
        raise CaprotoValueError(f"{ip!r} is not an IPv4 address")
    return int.from_bytes(quad, "big")


def unpack_ip(number: int) -> str:
    """Return a 32 bit number as a dotted quad."""
    return ".".join(map(str, number.to_bytes(4, "big")))


class SearchRequest(Message):
    """Who has this channel?

    Parameters
    ----------
    name : str
        At most 59 characters before the first dot.
    cid : int
        The client's id of the channel, returned in the reply.
    version : int
        Minor protocol version of the client.
    reply : int
        ``NO_REPLY`` (5) or ``DO_REPLY`` (10): answer also if you do not have it (TCP only).
    """

    __slots__ = ()
    ID, DIRECTION = 6, REQUEST

    def __init__(self, name: str, cid: int, version: int, reply: int = NO_REPLY) -> None:
        u32("cid", cid)
        self._fill(u16("reply", reply), u16("version", version), cid, cid, name_payload(name))

    reply = header_field(2, "5, or 10 if the client also wants to hear a no.")
    version = header_field(3, "Minor protocol version of the client.")
    cid = header_field(5, "The client's id of the channel.")

    @property
    def name(self) -> str:
        """Name of the channel."""
        return text_of(self.payload)


class SearchResponse(Message):
    """I have it.

    ``broadcaster.extract_address`` returns the address that this means.

    Parameters
    ----------
    port : int
        The server's TCP port.
    ip : str or None
        The server's address; None or '255.255.255.255' mean the sender of this message.
    cid : int
        As in the request.
    version : int or None
        Minor protocol version of the server; None over TCP, where it is not sent.
    """

    __slots__ = ()
    ID, DIRECTION = 6, RESPONSE

    def __init__(self, port: int, ip: str | None, cid: int, version: int | None) -> None:
        address = SENDER_ADDRESS if ip is None else pack_ip(ip)
        payload = b"" if version is None else u16("version", version).to_bytes(2, "big") + bytes(6)
        self._fill(u16("port", port), 0, address, u32("cid", cid), payload)

    port = header_field(2, "TCP port of the server.")
    cid = header_field(5, "The client's id of the channel.")

    @property
    def ip(self) -> str:
        """Address of the server; '255.255.255.255' means the sender."""
        return unpack_ip(self.fields[4])

    @property
    def version(self) -> int | None:
        """Minor protocol version of the server, None if it does not say."""
        payload = self.payload
        return payload[0] << 8 | payload[1] if len(payload) >= 2 else None


class NotFoundResponse(Message):
    """I do not have it: answer over TCP to a search with ``DO_REPLY``.

    Parameters
    ----------
    version : int
        Minor protocol version.
    cid : int
        As in the request.
    """

    __slots__ = ()
    ID, DIRECTION = 14, RESPONSE

    def __init__(self, version: int, cid: int) -> None:
        u32("cid", cid)
        self._fill(DO_REPLY, u16("version", version), cid, cid)

    version = header_field(3, "Minor protocol version.")
    cid = header_field(5, "The client's id of the channel.")


class Beacon(Message):
    """A server is alive.

    Parameters
    ----------
    version : int
        Minor protocol version of the server.
    server_port : int
        Its TCP port; 0 means the default port.
    beacon_id : int
        Counts the server's beacons.
    address : str or int
        Its address; '0.0.0.0' means the sender. The repeater fills it in.
    """

    __slots__ = ()
    ID, DIRECTION = 13, RESPONSE

    def __init__(
        self, version: int, server_port: int, beacon_id: int, address: str | int = "0.0.0.0"
    ) -> None:
        self._fill(
            u16("version", version),
            u16("server_port", server_port),
            u32("beacon_id", beacon_id),
            pack_ip(address) if isinstance(address, str) else u32("address", address),
        )

    version = header_field(2, "Minor protocol version of the server.")
    server_port = header_field(3, "TCP port of the server, 0 for the default.")
    beacon_id = header_field(4, "Counts the server's beacons.")

    @property
    def address(self) -> str:
        """Address of the server, '0.0.0.0' if it did not say."""
        return unpack_ip(self.fields[5])


class RepeaterRegisterRequest(Message):
    """Send me what you receive; to the repeater on this host.

    Parameters
    ----------
    client_address : str
        Our address.
    """

    __slots__ = ()
    ID, DIRECTION = 24, REQUEST

    def __init__(self, client_address: str = "0.0.0.0") -> None:
        self._fill(parameter2=pack_ip(client_address))

    @property
    def client_address(self) -> str:
        """Address of the client."""
        return unpack_ip(self.fields[5])


class RepeaterConfirmResponse(Message):
    """You are registered; from the repeater.

    Parameters
    ----------
    repeater_address : str
        The address under which the client is known.
    """

    __slots__ = ()
    ID, DIRECTION = 17, RESPONSE

    def __init__(self, repeater_address: str) -> None:
        self._fill(parameter2=pack_ip(repeater_address))

    @property
    def repeater_address(self) -> str:
        """The address under which the client is known."""
        return unpack_ip(self.fields[5])
