"""CallbackQueue: the threads that run user callbacks, in the order of the wire.

A queue item is a batch: pairs ``(target, argument)``, each handled by
``target.deliver(argument)``. The reader thread puts one batch for each chunk of bytes it received.
Nothing else runs user code, so a slow callback delays the callbacks of its own circuit only, and
never a reply that a thread waits for.

A sleeping thread holds the queue and nothing else, so it keeps no Context alive. `SimpleQueue.put`
is reentrant by contract, so finalizers may call :meth:`CallbackQueue.put`.
"""
from __future__ import annotations

import contextlib
import threading
import weakref
from _thread import get_ident
from collections.abc import Callable
from queue import SimpleQueue

from ... import _locks
from ..._client.deliveries import DeliveryBatch, Target
from ..._log import CONTEXT_LOGGER, adapter
from .. import _waiting

log = adapter(CONTEXT_LOGGER)


#: The cost of a batch in the backlog, the batch, whether it is run even after a discard, and when
#: it was queued.
Item = tuple[int, DeliveryBatch, bool, float]


class CallbackQueue:
    """A queue and the threads that empty it.

    Parameters
    ----------
    name : str
        Part of the names of the threads.
    workers : int
        Number of threads. With more than one, order is only the order of starting.
    predecessor : CallbackQueue, optional
        This one finishes first: callbacks of a lost circuit come before those of the circuit that
        replaces it.

    Attributes
    ----------
    lock : RLock
        Held while threads are started or told to end; never by these threads themselves, so that
        a finalizer in one of them may wait for whoever ends this queue.
    starved : bool
        Whether the last attempt to start a thread failed. The owner then puts something (an empty
        batch is enough) from time to time.
    """

    def __init__(
        self, name: str, workers: int = 1, predecessor: CallbackQueue | None = None
    ) -> None:
        self._name = name
        self._workers = workers
        self.lock = _locks.Lock()
        self._queue: SimpleQueue[Item | None] = SimpleQueue()
        self._backlog = _Backlog()
        self._over = _waiting.Ending()  # when nothing more will be run
        self._waits_for = predecessor._ends() if predecessor is not None else ()
        self._threads: list[threading.Thread] = []
        self._stopped = False
        self.starved = False

    @property
    def backlog(self) -> int:
        """What is queued or running, in the unit of :meth:`put`'s *cost*."""
        return self._backlog.queued - self._backlog.done

    @property
    def over(self) -> bool:
        """Whether nothing will be run any more."""
        return self._over.is_set()

    @property
    def threads(self) -> tuple[threading.Thread, ...]:
        """The threads; empty before the first use."""
        return tuple(self._threads)

    def load(self, now: float) -> tuple[int, float]:
        """Return the backlog, and how many seconds ago the running batch was queued."""
        backlog = self.backlog
        return backlog, now - self._backlog.since if backlog else 0.0

    def put(self, batch: DeliveryBatch, cost: int = 0) -> None:
        """Queue *batch*, which occupies *cost* bytes; the first one starts the threads.

        Takes no lock once they run. Only one thread may put what has a cost.
        """
        self._backlog.queued += cost
        if not self._threads and not self._stopped:
            self._start()
        now = _waiting.now()
        if self._workers == 1:
            self._queue.put((cost, batch, False, now))
            return
        for pair in batch:  # one by one, so that a slow callback delays no other worker
            self._queue.put((0, (pair,), False, now))
        self._queue.put((cost, (), False, now))

    def call_below(self, function: Callable[[], None] | None, below: int = 0) -> None:
        """Call *function* after each batch that leaves a backlog of less than *below* bytes.

        It must be quick and take no lock: it wakes the reader, so that the server sends updates
        again. None ends that.
        """
        self._backlog.below = below
        self._backlog.when_below = function

    def put_quietly(self, target: Target, argument: object) -> None:
        """Queue one call from a finalizer: takes no lock and starts nothing."""
        self._queue.put((0, ((target, argument),), False, _waiting.now()))

    def stop(self) -> None:
        """Let the threads finish what is queued, then end."""
        with self.lock:
            self._stopped = True
            threads = len(self._threads)
        for _ in range(threads):
            self._queue.put(None)
        if not threads:
            self._over.set()

    def discard(self) -> None:
        """Drop what is queued; no other callback begins."""
        self._backlog.discarded = True

    def finish(self, batch: DeliveryBatch) -> None:
        """Drop what is queued; *batch* comes after the callback that runs now, then the end."""
        self.discard()
        if batch:
            self.put(())
            self._queue.put((0, batch, True, _waiting.now()))
        self.stop()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the threads to end; a callback that calls this does not wait for itself."""
        deadline = _waiting.Deadline(timeout)
        idents = [thread.ident for thread in self._threads]
        if idents and get_ident() not in idents:
            self._over.wait(deadline.remaining())
        for thread in self._threads:
            _waiting.join_thread(thread, deadline.remaining())

    def abandon(self) -> None:
        """Forget the threads: they do not exist in the child of a fork.

        A thread may have held the lock in the moment of the fork, so it is replaced, too.
        """
        self.lock = _locks.Lock()
        self._over.set()
        self._stopped = True
        self._threads = []

    def _ends(self) -> tuple[_waiting.Ending, ...]:
        """Return what a successor has to wait for: our end, and what we wait for ourselves."""
        return tuple(end for end in (self._over, *self._waits_for) if not end.is_set())

    def _start(self) -> None:
        # The threads end when nothing refers to us any more.
        alive = weakref.ref(self, _StopOnCollect(self._queue, self._workers))
        threads = [
            threading.Thread(
                target=_run,
                args=(alive, self._queue, self._backlog, self._waits_for, self._over),
                name=f"ca-callback {self._name}",
                daemon=True,
            )
            for _ in range(self._workers)
        ]
        with self.lock:
            if self._threads or self._stopped:
                return
            self._threads = threads
            self._backlog.running = len(threads)
        for number, thread in enumerate(threads):
            try:
                _waiting.start_thread(thread)
            except RuntimeError as error:  # there are no more; the next batch tries again
                if not self.starved:  # once, not with each batch
                    log.error(
                        "Cannot start the callback thread for %s, callbacks are delayed: %s",
                        self._name, error,
                    )
                self.starved = True
                with self.lock:
                    self._threads = threads[:number]
                with self._backlog.lock:
                    self._backlog.running -= len(threads) - number
                return
        self._waits_for = ()
        self.starved = False


class _Backlog:
    """Counters shared between a CallbackQueue and its threads, which change them under the lock."""

    __slots__ = ("below", "discarded", "done", "lock", "queued", "running", "since", "when_below")

    def __init__(self) -> None:
        self.lock = _locks.Lock()
        self.when_below: Callable[[], None] | None = None
        self.below = 0  # below this it is called
        self.since = 0.0  # when what is running was queued
        self.queued = 0
        self.done = 0
        self.running = 0  # threads that have not ended
        self.discarded = False


class _StopOnCollect:
    """Tells the threads that their CallbackQueue is gone; runs in the garbage collector."""

    def __init__(self, queue: SimpleQueue[Item | None], workers: int) -> None:
        self._queue = queue
        self._workers = workers

    def __call__(self, _reference: object) -> None:
        for _ in range(self._workers):
            self._queue.put(None)


def _run(
    _alive: object,
    queue: SimpleQueue[Item | None],
    backlog: _Backlog,
    predecessors: tuple[_waiting.Ending, ...],
    over: _waiting.Ending,
) -> None:
    for end in predecessors:
        end.wait()
    going_on = True
    while going_on:
        try:
            going_on = _deliver_next(queue, backlog)
        except Exception:  # our defect, or no memory; others wait for what is queued
            with contextlib.suppress(Exception):
                log.exception("Unexpected error between callbacks")
    with backlog.lock:
        backlog.running -= 1
        last = not backlog.running
    if last:
        over.set()


def _deliver_next(queue: SimpleQueue[Item | None], backlog: _Backlog) -> bool:
    """Run the callbacks of one batch; False at the end.

    A function of its own, so that the last response is not kept alive by local names while the
    thread sleeps.
    """
    item = queue.get()
    if item is None:
        return False
    cost, batch, final, backlog.since = item
    try:
        for target, argument in batch:
            if backlog.discarded and not final:
                break
            try:
                target.deliver(argument)
            except Exception:  # our defect: errors of user callbacks were caught below
                log.exception("Delivery to %r failed", target)
    finally:
        with backlog.lock:
            backlog.done += cost
            low = backlog.queued - backlog.done < backlog.below
            when_below = backlog.when_below if low else None
    if when_below is not None:
        when_below()
    return True
