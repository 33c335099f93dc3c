"""Worker: a thread that does what is left to it, as much as there is at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from .._service_thread import ServiceThread

#: Seconds without work after which the thread ends; the next work starts another one.
IDLE_TIME = 0.2

T = TypeVar("T")


class Worker(Generic[T]):
    """A thread that runs while there is work, and a moment longer.

    Parameters
    ----------
    name : str
        Of the thread.
    work : callable
        Called with a list of what was left. It raises nothing.
    """

    def __init__(self, name: str, work: Callable[[list[T]], None]) -> None:
        self._name = name
        self._work = work
        self._queue: SimpleQueue[T] = SimpleQueue()
        self._thread = ServiceThread(self._run, name)

    def put(self, item: T) -> None:
        """Leave something to the thread; start it if it does not run."""
        self._queue.put(item)
        self._start()

    def _start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError:  # there are no more threads
            self._work(self._take())

    def _run(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                first = self._queue.get(timeout=IDLE_TIME)
                self._work([first, *self._take()])
                del first  # keep nothing alive while asleep
        self._thread = ServiceThread(self._run, self._name)
        # Something may have come just before, from a thread that relied on this one.
        if not self._queue.empty():
            self._start()

    def _take(self) -> list[T]:
        """Take what there is now."""
        taken: list[T] = []
        with contextlib.suppress(Empty):  # another thread may take some, too
            for _ in range(self._queue.qsize()):
                taken.append(self._queue.get_nowait())
        return taken
