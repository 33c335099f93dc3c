"""Commands about a circuit as a whole, and about the life of its channels.

See ``commands``.
"""
from __future__ import annotations

import struct

from .._errors import CaprotoTypeError, RemoteProtocolError
from .._numbers import counted
from .._typing import TYPE_CHECKING
from .dbr import AccessRights
from .headers import (
    ExtendedMessageHeader,
    Fields,
    Header,
    MessageHeader,
    fields_of,
    make_header,
    pack_header,
    unpack_header,
)
from .message import (
    Message,
    TypedMessage,
    dbr_type,
    eca_status,
    header_field,
    name_payload,
    priority_number,
    text_of,
    text_payload,
    u16,
    u32,
)
from .roles import REQUEST, RESPONSE
from .status import CAStatus, status_from_number

if TYPE_CHECKING:
    from typing import SupportsIndex

#: The access bits that have a meaning.
_ACCESS = tuple(AccessRights(bits) for bits in range(4))


class VersionRequest(Message):
    """The client's protocol version; first on a circuit, and first in a search datagram.

    Parameters
    ----------
    priority : int
        0..99, the priority of the circuit.
    version : int
        Minor protocol version.
    sequence : int, optional
        Number of the search datagram (UDP only); the server repeats it in its reply.
    """

    __slots__ = ()
    ID, DIRECTION = 0, REQUEST

    def __init__(self, priority: int, version: int, sequence: int | None = None) -> None:
        priority = priority_number(priority)
        if sequence is None:
            self._fill(priority, u16("version", version))
        else:
            self._fill(priority | 1, u16("version", version), u32("sequence", sequence))

    priority = header_field(2, "Priority of the circuit; in a datagram, bit 0: sequence is valid.")
    version = header_field(3, "Minor protocol version of the client.")

    @property
    def sequence(self) -> int | None:
        """Number of the datagram, or None where none is given."""
        return self.fields[4] if self.fields[2] & 1 else None


class VersionResponse(Message):
    """The server's protocol version; sent unasked, it is not a reply.

    Parameters
    ----------
    version : int
        Minor protocol version.
    sequence : int, optional
        Number of the search datagram that is answered (UDP only).
    """

    __slots__ = ()
    ID, DIRECTION = 0, RESPONSE

    def __init__(self, version: int, sequence: int | None = None) -> None:
        if sequence is None:
            self._fill(0, u16("version", version))
        else:
            self._fill(1, u16("version", version), u32("sequence", sequence))

    version = header_field(3, "Minor protocol version of the server.")

    @property
    def sequence(self) -> int | None:
        """Number of the datagram that is answered, or None where none is given."""
        return self.fields[4] if self.fields[2] & 1 else None


class _TextRequest(Message):
    """A command that is nothing but a text."""

    __slots__ = ()
    DIRECTION = REQUEST

    def __init__(self, name: str) -> None:
        self._fill(payload=text_payload("name", name))

    @property
    def name(self) -> str:
        """The text."""
        return text_of(self.payload)


class ClientNameRequest(_TextRequest):
    """The user's name, for access security; before the first channel.

    Parameters
    ----------
    name : str
    """

    __slots__ = ()
    ID = 20


class HostNameRequest(_TextRequest):
    """The client's host name, for access security; before the first channel.

    Parameters
    ----------
    name : str
    """

    __slots__ = ()
    ID = 21


class EchoRequest(Message):
    """Are you there? The server returns it unchanged."""

    __slots__ = ()
    ID, DIRECTION = 23, REQUEST


class EchoResponse(Message):
    """The answer to :class:`EchoRequest`: header and payload are those of the request."""

    __slots__ = ()
    ID, DIRECTION = 23, RESPONSE


class ReadSyncRequest(Message):
    """The echo of clients of servers below 4.3; obsolete."""

    __slots__ = ()
    ID, DIRECTION = 10, REQUEST


class ReadSyncResponse(Message):
    """The answer to :class:`ReadSyncRequest`, identical with it."""

    __slots__ = ()
    ID, DIRECTION = 10, RESPONSE


class EventsOffRequest(Message):
    """Hold the updates of this circuit; the server keeps the newest of each subscription."""

    __slots__ = ()
    ID, DIRECTION = 8, REQUEST


class EventsOnRequest(Message):
    """Let the updates of this circuit come again."""

    __slots__ = ()
    ID, DIRECTION = 9, REQUEST


