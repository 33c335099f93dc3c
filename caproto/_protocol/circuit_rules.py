"""CircuitRules: what two ends of a circuit may say to each other now, and what it changes.

Each command class has one handler, whichever end sends it. It runs the state machines, keeps the
tables of ``circuit_tables``, and raises ProtocolError for what is not allowed. Which
end broke a rule is decided in ``circuit``. No bytes here.

We send only what is right. What we receive may be wrong in two ways. A message that contradicts the
state of the circuit raises ProtocolError: the circuit cannot go on. A message that is merely not
what we asked for raises :class:`Deviation`, after it has changed what a right one would have
changed: it answers its request, and the circuit goes on. Which is which stands in a table in the
manual, "What other people's servers do".

Replies and updates for ids that are finished are normal (they crossed a cancel on the wire) and
change nothing.
"""
from __future__ import annotations

from collections.abc import Callable

from .._errors import ProtocolError, RemoteProtocolError
from .._typing import TYPE_CHECKING
from .channel import Channel, add_subscription, drop_subscription
from .channel_facts import facts_of_channel
from .circuit_tables import CircuitTables
from .commands import (
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
    ServerDisconnResponse,
    VersionRequest,
    VersionResponse,
    WriteNotifyRequest,
    WriteNotifyResponse,
    WriteRequest,
)
from .constants import MAX_PRIORITY, MINIMUM_PROTOCOL_VERSION
from .dbr import ChannelType
from .framing import OversizedMessage
from .id_ranges import Block
from .message import Message
from .replies import (
    ITEM_SIZES,
    REPLY_OF,
    VALUE_OFFSETS,
    Deviation,
    Reply,
    check_kind,
    check_value,
)
from .roles import CLIENT, SEND_VERSION_REQUEST, SERVER, Role
from .server_channel import ServerChannel
from .states import (
    ASKED_CHANNEL,
    CLEARED_CHANNEL,
    NEW_CHANNEL,
    OPEN_CHANNEL,
    OPEN_CIRCUIT,
    STEADY,
)
from .status import CAStatus

if TYPE_CHECKING:
    from typing import Any, TypeAlias

_LAST_NATIVE_TYPE = int(ChannelType.DOUBLE)
#: Types above this carry units, limits or names of states.
_LAST_TIME_TYPE = int(ChannelType.TIME_DOUBLE)
#: What may come for a subscription: an update, or an answer to a read under its id.
_REFRESHES = frozenset({EventAddResponse, ReadNotifyResponse})


