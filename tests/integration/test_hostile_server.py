"""A server that talks nonsense hurts nobody but its own PVs, and these only while it does."""
from __future__ import annotations

import itertools
import logging
import random
import re
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

import caproto as ca
from caproto import ChannelType
from caproto._client.backoff import LONGEST_PAUSE, Loss
from caproto.threading.client import Context
from tests.conformance.items import item
from tests.harness.fake_server import Connection, FakeServer, hang_up
from tests.harness.waiting import wait_for
from tests.vectors_support import SERVER_TO_CLIENT, streams

#: Seconds that the random attacks may take, and how many of them are enough.
BUDGET, ATTACKS, LEAST = 12.0, 400, 40
VICTIMS = 8  # one circuit each, by their priorities


@pytest.fixture
def good() -> Iterator[FakeServer]:
    with FakeServer({"good": 0.0, "other": 2.5}) as running:
        yield running


@pytest.fixture
def bad() -> Iterator[FakeServer]:
    """A server for nonsense; what the client answers to that need not make sense."""
    with FakeServer({"victim": 1.5, "second": 2.5}, judge=False) as running:
        yield running


@pytest.fixture
def ctx(good, bad) -> Iterator[Context]:
    """A Context that finds both servers."""
    configuration = good.configuration.replace(addr_list=(bad.address, good.address))
    with Context(configuration=configuration, timeout=15) as context:
        yield context


class Bystander:
    """A PV of the good server, monitored; nothing may happen to it."""

    def __init__(self, ctx: Context, server: FakeServer) -> None:
        self.server, self.posted, self.seen = server, [0.0], []
        (self.pv,) = ctx.get_pvs("good")
        self.pv.subscribe().add_callback(self.collect)
        wait_for(lambda: self.seen)
        self.manager = self.pv.circuit_manager

    def collect(self, response) -> None:
        self.seen.append(response.data[0])

    def move(self) -> None:
        """One value more, and a read."""
        self.posted.append(float(len(self.posted)))
        self.server.post("good", self.posted[-1])
        assert self.pv.read().data.tolist() == [self.posted[-1]]

    def check(self) -> None:
        """All values came, in order, over one connection."""
        self.move()
        wait_for(lambda: len(self.seen) >= len(self.posted))
        assert self.seen == self.posted
        assert self.pv.circuit_manager is self.manager and len(self.server.connections) == 1


@pytest.fixture
def bystander(ctx, good) -> Bystander:
    return Bystander(ctx, good)


def errors(caplog) -> list[str]:
    """What was logged as an error."""
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]


# ---- breaches, one by one


def raw(*fields: int, payload: bytes = b"") -> bytes:
    """A message made of its header's six numbers."""
    return struct.pack(">HHHHII", *fields) + payload


def reply(connection: Connection, command: int, data_type: int, count: int, size: int) -> bytes:
    """A reply to the read that is under way."""
    (request,) = connection.circuit.pending.values()
    return raw(command, size, data_type, count, 1, request.ioid, payload=bytes(size))


#: What the server sends while a read is under way -> what the log must say about it. What costs no
#: circuit: test_other_servers.
BREACHES: dict[str, tuple[Callable[[Connection], bytes], str]] = {
    "unknown_command": (lambda c: raw(99, 0, 0, 0, 0, 0), "unknown command number 99"),
    "odd_size": (lambda c: raw(15, 7, 0, 0, 0, 0, payload=bytes(7)), "not a multiple of 8"),
    "client_command": (lambda c: raw(8, 0, 0, 0, 0, 0), "unknown command number 8"),
}


@item(44, 25)
@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_is_reported_once_and_its_pv_comes_back(
    name, ctx, good, bad, bystander, caplog
):
    breach, expected = BREACHES[name]

    def create(connection: Connection, command: ca.CreateChanRequest) -> None:
        if command.name == "victim" or connection is not bad.connections[0]:
            bad.usual(connection, command)

    def misbehave(connection: Connection, command: ca.ReadNotifyRequest) -> None:
        if connection is bad.connections[0]:
            connection.send_raw(breach(connection))
        else:
            bad.usual(connection, command)

    bad.on.update({ca.CreateChanRequest: create, ca.ReadNotifyRequest: misbehave})
    victim, _second = ctx.get_pvs("victim", "second")
    victim.wait_for_connection()
    bad.wait_for(ca.CreateChanRequest, 2)
    with pytest.raises(ca.RemoteProtocolError, match=expected):
        victim.read(data_count=1)
    assert victim.read(data_count=1).data.tolist() == [1.5]
    assert len(bad.connections) == 2
    bystander.check()
    (error,) = errors(caplog)
    assert error.startswith(f"Protocol violation by 127.0.0.1:{bad.port}, closing the circuit: ")
    assert expected in error
    searched = Counter(search.name for search in bad.searches)
    assert searched["victim"] > 1 and searched["second"] > 1


