"""Commands that carry values or ask for them: reading, writing, subscriptions.

See ``commands``.
"""
from __future__ import annotations

import struct

from .._errors import CaprotoValueError, RemoteProtocolError
from .._typing import TYPE_CHECKING
from .dbr import SubscriptionType
from .message import (
    DataMessage,
    StatusMixin,
    TypedMessage,
    dbr_type,
    eca_status,
    header_field,
    u16,
    u32,
)
from .presentation import wrapped
from .responses import ValueResponse
from .roles import REQUEST, RESPONSE
from .status import CAStatus

if TYPE_CHECKING:
    from typing import SupportsIndex

    from .text import Printer

#: The payload of an EventAddRequest: three unused limits, the mask, padding.
_EVENT_MASK = struct.Struct(">fffHxx")


class _ReadRequest(TypedMessage):
    __slots__ = ()
    DIRECTION = REQUEST

    def __init__(self, data_type: SupportsIndex, data_count: int, sid: int, ioid: int) -> None:
        self._fill(
            dbr_type(data_type), u32("data_count", data_count), u32("sid", sid), u32("ioid", ioid)
        )

    sid = header_field(4, "The server's id of the channel.")
    ioid = header_field(5, "The client's id of this operation.")


class ReadNotifyRequest(_ReadRequest):
    """Read a value.

    Parameters
    ----------
    data_type : ChannelType
    data_count : int
        0 means as many as there are now (servers from 4.13 on).
    sid, ioid : int
    """

    __slots__ = ()
    ID = 15


class ReadRequest(_ReadRequest):
    """Read a value the old way; obsolete.

    Parameters
    ----------
    data_type : ChannelType
    data_count : int
    sid, ioid : int
    """

    __slots__ = ()
    ID = 3


class ReadNotifyResponse(StatusMixin, ValueResponse):
    """A value that was asked for. Unless the status is a success the data mean nothing.

    Parameters
    ----------
    data : scalar, str, bytes, sequence or array
    data_type : ChannelType
    data_count : int or None
        None: as many as *data* has.
    status : CAStatus or int
    ioid : int
    metadata : DBR structure or (status, severity, TimeStamp), optional
    """

    __slots__ = ()
    ID, DIRECTION = 15, RESPONSE

    def __init__(
        self,
        data: object,
        data_type: SupportsIndex,
        data_count: int | None,
        status: SupportsIndex,
        ioid: int,
        *,
        metadata: object = None,
    ) -> None:
        status, ioid = eca_status(status), u32("ioid", ioid)
        self._fill_data(data, data_type, data_count, status, ioid, metadata)

    ioid = header_field(5, "The client's id of this operation.")


class ReadResponse(ValueResponse):
    """The answer to :class:`ReadRequest`; obsolete.

    Parameters
    ----------
    data : scalar, str, bytes, sequence or array
    data_type : ChannelType
    data_count : int or None
    sid : int
        Named so by tradition: a server sends the *client's* id of the channel here.
    ioid : int
    metadata : DBR structure or (status, severity, TimeStamp), optional
    """

    __slots__ = ()
    ID, DIRECTION = 3, RESPONSE

    def __init__(
        self,
        data: object,
        data_type: SupportsIndex,
        data_count: int | None,
        sid: int,
        ioid: int,
        *,
        metadata: object = None,
    ) -> None:
        sid, ioid = u32("sid", sid), u32("ioid", ioid)
        self._fill_data(data, data_type, data_count, sid, ioid, metadata)

    sid = header_field(4, "An id of the channel (the client's, from an IOC).")
    ioid = header_field(5, "The client's id of this operation.")

    @property
    def status(self) -> CAStatus:
        """Always ECA_NORMAL: a read of this kind that fails is answered by an ErrorResponse."""
        return CAStatus.ECA_NORMAL


class _WriteRequest(DataMessage):
    __slots__ = ()
    DIRECTION = REQUEST

    def __init__(
        self,
        data: object,
        data_type: SupportsIndex,
        data_count: int | None,
        sid: int,
        ioid: int,
        *,
        metadata: object = None,
    ) -> None:
        sid, ioid = u32("sid", sid), u32("ioid", ioid)
        self._fill_data(data, data_type, data_count, sid, ioid, metadata)

    sid = header_field(4, "The server's id of the channel.")
    ioid = header_field(5, "The client's id of this operation; without notification, the cid.")


class WriteNotifyRequest(_WriteRequest):
    """Write a value; the server confirms when everything that this triggers is done.

    Parameters
    ----------
    data : scalar, str, bytes, sequence or array
    data_type : ChannelType
    data_count : int or None
        None: as many as *data* has.
    sid, ioid : int
    metadata : DBR structure or (status, severity, TimeStamp), optional
    """

    __slots__ = ()
    ID = 19


class WriteRequest(_WriteRequest):
    """Write a value; there is no reply, failures come as :class:`ErrorResponse`.

    Parameters
    ----------
    data : scalar, str, bytes, sequence or array
    data_type : ChannelType
    data_count : int or None
        None: as many as *data* has.
    sid : int
    ioid : int
        By convention the cid, so that an ErrorResponse can be related to the channel.
    metadata : DBR structure or (status, severity, TimeStamp), optional
    """

    __slots__ = ()
    ID = 4


