"""What a client decides about a circuit: no socket, no thread, and a clock moved by hand.

The peer is the server's side of our own protocol object: whatever the session sends that is not
allowed fails the test.
"""
from __future__ import annotations

import contextlib
import logging
import math

import pytest

import caproto as ca
from caproto import SERVER, AccessRights, CAStatus, ChannelType, VirtualCircuit
from caproto._client.backoff import Loss
from caproto._client.circuit_session import CircuitSession
from caproto._client.deliveries import Deliveries
from caproto._client.descriptions import CircuitState
from caproto._client.operations import NotSent, Read
from caproto._client.pvs import PVState, PVTable

ADDRESS = ("10.0.0.1", 5064)


class Limit:
    """A deadline."""

    def __init__(self, moment: float = math.inf) -> None:
        self.moment, self.timeout, self.expired = moment, 1.0, False


class FakePV:
    """What the session knows of a PV."""

    log = logging.getLogger("caproto.ch")

    def __init__(self, name: str) -> None:
        self.name = name
        self.channel: ca.ClientChannel | None = None
        self.subscriptions: list[FakeSubscription] = []
        self.wants_idle = False

    @property
    def _may_idle(self) -> bool:
        return self.wants_idle and not any(sub.wanted for sub in self.subscriptions)

    def _rights_news(self, rights: AccessRights) -> tuple[()]:
        return ()


class FakeSubscription:
    """What it knows of a subscription."""

    def __init__(self, pv: FakePV) -> None:
        self.pv, self.wanted, self.event_id, self.refused = pv, True, None, False
        self._updates = object()
        pv.subscriptions.append(self)

    def _request(self, channel: ca.ClientChannel) -> ca.EventAddRequest:
        return channel.subscribe()

    def _stopped(self) -> None:
        self.event_id = None


class World:
    """A session, its server, and the time."""

    def __init__(self, version: int = 13, flow_control: bool = True) -> None:
        self.now = 100.0
        self.session = CircuitSession(
            ADDRESS, 0, version, host_name="here", client_name="me", connection_timeout=30.0,
            max_payload=1 << 20, flow_control=flow_control, now=self.now,
        )
        self.server = VirtualCircuit(SERVER, ("10.0.0.2", 40000), protocol_version=version)
        self.out = Deliveries()
        self.then = None
        self.error = None

    def send(self) -> list[ca.Message]:
        """What the session has to send, as the server gets it."""
        data = b"".join(bytes(part) for part in self.session.data_to_send())
        commands = self.server.feed(data)
        assert self.server.error is None
        for command in commands:
            self.server.process_command(command)
        return commands

    def receive(self, *commands: ca.Message) -> None:
        """Let the server send *commands*."""
        data = b"".join(bytes(part) for part in self.server.send(*commands))
        received = self.session.circuit.feed(data)
        self.out = Deliveries()
        self.then, self.error = self.session.receive(received, self.now, self.out)

    def receive_raw(self, *commands: ca.Message) -> None:
        """Let the server send *commands* that its own rules forbid."""
        received = self.session.circuit.feed(b"".join(map(bytes, commands)))
        self.out = Deliveries()
        self.then, self.error = self.session.receive(received, self.now, self.out)

    def connect(self, *names: str) -> list[FakePV]:
        """PVs on the connected circuit."""
        session = self.session
        if session.state is CircuitState.CONNECTING:
            session.established(self.now)
            self.send()
            self.receive(ca.VersionResponse(self.server.protocol_version))
        pvs = [FakePV(name) for name in names]
        channels = session.attach(pvs)
        for pv, channel in channels.items():
            pv.channel = channel
        assert session.create(channels.values())
        for request in self.send():
            channel = next(c for c in self.server.channels.values() if c.cid == request.cid)
            self.receive(
                ca.AccessRightsResponse(request.cid, AccessRights(3)),
                channel.create(ChannelType.DOUBLE, 1, request.cid + 1000),
            )
            assert [pv.name for pv in self.then.created] == [request.name]
        return pvs

    def subscribe(self, pv: FakePV) -> FakeSubscription:
        sub = FakeSubscription(pv)
        self.session.reconcile([sub])
        self.send()
        return sub

    def begin(self, operation, pv: FakePV) -> int:
        """Submit one operation."""
        number = self.session.new_number(pv.channel)
        message = operation.compose(pv.channel, number)
        self.session.submit(operation, pv.channel, number, message)
        return number


