"""The thread that serves one client of a server.

It owns the socket and the session: it alone reads, processes and writes. It waits in its `select`
and, for a moment (`GRACE`), for a getter or putter. Other threads hand in work through the
session's `UpdateQueue` and wake it.

No client can delay another one. The bytes that a client has not read yet stay here; above a limit,
no further request is read and no further update is taken (the queue merges them). Slow getters and
putters run in the workers; while a client has too many requests for them, no further one is read.
"""
from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

from ... import _locks
from ..._errors import LocalProtocolError
from ..._os.sockets import WakeUp, tune_stream
from ..._protocol.framing import UNLIMITED
from ..._server.directory import Directory
from ..._server.session import Job, ServerSession
from .._waiting import OneShot
from ._workers import Workers

__all__ = ["Connection"]

#: No more is taken from the session, and no request read, while this many bytes wait to be sent.
HIGH_WATER = 1 << 18
#: No request is read while this many calls of the user's functions are not done.
MAX_JOBS = 1000
#: A client that does not take the last bytes before we hang up is dropped after this many seconds.
FAREWELL = 5.0
#: A request that calls the user's functions is given this many seconds before the next request of
#: the same client is looked at, so that quick putters seem to act at once: a read after a write
#: sees the new value. Only one such request at a time is waited for.
GRACE = 0.02


class Connection:
    """One client.

    Parameters
    ----------
    sock : socket.socket
        As accepted. It belongs to this object from now on.
    address : tuple of (str, int)
        The client's.
    directory : Directory
    workers : Workers
    gone : callable
        Called with this object, in its thread, when the client is gone.
    port : int
        Our TCP port.
    max_payload : int
        In bytes.

    Raises
    ------
    OSError
        If there are no descriptors left; the caller keeps *sock*.
    """

    def __init__(
        self,
        sock: socket.socket,
        address: tuple[str, int],
        directory: Directory,
        workers: Workers,
        gone: Callable[[Connection], None],
        *,
        port: int,
        max_payload: int = UNLIMITED,
    ) -> None:
        tune_stream(sock)
        self.address = address
        self._sock = sock
        self._workers = workers
        self._gone = gone
        self._selector = selectors.DefaultSelector()
        self._wake = WakeUp()
        self.session = ServerSession(
            directory, address, wake=self._wake.set, port=port, max_payload=max_payload
        )
        self.log = self.session.circuit.log
        self._out: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._stopping = False
        self._deadline: float | None = None  # of the farewell
        self._lock = _locks.Lock()
        self._jobs = 0  # that are not done, under the lock
        self._ticket: OneShot | None = None  # of the last job that was not done in its grace
        self.thread = threading.Thread(
            target=self._run, name=f"ca-serve {address[0]}:{address[1]}", daemon=True
        )

    def start(self) -> None:
        """Start to serve.

        Raises
        ------
        RuntimeError
            If the system cannot start a thread; the connection is closed.
        """
        try:
            self.thread.start()
        except BaseException:
            self._close()
            raise

    def stop(self) -> None:
        """Close the connection; join `thread` to know when that is done."""
        self._stopping = True
        self._wake.set()

    def abandon(self) -> None:
        """Close our copies of the sockets, in the child of a fork, where the thread is missing."""
        self.session.updates.abandon()
        self._selector.close()
        self._sock.close()
        self._wake.close()

    def _run(self) -> None:
        try:
            self._selector.register(self._wake, selectors.EVENT_READ)
            self._serve(self._selector)
        except OSError as exc:
            self.log.debug("connection lost: %s", exc)
        except Exception:
            self.log.exception("the client at %s:%d is dropped", *self.address)
        finally:
            self._close()

    def _close(self) -> None:
        self._selector.close()
        self.session.close()
        self._sock.close()
        self._wake.close()
        self._gone(self)

    def _serve(self, selector: selectors.BaseSelector) -> None:
        watched = 0
        while not self._stopping:
            blocked = not self._send()
            if self.session.closing and not self._out:
                return
            wanted = 0
            full = self._waiting_bytes >= HIGH_WATER or self._jobs >= MAX_JOBS
            if not full and not self.session.closing:
                wanted = selectors.EVENT_READ
            if blocked:
                wanted |= selectors.EVENT_WRITE
            watched = self._watch(selector, watched, wanted)
            idle = blocked or self.session.sleep()
            readable = False
            for key, events in selector.select(self._timeout(idle)):
                if key.fileobj is self._wake:
                    self._wake.clear()
                elif events & selectors.EVENT_READ:
                    readable = True
            if readable:
                self._receive()
            elif self._deadline is not None and monotonic() > self._deadline:
                return

    def _watch(self, selector: selectors.BaseSelector, watched: int, wanted: int) -> int:
        """Register the wanted events of the socket."""
        if wanted != watched:
            if not watched:
                selector.register(self._sock, wanted)
            elif not wanted:
                selector.unregister(self._sock)
            else:
                selector.modify(self._sock, wanted)
        return wanted

    def _timeout(self, idle: bool) -> float | None:
        if not idle:
            return 0.0
        if not self.session.closing:
            return None
        if self._deadline is None:
            self._deadline = monotonic() + FAREWELL
        return max(0.0, self._deadline - monotonic())

    def _receive(self) -> None:
        """Read once, and answer what is complete."""
        session = self.session
        circuit = session.circuit
        try:
            nbytes = self._sock.recv_into(circuit.get_buffer())
        except BlockingIOError:
            return
        if not nbytes:
            session.closing = True
            return
        commands = circuit.buffer_updated(nbytes)
        if commands and self.log.isEnabledFor(logging.DEBUG):
            for command in commands:
                self.log.debug("%s", command.as_line(), extra={"direction": "<<<---"})
        for job in session.answer(commands):
            self._start(job)

    def _start(self, job: Job) -> None:
        """Run a job in the workers; wait for it a moment, if no other is pending."""
        with self._lock:
            self._jobs += 1
        done = self._workers.submit(job.data, lambda: self._do(job))
        if self._ticket is not None and self._ticket.wait(0):
            self._ticket = None
        if self._ticket is None and not done.wait(GRACE):
            self._ticket = done

    def _do(self, job: Job) -> None:
        """Do a job, in a worker."""
        try:
            job.run()
        finally:
            with self._lock:
                self._jobs -= 1
                again = self._jobs == MAX_JOBS - 1
            if again:
                self._wake.set()

    def _send(self) -> bool:
        """Write what the socket takes; return False if it takes no more for now."""
        out = self._out
        if self._waiting_bytes < HIGH_WATER:
            try:
                buffers = self.session.take()
            except LocalProtocolError:
                # Our defect, and the state of the circuit is unknown: a new one is better.
                self.log.exception("cannot answer")
                self.session.closing = True
                buffers = []
            for buffer in buffers:
                if len(buffer):
                    out.append(memoryview(buffer).cast("B"))
                    self._waiting_bytes += len(buffer)
        while out:
            try:
                sent = self._sock.send(out[0])
            except BlockingIOError:
                return False
            self._waiting_bytes -= sent
            if sent < len(out[0]):
                out[0] = out[0][sent:]
                return False
            out.popleft()
        return True
