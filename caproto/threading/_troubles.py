"""Troubles: what went wrong with each server, and how long it is to be left alone.

A server that is restarted is wanted back at once; but one that drops each circuit as soon as it is
made must not be overrun. So the circuits to one server are *begun* at least a pause apart, which
doubles with each one that does not last. A circuit that lived longer than the pause is replaced
without delay.
"""
from __future__ import annotations

import enum
import math
from typing import NamedTuple

from .._sockets import Address

#: Seconds between the beginnings of the first two circuits; then doubling.
FIRST_PAUSE = 0.25
#: A circuit that was up for so many seconds was a good one: the pauses begin again.
GOOD_TIME = 10.0
#: Servers to remember; beyond, the one whose last trouble is oldest is forgotten.
MAX_SERVERS = 1024


class Loss(enum.Enum):
    """How channels were lost."""

    CLOSED = "the circuit was closed in good order"
    BROKEN = "the circuit broke, after it had brought values or confirmations of writes"
    REFUSED = "the server refused the channels, or gave them up"
    USELESS = "the circuit could not be made, brought nothing, or broke the protocol"


#: Seconds to wait at most before they are searched again; after a refusal, always.
LONGEST_PAUSE = {Loss.BROKEN: 1.0, Loss.REFUSED: 5.0, Loss.USELESS: 10.0}


class Trouble(NamedTuple):
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


class Troubles:
    """The last trouble of each server. The clock is passed in."""

    def __init__(self) -> None:
        self._troubles: dict[Address, Trouble] = {}

    def get(self, address: Address | None) -> Trouble | None:
        """The last trouble with the server at *address*; None if there was none."""
        return self._troubles.get(address) if address is not None else None

    def pause(self, address: Address, now: float) -> float:
        """Seconds to wait before the next circuit to this server is begun."""
        trouble = self._troubles.get(address)
        return max(0.0, trouble.until - now) if trouble is not None else 0.0

    def note(
        self, address: Address, loss: Loss, reason: str, begun: float, up: float, now: float
    ) -> float:
        """Remember why channels were lost.

        Parameters
        ----------
        address : tuple of (str, int)
        loss : Loss
            CLOSED is not a trouble.
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
        before = self._troubles.pop(address, None) or Trouble("", -math.inf, loss)
        longest, failures, until = LONGEST_PAUSE[loss], before.failures, before.until
        # Circuits that end together, of several priorities, are one failure.
        if loss is not Loss.REFUSED and begun >= before.when:
            failures += 1
            pause = min(math.ldexp(FIRST_PAUSE, min(failures - 1, 10)), longest)
            until = now + max(0.0, pause - up)
        if len(self._troubles) >= MAX_SERVERS:
            del self._troubles[next(iter(self._troubles))]
        self._troubles[address] = Trouble(reason, now, loss, failures, until)
        return longest if loss is Loss.REFUSED else max(0.0, until - now)

    def over(self, address: Address, up: float) -> None:
        """A circuit has ended; if it was a good one, earlier failures do not count any more."""
        trouble = self._troubles.get(address)
        if trouble is not None and up >= GOOD_TIME:
            self._troubles[address] = trouble._replace(failures=0)
