"""The two state machines of Channel Access, as tables: one for a circuit, one for a channel.

Everything that can change a state is in this file, and is the same for both roles. Each
machine has two ends, CLIENT and SERVER. Every command goes through both ends, whoever sends it: it
is legal if both tables have it, and then both ends move.

Circuit
    The client must send its version before anything else. The server sends its own as soon as it
    has accepted the connection, which is not a reply: it may come first, late, or (servers below
    4.11) never. So anything a server says moves its end to CONNECTED. DISCONNECTED is final, and
    reached by no command but by the loss of the connection; it closes the channels.

Channel
    The client asks for it and waits; access rights may come before or after the answer. While both
    ends are CONNECTED nothing but clearing, or the server dropping the channel, changes a state.
    After ClearChannelRequest replies that were already under way still arrive: they are legal in
    MUST_CLOSE. CLOSED and FAILED are final.

At run time a channel holds one :class:`StatePair`, the states of its two ends, with its
successors. They are computed from the tables below, so they cannot disagree with them; so is
:data:`STEADY`, the set of commands that leave a connected channel as it is.
``docs/make_state_diagrams.py`` draws the pictures of the manual from the same tables.
"""
from __future__ import annotations

from collections.abc import Iterable

from .commands import (
    CIRCUIT_REQUESTS,
    CIRCUIT_RESPONSES,
    AccessRightsResponse,
    ClearChannelRequest,
    ClearChannelResponse,
    CreateChanRequest,
    CreateChanResponse,
    CreateChFailResponse,
    ErrorResponse,
    EventAddRequest,
    EventAddResponse,
    EventCancelRequest,
    EventCancelResponse,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
    ServerDisconnResponse,
    VersionRequest,
    VersionResponse,
    WriteNotifyRequest,
    WriteNotifyResponse,
    WriteRequest,
)
from .message import Message
from .roles import (
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
    Role,
    State,
)

Command = type[Message]
Transitions = dict[State, dict[Command, State]]


def _all(commands: Iterable[Command], state: State) -> dict[Command, State]:
    return dict.fromkeys(commands, state)


# --- the circuit -------------------------------------------------------------------------------

CIRCUIT: dict[Role, Transitions] = {
    CLIENT: {
        SEND_VERSION_REQUEST: {
            VersionRequest: CONNECTED,
            # The server's greeting may overtake ours; a refusal may be its only words.
            VersionResponse: SEND_VERSION_REQUEST,
            ErrorResponse: SEND_VERSION_REQUEST,
        },
        CONNECTED: _all(CIRCUIT_REQUESTS + CIRCUIT_RESPONSES, CONNECTED),
        DISCONNECTED: {},
    },
    SERVER: {
        SEND_VERSION_RESPONSE: {
            **_all(CIRCUIT_REQUESTS, SEND_VERSION_RESPONSE),
            **_all(CIRCUIT_RESPONSES, CONNECTED),
        },
        CONNECTED: _all(CIRCUIT_REQUESTS + CIRCUIT_RESPONSES, CONNECTED),
        DISCONNECTED: {},
    },
}

# --- the channel -------------------------------------------------------------------------------

#: Requests on an open channel that do not change it.
_OPERATIONS = (
    ReadNotifyRequest, ReadRequest, WriteNotifyRequest, WriteRequest, EventAddRequest,
    EventCancelRequest,
)
#: What the server says about an open channel without changing it.
_REPLIES = (
    ReadNotifyResponse, ReadResponse, WriteNotifyResponse, EventAddResponse, EventCancelResponse,
    AccessRightsResponse,
)