def read(pv: FakePV, moment: float = math.inf) -> Read:
    return Read(pv, None, Limit(moment))


def answer(number: int) -> ca.ReadNotifyResponse:
    return ca.ReadNotifyResponse([1.5], ChannelType.DOUBLE, 1, 1, number)


@pytest.fixture
def world() -> World:
    return World()


# ---- life ------------------------------------------------------------------------------------


def test_it_introduces_itself(world):
    assert [type(command) for command in world.send()] == [
        ca.VersionRequest, ca.ClientNameRequest, ca.HostNameRequest
    ]
    assert world.session.data_to_send() == []


def test_it_is_connected_when_the_connection_is_there(world):
    session = world.session
    assert session.state is CircuitState.CONNECTING and session.time_up(110.0) == 0.0
    session.established(105.0)
    assert session.state is CircuitState.CONNECTED and session.time_up(110.0) == 5.0


def test_a_connection_that_is_made_while_it_closes_does_not_revive_it(world):
    assert world.session.close_if_unused()
    world.session.established(105.0)
    assert world.session.state is CircuitState.CLOSING and world.session.over


def test_defaults_are_those_of_a_context():
    session = CircuitSession(ADDRESS, 3, 13, host_name="here", client_name="me", now=1.0)
    assert session.heartbeat.timeout == 30.0 and session.deadline == 31.0
    assert session.circuit.priority == 3


def test_it_carries_pvs_of_a_table(world):
    """A driver with one thread needs no other Carrier."""
    table: PVTable[PVState[CircuitSession], CircuitSession] = PVTable(contextlib.nullcontext())
    (pv,) = table.file(["x"], 0, lambda name: PVState(name, 0, world.now))
    table.announced([pv], world.now)
    steps = table.found(ADDRESS, [pv.key], {(ADDRESS, 0): world.session}, "", world.now)
    (session,) = steps.attach
    channels = session.attach(steps.attach[session])
    table.attached(session, channels)
    assert pv._describe(world.now) == "connecting to 10.0.0.1:5064"
    assert "connecting" in table.why_not_connected(pv, 2.0, world.now)
    session.established(world.now)
    world.now += 3.0
    text = table.why_not_connected(pv, 2.0, world.now)
    assert text.endswith("10.0.0.1:5064 was last heard 3.0 s ago")
    assert table.circuit_over((session.address, 0), session, world.now)


# ---- bytes, without a driver that frames them -------------------------------------------------


def test_bytes_in_pieces_of_any_size(world):
    (pv,) = world.connect("x")
    answers: list[ca.ReadNotifyResponse] = []
    read = Read(pv, answers.append)
    world.begin(read, pv)
    (request,) = world.send()
    reply = pv_reply(world, request)
    for position in range(len(reply)):
        then, error = world.session.receive_data(reply[position : position + 1], world.now)
        assert error is None
        for target, argument in then.out:
            target.deliver(argument)
    assert [answer.data[0] for answer in answers] == [1.5]


def test_bytes_that_create_a_channel(world):
    world.connect("x")
    y = FakePV("y")
    (y.channel,) = world.session.attach([y]).values()
    world.session.create([y.channel])
    (request,) = world.send()
    channel = next(c for c in world.server.channels.values() if c.cid == request.cid)
    data = b"".join(world.server.send(channel.create(ChannelType.DOUBLE, 1, 77)))
    then, error = world.session.receive_data(data, world.now)
    assert then.created == [y] and error is None


