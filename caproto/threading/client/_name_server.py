"""NameServer: searches over TCP, for networks without broadcasts between client and server.

A server that is named in EPICS_CA_NAME_SERVERS gets the same searches as the UDP destinations, over
a circuit of its own, which is opened again whenever it breaks. A `NameServerSession` decides
what to send, and when; here are the socket and its thread.

The session belongs to the lock.
"""
from __future__ import annotations

import functools
import socket
import weakref
from collections.abc import Callable, Sequence
from logging import Logger
from typing import Protocol

from ... import _locks
from ..._client.name_server_session import NameServerSession
from ..._errors import CaprotoError, DeadCircuitError
from ..._os.sockets import Address, WakeUp, user_name
from ..._protocol.commands import SearchResponse
from .. import _waiting
from .._service_thread import ServiceThread
from .._transport import Transport, Waker, describe, serve_connection
from .._waiting import Deadline
from ._reentry import serving


class SearchOwner(Protocol):
    """The broadcaster of a name server, with its events."""

    def answered_by_tcp(self, responses: Sequence[SearchResponse], version: int) -> None:
        """Take in that searches were answered by a server of this minor version."""

    def search_now(self) -> None:
        """Ask for everything again."""


class NameServer:
    """One configured name server.

    Parameters
    ----------
    owner : SharedBroadcaster
    address : tuple of (str, int)
    connection_timeout : float
        EPICS_CA_CONN_TMO: the time of the watchdog, and the longest time to connect.

    Attributes
    ----------
    address : tuple of (str, int)

    Raises
    ------
    CaprotoNetworkError
        If there are no descriptors left.
    """

    def __init__(
        self, owner: SearchOwner, address: Address, *, connection_timeout: float
    ) -> None:
        self.address = address
        self._owner = owner
        self._timeout = connection_timeout
        self._lock = _locks.Lock()
        self._closed = False
        self._session = NameServerSession(
            address,
            connection_timeout,
            host_name=socket.gethostname(),
            client_name=user_name(),
            now=_waiting.now(),
        )
        self._log = self._session.log
        self._wakeup = WakeUp()
        self._transport = Transport(address, connection_timeout, self._wakeup)
        host, port = address
        alive = weakref.ref(self, Waker(self._wakeup))
        serve = functools.partial(_serve, alive, self._wakeup)
        self._thread = ServiceThread(serve, f"ca-names {host}:{port}")

    @property
    def problem(self) -> str:
        """Why it cannot be asked; empty if it can."""
        return self._session.problem

    def start(self) -> None:
        """Begin to connect. Called once.

        Raises
        ------
        RuntimeError
            If the system cannot start a thread.
        """
        try:
            self._thread.start()
        except RuntimeError:
            self._wakeup.close()
            raise

    def search(self, searches: Sequence[tuple[int, str]]) -> None:
        """Ask for some names (pairs of cid and name), if the server can be asked now."""
        with self._lock:
            transport = self._transport
            transport.queue(self._session.search(searches))
        transport.flush()

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wakeup.set()

    def join(self, deadline: Deadline) -> None:
        """Wait for the thread to end."""
        self._thread.join(deadline)

    def abandon(self) -> None:
        """Close the descriptors in the child of a fork; a thread may have held the lock."""
        self._lock = _locks.Lock()
        self._transport.abandon()

    def __repr__(self) -> str:
        host, port = self.address
        return f"<NameServer {host}:{port}: {self.problem or 'connected'}>"

    # ---- the thread

    def _open(self) -> socket.socket | None:
        """Begin a new connection; None if that failed at once."""
        transport = Transport(self.address, self._timeout, self._wakeup)
        try:
            with self._lock:
                self._transport = transport
                transport.queue(self._session.begin())
            return transport.open()
        except Exception as error:  # no route, or no descriptors left: that may change
            self._lost(error)
            return None

    def service(self, readable: bool, writable: bool) -> tuple[float | None, bool] | None:
        """Do what is to be done now; see ``_transport.Serviced``."""
        transport, session = self._transport, self._session
        try:
            if self._closed:
                return None
            if not transport.established:
                again_at = transport.connect(writable)
                if again_at is not None:
                    return again_at, True
                with self._lock:
                    session.established(_waiting.now())
            if readable:
                self._receive()
            if transport.error is not None:
                raise transport.error
            now = _waiting.now()
            if now >= session.deadline:
                with self._lock:
                    transport.queue(session.beat(now, transport.taken_at))
                self._report()
            held_up = not transport.flush(serving=True)
            with self._lock:
                if held_up:
                    session.held_up(transport.taken_at)
                return session.deadline, held_up
        except Exception as error:
            self._lost(error)
        return None

    def _receive(self) -> None:
        session = self._session
        received = self._transport.receive_into(session.get_buffer())
        if received is None:
            return
        if not received:
            raise DeadCircuitError("the server closed the connection")
        with self._lock:
            news = session.received(received, _waiting.now())
        if news.ready:
            self._owner.search_now()
        if news.answers:
            self._owner.answered_by_tcp(news.answers, news.version)
        if news.error is not None:
            raise news.error

    def _lost(self, error: Exception) -> None:
        if not isinstance(error, (OSError, CaprotoError)):  # our defect
            self._log.error("Unexpected error; connecting again", exc_info=error)
        with self._lock:
            self._session.lost(describe(error), _waiting.now())
        self._report()

    def _report(self) -> None:
        problem = self._session.take_report()
        if problem:
            _log_problem(self._log, self.address, problem)

    def _resume_at(self) -> float | None:
        """When to connect again; None if never."""
        if self._closed:
            return None
        with self._lock:
            return _waiting.now() + self._session.pause()


