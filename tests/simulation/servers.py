"""Simulated servers: sessions of our own server on the simulated network, and name servers."""
from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy

from caproto import (
    SERVER,
    CaprotoKeyError,
    EchoRequest,
    EchoResponse,
    Message,
    ReadNotifyRequest,
    ReadNotifyResponse,
    RemoteProtocolError,
    SearchRequest,
    SearchResponse,
    ServerDisconnResponse,
    VersionRequest,
    VersionResponse,
    VirtualCircuit,
    WriteNotifyResponse,
)
from caproto._server.beacon_timer import BeaconTimer
from caproto._server.data import ChannelData
from caproto._server.directory import Directory, View
from caproto._server.search_replies import search_replies
from caproto._server.session import Job, ServerSession
from caproto.server import ChannelDouble, ChannelInteger, ChannelString

from .network import BROADCAST, Address, Network, Stream
from .world import World

SEARCH_PORT, BEACON_PORT = 5064, 5065
BEACON_PERIOD = 15.0
#: The session is asked for nothing while so many bytes wait to be sent.
HIGH_WATER = 20_000

#: Elements of a large array.
LARGE = 9000

#: What a channel can be: how to make one with a number as its value.
KINDS: dict[str, Any] = {
    "double": lambda number: ChannelDouble(value=float(number)),
    "integers": lambda number: ChannelInteger(value=[number] * 3, max_length=8),
    "string": lambda number: ChannelString(value=str(number)),
    # More than there is room for on the way.
    "large": lambda number: ChannelDouble(value=numpy.full(LARGE, float(number))),
}


def number_of(value: Any) -> int:
    """The number that a value of any kind carries."""
    if isinstance(value, (str, bytes, int, float)):
        return int(float(value))
    return int(float(value[0]))


class _Directory(Directory):
    """One that has names and gives no channel for them."""

    refused: frozenset[str] = frozenset()

    def open(self, name: str) -> View:
        if name in self.refused:
            raise CaprotoKeyError(f"{name} is not to be had")
        return super().open(name)


