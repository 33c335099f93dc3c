"""Columns: runs of equal messages to arrays, and arrays to requests, in a few steps of numpy.

:func:`split_columns` does what ``framing.split`` does, but gives a run of right replies or updates
for one `IdRange` as one `Block`. What is not right in every respect (another type, count or status,
a short payload), what is alone, and what belongs to no range, goes through ``split``.

Importing this module imports numpy.
"""
from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy

from .._addresses import Address
from .commands import EventAddRequest, EventCancelRequest, ReadNotifyRequest, WriteNotifyRequest
from .dbr import LAYOUTS, ChannelType
from .framing import Constructors, split
from .headers import EXTENSION, HEADER, MARKER
from .id_ranges import Block, IdRange
from .message import Message

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .id_ranges import Offsets, Records

    Ids = NDArray[numpy.uint32]

#: Commands that may come in blocks.
_COMMANDS = frozenset({EventAddRequest.ID, ReadNotifyRequest.ID, WriteNotifyRequest.ID})
#: Bytes in eights, which numpy copies faster as numbers.
_NUMBER = numpy.dtype("=u8")
_DOUBLE, _DOUBLE_TYPE = numpy.dtype("=f8"), int(ChannelType.DOUBLE)
_ID = numpy.dtype("=u4")
#: What payloads are given as, where that is not what is sent.
_WIRE = {_DOUBLE: numpy.dtype(">f8")}
#: The status of a success, as it is in memory.
_NORMAL = numpy.frombuffer(b"\0\0\0\1", "=u4")[0]
#: Messages as they are composed here; ``head`` has what is the same in all: the command, the size
#: of the payload, data type and count. It is a number, because numpy copies bytes one by one.
_MESSAGE = (("head", "=u8"), ("parameter1", ">u4"), ("id", ">u4"))
#: What the long header of large requests has in addition.
_LONG_MESSAGE = (*_MESSAGE, ("long_size", ">u4"), ("long_count", ">u4"))


