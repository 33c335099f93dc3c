"""Stream: what the threads of a client receive, on its way to the thread that handles it."""
from __future__ import annotations

from queue import Empty, Queue
from threading import TIMEOUT_MAX
from typing import Generic, TypeVar

Item = TypeVar("Item")

#: Items that wait. When there are more, the server is asked to hold its updates.
WAITING_ITEMS = 1000


class Stream(Generic[Item]):
    """Items on their way from the threads that receive them to the thread that calls `get`."""

    def __init__(self) -> None:
        self._queue: Queue[Item | None] = Queue(WAITING_ITEMS)
        self._over = False

    def put(self, item: Item) -> None:
        """Add an item; wait while there are too many, so that flow control sets in."""
        if not self._over:
            self._queue.put(item)

    def get(self, timeout: float | None) -> Item | None:
        """Return the next item; None if there is none in time, or at the end."""
        if self._over:
            return None
        try:
            return self._queue.get(timeout=timeout and min(timeout, TIMEOUT_MAX))
        except Empty:
            return None

    def end(self) -> None:
        """Let `get` return None from now on, and let go the threads that wait in `put`."""
        self._over = True
        try:
            while True:
                self._queue.get_nowait()
        except Empty:
            self._queue.put(None)
