"""`ServerLoop`: the work of the thread ``ca-server``.

It answers searches over UDP, accepts clients, sends beacons, and hands scans that are due to the
workers. It runs no code of the user and waits for nothing but its `select`.
"""
from __future__ import annotations

import functools
import math
import selectors
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from time import monotonic

from ..._environment import ServerConfiguration
from ..._log import CONTEXT_LOGGER, SEARCH_LOGGER, adapter
from ..._os.sockets import WakeUp, bcast_socket, resolve_addresses
from ..._server.beacon_timer import BeaconTimer
from ..._server.data import ChannelData
from ..._server.directory import Directory
from ..._server.scans import Scan, Scans
from ..._server.search_replies import search_replies
from ._listening import Listening
from ._workers import Workers

__all__ = ["ServerLoop"]

_log = adapter(CONTEXT_LOGGER, role="SERVER")
_search_log = adapter(SEARCH_LOGGER, role="SERVER")

#: Datagrams taken from one socket before the others are served.
_BURST = 200
#: Seconds until the next try after the system refused a descriptor or a thread.
RETRY_PAUSE = 1.0


class ServerLoop:
    """Sockets, beacons and scans of one running server.

    Parameters
    ----------
    configuration : ServerConfiguration
    directory : Directory
        The PVs by name, for searches.
    channels : iterable of ChannelData
        Those whose scan functions are called.
    accepted : callable
        ``accepted(sock, address)`` serves a client that has connected; *sock* belongs to it.
        OSError and RuntimeError mean that it cannot, for lack of descriptors or threads.

    Attributes
    ----------
    listening : Listening
    workers : Workers

    Raises
    ------
    CaprotoNetworkError
        No socket could be opened.
    """

    def __init__(
        self,
        configuration: ServerConfiguration,
        directory: Directory,
        channels: Iterable[ChannelData],
        accepted: Callable[[socket.socket, tuple[str, int]], None],
    ) -> None:
        self._directory = directory
        self._accepted = accepted
        self._ignored = frozenset(
            host for host, _ in resolve_addresses(
                ((host, 0) for host in configuration.ignore_addr_list),
                "EPICS_CAS_IGNORE_ADDR_LIST",
            )
        )
        self._beacon_addresses = resolve_addresses(
            configuration.beacon_addresses(), "EPICS_CAS_BEACON_ADDR_LIST"
        )
        self._stopping = False
        self._accept_at = 0.0  # when to begin to accept; infinite if we do
        self._workers_at = math.inf  # when to try again to start threads
        self.workers = Workers(self._workers_refused)
        with ExitStack() as opened:
            self._wake = WakeUp()
            opened.callback(self._wake.close)
            self.listening = Listening(configuration)
            opened.callback(self.listening.close)
            self._beacon_socket = bcast_socket(reuse=False, mcast_ttl=configuration.mcast_ttl)
            opened.callback(self._beacon_socket.close)
            self._selector = opened.enter_context(selectors.DefaultSelector())
            self._opened = opened.pop_all()
        self._beacons = BeaconTimer(
            self.listening.tcp_port, configuration.beacon_period, monotonic()
        )
        self._scans = Scans(channels, self._wake.set)

    def stop(self) -> None:
        """Have `run` return; may be called by any thread, at any time."""
        self._stopping = True
        self._wake.set()

    def close(self) -> None:
        """Close the sockets; called when `run` is not running."""
        self._scans.close()
        self._opened.close()

    def abandon(self) -> None:
        """Close the sockets in the child of a fork, where any lock may stay taken."""
        self._opened.close()

    def run(self) -> None:
        """Serve until `stop`."""
        selector, wake = self._selector, self._wake
        selector.register(wake, selectors.EVENT_READ, lambda sock: wake.clear())
        for sock in self.listening.searchers:
            selector.register(sock, selectors.EVENT_READ, self._answer)
        self._scans.start(monotonic())
        while not self._stopping:
            self._retry(monotonic())
            for key, _ in selector.select(self._timeout()):
                if key.fd in selector.get_map():  # no longer, if an earlier one has paused it
                    key.data(key.fileobj)
            now = monotonic()
            self._send_beacon(now)
            for scan in self._scans.due(now):
                self.workers.submit(scan.data, functools.partial(self._scan, scan))

    def _timeout(self) -> float:
        deadline = min(
            self._beacons.due, self._accept_at, self._workers_at, self._scans.next_deadline()
        )
        return max(0.0, deadline - monotonic())

    def _scan(self, scan: Scan) -> None:
        """Call the user's function, in a worker."""
        assert scan.data.scan is not None
        try:
            scan.data.scan(scan.data)
        except (Exception, SystemExit):
            _log.exception("the scan function of %s failed", scan.data.name)
        finally:
            self._scans.ended(scan)

    def _send_beacon(self, now: float) -> None:
        beacon = self._beacons.beacon(now)
        if beacon is None:
            return
        for address in self._beacon_addresses:
            try:
                self._beacon_socket.sendto(beacon, address)
            except OSError as exc:  # no listener, or the network is down: next time
                _log.debug("Cannot send a beacon to %s:%d: %s", *address, exc)

    # --- clients

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionError):  # the client has gone already
            return
        except OSError as exc:
            self._cannot_accept(exc)
            return
        try:
            self._accepted(sock, address)
        except (OSError, RuntimeError) as exc:
            self._cannot_accept(exc)

    def _cannot_accept(self, error: Exception) -> None:
        """Let clients wait for a while, rather than try again all the time."""
        _log.warning("Cannot accept a client: %s", error)
        for listener in self.listening.listeners:
            self._selector.unregister(listener)
        self._accept_at = monotonic() + RETRY_PAUSE

    def _workers_refused(self) -> None:
        """Note, in any thread, that jobs may wait for a thread that could not be started."""
        self._workers_at = monotonic() + RETRY_PAUSE
        self._wake.set()

    def _retry(self, now: float) -> None:
        """Try again what failed because of too few threads or descriptors, after a pause."""
        if now >= self._workers_at:
            self._workers_at = math.inf
            self.workers.start_missing()
        if now >= self._accept_at:
            self._accept_at = math.inf
            for listener in self.listening.listeners:
                self._selector.register(listener, selectors.EVENT_READ, self._accept)

    # --- searches

    def _answer(self, sock: socket.socket) -> None:
        for _ in range(_BURST):
            try:
                datagram, sender = sock.recvfrom(65536)
            except BlockingIOError:
                return
            except OSError as exc:  # an ICMP error about an earlier reply, for instance
                _search_log.debug("Cannot receive searches: %s", exc)
                return
            if sender[0] in self._ignored:
                continue
            port = self.listening.tcp_port
            for reply in search_replies(datagram, sender, self._directory, port):
                try:
                    sock.sendto(reply, sender)
                except OSError as exc:
                    _search_log.debug("Cannot answer a search by %s:%d: %s", *sender, exc)
