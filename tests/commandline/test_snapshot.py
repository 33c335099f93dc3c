"""caproto-snapshot as users run it: in a process, which is interrupted, or loses its reader."""
from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys

import pytest

from tests.harness.ioc_process import DemoIOC, clean_environ

NAMES = [f"settings:{name}" for name in ("exposure", "gain", "mode")]
COMMAND = [sys.executable, "-m", "caproto.commandline.snapshot"]


@pytest.fixture(scope="module")
def settings():
    with DemoIOC("settings") as ioc:
        yield ioc


def test_ctrl_c_is_silent(settings, tmp_path):
    """While it waits for a PV that is not there; the bar shows that it does."""
    controller, terminal = pty.openpty()
    command = [*COMMAND, "save", "some.npz", "-w", "0", NAMES[0], "nonsense"]
    process = subprocess.Popen(
        command, env=clean_environ(**settings.environ, TERM="xterm"), cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=terminal,
    )
    os.close(terminal)
    try:
        seen = b""
        while b"] 1/2" not in seen:
            assert select.select([controller], [], [], 20)[0], seen
            seen += os.read(controller, 1000)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
        rest = os.read(controller, 1000)
    finally:
        process.kill()
        os.close(controller)
    assert (process.returncode, out) == (-signal.SIGINT, b"")  # 130 for a shell
    assert seen.startswith(b"\rconnecting [")
    assert set(rest) <= set(b"\r ") and os.listdir(tmp_path) == []


def test_a_closed_pipe_is_silent(settings, tmp_path):
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*COMMAND, "save", "some.npz", *NAMES], env=clean_environ(**settings.environ),
            stdout=write, stderr=subprocess.PIPE, timeout=60, cwd=tmp_path,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
