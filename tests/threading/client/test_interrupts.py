"""Ctrl-C between any two lines of a call, and calls from finalizers and signal handlers.

The interrupted call may fail. Everything else is whole: other PVs of the circuit, new PVs,
subscriptions; and nothing is left behind.
"""
from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import threading
from collections.abc import Callable, Iterator

import pytest

from caproto import ReentrantCallError
from caproto._client.columns import Columns
from caproto.threading import _waiting
from caproto.threading._waiting import Deadline
from caproto.threading.client import PV, Batch, Context
from caproto.threading.client._info import fetch_metadata
from caproto.threading.client._table_monitors import Live, Recording
from tests.harness.fake_server import FakeServer
from tests.harness.interrupts import (
    collect_at_each_allocation,
    enter_each_line,
    interrupt_each_line,
    strike,
)
from tests.harness.leaks import our_threads
from tests.harness.waiting import wait_for


class World:
    """A client and a server, and the question whether the client is whole."""

    def __init__(self, server: FakeServer, ctx: Context) -> None:
        self.server, self.ctx = server, ctx
        self.x, self.y = ctx.get_pvs("x", "y")
        self.x.wait_for_connection()
        self.y.wait_for_connection()
        self.table = ctx.table(["x", "y"])
        self.told = threading.Event()
        self._numbers = itertools.count()
        self._updates = ctx.get_pvs("z")[0].subscribe()
        self.whole("the beginning")  # starts all threads that there will be
        self._threads = our_threads()

    def new_name(self) -> str:
        """The name of a PV that was never asked for."""
        name = f"new{next(self._numbers)}"
        self.server.pvs[name] = self.server.pvs["x"]  # type: ignore[index]
        return name

    def show(self, response: object) -> None:
        self.told.set()

    def whole(self, where: str, fresh: PV | None = None) -> None:
        """Fail unless everything works after an interrupt at *where*."""
        try:
            self.y.read(timeout=2)
            fresh = fresh or self.ctx.get_pvs(self.new_name())[0]
            fresh.wait_for_connection(timeout=2)
            self.told.clear()
            token = self._updates.add_callback(self.show)
            assert self.told.wait(2), "no update"
            self._updates.remove_callback(token)
            self.nothing_left()
        except Exception as error:
            raise AssertionError(f"an interrupt at {where} leaves it broken: {error}") from error

    def nothing_left(self) -> None:
        """Nothing waits for an answer that nobody will use."""
        for manager in self.ctx.circuit_managers.values():
            wait_for(lambda m=manager: not m.ioids, message="operations left")
            wait_for(lambda m=manager: not m.circuit.pending, message="requests are pending")
            wait_for(lambda m=manager: not m.circuit.ranges, message="requests of tables")
        for pv in self.ctx.pvs.values():
            assert not pv._waiters, f"waiters of {pv.name} are left"
        if hasattr(self, "_threads"):
            assert our_threads() <= self._threads, "threads are left"


@pytest.fixture
def world(start_server: Callable[..., FakeServer]) -> Iterator[World]:
    server = start_server({"x": 1.5, "y": 2.5, "z": 3.5})
    with Context(configuration=server.configuration, timeout=5) as ctx:
        yield World(server, ctx)


def ignore(_response: object) -> None:
    """A callback."""


def batch(world: World) -> None:
    with Batch(timeout=2) as block:
        block.read(world.x, ignore)
        block.write(world.y, 1, ignore)
        block.write(world.y, 2)


def watch_metadata(world: World) -> None:
    with world.x.watch_metadata():
        pass


def watch_connections(world: World) -> None:
    with world.ctx.watch_connections(ignore):
        pass


def monitor_table(world: World) -> None:
    with world.table.monitor() as live:
        live.wait(0)
        live.snapshot()


def record_table(world: World) -> None:
    with world.table.record(timeout=5) as recording:
        next(recording)


