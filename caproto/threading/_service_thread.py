"""ServiceThread: a background thread that is started by the first call that needs it."""
from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from . import _waiting
from ._waiting import Deadline

__all__ = ["ServiceThread"]


class ServiceThread:
    """Runs one function once, whichever thread starts it, even if starting was interrupted.

    A thread is noted before it is started, without any lock, and asked itself whether it runs. If
    several are started at the same moment the first one runs the function, and the others end at
    once. So a start that was interrupted or failed is simply repeated.

    Parameters
    ----------
    target : callable
    name : str
    """

    def __init__(self, target: Callable[[], None], name: str) -> None:
        self._target = target
        self._name = name
        self._threads: list[threading.Thread] = []
        self._vacancy: deque[None] = deque((None,))  # taken by the first thread
        self._ended = _waiting.Ending()

    @property
    def started(self) -> bool:
        """Whether a thread was started."""
        return any(thread.ident is not None for thread in self._threads.copy())

    @property
    def alive(self) -> bool:
        """Whether a thread is running."""
        return any(thread.is_alive() for thread in self._threads.copy())

    @property
    def current(self) -> bool:
        """Whether the caller is this thread."""
        return threading.current_thread() in self._threads.copy()

    def start(self) -> None:
        """Start the thread, unless that was done.

        Raises
        ------
        RuntimeError
            If the system cannot start one. The next call tries again.
        """
        if self.started:
            return
        thread = threading.Thread(
            target=_run,
            args=(self._vacancy, self._target, self._ended),
            name=self._name,
            daemon=True,
        )
        self._threads.append(thread)
        try:
            _waiting.start_thread(thread)
        except RuntimeError:
            self._threads.remove(thread)
            raise

    def join(self, deadline: Deadline) -> None:
        """Wait until the thread has ended, or for the deadline; not in the thread itself."""
        for thread in self._threads.copy():
            joined = _waiting.join_thread(thread, deadline.remaining())
            if not joined and thread.ident is not None:
                self._ended.wait(deadline.remaining())


def _run(
    vacancy: deque[None], target: Callable[[], None], ended: _waiting.Ending
) -> None:
    try:
        vacancy.pop()
    except IndexError:  # another thread runs it
        return
    try:
        target()
    finally:
        ended.set()
