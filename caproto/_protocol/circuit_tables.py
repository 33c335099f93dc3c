"""CircuitTables: the channels, ids and open requests of one circuit.

Which commands are allowed, and how they change the tables, is decided in ``circuit_rules``.
"""
from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable

from .._addresses import Address
from .._errors import CaprotoRuntimeError, CaprotoValueError
from .._typing import TYPE_CHECKING
from .channel import Channel, drop_subscriptions
from .commands import CreateChFailResponse, EventAddRequest
from .constants import DEFAULT_PROTOCOL_VERSION
from .headers import Fields
from .id_ranges import IdRange
from .message import Message
from .roles import CLIENT, DISCONNECTED, Role, State
from .states import CLOSED_CHANNEL, LOST_CIRCUIT, NEW_CIRCUIT

if TYPE_CHECKING:
    from .id_ranges import Targets

_ID_LIMIT = 0xFFFFFFFF


class CircuitTables:
    """What one circuit knows about itself.

    Parameters and attributes are described in :class:`~caproto.VirtualCircuit`.
    """

    def __init__(
        self,
        our_role: Role,
        address: Address,
        priority: int | None,
        protocol_version: int,
        peer_version: int | None,
    ) -> None:
        self.our_role, self.their_role = our_role, our_role.other
        self.address = address
        self.priority = priority
        self.protocol_version = protocol_version
        self.peer_version = min(
            protocol_version, DEFAULT_PROTOCOL_VERSION if peer_version is None else peer_version
        )
        self.channels: dict[int, Channel] = {}
        self.channels_sid: dict[int, Channel] = {}
        self._next_of_cid: dict[int, deque[Channel]] = {}  # a server's, asked for with a cid in use
        self.pending: dict[int, Message] = {}
        self.subscriptions: dict[int, EventAddRequest] = {}
        #: Many requests of one form each. Replaced whole: the reading thread looks at it.
        self.ranges: tuple[IdRange, ...] = ()
        #: Counts the changes of channels: created, gone, or with other rights.
        self.channel_changes = 0
        # Of each subscription the header of the last right update, because another one like it
        # needs no check; and the channel.
        self._right_updates: dict[int, tuple[Fields, Channel]] = {}
        self._cancelling: dict[int, EventAddRequest] = {}  # cancelled, not yet confirmed
        self._shared: dict[int, int] = {}  # ioid used for several open requests -> replies to come
        self._unclaimed: dict[int, int] = {}  # sid -> cid of channels that were dropped too early
        self._state = NEW_CIRCUIT
        self._next_id = self._next_cid = 1
        self._highest_id = -1  # of all ids of operations and subscriptions so far
        self._unused_below = 0  # from the next id on, once all have been used before

    @property
    def states(self) -> dict[Role, State]:
        """The states of both ends, by role."""
        return dict(self._state.states)

    def disconnect(self) -> State:
        """Note that the connection is gone: channels are CLOSED, the circuit DISCONNECTED.

        Returns
        -------
        DISCONNECTED
            `process_command` takes it, too, and does the same.
        """
        self._state = LOST_CIRCUIT
        self.channel_changes += 1
        for one in self.ranges:
            one.closed = True
        self.ranges = ()
        queued = itertools.chain.from_iterable(self._next_of_cid.values())
        for channel in (*self.channels.values(), *self.channels_sid.values(), *queued):
            channel._state = CLOSED_CHANNEL
            drop_subscriptions(channel)
        for table in (
            self.channels, self.channels_sid, self.pending, self.subscriptions,
            self._right_updates, self._cancelling, self._unclaimed, self._shared,
            self._next_of_cid,
        ):
            table.clear()
        return DISCONNECTED

    # --- ids -----------------------------------------------------------------------------------

    def new_channel_id(self) -> int:
        """Return a cid that no live channel of this circuit has."""
        number = self._next_cid
        while number in self.channels:
            number = (number + 1) & _ID_LIMIT
        self._next_cid = (number + 1) & _ID_LIMIT
        return number

    def new_ioid(self) -> int:
        """Return an id that no live operation or subscription of this circuit has."""
        number = self._next_id
        if self._highest_id < number < _ID_LIMIT:  # never used before
            self._next_id = number + 1
            return number
        while (
            number in self.pending or number in self.subscriptions or number in self._cancelling
            or any(one.first <= number < one.first + one.size for one in self.ranges)
        ):  # fmt: skip
            number = (number + 1) & _ID_LIMIT
        following = (number + 1) & _ID_LIMIT
        if following <= self._next_id:
            self._unused_below = 0  # all ids have been used once more
        self._next_id = following
        return number

    def new_ioids(self, count: int) -> Iterable[int]:
        """Return *count* ids, as :meth:`new_ioid` returns one."""
        first = self._next_id
        if first > self._highest_id and first + count <= _ID_LIMIT:
            self._next_id = first + count
            return range(first, first + count)
        return [self.new_ioid() for _ in range(count)]

    def new_range(
        self,
        command: int,
        data_type: int,
        data_count: int,
        size: int,
        targets: Targets | None = None,
    ) -> IdRange:
        """Return a new range of *size* ids; it counts when it was filled and added."""
        first = self._next_id
        if first + size > _ID_LIMIT or first <= self._highest_id:
            first = self._free_ids(size)
        self._next_id = first + size
        self._note_id(first + size - 1)
        return IdRange(command, data_type, data_count, first, size, targets)

    def add_range(self, one: IdRange) -> None:
        """Note the requests of a range, before they are sent."""
        self.ranges = (*self.ranges, one)

    def _free_ids(self, size: int) -> int:
        """Find *size* ids in a row of which none is in use; once all have been used before."""
        first = self._next_id
        if first + size <= self._unused_below:
            return first
        used = [*self.pending, *self.subscriptions, *self._cancelling, _ID_LIMIT]
        edges = sorted(
            [(number, number + 1) for number in used]
            + [(one.first, one.first + one.size) for one in self.ranges]
        )
        for start in (first, 1):
            free = start
            for begin, end in edges:
                if begin >= free + size:
                    self._unused_below = begin
                    return free
                free = max(free, end)
        raise CaprotoRuntimeError(f"{size} ids in a row are not free on this circuit")

    def close_range(self, one: IdRange) -> None:
        """Forget a range, and the requests in it."""
        one.closed = True
        if one in self.ranges:
            left = list(self.ranges)
            left.remove(one)
            self.ranges = tuple(left)

    def range_request(self, number: int) -> Message | None:
        """Return the live request of a range under this id; None if there is none."""
        for one in self.ranges:
            if one.holds(number):
                return one.request(number)
        return None

    #: Both kinds of ids come from one counter: a read with a subscription's id refreshes it.
    new_subscriptionid = new_ioid

    def _note_id(self, number: int) -> None:
        if number > self._highest_id:
            self._highest_id = number

    # --- channels and requests -----------------------------------------------------------------

    def add_channel(self, channel: Channel) -> None:
        """Register a new channel, which calls this.

        Raises
        ------
        CaprotoValueError
            If a client has another channel with this cid.
        """
        if self.our_role is CLIENT and channel.cid in self.channels:
            raise CaprotoValueError(
                f"cid {channel.cid} is taken by channel {self.channels[channel.cid].name!r}"
            )
        known = self.channels.get(channel.cid)
        if known is not None and CreateChFailResponse in known._state.after:
            # Its creation must be answered first: answers are in the order of the requests.
            self._next_of_cid.setdefault(channel.cid, deque()).append(channel)
        else:
            self.channels[channel.cid] = channel

    def _remove(self, channel: Channel) -> None:
        """Forget a channel, its requests and its subscriptions."""
        self.channel_changes += 1
        self._drop_requests(channel)
        cid, sid = channel.cid, channel.sid
        if cid in self.channels and self.channels[cid] is channel:
            del self.channels[cid]
        if sid in self.channels_sid:
            del self.channels_sid[sid]
            for number in [i for i, r in self._cancelling.items() if r.fields[4] == sid]:
                del self._cancelling[number]

    def _creation_answered(self, cid: int) -> None:
        """Make a server's next answer with this *cid* one about the next such channel."""
        queue = self._next_of_cid.get(cid)
        if queue is not None:
            self.channels[cid] = queue.popleft()
            if not queue:
                del self._next_of_cid[cid]

    def _drop_requests(self, channel: Channel) -> None:
        for number in drop_subscriptions(channel):
            del self.subscriptions[number]
            self._right_updates.pop(number, None)
        sid = channel.sid
        for number in [i for i, request in self.pending.items() if request.fields[4] == sid]:
            del self.pending[number]
            self._shared.pop(number, None)
        if sid is not None:
            for one in self.ranges:
                one.drop(sid)
