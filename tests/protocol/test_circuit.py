"""VirtualCircuit: commands to bytes and back, at either end; what they mean: test_circuit_rules.

Which command is allowed in which state is tried in test_circuit_states.
"""
from __future__ import annotations

import logging
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caproto import (
    CLIENT,
    CLOSED,
    CONNECTED,
    DISCONNECTED,
    SEND_VERSION_REQUEST,
    SEND_VERSION_RESPONSE,
    SERVER,
    AccessRightsResponse,
    Beacon,
    CaprotoRuntimeError,
    CaprotoTypeError,
    CaprotoValueError,
    CAStatus,
    ChannelType,
    ClientChannel,
    ClientNameRequest,
    CreateChanRequest,
    CreateChanResponse,
    EchoRequest,
    EchoResponse,
    ErrorResponse,
    EventAddRequest,
    EventAddResponse,
    EventsOffRequest,
    HostNameRequest,
    LocalProtocolError,
    OversizedMessage,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
    RemoteProtocolError,
    VersionRequest,
    VersionResponse,
    VirtualCircuit,
    WriteNotifyRequest,
    WriteNotifyResponse,
)
from caproto._protocol.circuit import JOIN_LIMIT, TOLERANCE
from caproto._protocol.framing import CIRCUIT_CONSTRUCTORS
from caproto._protocol.headers import pack_header
from tests.pair import Pair

ADDRESS = ("10.0.0.1", 5064)
DOUBLE = ChannelType.DOUBLE
UNKNOWN = struct.pack(">HHHHII", 99, 0, 0, 0, 0, 0)


def client(**options) -> VirtualCircuit:
    return VirtualCircuit(CLIENT, ADDRESS, 0, **options)


def join(buffers) -> bytes:
    return b"".join(buffers)


# --- what a circuit is ----------------------------------------------------------------------------


def test_a_new_circuit():
    circuit = VirtualCircuit(CLIENT, ADDRESS, 7)
    assert (circuit.our_role, circuit.their_role) == (CLIENT, SERVER)
    assert (circuit.address, circuit.host, circuit.port) == (ADDRESS, "10.0.0.1", 5064)
    assert circuit.priority == 7 and circuit.key == (ADDRESS, 7)
    assert circuit.protocol_version == circuit.peer_version == 13
    assert circuit.states == {CLIENT: SEND_VERSION_REQUEST, SERVER: SEND_VERSION_RESPONSE}
    for table in circuit.channels, circuit.channels_sid, circuit.pending, circuit.subscriptions:
        assert table == {}
    assert circuit.error is None


def test_a_server_needs_no_priority_it_learns_it():
    circuit = VirtualCircuit(SERVER, ("10.0.0.2", 40000))
    assert circuit.priority is None
    with pytest.raises(CaprotoRuntimeError, match="10.0.0.2:40000.*VersionRequest"):
        print(circuit.key)
    circuit.process_command(VersionRequest(42, 13))
    assert circuit.priority == 42 and circuit.key == (("10.0.0.2", 40000), 42)


@pytest.mark.parametrize("priority", [-1, 100, 1 << 40])
def test_the_priority_of_a_client_is_0_to_99(priority):
    with pytest.raises(CaprotoValueError, match="priority.*0..99"):
        VirtualCircuit(CLIENT, ADDRESS, priority)
    assert VirtualCircuit(CLIENT, ADDRESS, 99).priority == 99


def test_a_role_is_client_or_server():
    with pytest.raises(CaprotoValueError, match="our_role.*'client'"):
        VirtualCircuit("client", ADDRESS, 0)


def test_a_client_must_choose_its_priority():
    with pytest.raises(CaprotoRuntimeError, match="priority.*0..99"):
        VirtualCircuit(CLIENT, ADDRESS, None)


def test_a_priority_is_a_whole_number():
    with pytest.raises(CaprotoTypeError, match="priority"):
        VirtualCircuit(CLIENT, ADDRESS, "high")


def test_the_states_are_a_copy():
    circuit = client()
    circuit.states.clear()
    assert circuit.states[CLIENT] is SEND_VERSION_REQUEST


