"""Transport: one TCP socket that never blocks its owner, and the loop of the thread that serves it.

The outbox holds what the socket has not taken yet. What goes into it, and in which order, is
decided under the owner's lock. The thread that writes holds the token and nothing else; others
leave their bytes to it, because it writes for all. The socket is opened, read and closed by one
thread only.

A KeyboardInterrupt may strike the main thread between any two steps of :meth:`Transport.flush`. The
token is taken by a ``with`` statement, which leaves no gap; the number of bytes that the socket
took is noted in the same step of C that sends them; and the thread that serves the socket is woken
to go on.
"""
from __future__ import annotations

import math
import socket
from _thread import RLock
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from .._errors import CaprotoNetworkError
from .._os.sockets import Address, WakeUp, abort, finish_connect, start_connect, wait_writable
from .._protocol.message import Payload
from . import _waiting
from ._waiting import Deadline

#: Seconds that a closing circuit waits for the server to hang up, too.
HANG_UP_TIME = 0.5


class Transport:
    """A TCP connection, from before it is made.

    Parameters
    ----------
    address : tuple of (str, int)
        The server.
    timeout : float
        Seconds to wait for the connection.
    wakeup : WakeUp, optional
        Default: a new one.

    Attributes
    ----------
    wakeup : WakeUp
        Wakes the thread that serves the socket.
    established : bool
        Whether the connection was made.
    outbox : deque of bytes-like
        What is to be written; its owner adds to it under its lock.
    error : OSError or None
        Why writing failed, if it did; the thread then closes the connection.
    taken_at : float
        When the socket last took bytes although others had to wait, or they began to wait.
    token : RLock
        Held by the thread that writes.
    """

    def __init__(self, address: Address, timeout: float, wakeup: WakeUp | None = None) -> None:
        self.address = address
        self.wakeup = wakeup or WakeUp()
        self.established = False
        self.error: OSError | None = None
        self._connect_by = _waiting.now() + timeout
        self._socket: socket.socket | None = None
        self.outbox: deque[Payload] = deque()
        #: How much the socket took of the first buffer in the outbox, by piece.
        self._sent: list[int] = []
        self.token = RLock()
        self._writing = False  # by the thread with the token; others ask this, which is quick
        self.taken_at = -math.inf
        self._waiting = False  # whether the socket was full when we last tried

    # ---- for the thread that serves the socket

    def open(self) -> socket.socket:
        """Begin to connect.

        Raises
        ------
        CaprotoNetworkError
            If it is refused at once.
        """
        self._socket = start_connect(self.address)
        return self._socket

    def connect(self, writable: bool) -> float | None:
        """Check the connection attempt; return the next deadline, or None if it is connected.

        Raises
        ------
        CaprotoNetworkError
            If it failed, or took too long.
        """
        assert self._socket is not None
        if writable:
            finish_connect(self._socket, self.address)
            self.established = True
            return None
        if _waiting.now() >= self._connect_by:
            host, port = self.address
            raise CaprotoNetworkError(f"cannot connect to {host}:{port}: the host does not answer")
        return self._connect_by

    def our_address(self) -> Address:
        """Return our end of the connection."""
        assert self._socket is not None
        host, port = self._socket.getsockname()
        return host, port

    def receive_into(self, buffer: memoryview) -> int | None:
        """Read; return the number of bytes, 0 at the end of the stream, None if none wait."""
        assert self._socket is not None
        try:
            return self._socket.recv_into(buffer)
        except BlockingIOError:
            return None

    def detach(self) -> None:
        """Write nothing more to the socket, nor to its descriptor: it is about to be closed."""
        with self.token:
            self._socket = None

    # ---- for any thread

    def queue(self, buffers: Iterable[Payload]) -> None:
        """Have *buffers* written after all that is queued already. Under the owner's lock."""
        self.outbox.extend(buffers)

    def flush(self, *, serving: bool = False) -> bool:
        """Write what the socket takes, without waiting; return whether nothing is left to push.

        Call it without a lock: a reply may come before the system call returns, and must not find
        the owner's lock taken. If something is left the thread that serves the socket is woken
        to push it, unless it is *serving* itself.
        """
        outbox = self.outbox
        try:
            # Checked again after the token was released: others may have found it taken.
            while outbox and self.established:
                if serving:
                    # No Ctrl-C strikes this thread, so it needs no `with`. It asks the token,
                    # because two interrupts in a row may leave `_writing` set.
                    if not self.token.acquire(blocking=False):
                        return True  # the thread that has it writes ours, too
                    try:
                        full = self._write()
                    finally:
                        self.token.release()
                else:
                    if self._writing:
                        return True  # the thread with the token writes ours, too
                    with self.token:
                        full = self._write()
                if full:
                    if not serving:
                        self.wakeup.set()  # only now: with the token taken it could do nothing
                    return False
        except BaseException:  # Ctrl-C: the bytes that others left to us must not stay here
            self._writing = False  # if another thread does write, the next one just waits for it
            self.wakeup.set()
            raise
        return True  # or the thread flushes as soon as it is connected

    def _write(self) -> bool:
        """Write until the outbox is empty or the socket is full; return the latter. With token."""
        outbox, sent, sock = self.outbox, self._sent, self._socket
        took = full = False
        self._writing = True
        try:
            if sock is None:
                outbox.clear()
                return False
            while outbox:
                data = outbox[0]
                if sent:
                    data = memoryview(data)[sum(sent) :]
                sent.extend(map(sock.send, (data,)))
                took = True
                if sent[-1] == len(data):
                    outbox[0] = b""  # first, so that what is sent is never sent again
                    sent.clear()
                    outbox.popleft()
        except BlockingIOError:
            full = True
        except IndexError:  # the owner has cleared it
            sent.clear()
        except OSError as error:
            self.error = error
            outbox.clear()
            self.wakeup.set()
        finally:
            # Before the token is released: a signal handler in between then sees that its own
            # thread still holds that, and does not leave its request to that thread.
            self._writing = False
        if (full or self._waiting) and (took or full is not self._waiting):
            self._waiting = full
            self.taken_at = _waiting.now()
        return full

    def push(self, deadline: Deadline) -> None:
        """Wait until the socket has taken everything; call it without a lock.

        A caller that sends faster than the server reads is slowed down here. Before there is a
        connection nothing can be sent, so no thread waits.
        """
        if self.token._is_owned():  # type: ignore[attr-defined]
            return  # this thread was interrupted while it wrote; it goes on when we return
        until = None if deadline.timeout is None else deadline.moment
        clear = not self.established
        while not clear and not deadline.expired:
            sock = self._socket
            try:
                if sock is None or not wait_writable(sock, until):
                    return  # the thread goes on pushing
            except CaprotoNetworkError:
                return  # closed meanwhile
            # While another thread writes it is not known how much it will write.
            clear = self.flush() and not self.outbox and not self._writing

    def abandon(self) -> None:
        """Close our copies of the descriptors of another process, a thread of which may write."""
        self.token, self._writing = RLock(), False
        if self._socket is not None:
            self._socket.close()
        self.wakeup.close()


