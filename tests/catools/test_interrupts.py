"""Interrupts where they must not end the process at once."""
from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from caproto._catools.interrupts import CleanUp
from tests.harness.ioc_process import clean_environ


@pytest.fixture(autouse=True)
def deadly() -> Iterator[None]:
    """As in a tool: Ctrl-C ends the process."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)


def test_it_is_an_exception_inside():
    with pytest.raises(KeyboardInterrupt), CleanUp():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_a_handler_of_the_program_stays():
    came = []
    signal.signal(signal.SIGINT, lambda *_: came.append(True))
    with CleanUp():
        signal.raise_signal(signal.SIGINT)
    assert came == [True]


def test_in_another_thread_it_changes_nothing():
    seen = []

    def work() -> None:
        with CleanUp():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert seen == [signal.SIG_DFL]


def test_the_end_by_an_interrupt_loses_no_output():
    code = "from caproto._catools.interrupts import *; print('seen'); end_by_interrupt(); print(2)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean_environ(),
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "seen\n", "")
