"""When to ask a server whether it is alive, and when to call it unresponsive.

A `Heartbeat` watches one circuit. Its driver reports what was received, and does what it returns.
It uses neither the socket nor the clock: *now*, in seconds, is an argument.

==============  =============================  ============================================
phase           the deadline comes             an echo reply comes
==============  =============================  ============================================
quiet           SEND_ECHO, probing             quiet
probing         UNRESPONSIVE, last probe       quiet
last probe      silent                         quiet; the circuit is responsive again
silent          SEND_ECHO, last probe          too late: SEND_ECHO, last probe
==============  =============================  ============================================

A server that takes none of our bytes for that time counts as quiet, too, even if it sends. While it
takes some, a probe may still be queued after them, so it has more time.

A silent server is asked again after each timeout: its host may have been restarted without closing
the connection, and then only an answer to our bytes shows that the connection is gone.

"Unresponsive" is not "disconnected": the TCP connection is kept, and only TCP itself, or the peer,
ends it. Echo replies prove that the server's circuit is alive, and nothing else does once a probe
is pending: data may still be draining out of buffers on the way.
"""
from __future__ import annotations

import enum

from .._errors import CaprotoValueError

__all__ = ["Action", "Heartbeat"]


class Action(enum.Enum):
    """What the driver of a circuit has to do now."""

    #: Nothing; come back at the deadline.
    NOTHING = "nothing"
    #: Send an ECHO (to a server below 4.3: READ_SYNC).
    SEND_ECHO = "send echo"
    #: Tell the users that the server does not respond, and send one more ECHO.
    UNRESPONSIVE = "unresponsive"


class _Phase(enum.Enum):
    QUIET = "quiet"
    PROBING = "probing"
    LAST_PROBE = "last probe"  # unresponsive, an echo is pending
    SILENT = "silent"  # unresponsive, no echo in time


_QUIET = _Phase.QUIET  # looked at for each chunk received; members are slow to find


class Heartbeat:
    """The watchdog of a circuit.

    Parameters
    ----------
    timeout : float
        Seconds without a sign of life before an ECHO is sent (EPICS_CA_CONN_TMO).
    echo_timeout : float
        Seconds to wait for its answer.
    now : float
        The present time; the connection has just been made.

    Attributes
    ----------
    deadline : float
        When to call `check`.
    last_heard : float
        When bytes were last received.
    """

    __slots__ = ("_distrust_beacons", "_phase", "deadline", "echo_timeout", "last_heard", "timeout")

    def __init__(
        self, timeout: float = 30.0, echo_timeout: float = 5.0, *, now: float = 0.0
    ) -> None:
        for what, value in (("timeout", timeout), ("echo_timeout", echo_timeout)):
            if not value > 0:
                raise CaprotoValueError(f"{what} must be a positive number of seconds, not {value}")
        self.timeout = timeout
        self.echo_timeout = echo_timeout
        self.last_heard = now
        self.deadline = now + timeout
        self._phase = _Phase.QUIET
        self._distrust_beacons = False

    @property
    def responsive(self) -> bool:
        """Whether the server responds: False from UNRESPONSIVE on, until an echo is in time."""
        return self._phase is _Phase.QUIET or self._phase is _Phase.PROBING

    @property
    def silent(self) -> bool:
        """Whether the last probe was not answered in its time."""
        return self._phase is _Phase.SILENT

    def received(self, now: float) -> None:
        """Note that bytes came in on the circuit."""
        self.last_heard = now
        self._distrust_beacons = False
        if self._phase is _QUIET:
            self.deadline = now + self.timeout

    def beacon(self, now: float) -> None:
        """Note a beacon in the usual rhythm of the server: a sign of life."""
        if self._phase is _Phase.QUIET and not self._distrust_beacons:
            self.deadline = now + self.timeout

    def beacon_anomaly(self) -> None:
        """Note a beacon out of rhythm; the next ones are ignored until bytes come in."""
        self._distrust_beacons = True

    def sending(self, taken_at: float) -> None:
        """Note that bytes wait; the server last took some, or they began to wait, at *taken_at*."""
        if self._phase is _Phase.QUIET:
            self.deadline = min(self.deadline, taken_at + self.timeout)
        elif self._phase is _Phase.PROBING:
            self.deadline = max(self.deadline, taken_at + self.echo_timeout)

    def check(self, now: float) -> Action:
        """Decide what to do now; before the deadline, nothing.

        Returns
        -------
        Action
            Each action is returned once; the driver carries it out.
        """
        if now < self.deadline:
            return Action.NOTHING
        phase = self._phase
        if phase is _Phase.QUIET:
            self._phase = _Phase.PROBING
        elif phase is _Phase.LAST_PROBE:
            self._phase = _Phase.SILENT
            self.deadline = now + self.timeout
            return Action.NOTHING
        else:  # PROBING without an answer, or SILENT
            self._phase = _Phase.LAST_PROBE
        self.deadline = now + self.echo_timeout
        return Action.UNRESPONSIVE if phase is _Phase.PROBING else Action.SEND_ECHO

    def echo_received(self, now: float) -> bool:
        """Note an ECHO (or READ_SYNC) reply.

        A late reply shows only that the server was alive when it answered; it brings forward the
        next probe, which `check` then asks for at once.

        Returns
        -------
        bool
            True if this makes an unresponsive circuit responsive: each subscription needs a
            refresh.
        """
        self.last_heard = now
        if self._phase is _Phase.SILENT:
            self.deadline = now
            return False
        recovered = self._phase is _Phase.LAST_PROBE
        self._phase = _Phase.QUIET
        self.deadline = now + self.timeout
        return recovered
