"""The public surface: one list for each face, complete, in order, under its public name."""
from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys

import pytest

import caproto

# Names that scripts and other packages rely on. They may be added to, never taken away.
PROMISED = {
    "caproto": """
        VersionRequest VersionResponse SearchRequest SearchResponse NotFoundResponse Beacon
        RepeaterRegisterRequest RepeaterConfirmResponse CreateChanRequest CreateChanResponse
        CreateChFailResponse AccessRightsResponse ClientNameRequest HostNameRequest
        ClearChannelRequest ClearChannelResponse ServerDisconnResponse ErrorResponse
        ReadNotifyRequest ReadNotifyResponse ReadRequest ReadResponse WriteNotifyRequest
        WriteNotifyResponse WriteRequest EventAddRequest EventAddResponse EventCancelRequest
        EventCancelResponse EchoRequest EchoResponse EventsOffRequest EventsOnRequest
        ReadSyncRequest MessageHeader ExtendedMessageHeader
        VirtualCircuit Broadcaster ClientChannel ServerChannel
        CLIENT SERVER REQUEST RESPONSE IDLE CONNECTED MUST_CLOSE CLOSED FAILED DISCONNECTED
        NEED_DATA SEND_CREATE_CHAN_REQUEST AWAIT_CREATE_CHAN_RESPONSE SEND_CREATE_CHAN_RESPONSE
        ChannelType AccessRights AlarmStatus AlarmSeverity CASeverity CAStatus SubscriptionType
        TimeStamp DBR_STRING DBR_INT DBR_FLOAT DBR_ENUM DBR_CHAR DBR_LONG DBR_DOUBLE
        DBR_STS_DOUBLE DBR_TIME_DOUBLE DBR_TIME_STRING DBR_GR_INT DBR_CTRL_ENUM DBR_CTRL_DOUBLE
        DBR_PUT_ACKT DBR_PUT_ACKS DBR_STSACK_STRING DBR_CLASS_NAME
        field_types native_type native_types status_types time_types graphic_types control_types
        get_environment_variables get_address_list get_client_address_list
        get_server_address_list get_beacon_address_list get_netifaces_addresses bcast_socket
        extract_address parse_record_field parse_channel_filter RecordModifiers MAX_RECORD_LENGTH
        DEFAULT_PROTOCOL_VERSION
        ChannelInteger ChannelShort ChannelFloat ChannelDouble ChannelByte ChannelChar ChannelEnum
        ChannelString ChannelAlarm ChannelData ChannelNumeric
        backend select_backend config_caproto_logging set_handler
        CaprotoError CaprotoKeyError CaprotoValueError CaprotoTypeError CaprotoRuntimeError
        CaprotoNotImplementedError CaprotoAttributeError CaprotoTimeoutError CaprotoNetworkError
        ProtocolError LocalProtocolError RemoteProtocolError ErrorResponseReceived
        """,
    "caproto.threading.client": """
        SharedBroadcaster Context PV Subscription VirtualCircuitManager Batch
        ContextDisconnectedError DisconnectedError DeadCircuitError
        """,
    "caproto.sync.client": "read write subscribe block interrupt read_write_read",
    "caproto.sync.repeater": "run spawn_repeater",
    "caproto.sync.shark": "shark",
    "caproto.server": "PVGroup pvproperty SubGroup ioc_arg_parser run get_pv_pair_wrapper",
}
FACES = sorted(PROMISED)
#: Those with code of their own, and so with imports that are not for users.
WITH_CODE = {"caproto.sync.repeater", "caproto.sync.shark"}


@pytest.mark.parametrize("name", FACES)
def test_promises_are_kept(name):
    face = importlib.import_module(name)
    assert not set(PROMISED[name].split()) - set(face.__all__)


@pytest.mark.parametrize("name", FACES)
def test_the_list_is_in_order_and_true(name):
    face = importlib.import_module(name)
    assert list(face.__all__) == sorted(set(face.__all__))
    assert not [exported for exported in face.__all__ if not hasattr(face, exported)]


def test_the_core_has_one_set_of_names():
    """For the type checker, for the import at the first use, and for ``import *``."""
    names = caproto.__all__
    homes = [name for home in caproto._HOMES.values() for name in home.split()]
    tree = ast.parse(inspect.getsource(caproto))
    checked = {
        (node.module, alias.name)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted([*homes, *caproto._SUBMODULES]) == sorted(names)
    assert checked == {
        *((home[1:], name) for home, text in caproto._HOMES.items() for name in text.split()),
        *((None, name) for name in caproto._SUBMODULES),
    }


def test_the_core_lists_its_names_before_they_are_imported():
    code = "import caproto; assert 'VirtualCircuit' not in vars(caproto); print(*dir(caproto))"
    printed = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert set(caproto.__all__) <= set(printed.split())


def test_a_name_that_the_core_does_not_have():
    with pytest.raises(AttributeError, match="module 'caproto' has no attribute 'Nonsense'"):
        caproto.Nonsense  # noqa: B018


@pytest.mark.parametrize("name", sorted(set(FACES) - WITH_CODE))
def test_nothing_public_is_missing_from_the_list(name):
    face = importlib.import_module(name)
    stray = {
        text
        for text, thing in vars(face).items()
        if not text.startswith("_")
        and not inspect.ismodule(thing)
        and text != "annotations"
        and text not in face.__all__
    }
    assert not stray


@pytest.mark.parametrize("name", FACES)
def test_things_say_that_they_come_from_the_face(name):
    """So reprs, tracebacks and the manual show the place from which users import."""
    face = importlib.import_module(name)
    wrong = {
        exported: thing.__module__
        for exported, thing in ((text, getattr(face, text)) for text in face.__all__)
        if (inspect.isclass(thing) or inspect.isfunction(thing))
        and any(part.startswith("_") for part in thing.__module__.split("."))
    }
    assert not wrong


@pytest.mark.parametrize("name", FACES)
def test_public_things_are_documented(name):
    face = importlib.import_module(name)
    silent = [
        exported
        for exported in face.__all__
        if (inspect.isclass(getattr(face, exported)) or inspect.isroutine(getattr(face, exported)))
        and not (getattr(face, exported).__doc__ or "").strip()
    ]
    assert not silent
