"""The public face: what a reader of the tutorial types, against our demo IOC and a real one."""
from __future__ import annotations

import ctypes
import functools
import gc
import logging
import threading

import numpy
import pytest

import caproto
from caproto.threading import client
from caproto.threading.client import Batch, Context
from tests.harness.ioc_process import DemoIOC, SoftIOC
from tests.threading.client.told import flush


@pytest.fixture(
    scope="module", params=["demo", pytest.param("real", marks=pytest.mark.ioc)]
)
def walk(request):
    """An IOC that serves random_walk:dt and random_walk:x."""
    kinds = {"demo": lambda: DemoIOC("random_walk"), "real": lambda: SoftIOC(["random_walk.db"])}
    with kinds[request.param]() as process:
        yield process


@pytest.fixture
def ctx(walk, monkeypatch):
    """A Context that finds it by the environment, as in a shell."""
    for name, text in walk.environ.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("CAPROTO_DEFAULT_TIMEOUT", "20")  # 2 s are short for a busy machine
    with Context() as context:
        yield context


@pytest.fixture
def x(ctx):
    """random_walk:x at ten steps per second."""
    x, dt = ctx.get_pvs("random_walk:x", "random_walk:dt")
    dt.write(0.1)
    x.wait_for_connection()
    return x


@pytest.fixture
def quiet_again():
    """Undo what a test does to the level of the root of our loggers."""
    yield
    logging.getLogger("caproto").setLevel("NOTSET")


def test_connect(ctx):
    x, dt = ctx.get_pvs("random_walk:x", "random_walk:dt")
    assert "random_walk:dt" in repr(dt)
    dt.wait_for_connection()
    x.wait_for_connection()
    assert "connected to 127.0.0.1" in repr(dt) and dt.connected
    assert "0 searches pending, 1 circuit, 2 PVs" in repr(ctx)
    assert ctx.get_pvs("random_walk:dt", "random_walk:x") == [dt, x]


def test_read(ctx):
    (dt,) = ctx.get_pvs("random_walk:dt")
    res = dt.read()
    assert repr(res).startswith("ReadNotifyResponse(data=[") and "DOUBLE" in repr(res)
    assert isinstance(res.data, numpy.ndarray) and res.data.shape == (1,) and res.data[0] > 0
    assert isinstance(res.header, ctypes.BigEndianStructure)
    assert res.header.data_count == res.data_count == 1
    assert bytes(res) == bytes(res.header) + b"".join(map(bytes, res.buffers))
    (buffer,) = res.buffers
    assert bytes(res.data) == bytes(buffer)
    assert numpy.shares_memory(res.data, numpy.frombuffer(buffer, "u1"))
    assert res.status is caproto.CAStatus.ECA_NORMAL


def test_write(ctx):
    (dt,) = ctx.get_pvs("random_walk:dt")
    for data in ([1], 2, (3.5,), numpy.array([1.0])):
        dt.write(data)
        assert dt.read().data[0] == numpy.ravel(data)[0]


def test_subscribe(x, wait_for):
    responses, values = [], []

    def f(response):
        responses.append(response)

    def g(response):
        values.append(response.data[0])

    sub = x.subscribe()
    token = sub.add_callback(f)
    assert isinstance(token, int)
    sub.add_callback(g)
    wait_for(lambda: len(values) >= 5)
    assert len(x.circuit_manager.subscriptions) == 1
    sub.remove_callback(token)
    flush(x)
    # g came later, if only a moment: it was told the latest value first, and then the same as f
    told_f = [response.data[0] for response in responses]
    start = told_f.index(values[0])
    assert told_f[start:] == values[: len(told_f) - start]
    seen, more = len(responses), len(values) + 3
    wait_for(lambda: len(values) >= more)
    assert len(responses) == seen
    sub.clear()
    assert not sub.callbacks
    wait_for(lambda: not x.circuit_manager.subscriptions)
    flush(x)
    count = len(values)
    sub.add_callback(f)
    wait_for(lambda: len(responses) > seen)
    assert len(values) == count


def test_the_trap_of_the_weak_reference(x, caplog, wait_for):
    sub = x.subscribe()
    sub.add_callback(lambda response: print(response.data))
    gc.collect()
    wait_for(lambda: caplog.records)
    flush(x)
    assert not sub.callbacks
    (text,) = [record.getMessage() for record in caplog.records]
    assert "'random_walk:x'" in text


def test_go_idle(ctx, x, wait_for):
    (dt,) = ctx.get_pvs("random_walk:dt")
    dt.go_idle()
    wait_for(lambda: "idle" in repr(dt))
    assert dt.read().data[0] == 0.1
    assert "connected" in repr(dt)
    x.go_idle()
    wait_for(lambda: not x.connected)
    x.read()

    def f(response):
        pass

    x.subscribe().add_callback(f)
    x.go_idle()
    flush(x)
    flush(x)
    assert x.connected