def test_bytes_that_break_the_protocol(world):
    (pv,) = world.connect("x")
    read = Read(pv, None)
    world.begin(read, pv)
    (request,) = world.send()
    header_of_odd_size = ca.EchoRequest().header  # its payload is not a multiple of 8
    broken = bytes(header_of_odd_size)[:2] + b"\0\7" + bytes(header_of_odd_size)[4:]
    then, error = world.session.receive_data(pv_reply(world, request) + broken, world.now)
    assert isinstance(error, ca.RemoteProtocolError)
    assert [target for target, _ in then.out] == [read]  # what came before it is not lost


def test_no_bytes_are_the_end(world):
    world.connect("x")
    then, error = world.session.receive_data(b"", world.now)
    assert isinstance(error, ca.CaprotoError) and "closed" in str(error)
    assert not len(then.out)


def pv_reply(world: World, request: ca.ReadNotifyRequest) -> bytes:
    """Encode the server's reply to a read."""
    return b"".join(bytes(part) for part in world.server.send(answer(request.ioid)))


def test_pvs_that_are_created(world):
    x, y = world.connect("x", "y")
    assert world.session.serves(x.channel) and world.session.serves(y.channel)
    assert set(world.session.routes.pvs.values()) == {x, y}


def test_a_channel_whose_pv_has_gone_meanwhile_is_cleared(world):
    world.connect("x")
    y = FakePV("y")
    (channel,) = world.session.attach([y]).values()
    world.session.create([channel])
    (request,) = world.send()
    del world.session.routes.pvs[channel.cid]
    world.receive(world.server.channels[request.cid].create(ChannelType.DOUBLE, 1, 77))
    assert not world.then.created
    assert [(type(c), c.sid) for c in world.send()] == [(ca.ClearChannelRequest, 77)]


def test_what_is_closing_takes_no_channel(world):
    (x,) = world.connect("x")
    world.session.closing()
    assert world.session.over and not world.session.serves(x.channel)
    assert world.session.attach([FakePV("y")]) is None
    assert not world.session.create([])
    with pytest.raises(NotSent, match="'x'"):
        world.session.new_number(x.channel)


@pytest.mark.parametrize(
    "error, useful, loss",
    [
        (None, True, Loss.CLOSED),
        (OSError("reset"), True, Loss.BROKEN),
        (OSError("reset"), False, Loss.USELESS),
    ],
)
def test_the_end(world, error, useful, loss):
    x, y = world.connect("x", "y")
    sub = world.subscribe(x)
    operation = read(y)
    number = world.begin(operation, y)
    if useful:
        world.begin(read(x), x)
        world.send()
        world.receive(answer(number + 1))
    end = world.session.end(error)
    assert end.pvs == [x, y] and end.operations == {number: operation}
    assert end.loss is loss and not end.connecting
    assert sub.event_id is None and world.session.data_to_send() == []
    assert world.session.state is CircuitState.DEAD
    world.session.closing()
    assert world.session.state is CircuitState.DEAD, "the end is the end"


def test_an_end_before_the_connection(world):
    assert world.session.end(OSError("refused")).connecting


# ---- subscriptions ---------------------------------------------------------------------------


def update(sub: FakeSubscription, value: float, status: int = 1) -> ca.EventAddResponse:
    return ca.EventAddResponse([value], ChannelType.DOUBLE, 1, status, sub.event_id)


class Wavering(FakeSubscription):
    """Users add its callback, and remove it at once, in other threads: each look is another one."""

    looks = [True, False, False, False]

    @property
    def wanted(self) -> bool:
        return self.looks.pop(0)

    @wanted.setter
    def wanted(self, value: bool) -> None:
        """The base class sets it first."""


def test_a_wish_that_changes_meanwhile_cancels_nothing_that_is_not_sent_yet(world):
    (pv,) = world.connect("x")
    sub = Wavering(pv)
    world.session.reconcile([sub, sub])
    [request] = world.send()
    assert request.subscriptionid == sub.event_id
    world.session.reconcile([sub])  # the change has left a note of its own
    assert sub.event_id is None and len(world.send()) == 1


