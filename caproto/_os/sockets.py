"""Sockets as Channel Access needs them; the lowest module that does I/O.

Small functions over the standard library: broadcast sockets for searches and beacons, TCP sockets
for circuits, the wake-up pair that ends a thread's sleep, and host names.

It does not interpret Channel Access messages, starts no threads, and keeps no state between
calls. A socket belongs to the caller that asked for it; only `WakeUp.set` may be called from any
thread.
"""
from __future__ import annotations

import errno
import getpass
import math
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType

from .._addresses import Address, warn
from .._errors import CaprotoNetworkError
from .._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final, Protocol

    class Pollable(Protocol):
        """A socket, or something that has one."""

        def fileno(self) -> int: ...

__all__ = [
    "READABLE",
    "WRITABLE",
    "Address",
    "WakeUp",
    "abort",
    "bcast_socket",
    "finish_connect",
    "is_local_host",
    "poll",
    "resolve_addresses",
    "resolve_host",
    "start_connect",
    "stream_socket",
    "wait_any",
    "wait_writable",
]


_STARTED = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR})
#: Seconds. The kernel counts milliseconds in 31 bits; to wake up once in eleven days does no harm.
LONGEST_SLEEP: Final = 1e6
#: For `poll`. The values of POLLIN and POLLOUT, written out because Windows has no select.poll.
READABLE: Final = 0x001
WRITABLE: Final = 0x004


@contextmanager
def making_socket() -> Iterator[None]:
    """Turn a failure to make a socket into a CaprotoError: there may be no descriptors left."""
    try:
        yield
    except OSError as exc:
        raise CaprotoNetworkError(exc.errno, f"cannot make a socket: {exc.strerror}") from exc


def bcast_socket(
    socket_module: ModuleType | None = None, *, reuse: bool = True, mcast_ttl: int = 1
) -> socket.socket:
    """Make an unbound UDP socket that may broadcast.

    Sending to a broadcast address without this permission fails with EACCES. Multicasts are heard
    by listeners on this host, too.

    Parameters
    ----------
    socket_module : module, optional
        Whose ``socket`` is called, for libraries that have a module of their own like Python's.
    reuse : bool
        Let several processes bind the same port, as the servers of one host do with the search
        port. A client that binds an ephemeral port of its own says False.
    mcast_ttl : int
        How many routers a multicast may cross, plus one (EPICS_CA_MCAST_TTL).

    Returns
    -------
    socket.socket
        Blocking, like every new socket.

    Raises
    ------
    CaprotoNetworkError
        If the system has none for us.
    """
    with making_socket():
        sock: socket.socket = (socket_module or socket).socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, mcast_ttl)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            if reuse:
                share_port(sock)
        except BaseException:  # Ctrl-C, too: no descriptor stays open
            sock.close()
            raise
    return sock


def share_port(sock: socket.socket) -> None:
    """Let other sockets bind the port of *sock*, if they ask for the same.

    Windows means by SO_REUSEADDR what others call SO_REUSEPORT; elsewhere both are needed.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "SO_REUSEPORT"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def stream_socket() -> socket.socket:
    """Make a non-blocking TCP socket with the options of a circuit: no Nagle delay, keep-alive."""
    with making_socket():
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    tune_stream(sock)
    return sock


def tune_stream(sock: socket.socket) -> None:
    """Give a TCP socket, ours or accepted, the options of a circuit."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def start_connect(address: Address) -> socket.socket:
    """Begin to connect; never wait.

    Poll the returned socket for writing, then call `finish_connect`.

    Raises
    ------
    CaprotoNetworkError
        If the kernel refuses at once, for example because there is no route, or no descriptor left.
    """
    sock = stream_socket()
    try:
        error = sock.connect_ex(address)
    except OSError as exc:  # a name that does not resolve, a port that is none
        sock.close()
        raise CaprotoNetworkError(
            exc.errno, f"cannot connect to {address[0]}:{address[1]}: {exc.strerror or exc}"
        ) from exc
    if error not in _STARTED:
        sock.close()
        raise _connect_error(error, address)
    return sock


def finish_connect(sock: socket.socket, address: Address) -> None:
    """Check how a connect ended, once *sock* polls writable.

    Raises
    ------
    CaprotoNetworkError
        With the kernel's reason, for example "Connection refused". The socket is left to the
        caller.
    """
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise _connect_error(error, address)


def _connect_error(error: int, address: Address) -> CaprotoNetworkError:
    return CaprotoNetworkError(
        error, f"cannot connect to {address[0]}:{address[1]}: {os.strerror(error)}"
    )


