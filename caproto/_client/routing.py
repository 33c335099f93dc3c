"""Routes: dispatch what a server sends to PVs, operations and subscriptions.

The tables of one circuit (PVs by cid, operations by ioid, subscriptions by their id), and one
handler per command. Handlers decide, and add what is to be done afterwards to a `FollowUp`.
"""
from __future__ import annotations

import functools
import math
from collections.abc import Callable, Container
from typing import Any

from .._errors import CaprotoError, MessageError
from .._protocol.commands import (
    AccessRightsResponse,
    ClearChannelRequest,
    ClearChannelResponse,
    CreateChanResponse,
    CreateChFailResponse,
    EchoResponse,
    ErrorResponse,
    EventAddResponse,
    Message,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
    ReadSyncResponse,
    ServerDisconnResponse,
    WriteNotifyResponse,
)
from .._protocol.framing import OversizedMessage
from .._protocol.id_ranges import Block, IdRange
from .._typing import NamedTuple
from .backoff import Loss
from .deliveries import Deliveries
from .interfaces import PV, ColumnSink, Refusal, Subscription
from .operations import NORMAL, Answer, Operation, too_large

#: Pause after a check for operations past their deadline, in seconds per operation. A check takes
#: 0.1 us for each, so that checks take at most one percent of the time.
EXPIRY_PAUSE = 1e-5


class Unresponsive(NamedTuple):
    """What stops working when a server does not respond."""

    pvs: list[PV]
    operations: dict[int, Operation]
    columns: list[tuple[IdRange, ColumnSink]]


class End(NamedTuple):
    """What was on a circuit that has ended."""

    pvs: list[PV]
    operations: dict[int, Operation]
    loss: Loss
    #: Whether it never was connected.
    connecting: bool
    columns: list[tuple[IdRange, ColumnSink]]


class FollowUp:
    """What is to be done after the commands of one chunk.

    Parameters
    ----------
    out : Deliveries
        Collects what goes to user callbacks.

    Attributes
    ----------
    columns : list of callables
        What takes the replies and updates that belong to columns, in the order of the wire.
    created, lost : list of PV
        Those whose channels the server has created, or dropped.
    failed : dict of int to Operation
        The operations that were lost with the channels.
    requests : list of Message
        What to send to the server.
    deviations : list of MessageError
        How the server deviated from the protocol.
    refused_updates : list of (Subscription, response or error)
        Why subscriptions get no updates.
    refused_requests : list of (PV or None, ErrorResponse)
        Errors that no operation waits for.
    echoes : int
        Number of answers to echo requests.
    responding : list of PV or None
        Those that can be used again, if the server was unresponsive before.
    """

    __slots__ = (
        "columns",
        "created",
        "deviations",
        "echoes",
        "failed",
        "lost",
        "out",
        "refused_requests",
        "refused_updates",
        "requests",
        "responding",
    )

    def __init__(self, out: Deliveries) -> None:
        self.out = out
        self.columns: list[Callable[[], None]] = []
        self.created: list[PV] = []
        self.lost: list[PV] = []
        self.failed: dict[int, Operation] = {}
        self.requests: list[Message] = []
        self.deviations: list[MessageError] = []
        self.refused_updates: list[tuple[Subscription, Refusal]] = []
        self.refused_requests: list[tuple[PV | None, ErrorResponse]] = []
        self.echoes = 0
        self.responding: list[PV] | None = None


