"""caproto-explain as users run it."""
from __future__ import annotations

import subprocess
import sys

from tests.harness.ioc_process import clean_environ
from tests.harness.ports import free_port


def test_without_a_server_there_are_hints_and_no_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "caproto.commandline.explain", "-w", "0.5", "nonsense"],
        env=clean_environ(
            EPICS_CA_ADDR_LIST="127.0.0.1", EPICS_CA_AUTO_ADDR_LIST="NO",
            EPICS_CA_SERVER_PORT=str(free_port()), CAPROTO_USE_REPEATER="NO",
        ),
        capture_output=True, text=True, timeout=30,
    )
    assert done.returncode == 1 and done.stderr == ""
    assert done.stdout.startswith("'nonsense': searching for 0.5 s\n") and "hints" in done.stdout
