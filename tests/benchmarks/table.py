"""All rows in the order of the table: measured, and written in three ways."""
from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks import (  # noqa: F401 - each adds its rows
    bench_connect,
    bench_core,
    bench_process,
    bench_pyepics,
    bench_requests,
    bench_tables,
    bench_updates,
)
from tests.benchmarks.libraries import IN_C, LIMIT, OURS, Library
from tests.benchmarks.rig import ROWS, Rig, Row


@dataclass
class Result:
    """What came of one row.

    Attributes
    ----------
    row : Row
    figures : dict of str to list of float
        By library, one of each round.
    notes : dict of str to str
        By library, what the last round had to say.
    """

    row: Row
    figures: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def median(self, library: str) -> float | None:
        figures = self.figures.get(library)
        return statistics.median(figures) if figures else None

    @property
    def best_peer(self) -> tuple[str, float] | None:
        """Its name and its figure."""
        medians = {
            name: statistics.median(figures)
            for name, figures in self.figures.items()
            if figures and name not in (OURS.name, LIMIT.name, IN_C)
        }
        if not medians:
            return None
        best = self.row.best([*medians.values()])
        return next(item for item in medians.items() if item[1] == best)

    @property
    def ratio(self) -> float | None:
        """How many times better than the best peer we are."""
        ours, peer = self.median(OURS.name), self.best_peer
        if ours is None or peer is None or not min(ours, peer[1]) > 0:
            return None
        return peer[1] / ours if self.row.less_is_better else ours / peer[1]

    @property
    def reached(self) -> bool:
        ours = self.median(OURS.name)
        return ours is not None and self.row.reached(ours)


def run(
    rows: Iterable[Row],
    peers: list[Library],
    repeats: int,
    rig: Rig,
    say: Callable[[str], object] = print,
) -> list[Result]:
    """Measure *rows*, several times each, all libraries in turn, so that a bad moment hits all.

    Whoever fails is named in the notes, and the others go on.
    """
    results = [Result(row) for row in rows]
    libraries = [OURS, LIMIT, *peers]
    for number in range(repeats):
        for result in results:
            # Nobody always comes first, or always after the same one.
            turn = libraries if number % 2 == 0 else libraries[::-1]
            for library in filter(result.row.measures, turn):
                say(f"[{number + 1}/{repeats}] {_measure(result, rig, library)}")
            rig.end_row()
    return results


def _measure(result: Result, rig: Rig, library: Library) -> str:
    """Measure a library once more; return what may be told of it."""
    row = result.row
    rig.notes.clear()
    try:
        figure = row.measure(rig, library)
    except Exception as error:
        text = f"failed: {type(error).__name__}: {error}"
        rig.notes.append(text.splitlines()[0] + " ... " + text.splitlines()[-1])
        told = text
    else:
        result.figures.setdefault(library.name, []).append(figure)
        told = f"{written(figure)} {row.unit}  {'; '.join(rig.notes)}".rstrip()
    if rig.notes:
        result.notes[library.name] = "; ".join(rig.notes)
    return f"{row.name}, {library.name}: {told}"


# --- the outputs

#: Where there is none; a hyphen would begin a list in the manual.
NO_FIGURE = "—"
COLUMNS = ("", "ours", "worst", "limit", "in C", "best peer", "", "ratio", "goal", "")


def written(figure: float | None) -> str:
    if figure is None:
        return NO_FIGURE
    if figure >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.1f}" if figure >= 10 else f"{figure:.3g}"


def cells(result: Result) -> tuple[str, ...]:
    """One line of the table."""
    row, peer = result.row, result.best_peer
    ours = result.figures.get(OURS.name)
    sign = "≤" if row.less_is_better else "≥"
    return (
        f"{row.name} [{row.unit}]" if row.unit else row.name,
        written(result.median(OURS.name)),
        written(row.worst(ours) if ours else None),
        written(result.median(LIMIT.name)),
        written(result.median(IN_C)),
        written(peer[1]) if peer else NO_FIGURE,
        peer[0] if peer else "",
        written(result.ratio),
        f"{sign} {written(row.goal)}",
        "" if result.reached else "falls short",
    )


def notes(results: list[Result]) -> Iterator[str]:
    for result in results:
        for library, note in result.notes.items():
            yield f"{result.row.name}, {library}: {note}"


def text_table(results: list[Result]) -> str:
    """For the terminal."""
    lines = [COLUMNS, *map(cells, results)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    out = [
        "  ".join(
            cell.ljust(width) if number in (0, 6, 9) else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*out, "", *notes(results)]).rstrip()


def machine() -> dict[str, Any]:
    """Where and when."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
    }


def as_json(results: list[Result], peers: list[Library]) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        **machine(),
        "peers": [peer.name for peer in peers],
        "rows": [
            {
                "name": result.row.name,
                "unit": result.row.unit,
                "goal": result.row.goal,
                "less_is_better": result.row.less_is_better,
                "reached": result.reached,
                "ratio": result.ratio,
                "figures": result.figures,
                "notes": result.notes,
            }
            for result in results
        ],
    }


def as_rst(results: list[Result], peers: list[Library], repeats: int) -> str:
    """The table for the manual."""
    where = machine()
    names = ", ".join(peer.name for peer in peers)
    out = [
        f"Medians of {repeats} rounds on {where['date']}: Python {where['python']}, "
        f"{where['system']} {where['machine']}, {where['cores']} cores. "
        + (f"Peers: {names}." if peers else "No peers were measured."),
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "",
    ]
    heads = ("Work", "Ours", "Limit in Python", IN_C, "Best peer", "Ratio", "Goal")
    out += _list_row(heads)
    for result in results:
        name, ours, _, limit, c, peer, peer_name, ratio, goal, mark = cells(result)
        out += _list_row((
            name,
            ours + (" (falls short)" if mark else ""),
            limit,
            c,
            f"{peer} ({peer_name})" if peer_name else peer,
            ratio,
            goal,
        ))
    told = list(notes(results))
    if told:
        out += ["", *(f"* {note.partition(' ... ')[0]}" for note in told)]
    return "\n".join(out) + "\n"


def _list_row(texts: tuple[str, ...]) -> list[str]:
    return [f"   {'*' if not number else ' '} - {text}" for number, text in enumerate(texts)]


__all__ = ["ROWS", "Result", "as_json", "as_rst", "run", "text_table"]