CHANNEL: dict[Role, Transitions] = {
    CLIENT: {
        SEND_CREATE_CHAN_REQUEST: {CreateChanRequest: AWAIT_CREATE_CHAN_RESPONSE},
        AWAIT_CREATE_CHAN_RESPONSE: {
            AccessRightsResponse: AWAIT_CREATE_CHAN_RESPONSE,
            CreateChanResponse: CONNECTED,
            CreateChFailResponse: FAILED,
            ServerDisconnResponse: CLOSED,
        },
        CONNECTED: {
            **_all(_OPERATIONS + _REPLIES, CONNECTED),
            CreateChanResponse: CONNECTED,  # a second one says nothing new
            ClearChannelRequest: MUST_CLOSE,
            ServerDisconnResponse: CLOSED,
        },
        MUST_CLOSE: {
            **_all(_REPLIES, MUST_CLOSE),
            ClearChannelResponse: CLOSED,
            ServerDisconnResponse: CLOSED,
        },
        CLOSED: {},
        FAILED: {},
    },
    SERVER: {
        IDLE: {CreateChanRequest: SEND_CREATE_CHAN_RESPONSE},
        SEND_CREATE_CHAN_RESPONSE: {
            AccessRightsResponse: SEND_CREATE_CHAN_RESPONSE,
            CreateChanResponse: CONNECTED,
            CreateChFailResponse: FAILED,
            ServerDisconnResponse: CLOSED,
        },
        CONNECTED: {
            **_all(_OPERATIONS + _REPLIES, CONNECTED),
            CreateChanResponse: CONNECTED,
            ClearChannelRequest: MUST_CLOSE,
            ServerDisconnResponse: CLOSED,
        },
        MUST_CLOSE: {
            **_all(_REPLIES, MUST_CLOSE),
            ClearChannelResponse: CLOSED,
            ServerDisconnResponse: CLOSED,
        },
        CLOSED: {},
        FAILED: {},
    },
}


# --- derived from the tables -------------------------------------------------------------------


class StatePair:
    """The states of both ends at once.

    There is one object for each pair that can be reached. All circuits (channels) share it; it
    never changes.

    Attributes
    ----------
    states : dict of Role to State
        Shared: copy it before you hand it out.
    after : dict of class to StatePair
        What each legal command leads to.
    """

    __slots__ = ("states", "after")

    def __init__(self, client: State, server: State) -> None:
        self.states = {CLIENT: client, SERVER: server}
        self.after: dict[Command, StatePair] = {}

    def __repr__(self) -> str:
        return f"client {self.states[CLIENT]!r}, server {self.states[SERVER]!r}"


def _reachable_pairs(
    tables: dict[Role, Transitions], client: State, server: State
) -> dict[tuple[State, State], StatePair]:
    """Make all pairs of states that commands can lead to, from the given one on."""
    start = StatePair(client, server)
    found = {(client, server): start}
    unexplored = [start]
    while unexplored:
        pair = unexplored.pop()
        ends = tables[CLIENT][pair.states[CLIENT]], tables[SERVER][pair.states[SERVER]]
        for command in ends[0].keys() & ends[1].keys():
            states = ends[0][command], ends[1][command]
            if states not in found:
                found[states] = StatePair(*states)
                unexplored.append(found[states])
            pair.after[command] = found[states]
    return found


CIRCUIT_PAIRS = _reachable_pairs(CIRCUIT, SEND_VERSION_REQUEST, SEND_VERSION_RESPONSE)
CHANNEL_PAIRS = _reachable_pairs(CHANNEL, SEND_CREATE_CHAN_REQUEST, IDLE)

NEW_CIRCUIT = CIRCUIT_PAIRS[SEND_VERSION_REQUEST, SEND_VERSION_RESPONSE]
OPEN_CIRCUIT = CIRCUIT_PAIRS[CONNECTED, CONNECTED]
#: No command leads here, so it is not among the computed pairs.
LOST_CIRCUIT = StatePair(DISCONNECTED, DISCONNECTED)

NEW_CHANNEL = CHANNEL_PAIRS[SEND_CREATE_CHAN_REQUEST, IDLE]
ASKED_CHANNEL = CHANNEL_PAIRS[AWAIT_CREATE_CHAN_RESPONSE, SEND_CREATE_CHAN_RESPONSE]
OPEN_CHANNEL = CHANNEL_PAIRS[CONNECTED, CONNECTED]
CLEARED_CHANNEL = CHANNEL_PAIRS[MUST_CLOSE, MUST_CLOSE]
CLOSED_CHANNEL = CHANNEL_PAIRS[CLOSED, CLOSED]

#: Commands that leave an open channel on an open circuit as they are. Code that has checked that a
#: channel is open need not run the machines for them.
STEADY = frozenset(
    command
    for command, pair in OPEN_CHANNEL.after.items()
    if pair is OPEN_CHANNEL and OPEN_CIRCUIT.after[command] is OPEN_CIRCUIT
)
