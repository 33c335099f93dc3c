"""Pair: a client's and a server's circuit, joined by a wire made of bytes.

Nearly every test of the protocol is a short script of ``pair.send(CLIENT, ...)`` and a look at what
came out at the other end.
"""
from __future__ import annotations

from caproto import (
    CLIENT,
    SERVER,
    ClientChannel,
    CreateChanResponse,
    Message,
    ServerChannel,
    VersionRequest,
    VersionResponse,
    VirtualCircuit,
)


class Pair:
    """Two circuits that talk to each other.

    Attributes
    ----------
    circuits : dict of Role to VirtualCircuit
    """

    def __init__(self, version: int = 13, priority: int = 0) -> None:
        self.circuits = {
            CLIENT: VirtualCircuit(CLIENT, ("10.0.0.1", 5064), priority),
            SERVER: VirtualCircuit(SERVER, ("10.0.0.2", 40000), protocol_version=version),
        }
        self.version = version

    @property
    def client(self) -> VirtualCircuit:
        return self.circuits[CLIENT]

    @property
    def server(self) -> VirtualCircuit:
        return self.circuits[SERVER]

    def send(self, role, *commands: Message) -> list[Message]:
        """Send *commands* as *role*; return what the other end received and accepted."""
        return self.carry(role, self.circuits[role].send(*commands))

    def carry(self, role, buffers) -> list[Message]:
        """Bring bytes that *role* has composed to the other end."""
        other = self.circuits[role.other]
        received, _ = other.recv(*buffers)
        for command in received:
            other.process_command(command)
        return received

    def greet(self) -> Pair:
        """Exchange the versions."""
        self.send(SERVER, VersionResponse(self.version))
        self.send(CLIENT, VersionRequest(self.client.priority, 13))
        return self

    def connect(
        self, name: str = "x", data_type: int = 6, data_count: int = 1, sid: int = 70
    ) -> tuple[ClientChannel, ServerChannel]:
        """Create a channel; both its ends."""
        channel = ClientChannel(name, self.client)
        self.send(CLIENT, channel.create())
        other = self.server.channels[channel.cid]
        self.send(
            SERVER, other.rights(3), CreateChanResponse(data_type, data_count, channel.cid, sid)
        )
        return channel, other
