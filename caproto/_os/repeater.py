"""The CA repeater: one process that hears the beacons for all clients of a host.

Beacons come to one UDP port, which several programs cannot share reliably. One process binds it and
copies every datagram to the clients that have registered with it. It keeps nothing on disk, sends
nothing itself, and never exits on its own.

The rules are those of the repeater that comes with EPICS; clients of either work with the other:

- A datagram without content, or one that starts with REPEATER_REGISTER, registers its sender, which
  must be on this host. Clients are distinguished by their port alone. The repeater confirms the
  registration, from another port than its own, and sends a VERSION message to all other clients; it
  does nothing but show whether they still exist.
- Everything else is copied byte for byte to all clients but the sender. In a beacon that does not
  say where it comes from, the address of its sender is filled in.
- A client is forgotten when its port can be bound by another program: nothing listens there any
  more. The repeater tries that after a send failed, and whenever a client registers.

A `Repeater` runs in the thread that calls `run`; only `stop` may be called from another one.
"""
from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable
from typing import Final

from .._errors import CaprotoNetworkError, CaprotoRuntimeError
from .._log import SEARCH_LOGGER, adapter
from .._protocol.constants import MAX_DATAGRAM, REPEATER_PORT
from .sockets import Address, WakeUp, is_local_host, wait_any

__all__ = ["Repeater", "repeater_runs", "spawn_repeater"]

_HEADER: Final = struct.Struct(">HHHHII")
_BEACON, _CONFIRM, _REGISTER = 13, 17, 24
#: VERSION with all fields 0.
_NO_OPERATION: Final = bytes(_HEADER.size)
_PARAMETER2: Final = slice(12, 16)
ALL_INTERFACES: Final = "0.0.0.0"


class _Client:
    """One registered client; everything for it goes through a socket of its own.

    A connected socket reports an error when nothing listens at the other end.
    """

    __slots__ = ("address", "_socket")

    def __init__(self, address: Address) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(address)
        except OSError:
            self._socket.close()
            raise

    def send(self, data: bytes) -> bool:
        """Send; False if there is an error, which is about this datagram or an earlier one."""
        try:
            self._socket.send(data)
        except BlockingIOError:  # it is slow, not gone; this datagram is lost
            pass
        except OSError:
            return False
        return True

    def is_gone(self) -> bool:
        """Tell whether the client's port is free."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((ALL_INTERFACES, self.address[1]))
            except OSError:
                return False
        return True

    def close(self) -> None:
        self._socket.close()


class Repeater:
    """A CA repeater.

    Parameters
    ----------
    port : int
        UDP port to listen on (EPICS_CA_REPEATER_PORT, 5065).
    groups : iterable of str
        Multicast groups to join: those that servers send beacons to.
    host : str
        Address of the interface to listen on; all of them by default.

    Raises
    ------
    CaprotoNetworkError
        With errno EADDRINUSE if the port is taken: presumably another repeater runs.
    """

    def __init__(
        self, port: int = REPEATER_PORT, groups: Iterable[str] = (), host: str = ALL_INTERFACES
    ) -> None:
        self.port = port
        self.log = adapter(SEARCH_LOGGER, our_address=(host, port))
        self._clients: dict[int, _Client] = {}
        self._socket = _bind(port, host)
        self._wake = WakeUp()
        for group in groups:
            self._join(group)

    @property
    def clients(self) -> list[Address]:
        """Host and port of the registered clients, in the order of registration."""
        return [client.address for client in list(self._clients.values())]

    def run(self, until: WakeUp | None = None) -> None:
        """Serve until `stop` is called or *until* is set, then close everything."""
        self.log.info("The repeater runs on port %d", self.port)
        ends = (self._wake,) if until is None else (self._wake, until)
        try:
            while wait_any(self._socket, *ends) == [self._socket]:
                self._receive()
        finally:
            self.close()

    def stop(self) -> None:
        """End `run`; callable from anywhere."""
        self._wake.set()

    def close(self) -> None:
        """Close the socket; for a repeater that is not running."""
        self._socket.close()
        self._wake.close()
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _join(self, group: str) -> None:
        membership = struct.pack("4sI", socket.inet_aton(group), socket.INADDR_ANY)
        try:
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        except OSError as exc:
            self.log.warning("Cannot join the multicast group %s: %s", group, exc.strerror)

    def _receive(self) -> None:
        try:
            data, sender = self._socket.recvfrom(MAX_DATAGRAM)
        except OSError:  # spurious wake-up, or an ICMP error about an earlier datagram
            return
        if not data or (len(data) >= _HEADER.size and _command(data) == _REGISTER):
            self._register(sender)
            self._fan_out(data[_HEADER.size :], sender)
        elif len(data) >= _HEADER.size and _command(data) == _BEACON and not any(data[_PARAMETER2]):
            self._fan_out(data[:12] + socket.inet_aton(sender[0]) + data[16:], sender)
        else:
            self._fan_out(data, sender)

    def _register(self, address: Address) -> None:
        host, port = address
        client = self._clients.get(port)
        if client is not None:
            self._confirm(client)
            return
        if not is_local_host(host):
            self.log.warning("Refused to register %s:%d, which is on another host", host, port)
            return
        try:
            client = _Client(address)
        except OSError as exc:
            self.log.error("Cannot register %s:%d: %s", host, port, exc.strerror)
            return
        self._clients[port] = client
        self.log.info("Registered %s:%d", host, port)
        self._confirm(client)
        self._fan_out(_NO_OPERATION, address)
        for other in list(self._clients.values()):
            if other is not client:
                self._forget_if_gone(other)

    def _confirm(self, client: _Client) -> None:
        host = int.from_bytes(socket.inet_aton(client.address[0]), "big")
        self._send(client, _HEADER.pack(_CONFIRM, 0, 0, 0, 0, host))

    def _fan_out(self, data: bytes, sender: Address) -> None:
        if data:
            for client in list(self._clients.values()):
                if client.address != sender:
                    self._send(client, data)

    def _send(self, client: _Client, data: bytes) -> None:
        if not client.send(data) and not self._forget_if_gone(client):
            client.send(data)  # the error was about an earlier datagram; this one did not go out

    def _forget_if_gone(self, client: _Client) -> bool:
        if not client.is_gone():
            return False
        self.log.info("Forgot %s:%d", *client.address)
        del self._clients[client.address[1]]
        client.close()
        return True


def _command(data: bytes) -> int:
    return int.from_bytes(data[:2], "big")


def _bind(port: int, host: str = ALL_INTERFACES) -> socket.socket:
    """Bind the repeater's port, without sharing it: there can be only one."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((host, port))
    except OSError as exc:
        sock.close()
        raise CaprotoNetworkError(
            exc.errno, f"the repeater cannot have port {port}: {exc.strerror}"
        ) from exc
    return sock