class WriteNotifyResponse(StatusMixin, TypedMessage):
    """The write and everything that followed from it is done, or failed.

    Parameters
    ----------
    data_type : ChannelType
    data_count : int
    status : CAStatus or int
    ioid : int
    """

    __slots__ = ()
    ID, DIRECTION = 19, RESPONSE

    def __init__(
        self, data_type: SupportsIndex, data_count: int, status: SupportsIndex, ioid: int
    ) -> None:
        self._fill(
            dbr_type(data_type), u32("data_count", data_count), eca_status(status),
            u32("ioid", ioid),
        )

    ioid = header_field(5, "The client's id of this operation.")

    def __repr__(self) -> str:
        return wrapped(self.as_line())

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        """Print it at the prompt of IPython."""
        status = self.status
        printer.text(
            "written" if status == CAStatus.ECA_NORMAL
            else f"not written: {status.name} ({status.description})"
        )


class EventAddRequest(TypedMessage):
    """Send me updates.

    Parameters
    ----------
    data_type : ChannelType
    data_count : int
        0 means as many as there are each time (servers from 4.13 on).
    sid, subscriptionid : int
    low, high, to : float
        Unused by all servers.
    mask : SubscriptionType or int
        What to send updates for; must not be 0.
    """

    __slots__ = ()
    ID, DIRECTION = 1, REQUEST

    def __init__(
        self,
        data_type: SupportsIndex,
        data_count: int,
        sid: int,
        subscriptionid: int,
        low: float,
        high: float,
        to: float,
        mask: SupportsIndex,
    ) -> None:
        if not u16("mask", mask):
            raise CaprotoValueError("mask=0 subscribes to nothing; IOCs drop the circuit for it")
        self._fill(
            dbr_type(data_type), u32("data_count", data_count), u32("sid", sid),
            u32("subscriptionid", subscriptionid), event_payload(low, high, to, mask),
        )

    sid = header_field(4, "The server's id of the channel.")
    subscriptionid = header_field(5, "The client's id of this subscription.")

    @property
    def low(self) -> float:
        """Unused."""
        return self._limits()[0]

    @property
    def high(self) -> float:
        """Unused."""
        return self._limits()[1]

    @property
    def to(self) -> float:
        """Unused."""
        return self._limits()[2]

    @property
    def mask(self) -> SubscriptionType:
        """What to send updates for."""
        return SubscriptionType(self._limits()[3])

    def _limits(self) -> tuple[float, float, float, int]:
        try:
            low, high, to, mask = _EVENT_MASK.unpack_from(self.payload)
        except struct.error:
            raise RemoteProtocolError(
                f"an EventAddRequest has 16 bytes of payload, not {len(self.payload)}"
            ) from None
        return low, high, to, mask


def event_payload(low: float, high: float, to: float, mask: SupportsIndex) -> bytes:
    """Make the payload of an EventAddRequest."""
    try:
        return _EVENT_MASK.pack(low, high, to, mask)
    except (struct.error, OverflowError) as error:
        raise CaprotoValueError(f"low={low!r}, high={high!r}, to={to!r}: {error}") from None


class EventAddResponse(StatusMixin, ValueResponse):
    """An update of a subscription. Unless the status is a success the data mean nothing.

    Parameters
    ----------
    data : scalar, str, bytes, sequence or array
    data_type : ChannelType
    data_count : int or None
        None: as many as *data* has.
    status : CAStatus or int
    subscriptionid : int
    metadata : DBR structure or (status, severity, TimeStamp), optional
    """

    __slots__ = ()
    ID, DIRECTION = 1, RESPONSE

    def __init__(
        self,
        data: object,
        data_type: SupportsIndex,
        data_count: int | None,
        status: SupportsIndex,
        subscriptionid: int,
        *,
        metadata: object = None,
    ) -> None:
        status, subscriptionid = eca_status(status), u32("subscriptionid", subscriptionid)
        self._fill_data(data, data_type, data_count, status, subscriptionid, metadata)

    subscriptionid = header_field(5, "The client's id of this subscription.")


class EventCancelRequest(TypedMessage):
    """No more updates. Exactly once per subscription: IOCs drop the circuit for a second one.

    Parameters
    ----------
    data_type : ChannelType
        As in the EventAddRequest.
    sid, subscriptionid : int
    data_count : int
        As in the EventAddRequest.
    """

    __slots__ = ()
    ID, DIRECTION = 2, REQUEST

    def __init__(
        self, data_type: SupportsIndex, sid: int, subscriptionid: int, data_count: int = 0
    ) -> None:
        self._fill(
            dbr_type(data_type), u32("data_count", data_count), u32("sid", sid),
            u32("subscriptionid", subscriptionid),
        )

    sid = header_field(4, "The server's id of the channel.")
    subscriptionid = header_field(5, "The client's id of this subscription.")


class EventCancelResponse(TypedMessage):
    """The last word on a subscription. On the wire it has the number of an update, 1.

    Parameters
    ----------
    data_type : ChannelType
    sid, subscriptionid : int
    data_count : int
    """

    __slots__ = ()
    ID, DIRECTION = 1, RESPONSE

    def __init__(
        self, data_type: SupportsIndex, sid: int, subscriptionid: int, data_count: int
    ) -> None:
        self._fill(
            dbr_type(data_type), u32("data_count", data_count), u32("sid", sid),
            u32("subscriptionid", subscriptionid),
        )

    sid = header_field(4, "The server's id of the channel.")
    subscriptionid = header_field(5, "The client's id of this subscription.")