def test_its_repr_says_where_it_goes_and_how_far_it_came():
    pair = Pair(priority=3).greet()
    pair.connect("x")
    text = repr(pair.client)
    for part in "CLIENT", "10.0.0.1:5064", "priority=3", "1 channel,", "server CONNECTED":
        assert part in text


def test_its_log_records_carry_the_peer_and_our_role(caplog):
    with caplog.at_level(logging.DEBUG, "caproto.circ"):
        client().log.debug("hello")
        VirtualCircuit(SERVER, ("10.0.0.2", 40000)).log.debug("hello")
    assert [(r.their_address, r.role) for r in caplog.records] == [
        (ADDRESS, "CLIENT"), (("10.0.0.2", 40000), "SERVER"),
    ]


# --- versions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "announced", "relied_on"), [(13, 13, 13), (13, 11, 11), (13, 14, 13), (9, 13, 9)]
)
def test_the_lower_version_counts(ours, announced, relied_on):
    circuit = client(protocol_version=ours)
    circuit.process_command(VersionResponse(announced))
    assert circuit.peer_version == relied_on
    server = VirtualCircuit(SERVER, ADDRESS, protocol_version=ours)
    server.process_command(VersionRequest(0, announced))
    assert server.peer_version == relied_on


def test_the_version_of_the_search_reply_counts_until_the_server_greets():
    circuit = client(peer_version=8)
    assert circuit.peer_version == 8
    circuit.process_command(VersionResponse(13))
    assert circuit.peer_version == 13


def test_what_we_say_ourselves_does_not_count_as_the_peers_version():
    pair = Pair()
    pair.client.send(VersionRequest(0, 5))
    pair.server.send(VersionResponse(6))
    assert pair.client.peer_version == pair.server.peer_version == 13


@pytest.mark.parametrize("version", [0, 3])
def test_clients_below_4_4_are_refused(version):
    server = VirtualCircuit(SERVER, ADDRESS)
    with pytest.raises(RemoteProtocolError, match=f"VersionRequest.*4.{version} .*too old"):
        server.process_command(VersionRequest(0, version))
    server.process_command(VersionRequest(0, 4))
    assert server.peer_version == 4


def test_a_priority_above_99_is_refused():
    server = VirtualCircuit(SERVER, ADDRESS)
    with pytest.raises(RemoteProtocolError, match="VersionRequest.*priority 100"):
        server.process_command(VersionRequest.from_wire((0, 0, 100, 13, 0, 0), b""))
    assert server.priority is None


def test_the_version_of_create_chan_overrides_the_first_one():
    """As in a real server; but 0 stands for what was said before."""
    pair = Pair().greet()
    for cid, (version, expected) in enumerate([(10, 10), (0, 10), (13, 13)]):
        pair.server.process_command(CreateChanRequest("x", cid, version))
        assert pair.server.peer_version == expected
    with pytest.raises(RemoteProtocolError, match="CreateChanRequest.*too old"):
        pair.server.process_command(CreateChanRequest("y", 9, 3))


@pytest.mark.parametrize("version", range(4, 14))
def test_extended_headers_only_for_peers_that_know_them(version):
    """Whether it is the size or the count that does not fit; and at either end."""
    pair = Pair(version).greet()
    channel, _ = pair.connect("x", data_type=4, data_count=65534)
    pair.send(CLIENT, VersionRequest(0, version))
    large = [
        (CLIENT, WriteNotifyRequest(bytes(65529), 4, None, channel.sid, 1)),
        (CLIENT, ReadNotifyRequest(4, 65535, channel.sid, 2)),
        (SERVER, CreateChanResponse(4, 65535, channel.cid, 71)),
    ]
    for role, command in large:
        circuit = pair.circuits[role]
        if version >= 9:
            assert join(circuit.send(command)) == bytes(command)
            assert bytes(command)[2:4] == b"\xff\xff"
        else:
            with pytest.raises(LocalProtocolError, match=f"{type(command).__name__}.*4.{version} "):
                circuit.send(command)
            assert circuit.send() == [] and circuit.pending == {}
    small = WriteNotifyRequest(bytes(65528), 4, None, channel.sid, 3)
    assert join(pair.client.send(small)) == bytes(small)


