"""Send requests of many PVs together: those that are connected first."""
from __future__ import annotations

from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX

from ..._client.operations import Operation
from ..._client.pvs import carrier_of
from ..._errors import CaprotoError
from .._waiting import Deadline
from ._circuit import ClientCircuit
from ._home import ClientPV, home_of

#: Requests for one circuit that are sent at once, so that the reader does not wait long for its
#: lock, nor the server for its work: 1,000 reads take 4.0 ms in this way and 4.4 if sent together.
CHUNK = 250

#: A request that could not be sent, and why.
Failure = tuple[Operation, CaprotoError]


def send_all(requests: list[Operation], deadline: Deadline) -> list[Failure]:
    """Send what can be sent now, and the rest as soon as their PVs are connected.

    Returns
    -------
    list of (Operation, CaprotoError)
        Those that could not be sent until the deadline.
    """
    waiting = _Waiting(deadline)
    pvs: set[ClientPV] = {request.pv for request in requests}
    for pv in pvs:
        pv.used()
    try:
        while requests:
            requests = _send(requests, deadline, waiting)
    except BaseException:  # Ctrl-C
        waiting.stop()
        raise
    return waiting.failures


def _send(
    requests: list[Operation], deadline: Deadline, waiting: _Waiting
) -> list[Operation]:
    """Send what can be sent now; wait, and return what can be sent next."""
    groups: dict[ClientCircuit, list[Operation]] = {}
    # All requests of a PV go the same way, in their order.
    circuits: dict[ClientPV, ClientCircuit | None] = {}
    for request in requests:
        pv: ClientPV = request.pv
        circuit = circuits.setdefault(pv, carrier_of(pv))
        if circuit is None:
            waiting.add(request)
        elif circuit in groups:
            groups[circuit].append(request)
        else:
            groups[circuit] = [request]
    for manager, group in groups.items():
        for start in range(0, len(group), CHUNK):
            chunk = waiting.keep_order(group[start : start + CHUNK])
            unsent, failed = manager.request_many(chunk, deadline)
            waiting.failures += failed
            for request in unsent:
                waiting.add(request)
    return waiting.next()


class _Notify:
    """Puts a PV into a queue when something has happened to it; see `Home.watch`."""

    __slots__ = ("_pv", "_queue")

    def __init__(self, pv: ClientPV, queue: SimpleQueue[ClientPV]) -> None:
        self._pv = pv
        self._queue = queue

    def answered(self, response: object) -> None:
        """Note that something has happened."""
        self._queue.put(self._pv)


class _Waiting:
    """Requests of PVs that are not connected yet, until they are or the time is over."""

    def __init__(self, deadline: Deadline) -> None:
        self.failures: list[Failure] = []
        self._deadline = deadline
        self._requests: dict[ClientPV, list[Operation]] = {}
        self._notifiers: dict[ClientPV, _Notify] = {}
        self._queue: SimpleQueue[ClientPV] = SimpleQueue()

    def add(self, request: Operation) -> None:
        """Wait for the PV of *request*."""
        pv: ClientPV = request.pv
        if pv in self._requests:
            self._requests[pv].append(request)
        else:
            self._requests[pv] = [request]
            self._watch(pv)

    def keep_order(self, requests: list[Operation]) -> list[Operation]:
        """Return those of *requests* that may be sent: no earlier one for their PV waits."""
        if not self._requests:
            return requests
        for request in requests:
            if request.pv in self._requests:
                self.add(request)
        return [request for request in requests if request.pv not in self._requests]

    def next(self) -> list[Operation]:
        """Wait for PVs to connect; return their requests. Empty when there is nothing left."""
        ready: list[Operation] = []
        while self._requests and not ready:
            timeout = self._deadline.remaining()
            try:
                changed = [self._queue.get(timeout=timeout and min(timeout, TIMEOUT_MAX))]
            except Empty:
                return self._take_rest()
            changed += [self._queue.get() for _ in range(self._queue.qsize())]
            for pv in dict.fromkeys(changed):
                if pv not in self._requests:
                    continue
                if pv.connected:
                    ready += self._requests.pop(pv)
                else:
                    self._watch(pv)
        return ready

    def stop(self) -> None:
        """Stop waiting."""
        for pv, notify in self._notifiers.items():
            home_of(pv).unwatch(pv, notify)

    def _watch(self, pv: ClientPV) -> None:
        self._notifiers[pv] = notify = _Notify(pv, self._queue)
        try:
            if not home_of(pv).watch(pv, notify, lambda: pv.connected):
                self._queue.put(pv)
        except CaprotoError as error:  # the Context was disconnected
            self.failures += [(request, error) for request in self._requests.pop(pv)]

    def _take_rest(self) -> list[Operation]:
        """Stop waiting; return the requests of PVs that are connected at this moment."""
        ready: list[Operation] = []
        for pv, requests in self._requests.items():
            home_of(pv).unwatch(pv, self._notifiers[pv])
            try:
                pv.wait_until_usable(self._deadline)
            except CaprotoError as error:
                self.failures += [(request, error) for request in requests]
            else:
                ready += requests
        self._requests = {}
        return ready
