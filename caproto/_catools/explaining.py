"""Explaining why PVs are not connected."""
from __future__ import annotations

import json

from .._client.explanation import Explanation
from .access import start
from .extras import Extras
from .forms import form_of
from .reasons import connect_some, reason
from .reports import usable_names
from .settings import Settings
from .sources import names_from
from .statuses import status_of

__all__ = ["explain"]


def explain(settings: Settings, extras: Extras, names: list[str]) -> int:
    """Search for PVs as long as the timeout says, and print what is known about each.

    Returns
    -------
    int
        The exit status: 0 if all are connected.
    """
    places: dict[str, str] = {}
    names = names + names_from(extras.sources, places)
    names, wrong = usable_names(names, places, form_of(settings, extras), may_be_partial=True)
    with start(settings, names) as context:
        pvs, missing = connect_some(context, names, settings)
        for pv in pvs:
            explanation = context.explain(pv)
            if extras.output == "json":
                why = None if explanation.connected else reason(context, pv)
                print(json.dumps(_facts(explanation, why), ensure_ascii=False), flush=True)
            else:
                print(explanation, flush=True)
        return status_of([*wrong, *missing.values()], settings.exact)


def _facts(explanation: Explanation, why: str | None) -> dict[str, object]:
    """Gather what an explanation says, ready for JSON."""
    search, circuit = explanation.search, explanation.circuit
    status, failure = search.status, explanation.last_failure
    return {
        "name": explanation.name,
        "event": "explanation",
        "connected": explanation.connected,
        "state": explanation.state,
        "reason": why,
        "hints": explanation.hints,
        "host": "{}:{}".format(*explanation.server) if explanation.server else None,
        "searches": status.tries if status is not None else 0,
        "destinations": [
            {"address": f"{host}:{port}", "error": problem or None}
            for (host, port), problem in search.destinations.items()
        ],
        "name_servers": [
            {"address": f"{host}:{port}", "error": problem or None}
            for (host, port), problem in search.name_servers.items()
        ],
        "unknown_hosts": search.unresolved,
        "names_found": search.found,
        "repeater": search.registered,
        "beacons_from": search.beacons_from,
        "last_failure": str(failure) if failure is not None else None,
        "circuit": None if circuit is None else {
            "state": circuit.state,
            "last_heard": circuit.last_heard,
            "protocol": f"4.{circuit.version}",
            "channel_created": circuit.created,
            "access": circuit.rights or None,
        },
    }
