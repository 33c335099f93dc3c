"""The short way to a value: one datagram, one circuit, one read, without threads.

To import and start the client takes longer than all the rest of a ``caproto-get``. So that program
first tries it in the simplest way that the protocol allows. At the first thing that is not as usual
it gives up, and the client does it all from the beginning, with its patience and its messages.
"""
from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic

from .._environment import ClientConfiguration
from .._errors import CaprotoError
from .._os.sockets import (
    READABLE,
    Address,
    bcast_socket,
    poll,
    resolve_host,
    stream_socket,
    user_name,
)
from .._protocol.broadcaster import Broadcaster, extract_address
from .._protocol.circuit import VirtualCircuit
from .._protocol.client_channel import ClientChannel
from .._protocol.commands import (
    AccessRightsResponse,
    ClientNameRequest,
    CreateChanResponse,
    HostNameRequest,
    Message,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    SearchResponse,
    VersionRequest,
    VersionResponse,
)
from .._protocol.constants import DEFAULT_PROTOCOL_VERSION
from .._protocol.dbr import AccessRights, ChannelType
from .._protocol.framing import UNLIMITED
from .._protocol.roles import CLIENT
from .._protocol.status import CAStatus
from .._typing import NamedTuple
from .request_form import request_form
from .settings import Settings

__all__ = ["Answer", "read_once"]

#: Seconds for everything. Servers answer searches within a few milliseconds.
_PATIENCE = 0.1
#: Bytes. Larger datagrams may not arrive.
_LARGEST_DATAGRAM = 1024


class Answer(NamedTuple):
    """A value, and the facts of its channel."""

    native: ChannelType
    room: int
    response: ReadNotifyResponse


class _Unusual(Exception):
    """Something is not as it should be: the client is needed."""


def read_once(
    names: Sequence[str], settings: Settings, configuration: ClientConfiguration
) -> list[Answer] | None:
    """Read PVs in the simplest way.

    Parameters
    ----------
    names : sequence of str
    settings : Settings
    configuration : ClientConfiguration
        Where to search, and so on.

    Returns
    -------
    list of Answer, or None
        For each name. None if the client is needed: the names are many or not found at once, name
        servers are to be asked, two servers have one of them, a server refuses something.
    """
    if configuration.name_servers:
        return None
    try:
        return _read(names, settings, configuration, monotonic() + _PATIENCE)
    except (OSError, CaprotoError, _Unusual):  # those of the system may be CaprotoErrors, or not
        return None


def _read(
    names: Sequence[str],
    settings: Settings,
    configuration: ClientConfiguration,
    deadline: float,
) -> list[Answer]:
    answers: dict[str, Answer] = {}
    with _Search(dict.fromkeys(names), configuration) as search:
        for (address, version), found in search.run(deadline).items():
            conversation = _Conversation(address, version, settings, configuration)
            answers |= conversation.run(found, deadline)
        search.check_alone()
    return [answers[name] for name in names]


class _Search:
    """Finds the servers of some names by one datagram to each address."""

    def __init__(self, names: Iterable[str], configuration: ClientConfiguration) -> None:
        self._broadcaster = Broadcaster(CLIENT)
        self._names = dict(enumerate(names, 1))
        self._port = configuration.server_port
        if sum(map(len, self._names.values())) > _LARGEST_DATAGRAM:  # or one is too long for CA
            raise _Unusual
        datagram = self._broadcaster.search_datagram(1, self._names.items())
        if len(datagram) > _LARGEST_DATAGRAM:
            raise _Unusual
        self._servers: dict[str, tuple[Address, int]] = {}
        # An unknown host is unusual: the client has a message about it.
        addresses = {
            (resolve_host(host), port): None for host, port in configuration.search_addresses()
        }
        self._socket = bcast_socket(reuse=False, mcast_ttl=configuration.mcast_ttl)
        for address in addresses:
            self._socket.sendto(datagram, address)

    def __enter__(self) -> _Search:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def run(self, deadline: float) -> Mapping[tuple[Address, int], list[str]]:
        """Wait for the answers; return each server and its version, with the names it has."""
        while len(self._servers) < len(self._names):
            if not poll({self._socket: READABLE}, deadline - monotonic()):
                raise _Unusual
            self._receive()
        servers: dict[tuple[Address, int], list[str]] = {}
        for name, server in self._servers.items():
            servers.setdefault(server, []).append(name)
        return servers

    def check_alone(self) -> None:
        """Find out whether another server has answered meanwhile: the client warns of that."""
        while poll({self._socket: READABLE}, 0):
            self._receive()

    def _receive(self) -> None:
        for command in self._broadcaster.recv(*self._socket.recvfrom(65536)):
            if not isinstance(command, SearchResponse) or command.cid not in self._names:
                continue
            server = extract_address(command, self._port), command.version or 0
            if self._servers.setdefault(self._names[command.cid], server) != server:
                raise _Unusual


