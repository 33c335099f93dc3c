"""A simulated operating system: threads, locks, queues and the clock.

The client runs as it is; `stand_ins` gives it what is in this file and in `sockets` in the place of
what it has imported of the system. A thread is then a greenlet: it runs until it waits for
something, or until chance takes the processor away where it asks for a lock. All of it is one
thread of the real system, so nothing happens that was not drawn from the seed, and waiting costs no
time.

Where code of the simulation itself runs (the *hub*), nothing ever waits.
"""
from __future__ import annotations

import errno
import itertools
import queue
import sys
import types
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import greenlet

import caproto

from .network import Network
from .world import World

if TYPE_CHECKING:
    from .sockets import Socket

#: How likely it is that a thread loses the processor where it asks for a lock, or the system.
PREEMPTION = 0.05
#: The same after each line of caproto, if that is wanted.
LINE_PREEMPTION = 0.003
_PACKAGE = str(Path(caproto.__file__).parent)


class Deadlock(AssertionError):
    """Something waits that must not."""


class System:
    """The host of the client.

    Attributes
    ----------
    current : Thread
        The one that runs now.
    threads : list of Thread
        All that were started and have not ended.
    sockets : dict of int to Socket
        Those that are open, by descriptor.
    lines : bool
        Whether threads lose the processor between any two lines of caproto.
    no_descriptors, no_threads : bool
        Whether the host has no more of them.
    threadless : list of (float, float)
        When no threads could be had, until they are asked for again.
    failures : list of str
        Threads that ended with an exception.
    """

    def __init__(self, world: World, network: Network, lines: bool = False) -> None:
        self.world, self.network = world, network
        self.lines = lines
        self.no_descriptors = self.no_threads = False
        self.threadless: list[tuple[float, float]] = []
        self.threads: list[Thread] = []
        self.sockets: dict[int, Socket] = {}
        self.failures: list[str] = []
        self.repeater: Callable[[], None] = lambda: None
        self._hub = greenlet.getcurrent()
        self.main = Thread(name="simulation")
        self.main.ident = 1
        self.current = self.main
        self._last_number = 1

    def number(self) -> int:
        """A number for a descriptor, a thread or a port: never the same twice."""
        self._last_number += 1
        return self._last_number

    # --- the scheduler

    def trace(self, frame: types.FrameType, event: str, _argument: Any) -> Any:
        """Lets a thread lose the processor between lines of caproto."""
        if event == "line":
            if self.world.chance.random() < LINE_PREEMPTION:
                self.give_way()
        elif event == "call" and not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        return self.trace

    def start(self, thread: Thread) -> None:
        thread.ident = next(_idents)
        thread.greenlet = greenlet.greenlet(thread.main, self._hub)
        self.threads.append(thread)
        self.world.soon(self._resume, thread)

    def _resume(self, thread: Thread) -> None:
        """Called in the hub: let a thread run until it waits."""
        self.current = thread
        before = sys.gettrace()  # where coverage is measured
        if self.lines:
            before = sys.gettrace()
            sys.settrace(self.trace)
        try:
            thread.greenlet.switch()
        finally:
            if self.lines:
                sys.settrace(before)
            self.current = self.main

    def block(self, timeout: float | None = None) -> bool:
        """Let the others run until somebody wakes this thread; False if the time was over first."""
        thread = self.current
        if thread is self.main:
            raise Deadlock("the simulation itself would have to wait")
        thread.woken = False
        thread.asleep = True
        timer = None
        if timeout is not None:
            timer = self.world.after(max(0.0, timeout), self._time_out, thread)
        self._hub.switch()
        if timer is not None:
            timer.cancel()
        return thread.woken

    def _time_out(self, thread: Thread) -> None:
        if thread.asleep:
            thread.asleep = False
            self._resume(thread)

    def wake(self, thread: Thread) -> None:
        """Have a thread that is blocked go on."""
        if thread.asleep:
            thread.asleep = False
            thread.woken = True
            self.world.soon(self._resume, thread)

    def give_way(self) -> None:
        """Let others run for a moment."""
        if self.current is not self.main:
            self.world.soon(self._resume, self.current)
            self._hub.switch()

    def perhaps_give_way(self) -> None:
        if self.current is not self.main and self.world.chance.random() < PREEMPTION:
            self.give_way()

    def sleep(self, seconds: float) -> None:
        """Wait, and nothing else."""
        until = self.world.now + seconds
        while self.world.now < until:
            self.block(until - self.world.now)

    def open(self, sock: Socket) -> int:
        """A descriptor."""
        if self.no_descriptors:
            raise OSError(errno.EMFILE, "Too many open files")
        number = self.number()
        self.sockets[number] = sock
        return number


