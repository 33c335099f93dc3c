"""What a client learns from the beacons of servers.

A server sends beacons quickly when it starts, then ever more slowly, up to a steady rhythm. From
the rhythm a client sees that a server is alive, was restarted, or can be reached again.
All of this only speeds things up: a client that hears no beacon works as well, but reacts later.

A `BeaconTable` uses neither sockets nor the clock, and is not thread-safe.
"""
from __future__ import annotations

import enum
import math

from .._protocol.constants import SERVER_PORT

__all__ = ["BeaconTable", "Verdict"]

#: Beacons carry a number from this minor version (4.10) on.
NUMBERED_VERSION = 10
#: Steps of the number that duplicate routes and small losses cause.
HARMLESS_STEPS = frozenset({0, 2, 3})
#: How far it may go backwards, modulo 2**32, when datagrams overtake each other.
OVERTAKING = 256
#: Periods this much longer or shorter than the average are odd.
LATE, MUCH_LATER, EARLY = 1.25, 3.25, 0.80
#: Weight of the newest period in the average.
WEIGHT = 0.125
#: Servers to remember; of more, the one not heard for the longest time is forgotten.
MAX_SERVERS = 4096


class Verdict(enum.Enum):
    """What a beacon means."""

    #: From a server never heard before.
    FIRST = "first"
    #: A duplicate, or out of order.
    DISCARDED = "discarded"
    #: In rhythm: the server is alive. Restarts the watchdog of its circuit.
    GOOD = "good"
    #: Out of rhythm. Its circuit should not take beacons for signs of life until bytes come in.
    SUSPECT = "suspect"
    #: As SUSPECT; and also the server is new, was restarted or can be reached again: search names
    #: again that wait for long.
    ANOMALY = "anomaly"


class _Server:
    """The beacons of one server."""

    __slots__ = ("average", "first_after", "heard", "number")

    def __init__(self, number: int, heard: float, first_after: float) -> None:
        self.number = number
        self.heard = heard  # nan if not heard since its circuit was opened or closed
        self.average = math.nan  # of the period, seconds
        self.first_after = first_after  # how long the client had been running at its first beacon


class BeaconTable:
    """The rhythm of every server's beacons.

    Parameters
    ----------
    now : float
        The present time, in seconds: the client starts.
    default_port : int
        Port of a server that sends 0 as its port.
    """

    def __init__(self, now: float = 0.0, default_port: int = SERVER_PORT) -> None:
        self._start = now
        self._default_port = default_port
        self._servers: dict[tuple[str, int], _Server] = {}

    def __len__(self) -> int:
        """Return how many servers are known."""
        return len(self._servers)

    def heard(self) -> int:
        """Count the servers whose beacons were heard."""
        return sum(not math.isnan(server.first_after) for server in self._servers.values())

    def circuit_opened(self, host: str, port: int) -> None:
        """Remember a server that is known from its circuit, though not yet from a beacon."""
        self._remember((host, port), math.nan, 0, math.nan)

    def circuit_closed(self, host: str, port: int) -> None:
        """Forget the rhythm of a server; its next beacon begins a new one.

        If it was restarted, its numbers begin again, and would be taken for datagrams that
        overtook each other.
        """
        server = self._servers.get((host, port or self._default_port))
        if server is not None:
            server.heard = server.average = math.nan

    def beacon(self, host: str, port: int, number: int, version: int, now: float) -> Verdict:
        """Account for a beacon.

        Parameters
        ----------
        host : str
            Address in the beacon, or the sender's if that is 0.
        port : int
            TCP port of the server; 0 for the default port.
        number : int
            Serial number of the beacon, modulo 2**32.
        version : int
            Minor version of the server.
        now : float

        Returns
        -------
        Verdict
        """
        key = (host, port or self._default_port)
        server = self._servers.pop(key, None)
        if server is None:
            self._remember(key, now, number, now - self._start)
            return Verdict.FIRST
        self._servers[key] = server  # at the end again: it is the latest heard
        step = (number - server.number) % 2**32
        server.number = number
        if math.isnan(server.heard):
            server.heard = now
            if math.isnan(server.first_after):
                server.first_after = now - self._start
            return Verdict.SUSPECT
        if version >= NUMBERED_VERSION and (step in HARMLESS_STEPS or step >= 2**32 - OVERTAKING):
            return Verdict.DISCARDED
        period, average = now - server.heard, server.average
        server.heard = now
        if math.isnan(average):
            server.average = period
            # The first period distinguishes a new server, which sends beacons quickly, from one
            # that was there before the client.
            return Verdict.ANOMALY if period <= server.first_after else Verdict.SUSPECT
        server.average = WEIGHT * period + (1 - WEIGHT) * average
        if period <= EARLY * average or period >= MUCH_LATER * average:
            return Verdict.ANOMALY
        return Verdict.SUSPECT if period >= LATE * average else Verdict.GOOD

    def _remember(
        self, key: tuple[str, int], heard: float, number: int, first_after: float
    ) -> None:
        if key not in self._servers:
            if len(self._servers) >= MAX_SERVERS:  # any host could fill our memory
                del self._servers[next(iter(self._servers))]
            self._servers[key] = _Server(number, heard, first_after)
