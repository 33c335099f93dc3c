"""How threads wait, start and read the clock.

This is the seam for tests and other drivers: the functions and classes of this file are looked up
in the module at each use, as ``_waiting.now()``, so that they can be replaced.
"""
from __future__ import annotations

import math
import os
import select
import socket
import sys
import threading
import time
from _thread import LockType, allocate_lock, get_ident
from collections.abc import Callable
from typing import Any, Final, Protocol

from .._os.sockets import LONGEST_SLEEP, WakeUp

_POLLIN = 1  #: as a number: this is looked at once for each chunk received

#: The present time: seconds, monotonic. Asked for by attribute, so that tests can replace it.
now: Callable[[], float] = time.monotonic

#: Lets another thread run that is ready; does nothing where the system has no such call.
yield_cpu: Callable[[], object] = getattr(os, "sched_yield", lambda: None)


#: Background threads that are being started now.
starting: list[threading.Thread] = []

#: Which thread (its ident) is inside `join_thread` for which.
_joining: set[tuple[int, threading.Thread]] = set()


def start_thread(thread: threading.Thread) -> None:
    """Start *thread*; for background threads, which no Ctrl-C interrupts.

    Raises
    ------
    RuntimeError
        If the system cannot start one.
    """
    starting.append(thread)
    try:
        thread.start()
    finally:
        starting.remove(thread)


_START: Final = start_thread.__code__


def is_starting() -> bool:
    """Tell whether this thread is starting a background thread, or is one that is being started.

    Then one of the two waits for the other, perhaps for a lock of ``threading``. The frames of this
    thread tell it, because Ctrl-C may leave a thread listed whose start is over, and ``threading``
    does not know yet those that are being started.
    """
    frame = sys._getframe()
    while frame.f_back is not None:
        if frame.f_code is _START:
            return True
        frame = frame.f_back
    new = frame.f_locals.get("self")
    return any(one is new and not one.is_alive() for one in starting.copy())


def join_thread(thread: threading.Thread, timeout: float | None) -> bool:
    """Wait at most *timeout* seconds for *thread* to end, unless it is our own or is not running.

    One that another call is just starting has its ident already and cannot be joined yet:
    it finds out by itself that it is no longer wanted, and is not waited for.

    Returns
    -------
    bool
        False if this thread has interrupted itself in this function. It may hold the lock that
        tells of the end, so it must wait for something else.
    """
    ident = get_ident()
    joining = ident, thread
    if joining in _joining:
        return False
    try:
        _joining.add(joining)
        # Asked by its ident: in its last steps a thread is not its current one any more.
        if thread.ident != ident and thread.is_alive():
            thread.join(timeout)
    finally:
        _joining.discard(joining)
    return True


def _after_fork() -> None:
    """Forget the threads of the parent."""
    _joining.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Deadline:
    """One timeout, spent over several steps.

    Parameters
    ----------
    timeout : float or None
        Seconds from now; None means never.

    Attributes
    ----------
    moment : float
        When the time will be over, on the monotonic clock; infinite for never.
    """

    __slots__ = ("moment", "timeout")

    def __init__(self, timeout: float | None) -> None:
        self.timeout = timeout
        self.moment = math.inf if timeout is None else now() + timeout

    def restart(self) -> None:
        """Begin the time now."""
        self.moment = math.inf if self.timeout is None else now() + self.timeout

    def remaining(self) -> float | None:
        """Return the seconds left, not below zero; None if there is no end."""
        if self.timeout is None:
            return None
        left = self.moment - now()
        return left if left > 0.0 else 0.0

    @property
    def expired(self) -> bool:
        """Whether the time is over."""
        return now() >= self.moment


class Waiter(Protocol):
    """An object that is called once, when something has happened."""

    def answered(self, response: object, batch: object = None) -> None:
        """Note it, quickly; called once, by any thread, without a lock."""


#: The attributes of what is `Latched`, for its ``__slots__``.
LATCH: Final = ("_latch", "error", "response")


class Latched:
    """An object that one thread waits for and another one fills, once.

    A raw lock serves as the latch: it wakes the waiter in half the time of a ``threading.Event``
    and is made in a thirtieth.
    """

    __slots__ = ()

    _latch: LockType
    response: Any
    error: Exception | None

    def arm(self) -> None:
        """Begin; for constructors."""
        latch = allocate_lock()
        latch.acquire()
        self._latch = latch  # type: ignore[misc]  # the slots are the subclasses'
        self.response = None
        self.error = None  # type: ignore[misc]

    def wait(self, timeout: float | None) -> bool:
        """Wait at most *timeout* seconds (None: without end); return whether it was filled."""
        return self.wait_until(Deadline(timeout))

    def wait_until(self, deadline: Deadline) -> bool:
        """Wait until *deadline*, at most; return whether it was filled."""
        if deadline.timeout is None:
            return self._latch.acquire()
        left = deadline.moment - now()  # as `Deadline.remaining`, without a call
        try:
            return self._latch.acquire(True, left if left > 0.0 else 0.0)
        except OverflowError:  # centuries, on most systems
            return self._latch.acquire(True, threading.TIMEOUT_MAX)