class CircuitRules(CircuitTables):
    """What commands are allowed on one circuit, and what each changes."""

    # --- helpers of the handlers ---------------------------------------------------------------

    def _step(self, command: Message) -> None:
        if self._state is OPEN_CIRCUIT:
            return
        try:
            self._state = self._state.after[type(command)]
        except KeyError:
            raise ProtocolError(
                f"{type(command).__name__} is not allowed now ({self._state!r})"
            ) from None

    def _open_channel(self, command: Any) -> Channel:
        """Return the channel of a request by its sid; it must be open."""
        channel = self.channels_sid.get(command.fields[4])
        if channel is None:
            self._step(command)  # if the circuit is not open, that is the better message
            raise ProtocolError(f"{type(command).__name__}: no channel has sid {command.sid}")
        if channel._state is not OPEN_CHANNEL:
            channel.step(command)
        return channel

    def _channel_of_notice(self, cid: int) -> Channel | None:
        """Return the channel that the server means; None if a client has forgotten it."""
        channel = self.channels.get(cid)
        if channel is None and self.our_role is SERVER:
            raise ProtocolError(f"no channel has cid {cid}")
        return channel

    def _check_late(self, command: Message) -> None:
        """Take a reply for a finished id, which is normal; for one that never was, it is not."""
        self._step(command)
        if command.fields[5] > self._highest_id:
            raise Deviation(
                f"{type(command).__name__} for id {command.fields[5]}, which was never used",
                usable=True,
            )

    # --- one handler per command ---------------------------------------------------------------

    def _on_any(self, command: Message) -> None:
        self._step(command)

    def _on_version_request(self, command: VersionRequest) -> None:
        if command.version < MINIMUM_PROTOCOL_VERSION:
            raise ProtocolError(f"version 4.{command.version} of the protocol is too old")
        if command.priority > MAX_PRIORITY:
            raise ProtocolError(f"priority {command.priority} is not within 0..{MAX_PRIORITY}")
        first = self._state.states[CLIENT] is SEND_VERSION_REQUEST
        if first and self.priority not in (None, command.priority):
            raise ProtocolError(f"priority {command.priority}; the circuit has {self.priority}")
        self._step(command)
        if self.our_role is SERVER:
            self.peer_version = min(self.protocol_version, command.version)
            self.priority = command.priority

    def _on_version_response(self, command: VersionResponse) -> None:
        self._step(command)
        if self.our_role is CLIENT:
            self.peer_version = min(self.protocol_version, command.version)

    def _on_create_request(self, command: CreateChanRequest) -> None:
        if self._state is not OPEN_CIRCUIT:
            self._step(command)
        channel = self.channels.get(command.fields[4])
        if self.our_role is SERVER:
            if 0 < command.version < MINIMUM_PROTOCOL_VERSION:
                raise ProtocolError(f"version 4.{command.version} of the protocol is too old")
            if command.version:
                self.peer_version = min(self.protocol_version, command.version)
            if channel is None or channel._state is not NEW_CHANNEL or channel.name != command.name:
                channel = ServerChannel(command.name, self, command.cid)
        elif channel is None:
            raise ProtocolError(f"no channel has cid {command.cid}; make a ClientChannel first")
        channel.step(command)

    def _on_create_response(self, command: CreateChanResponse) -> None:
        _, _, data_type, data_count, cid, sid = command.fields
        if self._state is not OPEN_CIRCUIT:
            self._step(command)
        channel = self.channels.get(cid) or self._channel_of_notice(cid)
        if channel is not None and channel._state is not ASKED_CHANNEL:
            if self.our_role is SERVER or channel._state is not CLEARED_CHANNEL:
                channel.step(command)
            return  # a second one says nothing new
        if data_type > _LAST_NATIVE_TYPE or sid in self.channels_sid or sid in self._unclaimed:
            if self.our_role is CLIENT and channel is not None:
                channel.step(command, CreateChFailResponse)
                self._remove(channel)
            raise Deviation(self._fault_of_creation(data_type, sid))
        if channel is None:
            self._unclaimed[sid] = cid
            return
        channel.step(command)
        channel.sid = sid
        channel._native = data_type
        channel.facts = facts_of_channel(channel.name, data_type, data_count)
        self.channel_changes += 1
        self.channels_sid[sid] = channel
        if self._next_of_cid:
            self._creation_answered(cid)

    def _fault_of_creation(self, data_type: int, sid: int) -> str:
        """Say why a channel cannot have this type and sid."""
        if data_type > _LAST_NATIVE_TYPE:
            return f"{data_type} is not a native type"
        if sid in self.channels_sid:
            return f"sid {sid} belongs to channel {self.channels_sid[sid].name!r} already"
        return f"sid {sid} belongs to a channel that is about to be given back"

    def _on_channel_lost(self, command: CreateChFailResponse | ServerDisconnResponse) -> None:
        self._step(command)
        channel = self._channel_of_notice(command.cid)
        if channel is None:
            return
        kind: type[Message] = type(command)
        if self.our_role is CLIENT and kind not in channel._state.after:
            kind = ServerDisconnResponse  # a refusal of an open channel: the server dropped it
        channel.step(command, kind)
        self._remove(channel)
        self._creation_answered(command.cid)

    def _on_access_rights(self, command: AccessRightsResponse) -> None:
        if self._state is not OPEN_CIRCUIT:
            self._step(command)
        cid = command.fields[4]
        channel = self.channels.get(cid) or self._channel_of_notice(cid)
        if channel is not None:
            channel.step(command)
            channel.access_rights = command.access_rights
            self.channel_changes += 1

    def _on_clear_request(self, command: ClearChannelRequest) -> None:
        self._step(command)
        channel = self.channels_sid.get(command.sid)
        if channel is None:
            if self._unclaimed.pop(command.sid, None) is None:
                raise ProtocolError(f"no channel has sid {command.sid}")
            return
        channel.step(command)
        self.channel_changes += 1
        self._drop_requests(channel)

    def _on_clear_response(self, command: ClearChannelResponse) -> None:
        self._step(command)
        channel = self.channels_sid.get(command.sid)
        if self.our_role is CLIENT and (channel is None or channel._state is not CLEARED_CHANNEL):
            return  # unasked
        if channel is None:
            raise ProtocolError(f"no channel has sid {command.sid}")
        channel.step(command)
        self._remove(channel)

    def _on_operation(self, command: ReadNotifyRequest | ReadRequest | WriteNotifyRequest) -> None:
        _, _, _, _, sid, ioid = command.fields
        channel = self.channels_sid.get(sid)
        if channel is None or channel._state is not OPEN_CHANNEL:
            self._open_channel(command)  # says what is wrong
        if ioid > self._highest_id:  # never used before, so that nothing can clash
            self._highest_id = ioid
            self.pending[ioid] = command
            return
        if self.our_role is CLIENT and (
            ioid in self.pending or ioid in self.subscriptions or ioid in self._cancelling
        ):
            subscription = self.subscriptions.get(ioid)
            if type(command) is not ReadNotifyRequest or subscription is None:
                raise ProtocolError(f"ioid {ioid} is in use")
            if subscription.fields[4] != sid:
                raise ProtocolError(f"subscription {ioid} belongs to another channel")
            return  # a refresh: the reply belongs to the subscription
        if ioid in self.pending:  # wrong of the client, but real servers answer both
            self._shared[ioid] = self._shared.get(ioid, 1) + 1
        self.pending[ioid] = command

    def _on_write(self, command: WriteRequest) -> None:
        self._open_channel(command)

    def _on_event_add(self, command: EventAddRequest) -> None:
        channel = self._open_channel(command)
        number = command.fields[5]
        if (
            number in self.subscriptions
            or number in self._cancelling
            or (number in self.pending and self.our_role is CLIENT)
        ):
            raise ProtocolError(f"subscriptionid {number} is in use")
        self.subscriptions[number] = command
        add_subscription(channel, number)
        self._note_id(number)

    def _on_event_cancel(self, command: EventCancelRequest) -> None:
        channel = self._open_channel(command)
        number = command.fields[5]
        if not drop_subscription(channel, number):
            raise ProtocolError(f"channel {channel.name!r} has no live subscription {number}")
        self._cancelling[number] = self.subscriptions.pop(number)
        self._right_updates.pop(number, None)

    def usual_update(self, command: EventAddResponse) -> bool:
        """Take an update whose header is that of the one before; False if it is another one.

        It needs no `process_command`, which takes longer.
        """
        fields = command.fields
        # That the subscription is live proves that circuit and channel are open: see STEADY.
        right = self._right_updates.get(fields[5])
        if right is None or fields != right[0]:
            return False
        command.channel_facts = right[1].facts
        return True

    def _on_update(self, command: EventAddResponse) -> None:
        if not self.usual_update(command):
            self._check_update(command)

    def _check_update(self, command: EventAddResponse) -> None:
        """Check an update that is not like the one before."""
        number = command.fields[5]
        request = self.subscriptions.get(number)
        if request is not None:
            channel = self._inform(command, request)
            if check_value(command, request) and channel is not None:
                self._right_updates[number] = command.fields, channel
        elif number in self.pending and self.our_role is CLIENT:
            self._on_value(command)
        elif not self._check_in_range(command):
            self._check_late(command)

    def _on_cancelled(self, command: EventCancelResponse) -> None:
        if self._cancelling.pop(command.fields[5], None) is None:
            self._check_late(command)

    def _on_value(self, command: ReadNotifyResponse | ReadResponse | EventAddResponse) -> None:
        _, size, data_type, count, _, ioid = command.fields
        if self._shared and self._answers_shared(ioid):
            return
        request = self.pending.pop(ioid, None)
        if request is None:
            self._check_refresh(command)
            return
        _, _, wanted_type, wanted_count, sid, _ = request.fields
        if data_type == wanted_type and data_type <= _LAST_TIME_TYPE:
            command.channel_facts = self.channels_sid[sid].facts  # as `_inform`, without a call
            if (
                (count == wanted_count or not wanted_count)
                and size >= VALUE_OFFSETS[data_type] + count * ITEM_SIZES[data_type]
                and type(command) is REPLY_OF[type(request)]
            ):
                return
        else:
            self._inform(command, request)
        self._check_reply(command, request)

    def _on_written(self, command: WriteNotifyResponse) -> None:
        _, _, data_type, count, _, ioid = command.fields
        if self._shared and self._answers_shared(ioid):
            return
        request = self.pending.pop(ioid, None)
        if request is None:
            self._check_refresh(command)
            return
        _, _, wanted_type, wanted_count, _, _ = request.fields
        if (
            type(request) is not WriteNotifyRequest
            or data_type != wanted_type
            or count != wanted_count
        ):
            self._check_reply(command, request)

    def _check_reply(self, command: Reply | EventAddResponse, request: Message) -> None:
        """Check a reply that is not exactly what its request asked for."""
        try:
            check_kind(command, REPLY_OF[type(request)])
            check_value(command, request)
        except Deviation:
            if self.our_role is SERVER:  # we do not send it; for a client it is an answer
                self.pending[command.fields[5]] = request
            raise

    def _check_refresh(self, command: Reply | EventAddResponse) -> None:
        """Check a reply to no operation; it may be one to a read with a subscription's id."""
        subscription = self.subscriptions.get(command.fields[5])
        if subscription is None or type(command) is not ReadNotifyResponse:
            if not self._check_in_range(command):
                self._check_late(command)
        else:
            self._inform(command, subscription)
            check_value(command, subscription)

    def _on_block(self, block: Block) -> None:
        # Each message is right but for its id: see `columns`.
        block.settle()

    def _check_in_range(self, command: Reply | EventAddResponse) -> bool:
        """Check one message for a request in a range; return False if there is none.

        Whoever takes the message notes that the request was answered.
        """
        number, kind = command.fields[5], type(command)
        for one in self.ranges:
            if one.holds(number) and (not one.subscribes or kind in _REFRESHES):
                break
        else:
            return False
        request = one.request(number)
        if kind is not WriteNotifyResponse:
            self._inform(command, request)
        if not one.subscribes:
            check_kind(command, REPLY_OF[type(request)])
        check_value(command, request)
        return True

    def _inform(self, command: Any, request: Message) -> Channel | None:
        """Give a value what is known about its channel, and note what it adds to that."""
        channel = self.channels_sid.get(request.fields[4])
        if channel is not None:
            if command.status == CAStatus.ECA_NORMAL:
                channel.learn(command)
            command.channel_facts = channel.facts
        return channel

    def _on_error(self, command: ErrorResponse) -> None:
        self._step(command)
        try:
            original, _, _, _, _, number = command.original_fields
        except RemoteProtocolError as error:
            raise Deviation(str(error)) from None
        request = self.pending.get(number)
        if request is not None and request.ID == original and not self._answers_shared(number):
            del self.pending[number]

    def _answers_shared(self, ioid: int) -> bool:
        """Count a reply for an *ioid* of several requests; which of them it answers is not said."""
        number = self._shared.get(ioid)
        if number is None:
            return False
        if number > 1:
            self._shared[ioid] = number - 1
        else:
            del self._shared[ioid]
            self.pending.pop(ioid, None)
        return True

    def _on_oversized(self, command: OversizedMessage) -> None:
        number, ioid = command.fields[0], command.fields[5]
        request = self.pending.get(ioid)
        if self.our_role is CLIENT and request is not None and request.ID == number:
            del self.pending[ioid]


