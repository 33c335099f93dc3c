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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_handler_of_the_program_stays(number):
    came = []
    before = signal.signal(number, lambda *_: came.append(True))
    try:
        with CleanUp():
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)
    assert came == [True]


def test_a_request_to_end_is_met_after_what_must_be_done():
    code = """if True:
        import signal
        from caproto._catools.interrupts import CleanUp
        with CleanUp():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                print("done")
        print("more")
        """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean_environ(),
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, "done\n", "")


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
