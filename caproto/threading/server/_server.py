"""`Server` puts PVs on the network; `run` does so until the process gets a signal to end.

::

    Server                     starts and ends everything
     ├─ ServerLoop             one thread, ``ca-server``: searches, new clients, beacons, scans
     ├─ Connection             one thread for each client, ``ca-serve HOST:PORT``
     ├─ Workers                threads ``ca-worker N`` for getters, putters and scans
     └─ startup functions      one thread each, ``ca-startup NAME``

A server owns its sockets and threads, not its PVs: any thread may change these before, while and
after they are served.
"""
from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType

from ... import _locks
from ..._environment import ServerConfiguration
from ..._errors import CaprotoError, CaprotoNetworkError, CaprotoRuntimeError
from ..._log import CONTEXT_LOGGER, ROOT_LOGGER, adapter
from ..._numbers import counted
from ..._os.signals import EndSignals
from ..._protocol.framing import UNLIMITED
from ..._server.data import ChannelData
from ..._server.directory import Directory
from ..._server.group import PVGroup
from .. import _lifetime, _waiting
from .._waiting import Deadline
from ._connection import Connection
from ._loop import ServerLoop

__all__ = ["Server", "run"]

#: How long `Server.stop` waits for functions of the user, in seconds.
PATIENCE = 1.0
#: How long it waits for our own threads. They end at once, unless a signal handler that stops the
#: server has interrupted a call that holds a lock they need.
OWN_PATIENCE = 5.0


class Server:
    """Serves PVs until it is stopped; also a context manager.

    Parameters
    ----------
    pvs : PVGroup or mapping of str to ChannelData
        What to serve.
    configuration : ServerConfiguration, optional
        Default: from the environment.

    Attributes
    ----------
    tcp_port, udp_port : int
        The ports in use, once it has started. They differ if the TCP port was taken.
    clients : tuple of Connection
        The clients that are connected.

    Raises
    ------
    CaprotoNetworkError
        By `start`: no port is free, or no interface has the configured address.
    """

    def __init__(
        self,
        pvs: PVGroup | Mapping[str, ChannelData],
        configuration: ServerConfiguration | None = None,
    ) -> None:
        self.configuration = configuration or ServerConfiguration.from_environment()
        self.pvdb: Mapping[str, ChannelData] = pvs.pvdb if isinstance(pvs, PVGroup) else pvs
        for name, data in self.pvdb.items():
            data.name = data.name or name
        self.directory = Directory(self.pvdb)
        self.tcp_port = self.udp_port = 0
        self.log = adapter(CONTEXT_LOGGER, role="SERVER")
        self._lock = _locks.Lock()
        self._clients: dict[Connection, None] = {}
        self._state = "new"  # then "starting", "running", "stopped"
        #: Whether the stop events are ours to set: PVs may be served by other servers, too.
        self._served = False
        self._loop: ServerLoop | None = None
        #: The thread that takes the one element closes the loop: the one of the loop at its end or,
        #: if that never begins, the one that ends the server.
        self._to_close = [True]
        self._startups: list[threading.Thread] = []
        max_payload = self.configuration.max_payload
        self._max_payload = UNLIMITED if max_payload > UNLIMITED else int(max_payload)
        self._thread = threading.Thread(target=self._run, name="ca-server", daemon=True)

    @property
    def clients(self) -> tuple[Connection, ...]:
        """The clients that are connected."""
        with self._lock:
            return tuple(self._clients)

    def start(self) -> Server:
        """Open the sockets and start; when this returns clients can connect.

        If it fails or is interrupted (Ctrl-C) it leaves nothing open.

        Raises
        ------
        CaprotoNetworkError
            No port is free, no interface has the configured address, or there are too few
            descriptors.
        CaprotoRuntimeError
            The server has been started before, or the system refuses to start a thread.
        """
        with self._lock:
            if self._state != "new":
                raise CaprotoRuntimeError(f"the server is {self._state}; make another one")
            self._state = "starting"
        try:
            self._start()
            return self
        except BaseException as exc:
            self._end()
            _raise_as_ours(exc)
            raise

    def _start(self) -> None:
        _lifetime.register(self)
        self._loop = loop = ServerLoop(
            self.configuration, self.directory, self.pvdb.values(), self._accepted
        )
        self.tcp_port, self.udp_port = loop.listening.tcp_port, loop.listening.udp_port
        self._served = True
        for event in self._stop_events():
            event.clear()
        with self._lock:
            if self._state != "starting":
                raise CaprotoRuntimeError("the server was stopped while it was starting")
            self._state = "running"
        self._thread.start()
        for name, data in self.pvdb.items():
            if data.startup is not None:
                thread = threading.Thread(
                    target=self._startup, args=(data,), name=f"ca-startup {name}", daemon=True
                )
                self._startups.append(thread)
                thread.start()

    def stop(self) -> None:
        """Close everything; may be called twice.

        Functions of the user that do not return within a second are left running. If this is
        interrupted (Ctrl-C), or called by a signal handler or finalizer inside another call,
        everything still ends, but this does not wait for it.
        """
        try:
            self._end()
            self._join(Deadline(OWN_PATIENCE))
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        ports = f" tcp={self.tcp_port} udp={self.udp_port}" if self.tcp_port else ""
        things = f"{counted(len(self.pvdb), 'PV')}, {counted(len(self._clients), 'client')}"
        return f"<Server {self._state}{ports} {things}>"

    def _stop_events(self) -> set[threading.Event]:
        return {data.stopping for data in self.pvdb.values() if data.stopping is not None}

    # --- the end

    def _end(self) -> None:
        """Have everything end, without waiting; may be called repeatedly, by any thread."""
        if self._served:
            for event in self._stop_events():
                event.set()
        with self._lock:
            self._state = "stopped"
        if self._loop is None:
            return
        if self._is_to_close():
            self._close(self._loop)
        else:
            self._loop.stop()

    def _is_to_close(self) -> bool:
        """Tell whether the caller, and no other thread, must call `_close`."""
        try:
            return self._to_close.pop()
        except IndexError:
            return False

    def _close(self, loop: ServerLoop) -> None:
        """Close the sockets, and have clients and workers end."""
        self._state = "stopped"
        loop.close()
        for client in self.clients:
            client.stop()
        loop.workers.stop(0.0)

    def _join(self, deadline: Deadline) -> None:
        """Wait for our threads until *deadline*, for the user's functions at most `PATIENCE`."""
        if _locks.held(self._lock):
            return
        _waiting.join_thread(self._thread, deadline.remaining())
        for client in self.clients:
            _waiting.join_thread(client.thread, deadline.remaining())
        deadline = Deadline(min(deadline.remaining() or 0.0, PATIENCE))
        if self._loop is not None:
            self._loop.workers.stop(deadline.remaining())
        for thread in self._startups:
            _waiting.join_thread(thread, deadline.remaining())

    def _at_exit(self, deadline: Deadline) -> None:
        """Stop before the interpreter ends: it aborts if a daemon thread is printing then."""
        self._end()
        self._join(deadline)

    def _after_fork(self) -> None:
        """In the child, which has none of the threads, close the copies of the sockets.

        While they were open no client would see the parent hang up. Any lock may be held by a
        thread that does not exist here.
        """
        self._lock = _locks.Lock()
        self._state = "stopped"
        self._to_close.clear()
        for client in self._clients:
            client.abandon()
        self._clients = {}
        for data in self.pvdb.values():
            data.abandon()
        if self._loop is not None:
            self._loop.abandon()

    # --- in threads

    def _run(self) -> None:
        """Serve, in the thread ``ca-server``."""
        if self._loop is None or not self._is_to_close():  # it was stopped before it began
            return
        try:
            self._loop.run()
        except Exception:
            self.log.exception("the server stops")
        finally:
            self._close(self._loop)

    def _startup(self, data: ChannelData) -> None:
        """Call the user's function, in its own thread."""
        assert data.startup is not None
        try:
            data.startup(data)
        except (Exception, SystemExit):
            self.log.exception("the startup function of %s failed", data.name)

    def _accepted(self, sock: socket.socket, address: tuple[str, int]) -> None:
        """Serve a new client; called by the loop."""
        assert self._loop is not None
        try:
            client = Connection(
                sock,
                address,
                self.directory,
                self._loop.workers,
                self._gone,
                port=self.tcp_port,
                max_payload=self._max_payload,
            )
        except OSError:
            sock.close()
            raise
        with self._lock:
            self._clients[client] = None
        self.log.debug("client connected", extra={"their_address": address})
        client.start()

    def _gone(self, client: Connection) -> None:
        """Forget a client; called by its thread as its last act."""
        with self._lock:
            self._clients.pop(client, None)
        self.log.debug("client disconnected", extra={"their_address": client.address})


