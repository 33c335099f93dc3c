"""A simulated operating system: threads, locks, queues, the clock, sockets and polling.

The client runs as it is. `installed` replaces, in the modules of caproto, what they have imported
of the system (``threading``, ``socket``, ``select``, ``time.monotonic``, ``SimpleQueue`` and so on)
by what is in this file. A thread is then a greenlet: it runs until it waits for something, or until
chance takes the processor away where it asks for a lock. All of it is one thread of the real
system, so nothing happens that was not drawn from the seed, and waiting costs no time.

Where code of the simulation itself runs (the *hub*), nothing ever waits.
"""
from __future__ import annotations

import _thread
import errno
import functools
import itertools
import queue
import select
import socket
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import greenlet

from caproto import _repeater

from .network import Address, Network, Stream
from .plan import CLIENT_HOST
from .world import Spinning, World

#: How likely it is that a thread loses the processor where it asks for a lock.
PREEMPTION = 0.05
#: Polls in a row that find something at once: more, and the thread runs in circles.
MOST_POLLS = 1000
#: Ports of client sockets begin here.
FIRST_PORT = 50000


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
    no_descriptors, no_threads : bool
        Whether the host has no more of them.
    failures : list of str
        Threads that ended with an exception.
    """

    def __init__(self, world: World, network: Network) -> None:
        self.world, self.network = world, network
        self.no_descriptors = self.no_threads = False
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

    def start(self, thread: Thread) -> None:
        thread.ident = next(_idents)
        thread.greenlet = greenlet.greenlet(thread.main, self._hub)
        self.threads.append(thread)
        self.world.soon(self._resume, thread)

    def _resume(self, thread: Thread) -> None:
        """Called in the hub: let a thread run until it waits."""
        self.current = thread
        try:
            thread.greenlet.switch()
        finally:
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
#: The system that the stand-ins below belong to.
_system: System


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


# --- sockets --------------------------------------------------------------------------------------


class Socket:
    """Stands for `socket.socket`; of the client, so it is never blocking and never listens."""

    def __init__(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> None:
        self.kind = kind
        self.fd = _system.open(self)
        self.polled_by: list[Thread] = []
        self._address: Address = ("0.0.0.0", 0)
        self._inbox: deque[tuple[bytes, Address]] = deque()  # datagrams
        self._stream: Stream | None = None
        self._peer: Socket | None = None  # of a pair
        self._linger = True

    # --- the life of a socket

    def fileno(self) -> int:
        return self.fd

    def setblocking(self, blocking: bool) -> None:
        assert not blocking

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self._check()
        if option == socket.SO_LINGER:
            self._linger = False

    def getsockopt(self, level: int, option: int) -> int:
        assert option == socket.SO_ERROR and self._stream is not None
        return self._stream.error

    def bind(self, address: Address) -> None:
        port = address[1] or FIRST_PORT + _system.number() % 10000
        self._address = CLIENT_HOST, port
        _system.network.bind(self._address, self._hear)

    def getsockname(self) -> Address:
        return self._address

    def close(self) -> None:
        if _system.sockets.pop(self.fd, None) is None:
            return
        self.fd = -1
        if self.kind == socket.SOCK_DGRAM:
            _system.network.unbind(self._address)
        elif self._stream is not None:
            (self._stream.close if self._linger else self._stream.abort)()

    def _check(self) -> None:
        if self.fd < 0:
            raise OSError(errno.EBADF, "Bad file descriptor")

    def changed(self) -> None:
        """Something has happened to it: those who poll it look."""
        for thread in self.polled_by:
            _system.wake(thread)

    @property
    def events(self) -> int:
        """What poll says of it."""
        if self._peer is not None:
            return select.POLLIN if self._inbox else 0
        if self.kind == socket.SOCK_DGRAM:
            return select.POLLOUT | (select.POLLIN if self._inbox else 0)
        stream = self._stream
        if stream is None:
            return 0
        if stream.error:
            return select.POLLIN | select.POLLOUT | select.POLLERR
        readable = select.POLLIN if stream.readable else 0
        return readable | (select.POLLOUT if stream.writable else 0)

    # --- datagrams

    def sendto(self, data: bytes, address: Address) -> int:
        self._check()
        host = CLIENT_HOST if address[0] == "127.0.0.1" else address[0]
        _system.network.send(bytes(data), self._address, (host, address[1]))
        return len(data)

    def recvfrom(self, size: int) -> tuple[bytes, Address]:
        if not self._inbox:
            raise BlockingIOError(errno.EAGAIN, "nothing to read")
        return self._inbox.popleft()

    def _hear(self, data: bytes, sender: Address) -> None:
        self._inbox.append((data, sender))
        self.changed()

    # --- streams

    def connect_ex(self, address: Address) -> int:
        self._check()
        self._address = CLIENT_HOST, FIRST_PORT + self.fd % 10000
        self._stream = _system.network.connect(CLIENT_HOST, address, self.changed)
        return errno.EINPROGRESS

    def send(self, data: Any) -> int:
        self._check()
        if self._peer is not None:
            self._peer._hear(bytes(data), self._address)
            return len(data)
        assert self._stream is not None
        sent = self._stream.send(data)
        if not sent:
            raise BlockingIOError(errno.EAGAIN, "no room")
        return sent

    def recv(self, size: int) -> bytes:
        if self._peer is not None:
            return self.recvfrom(size)[0]
        self._check()
        assert self._stream is not None
        data = self._stream.receive(size)
        if data is None:
            raise BlockingIOError(errno.EAGAIN, "nothing to read")
        return data

    def recv_into(self, buffer: memoryview) -> int:
        data = self.recv(len(buffer))
        buffer[:len(data)] = data
        return len(data)

    def shutdown(self, how: int) -> None:
        self._check()
        assert self._stream is not None
        self._stream.finish()


def socketpair() -> tuple[Socket, Socket]:
    one, other = Socket(), Socket()
    one._peer, other._peer = other, one
    return one, other


class Poll:
    """Stands for `select.poll`."""

    def __init__(self) -> None:
        self._watched: dict[int, int] = {}
        self._polls = 0  # in a row that found something at once

    def register(self, target: Any, events: int) -> None:
        self._watched[target if isinstance(target, int) else target.fileno()] = events

    modify = register

    def unregister(self, target: Any) -> None:
        del self._watched[target if isinstance(target, int) else target.fileno()]

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """Wait at most so many milliseconds."""
        until = None if timeout is None or timeout < 0 else _system.world.now + timeout / 1000
        while True:
            ready = self._ready()
            left = None if until is None else until - _system.world.now
            if ready or left is not None and left <= 0:
                self._pass_time()
                return ready
            current = _system.current
            sockets = [_system.sockets[fd] for fd in self._watched if fd in _system.sockets]
            for sock in sockets:
                sock.polled_by.append(current)
            self._polls = 0
            _system.block(left)
            for sock in sockets:
                sock.polled_by.remove(current)

    def _pass_time(self) -> None:
        """Polling is not for nothing: a thread that never sleeps lets time pass."""
        self._polls += 1
        if self._polls > MOST_POLLS:
            raise Spinning(f"thread {_system.current.name!r} polls again and again")
        if self._polls % 20 == 0:
            _system.give_way()

    def _ready(self) -> list[tuple[int, int]]:
        ready = []
        for fd, wanted in self._watched.items():
            sock = _system.sockets.get(fd)
            events = select.POLLNVAL if sock is None else sock.events
            if events & (wanted | select.POLLERR | select.POLLNVAL):
                ready.append((fd, events & (wanted | select.POLLERR | select.POLLNVAL)))
        return ready


# --- what is put in the place of what -------------------------------------------------------------


class StandIn(types.ModuleType):
    """A module of which some names are replaced."""

    def __init__(self, real: types.ModuleType, **replaced: Any) -> None:
        super().__init__(real.__name__)
        self.__dict__.update(replaced)
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _clock() -> float:
    return _system.world.now


def _get_ident() -> int:
    ident = _system.current.ident
    assert ident is not None
    return ident


def _resolve(host: str, *_arguments: Any) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", (host, 0))]


def _spawn_repeater(*_arguments: Any) -> int:
    _system.repeater()
    return 1


_THREADING = {
    "Thread": Thread, "Event": Event, "RLock": RLock, "Lock": Lock, "get_ident": _get_ident,
    "current_thread": lambda: _system.current, "main_thread": lambda: _system.main,
}
_SOCKET = {
    "socket": Socket, "socketpair": socketpair, "getaddrinfo": _resolve,
    "gethostname": lambda: "client",
}

#: The real thing and its stand-in.
REPLACEMENTS: tuple[tuple[Any, Any], ...] = (
    (threading, StandIn(threading, **_THREADING)),
    (socket, StandIn(socket, **_SOCKET)),
    (select, StandIn(select, poll=Poll)),
    (time, StandIn(time, monotonic=_clock)),
    (time.monotonic, _clock),
    (threading.Thread, Thread),
    (threading.Event, Event),
    (threading.RLock, RLock),
    (threading.get_ident, _get_ident),
    (threading.current_thread, _THREADING["current_thread"]),
    (_thread.RLock, RLock),
    (_thread.allocate_lock, Lock),
    (queue.SimpleQueue, SimpleQueue),
    (_repeater.spawn_repeater, _spawn_repeater),
    (getattr(__import__("os"), "sched_yield", None), lambda: _system.give_way()),
)


@functools.cache
def _places() -> list[tuple[types.ModuleType, str, Any, Any]]:
    """Where in caproto something of the system is named: module, name, the real thing, stand-in."""
    stand_ins = {id(real): stand_in for real, stand_in in REPLACEMENTS if real is not None}
    return [
        (module, name, value, stand_ins[id(value)])
        for module_name, module in sorted(sys.modules.items())
        if module_name.startswith("caproto.") and module is not None
        for name, value in list(vars(module).items())
        if id(value) in stand_ins
    ]


@contextmanager
def installed() -> Iterator[None]:
    """Run caproto on simulated systems, for the length of a ``with`` block."""
    for module, name, _, stand_in in _places():
        setattr(module, name, stand_in)
    try:
        yield
    finally:
        for module, name, real, _ in _places():
            setattr(module, name, real)


def use(system: System) -> None:
    """Let the stand-ins belong to *system* from now on."""
    global _system
    _system = system
