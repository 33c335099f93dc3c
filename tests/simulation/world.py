"""Virtual time: a clock, what is to happen when, one source of chance, and a record of it all."""
from __future__ import annotations

import heapq
import random
import zlib
from collections.abc import Callable
from typing import Any

#: The clock begins here, so that nothing can mistake 0 for "never".
START = 1000.0
#: More events than this in one simulated second: something runs in circles.
MAX_RATE = 10_000


class Event:
    """Something that is to happen; `cancel` it by forgetting what it does."""

    __slots__ = ("arguments", "function")

    def __init__(self, function: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
        self.function = function
        self.arguments = arguments

    def cancel(self) -> None:
        self.function = None


class Spinning(AssertionError):
    """Events follow each other without end while no time passes."""


class World:
    """Everything that happens, in the order of time.

    Parameters
    ----------
    seed : int
        Of all that is left to chance.
    verbose : bool
        Whether to keep the record as text; otherwise only its checksum is kept.

    Attributes
    ----------
    now : float
    chance : random.Random
    record : list of str
    digest : int
        Checksum of the record: equal for equal runs.
    """

    def __init__(self, seed: int, verbose: bool = False) -> None:
        self.now = START
        self.chance = random.Random(seed)
        self.record: list[str] = []
        self.digest = 0
        self.events = 0
        self._verbose = verbose
        self._heap: list[tuple[float, int, Event]] = []
        self._order = 0
        self.watchers: list[Callable[[], None]] = []  # called after each event

    def clock(self) -> float:
        """The present time, for those who want a function."""
        return self.now

    def at(self, when: float, function: Callable[..., object], *arguments: Any) -> Event:
        """Have *function* called at a moment, not before now."""
        event = Event(function, arguments)
        self._order += 1
        heapq.heappush(self._heap, (max(when, self.now), self._order, event))
        return event

    def after(self, delay: float, function: Callable[..., object], *arguments: Any) -> Event:
        """Have *function* called after so many seconds."""
        return self.at(self.now + delay, function, *arguments)

    def soon(self, function: Callable[..., object], *arguments: Any) -> Event:
        """Have *function* called as soon as its thread gets its turn."""
        return self.at(self.now + self.chance.random() * 1e-3, function, *arguments)

    def note(self, what: str) -> None:
        """Add a line to the record."""
        line = f"{self.now - START:.6f} {what}"
        self.digest = zlib.crc32(line.encode(), self.digest)
        if self._verbose:
            self.record.append(line)

    def run(self, until: float) -> None:
        """Let everything happen that is due until then."""
        heap = self._heap
        since, events = self.now, 0
        while heap and heap[0][0] <= until:
            when, _, event = heapq.heappop(heap)
            function = event.function
            if function is None:
                continue
            self.now = when
            event.function = None
            function(*event.arguments)
            for watcher in self.watchers:
                watcher()
            self.events += 1
            events += 1
            if when > since + 1.0:
                since, events = when, 0
            elif events > MAX_RATE:
                raise Spinning(f"{events} events within a second, the last one is {function}")
        self.now = max(self.now, until)

    @property
    def waiting(self) -> int:
        """How many events are still to come."""
        return sum(event.function is not None for _, _, event in self._heap)