def repeater_runs(port: int = REPEATER_PORT) -> bool:
    """Tell whether the repeater's port is taken on this host: then a repeater runs."""
    try:
        _bind(port).close()
    except CaprotoNetworkError as exc:
        return exc.errno == errno.EADDRINUSE
    return False


def spawn_repeater(port: int = REPEATER_PORT) -> int:
    """Start a repeater that outlives this process.

    It has a session of its own, and none of our files, pipes or sockets; nothing waits for it. If a
    repeater runs already, the new one sees that and ends quietly.

    Parameters
    ----------
    port : int
        For EPICS_CA_REPEATER_PORT.

    Returns
    -------
    int
        The process id.

    Raises
    ------
    CaprotoRuntimeError
        If there is no Python interpreter to start, as in a program that embeds it.
    CaprotoNetworkError
        If the system cannot start the process.
    """
    import subprocess  # here, because most programs find a repeater running

    # In a frozen program sys.executable is the program itself: it would start itself again.
    if not sys.executable or getattr(sys, "frozen", False):
        raise CaprotoRuntimeError("no Python interpreter is known that could run a repeater")
    command = [sys.executable, "-m", "caproto.commandline.repeater", "--port", str(port)]
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    package_root = os.path.dirname(package)
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    try:
        if sys.platform == "win32":
            flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
            process = subprocess.Popen(
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                creationflags=flags,
            )
            process.returncode = 0  # we do not wait for it
            return process.pid
        # The shell between us and the repeater ends at once: init inherits the repeater, and we are
        # left with no zombie.
        script = '"$@" </dev/null >/dev/null 2>&1 & echo $!'
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *command],
            env=environ,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            start_new_session=True,
        )
    except (OSError, subprocess.CalledProcessError) as exc:
        raise CaprotoNetworkError(f"cannot start a repeater: {exc}") from exc
    return int(done.stdout)
