"""`ServerSession`: what a server says to one client, without the sockets.

Bytes go into its circuit and come out as commands; `ServerSession.process` answers each; `take`
gives the bytes to be sent. It is the model of an EPICS IOC wherever clients could tell the
difference, and kinder where an IOC would drop the circuit for one bad request: the request is
refused with an ERROR message and the others go on.

One thread, the client's, owns a session and calls its methods. The exception is the `UpdateQueue`,
through which other threads hand in updates and the answers to slow requests. Requests that call the
user's functions (getters and putters) are returned by `process` as *jobs*: the owner runs them
wherever it likes, in this thread or another, and they answer when they are done. So one slow put
does not hold up the other requests of its client.

No sockets here, and no clock.
"""
from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from .._circuit import VirtualCircuit
from .._commands import (
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
    EventAddResponse,
    EventCancelRequest,
    EventCancelResponse,
    EventsOffRequest,
    EventsOnRequest,
    HostNameRequest,
    NotFoundResponse,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
    ReadSyncRequest,
    ReadSyncResponse,
    SearchRequest,
    SearchResponse,
    VersionRequest,
    VersionResponse,
    WriteNotifyRequest,
    WriteNotifyResponse,
    WriteRequest,
)
from .._constants import (
    DEFAULT_PROTOCOL_VERSION,
    DO_REPLY,
    EXTENDED_HEADER_VERSION,
    MAX_PRIORITY,
    MINIMUM_PROTOCOL_VERSION,
    SENDER_ADDRESS,
)
from .._dbr import LAYOUTS, AccessRights, ChannelType
from .._errors import CaprotoError, CaprotoKeyError, CaprotoValueError, RemoteProtocolError
from .._framing import UNLIMITED, OversizedMessage
from .._headers import MARKER, MessageHeader
from .._log import CHANNEL_LOGGER
from .._message import Message, Payload
from .._payload import payload_size
from .._roles import SERVER
from .._status import CAStatus
from .data import ChannelData
from .directory import Directory, View
from .snapshot import Refused, Snapshot
from .updates import Subscription, UpdateQueue

__all__ = ["Job", "ServerSession"]

_log = logging.getLogger(CHANNEL_LOGGER)

_NO_CHANNEL = 0xFFFFFFFF
#: Longest text of CLIENT_NAME and HOST_NAME, in bytes, with its terminating zero.
_MAX_NAME = 512
#: The bits that a mask may have.
_MASKS = 0xFF
#: Clients below 4.9 are told at most this many elements.
_MAX_SMALL_COUNT = 65534
#: Rights are looked at again after the client was told: another thread may have changed them.
_RIGHTS_TRIES = 3
_ACKNOWLEDGEMENTS = (ChannelType.PUT_ACKT, ChannelType.PUT_ACKS)


class Job(NamedTuple):
    """A request that calls the user's functions. Jobs of one PV must be run in order."""

    #: The PV concerned.
    data: ChannelData
    #: Calls the functions, then answers the request.
    run: Callable[[], None]


