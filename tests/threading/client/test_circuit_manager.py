"""What users see of a circuit, and do with it."""
from __future__ import annotations

import threading

import pytest

import caproto as ca
from caproto.threading.client import CaprotoTimeoutError
from tests.harness.fake_server import ignore
from tests.threading.client.told import Told


@pytest.fixture
def x(ctx):
    (pv,) = ctx.get_pvs("x")
    pv.wait_for_connection()
    return pv


def test_facts(server, ctx, x):
    manager = x.circuit_manager
    assert manager is x.circuit_manager and ctx.circuit_managers == {(server.address, 0): manager}
    assert manager.context is ctx and manager.address == server.address and manager.connected
    assert manager.all_created_pvnames == ["x"]
    assert list(manager.pvs.values()) == [x] and list(manager.channels.values()) == [x.channel]
    assert manager.backlog == manager.pauses == 0 and not manager.subscriptions
    assert manager.time_since_last_heard() < 10
    host, port = server.address
    assert repr(manager).startswith(f"<VirtualCircuitManager: connected to {host}:{port}, ")
    assert repr(manager).endswith("priority 0, 1 PV, 0 subscriptions>")


def test_what_it_gives_is_a_copy(x):
    manager = x.circuit_manager
    manager.pvs.clear()
    assert manager.pvs


def test_ids_of_what_is_under_way(server, x):
    server.on[ca.WriteNotifyRequest] = ignore
    told = Told()
    x.write(1.0, wait=False, callback=told, timeout=0.2)
    (ioid,) = x.circuit_manager.ioids
    told.wait_for_calls(1)
    assert told.responses[0].ioid == ioid and not x.circuit_manager.ioids


def test_dead_is_a_truth_value_and_an_event(server, x, wait_for):
    manager = x.circuit_manager
    assert not manager.dead and not manager.dead.is_set() and repr(manager.dead) == "False"
    assert not manager.dead.wait(0.01)
    waiting = threading.Thread(target=manager.dead.wait)
    waiting.start()
    server.drop_all()
    waiting.join(10)
    assert not waiting.is_alive()
    assert manager.dead and manager.dead.is_set() and manager.dead.wait(0)


def test_disconnect_ends_the_connection_and_the_pvs_come_back(server, ctx):
    states = []

    def note(pv, state):
        states.append(state)

    (x,) = ctx.get_pvs("x", connection_state_callback=note)
    x.wait_for_connection()
    manager = x.circuit_manager
    manager.disconnect()
    assert manager.dead and not manager.connected
    x.wait_for_connection(timeout=10)
    assert x.circuit_manager is not manager and x.read().data[0] == 1.5
    assert states[:2] == ["connected", "disconnected"]


def test_inside_another_call_nobody_waits_for_the_end(server, ctx, x):
    manager = x.circuit_manager
    with manager._circuit._lock:
        with pytest.raises(ca.ReentrantCallError, match="dead.wait"):
            manager.dead.wait()
        assert not manager.dead.wait(0)


def test_disconnect_inside_another_call_is_left_to_the_reader_thread(server, ctx, x):
    manager = x.circuit_manager
    with manager._circuit._lock:
        manager.disconnect()
        assert not manager.dead
    manager._circuit.join(10)
    assert manager.dead
    x.wait_for_connection(timeout=10)


def test_events_can_be_held(server, x, wait_for):
    manager = x.circuit_manager
    manager.events_off()
    wait_for(lambda: server.received(ca.EventsOffRequest))
    manager.events_on()
    wait_for(lambda: server.received(ca.EventsOnRequest))
    with pytest.raises(CaprotoTimeoutError):
        x.context.get_pvs("not there")[0].read(timeout=0.01)
