"""A pure-Python EPICS Channel Access library.

This is the public face of the core, which implements the protocol without input or output:
commands, the circuit and the broadcaster with their states, data types, addresses, errors, logging.
For a client see `caproto.threading.client`, for servers `caproto.server`.

No logic here. Each name is imported from its module at its first use, so that a script pays for the
parts that it needs. A new name is entered three times: for the type checker, in ``_HOMES`` and in
``__all__``; a test compares them.
"""
from __future__ import annotations

import typing

from . import _errors, _faces

if typing.TYPE_CHECKING:
    from . import backend
    from ._addresses import get_netifaces_addresses
    from ._environment import (
        ClientConfiguration,
        ServerConfiguration,
        get_address_list,
        get_beacon_address_list,
        get_client_address_list,
        get_environment_variables,
        get_server_address_list,
    )
    from ._errors import (
        AccessError,
        CaprotoAttributeError,
        CaprotoError,
        CaprotoKeyError,
        CaprotoNetworkError,
        CaprotoNotImplementedError,
        CaprotoRuntimeError,
        CaprotoTimeoutError,
        CaprotoTypeError,
        CaprotoValueError,
        ContextDisconnectedError,
        DeadCircuitError,
        DisconnectedError,
        ErrorResponseReceived,
        LocalProtocolError,
        MessageError,
        ProtocolError,
        ReadError,
        ReentrantCallError,
        RemoteProtocolError,
        SubscriptionError,
        WriteError,
    )
    from ._log import (
        AddressFilter,
        LogFormatter,
        PVFilter,
        RoleFilter,
        config_caproto_logging,
        set_handler,
    )
    from ._os.sockets import bcast_socket
    from ._protocol.broadcaster import Broadcaster, extract_address
    from ._protocol.channel_facts import ChannelFacts
    from ._protocol.circuit import VirtualCircuit
    from ._protocol.client_channel import ClientChannel
    from ._protocol.commands import (
        AccessRightsResponse,
        Beacon,
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
        RepeaterConfirmResponse,
        RepeaterRegisterRequest,
        SearchRequest,
        SearchResponse,
        ServerDisconnResponse,
        VersionRequest,
        VersionResponse,
        WriteNotifyRequest,
        WriteNotifyResponse,
        WriteRequest,
    )
    from ._protocol.constants import DEFAULT_PROTOCOL_VERSION, DO_REPLY, MAX_RECORD_LENGTH, NO_REPLY
    from ._protocol.dbr import (
        DBR_CHAR,
        DBR_CLASS_NAME,
        DBR_CTRL_CHAR,
        DBR_CTRL_DOUBLE,
        DBR_CTRL_ENUM,
        DBR_CTRL_FLOAT,
        DBR_CTRL_INT,
        DBR_CTRL_LONG,
        DBR_CTRL_STRING,
        DBR_DOUBLE,
        DBR_ENUM,
        DBR_FLOAT,
        DBR_GR_CHAR,
        DBR_GR_DOUBLE,
        DBR_GR_ENUM,
        DBR_GR_FLOAT,
        DBR_GR_INT,
        DBR_GR_LONG,
        DBR_GR_STRING,
        DBR_INT,
        DBR_LONG,
        DBR_PUT_ACKS,
        DBR_PUT_ACKT,
        DBR_STRING,
        DBR_STS_CHAR,
        DBR_STS_DOUBLE,
        DBR_STS_ENUM,
        DBR_STS_FLOAT,
        DBR_STS_INT,
        DBR_STS_LONG,
        DBR_STS_STRING,
        DBR_STSACK_STRING,
        DBR_TIME_CHAR,
        DBR_TIME_DOUBLE,
        DBR_TIME_ENUM,
        DBR_TIME_FLOAT,
        DBR_TIME_INT,
        DBR_TIME_LONG,
        DBR_TIME_STRING,
        AccessRights,
        AlarmSeverity,
        AlarmStatus,
        ChannelType,
        SubscriptionType,
        TimeStamp,
        control_types,
        field_types,
        graphic_types,
        native_type,
        native_types,
        status_types,
        time_types,
    )
    from ._protocol.framing import OversizedMessage
    from ._protocol.headers import ExtendedMessageHeader, MessageHeader
    from ._protocol.message import Message
    from ._protocol.names import (
        RecordField,
        RecordModifiers,
        parse_channel_filter,
        parse_record_field,
    )
    from ._protocol.responses import EnumValue
    from ._protocol.roles import (
        AWAIT_CREATE_CHAN_RESPONSE,
        CLIENT,
        CLOSED,
        CONNECTED,
        DISCONNECTED,
        FAILED,
        IDLE,
        MUST_CLOSE,
        NEED_DATA,
        REQUEST,
        RESPONSE,
        SEND_CREATE_CHAN_REQUEST,
        SEND_CREATE_CHAN_RESPONSE,
        SEND_VERSION_REQUEST,
        SEND_VERSION_RESPONSE,
        SERVER,
        Direction,
        Role,
        Signal,
        State,
    )
    from ._protocol.server_channel import ServerChannel
    from ._protocol.status import CASeverity, CAStatus
    from ._server.channel_types import (
        ChannelByte,
        ChannelChar,
        ChannelDouble,
        ChannelEnum,
        ChannelFloat,
        ChannelInteger,
        ChannelNumeric,
        ChannelShort,
        ChannelString,
    )
    from ._server.data import ChannelData
    from ._server.snapshot import ChannelAlarm
    from .backend import select_backend

