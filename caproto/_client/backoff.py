"""How long a server is left alone after a failure, and why.

A server that is restarted is wanted back at once; but one that drops each circuit as soon as it is
made must not be overrun. So the circuits to one server are *begun* at least a pause apart, which
doubles with each one that does not last. A circuit that lived longer than the pause is replaced
without delay.
"""
from __future__ import annotations

import enum
import math
from typing import NamedTuple

from .._addresses import Address

#: Seconds between the beginnings of the first two circuits; then doubling.
FIRST_PAUSE = 0.25
#: A circuit that was up for as many seconds was a good one: the next pause is the first one again.
GOOD_TIME = 10.0
#: Servers to remember; beyond, the one whose last failure is oldest is forgotten.
MAX_SERVERS = 1024


class Loss(enum.Enum):
    """How channels were lost."""

    CLOSED = "the circuit was closed in good order"
    BROKEN = "the circuit broke, after it had brought values or confirmations of writes"
    REFUSED = "the server refused the channels, or gave them up"
    USELESS = "the circuit could not be made, or brought nothing"


#: Seconds to wait at most before they are searched again; after a refusal, always.
LONGEST_PAUSE = {Loss.BROKEN: 1.0, Loss.REFUSED: 5.0, Loss.USELESS: 10.0}


class Failure(NamedTuple):
    """The last failure of a server."""

    reason: str
    #: When, on the monotonic clock.
    when: float
    loss: Loss
    #: Circuits in a row that did not last.
    failures: int = 0
    #: No circuit is to be begun before this moment.
    until: float = -math.inf

    def __str__(self) -> str:
        counts = self.failures > 1 and self.loss is not Loss.REFUSED
        return self.reason + (f" ({self.failures} attempts in a row)" if counts else "")


def doubled_pause(first: float, failures: int, longest: float) -> float:
    """Tell how many seconds to wait after this many *failures* in a row, one or more."""
    return min(math.ldexp(first, min(failures - 1, 10)), longest)


class ServerBackoff:
    """The last failure of each server. The clock is passed in."""

    def __init__(self) -> None:
        self._failures: dict[Address, Failure] = {}

    def get(self, address: Address | None) -> Failure | None:
        """The last failure with the server at *address*; None if there was none."""
        return self._failures.get(address) if address is not None else None

    def pause(self, address: Address, now: float) -> float:
        """Seconds to wait before the next circuit to this server is begun."""
        failure = self._failures.get(address)
        return max(0.0, failure.until - now) if failure is not None else 0.0

    def note(
        self, address: Address, loss: Loss, reason: str, begun: float, up: float, now: float
    ) -> float:
        """Remember why channels were lost.

        Parameters
        ----------
        address : tuple of (str, int)
        loss : Loss
            CLOSED is not a failure.
        reason : str
        begun : float
            When the circuit was.
        up : float
            Seconds since its connection was made; 0 if it never was.
        now : float

        Returns
        -------
        float
            Seconds to wait before they are searched again.
        """
        if loss is Loss.CLOSED:
            return self.pause(address, now)
        before = self._failures.pop(address, None) or Failure("", -math.inf, loss)
        longest, failures, until = LONGEST_PAUSE[loss], before.failures, before.until
        # Circuits that end together, of several priorities, are one failure.
        if loss is not Loss.REFUSED and begun >= before.when:
            failures += 1
            pause = doubled_pause(FIRST_PAUSE, failures, longest)
            until = now + max(0.0, pause - up)
        if len(self._failures) >= MAX_SERVERS:
            del self._failures[next(iter(self._failures))]
        self._failures[address] = Failure(reason, now, loss, failures, until)
        return longest if loss is Loss.REFUSED else max(0.0, until - now)

    def over(self, address: Address, up: float) -> None:
        """A circuit has ended; if it was a good one, earlier failures do not count any more."""
        failure = self._failures.get(address)
        if failure is not None and up >= GOOD_TIME:
            self._failures[address] = failure._replace(failures=0)
