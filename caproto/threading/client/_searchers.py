"""Searchers: those that a broadcaster searches for, held weakly.

The book of searches must not touch a searcher, because under a lock no code of others may run, and
a look at a weak reference may drop the last strong one and run a finalizer. So in the book a
`Token` stands for each searcher.
"""
from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Protocol

from ..._client.pvs import PVKey
from ..._os.sockets import Address, WakeUp
from .._transport import Waker


class Searcher(Protocol):
    """A Context, with the events that a broadcaster passes on."""

    def found(self, address: Address, version: int, keys: Sequence[PVKey]) -> None:
        """Take in that *keys* are served at *address*, by a server of this minor version."""

    def found_elsewhere(self, key: PVKey, first: Address, second: Address) -> None:
        """Take in that a second server has answered."""

    def beacon(self, address: Address, good: bool) -> None:
        """Take in that a server sent a beacon, in its rhythm or not."""

    def searching(self) -> None:
        """Report on open searches, some of which have just been sent."""

    def last_heard(self) -> dict[Address, float]:
        """Return how many seconds ago each server with a circuit sent anything."""


class Token:
    """Stands for a searcher; compared by identity."""

    __slots__ = ("_reference", "forgotten", "identity")

    def __init__(self, searcher: Searcher, wake: Waker) -> None:
        self.identity = id(searcher)
        self.forgotten = False
        self._reference = weakref.ref(searcher, wake)

    def searcher(self) -> Searcher | None:
        """Return the searcher, None if it is gone or forgotten; call it without a lock."""
        return None if self.forgotten else self._reference()


class Searchers:
    """The searchers of one broadcaster.

    All methods are called without a lock. Any thread may call them, since each change is one step
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
        """Find the token of *searcher*, or make it."""
        tokens = self.tokens(searcher)
        if tokens:
            return tokens[0]
        token = Token(searcher, self._wake)
        self._tokens[token] = None
        return token

    def tokens(self, searcher: Searcher) -> list[Token]:
        """Find the tokens of *searcher*: several if threads made its first one at once."""
        identity = id(searcher)
        return [
            token
            for token in self._tokens.copy()
            if token.identity == identity and token.searcher() is searcher
        ]

    def living(self) -> list[Searcher]:
        """Look up all searchers that are neither gone nor forgotten."""
        found = (token.searcher() for token in self._tokens.copy())
        return [searcher for searcher in found if searcher is not None]

    def forget(self, searcher: Searcher) -> None:
        """Notify *searcher* of nothing more; `gone` then returns its tokens."""
        for token in self.tokens(searcher):
            token.forgotten = True
        self._wakeup.set()

    def gone(self) -> list[Token]:
        """Return, once, each token of a searcher that is gone or forgotten."""
        tokens = [token for token in self._tokens.copy() if token.searcher() is None]
        for token in tokens:
            del self._tokens[token]
        return tokens
