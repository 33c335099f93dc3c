"""Reasons: why a PV is not connected, in one line, and connecting to those that are."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._errors import CaprotoError, CaprotoTimeoutError
from ..threading._waiting import Deadline
from ..threading.client import PV, Context
from .settings import Settings

__all__ = ["connect_some", "in_shell_words", "reason"]

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
    return pvs, {
        pv: CaprotoTimeoutError(reason(context, pv)) for pv in _distinct(pvs) if not pv.connected
    }


def in_shell_words(error: Exception) -> str:
    """Return the message of an error, with the names of options in place of Python's arguments."""
    return str(error).replace(*_ADVICE)


def _distinct(pvs: Iterable[PV]) -> list[PV]:
    return list(dict.fromkeys(pvs))


def reason(context: Context, pv: PV) -> str:
    """Explain in one line why a PV is not connected: what was done, and what to check."""
    explanation = context.explain(pv)
    search, circuit, state = explanation.search, explanation.circuit, explanation.state
    places = [f"{host}:{port}" for host, port in (*search.destinations, *search.name_servers)]
    if circuit is not None:
        parts = [state, f"last heard {circuit.last_heard:.1f} s ago"]
    else:
        parts = [f"{state} at {', '.join(places) or 'no address'}"]
    if explanation.last_failure is not None and explanation.server is not None:
        host, port = explanation.server
        parts.append(f"it was at {host}:{port}, which failed: {explanation.last_failure}")
    parts += explanation.hints[:1]
    return f"not connected: {'; '.join(parts)}"