def _log_problem(log: Logger, address: Address, problem: str) -> None:
    log.warning("The name server %s:%d is not available: %s", *address, problem)


def _serve(reference: Callable[[], NameServer | None], wakeup: WakeUp) -> None:
    """Run the thread: make one connection after the other."""
    with serving():
        again_at: float | None = 0.0
        while again_at is not None:
            try:
                _connect(reference)
            except Exception as error:  # between two turns
                _note_failure(reference, error)
            again_at = _rest(reference, wakeup)
        wakeup.close()


def _connect(reference: Callable[[], NameServer | None]) -> None:
    """Make one connection, and serve it."""
    server = reference()
    if server is None:
        return
    sock, transport = server._open(), server._transport
    del server
    if sock is not None:
        serve_connection(reference, sock, transport)


def _note_failure(reference: Callable[[], NameServer | None], error: Exception) -> None:
    server = reference()
    if server is not None:
        server._lost(error)


def _rest(reference: Callable[[], NameServer | None], wakeup: WakeUp) -> float | None:
    """Sleep until it is time to connect again; return None if it is closed."""
    server = reference()
    again_at = server._resume_at() if server is not None else None
    del server
    while again_at is not None and _waiting.now() < again_at:
        wakeup.wait(again_at - _waiting.now())
        server = reference()
        if server is None or server._closed:
            return None
        del server
    return again_at


class NameServers:
    """All name servers of a broadcaster. Only the search thread starts, asks and closes them.

    Parameters
    ----------
    owner : SharedBroadcaster
    connection_timeout : float
        See `NameServer`.
    log : logging.Logger
    """

    def __init__(self, owner: SearchOwner, connection_timeout: float, log: Logger) -> None:
        self._owner = weakref.ref(owner)
        self._timeout = connection_timeout
        self._log = log
        self._running: dict[Address, NameServer] = {}
        self._failures: dict[Address, str] = {}  # why some have no thread

    def start(self, addresses: Sequence[Address]) -> None:
        """Start those that do not run yet; without descriptors or threads, the next call does."""
        for address in addresses if len(self._running) < len(addresses) else ():
            owner = self._owner()
            if address in self._running or owner is None:
                continue
            try:
                server = NameServer(owner, address, connection_timeout=self._timeout)
                server.start()
            except (OSError, RuntimeError) as error:
                problem = describe(error)
                if problem != self._failures.get(address):
                    self._failures[address] = problem
                    _log_problem(self._log, address, problem)
            else:
                self._running[address] = server
                self._failures.pop(address, None)

    def search(self, searches: Sequence[tuple[int, str]]) -> None:
        """Ask all that can be asked now."""
        for server in self._running.values():
            server.search(searches)

    def problems(self) -> dict[Address, str]:
        """Map each name server to why it cannot be asked; empty if it can. For any thread."""
        running = {address: server.problem for address, server in self._running.copy().items()}
        return self._failures.copy() | running

    def close(self) -> None:
        """End their threads."""
        for server in self._running.values():
            server.close()

    def join(self, deadline: Deadline) -> None:
        """Wait for their threads to end; in any thread."""
        for server in self._running.copy().values():
            server.join(deadline)

    def abandon(self) -> None:
        """Close the descriptors in the child of a fork."""
        for server in self._running.values():
            server.abandon()
