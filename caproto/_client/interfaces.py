"""PVs and subscriptions as the circuit that serves them sees them."""
from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from .._errors import MessageError, ReadError
from .._protocol.client_channel import ClientChannel
from .._protocol.commands import (
    ErrorResponse,
    EventAddRequest,
    EventAddResponse,
    ReadNotifyResponse,
)
from .._protocol.dbr import AccessRights
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

    def _rights_news(self, rights: AccessRights) -> Delivery | None:
        """Return what to deliver when the server sends the rights; None without callbacks."""
