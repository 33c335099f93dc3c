"""When to ask a server to hold its monitor updates (EVENTS_OFF), and when to go on (EVENTS_ON).

The C library counts how many blocks in a row it received without its socket running empty; its
callbacks run in the receiving thread, so that number tells how far they are behind. Our callbacks
run in a thread of their own. What tells here is the backlog between the two threads: a fast server
alone is not a reason to lose updates; a backlog is, if it fills the memory, or if it is as large as
the C library would tolerate and also old, so that users look at the past. While updates are held
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
    """The memory that *messages* of *received* bytes together occupy until they are delivered."""
    return received + MESSAGE_OVERHEAD * messages


class FlowControl:
    """The brake of one circuit: EVENTS_OFF and EVENTS_ON, strictly alternating.

    Parameters
    ----------
    enabled : bool
        Whether a backlog brakes. The user's own wish is always followed.

    Attributes
    ----------
    resume_below : int
        The backlog below which updates that are held may come again.
    held : bool
        Whether the server has been told to hold its updates.
    pauses : int
        How many times it has been told so.
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
        """The user wants updates held, or not any more. Returns as :meth:`backlog`."""
        self._user_hold = held
        return self._decide()

    def backlog(self, size: int, age: float = 0.0) -> bool | None:
        """The backlog is *size* bytes now, and its oldest part has waited *age* seconds.

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
