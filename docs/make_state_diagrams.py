"""Draw the state machines of the manual from the transition tables of caproto/_protocol/states.py.

``python docs/make_state_diagrams.py DIRECTORY`` writes one SVG file for each machine and role. The
build of the manual does it too, so that the pictures cannot disagree with the code.

The states stand in a column, in the order of their table. Commands that leave a state as it is are
listed beside it; the others are arrows: straight ones to the next state, lanes on the left to those
further down.
"""
from __future__ import annotations

import sys
from html import escape
from pathlib import Path

BOX_WIDTH, LANE, TOP, LINE_HEIGHT = 260, 26, 56, 15
GAP = 46  # between two boxes, and LINE_HEIGHT for each line that says what leads down
NOTE_WIDTH = 68  # characters in one line of the list beside a state
STYLE = (
    "text{font:12px sans-serif;fill:#222}.title{font-size:15px;font-weight:bold}"
    ".state{font-weight:bold}.note{fill:#666}rect{fill:#eef3fa;stroke:#46688f}"
    "path{fill:none;stroke:#46688f}.lost{stroke-dasharray:5 4}"
)


def wrap(words, width):
    """Lines of comma-separated words, none longer than *width* if it can be helped."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) + 2 > width:
            lines.append("")
        lines[-1] += f", {word}" if lines[-1] else word
    return [*(f"{line}," for line in lines[:-1]), lines[-1]]


def text(x, y, content, extra=""):
    return f'<text x="{x}" y="{y}" {extra}>{escape(content)}</text>'


def diagram(title, table):
    """The picture of one machine.

    Parameters
    ----------
    title : str
    table : dict
        For each state, which command leads to which state.

    Returns
    -------
    str
        An SVG document.
    """
    states = list(table)
    moves = {}  # (from, to) -> names of commands
    stays = {}  # state -> lines of the list beside it
    for state, after in table.items():
        for command, target in after.items():
            if target is not state:
                moves.setdefault((state, target), []).append(command.__name__)
        names = sorted(command.__name__ for command, target in after.items() if target is state)
        stays[state] = ["unchanged by", *wrap(names, NOTE_WIDTH)] if names else []
    lanes = [pair for pair in moves if states.index(pair[1]) - states.index(pair[0]) != 1]
    left = 30 + LANE * len(lanes)

    heights = [max(34, LINE_HEIGHT * len(stays[state]) + 8) for state in states]
    labels = [wrap(moves.get(pair, []), NOTE_WIDTH) for pair in zip(states, states[1:])]
    tops = [TOP]
    for height, lines in zip(heights, labels):
        tops.append(tops[-1] + height + GAP + LINE_HEIGHT * len(lines))
    parts = [text(10, 24, title, 'class="title"')]
    for state, top, height in zip(states, tops, heights):
        parts.append(f'<rect x="{left}" y="{top}" width="{BOX_WIDTH}" height="{height}" rx="6"/>')
        middle = left + BOX_WIDTH / 2
        anchor = 'text-anchor="middle" class="state"'
        parts.append(text(middle, top + height / 2 + 4, repr(state), anchor))
        for number, line in enumerate(stays[state]):
            y = top + LINE_HEIGHT * (number + 1)
            parts.append(text(left + BOX_WIDTH + 14, y, line, 'class="note"'))

    def arrow(points, style="move"):
        return f'<path class="{style}" marker-end="url(#tip)" d="M{points}"/>'

    for i in range(len(states) - 1):
        x, start, end = left + 40, tops[i] + heights[i], tops[i + 1]
        if (states[i], states[i + 1]) in moves:
            parts.append(arrow(f"{x},{start} L{x},{end - 2}"))
            for number, line in enumerate(labels[i]):
                parts.append(text(x + 12, start + 22 + LINE_HEIGHT * number, line))
        elif not any(target is states[i + 1] for _, target in moves):
            parts.append(arrow(f"{x},{start} L{x},{end - 2}", "lost"))
            parts.append(text(x + 12, start + 36, "the connection is lost (from any state)"))
    for number, pair in enumerate(lanes):
        i, j = (states.index(state) for state in pair)
        x = left - LANE * (number + 1)
        start = tops[i] + heights[i] / 2 + 7 * number - 7
        end = tops[j] + heights[j] / 2 + 7 * number - 7
        parts.append(arrow(f"{left},{start} L{x},{start} L{x},{end} L{left - 2},{end}"))
        turn = f'text-anchor="middle" transform="rotate(-90 {x - 5} {(start + end) / 2})"'
        parts.append(text(x - 5, (start + end) / 2, ", ".join(moves[pair]), turn))

    width = left + BOX_WIDTH + 14 + 7 * NOTE_WIDTH
    bottom = tops[-1] + heights[-1] + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {bottom:.0f}" '
        f'width="{width:.0f}" height="{bottom:.0f}"><style>{STYLE}</style>'
        '<defs><marker id="tip" markerWidth="9" markerHeight="9" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" style="fill:#46688f"/></marker></defs>'
        + "\n".join(parts)
        + "</svg>\n"
    )


def write(directory):
    """Write the pictures of both machines, both roles, into *directory*; return their paths."""
    from caproto._protocol.states import CHANNEL, CIRCUIT

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, machine in (("circuit", CIRCUIT), ("channel", CHANNEL)):
        for role, table in machine.items():
            path = directory / f"{name}-{role.value}.svg"
            path.write_text(diagram(f"{name.capitalize()}, the {role.value}'s end", table))
            paths.append(path)
    return paths


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    print(*write(sys.argv[1]), sep="\n")
