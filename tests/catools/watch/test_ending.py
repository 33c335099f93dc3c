"""The table ends with its terminal, and by signals, whatever textual does."""
from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios

import pytest

from caproto._catools.watch.ending import Ending
from tests.catools.watch.test_program import COMMAND, environ_of

LIMIT = 20.0


class Window:
    """A terminal with a table in it, which the test reads itself, or not.

    Parameters
    ----------
    ioc : SoftIOC
    ignored : bool
        Whether SIGHUP is ignored, as by nohup.
    """

    def __init__(self, ioc, ignored=False):
        self.ours, theirs = pty.openpty()
        # The tests may themselves run without it.
        starter = f"""if True:
            import os, signal, sys
            signal.signal(signal.SIGHUP, signal.{"SIG_IGN" if ignored else "SIG_DFL"})
            os.execv(sys.argv[1], sys.argv[1:])
            """
        self.process = subprocess.Popen(
            [sys.executable, "-c", starter, *COMMAND, ioc.pv("double"), ioc.pv("counter")],
            env=environ_of(ioc, TERM="xterm"), stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
        )
        self.theirs = theirs
        self.before = termios.tcgetattr(theirs)

    def read_until(self, text):
        seen = b""
        while text not in seen:
            assert select.select([self.ours], [], [], LIMIT)[0], seen
            seen += os.read(self.ours, 65536)

    def __enter__(self):
        self.read_until(b"3.140")
        return self

    def __exit__(self, *_exception):
        self.process.kill()
        self.process.wait()
        for descriptor in (self.ours, self.theirs):
            try:
                os.close(descriptor)
            except OSError:  # the test has done it
                pass


@pytest.mark.parametrize("ignored", [
    True, pytest.param(False, marks=pytest.mark.thorough),
])
def test_it_ends_with_its_terminal(ioc, ignored):
    with Window(ioc, ignored) as window:
        os.close(window.theirs)
        os.close(window.ours)
        assert window.process.wait(LIMIT) == 129


def test_a_signal_ends_it_although_the_terminal_takes_no_output(ioc):
    with Window(ioc) as window:
        termios.tcflow(window.theirs, termios.TCOOFF)  # as Ctrl-S does
        window.process.send_signal(signal.SIGTERM)
        assert window.process.wait(LIMIT) == 143


def test_after_a_hang_up_by_hand_the_terminal_is_as_before(ioc):
    with Window(ioc) as window:
        window.process.send_signal(signal.SIGHUP)
        window.read_until(b"\x1b[?1049l")
        assert window.process.wait(LIMIT) == 129
        assert termios.tcgetattr(window.theirs) == window.before


def test_a_signal_that_comes_before_the_app_ends_it_when_it_begins():
    statuses = []
    with Ending(()) as ending:
        signal.raise_signal(signal.SIGTERM)
        ending.call_at_signals(statuses.append)
    assert statuses == [143]


@pytest.fixture
def hang_up():
    """SIGHUP is not ignored, as it may be where the tests run."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back(hang_up):
    before = [signal.getsignal(number) for number in Ending.NUMBERS]
    statuses = []
    with Ending(()) as ending:
        ending.call_at_signals(statuses.append)
        for number in Ending.NUMBERS:
            signal.raise_signal(number)
    assert statuses == [129, 130, 143]
    assert [signal.getsignal(number) for number in Ending.NUMBERS] == before


def test_what_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Ending(()) as ending:
            ending.call_at_signals(lambda status: None)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
