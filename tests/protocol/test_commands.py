"""The tables of commands, and every recorded message."""
from __future__ import annotations

import math

from caproto import (
    CLIENT,
    REQUEST,
    RESPONSE,
    SERVER,
    EventCancelResponse,
    Message,
    WriteNotifyRequest,
    WriteRequest,
)
from caproto._protocol.commands import (
    CIRCUIT_COMMANDS,
    CIRCUIT_REQUESTS,
    CIRCUIT_RESPONSES,
    COMMANDS,
    DATAGRAM_COMMANDS,
)
from caproto._protocol.framing import CIRCUIT_CONSTRUCTORS, read_datagram, split
from caproto._protocol.headers import needs_extension
from tests import vectors_support
from tests.harness.each_case import each_case

SPEAKER = {"c2s": CLIENT, "s2c": SERVER}
MESSAGES = vectors_support.messages()


def parse(vector) -> Message:
    constructors = CIRCUIT_CONSTRUCTORS[SPEAKER[vector.direction]]
    out: list[Message] = []
    if "cancel confirmation" in str(vector.decoded.get("note")):
        constructors = {**constructors, 1: EventCancelResponse.from_wire}
    assert split(vector.data, constructors, constructors, None, out) == (len(vector.data), 16)
    (command,) = out
    return command


def test_every_command_is_in_its_table():
    for role, direction in (CLIENT, REQUEST), (SERVER, RESPONSE):
        for number, cls in COMMANDS[role].items():
            assert cls.ID == number and cls.DIRECTION is direction
            assert cls.__slots__ == () and not hasattr(cls.__new__(cls), "__dict__")
    assert set(CIRCUIT_RESPONSES) - set(CIRCUIT_COMMANDS[SERVER].values()) == {EventCancelResponse}
    assert set(CIRCUIT_REQUESTS) == set(CIRCUIT_COMMANDS[CLIENT].values())
    assert COMMANDS[SERVER][1] is not EventCancelResponse


def test_numbers_that_nobody_may_send():
    """Obsolete ones, and those that go the other way; peers close the circuit for them."""
    assert not {5, 7, 16, 25, 28} & (COMMANDS[CLIENT].keys() | COMMANDS[SERVER].keys())
    assert not {2, 4, 8, 9, 13, 17, 20, 21, 24} & CIRCUIT_COMMANDS[SERVER].keys()
    assert not {11, 13, 14, 17, 22, 24, 26, 27} & CIRCUIT_COMMANDS[CLIENT].keys()
    assert DATAGRAM_COMMANDS[SERVER].keys() == {0, 6, 11, 13, 14, 17}


@each_case("vector", MESSAGES, ids=lambda vector: vector.name)
def test_recorded_messages_decode(vector):
    command = parse(vector)
    assert command.fields == vector.fields
    assert bytes(command.payload) == vector.payload
    for key, expected in vector.decoded.items():
        if key in CHECKS:
            assert CHECKS[key](command) == expected, key
    if "data" in vector.decoded:
        assert same(values(command), vector.decoded["data"])
    if "data_first" in vector.decoded:
        found = values(command)
        first, last = vector.decoded["data_first"], vector.decoded["data_last"]
        assert found[:len(first)] == first and found[-len(last):] == last
    for name, expected in (vector.decoded.get("metadata") or {}).items():
        if name in METADATA:
            assert getattr(command.metadata, METADATA[name]) == expected, name


CHECKS = {
    "cid": lambda c: c.cid,
    "sid": lambda c: c.sid,
    "native_type": lambda c: c.data_type,
    "native_count": lambda c: c.data_count,
    "dbr_type": lambda c: c.data_type,
    "count": lambda c: c.data_count,
    "status": lambda c: c.status,
    "status_name": lambda c: c.status.name,
    "minor_version": lambda c: c.version,
    "client_minor_version": lambda c: c.version,
    "priority": lambda c: c.priority,
    "name": lambda c: c.name,
    "mask": lambda c: c.mask,
    "subscription_id": lambda c: c.subscriptionid,
    "tcp_port": lambda c: c.port,
    "server_minor_version": lambda c: c.version,
    "reply_flag": lambda c: {5: "DONT_REPLY", 10: "DO_REPLY"}[c.reply],
    "read": lambda c: bool(c.access_rights & 1),
    "write": lambda c: bool(c.access_rights & 2),
    "text": lambda c: c.error_message if hasattr(c, "error_message") else c.name,
    "sequence": lambda c: c.sequence,
}
METADATA = {"status": "status", "severity": "severity"}


def values(command) -> list:
    if command.data_type.name.endswith(("STRING", "CLASS_NAME")):
        return command.strings
    return command.data.tolist()


def same(found: list, expected: list) -> bool:
    """NaN and infinities are texts in the recorded values."""
    return len(found) == len(expected) and all(
        f == e or (isinstance(e, str) and (math.isnan(f) if e == "nan" else f == float(e)))
        for f, e in zip(found, expected)
    )


@each_case("vector", MESSAGES, ids=lambda vector: vector.name)
def test_recorded_messages_become_the_same_bytes(vector):
    """Except that real servers sometimes use an extended header without need."""
    command = parse(vector)
    if vector.header["extended"] and not needs_extension(vector.fields):
        assert bytes(command)[16:] == vector.payload
    else:
        assert bytes(command) == vector.data


@each_case(
    "vector",
    [v for v in MESSAGES if v.direction == "c2s" or not v.payload],
    ids=lambda vector: vector.name,
)
def test_the_constructors_make_the_recorded_bytes(vector):
    """Where the protocol determines them: what libca sends, and replies without a value."""
    command = parse(vector)
    arguments = {name: getattr(command, name) for name in command._arguments}
    if "metadata" in arguments:
        arguments["metadata"] = None
    again = type(command)(**arguments)
    is_write = isinstance(command, (WriteRequest, WriteNotifyRequest))
    if is_write and again.payload != command.payload:
        # libca leaves what was in its buffer behind the end of texts, and in the padding.
        assert values(again) == values(command) and len(again) == len(command)
        assert again.fields == command.fields
    else:
        assert again == command
        if needs_extension(vector.fields) or not vector.header["extended"]:
            assert bytes(again) == vector.data


DATAGRAMS = vectors_support.datagrams()


@each_case("vector", DATAGRAMS, ids=lambda vector: vector.name)
def test_recorded_datagrams(vector):
    commands, error = read_datagram(vector.data, ("10.0.0.1", 5064), SPEAKER[vector.direction])
    assert error is None
    assert [command.fields[0] for command in commands] == [
        message["header"]["command"] for message in vector.messages
    ]
    for command, message in zip(commands, vector.messages):
        for key, expected in message["decoded"].items():
            if key in CHECKS:
                assert CHECKS[key](command) == expected, key
        arguments = {name: getattr(command, name) for name in command._arguments}
        assert type(command)(**arguments) == command
    assert b"".join(map(bytes, commands)) == vector.data
