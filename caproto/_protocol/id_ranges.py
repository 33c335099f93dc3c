"""IdRange and Block: many requests of one form under ids in a row, and replies as one array.

A range stands in the tables of a circuit for thousands of requests: reads, writes or subscriptions
of one data type and element count. A `Block` is a run of equal replies or updates for one range,
as the columns of a numpy array; ``columns`` finds them in what is received. What is not right in
every respect comes as a message of its own and is checked by the rules of the circuit, against the
request that the range stands for.

numpy is imported by those who make a range, not by those who ask whether there are any.
"""
from __future__ import annotations

from collections.abc import Iterator

from .._typing import TYPE_CHECKING
from .commands import (
    EventAddRequest,
    EventAddResponse,
    Message,
    ReadNotifyRequest,
    ReadNotifyResponse,
    WriteNotifyRequest,
    WriteNotifyResponse,
)
from .headers import HEADER
from .roles import Direction

if TYPE_CHECKING:
    from typing import ClassVar

    import numpy
    from numpy.typing import NDArray

    #: Positions within a range: those in a row may be a slice.
    Offsets = NDArray[numpy.intp] | slice
    #: Whole messages, as bytes; see ``columns.record_type`` for what is in them.
    Records = NDArray[numpy.void]
    #: What requests are for: the server's ids of the channels, and their rows.
    Targets = tuple[NDArray[numpy.uint32], NDArray[numpy.intp]]

#: Requests that a range can hold, and the replies that may come as blocks. A subscription may be
#: read under its id, to refresh it.
_REQUESTS: dict[int, type[Message]] = {
    cls.ID: cls for cls in (EventAddRequest, ReadNotifyRequest, WriteNotifyRequest)
}
_REPLIES: dict[int, tuple[int, ...]] = {
    EventAddRequest.ID: (EventAddResponse.ID, ReadNotifyResponse.ID),
    ReadNotifyRequest.ID: (ReadNotifyResponse.ID,),
    WriteNotifyRequest.ID: (WriteNotifyResponse.ID,),
}
_RESPONSES: dict[int, type[Message]] = {
    cls.ID: cls for cls in (EventAddResponse, ReadNotifyResponse, WriteNotifyResponse)
}


class IdRange:
    """Requests of one form under ids in a row.

    Parameters
    ----------
    command : int
        The number of the request: EVENT_ADD, READ_NOTIFY or WRITE_NOTIFY.
    data_type, data_count : int
        What is asked for, or written.
    first : int
        The first id.
    size : int
        How many ids there are.
    targets : tuple of numpy.ndarray, optional
        Sids and rows, if all ids are given to requests now; else see `fill`.

    Attributes
    ----------
    sids : numpy.ndarray of uint32
        The server's id of the channel, for each id.
    rows : numpy.ndarray of intp
        What each id stands for, as its owner knows it.
    used : int
        How many of the ids have been given to requests so far.
    live : numpy.ndarray of bool
        Whether the request under this id awaits a reply, or is a live subscription.
    replies : tuple of int
        The numbers of the commands that answer.
    open : int
        How many are live; to count them takes longer.
    closed : bool
        Whether its circuit has forgotten it.
    foreseen : bytes
        The replies that will come if all goes well; see ``columns.foresee``. Empty if not known.
    seen : int
        How many bytes of them have come.
    lost : list of int
        Positions of requests whose channel is gone; `take_lost` empties it.
    """

    __slots__ = (
        "_by_sid",
        "closed",
        "command",
        "data_count",
        "data_type",
        "first",
        "foreseen",
        "live",
        "lost",
        "open",
        "replies",
        "rows",
        "seen",
        "sids",
        "size",
        "used",
    )

    def __init__(
        self,
        command: int,
        data_type: int,
        data_count: int,
        first: int,
        size: int,
        targets: Targets | None = None,
    ) -> None:
        import numpy

        self.command = command
        self.data_type = data_type
        self.data_count = data_count
        self.first = first
        self.size = size
        self.sids: NDArray[numpy.uint32]
        self.rows: NDArray[numpy.intp]
        self.live: NDArray[numpy.bool_] = numpy.zeros(size, numpy.bool_)
        self.used = self.open = 0
        if targets is None:
            self.sids = numpy.zeros(size, numpy.uint32)
            self.rows = numpy.zeros(size, numpy.intp)
        else:  # no copies
            self.sids, self.rows = targets
            self.live.fill(True)
            self.used = self.open = size
        self.replies = _REPLIES[command]
        self.closed = False
        self.foreseen = b""
        self.seen = 0
        self.lost: list[int] = []
        self._by_sid: dict[int, int] | None = None

    @property
    def subscribes(self) -> bool:
        """Whether these are subscriptions, which are answered many times."""
        return self.command == EventAddRequest.ID

    def fill(self, sids: NDArray[numpy.uint32], rows: NDArray[numpy.intp]) -> int:
        """Note requests for channels with these *sids*; return the id of the first one."""
        start = self.used
        self.used = stop = start + len(sids)
        self.sids[start:stop] = sids
        self.rows[start:stop] = rows
        self.live[start:stop] = True
        self.open += stop - start
        self._by_sid = None
        return self.first + start

    def holds(self, number: int) -> bool:
        """Tell whether the request under this id is live."""
        offset = number - self.first
        return 0 <= offset < self.size and bool(self.live[offset])

    def request(self, number: int) -> Message:
        """Make the request under this id as a command, without what it writes."""
        cls, sid = _REQUESTS[self.command], int(self.sids[number - self.first])
        fields = (cls.ID, 0, self.data_type, self.data_count, sid, number)
        return cls.from_wire(fields, b"")

    def answered(self, number: int) -> None:
        """Note that the request under this id was answered, unless it is a subscription."""
        if not self.subscribes:
            self._end(number - self.first)

    def drop(self, sid: int) -> None:
        """Note that a channel is gone, and its requests with it."""
        if self._by_sid is None:
            live = self.live.nonzero()[0]
            self._by_sid = dict(
                zip(self.sids[live].tolist(), live.tolist(), strict=True)
            )
        offset = self._by_sid.pop(sid, None)
        if offset is not None and self._end(offset):
            self.lost.append(offset)

    def _end(self, offset: int) -> bool:
        """Note that a request is not live any more; False if it was not."""
        live = bool(self.live[offset])
        self.live[offset] = False
        self.open -= live
        return live

    def take_lost(self) -> list[int]:
        """Return the positions of requests that were lost with their channels, each once."""
        lost, self.lost = self.lost, []
        return lost