class OneShot(Latched):
    """A one-shot box."""

    __slots__ = LATCH

    def __init__(self) -> None:
        self.arm()

    def answered(self, response: object, batch: object = None) -> None:
        """Fill the box and wake the waiter."""
        self.response = response
        self._latch.release()

    def failed(self, error: Exception, batch: object = None) -> None:
        """Wake the waiter with the reason why there will be no answer."""
        self.error = error
        self._latch.release()


class Alarm(OneShot):
    """A box that may be filled more than once: by all that a caller waits for."""

    __slots__ = ()

    def answered(self, response: object, batch: object = None) -> None:
        """Wake the waiter, unless that has been done.

        It goes on at once, not when the caller has done what is left to do for it.
        """
        if self._latch.locked():
            try:
                self._latch.release()
            except RuntimeError:
                return  # another thread has just done it
            yield_cpu()


class Ending:
    """The end of something: it comes once, and any number of threads may wait for it.

    As ``threading.Event``, but without a lock, which a thread could hold when a signal handler or
    a finalizer interrupts it: these may call any method.
    """

    __slots__ = ("_come", "_waiters")

    def __init__(self) -> None:
        self._come = False
        self._waiters: list[Alarm] = []

    def is_set(self) -> bool:
        """Tell whether it has come."""
        return self._come

    def set(self) -> None:
        """Let it come. All of it each time: the call before may have been interrupted."""
        self._come = True  # first, for those that begin to wait meanwhile
        for waiter in self._waiters.copy():
            waiter.answered(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most *timeout* seconds (None: without end); return whether it has come."""
        waiter = Alarm()
        self._waiters.append(waiter)
        try:
            return self._come or waiter.wait(timeout)
        finally:
            self._waiters.remove(waiter)


class Poller:
    """Sleep until a socket is ready, another thread wakes us, or a deadline comes.

    Parameters
    ----------
    sock : socket.socket
        The socket that this thread serves.
    wake : WakeUp
        How other threads interrupt the sleep.
    """

    def __init__(self, sock: socket.socket, wake: WakeUp) -> None:
        self._sock = sock
        self._wake = wake
        self._poll: select.poll | None = None
        if hasattr(select, "poll"):  # everywhere but on Windows
            self._poll = select.poll()
            self._fd = sock.fileno()
            self._poll.register(self._fd, select.POLLIN)
            self._poll.register(wake.fileno(), select.POLLIN)
        self._writing = False

    def wait(self, deadline: float | None, writing: bool = False) -> tuple[bool, bool]:
        """Sleep.

        Parameters
        ----------
        deadline : float or None
            Moment on the monotonic clock at which to return in any case; infinite for never.
        writing : bool
            Whether to return also when the socket takes bytes.

        Returns
        -------
        readable, writable : bool
            What the socket is ready for. An error counts as both.
        """
        timeout: float | None = None
        if deadline is not None:
            timeout = deadline - now()
            if not 0.0 <= timeout <= LONGEST_SLEEP:
                timeout = 0.0 if timeout < 0.0 else LONGEST_SLEEP
        if self._poll is None:
            watched = [self._sock] if writing else []
            sources: list[socket.socket | WakeUp] = [self._sock, self._wake]
            reads, writes, failed = select.select(sources, watched, watched, timeout)
            if self._wake in reads:
                self._wake.clear()
            return self._sock in reads or bool(failed), bool(writes or failed)
        if writing is not self._writing:
            self._writing = writing
            events = select.POLLIN | select.POLLOUT if writing else select.POLLIN
            self._poll.modify(self._fd, events)
        # Rounded up: to wake a little early would mean to spin until the deadline.
        ready = self._poll.poll(None if timeout is None else int(timeout * 1000) + 1)
        readable = writable = False
        for fd, event in ready:
            if fd != self._fd:
                self._wake.clear()
            elif event == _POLLIN:
                readable = True
            else:
                failure = event & ~(select.POLLIN | select.POLLOUT)
                readable = bool(event & select.POLLIN or failure)
                writable = bool(event & select.POLLOUT or failure)
        return readable, writable
