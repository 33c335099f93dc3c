"""The two ends of a circuit, with everything in flight between them that can be.

Each end does what it may do by what it knows; the wire delivers any number of bytes at any moment,
so that requests, replies, cancels and lost channels cross each other. Neither end ever breaks the
rules in the eyes of the other, and when all is delivered both know the same.
"""
from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from caproto import (
    CLIENT,
    SERVER,
    AccessRightsResponse,
    ClearChannelRequest,
    ClearChannelResponse,
    ClientChannel,
    CreateChanRequest,
    CreateChanResponse,
    CreateChFailResponse,
    ErrorResponse,
    EventAddRequest,
    EventAddResponse,
    EventCancelRequest,
    EventCancelResponse,
    Message,
    ReadNotifyRequest,
    ReadNotifyResponse,
    RemoteProtocolError,
    Role,
    ServerDisconnResponse,
    VersionRequest,
    VersionResponse,
    WriteNotifyRequest,
    WriteNotifyResponse,
)
from tests.pair import Pair

DOUBLE = 6
NUMBER = st.integers(0, 50)


def pick(items, number):
    """One of *items*, which must not be empty."""
    items = list(items)
    return items[number % len(items)]


class Ends(RuleBasedStateMachine):
    """A client's and a server's end, and bytes under way in both directions."""

    def __init__(self) -> None:
        super().__init__()
        pair = Pair()
        self.circuits = pair.circuits
        self.client, self.server = pair.client, pair.server
        self.wire: dict[Role, bytearray] = {CLIENT: bytearray(), SERVER: bytearray()}
        self.to_answer: list[Message] = []  # requests that the server has received
        self.next_sid = 70
        self.lost: set[int] = set()  # sids that the server has dropped or given back
        self.send(SERVER, VersionResponse(13))
        self.send(CLIENT, VersionRequest(0, 13))
        for _ in range(2):
            self.create(0)
        self.settle()

    def send(self, role: Role, *commands: Message) -> None:
        for buffer in self.circuits[role].send(*commands):
            self.wire[role] += buffer

    def open_channels(self):
        return [channel for channel in self.client.channels.values() if channel.connected]

    # --- the client

    @precondition(lambda self: len(self.client.channels) < 4)
    @rule(number=NUMBER)
    def create(self, number):
        self.send(CLIENT, ClientChannel(f"x{number}", self.client).create())

    @precondition(lambda self: self.open_channels())
    @rule(number=NUMBER, kind=st.sampled_from(["read", "write", "quiet", "subscribe", "clear"]))
    def request(self, number, kind):
        channel = pick(self.open_channels(), number)
        compose = {
            "read": channel.read,
            "write": lambda: channel.write(1.5, notify=True),
            "quiet": lambda: channel.write(1.5, notify=False),
            "subscribe": channel.subscribe,
            "clear": channel.clear,
        }
        self.send(CLIENT, compose[kind]())

    @precondition(lambda self: self.client.subscriptions)
    @rule(number=NUMBER, refresh=st.booleans())
    def cancel_or_refresh(self, number, refresh):
        subid = pick(self.client.subscriptions, number)
        (channel,) = [c for c in self.open_channels() if subid in c.subscriptionids]
        if refresh:
            self.send(CLIENT, channel.read(ioid=subid))
        else:
            self.send(CLIENT, channel.unsubscribe(subid))

    # --- the server

    @precondition(lambda self: self.to_answer)
    @rule(number=NUMBER, well=st.booleans())
    def answer(self, number, well):
        """Any request that waits: a server need not keep the order, but for one channel."""
        request = self.to_answer.pop(number % len(self.to_answer))
        self.ANSWERS[type(request)](self, request, well)

    def _created(self, request, well):
        if not well:
            self.send(SERVER, CreateChFailResponse(request.cid))
            return
        rights = AccessRightsResponse(request.cid, 3)
        created = CreateChanResponse(DOUBLE, 1, request.cid, self.next_sid)
        self.send(SERVER, rights, created)
        self.next_sid += 1

    def _read(self, request, well):
        if request.sid in self.lost:
            return
        if well:
            self.send(SERVER, ReadNotifyResponse([1.5], DOUBLE, 1, 1, request.ioid))
        else:
            self.send(SERVER, ErrorResponse(request, 0, 48, "no"))

    def _written(self, request, well):
        if request.sid not in self.lost:
            status = 1 if well else 160
            self.send(SERVER, WriteNotifyResponse(DOUBLE, 1, status, request.ioid))

    def _cancelled(self, request, well):
        if request.sid not in self.lost:
            self.send(
                SERVER, EventCancelResponse(DOUBLE, request.sid, request.subscriptionid, 0)
            )

    def _cleared(self, request, well):
        if request.sid not in self.lost:
            self.send(SERVER, ClearChannelResponse(request.sid, request.cid))
            self._forget(request.sid)

    ANSWERS = {
        CreateChanRequest: _created,
        ReadNotifyRequest: _read,
        WriteNotifyRequest: _written,
        EventCancelRequest: _cancelled,
        ClearChannelRequest: _cleared,
    }

    def _forget(self, sid):
        self.lost.add(sid)

    @precondition(lambda self: self.server.subscriptions)
    @rule(number=NUMBER)
    def update(self, number):
        subid = pick(self.server.subscriptions, number)
        self.send(SERVER, EventAddResponse([2.5], DOUBLE, 1, 1, subid))

    @precondition(lambda self: any(c.connected for c in self.server.channels.values()))
    @rule(number=NUMBER, often=st.integers(0, 5))
    def drop(self, number, often):
        if often:
            return  # rarely, so that the others have time to happen
        channel = pick([c for c in self.server.channels.values() if c.connected], number)
        self._forget(channel.sid)
        self.send(SERVER, ServerDisconnResponse(channel.cid))

    # --- the wire

    @precondition(lambda self: any(self.wire.values()))
    @rule(speaker=st.sampled_from([CLIENT, SERVER]), nbytes=st.integers(1, 400))
    def deliver(self, speaker, nbytes):
        data = bytes(self.wire[speaker][:nbytes])
        del self.wire[speaker][:nbytes]
        receiver = self.circuits[speaker.other]
        received = receiver.feed(data)
        assert receiver.error is None
        for command in received:
            self._receive(speaker, command)

    def _receive(self, speaker, command):
        if speaker is SERVER:
            self.client.process_command(command)
            return
        try:
            self.server.process_command(command)
        except RemoteProtocolError:
            # All that may be refused: a request for a channel that the server has dropped.
            assert command.sid in self.lost
            return
        assert getattr(command, "sid", None) not in self.lost
        if type(command) in self.ANSWERS:
            self.to_answer.append(command)

    # --- what always holds

    @invariant()
    def tables_agree(self):
        for circuit in self.circuits.values():
            subscribed = {n for c in circuit.channels_sid.values() for n in c.subscriptionids}
            assert subscribed == set(circuit.subscriptions) >= set(circuit._right_updates)
            sids = circuit.channels_sid.keys()
            assert {request.sid for request in circuit.pending.values()} <= sids

    def settle(self):
        """Deliver and answer everything."""
        while any(self.wire.values()) or self.to_answer:
            for speaker in CLIENT, SERVER:
                self.deliver(speaker, 1 << 20)
            while self.to_answer:
                self.answer(0, True)

    def teardown(self):
        self.settle()
        assert not self.client.pending and not self.server.pending
        assert not self.client._cancelling and not self.server._cancelling
        assert self.client.channels_sid.keys() == self.server.channels_sid.keys()
        assert self.client.channels.keys() == self.server.channels.keys()
        assert set(self.client.subscriptions) == set(self.server.subscriptions)


assert EventAddRequest not in Ends.ANSWERS  # answered by updates
TestEnds = Ends.TestCase
TestEnds.settings = settings(max_examples=150, stateful_step_count=60)
