"""`ServerSession`: what a server says to one client, without sockets, threads or a clock.

It behaves like an EPICS IOC wherever clients could see a difference. Where an IOC would drop the
circuit for one bad request, the session refuses that request with an ERROR message, and the others
go on.

Bytes go in, bytes come out::

    session = ServerSession(Directory({"x": ChannelDouble(value=1.5)}), ("10.0.0.2", 40000))
    for job in session.receive(bytes_from_the_client):
        job.run()                           # or later, or in another thread
    for buffer in session.take():           # replies, and updates of monitors
        ...                                 # send it to the client
    if session.closing:
        ...                                 # hang up when all is sent
    session.close()                         # when the connection is over

Requests that call the user's functions (getters and putters) come out as *jobs*: the driver of the
session runs them when and where it likes, and each answers its request when it is done. So a write
whose completion is delayed does not delay other requests. All else that happens to the PVs
(``data.write``, ``data.access_rights = ...``) appears in what the next `take` returns.

One thread, the client's, owns a session and calls its methods. The exception is the `UpdateQueue`,
through which other threads hand in updates and the answers of jobs. Time stamps of values come from
the ``clock`` of each `ChannelData`; nothing else depends on time.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from .._errors import CaprotoKeyError, CaprotoValueError, RemoteProtocolError
from .._log import CHANNEL_LOGGER, adapter
from .._protocol.circuit import VirtualCircuit
from .._protocol.commands import (
    AccessRightsResponse,
    ClearChannelRequest,
    ClearChannelResponse,
    ClientNameRequest,
    CreateChanRequest,
    CreateChanResponse,
    CreateChFailResponse,
    EchoRequest,
    EchoResponse,
    ErrorResponse,
    EventAddRequest,
    EventCancelRequest,
    EventCancelResponse,
    EventsOffRequest,
    EventsOnRequest,
    HostNameRequest,
    NotFoundResponse,
    ReadNotifyRequest,
    ReadRequest,
    ReadSyncRequest,
    ReadSyncResponse,
    SearchRequest,
    SearchResponse,
    VersionRequest,
    VersionResponse,
    WriteNotifyRequest,
    WriteRequest,
)
from .._protocol.constants import (
    DEFAULT_PROTOCOL_VERSION,
    DO_REPLY,
    EXTENDED_HEADER_VERSION,
    MAX_PRIORITY,
    MINIMUM_PROTOCOL_VERSION,
    SENDER_ADDRESS,
)
from .._protocol.dbr import LAYOUTS, AccessRights
from .._protocol.framing import UNLIMITED, OversizedMessage
from .._protocol.headers import MARKER, MessageHeader
from .._protocol.message import Message, Payload
from .._protocol.roles import SERVER
from .._protocol.status import CAStatus
from .._typing import NamedTuple
from .answers import (
    Reach,
    call_getter,
    call_putter,
    read_answer,
    read_notify_answer,
    update_message,
    write_answer,
    write_notify_answer,
    written_elements,
)
from .data import ChannelData
from .directory import Directory
from .open_channel import OpenChannel
from .snapshot import Refused
from .updates import Monitor, UpdateQueue

__all__ = ["Job", "ServerSession"]

_log = adapter(CHANNEL_LOGGER)

_NO_CHANNEL = 0xFFFFFFFF
#: Longest text of CLIENT_NAME and HOST_NAME, in bytes, with its terminating zero.
_MAX_NAME = 512
#: The bits that a mask may have.
_MASKS = 0xFF
#: The largest element count that clients below 4.9 are sent.
_MAX_SMALL_COUNT = 65534

_Read = TypeVar("_Read", ReadRequest, ReadNotifyRequest)
_Write = TypeVar("_Write", WriteRequest, WriteNotifyRequest)


class Job(NamedTuple):
    """A request that calls the user's functions. Jobs of one PV must be run in order."""

    #: The PV concerned.
    data: ChannelData
    #: Calls the functions, then answers the request.
    run: Callable[[], None]


