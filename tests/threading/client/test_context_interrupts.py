"""Ctrl-C at each line of a call, and calls from finalizers and signal handlers at each line of it.

The interrupted call may fail. Everything else is whole, and nothing is left behind: operations,
waiters, threads, sockets.
"""
from __future__ import annotations

import contextlib
import gc
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest

from caproto import EventAddRequest, ReentrantCallError
from caproto._client.pvs import PVPhase
from caproto.threading.client import PV, Batch, Context, ContextDisconnectedError, SharedBroadcaster
from tests.harness.fake_server import FakeServer
from tests.harness.interrupts import (
    collect_at_each_allocation,
    enter_each_line,
    in_time,
    interrupt_each_line,
)
from tests.harness.leaks import open_sockets, our_threads
from tests.harness.waiting import wait_for
from tests.threading.client.told import Told, flush


class World:
    """A client with two connected PVs, and the question whether it is whole."""

    def __init__(self, server: FakeServer, ctx: Context) -> None:
        self.server, self.ctx = server, ctx
        self.x, self.y = ctx.get_pvs("x", "y")
        self.told = Told()
        self._numbers = itertools.count()
        self.watch()
        self.y.unsubscribe_all()
        self.x.wait_for_connection()
        self._sockets = open_sockets()

    def new_name(self) -> str:
        """The name of a PV that was never asked for."""
        name = f"new{next(self._numbers)}"
        self.server.pvs[name] = self.server.pvs["x"]
        return name

    def watch(self) -> None:
        """An update comes."""
        sub, told = self.y.subscribe(), Told()
        token = sub.add_callback(told)
        told.wait()
        sub.remove_callback(token)

    def check(self, where: str) -> None:
        """Everything works after an interrupt at *where*."""
        try:
            assert self.x.read(timeout=5).data[0] >= 1.5
            self.ctx.get_pvs(self.new_name())[0].wait_for_connection(timeout=5)
            self.watch()
            self.x.unsubscribe_all()
            flush(self.x)
            for name in ("x", "y"):
                wait_for(lambda name=name: self.server.wished(name) == 0)
            for manager in self.ctx.circuit_managers.values():
                assert not manager.ioids and not manager.circuit.pending
            assert not any(pv._waiters for pv in self.ctx.pvs.values())
            assert open_sockets() <= self._sockets
        except Exception as error:
            raise AssertionError(f"broken by what happened at {where}: {error}") from error


@pytest.fixture
def world(start_server: Callable[..., FakeServer]) -> Iterator[World]:
    server = start_server({"x": 1.5, "y": 2.5})
    with Context(configuration=server.configuration, timeout=5) as ctx:
        yield World(server, ctx)


def ignore(*_: object) -> None:
    """A callback."""


def ask_again(world: World) -> Callable[[], None]:
    """A call of get_pvs with a new name each time; the PV connects when it is asked for again."""

    def call() -> None:
        name = world.new_name()
        try:
            world.ctx.get_pvs(name, connection_state_callback=ignore)
        except KeyboardInterrupt:
            (pv,) = world.ctx.get_pvs(name)
            pv.wait_for_connection(timeout=5)
            raise

    return call


def wait_for_idle(world: World) -> Callable[[], None]:
    def call() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            world.x.go_idle()
        world.x.wait_for_connection()

    return call


def add_and_remove(world: World) -> None:
    sub = world.x.subscribe()
    sub.remove_callback(sub.add_callback(ignore))


def batch(world: World) -> None:
    with Batch(timeout=10) as block:
        block.read(world.x, ignore)
        block.write(world.y, 2.5)
        block.read(world.ctx.get_pvs(world.new_name())[0], ignore)