CALLS: dict[str, Callable[[World], object]] = {
    "read": lambda world: world.x.read(),
    "read, callback": lambda world: world.x.read(wait=False, callback=ignore),
    "write": lambda world: world.x.write(1),
    "write, no wait": lambda world: world.x.write(1, wait=False),
    "write, callback": lambda world: world.x.write([1], wait=False, callback=ignore),
    "batch": batch,
    "read many": lambda world: world.ctx.read("x", "y"),
    "write many": lambda world: world.ctx.write({"x": 1, "y": 2}),
    "table, read": lambda world: world.table.read(),
    "table, write": lambda world: world.table.write([1.5, 2.5]),
    "table, write, no wait": lambda world: world.table.write(1.5, wait=False),
    "table, monitor": monitor_table,
    "table, record": record_table,
    "info": lambda world: world.x.info(),
    "metadata": lambda world: fetch_metadata(world.x, Deadline(5)),
    "watch_metadata": watch_metadata,
    "watch_connections": watch_connections,
    "go_idle": lambda world: world.x.go_idle(),
    "go_idle, read": lambda world: (world.x.go_idle(), world.x.read()),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_client_is_whole_after_an_interrupt_at_any_line(world: World, name: str) -> None:
    call = CALLS[name]
    places = 0
    for where in interrupt_each_line(lambda: call(world)):
        world.x.unsubscribe_all()  # a watch that was interrupted goes on
        world.table.close()  # so does a monitor
        world.whole(where)
        assert world.x.read(timeout=2).data[0] >= 1.0, where
        places += 1
    assert places > 10


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["monitor", "record"])
def test_an_interrupt_while_a_monitor_is_collected(world: World, kind: str) -> None:
    """The interpreter drops an interrupt that strikes a finalizer, and the rest of that."""
    for line in itertools.count(1):
        monitors = [getattr(world.ctx.table(["x", "y"]), kind)()]
        wait_for(lambda: world.server.wished("x") == world.server.wished("y") == 1)
        struck: list[str] = []

        def interrupt(where: str, struck: list[str] = struck) -> None:
            struck.append(where)
            raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            strike(monitors.clear, line, interrupt)
        world.ctx.get_pvs(world.new_name())  # something to do for the search thread
        wait_for(lambda: world.server.wished("x") == world.server.wished("y") == 0)
        wait_for(lambda: not [one for one in world.x._tables if one is not world.table._core])
        if not struck:
            break
    assert line > 2