# --- commands out ---------------------------------------------------------------------------------


def test_small_messages_are_joined():
    circuit = client()
    greeting = VersionRequest(0, 13), ClientNameRequest("me"), HostNameRequest("here")
    (buffer,) = circuit.send(*greeting)
    assert bytes(buffer) == join(map(bytes, greeting))
    assert circuit.send() == []


def test_large_payloads_are_neither_copied_nor_joined():
    pair = Pair().greet()
    channel, _ = pair.connect("x", data_type=4, data_count=1_000_000)
    small, large = bytes(JOIN_LIMIT), bytes(JOIN_LIMIT + 8)
    commands = [
        EchoRequest(), *(channel.write(data, notify=True) for data in (small, large, large)),
        EchoRequest(), EchoRequest(),
    ]
    buffers = pair.client.send(*commands)
    assert join(buffers) == join(map(bytes, commands))
    assert [len(buffer) for buffer in buffers] == [
        16 + 16 + JOIN_LIMIT + 16, len(large), 16, len(large), 32,
    ]
    assert buffers[1] is commands[2].payload and buffers[3] is commands[3].payload


def test_what_was_accepted_before_a_failure_comes_with_the_next_call():
    pair = Pair().greet()
    channel, _ = pair.connect("x", data_type=4, data_count=100_000)
    first, large, second, third = (
        channel.read(), channel.write(bytes(50_000), notify=True), channel.read(), channel.read(),
    )
    with pytest.raises(LocalProtocolError, match="EchoResponse"):
        pair.client.send(first, large, second, EchoResponse(), third)
    assert set(pair.client.pending) == {first.ioid, large.ioid, second.ioid}
    buffers = pair.client.send(third)
    assert join(buffers) == join(map(bytes, [first, large, second, third]))
    assert any(buffer is large.payload for buffer in buffers), "still not copied"
    assert pair.carry(CLIENT, buffers) == [first, large, second, third]
    assert pair.client.send() == []


def test_failures_in_a_row_lose_nothing_and_collect_nothing():
    pair = Pair().greet()
    for commands in [(EchoRequest(), EchoResponse()), (EchoResponse(),), (EchoResponse(),)]:
        with pytest.raises(LocalProtocolError):
            pair.client.send(*commands)
    assert pair.client.send() == [bytes(EchoRequest())]
    with pytest.raises(LocalProtocolError):
        pair.client.send(EchoResponse())
    assert pair.client.send() == []


def test_what_is_no_command_costs_nothing_else():
    pair = Pair().greet()
    with pytest.raises(AttributeError):
        pair.client.send(EchoRequest(), b"junk")
    assert pair.client.send(EventsOffRequest()) == [bytes(EchoRequest()), bytes(EventsOffRequest())]


@pytest.mark.parametrize("role", [CLIENT, SERVER])
def test_what_belongs_into_datagrams_is_not_sent_over_a_circuit(role):
    pair, beacon = Pair().greet(), Beacon(13, 5064, 1, 0)
    with pytest.raises(LocalProtocolError, match="does not send a Beacon over a circuit"):
        pair.circuits[role].send(beacon)
    with pytest.raises(RemoteProtocolError, match="does not send a Beacon over a circuit"):
        pair.circuits[role].process_command(beacon)


# --- bytes in -------------------------------------------------------------------------------------

UPDATES = [EventAddResponse([float(n)], 20, None, 1, n) for n in range(3)]
STREAM = join(map(bytes, UPDATES))


def test_recv_returns_what_is_complete_and_what_is_missing():
    circuit = client()
    assert circuit.recv() == ([], 16)
    assert circuit.recv(STREAM[:10]) == ([], 6)
    assert circuit.recv(STREAM[10:50]) == (UPDATES[:1], 6)
    assert circuit.recv(STREAM[50:56]) == ([], 24)
    assert circuit.recv(STREAM[56:]) == (UPDATES[1:], 16)