class Server:
    """One server process; it can be stopped and started again, elsewhere and with other types.

    Parameters
    ----------
    world : World
    network : Network
    address : tuple of (str, int)
        Host and TCP port.
    kinds : mapping of str to str
        What it serves: names and keys of `KINDS`.

    Attributes
    ----------
    running : bool
    pvs : dict of str to ChannelData
        Anew each time it is started.
    connections : dict of Connection to None
    received : list of (str, int)
        The writes of clients: names and numbers. It survives restarts, as does `history`.
    """

    def __init__(
        self, world: World, network: Network, address: Address, kinds: Mapping[str, str]
    ) -> None:
        self.world, self.network = world, network
        self.address = address
        self.kinds = dict(kinds)
        self.running = self.frozen = False
        self.pvs: dict[str, ChannelData] = {}
        self.connections: dict[Connection, None] = {}
        self.received: list[tuple[str, int]] = []
        #: The numbers that each PV has had, in this order; and PVs whose values were asked for with
        #: the id of a subscription, so that a reply may have overtaken updates.
        self.history: dict[str, list[int]] = {name: [] for name in kinds}
        self.refreshed: set[str] = set()
        #: PVs that it has, and gives no channel for.
        self.refused: frozenset[str] = frozenset()
        self.next_number = 0
        #: Seconds that each put takes; what happens to replies ("late", "twice", "stray").
        self.put_time = 0.0
        self.odd_replies: tuple[str, ...] = ()
        self._unheard: list[tuple[bytes, Address]] = []  # while frozen
        self._generation = 0

    def start(self) -> None:
        if self.running:
            return
        self.running, self.frozen = True, False
        self._generation += 1
        self.pvs = {name: self._make(name, kind) for name, kind in self.kinds.items()}
        self.directory = _Directory(self.pvs)
        self.directory.refused = self.refused
        host, port = self.address
        self.network.bind((host, SEARCH_PORT), self._searched)
        self.listen()
        self._beacons = BeaconTimer(port, BEACON_PERIOD, self.world.now)
        self._beat(self._generation)
        self.world.note(f"server {host}:{port} starts")

    def listen(self) -> None:
        """Take clients."""
        if self.running:
            self.network.listen(self.address, self._accept)

    def stop(self, *, power: bool = False) -> None:
        """Kill the process; or the whole host, which tells no client."""
        if not self.running:
            return
        self.world.note(f"server {self.address} stops, power={power}")
        self.running = False
        self.network.unbind((self.address[0], SEARCH_PORT))
        self.network.stop_listening(self.address)
        for connection in list(self.connections):
            connection.gone(power=power)
        self._unheard.clear()

    def freeze(self, frozen: bool) -> None:
        """Do nothing, as a process that is stopped or swapped out; or go on."""
        self.frozen = frozen
        if frozen or not self.running:
            return
        unheard, self._unheard = self._unheard, []
        for data, sender in unheard:
            self._searched(data, sender)
        for connection in list(self.connections):
            connection.turn_soon()

    def post(self, name: str) -> None:
        """The value of a PV changes."""
        if self.running and not self.frozen:
            self.next_number += 1
            data = self.pvs[name]
            value: Any = self.next_number
            if isinstance(data, ChannelString):
                value = str(value)
            elif data.max_length > 1:
                value = numpy.full(LARGE, value) if data.max_length == LARGE else [value] * 3
            self.history[name].append(self.next_number)
            data.write(value)

    def refuse(self, name: str, refuse: bool) -> None:
        """Give no channels for a PV; or give them again."""
        self.refused = self.refused | {name} if refuse else self.refused - {name}
        self.directory.refused = self.refused

    def give_up(self, name: str) -> None:
        """Drop the channels of a PV, and keep the circuits."""
        if not self.frozen:
            for connection in self.connections:
                connection.give_up(name)

    def _make(self, name: str, kind: str) -> ChannelData:
        self.next_number += 1
        self.history[name].append(self.next_number)
        data: ChannelData = KINDS[kind](self.next_number)
        data.name = name

        def put(_: ChannelData, value: Any) -> None:
            number = number_of(value)
            self.world.note(f"server {self.address} is written {name} {number}")
            self.received.append((name, number))
            self.history[name].append(number)

        data.putter = put
        return data

    def _searched(self, data: bytes, sender: Address) -> None:
        if self.frozen:
            self._unheard.append((data, sender))
            return
        own = self.address[0], SEARCH_PORT
        for reply in search_replies(data, sender, self.directory, self.address[1]):
            self.network.send(reply, own, sender)

    def _beat(self, generation: int) -> None:
        if not self.running or generation != self._generation:
            return
        if not self.frozen:
            beacon = self._beacons.beacon(self.world.now)
            if beacon is not None:
                self.network.send(beacon, (self.address[0], 40000), (BROADCAST, BEACON_PORT))
        self.world.at(max(self._beacons.due, self.world.now + 0.01), self._beat, generation)

    def _accept(self, stream: Stream) -> None:
        Connection(self, stream)