class _Conversation:
    """Reads some PVs of one server."""

    def __init__(
        self,
        address: Address,
        version: int,
        settings: Settings,
        configuration: ClientConfiguration,
    ) -> None:
        self._settings = settings
        limit = int(min(configuration.max_payload, UNLIMITED))
        self._circuit = VirtualCircuit(
            CLIENT, address, settings.priority, peer_version=version, max_payload=limit
        )
        self._channels: dict[int, ClientChannel] = {}
        self._reads: dict[int, ClientChannel] = {}
        self._answers: dict[str, Answer] = {}

    def run(self, names: Sequence[str], deadline: float) -> dict[str, Answer]:
        """Connect, create the channels, read each as soon as it is there, and hang up."""
        circuit = self._circuit
        greeting: list[Message] = [
            VersionRequest(self._settings.priority, DEFAULT_PROTOCOL_VERSION),
            ClientNameRequest(user_name()),
            HostNameRequest(socket.gethostname()),
        ]
        for name in names:
            channel = ClientChannel(name, circuit)
            self._channels[channel.cid] = channel
            greeting.append(channel.create())
        with stream_socket() as sock:
            sock.settimeout(_left(deadline))
            sock.connect(circuit.address)
            sock.sendall(b"".join(circuit.send(*greeting)))
            while len(self._answers) < len(names):
                sock.settimeout(_left(deadline))
                received = sock.recv_into(circuit.get_buffer())
                if not received:
                    raise _Unusual
                requests = self._take(circuit.buffer_updated(received))
                if requests:
                    sock.sendall(b"".join(circuit.send(*requests)))
        return self._answers

    def _take(self, commands: Iterable[Message]) -> list[Message]:
        """Take what the server says; return what to ask next."""
        requests: list[Message] = []
        for command in commands:
            self._circuit.process_command(command)
            if isinstance(command, CreateChanResponse):
                requests.append(self._request(self._channels[command.cid]))
            elif isinstance(command, ReadNotifyResponse) and command.status == CAStatus.ECA_NORMAL:
                channel = self._reads[command.ioid]
                self._answers[channel.name] = Answer(*_facts(channel), command)
            elif not isinstance(command, (VersionResponse, AccessRightsResponse)):
                raise _Unusual
        return requests

    def _request(self, channel: ClientChannel) -> ReadNotifyRequest | ReadRequest:
        rights = channel.access_rights
        if rights is not None and AccessRights.READ not in rights:
            raise _Unusual
        data_type, count = request_form(*_facts(channel), self._settings)
        ioid = self._circuit.new_ioid()
        self._reads[ioid] = channel
        return channel.read(data_type, count, ioid)


def _left(deadline: float) -> float:
    """Return the seconds until *deadline*."""
    left = deadline - monotonic()
    if left <= 0:
        raise _Unusual
    return left


def _facts(channel: ClientChannel) -> tuple[ChannelType, int]:
    """Return type and room of a channel that was created."""
    if channel.native_data_type is None or channel.native_data_count is None:
        raise _Unusual
    return channel.native_data_type, channel.native_data_count
