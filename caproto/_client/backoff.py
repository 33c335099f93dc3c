"""How long to wait after a failure of a server before connecting to it again.

A server that was restarted should be back at once, but one that drops each new circuit must not be
flooded with connections. So there is a pause between the *beginnings* of two circuits to a server,
which doubles with each circuit that does not last. A circuit that lasted longer than the pause is
replaced without delay.
"""
from __future__ import annotations

import enum
import math

from .._addresses import Address
from .._typing import NamedTuple

#: Seconds between the beginnings of the first two circuits; then doubling.
FIRST_PAUSE = 0.25
#: A circuit that was up for this many seconds was good: the next pause is the first one again.
GOOD_TIME = 10.0
#: Servers to remember; of more, the one with the oldest last failure is forgotten.
MAX_SERVERS = 1024


class Loss(enum.Enum):
    """How channels were lost."""

    CLOSED = "the circuit was closed in good order"
    BROKEN = "the circuit broke, after it had brought values or confirmations of writes"
    REFUSED = "the server refused the channels, or dropped them"
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
        """Return the last failure of the server at *address*; None if there was none."""
        return self._failures.get(address) if address is not None else None

    def pause(self, address: Address, now: float) -> float:
        """Return the seconds to wait before beginning the next circuit to this server."""
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
        """Note the end of a circuit; after a good one, earlier failures no longer count."""
        failure = self._failures.get(address)
        if failure is not None and up >= GOOD_TIME:
            self._failures[address] = failure._replace(failures=0)
