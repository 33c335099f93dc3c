"""Stream: what the threads of a client receive, on its way to the thread that handles it."""
from __future__ import annotations

from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX
from typing import Generic, TypeVar

Item = TypeVar("Item")

#: Items that wait. When there are more, the server is asked to hold its updates.
WAITING_ITEMS = 1000


class Stream(Generic[Item]):
    """Items on their way from the threads that receive them to the thread that calls `get`.

    Unlike ``queue.Queue``, these queues have no lock that a thread could hold when a signal handler
    interrupts it and calls `end`.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Item | None] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()  # an entry for each item that may come
        for _ in range(WAITING_ITEMS):
            self._room.put(None)
        self._over = False

    def put(self, item: Item) -> None:
        """Add an item; wait while there are too many, so that flow control sets in."""
        self._room.get()
        if self._over:
            self._room.put(None)  # for the next thread that waits
        else:
            self._queue.put(item)

    def get(self, timeout: float | None) -> Item | None:
        """Return the next item; None if there is none in time, or at the end."""
        if self._over:
            return None
        try:
            item = self._queue.get(timeout=timeout and min(timeout, TIMEOUT_MAX))
        except Empty:
            return None
        self._room.put(None)
        return item

    def end(self) -> None:
        """Let `get` return None from now on, and let go the threads that wait in `put`."""
        self._over = True
        self._queue.put(None)
        self._room.put(None)
