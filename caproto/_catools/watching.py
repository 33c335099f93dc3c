"""Watching PVs: their updates and disconnections, in the order in which they come."""
from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from .._errors import CaprotoError
from .._protocol.commands import EventAddResponse
from .._protocol.dbr import ChannelType
from .._protocol.timestamp import TimeStamp
from ..sync._stream import Stream
from ..threading._waiting import Deadline
from ..threading.client import PV, Context
from ..threading.client._subscription import Subscription
from .access import facts_of
from .lines import line_of, name_column
from .request_form import printed_type
from .settings import Settings
from .times import Stamps, local_time
from .values import Reading

__all__ = ["watch"]


class _Event(NamedTuple):
    """An update of a PV, or that it was disconnected: then there is no reading."""

    pv: PV
    arrival: TimeStamp
    native: ChannelType = ChannelType.STRING
    room: int = 0
    reading: Reading | None = None


class _Watch:
    """The subscription to a PV, which puts what comes into a stream."""

    def __init__(self, stream: Stream[_Event], settings: Settings) -> None:
        self._stream = stream
        self._settings = settings
        self._subscription: Subscription | None = None

    @property
    def begun(self) -> bool:
        """Whether the PV was ever connected."""
        return self._subscription is not None

    def connection(self, pv: PV, state: str) -> None:
        """Note that *pv* was connected or disconnected."""
        if state == "disconnected":
            self._stream.put(_Event(pv, TimeStamp.now()))
            return
        native, room = facts_of(pv)
        count = min(self._settings.count, room) or None
        wanted = pv.subscribe(
            printed_type(native, self._settings), count, mask=self._settings.mask
        )
        if wanted is self._subscription:
            return  # it goes on by itself
        if self._subscription is not None:  # after a restart of the server the type is another
            self._subscription.clear()
        self._subscription = wanted
        wanted.add_callback(partial(self._update, pv, native, room), strong=True)

    def _update(
        self, pv: PV, native: ChannelType, room: int, response: EventAddResponse
    ) -> None:
        event = _Event(pv, TimeStamp.now(), native, room, Reading.from_response(response))
        self._stream.put(event)


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
    # The lines say what the warnings of the client would say.
    logging.getLogger("caproto").setLevel(logging.ERROR)
    stream = Stream[_Event]()
    stamps = Stamps(settings.timestamps)
    deadline = Deadline(settings.patience)
    watches = {name: _Watch(stream, settings) for name in names}

    def connection(pv: PV, state: str) -> None:
        watches[pv.name].connection(pv, state)

    # The client searches for the newest names first: this way they are found in their order.
    context.get_pvs(
        *reversed(watches), priority=settings.priority, connection_state_callback=connection
    )
    try:
        waiting = True
        while True:
            event = stream.get(deadline.remaining() if waiting else None)
            if event is not None:
                for place in [place for place, name in enumerate(names) if name == event.pv.name]:
                    try:
                        show(_line(event, place, stamps, settings))
                    except CaprotoError as error:  # what the server sent makes no sense
                        print(f"{event.pv.name}: {error}", file=sys.stderr)
            if waiting and deadline.expired:
                waiting = False
                for name in names:
                    if not watches[name].begun:
                        show(_note(name, "*** Not connected (PV not found)", settings))
    finally:
        stream.end()


def _note(name: str, text: str, settings: Settings) -> str:
    return name_column(name, settings) + settings.separator + text


def _line(event: _Event, place: int, stamps: Stamps, settings: Settings) -> str:
    """Write an event of the PV at a *place* of the command line."""
    if event.reading is None:
        time = local_time(event.arrival)
        return _note(event.pv.name, f"{time}{settings.separator}*** disconnected", settings)

    def stamp(server: TimeStamp) -> str:
        return stamps.text(place, server, event.arrival)

    return line_of(event.pv.name, event.reading, event.native, event.room, settings, stamp)