def test_an_empty_buffer_says_that_the_connection_is_closed():
    pair = Pair().greet()
    channel, _ = pair.connect()
    commands, _ = pair.client.recv(bytes(EchoResponse()), b"")
    assert commands == [EchoResponse(), DISCONNECTED]
    for command in commands:
        pair.client.process_command(command)
    assert set(pair.client.states.values()) == {DISCONNECTED}
    assert set(channel.states.values()) == {CLOSED}


@pytest.mark.parametrize("role", [CLIENT, SERVER])
def test_disconnect_returns_what_process_command_takes(role):
    circuit = Pair().greet().circuits[role]
    signal = circuit.disconnect()
    assert signal is DISCONNECTED
    circuit.process_command(signal)
    assert set(circuit.states.values()) == {DISCONNECTED}
    with pytest.raises(LocalProtocolError):
        circuit.send(EchoRequest() if role is CLIENT else EchoResponse())


def test_no_other_state_is_a_command():
    with pytest.raises(RemoteProtocolError, match="CONNECTED is not a command"):
        client().process_command(CONNECTED)


def test_circuits_of_one_role_address_and_priority_are_equal():
    one, two = client(), client()
    assert one == two and hash(one) == hash(two) and len({one, two}) == 1
    assert one != VirtualCircuit(CLIENT, ADDRESS, 1)
    assert one != VirtualCircuit(CLIENT, ("10.0.0.1", 5066), 0)
    assert one != VirtualCircuit(SERVER, ADDRESS, 0)
    assert one != (ADDRESS, 0)


def test_a_circuit_without_priority_equals_only_itself_and_keeps_its_hash():
    one, two = VirtualCircuit(SERVER, ADDRESS), VirtualCircuit(SERVER, ADDRESS)
    assert one == one and one != two
    number = hash(one)
    for circuit in one, two:
        circuit.process_command(VersionRequest(3, 13))
    assert one == two and hash(one) == number == hash(two)


def test_the_priority_of_the_greeting_is_that_of_the_circuit():
    with pytest.raises(LocalProtocolError, match="VersionRequest.*priority 3.*has 0"):
        client().send(VersionRequest(3, 13))
    with pytest.raises(RemoteProtocolError, match="VersionRequest.*priority 3.*has 5"):
        VirtualCircuit(SERVER, ADDRESS, 5).process_command(VersionRequest(3, 13))


@pytest.mark.parametrize("size", [0, 1, 1000, JOIN_LIMIT, JOIN_LIMIT + 8, 80_000])
def test_one_command_alone_makes_the_same_bytes_and_the_same_changes(size):
    pair, other = Pair().greet(), Pair().greet()
    for each in (pair, other):
        channel, _ = each.connect("x", data_type=4, data_count=100_000)
        for command in (
            channel.read(), channel.read(data_count=90_000), channel.write(bytes(size), notify=True)
        ):
            data = each.client.send_one(command) if each is pair else each.client.send(command)
            assert each.carry(CLIENT, [data] if each is pair else data) == [command]
    assert pair.client.pending == other.client.pending and len(pair.client.pending) == 3


def test_one_command_alone_must_be_allowed_too():
    pair = Pair().greet()
    channel, _ = pair.connect("x")
    with pytest.raises(LocalProtocolError, match="EchoResponse"):
        pair.client.send_one(EchoResponse())
    pair.client.disconnect()
    with pytest.raises(LocalProtocolError, match="ReadNotifyRequest"):
        pair.client.send_one(ReadNotifyRequest(6, 0, channel.sid or 0, 1))


def test_one_command_alone_goes_after_what_was_accepted_before():
    pair = Pair().greet()
    channel, _ = pair.connect("x")
    first, second = channel.read(), channel.read()
    with pytest.raises(LocalProtocolError, match="EchoResponse"):
        pair.client.send(first, EchoResponse())
    assert pair.client.send_one(second) == bytes(first) + bytes(second)


