"""One lock at a time, for a moment: enforced while a client is driven hard; and no deadlocks."""
from __future__ import annotations

import gc
import logging
import random
import threading
import weakref
from types import SimpleNamespace

import pytest

import caproto as ca
from caproto import CaprotoError, ChannelType, _locks
from caproto._client import backoff, callbacks
from caproto._client.backoff import LONGEST_PAUSE, Loss
from caproto._os.sockets import WakeUp
from caproto.threading import _transport, _waiting
from caproto.threading.client import Context, _searchers
from tests.conformance.items import item
from tests.harness.discipline import Discipline
from tests.harness.fake_server import FakePV, FakeServer, ignore

#: Elements of the arrays that go through the pipe in both directions at once: 20 MB.
BIG = 20_000_000


@pytest.fixture
def discipline(monkeypatch):
    """Locks that check; waiting, sleeping and user code are watched, too."""
    rules = Discipline(monkeypatch)
    for owner, name in (
        (_waiting.Poller, "wait"),
        (_waiting.OneShot, "wait"),
        (WakeUp, "wait"),
        (_transport, "wait_writable"),
        (_transport, "hang_up"),
        (threading.Thread, "start"),
    ):
        rules.forbid(owner, name)

    class CheckingReference(weakref.ref):
        """The last strong reference may die while somebody looks at the object."""

        def __call__(self):
            if rules.held:
                rules.offend("a look at a weak reference")
            return super().__call__()

    class CheckingMethod(weakref.WeakMethod):
        def __call__(self):
            if rules.held:
                rules.offend("a look at a weak reference")
            return super().__call__()

    checking = SimpleNamespace(ref=CheckingReference, WeakMethod=CheckingMethod)
    for module in (callbacks, _searchers):
        monkeypatch.setattr(module, "weakref", checking)
    monkeypatch.setattr(backoff, "FIRST_PAUSE", 0.01)
    monkeypatch.setitem(LONGEST_PAUSE, Loss.REFUSED, 0.01)
    with rules.logging():
        yield rules


def test_the_discipline_is_checked_at_all(discipline):
    one, two = _locks.Lock(), _locks.Lock()
    with one:
        with two:
            pass
        with one:
            pass
        _waiting.OneShot().wait(0)
        logging.getLogger("caproto.circ").debug("a message")
        assert callbacks.make_reference(discipline.took, False, None)() == discipline.took
    with one:
        pass
    assert discipline.taken == 4
    expected = (
        "a second lock", "the same lock again", "a second lock", "wait", "emit",
        "a look at a weak reference",
    )
    assert [offence.rpartition(" in ")[0] for offence in discipline.offences] == list(expected)


class Crowd:
    """Threads that use a Context in all ways at once, and a server that misbehaves."""

    def __init__(self, server: FakeServer, ctx: Context, discipline: Discipline) -> None:
        self.server, self.ctx, self.discipline = server, ctx, discipline
        self.names = list(server.pvs)
        self.failures: list[Exception] = []
        self.updates = 0
        self.over = threading.Event()

    @property
    def enough(self) -> bool:
        """Whether there was opportunity for mistakes."""
        return (
            self.discipline.taken > 15_000
            and self.updates > 300
            and len(self.server.connections) > 6
        )

    def callback(self, *_) -> None:
        self.updates += 1
        if self.discipline.held:
            self.discipline.offend("a user callback")

    def user(self, seed: int) -> None:
        """Do things at random."""
        rng = random.Random(seed)
        steps = [
            self.read, self.write, self.listen, self.leave, self.lose_callback, self.idle,
            self.look, self.table,
        ]
        while not self.over.is_set():
            (pv,) = self.ctx.get_pvs(
                rng.choice(self.names), priority=rng.choice((0, 7)),
                connection_state_callback=self.callback, access_rights_callback=self.callback,
            )
            try:
                rng.choice(steps)(pv, rng)
            except CaprotoError:
                pass  # the server does what it can to provoke these
            except Exception as error:
                self.failures.append(error)

    def read(self, pv, rng) -> None:
        if rng.random() < 0.5:
            pv.read(timeout=0.2)
        else:
            pv.read(wait=False, callback=self.callback, timeout=0.2)

    def write(self, pv, rng) -> None:
        pv.write([1.0] * rng.choice((1, 2000)), wait=rng.random() < 0.5, timeout=0.2)

    def listen(self, pv, rng) -> None:
        pv.subscribe().add_callback(self.callback)

    def leave(self, pv, rng) -> None:
        pv.unsubscribe_all()

    def lose_callback(self, pv, rng) -> None:
        def short_lived(response):
            self.callback()

        pv.subscribe(data_type="time").add_callback(short_lived)

    def idle(self, pv, rng) -> None:
        pv.go_idle()

    def look(self, pv, rng) -> None:
        manager = pv.circuit_manager
        if manager is not None:
            (manager.events_off if rng.random() < 0.3 else manager.events_on)()
            repr(manager), manager.pvs, manager.subscriptions
        repr(self.ctx), repr(pv), self.ctx.explain(pv)
        self.ctx.broadcaster.search_now()
        self.ctx.broadcaster.time_since_last_heard()

    def table(self, pv, rng) -> None:
        names = rng.sample(self.names, 4)
        table = self.ctx.table(names, count=rng.choice((1, 2000)), priority=pv.priority)
        with table.monitor() as live, table.record(timeout=0.01) as recording:
            table.read(timeout=0.2)
            table.write(1.0, wait=rng.random() < 0.5, timeout=0.2)
            live.wait(0.01)
            live.snapshot()
            for updates in recording:
                self.updates += len(updates)
                break
            with table.monitor(self.callback, period=0.01):
                live.wait(0.02)

    def trouble(self, seed: int) -> None:
        """Do to the client what servers and networks do."""
        rng = random.Random(seed)
        server = self.server
        number = 0
        while not self.over.is_set():
            number += 1
            name = rng.choice(self.names)
            if number % 30 == 0:
                server.drop_all(graceful=rng.random() < 0.5)
            for connection in server.open_connections:
                try:
                    connection.post(name)
                    if rng.random() < 0.1:
                        connection.send(connection.channel(name).rights(rng.choice((1, 3))))
                    if rng.random() < 0.02:
                        connection.send(connection.channel(name).disconnect())
                except (CaprotoError, KeyError):
                    pass
            if server.searches and rng.random() < 0.1:
                beacon = bytes(ca.Beacon(13, server.port, number))
                server._udp.sendto(beacon, server.searches[-1].sender_address)
            if rng.random() < 0.1:
                gc.collect()
            self.over.wait(0.002)


