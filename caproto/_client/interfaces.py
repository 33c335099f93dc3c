"""PVs and subscriptions as the circuit that serves them sees them."""
from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from .._addresses import Address
from .._errors import CaprotoError, MessageError, ReadError
from .._protocol.client_channel import ClientChannel
from .._protocol.commands import (
    ErrorResponse,
    EventAddRequest,
    EventAddResponse,
    ReadNotifyResponse,
)
from .._protocol.dbr import AccessRights
from .._protocol.id_ranges import Block, IdRange
from .._protocol.message import Message
from .deliveries import Delivery, Target

#: What brings a value to a subscription; the answer to a read refreshes it after a pause.
Update: TypeAlias = EventAddResponse | ReadNotifyResponse
#: Why a subscription gets no updates: what the server said, or what is wrong with it.
Refusal: TypeAlias = Update | ErrorResponse | MessageError | ReadError


class Subscription(Protocol):
    """Callbacks that want the updates of a PV.

    Attributes
    ----------
    event_id : int or None
        Its id on the wire, if the server has it.
    refused : bool
        Whether the last message for it was an error, so that it is logged once.
    """

    event_id: int | None
    refused: bool

    @property
    def pv(self) -> PV:
        """What is watched."""

    @property
    def log(self) -> logging.Logger:
        """The logger of the PV."""

    @property
    def wanted(self) -> bool:
        """Whether updates are wanted now."""

    def _request(self, channel: ClientChannel) -> EventAddRequest:
        """Compose the EventAddRequest, for a connected *channel*."""

    def _stopped(self) -> None:
        """Note that the server sends no more updates: the next one begins a new series."""

    @property
    def _updates(self) -> Target:
        """Take the updates, and hand them to the callbacks."""


class PV(Protocol):
    """A process variable; the circuit only reads its attributes."""

    @property
    def name(self) -> str:
        """The name that is searched."""

    @property
    def log(self) -> logging.Logger:
        """Its logger."""

    def _debug(
        self, message: str, *args: object, extra: Mapping[str, object] | None = None
    ) -> None:
        """Log at DEBUG."""

    @property
    def channel(self) -> ClientChannel | None:
        """Its present channel, on whatever circuit; None if there is none."""

    @property
    def subscriptions(self) -> Sequence[Subscription]:
        """All subscriptions, wanted or not."""

    @property
    def _may_idle(self) -> bool:
        """Whether the channel may be cleared: the user asked for it, and nothing needs it."""

    def _rights_news(self, rights: AccessRights) -> Sequence[Delivery]:
        """Return what to deliver when the server sends the rights."""


class ColumnSink(Protocol):
    """What takes the replies or updates of a range; in the order of the wire, without a lock.

    Attributes
    ----------
    abandoned : bool
        Whether its caller does not wait any more, so that the requests may be forgotten.
    """

    abandoned: bool

    def take(self, block: Block) -> None:
        """Take a run of replies or updates."""

    def take_one(self, requests: IdRange, offset: int, answer: Message | CaprotoError) -> None:
        """Take one message, of whatever status, or the reason why it could not be used."""

    def lost(self, requests: IdRange, offsets: Sequence[int], error: CaprotoError) -> None:
        """Note that requests were lost with their channels."""

    def end(self) -> None:
        """Note that its requests were forgotten."""


class ColumnSubscriber(ColumnSink, Protocol):
    """What subscribes to many PVs together.

    Attributes
    ----------
    closed : bool
        Whether it wants no more updates.
    """

    closed: bool

    @property
    def mask(self) -> int:
        """Which kinds of event are wanted."""

    def form(self, row: int) -> tuple[int, int]:
        """Return data type and count of a row."""

    def subscribed(self, row: int) -> bool:
        """Tell whether the server has the subscription of a row."""

    def begin(self, rows: Sequence[int]) -> None:
        """Note that a new series of updates of these rows begins."""


class Carrier(Protocol):
    """A circuit as the PVs on it see it."""

    @property
    def address(self) -> Address:
        """The server."""

    @property
    def begun(self) -> float:
        """When it was made."""

    def serves(self, channel: ClientChannel) -> bool:
        """Tell whether operations on *channel* can be sent now."""

    def describe(self, channel: ClientChannel) -> str:
        """Tell the state of *channel*, for people."""

    def describe_last_heard(self, now: float) -> str:
        """Tell how long ago the server was heard, for people."""

    def time_up(self, now: float) -> float:
        """Return the seconds since the connection was made; 0 if it has not been."""


C = TypeVar("C", bound=Carrier)


class CarriedChannel(ClientChannel, Generic[C]):
    """A channel that knows which circuit carries it.

    Attributes
    ----------
    carrier : Carrier
        Set before a PV has the channel.
    """

    __slots__ = ("carrier",)

    carrier: C


class Waiter(Protocol):
    """An object that is called once, when something has happened."""

    def answered(self, response: object) -> None:
        """Note it, quickly; called by any thread, without a lock."""


class TableOfPVs(Protocol):
    """A table that has PVs as rows."""

    @property
    def monitored(self) -> bool:
        """Whether it needs connections."""

    def changed(self, pvs: Sequence[Any]) -> None:
        """Note that these PVs are connected, or not any more; called without a lock."""

    def abandon(self) -> None:
        """Note that all connections belong to another process, and so does its lock."""