@item(36)
def test_a_channel_that_nobody_asked_for_is_given_back(ctx, bad, bystander):
    (victim,) = ctx.get_pvs("victim")
    victim.wait_for_connection()
    bad.connection.send_raw(raw(18, 0, 6, 1, 777, 888))
    (error,) = wait_for(lambda: bad.errors)  # our server knows nothing of that channel either
    assert "ClearChannelRequest" in str(error) or "no channel has sid 888" in str(error)
    assert victim.read().data.tolist() == [1.5]
    bystander.check()


@item(14)
@pytest.mark.parametrize("count, size", [(1, 0), (2, 8), (0xFFFE, 16)])
def test_a_value_that_is_too_short_is_an_error_for_whoever_reads_it(
    count, size, ctx, bad, bystander
):
    def short(connection: Connection, command: ca.ReadNotifyRequest) -> None:
        connection.send_raw(reply(connection, 15, 6, count, size))

    bad.on[ca.ReadNotifyRequest] = short
    (victim,) = ctx.get_pvs("victim")
    with pytest.raises(ca.CaprotoError):
        _ = victim.read().data
    bad.on.clear()
    assert victim.read().data.tolist() == [1.5]
    bystander.check()


def test_a_server_that_hangs_up_on_each_channel_is_tried_again_and_again(
    ctx, bad, bystander, caplog
):
    bad.on[ca.CreateChanRequest] = hang_up
    (victim,) = ctx.get_pvs("victim")
    wait_for(lambda: len(bad.connections) >= 4)
    bad.on.clear()
    assert victim.read().data.tolist() == [1.5]
    bystander.check()
    assert not errors(caplog)


# ---- nonsense at random


def flip(data: bytearray, dice: random.Random) -> None:
    """Change single bits."""
    for _ in range(dice.randint(1, 8)):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def cut(data: bytearray, dice: random.Random) -> None:
    """Lose some bytes."""
    start = dice.randrange(len(data))
    del data[start : start + dice.randint(1, 40)]


def insert(data: bytearray, dice: random.Random) -> None:
    """Get some bytes too many."""
    start = dice.randrange(len(data))
    data[start:start] = dice.randbytes(dice.randint(1, 40))


def repeat(data: bytearray, dice: random.Random) -> None:
    """Say something twice."""
    start = dice.randrange(len(data)) // 8 * 8
    data[start:start] = data[start : start + 8 * dice.randint(1, 10)]


def exaggerate(data: bytearray, dice: random.Random) -> None:
    """Put an extreme number where a number may be."""
    size = dice.choice((2, 4))
    start = dice.randrange(len(data)) // size * size
    number = dice.choice((0, 1, 7, 8, 0xFFFF, 0xFFFE, 0x7FFFFFFF, 0xFFFFFFFF)) % (1 << 8 * size)
    data[start : start + size] = number.to_bytes(size, "big")


MUTATIONS = (flip, cut, insert, repeat, exaggerate)
RECORDED = [
    stream.data
    for stream in streams()
    if stream.direction == SERVER_TO_CLIENT and len(stream.data) < 10_000
]


def mutated(data: bytes, dice: random.Random) -> bytes:
    """*data* with one to three faults."""
    changed = bytearray(data)
    for mutation in dice.choices(MUTATIONS, k=dice.randint(1, 3)):
        if changed:
            mutation(changed, dice)
    return bytes(changed)


