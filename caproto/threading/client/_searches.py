"""Searches: what a Context asks of the broadcaster that searches for it.

A call leaves the `SearchService` a request or a note and wakes its thread. So an interrupt between
any two lines of a call breaks nothing, and a finalizer may make any of these calls.
"""
from __future__ import annotations

from _thread import RLock
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..._client.search_book import Key
from ..._errors import ContextDisconnectedError
from ..._os.sockets import Address
from .. import _waiting
from .._waiting import Deadline
from ._search_service import SearchRequest, SearchService
from ._searchers import Searcher

if TYPE_CHECKING:
    from ..._client.explanation import SearchReport


class Searches:
    """The searches of one broadcaster.

    Parameters
    ----------
    service : SearchService
        Does the work.
    """

    def __init__(self, service: SearchService) -> None:
        self._service = service

    @property
    def lock(self) -> RLock:
        """Held while the searches are read or changed."""
        return self._service.lock

    def join(self, timeout: float | None) -> None:
        """Wait at most *timeout* seconds for the threads to end."""
        deadline = Deadline(timeout)
        self._service.thread.join(deadline)
        self._service.name_servers.join(deadline)

    def add_searcher(self, searcher: Searcher) -> None:
        """Notify *searcher* of its events, until it is garbage-collected.

        Raises
        ------
        ContextDisconnectedError
            If the broadcaster was disconnected.
        """
        if self._service.closed:
            raise ContextDisconnectedError(self._service.closed)
        self._service.searchers.token(searcher)

    def search(
        self,
        searcher: Searcher,
        names: Sequence[str],
        keys: Sequence[Key],
        *,
        lost: bool = False,
        delay: float = 0.0,
    ) -> None:
        """Search for *names*, in the background, until they are found.

        What is being searched already, for the same searcher and under the same key, goes on.

        Parameters
        ----------
        searcher : Searcher
            The searcher to notify.
        names : sequence of str
            Names of PVs.
        keys : sequence
            How the searcher identifies them.
        lost : bool
            Whether they were lost with their server, and so will probably be back soon.
        delay : float
            Seconds to wait before the first search.

        Raises
        ------
        CaprotoError
            If the search thread cannot be started. The next call tries again.
        """
        if names and not self._service.closed:
            token = self._service.searchers.token(searcher)
            self._service.request(SearchRequest(token, tuple(names), tuple(keys), lost, delay))

    def withdraw(self, searcher: Searcher, keys: Sequence[Key]) -> None:
        """Stop the searches of *searcher* under some keys; only the search thread calls it."""
        for token in self._service.searchers.tokens(searcher):
            self._service.withdraw(token, keys)

    def forget(self, searcher: Searcher) -> None:
        """Stop all searches of *searcher*, and notify it of nothing more."""
        self._service.searchers.forget(searcher)

    def note(self, function: Callable[[], object], name: str = "") -> None:
        """Have *function* called by the search thread, soon, without a lock. Takes no lock.

        After `disconnect` nothing is called.

        Parameters
        ----------
        function : callable
            Called once; a second or needless call must do no harm.
        name : str
            Of the PV concerned, for the log if *function* fails.

        Raises
        ------
        CaprotoError
            If the search thread cannot be started. The next call tries again.
        """
        self._service.leave(function, name)
        self._service.start()

    def note_at_end_of(self, thing: object, function: Callable[[], object]) -> object:
        """Have *function* called as a note when nothing refers to *thing* any more.

        Parameters
        ----------
        thing : object
        function : callable
            Must not refer to *thing*; a second or needless call must do no harm.

        Returns
        -------
        object
            Keep it elsewhere than in *thing*; without it nothing is called.
        """
        return self._service.leave_at_end_of(thing, function)

    def circuit_opened(self, address: Address) -> None:
        """Note that a searcher has a circuit to this server."""
        self._service.change(self._service.book.circuit_opened, address)

    def circuit_closed(self, address: Address) -> None:
        """Note that a circuit to this server is over."""
        self._service.change(self._service.book.circuit_closed, address)

    def open_searches(self, searcher: Searcher) -> int:
        """Count the names that *searcher* still waits for."""
        tokens = self._service.searchers.tokens(searcher)
        with self.lock:
            return self._service.book.open_searches(tokens)

    @property
    def destinations(self) -> list[Address]:
        """Where searches are sent to."""
        return list(self._service.socket.destinations)

    @property
    def unresolved(self) -> list[str]:
        """Configured addresses ('host:port') with an unknown host.

        Names are looked up when the first search begins.
        """
        return self._service.socket.unresolved.copy()

    def why_not_found(self) -> str:
        """Tell why a name is not found, as far as the reason is the same for all names."""
        if self._service.closed:
            return f"it is not searched: {self._service.closed}"
        return self._service.targets().why_not_found()

    def report(self, searcher: Searcher, key: Key) -> SearchReport:
        """Tell how the search of *searcher* for *key* goes."""
        tokens = self._service.searchers.tokens(searcher)
        # First the requests that the thread has not begun, so that none is missed that it begins
        # now.
        delays = [
            request.delay
            for request in self._service.requests.copy()
            if request.token in tokens and key in request.keys
        ]
        with self.lock:
            progress = self._service.book.progress(tokens, key, _waiting.now())
        if delays and progress.status is None and progress.postponed is None:
            progress = progress._replace(postponed=max(delays))
        from ..._client.explanation import SearchReport

        return SearchReport(**self._service.targets()._asdict(), **progress._asdict())
