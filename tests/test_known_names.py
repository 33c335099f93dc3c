"""Programs for caproto 1.x: every name of the core that they import, and what it does for them.

The details are tested with each module; here each name is used once, in the way they use it.
"""
from __future__ import annotations

import array
import gc
import importlib
import io
import json
import logging
import socket
from datetime import datetime, timezone
from pathlib import Path

import pytest

import caproto as ca
from tests.harness.each_case import each_case

NAMES = """
    MAX_ID EPICS_CA1_PORT EPICS_CA2_PORT EPICS2UNIX_EPOCH EPICS_EPOCH MAX_STRING_SIZE
    MAX_UNITS_SIZE MAX_ENUM_STRING_SIZE MAX_ENUM_STATES MAX_UDP_RECV SEARCH_MAX_DATAGRAM_BYTES
    STALE_SEARCH_EXPIRATION RESPONSIVENESS_TIMEOUT MAX_SUBSCRIPTION_BACKLOG
    MAX_TOTAL_SUBSCRIPTION_BACKLOG MAX_COMMAND_BACKLOG
    SEND_SEARCH_REQUEST AWAIT_SEARCH_RESPONSE SEND_SEARCH_RESPONSE AWAIT_VERSION_RESPONSE
    ConnStatus ChannelFilter RecordModifier RecordAndField RecordModifiers parse_record_field
    EventAddRequestPayload
    Array DbrStringArray Backend register_backend select_backend backend DBR_TYPES
    char_types string_types int_types float_types enum_types graphical_types native_int_types
    native_float_types
    get_local_address ensure_bytes random_ports batch_requests get_command_class ipv4_to_int32
    ipv4_from_int32 epics_timestamp_to_unix timestamp_to_epics apply_arr_filter
    adapt_old_callback_signature color_logs get_handler bcast_socket
    ThreadsafeCounter CaprotoConversionError SkipWrite Forbidden Protocol
    get_address_list get_client_address_list get_server_address_list get_beacon_address_list
    LogFormatter TimeStamp CAStatus ClientChannel ServerChannel VirtualCircuit Broadcaster
""".split()
ADDRESS = ("10.0.0.1", 5064)


@each_case("name", NAMES)
def test_the_name_is_public(name):
    assert name in ca.__all__ and name in dir(ca)
    scope: dict[str, object] = {}
    exec(f"from caproto import {name}", scope)
    assert scope[name] is getattr(ca, name)


def test_the_version_is_that_of_the_distribution():
    settings = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert ca.__version__ == "2.0.0.dev0"
    assert 'version = { attr = "caproto.__version__" }' in settings


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("SEND_", "AWAIT_"))])
def test_states_are_singletons_that_print_as_their_names(name):
    state = getattr(ca, name)
    assert state is getattr(importlib.import_module("caproto"), name)
    assert repr(state) == name and isinstance(state, ca.State)


def test_a_client_and_a_server_as_a_program_drives_them():
    """Made by hand: both circuits, both channels, every argument in the known order."""
    client = ca.VirtualCircuit(ca.CLIENT, ADDRESS, 0)
    server = ca.VirtualCircuit(ca.SERVER, ("10.0.0.2", 40000), None)

    def carry(sender, receiver, *commands):
        received, _ = receiver.recv(*sender.send(*commands, extra={"pv": "x"}))
        for command in received:
            receiver.process_command(command)
        return received

    mine = ca.ClientChannel("x", client, 7, string_encoding="latin-1")
    carry(client, server, mine.version(), mine.host_name("here"), mine.client_name("me"))
    other = ca.ServerChannel("x", server, 7, string_encoding="latin-1")
    carry(server, client, other.version())
    carry(client, server, mine.create())
    carry(server, client, other.create(ca.ChannelType.DOUBLE, 2, 70))
    assert set(mine.states.values()) == set(other.states.values()) == {ca.CONNECTED}

    time_double = ca.ChannelType.TIME_DOUBLE
    carry(client, server, mine.subscribe(time_double, 1, 3, 0.0, 0.0, 0.0, 1))
    assert list(mine.subscriptions) == list(other.subscriptions) == [3]
    metadata = 0, 0, ca.TimeStamp(1, 2)
    (update,) = carry(
        server, client, other.subscribe([1.5], 3, time_double, 1, 1, metadata=metadata)
    )
    assert update.metadata.to_dict()["timestamp"] == ca.TimeStamp(1, 2).timestamp
    (read,) = carry(client, server, mine.read(time_double, 1, 4, True))
    (reply,) = carry(
        server, client, other.read([2.5], read.ioid, time_double, 1, 1, metadata=metadata)
    )
    assert reply.data.tolist() == [2.5] and reply.status.name == "ECA_NORMAL"
    (write,) = carry(client, server, mine.write([1, 2], ca.ChannelType.DOUBLE, 2, None, 5, True))
    carry(server, client, other.write(write.ioid))

    client.process_command(client.disconnect())
    for command in server.recv(b"")[0]:
        server.process_command(command)
    assert {*client.states.values(), *server.states.values()} == {ca.DISCONNECTED}
    with pytest.raises(ca.CaprotoRuntimeError):
        ca.VirtualCircuit(ca.CLIENT, ADDRESS, None)
    assert client == ca.VirtualCircuit(ca.CLIENT, ADDRESS, 0)
    with pytest.raises(ca.LocalProtocolError):
        ca.VirtualCircuit(ca.CLIENT, ADDRESS, 0).send(ca.VersionRequest(1, 13))
    assert ca.CreateChanResponse(20, 1, 1, 1).data_type is time_double


