"""When to ask a server to hold its monitor updates (EVENTS_OFF), and when to go on (EVENTS_ON).

The C library counts how many blocks in a row it received without its socket running empty; its
callbacks run in the receiving thread, so that number is a measure of how late they are. Our
callbacks run in a thread of their own, so we measure the backlog between the two threads. A fast
server alone is not a reason to lose updates. A backlog is, if it fills the memory, or if it is as
large as the C library would tolerate and its updates are out of date. While updates are held
the server keeps the newest value of each subscription and sends it afterwards, so the last value
always arrives.

Pure: the circuit's manager says how large and how old the backlog is and sends what this decides.
"""
from __future__ import annotations

from typing import Final

#: What one waiting update costs beyond its bytes on the wire, roughly, in bytes of memory.
MESSAGE_OVERHEAD: Final = 400
#: Hold updates above this backlog (bytes of memory) ...
HIGH_WATER: Final = 96 << 20
#: ... and let them go on below this one.
LOW_WATER: Final = 24 << 20
#: Hold updates also above this backlog, about ten blocks of 16 KiB of small updates, which is the
#: measure of the C library ...
LATE_HIGH_WATER: Final = 3 << 20
#: ... if its oldest update has waited longer than this (seconds) ...
LATE: Final = 3.0
#: ... and let them go on below this one.
LATE_LOW_WATER: Final = LATE_HIGH_WATER // 4


def cost(received: int, messages: int) -> int:
    """Return the memory that *messages* of *received* bytes occupy until they are delivered."""
    return received + MESSAGE_OVERHEAD * messages


class FlowControl:
    """The flow control of one circuit: EVENTS_OFF and EVENTS_ON, strictly alternating.

    Parameters
    ----------
    enabled : bool
        Whether to hold updates because of a backlog. The user can always hold them.

    Attributes
    ----------
    resume_below : int
        The backlog below which updates that are held may come again.
    held : bool
        Whether the server was asked to hold its updates.
    pauses : int
        How many times it was asked to.
    """

    __slots__ = ("_enabled", "_overloaded", "_user_hold", "held", "pauses", "resume_below")

    def __init__(self, enabled: bool = True) -> None:
        self._enabled = enabled
        self._overloaded = False
        self._user_hold = False
        self.resume_below = LOW_WATER
        self.held = False
        self.pauses = 0

    def user_holds(self, held: bool) -> bool | None:
        """Note whether the user wants updates held. Returns as :meth:`backlog`."""
        self._user_hold = held
        return self._decide()

    def backlog(self, size: int, age: float = 0.0) -> bool | None:
        """Note the present backlog: *size* bytes, the oldest of which has waited *age* seconds.

        Returns
        -------
        bool or None
            True: send EVENTS_OFF. False: send EVENTS_ON. None: leave it as it is.
        """
        if self._overloaded:
            self._overloaded = size >= self.resume_below
        elif self._enabled:
            if size > HIGH_WATER:
                self._overloaded, self.resume_below = True, LOW_WATER
            elif size > LATE_HIGH_WATER and age > LATE:
                self._overloaded, self.resume_below = True, LATE_LOW_WATER
        return self._decide()

    def _decide(self) -> bool | None:
        hold = self._overloaded or self._user_hold
        if hold is self.held:
            return None
        self.held = hold
        self.pauses += hold
        return hold
