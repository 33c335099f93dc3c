"""A pure-Python EPICS Channel Access library.

This is the public face of the core, which implements the protocol without input or output:
commands, the circuit and the broadcaster with their states, data types, addresses, errors, logging.
For a client see `caproto.threading.client`, for servers `caproto.server`.

No logic here. Each name is imported from its module at its first use, so that a script pays for the
parts that it needs. A new name is entered three times: for the type checker, in ``_HOMES`` and in
``__all__``; a test compares them.
"""
from __future__ import annotations

from . import _errors, _faces

__version__ = "2.0.0.dev0"

if _faces.TYPE_CHECKING:
    from . import backend
    from ._address_lists import (
        Protocol,
        get_address_list,
        get_beacon_address_list,
        get_client_address_list,
        get_local_address,
        get_server_address_list,
    )
    from ._addresses import get_netifaces_addresses
    from ._environment import ClientConfiguration, ServerConfiguration, get_environment_variables
    from ._errors import (
        AccessError,
        CaprotoAttributeError,
        CaprotoConversionError,
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
        Forbidden,
        LocalProtocolError,
        MessageError,
        ProtocolError,
        ReadError,
        ReentrantCallError,
        RemoteProtocolError,
        SkipWrite,
        SubscriptionError,
        WriteError,
    )
    from ._known.callbacks import adapt_old_callback_signature
    from ._known.constants import (
        EPICS2UNIX_EPOCH,
        EPICS_CA1_PORT,
        EPICS_CA2_PORT,
        EPICS_EPOCH,
        MAX_COMMAND_BACKLOG,
        MAX_ENUM_STATES,
        MAX_ENUM_STRING_SIZE,
        MAX_ID,
        MAX_STRING_SIZE,
        MAX_SUBSCRIPTION_BACKLOG,
        MAX_TOTAL_SUBSCRIPTION_BACKLOG,
        MAX_UDP_RECV,
        MAX_UNITS_SIZE,
        RESPONSIVENESS_TIMEOUT,
        SEARCH_MAX_DATAGRAM_BYTES,
        STALE_SEARCH_EXPIRATION,
        ConnStatus,
    )
    from ._known.conversions import (
        ensure_bytes,
        epics_timestamp_to_unix,
        ipv4_from_int32,
        ipv4_to_int32,
        timestamp_to_epics,
    )
    from ._known.ports import random_ports
    from ._known.record_names import (
        ChannelFilter,
        RecordAndField,
        RecordModifier,
        RecordModifiers,
        apply_arr_filter,
        parse_channel_filter,
        parse_record_field,
    )
    from ._known.requests import (
        EventAddRequestPayload,
        ThreadsafeCounter,
        batch_requests,
        get_command_class,
    )
    from ._known.type_sets import (
        char_types,
        enum_types,
        float_types,
        graphical_types,
        int_types,
        native_float_types,
        native_int_types,
        string_types,
    )
    from ._log import (
        AddressFilter,
        LogFormatter,
        PVFilter,
        RoleFilter,
        color_logs,
        config_caproto_logging,
        get_handler,
        set_handler,
    )
    from ._os.sockets import bcast_socket
    from ._protocol.arrays import Array, Backend, DbrStringArray, register_backend
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
        DBR_TYPES,
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
    from ._protocol.responses import EnumValue
    from ._protocol.roles import (
        AWAIT_CREATE_CHAN_RESPONSE,
        AWAIT_SEARCH_RESPONSE,
        AWAIT_VERSION_RESPONSE,
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
        SEND_SEARCH_REQUEST,
        SEND_SEARCH_RESPONSE,
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
    "._address_lists": """
        Protocol get_address_list get_beacon_address_list get_client_address_list
        get_local_address get_server_address_list
        """,
    "._addresses": "get_netifaces_addresses",
    "._environment": "ClientConfiguration ServerConfiguration get_environment_variables",
    "._errors": """
        AccessError CaprotoAttributeError CaprotoConversionError CaprotoError
        CaprotoKeyError CaprotoNetworkError CaprotoNotImplementedError CaprotoRuntimeError
        CaprotoTimeoutError CaprotoTypeError CaprotoValueError ContextDisconnectedError
        DeadCircuitError DisconnectedError ErrorResponseReceived Forbidden
        LocalProtocolError MessageError ProtocolError ReadError ReentrantCallError
        RemoteProtocolError SkipWrite SubscriptionError WriteError
        """,
    "._known.callbacks": "adapt_old_callback_signature",
    "._known.constants": """
        ConnStatus EPICS2UNIX_EPOCH EPICS_CA1_PORT EPICS_CA2_PORT EPICS_EPOCH
        MAX_COMMAND_BACKLOG MAX_ENUM_STATES MAX_ENUM_STRING_SIZE MAX_ID MAX_STRING_SIZE
        MAX_SUBSCRIPTION_BACKLOG MAX_TOTAL_SUBSCRIPTION_BACKLOG MAX_UDP_RECV MAX_UNITS_SIZE
        RESPONSIVENESS_TIMEOUT SEARCH_MAX_DATAGRAM_BYTES STALE_SEARCH_EXPIRATION
        """,
    "._known.conversions": """
        ensure_bytes epics_timestamp_to_unix ipv4_from_int32 ipv4_to_int32
        timestamp_to_epics
        """,
    "._known.ports": "random_ports",
    "._known.record_names": """
        ChannelFilter RecordAndField RecordModifier RecordModifiers apply_arr_filter
        parse_channel_filter parse_record_field
        """,
    "._known.requests": "EventAddRequestPayload ThreadsafeCounter batch_requests get_command_class",
    "._known.type_sets": """
        char_types enum_types float_types graphical_types int_types native_float_types
        native_int_types string_types
        """,
    "._log": """
        AddressFilter LogFormatter PVFilter RoleFilter color_logs config_caproto_logging
        get_handler set_handler
        """,
    "._os.sockets": "bcast_socket",
    "._protocol.arrays": "Array Backend DbrStringArray register_backend",
    "._protocol.broadcaster": "Broadcaster extract_address",
    "._protocol.channel_facts": "ChannelFacts",
    "._protocol.circuit": "VirtualCircuit",
    "._protocol.client_channel": "ClientChannel",
    "._protocol.commands": """
        AccessRightsResponse Beacon ClearChannelRequest ClearChannelResponse
        ClientNameRequest CreateChFailResponse CreateChanRequest CreateChanResponse
        EchoRequest EchoResponse ErrorResponse EventAddRequest EventAddResponse
        EventCancelRequest EventCancelResponse EventsOffRequest EventsOnRequest
        HostNameRequest NotFoundResponse ReadNotifyRequest ReadNotifyResponse ReadRequest
        ReadResponse ReadSyncRequest ReadSyncResponse RepeaterConfirmResponse
        RepeaterRegisterRequest SearchRequest SearchResponse ServerDisconnResponse
        VersionRequest VersionResponse WriteNotifyRequest WriteNotifyResponse WriteRequest
        """,
    "._protocol.constants": "DEFAULT_PROTOCOL_VERSION DO_REPLY MAX_RECORD_LENGTH NO_REPLY",
    "._protocol.dbr": """
        AccessRights AlarmSeverity AlarmStatus ChannelType DBR_CHAR DBR_CLASS_NAME
        DBR_CTRL_CHAR DBR_CTRL_DOUBLE DBR_CTRL_ENUM DBR_CTRL_FLOAT DBR_CTRL_INT
        DBR_CTRL_LONG DBR_CTRL_STRING DBR_DOUBLE DBR_ENUM DBR_FLOAT DBR_GR_CHAR
        DBR_GR_DOUBLE DBR_GR_ENUM DBR_GR_FLOAT DBR_GR_INT DBR_GR_LONG DBR_GR_STRING DBR_INT
        DBR_LONG DBR_PUT_ACKS DBR_PUT_ACKT DBR_STRING DBR_STSACK_STRING DBR_STS_CHAR
        DBR_STS_DOUBLE DBR_STS_ENUM DBR_STS_FLOAT DBR_STS_INT DBR_STS_LONG DBR_STS_STRING
        DBR_TIME_CHAR DBR_TIME_DOUBLE DBR_TIME_ENUM DBR_TIME_FLOAT DBR_TIME_INT
        DBR_TIME_LONG DBR_TIME_STRING DBR_TYPES SubscriptionType TimeStamp control_types
        field_types graphic_types native_type native_types status_types time_types
        """,
    "._protocol.framing": "OversizedMessage",
    "._protocol.headers": "ExtendedMessageHeader MessageHeader",
    "._protocol.message": "Message",
    "._protocol.responses": "EnumValue",
    "._protocol.roles": """
        AWAIT_CREATE_CHAN_RESPONSE AWAIT_SEARCH_RESPONSE AWAIT_VERSION_RESPONSE CLIENT
        CLOSED CONNECTED DISCONNECTED Direction FAILED IDLE MUST_CLOSE NEED_DATA REQUEST
        RESPONSE Role SEND_CREATE_CHAN_REQUEST SEND_CREATE_CHAN_RESPONSE SEND_SEARCH_REQUEST
        SEND_SEARCH_RESPONSE SEND_VERSION_REQUEST SEND_VERSION_RESPONSE SERVER Signal State
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
    "AWAIT_CREATE_CHAN_RESPONSE", "AWAIT_SEARCH_RESPONSE", "AWAIT_VERSION_RESPONSE",
    "AccessError", "AccessRights", "AccessRightsResponse", "AddressFilter", "AlarmSeverity",
    "AlarmStatus", "Array", "Backend", "Beacon", "Broadcaster", "CASeverity", "CAStatus",
    "CLIENT", "CLOSED", "CONNECTED", "CaprotoAttributeError", "CaprotoConversionError",
    "CaprotoError", "CaprotoKeyError", "CaprotoNetworkError", "CaprotoNotImplementedError",
    "CaprotoRuntimeError", "CaprotoTimeoutError", "CaprotoTypeError", "CaprotoValueError",
    "ChannelAlarm", "ChannelByte", "ChannelChar", "ChannelData", "ChannelDouble", "ChannelEnum",
    "ChannelFacts", "ChannelFilter", "ChannelFloat", "ChannelInteger", "ChannelNumeric",
    "ChannelShort", "ChannelString", "ChannelType", "ClearChannelRequest",
    "ClearChannelResponse", "ClientChannel", "ClientConfiguration", "ClientNameRequest",
    "ConnStatus", "ContextDisconnectedError", "CreateChFailResponse", "CreateChanRequest",
    "CreateChanResponse", "DBR_CHAR", "DBR_CLASS_NAME", "DBR_CTRL_CHAR", "DBR_CTRL_DOUBLE",
    "DBR_CTRL_ENUM", "DBR_CTRL_FLOAT", "DBR_CTRL_INT", "DBR_CTRL_LONG", "DBR_CTRL_STRING",
    "DBR_DOUBLE", "DBR_ENUM", "DBR_FLOAT", "DBR_GR_CHAR", "DBR_GR_DOUBLE", "DBR_GR_ENUM",
    "DBR_GR_FLOAT", "DBR_GR_INT", "DBR_GR_LONG", "DBR_GR_STRING", "DBR_INT", "DBR_LONG",
    "DBR_PUT_ACKS", "DBR_PUT_ACKT", "DBR_STRING", "DBR_STSACK_STRING", "DBR_STS_CHAR",
    "DBR_STS_DOUBLE", "DBR_STS_ENUM", "DBR_STS_FLOAT", "DBR_STS_INT", "DBR_STS_LONG",
    "DBR_STS_STRING", "DBR_TIME_CHAR", "DBR_TIME_DOUBLE", "DBR_TIME_ENUM", "DBR_TIME_FLOAT",
    "DBR_TIME_INT", "DBR_TIME_LONG", "DBR_TIME_STRING", "DBR_TYPES", "DEFAULT_PROTOCOL_VERSION",
    "DISCONNECTED", "DO_REPLY", "DbrStringArray", "DeadCircuitError", "Direction",
    "DisconnectedError", "EPICS2UNIX_EPOCH", "EPICS_CA1_PORT", "EPICS_CA2_PORT", "EPICS_EPOCH",
    "EchoRequest", "EchoResponse", "EnumValue", "ErrorResponse", "ErrorResponseReceived",
    "EventAddRequest", "EventAddRequestPayload", "EventAddResponse", "EventCancelRequest",
    "EventCancelResponse", "EventsOffRequest", "EventsOnRequest", "ExtendedMessageHeader",
    "FAILED", "Forbidden", "HostNameRequest", "IDLE", "LocalProtocolError", "LogFormatter",
    "MAX_COMMAND_BACKLOG", "MAX_ENUM_STATES", "MAX_ENUM_STRING_SIZE", "MAX_ID",
    "MAX_RECORD_LENGTH", "MAX_STRING_SIZE", "MAX_SUBSCRIPTION_BACKLOG",
    "MAX_TOTAL_SUBSCRIPTION_BACKLOG", "MAX_UDP_RECV", "MAX_UNITS_SIZE", "MUST_CLOSE", "Message",
    "MessageError", "MessageHeader", "NEED_DATA", "NO_REPLY", "NotFoundResponse",
    "OversizedMessage", "PVFilter", "Protocol", "ProtocolError", "REQUEST", "RESPONSE",
    "RESPONSIVENESS_TIMEOUT", "ReadError", "ReadNotifyRequest", "ReadNotifyResponse",
    "ReadRequest", "ReadResponse", "ReadSyncRequest", "ReadSyncResponse", "RecordAndField",
    "RecordModifier", "RecordModifiers", "ReentrantCallError", "RemoteProtocolError",
    "RepeaterConfirmResponse", "RepeaterRegisterRequest", "Role", "RoleFilter",
    "SEARCH_MAX_DATAGRAM_BYTES", "SEND_CREATE_CHAN_REQUEST", "SEND_CREATE_CHAN_RESPONSE",
    "SEND_SEARCH_REQUEST", "SEND_SEARCH_RESPONSE", "SEND_VERSION_REQUEST",
    "SEND_VERSION_RESPONSE", "SERVER", "STALE_SEARCH_EXPIRATION", "SearchRequest",
    "SearchResponse", "ServerChannel", "ServerConfiguration", "ServerDisconnResponse", "Signal",
    "SkipWrite", "State", "SubscriptionError", "SubscriptionType", "ThreadsafeCounter",
    "TimeStamp", "VersionRequest", "VersionResponse", "VirtualCircuit", "WriteError",
    "WriteNotifyRequest", "WriteNotifyResponse", "WriteRequest", "adapt_old_callback_signature",
    "apply_arr_filter", "backend", "batch_requests", "bcast_socket", "char_types", "color_logs",
    "config_caproto_logging", "control_types", "ensure_bytes", "enum_types",
    "epics_timestamp_to_unix", "extract_address", "field_types", "float_types",
    "get_address_list", "get_beacon_address_list", "get_client_address_list",
    "get_command_class", "get_environment_variables", "get_handler", "get_local_address",
    "get_netifaces_addresses", "get_server_address_list", "graphic_types", "graphical_types",
    "int_types", "ipv4_from_int32", "ipv4_to_int32", "native_float_types", "native_int_types",
    "native_type", "native_types", "parse_channel_filter", "parse_record_field", "random_ports",
    "register_backend", "select_backend", "set_handler", "status_types", "string_types",
    "time_types", "timestamp_to_epics",
]


if not _faces.TYPE_CHECKING:  # which would take it for any name
    __getattr__ = _faces.importer(__name__, _HOMES, _SUBMODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# Whatever is imported needs the errors, and tracebacks show where an error comes from.
_faces.take(__name__, _errors, _HOMES["._errors"].split())
