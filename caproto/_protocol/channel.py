"""The two ends of one channel: they compose commands and hold its state.

A channel composes, its circuit decides: a command that a method returns has no effect until
``circuit.send`` has accepted it. The methods refuse what could never be right (an impossible type,
an id of another channel); whether it is right now is checked by the state machine in ``send``.

Facts about a channel (ids, native type, rights, state) are written by the circuit alone. A client
may have very many channels, so they are small. Like the circuit they are not thread-safe.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol, SupportsIndex

from .._addresses import Address
from .._errors import CaprotoKeyError, CaprotoValueError, LocalProtocolError, ProtocolError
from .channel_facts import DESCRIPTIVE_TYPES, UNKNOWN
from .commands import (
    AccessRightsResponse,
    ClearChannelRequest,
    ClearChannelResponse,
    CreateChanRequest,
    CreateChanResponse,
    CreateChFailResponse,
    EventAddRequest,
    EventAddResponse,
    EventCancelRequest,
    EventCancelResponse,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ServerDisconnResponse,
    VersionRequest,
    VersionResponse,
    WriteNotifyRequest,
    WriteNotifyResponse,
    WriteRequest,
    event_payload,
)
from .constants import DEFAULT_PROTOCOL_VERSION, DYNAMIC_COUNT_VERSION, EXTENDED_HEADER_VERSION
from .dbr import CHANNEL_TYPES, LAYOUTS, AccessRights, ChannelType, SubscriptionType
from .headers import MARKER
from .message import DataMessage, dbr_type, u16, u32
from .payload import encode
from .roles import Role, State
from .states import NEW_CHANNEL, OPEN_CHANNEL, Command
from .status import CAStatus

_DEFAULT_MASK = SubscriptionType.DBE_VALUE | SubscriptionType.DBE_ALARM
#: Most channels have no subscription, or one: the set is made with the first.
_NONE: frozenset[int] = frozenset()
_DEFAULT_EVENT = event_payload(0.0, 0.0, 0.0, _DEFAULT_MASK)
_STRING, _ENUM, _CHAR = (int(ChannelType[name]) for name in ("STRING", "ENUM", "CHAR"))
#: What a client may write: the native types and the two kinds of alarm acknowledgement.
_WRITABLE = frozenset((0, 1, 2, 3, 4, 5, 6, ChannelType.PUT_ACKT, ChannelType.PUT_ACKS))


class Circuit(Protocol):
    """A circuit, as its channels see it; see :class:`~caproto.VirtualCircuit`."""

    priority: int | None
    peer_version: int

    @property
    def address(self) -> Address:
        """The peer."""

    @property
    def subscriptions(self) -> Mapping[int, EventAddRequest]:
        """The live subscriptions, by their ids."""

    def new_channel_id(self) -> int:
        """Return a cid that no live channel of the circuit has."""

    def new_ioid(self) -> int:
        """Return an id that no live operation or subscription of the circuit has."""

    def add_channel(self, channel: Channel) -> None:
        """Register a new channel."""


class Channel:
    """What the two ends of a channel share.

    Attributes
    ----------
    name : str
    circuit : VirtualCircuit
    cid : int
        The client's id.
    sid : int or None
        The server's id; None until the server has sent it.
    native_data_count : int or None
        The largest number of elements; None until the server has sent it.
    access_rights : AccessRights or None
        None until the server has sent them.
    facts : ChannelFacts
        What its responses are given; see `learn`.
    subscriptionids : set of int
        The live subscriptions.
    """

    __slots__ = (
        "name", "circuit", "cid", "sid", "native_data_count", "access_rights", "facts",
        "subscriptionids", "_native", "_state", "__weakref__",
    )

    def __init__(self, name: str, circuit: Circuit, cid: int | None = None) -> None:
        self.name = name
        self.circuit = circuit
        self.cid = circuit.new_channel_id() if cid is None else u32("cid", cid)
        self.sid: int | None = None
        self.native_data_count: int | None = None
        self.access_rights: AccessRights | None = None
        self.facts = UNKNOWN
        self.subscriptionids: AbstractSet[int] = _NONE
        self._native: int | None = None
        self._state = NEW_CHANNEL
        circuit.add_channel(self)

    @property
    def native_data_type(self) -> ChannelType | None:
        """The type of the channel itself; None until the server has sent it."""
        return None if self._native is None else CHANNEL_TYPES[self._native]

    @property
    def states(self) -> dict[Role, State]:
        """The states of both ends, by role."""
        return dict(self._state.states)

    @property
    def connected(self) -> bool:
        """Whether the server has created the channel, and neither end has dropped it."""
        return self._state is OPEN_CHANNEL

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"<{name} {self.name!r} cid={self.cid} sid={self.sid} {self._state!r}>"

    def learn(self, response: DataMessage) -> None:
        """Note the units, limits and names of states that a graphic or control value carries.

        The circuit does this with each such reply, and with the first update of a subscription.
        Later responses of the channel show it.
        """
        _, _, data_type, _, _, _ = response.fields
        # In another type than the channel's own they would be poorer: an integer has no precision.
        if data_type in DESCRIPTIVE_TYPES and LAYOUTS[data_type].native == self._native:
            self.facts = self.facts.described(data_type, response.payload)

    def step(self, command: Command) -> None:
        """Take *command* through both state machines; for the circuit only.

        Raises
        ------
        ProtocolError
            If the tables do not have it.
        """
        try:
            self._state = self._state.after[command]
        except KeyError:
            raise ProtocolError(
                f"{command.__name__} is not allowed on channel {self.name!r} ({self._state!r})"
            ) from None

    def _open_sid(self) -> int:
        if self.sid is None:
            raise self._not_connected()
        return self.sid

    def _type(self, data_type: SupportsIndex | None) -> int:
        if data_type is not None:
            return dbr_type(data_type)
        if self._native is None:
            raise self._not_connected()
        return self._native

    def _not_connected(self) -> LocalProtocolError:
        return LocalProtocolError(f"channel {self.name!r} is not connected ({self._state!r})")


class ClientChannel(Channel):
    """The client's end of a channel.

    Parameters
    ----------
    name : str
        Of the channel.
    circuit : VirtualCircuit
    cid : int, optional
        By default the circuit chooses one. A client with several circuits must choose itself, as
        search replies carry nothing but the cid.

    Raises
    ------
    CaprotoValueError
        If the circuit has a channel with this cid.
    """

    __slots__ = ()

    def create(self) -> CreateChanRequest:
        """Ask the server for the channel."""
        return CreateChanRequest(self.name, self.cid, DEFAULT_PROTOCOL_VERSION)

    def clear(self) -> ClearChannelRequest:
        """Clear the channel. Its subscriptions end with it; its open operations get no reply."""
        sid = self._open_sid()
        return ClearChannelRequest.from_wire((ClearChannelRequest.ID, 0, 0, 0, sid, self.cid), b"")

    def read(
        self,
        data_type: SupportsIndex | None = None,
        data_count: int | None = None,
        ioid: int | None = None,
    ) -> ReadNotifyRequest:
        """Ask for the value.

        Parameters
        ----------
        data_type : ChannelType or int, optional
            By default the native type.
        data_count : int, optional
            By default as many elements as there are now.
        ioid : int, optional
            By default a new one. The id of a subscription refreshes it.
        """
        circuit, sid = self.circuit, self.sid
        number = self._native if data_type is None else dbr_type(data_type)
        if number is None or sid is None:
            raise self._not_connected()
        ioid = circuit.new_ioid() if ioid is None else u32("ioid", ioid)
        count = 0
        if data_count is not None or circuit.peer_version < DYNAMIC_COUNT_VERSION:
            count = self._count(data_count)
        return ReadNotifyRequest.from_wire(
            (ReadNotifyRequest.ID, 0, number, count, sid, ioid), b""
        )

    def write(
        self,
        data: object,
        data_type: SupportsIndex | None = None,
        data_count: int | None = None,
        notify: bool = True,
        ioid: int | None = None,
        metadata: object = None,
    ) -> WriteNotifyRequest | WriteRequest:
        """Change the value.

        Parameters
        ----------
        data : scalar, str, bytes, sequence or array
        data_type : ChannelType or int, optional
            By default the native type; for text or bytes to an enum channel, STRING, so that the
            server looks the state up. Text that just fills an array of CHAR goes without its
            terminating zero.
        data_count : int, optional
            By default the length of *data*.
        notify : bool
            Whether the server is to reply when everything that the write triggers is done.
        ioid : int, optional
            By default a new one; without *notify*, the cid, so that an error can be related.
        metadata : DBR structure or (status, severity, TimeStamp), optional
            For servers that take more than IOCs do.

        Raises
        ------
        CaprotoValueError
            If *data* has more elements than the channel, does not fit *data_type*, or is larger
            than the server's version of the protocol can carry.
        """
        if data_type is None and self._native == _ENUM and is_text(data):
            number = _STRING
        else:
            number = self._type(data_type)
        if number not in _WRITABLE and metadata is None:
            raise CaprotoValueError(
                f"{CHANNEL_TYPES[number].name} cannot be written; servers take the native types, "
                "PUT_ACKT and PUT_ACKS"
            )
        sid = self._open_sid()
        payload, count = encode(data, number, data_count, metadata)
        room = self.native_data_count
        if room is not None and count > room:
            if count != room + 1 or number != _CHAR or not isinstance(data, str):
                raise CaprotoValueError(
                    f"{count} elements are more than channel {self.name!r} can have ({room})"
                )
            payload, count = encode(data, number, room, metadata)
        circuit = self.circuit
        if len(payload) >= MARKER and circuit.peer_version < EXTENDED_HEADER_VERSION:
            host, port = circuit.address
            raise CaprotoValueError(
                f"{len(payload)} bytes are too large for channel {self.name!r}: the server "
                f"{host}:{port} has protocol version 4.{circuit.peer_version}, "
                f"with messages of at most {MARKER - 7} bytes"
            )
        if notify:
            ioid = self.circuit.new_ioid() if ioid is None else u32("ioid", ioid)
            return WriteNotifyRequest.from_wire(
                (WriteNotifyRequest.ID, len(payload), number, count, sid, ioid), payload
            )
        ioid = self.cid if ioid is None else u32("ioid", ioid)
        return WriteRequest.from_wire(
            (WriteRequest.ID, len(payload), number, count, sid, ioid), payload
        )

    def subscribe(
        self,
        data_type: SupportsIndex | None = None,
        data_count: int | None = None,
        low: float = 0.0,
        high: float = 0.0,
        to: float = 0.0,
        mask: SupportsIndex | None = None,
        subscriptionid: int | None = None,
    ) -> EventAddRequest:
        """Ask for updates; the first one comes at once.

        Parameters
        ----------
        data_type : ChannelType or int, optional
            By default the native type. With a plain type an empty array cannot be recognised:
            prefer the TIME or STS types for arrays.
        data_count : int, optional
            By default as many elements as there are each time. Clipped to what the channel has.
        low, high, to : float
            Unused by all servers.
        mask : SubscriptionType or int, optional
            By default VALUE and ALARM.
        subscriptionid : int, optional
            By default a new one.
        """
        number, sid = self._type(data_type), self._open_sid()
        if data_count and self.native_data_count is not None:
            data_count = min(u32("data_count", data_count), self.native_data_count)
        count = self._count(data_count)
        if mask is None and not (low or high or to):
            payload = _DEFAULT_EVENT
        else:
            mask = _DEFAULT_MASK if mask is None else mask
            if not u16("mask", mask):
                raise CaprotoValueError("mask=0 subscribes to nothing")
            payload = event_payload(low, high, to, mask)
        if subscriptionid is None:
            subscriptionid = self.circuit.new_ioid()
        else:
            u32("subscriptionid", subscriptionid)
        return EventAddRequest.from_wire(
            (EventAddRequest.ID, len(payload), number, count, sid, subscriptionid), payload
        )

    def unsubscribe(self, subscriptionid: int) -> EventCancelRequest:
        """End a subscription. Updates that were sent before still come.

        Raises
        ------
        CaprotoKeyError
            If this circuit does not have the subscription, or not any more.
        CaprotoValueError
            If it belongs to another channel.
        """
        try:
            request = self.circuit.subscriptions[subscriptionid]
        except KeyError:
            raise CaprotoKeyError(f"unknown subscription id {subscriptionid}") from None
        _, _, number, count, sid, _ = request.fields
        if sid != self.sid:
            raise CaprotoValueError(
                f"subscription {subscriptionid} does not belong to channel {self.name!r}"
            )
        return EventCancelRequest.from_wire(
            (EventCancelRequest.ID, 0, number, count, sid, subscriptionid), b""
        )

    def version(self) -> VersionRequest:
        """Open the circuit of this channel; once for all its channels."""
        return VersionRequest(self.circuit.priority or 0, DEFAULT_PROTOCOL_VERSION)

    def _count(self, data_count: int | None) -> int:
        """Choose the element count to ask for; servers before 4.13 do not support 0."""
        if data_count is not None and u32("data_count", data_count):
            native = self.native_data_count
            if native is not None and data_count > native:
                raise CaprotoValueError(
                    f"{data_count} elements are more than channel {self.name!r} has ({native})"
                )
            return data_count
        if self.circuit.peer_version >= DYNAMIC_COUNT_VERSION:
            return 0
        return self.native_data_count or 0


class ServerChannel(Channel):
    """The server's end of a channel; the circuit makes it when a CreateChanRequest comes.

    Parameters
    ----------
    name : str
    circuit : VirtualCircuit
    cid : int
        The client's id, from its request.
    """

    __slots__ = ()

    def version(self) -> VersionResponse:
        """Greet; once for all channels of the circuit, right after accepting the connection."""
        return VersionResponse(DEFAULT_PROTOCOL_VERSION)

    def rights(self, access_rights: SupportsIndex) -> AccessRightsResponse:
        """Tell what the client may do; before :meth:`create`, and whenever it changes."""
        return AccessRightsResponse(self.cid, access_rights)

    def create(
        self, native_data_type: SupportsIndex, native_data_count: int, sid: int
    ) -> CreateChanResponse:
        """Accept the client's CreateChanRequest.

        Parameters
        ----------
        native_data_type : ChannelType
            One of the seven plain types.
        native_data_count : int
            The largest number of elements the channel can have.
        sid : int
            Unique among the open channels of this circuit.
        """
        return CreateChanResponse(native_data_type, native_data_count, self.cid, sid)

    def create_fail(self) -> CreateChFailResponse:
        """Refuse the client's CreateChanRequest."""
        return CreateChFailResponse(self.cid)

    def clear(self) -> ClearChannelResponse:
        """Confirm the client's ClearChannelRequest."""
        return ClearChannelResponse(self._open_sid(), self.cid)

    def disconnect(self) -> ServerDisconnResponse:
        """Drop the channel; the rest of the circuit continues."""
        return ServerDisconnResponse(self.cid)

    def read(
        self,
        data: object,
        ioid: int,
        data_type: SupportsIndex | None = None,
        data_count: int | None = None,
        status: SupportsIndex = CAStatus.ECA_NORMAL,
        metadata: object = None,
    ) -> ReadNotifyResponse:
        """Answer a ReadNotifyRequest; by default in the native type."""
        return ReadNotifyResponse(
            data, self._type(data_type), data_count, status, ioid, metadata=metadata
        )

    def write(
        self,
        ioid: int,
        data_type: SupportsIndex | None = None,
        data_count: int | None = None,
        status: SupportsIndex = CAStatus.ECA_NORMAL,
    ) -> WriteNotifyResponse:
        """Answer a WriteNotifyRequest; type and count are those of the request."""
        count = self.native_data_count or 0 if data_count is None else data_count
        return WriteNotifyResponse(self._type(data_type), count, status, ioid)

    def subscribe(
        self,
        data: object,
        subscriptionid: int,
        data_type: SupportsIndex | None = None,
        data_count: int | None = None,
        status: SupportsIndex = CAStatus.ECA_NORMAL,
        metadata: object = None,
    ) -> EventAddResponse:
        """Update a subscription; by default in the native type."""
        return EventAddResponse(
            data, self._type(data_type), data_count, status, subscriptionid, metadata=metadata
        )

    def unsubscribe(
        self,
        subscriptionid: int,
        data_type: SupportsIndex | None = None,
        data_count: int | None = None,
    ) -> EventCancelResponse:
        """Confirm an EventCancelRequest; type and count are those of the EventAddRequest."""
        count = self.native_data_count or 0 if data_count is None else data_count
        return EventCancelResponse(
            self._type(data_type), self._open_sid(), subscriptionid, count
        )


def is_text(data: object) -> bool:
    """Tell whether *data* is text, or an array or sequence of nothing but texts."""
    if isinstance(data, memoryview):
        return data.format in ("B", "b", "c")
    if isinstance(data, (str, bytes, bytearray)):
        return True
    if hasattr(data, "dtype"):
        import numpy  # it is there: this is an array, or something that becomes one

        array = numpy.asanyarray(data)
        if array.dtype.kind != "O":
            return array.dtype.kind in ("S", "U", "T")
        data = array.ravel().tolist()
    if not isinstance(data, Sequence) or not data:
        return False
    return all(isinstance(item, (str, bytes)) for item in data)
