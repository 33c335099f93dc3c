"""caproto-repeater as users run it."""
from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from caproto._os.repeater import Repeater
from caproto.commandline.repeater import main
from tests.conformance.items import item
from tests.harness.ioc_process import clean_environ
from tests.harness.ports import free_port, listens
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.usefixtures("loggers_as_before")


class Tool:
    """Starts the tool; ends it after the test."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "caproto.commandline.repeater", *arguments],
            env=clean_environ(**(environ or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, with_signal: signal.Signals | None = None) -> tuple[int, str, str]:
        """Exit code and what it printed."""
        process, self.process = self.process, None
        assert process is not None
        if with_signal is not None:
            process.send_signal(with_signal)
        out, err = process.communicate(timeout=20)
        return process.returncode, out, err


@pytest.fixture
def tool() -> Iterator[Tool]:
    tool = Tool()
    yield tool
    if tool.process is not None:
        tool.process.kill()
        tool.process.communicate()


def registered(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(b"", ("127.0.0.1", port))
        return client.recv(100)[:2] == b"\x00\x11"


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_silently_until_it_is_ended(tool: Tool, ending: signal.Signals) -> None:
    port = free_port()
    tool.start("--port", str(port))
    wait_for(lambda: listens(port))
    wait_for(lambda: registered(port))
    assert tool.end(ending) == (0, "", "")


def test_the_port_is_that_of_the_environment(tool: Tool) -> None:
    port = free_port()
    tool.start("-v", environ={"EPICS_CA_REPEATER_PORT": str(port)})
    wait_for(lambda: listens(port))
    assert registered(port)
    code, _, err = tool.end(signal.SIGTERM)
    assert code == 0
    assert f"The repeater runs on port {port}" in err
    assert "Registered 127.0.0.1:" in err


@item(90)
def test_a_second_one_exits_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    first = Repeater(port := free_port())
    try:
        assert main(["--port", str(port)]) == 0
        assert capfd.readouterr() == ("", "")
        assert main(["--port", str(port), "--verbose"]) == 0
    finally:
        first.close()
    reason = f"the repeater cannot have port {port}: {os.strerror(errno.EADDRINUSE)}"
    told = f"{reason}; a repeater runs already"
    assert capfd.readouterr() == ("", f"caproto-repeater: {told}\n")


def test_a_port_that_cannot_be_had_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    assert main(["--port", "80"]) == 1
    assert "caproto-repeater: the repeater cannot have port 80: Permission denied" in (
        capfd.readouterr().err
    )


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x"])
def test_impossible_ports_are_refused(port: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([f"--port={port}"]) == 2
    assert "--port" in capfd.readouterr().err


def test_words_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["5065"]) == 2
    assert "'5065' is not an option" in capfd.readouterr().err


def test_multicast_groups_are_those_that_servers_use(tool: Tool) -> None:
    port = free_port()
    groups = "239.255.7.8 10.1.1.1:99 some-host.invalid"
    tool.start("--port", str(port), "-v", environ={"EPICS_CAS_BEACON_ADDR_LIST": groups})
    wait_for(lambda: listens(port))
    wait_for(lambda: "0807FFEF" in _memberships())  # of this host, in network order as a number
    assert tool.end(signal.SIGTERM)[0] == 0


def _memberships() -> str:
    with open("/proc/net/igmp") as table:
        return table.read()
