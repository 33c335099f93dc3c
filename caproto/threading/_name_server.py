"""NameServer: searches over TCP, for networks that let no broadcast through.

A server of this kind (a directory, a gateway, or an IOC that is just asked by TCP) is named in
EPICS_CA_NAME_SERVERS. It gets the same searches as the UDP destinations, over a circuit of its own
that is kept open, and opened again whenever it breaks. Its thread sleeps on that circuit.
"""
from __future__ import annotations

import math
import socket
import threading
import weakref
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Protocol

from .. import _locks
from .._circuit import VirtualCircuit
from .._commands import (
    ClientNameRequest,
    EchoRequest,
    HostNameRequest,
    SearchRequest,
    SearchResponse,
    VersionRequest,
    VersionResponse,
)
from .._constants import DEFAULT_PROTOCOL_VERSION, TCP_SEARCH_VERSION
from .._errors import CaprotoError, DeadCircuitError
from .._heartbeat import Action, Heartbeat
from .._roles import CLIENT
from .._sockets import Address, WakeUp, user_name
from ._transport import Transport, Waker, describe, hang_up, take_turns
from ._troubles import GOOD_TIME

#: Seconds between attempts to connect: the first pause and the longest, unless EPICS_CA_CONN_TMO
#: is shorter. It doubles until the server has answered a search, or stayed for GOOD_TIME.
FIRST_RETRY, LONGEST_RETRY = 0.25, 30.0
#: The version that a name server is believed to speak before it has said so.
ASSUMED_VERSION = 11


class Owner(Protocol):
    """What a name server tells the broadcaster."""

    def answered_by_tcp(self, responses: Sequence[SearchResponse], version: int) -> None:
        """Searches were answered by a server of this minor version."""

    def search_now(self) -> None:
        """Ask for everything again."""


