"""The simulated network: datagrams and streams between hosts, and what can go wrong with them.

Hosts are names like '10.0.0.1'. Datagrams are lost, doubled, delayed and reordered by `Weather`. A
stream keeps the order and loses nothing while both ends live; if the way between them is cut it
waits, as TCP does. An end whose host has lost its power is silent; once the host is up again it
answers with a reset.
"""
from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .world import World

Address = tuple[str, int]

#: Bytes on their way in one direction of a stream, the receiver's buffer included.
CAPACITY = 50_000
#: A destination that stands for every host.
BROADCAST = "10.255.255.255"
#: Seconds until a lost segment, or the first packet of a connection, is sent again, at first.
RETRANSMISSION = 0.5
#: No longer than this between two attempts.
LONGEST_RETRANSMISSION = 8.0


@dataclass
class Weather:
    """How likely it is that something happens to a datagram; and how streams are cut."""

    loss: float = 0.0
    doubling: float = 0.0
    delay: float = 0.0
    #: Seconds that a delayed datagram is late, at most; it is overtaken by others.
    lateness: float = 1.0
    #: Whether whoever reads a stream gets it in small pieces.
    fragments: bool = False


class Network:
    """All hosts.

    Attributes
    ----------
    weather : Weather
    down : set of str
        Hosts without power, or whose cable is pulled.
    slow : dict of str to float
        Seconds by which everything from and to a host takes longer.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.weather = Weather()
        self.down: set[str] = set()
        self.slow: dict[str, float] = {}
        #: Hosts that drop the first packet of every connection, as a firewall does.
        self.closed: set[str] = set()
        self._receivers: dict[Address, Callable[[bytes, Address], None]] = {}
        self._listeners: dict[Address, Callable[[Stream], None]] = {}

    def latency(self, one: str, other: str) -> float:
        """Seconds from one host to the other, this time."""
        slow = self.slow.get(one, 0.0) + self.slow.get(other, 0.0)
        return 0.0001 + slow + 0.002 * self.world.chance.random()

    def reaches(self, one: str, other: str) -> bool:
        """Whether packets can get from one host to the other."""
        return one not in self.down and other not in self.down

    # --- datagrams

    def bind(self, address: Address, receive: Callable[[bytes, Address], None]) -> None:
        """Have datagrams to *address* given to a function, with the sender."""
        self._receivers[address] = receive

    def unbind(self, address: Address) -> None:
        self._receivers.pop(address, None)

    def send(self, data: bytes, sender: Address, destination: Address) -> None:
        """Send a datagram."""
        host, port = destination
        if host == BROADCAST:
            targets = [address for address in self._receivers if address[1] == port]
        else:
            targets = [destination]
        for target in targets:
            self._send_one(data, sender, target)

    def _send_one(self, data: bytes, sender: Address, target: Address) -> None:
        chance, weather = self.world.chance.random, self.weather
        if chance() < weather.loss or not self.reaches(sender[0], target[0]):
            return
        for _ in range(1 + (chance() < weather.doubling)):
            delay = self.latency(sender[0], target[0])
            if chance() < weather.delay:
                delay += weather.lateness * chance()
            self.world.after(delay, self._arrive, data, sender, target)

    def _arrive(self, data: bytes, sender: Address, target: Address) -> None:
        receive = self._receivers.get(target)
        if receive is not None and self.reaches(sender[0], target[0]):
            receive(data, sender)

    # --- streams

    def listen(self, address: Address, accept: Callable[[Stream], None]) -> None:
        """Have a function called with the other end of each connection to *address*."""
        self._listeners[address] = accept

    def stop_listening(self, address: Address) -> None:
        self._listeners.pop(address, None)

    def connect(self, host: str, address: Address, changed: Callable[[], None]) -> Stream:
        """Begin to connect; *changed* is called when anything happens to the stream."""
        stream = Stream(self, (host, 0), address, changed)
        self._knock(stream, RETRANSMISSION)
        return stream

    def _knock(self, stream: Stream, patience: float) -> None:
        """Send the first packet of a connection."""
        if stream.closed:
            return
        host = stream.peer[0]
        if self.reaches(stream.own[0], host) and host not in self.closed:
            self.world.after(self.latency(stream.own[0], host), self._answer_door, stream)
        else:
            again = min(2 * patience, LONGEST_RETRANSMISSION)
            self.world.after(patience, self._knock, stream, again)

    def _answer_door(self, stream: Stream) -> None:
        if stream.closed:
            return
        accept = self._listeners.get(stream.peer)
        if accept is None:
            stream.fail(errno.ECONNREFUSED)
            return
        other = Stream(self, stream.peer, stream.own, _ignore)
        stream.other, other.other = other, stream
        other.established = True
        self.world.after(self.latency(*_hosts(stream)), stream.opened)
        accept(other)


def _ignore() -> None:
    pass


def _hosts(stream: Stream) -> tuple[str, str]:
    return stream.own[0], stream.peer[0]


class Stream:
    """One end of a TCP connection, like a socket that never blocks.

    Attributes
    ----------
    own, peer : tuple of (str, int)
    changed : callable
        Called when something has happened; look what it is.
    established : bool
    closed : bool
        By us.
    error : int
        What has ended it; 0 if nothing has.
    other : Stream or None
        The other end, for faults and checks.
    """

    def __init__(
        self, network: Network, own: Address, peer: Address, changed: Callable[[], None]
    ) -> None:
        self.network = network
        self.own, self.peer = own, peer
        self.changed = changed
        self.established = self.closed = self.powerless = False
        self.error = 0
        self.other: Stream | None = None
        self.unread = bytearray()
        self._end = False  # the other end will say no more
        self._finished = False  # nor will we
        self._sent: deque[bytes] = deque()  # on its way to the other end; empty: the end
        self._under_way = 0  # bytes of it
        self._last_arrival = 0.0
        self._blocked = False  # a send was refused for lack of room

    # --- what a driver uses

    @property
    def readable(self) -> bool:
        return bool(self.unread or self._end or self.error)

    @property
    def writable(self) -> bool:
        return bool(self.error) or self._room() > 0

    def _room(self) -> int:
        if not self.established or self.other is None:
            return 0
        return CAPACITY - self._under_way - len(self.other.unread)

    def receive(self, limit: int) -> bytes | None:
        """Some bytes; None if there are none yet, empty at the end.

        Raises
        ------
        OSError
            The connection was lost.
        """
        if self.unread:
            if self.network.weather.fragments:
                longest = max(60, len(self.unread) // 4)
                limit = min(limit, self.network.world.chance.randint(1, longest))
            data = bytes(self.unread[:limit])
            del self.unread[:limit]
            other = self.other
            if other is not None and other._blocked and not other.closed:
                other._blocked = False
                self.network.world.after(0.001, other._tell)
            return data
        if self.error:
            raise OSError(self.error, errno.errorcode[self.error])
        return b"" if self._end else None

    def send(self, data: bytes | memoryview) -> int:
        """Send what there is room for; 0 if there is none.

        Raises
        ------
        OSError
            The connection was lost.
        """
        if self.error:
            raise OSError(self.error, errno.errorcode[self.error])
        taken = min(len(data), self._room())
        if taken <= 0:
            self._blocked = True
            return 0
        self._put(bytes(data[:taken]))
        if taken < len(data):
            self._blocked = True
        return taken

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        if not self._finished and self.established and not self.error:
            self._finished = True
            self._put(b"")

    def close(self) -> None:
        """Hang up: what was sent still arrives."""
        if not self.closed:
            self.closed = True
            self.finish()

    def abort(self) -> None:
        """Reset the connection, as the kernel does for a process that was killed."""
        self.closed = True
        other = self.other
        if other is not None:
            self.network.world.after(
                self.network.latency(*_hosts(self)), other.fail, errno.ECONNRESET
            )

    # --- faults

    def lose_power(self) -> None:
        """This end is gone without a word."""
        self.closed = self.powerless = True

    def cut_in_the_middle(self) -> None:
        """Both ends are reset; of what is under way to this end, a part still arrives."""
        other = self.other
        if other is None:
            return
        if other._sent:
            first = other._sent[0]
            self.unread += first[:self.network.world.chance.randrange(len(first) + 1)]
        other._sent.clear()
        self.fail(errno.ECONNRESET)
        other.fail(errno.ECONNRESET)

    # --- inside

    def opened(self) -> None:
        if not self.closed and not self.error:
            self.established = True
            self._tell()

    def fail(self, error: int) -> None:
        """The connection is lost."""
        if not self.error:
            self.error = error
            self._sent.clear()
            self._tell()

    def _tell(self) -> None:
        if not self.powerless:
            self.changed()

    def _put(self, data: bytes) -> None:
        world, network = self.network.world, self.network
        self._sent.append(data)
        self._under_way += len(data)
        arrival = max(world.now + network.latency(*_hosts(self)), self._last_arrival)
        self._last_arrival = arrival
        world.at(arrival, self._deliver, RETRANSMISSION)

    def _deliver(self, patience: float) -> None:
        """The oldest segment arrives, if it can."""
        other, network = self.other, self.network
        if not self._sent or other is None or self.powerless:
            return
        if not network.reaches(*_hosts(self)):
            again = min(2 * patience, LONGEST_RETRANSMISSION)
            network.world.after(patience, self._deliver, again)
            return
        data = self._sent.popleft()
        self._under_way -= len(data)
        other.established = True
        if other.closed:
            if data:
                self.fail(errno.ECONNRESET)
            return
        if data:
            other.unread += data
        else:
            other._end = True
        other._tell()
