"""The real C client against our server: connections that last, break, come back, and are many."""
from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from caproto import ReadNotifyResponse
from caproto.server import ChannelDouble, ChannelInteger
from tests.conformance.items import item
from tests.harness.ioc_process import DemoIOC
from tests.harness.libca import run_libca
from tests.harness.own_server import OwnServer
from tests.harness.ports import LOOPBACK, free_port
from tests.harness.raw_client import RawClient
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.libca, item(83)]


def test_names_with_modifiers():
    """``.VAL``, sections and filters, in the way of the C client."""
    data = ChannelInteger(value=list(range(10)))
    with OwnServer({"wave": data, "x": ChannelDouble(value=0.0)}) as server:
        seen = run_libca(
            """
            for name in ("wave.VAL", "wave.", "wave.[2:2:8]", 'wave.{"arr":{"s":-3}}'):
                report(epics.caget(name, timeout=10).tolist())
            report(epics.caget("x.VAL", timeout=10))
            report(epics.caget("nope", timeout=0.2, connection_timeout=0.2))
            """,
            server.environ,
        )
    whole = list(range(10))
    assert seen == [whole, whole, [2, 4, 6, 8], [7, 8, 9], 0.0, None]


@item(61)
def test_a_server_is_found_through_its_address_as_a_name_server():
    """With searches over TCP and nothing else."""
    with OwnServer({"x": ChannelDouble(value=1.5)}) as server:
        environ = {
            "EPICS_CA_ADDR_LIST": "",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CA_NAME_SERVERS": f"{LOOPBACK}:{server.tcp_port}",
            "EPICS_CA_SERVER_PORT": str(free_port()),
            "EPICS_CA_REPEATER_PORT": str(free_port()),
        }
        seen = run_libca(
            """
            missing = epics.PV("nope")
            x = epics.PV("x")
            assert x.wait_for_connection(timeout=10)
            report([x.get(), x.put(2.5, wait=True), x.get(use_monitor=False), missing.connected])
            report(x.host)
            """,
            environ,
        )
    assert seen[0][0] == 1.5 and seen[0][2:] == [2.5, False]
    assert seen[1].endswith(f":{server.tcp_port}")


def test_many_clients_at_once():
    """Eight processes, each writes a PV of its own and hears of those of all others."""
    count = 8
    pvs = {f"x{i}": ChannelInteger(value=0) for i in range(count)}
    script = f"""
    import time
    heard = {{}}
    def hear(pvname=None, value=None, **_):
        heard[pvname] = value
    pvs = [epics.PV(f"x{{i}}", callback=hear) for i in range({count})]
    assert all(pv.wait_for_connection(timeout=20) for pv in pvs)
    for number in range(1, 101):
        pvs[MINE].put(number, wait=number == 100)
    deadline = time.monotonic() + 40
    while sorted(heard.values()) != [100] * {count} and time.monotonic() < deadline:
        time.sleep(0.01)
    report(heard)
    """
    with OwnServer(pvs) as server:
        with ThreadPoolExecutor(count) as pool:
            results = list(pool.map(
                lambda i: run_libca(script.replace("MINE", str(i)), server.environ, 60),
                range(count),
            ))
        wait_for(lambda: not server.clients)
    assert results == [[dict.fromkeys(pvs, 100)]] * count


def test_idle_clients_hear_our_echo():
    """Else the second probe would come not 2 s, but 5 s later, and the channel would be lost."""
    pvs = {"x": ChannelDouble(value=1.5), "end": ChannelInteger(value=0)}
    echoes: list[float] = []
    enough = threading.Event()

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "EchoRequest" in record.getMessage():
                echoes.append(time.monotonic())
                if len(echoes) == 2:
                    enough.set()

    logger, note = logging.getLogger("caproto.circ"), Note()
    level = logger.level
    logger.addHandler(note)
    logger.setLevel(logging.DEBUG)
    try:
        with OwnServer(pvs) as server, ThreadPoolExecutor(1) as pool:
            result = pool.submit(
                run_libca,
                """
                import time
                states = []
                x = epics.PV("x", connection_callback=lambda conn, **_: states.append(conn))
                end = epics.PV("end", auto_monitor=True)
                assert x.wait_for_connection(timeout=10) and end.wait_for_connection(timeout=10)
                deadline = time.monotonic() + 40
                while not end.value and time.monotonic() < deadline:
                    time.sleep(0.01)
                report([states, x.get(use_monitor=False)])
                """,
                {**server.environ, "EPICS_CA_CONN_TMO": "2"},
                60,
            )
            assert enough.wait(30)
            pvs["end"].write(1)
            assert result.result() == [[[True], 1.5]]
    finally:
        logger.removeHandler(note)
        logger.setLevel(level)
    assert 1.5 < echoes[1] - echoes[0] < 4.5


@pytest.mark.slow
def test_clients_come_back_after_a_crash():
    """Subscriptions too; the C client begins to search up to 10 s after the loss."""
    with DemoIOC("slow_put") as ioc, ThreadPoolExecutor(1) as pool:
        result = pool.submit(
            run_libca,
            """
            import sys, time
            states, values = [], []
            quick = epics.PV(
                "slow:quick", auto_monitor=True,
                connection_callback=lambda conn, **_: states.append(conn),
                callback=lambda value, **_: values.append(value),
            )
            assert quick.wait_for_connection(timeout=10)
            quick.put(5, wait=True)
            def until(condition):
                deadline = time.monotonic() + 40
                while not condition():
                    assert time.monotonic() < deadline, (states, values)
                    time.sleep(0.01)
            until(lambda: values[-1:] == [5])
            quick.put(99)  # the sign to kill it
            until(lambda: states == [True, False])
            until(lambda: states == [True, False, True])
            until(lambda: values[-1] == 0)  # it has forgotten
            quick.put(7, wait=True)
            until(lambda: values[-1] == 7)
            report([states, quick.get(use_monitor=False)])
            """,
            ioc.environ,
            90,
        )
        wait_for(lambda: _value_of(ioc, "slow:quick") == 99, 30)
        ioc.restart()
        assert result.result() == [[[True, False, True], 7]]


def _value_of(ioc: DemoIOC, name: str) -> int:
    with RawClient(ioc.address) as client:
        return int(client.ask(client.connect(name).read(), ReadNotifyResponse).data[0])