class _Channel:
    """One channel of one client."""

    __slots__ = ("cid", "closed", "rights", "session", "sid", "subscriptions", "view")

    def __init__(
        self, session: ServerSession, view: View, cid: int, sid: int, rights: AccessRights
    ) -> None:
        self.session = session
        self.view = view
        self.cid = cid
        self.sid = sid
        self.rights = rights
        self.closed = False
        #: By subid. Replaced whole, because threads that change the rights look at it.
        self.subscriptions: dict[int, Subscription] = {}

    def rights_changed(self) -> None:
        """Called by the thread that has changed the rights of the PV."""
        view = self.view
        for _ in range(_RIGHTS_TRIES):
            rights = view.data.check_access(self.session.host_name, self.session.client_name)
            if rights == self.rights:
                break
            self.session.updates.rights_changed(
                self,
                rights,
                AccessRightsResponse(self.cid, rights),
                self.subscriptions.values(),
                lambda: view.select(view.data.snapshot),
            )


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
        What the client says about itself.
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
        self._safe_size = min(max_payload, MARKER - 1)  # in bytes; every client takes so many
        self.closing = False
        self.host_name = address[0]
        self.client_name = ""
        self._channels: dict[int, _Channel] = {}
        self._next_sid = 0
        self._versioned = False  # a good VERSION has come
        self._reply = self.updates.reply
        self._reply(VersionResponse(DEFAULT_PROTOCOL_VERSION))

    # --- what the owner calls

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
            self._error(command, CAStatus.ECA_DEFUNCT, "no VERSION of 4.4 or later before this")
            return None
        _, size, _, count, _, _ = command.fields
        if (size >= MARKER or count >= MARKER) and self._is_small():
            self._error(command, CAStatus.ECA_INTERNAL, "this client knows no extended headers")
            return None
        try:
            return _HANDLERS[type(command)](self, command)
        except RemoteProtocolError as exc:
            self._error(command, CAStatus.ECA_INTERNAL, str(exc))
            return None

    def broken(self, error: RemoteProtocolError) -> None:
        """The client's bytes make no sense any more: say so, then close."""
        self._reply(
            ErrorResponse(MessageHeader(), _NO_CHANNEL, CAStatus.ECA_INTERNAL, str(error))
        )
        self.closing = True

    def take(self, limit: int = 1 << 16) -> list[Payload]:
        """The bytes to be sent next: all replies, and about *limit* bytes of updates.

        An empty list means that there is nothing to send now.
        """
        replies, updates = self.updates.take(limit)
        if not replies and not updates:
            return []
        messages = [self._update(*update) for update in updates]
        return self.circuit.send(*replies, *messages)

    def sleep(self) -> bool:
        """False if there is something to `take`; else *wake* will be called when there is."""
        return self.updates.sleep()

    def close(self) -> None:
        """The client is gone: forget it everywhere."""
        self.updates.close()
        self.circuit.disconnect()
        for channel in self._channels.values():
            self._release(channel)
        self._channels.clear()

    # --- helpers

    def _error(
        self, command: Message, status: CAStatus, text: str, channel: _Channel | None = None
    ) -> None:
        self._reply(ErrorResponse(command, channel.cid if channel else _NO_CHANNEL, status, text))

    def _channel(self, command: Any) -> _Channel:
        try:
            return self._channels[command.sid]
        except KeyError:
            raise RemoteProtocolError(f"no channel of this circuit has sid {command.sid}") from None

    def _release(self, channel: _Channel) -> None:
        subscriptions, channel.subscriptions = channel.subscriptions, {}
        self.updates.close_channel(channel, subscriptions.values())
        data = channel.view.data
        data.unlisten(channel)
        if subscriptions:
            data.unsubscribe(subscriptions.values())

    def _value(
        self, snapshot: Snapshot, view: View, data_type: int, data_count: int
    ) -> tuple[bytes, int, CAStatus]:
        """Payload, count and status of a reply that carries a value."""
        try:
            if data_count > view.data_count:
                raise Refused(
                    f"{data_count} elements of {view.data_count}", CAStatus.ECA_BADCOUNT
                )
            payload, count = snapshot.encode(data_type, data_count)
        except Refused as exc:
            return *_nothing(data_type, min(data_count, view.data_count)), exc.status
        return payload, count, CAStatus.ECA_NORMAL

    def _is_small(self) -> bool:
        """Whether the client knows no extended headers."""
        return self.circuit.peer_version < EXTENDED_HEADER_VERSION

    def _too_large(self, payload: bytes, count: int) -> CAStatus | None:
        """Why a value cannot be sent to this client, if it cannot."""
        if len(payload) > self.max_payload:
            return CAStatus.ECA_TOLARGE
        if (len(payload) >= MARKER or count >= MARKER) and self._is_small():
            return CAStatus.ECA_16KARRAYCLIENT
        return None

    def _update(self, subscription: Subscription, snapshot: Snapshot, readable: bool) -> Message:
        """The message that tells a subscription of *snapshot*."""
        _, _, data_type, data_count, _, subid = subscription.request
        channel = subscription.channel
        status = 1
        try:
            if not readable:
                raise Refused("", CAStatus.ECA_NORDACCESS)
            payload, count = snapshot.encode(data_type, data_count)
        except Refused as exc:
            payload, count = _nothing(data_type, data_count)
            status = int(exc.status)
        if len(payload) > self._safe_size or count >= MARKER:
            refusal = self._too_large(payload, count)
            if refusal is not None:
                request = EventAddRequest.from_wire(subscription.request, b"")
                return ErrorResponse(request, channel.cid, refusal, channel.view.name)
        message: Message = EventAddResponse.from_wire(
            (1, len(payload), data_type, count, status, subid), payload
        )
        return message

    # --- the circuit itself

    def _on_version(self, command: VersionRequest) -> None:
        if command.version < MINIMUM_PROTOCOL_VERSION or command.priority > MAX_PRIORITY:
            self.closing = True
            return
        self.circuit.process_command(command)
        self._versioned = True

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
            self._reply(
                SearchResponse.from_wire((6, 0, self.port, 0, SENDER_ADDRESS, command.cid), b"")
            )
        elif command.name and command.reply == DO_REPLY:
            _, _, reply, version, parameter1, parameter2 = command.fields
            self._reply(
                NotFoundResponse.from_wire((14, 0, reply, version, parameter1, parameter2), b"")
            )

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
        rights = view.data.check_access(self.host_name, self.client_name)
        channel = self._channels[sid] = _Channel(self, view, command.cid, sid, rights)
        count = view.data_count
        if self._is_small():
            count = min(count, _MAX_SMALL_COUNT)
        self._reply(
            AccessRightsResponse(command.cid, rights),
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

    # --- reading

    def _on_read_notify(self, command: ReadNotifyRequest) -> Job | None:
        return self._read(command, self._answer_read_notify)

    def _on_read(self, command: ReadRequest) -> Job | None:
        return self._read(command, self._answer_read)

    def _read(
        self, command: Any, answer: Callable[[Any, _Channel, CAStatus], None]
    ) -> Job | None:
        channel = self._channel(command)
        self.circuit.process_command(command)
        if command.fields[2] >= len(LAYOUTS):
            answer(command, channel, CAStatus.ECA_BADTYPE)
            return None
        if not channel.rights & AccessRights.READ:
            answer(command, channel, CAStatus.ECA_NORDACCESS)
            return None
        if channel.view.data.getter is None:
            answer(command, channel, CAStatus.ECA_NORMAL)
            return None
        return Job(
            channel.view.data, lambda: answer(command, channel, self._refresh(channel))
        )

    def _refresh(self, channel: _Channel) -> CAStatus:
        """Call the getter: the user's code, in the thread of the job."""
        try:
            channel.view.data.refresh()
        except Refused as exc:
            default = exc.status is CAStatus.ECA_PUTFAIL
            return CAStatus.ECA_GETFAIL if default else exc.status
        except (Exception, SystemExit):
            _log.exception("the getter of %s failed", channel.view.name)
            return CAStatus.ECA_GETFAIL
        return CAStatus.ECA_NORMAL

    def _answer_read_notify(self, command: Any, channel: _Channel, status: CAStatus) -> None:
        _, _, data_type, data_count, _, ioid = command.fields
        view = channel.view
        if status is CAStatus.ECA_NORMAL:
            payload, count, status = self._value(
                view.select(view.data.snapshot), view, data_type, data_count
            )
        else:
            payload, count = _nothing(data_type, min(data_count, view.data_count))
        refusal = self._too_large(payload, count)
        if refusal is not None:
            message: Message = ErrorResponse(command, channel.cid, refusal, view.name)
        else:
            message = ReadNotifyResponse.from_wire(
                (15, len(payload), data_type, count, int(status), ioid), payload
            )
        self._reply(message, channel=channel)

    def _answer_read(self, command: Any, channel: _Channel, status: CAStatus) -> None:
        """The obsolete READ: failures are ERROR messages, count 0 means 0, one string is short."""
        _, _, data_type, data_count, _, ioid = command.fields
        view = channel.view
        payload, count = b"", 0
        if status is CAStatus.ECA_NORMAL and data_count:
            payload, count, status = self._value(
                view.select(view.data.snapshot), view, data_type, data_count
            )
        if data_type == ChannelType.STRING and count == 1:
            text = payload.rstrip(b"\0") + b"\0"
            payload = text.ljust((len(text) + 7) & -8, b"\0")
        refusal = self._too_large(payload, count) or status
        if refusal is not CAStatus.ECA_NORMAL:
            message: Message = ErrorResponse(command, channel.cid, refusal, view.name)
        else:
            message = ReadResponse.from_wire(
                (3, len(payload), data_type, count, channel.cid, ioid), payload
            )
        self._reply(message, channel=channel)

    # --- writing

    def _on_write(self, command: WriteRequest) -> Job | None:
        return self._write(command, self._answer_write)

    def _on_write_notify(self, command: WriteNotifyRequest) -> Job | None:
        return self._write(command, self._answer_write_notify)

    def _write(
        self, command: Any, answer: Callable[[Any, _Channel, CAStatus], None]
    ) -> Job | None:
        channel = self._channel(command)
        self.circuit.process_command(command)
        data = channel.view.data
        try:
            elements = self._received(command, channel)
        except Refused as exc:
            answer(command, channel, exc.status)
            return None

        def put() -> None:
            answer(command, channel, self._put(channel, elements))

        if data.putter is not None and elements is not None:
            return Job(data, put)
        put()
        return None

    def _received(self, command: Any, channel: _Channel) -> Any:
        """The elements that a client wants written; None for an acknowledgement, done here.

        Raises
        ------
        Refused
            With what the client is told.
        """
        _, _, data_type, count, _, _ = command.fields
        if not channel.rights & AccessRights.WRITE:
            raise Refused("no write access", CAStatus.ECA_NOWTACCESS)
        if data_type >= len(LAYOUTS):
            raise Refused(f"{data_type} is not a type", CAStatus.ECA_BADTYPE)
        if data_type > ChannelType.DOUBLE and data_type not in _ACKNOWLEDGEMENTS:
            raise Refused("only plain types can be written", CAStatus.ECA_PUTFAIL)
        layout = LAYOUTS[data_type]
        size = len(command.payload)
        if size < layout.item_size * count and not (
            data_type == ChannelType.STRING and count == 1 and size
        ):
            raise Refused("the payload is too short", CAStatus.ECA_BADCOUNT)
        data = channel.view.data
        try:
            if data_type in _ACKNOWLEDGEMENTS:
                data.acknowledge(data_type, int.from_bytes(command.payload[:2], "big"))
                return None
            return channel.view.from_client(command.payload, data_type, count)
        except CaprotoError as exc:
            _log.debug("%s: %s", channel.view.name, exc, extra={"their_address": self.address})
            raise Refused(str(exc), CAStatus.ECA_PUTFAIL) from exc

    def _put(self, channel: _Channel, elements: Any) -> CAStatus:
        """Call the putter, the user's code, in the thread of the job; then store the value."""
        if elements is None:
            return CAStatus.ECA_NORMAL
        try:
            channel.view.data.put(elements)
        except Refused as exc:
            return exc.status
        except (Exception, SystemExit):
            _log.exception("the putter of %s failed", channel.view.name)
            return CAStatus.ECA_PUTFAIL
        return CAStatus.ECA_NORMAL

    def _answer_write(self, command: Any, channel: _Channel, status: CAStatus) -> None:
        if not status.success:
            error = ErrorResponse(command, channel.cid, status, channel.view.name)
            self._reply(error, channel=channel)

    def _answer_write_notify(self, command: Any, channel: _Channel, status: CAStatus) -> None:
        _, _, data_type, count, _, ioid = command.fields
        self._reply(
            WriteNotifyResponse.from_wire((19, 0, data_type, count, int(status), ioid), b""),
            channel=channel,
        )

    # --- subscriptions

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
        subscription = Subscription(
            self.updates, channel, command.fields, int(command.mask), view.filter()
        )
        channel.subscriptions = {**channel.subscriptions, subid: subscription}
        if view.data.getter is None or not channel.rights & AccessRights.READ:
            self._start(channel, subscription)
            return None

        def start() -> None:
            self._refresh(channel)
            self._start(channel, subscription)

        return Job(view.data, start)

    def _start(self, channel: _Channel, subscription: Subscription) -> None:
        data = channel.view.data
        self.updates.first(subscription, data.subscribe(subscription))
        if not subscription.alive:  # cancelled while the getter ran
            data.unsubscribe([subscription])

    def _on_event_cancel(self, command: EventCancelRequest) -> None:
        channel = self._channel(command)
        subid = command.fields[5]
        subscription = channel.subscriptions.get(subid)
        if subscription is None:
            self._error(
                command, CAStatus.ECA_BADMONID, f"there is no subscription {subid}", channel
            )
            return
        self.circuit.process_command(command)
        channel.subscriptions = {k: v for k, v in channel.subscriptions.items() if k != subid}
        self.updates.cancel([subscription])
        channel.view.data.unsubscribe([subscription])
        _, _, data_type, data_count, _, _ = subscription.request
        self._reply(
            EventCancelResponse.from_wire((1, 0, data_type, data_count, channel.sid, subid), b"")
        )


def _nothing(data_type: int, data_count: int) -> tuple[bytes, int]:
    """What travels instead of a value: zeros, and the element count."""
    if data_type >= len(LAYOUTS):
        return b"", 0
    return bytes(payload_size(data_type, data_count)), data_count


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
