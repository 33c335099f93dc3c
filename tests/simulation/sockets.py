"""The sockets of a simulated system, and polling them."""
from __future__ import annotations

import errno
import select
import socket
from collections import deque
from typing import Any

from .network import Address, Stream
from .plan import CLIENT_HOST
from .system import Thread, present
from .world import Spinning

#: Ports of client sockets begin here.
FIRST_PORT = 50000
#: Polls in a row that find something at once: more, and the thread runs in circles.
MOST_POLLS = 1000


class Socket:
    """Stands for `socket.socket`; of the client, so it is never blocking and never listens."""

    def __init__(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> None:
        self.kind = kind
        self.fd = present().open(self)
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
        port = address[1] or FIRST_PORT + present().number() % 10000
        self._address = CLIENT_HOST, port
        present().network.bind(self._address, self._hear)

    def getsockname(self) -> Address:
        return self._address

    def close(self) -> None:
        if present().sockets.pop(self.fd, None) is None:
            return
        self.fd = -1
        if self.kind == socket.SOCK_DGRAM:
            present().network.unbind(self._address)
        elif self._stream is not None:
            (self._stream.close if self._linger else self._stream.abort)()

    def _check(self) -> None:
        if self.fd < 0:
            raise OSError(errno.EBADF, "Bad file descriptor")

    def changed(self) -> None:
        """Something has happened to it: those who poll it look."""
        for thread in self.polled_by:
            present().wake(thread)

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
        present().perhaps_give_way()
        self._check()
        host = CLIENT_HOST if address[0] == "127.0.0.1" else address[0]
        present().network.send(bytes(data), self._address, (host, address[1]))
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
        self._stream = present().network.connect(CLIENT_HOST, address, self.changed)
        return errno.EINPROGRESS

    def send(self, data: Any) -> int:
        present().perhaps_give_way()
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
        present().perhaps_give_way()
        if self._peer is not None:
            return self.recvfrom(size)[0]
        self._check()
        assert self._stream is not None
        data = self._stream.receive(size)
        if data is None:
            raise BlockingIOError(errno.EAGAIN, "nothing to read")
        present().current.useless_polls = 0
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

    def register(self, target: Any, events: int) -> None:
        self._watched[target if isinstance(target, int) else target.fileno()] = events

    modify = register

    def unregister(self, target: Any) -> None:
        del self._watched[target if isinstance(target, int) else target.fileno()]

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """Wait at most so many milliseconds."""
        until = None if timeout is None or timeout < 0 else present().world.now + timeout / 1000
        while True:
            ready = self._ready()
            left = None if until is None else until - present().world.now
            if ready or left is not None and left <= 0:
                self._pass_time()
                return ready
            current = present().current
            sockets = [present().sockets[fd] for fd in self._watched if fd in present().sockets]
            for sock in sockets:
                sock.polled_by.append(current)
            current.polls = current.useless_polls = 0
            present().block(left)
            for sock in sockets:
                sock.polled_by.remove(current)

    def _pass_time(self) -> None:
        """Polling is not for nothing: a thread that never sleeps lets time pass."""
        thread = present().current
        thread.polls += 1
        thread.useless_polls += 1
        if thread.useless_polls > MOST_POLLS:
            raise Spinning(f"thread {thread.name!r} polls again and again")
        if thread.polls % 20 == 0:
            present().give_way()

    def _ready(self) -> list[tuple[int, int]]:
        ready = []
        for fd, wanted in self._watched.items():
            sock = present().sockets.get(fd)
            events = select.POLLNVAL if sock is None else sock.events
            if events & (wanted | select.POLLERR | select.POLLNVAL):
                ready.append((fd, events & (wanted | select.POLLERR | select.POLLNVAL)))
        return ready
