"""Table: which rows are shown, in which order, and which one is selected."""
from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Callable, Sequence

from ..._numbers import counted
from .columns import COLUMNS, Column
from .rows import CONNECTED, Row

__all__ = ["Table", "name_filter"]

#: Each row is sampled once in a second: at one of this many ticks.
TICKS_PER_SECOND = 20
_SORTING = [None, *(column for column in COLUMNS if column.key)]


def name_filter(text: str) -> Callable[[str], bool]:
    """Make a function that tells whether a name is wanted.

    Parameters
    ----------
    text : str
        Words, all of which must fit: a part of the name, or, with ``*`` or ``?``, a pattern for all
        of it; with ``!`` before it, what must not fit. Capitals do not matter.
    """
    checks = []
    for word in text.lower().split():
        wanted = not word.startswith("!")
        pattern = word if wanted else word[1:]
        if not set("*?") & set(pattern):
            pattern = f"*{pattern}*"
        checks.append((wanted, pattern.replace("[", "[[]")))
    return lambda name: all(
        fnmatch.fnmatchcase(name.lower(), pattern) is wanted for wanted, pattern in checks
    )


class Table:
    """The rows of the table.

    Attributes
    ----------
    rows : list of Row
        All, in the order in which they were added.
    shown : list of Row
        Those that pass the filters, sorted.
    selected : Row or None
        One of those shown; None if there is none. It stays selected when the order changes, but for
        the first one: then it is the first one again.
    sorted_by : Column or None
        None for the order in which the rows were added.
    reversed : bool
        Whether the order is the opposite of the usual one of this column.
    filter : str
        As for `name_filter`.
    alarms_only : bool
        Whether only rows with an alarm, or without connection, are shown.
    frozen : bool
        Whether nothing changes, whatever comes.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.shown: list[Row] = []
        self.selected: Row | None = None
        self.sorted_by: Column | None = None
        self.reversed = False
        self.filter = ""
        self.alarms_only = False
        self.frozen = False
        #: The moment that ages refer to, in POSIX seconds.
        self.now = 0.0
        self._turn = 0
        self._at_top = True

    # ---- changes

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows; the first one is selected if none was."""
        self.rows += rows
        self.arrange()

    def remove(self, row: Row) -> None:
        """Remove a row; the one after it is selected."""
        self.rows.remove(row)
        self.arrange()

    def freeze(self, frozen: bool) -> None:
        """Keep everything as it is now, or go on."""
        for row in self.rows:
            row.take()
        self.frozen = frozen

    def sort_by_next(self, step: int) -> None:
        """Sort by the next column to the right, or with -1 to the left."""
        at = _SORTING.index(self.sorted_by)
        self.sort_by(_SORTING[(at + step) % len(_SORTING)])

    def sort_by(self, column: Column | None) -> None:
        """Sort by a column; by the same one again in the opposite order."""
        self.reversed = not self.reversed if column is self.sorted_by else False
        self.sorted_by = column
        self.arrange()

    @property
    def downwards(self) -> bool:
        """Whether the highest come first."""
        return self.reversed != (self.sorted_by is not None and self.sorted_by.downwards)

    # ---- the order

    def arrange(self) -> None:
        """Filter and sort."""
        wanted = name_filter(self.filter)
        found = [
            row for row in self.rows
            if wanted(row.name) and (row.rank or not self.alarms_only)
        ]
        key = self.sorted_by.key if self.sorted_by is not None else None
        if key is not None:
            keys = {row: key(row, self.now) for row in found}
            without = [row for row in found if keys[row] is None]
            found = [row for row in found if keys[row] is not None]
            found.sort(key=keys.__getitem__, reverse=self.downwards)
            found += without
        elif self.reversed:
            found.reverse()
        at = self.place
        self.shown = found
        if self._at_top:
            self.selected = found[0] if found else None
        elif self.selected not in found:
            self.selected = found[min(at, len(found) - 1)] if found else None

    @property
    def place(self) -> int:
        """Where the selected row is among those shown; 0 if there is none."""
        return self.shown.index(self.selected) if self.selected in self.shown else 0

    def select(self, place: int) -> None:
        """Select the row at a place, or the first or last one if there is no such place."""
        if self.shown:
            self.selected = self.shown[max(0, min(place, len(self.shown) - 1))]
            self._at_top = place <= 0

    # ---- time

    def tick(self, now: float, clock: float) -> bool:
        """Go on in time; called `TICKS_PER_SECOND` times a second.

        Parameters
        ----------
        now : float
            POSIX seconds, for ages.
        clock : float
            Seconds on the monotonic clock, for rates.

        Returns
        -------
        bool
            Whether a second has passed, so that order and summary may be others.
        """
        if self.frozen:
            return False
        self.now = now
        for row in self.rows[self._turn :: TICKS_PER_SECOND]:
            row.sample(clock)
        self._turn = (self._turn + 1) % TICKS_PER_SECOND
        if self._turn:
            return False
        if self.sorted_by or self.alarms_only:
            self.arrange()
        return True

    def summary(self) -> str:
        """Say in one line how many rows there are, and what is shown of them."""
        ranks = Counter(row.rank for row in self.rows)
        connected = sum(row.state == CONNECTED for row in self.rows)
        parts = [counted(len(self.rows), "PV"), f"{connected} connected"]
        alarms = sum(ranks[rank] for rank in (1, 2, 3))
        if alarms:
            parts.append(f"{alarms} in alarm")
        if self.filter:
            parts.append(f"filter: {self.filter}")
        if self.alarms_only:
            parts.append("alarms only")
        if len(self.shown) < len(self.rows):
            parts.append(f"{len(self.shown)} shown")
        if self.frozen:
            parts.append("FROZEN")
        return ", ".join(parts)