class Attacker:
    """Attacks each connection in a way of its own, determined by its number."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.numbers = itertools.count()
        self.attacks = 0
        self.broken: dict[Connection, float] = {}  # connections on a bad wire, and since when
        server.on[ca.CreateChanRequest] = self.attack

    def stop(self) -> None:
        """Be an honest server from now on."""
        self.server.on.clear()

    def tidy(self) -> None:
        """Hang up where the conversation got stuck."""
        for connection, since in list(self.broken.items()):
            if time.monotonic() - since > 0.1:
                del self.broken[connection]
                connection.close()

    def attack(self, connection: Connection, command: ca.CreateChanRequest) -> None:
        self.attacks = number = next(self.numbers)
        dice = random.Random(number)
        if number % 3 == 0:  # a conversation with somebody else, with faults
            connection.send_raw(mutated(dice.choice(RECORDED), dice))
            connection.close()
        elif number % 3 == 1:
            connection.send_raw(dice.randbytes(dice.randint(1, 4000)))
            connection.close()
        else:  # the right conversation, on a bad wire
            write = connection._write
            connection._write = lambda buffer: write(
                mutated(buffer, dice) if dice.random() < 0.5 else buffer
            )
            self.broken[connection] = time.monotonic()
            self.server.usual(connection, command)


def ask_everything(pv, state: str) -> None:
    """A connection callback: give the server something to answer."""
    if state == "connected":
        for data_type in (None, "time", "control", ChannelType.STRING):
            try:
                pv.read(wait=False, callback=look, data_type=data_type, timeout=0)
            except ca.CaprotoError:
                return  # lost again


def look(response) -> None:
    """A user who prints what comes: whatever is wrong with it must be an error of ours."""
    try:
        repr(response), response.data, response.metadata, response.native_data, response.strings
    except ca.CaprotoError:
        pass


def reads_well(pv) -> bool:
    """True if a read returns the value; False if it met the last bytes of an attack."""
    try:
        return pv.read().data.tolist() == [1.5]
    except ca.CaprotoError:
        return False


#: How a circuit may end: what the server said, that it hung up, or that it did before we had
#: heard that the connection was made.
END = re.compile("^Protocol violation|^Lost |will be retried$")


def ends(caplog) -> list[str]:
    """What circuits reported at their end."""
    return list(filter(END.search, caplog.messages))


@item(17, 44, 57)
def test_random_nonsense_hurts_nobody_but_its_own_pvs(
    ctx, good, bad, bystander, caplog, monkeypatch
):
    for loss in (Loss.BROKEN, Loss.USELESS):  # it would be left alone, and we want many attacks
        monkeypatch.setitem(LONGEST_PAUSE, loss, 0.01)
    attacker = Attacker(bad)
    victims = [
        ctx.get_pvs("victim", priority=priority, connection_state_callback=ask_everything)[0]
        for priority in range(VICTIMS)
    ]
    for victim in victims:
        victim.subscribe("time").add_callback(look)
    until = time.monotonic() + BUDGET
    while attacker.attacks < ATTACKS and time.monotonic() < until:
        bystander.move()
        attacker.tidy()
    attacks = attacker.attacks
    attacker.stop()
    bad.drop_all()
    assert attacks >= LEAST
    bystander.check()
    for victim in victims:
        wait_for(lambda victim=victim: reads_well(victim))
    for message in errors(caplog):
        where = f"127.0.0.1:{bad.port}"
        assert message.startswith(f"Protocol violation by {where}, closing the circuit: ")
    assert len(errors(caplog)) > attacks / 4
    # Each circuit reported its end once (but for the few whose channel the nonsense took away: we
    # hang up, without a word); the last ones live.
    over = len(bad.connections) - VICTIMS
    assert 0.9 * over < len(ends(caplog)) <= over
    assert len(bad.open_connections) == VICTIMS


@item(25)
def test_random_datagrams_hurt_nobody(ctx, bad, good, bystander, caplog):
    class Dice(random.Random):
        def nonsense(self) -> bytes:
            """No search reply, which could send us anywhere, may come out by chance."""
            kind = self.randrange(3)
            if kind == 0:
                return self.randbytes(self.randint(0, 15))
            command = self.choice((1, 7, 11, 15, 18, 99, 0xFFFF))
            return command.to_bytes(2, "big") + self.randbytes(self.randint(0, 1400))

    dice = Dice(13)
    answer = bad._answer_datagram

    def answer_with_noise(sock, data, sender) -> None:
        for _ in range(20):
            sock.sendto(dice.nonsense(), sender)
        answer(sock, data, sender)

    bad._answer_datagram = answer_with_noise
    for number in range(50):
        bad.pvs[f"n{number}"] = bad.pvs["victim"]
        assert ctx.get_pvs(f"n{number}")[0].read().data.tolist() == [1.5]
    bystander.check()
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
