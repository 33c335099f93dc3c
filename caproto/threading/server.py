"""Servers: `Server` puts PVs on the network, `run` does so until the process is told to end.

::

    Server                     one thread, ``ca-server``: answers searches over UDP, accepts
     │                         clients, sends beacons, starts scans
     ├─ ServerClient           one thread each, ``ca-client HOST:PORT``: see ``_server_client``
     ├─ Workers                threads for getters, putters and scans: see ``_workers``
     └─ startup functions      one thread each, ``ca-startup NAME``

A server owns its sockets and threads, not its PVs: these may be changed by any thread before, while
and after they are served.
"""
from __future__ import annotations

import dataclasses
import errno
import functools
import logging
import math
import selectors
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from time import monotonic
from types import TracebackType
from typing import Any

from .. import _locks
from .._addresses import ANY_INTERFACE, interface_addresses
from .._broadcaster import searches_in
from .._commands import Beacon, SearchResponse, VersionRequest, VersionResponse
from .._constants import (
    DEFAULT_PROTOCOL_VERSION,
    MAX_SEARCH_DATAGRAM,
    SENDER_ADDRESS,
)
from .._environment import ServerConfiguration
from .._errors import CaprotoNetworkError, CaprotoRuntimeError, RemoteProtocolError
from .._framing import UNLIMITED, read_datagram
from .._log import CONTEXT_LOGGER, ROOT_LOGGER, SEARCH_LOGGER, adapter
from .._message import Message
from .._roles import CLIENT
from .._signals import EndSignals
from .._sockets import WakeUp, bcast_socket, resolve_addresses, share_port
from ..server._data import ChannelData
from ..server._directory import Directory
from ..server._group import PVGroup
from . import _waiting
from ._scans import Scan, Scans
from ._server_client import ServerClient
from ._workers import Workers

__all__ = ["Server", "run"]

_log = logging.getLogger(CONTEXT_LOGGER)

#: A server's replies carry the sequence number of the search from here on.
_SEQUENCE_VERSION = 11
_REPLY_PAYLOAD = DEFAULT_PROTOCOL_VERSION.to_bytes(2, "big") + bytes(6)
#: Replies per datagram: 24 bytes each behind a VERSION of 16.
_REPLIES = (MAX_SEARCH_DATAGRAM - 16) // 24
#: Seconds from the first beacon to the second; then twice as many each time, up to the period.
FIRST_BEACON_INTERVAL = 0.02
#: Datagrams taken from one socket before the others have their turn.
_BURST = 200
#: How long `Server.stop` waits for functions of the user, in seconds.
_PATIENCE = 1.0
_PORT_TRIES = 50
#: Seconds without new clients after one could not be served for lack of descriptors or threads.
ACCEPT_PAUSE = 1.0


