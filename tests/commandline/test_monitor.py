"""caproto-monitor as users run it: what camonitor was recorded to print."""
from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.commandline.recordings import Case, Player, recorded
from tests.harness.ioc_process import SoftIOC, clean_environ


@pytest.fixture(scope="module")
def player() -> Iterator[Player]:
    player = Player()
    yield player
    player.close()


@pytest.mark.parametrize("case", recorded("camonitor"))
def test_as_recorded(case: Case, player: Player) -> None:
    player.check(case, "monitor")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_has_the_statistics_printed(ioc: SoftIOC, ending: signal.Signals) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "caproto.commandline.monitor", "--stats", ioc.pv("double")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=clean_environ(**ioc.environ),
    )
    try:
        assert child.stdout is not None and child.stdout.readline().startswith(ioc.pv("double"))
        child.send_signal(ending)
        out, errors = child.communicate(timeout=20)
    finally:
        child.kill()
    assert (child.returncode, errors) == (-ending, "")
    assert "updates" in out.splitlines()[0] and out.splitlines()[1].split()[1] == "1"