@pytest.mark.parametrize("greeted", [True, False])
def test_many_channels_are_asked_for_with_the_same_bytes_and_the_same_changes(greeted):
    names = ("a", "sector:7", "\u00e9t\u00e9", "x" * 60)
    sent: list[bytes] = []
    for together in (True, False):
        pair = Pair().greet() if greeted else Pair()
        if not greeted:  # the server's version has not come
            pair.send(CLIENT, VersionRequest(0, 13))
        channels = [ClientChannel(name, pair.client) for name in names]
        if together:
            data = pair.client.create_channels(channels)
        else:
            data = pair.client.send(*(channel.create() for channel in channels))
        sent.append(b"".join(data))
        assert [command.name for command in pair.carry(CLIENT, data)] == list(names)
        for sid, channel in enumerate(channels):
            pair.send(SERVER, CreateChanResponse(DOUBLE, 1, channel.cid, sid))
            assert channel.connected
    assert sent[0] == sent[1]


def test_a_channel_that_hears_of_its_states_hears_that_it_is_asked_for_among_others():
    class Hearing(ClientChannel):
        heard = 0

        def state_changed(self, role, old_state, new_state, command):
            assert isinstance(command, CreateChanRequest)
            self.heard += 1

    pair = Pair().greet()
    channel = Hearing("b", pair.client)
    pair.client.create_channels([ClientChannel("a", pair.client), channel])
    assert channel.heard == 2  # of both ends


def test_of_many_channels_each_must_be_new_and_of_this_circuit():
    pair = Pair().greet()
    channel, _ = pair.connect("x")
    new, other = ClientChannel("y", pair.client), ClientChannel("y", Pair().client, cid=77)
    for wrong in ([new, channel], [new, new], [new, other]):
        with pytest.raises(LocalProtocolError, match="CreateChanRequest"):
            pair.client.create_channels(wrong)
        new = ClientChannel("y", pair.client)


def test_to_ask_for_no_channels_sends_nothing():
    assert not Pair().greet().client.create_channels([])


def test_no_channel_is_asked_for_when_one_of_many_has_a_wrong_name():
    pair = Pair().greet()
    good, bad = ClientChannel("good", pair.client), ClientChannel("", pair.client)
    with pytest.raises(CaprotoValueError, match="must not be empty"):
        pair.client.create_channels([good, bad])
    data = pair.client.create_channels([good])
    assert [command.name for command in pair.carry(CLIENT, data)] == ["good"]


def test_many_channels_are_asked_for_after_what_was_accepted_before():
    pair = Pair().greet()
    channel, _ = pair.connect("x")
    first, new = channel.read(), ClientChannel("y", pair.client)
    with pytest.raises(LocalProtocolError, match="EchoResponse"):
        pair.client.send(first, EchoResponse())
    expected = CreateChanRequest("y", new.cid, 13)
    assert b"".join(pair.client.create_channels([new])) == bytes(first) + bytes(expected)


def test_send_takes_the_context_of_log_records():
    assert client().send(VersionRequest(0, 13), extra={"pv": "x"}) == [bytes(VersionRequest(0, 13))]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_recv_takes_several_buffers_of_any_kind(kind):
    commands, needed = client().recv(*(kind(STREAM[i:i + 7]) for i in range(0, len(STREAM), 7)))
    assert (commands, needed) == (UPDATES, 16)
    assert {command.sender_address for command in commands} == {ADDRESS}


def test_bytes_may_be_received_right_into_the_circuit():
    circuit, commands, rest = client(), [], STREAM
    while rest:
        buffer = circuit.get_buffer()
        size = min(len(buffer), 11, len(rest))
        buffer[:size] = rest[:size]
        rest = rest[size:]
        commands += circuit.buffer_updated(size)
    assert commands == UPDATES


def test_large_messages_are_received_where_they_stay():
    large = ReadNotifyResponse(bytes(200_000), 4, None, 1, 5)
    circuit, data = client(), bytes(large)
    assert circuit.recv(data[:1000]) == ([], len(data) - 1000)
    buffer = circuit.get_buffer(1)
    assert len(buffer) == len(data) - 1000
    buffer[:] = data[1000:]
    assert circuit.buffer_updated(len(buffer)) == [large]