def describe(error: Exception) -> str:
    """Tell why a connection was lost, for people."""
    return getattr(error, "strerror", None) or str(error) or repr(error)


class Serviced(Protocol):
    """The owner of a socket, as its thread sees it."""

    def service(self, readable: bool, writable: bool) -> tuple[float | None, bool] | None:
        """Do what is to be done now.

        Returns
        -------
        tuple of (float or None, bool), or None
            The next deadline, and whether to wait for the socket to take bytes. None at the end.
        """


class Waker:
    """Wakes a thread when the object that it serves is gone; runs in the garbage collector."""

    __slots__ = ("_wakeup",)

    def __init__(self, wakeup: WakeUp) -> None:
        self._wakeup = wakeup

    def __call__(self, _reference: object) -> None:
        self._wakeup.set()


def serve_socket(
    reference: Callable[[], Serviced | None], sock: socket.socket, wakeup: WakeUp
) -> _waiting.Poller:
    """Run the loop of a thread: sleep, wake, let the owner of *sock* do its work.

    While asleep only the socket is held, so that an owner that nothing refers to can be collected.
    """
    poller = _waiting.Poller(sock, wakeup)
    readable = writable = False
    while (owner := reference()) is not None:
        wait_for = owner.service(readable, writable)
        del owner
        if wait_for is None:
            break
        readable, writable = poller.wait(*wait_for)
    return poller


def serve_connection(
    reference: Callable[[], Serviced | None], sock: socket.socket, transport: Transport
) -> None:
    """Run the loop of a thread on a connection, then hang up; in any case close *sock*."""
    try:
        poller = serve_socket(reference, sock, transport.wakeup)
        transport.detach()
        hang_up(sock, poller)
    finally:
        transport.detach()
        sock.close()


def hang_up(sock: socket.socket, poller: _waiting.Poller) -> None:
    """Close *sock* so that the server reads all that we sent.

    A socket that is closed while unread bytes wait in it is reset, and the server may lose our last
    requests; so we say that we are done, and read until the server has closed, too.
    """
    deadline = _waiting.now() + HANG_UP_TIME
    try:
        sock.shutdown(socket.SHUT_WR)
        while _waiting.now() < deadline:
            readable, _ = poller.wait(deadline)
            if readable and not sock.recv(65536):
                break
        sock.close()
    except OSError:  # there is no peer any more
        abort(sock)
