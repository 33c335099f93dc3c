"""The tables of ``_states``, entry by entry, as two circuits obey them.

Each test brings both ends of a channel into one of its states and then tries one command, so that
together they try every pair there is.
"""
from __future__ import annotations

from dataclasses import dataclass

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
    CAStatus,
    ClearChannelRequest,
    ClearChannelResponse,
    ClientChannel,
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
    LocalProtocolError,
    Message,
    NotFoundResponse,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
    ReadSyncRequest,
    ReadSyncResponse,
    RemoteProtocolError,
    SearchRequest,
    SearchResponse,
    ServerDisconnResponse,
    VersionRequest,
    VersionResponse,
    WriteNotifyRequest,
    WriteNotifyResponse,
    WriteRequest,
)
from caproto._protocol.commands import CIRCUIT_REQUESTS, CIRCUIT_RESPONSES
from caproto._protocol.states import CHANNEL, CHANNEL_PAIRS, CIRCUIT, CIRCUIT_PAIRS
from tests.pair import Pair

CID, SID, DOUBLE = 1, 70, 6
# Of what is under way on the channel of each test: a read, an old read, a write, a subscription,
# and one that is being cancelled.
READ, OLD_READ, WRITE, LIVE, CANCELLED, FREE = 1, 2, 3, 4, 5, 6

#: One good example of each command.
EXAMPLES: dict[type[Message], Message] = {
    type(example): example
    for example in (
        VersionRequest(0, 13),
        ClientNameRequest("me"),
        HostNameRequest("here"),
        EchoRequest(),
        ReadSyncRequest(),
        EventsOffRequest(),
        EventsOnRequest(),
        SearchRequest("x", 9, 13),
        CreateChanRequest("a:channel", CID, 13),
        ClearChannelRequest(SID, CID),
        ReadNotifyRequest(DOUBLE, 1, SID, FREE),
        ReadRequest(DOUBLE, 1, SID, FREE),
        WriteNotifyRequest([1.0], DOUBLE, 1, SID, FREE),
        WriteRequest([1.0], DOUBLE, 1, SID, CID),
        EventAddRequest(DOUBLE, 1, SID, FREE, 0, 0, 0, 1),
        EventCancelRequest(DOUBLE, SID, LIVE, 1),
        VersionResponse(13),
        EchoResponse(),
        ReadSyncResponse(),
        SearchResponse(5064, None, 9, 13),
        NotFoundResponse(13, 9),
        ErrorResponse(WriteRequest([1.0], DOUBLE, 1, SID, CID), CID, CAStatus.ECA_PUTFAIL, "x"),
        CreateChanResponse(DOUBLE, 1, CID, SID),
        CreateChFailResponse(CID),
        ServerDisconnResponse(CID),
        AccessRightsResponse(CID, 3),
        ClearChannelResponse(SID, CID),
        ReadNotifyResponse([1.0], DOUBLE, 1, 1, READ),
        ReadResponse([1.0], DOUBLE, 1, CID, OLD_READ),
        WriteNotifyResponse(DOUBLE, 1, 1, WRITE),
        EventAddResponse([1.0], DOUBLE, 1, 1, LIVE),
        EventCancelResponse(DOUBLE, SID, CANCELLED, 1),
    )
}
OF_A_CHANNEL = {command for states in CHANNEL[CLIENT].values() for command in states}
#: Replies, which name an operation or a subscription, not a channel.
BY_NUMBER = {
    ReadNotifyResponse, ReadResponse, WriteNotifyResponse, EventAddResponse, EventCancelResponse,
}


def name_of(parameter) -> str:
    """For the names of tests."""
    if isinstance(parameter, type):
        return parameter.__name__
    return "-".join(map(repr, parameter)) if isinstance(parameter, tuple) else repr(parameter)


def speaker(command: type[Message]):
    return CLIENT if command in CIRCUIT_REQUESTS else SERVER