class Server:
    """Serves PVs until it is stopped; also a context manager.

    Parameters
    ----------
    pvs : PVGroup or mapping of str to ChannelData
        What to serve.
    configuration : ServerConfiguration, optional
        Default: from the environment.

    Attributes
    ----------
    tcp_port, udp_port : int
        The ports in use, once it has started. They differ if the TCP port was taken.
    clients : tuple of ServerClient
        Those that are connected.

    Raises
    ------
    CaprotoNetworkError
        By `start`: no port could be had.
    """

    def __init__(
        self,
        pvs: PVGroup | Mapping[str, ChannelData],
        configuration: ServerConfiguration | None = None,
    ) -> None:
        self.configuration = configuration or ServerConfiguration.from_environment()
        self.pvdb: Mapping[str, ChannelData] = pvs.pvdb if isinstance(pvs, PVGroup) else pvs
        for name, data in self.pvdb.items():
            data.name = data.name or name
        self.directory = Directory(self.pvdb)
        self.tcp_port = self.udp_port = 0
        self.log = adapter(CONTEXT_LOGGER, role="SERVER")
        self._search_log = adapter(SEARCH_LOGGER, role="SERVER")
        self._lock = _locks.Lock()
        self._clients: dict[ServerClient, None] = {}
        self._state = "new"
        self._workers = Workers(self._workers_short)
        self._workers_again = math.inf  # when to try again to start their threads
        self._startups: list[threading.Thread] = []
        self._listeners: list[socket.socket] = []
        self._accept_again = 0.0  # not before; never if we accept already
        self._searchers: list[socket.socket] = []
        self._ignored = frozenset(
            host for host, _ in resolve_addresses(
                ((host, 0) for host in self.configuration.ignore_addr_list),
                "EPICS_CAS_IGNORE_ADDR_LIST",
            )
        )
        max_payload = self.configuration.max_payload
        self._max_payload = UNLIMITED if max_payload > UNLIMITED else int(max_payload)
        self._thread = threading.Thread(target=self._run, name="ca-server", daemon=True)

    @property
    def clients(self) -> tuple[ServerClient, ...]:
        """The clients that are connected."""
        with self._lock:
            return tuple(self._clients)

    # --- life

    def start(self) -> Server:
        """Open the sockets and start; when this returns clients can connect.

        Raises
        ------
        CaprotoNetworkError
            No port could be had.
        CaprotoRuntimeError
            It has been started before.
        """
        if self._state != "new":
            raise CaprotoRuntimeError(f"the server is {self._state}; make another one")
        with ExitStack() as undo:
            undo.callback(setattr, self, "_state", "stopped")
            self._wake = WakeUp()
            undo.callback(self._wake.close)
            undo.callback(self._close_sockets)
            self._open_sockets()
            self._beacons = _Beacons(self.configuration, self.tcp_port)
            undo.callback(self._beacons.close)
            self._selector = undo.enter_context(selectors.DefaultSelector())
            self._scans = Scans(self.pvdb.values(), monotonic(), self._wake.set)
            undo.callback(self._scans.close)
            for event in self._stop_events():
                event.clear()
            self._state = "running"
            self._thread.start()
            undo.pop_all()  # all is well
        for name, data in self.pvdb.items():
            if data.startup is not None:
                thread = threading.Thread(
                    target=_guarded(data.startup, name, "startup"),
                    args=(data,),
                    name=f"ca-startup {name}",
                    daemon=True,
                )
                self._startups.append(thread)
                thread.start()
        return self

    def stop(self) -> None:
        """Close everything; may be called twice.

        Functions of the user that do not return within a second are left alone.
        """
        with self._lock:
            running, self._state = self._state == "running", "stopped"
        if not running:
            return
        for event in self._stop_events():
            event.set()
        self._wake.set()
        self._thread.join()
        for client in self.clients:
            client.stop()
        for client in self.clients:
            client.thread.join()
        deadline = _waiting.Deadline(_PATIENCE)
        self._workers.stop(_PATIENCE)
        for thread in self._startups:
            if thread is not threading.current_thread():
                thread.join(deadline.remaining())
        self._wake.close()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        ports = f" tcp={self.tcp_port} udp={self.udp_port}" if self.tcp_port else ""
        return f"<Server {self._state}{ports} {len(self.pvdb)} PVs, {len(self._clients)} clients>"

    def _stop_events(self) -> set[threading.Event]:
        return {data.stopping for data in self.pvdb.values() if data.stopping is not None}

    # --- sockets

    def _open_sockets(self) -> None:
        hosts = [host for host in self.configuration.interfaces if not _is_multicast(host)]
        addresses = ((host, 0) for host in hosts or [ANY_INTERFACE])
        unicast = [host for host, _ in resolve_addresses(addresses, "EPICS_CAS_INTF_ADDR_LIST")]
        if not unicast:
            raise CaprotoNetworkError(errno.EADDRNOTAVAIL, f"no interface is called {hosts}")
        wanted = self.configuration.server_port
        for _ in range(_PORT_TRIES):
            try:
                self.udp_port = wanted
                for host in unicast:
                    self._searchers.append(self._search_socket(host, self.udp_port))
                    self.udp_port = self._searchers[0].getsockname()[1]
                self._listen(unicast, self.udp_port, exactly=not wanted)
                break
            except OSError as exc:
                self._close_sockets()
                if wanted or exc.errno != errno.EADDRINUSE:
                    raise CaprotoNetworkError(
                        exc.errno, f"cannot serve on port {wanted} of {unicast}: {exc.strerror}"
                    ) from exc
        else:
            raise CaprotoNetworkError(errno.EADDRINUSE, "no port is free for TCP and UDP")
        self._add_broadcast_sockets(unicast)
        self._join_multicast()

    def _search_socket(self, host: str, port: int) -> socket.socket:
        # Several servers on one host share the search port; one that takes any free port wants it
        # for itself.
        sock = bcast_socket(reuse=bool(port), mcast_ttl=self.configuration.mcast_ttl)
        try:
            sock.setblocking(False)
            sock.bind((host, port))
            share_port(sock)  # with our own for broadcasts and multicasts
        except OSError:
            sock.close()
            raise
        return sock

    def _listen(self, hosts: Sequence[str], port: int, exactly: bool) -> None:
        """Listen on all *hosts* on *port*; if it is taken, on another one, the same for all."""
        for attempt in range(_PORT_TRIES):
            try:
                for host in hosts:
                    self._listeners.append(_listener(host, port))
                    port = self._listeners[0].getsockname()[1]
                self.tcp_port = port
                return
            except OSError as exc:
                while self._listeners:
                    self._listeners.pop().close()
                if exactly or exc.errno != errno.EADDRINUSE or attempt == _PORT_TRIES - 1:
                    raise
                if attempt == 0:
                    self.log.warning("TCP port %d is taken; using another one", port)
                port = 0

    def _add_broadcast_sockets(self, hosts: Sequence[str]) -> None:
        """A socket that is bound to one address does not hear broadcasts; on Unix one that is bound
        to the broadcast address does."""
        for address, target in interface_addresses():
            if address in hosts and address != ANY_INTERFACE and target != address:
                try:
                    self._searchers.append(self._search_socket(target, self.udp_port))
                except OSError as exc:
                    self.log.debug("no searches by broadcast to %s: %s", target, exc)

    def _join_multicast(self) -> None:
        for host in self.configuration.interfaces:
            if _is_multicast(host):
                group = socket.inet_aton(host) + socket.inet_aton(ANY_INTERFACE)
                try:
                    sock = self._search_socket(host, self.udp_port)
                    self._searchers.append(sock)
                    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
                except OSError as exc:
                    self.log.warning("cannot join the multicast group %s: %s", host, exc)

    def _close_sockets(self) -> None:
        for sockets in (self._listeners, self._searchers):
            while sockets:
                sockets.pop().close()

    # --- the thread

    def _run(self) -> None:
        selector = self._selector
        try:
            selector.register(self._wake, selectors.EVENT_READ, lambda sock: self._wake.clear())
            for sock in self._searchers:
                selector.register(sock, selectors.EVENT_READ, self._answer)
            while self._state == "running":
                self._retry(monotonic())
                for key, _ in selector.select(self._timeout()):
                    if key.fd in selector.get_map():  # no longer, if an earlier one has paused it
                        key.data(key.fileobj)
                now = monotonic()
                self._beacons.send(now)
                for scan in self._scans.due(now):
                    self._workers.submit(scan.data, functools.partial(self._scan, scan))
        except Exception:
            self.log.exception("the server stops")
        finally:
            selector.close()
            self._scans.close()
            self._beacons.close()
            self._close_sockets()

    def _timeout(self) -> float:
        scan = self._scans.next_deadline()
        deadline = min(
            self._beacons.due,
            self._accept_again,
            self._workers_again,
            math.inf if scan is None else scan,
        )
        return max(0.0, deadline - monotonic())

    def _scan(self, scan: Scan) -> None:
        """In a worker: call the user's function."""
        assert scan.data.scan is not None
        try:
            _guarded(scan.data.scan, scan.data.name, "scan")(scan.data)
        finally:
            scan.running = False
            self._scans.changed(scan)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionError):  # the client has gone already
            return
        except OSError as exc:
            self._cannot_accept(exc)
            return
        try:
            client = ServerClient(
                sock,
                address,
                self.directory,
                self._workers,
                self._gone,
                port=self.tcp_port,
                max_payload=self._max_payload,
            )
        except OSError as exc:
            sock.close()
            self._cannot_accept(exc)
            return
        with self._lock:
            self._clients[client] = None
        self.log.debug("client connected", extra={"their_address": address})
        try:
            client.start()
        except RuntimeError as exc:
            self._cannot_accept(exc)

    def _cannot_accept(self, error: Exception) -> None:
        """Out of descriptors or threads: let clients wait, rather than try again all the time."""
        self.log.warning("cannot accept a client: %s", error)
        for listener in self._listeners:
            self._selector.unregister(listener)
        self._accept_again = monotonic() + ACCEPT_PAUSE

    def _workers_short(self) -> None:
        """Called by any thread: jobs may wait for a thread that could not be started."""
        self._workers_again = monotonic() + ACCEPT_PAUSE
        self._wake.set()

    def _retry(self, now: float) -> None:
        """Do again what failed for lack of threads or descriptors, if its pause is over."""
        if now >= self._workers_again:
            self._workers_again = math.inf
            self._workers.start_missing()
        if now >= self._accept_again:
            self._accept_again = math.inf
            for listener in self._listeners:
                self._selector.register(listener, selectors.EVENT_READ, self._accept)

    def _gone(self, client: ServerClient) -> None:
        """Called by the client's thread as its last act."""
        with self._lock:
            self._clients.pop(client, None)
        self.log.debug("client disconnected", extra={"their_address": client.address})

    # --- searches

    def _answer(self, sock: socket.socket) -> None:
        for _ in range(_BURST):
            try:
                data, address = sock.recvfrom(65536)
            except BlockingIOError:
                return
            except OSError as exc:  # an ICMP error about an earlier reply, for instance
                self._search_log.debug("%s", exc)
                return
            if address[0] in self._ignored:
                continue
            for datagram in self.replies(data, address):
                try:
                    sock.sendto(datagram, address)
                except OSError as exc:
                    self._search_log.debug("cannot answer: %s", exc, extra={"pv": None})

    def replies(self, data: bytes, address: tuple[str, int]) -> list[bytes]:
        """The datagrams that answer the search datagram *data*.

        Parameters
        ----------
        data : bytes
        address : tuple of (str, int)
            Who asks.

        Returns
        -------
        list of bytes
            Of at most 1024 bytes each; none if we have nothing that is asked for.
        """
        commands, error = read_datagram(data, address, CLIENT)
        if error is not None:
            self._search_log.debug("%s", error, extra={"their_address": address})
        sequenced: VersionRequest | None = None
        found: list[Message] = []
        try:
            for version, search in searches_in(commands):
                sequenced = version if version.version >= _SEQUENCE_VERSION else None
                if self.directory.has(search.name):
                    found.append(self._found(search.cid))
        except RemoteProtocolError as exc:
            self._search_log.debug("%s", exc, extra={"their_address": address})
        header = b""
        if sequenced is not None:
            header = bytes(
                VersionResponse.from_wire(
                    (0, 0, 1, DEFAULT_PROTOCOL_VERSION, sequenced.fields[4], 0), b""
                )
            )
        return [
            header + b"".join(map(bytes, found[start : start + _REPLIES]))
            for start in range(0, len(found), _REPLIES)
        ]

    def _found(self, cid: int) -> Message:
        fields = (6, len(_REPLY_PAYLOAD), self.tcp_port, 0, SENDER_ADDRESS, cid)
        reply: Message = SearchResponse.from_wire(fields, _REPLY_PAYLOAD)
        return reply


