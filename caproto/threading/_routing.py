"""Routes: whose business is each command that comes from a server?

The tables of one circuit (PVs by cid, operations by ioid, subscriptions by their id), and one
handler per command. All of it belongs to the lock of the circuit's manager. Handlers decide; what
they cannot do under the lock they note in a `Turn`, which the manager carries out afterwards.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any

from .._commands import (
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
from .._errors import MessageError
from .._framing import OversizedMessage
from ._delivery import Deliveries
from ._operations import NORMAL, Operation, too_large

if TYPE_CHECKING:
    from ._pv import PV
    from ._subscription import Subscription

#: Seconds between two looks for operations whose time is over.
EXPIRY_INTERVAL = 0.5


class Turn:
    """What the commands of one chunk leave to be done after the lock is released.

    Parameters
    ----------
    batch : Deliveries
        Collects what goes to the callback thread.
    """

    __slots__ = (
        "batch", "created", "deviations", "echoes", "failed", "lost", "recovered", "refused",
        "requests",
    )

    def __init__(self, batch: Deliveries) -> None:
        self.batch = batch
        self.created: list[PV] = []
        self.lost: list[PV] = []
        self.failed: dict[int, Operation] = {}  #: operations that were lost with them
        self.requests: list[Message] = []
        self.deviations: list[MessageError] = []  #: of the server from the protocol, to be logged
        #: Failures that no thread waits for: of what, and a command with a status, or an error.
        self.refused: list[tuple[PV | Subscription | None, Any]] = []
        self.echoes = 0
        self.recovered = False  #: whether the server responds again


class Routes:
    """The routing tables of one circuit.

    Attributes
    ----------
    pvs : dict of int to PV
        By cid.
    retired : dict of int to PV
        By cid, from CLEAR_CHANNEL to its confirmation: errors of earlier writes may still come.
    operations : dict of int to Operation
        By ioid.
    subscriptions : dict of int to Subscription
        By the id on the wire.
    """

    __slots__ = ("operations", "pvs", "retired", "subscriptions")

    def __init__(self) -> None:
        self.pvs: dict[int, PV] = {}
        self.retired: dict[int, PV] = {}
        self.operations: dict[int, Operation] = {}
        self.subscriptions: dict[int, Subscription] = {}

    def retire(self, pv: PV, cid: int) -> None:
        """The channel of *pv* is being cleared."""
        self.retired[cid] = self.pvs.pop(cid)
        self.drop_subscriptions(pv)

    def drop_subscriptions(self, pv: PV) -> None:
        """The channel is gone and its subscriptions with it: none is to be cancelled."""
        for sub in pv.subscriptions:
            if sub.event_id is not None:
                self.subscriptions.pop(sub.event_id, None)
                sub.stopped()

    def take_orphans(self, pending: Container[int]) -> dict[int, Operation]:
        """The operations that the protocol does not wait for any more: their channel is gone."""
        numbers = [number for number in self.operations if number not in pending]
        return {number: self.operations.pop(number) for number in numbers}

    def take_expired(self, now: float) -> tuple[dict[int, Operation], float]:
        """Take the operations without a waiting thread that are out of time, and the next look."""
        expired: dict[int, Operation] = {}
        again_at = math.inf
        for number, operation in self.operations.items():
            if not operation.expires:
                continue
            if operation.deadline.moment <= now:
                expired[number] = operation
            else:
                # Not one by one: that would take quadratic time for many of them.
                again_at = min(again_at, max(operation.deadline.moment, now + EXPIRY_INTERVAL))
        for number in expired:
            del self.operations[number]
        return expired, again_at

    def clear(self) -> tuple[list[PV], dict[int, Operation]]:
        """The circuit is gone; the PVs and operations that were on it."""
        for sub in self.subscriptions.values():
            sub.stopped()
        self.subscriptions.clear()
        self.retired.clear()
        pvs, self.pvs = list(self.pvs.values()), {}
        operations, self.operations = self.operations, {}
        return pvs, operations

    @staticmethod
    def _refuse(sub: Subscription, reason: Any, turn: Turn) -> None:
        """No update; to be reported once, not with each of them."""
        if not sub.refused:
            sub.refused = True
            turn.refused.append((sub, reason))

    def reject(self, command: Message, error: MessageError, turn: Turn) -> None:
        """Fail what a *command* that cannot be used would have answered."""
        number = command.fields[5]
        if isinstance(command, CreateChanResponse):
            self._on_channel_lost(command, turn)
        elif type(command) in REPLIES or isinstance(command, EventAddResponse):
            operation = self.operations.pop(number, None)
            if operation is not None:
                operation.failed(error, turn.batch)
            elif number in self.subscriptions:
                self._refuse(self.subscriptions[number], error, turn)

    # ---- one handler per command

    def _on_update(self, command: EventAddResponse | ReadNotifyResponse, turn: Turn) -> None:
        number = command.fields[5]
        sub = self.subscriptions.get(number)
        if sub is None:  # cancelled meanwhile; or some servers answer a read so
            operation = self.operations.pop(number, None)
            if operation is not None:
                operation.answered(command, turn.batch)
            return
        if command.fields[4] == NORMAL:
            if sub.refused:
                sub.refused = False
            turn.batch.append((sub, command))
        else:
            self._refuse(sub, command, turn)

    def _on_reply(self, command: Any, turn: Turn) -> None:
        operation = self.operations.pop(command.fields[5], None)
        if operation is not None:
            operation.answered(command, turn.batch)
        elif isinstance(command, ReadNotifyResponse):
            self._on_update(command, turn)  # the refresh after an unresponsive phase

    def _on_oversized(self, command: OversizedMessage, turn: Turn) -> None:
        failed, size, _, _, _, number = command.fields
        operation = self.operations.pop(number, None) if failed in _ANSWERED else None
        if operation is not None:
            operation.failed(too_large(size, command.limit), turn.batch)
        elif number in self.subscriptions:
            self._refuse(self.subscriptions[number], too_large(size, command.limit), turn)

    def _on_access_rights(self, command: AccessRightsResponse, turn: Turn) -> None:
        pv = self.pvs.get(command.cid)
        if pv is not None and pv._access_callbacks is not None:
            turn.batch.append(pv._note_rights(command.access_rights))

    def _on_created(self, command: CreateChanResponse, turn: Turn) -> None:
        pv = self.pvs.get(command.cid)
        if pv is None:  # given up while the server was at it
            turn.requests.append(ClearChannelRequest(command.sid, command.cid))
        else:
            turn.created.append(pv)

    def _on_cleared(self, command: ClearChannelResponse, turn: Turn) -> None:
        self.retired.pop(command.cid, None)

    def _on_channel_lost(
        self,
        command: CreateChanResponse | CreateChFailResponse | ServerDisconnResponse,
        turn: Turn,
    ) -> None:
        pv = self.pvs.pop(command.cid, None)
        if pv is not None:
            self.drop_subscriptions(pv)
            turn.lost.append(pv)

    def _on_echo(self, command: EchoResponse | ReadSyncResponse, turn: Turn) -> None:
        turn.echoes += 1

    def _on_error(self, command: ErrorResponse, turn: Turn) -> None:
        failed, _, _, _, _, number = command.original_fields
        operation = self.operations.pop(number, None) if failed in _ANSWERED else None
        if operation is not None:
            operation.answered(command, turn.batch)
        elif failed == EventAddResponse.ID and number in self.subscriptions:
            self._refuse(self.subscriptions[number], command, turn)
        else:
            pv = self.pvs.get(command.cid) or self.retired.get(command.cid)
            turn.refused.append((pv, command))


#: Requests that are answered under their ioid.
_ANSWERED = frozenset({ReadRequest.ID, ReadNotifyRequest.ID, WriteNotifyResponse.ID})

#: What answers an operation under its ioid.
REPLIES = frozenset({ReadNotifyResponse, ReadResponse, WriteNotifyResponse})

HANDLERS: dict[type[Message], Callable[[Routes, Any, Turn], None]] = {
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