def test_receiving_alone_changes_no_state():
    """What a command changes, it changes when it is processed."""
    circuit = client()
    circuit.recv(bytes(VersionResponse(11)))
    assert circuit.peer_version == 13
    assert circuit.states[SERVER] is SEND_VERSION_RESPONSE


def test_each_end_understands_what_the_other_may_send():
    """The same number means different things."""
    (request,), _ = VirtualCircuit(SERVER, ADDRESS).recv(bytes(EchoRequest()))
    (response,), _ = client().recv(bytes(EchoRequest()))
    assert type(request) is EchoRequest and type(response) is EchoResponse


def test_after_bytes_that_make_no_sense_the_circuit_is_dead():
    circuit = client()
    commands, _ = circuit.recv(STREAM + UNKNOWN + STREAM)
    assert commands == UPDATES, "what came before is good"
    assert isinstance(circuit.error, RemoteProtocolError) and "99" in str(circuit.error)
    calls = [lambda: circuit.recv(STREAM), circuit.get_buffer, lambda: circuit.buffer_updated(1)]
    for call in calls * 2:
        with pytest.raises(RemoteProtocolError, match="99"):
            call()


def test_several_buffers_with_the_fault_in_the_middle():
    circuit = client()
    commands, _ = circuit.recv(STREAM[:40], UNKNOWN, STREAM[40:])
    assert commands == UPDATES[:1]
    with pytest.raises(RemoteProtocolError, match="99"):
        circuit.recv(STREAM)


def test_payloads_above_the_limit_are_not_kept_but_answer_their_request():
    pair = Pair()
    pair.circuits[CLIENT] = client(max_payload=1000)
    channel, _ = pair.greet().connect("x", data_type=4, data_count=5000)
    read, other = channel.read(), channel.read()
    pair.send(CLIENT, read, other)
    answer = ReadNotifyResponse(bytes(2000), 4, None, 1, read.ioid)
    (received,) = pair.send(SERVER, answer)
    assert type(received) is OversizedMessage
    assert received.fields == answer.fields and received.payload == b""
    assert set(pair.client.pending) == {other.ioid}
    # Only a request of its own kind is answered by it.
    odd = (WriteNotifyResponse.ID, 2000, 4, 1, 1, other.ioid)
    (received,), _ = pair.client.recv(pack_header(odd) + bytes(2000))
    pair.client.process_command(received)
    assert set(pair.client.pending) == {other.ioid}


def large(command: int, size: int, number: int, *, sid: int = 1, data_type: int = 6) -> bytes:
    """A message that says it has *size* bytes, and the first of them."""
    fields = (command, 0xFFFF, data_type, 0, sid, number, size, 1)
    return struct.pack(">HHHHIIII", *fields) + bytes(70_000)


def taken(circuit: VirtualCircuit, data: bytes) -> bool:
    """Whether the beginning of a message is kept, not passed over."""
    received, _ = circuit.recv(data)
    assert [type(command) for command in received] in ([], [OversizedMessage])
    return not received


@pytest.mark.parametrize("command, number", [(15, 5), (3, 6), (1, 7), (15, 7), (15, 8)])
def test_a_client_takes_as_large_a_value_as_it_asked_for(command, number):
    """... and a little more, as the C library does."""
    for extra in 0, 8:
        pair = Pair().greet()
        pair.connect("x", data_count=1_000_000, sid=70)
        pair.send(
            CLIENT,
            ReadNotifyRequest(DOUBLE, 20_000, 70, 5),
            ReadRequest(DOUBLE, 20_000, 70, 6),
            EventAddRequest(DOUBLE, 20_000, 70, 7, 0, 0, 0, 1),
            ReadNotifyRequest(DOUBLE, 0, 70, 8),
        )
        elements = 1_000_000 if number == 8 else 20_000
        size = elements * 8 + TOLERANCE + extra
        assert taken(pair.client, large(command, size, number)) is (not extra)


