"""What a PV shows of itself, in the form that pyepics gives it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Final

from ._values import LIMITS

#: Attributes in the order of the listing; the limits come after them.
_LISTED: Final = (
    "value", "char_value", "count", "nelm", "type", "units", "precision", "host", "access",
    "status", "char_status", "severity", "char_severity", "timestamp", "posixseconds",
    "nanoseconds",
)  # fmt: skip


def describe_briefly(known: Mapping[str, Any], connected: bool) -> str:
    """Make the ``repr`` of a PV."""
    name = known["pvname"]
    if not connected:
        return f"<PV {name!r}: not connected>"
    nelm = known["nelm"]
    count = str(nelm) if nelm == 1 else f"{known['count']}/{nelm}"
    return f"<PV {name!r}, count={count}, type={known['type']}, access={known['access']}>"


def describe(known: Mapping[str, Any], monitored: bool, callbacks: int) -> str:
    """List all that is known about a PV, one attribute a line."""
    lines = [f"== {known['pvname']}  ({known['type']}) =="]
    for name in (*_LISTED, *LIMITS):
        value = known.get(name)
        if value is not None:
            lines.append(f"   {name:<15} = {_shown(name, value)}")
    if known.get("enum_strs"):
        lines.append("   enum strings:")
        lines += [f"       {number} = {state}" for number, state in enumerate(known["enum_strs"])]
    if monitored:
        lines.append(f"   PV is internally monitored, with {callbacks} user-defined callbacks")
    else:
        lines.append("   PV is NOT internally monitored")
    lines.append("=" * 29)
    return "\n".join(lines)


def _shown(name: str, value: Any) -> str:
    if name == "timestamp":
        moment = datetime.datetime.fromtimestamp(value)
        return f"{value:.3f} ({moment:%Y-%m-%d %H:%M:%S.%f})"
    if name == "char_value":
        return repr(value)
    if hasattr(value, "__len__") and not isinstance(value, str):
        head = ", ".join(str(item) for item in value[:10])
        return f"array([{head}{', ...' if len(value) > 10 else ''}])"
    return f"{value:.8g}" if isinstance(value, float) and name == "value" else str(value)