#: The names of each module, which is imported at the first use of one of them.
_HOMES = {
    "._addresses": "get_netifaces_addresses",
    "._environment": """
        ClientConfiguration ServerConfiguration get_address_list get_beacon_address_list
        get_client_address_list get_environment_variables get_server_address_list
        """,
    "._errors": """
        AccessError CaprotoAttributeError CaprotoError CaprotoKeyError CaprotoNetworkError
        CaprotoNotImplementedError CaprotoRuntimeError CaprotoTimeoutError CaprotoTypeError
        CaprotoValueError ContextDisconnectedError DeadCircuitError DisconnectedError
        ErrorResponseReceived LocalProtocolError MessageError ProtocolError ReadError
        ReentrantCallError RemoteProtocolError SubscriptionError WriteError
        """,
    "._log": "AddressFilter LogFormatter PVFilter RoleFilter config_caproto_logging set_handler",
    "._os.sockets": "bcast_socket",
    "._protocol.broadcaster": "Broadcaster extract_address",
    "._protocol.channel_facts": "ChannelFacts",
    "._protocol.circuit": "VirtualCircuit",
    "._protocol.client_channel": "ClientChannel",
    "._protocol.commands": """
        AccessRightsResponse Beacon ClearChannelRequest ClearChannelResponse
        ClientNameRequest CreateChanRequest CreateChanResponse CreateChFailResponse
        EchoRequest EchoResponse ErrorResponse EventAddRequest EventAddResponse
        EventCancelRequest EventCancelResponse EventsOffRequest EventsOnRequest
        HostNameRequest NotFoundResponse ReadNotifyRequest ReadNotifyResponse ReadRequest
        ReadResponse ReadSyncRequest ReadSyncResponse RepeaterConfirmResponse
        RepeaterRegisterRequest SearchRequest SearchResponse ServerDisconnResponse
        VersionRequest VersionResponse WriteNotifyRequest WriteNotifyResponse WriteRequest
        """,
    "._protocol.constants": "DEFAULT_PROTOCOL_VERSION DO_REPLY MAX_RECORD_LENGTH NO_REPLY",
    "._protocol.dbr": """
        DBR_CHAR DBR_CLASS_NAME DBR_CTRL_CHAR DBR_CTRL_DOUBLE DBR_CTRL_ENUM DBR_CTRL_FLOAT
        DBR_CTRL_INT DBR_CTRL_LONG DBR_CTRL_STRING DBR_DOUBLE DBR_ENUM DBR_FLOAT DBR_GR_CHAR
        DBR_GR_DOUBLE DBR_GR_ENUM DBR_GR_FLOAT DBR_GR_INT DBR_GR_LONG DBR_GR_STRING DBR_INT
        DBR_LONG DBR_PUT_ACKS DBR_PUT_ACKT DBR_STRING DBR_STS_CHAR DBR_STS_DOUBLE
        DBR_STS_ENUM DBR_STS_FLOAT DBR_STS_INT DBR_STS_LONG DBR_STS_STRING DBR_STSACK_STRING
        DBR_TIME_CHAR DBR_TIME_DOUBLE DBR_TIME_ENUM DBR_TIME_FLOAT DBR_TIME_INT
        DBR_TIME_LONG DBR_TIME_STRING AccessRights AlarmSeverity AlarmStatus ChannelType
        SubscriptionType TimeStamp control_types field_types graphic_types native_type
        native_types status_types time_types
        """,
    "._protocol.framing": "OversizedMessage",
    "._protocol.headers": "ExtendedMessageHeader MessageHeader",
    "._protocol.message": "Message",
    "._protocol.names": "RecordField RecordModifiers parse_channel_filter parse_record_field",
    "._protocol.responses": "EnumValue",
    "._protocol.roles": """
        AWAIT_CREATE_CHAN_RESPONSE CLIENT CLOSED CONNECTED DISCONNECTED FAILED IDLE
        MUST_CLOSE NEED_DATA REQUEST RESPONSE SEND_CREATE_CHAN_REQUEST
        SEND_CREATE_CHAN_RESPONSE SEND_VERSION_REQUEST SEND_VERSION_RESPONSE SERVER
        Direction Role Signal State
        """,
    "._protocol.server_channel": "ServerChannel",
    "._protocol.status": "CASeverity CAStatus",
    "._server.channel_types": """
        ChannelByte ChannelChar ChannelDouble ChannelEnum ChannelFloat ChannelInteger
        ChannelNumeric ChannelShort ChannelString
        """,
    "._server.data": "ChannelData",
    "._server.snapshot": "ChannelAlarm",
    ".backend": "select_backend",
}
#: Public modules that programs reach without an import of their own.
_SUBMODULES = ("backend",)