def _raise_as_ours(error: BaseException) -> None:
    """Raise a refusal of the system as a CaprotoError; ignore other errors."""
    if isinstance(error, CaprotoError):
        return
    if isinstance(error, OSError):
        reason = error.strerror or error
        raise CaprotoNetworkError(error.errno, f"cannot start the server: {reason}") from error
    if isinstance(error, (RuntimeError, MemoryError)):
        raise CaprotoRuntimeError(f"cannot start a thread of the server: {error}") from error


def run(
    pvs: PVGroup | Mapping[str, ChannelData],
    *,
    interfaces: Sequence[str] | None = None,
    port: int | None = None,
    configuration: ServerConfiguration | None = None,
    print_names: bool = True,
    print_ports: bool = False,
    log_level: str | int = "WARNING",
) -> None:
    """Serve PVs until the process gets SIGINT (Ctrl-C) or SIGTERM.

    When the names have been printed clients can connect. Signals are handled only if this is called
    in the main thread.

    Parameters
    ----------
    pvs : PVGroup or mapping of str to ChannelData
        What to serve.
    interfaces : sequence of str, optional
        Addresses to listen on.
    port : int, optional
        For searches, and for clients if it is free; 0 for any free one.
    configuration : ServerConfiguration, optional
        Everything else. Default: the EPICS_CAS_* variables.
    print_names : bool
        Print the names of the PVs.
    print_ports : bool
        Print the ports in use.
    log_level : str or int
        For the logger ``caproto``.

    Raises
    ------
    CaprotoNetworkError
        No port is free, or no interface has the configured address.
    """
    logging.getLogger(ROOT_LOGGER).setLevel(
        log_level.upper() if isinstance(log_level, str) else log_level
    )
    configuration = configuration or ServerConfiguration.from_environment()
    if interfaces is not None:
        configuration = configuration.replace(interfaces=tuple(interfaces))
    if port is not None:
        configuration = configuration.replace(server_port=port)
    with EndSignals() as end, Server(pvs, configuration) as server:
        if print_ports:
            print(f"Ports: tcp={server.tcp_port} udp={server.udp_port}", flush=True)
        if print_names:
            print(f"PVs: {list(server.pvdb)}", flush=True)
        end.wait()