def test_the_server_follows_the_wish(world):
    (x,) = world.connect("x")
    sub = FakeSubscription(x)
    world.session.reconcile([sub, sub])
    (request,) = world.send()
    assert type(request) is ca.EventAddRequest and sub.event_id == request.subscriptionid
    world.session.reconcile([sub])
    assert world.send() == []
    sub.wanted = False
    world.session.reconcile([sub, sub])
    (cancel,) = world.send()
    assert type(cancel) is ca.EventCancelRequest and sub.event_id is None
    assert not world.session.routes.subscriptions


def test_many_subscriptions_leave_together(world):
    pvs = world.connect(*"abcdef")
    subs = [FakeSubscription(pv) for pv in pvs]
    world.session.reconcile(subs)
    assert len(world.session.data_to_send()) == 1


def test_a_wish_for_a_pv_elsewhere_changes_nothing(world):
    elsewhere, waiting = FakePV("z"), FakePV("w")
    (waiting.channel,) = world.session.attach([waiting]).values()
    other = World()
    (theirs,) = other.connect("t")
    world.session.reconcile(map(FakeSubscription, (elsewhere, waiting, theirs)))
    assert not world.session.routes.subscriptions


def test_updates_in_their_order_with_replies(world):
    x, y = world.connect("x", "y")
    sub, operation = world.subscribe(x), read(y)
    number = world.begin(operation, y)
    world.send()
    world.receive(update(sub, 1.0), answer(number), update(sub, 2.0))
    assert world.out.targets == [sub._updates, operation, sub._updates]
    assert [response.data[0] for response in world.out.arguments] == [1.0, 1.5, 2.0]


def test_a_refused_subscription_is_reported_once(world):
    (x,) = world.connect("x")
    sub = world.subscribe(x)
    world.receive(update(sub, 0.0, CAStatus.ECA_NORDACCESS))
    ((refused, _),) = world.then.refused_updates
    assert refused is sub and not world.out
    world.receive(update(sub, 0.0, CAStatus.ECA_NORDACCESS))
    assert not world.then.refused_updates
    world.receive(update(sub, 3.0))
    assert world.out.targets == [sub._updates] and not sub.refused


def test_what_came_before_a_breach_is_good(world, monkeypatch):
    (x,) = world.connect("x")
    number = world.begin(read(x), x)
    process = world.session.circuit.process_command

    def refuse(command: ca.Message) -> None:
        if isinstance(command, ca.EchoResponse):
            raise ca.RemoteProtocolError("not now")
        process(command)

    monkeypatch.setattr(world.session.circuit, "process_command", refuse)
    world.send()
    world.receive_raw(answer(number), ca.EchoResponse(), answer(number))
    assert str(world.error) == "not now" and len(world.out) == 1


def test_a_message_that_is_wrong_costs_its_operation(world, monkeypatch):
    (x,) = world.connect("x")
    operation = read(x)
    number = world.begin(operation, x)
    world.send()

    def refuse(command: ca.Message) -> None:
        raise ca.MessageError("cut off")

    monkeypatch.setattr(world.session.circuit, "process_command", refuse)
    world.receive_raw(answer(number))
    assert [str(error) for error in world.then.deviations] == ["cut off"]
    ((_, error),) = world.out
    assert str(error) == "cut off" and world.error is None
    assert not world.session.routes.operations


# ---- giving channels back --------------------------------------------------------------------


def test_an_idle_channel_is_cleared(world):
    x, y = world.connect("x", "y")
    x.wants_idle = True
    world.session.idle(x, x.channel)
    assert world.session.idling and world.session.clear_idle() == [x]
    assert not world.session.idling
    (request,) = world.send()
    assert type(request) is ca.ClearChannelRequest and request.cid == x.channel.cid
    assert list(world.session.routes.pvs.values()) == [y]


def test_a_busy_channel_is_cleared_after_its_operations(world):
    (x,) = world.connect("x")
    x.wants_idle = True
    number = world.begin(read(x), x)
    world.send()
    world.session.idle(x, x.channel)
    assert world.session.clear_idle() == [] and world.session.idling
    world.receive(answer(number))
    assert world.session.clear_idle() == [x]


