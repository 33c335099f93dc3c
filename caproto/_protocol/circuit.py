"""VirtualCircuit: one TCP conversation, seen from either end, without the TCP.

It turns commands into bytes (:meth:`VirtualCircuit.send`) and bytes into commands
(:meth:`~VirtualCircuit.recv`, or :meth:`~VirtualCircuit.get_buffer` and
:meth:`~VirtualCircuit.buffer_updated`), and says of each whether the protocol allows it:
:meth:`~VirtualCircuit.process_command` for what was received; ``send`` does so for what it sends.

The rules are in ``circuit_rules``. They do not distinguish the sides and raise
ProtocolError; here it is known, and becomes LocalProtocolError or RemoteProtocolError.

A circuit has no sockets, threads or PVs. It is not thread-safe: touch it under its owner's
lock. The exception is the framer (``get_buffer``, ``buffer_updated``, ``recv``), which only the
reading thread touches.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .._addresses import Address
from .._errors import (
    CaprotoRuntimeError,
    CaprotoValueError,
    LocalProtocolError,
    MessageError,
    ProtocolError,
    RemoteProtocolError,
)
from .._numbers import counted
from .._typing import TYPE_CHECKING
from .channel import Channel
from .circuit_rules import HANDLERS, CircuitRules, Handlers
from .client_channel import ClientChannel
from .commands import (
    AccessRightsResponse,
    ClearChannelRequest,
    ClearChannelResponse,
    CreateChanRequest,
    CreateChanResponse,
    CreateChFailResponse,
    ErrorResponse,
    EventAddRequest,
    EventAddResponse,
    EventCancelRequest,
    EventCancelResponse,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
    ServerDisconnResponse,
    WriteNotifyRequest,
    WriteNotifyResponse,
    WriteRequest,
)
from .constants import DEFAULT_PROTOCOL_VERSION, EXTENDED_HEADER_VERSION
from .framing import CIRCUIT_CONSTRUCTORS, UNLIMITED, Framer, OversizedMessage, split
from .headers import HEADER, MARKER, Fields, pack_header
from .id_ranges import Block, IdRange
from .message import Message, Payload, name_payload, priority_number
from .payload import payload_size
from .replies import LAST_TYPE, Deviation
from .roles import CLIENT, DISCONNECTED, SERVER, Role, State
from .states import ASKED_CHANNEL, NEW_CHANNEL, OPEN_CIRCUIT

if TYPE_CHECKING:
    from typing import Any

    from .._log import ObjectLogger

#: Payloads up to this size (bytes) are joined with their neighbours; copying more costs more
#: than handing the kernel one buffer more.
JOIN_LIMIT = 16384
#: Payloads may be larger than expected by this many bytes. The C library accepts values with more
#: elements than were asked for, or of another type.
TOLERANCE = 1 << 20
_WRITES = frozenset({WriteRequest.ID, WriteNotifyRequest.ID})
#: Role of the sender -> handlers of its commands, without what only framing makes.
_SENDABLE: dict[Role, Handlers] = {
    role: {
        cls: handler
        for cls, handler in handlers.items()
        if cls is not OversizedMessage and cls is not Block
    }
    for role, handlers in HANDLERS.items()
}


def _on_state(circuit: CircuitRules, state: State) -> None:
    """Take DISCONNECTED, which stands among the commands that were received."""
    if state is not DISCONNECTED:
        raise ProtocolError(f"{state!r} is not a command")
    circuit.disconnect()


#: Role of the sender -> handlers of what is received from it.
_RECEIVABLE: dict[Role, Handlers] = {
    role: {**handlers, State: _on_state} for role, handlers in HANDLERS.items()
}


class VirtualCircuit(CircuitRules):
    """One conversation between a client and a server.

    Circuits with the same role, address and priority are equal.

    Parameters
    ----------
    our_role : Role
        ``CLIENT`` or ``SERVER``.
    address : tuple of (str, int)
        The peer.
    priority : int or None
        0..99; a client must say it, a server learns it.
    protocol_version : int
        Our minor version.
    peer_version : int, optional
        The minor version of the peer, from its search reply.
    max_payload : int, optional
        Larger payloads (bytes) are not received; see ``OversizedMessage``.

    Attributes
    ----------
    our_role, their_role : Role
    address : tuple of (str, int)
    priority : int or None
    protocol_version : int
    peer_version : int
        What we may rely on: the lower of both versions, as far as known.
    channels : dict of int to channel
        By cid: those that are being created or connected.
    channels_sid : dict of int to channel
        By sid.
    pending : dict of int to command
        By ioid: reads and writes without reply so far.
    subscriptions : dict of int to EventAddRequest
        The live ones, by subscriptionid.
    framer : Framer
        Cuts what is received into commands.

    Raises
    ------
    CaprotoRuntimeError
        If a client names no priority.
    CaprotoValueError
        If the priority is not within 0..99.
    """

    def __init__(
        self,
        our_role: Role,
        address: Address,
        priority: int | None = None,
        protocol_version: int = DEFAULT_PROTOCOL_VERSION,
        *,
        peer_version: int | None = None,
        max_payload: int = UNLIMITED,
    ) -> None:
        if our_role not in (CLIENT, SERVER):
            raise CaprotoValueError(f"our_role must be CLIENT or SERVER, not {our_role!r}")
        if our_role is CLIENT and priority is None:
            raise CaprotoRuntimeError("a client must choose the priority of its circuit, 0..99")
        if priority is not None:
            priority = priority_number(priority)
        super().__init__(our_role, address, priority, protocol_version, peer_version)
        self._log: ObjectLogger | None = None  # made for who asks
        self._outgoing: list[Payload] = []  # accepted by a send() that failed at a later command
        self._send = _SENDABLE[self.our_role]
        self._receive = _RECEIVABLE[self.their_role]
        constructors = CIRCUIT_CONSTRUCTORS[self.their_role]
        empty = {EventAddResponse.ID: self._empty_event} if our_role is CLIENT else {}
        self.framer = Framer(
            constructors, address, {**constructors, **empty}, max_payload, self._payload_limit
        )

    @property
    def log(self) -> ObjectLogger:
        """The logger of this circuit."""
        if self._log is None:
            # Here, because `logging` takes long to import.
            from .._log import CIRCUIT_LOGGER, adapter

            role = self.our_role.name
            self._log = adapter(CIRCUIT_LOGGER, their_address=self.address, role=role)
        return self._log

    @property
    def host(self) -> str:
        """The peer's host."""
        return self.address[0]

    @property
    def port(self) -> int:
        """The peer's port."""
        return self.address[1]

    @property
    def key(self) -> tuple[Address, int]:
        """What identifies a circuit: address and priority.

        Raises
        ------
        CaprotoRuntimeError
            If the client has not told the priority yet.
        """
        if self.priority is None:
            raise CaprotoRuntimeError(
                f"the priority of the circuit to {self.host}:{self.port} is unknown before its "
                "VersionRequest"
            )
        return self.address, self.priority

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, VirtualCircuit) or self.priority is None:
            return NotImplemented
        return (self.our_role, self.address, self.priority) == (
            other.our_role, other.address, other.priority
        )

    def __hash__(self) -> int:
        return hash((self.our_role, self.address))  # a server learns the priority later

    def __repr__(self) -> str:
        return (
            f"<VirtualCircuit {self.our_role!r} to {self.host}:{self.port} "
            f"priority={self.priority} {counted(len(self.channels), 'channel')}, {self._state!r}>"
        )

    # --- commands out, bytes out ---------------------------------------------------------------

    def send(
        self, *commands: Message, extra: Mapping[str, object] | None = None
    ) -> list[Payload]:
        """Check *commands*, note what they change, and return the bytes to be written.

        Small messages are joined; payloads of more than ``JOIN_LIMIT`` bytes are not copied.

        Parameters
        ----------
        *commands : Message
        extra : mapping, optional
            Context of log records. It has no effect: a circuit does not log its commands, its
            owner does.

        Returns
        -------
        buffers : list of bytes-like
            To be written in this order, completely, before those of any later call.

        Raises
        ------
        LocalProtocolError
            For the first command that is not allowed. Those before it were accepted: the next
            call returns their bytes too.
        """
        buffers, self._outgoing = self._outgoing, []
        run: list[Payload] = []
        handlers, pack = self._send, HEADER.pack
        try:
            for command in commands:
                fields, payload = command.fields, command.payload
                _, size, _, count, _, _ = fields
                if size < MARKER and count < MARKER:
                    handlers[type(command)](self, command)
                    run.append(pack(*fields))
                else:
                    self._check_extended(fields)
                    handlers[type(command)](self, command)
                    run.append(pack_header(fields))
                if size > JOIN_LIMIT:
                    buffers += b"".join(run), payload
                    run = []
                elif size:
                    run.append(payload)
        except Exception as error:
            if run:
                buffers.append(b"".join(run))
            self._outgoing = buffers
            if not isinstance(error, (ProtocolError, KeyError)):
                raise
            raise LocalProtocolError(self._blame(command, error, handlers)) from None
        if run:
            buffers.append(b"".join(run))
        return buffers

    def send_one(self, command: Message) -> Payload:
        """Return the bytes of one command as one buffer; quicker than :meth:`send`.

        Raises
        ------
        LocalProtocolError
            If it is not allowed.
        """
        fields, handlers = command.fields, self._send
        if self._outgoing or fields[1] > JOIN_LIMIT or fields[3] >= MARKER:
            return b"".join(self.send(command))
        try:
            handlers[type(command)](self, command)
        except (ProtocolError, KeyError) as error:
            raise LocalProtocolError(self._blame(command, error, handlers)) from None
        return HEADER.pack(*fields) + command.payload

    def add_range(self, one: IdRange) -> None:
        """Note the requests of a range, before they are sent.

        From now on its replies and updates come as blocks, where they come in runs.
        """
        if self.framer.split is split:
            from .columns import split_columns  # here, because it imports numpy

            self.framer.split = lambda data, make, empty, sender, out, limit: split_columns(
                data, make, empty, sender, out, limit, self.ranges
            )
        super().add_range(one)

    def create_channels(self, channels: Sequence[ClientChannel]) -> list[Payload]:
        """Do what :meth:`send` does with :meth:`ClientChannel.create` of each, sooner.

        Raises
        ------
        LocalProtocolError
            As `send` does.
        """
        known = self.channels
        asked = {
            one.cid for one in channels
            if one._state is NEW_CHANNEL and not one._hears_of_states and known.get(one.cid) is one
        }  # fmt: skip
        if not asked or len(asked) < len(channels) or self._state is not OPEN_CIRCUIT:
            return self.send(*(channel.create() for channel in channels))
        command, version, pack = CreateChanRequest.ID, DEFAULT_PROTOCOL_VERSION, HEADER.pack
        parts: list[Payload] = []
        for channel in channels:
            payload = name_payload(channel.name)
            parts += pack(command, len(payload), 0, 0, channel.cid, version), payload
        buffers = self.send_block(b"".join(parts))
        for channel in channels:  # last: nothing that fails leaves a request that was not made
            channel._state = ASKED_CHANNEL
        return buffers

    def send_block(self, data: bytes) -> list[Payload]:
        """Return the bytes to be written for requests that were composed as one block.

        Its owner has checked that they are allowed: all channels are open.
        """
        buffers, self._outgoing = self._outgoing, []
        return [*buffers, data]

    # --- bytes in, commands in -----------------------------------------------------------------

    def get_buffer(self, sizehint: int = -1) -> memoryview:
        """Where to receive into; then call :meth:`buffer_updated`.

        Raises
        ------
        RemoteProtocolError
            If bytes received earlier broke the protocol; the circuit cannot be used any more.
        """
        return self.framer.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> list[Message]:
        """Return the commands that the *nbytes* just received complete.

        Each must be passed to :meth:`process_command`, in order.

        Raises
        ------
        RemoteProtocolError
            If bytes received *earlier* broke the protocol: commands before the offending bytes
            are returned first, nothing is lost.
        """
        return self.framer.buffer_updated(nbytes)

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """Return the commands that *data* completes; the two methods above in one, with a copy.

        Raises
        ------
        RemoteProtocolError
            If bytes received *earlier* broke the protocol.
        """
        return self.framer.feed(data)

    def recv(
        self, *buffers: bytes | bytearray | memoryview
    ) -> tuple[list[Message | State], int]:
        """Return the commands that *buffers* complete, and how many bytes the next one needs.

        Parameters
        ----------
        *buffers : bytes-like
            An empty one says that the peer has closed the connection.

        Returns
        -------
        commands : list of Message
            With ``DISCONNECTED`` at the end if the connection is closed.
        bytes_needed : int
            The next command takes at least this many more bytes.

        Raises
        ------
        RemoteProtocolError
            If bytes received *earlier* broke the protocol.
        """
        commands: list[Message | State] = []
        for buffer in buffers:
            if self.framer.error is not None and commands:
                break
            commands += self.feed(buffer) if len(buffer) else (DISCONNECTED,)
        return commands, self.framer.bytes_needed

    @property
    def error(self) -> RemoteProtocolError | None:
        """How the bytes received so far broke the protocol, if they did."""
        return self.framer.error

    def process_command(self, command: Message | State) -> None:
        """Check a command that was received, and note what it changes.

        Replies and updates for ids that are finished are normal and change nothing.
        ``DISCONNECTED`` does what :meth:`disconnect` does.

        Raises
        ------
        MessageError
            If it is not what we asked for. The circuit goes on, and the message has changed what a
            right one would have changed; whether you can use it, its ``usable`` says.
        RemoteProtocolError
            Otherwise: if the protocol does not allow it now. The circuit cannot be used any more.
        """
        try:
            self._receive[type(command)](self, command)
        except Deviation as error:
            text = self._blame(command, error, self._receive)
            raise MessageError(text, usable=error.usable) from None
        except (ProtocolError, KeyError) as error:
            raise RemoteProtocolError(self._blame(command, error, self._receive)) from None

    def channel_of(self, command: Message) -> Channel | None:
        """Find the channel that *command* is about, for the log.

        Parameters
        ----------
        command : Message
            One that was sent, or one that was received and is still to be processed: a reply ends
            the request by which its channel is known. The circuit may change meanwhile.
        """
        find = _CHANNEL_OF.get(type(command))
        return find(self, command) if find else None

    # --- helpers ---------------------------------------------------------------

    def _check_extended(self, fields: Fields) -> None:
        if self.peer_version < EXTENDED_HEADER_VERSION:
            raise ProtocolError(
                f"{fields[1]} bytes, {fields[3]} elements: "
                f"version 4.{self.peer_version} of the protocol has no extended headers"
            )

    def _payload_limit(self, fields: Fields) -> int:
        """Return how many bytes of payload a message can have, by what was asked for.

        For the reading thread, which does not hold the owner's lock: each table is looked at once.
        What it does not find was forgotten, or will be refused.
        """
        command, _, data_type, count, sid, number = fields
        if self.our_role is CLIENT:
            request = (
                self.pending.get(number)
                or self.subscriptions.get(number)
                or self.range_request(number)
            )
            if request is None:
                return TOLERANCE
            _, _, data_type, count, sid, _ = request.fields
        elif command in _WRITES:
            count = 0  # as many elements as the channel has, at most
        else:
            return TOLERANCE
        channel = self.channels_sid.get(sid)
        if channel is None or data_type > LAST_TYPE:
            return TOLERANCE
        return TOLERANCE + payload_size(data_type, count or channel.native_data_count or 0)

    def _empty_event(self, fields: Fields, payload: Payload, sender: Address | None) -> Message:
        """Make what has no payload: a confirmation of a cancel, or an update of an empty array."""
        cls = EventCancelResponse if fields[5] in self._cancelling else EventAddResponse
        return cls.from_wire(fields, payload, sender)

    def _blame(self, command: Message | State, error: Exception, handlers: Handlers) -> str:
        name = type(command).__name__
        if isinstance(error, ProtocolError):
            what = f"{error}" if name in str(error) else f"{name}: {error}"
            return f"{what} (circuit to {self.host}:{self.port})"
        if type(command) in handlers:
            raise error  # a KeyError that is not about the handler is our defect
        sender = self.our_role if handlers is self._send else self.their_role
        return f"a {sender.value} does not send a {name} over a circuit"


