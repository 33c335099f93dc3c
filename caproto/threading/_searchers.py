"""Searchers: those that a broadcaster searches for, held weakly.

The book of searches must not touch a searcher, because under a lock nothing that is not ours may
run: not even a look at a weak reference, as the last strong one may go in that moment. So in the
book a `Token` stands for each searcher.
"""
from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Protocol

from .._sockets import Address, WakeUp
from ._transport import Waker


class Searcher(Protocol):
    """What a broadcaster tells a Context."""

    def found(self, address: Address, version: int, keys: Sequence[Any]) -> None:
        """These are served at *address*, by a server of this minor version."""

    def found_elsewhere(self, key: Any, first: Address, second: Address) -> None:
        """A second server has answered."""

    def beacon(self, address: Address, good: bool) -> None:
        """A server sent a beacon, in its rhythm or not."""

    def searching(self) -> None:
        """Searches were sent; a moment to report."""

    def last_heard(self) -> dict[Address, float]:
        """Seconds since each server of a circuit sent anything."""


class Token:
    """Stands for a searcher; compared by identity."""

    __slots__ = ("_reference", "forgotten", "identity")

    def __init__(self, searcher: Searcher, wake: Waker) -> None:
        self.identity = id(searcher)
        self.forgotten = False
        self._reference = weakref.ref(searcher, wake)

    def searcher(self) -> Searcher | None:
        """The searcher; None if it is gone or forgotten. Called holding nothing."""
        return None if self.forgotten else self._reference()


class Searchers:
    """The searchers of one broadcaster.

    All methods are called holding nothing. Any thread may call them, since each change is one step
    of the interpreter; only the search thread calls `gone`.

    Parameters
    ----------
    wakeup : WakeUp
        Of the search thread, which is woken when a searcher is gone or forgotten.
    """

    def __init__(self, wakeup: WakeUp) -> None:
        self._wakeup = wakeup
        self._wake = Waker(wakeup)
        self._tokens: dict[Token, None] = {}

    def token(self, searcher: Searcher) -> Token:
        """The token of *searcher*; a new one if it has none."""
        tokens = self.tokens(searcher)
        if tokens:
            return tokens[0]
        token = Token(searcher, self._wake)
        self._tokens[token] = None
        return token

    def tokens(self, searcher: Searcher) -> list[Token]:
        """The tokens of *searcher*: several if threads asked for it first in the same moment."""
        identity = id(searcher)
        return [
            token
            for token in self._tokens.copy()
            if token.identity == identity and token.searcher() is searcher
        ]

    def living(self) -> list[Searcher]:
        """All searchers that are neither gone nor forgotten."""
        found = (token.searcher() for token in self._tokens.copy())
        return [searcher for searcher in found if searcher is not None]

    def forget(self, searcher: Searcher) -> None:
        """Have *searcher* told nothing more, and its tokens given out by `gone`."""
        for token in self.tokens(searcher):
            token.forgotten = True
        self._wakeup.set()

    def gone(self) -> list[Token]:
        """The tokens of searchers that are gone or forgotten; each is given out once."""
        tokens = [token for token in self._tokens.copy() if token.searcher() is None]
        for token in tokens:
            del self._tokens[token]
        return tokens
