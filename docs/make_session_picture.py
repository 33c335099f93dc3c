"""Play a session at the IPython prompt against a demo IOC, and draw what the prompt shows.

``python docs/make_session_picture.py docs/session.svg`` renews the picture of the README; it needs
the extra "docs". Everything in the picture is what IPython printed.
"""
from __future__ import annotations

import io
import os
import sys
import time
from contextlib import redirect_stdout
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

#: What is typed; then the number of lines that callbacks print before the next input.
SESSION = (
    ("from caproto.threading.client import Context", 0),
    ("ctx = Context()", 0),
    ("x, dt = ctx.get_pvs('random_walk:x', 'random_walk:dt')", 0),
    ("dt.read()", 0),
    ("dt.read().value * 1000", 0),
    ("done = dt.write(0.5)  # waits until the server is done", 0),
    ("def show(response):\n    print(response)", 0),
    ("token = x.subscribe(data_type='time').add_callback(show)", 4),
    ("x.unsubscribe_all()", 0),
    ("dt", 0),
    ("ctx.read('random_walk:x', 'random_walk:dt').to_dict()", 0),
)
COLUMNS, WIDTH, HEIGHT, MARGIN = 100, 8.0, 19, 16
STYLE = (
    f"text{{font:{HEIGHT - 6}px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;"
    "fill:#d8dee9;white-space:pre}.in{fill:#8fce7e}.out{fill:#f2a16b}rect{fill:#1d2530}"
)


def play():
    """The lines of the session, as IPython prints them."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    settings = Config()
    settings.HistoryManager.enabled = False
    settings.InteractiveShell.colors = "nocolor"
    shell = InteractiveShell(config=settings)
    lines = []
    for number, (code, updates) in enumerate(SESSION, 1):
        prompt = f"In [{number}]: "
        first, *others = code.split("\n")
        lines += [prompt + first, *(f"{'...: ':>{len(prompt)}}{line}" for line in others)]
        printed = io.StringIO()
        with redirect_stdout(printed):
            result = shell.run_cell(code, store_history=True)
            deadline = time.monotonic() + 30
            while printed.getvalue().count("\n") < updates and time.monotonic() < deadline:
                time.sleep(0.01)
            if updates:
                shell.run_cell("x.unsubscribe_all()")  # so that no line comes too late
        result.raise_error()
        lines += [*printed.getvalue().rstrip("\n").split("\n")[:updates or None], ""]
    shell.run_cell("ctx.disconnect()")
    return [line for before, line in zip(["", *lines], lines, strict=False) if before or line]


def spans(line):
    """A line with its prompt in the colour of prompts."""
    for mark, kind in (("In [", "in"), ("Out[", "out")):
        if line.startswith(mark):
            prompt, colon, rest = line.partition(": ")
            return f'<tspan class="{kind}">{escape(prompt + colon)}</tspan>{escape(rest)}'
    return escape(line)


def draw(lines):
    """An SVG document."""
    width, height = COLUMNS * WIDTH + 2 * MARGIN, len(lines) * HEIGHT + 2 * MARGIN
    rows = (
        f'<text x="{MARGIN}" y="{MARGIN + HEIGHT * (n + 0.75):g}" xml:space="preserve">'
        f"{spans(line)}</text>"
        for n, line in enumerate(lines)
    )
    return "\n".join((
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img">',
        "<title>A session with caproto at the IPython prompt</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{width:g}" height="{height:g}" rx="8"/>',
        *rows,
        "</svg>\n",
    ))


def main(path):
    from tests.harness.ioc_process import DemoIOC

    with DemoIOC("random_walk") as ioc:
        for name in [name for name in os.environ if name.startswith("EPICS_")]:
            del os.environ[name]
        os.environ.update(ioc.environ)
        Path(path).write_text(draw(play()))


if __name__ == "__main__":
    main(sys.argv[1])