Handlers: TypeAlias = "dict[type, Callable[[CircuitRules, Any], None]]"

#: Role of the sender -> class of the command -> handler, whichever end we are.
HANDLERS: dict[Role, Handlers] = {
    CLIENT: {
        VersionRequest: CircuitRules._on_version_request,
        ClientNameRequest: CircuitRules._on_any,
        HostNameRequest: CircuitRules._on_any,
        EchoRequest: CircuitRules._on_any,
        ReadSyncRequest: CircuitRules._on_any,
        EventsOffRequest: CircuitRules._on_any,
        EventsOnRequest: CircuitRules._on_any,
        SearchRequest: CircuitRules._on_any,
        CreateChanRequest: CircuitRules._on_create_request,
        ClearChannelRequest: CircuitRules._on_clear_request,
        ReadNotifyRequest: CircuitRules._on_operation,
        ReadRequest: CircuitRules._on_operation,
        WriteNotifyRequest: CircuitRules._on_operation,
        WriteRequest: CircuitRules._on_write,
        EventAddRequest: CircuitRules._on_event_add,
        EventCancelRequest: CircuitRules._on_event_cancel,
        OversizedMessage: CircuitRules._on_oversized,
    },
    SERVER: {
        VersionResponse: CircuitRules._on_version_response,
        EchoResponse: CircuitRules._on_any,
        ReadSyncResponse: CircuitRules._on_any,
        SearchResponse: CircuitRules._on_any,
        NotFoundResponse: CircuitRules._on_any,
        CreateChanResponse: CircuitRules._on_create_response,
        CreateChFailResponse: CircuitRules._on_channel_lost,
        ServerDisconnResponse: CircuitRules._on_channel_lost,
        AccessRightsResponse: CircuitRules._on_access_rights,
        ClearChannelResponse: CircuitRules._on_clear_response,
        ReadNotifyResponse: CircuitRules._on_value,
        ReadResponse: CircuitRules._on_value,
        WriteNotifyResponse: CircuitRules._on_written,
        EventAddResponse: CircuitRules._on_update,
        EventCancelResponse: CircuitRules._on_cancelled,
        ErrorResponse: CircuitRules._on_error,
        OversizedMessage: CircuitRules._on_oversized,
        Block: CircuitRules._on_block,
    },
}

# No command changes the state of an open circuit, so its state machine is not run.
assert set(OPEN_CIRCUIT.after.values()) == {OPEN_CIRCUIT}
assert OPEN_CIRCUIT.after.keys() | {OversizedMessage, Block} == (
    HANDLERS[CLIENT].keys() | HANDLERS[SERVER].keys()
)
# The handlers of these run no state machine once they have found their request or channel.
assert {
    ReadNotifyRequest, WriteNotifyRequest, WriteRequest, EventAddRequest, EventCancelRequest,
    EventAddResponse, EventCancelResponse, ReadNotifyResponse, WriteNotifyResponse,
} <= STEADY
