"""When to register with the repeater, and when to start one.

A client registers at once: a repeater that runs confirms within a moment. If none does, the client
starts one after a second (a script that is over by then needs no beacons), and goes on trying, less
and less often. A repeater that was restarted has forgotten its clients, so the client registers
again when nothing has come from it for a long time; if it is gone, all clients start one. One of
these keeps running; the others find the port in use and exit.

Pure: *now* is an argument, and the driver does what :meth:`Registration.due` returns.
"""
from __future__ import annotations

import enum
import math
from typing import Final

#: Seconds before the first repetition, which starts a repeater; doubling from there.
PATIENCE: Final = 1.0
#: Seconds without any beacon after which we ask to be registered again.
SILENCE: Final = 300.0
#: In each run of this many failed attempts the second one starts a repeater.
ATTEMPTS_PER_START: Final = 30


class RegistrationAction(enum.Enum):
    """What the driver has to do now."""

    NOTHING = "nothing"
    #: Send a registration to the repeater's port.
    REGISTER = "register"
    #: Start a repeater, then register.
    START_REPEATER = "start a repeater"


class Registration:
    """The state of our registration.

    Parameters
    ----------
    now : float
        The present time, in seconds of any clock that does not go backwards.
    retry_time : float
        Longest pause between attempts, in seconds.
    wanted : bool
        False: never do anything.

    Attributes
    ----------
    deadline : float
        When to call :meth:`due`; infinite for never.
    registered : bool
        Whether a repeater has confirmed.
    """

    __slots__ = ("_attempts", "_pause", "_retry_time", "_wanted", "deadline", "registered")

    def __init__(self, now: float, retry_time: float = 10.0, wanted: bool = True) -> None:
        self._wanted = wanted
        self._retry_time = retry_time
        self._pause = min(PATIENCE, retry_time)
        self._attempts = 0
        self.registered = False
        self.deadline = now if wanted else math.inf

    def due(self, now: float) -> RegistrationAction:
        """Decide what to do now; before the deadline, nothing."""
        if now < self.deadline:
            return RegistrationAction.NOTHING
        self.registered = False
        self._attempts += 1
        self.deadline = now + self._pause
        if self._attempts > 1:
            self._pause = min(2 * self._pause, self._retry_time)
        if self._attempts % ATTEMPTS_PER_START == 2:
            return RegistrationAction.START_REPEATER
        return RegistrationAction.REGISTER

    def confirmed(self, now: float) -> None:
        """Note that the repeater has confirmed."""
        if not self._wanted:
            return  # any host could send us that
        self.registered = True
        self._pause = min(PATIENCE, self._retry_time)
        self._attempts = 0
        self.deadline = now + SILENCE

    def heard(self, now: float) -> None:
        """Note that a beacon came, which only a repeater passes on."""
        if self.registered:
            self.deadline = now + SILENCE
