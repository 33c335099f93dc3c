"""Tables for people: aligned text that fits the terminal, and HTML for notebooks."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

#: What separates columns, and what stands for text that was cut off.
GAP, CUT = "  ", "…"
#: Columns are not made narrower than this.
NARROWEST = 8
#: Rows of a table at the prompt. Of more, the first and the last ones are shown.
MOST_ROWS, LAST_ROWS = 60, 5


def shown_rows(count: int) -> tuple[range, int, range]:
    """Choose the rows of a long table that are shown.

    Returns
    -------
    tuple of (range, int, range)
        The first rows, how many are left out after them, and the last rows.
    """
    if count <= MOST_ROWS:
        return range(count), 0, range(0)
    return range(MOST_ROWS - LAST_ROWS), count - MOST_ROWS, range(count - LAST_ROWS, count)


def terminal_width() -> int:
    """Return the width of the terminal in columns; 80 if there is none."""
    import shutil  # here, because a script without a prompt does not need it

    return shutil.get_terminal_size().columns


def cut(text: str, width: int) -> str:
    """Return *text* as one line of at most *width* columns; a line keeps its blanks."""
    text = " ".join(text.split()) if len(text.splitlines()) > 1 else text.replace("\t", " ")
    return text if len(text) <= width else text[: max(width - 1, 0)] + CUT


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    """Draw a table of at most *width* columns.

    Parameters
    ----------
    header : sequence of str
    rows : sequence of sequence of str
        A row that is shorter than the header has a last cell that goes over the other columns.
    width : int
        If the table is wider, the widest columns are cut.
    """
    widths = [len(title) for title in header]
    for row in rows:
        for index, cell in enumerate(row):
            if len(row) == len(header) or index < len(row) - 1:
                widths[index] = max(widths[index], len(cell))
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
    while excess > 0 and max(widths) > NARROWEST:
        widest = widths.index(max(widths))
        next_widest = max([NARROWEST, *(w for w in widths if w < widths[widest])])
        step = min(excess, widths[widest] - next_widest)
        widths[widest] -= step
        excess -= step
    lines = []
    for row in [header, *rows]:
        cells = [cut(cell, size).ljust(size) for cell, size in zip(row, widths, strict=False)]
        if len(row) < len(header):
            cells[-1] = row[-1]
        lines.append(cut_line(GAP.join(cells).rstrip(), width))
    return "\n".join(lines)


def cut_line(line: str, width: int) -> str:
    """Return *line*, at most *width* columns of it, with its blanks."""
    return line if len(line) <= width else line[: max(width - 1, 0)] + CUT


def text_block(title: str, facts: Iterable[tuple[str, str]], width: int) -> str:
    """Write a title and, below it, facts with their names, aligned."""
    pairs = list(facts)
    size = max((len(name) for name, _ in pairs), default=0)
    lines = [f"  {name:{size}}{GAP}{value}".rstrip() for name, value in pairs]
    return "\n".join(cut_line(line, width) for line in [title, *lines])


def html_table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in HTML; *caption* and *header* may be empty."""
    from html import escape

    def line(tag: str, cells: Sequence[str]) -> str:
        short = len(header) - len(cells)
        parts = []
        for index, cell in enumerate(cells):
            span = f' colspan="{short + 1}"' if short > 0 and index == len(cells) - 1 else ""
            parts.append(f'<{tag}{span} style="text-align: left">{escape(cell)}</{tag}>')
        return f"<tr>{''.join(parts)}</tr>"

    top = f"<caption>{escape(caption)}</caption>" if caption else ""
    head = f"<thead>{line('th', header)}</thead>" if header else ""
    body = "".join(line("td", row) for row in rows)
    return f"<table>{top}{head}<tbody>{body}</tbody></table>"
