"""Events: updates of PVs, their disconnections and changes of their metadata, in one stream."""
from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from .._client.metadata import Metadata, metadata_from
from .._errors import CaprotoError, DisconnectedError
from .._log import CHANNEL_LOGGER
from .._protocol.commands import EventAddResponse
from .._protocol.dbr import AccessRights, ChannelType, SubscriptionType
from .._protocol.timestamp import TimeStamp
from .._typing import NamedTuple
from ..sync._stream import Stream
from ..threading.client import PV, Context
from ..threading.client._subscription import Subscription
from .access import facts_of
from .request_form import printed_type
from .settings import Settings
from .values import Reading

__all__ = ["Event", "Events"]

#: The client's warning about a subscription that gets no updates.
_REFUSAL = "%r: the server sends no updates: %s"
_NO_ACCESS = "no read access (ECA_NORDACCESS)"


class Event(NamedTuple):
    """An update of a PV, its metadata, a problem, or its disconnection, which has none of them."""

    pv: PV
    arrival: TimeStamp
    native: ChannelType = ChannelType.STRING
    room: int = 0
    reading: Reading | None = None
    metadata: Metadata | None = None
    #: Why there are no updates.
    problem: str = ""


class _Watch:
    """The subscriptions to a PV, which put what comes into a stream."""

    def __init__(
        self,
        stream: Stream[Event],
        settings: Settings,
        type_of: Callable[[ChannelType, Settings], ChannelType],
        with_metadata: bool,
    ) -> None:
        self._stream = stream
        self._type_of = type_of
        self._settings = settings
        self._with_metadata = with_metadata
        self._subscriptions: dict[str, Subscription] = {}
        self._may_read = True
        #: Whether the refusal of updates needs no more words.
        self._is_refused = False
        #: Whether the PV was ever connected.
        self.begun = False

    def connection(self, pv: PV, state: str) -> None:
        """Note that *pv* was connected or disconnected."""
        # They must not go on by themselves: the PV may come back with another type.
        for subscription in self._subscriptions.values():
            subscription.clear()
        self._subscriptions.clear()
        if state == "disconnected":
            self._stream.put(Event(pv, TimeStamp.now()))
            return
        try:
            native, room = facts_of(pv)
        except DisconnectedError:  # again, meanwhile; the next call says so
            return
        if not self.begun:
            pv.log.addFilter(partial(self._note_refusal, pv))
        self.begun = True
        rights = pv.access_rights
        self._may_read = rights is None or AccessRights.READ in rights
        self._is_refused = not self._may_read
        count = min(self._settings.count, room) or None
        data_type = self._type_of(native, self._settings)
        if self._with_metadata:
            self._want(
                "metadata", pv.subscribe("control", 1, mask=SubscriptionType.DBE_PROPERTY),
                partial(self._describe, pv, native, room),
            )
        self._want(
            "value", pv.subscribe(data_type, count, mask=self._settings.mask),
            partial(self._update, pv, native, room),
        )
        if not self._may_read and self._settings.extras is not None:
            self._stream.put(Event(pv, TimeStamp.now(), native, room, problem=_NO_ACCESS))

    def _want(self, kind: str, wanted: Subscription, callback: partial[None]) -> None:
        self._subscriptions[kind] = wanted
        wanted.add_callback(callback, strong=True)

    def _note_refusal(self, pv: PV, record: logging.LogRecord) -> bool:
        """Make an event of the client's warning that there are no updates; a filter of its log."""
        if record.msg != _REFUSAL:
            return True
        if not self._may_read:  # camonitor says nothing of it, and our own events say it already
            return False
        value = self._subscriptions.get("value")
        if self._settings.extras is None or value is None or not value.refused:
            return True
        if not self._is_refused:
            self._is_refused = True
            problem = record.getMessage().removeprefix(f"{pv.name!r}: ")
            self._stream.put(Event(pv, TimeStamp.now(), problem=problem))
        return False

    def _update(
        self, pv: PV, native: ChannelType, room: int, response: EventAddResponse
    ) -> None:
        reading = Reading.from_response(response)
        self._stream.put(Event(pv, TimeStamp.now(), native, room, reading))

    def _describe(
        self, pv: PV, native: ChannelType, room: int, response: EventAddResponse
    ) -> None:
        metadata = metadata_from(response.metadata)
        self._stream.put(Event(pv, TimeStamp.now(), native, room, metadata=metadata))


class Events:
    """What happens to PVs, as it comes.

    Parameters
    ----------
    context : Context
    names : sequence of str
    settings : Settings
    type_of : callable, optional
        Returns the type to subscribe to, from that of the channel. Default: that of the EPICS
        tools.
    with_metadata : bool
        Whether there are events about metadata, too. The first one of a PV comes before its value.
    """

    def __init__(
        self,
        context: Context,
        names: Sequence[str],
        settings: Settings,
        type_of: Callable[[ChannelType, Settings], ChannelType] = printed_type,
        with_metadata: bool = False,
    ) -> None:
        # What is printed says what the warnings of the client would say, except of a channel whose
        # updates are refused, or are larger than EPICS_CA_MAX_ARRAY_BYTES allows.
        logging.getLogger("caproto").setLevel(logging.ERROR)
        logging.getLogger(CHANNEL_LOGGER).setLevel(logging.WARNING)
        self._ended = False
        self._stream = Stream[Event]()
        self._watches = {
            name: _Watch(self._stream, settings, type_of, with_metadata) for name in names
        }
        # The client searches for the newest names first: so they are found in their order.
        context.get_pvs(
            *reversed(self._watches), priority=settings.priority,
            connection_state_callback=self._connection,
        )

    def _connection(self, pv: PV, state: str) -> None:
        try:
            self._watches[pv.name].connection(pv, state)
        except CaprotoError:
            if not self._ended:  # else the Context is perhaps closed already
                raise

    def next(self, timeout: float | None) -> Event | None:
        """Return the next event; None if there is none within *timeout* seconds."""
        return self._stream.get(timeout)

    def begun(self, name: str) -> bool:
        """Tell whether a PV was ever connected."""
        return self._watches[name].begun

    def end(self) -> None:
        """End the stream, which lets go the threads that wait for place in it."""
        self._ended = True
        self._stream.end()
