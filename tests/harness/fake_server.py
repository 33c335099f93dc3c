"""A server of Channel Access that does what a test tells it, good or bad, over the loopback.

>>> with FakeServer({"x": 1.5, "wave": FakePV([1, 2, 3], ChannelType.LONG)}) as server:
...     ctx = Context(configuration=server.configuration)

Left alone it is a correct, simple server on our own sans-I/O core, and a strict judge: whatever the
client does against the protocol is collected in `FakeServer.errors`, and leaving the block fails if
there is anything (unless ``judge=False``). A test changes its behaviour

* by ``server.on[ReadNotifyRequest] = function``, called as ``function(connection, command)``
  instead of the usual answer (`ignore` for silence; `FakeServer.usual` does what is usual), and
* by acting on a `Connection` directly: ``send`` (checked), ``send_raw`` (anything), ``reset`` ...

Nothing here imports pytest. All threads are named "fake-…", so they are not mistaken for ours.
"""
from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import caproto as ca
from caproto import SERVER, Broadcaster, ChannelType, ServerChannel, VirtualCircuit
from caproto._environment import ClientConfiguration
from tests.harness.ports import LOOPBACK, free_port
from tests.harness.waiting import wait_for

Command = TypeVar("Command")
Handler = Callable[["Connection", Any], Any]


@dataclass
class FakePV:
    """One channel: its value and how it is announced."""

    value: Any
    data_type: ChannelType = ChannelType.DOUBLE
    max_count: int | None = None  #: announced element count; that of the value if None
    rights: int = 3

    @property
    def elements(self) -> list[Any]:
        return list(self.value) if isinstance(self.value, (list, tuple)) else [self.value]

    @property
    def count(self) -> int:
        return self.max_count or len(self.elements)


def ignore(connection: Connection, command: Any) -> None:
    """A handler: as if the command had been lost."""


def hang_up(connection: Connection, command: Any) -> None:
    """A handler: close the connection."""
    connection.close()


def reset(connection: Connection, command: Any) -> None:
    """A handler: break the connection."""
    connection.reset()


class Connection:
    """One client's circuit at a FakeServer, with a thread that reads it.

    Attributes
    ----------
    received : list of commands
        Everything the client sent so far, in order.
    circuit : VirtualCircuit
        Our sans-I/O server's side.
    open : bool
        Whether neither side has ended it.
    """

    def __init__(self, server: FakeServer, sock: socket.socket, address: tuple[str, int]) -> None:
        self.server = server
        self.sock = sock
        self.circuit = VirtualCircuit(SERVER, address, protocol_version=server.version)
        self.received: list[Any] = []
        self.open = True
        self.held: dict[int, Any] | None = None  # updates held while EVENTS_OFF
        self._lock = threading.RLock()
        self._reading = threading.Event()
        self._reading.set()
        self._block, self._pause = 1 << 18, 0.0
        self.thread = threading.Thread(
            target=self._run, name=f"fake-connection {address[1]}", daemon=True
        )

    # --- what a script may do

    def send(self, *commands: Any) -> None:
        """Send *commands*; raises LocalProtocolError if they are wrong now."""
        with self._lock:
            for buffer in self.circuit.send(*commands):
                self._write(buffer)

    def send_raw(self, *messages: Any) -> None:
        """Send *messages* (commands or bytes), however wrong; the circuit does not hear of it."""
        with self._lock:
            for message in messages:
                self._write(bytes(message))

    def close(self) -> None:
        """Hang up in good order."""
        self._end(graceful=True)

    def reset(self) -> None:
        """Break the connection: the client gets ECONNRESET."""
        self._end(graceful=False)

    def stop_reading(self) -> None:
        """Let the client's bytes pile up in the kernel, which takes some megabytes at most."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
        self._reading.clear()

    def go_on_reading(self) -> None:
        """Undo `stop_reading`."""
        self._reading.set()

    def read_slowly(self, block: int, pause: float) -> None:
        """Take *block* bytes at most, then none for *pause* seconds, as over a slow line."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, block)
        self._block, self._pause = block, pause

    def channel(self, name: str) -> ServerChannel:
        """The open channel of that name."""
        with self._lock:
            for channel in self.circuit.channels_sid.values():
                if channel.name == name:
                    return channel
        raise KeyError(name)

    def subscriptions(self, name: str) -> dict[int, Any]:
        """The live EventAddRequests on the channel *name*, by subscription id."""
        with self._lock:
            names = {sid: channel.name for sid, channel in self.circuit.channels_sid.items()}
            return {
                number: request
                for number, request in self.circuit.subscriptions.items()
                if names.get(request.sid) == name
            }

    def commands(self, kind: type[Command]) -> list[Command]:
        """What was received of one class, in order."""
        return [command for command in list(self.received) if isinstance(command, kind)]

    def post(self, name: str) -> int:
        """Send the present value of *name* to all its subscriptions; returns how many."""
        with self._lock:
            if not self.open:
                return 0
            requests = self.subscriptions(name)
            updates = [self.server.update_for(name, request) for request in requests.values()]
            if self.held is not None:
                self.held.update(zip(requests, updates, strict=True))
            else:
                self.send(*updates)
            return len(updates)

    # --- the thread

    def _write(self, buffer: Any) -> None:
        try:
            self.sock.sendall(buffer)
        except OSError:
            self.open = False

    def _run(self) -> None:
        if self.server.greeting:
            self.send(ca.VersionResponse(self.server.version))
        try:
            while self.open:
                self._reading.wait()
                data = self.sock.recv(self._block)
                if not data:
                    break
                self._take(data)
                if self._pause:
                    time.sleep(self._pause)
        except OSError:
            pass
        finally:
            self.open = False
            with self._lock:
                self.circuit.disconnect()
            self.sock.close()

    def _take(self, data: bytes) -> None:
        try:
            commands = self.circuit.feed(data)
            if self.circuit.error is not None:
                raise self.circuit.error
        except ca.CaprotoError as error:
            self.server.errors.append(error)
            self.close()
            return
        for command in commands:
            handler = self.server.on.get(type(command))
            try:
                # Under one lock with the usual answer: nobody can `post` between a subscription and
                # its first update. A handler of a test's own may take its time, holding nothing.
                with self._lock:
                    self.circuit.process_command(command)
                    self.received.append(command)
                    if handler is None:
                        self.server.usual(self, command)
                if handler is not None:
                    handler(self, command)
            except Exception as error:
                if self.open:
                    self.server.errors.append(error)

    def _end(self, graceful: bool) -> None:
        self.open = False
        self._reading.set()
        try:
            if not graceful:
                self.sock.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                # shutdown() would send FIN first; SHUT_RD wakes our own recv and sends nothing.
                self.sock.shutdown(socket.SHUT_RD)
                self.sock.close()
            else:
                self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