class Routes:
    """The routing tables of one circuit.

    Attributes
    ----------
    pvs : dict of int to PV
        By cid.
    cleared : dict of int to PV
        By cid, from CLEAR_CHANNEL to its confirmation: errors of earlier writes may still come.
    operations : dict of int to Operation
        By ioid.
    sinks : dict of IdRange to ColumnSink
        What takes the replies and updates of ranges of ids.
    subscriptions : dict of int to Subscription
        By the id on the wire.
    """

    __slots__ = ("cleared", "operations", "pvs", "sinks", "subscriptions")

    def __init__(self) -> None:
        self.pvs: dict[int, PV] = {}
        self.cleared: dict[int, PV] = {}
        self.operations: dict[int, Operation] = {}
        self.sinks: dict[IdRange, ColumnSink] = {}
        self.subscriptions: dict[int, Subscription] = {}

    def clear_channel(self, pv: PV, cid: int) -> None:
        """Note that the channel of *pv* is being cleared."""
        self.cleared[cid] = self.pvs.pop(cid)
        self.drop_subscriptions(pv)

    def drop_subscriptions(self, pv: PV) -> None:
        """Forget the subscriptions of a channel that is gone; none has to be cancelled."""
        for sub in pv.subscriptions:
            if sub.event_id is not None:
                self.subscriptions.pop(sub.event_id, None)
                sub._stopped()

    def take_orphans(self, pending: Container[int]) -> dict[int, Operation]:
        """Remove and return the operations that are not pending: their channel is gone."""
        numbers = [number for number in self.operations if number not in pending]
        return {number: self.operations.pop(number) for number in numbers}

    def take_expired(self, now: float) -> tuple[dict[int, Operation], float]:
        """Remove and return the operations past their deadline, and when to check again."""
        expired: dict[int, Operation] = {}
        again_at = math.inf
        soonest = now + EXPIRY_PAUSE * len(self.operations)
        for number, operation in self.operations.items():
            if not operation.expires:
                continue
            if operation.deadline.moment <= now:
                expired[number] = operation
            else:
                # Not one by one: that would take quadratic time for many of them.
                again_at = min(again_at, max(operation.deadline.moment, soonest))
        for number in expired:
            del self.operations[number]
        return expired, again_at

    def take_all(self) -> tuple[list[PV], dict[int, Operation]]:
        """Remove and return all PVs and operations: the circuit is gone."""
        for sub in self.subscriptions.values():
            sub._stopped()
        self.subscriptions.clear()
        self.cleared.clear()
        pvs, self.pvs = list(self.pvs.values()), {}
        operations, self.operations = self.operations, {}
        return pvs, operations

    @staticmethod
    def _refuse(sub: Subscription, reason: Refusal, then: FollowUp) -> None:
        """Note that a subscription gets no updates, to be reported once."""
        if not sub.refused:
            sub.refused = True
            then.refused_updates.append((sub, reason))

    def reject(self, command: Message, error: MessageError, then: FollowUp) -> None:
        """Fail the operation that an unusable *command* would have answered."""
        number = command.fields[5]
        if isinstance(command, CreateChanResponse):
            self._on_channel_lost(command, then)
        elif type(command) in REPLIES or isinstance(command, EventAddResponse):
            operation = self.operations.pop(number, None)
            if operation is not None:
                operation.failed(error, then.out)
            elif number in self.subscriptions:
                self._refuse(self.subscriptions[number], error, then)
            else:
                self._into_column(number, error, then)

    def _into_column(self, number: int, answer: Message | CaprotoError, then: FollowUp) -> bool:
        """Have a column take one message for an id in a range; False if there is none."""
        for one, sink in self.sinks.items():
            if one.holds(number):
                if one.subscribes and type(answer) in _NO_UPDATES:
                    return False
                one.answered(number)
                take = functools.partial(sink.take_one, one, number - one.first, answer)
                then.columns.append(take)
                return True
        return False

    # ---- one handler per command

    def _on_update(self, command: EventAddResponse | ReadNotifyResponse, then: FollowUp) -> None:
        number = command.fields[5]
        sub = self.subscriptions.get(number)
        if sub is None:  # cancelled meanwhile; or a server that answers reads with updates
            operation = self.operations.pop(number, None)
            if operation is not None:
                operation.answered(command, then.out)
            else:
                self._into_column(number, command, then)
            return
        if command.fields[4] == NORMAL:
            if sub.refused:
                sub.refused = False
            then.out.append((sub._updates, command))
        else:
            self._refuse(sub, command, then)

    def _on_reply(self, command: Answer, then: FollowUp) -> None:
        operation = self.operations.pop(command.fields[5], None)
        if operation is not None:
            operation.answered(command, then.out)
        elif isinstance(command, ReadNotifyResponse):
            self._on_update(command, then)  # the refresh after an unresponsive phase
        else:
            self._into_column(command.fields[5], command, then)

    def _on_block(self, block: Block, then: FollowUp) -> None:
        sink = self.sinks.get(block.range)
        if sink is not None and len(block):
            then.columns.append(functools.partial(sink.take, block))

    def _on_oversized(self, command: OversizedMessage, then: FollowUp) -> None:
        failed, size, _, _, _, number = command.fields
        operation = self.operations.pop(number, None) if failed in _ANSWERED else None
        if operation is not None:
            operation.failed(too_large(size, command.limit), then.out)
        elif number in self.subscriptions:
            self._refuse(self.subscriptions[number], too_large(size, command.limit), then)
        else:
            self._into_column(number, too_large(size, command.limit), then)

    def _on_access_rights(self, command: AccessRightsResponse, then: FollowUp) -> None:
        pv = self.pvs.get(command.fields[4])
        channel = pv.channel if pv is not None else None
        # Those that come before the channel is open are announced with the connection.
        if pv is not None and channel is not None and channel.connected:
            for news in pv._rights_news(command.access_rights):
                then.out.append(news)

    def _on_created(self, command: CreateChanResponse, then: FollowUp) -> None:
        pv = self.pvs.get(command.fields[4])
        if pv is None:  # removed before the server had created the channel
            then.requests.append(ClearChannelRequest(command.sid, command.cid))
        else:
            then.created.append(pv)

    def _on_cleared(self, command: ClearChannelResponse, then: FollowUp) -> None:
        self.cleared.pop(command.cid, None)

    def _on_channel_lost(
        self,
        command: CreateChanResponse | CreateChFailResponse | ServerDisconnResponse,
        then: FollowUp,
    ) -> None:
        pv = self.pvs.pop(command.cid, None)
        if pv is not None:
            self.drop_subscriptions(pv)
            then.lost.append(pv)

    def _on_echo(self, command: EchoResponse | ReadSyncResponse, then: FollowUp) -> None:
        then.echoes += 1

    def _on_error(self, command: ErrorResponse, then: FollowUp) -> None:
        failed, _, _, _, _, number = command.original_fields
        operation = self.operations.pop(number, None) if failed in _ANSWERED else None
        if operation is not None:
            operation.answered(command, then.out)
        elif failed == EventAddResponse.ID and number in self.subscriptions:
            self._refuse(self.subscriptions[number], command, then)
        elif failed not in _IN_COLUMNS or not self._into_column(number, command, then):
            pv = self.pvs.get(command.cid) or self.cleared.get(command.cid)
            then.refused_requests.append((pv, command))


