"""A client in one thread, to say anything to a server and to look at every answer.

>>> with RawClient(server.address) as client:
...     x = client.connect("x")                       # the client's end of a channel
...     reply = client.ask(x.read(), ReadNotifyResponse)
...     client.send_raw(b"rubbish")

Everything waits with a deadline.
"""
from __future__ import annotations

import socket
import struct
from collections import deque
from types import TracebackType
from typing import Any, TypeVar

from caproto import (
    CLIENT,
    ClientChannel,
    CreateChanResponse,
    VersionRequest,
    VirtualCircuit,
)

Command = TypeVar("Command")

#: Seconds after which a test that waits for a server gives up.
PATIENCE = 20.0


class Ended(Exception):
    """The server has closed the connection."""


class RawClient:
    """One TCP connection to a server.

    Parameters
    ----------
    address : tuple of (str, int)
        The server.
    version, priority : int
        What our VERSION says.
    greet : bool
        Whether VERSION is sent at once.
    small_buffer : bool
        Whether the kernel keeps little of what we do not read.

    Attributes
    ----------
    circuit : VirtualCircuit
        Our end; it must allow everything that the server says.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        version: int = 13,
        priority: int = 0,
        greet: bool = True,
        small_buffer: bool = False,
    ) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if small_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.circuit = VirtualCircuit(CLIENT, address, priority, protocol_version=version)
        self._received: deque[Any] = deque()
        if greet:
            self.send(VersionRequest(priority, version))

    # --- out

    def send(self, *commands: Any) -> None:
        """Send what a correct client may send now, in one piece."""
        self.send_raw(*self.circuit.send(*commands))

    def send_raw(self, *messages: Any) -> None:
        """Send anything, bytes or commands, in one piece."""
        self.socket.sendall(b"".join(map(bytes, messages)))

    def half_close(self) -> None:
        """Say that nothing more will come."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # --- in

    def receive(self, kind: type[Command] | None = None) -> Any:
        """The next command, or the next one of a kind: those in front of it are skipped.

        Raises
        ------
        Ended
        TimeoutError
        """
        while True:
            while self._received:
                command = self._received.popleft()
                if kind is None or type(command) is kind:
                    return command
            self._read()

    def rest(self) -> list[Any]:
        """Everything until the server closes the connection."""
        try:
            while True:
                self._read()
        except Ended:
            rest = list(self._received)
            self._received.clear()
            return rest

    def _read(self) -> None:
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionError:
            data = b""
        if not data:
            raise Ended
        commands = self.circuit.feed(data)
        if self.circuit.error is not None:
            raise self.circuit.error
        for command in commands:
            self.circuit.process_command(command)
            self._received.append(command)

    # --- both

    def ask(self, command: Any, kind: type[Command]) -> Any:
        """Send *command*; the next command of *kind*."""
        self.send(command)
        return self.receive(kind)

    def connect(self, name: str) -> ClientChannel:
        """Create a channel; what comes before the reply is skipped."""
        channel = ClientChannel(name, self.circuit)
        self.send(channel.create())
        self.receive(CreateChanResponse)
        return channel

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
