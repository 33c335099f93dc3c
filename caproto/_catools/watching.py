"""Watching PVs as camonitor does: a line for each update and each disconnection."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from .._errors import CaprotoError
from .._protocol.timestamp import TimeStamp
from ..threading._waiting import Deadline
from ..threading.client import Context
from .events import Event, Events
from .lines import line_of, name_column
from .messages import say
from .settings import Settings
from .times import Stamps, local_time

__all__ = ["watch"]


def watch(
    context: Context, names: Sequence[str], settings: Settings, show: Callable[[str], object]
) -> None:
    """Hand lines to *show*, without end; for those PVs that are not found in time, too.

    Parameters
    ----------
    context : Context
    names : sequence of str
        A name that is there twice gets its lines twice.
    settings : Settings
    show : callable
        Called with each line, in this thread.
    """
    events = Events(context, names, settings)
    stamps = Stamps(settings.timestamps)
    deadline = Deadline(settings.patience)
    try:
        waiting = True
        while True:
            event = events.next(deadline.remaining() if waiting else None)
            if event is not None:
                for place in [place for place, name in enumerate(names) if name == event.pv.name]:
                    try:
                        show(_line(event, place, stamps, settings))
                    except CaprotoError as error:  # what the server sent makes no sense
                        say(f"{event.pv.name}: {error}")
            if waiting and deadline.expired:
                waiting = False
                for name in names:
                    if not events.begun(name):
                        show(_note(name, "*** Not connected (PV not found)", settings))
    finally:
        events.end()


def _note(name: str, text: str, settings: Settings) -> str:
    return name_column(name, settings) + settings.separator + text


def _line(event: Event, place: int, stamps: Stamps, settings: Settings) -> str:
    """Write an event of the PV at a *place* of the command line."""
    if event.reading is None:
        time = local_time(event.arrival)
        return _note(event.pv.name, f"{time}{settings.separator}*** disconnected", settings)

    def stamp(server: TimeStamp) -> str:
        return stamps.text(place, server, event.arrival)

    return line_of(event.pv.name, event.reading, event.native, event.room, settings, stamp)
