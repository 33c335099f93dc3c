"""The client's end of a channel: it composes requests."""
from __future__ import annotations

from collections.abc import Sequence

from .._errors import CaprotoKeyError, CaprotoValueError
from .._typing import TYPE_CHECKING
from .channel import Channel
from .commands import (
    ClearChannelRequest,
    ClientNameRequest,
    CreateChanRequest,
    EventAddRequest,
    EventCancelRequest,
    HostNameRequest,
    ReadNotifyRequest,
    ReadRequest,
    VersionRequest,
    WriteNotifyRequest,
    WriteRequest,
    event_payload,
)
from .constants import DEFAULT_PROTOCOL_VERSION, DYNAMIC_COUNT_VERSION, EXTENDED_HEADER_VERSION
from .dbr import CHANNEL_TYPES, ChannelType, SubscriptionType
from .headers import MARKER
from .message import name_payload, u16, u32
from .payload import encode

if TYPE_CHECKING:
    from typing import SupportsIndex

_DEFAULT_MASK = SubscriptionType.DBE_VALUE | SubscriptionType.DBE_ALARM
_DEFAULT_EVENT = event_payload(0.0, 0.0, 0.0, _DEFAULT_MASK)
_STRING, _ENUM, _CHAR = (int(ChannelType[name]) for name in ("STRING", "ENUM", "CHAR"))
#: What a client may write: the native types and the two kinds of alarm acknowledgement.
_WRITABLE = frozenset((0, 1, 2, 3, 4, 5, 6, ChannelType.PUT_ACKT, ChannelType.PUT_ACKS))


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
    string_encoding : str, optional
        How text is encoded that is written. By default UTF-8.

    Raises
    ------
    CaprotoValueError
        If the circuit has a channel with this cid.
    """

    __slots__ = ()

    def create(self) -> CreateChanRequest:
        """Ask the server for the channel."""
        payload = name_payload(self.name)
        return CreateChanRequest.from_wire(
            (CreateChanRequest.ID, len(payload), 0, 0, self.cid, DEFAULT_PROTOCOL_VERSION), payload
        )

    def clear(self) -> ClearChannelRequest:
        """Clear the channel. Its subscriptions end with it; its open operations get no reply."""
        sid = self._open_sid()
        return ClearChannelRequest.from_wire((ClearChannelRequest.ID, 0, 0, 0, sid, self.cid), b"")

    def read(
        self,
        data_type: SupportsIndex | str | None = None,
        data_count: int | None = None,
        ioid: int | None = None,
        notify: bool = True,
    ) -> ReadNotifyRequest | ReadRequest:
        """Ask for the value.

        Parameters
        ----------
        data_type : ChannelType, int or str, optional
            By default the native type.
        data_count : int, optional
            By default as many elements as there are now.
        ioid : int, optional
            By default a new one. The id of a subscription refreshes it.
        notify : bool
            False asks in the way of servers before version 4.13, whose reply has no status.
        """
        circuit, sid = self.circuit, self.sid
        number = self._native if data_type is None else self._type(data_type)
        if number is None or sid is None:
            raise self._not_connected()
        ioid = circuit.new_ioid() if ioid is None else u32("ioid", ioid)
        count = 0
        if data_count is not None or circuit.peer_version < DYNAMIC_COUNT_VERSION:
            count = self._count(data_count)
        if not notify:
            return ReadRequest.from_wire((ReadRequest.ID, 0, number, count, sid, ioid), b"")
        return ReadNotifyRequest.from_wire(
            (ReadNotifyRequest.ID, 0, number, count, sid, ioid), b""
        )

    def plain_read(self, ioid: int) -> ReadNotifyRequest | ReadRequest:
        """Do what ``read(ioid=ioid)`` does, sooner, under an id that the circuit has just given."""
        circuit, sid, number = self.circuit, self.sid, self._native
        if number is None or sid is None or circuit.peer_version < DYNAMIC_COUNT_VERSION:
            return self.read(ioid=ioid)
        return ReadNotifyRequest.from_wire((ReadNotifyRequest.ID, 0, number, 0, sid, ioid), b"")

    def host_name(self, host_name: str) -> HostNameRequest:
        """Tell the server the name of our host; once for all channels of the circuit."""
        return HostNameRequest(host_name)

    def client_name(self, client_name: str) -> ClientNameRequest:
        """Tell the server the name of our user; once for all channels of the circuit."""
        return ClientNameRequest(client_name)

    def write(
        self,
        data: object,
        data_type: SupportsIndex | str | None = None,
        data_count: int | None = None,
        metadata: object = None,
        ioid: int | None = None,
        notify: bool = False,
    ) -> WriteNotifyRequest | WriteRequest:
        """Change the value.

        Parameters
        ----------
        data : scalar, str, bytes, sequence or array
        data_type : ChannelType, int or str, optional
            By default the native type; for text or bytes to an enum channel, STRING, so that the
            server looks the state up. Text that just fills an array of CHAR goes without its
            terminating zero.
        data_count : int, optional
            By default the length of *data*.
        metadata : DBR structure or (status, severity, TimeStamp), optional
            For servers that take more than IOCs do.
        ioid : int, optional
            By default a new one; without *notify*, the cid, so that an error can be related.
        notify : bool
            Whether the server is to reply when everything that the write triggers is done.

        Raises
        ------
        CaprotoValueError
            If *data* has more elements than the channel, does not fit *data_type*, or is larger
            than the server's version of the protocol can carry.
        """
        native = self._native
        if data_type is not None or native is None:
            number = self._type(data_type)
        else:
            number = _STRING if native == _ENUM and is_text(data) else native
        if number not in _WRITABLE and metadata is None:
            raise CaprotoValueError(
                f"{CHANNEL_TYPES[number].name} cannot be written; servers take the native types, "
                "PUT_ACKT and PUT_ACKS"
            )
        sid = self._open_sid()
        given = data
        if self.string_encoding is not None:
            data = self._encoded(data, number)
        payload, count = encode(data, number, data_count, metadata)
        room = self.native_data_count
        if room is not None and count > room:
            if count != room + 1 or number != _CHAR or not isinstance(given, str):
                raise CaprotoValueError(
                    f"{count} elements are more than channel {self.name!r} can have ({room})"
                )
            payload, count = encode(data, number, room, metadata)
        circuit, size = self.circuit, len(payload)
        if size >= MARKER and circuit.peer_version < EXTENDED_HEADER_VERSION:
            host, port = circuit.address
            raise CaprotoValueError(
                f"{size} bytes are too large for channel {self.name!r}: the server "
                f"{host}:{port} has protocol version 4.{circuit.peer_version}, "
                f"with messages of at most {MARKER - 7} bytes"
            )
        if notify:
            ioid = circuit.new_ioid() if ioid is None else u32("ioid", ioid)
            return WriteNotifyRequest.from_wire(
                (WriteNotifyRequest.ID, size, number, count, sid, ioid), payload
            )
        ioid = self.cid if ioid is None else u32("ioid", ioid)
        return WriteRequest.from_wire(
            (WriteRequest.ID, size, number, count, sid, ioid), payload
        )

    def subscribe(
        self,
        data_type: SupportsIndex | str | None = None,
        data_count: int | None = None,
        subscriptionid: int | None = None,
        low: float = 0.0,
        high: float = 0.0,
        to: float = 0.0,
        mask: SupportsIndex | None = None,
    ) -> EventAddRequest:
        """Ask for updates; the first one comes at once.

        Parameters
        ----------
        data_type : ChannelType, int or str, optional
            By default the native type. With a plain type an empty array cannot be recognised:
            prefer the TIME or STS types for arrays.
        data_count : int, optional
            By default as many elements as there are each time. Clipped to what the channel has.
        subscriptionid : int, optional
            By default a new one.
        low, high, to : float
            Unused by all servers.
        mask : SubscriptionType or int, optional
            By default VALUE and ALARM.
        """
        number, sid = self._type(data_type), self._open_sid()
        if data_count and self.native_data_count is not None:
            data_count = min(u32("data_count", data_count), self.native_data_count)
        count = self._count(data_count)
        if (mask is None or mask == _DEFAULT_MASK) and not (low or high or to):
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