class NameServer:
    """One configured name server.

    Parameters
    ----------
    owner : SharedBroadcaster
    address : tuple of (str, int)
    connection_timeout : float
        EPICS_CA_CONN_TMO: the watchdog's time, and the longest to wait for a connection.

    Attributes
    ----------
    address : tuple of (str, int)
    trouble : str
        Why it cannot be asked; empty if it can.
    """

    def __init__(
        self,
        owner: Owner,
        address: Address,
        *,
        connection_timeout: float,
    ) -> None:
        self.address = address
        self.trouble = "not connected yet"
        self._owner = owner
        self._timeout = connection_timeout
        self._pause = FIRST_RETRY
        self._up_since = math.inf
        self._reported = ""  # the trouble that was logged last
        self._lock = _locks.Lock()
        self._closed = False
        self._wakeup = WakeUp()
        self._transport = Transport(address, connection_timeout, self._wakeup)
        self._circuit = self._new_circuit()
        self._log = self._circuit.log
        self._heartbeat = Heartbeat(connection_timeout, now=monotonic())
        host, port = address
        self._thread = threading.Thread(
            target=_serve,
            args=(weakref.ref(self, Waker(self._wakeup)), self._wakeup),
            name=f"ca-names {host}:{port}",
            daemon=True,
        )

    def start(self) -> None:
        """Begin to connect. Called once.

        Raises
        ------
        RuntimeError
            If the system has no thread for us.
        """
        try:
            self._thread.start()
        except RuntimeError:
            self._wakeup.close()
            raise

    def search(self, searches: Sequence[tuple[int, str]]) -> None:
        """Ask for some names (pairs of cid and name), if the server can be asked now.

        Nothing is kept for later: the plan asks again, and a new connection begins with everything.
        """
        with self._lock:
            if self.trouble:
                return
            version = DEFAULT_PROTOCOL_VERSION
            requests = [SearchRequest(name, cid, version) for cid, name in searches]
            transport = self._transport
            transport.queue(self._circuit.send(*requests))
        transport.flush()

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            self._closed = True
        self._wakeup.set()

    def join(self, timeout: float | None) -> None:
        """Wait for the thread to end."""
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def abandon(self) -> None:
        """We are the child of a fork."""
        self._transport.abandon()

    def __repr__(self) -> str:
        host, port = self.address
        return f"<NameServer {host}:{port}: {self.trouble or 'connected'}>"

    # ---- the thread

    def _new_circuit(self) -> VirtualCircuit:
        return VirtualCircuit(CLIENT, self.address, 0, peer_version=ASSUMED_VERSION)

    def _open(self) -> socket.socket | None:
        """Begin a new connection; None if that failed at once."""
        transport = Transport(self.address, self._timeout, self._wakeup)
        circuit = self._new_circuit()
        try:
            greeting = circuit.send(
                VersionRequest(0, DEFAULT_PROTOCOL_VERSION),
                ClientNameRequest(user_name()),
                HostNameRequest(socket.gethostname()),
            )
            with self._lock:
                self._transport, self._circuit = transport, circuit
                transport.queue(greeting)
            return transport.open()
        except Exception as error:  # no route, or no descriptors left: that may change
            self._lost(error)
            return None

    def _turn(self, readable: bool, writable: bool) -> tuple[float | None, bool] | None:
        """Do what is to be done now; see ``_transport.Turning``."""
        transport = self._transport
        try:
            if self._closed:
                return None
            if not transport.established:
                again_at = transport.connect(writable)
                if again_at is not None:
                    return again_at, True
                self._up_since = monotonic()
                self._heartbeat = Heartbeat(self._timeout, now=self._up_since)
            if readable:
                self._receive()
            if transport.error is not None:
                raise transport.error
            now = monotonic()
            if now >= self._heartbeat.deadline:
                self._beat(now)
            held_up = not transport.flush(serving=True)
            if held_up:
                self._heartbeat.sending(transport.taken_at)
            return self._heartbeat.deadline, held_up
        except Exception as error:
            self._lost(error)
        return None

    def _beat(self, now: float) -> None:
        """The deadline of the heartbeat has come."""
        self._heartbeat.sending(self._transport.taken_at)  # or not, if the sender has got on
        action = self._heartbeat.check(now)
        if action is Action.UNRESPONSIVE:
            self._cannot_be_asked("it is connected but does not respond")
        if action is not Action.NOTHING:
            with self._lock:
                self._transport.queue(self._circuit.send(EchoRequest()))

    def _receive(self) -> None:
        circuit = self._circuit
        received = self._transport.receive_into(circuit.get_buffer())
        if received is None:
            return
        if not received:
            raise DeadCircuitError("the server closed the connection")
        now = monotonic()
        self._heartbeat.received(now)
        answers: list[SearchResponse] = []
        for command in circuit.buffer_updated(received):
            with self._lock:
                circuit.process_command(command)
            if isinstance(command, SearchResponse):
                answers.append(command)
            elif isinstance(command, VersionResponse):
                self._greeted(command.version)
            elif command.ID == EchoRequest.ID and self._heartbeat.echo_received(now):
                self._forgive()
                self._greeted(circuit.peer_version)  # it responds again
        if answers:
            self._forgive()
            self._owner.answered_by_tcp(answers, circuit.peer_version)
        if circuit.error is not None:
            raise circuit.error  # what was in front of it has been dealt with

    def _greeted(self, version: int) -> None:
        """The server has told its version, or responds again: can it be asked?"""
        if version < TCP_SEARCH_VERSION:
            self.trouble = f"version 4.{version} of the protocol knows no search over TCP"
            return
        self.trouble = ""
        self._owner.search_now()

    def _lost(self, error: Exception) -> None:
        if not isinstance(error, (OSError, CaprotoError)):  # a defect of ours
            self._log.error("Unexpected error; the connection is made again", exc_info=error)
        if monotonic() - self._up_since >= GOOD_TIME:
            self._forgive()
        self._up_since = math.inf
        self._cannot_be_asked(describe(error))

    def _forgive(self) -> None:
        """The server is a good one: earlier failures do not count any more."""
        self._pause, self._reported = FIRST_RETRY, ""

    def _cannot_be_asked(self, trouble: str) -> None:
        if trouble != self._reported:  # once, not with each attempt
            self._log.warning("The name server cannot be asked: %s", trouble)
        self.trouble = self._reported = trouble

    def _pause_until(self) -> float | None:
        """When to connect again; None if never."""
        if self._closed:
            return None
        longest = min(self._timeout, LONGEST_RETRY)
        pause, self._pause = self._pause, min(2 * self._pause, longest)
        return monotonic() + pause


def _serve(reference: Callable[[], NameServer | None], wakeup: WakeUp) -> None:
    """The thread: one connection after the other."""
    again_at: float | None = 0.0
    while again_at is not None and (server := reference()) is not None:
        sock, transport = server._open(), server._transport
        del server
        if sock is not None:
            poller = take_turns(reference, sock, wakeup)
            transport.detach()
            hang_up(sock, poller)
        again_at = _rest(reference, wakeup)
    wakeup.close()


def _rest(reference: Callable[[], Any], wakeup: WakeUp) -> float | None:
    """Sleep until it is time to connect again; None if that will not be."""
    server = reference()
    again_at: float | None = server._pause_until() if server is not None else None
    del server
    while again_at is not None and monotonic() < again_at:
        wakeup.wait(again_at - monotonic())
        server = reference()
        if server is None or server._closed:
            return None
        del server
    return again_at
