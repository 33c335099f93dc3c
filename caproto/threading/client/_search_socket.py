"""SearchSocket: the UDP socket of a client, and the destinations of its searches.

It belongs to the search thread. Other threads may read its attributes at any time.
"""
from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from logging import Logger

from ..._environment import ClientConfiguration
from ..._os.sockets import Address, bcast_socket, making_socket, resolve_addresses
from ..._protocol.constants import MAX_DATAGRAM

#: Bytes to ask the kernel for, so that it can hold the answers to ten thousand searches.
RECEIVE_BUFFER = 1 << 22
LOOPBACK = "127.0.0.1"


class SearchSocket:
    """The socket, unbound to any destination.

    Parameters
    ----------
    configuration : ClientConfiguration
    log : Logger
        For destinations that cannot be reached.

    Attributes
    ----------
    socket : socket.socket
    destinations : tuple of (str, int)
        Where searches are sent; empty until `resolve`.
    name_servers : tuple of (str, int)
        The configured name servers, likewise.
    unresolved : list of str
        Configured addresses ('host:port') with an unknown host.
    resolved : bool
        Whether the configured addresses have been looked up.

    Raises
    ------
    CaprotoNetworkError
        If the system cannot open a socket.
    """

    def __init__(self, configuration: ClientConfiguration, log: Logger) -> None:
        self._configuration = configuration
        self._log = log
        self._errors: dict[Address, OSError] = {}
        self.destinations: tuple[Address, ...] = ()
        self.name_servers: tuple[Address, ...] = ()
        self.unresolved: list[str] = []
        self.resolved = False
        self.socket = bcast_socket(reuse=False, mcast_ttl=configuration.mcast_ttl)
        try:
            self.socket.setblocking(False)
            with making_socket():
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
                self.socket.bind(("", 0))
        except BaseException:
            self.socket.close()
            raise

    def resolve(self) -> None:
        """Look up where to search, once. Resolving host names may take seconds."""
        if self.resolved:
            return
        self.unresolved.clear()
        configuration = self._configuration
        self.destinations = self._look_up(configuration.search_addresses(), "EPICS_CA_ADDR_LIST")
        self.name_servers = self._look_up(configuration.name_servers, "EPICS_CA_NAME_SERVERS")
        self.resolved = True
        if not self.destinations and not self.name_servers:
            self._log.warning(
                "No PV can be found: EPICS_CA_ADDR_LIST and EPICS_CA_NAME_SERVERS name no known "
                "host, and EPICS_CA_AUTO_ADDR_LIST is NO"
            )

    def _look_up(self, addresses: Iterable[Address], variable: str) -> tuple[Address, ...]:
        found: dict[Address, None] = {}
        for host, port in addresses:
            numbers = resolve_addresses([(host, port)], variable)
            if not numbers:
                self.unresolved.append(f"{host}:{port}")
            found |= dict.fromkeys(numbers)
        return tuple(found)

    def problems(self) -> dict[Address, str]:
        """Map each destination to why sending failed the last time; empty if it did not."""
        errors = self._errors.copy()
        return {
            address: (errors[address].strerror or "") if address in errors else ""
            for address in self.destinations
        }

    def send(self, datagram: bytes) -> None:
        """Send to every destination; one that cannot be reached does not affect the others."""
        for destination in self.destinations:
            try:
                self.socket.sendto(datagram, destination)
            except OSError as error:
                known = self._errors.get(destination)
                self._errors[destination] = error
                if known is None or known.errno != error.errno:  # log it once
                    self._log.warning(
                        "Cannot send searches to %s:%d: %s", *destination, error.strerror
                    )
            else:
                if self._errors:
                    self._errors.pop(destination, None)

    def send_to_repeater(self, datagram: bytes) -> None:
        """Send to the repeater on this host."""
        try:
            self.socket.sendto(datagram, (LOOPBACK, self._configuration.repeater_port))
        except OSError as error:
            self._log.debug("Cannot register with the repeater: %s", error)

    def receive(self, limit: int) -> Iterator[tuple[bytes, Address]]:
        """Take in the datagrams that are there, with their senders; at most *limit* attempts."""
        for _ in range(limit):
            try:
                datagram = self.socket.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                continue  # an earlier datagram could not be delivered
            yield datagram

    def close(self) -> None:
        """Close the socket. May be called twice."""
        self.socket.close()
