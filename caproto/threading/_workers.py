"""Threads for the functions of a server's PVs: getters, putters, scans.

`Workers.submit` runs a job in another thread. Jobs of one PV run one after the other, in the order
in which they were submitted; jobs of different PVs do not wait for each other. Threads are made
when all of them are busy, up to a limit, and stay.

Jobs are the user's code: they run with no lock of ours held, and they may take for ever. The
threads are daemons, so that such a job does not keep the process alive.
"""
from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from .. import _locks
from .._log import CONTEXT_LOGGER
from . import _waiting

__all__ = ["Workers"]

_log = logging.getLogger(CONTEXT_LOGGER)

#: Jobs of more PVs than this at the same time wait for each other.
MAX_THREADS = 100

Job = Callable[[], Any]


class Workers:
    """See the module.

    Parameters
    ----------
    name : str
        Begins the names of the threads.
    """

    def __init__(self, name: str = "ca-worker") -> None:
        self._name = name
        self._lock = _locks.Lock()
        #: The jobs of each PV that wait or run; a key that is here is in `_ready` or in a thread.
        self._jobs: dict[Any, deque[tuple[Job, _waiting.Reply]]] = {}
        self._ready: SimpleQueue[Any] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        #: Keys in `_ready`, and running ones, are as many as threads that are not idle, plus this.
        self._backlog = 0
        self._idle = 0
        self._stopped = False

    def submit(self, key: Any, job: Job) -> _waiting.Reply:
        """Run *job* after all earlier ones of *key*.

        Returns
        -------
        Reply
            Filled when the job has ended, however it did. After `stop` it is never filled.
        """
        done = _waiting.Reply()
        thread = None
        with self._lock:
            if self._stopped:
                return done
            if key in self._jobs:
                self._jobs[key].append((job, done))
                return done
            self._jobs[key] = deque([(job, done)])
            if self._idle > 0:
                self._idle -= 1
            elif len(self._threads) < MAX_THREADS:
                thread = threading.Thread(
                    target=self._run, name=f"{self._name} {len(self._threads)}", daemon=True
                )
                self._threads.append(thread)
            else:
                self._backlog += 1
        self._ready.put(key)
        if thread is not None:
            thread.start()
        return done

    def stop(self, timeout: float) -> bool:
        """Start nothing any more; wait at most *timeout* seconds for what runs.

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
            if thread is not threading.current_thread():
                thread.join(deadline.remaining())
        return not any(thread.is_alive() for thread in threads)

    def _run(self) -> None:
        while True:
            key = self._ready.get()
            if key is None or self._stopped:
                return
            job, done = self._jobs[key][0]
            try:
                job()
            except BaseException:  # SystemExit too: it must not end a thread that others count on
                _log.exception("a job of %s failed", key)
            done.answered(None)
            with self._lock:
                jobs = self._jobs[key]
                jobs.popleft()
                again = bool(jobs)
                if not again:
                    del self._jobs[key]
                    if self._backlog:
                        self._backlog -= 1
                    else:
                        self._idle += 1
            if again:  # at the end, so that one busy PV does not keep a thread for itself
                self._ready.put(key)
            del job, done, key, jobs