@functools.lru_cache(maxsize=64)
def record_type(size: int, data_type: int = -1, count: int = 0) -> numpy.dtype[Any]:
    """Return the structure of a message.

    Parameters
    ----------
    size : int
        Bytes of its payload.
    data_type, count : int, optional
        What the payload holds; its fields are ``status``, ``severity``, ``seconds``,
        ``nanoseconds`` and ``value``, as far as the type has them.
    """
    fields: dict[str, tuple[Any, int]] = {
        "head": ("=u8", 0), "parameter1": ("=u4", 8), "id": (">u4", 12)
    }  # fmt: skip
    if data_type >= 0:
        layout = LAYOUTS[data_type]
        if layout.family != "native":
            fields |= {"status": (">u2", 16), "severity": (">u2", 18)}
        if layout.family == "time":
            fields |= {"seconds": (">u4", 20), "nanoseconds": (">u4", 24)}
        shape = () if count == 1 else (count,)
        fields["value"] = ((layout.dtype, shape), HEADER.size + layout.value_offset)
    return numpy.dtype(
        {
            "names": list(fields),
            "formats": [kind for kind, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": HEADER.size + size,
        }
    )


def least_size(data_type: int, count: int) -> int:
    """Return how many bytes of payload *count* elements take."""
    layout = LAYOUTS[data_type]
    return layout.value_offset + count * layout.item_size


def split_columns(
    data: bytes,
    constructors: Constructors,
    empty_constructors: Constructors,
    sender: Address | None,
    out: list[Message],
    limit: int,
    ranges: Sequence[IdRange],
) -> tuple[int, int]:
    """Append what is complete in *data* to *out*, as `framing.split` does, with blocks for runs.

    Parameters
    ----------
    data, constructors, empty_constructors, sender, out, limit
        As for `framing.split`.
    ranges : sequence of IdRange
        Whose replies and updates may come as blocks.

    Returns
    -------
    start, needed : int
        As from `framing.split`.

    Raises
    ------
    RemoteProtocolError
        As from `framing.split`.
    """
    if not ranges:
        return split(data, constructors, empty_constructors, sender, out, limit)
    for one in ranges:
        if one.foreseen:
            seen = one.seen
            block = _foreseen_block(data, one, sender)
            if block is not None:
                out.append(block)
                return one.seen - seen, HEADER.size
    unpack, total = HEADER.unpack_from, len(data)
    done = start = 0  # what was appended, and what was looked at
    while start + 16 <= total:
        command, size, data_type, count, _, _ = unpack(data, start)
        body = start + 16
        extended = size == MARKER
        if extended:
            if body + 8 > total:
                break
            size, _ = EXTENSION.unpack_from(data, body)
            body += 8
        end = body + size
        if end > total or size & 7 or size > limit:
            break  # the other function knows what to do
        if (
            command in _COMMANDS
            and data[start : start + 8] == data[end : end + 8]
            and not extended
        ):
            records, ids = _run(data, start, size)
            end = start + max(len(records), 1) * (16 + size)
            fields = (command, size, data_type, count)
            blocks, rest = _sort(records, ids, fields, ranges, sender) if len(ids) else ([], None)
            if blocks:
                if done < start:
                    split(
                        data[done:start], constructors, empty_constructors, sender, out, limit
                    )
                out += blocks
                if rest is not None:
                    split(
                        rest.tobytes(), constructors, empty_constructors, sender, out, limit
                    )
                done = end
        start = end
    tail = data[done:] if done else data
    begun, needed = split(tail, constructors, empty_constructors, sender, out, limit)
    return done + begun, needed


def foresee(one: IdRange) -> None:
    """Compose the replies to writes that come if all goes well; while the server works on them.

    To compare what comes with them takes a tenth of the time of taking it apart.
    """
    if fits_short_header(0, one.data_count):
        normal = numpy.full(one.size, 1, numpy.uint32)
        one.foreseen = requests(one.command, one.data_type, one.data_count, normal, one.first)


def _foreseen_block(data: bytes, one: IdRange, sender: Address | None) -> Block | None:
    """Make a block of *data* if it holds the foreseen replies that come next, and only those."""
    whole = len(data) & -HEADER.size
    if not whole or not one.foreseen.startswith(data[:whole], one.seen):
        one.foreseen = b""  # others have come in between, or in another order
        return None
    start, one.seen = one.seen, one.seen + whole
    offsets = slice(start // HEADER.size, one.seen // HEADER.size)
    fields = (one.command, 0, one.data_type, one.data_count)
    return _block(one, data, offsets, offsets.start, fields, sender)


def _run(data: bytes, start: int, size: int) -> tuple[Records, Ids]:
    """Return the messages from *start* on that differ in nothing but id and payload; and their ids.

    There are none if the status of the first one is not a success.
    """
    kind = record_type(size)
    parts = numpy.frombuffer(data, kind, (len(data) - start) // kind.itemsize, start)
    heads = parts["head"]
    same = heads == heads[0]
    same &= parts["parameter1"] == _NORMAL
    number = _count_first(same)
    # As bytes: a selection of structures would not copy what is between their fields.
    return parts.view(_raw(kind.itemsize))[:number], parts["id"][:number]


def _count_first(flags: NDArray[numpy.bool_]) -> int:
    """Count the True ones before the first False one; of one or more flags.

    With ``all()``, a chunk of replies would take 5 µs more.
    """
    first = int(flags.argmin())
    return len(flags) if flags[first] else first


def _sort(
    records: Records,
    ids: Ids,
    fields: tuple[int, int, int, int],
    ranges: Sequence[IdRange],
    sender: Address | None,
) -> tuple[list[Block], Records | None]:
    """Make blocks of the records that belong to *ranges*; return also those that do not."""
    command, size, data_type, count = fields
    blocks: list[Block] = []
    rest: NDArray[numpy.bool_] | None = None
    for one in ranges:
        if not _fits(one, command, size, data_type, count):
            continue
        offsets = numpy.subtract(ids, one.first, dtype=numpy.intp)
        # As unsigned numbers, those below the range are above it.
        inside = offsets.view(numpy.uintp) < one.used
        if _count_first(inside) == len(inside):
            return [_block(one, records, offsets, int(offsets[0]), fields, sender)], None
        if inside.any():
            own = offsets[inside]
            blocks.append(_block(one, records[inside], own, int(own[0]), fields, sender))
            rest = ~inside if rest is None else rest & ~inside
    if rest is None or not rest.any():
        return blocks, None
    return blocks, records[rest]


def _fits(one: IdRange, command: int, size: int, data_type: int, count: int) -> bool:
    """Tell whether a message is what the requests of a range ask for."""
    if command not in one.replies or data_type != one.data_type or count != one.data_count:
        return False
    return command == WriteNotifyRequest.ID or size >= least_size(data_type, count)


def _block(
    one: IdRange,
    records: Records | bytes,
    offsets: Offsets,
    first: int,
    fields: tuple[int, int, int, int],
    sender: Address | None,
) -> Block:
    block = Block.from_wire((*fields, 1, one.first + first), b"", sender)
    block.range, block.records, block.offsets = one, records, offsets
    return block


# ---- requests


def requests(
    command: int,
    data_type: int,
    data_count: int,
    sids: NDArray[numpy.uint32],
    first: int,
    payloads: NDArray[Any] | None = None,
) -> bytes:
    """Compose requests of one form, with ids in a row.

    Parameters
    ----------
    command, data_type, data_count : int
    sids : numpy.ndarray of uint32
        The server's ids of the channels.
    first : int
        The id of the first request.
    payloads : numpy.ndarray, optional
        As from `payloads_of`; or bytes, for all the same.
    """
    kind = None if payloads is None else payloads.dtype
    return Composer(command, data_type, data_count, sids, kind).compose(first, payloads)


class Composer:
    """Composes requests of one form to the same channels, any number of times.

    Each time only the ids and payloads are written, in the same memory: one thread at a time.

    Parameters
    ----------
    command, data_type, data_count, sids
        As for `requests`.
    kind : numpy.dtype, optional
        The type of the payloads, as from `payloads_of`.
    """

    __slots__ = ("_block", "_ids", "_payloads", "_size")

    def __init__(
        self,
        command: int,
        data_type: int,
        data_count: int,
        sids: NDArray[numpy.uint32],
        kind: numpy.dtype[Any] | None = None,
    ) -> None:
        size = 0 if kind is None else kind.itemsize
        long = not fits_short_header(size, data_count)
        self._block = block = numpy.empty(len(sids), _message_type(long, kind))
        if long:
            block["head"] = _head(command, MARKER, data_type, 0)
            block["long_size"], block["long_count"] = size, data_count
        else:
            block["head"] = _head(command, size, data_type, data_count)
        block["parameter1"] = sids
        self._size = len(sids)
        self._ids = block["id"]
        self._payloads = None if kind is None else block["payload"]

    def compose(self, first: int, payloads: NDArray[Any] | None = None) -> bytes:
        """Return the requests, with ids from *first* on; *payloads* are of the `kind`."""
        if self._payloads is not None:
            self._payloads[:] = payloads
        self._ids[:] = numpy.arange(first, first + self._size, dtype=_ID)
        return self._block.tobytes()


@functools.lru_cache(maxsize=64)
def _head(command: int, size: int, data_type: int, data_count: int) -> int:
    raw = HEADER.pack(command, size, data_type, data_count, 0, 0)[:8]
    return int.from_bytes(raw, sys.byteorder)


def fits_short_header(size: int, data_count: int) -> bool:
    """Tell whether *size* bytes with *data_count* elements need no long header."""
    return size < MARKER and data_count < MARKER


@functools.lru_cache
def _message_type(long: bool, kind: numpy.dtype[Any] | None) -> numpy.dtype[Any]:
    """Return the type of a message with a payload that is given as *kind*."""
    payload = [] if kind is None else [("payload", _WIRE.get(kind, kind))]
    return numpy.dtype([*(_LONG_MESSAGE if long else _MESSAGE), *payload])


def payloads_of(values: NDArray[Any], data_type: int) -> NDArray[Any]:
    """Encode a value, or a row of values, for each request, as bytes in multiples of 8.

    Doubles stay what they are, because `requests` can swap their bytes while it copies them.

    Parameters
    ----------
    values : numpy.ndarray, shape (n,) or (n, count)
    data_type : int
        A plain type.
    """
    if values.dtype == _DOUBLE and data_type == _DOUBLE_TYPE and values.ndim == 1:
        return values
    wire = numpy.ascontiguousarray(values, LAYOUTS[data_type].dtype)
    raw = wire.view(numpy.uint8).reshape(len(wire), -1)
    padding = -raw.shape[1] % 8
    if padding:
        raw = numpy.pad(raw, ((0, 0), (0, padding)))
    return raw.view(_NUMBER if raw.shape[1] == _NUMBER.itemsize else _raw(raw.shape[1]))[:, 0]


@functools.lru_cache
def _raw(size: int) -> numpy.dtype[Any]:
    return numpy.dtype(f"V{size}")


def cancellations(one: IdRange) -> bytes:
    """Compose the requests that end the live subscriptions of a range."""
    return b"".join(
        requests(EventCancelRequest.ID, one.data_type, one.data_count, sids, first)
        for first, sids in _live_parts(one)
    )


def refreshes(one: IdRange) -> bytes:
    """Compose reads of the live subscriptions of a range, under their own ids."""
    return b"".join(
        requests(ReadNotifyRequest.ID, one.data_type, one.data_count, sids, first)
        for first, sids in _live_parts(one)
    )


def _live_parts(one: IdRange) -> Iterator[tuple[int, NDArray[numpy.uint32]]]:
    """Give the first id, and the sids, of each stretch of live requests."""
    edges = numpy.flatnonzero(numpy.diff(one.live, prepend=False, append=False)).tolist()
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield one.first + start, one.sids[start:stop]