@dataclass
class FakeServer:
    """A server on 127.0.0.1, UDP and TCP on the same free port.

    Parameters
    ----------
    pvs : mapping of str to value or FakePV
        What it serves; may be changed at any time (``server.pvs``).
    version : int
        The minor version that it speaks.
    greeting : bool
        Whether it sends VERSION when a client connects.
    port : int, optional
        To come back at the same place.
    judge : bool
        Whether leaving the ``with`` block fails if the client broke the protocol.

    Attributes
    ----------
    searches : list of SearchRequest
        All that arrived by UDP.
    connections : list of Connection
        All so far, in the order of connecting.
    errors : list of Exception
        Breaches of the protocol by the client, and failures of handlers.
    on : dict of class to handler
        Replaces the usual answers.
    answers : callable
        ``answers(search) -> bool``: whether to answer it. Default: if the name is served.
    """

    pvs: Mapping[str, Any] = field(default_factory=dict)
    version: int = 13
    greeting: bool = True
    port: int = 0
    judge: bool = True

    def __post_init__(self) -> None:
        self.pvs = {
            name: pv if isinstance(pv, FakePV) else FakePV(pv) for name, pv in self.pvs.items()
        }
        self.on: dict[type, Handler] = {}
        self.answers: Callable[[ca.SearchRequest], bool] = lambda search: search.name in self.pvs
        self.searches: list[ca.SearchRequest] = []
        self.connections: list[Connection] = []
        self.errors: list[Exception] = []
        self.port = self.port or free_port()
        self.beacon_port = free_port()
        self._broadcaster = Broadcaster(SERVER, self.version)
        self._next_sid = 1
        self._threads: list[threading.Thread] = []
        self._udp: socket.socket | None = None
        self._tcp: socket.socket | None = None

    # --- what a client needs to know

    @property
    def address(self) -> tuple[str, int]:
        return (LOOPBACK, self.port)

    @property
    def environ(self) -> dict[str, str]:
        """The EPICS variables with which a client finds this server and nothing else."""
        return {
            "EPICS_CA_ADDR_LIST": LOOPBACK,
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CA_SERVER_PORT": str(self.port),
            "EPICS_CA_REPEATER_PORT": str(self.beacon_port),
            "CAPROTO_USE_REPEATER": "NO",  # lest each test leave one behind
        }

    @property
    def configuration(self) -> ClientConfiguration:
        return ClientConfiguration.from_environment(self.environ)

    # --- life

    def start(self) -> FakeServer:
        """Begin to answer searches and to accept connections."""
        self.start_tcp()
        self.start_udp()
        return self

    def start_udp(self) -> None:
        """Answer searches."""
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._udp.bind(self.address)
        self._start(self._serve_udp, self._udp, "fake-udp")

    def start_tcp(self) -> None:
        """Accept connections."""
        self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._tcp.bind(self.address)
        self._tcp.listen(64)
        self._start(self._serve_tcp, self._tcp, "fake-tcp")

    def stop_udp(self) -> None:
        """Be deaf to searches."""
        if self._udp is not None:
            # A blocked recvfrom notices this, not close().
            try:
                self._udp.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self._join("fake-udp")
            self._udp.close()
            self._udp = None

    def stop_tcp(self) -> None:
        """Refuse connections; those that exist go on."""
        if self._tcp is not None:
            try:
                self._tcp.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self._join("fake-tcp")
            self._tcp.close()
            self._tcp = None

    def stop(self) -> None:
        """End everything; may be called twice."""
        self.stop_udp()
        self.stop_tcp()
        for connection in self.connections:
            connection.close()
        for connection in self.connections:
            connection.thread.join(5)

    def __enter__(self) -> FakeServer:
        return self.start()

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.stop()
        if self.judge and kind is None:
            assert not self.errors, f"the client broke the protocol: {self.errors}"

    # --- what a test asks for

    @property
    def connection(self) -> Connection:
        """The newest connection; waits for one."""
        wait_for(lambda: self.connections, message="a connection")
        return self.connections[-1]

    @property
    def open_connections(self) -> list[Connection]:
        return [connection for connection in self.connections if connection.open]

    def received(self, kind: type[Command]) -> list[Command]:
        """Commands of one class from all connections, by connection, then in order."""
        return [c for connection in list(self.connections) for c in connection.commands(kind)]

    def wait_for(self, kind: type[Command], count: int = 1, timeout: float = 10) -> list[Command]:
        """Wait until at least *count* commands of a class have come; they are returned."""
        wait_for(
            lambda: len(self.received(kind)) >= count,
            timeout,
            lambda: f"{count} x {kind.__name__}, have {len(self.received(kind))}",
        )
        return self.received(kind)

    def post(self, name: str, value: Any) -> int:
        """Set a value and send it to all subscriptions; returns to how many."""
        self.pvs[name].value = value
        return sum(connection.post(name) for connection in list(self.connections))

    def wished(self, name: str) -> int:
        """How many subscriptions to *name* are live, on all connections."""
        return sum(len(c.subscriptions(name)) for c in self.open_connections)

    def drop_all(self, graceful: bool = False) -> None:
        """End all connections."""
        for connection in self.open_connections:
            connection.close() if graceful else connection.reset()

    # --- the threads

    def _start(
        self, target: Callable[[socket.socket], None], sock: socket.socket, name: str
    ) -> None:
        thread = threading.Thread(target=target, args=(sock,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _join(self, name: str) -> None:
        for thread in self._threads:
            if thread.name == name:
                thread.join(5)

    def _serve_udp(self, sock: socket.socket) -> None:
        while True:
            try:
                data, sender = sock.recvfrom(65536)
            except ConnectionError:  # a client that we answered is gone
                continue
            except OSError:
                return
            if not sender:
                return  # shut down
            try:
                self._answer_datagram(sock, data, sender)
            except OSError:
                return
            except ca.CaprotoError as error:
                self.errors.append(error)

    def _answer_datagram(
        self, sock: socket.socket, data: bytes, sender: tuple[str, int]
    ) -> None:
        commands = self._broadcaster.recv(data, sender)
        self._broadcaster.process_commands(commands)
        replies: list[Any] = []
        for command in commands:
            if isinstance(command, ca.VersionRequest):
                if self.version >= 11 and command.sequence is not None:
                    replies.append(ca.VersionResponse(self.version, command.sequence))
            elif isinstance(command, ca.SearchRequest):
                self.searches.append(command)
                if self.answers(command):
                    replies.append(self.search_reply(command))
        if any(isinstance(reply, ca.SearchResponse) for reply in replies):
            sock.sendto(self._broadcaster.send(*replies), sender)

    def search_reply(self, search: ca.SearchRequest) -> ca.SearchResponse:
        """What we answer to a search; a test may replace this."""
        return ca.SearchResponse(self.port, None, search.cid, self.version)

    def _serve_tcp(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, address = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock, address)
            self.connections.append(connection)
            connection.thread.start()

    # --- answers

    def usual(self, connection: Connection, command: Any) -> None:
        """The correct answer."""
        answer = _USUAL.get(type(command))
        if answer is not None and connection.open:
            with connection._lock:
                answer(self, connection, command)

    def _create(self, connection: Connection, command: ca.CreateChanRequest) -> None:
        channel = connection.circuit.channels[command.cid]
        pv = self.pvs.get(command.name)
        if pv is None:
            connection.send(channel.create_fail())
            return
        self._next_sid += 1
        connection.send(
            channel.rights(pv.rights), channel.create(pv.data_type, pv.count, self._next_sid)
        )

    def _pv(self, connection: Connection, sid: int) -> FakePV:
        return self.pvs[connection.circuit.channels_sid[sid].name]

    def data_for(self, name: str, data_type: int, data_count: int) -> list[Any]:
        """The value of *name* in the type and size that were asked for."""
        values = self.pvs[name].elements
        if ca.native_type(data_type) is ChannelType.STRING:
            values = [value if isinstance(value, (str, bytes)) else str(value) for value in values]
        if data_count:
            values = (values + [type(values[0])()] * data_count)[:data_count]
        return values

    def update_for(self, name: str, request: ca.EventAddRequest) -> ca.EventAddResponse:
        """An update that answers *request* with the present value."""
        data = self.data_for(name, request.data_type, request.data_count)
        return ca.EventAddResponse(
            data, request.data_type, len(data), 1, request.subscriptionid, metadata=_now(request)
        )

    def read_reply(self, connection: Connection, command: Any) -> Any:
        """The reply to a read."""
        name = connection.circuit.channels_sid[command.sid].name
        data = self.data_for(name, command.data_type, command.data_count)
        if isinstance(command, ca.ReadRequest):
            return ca.ReadResponse(
                data, command.data_type, len(data), command.sid, command.ioid,
                metadata=_now(command),
            )
        return ca.ReadNotifyResponse(
            data, command.data_type, len(data), 1, command.ioid, metadata=_now(command)
        )

    def _read(self, connection: Connection, command: Any) -> None:
        connection.send(self.read_reply(connection, command))

    def _store(self, connection: Connection, command: Any) -> None:
        pv = self._pv(connection, command.sid)
        values = command.data.tolist()
        pv.value = values if isinstance(pv.value, (list, tuple)) else values[0]

    def _write_notify(self, connection: Connection, command: ca.WriteNotifyRequest) -> None:
        self._store(connection, command)
        connection.send(
            ca.WriteNotifyResponse(command.data_type, command.data_count, 1, command.ioid)
        )

    def _subscribe(self, connection: Connection, command: ca.EventAddRequest) -> None:
        name = connection.circuit.channels_sid[command.sid].name
        connection.send(self.update_for(name, command))

    def _cancel(self, connection: Connection, command: ca.EventCancelRequest) -> None:
        if connection.held is not None:
            connection.held.pop(command.subscriptionid, None)
        connection.send(
            ca.EventCancelResponse(
                command.data_type, command.sid, command.subscriptionid, command.data_count
            )
        )

    def _clear(self, connection: Connection, command: ca.ClearChannelRequest) -> None:
        connection.send(ca.ClearChannelResponse(command.sid, command.cid))

    def _hold(self, connection: Connection, command: ca.EventsOffRequest) -> None:
        connection.held = {}

    def _release(self, connection: Connection, command: ca.EventsOnRequest) -> None:
        held, connection.held = connection.held or {}, None
        connection.send(*held.values())

    def _echo(self, connection: Connection, command: ca.EchoRequest) -> None:
        connection.send(ca.EchoResponse())


def _now(request: Any) -> Any:
    """Metadata of a reply, for the types that have any."""
    if ChannelType.STS_STRING <= request.data_type <= ChannelType.CTRL_DOUBLE:
        return (0, 0, ca.TimeStamp.from_flexible_value(time.time()))
    return None


_USUAL: dict[type, Callable[[FakeServer, Connection, Any], None]] = {
    ca.CreateChanRequest: FakeServer._create,
    ca.ReadNotifyRequest: FakeServer._read,
    ca.ReadRequest: FakeServer._read,
    ca.WriteNotifyRequest: FakeServer._write_notify,
    ca.WriteRequest: FakeServer._store,
    ca.EventAddRequest: FakeServer._subscribe,
    ca.EventCancelRequest: FakeServer._cancel,
    ca.ClearChannelRequest: FakeServer._clear,
    ca.EventsOffRequest: FakeServer._hold,
    ca.EventsOnRequest: FakeServer._release,
    ca.EchoRequest: FakeServer._echo,
}