#: Never the same twice, not even in different systems: caproto notes threads by it.
_idents = itertools.count(2)
#: The system that the stand-ins belong to.
_system: System


def use(system: System) -> None:
    """Let the stand-ins belong to *system* from now on."""
    global _system
    _system = system


def present() -> System:
    """The system that the stand-ins belong to."""
    return _system


# --- threads --------------------------------------------------------------------------------------


class Thread:
    """Stands for `threading.Thread`."""

    def __init__(
        self,
        target: Callable[..., object] | None = None,
        name: str = "",
        args: tuple[Any, ...] = (),
        daemon: bool = True,
    ) -> None:
        self.name, self.daemon = name, daemon
        self.ident: int | None = None
        self.asleep = self.woken = self.ended = False
        self.greenlet: Any = None
        self.polls = 0  # in a row that found something at once
        self.useless_polls = 0  # those of them since it last received something
        self._target, self._args = target, args
        self._joining: list[Thread] = []

    def start(self) -> None:
        if _system.no_threads:
            raise RuntimeError("can't start new thread")
        _system.start(self)

    def main(self) -> None:
        """What its greenlet runs."""
        assert self._target is not None
        try:
            self._target(*self._args)
        except SystemExit:
            pass
        except Exception as error:
            if isinstance(error, AssertionError):
                raise
            _system.failures.append(f"thread {self.name!r} ended with {error!r}")
        self.ended = True
        _system.threads.remove(self)
        del self._target, self._args
        for thread in self._joining:
            _system.wake(thread)

    def join(self, timeout: float | None = None) -> None:
        until = None if timeout is None else _system.world.now + timeout
        while not self.ended:
            self._joining.append(_system.current)
            left = None if until is None else until - _system.world.now
            if left is not None and left <= 0 or not _system.block(left):
                return

    def is_alive(self) -> bool:
        return self.ident is not None and not self.ended


class Lock:
    """Stands for `_thread.allocate_lock`, and with *reentrant* for an RLock."""

    reentrant = False

    def __init__(self) -> None:
        self._owner: Thread | None = None
        self._count = 0
        self._waiting: deque[Thread] = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        system = _system
        system.perhaps_give_way()
        current = system.current
        if self._owner is None:
            self._owner, self._count = current, 1
            return True
        if self.reentrant and self._owner is current:
            self._count += 1
            return True
        if not blocking:
            return False
        until = None if timeout < 0 else system.world.now + timeout
        while self._owner is not None:
            left = None if until is None else until - system.world.now
            if left is not None and left <= 0:
                return False
            self._waiting.append(current)
            if not system.block(left):
                if current in self._waiting:
                    self._waiting.remove(current)
                if self._owner is not None:
                    return False
        self._owner, self._count = current, 1
        return True

    def release(self) -> None:
        if self._owner is None or self.reentrant and self._owner is not _system.current:
            raise RuntimeError("cannot release a lock that is not held")
        self._count -= 1
        if not self._count:
            self._owner = None
            if self._waiting:
                _system.wake(self._waiting.popleft())

    def locked(self) -> bool:
        return self._owner is not None

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_exception: object) -> None:
        self.release()

    def _is_owned(self) -> bool:
        return self._owner is _system.current


class RLock(Lock):
    """Stands for `_thread.RLock`."""

    reentrant = True


class Event:
    """Stands for `threading.Event`."""

    def __init__(self) -> None:
        self._set = False
        self._waiting: list[Thread] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        waiting, self._waiting = self._waiting, []
        for thread in waiting:
            _system.wake(thread)

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        until = None if timeout is None else _system.world.now + timeout
        while not self._set:
            left = None if until is None else until - _system.world.now
            if left is not None and left <= 0:
                break
            self._waiting.append(_system.current)
            _system.block(left)
        return self._set


class SimpleQueue:
    """Stands for `queue.SimpleQueue`."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._waiting: deque[Thread] = deque()

    def put(self, item: Any) -> None:
        _system.perhaps_give_way()
        self._items.append(item)
        if self._waiting:
            _system.wake(self._waiting.popleft())

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        until = None if timeout is None else _system.world.now + timeout
        while not self._items:
            left = None if until is None else until - _system.world.now
            if not block or left is not None and left <= 0:
                raise queue.Empty
            self._waiting.append(_system.current)
            if not _system.block(left) and _system.current in self._waiting:
                self._waiting.remove(_system.current)
        return self._items.popleft()

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)

    __class_getitem__ = classmethod(types.GenericAlias)