@pytest.mark.parametrize("command", [15, 3, 1, 19, 23, 11, 0, 18])
def test_what_nobody_asked_for_is_not_kept(command):
    for extra in 0, 8:
        pair = Pair().greet()
        pair.connect("x", data_count=1_000_000, sid=70)
        assert taken(pair.client, large(command, TOLERANCE + extra, 99)) is (not extra)


@pytest.mark.parametrize(
    "command, sid, data_type, limit",
    [
        (19, 70, DOUBLE, 800_000), (4, 70, DOUBLE, 800_000), (19, 70, 0, 4_000_000),
        (19, 71, DOUBLE, 0), (19, 70, 99, 0), (1, 70, DOUBLE, 0), (18, 70, DOUBLE, 0),
    ],
)
def test_a_server_takes_as_large_a_value_as_its_channel_has(command, sid, data_type, limit):
    for extra in 0, 8:
        pair = Pair().greet()
        pair.connect("x", data_count=100_000, sid=70)
        data = large(command, limit + TOLERANCE + extra, 5, sid=sid, data_type=int(data_type))
        assert taken(pair.server, data) is (not extra)


def test_a_server_notes_nothing_of_a_request_that_is_too_large():
    pair = Pair()
    pair.circuits[SERVER] = VirtualCircuit(SERVER, ADDRESS, max_payload=1000)
    channel, _ = pair.greet().connect("x", data_type=4, data_count=5000)
    (received,) = pair.send(CLIENT, channel.write(bytes(2000), notify=True))
    assert type(received) is OversizedMessage and pair.server.pending == {}


@pytest.mark.parametrize("role", [CLIENT, SERVER])
def test_what_was_not_kept_cannot_be_passed_on(role):
    skipped = OversizedMessage.from_wire((19, 2000, 4, 2000, 70, 1), b"")
    with pytest.raises(LocalProtocolError, match="OversizedMessage"):
        Pair().greet().circuits[role].send(skipped)



# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [CLIENT, SERVER])
def test_when_the_connection_is_gone_everything_is(role):
    pair = Pair().greet()
    ends = pair.connect("x")
    waiting = ClientChannel("y", pair.client)
    pair.send(CLIENT, ends[0].read(), ends[0].subscribe(), waiting.create())
    pair.send(CLIENT, ends[0].clear())
    more = pair.connect("z", sid=71)
    pair.send(CLIENT, more[0].read(), more[0].subscribe())
    circuit = pair.circuits[role]
    channels = [*circuit.channels.values()]
    assert len(channels) == 3
    circuit.disconnect()
    assert circuit.states == {CLIENT: DISCONNECTED, SERVER: DISCONNECTED}
    for channel in channels:
        assert channel.states == {CLIENT: CLOSED, SERVER: CLOSED}
        assert not channel.connected and not channel.subscriptionids
    for table in circuit.channels, circuit.channels_sid, circuit.pending, circuit.subscriptions:
        assert table == {}
    circuit.disconnect()
    assert circuit.states[role] is DISCONNECTED


# --- whatever comes -------------------------------------------------------------------------------

NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 70, 71, 72, 0xFFFFFFFF])
MESSAGES = st.tuples(
    st.sampled_from(sorted({*CIRCUIT_CONSTRUCTORS[CLIENT], *CIRCUIT_CONSTRUCTORS[SERVER], 5})),
    st.sampled_from([0, 0, 8, 16, 24]),
    st.sampled_from([0, 3, 4, 6, 13, 20, 35, 38, 39]),
    st.sampled_from([0, 1, 2, 0xFFFF]),
    NUMBERS,
    NUMBERS,
)
PAYLOAD = st.sampled_from([bytes(24), b"x" * 24, b"\xff" * 24, bytes(EchoRequest()) + bytes(8)])


def busy_pair() -> Pair:
    """Two channels; reads, writes and subscriptions under way, one cancelled, with small ids."""
    pair = Pair().greet()
    first, _ = pair.connect("first", sid=70)
    second, _ = pair.connect("second", data_type=3, sid=71)
    commands = [
        first.read(), first.write(1.0, notify=True), first.subscribe(), second.subscribe(),
        second.read(),
    ]
    pair.send(CLIENT, *commands)
    pair.send(CLIENT, first.unsubscribe(commands[2].subscriptionid))
    pair.send(CLIENT, ClientChannel("third", pair.client).create())
    return pair


