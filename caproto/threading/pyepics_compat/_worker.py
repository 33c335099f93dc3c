"""Worker: a thread that does what is left to it, as much as there is at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from ... import _locks

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
        self._lock = _locks.Lock()
        self._running = False

    def put(self, item: T) -> None:
        """Leave something to the thread; start it if it does not run."""
        self._queue.put(item)
        if not self._running and self._begin():
            try:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
            except RuntimeError:  # there are no more threads
                self._running = False
                self._work([self._queue.get() for _ in range(self._queue.qsize())])

    def _begin(self) -> bool:
        """Return whether the caller is the one that must run the thread."""
        with self._lock:
            running, self._running = self._running, True
        return not running

    def _run(self) -> None:
        queue = self._queue
        while True:
            try:
                items = [queue.get(timeout=IDLE_TIME)]
            except Empty:
                self._running = False
                # Something may have come just before, from a thread that relied on this one.
                if queue.empty() or not self._begin():
                    return
                continue
            items += [queue.get() for _ in range(queue.qsize())]
            self._work(items)
            del items  # keep nothing alive while asleep
