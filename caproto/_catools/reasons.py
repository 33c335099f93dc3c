"""Reasons: why a PV is not connected, in one line, and connecting to those that are."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._client.explanation import Explanation
from .._errors import CaprotoError, CaprotoTimeoutError
from ..threading._waiting import Deadline
from ..threading.client import PV, Context
from .settings import Settings

__all__ = ["connect_some", "in_shell_words", "reason", "reasons_of"]

#: What the client advises programs to do, and the option for it.
_ADVICE = "pass a larger timeout= to wait longer", "a larger -w waits longer"


def connect_some(
    context: Context, names: Sequence[str], settings: Settings
) -> tuple[list[PV], dict[PV, CaprotoError]]:
    """Connect to PVs within the timeout.

    Returns
    -------
    pvs : list of PV
        One for each name.
    missing : dict of PV to CaprotoError
        Those that are not connected; the error is the reason.
    """
    pvs = context.get_pvs(*names, priority=settings.priority)
    deadline = Deadline(settings.patience)
    for pv in pvs:
        try:
            pv.wait_for_connection(timeout=deadline.remaining())
        except CaprotoTimeoutError:
            if deadline.expired:
                break
    missing = [pv for pv in dict.fromkeys(pvs) if not pv.connected]
    return pvs, {
        pv: CaprotoTimeoutError(why)
        for pv, why in zip(missing, reasons_of(context, missing), strict=True)
    }


def in_shell_words(error: Exception) -> str:
    """Return the message of an error, with the names of options in place of Python's arguments."""
    return str(error).replace(*_ADVICE)


def reasons_of(context: Context, pvs: Iterable[PV]) -> list[str]:
    """Explain, a line for each PV, why they are not connected; each hint is given once."""
    given: set[str] = set()
    return [_reason(context.explain(pv), given) for pv in pvs]


def reason(context: Context, pv: PV) -> str:
    """Explain in one line why a PV is not connected: what was done, and what to check."""
    return _reason(context.explain(pv), set())


def _reason(explanation: Explanation, given: set[str]) -> str:
    """Write the line of one PV, without a hint that was *given* before."""
    search, circuit, state = explanation.search, explanation.circuit, explanation.state
    places = [f"{host}:{port}" for host, port in (*search.destinations, *search.name_servers)]
    if circuit is not None:
        parts = [state, f"last heard {circuit.last_heard:.1f} s ago"]
    else:
        parts = [f"{state} at {', '.join(places) or 'no address'}"]
    if explanation.last_failure is not None and explanation.server is not None:
        host, port = explanation.server
        parts.append(f"it was at {host}:{port}, which failed: {explanation.last_failure}")
    hints = explanation.hints[:1]
    parts += (hint for hint in hints if hint not in given)
    given.update(hints)
    return f"not connected: {'; '.join(parts)}"
