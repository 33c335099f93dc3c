"""`run`: serve until the process is told to end, in this process and in one of its own."""
from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from caproto import CaprotoNetworkError
from caproto.server import ChannelData, ChannelDouble, run
from tests.harness.ioc_process import ROOT, clean_environ
from tests.harness.own_server import loopback
from tests.harness.ports import LOOPBACK, free_port

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def _level():
    """`run` sets the level of our loggers."""
    logger = logging.getLogger("caproto")
    level = logger.level
    yield
    logger.setLevel(level)


def channel(startup: Callable[[ChannelData], None]) -> ChannelDouble:
    data = ChannelDouble(value=1.5)
    data.startup = startup
    return data


def end(number: signal.Signals = signal.SIGTERM) -> Callable[[ChannelData], None]:
    """A startup function that has the process told to end."""
    return lambda instance: os.kill(os.getpid(), number)


# ---- in this process -----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_the_old_handlers_are_back(number):
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    run({"x": channel(end(number))}, configuration=loopback())
    assert {n: signal.getsignal(n) for n in before} == before
    assert not [t for t in threading.enumerate() if t.name.startswith("ca-server")]


def test_it_prints_the_names_when_clients_can_connect(capsys):
    run({"x": channel(end()), "y": ChannelDouble(value=1.0)}, configuration=loopback())
    assert capsys.readouterr() == ("PVs: ['x', 'y']\n", "")


def test_it_prints_its_ports_if_it_is_asked_to(capsys):
    ports = []

    def connect(instance: ChannelData) -> None:
        ports.append(port)
        with socket.create_connection((LOOPBACK, port), timeout=10):
            end()(instance)

    port = free_port()
    run(
        {"x": channel(connect)}, interfaces=[LOOPBACK], port=port, print_ports=True,
        print_names=False, configuration=loopback(interfaces=("127.0.0.2",)),
    )
    assert capsys.readouterr() == (f"Ports: tcp={port} udp={port}\n", "")
    assert ports == [port]


def test_the_level_of_the_log_is_set():
    logger = logging.getLogger("caproto")
    levels = []
    for level in ("debug", logging.ERROR):
        run({"x": channel(end())}, configuration=loopback(), log_level=level)
        levels.append(logger.level)
    assert levels == [logging.DEBUG, logging.ERROR]


def test_when_no_port_can_be_had_the_handlers_are_back(capsys):
    before = signal.getsignal(signal.SIGTERM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((LOOPBACK, free_port()))
        with pytest.raises(CaprotoNetworkError):
            run({}, configuration=loopback(), port=other.getsockname()[1])
    assert signal.getsignal(signal.SIGTERM) == before
    assert capsys.readouterr().out == ""


# ---- in a process of its own --------------------------------------------------------------------


def play(script: str, *numbers: signal.Signals) -> subprocess.CompletedProcess[str]:
    """Run *script* in the strict mode of Python; send it signals when it has printed a line."""
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", script],
        env=clean_environ(
            EPICS_CAS_INTF_ADDR_LIST=LOOPBACK,
            EPICS_CAS_SERVER_PORT=str(free_port()),
            EPICS_CAS_AUTO_BEACON_ADDR_LIST="NO",
        ),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            for number in numbers:
                process.send_signal(number)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    return subprocess.CompletedProcess(script, process.returncode, first + out, err)


def test_a_server_process_starts_and_ends_silently():
    script = """
from caproto.server import ChannelDouble
from caproto.threading.server import Server
with Server({"x": ChannelDouble(value=1.0)}):
    print("serving", flush=True)
"""
    done = play(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "serving\n", "")


def test_importing_the_server_is_silent():
    done = play("import caproto.server, caproto.threading.server; print('imported')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "imported\n", "")


def test_a_function_that_never_returns_does_not_keep_the_process():
    """It does not print: Python aborts if a daemon is in the middle of that as it ends."""
    script = """
import time
from caproto.server import PVGroup, pvproperty, run

class Group(PVGroup):
    x = pvproperty(value=1.0)

    @x.startup
    def x(self, instance):
        while True:
            time.sleep(0.001)

run(Group())
"""
    done = play(script, signal.SIGTERM)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_server_that_is_never_stopped_does_not_keep_the_process():
    script = """
from caproto.server import ChannelDouble
from caproto.threading.server import Server
server = Server({"x": ChannelDouble(value=1.0)}).start()
print("started")
"""
    done = play(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "started\n", "")
