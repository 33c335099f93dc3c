"""Being told to end by a signal, whichever thread it hits."""
from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from caproto._os.signals import EndSignals
from caproto._os.sockets import wait_any

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def handlers():
    return [signal.getsignal(number) for number in EndSignals.NUMBERS]


@pytest.mark.parametrize("number", EndSignals.NUMBERS)
def test_a_signal_ends_the_wait_and_the_old_handlers_are_back(number):
    before = handlers()
    with EndSignals() as end:
        assert not end.stop_requested
        os.kill(os.getpid(), number)
        end.wait()
        assert end.stop_requested
    assert handlers() == before


def test_ctrl_c_stays_ignored_where_it_was():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with EndSignals() as end:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGTERM)
            end.wait()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_that_hits_another_thread():
    """Nothing interrupts the sleep of the main thread then."""
    with EndSignals() as end:
        thread = threading.Thread(
            target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        )
        thread.start()
        end.wait()
        thread.join()


def test_a_signal_just_before_the_sleep():
    """The interpreter notes it, and has no chance to call a handler written in Python."""
    with EndSignals() as end:
        signal.raise_signal(signal.SIGTERM)
        assert wait_any(end.wake) == [end.wake]
        assert end.stop_requested


def test_another_signal_does_not_end_the_wait():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(len(seen)))
    try:
        with EndSignals() as end:
            pid = os.getpid()

            def send() -> None:
                os.kill(pid, signal.SIGUSR1)
                os.kill(pid, signal.SIGTERM)

            thread = threading.Thread(target=send)
            thread.start()
            end.wait()
            thread.join()
            assert end.stop_requested and seen == [0]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_who_watched_signals_before_watches_them_again():
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    before = signal.set_wakeup_fd(theirs)
    try:
        with EndSignals():
            pass
        assert signal.set_wakeup_fd(theirs) == theirs
    finally:
        signal.set_wakeup_fd(before)
        os.close(ours)
        os.close(theirs)


def test_outside_the_main_thread_nothing_is_changed():
    before, seen = handlers(), []

    def work() -> None:
        with EndSignals():
            seen.append(handlers())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