def test_a_broadcaster_as_a_program_drives_it():
    broadcaster = ca.Broadcaster(ca.CLIENT)
    confirmation = bytes(ca.RepeaterConfirmResponse("127.0.0.1"))
    commands = broadcaster.recv(byteslike=confirmation, address=("127.0.0.1", 5065))
    broadcaster.process_commands(commands)
    assert broadcaster.registered and broadcaster.our_addresses == broadcaster.their_addresses == []
    broadcaster.disconnect()
    assert not broadcaster.registered


def test_structures_and_arrays():
    assert ca.DBR_TYPES[ca.ChannelType.LONG](5).to_dict() == {"value": 5}
    assert ca.DBR_LONG(5).value == 5
    timed = ca.DBR_TIME_DOUBLE(1, 0, ca.TimeStamp(1, 500_000_000))
    assert json.loads(json.dumps(timed.to_dict())) == {
        "status": 1, "severity": 0, "timestamp": 631152001.5
    }
    assert isinstance(ca.Array("d", [1.0]), array.array)
    assert ca.DbrStringArray.frombuffer(ca.DbrStringArray([b"a"]).tobytes()) == [b"a"]
    name = ca.backend.backend_name
    assert isinstance(name, str)
    ca.select_backend(name)
    assert ca.backend.backend_name == name
    assert ca.Backend._fields[:2] == ("name", "convert_values")
    with pytest.raises(ca.CaprotoTypeError):
        ca.register_backend(3)


def test_names_and_filters():
    assert ca.parse_record_field("X.DESC$") == ca.RecordAndField(
        "X.DESC", "X", "DESC", ca.RecordModifier(ca.RecordModifiers.long_string, None)
    )
    arr = ca.parse_channel_filter('{"arr":{"s":1,"e":2}}').arr
    assert ca.apply_arr_filter(arr, [5, 6, 7, 8]) == [6, 7]
    assert ca.ChannelFilter(None, None, arr, None).arr is arr


def test_status_name_description_and_number():
    response = ca.WriteNotifyResponse(6, 1, ca.CAStatus.ECA_TIMEOUT, 1)
    assert response.status.name == "ECA_TIMEOUT" and response.status == 80
    assert (response.status.code, response.status.code_with_severity) == (10, 80)
    assert ca.CAStatus.ECA_TIMEOUT.value.description == response.status.description
    assert response.status.severity is ca.CASeverity.WARNING and not response.status.success


def test_times_and_numbers():
    stamp = ca.TimeStamp.from_unix_timestamp(631152001.5)
    assert (stamp.secondsSinceEpoch, stamp.nanoSeconds) == (1, 500_000_000)
    assert ca.epics_timestamp_to_unix(*ca.timestamp_to_epics(stamp.timestamp)) == stamp.timestamp
    assert ca.timestamp_to_epics(datetime(1990, 1, 1, tzinfo=timezone.utc)) == (0, 0)
    assert ca.ipv4_from_int32(ca.ipv4_to_int32(ca.get_local_address())) == ca.get_local_address()
    assert ca.ensure_bytes("a") == b"a\0"


def test_lists_and_sockets():
    assert ca.get_server_address_list(protocol=ca.Protocol.ChannelAccess)
    with ca.bcast_socket(socket) as sock:
        assert sock.type == socket.SOCK_DGRAM
    assert len(list(ca.random_ports(3))) == 3


def test_requests_and_ids():
    request = ca.VersionRequest(0, 13)
    assert [list(bundle) for bundle in ca.batch_requests([request, request], 16)] == [[request]] * 2
    assert ca.get_command_class(ca.CLIENT, request.header) is ca.VersionRequest
    assert ca.ThreadsafeCounter(initial_value=-1, dont_clash_with={0})() == 1
    assert len(bytes(ca.EventAddRequestPayload(0.0, 0.0, 0.0, 1))) == 16


def test_callbacks_of_one_argument():
    seen = []

    def old(response):
        seen.append(response)

    ca.adapt_old_callback_signature(old, set())("subscription", "response")
    gc.collect()
    assert seen == ["response"]


@pytest.mark.usefixtures("loggers_as_before")
def test_logs():
    handler = ca.config_caproto_logging(file=io.StringIO())
    handler.setFormatter(
        ca.LogFormatter(
            fmt="%(color)s%(message)s%(end_color)s", datefmt="%H", style="%",
            colors={logging.ERROR: 2},
        )
    )
    ca.color_logs(True)
    record = logging.LogRecord("caproto", logging.ERROR, "f", 1, "text", (), None)
    assert ca.get_handler() is handler and handler.format(record) == "\x1b[32mtext\x1b[0m"


@pytest.mark.parametrize("error, base", [
    (ca.CaprotoConversionError, ca.CaprotoValueError), (ca.SkipWrite, ca.CaprotoError),
    (ca.Forbidden, ca.CaprotoError),
])
def test_errors(error, base):
    assert issubclass(error, base)
    with pytest.raises(base, match="why"):
        raise error("why")


def test_sets_of_types():
    assert ca.ChannelType.DOUBLE in ca.native_float_types & ca.float_types
    assert ca.ChannelType.INT in ca.native_int_types & ca.int_types
    assert ca.ChannelType.GR_ENUM in ca.graphical_types & ca.enum_types
    assert ca.ChannelType.CHAR in ca.char_types and ca.ChannelType.STRING in ca.string_types


def test_sizes():
    assert ca.MAX_STRING_SIZE == len(bytes(ca.DBR_STRING()))
    assert ca.MAX_UNITS_SIZE == ca.DBR_CTRL_LONG.units.size
    with pytest.raises(ca.CaprotoError):
        ca.DBR_CTRL_ENUM(enum_strings=[b"x"] * (ca.MAX_ENUM_STATES + 1))
    with pytest.raises(ca.CaprotoError):
        ca.DBR_CTRL_ENUM(enum_strings=[b"x" * (ca.MAX_ENUM_STRING_SIZE + 1)])
