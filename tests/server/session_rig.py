"""Rig: a ServerSession and a client's circuit, joined in memory by bytes.

>>> rig = Rig({"x": ChannelDouble(value=1.5)})
>>> x = rig.connect("x")                      # the client's end of a channel
>>> (reply,) = rig.ask(x.read())              # what a correct client says, and what it hears
>>> (error,) = rig.raw(bytes.fromhex("…"))    # what no client should say

A job (a request that calls the user's functions) is run at once, or, with ``run_jobs=False``, waits
in `Rig.jobs` until the test runs it.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caproto import (
    CLIENT,
    AccessRightsResponse,
    ClientChannel,
    CreateChanRequest,
    CreateChanResponse,
    Message,
    VersionRequest,
    VersionResponse,
    VirtualCircuit,
)
from caproto._server.directory import Directory
from caproto._server.session import Job, ServerSession
from caproto.server import ChannelData

CLIENT_ADDRESS = ("10.0.0.2", 40000)


class Rig:
    """One session and its client.

    Parameters
    ----------
    pvs : mapping of str to ChannelData, or Directory
        What is served; two rigs on the same PVs are two clients of one server.
    version : int
        The client's minor version.
    greet : bool
        Whether the versions are exchanged at once.
    run_jobs : bool
    **options
        For the session.

    Attributes
    ----------
    session : ServerSession
    client : VirtualCircuit
        Checks what is sent by `ask`, and all that is received by it.
    jobs : list of Job
    wakes : int
        How often the session has called its wake function.
    """

    def __init__(
        self,
        pvs: Mapping[str, ChannelData] | Directory,
        *,
        version: int = 13,
        priority: int = 0,
        greet: bool = True,
        run_jobs: bool = True,
        **options: Any,
    ) -> None:
        directory = pvs if isinstance(pvs, Directory) else Directory(pvs)
        self.wakes = 0
        self.session = ServerSession(directory, CLIENT_ADDRESS, wake=self._wake, **options)
        self.client = VirtualCircuit(
            CLIENT, ("10.0.0.1", 5064), priority, protocol_version=version
        )
        self.version = version
        self.run_jobs = run_jobs
        self.jobs: list[Job] = []
        if greet:
            (greeting,) = self.ask(VersionRequest(priority, version))
            assert greeting == VersionResponse(13)

    def _wake(self) -> None:
        self.wakes += 1

    # --- client to server

    def send(self, *commands: Message) -> None:
        """Bring *commands* to the session; the client's circuit must allow them."""
        self.feed(*self.client.send(*commands))

    def feed(self, *buffers: Any) -> None:
        """Bring any bytes (or commands) to the session, as its owner would."""
        self.jobs += self.session.receive(b"".join(map(bytes, buffers)))
        if self.run_jobs:
            self.run()

    def run(self) -> None:
        """Run the jobs that wait, in their order."""
        while self.jobs:
            self.jobs.pop(0).run()

    # --- server to client

    def taken(self, limit: int = 1 << 30) -> list[Any]:
        """What the session has to say now, as commands; not checked by the client's circuit."""
        received, _ = self.client.recv(*self.session.take(limit))
        assert self.client.error is None
        return received

    def received(self, limit: int = 1 << 30) -> list[Any]:
        """What the session has to say now; the client's circuit must allow it."""
        commands = self.taken(limit)
        for command in commands:
            self.client.process_command(command)
        return commands

    # --- both

    def ask(self, *commands: Message) -> list[Any]:
        """Send what is allowed; return what comes back."""
        self.send(*commands)
        return self.received()

    def raw(self, *messages: Any) -> list[Any]:
        """Send anything (bytes or commands) past the client's circuit; return what comes back."""
        self.feed(*messages)
        return self.taken()

    def connect(self, name: str) -> ClientChannel:
        """Create a channel; the client's end of it, with ``sid``, type, count and rights."""
        channel = ClientChannel(name, self.client)
        rights, created = self.ask(CreateChanRequest(name, channel.cid, self.version))
        assert type(rights) is AccessRightsResponse and type(created) is CreateChanResponse
        return channel

    def value(self, channel: ClientChannel, data_type: Any = None, count: int = 0) -> Any:
        """What a read gives, as a list of Python values (text as str)."""
        (reply,) = self.ask(channel.read(data_type, count))
        assert reply.status == 1, reply.status
        return values_of(reply)


def values_of(reply: Any) -> list[Any]:
    """The elements of a reply or an update; text as str."""
    data = reply.data
    if reply.data_type in (0, 7, 14, 21, 28, 37, 38):
        return reply.strings
    return list(data.tolist())