def abort(sock: socket.socket) -> None:
    """Close a TCP socket with a reset: nothing that is still queued will be delivered.

    For circuits that are unfinished or unresponsive; a close in good order half-closes first.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:  # never connected, or reset by the peer meanwhile
        pass
    sock.close()


def poll(watched: Mapping[Pollable, int], timeout: float | None) -> list[Pollable]:
    """Wait until something is ready, or has an error, which its next call will report.

    `select.select` cannot watch descriptors above 1023; it is used only where there is no `poll`.

    Parameters
    ----------
    watched : mapping of sockets and `WakeUp` objects to int
        `READABLE`, `WRITABLE` or both.
    timeout : float or None
        Seconds, `LONGEST_SLEEP` at most; None and `math.inf` mean no limit.

    Returns
    -------
    list
        What is ready; empty if the time ran out.

    Raises
    ------
    CaprotoNetworkError
        If one of the sockets has been closed.
    """
    if timeout is not None:
        timeout = None if timeout == math.inf else min(max(timeout, 0.0), LONGEST_SLEEP)
    by_number = {source.fileno(): source for source in watched}
    if -1 in by_number:
        raise CaprotoNetworkError(errno.EBADF, "the socket has been closed")
    if sys.platform == "win32":
        ready = select.select(
            [number for number, source in by_number.items() if watched[source] & READABLE],
            [number for number, source in by_number.items() if watched[source] & WRITABLE],
            list(by_number),
            timeout,
        )
        return [by_number[number] for number in set().union(*ready)]
    poller = select.poll()
    for number, source in by_number.items():
        poller.register(number, watched[source])
    # poll counts milliseconds; rounded up, so that we do not come back too early and spin
    milliseconds = None if timeout is None else math.ceil(timeout * 1000)
    return [by_number[number] for number, _ in poller.poll(milliseconds)]


def wait_any(*watched: Pollable) -> list[Pollable]:
    """Sleep until some of *watched* can be read; return those."""
    return poll(dict.fromkeys(watched, READABLE), None)


def wait_writable(sock: socket.socket, deadline: float | None) -> bool:
    """Sleep until *sock* takes bytes again.

    Call it holding no lock. To end another thread's wait, shut the socket down before closing it.

    Parameters
    ----------
    sock : socket.socket
    deadline : float or None
        In `time.monotonic` seconds; None means no limit.

    Returns
    -------
    bool
        False if the deadline passed.
    """
    timeout = None if deadline is None else deadline - time.monotonic()
    return bool(poll({sock: WRITABLE}, timeout))


class WakeUp:
    """Ends the sleep of a thread that polls sockets.

    The sleeper polls `fileno` among its sockets and, when awake, calls `clear` *before* it looks at
    the work to be done. Whoever has put work where the sleeper will look calls `set` *after* that.
    In this order no wake-up is lost, and sets that come while one is pending cost no system call.

    Guarantees: `set` takes no lock, never blocks and never raises, so that finalizers,
    weak-reference callbacks and signal handlers may call it, also after `close`.

    Raises
    ------
    CaprotoNetworkError
        If there are no descriptors left.
    """

    __slots__ = ("_clears", "_receiver", "_sender", "_sent_after")

    def __init__(self) -> None:
        self._clears = 0
        self._sent_after = -1  # how many times it had been cleared when a byte was sent last
        with making_socket():
            self._receiver, self._sender = socket.socketpair()
        try:
            self._receiver.setblocking(False)
            self._sender.setblocking(False)
        except BaseException:  # Ctrl-C: no descriptor stays open
            self.close()
            raise

    def set(self) -> None:
        """Wake the sleeper, now or at its next poll."""
        clears = self._clears
        if self._sent_after == clears:
            return
        try:
            self._send()
            # Only now: a signal handler may come before, call this, and wait for the sleeper.
            self._sent_after = clears
        except BaseException:  # Ctrl-C
            self._send()
            raise

    def _send(self) -> None:
        try:
            self._sender.send(b"\0")
        except OSError:  # full: it will wake anyway; closed: no thread sleeps here any more
            pass

    def clear(self) -> None:
        """Forget the wake-ups so far. Only the sleeper calls this."""
        try:
            while len(self._receiver.recv(4096)) == 4096:
                pass
        except OSError:
            pass
        # After the draining: a set in between may send nothing, and need not, because its work is
        # already where the sleeper is about to look.
        self._clears += 1

    def wait(self, timeout: float) -> None:
        """Sleep until woken, at most *timeout* seconds; for a thread that has no other socket."""
        poll({self._receiver: READABLE}, timeout)
        self.clear()

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._receiver.fileno()

    def sender_fileno(self) -> int:
        """Return the descriptor that wakes the sleeper when a byte is written to it."""
        return self._sender.fileno()

    def close(self) -> None:
        """Give the two sockets back."""
        self._sender.close()
        self._receiver.close()


def resolve_host(host: str) -> str:
    """Look up the IPv4 address of *host*, a dotted quad.

    Raises
    ------
    CaprotoNetworkError
        If the name is not known.
    """
    try:
        # As bytes, because for text getaddrinfo imports what it takes to encode names by IDNA.
        name = host.encode() if host.isascii() and host.isprintable() else host
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as exc:
        raise CaprotoNetworkError(
            exc.errno, f"cannot resolve the host name {host!r}: {exc.strerror or exc}"
        ) from exc
    except UnicodeError as exc:  # getaddrinfo encodes names by IDNA and reports this way
        raise CaprotoNetworkError(errno.EINVAL, f"{host!r} cannot be a host name: {exc}") from exc
    return str(found[0][4][0])


def resolve_addresses(
    addresses: Iterable[Address], variable: str = "EPICS_CA_ADDR_LIST"
) -> list[Address]:
    """Resolve host names; report and skip what cannot be resolved, and drop duplicates.

    Names are resolved once, at the start, as Channel Access clients do: a wrong name must neither
    stop the others nor delay each search.

    Parameters
    ----------
    addresses : iterable of (str, int)
        Hosts, as names or dotted quads, and ports.
    variable : str
        Where the addresses come from, for the warning.

    Returns
    -------
    list of (str, int)
        Dotted quads and ports, in the order given.
    """
    resolved: dict[Address, None] = {}
    for host, port in addresses:
        try:
            resolved[resolve_host(host), port] = None
        except CaprotoNetworkError as exc:
            warn("%s: %s; skipped", variable, exc.strerror)
    return list(resolved)


def is_local_host(host: str) -> bool:
    """Tell whether *host* (a dotted quad) is this computer: a socket can be bound to it."""
    if host.startswith("127."):
        return True
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def user_name() -> str:
    """Return the login name, which is sent to servers; in a container the user may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