def test_loggers(ctx, x, caplog, quiet_again):
    (dt,) = ctx.get_pvs("random_walk:dt")
    x.read()
    dt.read()
    assert not caplog.records
    x.log.setLevel("DEBUG")
    x.circuit_manager.log.setLevel("DEBUG")
    x.read()
    texts = [record.getMessage() for record in caplog.records]
    assert any("ReadNotifyRequest" in text for text in texts)
    assert any("ReadNotifyResponse" in text for text in texts)
    x.circuit_manager.log.setLevel("NOTSET")
    x.log.setLevel("NOTSET")  # at DEBUG it shows the requests and replies of this PV
    caplog.clear()
    x.read()
    assert not caplog.records
    assert x.context.log is ctx.log
    ctx.log.setLevel("DEBUG")
    logging.getLogger("caproto").setLevel("DEBUG")
    x.read()
    ctx.get_pvs("nobody")[0]
    assert {record.name for record in caplog.records} >= {"caproto.circ"}


def test_a_batch(ctx, x, wait_for):
    replies = {}
    (dt,) = ctx.get_pvs("random_walk:dt")
    with Batch(timeout=20) as batch:
        for pv in (x, dt):
            batch.read(pv, functools.partial(replies.__setitem__, pv))
    wait_for(lambda: len(replies) == 2)
    assert replies[dt].data[0] == 0.1


def test_other_forms_of_the_value(x):
    res = x.read(data_type="time")
    assert abs(res.metadata.timestamp - x.read(data_type="time").metadata.timestamp) < 10
    assert x.read(data_type="control").metadata.precision == 3
    assert float(x.read(data_type="STRING").strings[0]) == pytest.approx(
        x.read().data[0], abs=10
    )


def test_from_any_thread(ctx, x):
    """One PV, read by many threads at once, also from inside callbacks."""
    inside, failed = [], []

    def f(response):
        inside.append(x.read().data[0])

    def work():
        try:
            for _ in range(50):
                assert len(ctx.get_pvs("random_walk:x")[0].read().data) == 1
        except Exception as error:
            failed.append(error)

    x.subscribe().add_callback(f)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    flush(x)
    assert not failed and inside


def test_what_it_offers():
    for name in (
        "Batch", "Context", "PV", "SharedBroadcaster", "Subscription", "VirtualCircuitManager",
    ):
        assert name in client.__all__
        cls = getattr(client, name)
        assert cls.__module__ == "caproto.threading.client" and cls.__doc__
    for name in client.__all__:
        thing = getattr(client, name)
        if isinstance(thing, type) and issubclass(thing, Exception):
            assert issubclass(thing, caproto.CaprotoError)
            assert getattr(caproto, thing.__name__) is thing


def test_everything_that_it_offers_explains_itself():
    for name in ("Context", "PV", "SharedBroadcaster", "Subscription", "VirtualCircuitManager"):
        for attribute, thing in vars(getattr(client, name)).items():
            if not attribute.startswith("_") and (callable(thing) or isinstance(thing, property)):
                assert thing.__doc__, f"{name}.{attribute}"


#: What users find by tab completion.
FOR_USERS = {
    "Batch": "read write timeout",
    "Context": """
        broadcaster circuit_managers client_name closed configuration disconnect explain
        get_circuit_manager get_pv get_pvs host_name log pvs read reconnect timeout
        table watch_connections write
        """,
    "PV": """
        access_rights access_rights_callback channel circuit_manager connected
        connection_state_callback context go_idle info key log metadata name priority read server
        subscribe subscriptions time_since_last_heard timeout unsubscribe_all wait_for_connection
        wait_for_search watch_metadata write
        """,
    "SharedBroadcaster": """
        cancel configuration disconnect get_cached_search_result log new_id
        registration_retry_time remove_listener search search_now send time_since_last_heard
        """,
    "Subscription": """
        add_callback callbacks clear data_count data_type event_id high log low mask
        most_recent_response pv refused remove_callback to wanted
        """,
    "VirtualCircuitManager": """
        address all_created_pvnames backlog channels circuit connected context dead disconnect
        events_off events_on ioids log pauses pvs subscriptions time_since_last_heard
        """,
}


def test_tab_completion_shows_what_is_for_users(ctx):
    (x,) = ctx.get_pvs("random_walk:x")
    x.wait_for_connection()
    with client.Batch() as batch:
        pass
    for thing in (x, x.subscribe(), batch, ctx, ctx.broadcaster, x.circuit_manager):
        name = type(thing).__name__
        # IPython looks at the class, too.
        names = {*dir(thing), *dir(type(thing))}
        assert {n for n in names if not n.startswith("_")} == set(FOR_USERS[name].split())