#: By name: given the world, the call to interrupt.
CALLS: dict[str, Callable[[World], Callable[[], object]]] = {
    "get_pvs": ask_again,
    "subscribe": lambda world: lambda: add_and_remove(world),
    "clear": lambda world: lambda: (
        world.x.subscribe().add_callback(ignore), world.x.unsubscribe_all()
    ),
    "go_idle": lambda world: lambda: world.x.go_idle(),
    "wait_for_connection": wait_for_idle,
    "explain": lambda world: lambda: world.ctx.explain(world.x),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_interrupt_at_any_line_breaks_nothing(world: World, name: str) -> None:
    places = 0
    for where in interrupt_each_line(CALLS[name](world)):
        world.check(where)
        places += 1
        assert places < 1000, where  # it grows with each interrupt
    assert places > 5


def test_an_interrupted_get_pvs_registers_no_callback(world: World) -> None:
    """Asked again it would be told twice."""
    told: list[str] = []

    def state(pv: PV, state: str) -> None:
        told.append(pv.name)

    for where in interrupt_each_line(
        lambda: world.ctx.get_pvs("x", connection_state_callback=state)
    ):
        world.x._state_callbacks = None
        flush(world.x)
        told.clear()
        world.ctx.get_pvs("x", connection_state_callback=state)
        flush(world.x)
        assert told == ["x"], where
        world.x._state_callbacks = None


def test_an_interrupted_disconnect_is_completed_by_the_next_one(
    start_server: Callable[..., FakeServer],
) -> None:
    server = start_server({"x": 1.5})
    threads, sockets = our_threads(), open_sockets()
    made: list[Context] = []

    def call() -> None:
        ctx = made[-1]
        ctx.disconnect()

    def start() -> None:
        ctx = Context(configuration=server.configuration, timeout=5)
        ctx.get_pvs("x")[0].read()
        made.append(ctx)

    start()
    for where in interrupt_each_line(call):
        made[-1].disconnect()
        made.clear()
        wait_for(lambda: our_threads() <= threads, message=f"threads are left by {where}")
        gc.collect()
        wait_for(lambda: server.open_connections == [])
        assert open_sockets() <= sockets, where
        start()


# What the interpreter mentions, it closes.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("own", [True, False])
def test_an_interrupted_constructor_leaves_nothing(
    start_server: Callable[..., FakeServer], own: bool
) -> None:
    server = start_server({"x": 1.5})
    configuration = server.configuration
    with contextlib.ExitStack() as stack:
        broadcaster: SharedBroadcaster | None = None
        if not own:
            broadcaster = SharedBroadcaster(configuration=configuration)
            stack.callback(broadcaster.disconnect)
            ctx = stack.enter_context(Context(broadcaster, timeout=5))
            ctx.get_pvs("x")[0].read()  # it has a thread, which forgets those that are gone
        threads, sockets = our_threads(), open_sockets()
        places, made = 0, []
        for where in interrupt_each_line(
            lambda: made.append(Context(broadcaster, configuration=configuration))
        ):
            made.clear()
            gc.collect(1)  # the young ones, which takes no time; all only if that is not enough
            if not (our_threads() <= threads and open_sockets() <= sockets):
                gc.collect()
            assert our_threads() <= threads and open_sockets() <= sockets, where
            places += 1
        assert 20 < places < 500
        made.clear()
        if not own:
            assert ctx.get_pvs("x")[0].read().data[0] == 1.5


#: What may be asked for anywhere: it needs no answer.
NOTED: dict[str, Callable[[World], object]] = {
    "clear": lambda world: world.x.unsubscribe_all(),
    "write": lambda world: world.x.write(1.5, wait=False),
    "write, callback": lambda world: world.x.write(1.5, wait=False, callback=ignore),
    "read": lambda world: world.x.read(wait=False, callback=ignore),
    "go_idle": lambda world: world.y.go_idle(),
    "facts": lambda world: (
        repr(world.ctx), repr(world.x), world.x.connected, world.ctx.pvs, world.x.subscriptions
    ),
}
#: What works where it can, and is refused elsewhere.
REFUSED: dict[str, Callable[[World], object]] = {
    "read": lambda world: world.x.read(),
    "write": lambda world: world.x.write(1.5),
    "get_pvs": lambda world: world.ctx.get_pvs(world.new_name(), connection_state_callback=ignore),
    "subscribe": lambda world: world.x.subscribe(mask=1).add_callback(ignore),
    "explain": lambda world: world.ctx.explain(world.x),
    "batch": batch,
}


def everything(world: World) -> None:
    """Frequent calls, to be entered at each line."""
    world.x.read()
    world.x.write(1.5)
    world.ctx.get_pvs(world.new_name(), connection_state_callback=ignore)
    add_and_remove(world)


def batch_and_idle(world: World) -> None:
    """Calls that take longer, to be entered at each line."""
    with Batch(timeout=10) as block:
        block.read(world.x, ignore)
        block.write(world.y, 2.5)
    world.y.go_idle()
    world.y.wait_for_connection()


@pytest.mark.parametrize("name", NOTED)
def test_what_needs_no_answer_may_be_asked_for_at_any_line(world: World, name: str) -> None:
    for where in enter_each_line(lambda: everything(world), lambda: NOTED[name](world)):
        assert world.x.read(timeout=5).data[0] == 1.5, where
    world.check(name)


def test_the_same_inside_a_batch_and_going_idle(world: World) -> None:
    def handler() -> None:
        world.x.write(1.5, wait=False)
        world.x.unsubscribe_all()
        with contextlib.suppress(ReentrantCallError):
            world.ctx.explain(world.y)

    for where in enter_each_line(lambda: batch_and_idle(world), handler):
        assert world.x.read(timeout=5).data[0] == 1.5, where
    world.check("the end")


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_an_answer_gets_it_or_is_refused_at_once(world: World, name: str) -> None:
    outcomes: list[str] = []

    def handler() -> None:
        try:
            REFUSED[name](world)
        except ReentrantCallError as error:
            outcomes.append(str(error))
        else:
            outcomes.append("")

    for _where in enter_each_line(lambda: everything(world), handler):
        world.x.unsubscribe_all()
    refused = [text for text in outcomes if text]
    assert refused and len(refused) < len(outcomes)
    assert all("while this thread was inside" in text for text in refused)
    world.check(name)


def test_a_context_may_be_disconnected_at_any_line_without_waiting(
    start_server: Callable[..., FakeServer],
) -> None:
    server = start_server({"x": 1.5})
    made: list[Context] = []

    def call() -> None:
        ctx = Context(configuration=server.configuration, timeout=5)
        made.append(ctx)
        with contextlib.suppress(ContextDisconnectedError):
            ctx.get_pvs("x")[0].wait_for_search()

    threads = our_threads()
    for where in enter_each_line(call, lambda: made and made.pop().disconnect(wait=False)):
        for ctx in made:
            ctx.disconnect()
        made.clear()
        wait_for(lambda: our_threads() <= threads, message=f"threads are left by {where}")
    made.pop().disconnect()


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("used", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_a_disconnect_may_interrupt_a_disconnect(
    start_server: Callable[..., FakeServer], wait: bool, used: bool
) -> None:
    """Also between the lines of the library below ours."""
    server = start_server({"x": 1.5})
    made: list[Context] = []
    outcomes: list[str] = []

    def ready() -> None:
        ctx = Context(configuration=server.configuration, timeout=5)
        made.append(ctx)
        if used:
            (x,) = ctx.get_pvs("x", connection_state_callback=ignore)
            x.read()
            flush(x)

    def handler() -> None:
        try:
            made[-1].disconnect(wait=wait)
            outcomes.append("")
        except ReentrantCallError as error:
            outcomes.append(str(error))

    def run() -> None:
        ready()
        for _where in enter_each_line(lambda: made[-1].disconnect(), handler, library=True):
            ready()
        made[-1].disconnect()

    threads = our_threads()
    in_time(run, 60)
    wait_for(lambda: our_threads() <= threads)
    refused = [text for text in outcomes if text]
    assert len(refused) < len(outcomes) / 2 and bool(refused) == wait


def test_a_finalizer_may_remove_its_callback_in_any_call(world: World) -> None:
    removed = []

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
            removed.append(self.token)

    for _ in collect_at_each_allocation(lambda: everything(world), Widget, 60):
        pass
    gc.collect()
    assert len(removed) == 60
    world.check("the end")
    assert not world.y.subscribe().callbacks


def test_a_pv_that_was_never_announced_is_found_by_its_first_use(world: World) -> None:
    """As an interrupt leaves it."""
    name = world.new_name()
    ctx = world.ctx
    ctx._home.table.file([name], 0, lambda name: PV(name, 0, ctx._home, 5, ctx._home.now()))
    pv = world.ctx.pvs[name, 0]
    assert pv._phase is PVPhase.NEW
    assert pv.read().data[0] == 1.5


def test_a_reader_thread_does_not_wait_for_itself(world: World) -> None:
    """A finalizer or log handler that runs in the thread through which the answer would come."""
    errors: list[str] = []
    done = threading.Event()

    def in_the_reader() -> None:
        for call in (world.x.read, lambda: world.ctx.disconnect()):
            try:
                call()
            except ReentrantCallError as error:
                errors.append(str(error))
        world.x.write(7.5, wait=False)
        done.set()

    world.x.circuit_manager._circuit.note(in_the_reader)
    assert done.wait(5)
    assert len(errors) == 2
    wait_for(lambda: world.server.pvs["x"].value == 7.5)
    assert world.x.read().data[0] == 7.5


def test_a_noted_removal_is_done_once_the_lock_is_free(world: World) -> None:
    told = Told()
    sub = world.x.subscribe()
    token = sub.add_callback(told)
    told.wait()
    with world.ctx._home.lock:
        sub.remove_callback(token)
        assert sub.callbacks  # noted
    wait_for(lambda: not sub.callbacks)
    wait_for(lambda: world.server.wished("x") == 0)
    assert len([c for c in world.server.received(EventAddRequest) if c.sid]) >= 1
    assert weakref.ref(told)() is told