class Connection:
    """A client of a server."""

    def __init__(self, server: Server, stream: Stream) -> None:
        self.server, self.stream = server, stream
        self.world = server.world
        self.session = ServerSession(
            server.directory, stream.peer, wake=self.turn_soon, port=server.address[1]
        )
        self._answer = self.session._reply
        self.session._reply = self._reply
        self._out = bytearray()
        self._jobs: dict[ChannelData, deque[Job]] = {}
        self._scheduled = False
        server.connections[self] = None
        stream.changed = self.turn_soon
        self.turn_soon()

    def turn_soon(self) -> None:
        """The thread of this client gets its turn."""
        if not self._scheduled:
            self._scheduled = True
            self.world.soon(self._turn)

    def gone(self, *, power: bool = False) -> None:
        """The connection is over."""
        self.server.connections.pop(self, None)
        self.session.close()
        if power:
            self.stream.lose_power()
        elif not self.stream.closed:
            self.stream.abort()

    def _turn(self) -> None:
        self._scheduled = False
        if self.server.frozen or self not in self.server.connections:
            return
        try:
            if not self._receive() or not self._send():
                self.stream.close()
                self.gone()
                return
        except OSError:
            self.gone()
            return
        if len(self._out) < HIGH_WATER and (self.stream.readable or not self.session.sleep()):
            self.turn_soon()

    def _receive(self) -> bool:
        """False at the end of the stream."""
        session = self.session
        while len(self._out) < HIGH_WATER:
            data = self.stream.receive(4096)
            if data is None:
                return True
            if not data:
                return False
            for command in session.circuit.feed(data):
                if isinstance(command, ReadNotifyRequest):
                    self._note_refresh(command)
                job = session.process(command)
                if job is not None:
                    self._queue(job)
            if session.circuit.error is not None and not session.closing:
                session.broken(session.circuit.error)
        return True

    def _note_refresh(self, command: ReadNotifyRequest) -> None:
        if command.ioid in self.session.circuit.subscriptions:
            channel = self.session.circuit.channels_sid.get(command.sid)
            if channel is not None:
                self.server.refreshed.add(channel.name)

    def give_up(self, name: str) -> None:
        session = self.session
        for sid, channel in list(session._channels.items()):
            if channel.view.name == name:
                del session._channels[sid]
                session._release(channel)
                self._answer(ServerDisconnResponse(channel.cid))

    def subscriptions(self) -> list[str]:
        """The name of the PV of each live subscription."""
        channels = self.session.circuit.channels_sid
        return sorted(
            channels[request.sid].name for request in self.session.circuit.subscriptions.values()
        )

    def _send(self) -> bool:
        """False if everything is said and the session wants to close."""
        while True:
            while len(self._out) < HIGH_WATER:
                buffers = self.session.take(4096)
                if not buffers:
                    break
                self._out += b"".join(bytes(buffer) for buffer in buffers)
            sent = self.stream.send(bytes(self._out)) if self._out else 0
            del self._out[:sent]
            if self._out or not sent:
                return bool(self._out) or not self.session.closing

    def _queue(self, job: Job) -> None:
        """Puts of one PV are done one after the other."""
        jobs = self._jobs.setdefault(job.data, deque())
        jobs.append(job)
        if len(jobs) == 1:
            self.world.after(self.server.put_time, self._do, jobs)

    def _do(self, jobs: deque[Job]) -> None:
        if self.server.running:
            jobs[0].run()
            jobs.popleft()
            if jobs:
                self.world.after(self.server.put_time, self._do, jobs)

    def _reply(self, *messages: Message, channel: Any = None) -> None:
        """Some servers answer late, twice, or what was never asked."""
        odd = self.server.odd_replies
        for message in messages:
            if not odd or type(message) not in (ReadNotifyResponse, WriteNotifyResponse):
                self._answer(message, channel=channel)
                continue
            what = self.world.chance.choice(odd)
            if what == "late":
                delay = 3.0 * self.world.chance.random()
                self.world.after(delay, lambda m=message: self._answer(m, channel=channel))
                continue
            self._answer(message, channel=channel)
            if what == "twice":
                self._out += bytes(message)
            elif what == "stray":
                fields = (*message.fields[:5], 0x7FFF0000 + self.world.chance.randrange(1000))
                self._out += bytes(type(message).from_wire(fields, message.payload))


class NameServer:
    """Answers searches over TCP for all servers that run.

    Parameters
    ----------
    world : World
    network : Network
    address : tuple of (str, int)
    servers : list of Server
    """

    def __init__(
        self, world: World, network: Network, address: Address, servers: list[Server]
    ) -> None:
        self.world, self.network, self.address, self.servers = world, network, address, servers
        self.running = False
        self._streams: list[Stream] = []

    def start(self) -> None:
        if not self.running:
            self.running = True
            self.network.listen(self.address, self._accept)

    def stop(self) -> None:
        self.running = False
        self.network.stop_listening(self.address)
        for stream in self._streams:
            stream.abort()
        self._streams.clear()

    def _accept(self, stream: Stream) -> None:
        circuit = VirtualCircuit(SERVER, stream.peer)
        self._streams.append(stream)
        stream.changed = lambda: self._read(stream, circuit)
        self._say(stream, circuit, VersionResponse(13))

    def _say(self, stream: Stream, circuit: VirtualCircuit, *commands: Message) -> None:
        for buffer in circuit.send(*commands):
            stream.send(bytes(buffer))  # little enough to fit

    def _read(self, stream: Stream, circuit: VirtualCircuit) -> None:
        if not self.running or stream.closed:
            return
        try:
            while data := stream.receive(4096):
                for command in circuit.feed(data):
                    circuit.process_command(command)
                    self._answer(stream, circuit, command)
            if data is not None:
                stream.close()
        except (OSError, RemoteProtocolError):
            stream.abort()
        if stream.closed and stream in self._streams:
            self._streams.remove(stream)

    def _answer(self, stream: Stream, circuit: VirtualCircuit, command: Message) -> None:
        if isinstance(command, EchoRequest):
            self._say(stream, circuit, EchoResponse())
        elif isinstance(command, SearchRequest):
            for server in self.servers:
                if server.running and not server.frozen and command.name in server.pvs:
                    host, port = server.address
                    self._say(stream, circuit, SearchResponse(port, host, command.cid, None))
                    break
        elif not isinstance(command, VersionRequest):
            self.world.note(f"name server hears {command!r}")