class ErrorResponse(Message):
    """A request failed that has no other way to say so.

    Parameters
    ----------
    original_request : MessageHeader, ExtendedMessageHeader, or a command
        What failed. Only its header is sent back.
    cid : int
        The client's id of the channel, 0xFFFFFFFF if there is none.
    status : CAStatus or int
        Why.
    error_message : str
        For people.
    """

    __slots__ = ()
    ID, DIRECTION = 11, RESPONSE

    def __init__(
        self,
        original_request: Header | Message,
        cid: int,
        status: SupportsIndex,
        error_message: str = "",
    ) -> None:
        if isinstance(original_request, Message):
            original = original_request.fields
        elif isinstance(original_request, (MessageHeader, ExtendedMessageHeader)):
            original = fields_of(original_request)
        else:
            raise CaprotoTypeError(
                f"original_request must be a header or a command, not {original_request!r}"
            )
        payload = pack_header(original) + text_payload("error_message", error_message)
        self._fill(0, 0, u32("cid", cid), eca_status(status), payload)

    cid = header_field(4, "The client's id of the channel, 0xFFFFFFFF if there is none.")

    @property
    def status(self) -> CAStatus:
        """The ECA status; unknown numbers are kept."""
        return status_from_number(self.fields[5])

    @property
    def original_fields(self) -> Fields:
        """The six numbers of the request that failed.

        Raises
        ------
        RemoteProtocolError
            If the payload is too short to hold a header.
        """
        return self._parts()[0]

    @property
    def original_request(self) -> Header:
        """The header of the request that failed; its ``command`` is the number of that request."""
        return make_header(self.original_fields)

    @property
    def error_message(self) -> str:
        """Free text; an IOC mostly sends the name of the record."""
        fields, length = self._parts()
        return text_of(self.payload[length:])

    def _parts(self) -> tuple[Fields, int]:
        try:
            return unpack_header(self.payload)
        except struct.error:
            raise RemoteProtocolError(
                f"an error message of {counted(len(self.payload), 'byte')} cannot hold a "
                "request's header"
            ) from None


class CreateChanRequest(Message):
    """Open a channel.

    Parameters
    ----------
    name : str
    cid : int
        The client's id of the channel.
    version : int
        The client's minor protocol version; overrides what VersionRequest said.
    """

    __slots__ = ()
    ID, DIRECTION = 18, REQUEST

    def __init__(self, name: str, cid: int, version: int) -> None:
        self._fill(0, 0, u32("cid", cid), u32("version", version), name_payload(name))

    cid = header_field(4, "The client's id of the channel.")
    version = header_field(5, "Minor protocol version of the client.")

    @property
    def name(self) -> str:
        """Name of the channel."""
        return text_of(self.payload)


class CreateChanResponse(TypedMessage):
    """The channel is open.

    Parameters
    ----------
    data_type : ChannelType
        Native type, 0..6.
    data_count : int
        The *largest* number of elements the channel can have.
    cid, sid : int
        The client's and the server's id of the channel.
    """

    __slots__ = ()
    ID, DIRECTION = 18, RESPONSE

    def __init__(self, data_type: SupportsIndex, data_count: int, cid: int, sid: int) -> None:
        self._fill(
            dbr_type(data_type), u32("data_count", data_count), u32("cid", cid), u32("sid", sid)
        )

    cid = header_field(4, "The client's id of the channel.")
    sid = header_field(5, "The server's id of the channel.")


class _ChannelNotice(Message):
    """The server says something about one channel."""

    __slots__ = ()
    DIRECTION = RESPONSE

    def __init__(self, cid: int) -> None:
        self._fill(parameter1=u32("cid", cid))

    cid = header_field(4, "The client's id of the channel.")


class CreateChFailResponse(_ChannelNotice):
    """The channel cannot be opened.

    Parameters
    ----------
    cid : int
    """

    __slots__ = ()
    ID = 26


class ServerDisconnResponse(_ChannelNotice):
    """The server dropped this one channel; its sid is dead.

    Parameters
    ----------
    cid : int
    """

    __slots__ = ()
    ID = 27


class AccessRightsResponse(Message):
    """What the client may do with a channel; comes at any time.

    Parameters
    ----------
    cid : int
    access_rights : AccessRights or int
        Bit 0 read, bit 1 write.
    """

    __slots__ = ()
    ID, DIRECTION = 22, RESPONSE

    def __init__(self, cid: int, access_rights: SupportsIndex) -> None:
        self._fill(0, 0, u32("cid", cid), u32("access_rights", access_rights))

    cid = header_field(4, "The client's id of the channel.")

    @property
    def access_rights(self) -> AccessRights:
        """What the client may do."""
        return _ACCESS[self.fields[5] & 3]


class _ClearChannel(Message):
    """The same message in both directions."""

    __slots__ = ()

    def __init__(self, sid: int, cid: int) -> None:
        self._fill(0, 0, u32("sid", sid), u32("cid", cid))

    sid = header_field(4, "The server's id of the channel.")
    cid = header_field(5, "The client's id of the channel.")


class ClearChannelRequest(_ClearChannel):
    """Close a channel; its subscriptions end with it.

    Parameters
    ----------
    sid, cid : int
    """

    __slots__ = ()
    ID, DIRECTION = 12, REQUEST


class ClearChannelResponse(_ClearChannel):
    """The channel is closed.

    Parameters
    ----------
    sid, cid : int
    """

    __slots__ = ()
    ID, DIRECTION = 12, RESPONSE
