"""Statistics of updates: how often they come, and the longest gap between two of them."""
from __future__ import annotations

from collections.abc import Iterable

from .._client.tables import text_table
from .._protocol.timestamp import TimeStamp
from .times import UNDEFINED, seconds_between

__all__ = ["Statistics", "statistics_table"]

_TITLES = ("name", "updates", "per s", "mean gap", "shortest", "longest", "mean delay", "lost")
#: Columns: names are not cut.
_NO_LIMIT = 10_000


class Statistics:
    """The updates of one PV.

    Parameters
    ----------
    name : str
        Of the PV.

    Notes
    -----
    Gaps are those between the time stamps of the server. The delay is the time from the stamp to
    the arrival here: it has the difference of the two clocks in it. The first update, the value
    at the beginning, counts for neither, because it may be old.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.updates = 0
        self.disconnections = 0
        self._first: TimeStamp | None = None
        self._last: TimeStamp | None = None
        self._gaps = 0
        self._shortest = self._longest = 0.0
        self._delay = 0.0

    def update(self, stamp: TimeStamp | None, arrival: TimeStamp) -> None:
        """Note an update."""
        self.updates += 1
        if self.updates == 1:
            return
        stamp = arrival if stamp is None or stamp == UNDEFINED else stamp
        if self._last is not None:
            gap = seconds_between(stamp, self._last)
            self._shortest = min(gap, self._shortest) if self._gaps else gap
            self._longest = max(gap, self._longest) if self._gaps else gap
            self._gaps += 1
            self._delay += seconds_between(arrival, stamp)
        self._first = self._first or stamp
        self._last = stamp

    def to_dict(self) -> dict[str, object]:
        """Return the figures, in seconds; None where there were too few updates."""
        span = seconds_between(self._last, self._first) if self._last and self._first else 0.0
        many = self._gaps > 0
        return {
            "name": self.name,
            "event": "stats",
            "updates": self.updates,
            "rate": self._gaps / span if span > 0 else None,
            "mean_gap": span / self._gaps if many else None,
            "shortest_gap": self._shortest if many else None,
            "longest_gap": self._longest if many else None,
            "mean_delay": self._delay / self._gaps if many else None,
            "disconnections": self.disconnections,
        }


def statistics_table(all_of_them: Iterable[Statistics]) -> str:
    """Write a table for people."""
    rows = []
    for one in all_of_them:
        figures = one.to_dict()
        rows.append([_cell(cell) for key, cell in figures.items() if key != "event"])
    return text_table(_TITLES, rows, _NO_LIMIT)


def _cell(cell: object) -> str:
    if cell is None:
        return "-"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
