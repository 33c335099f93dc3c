"""NameSearches: searches for names without a Context; answers are put into a queue."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias

from ..._client.pvs import PVKey
from ..._errors import CaprotoKeyError
from ..._os.sockets import Address
from .. import _waiting
from .._waiting import Deadline
from ._searches import Searches

#: What is put into a queue: a server, and names that it has.
Found: TypeAlias = tuple[Address, list[str]]


class ResultsQueue(Protocol):
    """A queue for answers; those of the standard library fit."""

    def put(self, item: Found) -> object:
        """Take in one answer."""


class NameSearches:
    """All searches of one broadcaster that belong to no Context.

    Parameters
    ----------
    searches : Searches
        Of the broadcaster.
    """

    def __init__(self, searches: Searches) -> None:
        self._searches = searches
        # Changed in single steps, by the search thread and those of users.
        self._open: dict[NameSearch, None] = {}
        self._found: dict[str, tuple[Address, float]] = {}  # and when

    def begin(self, results: ResultsQueue, names: Iterable[str], timeout: float | None) -> None:
        """Search for *names*; put ``(address, names)`` into *results* as servers answer."""
        self._begin(NameSearch(self, results, set(names), Deadline(timeout)))

    def _begin(self, search: NameSearch) -> None:
        names = sorted(search.names)
        if names:
            self._open[search] = None
            self._searches.search(search, names, [(name, 0) for name in names])

    def cancel(self, names: Iterable[str]) -> None:
        """Stop searching for *names*."""
        unwanted = set(names)
        for search in list(self._open):
            if search.names & unwanted:
                self.end(search)
                self._begin(search.without(unwanted))

    def end(self, search: NameSearch) -> None:
        """Stop one search."""
        self._searches.forget(search)
        self._open.pop(search, None)

    def note(self, address: Address, names: Iterable[str]) -> None:
        """Remember where *names* were found."""
        self._found.update(dict.fromkeys(names, (address, _waiting.now())))

    def result(self, name: str, threshold: float) -> Address:
        """Return the server that has *name*, if one has answered in the last seconds.

        Raises
        ------
        CaprotoKeyError
            If none has.
        """
        address, moment = self._found.get(name, (None, 0.0))
        if address is None or _waiting.now() - moment > threshold:
            raise CaprotoKeyError(
                f"{name!r} was not found by a search in the last {threshold} s"
            )
        return address


class NameSearch:
    """One search: a searcher, as the broadcaster sees it.

    Attributes
    ----------
    names : set of str
        Those that are not found yet.
    """

    def __init__(
        self, group: NameSearches, results: ResultsQueue, names: set[str], deadline: Deadline
    ) -> None:
        self._group = group
        self._results = results
        self.names = names
        self._deadline = deadline

    def without(self, names: set[str]) -> NameSearch:
        """Make a search for the other names."""
        return NameSearch(self._group, self._results, self.names - names, self._deadline)

    def found(self, address: Address, version: int, keys: Sequence[PVKey]) -> None:
        """Put the answer into the queue, unless it is too late."""
        names = [name for name, _ in keys if name in self.names]
        self.names.difference_update(names)
        self._group.note(address, names)
        if names and not self._deadline.expired:
            self._results.put((address, names))
        if not self.names:
            self._group.end(self)

    def found_elsewhere(self, key: PVKey, first: Address, second: Address) -> None:
        """Ignore that a second server has answered."""

    def beacon(self, address: Address, good: bool) -> None:
        """Ignore a beacon."""

    def searching(self) -> None:
        """End the search when the time is over."""
        if self._deadline.expired:
            self._group.end(self)

    def last_heard(self) -> dict[Address, float]:
        """Return nothing: there are no circuits."""
        return {}