__all__ = [
    "AWAIT_CREATE_CHAN_RESPONSE",
    "AccessError",
    "AccessRights",
    "AccessRightsResponse",
    "AddressFilter",
    "AlarmSeverity",
    "AlarmStatus",
    "Beacon",
    "Broadcaster",
    "CASeverity",
    "CAStatus",
    "CLIENT",
    "CLOSED",
    "CONNECTED",
    "CaprotoAttributeError",
    "CaprotoError",
    "CaprotoKeyError",
    "CaprotoNetworkError",
    "CaprotoNotImplementedError",
    "CaprotoRuntimeError",
    "CaprotoTimeoutError",
    "CaprotoTypeError",
    "CaprotoValueError",
    "ChannelAlarm",
    "ChannelByte",
    "ChannelChar",
    "ChannelData",
    "ChannelDouble",
    "ChannelEnum",
    "ChannelFacts",
    "ChannelFloat",
    "ChannelInteger",
    "ChannelNumeric",
    "ChannelShort",
    "ChannelString",
    "ChannelType",
    "ClearChannelRequest",
    "ClearChannelResponse",
    "ClientChannel",
    "ClientConfiguration",
    "ClientNameRequest",
    "ContextDisconnectedError",
    "CreateChFailResponse",
    "CreateChanRequest",
    "CreateChanResponse",
    "DBR_CHAR",
    "DBR_CLASS_NAME",
    "DBR_CTRL_CHAR",
    "DBR_CTRL_DOUBLE",
    "DBR_CTRL_ENUM",
    "DBR_CTRL_FLOAT",
    "DBR_CTRL_INT",
    "DBR_CTRL_LONG",
    "DBR_CTRL_STRING",
    "DBR_DOUBLE",
    "DBR_ENUM",
    "DBR_FLOAT",
    "DBR_GR_CHAR",
    "DBR_GR_DOUBLE",
    "DBR_GR_ENUM",
    "DBR_GR_FLOAT",
    "DBR_GR_INT",
    "DBR_GR_LONG",
    "DBR_GR_STRING",
    "DBR_INT",
    "DBR_LONG",
    "DBR_PUT_ACKS",
    "DBR_PUT_ACKT",
    "DBR_STRING",
    "DBR_STSACK_STRING",
    "DBR_STS_CHAR",
    "DBR_STS_DOUBLE",
    "DBR_STS_ENUM",
    "DBR_STS_FLOAT",
    "DBR_STS_INT",
    "DBR_STS_LONG",
    "DBR_STS_STRING",
    "DBR_TIME_CHAR",
    "DBR_TIME_DOUBLE",
    "DBR_TIME_ENUM",
    "DBR_TIME_FLOAT",
    "DBR_TIME_INT",
    "DBR_TIME_LONG",
    "DBR_TIME_STRING",
    "DEFAULT_PROTOCOL_VERSION",
    "DISCONNECTED",
    "DO_REPLY",
    "DeadCircuitError",
    "Direction",
    "DisconnectedError",
    "EchoRequest",
    "EchoResponse",
    "EnumValue",
    "ErrorResponse",
    "ErrorResponseReceived",
    "EventAddRequest",
    "EventAddResponse",
    "EventCancelRequest",
    "EventCancelResponse",
    "EventsOffRequest",
    "EventsOnRequest",
    "ExtendedMessageHeader",
    "FAILED",
    "HostNameRequest",
    "IDLE",
    "LocalProtocolError",
    "LogFormatter",
    "MAX_RECORD_LENGTH",
    "MUST_CLOSE",
    "Message",
    "MessageError",
    "MessageHeader",
    "NEED_DATA",
    "NO_REPLY",
    "NotFoundResponse",
    "OversizedMessage",
    "PVFilter",
    "ProtocolError",
    "REQUEST",
    "RESPONSE",
    "ReadError",
    "ReadNotifyRequest",
    "ReadNotifyResponse",
    "ReadRequest",
    "ReadResponse",
    "ReadSyncRequest",
    "ReadSyncResponse",
    "RecordField",
    "RecordModifiers",
    "ReentrantCallError",
    "RemoteProtocolError",
    "RepeaterConfirmResponse",
    "RepeaterRegisterRequest",
    "Role",
    "RoleFilter",
    "SEND_CREATE_CHAN_REQUEST",
    "SEND_CREATE_CHAN_RESPONSE",
    "SEND_VERSION_REQUEST",
    "SEND_VERSION_RESPONSE",
    "SERVER",
    "SearchRequest",
    "SearchResponse",
    "ServerChannel",
    "ServerConfiguration",
    "ServerDisconnResponse",
    "Signal",
    "State",
    "SubscriptionError",
    "SubscriptionType",
    "TimeStamp",
    "VersionRequest",
    "VersionResponse",
    "VirtualCircuit",
    "WriteError",
    "WriteNotifyRequest",
    "WriteNotifyResponse",
    "WriteRequest",
    "backend",
    "bcast_socket",
    "config_caproto_logging",
    "control_types",
    "extract_address",
    "field_types",
    "get_address_list",
    "get_beacon_address_list",
    "get_client_address_list",
    "get_environment_variables",
    "get_netifaces_addresses",
    "get_server_address_list",
    "graphic_types",
    "native_type",
    "native_types",
    "parse_channel_filter",
    "parse_record_field",
    "select_backend",
    "set_handler",
    "status_types",
    "time_types",
]


if not typing.TYPE_CHECKING:  # which would take it for any name
    __getattr__ = _faces.importer(__name__, _HOMES, _SUBMODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# Whatever is imported needs the errors, and tracebacks show where an error comes from.
_faces.take(__name__, _errors, _HOMES["._errors"].split())