@settings(max_examples=150)
@given(
    st.sampled_from([CLIENT, SERVER]),
    st.lists(st.tuples(st.booleans(), MESSAGES, PAYLOAD), max_size=30),
)
def test_any_messages_are_taken_or_refused(role, talk):
    """Whatever either side says, and in whatever order: it is legal, or the documented error."""
    circuit = busy_pair().circuits[role]
    constructors = CIRCUIT_CONSTRUCTORS[role]
    for is_ours, fields, payload in talk:
        payload = payload[:fields[1]]
        if is_ours and fields[0] in constructors:
            command = constructors[fields[0]](fields, payload, None)
            try:
                if type(command) is CreateChanRequest and command.cid not in circuit.channels:
                    ClientChannel("x", circuit, command.cid)
                assert join(circuit.send(command)) == bytes(command)
            except LocalProtocolError:
                assert circuit.send() == []
        elif not is_ours and circuit.error is None:
            commands, _ = circuit.recv(pack_header(fields) + payload)
            for command in commands:
                try:
                    circuit.process_command(command)
                except RemoteProtocolError as error:
                    assert str(error)
        channels = {*circuit.channels.values(), *circuit.channels_sid.values()}
        alive = [number for channel in channels for number in channel.subscriptionids]
        assert sorted(alive) == sorted(circuit.subscriptions), "each belongs to one channel"


@settings(max_examples=100)
@given(st.sampled_from([CLIENT, SERVER]), st.lists(st.binary(max_size=100), max_size=5))
def test_any_bytes_give_commands_or_the_documented_error(role, chunks):
    circuit = busy_pair().circuits[role]
    try:
        for chunk in chunks:
            for command in circuit.recv(chunk)[0]:
                circuit.process_command(command)
    except RemoteProtocolError:
        pass


# --- which channel a command is about -------------------------------------------------------------


def test_the_channel_of_each_command_is_known():
    pair = Pair().greet()
    client, server = pair.client, pair.server
    pair.connect("other", sid=71)
    channel = ClientChannel("x", client)
    assert client.channel_of(channel.create()) is channel
    pair.send(CLIENT, channel.create())
    other = server.channels[channel.cid]
    for command in (other.rights(3), other.create(6, 1, 70), other.create_fail()):
        assert client.channel_of(command) is channel
    pair.send(SERVER, other.rights(3), other.create(6, 1, 70))
    requests = channel.read(), channel.write(1.0, notify=True), channel.write(1.0, notify=False)
    for command in (*requests, ReadRequest(6, 1, 70, 50), channel.subscribe(subscriptionid=60)):
        assert client.channel_of(command) is channel
        pair.send(CLIENT, command)
        assert server.channel_of(command) is other
    replies = other.read(1.0, requests[0].ioid), other.write(requests[1].ioid)
    for command in (*replies, ReadResponse(1.0, 6, 1, 70, 50), other.subscribe(1.0, 60)):
        assert client.channel_of(command) is channel
        pair.send(SERVER, command)
    error = ErrorResponse(requests[2].header, channel.cid, CAStatus.ECA_PUTFAIL, "no")
    assert client.channel_of(error) is channel
    cancel = channel.unsubscribe(60)
    assert client.channel_of(cancel) is channel
    pair.send(CLIENT, cancel)
    for command in (other.subscribe(1.0, 60), other.unsubscribe(60)):
        assert client.channel_of(command) is channel
    for command in (channel.clear(), other.clear(), other.disconnect()):
        assert client.channel_of(command) is channel


def test_some_commands_are_about_no_channel():
    client = Pair().greet().client
    for command in (
        EchoResponse(), VersionResponse(13), AccessRightsResponse(5, 3),
        ReadNotifyResponse(1.0, 6, 1, 1, 99), EventAddResponse(1.0, 6, 1, 1, 99),
    ):
        assert client.channel_of(command) is None
