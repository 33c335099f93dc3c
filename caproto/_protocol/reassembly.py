"""The bytes of a TCP connection in order, from the segments that a capture has of it.

Segments may be repeated, overlap, come out of order, or be missing: a capture drops packets, and
begins in the middle of connections.
"""
from __future__ import annotations

from typing import Final

from .._typing import NamedTuple

#: Segments (and bytes) that wait for one that is missing. With more, it is given up.
MOST_WAITING: Final = 256
MOST_BYTES: Final = 4 << 20

_MODULUS: Final = 1 << 32


class Gap(NamedTuple):
    """Bytes that the capture does not have."""

    size: int


class Reassembly:
    """One direction of one connection."""

    __slots__ = ("_next", "_waiting")

    def __init__(self) -> None:
        self._next: int | None = None  # number of the next byte
        self._waiting: dict[int, bytes] = {}  # segments by the number of their first byte

    def begin(self, sequence: int) -> None:
        """Note where the connection begins: the number of its SYN."""
        self._next = (sequence + 1) % _MODULUS

    def add(self, sequence: int, data: bytes) -> list[bytes | Gap]:
        """Take in a segment; return what is in order now.

        Parameters
        ----------
        sequence : int
            Number of its first byte, modulo 2**32.
        data : bytes
        """
        if self._next is None:
            self._next = sequence
        if len(data) > len(self._waiting.get(sequence, b"")):
            self._waiting[sequence] = data
        pieces = self._ready()
        waiting = self._waiting
        while len(waiting) > MOST_WAITING or sum(map(len, waiting.values())) > MOST_BYTES:
            pieces += self._give_up()
        return pieces

    def end(self) -> list[bytes | Gap]:
        """Return what waits for segments that will not come."""
        pieces: list[bytes | Gap] = []
        while self._waiting:
            pieces += self._give_up()
        return pieces

    def _distance(self, sequence: int) -> int:
        """Return how far *sequence* is ahead of the next byte; negative if it is behind."""
        assert self._next is not None
        return (sequence - self._next + _MODULUS // 2) % _MODULUS - _MODULUS // 2

    def _ready(self) -> list[bytes | Gap]:
        pieces: list[bytes | Gap] = []
        while self._waiting:
            first = min(self._waiting, key=self._distance)
            ahead = self._distance(first)
            if ahead > 0:
                break
            new = self._waiting.pop(first)[-ahead:]  # without what came before
            if new:
                assert self._next is not None
                self._next = (self._next + len(new)) % _MODULUS
                pieces.append(new)
        return pieces

    def _give_up(self) -> list[bytes | Gap]:
        """Skip to the first segment that waits."""
        first = min(self._waiting, key=self._distance)
        gap = Gap(self._distance(first))
        self._next = first
        return [gap, *self._ready()]