#: Requests that are answered under their ioid.
_ANSWERED = frozenset({ReadRequest.ID, ReadNotifyRequest.ID, WriteNotifyResponse.ID})

#: Replies that say nothing about a subscription.
_NO_UPDATES = frozenset({ReadResponse, WriteNotifyResponse})
#: Requests whose answers can belong to columns.
_IN_COLUMNS = frozenset({EventAddResponse.ID, ReadNotifyRequest.ID, WriteNotifyResponse.ID})

#: What answers an operation under its ioid.
REPLIES = frozenset({ReadNotifyResponse, ReadResponse, WriteNotifyResponse})

HANDLERS: dict[type[Message], Callable[[Routes, Any, FollowUp], None]] = {
    Block: Routes._on_block,
    EventAddResponse: Routes._on_update,
    ReadNotifyResponse: Routes._on_reply,
    ReadResponse: Routes._on_reply,
    WriteNotifyResponse: Routes._on_reply,
    AccessRightsResponse: Routes._on_access_rights,
    CreateChanResponse: Routes._on_created,
    ClearChannelResponse: Routes._on_cleared,
    CreateChFailResponse: Routes._on_channel_lost,
    ServerDisconnResponse: Routes._on_channel_lost,
    EchoResponse: Routes._on_echo,
    ReadSyncResponse: Routes._on_echo,
    ErrorResponse: Routes._on_error,
    OversizedMessage: Routes._on_oversized,
}
