"""Threads for the functions of a server's PVs: getters, putters, scans.

`Workers.submit` runs a job in another thread. Jobs of one PV run one after the other, in the order
in which they were submitted; jobs of different PVs do not wait for each other. Threads are started
when there are fewer than PVs with jobs, up to a limit, and stay.

If the system refuses to start a thread, the threads that exist do the work. If there are none, the
jobs wait: each later `submit` tries again, and calls the owner, which calls `start_missing` after a
pause.

Jobs are the user's code: they run without our locks, and may never return. The threads are daemons,
so such a job does not keep the process running.
"""
from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from queue import SimpleQueue

from ... import _locks
from ..._log import CONTEXT_LOGGER, adapter
from .. import _waiting

__all__ = ["Workers"]

_log = adapter(CONTEXT_LOGGER)

#: Jobs of more PVs than this at the same time wait for each other.
MAX_THREADS = 100

Job = Callable[[], object]


class Workers:
    """See the module.

    Parameters
    ----------
    refused : callable
        Called, by any thread, when a thread could not be started: call `start_missing` in a while.
    name : str
        Begins the names of the threads.
    """

    def __init__(
        self, refused: Callable[[], object] = lambda: None, name: str = "ca-worker"
    ) -> None:
        self._refused = refused
        self._name = name
        self._lock = _locks.Lock()
        #: The jobs of each PV that wait or run. Each key is also in `_ready` or in a thread.
        self._jobs: dict[Hashable, deque[tuple[Job, _waiting.OneShot]]] = {}
        self._ready: SimpleQueue[Hashable] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._stopped = False
        self._short = False  # the last attempt to start a thread failed

    def submit(self, key: Hashable, job: Job) -> _waiting.OneShot:
        """Run *job* after all earlier ones of *key*.

        Returns
        -------
        OneShot
            Filled when the job has ended, however it did. After `stop` it is never filled.
        """
        done = _waiting.OneShot()
        with self._lock:
            if self._stopped:
                return done
            jobs = self._jobs.get(key)
            if jobs is None:
                self._jobs[key] = deque([(job, done)])
                self._ready.put(key)
            else:
                jobs.append((job, done))
        self.start_missing()
        return done

    def start_missing(self) -> None:
        """Start threads while there are fewer than PVs with jobs, and the system allows it."""
        while self._needs_thread() and self._start_thread():
            pass

    def _start_thread(self) -> bool:
        """Start one more thread, if still needed; return whether that worked."""
        thread = threading.Thread(
            target=self._run, name=f"{self._name} {len(self._threads)}", daemon=True
        )
        with self._lock:
            if not self._needs_thread():
                return True
            self._threads.append(thread)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as exc:
            with self._lock:
                self._threads.remove(thread)
                first, self._short = not self._short, True
            if first:
                _log.warning(
                    "Cannot start a thread for getters, putters and scans (%d are running): %s",
                    len(self._threads), exc,
                )
            self._refused()
            return False
        self._short = False
        return True

    def _needs_thread(self) -> bool:
        return not self._stopped and len(self._threads) < min(len(self._jobs), MAX_THREADS)

    def stop(self, timeout: float | None) -> bool:
        """Start no further job; wait at most *timeout* seconds for those that run.

        Returns
        -------
        bool
            False if some job is still running.
        """
        with self._lock:
            self._stopped = True
            threads = tuple(self._threads)
        for _ in threads:
            self._ready.put(None)
        deadline = _waiting.Deadline(timeout)
        for thread in threads:
            _waiting.join_thread(thread, deadline.remaining())
        return not any(thread.is_alive() for thread in threads)

    def _run(self) -> None:
        while True:
            key = self._ready.get()
            if key is None or self._stopped:
                return
            job, done = self._jobs[key][0]
            try:
                job()
            except BaseException:  # SystemExit too: it must not end the thread of other jobs
                _log.exception("a job of %s failed", key)
            done.answered(None)
            with self._lock:
                jobs = self._jobs[key]
                jobs.popleft()
                if jobs:  # at the end, so that one busy PV does not keep a thread for itself
                    self._ready.put(key)
                else:
                    del self._jobs[key]
            del job, done, key, jobs
