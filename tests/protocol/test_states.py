"""Every (state, command) pair is either legal or the documented error."""
from __future__ import annotations

import pytest

from caproto import (
    AWAIT_CREATE_CHAN_RESPONSE,
    CLIENT,
    CLOSED,
    CONNECTED,
    DISCONNECTED,
    FAILED,
    IDLE,
    MUST_CLOSE,
    SEND_CREATE_CHAN_REQUEST,
    SEND_CREATE_CHAN_RESPONSE,
    SEND_VERSION_REQUEST,
    SEND_VERSION_RESPONSE,
    SERVER,
    AccessRightsResponse,
    ClearChannelRequest,
    ClearChannelResponse,
    CreateChanRequest,
    CreateChanResponse,
    CreateChFailResponse,
    EventAddRequest,
    EventAddResponse,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ServerDisconnResponse,
    VersionRequest,
    VersionResponse,
)
from caproto._protocol.commands import CIRCUIT_REQUESTS, CIRCUIT_RESPONSES
from caproto._protocol.states import (
    CHANNEL,
    CHANNEL_PAIRS,
    CIRCUIT,
    CIRCUIT_PAIRS,
    CLOSED_CHANNEL,
    LOST_CIRCUIT,
    NEW_CHANNEL,
    NEW_CIRCUIT,
    OPEN_CHANNEL,
    OPEN_CIRCUIT,
    STEADY,
)

ALL = CIRCUIT_REQUESTS + CIRCUIT_RESPONSES


def walk(pair, *commands):
    for command in commands:
        pair = pair.after[command]
    return pair.states[CLIENT], pair.states[SERVER]


LIVES = [
    ((), (SEND_CREATE_CHAN_REQUEST, IDLE)),
    ((CreateChanRequest,), (AWAIT_CREATE_CHAN_RESPONSE, SEND_CREATE_CHAN_RESPONSE)),
    ((CreateChanRequest, CreateChFailResponse), (FAILED, FAILED)),
    ((CreateChanRequest, ServerDisconnResponse), (CLOSED, CLOSED)),
    (
        (CreateChanRequest, AccessRightsResponse),
        (AWAIT_CREATE_CHAN_RESPONSE, SEND_CREATE_CHAN_RESPONSE),
    ),
    ((CreateChanRequest, AccessRightsResponse, CreateChanResponse), (CONNECTED, CONNECTED)),
    ((CreateChanRequest, CreateChanResponse, AccessRightsResponse), (CONNECTED, CONNECTED)),
    ((CreateChanRequest, CreateChanResponse, CreateChanResponse), (CONNECTED, CONNECTED)),
    (
        (CreateChanRequest, CreateChanResponse, EventAddRequest, ClearChannelRequest),
        (MUST_CLOSE, MUST_CLOSE),
    ),
    (
        (CreateChanRequest, CreateChanResponse, ClearChannelRequest, EventAddResponse,
         ReadNotifyResponse, AccessRightsResponse, ClearChannelResponse),
        (CLOSED, CLOSED),
    ),
    (
        (CreateChanRequest, CreateChanResponse, ClearChannelRequest, ServerDisconnResponse),
        (CLOSED, CLOSED),
    ),
    ((CreateChanRequest, CreateChanResponse, ServerDisconnResponse), (CLOSED, CLOSED)),
]


@pytest.mark.parametrize(("commands", "states"), LIVES)
def test_lives_of_a_channel(commands, states):
    assert walk(NEW_CHANNEL, *commands) == states


FORBIDDEN = [
    ((), CreateChanResponse),
    ((), ReadNotifyRequest),
    ((), ClearChannelRequest),
    ((CreateChanRequest,), CreateChanRequest),
    ((CreateChanRequest,), ReadNotifyRequest),
    ((CreateChanRequest,), ReadNotifyResponse),
    ((CreateChanRequest,), ClearChannelRequest),
    ((CreateChanRequest, CreateChanResponse), CreateChFailResponse),
    ((CreateChanRequest, CreateChanResponse), ClearChannelResponse),
    ((CreateChanRequest, CreateChanResponse, ClearChannelRequest), ReadNotifyRequest),
    ((CreateChanRequest, CreateChanResponse, ClearChannelRequest), ClearChannelRequest),
    ((CreateChanRequest, CreateChFailResponse), CreateChanRequest),
    ((CreateChanRequest, CreateChanResponse, ServerDisconnResponse), ClearChannelRequest),
]


