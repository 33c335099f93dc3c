"""The server's end of a channel: it composes responses."""
from __future__ import annotations

from .._typing import TYPE_CHECKING
from .channel import Channel
from .commands import (
    AccessRightsResponse,
    ClearChannelResponse,
    CreateChanResponse,
    CreateChFailResponse,
    EventAddResponse,
    EventCancelResponse,
    ReadNotifyResponse,
    ReadResponse,
    ServerDisconnResponse,
    VersionResponse,
    WriteNotifyResponse,
)
from .constants import DEFAULT_PROTOCOL_VERSION
from .status import CAStatus

if TYPE_CHECKING:
    from typing import SupportsIndex


class ServerChannel(Channel):
    """The server's end of a channel; the circuit makes it when a CreateChanRequest comes.

    Parameters
    ----------
    name : str
    circuit : VirtualCircuit
    cid : int
        The client's id, from its request.
    string_encoding : str, optional
        How text is encoded that is sent. By default UTF-8.
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
        data_type: SupportsIndex | str | None = None,
        data_count: int | None = None,
        status: SupportsIndex = CAStatus.ECA_NORMAL,
        *,
        metadata: object = None,
        notify: bool = True,
    ) -> ReadNotifyResponse | ReadResponse:
        """Answer a ReadNotifyRequest, or without *notify* a ReadRequest; by default natively.

        A ReadResponse has no status; with one that is not a success it cannot be sent.
        """
        number = self._type(data_type)
        data = self._encoded(data, number)
        if not notify:
            return ReadResponse(
                data, number, data_count, self._open_sid(), ioid, metadata=metadata
            )
        return ReadNotifyResponse(data, number, data_count, status, ioid, metadata=metadata)

    def write(
        self,
        ioid: int,
        data_type: SupportsIndex | str | None = None,
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
        data_type: SupportsIndex | str | None = None,
        data_count: int | None = None,
        status: SupportsIndex = CAStatus.ECA_NORMAL,
        metadata: object = None,
    ) -> EventAddResponse:
        """Update a subscription; by default in the native type."""
        number = self._type(data_type)
        return EventAddResponse(
            self._encoded(data, number), number, data_count, status, subscriptionid,
            metadata=metadata,
        )

    def unsubscribe(
        self,
        subscriptionid: int,
        data_type: SupportsIndex | str | None = None,
        data_count: int | None = None,
    ) -> EventCancelResponse:
        """Confirm an EventCancelRequest; type and count are those of the EventAddRequest."""
        count = self.native_data_count or 0 if data_count is None else data_count
        return EventCancelResponse(
            self._type(data_type), self._open_sid(), subscriptionid, count
        )