class ServerSession:
    """One client.

    Parameters
    ----------
    directory : Directory
        The PVs.
    address : tuple of (str, int)
        The client's.
    wake : callable
        Called from any thread when there is something to `take` after `sleep`; must not block.
    port : int
        Our TCP port, for searches over TCP.
    max_payload : int
        Larger messages (bytes of payload) are refused in both directions.

    Attributes
    ----------
    circuit : VirtualCircuit
        Its ``get_buffer`` and ``buffer_updated`` turn bytes into commands.
    updates : UpdateQueue
    closing : bool
        Send what is queued, then close the connection.
    host_name, client_name : str
        Names that the client has sent.
    """

    def __init__(
        self,
        directory: Directory,
        address: tuple[str, int],
        *,
        wake: Callable[[], None] = lambda: None,
        port: int = 0,
        max_payload: int = UNLIMITED,
    ) -> None:
        self.directory = directory
        self.address = address
        self.circuit = VirtualCircuit(SERVER, address, max_payload=max_payload)
        self.updates = UpdateQueue(wake)
        self.port = port
        self.max_payload = max_payload
        self._reach = Reach(max_payload, extended=False)
        self.closing = False
        self.host_name = address[0]
        self.client_name = ""
        self._channels: dict[int, OpenChannel] = {}
        self._next_sid = 0
        self._versioned = False  # a good VERSION has come
        self._reply = self.updates.reply
        self._reply(VersionResponse(DEFAULT_PROTOCOL_VERSION))

    # --- what the owner calls

    def receive(self, data: bytes) -> Iterator[Job]:
        """Answer what the client has sent; yields the jobs, in order.

        Requests after a job are looked at when the next job is asked for.
        """
        return self.answer(self.circuit.feed(data))

    def answer(self, commands: Iterable[Message]) -> Iterator[Job]:
        """Do the same with what `circuit` has made of bytes that it was given."""
        for command in commands:
            job = self.process(command)
            if job is not None:
                yield job
        error = self.circuit.error
        if error is not None and not self.closing:
            self.circuit.log.warning("%s", error)
            self.broken(error)

    def process(self, command: Message) -> Job | None:
        """Answer one command of the client.

        Returns
        -------
        Job or None
            To be run in any thread.
        """
        if self.closing:
            return None
        if not self._versioned and type(command) is not VersionRequest:
            self._error(command, CAStatus.ECA_DEFUNCT, "not preceded by a VERSION of 4.4 or later")
            return None
        _, size, _, count, _, _ = command.fields
        if (size >= MARKER or count >= MARKER) and self._is_small():
            self._error(
                command, CAStatus.ECA_INTERNAL, "clients below 4.9 have no extended headers"
            )
            return None
        try:
            return _HANDLERS[type(command)](self, command)
        except RemoteProtocolError as exc:
            self._error(command, CAStatus.ECA_INTERNAL, str(exc))
            return None

    def broken(self, error: RemoteProtocolError) -> None:
        """Send the error about bytes that break the protocol, then close."""
        self._reply(
            ErrorResponse(MessageHeader(), _NO_CHANNEL, CAStatus.ECA_INTERNAL, str(error))
        )
        self.closing = True

    def take(self, limit: int = 1 << 16) -> list[Payload]:
        """Return the bytes to be sent next: all replies, and about *limit* bytes of updates.

        An empty list means that there is nothing to send now.
        """
        replies, updates = self.updates.take(limit)
        if not replies and not updates:
            return []
        messages = [update_message(*update, self._reach) for update in updates]
        return self.circuit.send(*replies, *messages)

    def sleep(self) -> bool:
        """Return False if there is something to `take`; else *wake* is called when there is."""
        return self.updates.sleep()

    def close(self) -> None:
        """Forget the client everywhere: it is gone."""
        self.updates.close()
        self.circuit.disconnect()
        for channel in self._channels.values():
            self._release(channel)
        self._channels.clear()

    # --- helpers

    def _error(
        self, command: Message, status: CAStatus, text: str, channel: OpenChannel | None = None
    ) -> None:
        self._reply(ErrorResponse(command, channel.cid if channel else _NO_CHANNEL, status, text))

    def _channel(self, command: Any) -> OpenChannel:
        try:
            return self._channels[command.sid]
        except KeyError:
            raise RemoteProtocolError(f"no channel of this circuit has sid {command.sid}") from None

    def _release(self, channel: OpenChannel) -> None:
        monitors, channel.monitors = channel.monitors, {}
        self.updates.close_channel(channel, monitors.values())
        data = channel.view.data
        data.unlisten(channel)
        if monitors:
            data.unsubscribe(monitors.values())

    def _is_small(self) -> bool:
        """Tell whether the client does not understand extended headers."""
        return self.circuit.peer_version < EXTENDED_HEADER_VERSION

    # --- the circuit itself

    def _on_version(self, command: VersionRequest) -> None:
        if command.version < MINIMUM_PROTOCOL_VERSION or command.priority > MAX_PRIORITY:
            self.closing = True
            return
        self.circuit.process_command(command)
        self._versioned = True
        self._reach = Reach(self.max_payload, extended=not self._is_small())

    def _on_name(self, command: ClientNameRequest | HostNameRequest) -> None:
        self.circuit.process_command(command)
        if len(command.payload) > _MAX_NAME or b"\0" not in bytes(command.payload):
            self._error(command, CAStatus.ECA_INTERNAL, "the name is too long or has no end")
            self.closing = True
        elif self._channels:
            self._error(command, CAStatus.ECA_INTERNAL, "names must come before the first channel")
        elif type(command) is HostNameRequest:
            self.host_name = command.name
        else:
            self.client_name = command.name

    def _on_echo(self, command: EchoRequest) -> None:
        self._return(command, EchoResponse)

    def _on_read_sync(self, command: ReadSyncRequest) -> None:
        self._return(command, ReadSyncResponse)

    def _return(self, command: Message, response: type[Message]) -> None:
        self.circuit.process_command(command)
        self._reply(response.from_wire(command.fields, bytes(command.payload)))

    def _on_events_off(self, command: EventsOffRequest) -> None:
        self.circuit.process_command(command)
        self.updates.hold()

    def _on_events_on(self, command: EventsOnRequest) -> None:
        self.circuit.process_command(command)
        self.updates.release()

    def _on_search(self, command: SearchRequest) -> None:
        self.circuit.process_command(command)
        if command.version < MINIMUM_PROTOCOL_VERSION:
            self.closing = True
        elif command.name and self.directory.has(command.name):
            fields = (SearchResponse.ID, 0, self.port, 0, SENDER_ADDRESS, command.cid)
            self._reply(SearchResponse.from_wire(fields, b""))
        elif command.name and command.reply == DO_REPLY:
            _, _, reply, version, parameter1, parameter2 = command.fields
            fields = (NotFoundResponse.ID, 0, reply, version, parameter1, parameter2)
            self._reply(NotFoundResponse.from_wire(fields, b""))

    def _on_oversized(self, command: OversizedMessage) -> None:
        self._error(
            command,
            CAStatus.ECA_TOLARGE,
            f"{command.fields[1]} bytes are more than the {command.limit} that are allowed",
            self._channels.get(command.fields[4]),
        )

    # --- the life of a channel

    def _on_create(self, command: CreateChanRequest) -> None:
        if 0 < command.version < MINIMUM_PROTOCOL_VERSION:
            self.closing = True
            return
        if not command.payload:
            return
        self.circuit.process_command(command)
        try:
            view = self.directory.open(command.name)
        except (CaprotoKeyError, CaprotoValueError) as exc:
            _log.debug("%s: %s", command.name, exc, extra={"their_address": self.address})
            self._reply(CreateChFailResponse(command.cid))
            return
        sid = self._new_sid()
        channel = self._channels[sid] = OpenChannel(
            self.updates, view, command.cid, sid, self.host_name, self.client_name
        )
        count = view.data_count
        if self._is_small():
            count = min(count, _MAX_SMALL_COUNT)
        self._reply(
            AccessRightsResponse(command.cid, channel.rights),
            CreateChanResponse(view.data_type, count, command.cid, sid),
        )
        view.data.listen(channel)
        channel.rights_changed()  # the rights may have changed before we listened

    def _new_sid(self) -> int:
        sid = self._next_sid
        while sid in self._channels:
            sid = (sid + 1) & 0xFFFFFFFF
        self._next_sid = (sid + 1) & 0xFFFFFFFF
        return sid

    def _on_clear(self, command: ClearChannelRequest) -> None:
        channel = self._channels.get(command.sid)
        if channel is None:
            self._error(command, CAStatus.ECA_BADCHID, f"no channel has sid {command.sid}")
            return
        self.circuit.process_command(command)
        del self._channels[command.sid]
        self._release(channel)
        self._reply(ClearChannelResponse(channel.sid, channel.cid))

    # --- reading and writing

    def _on_read_notify(self, command: ReadNotifyRequest) -> Job | None:
        return self._read(command, read_notify_answer)

    def _on_read(self, command: ReadRequest) -> Job | None:
        return self._read(command, read_answer)

    def _read(
        self,
        command: _Read,
        answer: Callable[[_Read, OpenChannel, CAStatus, Reach], Message],
    ) -> Job | None:
        channel = self._channel(command)
        self.circuit.process_command(command)

        def reply(status: CAStatus) -> None:
            self._reply(answer(command, channel, status, self._reach), channel=channel)

        if command.fields[2] >= len(LAYOUTS):
            reply(CAStatus.ECA_BADTYPE)
        elif not channel.rights & AccessRights.READ:
            reply(CAStatus.ECA_NORDACCESS)
        elif channel.view.data.getter is None:
            reply(CAStatus.ECA_NORMAL)
        else:
            return Job(channel.view.data, lambda: reply(call_getter(channel.view)))
        return None

    def _on_write(self, command: WriteRequest) -> Job | None:
        return self._write(command, write_answer)

    def _on_write_notify(self, command: WriteNotifyRequest) -> Job | None:
        return self._write(command, write_notify_answer)

    def _write(
        self,
        command: _Write,
        answer: Callable[[_Write, OpenChannel, CAStatus], Message | None],
    ) -> Job | None:
        channel = self._channel(command)
        self.circuit.process_command(command)

        def reply(status: CAStatus) -> None:
            message = answer(command, channel, status)
            if message is not None:
                self._reply(message, channel=channel)

        try:
            elements = written_elements(command, channel)
        except Refused as exc:
            reply(exc.status)
            return None
        if channel.view.data.putter is not None and elements is not None:
            return Job(channel.view.data, lambda: reply(call_putter(channel.view, elements)))
        reply(call_putter(channel.view, elements))
        return None

    # --- monitors

    def _on_event_add(self, command: EventAddRequest) -> Job | None:
        channel = self._channel(command)
        view = channel.view
        _, _, data_type, data_count, _, subid = command.fields
        refusal = None
        if data_type >= len(LAYOUTS):
            refusal = CAStatus.ECA_BADTYPE
        elif not 0 < command.mask <= _MASKS:
            refusal = CAStatus.ECA_BADMASK
        elif data_count > view.data_count:
            refusal = CAStatus.ECA_BADCOUNT
        if refusal is not None:
            self._error(command, refusal, view.name, channel)
            return None
        self.circuit.process_command(command)
        monitor = Monitor(
            self.updates, channel, command.fields, int(command.mask), view.filter()
        )
        channel.monitors = {**channel.monitors, subid: monitor}
        if view.data.getter is None or not channel.rights & AccessRights.READ:
            self._start(channel, monitor)
            return None

        def start() -> None:
            call_getter(channel.view)
            self._start(channel, monitor)

        return Job(view.data, start)

    def _start(self, channel: OpenChannel, monitor: Monitor) -> None:
        data = channel.view.data
        self.updates.first(monitor, data.subscribe(monitor))
        if not monitor.alive:  # cancelled while the getter ran
            data.unsubscribe([monitor])

    def _on_event_cancel(self, command: EventCancelRequest) -> None:
        channel = self._channel(command)
        subid = command.fields[5]
        monitor = channel.monitors.get(subid)
        if monitor is None:
            self._error(
                command, CAStatus.ECA_BADMONID, f"there is no monitor {subid}", channel
            )
            return
        self.circuit.process_command(command)
        channel.monitors = {k: v for k, v in channel.monitors.items() if k != subid}
        self.updates.cancel([monitor])
        channel.view.data.unsubscribe([monitor])
        _, _, data_type, data_count, _, _ = monitor.request
        fields = (EventCancelResponse.ID, 0, data_type, data_count, channel.sid, subid)
        self._reply(EventCancelResponse.from_wire(fields, b""))


_HANDLERS: dict[type[Message], Callable[[ServerSession, Any], Job | None]] = {
    VersionRequest: ServerSession._on_version,
    ClientNameRequest: ServerSession._on_name,
    HostNameRequest: ServerSession._on_name,
    EchoRequest: ServerSession._on_echo,
    ReadSyncRequest: ServerSession._on_read_sync,
    EventsOffRequest: ServerSession._on_events_off,
    EventsOnRequest: ServerSession._on_events_on,
    SearchRequest: ServerSession._on_search,
    CreateChanRequest: ServerSession._on_create,
    ClearChannelRequest: ServerSession._on_clear,
    ReadNotifyRequest: ServerSession._on_read_notify,
    ReadRequest: ServerSession._on_read,
    WriteNotifyRequest: ServerSession._on_write_notify,
    WriteRequest: ServerSession._on_write,
    EventAddRequest: ServerSession._on_event_add,
    EventCancelRequest: ServerSession._on_event_cancel,
    OversizedMessage: ServerSession._on_oversized,
}
