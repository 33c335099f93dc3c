"""What happens to PVs and their circuits, as the background threads tell it."""
from __future__ import annotations

import contextlib
import gc
import logging
import threading

import pytest

from caproto import CaprotoNetworkError
from caproto._client.pvs import PVPhase
from caproto.threading.client import ContextDisconnectedError, _home
from caproto.threading.client._circuit import ClientCircuit
from tests.harness.leaks import open_sockets


class TestFinders:
    """Answers come by UDP and from name servers, so two threads may find PVs of one server."""

    @pytest.fixture
    def address(self, server):
        return "127.0.0.1", server.port

    @pytest.fixture
    def searched(self, server, ctx, wait_for):
        server.answers = lambda search: False
        pvs = ctx.get_pvs("x", "y")
        wait_for(lambda: all(pv._phase is PVPhase.SEARCHING for pv in pvs))
        return pvs

    def test_they_agree_on_one_circuit(self, server, ctx, searched, address, monkeypatch):
        both = threading.Barrier(2, timeout=10)
        made = []

        def make(*args, **options):
            both.wait()  # neither sees the circuit of the other in the table
            made.append(ClientCircuit(*args, **options))
            return made[-1]

        monkeypatch.setattr(_home, "ClientCircuit", make)
        sockets = open_sockets()
        threads = [
            threading.Thread(target=ctx._home.found, args=(address, 13, [(pv.name, 0)]))
            for pv in searched
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        for pv in searched:
            pv.wait_for_connection()
        assert len(made) == 2 and len(ctx.circuit_managers) == len(server.connections) == 1
        made.clear()
        ctx.disconnect()
        gc.collect()
        assert open_sockets() <= sockets

    def test_a_log_handler_may_use_the_context_while_a_circuit_is_made(
        self, ctx, searched, address, caplog
    ):
        """It logs its first commands; a handler that looks at us needs our lock."""
        looked = []

        class Look(logging.Handler):
            def emit(self, record) -> None:
                thread = threading.Thread(target=self.look)
                thread.start()
                thread.join(2)

            def look(self) -> None:
                # The circuit's own thread logs, too, perhaps after the test.
                with contextlib.suppress(ContextDisconnectedError):
                    looked.append(ctx.get_pvs("x"))

        look = Look()
        logger = logging.getLogger("caproto.circ")
        logger.addHandler(look)
        try:
            with caplog.at_level("DEBUG", "caproto.circ"):
                ctx._home.found(address, 13, [("x", 0)])
        finally:
            logger.removeHandler(look)
        assert looked and set(map(tuple, looked)) == {(searched[0],)}

    def test_one_that_comes_after_the_end_leaves_nothing(self, ctx, searched, address):
        ctx.disconnect()
        sockets = open_sockets()
        ctx._home.found(address, 13, [("x", 0)])
        gc.collect()
        assert not ctx.circuit_managers and open_sockets() == sockets

    def test_without_descriptors_they_are_searched_again(
        self, ctx, searched, address, monkeypatch, caplog, wait_for
    ):
        def fail(*_, **__):
            raise CaprotoNetworkError("no descriptors are left")

        monkeypatch.setattr(_home, "ClientCircuit", fail)
        with caplog.at_level(logging.WARNING, "caproto"):
            ctx._home.found(address, 13, [("x", 0), ("y", 0)])
        monkeypatch.undo()
        (record,) = caplog.records
        assert "no descriptors are left; 2 PVs of 127.0.0.1:" in record.getMessage()
        assert record.getMessage().endswith("will be retried")
        assert not ctx.circuit_managers
        assert ctx.explain("x").last_failure.reason == "no descriptors are left"


class TestWatching:
    class Waiter:
        def __init__(self) -> None:
            self.told = threading.Event()

        def answered(self, response) -> None:
            self.told.set()

    def test_what_is_ready_is_not_watched(self, ctx):
        (x,) = ctx.get_pvs("x")
        x.wait_for_connection()
        assert not ctx._home.watch(x, self.Waiter(), lambda: x.connected)
        assert not x._waiters

    def test_a_waiter_is_told_of_a_change(self, ctx):
        (x,) = ctx.get_pvs("x")
        waiter = self.Waiter()
        if ctx._home.watch(x, waiter, lambda: x.connected):
            assert waiter.told.wait(5)

    def test_the_end_is_told_each_time(self, server, ctx):
        server.answers = lambda search: False
        (x,) = ctx.get_pvs("x")
        waiter = self.Waiter()
        assert ctx._home.watch(x, waiter, lambda: x.connected)
        for _ in range(2):
            ctx._home.close("over")
            assert waiter.told.wait(5)
            waiter.told.clear()
        with pytest.raises(ContextDisconnectedError, match="^'x': over$"):
            ctx._home.watch(x, waiter, lambda: x.connected)
        ctx.disconnect()


def test_a_note_is_carried_out_whether_there_is_a_circuit_or_not(server, ctx, wait_for):
    server.answers = lambda search: search.name == "x"
    x, y = ctx.get_pvs("x", "y")
    x.wait_for_connection()
    names = []
    for pv in (x, y):
        ctx._home.note(pv, lambda: names.append(threading.current_thread().name))
    wait_for(lambda: len(names) == 2)
    assert sorted(name.split()[0] for name in names) == ["ca-circuit", "ca-udp"]
