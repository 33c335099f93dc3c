"""What ends Contexts, broadcasters and servers: the exit of the interpreter, and a fork.

At exit everything that is still open is closed, within a fraction of a second: the threads are
daemons, and a daemon that is stopped in the middle of writing to stdout would abort the process.

After a fork the child has copies of our sockets but none of our threads, and any lock may be held
by a thread that does not exist. So the child marks everything as lost, without touching what the
parent uses.
"""
from __future__ import annotations

import atexit
import functools
import os
import weakref
from collections.abc import Iterator
from typing import Protocol

from ._waiting import Deadline

#: Seconds that the exit waits for callbacks that are running.
EXIT_TIME = 0.5


class Closeable(Protocol):
    """An object with threads."""

    def _at_exit(self, deadline: Deadline) -> None:
        """Close; wait for threads until *deadline*."""

    def _after_fork(self) -> None:
        """Become useless, in the child of a fork, and say so when used."""


# By id. Any thread may add an object, and the garbage collector removes it in any thread, so each
# change is one step of the interpreter, and so is the copy that is iterated.
_living: dict[int, weakref.ref[Closeable]] = {}


def register(closeable: Closeable) -> None:
    """Have *closeable* closed at exit and marked after a fork."""
    key = id(closeable)  # not reused before the weak reference has removed this entry
    # Called with the reference, pop takes it as its default. No function of Python: the interpreter
    # would drop a KeyboardInterrupt that strikes one which it calls for a weak reference.
    _living[key] = weakref.ref(closeable, functools.partial(_living.pop, key))


def _all() -> Iterator[Closeable]:
    for reference in list(_living.values()):
        closeable = reference()
        if closeable is not None:
            yield closeable


def _at_exit() -> None:
    deadline = Deadline(EXIT_TIME)
    for closeable in _all():
        closeable._at_exit(deadline)


def _after_fork() -> None:
    for closeable in _all():
        closeable._after_fork()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
