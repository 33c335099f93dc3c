"""Servers that crash, come back, move or freeze, and what their users notice of it."""
from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from caproto import CaprotoTimeoutError, DisconnectedError
from caproto.threading.client import Context
from tests.conformance.items import item
from tests.harness.databases import many, many_names
from tests.harness.ioc_process import SoftIOC
from tests.harness.leaks import our_threads
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.ioc]


class Story(list):
    """What happened to one PV, in the order in which callbacks were told."""

    def state(self, pv, state):
        self.append(state)

    def update(self, response):
        self.append(response.data.tolist()[0])


@item(40)
def test_a_crash_and_a_restart_on_the_same_port(own_ioc):
    with Context(configuration=own_ioc.configuration, timeout=20) as ctx:
        story = Story()
        (pv,) = ctx.get_pvs(own_ioc.pv("double"), connection_state_callback=story.state)
        pv.subscribe().add_callback(story.update)
        wait_for(lambda: story == ["connected", 3.14])
        for _ in range(2):
            del story[:]
            pv.write(5)
            wait_for(lambda: story == [5])
            own_ioc.kill()
            wait_for(lambda: story[-1] == "disconnected")
            assert not pv.connected and pv.circuit_manager is None
            with pytest.raises(CaprotoTimeoutError, match="T:double"):
                pv.read(timeout=0.05)
            own_ioc.start()
            wait_for(lambda: story == [5, "disconnected", "connected", 3.14])
            assert pv.read().data.tolist() == [3.14]
        assert len(ctx.circuit_managers) == 1
        wait_for(lambda: Counter(t.name.split()[0] for t in our_threads())["ca-circuit"] == 1)


def test_a_server_that_comes_back_at_another_port(own_ioc):
    """As with several IOCs on one host: the search goes where the address list says."""
    other = free_port()
    configuration = own_ioc.configuration
    both = configuration.replace(
        addr_list=(f"127.0.0.1:{own_ioc.port}", f"127.0.0.1:{other}")
    )
    with Context(configuration=both, timeout=20) as ctx:
        story = Story()
        (pv,) = ctx.get_pvs(own_ioc.pv("double"), connection_state_callback=story.state)
        pv.subscribe().add_callback(story.update)
        wait_for(lambda: story == ["connected", 3.14])
        assert pv.circuit_manager.circuit.address == own_ioc.address
        own_ioc.kill()
        own_ioc.port = other
        own_ioc.start()
        wait_for(lambda: story == ["connected", 3.14, "disconnected", "connected", 3.14])
        assert pv.circuit_manager.circuit.address == ("127.0.0.1", other)
        assert pv.read().data.tolist() == [3.14]


def test_a_read_waits_through_a_restart(own_ioc):
    with Context(configuration=own_ioc.configuration, timeout=20) as ctx:
        (pv,) = ctx.get_pvs(own_ioc.pv("double"))
        pv.wait_for_connection()
        own_ioc.freeze()  # so that the read is under way when the server dies
        results = []
        reader = threading.Thread(target=lambda: results.append(pv.read().data.tolist()))
        reader.start()
        wait_for(lambda: pv.circuit_manager.circuit.pending)
        own_ioc.restart()
        reader.join(20)
        assert results == [[3.14]]


def test_the_type_of_a_record_may_change_with_a_restart(start_ioc):
    text = 'record({}, "$(P)it") {{ field(VAL, "{}") field(PINI, "YES") }}\n'
    first = start_ioc([text.format("ao", "1.5")])
    with Context(configuration=first.configuration, timeout=20) as ctx:
        updates = []

        def callback(response):
            updates.append((response.data_type.name, response.strings))

        (pv,) = ctx.get_pvs("T:it")
        pv.subscribe(data_type="time").add_callback(callback)
        wait_for(lambda: updates == [("TIME_DOUBLE", ["1.5"])])
        first.kill()
        start_ioc([text.format("stringout", "text")], port=first.port)
        wait_for(lambda: updates[1:] == [("TIME_STRING", ["text"])])
        pv.write("more")
        wait_for(lambda: updates[2:] == [("TIME_STRING", ["more"])])


def test_other_servers_are_not_disturbed(own_ioc, start_ioc):
    stable = start_ioc(prefix="S:")
    configuration = own_ioc.configuration.replace(
        addr_list=(f"127.0.0.1:{own_ioc.port}", f"127.0.0.1:{stable.port}")
    )
    with Context(configuration=configuration, timeout=20) as ctx:
        story, other = Story(), Story()
        (fragile,) = ctx.get_pvs(own_ioc.pv("double"), connection_state_callback=story.state)
        (pv,) = ctx.get_pvs(stable.pv("double"), connection_state_callback=other.state)
        pv.subscribe().add_callback(other.update)
        wait_for(lambda: story and len(other) == 2)
        own_ioc.kill()
        wait_for(lambda: story == ["connected", "disconnected"])
        for value in range(10):
            pv.write(value)
            assert pv.read().data.tolist() == [value]
        own_ioc.start()
        wait_for(lambda: fragile.connected)
        wait_for(lambda: other == ["connected", 3.14, *range(10)])


# ---- frozen