def test_the_examples_are_complete():
    assert set(EXAMPLES) == {*CIRCUIT_REQUESTS, *CIRCUIT_RESPONSES}


# --- channels ----------------------------------------------------------------------------------


@dataclass
class Scene:
    """Both ends of a channel, and what they told each other so far."""

    pair: Pair
    client: ClientChannel
    server: object = None

    def play(self, *commands: type[Message]) -> None:
        for command in commands:
            self.pair.send(speaker(command), EXAMPLES[command])
            self.server = self.server or self.pair.server.channels.get(CID)

    def states(self) -> list[dict]:
        return [end.states for end in (self.client, self.server) if end is not None]


def busy(scene: Scene) -> None:
    """Let something be under way on an open channel."""
    scene.pair.send(
        CLIENT,
        ReadNotifyRequest(DOUBLE, 1, SID, READ),
        ReadRequest(DOUBLE, 1, SID, OLD_READ),
        WriteNotifyRequest([1.0], DOUBLE, 1, SID, WRITE),
        EventAddRequest(DOUBLE, 1, SID, LIVE, 0, 0, 0, 1),
        EventAddRequest(DOUBLE, 1, SID, CANCELLED, 0, 0, 0, 1),
        EventCancelRequest(DOUBLE, SID, CANCELLED, 1),
    )


#: States of the client's and the server's end -> how to come there.
WAYS: dict[tuple, tuple] = {
    (SEND_CREATE_CHAN_REQUEST, IDLE): (),
    (AWAIT_CREATE_CHAN_RESPONSE, SEND_CREATE_CHAN_RESPONSE): (CreateChanRequest,),
    (CONNECTED, CONNECTED): (CreateChanRequest, CreateChanResponse, busy),
    (MUST_CLOSE, MUST_CLOSE): (CreateChanRequest, CreateChanResponse, busy, ClearChannelRequest),
    (CLOSED, CLOSED): (CreateChanRequest, CreateChanResponse, busy, ServerDisconnResponse),
    (FAILED, FAILED): (CreateChanRequest, CreateChFailResponse),
}


def scene(states: tuple) -> Scene:
    pair = Pair().greet()
    made = Scene(pair, ClientChannel("a:channel", pair.client, CID))
    for step in WAYS[states]:
        if step is busy:
            busy(made)
        else:
            made.play(step)
    return made


def test_the_scenes_are_all_there_are():
    assert set(WAYS) == set(CHANNEL_PAIRS)
    for states in WAYS:
        made = scene(states)
        assert made.client.states == dict(zip((CLIENT, SERVER), states))


def table(states: tuple, command: type[Message]) -> tuple | None:
    """What the tables of both ends lead to; None if either does not have the command."""
    ends = CHANNEL[CLIENT][states[0]].get(command), CHANNEL[SERVER][states[1]].get(command)
    return None if None in ends else ends


PAIRS = [(states, command) for states in WAYS for command in EXAMPLES if command in OF_A_CHANNEL]
LEGAL = [(states, command) for states, command in PAIRS if table(states, command)]
ILLEGAL = [(states, command) for states, command in PAIRS if not table(states, command)]
#: A channel at its end is forgotten, and what the server still says about it is normal. For the
#: client's end: what names the channel. For both: replies under numbers that were in use once.
OVER = {(CLOSED, CLOSED), (FAILED, FAILED)}


@pytest.mark.parametrize(("states", "command"), LEGAL, ids=name_of)
def test_a_legal_command_moves_both_ends_as_the_tables_say(states, command):
    made = scene(states)
    (received,) = made.pair.send(speaker(command), EXAMPLES[command])
    assert received == EXAMPLES[command]
    made.server = made.server or made.pair.server.channels.get(CID)
    assert made.states() == [dict(zip((CLIENT, SERVER), table(states, command)))] * 2


def accepted_when_sent(states: tuple, command: type[Message]) -> bool:
    """What the tables do not allow, but nobody can know: a late reply on a channel that is over."""
    return states == (CLOSED, CLOSED) and command in BY_NUMBER