def _by_cid(circuit: VirtualCircuit, command: Any) -> Channel | None:
    return circuit.channels.get(command.cid)


def _by_sid(circuit: VirtualCircuit, command: Any) -> Channel | None:
    return circuit.channels_sid.get(command.sid)


def _by_request(circuit: VirtualCircuit, command: Message) -> Channel | None:
    number = command.fields[5]
    # One step for each table: the log asks without the lock of the circuit.
    request = (
        circuit.pending.get(number)
        or circuit.subscriptions.get(number)
        or circuit._cancelling.get(number)
        or circuit.range_request(number)
    )
    return None if request is None else circuit.channels_sid.get(request.fields[4])


#: Class of a command -> how to find its channel.
_CHANNEL_OF: dict[type[Message], Callable[[VirtualCircuit, Any], Channel | None]] = {
    **dict.fromkeys(
        (
            AccessRightsResponse, CreateChanRequest, CreateChanResponse, CreateChFailResponse,
            ErrorResponse, ServerDisconnResponse,
        ),
        _by_cid,
    ),
    **dict.fromkeys(
        (
            ClearChannelRequest, ClearChannelResponse, EventAddRequest, EventCancelRequest,
            EventCancelResponse, ReadNotifyRequest, ReadRequest, WriteNotifyRequest, WriteRequest,
        ),
        _by_sid,
    ),
    **dict.fromkeys(
        (EventAddResponse, ReadNotifyResponse, ReadResponse, WriteNotifyResponse), _by_request
    ),
}