@pytest.mark.parametrize("kind", ["monitor", "record"])
def test_a_handler_that_closes_a_monitor_ends_the_wait_that_it_interrupts(
    world: World, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    struck: list[str] = []
    waited: list[bool] = []

    def wait(alarm: _waiting.Alarm, _deadline: _waiting.Deadline) -> bool:
        waited.append(bool(struck))
        if not struck:
            monitor.close()
        assert _waiting.Latched.wait_until(alarm, _waiting.Deadline(5)), (
            f"the close at {struck} wakes nobody"
        )
        return True

    def close(where: str) -> None:
        struck.append(where)
        monitor.close()

    for line in itertools.count(1):
        monitor = getattr(world.table, kind)()
        if kind == "record":
            came = 0
            while came < 2:
                came += len(next(monitor))
            call = functools.partial(next, monitor, None)
        else:
            while not monitor.snapshot().ok.all():
                assert monitor.wait(5)
            call = monitor.wait
        struck.clear()
        with monkeypatch.context() as patch:
            patch.setattr(_waiting.Alarm, "wait_until", wait, raising=False)
            strike(call, line, close)
        wait_for(lambda one=monitor: one.closed)
        if not struck or waited and not waited[-1]:
            break
    assert line > 20 and any(waited)


def test_a_handler_may_take_what_an_interrupted_step_of_a_recording_has(world: World) -> None:
    """Each update is given once, to one of the two."""
    table = world.ctx.table(["x"])

    def take(recording: Recording, came: list[float]) -> None:
        with contextlib.suppress(ReentrantCallError):
            for updates in recording:
                came += updates.value.tolist()

    for line in itertools.count(1):
        came: list[float] = []
        with table.record(timeout=0) as recording:
            wait_for(lambda: world.server.wished("x") == 1)
            world.server.post("x", 5.0)
            world.server.post("x", 6.0)
            waiting = recording._updates._batches[-1]
            wait_for(lambda parts=waiting: sum(map(len, parts)) == 3)
            step = functools.partial(take, recording, came)
            where = strike(step, line, lambda _where, handler=step: handler())
            assert came[1:] == [5.0, 6.0], where
            world.server.post("x", 7.0)
            wait_for(lambda one=recording: one._updates.ready)
            assert next(recording).value.tolist() == [7.0], where
        wait_for(lambda: world.server.wished("x") == 0)
        if where is None:
            break
    assert line > 20


def test_a_monitor_that_is_made_inside_the_close_of_another_one_is_a_monitor(world: World) -> None:
    made: list[Live] = []
    for line in itertools.count(1):
        first, other = world.table.monitor(), world.table.monitor()
        made.clear()
        where = strike(first.close, line, lambda _where: made.append(world.table.monitor()))
        wait_for(lambda one=first: one.closed)
        assert not other.closed, where
        world.table.close()
        assert other.closed and all(one.closed for one in made), where
        if not made:
            break
    assert line > 10


class TableHandler:
    """A signal handler that uses a table, in all ways."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.outcomes: dict[str, set[str]] = {}
        live = self.live = world.table.monitor()
        self.calls: dict[str, Callable[[], object]] = {
            "Live.snapshot": live.snapshot,
            "Live.changed": lambda: live.changed(0),
            "Live.column": lambda: live.column("values"),
            "Table.values": lambda: world.table.values,
            "Table.status": lambda: world.table.status,
            "Context.table": lambda: world.ctx.table(["x"]),
            "always": self.always,
        }

    def __call__(self) -> None:
        for name, call in self.calls.items():
            outcomes = self.outcomes.setdefault(name, set())
            try:
                call()
                outcomes.add("")
            except ReentrantCallError as error:
                outcomes.add(str(error).partition(" waits ")[0])

    def always(self) -> None:
        table = self.world.table
        assert len(table.connected) == 2 and "Table of 2 PVs" in repr(table)
        with table.monitor(), table.record():
            assert repr(self.live)


@pytest.mark.parametrize("call", ["snapshot", "read"])
def test_a_handler_that_uses_a_table_gets_an_answer_or_a_reason(world: World, call: str) -> None:
    handler = TableHandler(world)
    interrupted = handler.live.snapshot if call == "snapshot" else world.table.read
    for _where in enter_each_line(interrupted, handler):
        pass
    always = handler.outcomes.pop("always")
    assert always == {""}
    assert handler.outcomes == {name: {"", name} for name in handler.outcomes}
    wait_for(lambda: world.server.wished("x") == 1, message="the handlers' monitors were closed")
    handler.live.close()
    world.whole("all that")


USES: dict[str, Callable[[Live], object]] = {
    "snapshot": lambda live: live.snapshot(),
    "changed": lambda live: live.changed(0),
    "column": lambda live: live.column("values"),
    "values": lambda live: live.table.values,  # type: ignore[attr-defined]
    "close": lambda live: live.close(),
}


@pytest.mark.parametrize("use", USES)
def test_calls_on_two_contexts_that_interrupt_each_other_do_not_wait_for_each_other(
    start_server: Callable[..., FakeServer], monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    """Each holds the lock of its table when it is interrupted, and the handler wants the other."""
    server = start_server({"x": 1.5})
    contexts = [Context(configuration=server.configuration, timeout=5) for _ in range(2)]
    lives = [ctx.table(["x"]).monitor() for ctx in contexts]
    others = {live._updates.columns: other for live, other in zip(lives, lives[::-1], strict=True)}
    both_inside, copy = threading.Barrier(2), Columns.copy
    refused: list[ReentrantCallError] = []

    def interrupted_copy(columns: Columns) -> Columns:
        other = others.pop(columns, None)
        if other is not None:
            both_inside.wait(10)
            try:
                USES[use](other)
            except ReentrantCallError as error:
                refused.append(error)
        return copy(columns)

    monkeypatch.setattr(Columns, "copy", interrupted_copy)
    threads = [threading.Thread(target=live.snapshot, daemon=True) for live in lives]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive(), "a deadlock"
    if use == "close":
        wait_for(lambda: all(live.closed for live in lives))
    else:
        assert len(refused) == 2
    for ctx in contexts:
        ctx.disconnect()


class Handler:
    """A signal handler that uses another PV of the same circuit, in all ways."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.answers = 0
        self.refused: list[str] = []
        self.sub = world.y.subscribe(data_type="time")

    def __call__(self) -> None:
        y = self.world.y
        self.sub.clear()
        y.write(2.5, wait=False)
        y.read(wait=False, callback=ignore)
        y.circuit_manager.events_on()
        assert y.connected and repr(y) and repr(y.circuit_manager)
        try:
            self.sub.add_callback(ignore)
            assert y.read(timeout=5).data[0] == 2.5
            self.answers += 1
        except ReentrantCallError as error:
            self.refused.append(str(error))


@pytest.mark.parametrize("name", ["read", "write", "write, callback", "batch", "go_idle, read"])
def test_a_signal_handler_at_any_line_gets_an_answer_or_a_reason(world: World, name: str) -> None:
    call = CALLS[name]
    answers, refused = 0, []
    for where in enter_each_line(lambda: call(world), handler := Handler(world)):
        answers, refused = handler.answers, handler.refused
        assert world.x.read(timeout=2).data[0] >= 1.0, where
    assert answers > 20  # nearly all the others are struck under a lock
    for error in refused:
        assert error.startswith(("PV.read", "Subscription.add_callback")) and "inside" in error


@pytest.mark.parametrize("name", ["read", "write", "batch"])
def test_a_finalizer_at_any_allocation_unsubscribes_and_writes(world: World, name: str) -> None:
    class Widget:
        """In a cycle, like a widget with a parent."""

        def __init__(self) -> None:
            self.myself = self
            self.sub = world.y.subscribe()
            self.token = self.sub.add_callback(self.show)

        def show(self, response: object) -> None:
            pass

        def __del__(self) -> None:
            self.sub.remove_callback(self.token)
            world.y.write(2.5, wait=False)

    call = CALLS[name]
    for number in collect_at_each_allocation(lambda: call(world), Widget, 60):
        assert number and world.x.read(timeout=2)
    gc.collect()  # the last one, if the call made too few objects
    wait_for(lambda: not any(sub.wanted for sub in world.y.subscriptions))
    world.whole("the finalizers")