#: What a server does not say then, and what a client makes of it all the same: nothing, or the end
#: of the channel.
TAKEN_BY_CLIENTS = {
    ((CONNECTED, CONNECTED), ClearChannelResponse): None,
    ((CONNECTED, CONNECTED), CreateChFailResponse): CLOSED,
    ((MUST_CLOSE, MUST_CLOSE), CreateChanResponse): None,
    ((MUST_CLOSE, MUST_CLOSE), CreateChFailResponse): CLOSED,
}


def accepted_when_received(states: tuple, command: type[Message]) -> bool:
    if command is CreateChanRequest:
        return True  # it is always about a new channel
    if speaker(command) is SERVER and states in OVER:
        return states == (CLOSED, CLOSED) or command not in BY_NUMBER
    if (states, command) in TAKEN_BY_CLIENTS:
        return True
    # A client does not miss what it never had.
    return command is ClearChannelResponse and states in (
        (SEND_CREATE_CHAN_REQUEST, IDLE), (AWAIT_CREATE_CHAN_RESPONSE, SEND_CREATE_CHAN_RESPONSE),
    )


#: What has the number of an update, and no payload, is one, unless a cancel is to be confirmed.
_AS_IT_COMES = {EventCancelResponse: EventAddResponse}


def says_what_is_wrong(error: Exception, command: type[Message]) -> bool:
    """The command, the channel (by what it is known), and the circuit are named."""
    text = str(error)
    known_by = {"'a:channel'", f"sid {SID}", f"cid {CID}"}
    if command in BY_NUMBER:
        known_by.add(f"id {EXAMPLES[command].fields[5]}")
    named = {command.__name__, _AS_IT_COMES.get(command, command).__name__}
    return all(any(word in text for word in words) for words in (named, known_by, {"10.0.0."}))


@pytest.mark.parametrize(("states", "command"), ILLEGAL, ids=name_of)
def test_an_illegal_command_is_not_sent(states, command):
    made = scene(states)
    before, circuit = made.states(), made.pair.circuits[speaker(command)]
    if accepted_when_sent(states, command):
        circuit.send(EXAMPLES[command])
    else:
        with pytest.raises(LocalProtocolError) as caught:
            circuit.send(EXAMPLES[command])
        assert says_what_is_wrong(caught.value, command)
        assert circuit.send() == [], "nothing of it"
    assert made.states() == before


@pytest.mark.parametrize(("states", "command"), ILLEGAL, ids=name_of)
def test_an_illegal_command_is_refused_when_it_comes(states, command):
    made = scene(states)
    before, circuit = made.states(), made.pair.circuits[speaker(command).other]
    (received,), _ = circuit.recv(bytes(EXAMPLES[command]))
    if accepted_when_received(states, command):
        circuit.process_command(received)
    else:
        with pytest.raises(RemoteProtocolError) as caught:
            circuit.process_command(received)
        assert says_what_is_wrong(caught.value, command)
    end = TAKEN_BY_CLIENTS.get((states, command))
    if end is not None:
        before[0] = {CLIENT: end, SERVER: end}
    assert made.states() == before


# --- circuits ----------------------------------------------------------------------------------

#: States of the client's and the server's end of a circuit -> what was said before.
GREETINGS: dict[tuple, tuple] = {
    (SEND_VERSION_REQUEST, SEND_VERSION_RESPONSE): (),
    (SEND_VERSION_REQUEST, CONNECTED): (VersionResponse,),
    (CONNECTED, SEND_VERSION_RESPONSE): (VersionRequest,),
    (CONNECTED, CONNECTED): (VersionResponse, VersionRequest),
    (DISCONNECTED, DISCONNECTED): (VersionResponse, VersionRequest),
}
#: On a circuit with one open channel all of these would be right.
TRIED = [(states, command) for states in GREETINGS for command in EXAMPLES]