def test_a_channel_that_is_used_again_is_kept(world):
    (x,) = world.connect("x")
    x.wants_idle = True
    world.session.idle(x, x.channel)
    x.wants_idle = False
    assert world.session.clear_idle() == [] and not world.session.idling
    assert world.session.serves(x.channel)


def test_a_pv_of_another_circuit_is_not_cleared(world):
    (x,) = world.connect("x")
    (other,) = World().connect("x")
    other.wants_idle = True
    world.session.idle(other, other.channel)
    assert not world.session.idling and x.channel.connected


# ---- signs of life ---------------------------------------------------------------------------


def silence(world: World, seconds: float = 30.0):
    world.now += seconds
    return world.session.beat(world.now, -math.inf)


def test_a_quiet_server_is_asked(world):
    world.connect("x")
    assert world.session.deadline == world.now + 30.0
    assert silence(world) is None
    assert [type(command) for command in world.send()] == [ca.EchoRequest]
    world.receive(ca.EchoResponse())
    assert world.then.responding is None, "nothing was lost"
    assert world.session.deadline == world.now + 30.0


def test_before_the_deadline_nothing_is_asked(world):
    world.connect("x")
    world.now += 29.0
    assert world.session.beat(world.now, world.now) is None and world.send() == []
    assert world.session.deadline == world.now + 1.0


def test_an_old_server_is_asked_by_read_sync():
    world = World(version=2)
    world.connect("x")
    silence(world)
    assert [type(command) for command in world.send()] == [ca.ReadSyncRequest]


def test_a_server_that_does_not_respond(world):
    x, y = world.connect("x", "y")
    sub, operation = world.subscribe(x), read(y)
    number = world.begin(operation, y)
    world.send()
    silence(world)
    lost = silence(world, 5.0)
    assert lost.pvs == [x, y] and lost.operations == {number: operation}
    assert world.session.state is CircuitState.UNRESPONSIVE
    assert not world.session.serves(x.channel) and not world.session.over
    assert not world.session.circuit.pending
    world.send()
    world.receive(ca.EchoResponse())
    assert world.then.responding == [x, y]
    assert world.session.serves(x.channel)
    (refresh,) = world.send()  # what was missed meanwhile
    assert (type(refresh), refresh.ioid) == (ca.ReadNotifyRequest, sub.event_id)
    world.receive(answer(sub.event_id))
    assert world.out.targets == [sub._updates]


def test_beacons_are_signs_of_life_unless_they_are_odd(world):
    world.connect("x")
    world.session.beacon(True, 120.0)
    assert world.session.deadline == 150.0
    world.session.beacon(False, 121.0)
    world.session.beacon(True, 122.0)
    assert world.session.deadline == 150.0


def test_a_server_that_takes_no_bytes_is_asked_although_it_talks(world):
    (x,) = world.connect("x")
    sub = world.subscribe(x)
    world.now += 20
    world.receive(update(sub, 1.0))
    world.session.sending(100.0)
    assert world.session.deadline == 130.0


# ---- holding updates, and the log ------------------------------------------------------------


def test_updates_are_held_and_released(world):
    world.connect("x")
    world.session.hold(True)
    world.session.hold(False)
    assert [type(c) for c in world.send()] == [ca.EventsOffRequest, ca.EventsOnRequest]


def test_what_is_sent_is_kept_for_the_log_only_while_it_is_read(world, caplog):
    (x,) = world.connect("x")
    assert not world.session.sent
    with caplog.at_level(logging.DEBUG, "caproto.circ"):
        world.begin(read(x), x)
        silence(world)
    kinds = [type(command) for command in world.session.sent]
    assert kinds == [ca.ReadNotifyRequest, ca.EchoRequest]
    assert not caplog.records, "the driver logs, when its lock is released"


def test_a_circuit_that_is_over_sends_nothing_for_a_subscription(world):
    sub = FakeSubscription(FakePV("x"))
    world.session.end(None)
    world.session.data_to_send()
    world.session.reconcile([sub])
    assert world.session.data_to_send() == [] and sub.event_id is None
