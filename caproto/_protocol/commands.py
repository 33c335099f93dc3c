"""All commands, and the tables from numbers to classes.

One short class per command, in three modules: ``commands_search``, ``commands_circuit``,
``commands_values``. Each class only declares: its number, its direction, what its header fields
are called, and a constructor that checks what people pass. Everything else is in ``message``.
Whether a command is allowed at this moment is for ``states`` and ``circuit_rules`` to say.
"""
from __future__ import annotations

from .commands_circuit import (
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
    EventsOffRequest,
    EventsOnRequest,
    HostNameRequest,
    ReadSyncRequest,
    ReadSyncResponse,
    ServerDisconnResponse,
    VersionRequest,
    VersionResponse,
)
from .commands_search import (
    Beacon,
    NotFoundResponse,
    RepeaterConfirmResponse,
    RepeaterRegisterRequest,
    SearchRequest,
    SearchResponse,
)
from .commands_values import (
    EventAddRequest,
    EventAddResponse,
    EventCancelRequest,
    EventCancelResponse,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
    WriteNotifyRequest,
    WriteNotifyResponse,
    WriteRequest,
    event_payload,
)
from .message import Message
from .roles import CLIENT, SERVER, Role

__all__ = [
    "AccessRightsResponse",
    "Beacon",
    "CIRCUIT_COMMANDS",
    "CIRCUIT_REQUESTS",
    "CIRCUIT_RESPONSES",
    "COMMANDS",
    "ClearChannelRequest",
    "ClearChannelResponse",
    "ClientNameRequest",
    "CreateChFailResponse",
    "CreateChanRequest",
    "CreateChanResponse",
    "DATAGRAM_COMMANDS",
    "DATAGRAM_REQUESTS",
    "DATAGRAM_RESPONSES",
    "EchoRequest",
    "EchoResponse",
    "ErrorResponse",
    "EventAddRequest",
    "EventAddResponse",
    "EventCancelRequest",
    "EventCancelResponse",
    "EventsOffRequest",
    "EventsOnRequest",
    "HostNameRequest",
    "Message",
    "NotFoundResponse",
    "ReadNotifyRequest",
    "ReadNotifyResponse",
    "ReadRequest",
    "ReadResponse",
    "ReadSyncRequest",
    "ReadSyncResponse",
    "RepeaterConfirmResponse",
    "RepeaterRegisterRequest",
    "SearchRequest",
    "SearchResponse",
    "ServerDisconnResponse",
    "VersionRequest",
    "VersionResponse",
    "WriteNotifyRequest",
    "WriteNotifyResponse",
    "WriteRequest",
    "event_payload",
]

#: What a client may send over TCP.
CIRCUIT_REQUESTS = (
    VersionRequest, EventAddRequest, EventCancelRequest, ReadRequest, WriteRequest, SearchRequest,
    EventsOffRequest, EventsOnRequest, ReadSyncRequest, ClearChannelRequest, ReadNotifyRequest,
    CreateChanRequest, WriteNotifyRequest, ClientNameRequest, HostNameRequest, EchoRequest,
)
#: What a server may send over TCP. EventCancelResponse shares its number with EventAddResponse:
#: only the circuit can distinguish them, see ``circuit``.
CIRCUIT_RESPONSES = (
    VersionResponse, EventAddResponse, EventCancelResponse, ReadResponse, SearchResponse,
    ReadSyncResponse, ErrorResponse, ClearChannelResponse, NotFoundResponse, ReadNotifyResponse,
    CreateChanResponse, WriteNotifyResponse, AccessRightsResponse, EchoResponse,
    CreateChFailResponse, ServerDisconnResponse,
)
#: What may be in a datagram from a client, and from a server or repeater.
DATAGRAM_REQUESTS = (VersionRequest, SearchRequest, RepeaterRegisterRequest)
DATAGRAM_RESPONSES = (
    VersionResponse, SearchResponse, ErrorResponse, Beacon, NotFoundResponse,
    RepeaterConfirmResponse,
)


def _by_number(classes: tuple[type[Message], ...]) -> dict[int, type[Message]]:
    return {cls.ID: cls for cls in classes if cls is not EventCancelResponse}


#: Role of the sender -> command number -> class, over TCP.
CIRCUIT_COMMANDS: dict[Role, dict[int, type[Message]]] = {
    CLIENT: _by_number(CIRCUIT_REQUESTS),
    SERVER: _by_number(CIRCUIT_RESPONSES),
}
#: Role of the sender -> command number -> class, over UDP.
DATAGRAM_COMMANDS: dict[Role, dict[int, type[Message]]] = {
    CLIENT: _by_number(DATAGRAM_REQUESTS),
    SERVER: _by_number(DATAGRAM_RESPONSES),
}
#: Role of the sender -> command number -> class, over either.
COMMANDS: dict[Role, dict[int, type[Message]]] = {
    role: {**CIRCUIT_COMMANDS[role], **DATAGRAM_COMMANDS[role]} for role in Role
}
