"""The sockets of a server: UDP for searches, TCP for clients; ports, broadcasts and multicasts."""
from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from ..._addresses import ANY_INTERFACE, interface_addresses
from ..._environment import ServerConfiguration
from ..._errors import CaprotoNetworkError
from ..._log import CONTEXT_LOGGER, adapter
from ..._os.sockets import bcast_socket, resolve_addresses, share_port

__all__ = ["Listening"]

_log = adapter(CONTEXT_LOGGER, role="SERVER")

#: How often to try for a port that is free for TCP and UDP.
_PORT_TRIES = 50


class Listening:
    """Sockets that are bound and, for TCP, listen; none of them blocks.

    Parameters
    ----------
    configuration : ServerConfiguration

    Attributes
    ----------
    searchers : list of socket.socket
        Receive searches.
    listeners : list of socket.socket
        Accept clients.
    udp_port, tcp_port : int
        The ports in use. They differ if the TCP port was taken.

    Raises
    ------
    CaprotoNetworkError
        No interface has a configured address, or no port is free.
    """

    def __init__(self, configuration: ServerConfiguration) -> None:
        self._configuration = configuration
        self.searchers: list[socket.socket] = []
        self.listeners: list[socket.socket] = []
        self.udp_port = self.tcp_port = 0
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all sockets."""
        for sockets in (self.listeners, self.searchers):
            while sockets:
                sockets.pop().close()

    def _open(self) -> None:
        hosts = [host for host in self._configuration.interfaces if not _is_multicast(host)]
        addresses = ((host, 0) for host in hosts or [ANY_INTERFACE])
        unicast = [host for host, _ in resolve_addresses(addresses, "EPICS_CAS_INTF_ADDR_LIST")]
        if not unicast:
            raise CaprotoNetworkError(errno.EADDRNOTAVAIL, f"no interface is called {hosts}")
        self._open_ports(unicast, self._configuration.server_port)
        self._add_broadcast_sockets(unicast)
        self._join_multicast()

    def _open_ports(self, hosts: Sequence[str], wanted: int) -> None:
        for _ in range(_PORT_TRIES):
            try:
                self.udp_port = wanted
                for host in hosts:
                    self.searchers.append(self._search_socket(host, self.udp_port))
                    self.udp_port = self.searchers[0].getsockname()[1]
                self._listen(hosts, self.udp_port, exactly=not wanted)
                return
            except OSError as exc:
                self.close()
                if wanted or exc.errno != errno.EADDRINUSE:
                    raise CaprotoNetworkError(
                        exc.errno, f"cannot serve on port {wanted} of {hosts}: {exc.strerror}"
                    ) from exc
        raise CaprotoNetworkError(errno.EADDRINUSE, "no port is free for both TCP and UDP")

    def _search_socket(self, host: str, port: int) -> socket.socket:
        # Several servers on one host share the search port; one that takes any free port must not.
        sock = bcast_socket(reuse=bool(port), mcast_ttl=self._configuration.mcast_ttl)
        try:
            sock.setblocking(False)
            sock.bind((host, port))
            share_port(sock)  # with our own for broadcasts and multicasts
        except BaseException:
            sock.close()
            raise
        return sock

    def _listen(self, hosts: Sequence[str], port: int, exactly: bool) -> None:
        """Listen on all *hosts* on *port*; if it is taken, on another one, the same for all."""
        for attempt in range(_PORT_TRIES):
            try:
                for host in hosts:
                    self.listeners.append(_listener(host, port))
                    port = self.listeners[0].getsockname()[1]
                self.tcp_port = port
                return
            except OSError as exc:
                while self.listeners:
                    self.listeners.pop().close()
                if exactly or exc.errno != errno.EADDRINUSE or attempt == _PORT_TRIES - 1:
                    raise
                if attempt == 0:
                    _log.warning("TCP port %d is taken; using another one", port)
                port = 0

    def _add_broadcast_sockets(self, hosts: Sequence[str]) -> None:
        """Hear broadcasts on addresses, too.

        A socket that is bound to one address does not hear them; on Unix one that is bound to the
        broadcast address does.
        """
        for address, target in interface_addresses():
            if address in hosts and address != ANY_INTERFACE and target != address:
                try:
                    self.searchers.append(self._search_socket(target, self.udp_port))
                except OSError as exc:
                    _log.debug("Cannot hear broadcasts to %s: %s", target, exc)

    def _join_multicast(self) -> None:
        for host in self._configuration.interfaces:
            if _is_multicast(host):
                group = socket.inet_aton(host) + socket.inet_aton(ANY_INTERFACE)
                try:
                    sock = self._search_socket(host, self.udp_port)
                    self.searchers.append(sock)
                    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
                except OSError as exc:
                    _log.warning("Cannot join the multicast group %s: %s", host, exc)


def _listener(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Without this the port would stay taken for a minute after a restart.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind((host, port))
        sock.listen(128)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_multicast(host: str) -> bool:
    first = host.split(".")[0]
    return first.isdigit() and 224 <= int(first) < 240
