"""The repeater for programs."""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from caproto._os.repeater import repeater_runs
from caproto.sync.repeater import run, spawn_repeater
from tests.harness.ioc_process import clean_environ
from tests.harness.ports import free_port, listens
from tests.harness.waiting import wait_for

_RUN = "from caproto.sync.repeater import run; run({arguments}); print('ended')"


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    number = free_port()
    monkeypatch.setenv("EPICS_CA_REPEATER_PORT", str(number))
    return number


def is_confirmed(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)
        try:
            client.sendto(b"", (host, port))
            return client.recv(100)[:2] == b"\x00\x11"
        except OSError:
            return False


@pytest.mark.parametrize(("arguments", "elsewhere"), [("", True), ("'127.0.0.1'", False)])
def test_it_runs_until_ctrl_c_on_the_interfaces_wanted(port, arguments, elsewhere):
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN.format(arguments=arguments)],
        env=clean_environ(EPICS_CA_REPEATER_PORT=str(port)),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: is_confirmed("127.0.0.1", port))
        assert is_confirmed("127.0.0.2", port) is elsewhere
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("ended\n", None)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def test_a_taken_port_is_an_error(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", port))
        with pytest.raises(OSError, match=f"the repeater cannot have port {port}"):
            run()


def test_a_wrong_variable_is_reported_once(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", port))  # so it ends at once
        ended = subprocess.run(
            [sys.executable, "-c", _RUN.format(arguments=f"port={port}")],
            env=clean_environ(
                EPICS_CA_REPEATER_PORT="x", EPICS_CAS_BEACON_ADDR_LIST="1:2:3",
                EPICS_CA_ADDR_LIST="4:5:6",
            ),
            capture_output=True, text=True, timeout=20,
        )
    assert "the repeater cannot have port" in ended.stderr
    for name in ("EPICS_CA_REPEATER_PORT", "EPICS_CAS_BEACON_ADDR_LIST", "EPICS_CA_ADDR_LIST"):
        assert ended.stderr.count(f" {name}") == 1, ended.stderr


def test_it_starts_one_that_goes_on(port):
    process_id = spawn_repeater()
    try:
        wait_for(lambda: listens(port))
        wait_for(lambda: is_confirmed("127.0.0.1", port))
    finally:
        os.kill(process_id, signal.SIGTERM)
    wait_for(lambda: not repeater_runs(port))
