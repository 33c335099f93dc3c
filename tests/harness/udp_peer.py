"""A UDP socket on the loopback that answers a client's searches with what a test tells it to."""
from __future__ import annotations

import socket

import caproto as ca
from tests.harness.ports import LOOPBACK


class Peer:
    """A server's UDP side, by hand.

    Attributes
    ----------
    sock : socket.socket
    client : tuple of (str, int) or None
        Who sent the last datagram; `send` answers there.
    """

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((LOOPBACK, 0))
        self.sock.settimeout(10)
        self.client: tuple[str, int] | None = None
        self._searches: list[ca.SearchRequest] = []

    @property
    def address(self) -> tuple[str, int]:
        """Where to send searches to."""
        return self.sock.getsockname()

    def datagram(self) -> bytes:
        """The next datagram."""
        data, self.client = self.sock.recvfrom(65536)
        return data

    def receive(self) -> list[ca.Message]:
        """The commands of the next datagram."""
        return ca.Broadcaster(ca.SERVER).recv(self.datagram(), self.client)

    def search(self, name: str) -> ca.SearchRequest:
        """The next search for *name*; others are kept."""
        while True:
            for search in self._searches:
                if search.name == name:
                    self._searches.remove(search)
                    return search
            self._searches += [c for c in self.receive() if isinstance(c, ca.SearchRequest)]

    def send(self, *commands: ca.Message) -> None:
        """One datagram, however wrong."""
        self.sock.sendto(b"".join(map(bytes, commands)), self.client)

    def close(self) -> None:
        """Give the socket back."""
        self.sock.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