class Block(Message):
    """A run of right replies or updates for one range.

    ``fields`` are those of the first message, with a payload of no bytes.

    Attributes
    ----------
    range : IdRange
    records : numpy.ndarray
        The messages, as bytes. Confirmations, which hold nothing that is not known, may be set as
        one piece, of which an array is made if it is asked for.
    offsets : numpy.ndarray of intp, or slice
        The positions of their ids in the range.
    """

    __slots__ = ("_records", "offsets", "range")
    DIRECTION: ClassVar[Direction] = Direction.RESPONSE

    range: IdRange
    offsets: Offsets
    _records: Records | bytes

    @property
    def records(self) -> Records:
        if isinstance(self._records, bytes):
            import numpy

            self._records = numpy.frombuffer(self._records, f"V{HEADER.size}", len(self))
        return self._records

    @records.setter
    def records(self, records: Records | bytes) -> None:
        self._records = records

    def __len__(self) -> int:
        offsets = self.offsets
        return offsets.stop - offsets.start if isinstance(offsets, slice) else len(offsets)

    @property
    def command(self) -> int:
        """The number of the command."""
        return self.fields[0]

    def settle(self) -> None:
        """Keep what answers a live request, once; note that these were answered."""
        whole = self.range
        if whole.closed:
            self.records, self.offsets = self.records[:0], slice(0, 0)
            return
        if whole.open < whole.used:
            known = whole.live[self.offsets]
            if 0 in known.tobytes():  # a quarter of the time of numpy's functions
                self._keep(known)
        if whole.subscribes:
            return
        if not isinstance(self.offsets, slice):
            whole.live[self.offsets] = False
            self._settle_once(self.offsets)
            return
        whole.open -= len(self)
        if whole.open:
            whole.live[self.offsets] = False
        else:
            whole.live.fill(False)

    def _settle_once(self, offsets: NDArray[numpy.intp]) -> None:
        """Count what was answered, and drop what was answered twice."""
        import numpy

        before, self.range.open = self.range.open, int(numpy.count_nonzero(self.range.live))
        if before - self.range.open != len(offsets):
            once = numpy.zeros(len(offsets), numpy.bool_)
            once[numpy.unique(offsets, return_index=True)[1]] = True
            self._keep(once)

    def _keep(self, mask: NDArray[numpy.bool_]) -> None:
        self.records, self.offsets = self.records[mask], self._positions()[mask]

    def _positions(self) -> NDArray[numpy.intp]:
        """Return the offsets as an array."""
        import numpy

        if isinstance(self.offsets, slice):
            return numpy.arange(self.offsets.start, self.offsets.stop)
        return self.offsets

    def messages(self) -> Iterator[Message]:
        """Make the messages one by one, for the log."""
        command, size, data_type, count, status, _ = self.fields
        make = _RESPONSES[command].from_wire
        ids = (self._positions() + self.range.first).tolist()
        for number, record in zip(ids, self.records, strict=True):
            fields = command, size, data_type, count, status, number
            yield make(fields, record.tobytes()[HEADER.size :], self.sender_address)
