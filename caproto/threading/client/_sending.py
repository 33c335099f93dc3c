"""Send requests of many PVs together: those that are connected first."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX

from ..._client.operations import Operation
from ..._errors import CaprotoError
from .._waiting import Deadline
from ._circuit import ClientCircuit
from ._home import ClientPV, home_of

#: Requests for one circuit that are sent at once, so that the reader does not wait long for its
#: lock, nor the server for its work: 1,000 reads take 4.0 ms in this way and 4.4 if sent together.
CHUNK = 250

#: The PV of a request; for many of them quicker than a comprehension.
PV_OF = attrgetter("pv")
#: A request that could not be sent, and why.
Failure = tuple[Operation, CaprotoError]


def send_all(requests: Sequence[Operation], deadline: Deadline) -> list[Failure]:
    """Send what can be sent now, and the rest as soon as their PVs are connected.

    Returns
    -------
    list of (Operation, CaprotoError)
        Those that could not be sent until the deadline.
    """
    failures: list[Failure] = []
    Sending(deadline, lambda *failure: failures.append(failure)).run(requests)
    return failures


class Sending:
    """Sends requests; has those wait whose PVs are not connected yet, until they are. Used once.

    Parameters
    ----------
    deadline : Deadline
        Requests that could not be sent by then have failed.
    failed : callable
        Called as ``failed(request, error)`` for each request that cannot be sent.
    awaited : callable, optional
        Tells whether requests are to be sent `again` perhaps, although all have been sent.
    more : callable, optional
        Returns requests that are to be sent, too; asked after each `wake`.
    """

    def __init__(
        self,
        deadline: Deadline,
        failed: Callable[[Operation, CaprotoError], object],
        awaited: Callable[[], bool] = lambda: False,
        more: Callable[[], Sequence[Operation]] = lambda: (),
    ) -> None:
        self._deadline = deadline
        self._failed = failed
        self._awaited = awaited
        self._more = more
        #: Those of PVs that are not connected.
        self._waiting: dict[ClientPV, list[Operation]] = {}
        self._notifiers: dict[ClientPV, _Notify] = {}
        #: PVs to which something has happened, and requests to be sent again.
        self._queue: SimpleQueue[ClientPV | Operation | None] = SimpleQueue()

    def run(self, requests: Sequence[Operation]) -> None:
        """Send *requests*; return when nothing is left to be sent, or the time is over."""
        try:
            requests = requests or self._next()
            while requests:
                self._send(requests)
                requests = self._next()
        except BaseException:  # Ctrl-C
            self._stop()
            raise

    def again(self, request: Operation) -> None:
        """Have *request* sent again, which was lost with its circuit; called by any thread."""
        self._queue.put(request)

    def wake(self) -> None:
        """Have it look again whether more requests are `awaited`; called by any thread."""
        self._queue.put(None)

    def _send(self, requests: Sequence[Operation]) -> None:
        """Send what can be sent now."""
        groups: dict[ClientCircuit, list[Operation]] = {}
        # All requests of a PV go the same way, in their order.
        circuits: dict[ClientPV, ClientCircuit | None] = {}
        for request in requests:
            pv: ClientPV = request.pv
            circuit = circuits.setdefault(pv, pv._used())
            if circuit is None:
                self._add(request)
            elif circuit in groups:
                groups[circuit].append(request)
            else:
                groups[circuit] = [request]
        for manager, group in groups.items():
            for start in range(0, len(group), CHUNK):
                chunk = self._keep_order(group[start : start + CHUNK])
                unsent, failed = manager.request_many(chunk, self._deadline)
                for failure in failed:
                    self._failed(*failure)
                for request in unsent:
                    self._add(request)

    def _add(self, request: Operation) -> None:
        """Wait for the PV of *request*."""
        pv: ClientPV = request.pv
        if pv in self._waiting:
            self._waiting[pv].append(request)
        else:
            self._waiting[pv] = [request]
            self._watch(pv)

    def _keep_order(self, requests: list[Operation]) -> list[Operation]:
        """Return those of *requests* that may be sent: no earlier one for their PV waits."""
        if not self._waiting:
            return requests
        for request in requests:
            if request.pv in self._waiting:
                self._add(request)
        return [request for request in requests if request.pv not in self._waiting]

    def _next(self) -> list[Operation]:
        """Wait; return what can be sent next. Empty when there is nothing left."""
        ready = list(self._more())
        while not ready and (self._waiting or self._awaited()):
            timeout = self._deadline.remaining()
            try:
                events = [self._queue.get(timeout=timeout and min(timeout, TIMEOUT_MAX))]
            except Empty:
                return self._take_rest()
            events += [self._queue.get() for _ in range(self._queue.qsize())]
            for event in dict.fromkeys(events):
                if isinstance(event, Operation):
                    ready.append(event)
                elif event not in self._waiting:
                    continue
                elif event.connected:
                    ready += self._waiting.pop(event)
                else:
                    self._watch(event)
            ready += self._more()
        return ready

    def _stop(self) -> None:
        """Stop waiting."""
        for pv, notify in self._notifiers.items():
            home_of(pv).unwatch(pv, notify)

    def _watch(self, pv: ClientPV) -> None:
        self._notifiers[pv] = notify = _Notify(pv, self._queue)
        try:
            if not home_of(pv).watch(pv, notify, lambda: pv.connected):
                self._queue.put(pv)
        except CaprotoError as error:  # the Context was disconnected
            for request in self._waiting.pop(pv):
                self._failed(request, error)

    def _take_rest(self) -> list[Operation]:
        """Stop waiting; return the requests of PVs that are connected at this moment."""
        ready: list[Operation] = []
        for pv, requests in self._waiting.items():
            home = home_of(pv)
            home.unwatch(pv, self._notifiers[pv])
            if pv.connected:
                ready += requests
                continue
            error = home.not_connected(pv, self._deadline)
            for request in requests:
                self._failed(request, error)
        self._waiting = {}
        return ready


class _Notify:
    """Puts a PV into a queue when something has happened to it; see `Home.watch`."""

    __slots__ = ("_pv", "_queue")

    def __init__(self, pv: ClientPV, queue: SimpleQueue[ClientPV | Operation | None]) -> None:
        self._pv = pv
        self._queue = queue

    def answered(self, response: object) -> None:
        """Note that something has happened."""
        self._queue.put(self._pv)
