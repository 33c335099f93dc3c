"""What ends Contexts and broadcasters: the end of the interpreter, and a fork.

At exit everything that is still open is closed, within a fraction of a second: the threads are
daemons, and a daemon that is stopped in the middle of writing to stdout would abort the process.

After a fork the child has copies of our sockets but none of our threads, and any lock may be held
by a thread that does not exist. So the child marks everything as lost, without touching what the
parent uses.
"""
from __future__ import annotations

import atexit
import os
import weakref
from typing import Any, Protocol

from ._waiting import Deadline

#: Seconds that the exit waits for callbacks that are running.
EXIT_TIME = 0.5


class Mortal(Protocol):
    """Something with threads."""

    def _at_exit(self, deadline: Any) -> None:
        """Close; wait for threads until *deadline*."""

    def _after_fork(self) -> None:
        """We are the child: become useless, and say so when used."""


_living: weakref.WeakSet[Any] = weakref.WeakSet()


def register(mortal: Mortal) -> None:
    """Have *mortal* closed at exit and marked after a fork."""
    _living.add(mortal)


def _at_exit() -> None:
    deadline = Deadline(EXIT_TIME)
    for mortal in list(_living):
        mortal._at_exit(deadline)


def _after_fork() -> None:
    for mortal in list(_living):
        mortal._after_fork()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
