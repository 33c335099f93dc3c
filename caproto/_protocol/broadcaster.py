"""Broadcaster: the datagrams of a client or a server, without the socket.

Searches and their replies, beacons, and the registration with the repeater. Datagrams may come
from any host: :meth:`Broadcaster.recv` never raises because of what they contain. What is legal
before the first fault is returned, the rest is dropped and noted in the log.

``_client.search_plan`` decides when to search which name; this module uses no sockets and no
clock, and it is not thread-safe.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator

from .._addresses import Address
from .._errors import (
    CaprotoTypeError,
    CaprotoValueError,
    LocalProtocolError,
    RemoteProtocolError,
)
from .._typing import TYPE_CHECKING
from .commands import (
    DATAGRAM_COMMANDS,
    Beacon,
    RepeaterConfirmResponse,
    RepeaterRegisterRequest,
    SearchRequest,
    SearchResponse,
    VersionRequest,
)
from .constants import (
    DEFAULT_PROTOCOL_VERSION,
    MINIMUM_PROTOCOL_VERSION,
    NO_REPLY,
    SENDER_ADDRESS,
    SERVER_PORT,
)
from .framing import read_datagram
from .headers import HEADER
from .message import Message
from .roles import CLIENT, SERVER, Role
from .text import encode_text

if TYPE_CHECKING:
    from .._log import ObjectLogger

__all__ = ["Broadcaster", "extract_address", "searches_in"]

#: Data type of a VERSION message whose sequence number counts.
_HAS_SEQUENCE = 1
#: From here on the port in a search reply counts; from here on the address does.
_PORT_VERSION, _ADDRESS_VERSION = 5, 8
_ID_LIMIT = 0xFFFFFFFF


class Broadcaster:
    """What a client or a server sends and receives by UDP.

    Parameters
    ----------
    our_role : Role
        ``CLIENT`` or ``SERVER``.
    protocol_version : int
        Our minor version.

    Attributes
    ----------
    our_role, their_role : Role
    protocol_version : int
    client_address : tuple of (str, int) or None
    server_addresses : list of (str, int)
        For the owner to note; the conversation does not depend on them.
    registered : bool
        Whether the repeater has confirmed that it sends us beacons.
    """

    def __init__(self, our_role: Role, protocol_version: int = DEFAULT_PROTOCOL_VERSION) -> None:
        if our_role not in (CLIENT, SERVER):
            raise CaprotoValueError(f"our_role must be CLIENT or SERVER, not {our_role!r}")
        self.our_role, self.their_role = our_role, our_role.other
        self.protocol_version = protocol_version
        self.client_address: Address | None = None
        self.server_addresses: list[Address] = []
        self.registered = False
        self._log: ObjectLogger | None = None  # made for who asks
        self._next_cid = 1

    @property
    def log(self) -> ObjectLogger:
        """The logger of this broadcaster."""
        if self._log is None:
            # Here, because `logging` takes long to import.
            from .._log import SEARCH_LOGGER, adapter

            self._log = adapter(SEARCH_LOGGER, role=self.our_role.name)
        return self._log

    @property
    def our_addresses(self) -> list[Address]:
        """Those that the owner has noted for our role."""
        return self._addresses_of(self.our_role)

    @property
    def their_addresses(self) -> list[Address]:
        """Those that the owner has noted for the other role."""
        return self._addresses_of(self.their_role)

    def _addresses_of(self, role: Role) -> list[Address]:
        if role is SERVER:
            return list(self.server_addresses)
        return [] if self.client_address is None else [self.client_address]

    def disconnect(self) -> None:
        """Note that the socket is closed: we are not registered any more."""
        self.registered = False

    def send(self, *commands: Message) -> bytes:
        """Compose one datagram that carries *commands*.

        Raises
        ------
        LocalProtocolError
            For a command that our role does not send by UDP.
        """
        allowed = DATAGRAM_COMMANDS[self.our_role]
        for command in commands:
            if allowed.get(command.ID) is not type(command):
                raise LocalProtocolError(
                    f"a {self.our_role.value} does not send a {type(command).__name__} by UDP"
                )
        return b"".join(map(bytes, commands))

    def recv(
        self, byteslike: bytes | bytearray | memoryview, address: Address | None
    ) -> list[Message]:
        """Parse a datagram.

        Parameters
        ----------
        byteslike : bytes-like
            A whole datagram. An empty one has no commands.
        address : tuple of (str, int)
            Its sender.

        Returns
        -------
        commands : list of Message
            Those before the first fault; search replies from servers that are too old are left
            out. Pass them to :meth:`process_commands`.
        """
        commands, error = read_datagram(bytes(byteslike), address, self.their_role)
        if error is not None:
            self.log.debug("Ignored the rest of a datagram from %s: %s", address, error)
        if self.our_role is SERVER:
            return commands
        return [
            command
            for command in commands
            if type(command) is not SearchResponse
            or (command.version or 0) >= MINIMUM_PROTOCOL_VERSION
        ]

    def process_commands(self, commands: Iterable[Message]) -> None:
        """Note what the received *commands* of one datagram change.

        Raises
        ------
        RemoteProtocolError
            As a server: for a search that no valid VERSION message precedes. An IOC ignores such
            datagrams.
        """
        if self.our_role is CLIENT:
            if any(type(command) is RepeaterConfirmResponse for command in commands):
                self.registered = True
            return
        for _ in searches_in(commands):
            pass

    def register(self, ip: str = "0.0.0.0") -> RepeaterRegisterRequest:
        """Ask the repeater on this host for beacons.

        Parameters
        ----------
        ip : str
            Our address.
        """
        return RepeaterRegisterRequest(ip)

    def search(
        self, name: str, cid: int | None = None, sequence: int | None = None
    ) -> tuple[VersionRequest, SearchRequest]:
        """Compose a search for the channel *name*, for one datagram.

        Parameters
        ----------
        name : str
        cid : int, optional
            By default a new one.
        sequence : int, optional
            Number of the datagram; servers copy it into their reply.
        """
        if cid is None:
            cid, self._next_cid = self._next_cid, self._next_cid % _ID_LIMIT + 1
        version = self.protocol_version
        return VersionRequest(0, version, sequence), SearchRequest(name, cid, version)

    def search_datagram(self, sequence: int, searches: Iterable[tuple[int, str]]) -> bytes:
        """Compose the datagram that asks for many names, quickly.

        Parameters
        ----------
        sequence : int
        searches : iterable of (int, str)
            Pairs of cid and name; the names are not checked.
        """
        version, pack = self.protocol_version, HEADER.pack
        parts = [pack(VersionRequest.ID, 0, _HAS_SEQUENCE, version, sequence, 0)]
        for cid, name in searches:
            text = name.encode() if name.isascii() else encode_text(name)
            size = (len(text) // 8 + 1) * 8
            header = pack(SearchRequest.ID, size, NO_REPLY, version, cid, cid)
            parts += header, text.ljust(size, b"\0")
        return b"".join(parts)

    def __repr__(self) -> str:
        return f"<Broadcaster {self.our_role!r} registered={self.registered}>"


def searches_in(commands: Iterable[Message]) -> Iterator[tuple[VersionRequest, SearchRequest]]:
    """Yield the searches of one datagram, each with the VERSION message that precedes it.

    Raises
    ------
    RemoteProtocolError
        At the first search that no VERSION message precedes, or that comes from a client that is
        too old. Ignore the rest of the datagram.
    """
    version = None
    for command in commands:
        if type(command) is VersionRequest:
            version = command
        elif type(command) is SearchRequest:
            if version is None or min(version.version, command.version) < MINIMUM_PROTOCOL_VERSION:
                raise RemoteProtocolError(
                    f"search from {command.sender_address} is not preceded by a valid VERSION"
                )
            yield version, command


def extract_address(
    response: SearchResponse | Beacon, default_port: int = SERVER_PORT
) -> tuple[str, int]:
    """Return the address of the server that a search reply (or a beacon) names.

    Parameters
    ----------
    response : SearchResponse or Beacon
        As received: its ``sender_address`` counts.
    default_port : int
        Port of servers that do not send their own.

    Returns
    -------
    address : tuple of (str, int)

    Raises
    ------
    CaprotoValueError
        If the reply says "the sender" and has none.
    CaprotoTypeError
        If *response* is something else.

    Notes
    -----
    Over UDP the port in the reply counts from version 4.5 on, the address from 4.8 on; 0xFFFFFFFF
    means the sender. Over TCP the reply has no payload, and there 0xFFFFFFFF means the peer of the
    circuit itself, whatever the port is.
    """
    if isinstance(response, Beacon):
        port = response.server_port or default_port
        given = response.address != "0.0.0.0"
        return (response.address if given else _sender(response)[0]), port
    if not isinstance(response, SearchResponse):
        raise CaprotoTypeError(f"response must be a SearchResponse or Beacon, not {response!r}")
    version, port = response.version, response.port
    given = response.fields[4] != SENDER_ADDRESS
    if version is None:
        return (response.ip, port) if given else _sender(response)
    ip = response.ip if given and version >= _ADDRESS_VERSION else _sender(response)[0]
    return ip, (port if version >= _PORT_VERSION else default_port)


def _sender(response: Message) -> tuple[str, int]:
    if response.sender_address is None:
        raise CaprotoValueError(f"{response!r} names no address and has no sender")
    return response.sender_address
