"""Let ``caproto-monitor --watch`` run for half a minute with demo IOCs, and draw its screen.

``python docs/make_watch_picture.py docs/watch.svg`` renews the picture of the manual; it needs the
extra "tui". Everything in the picture is what the table showed.
"""
from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

NAMES = (
    "alarms:temperature", "alarms:pressure", "alarms:door", "alarms:cable", "alarms:sensor",
    "random_walk:x", "random_walk:dt", "alarms:no_such_pv",
)
#: What is written before: name and value.
SETTINGS = {"alarms:door": "Open", "alarms:cable": "Unplugged", "random_walk:dt": 0.3}
COLUMNS, ROWS, SECONDS = 110, 12, 30
#: The width of a character in the picture.
CHARACTER = 12.2


async def take(context):
    """The screen, as SVG."""
    from caproto._catools.settings import Settings
    from caproto._catools.watch.app import WatchApp
    from caproto._catools.watch.source import Source
    from caproto._catools.watch.table import Table

    source, table = Source(context, Settings("caproto-monitor")), Table()
    table.add(source.add(NAMES))
    app = WatchApp(source, table)
    async with app.run_test(size=(COLUMNS, ROWS)) as pilot:
        await pilot.pause(SECONDS)
        await pilot.press("down")
        await pilot.pause(0.5)
        return app.export_screenshot(title="caproto-monitor --watch")


def portable(picture):
    """The picture for any viewer."""
    # The fonts would come from another host; browsers have some of this kind.
    picture = re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    # Some viewers drop blanks at the beginning of a text.
    return re.sub(
        r' x="([\d.]+)" (y="[\d.]+") textLength="([\d.]+)"([^>]*>)((?:&#160;)+)(?=[^<&])', _shifted,
        picture,
    )


def _shifted(found):
    x, y, length, rest, blanks = found.groups()
    shift = blanks.count("&") * CHARACTER
    return f' x="{float(x) + shift:g}" {y} textLength="{float(length) - shift:g}"{rest}'


def main(path):
    from caproto._environment import ClientConfiguration
    from caproto.threading.client import Context
    from tests.harness.ioc_process import DemoIOC

    with DemoIOC("alarms") as alarms, DemoIOC("random_walk") as walk:
        addresses = f"127.0.0.1:{alarms.port} 127.0.0.1:{walk.port}"
        configuration = ClientConfiguration.from_environment(
            {**alarms.environ, "EPICS_CA_ADDR_LIST": addresses}
        )
        with Context(configuration=configuration) as context:
            context.write(SETTINGS)
            picture = asyncio.run(take(context))
    Path(path).write_text(portable(picture))


if __name__ == "__main__":
    main(sys.argv[1])
