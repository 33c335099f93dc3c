"""SharedBroadcaster: searches for any number of Contexts, for users.

A `SearchService` does the work, in its thread; Contexts use `Searches`.
"""
from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from functools import partial

from ..._client.arguments import (
    check_configuration,
    check_names,
    check_seconds,
    check_timeout,
    listed,
)
from ..._environment import ClientConfiguration
from ..._errors import CaprotoTypeError, ContextDisconnectedError
from ..._numbers import counted
from ..._os.sockets import Address
from ..._protocol.message import Message
from .. import _lifetime
from .._waiting import Deadline
from ._name_search import NameSearches, ResultsQueue
from ._reentry import must_not_wait, refusal
from ._search_service import SearchService
from ._searches import Searches


class SharedBroadcaster:
    """One UDP socket and one thread, shared by any number of Contexts.

    Parameters
    ----------
    registration_retry_time : float
        Longest pause, in seconds, between attempts to register with the repeater (the first is one
        second), which passes on the beacons of servers.
    configuration : ClientConfiguration, optional
        The network to search. Default: the EPICS_CA_* environment variables, read now.

    Attributes
    ----------
    configuration : ClientConfiguration
        In force.
    log : logging.Logger
        At DEBUG every datagram sent and received is logged here.

    Raises
    ------
    CaprotoNetworkError
        If the system cannot open a socket.
    """

    def __init__(
        self,
        *,
        registration_retry_time: float = 10.0,
        configuration: ClientConfiguration | None = None,
    ) -> None:
        check_configuration(configuration)
        check_seconds("registration_retry_time", registration_retry_time)
        self.configuration = configuration or ClientConfiguration.from_environment()
        self.registration_retry_time = registration_retry_time
        self._service = SearchService(self.configuration, registration_retry_time)
        self._searches = Searches(self._service)
        self._name_searches = NameSearches(self._searches)
        self._ids = itertools.count()
        self.log = self._service.log
        _lifetime.register(self)

    def search_now(self) -> None:
        """Search at once for everything that is not found yet, and start the back-off again.

        Names that wait after a failure of their server (see `Context.explain`) go on waiting.
        """
        self._service.search_now()

    def time_since_last_heard(self) -> dict[Address, float]:
        """Return how many seconds ago each server with a circuit sent anything.

        Returns
        -------
        dict of (str, int) to float
        """
        heard: dict[Address, float] = {}
        for searcher in self._service.searchers.living():
            for address, seconds in searcher.last_heard().items():
                heard[address] = min(seconds, heard.get(address, seconds))
        return heard

    def disconnect(self, *, wait: bool = True) -> None:
        """End the thread and all searches. May be called twice.

        Parameters
        ----------
        wait : bool
            Whether to wait for the thread to end.

        Raises
        ------
        ReentrantCallError
            If this thread would wait for itself.
        """
        if wait and must_not_wait((self._service.lock,)):
            raise refusal("SharedBroadcaster.disconnect")
        self._service.close("the broadcaster was disconnected")
        if wait:
            self._searches.join(None)

    # ---- searches without a Context

    def search(
        self, results_queue: ResultsQueue, names: Iterable[str], *, timeout: float | None = None
    ) -> None:
        """Search for names, in the background.

        Parameters
        ----------
        results_queue : queue.Queue
            Gets ``((host, port), names)`` as servers answer.
        names : sequence of str
            Names of PVs.
        timeout : float or None, optional
            Seconds after which nothing is put into the queue any more, and the search ends.
            Default: until all names are found, or `cancel`.

        Raises
        ------
        ContextDisconnectedError
            If the broadcaster was disconnected.
        CaprotoTypeError, CaprotoValueError
            If one of *names* cannot be searched.
        """
        wanted = check_names(listed("names", names))
        if self._service.closed:
            raise ContextDisconnectedError(self._service.closed)
        self._name_searches.begin(results_queue, wanted, check_timeout(timeout))

    def cancel(self, *names: str) -> None:
        """Stop the searches that `search` has begun for *names*; those of Contexts go on."""
        check_names(names, "cancel")
        self._name_searches.cancel(names)

    def get_cached_search_result(self, name: str, *, threshold: float = 10.0) -> Address:
        """Return the address of the server that has *name*.

        Parameters
        ----------
        name : str
            One that `search` has looked for.
        threshold : float
            Seconds: older answers do not count.

        Raises
        ------
        CaprotoKeyError
            If no server has answered in that time.
        """
        check_names((name,))
        return self._name_searches.result(name, threshold)

    def new_id(self) -> int:
        """Return a number for a search request, another one at each call (below 2**16)."""
        return next(self._ids) & 0xFFFF

    def send(self, *commands: Message) -> None:
        """Send one datagram with these commands to everywhere that searches are sent to."""
        for command in commands:
            if not isinstance(command, Message):
                raise CaprotoTypeError(f"commands must be messages, not {command!r}")
        self._service.leave(partial(self._service.send, commands))
        self._service.start()

    def remove_listener(self, listener: object) -> None:
        """Stop all searches of *listener*, a Context."""
        for searcher in self._service.searchers.living():
            if getattr(searcher, "context", None) is listener:
                self._searches.forget(searcher)

    def __repr__(self) -> str:
        searched = counted(len(self._service.book), "name is", "names are")
        state = self._service.closed or f"{searched} being searched"
        return f"<SharedBroadcaster: {state}>"

    # ---- the end

    def _at_exit(self, deadline: Deadline) -> None:
        self._service.close("the interpreter is exiting")
        self._searches.join(deadline.remaining())

    def _after_fork(self) -> None:
        self._service.abandon(
            f"this broadcaster was created before fork, in the parent of process {os.getpid()}; "
            "create a new one in the child"
        )


def searches_of(broadcaster: SharedBroadcaster) -> Searches:
    """Return what Contexts use of *broadcaster*."""
    return broadcaster._searches
