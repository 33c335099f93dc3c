"""What caproto gets in the place of what it has imported of the system.

`installed` replaces, in the modules of caproto, ``threading``, ``socket``, ``select``,
``time.monotonic``, ``SimpleQueue`` and so on, wherever they are named, so that it need not know the
modules.
"""
from __future__ import annotations

import _thread
import functools
import importlib
import os
import pkgutil
import queue
import select
import socket
import sys
import threading
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from caproto._os import repeater
from caproto.threading import client

from .sockets import Poll, Socket, socketpair
from .system import Event, Lock, RLock, SimpleQueue, Thread, present


class StandIn(types.ModuleType):
    """A module of which some names are replaced."""

    def __init__(self, real: types.ModuleType, **replaced: Any) -> None:
        super().__init__(real.__name__)
        self.__dict__.update(replaced)
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _clock() -> float:
    return present().world.now


def _get_ident() -> int:
    ident = present().current.ident
    assert ident is not None
    return ident


def _resolve(host: str | bytes, *_arguments: Any) -> list[Any]:
    name = host.decode() if isinstance(host, bytes) else host
    return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", (name, 0))]


def _spawn_repeater(*_arguments: Any) -> int:
    present().repeater()
    return 1


_THREADING = {
    "Thread": Thread, "Event": Event, "RLock": RLock, "Lock": Lock, "get_ident": _get_ident,
    "current_thread": lambda: present().current, "main_thread": lambda: present().main,
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
    (repeater.spawn_repeater, _spawn_repeater),
    (getattr(os, "sched_yield", None), lambda: present().give_way()),
)


@functools.cache
def _places() -> list[tuple[types.ModuleType, str, Any, Any]]:
    """Where in caproto something of the system is named: module, name, the real thing, stand-in."""
    for _, module_name, _ in pkgutil.iter_modules(client.__path__, f"{client.__name__}."):
        importlib.import_module(module_name)  # some are imported at their first use only
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