@item(38, 39)
def test_a_frozen_server_is_reported_and_refreshed_when_it_thaws(own_ioc, caplog):
    configuration = own_ioc.configuration.replace(conn_tmo=1.0)
    with Context(configuration=configuration, timeout=20) as ctx:
        story = Story()
        (pv,) = ctx.get_pvs(own_ioc.pv("double"), connection_state_callback=story.state)
        pv.subscribe().add_callback(story.update)
        wait_for(lambda: story == ["connected", 3.14])
        manager = pv.circuit_manager
        own_ioc.freeze()
        start, failures = time.monotonic(), []

        def read():
            try:
                pv.read(timeout=8)
            except DisconnectedError as error:
                failures.append(error)
            except CaprotoTimeoutError as error:
                failures.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            wait_for(lambda: story[-1] == "disconnected", 20)
            took = time.monotonic() - start
            assert 5.5 < took < 15  # one second of silence, five without an echo
            assert not pv.connected and "no response" in repr(pv)
            reader.join(20)
            assert len(failures) == 1 and f"127.0.0.1:{own_ioc.port}" in str(failures[0])
            assert pv.circuit_manager is manager and not manager.dead  # TCP decides, not we
            with pytest.raises(CaprotoTimeoutError, match="T:double.*no response"):
                pv.write(1, timeout=0.05)
        finally:
            own_ioc.thaw()
        wait_for(lambda: story == ["connected", 3.14, "disconnected", "connected", 3.14])
        assert pv.circuit_manager is manager  # the same circuit as before
        pv.write(6)
        wait_for(lambda: story[-1] == 6)
        messages = [record.getMessage() for record in caplog.records]
        assert any("does not respond" in message for message in messages)
        assert any("responds again" in message for message in messages)


def test_a_short_freeze_is_no_disconnection(own_ioc):
    configuration = own_ioc.configuration.replace(conn_tmo=0.2)
    with Context(configuration=configuration, timeout=20) as ctx:
        story = Story()
        (pv,) = ctx.get_pvs(own_ioc.pv("double"), connection_state_callback=story.state)
        wait_for(lambda: story)
        own_ioc.freeze()
        with pytest.raises(CaprotoTimeoutError, match="T:double"):
            pv.read(timeout=1)
        own_ioc.thaw()
        assert pv.read().data.tolist() == [3.14]
        assert story == ["connected"]


# ---- again and again


class Relief(SoftIOC):
    """An IOC that is loaded, and starts when its predecessor has died."""

    READY = "LOADED"

    def __init__(self, port):
        super().__init__([many(500)], port=port, environ={"SOFT_IOC_WAIT": "1"})

    def go(self):
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self._wait_for_line("READY", 30)
        self._check_started()
        return time.monotonic()


@item(40)
@pytest.mark.slow
@pytest.mark.parametrize("restarts", [4, pytest.param(20, marks=pytest.mark.thorough)])
def test_500_subscriptions_survive_many_restarts(request, restarts):
    """Each is back soon after the server, each time with exactly one first update."""
    names = many_names(500)
    updates, states = Counter(), {name: [] for name in names}

    def update(sub, response):
        assert response.data[0] == float(sub.pv.name[-5:])
        updates[sub.pv.name] += 1

    def changed(pv, state):
        states[pv.name].append(state)

    slowest = 0.0
    with ThreadPoolExecutor(1) as loader:
        ioc = Relief(free_port()).start()
        try:
            with Context(configuration=ioc.configuration, timeout=20) as ctx:
                pvs = ctx.get_pvs(*names, connection_state_callback=changed)
                for pv in pvs:
                    pv.subscribe().add_callback(update)
                for turn in range(restarts + 1):
                    serving = ioc.go()
                    following = loader.submit(Relief(ioc.port).start)
                    wait_for(
                        lambda: updates.total() >= 500 * (turn + 1),  # noqa: B023
                        20,
                        lambda: f"{updates.total()} updates, turn {turn}",  # noqa: B023
                    )
                    back = time.monotonic() - serving
                    slowest = max(slowest, back)
                    assert back < 3
                    assert set(updates.values()) == {turn + 1}
                    assert all(pv.connected for pv in pvs)
                    if turn == restarts:
                        break
                    ioc.kill()
                    ioc = following.result(30)
                for pv in pvs:  # anything more would have come before this
                    pv.read()
                assert set(updates.values()) == {restarts + 1}
                for name in names[::100]:
                    assert "1 PV Event Subscriptions" in "".join(ioc.command(f"dbel {name}"))
                history = ["connected", *(restarts * ["disconnected", "connected"])]
                assert all(story == history for story in states.values())
                assert len(our_threads()) == 3
        finally:
            ioc.kill()
            following.result(30).kill()
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n    {restarts} restarts: 500 PVs were back within {slowest:.2f} s")


def test_losing_the_server_is_logged_once_for_all_its_pvs(start_ioc, caplog):
    process = start_ioc([many(500)])
    with Context(configuration=process.configuration, timeout=20) as ctx:
        pvs = ctx.get_pvs(*many_names(500))
        wait_for(lambda: all(pv.connected for pv in pvs))
        with caplog.at_level(logging.INFO, "caproto"):
            process.kill()
            wait_for(lambda: not any(pv.connected for pv in pvs))
            wait_for(lambda: caplog.records)
        (record,) = caplog.records
        assert f"127.0.0.1:{process.port}" in record.getMessage()
        assert "500 PVs" in record.getMessage()