@pytest.mark.parametrize(("commands", "forbidden"), FORBIDDEN)
def test_what_a_channel_forbids(commands, forbidden):
    pair = NEW_CHANNEL
    for command in commands:
        pair = pair.after[command]
    assert forbidden not in pair.after


def test_lives_of_a_circuit():
    """The server's version may come first, late or never."""
    assert walk(NEW_CIRCUIT) == (SEND_VERSION_REQUEST, SEND_VERSION_RESPONSE)
    assert walk(NEW_CIRCUIT, VersionResponse) == (SEND_VERSION_REQUEST, CONNECTED)
    assert walk(NEW_CIRCUIT, VersionRequest) == (CONNECTED, SEND_VERSION_RESPONSE)
    assert walk(NEW_CIRCUIT, VersionResponse, VersionRequest) == (CONNECTED, CONNECTED)
    late = VersionRequest, CreateChanRequest, AccessRightsResponse, VersionResponse
    assert walk(NEW_CIRCUIT, *late) == (CONNECTED, CONNECTED)
    assert walk(NEW_CIRCUIT, VersionRequest, CreateChanResponse) == (CONNECTED, CONNECTED)


def test_nothing_comes_before_the_clients_version():
    allowed = {cls for cls in ALL if cls in NEW_CIRCUIT.after}
    assert {cls.ID for cls in allowed} == {0, 11}


def test_a_circuit_in_use_stays_so():
    assert OPEN_CIRCUIT.after == dict.fromkeys(ALL, OPEN_CIRCUIT)


def test_the_end_is_the_end():
    assert walk(LOST_CIRCUIT) == (DISCONNECTED, DISCONNECTED)
    assert not LOST_CIRCUIT.after and not CLOSED_CHANNEL.after
    assert not CHANNEL_PAIRS[FAILED, FAILED].after


@pytest.mark.parametrize(
    ("tables", "pairs"), [(CIRCUIT, CIRCUIT_PAIRS), (CHANNEL, CHANNEL_PAIRS)]
)
def test_the_machine_of_both_ends_is_what_the_tables_say(tables, pairs):
    for (client, server), pair in pairs.items():
        for command in ALL:
            ends = tables[CLIENT][client].get(command), tables[SERVER][server].get(command)
            if command in pair.after:
                after = pair.after[command]
                assert (after.states[CLIENT], after.states[SERVER]) == ends
                assert pairs[ends] is after, "one object for each pair"
            else:
                assert None in ends


def test_every_state_but_the_lost_one_is_reachable():
    for role in CLIENT, SERVER:
        assert {j.states[role] for j in CHANNEL_PAIRS.values()} == set(CHANNEL[role])
        assert {j.states[role] for j in CIRCUIT_PAIRS.values()} == set(CIRCUIT[role]) - {
            DISCONNECTED
        }


def test_the_tables_name_states_that_exist():
    for tables in CIRCUIT, CHANNEL:
        for role in CLIENT, SERVER:
            for transitions in tables[role].values():
                assert set(transitions.values()) <= set(tables[role])


def test_steady_commands_change_nothing():
    assert STEADY >= {ReadNotifyRequest, ReadNotifyResponse, EventAddResponse}
    assert not STEADY & {ClearChannelRequest, ServerDisconnResponse, CreateChanRequest}
    for command in STEADY:
        assert OPEN_CHANNEL.after[command] is OPEN_CHANNEL
        assert OPEN_CIRCUIT.after[command] is OPEN_CIRCUIT


def test_states_are_printed_by_name():
    assert repr(NEW_CHANNEL) == "client SEND_CREATE_CHAN_REQUEST, server IDLE"