def test_a_thread_holds_one_lock_at_most_whatever_happens(discipline, wait_for):
    pvs = {f"pv{i}": FakePV([float(i)] * 2000) for i in range(8)}
    # Not judged: what it sends while a channel is going breaks the rules of its own side.
    with FakeServer(pvs, judge=False) as server:
        config = server.configuration.replace(conn_tmo=0.05, use_repeater=False)
        ctx = Context(configuration=config, timeout=1)
        crowd = Crowd(server, ctx, discipline)
        threads = [threading.Thread(target=crowd.user, args=(seed,)) for seed in range(4)]
        threads.append(threading.Thread(target=crowd.trouble, args=(99,)))
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: crowd.failures or discipline.offences or crowd.enough, timeout=60)
        finally:
            crowd.over.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive(), "a deadlock"
        ctx.disconnect()
        assert discipline.offences == []
        assert crowd.failures == []


def test_two_full_pipes_do_not_lock_each_other(start_server, wait_for):
    """20 MB each way at once, the server reading nothing before it has written all."""
    server = start_server({"big": FakePV([0], ChannelType.CHAR, max_count=BIG)})
    server.on[ca.WriteRequest] = ignore
    with Context(configuration=server.configuration, timeout=60) as ctx:
        (big,) = ctx.get_pvs("big")
        sizes = []

        def note(response):
            sizes.append(len(response.data))

        big.subscribe().add_callback(note)
        wait_for(lambda: sizes == [1])
        connection = server.connection
        (number,) = connection.subscriptions("big")
        connection.stop_reading()
        writer = threading.Thread(target=big.write, args=(bytes(BIG),), kwargs={"wait": False})
        writer.start()
        wait_for(lambda: big.circuit_manager._circuit._transport.outbox, message="our pipe is full")
        # Blocks until the client has read it all.
        connection.send(ca.EventAddResponse(bytes(BIG), ChannelType.CHAR, BIG, 1, number))
        wait_for(lambda: sizes == [1, BIG])
        assert writer.is_alive() or big.circuit_manager._circuit._transport.outbox
        connection.go_on_reading()
        writer.join(30)
        assert not writer.is_alive()
        (request,) = server.wait_for(ca.WriteRequest, timeout=30)
        assert request.data_count == BIG


def test_a_callback_may_write_into_a_full_pipe(start_server, wait_for):
    """It is held up, the reader is not, and so the server gets to read in the end."""
    server = start_server({"big": FakePV([0], ChannelType.CHAR, max_count=BIG), "x": 1.5})
    server.on[ca.WriteRequest] = ignore
    with Context(configuration=server.configuration, timeout=60) as ctx:
        big, x = ctx.get_pvs("big", "x")
        big.wait_for_connection()
        done = threading.Event()

        def write(response):
            if response.data[0]:
                big.write(bytes(BIG), wait=False)
                done.set()

        big.subscribe().add_callback(write)
        manager = big.circuit_manager
        server.wait_for(ca.EventAddRequest)
        x.read()
        connection = server.connection
        connection.stop_reading()
        server.post("big", [1])
        wait_for(lambda: manager._circuit._transport.outbox, message="the callback is held up")
        backlog = manager.backlog
        server.post("big", [0])
        wait_for(lambda: manager.backlog > backlog, message="the reader is not")
        assert not done.is_set()
        connection.go_on_reading()
        assert done.wait(30)
        (request,) = server.wait_for(ca.WriteRequest, timeout=30)
        assert request.data_count == BIG


@item(51)
def test_many_threads_on_one_circuit_get_their_own_answers(start_server):
    server = start_server({f"pv{i}": float(i) for i in range(8)})
    with Context(configuration=server.configuration, timeout=30) as ctx:
        pvs = ctx.get_pvs(*server.pvs)
        wrong = []

        def ask(number: int) -> None:
            for _ in range(60):
                if pvs[number].read().data[0] != float(number):
                    wrong.append(number)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not wrong
        ids = [command.ioid for command in server.received(ca.ReadNotifyRequest)]
        assert len(ids) == len(set(ids)) == 8 * 60
        assert len(server.connections) == 1