class _Beacons:
    """Tells the repeaters that we live: quickly at first, then once in a period."""

    def __init__(self, configuration: ServerConfiguration, port: int) -> None:
        self._addresses = resolve_addresses(
            configuration.beacon_addresses(), "EPICS_CAS_BEACON_ADDR_LIST"
        )
        self._port = port
        self._period = configuration.beacon_period
        self._interval = FIRST_BEACON_INTERVAL
        self._number = 0
        #: When the next one is to be sent, on the monotonic clock.
        self.due = monotonic()
        self._socket = bcast_socket(reuse=False, mcast_ttl=configuration.mcast_ttl)

    def send(self, now: float) -> None:
        """Send a beacon, if it is time."""
        if now < self.due:
            return
        beacon = bytes(Beacon(DEFAULT_PROTOCOL_VERSION, self._port, self._number))
        for address in self._addresses:
            try:
                self._socket.sendto(beacon, address)
            except OSError as exc:  # nobody there, or the network is down: next time
                _log.debug("no beacon to %s:%d: %s", *address, exc)
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._interval = min(self._interval, self._period)
        self.due = now + self._interval
        self._interval *= 2

    def close(self) -> None:
        """Send no more."""
        self._socket.close()


def _listener(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Else the port could not be had again for a minute after a restart.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind((host, port))
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    return sock


def _is_multicast(host: str) -> bool:
    return host.split(".")[0].isdigit() and 224 <= int(host.split(".")[0]) < 240


def _guarded(function: Callable[..., Any], name: str, kind: str) -> Callable[..., None]:
    """*function* of the user, its failures logged."""

    def call(*arguments: Any) -> None:
        try:
            function(*arguments)
        except (Exception, SystemExit):
            _log.exception("the %s function of %s failed", kind, name)

    return call


def run(
    pvs: PVGroup | Mapping[str, ChannelData],
    *,
    interfaces: Sequence[str] | None = None,
    port: int | None = None,
    configuration: ServerConfiguration | None = None,
    print_names: bool = True,
    print_ports: bool = False,
    log_level: str | int = "WARNING",
) -> None:
    """Serve PVs until the process gets SIGINT (Ctrl-C) or SIGTERM.

    When the names have been printed clients can connect. Signals are handled only if this is called
    in the main thread.

    Parameters
    ----------
    pvs : PVGroup or mapping of str to ChannelData
        What to serve.
    interfaces : sequence of str, optional
        Addresses to listen on.
    port : int, optional
        For searches, and for clients if it is free; 0 for any free one.
    configuration : ServerConfiguration, optional
        Everything else. Default: the EPICS_CAS_* variables.
    print_names : bool
        Print the names of the PVs.
    print_ports : bool
        Print the ports in use.
    log_level : str or int
        For the logger ``caproto``.

    Raises
    ------
    CaprotoNetworkError
        No port could be had.
    """
    logging.getLogger(ROOT_LOGGER).setLevel(
        log_level.upper() if isinstance(log_level, str) else log_level
    )
    configuration = configuration or ServerConfiguration.from_environment()
    if interfaces is not None:
        configuration = dataclasses.replace(configuration, interfaces=tuple(interfaces))
    if port is not None:
        configuration = dataclasses.replace(configuration, server_port=port)
    with EndSignals() as end, Server(pvs, configuration) as server:
        if print_ports:
            print(f"Ports: tcp={server.tcp_port} udp={server.udp_port}", flush=True)
        if print_names:
            print(f"PVs: {list(server.pvdb)}", flush=True)
        end.wait()
