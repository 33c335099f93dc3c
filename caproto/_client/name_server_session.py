"""NameServerSession: what a client says to one name server, and when it connects again.

A name server (a directory, a gateway, or an IOC that is asked by TCP) gets the same searches as the
UDP destinations, over a circuit of its own. One session has any number of connections:
`begin`, `established`, then `search`, `received` and `beat`, and in the end `lost`.

Nothing is kept for later while the server cannot be asked: the searches are repeated anyway, and a
new connection begins with all of them.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from logging import Logger
from typing import Final

from .._addresses import Address
from .._errors import MessageError, RemoteProtocolError
from .._protocol.circuit import VirtualCircuit
from .._protocol.commands import (
    ClientNameRequest,
    EchoRequest,
    EchoResponse,
    HostNameRequest,
    SearchRequest,
    SearchResponse,
    VersionRequest,
    VersionResponse,
)
from .._protocol.constants import DEFAULT_PROTOCOL_VERSION, TCP_SEARCH_VERSION
from .._protocol.message import Payload
from .._protocol.roles import CLIENT
from .._typing import NamedTuple
from .backoff import GOOD_TIME, doubled_pause
from .heartbeat import Action, Heartbeat

__all__ = ["NameServerSession", "NameServerNews"]

#: Seconds between attempts to connect: the first pause and the longest, unless EPICS_CA_CONN_TMO
#: is shorter. It doubles until the server has answered a search, or was connected for GOOD_TIME.
FIRST_RETRY, LONGEST_RETRY = 0.25, 30.0
#: The assumed version of a name server that has not sent its own yet.
ASSUMED_VERSION: Final = 11
#: Bytes. Answers to searches have a few at most; what is larger is skipped and not stored.
LARGEST_PAYLOAD: Final = 1024


class NameServerNews(NamedTuple):
    """What some bytes from the server mean."""

    #: Answers to searches, and the minor version of the server that gave them.
    answers: list[SearchResponse]
    version: int
    #: Whether the server can be asked from now on, so that all searches are to be repeated.
    ready: bool
    #: What ends the connection, after the answers; None if it goes on.
    error: RemoteProtocolError | None


class NameServerSession:
    """The conversation with one configured name server.

    Parameters
    ----------
    address : tuple of (str, int)
    connection_timeout : float
        Seconds until the watchdog asks a silent server for an echo (EPICS_CA_CONN_TMO).
    host_name, client_name : str
        Sent to the server.
    now : float
        The present time, in seconds of any clock that does not go backwards.

    Attributes
    ----------
    address : tuple of (str, int)
    problem : str
        Why the server cannot be asked; empty if it can.
    log : logging.Logger
    """

    def __init__(
        self,
        address: Address,
        connection_timeout: float,
        *,
        host_name: str,
        client_name: str,
        now: float,
    ) -> None:
        self.address = address
        self.problem = "not connected yet"
        self._timeout = connection_timeout
        self._host_name, self._client_name = host_name, client_name
        self._failures = 0  # connections in a row, since it was a good server
        self._up_since = math.inf
        self._reported = ""  # the problem that was reported last
        self._unreported = ""
        self._circuit = self._new_circuit()
        self._heartbeat = Heartbeat(connection_timeout, now=now)

    @property
    def log(self) -> Logger:
        """The logger of the circuit."""
        return self._circuit.log

    @property
    def deadline(self) -> float:
        """When to call `beat`, while connected."""
        return self._heartbeat.deadline

    def _new_circuit(self) -> VirtualCircuit:
        return VirtualCircuit(
            CLIENT, self.address, 0, peer_version=ASSUMED_VERSION, max_payload=LARGEST_PAYLOAD
        )

    # ---- what is to be sent

    def begin(self) -> list[Payload]:
        """Begin a connection; return what to send first."""
        self._circuit = self._new_circuit()
        return self._circuit.send(
            VersionRequest(0, DEFAULT_PROTOCOL_VERSION),
            ClientNameRequest(self._client_name),
            HostNameRequest(self._host_name),
        )

    def search(self, searches: Sequence[tuple[int, str]]) -> list[Payload]:
        """Ask for names (pairs of cid and name); return what to send, if it can be asked."""
        if self.problem:
            return []
        version = DEFAULT_PROTOCOL_VERSION
        return self._circuit.send(*(SearchRequest(name, cid, version) for cid, name in searches))

    def beat(self, now: float, taken_at: float) -> list[Payload]:
        """Do what is due at the deadline; return what to send.

        Parameters
        ----------
        now : float
        taken_at : float
            When the socket last took bytes although others had to wait, or they began to wait.
        """
        self._heartbeat.sending(taken_at)  # later, if bytes were sent meanwhile
        action = self._heartbeat.check(now)
        if action is Action.UNRESPONSIVE:
            self._cannot_be_asked("it is connected but does not respond")
        if action is Action.NOTHING:
            return []
        return self._circuit.send(EchoRequest())

    def held_up(self, taken_at: float) -> None:
        """Note that the server has taken nothing since *taken_at*."""
        self._heartbeat.sending(taken_at)

    # ---- what happens

    def established(self, now: float) -> None:
        """Note that the connection was made."""
        self._up_since = now
        self._heartbeat = Heartbeat(self._timeout, now=now)

    def get_buffer(self) -> memoryview:
        """Return where to store the bytes that come."""
        return self._circuit.get_buffer()

    def received(self, number: int, now: float) -> NameServerNews:
        """Take in that many bytes, which were stored in the buffer."""
        circuit = self._circuit
        self._heartbeat.received(now)
        answers: list[SearchResponse] = []
        was_ready = ready = not self.problem
        error: RemoteProtocolError | None = None
        try:
            for command in circuit.buffer_updated(number):
                try:
                    circuit.process_command(command)
                except MessageError as exc:
                    if not exc.usable:  # then it concerns nothing: we ask for names only
                        continue
                if isinstance(command, SearchResponse):
                    answers.append(command)
                elif isinstance(command, VersionResponse):
                    ready = self._greeted(command.version)
                elif isinstance(command, EchoResponse) and self._heartbeat.echo_received(now):
                    self._forgive()
                    ready = self._greeted(circuit.peer_version)  # it responds again
        except RemoteProtocolError as exc:
            error = exc  # what came before it is good
        if answers:
            self._forgive()
        return NameServerNews(
            answers, circuit.peer_version, ready and not was_ready, error or circuit.error
        )

    def lost(self, reason: str, now: float) -> None:
        """Note that the connection is over, or could not be made."""
        if now - self._up_since >= GOOD_TIME:
            self._forgive()
        self._up_since = math.inf
        self._cannot_be_asked(reason)

    def pause(self) -> float:
        """Tell how many seconds to wait before the next connection; more each time."""
        self._failures += 1
        return doubled_pause(FIRST_RETRY, self._failures, min(self._timeout, LONGEST_RETRY))

    def take_report(self) -> str:
        """Take the problem that is to be reported: each once, not with each attempt; '' if none."""
        text, self._unreported = self._unreported, ""
        return text

    def _greeted(self, version: int) -> bool:
        """Note its version, or that it responds again; whether it can be asked."""
        if version < TCP_SEARCH_VERSION:
            self.problem = f"version 4.{version} of the protocol does not search over TCP"
            return False
        self.problem = ""
        return True

    def _forgive(self) -> None:
        """Count no earlier failures: the server is a good one."""
        self._failures, self._reported = 0, ""

    def _cannot_be_asked(self, problem: str) -> None:
        if problem != self._reported:
            self._unreported = problem
        self.problem = self._reported = problem