def circuit_scene(states: tuple) -> Pair:
    """A circuit without any channel, but ready for each of the examples where it can be."""
    pair = Pair()
    for command in GREETINGS[states]:
        pair.send(speaker(command), EXAMPLES[command])
    if states[0] is DISCONNECTED:
        ClientChannel("a:channel", pair.client, CID)
        pair.send(CLIENT, EXAMPLES[CreateChanRequest])
        pair.send(SERVER, EXAMPLES[CreateChanResponse])
        busy(Scene(pair, pair.client.channels[CID]))
        pair.client.disconnect()
        pair.server.disconnect()
    return pair


def circuit_table(states: tuple, command: type[Message]) -> tuple | None:
    ends = CIRCUIT[CLIENT][states[0]].get(command), CIRCUIT[SERVER][states[1]].get(command)
    return None if None in ends else ends


def test_the_greetings_are_all_there_are():
    assert set(GREETINGS) == {*CIRCUIT_PAIRS, (DISCONNECTED, DISCONNECTED)}
    for states in GREETINGS:
        for circuit in circuit_scene(states).circuits.values():
            assert circuit.states == dict(zip((CLIENT, SERVER), states))


@pytest.mark.parametrize(
    ("states", "command"),
    [(s, c) for s, c in TRIED if circuit_table(s, c) and c not in OF_A_CHANNEL],
    ids=name_of,
)
def test_a_legal_command_moves_the_circuit_as_the_tables_say(states, command):
    pair = circuit_scene(states)
    (received,) = pair.send(speaker(command), EXAMPLES[command])
    assert received == EXAMPLES[command]
    for circuit in pair.circuits.values():
        assert circuit.states == dict(zip((CLIENT, SERVER), circuit_table(states, command)))


@pytest.mark.parametrize(
    ("states", "command"), [(s, c) for s, c in TRIED if not circuit_table(s, c)], ids=name_of
)
def test_what_is_illegal_on_a_circuit_is_refused_at_both_ends(states, command):
    pair = circuit_scene(states)
    role = speaker(command)
    sender, receiver = pair.circuits[role], pair.circuits[role.other]
    with pytest.raises(LocalProtocolError, match=f"{command.__name__}.*10.0.0."):
        sender.send(EXAMPLES[command])
    assert sender.send() == []
    (received,), _ = receiver.recv(bytes(EXAMPLES[command]))
    with pytest.raises(RemoteProtocolError, match=f"{type(received).__name__}.*10.0.0."):
        receiver.process_command(received)
    for circuit in sender, receiver:
        assert circuit.states == dict(zip((CLIENT, SERVER), states))


@pytest.mark.parametrize("first_words", [CreateChanResponse, AccessRightsResponse])
def test_a_server_may_greet_late_or_never(first_words):
    pair = Pair()
    pair.send(CLIENT, VersionRequest(0, 13))
    channel = ClientChannel("a:channel", pair.client, CID)
    pair.send(CLIENT, channel.create())
    assert pair.client.states == {CLIENT: CONNECTED, SERVER: SEND_VERSION_RESPONSE}
    pair.send(SERVER, EXAMPLES[first_words])
    assert pair.client.states == pair.server.states == {CLIENT: CONNECTED, SERVER: CONNECTED}
    pair.send(SERVER, VersionResponse(13))
    assert pair.client.states == pair.server.states == {CLIENT: CONNECTED, SERVER: CONNECTED}


@pytest.mark.parametrize("command", EXAMPLES, ids=name_of)
def test_nobody_speaks_for_the_other(command):
    """Requests are for clients, responses for servers, whatever the state."""
    pair = Pair().greet()
    wrong = speaker(command).other
    words = f"a {wrong.value} does not send a {command.__name__} over a circuit"
    with pytest.raises(LocalProtocolError, match=words):
        pair.circuits[wrong].send(EXAMPLES[command])
    with pytest.raises(RemoteProtocolError, match=words):
        pair.circuits[wrong.other].process_command(EXAMPLES[command])
