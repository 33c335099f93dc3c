"""Bytes to commands: streams cut anywhere, and datagrams.

:func:`split` is the loop through which every received message goes; it is written for speed and
reads like the specification. :class:`Framer` keeps what a stream has not finished yet and lends the
caller the memory to receive into. Small messages are cut out of one read buffer that is used again,
so that a command owns its few bytes and a user who keeps one does not keep 64 KiB alive. A message
that is larger than the read buffer is received into memory of its own and never copied again; but
first the circuit decides from its header how large the payload may be.

Nothing here depends on what a command means, or when it is allowed. A Framer belongs to the one
thread that reads its stream.

The invariants: any bytes give commands or :class:`RemoteProtocolError`, nothing else; any way of
cutting a stream gives the same commands; no payload takes memory that is larger than it may be, and
beyond :data:`AT_ONCE` memory grows with what has arrived, not with what a header announces.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from mmap import mmap
from struct import Struct

from .._addresses import Address
from .._errors import RemoteProtocolError
from .._numbers import counted
from .commands import CIRCUIT_COMMANDS, DATAGRAM_COMMANDS
from .headers import EXTENSION, HEADER, MARKER, Fields, unpack_header
from .message import Message, Payload
from .roles import Role

#: Makes a command of header fields, payload and sender.
Constructor = Callable[[Fields, Payload, Address | None], Message]
Constructors = Mapping[int, Constructor]
#: Takes bytes apart, see :func:`split`.
Splitter = Callable[
    [bytes, Constructors, Constructors, "Address | None", list[Message], int], tuple[int, int]
]

#: Size of the read buffer in bytes; larger ones are slower (more cache misses), not faster.
READ_SIZE = 65536
#: Payloads up to this size (bytes) get all their memory at once, which is used again for the next
#: one. Larger ones get pages that the system provides as they are written: a header that announces
#: 4 GB and no more takes no memory.
AT_ONCE = 15 << 20
#: No limit for the size of a payload but the one of the header field.
UNLIMITED = 0xFFFFFFFF


class OversizedMessage(Message):
    """Stands for a message whose payload was skipped because it is above the limit.

    ``fields`` are those of the message; ``payload`` is empty.

    Attributes
    ----------
    limit : int
        How many bytes the payload might have had.
    """

    __slots__ = ("limit",)

    limit: int

    @classmethod
    def skipped(cls, fields: Fields, sender: Address | None, limit: int) -> OversizedMessage:
        """Make one for a message of *fields*, of which only *limit* bytes would be taken."""
        self = cls.from_wire(fields, b"", sender)
        self.limit = limit
        return self

    def __repr__(self) -> str:
        return f"OversizedMessage.from_wire({self.fields}, b'')"


def _constructors(commands: dict[int, type[Message]]) -> dict[int, Constructor]:
    return {number: cls.from_wire for number, cls in commands.items()}


#: Role of the sender -> command number -> how to make the command.
CIRCUIT_CONSTRUCTORS: dict[Role, Constructors] = {
    role: _constructors(commands) for role, commands in CIRCUIT_COMMANDS.items()
}
DATAGRAM_CONSTRUCTORS: dict[Role, Constructors] = {
    role: _constructors(commands) for role, commands in DATAGRAM_COMMANDS.items()
}


def split(
    data: bytes,
    constructors: Constructors,
    empty_constructors: Constructors,
    sender: Address | None,
    out: list[Message],
    limit: int = UNLIMITED,
) -> tuple[int, int]:
    """Append the complete messages in *data* to *out*.

    Parameters
    ----------
    data : bytes
        Begins with a header.
    constructors, empty_constructors : mapping of int to callable
        How to make a command of each number, with and without a payload.
    sender : tuple of (str, int) or None
        Becomes the ``sender_address`` of each command.
    out : list
        What was complete before an error is in it even if an error is raised.
    limit : int
        Payloads of more bytes than this are skipped.

    Returns
    -------
    start : int
        Where the first incomplete message begins. Beyond the end of *data* if bytes that have not
        arrived yet belong to a message that is skipped.
    needed : int
        How many bytes from there on are needed to go on: a header or a whole message.

    Raises
    ------
    RemoteProtocolError
        For an unknown command number, or a payload size that is not a multiple of 8.
    """
    unpack, append = HEADER.unpack_from, out.append
    start, total = 0, len(data)
    last_command = last_size = -1
    try:
        while start + 16 <= total:
            fields = command, size, data_type, count, parameter1, parameter2 = unpack(data, start)
            body = start + 16
            if size == MARKER:
                body += 8
                if body > total:
                    return start, 24
                size, count = EXTENSION.unpack_from(data, start + 16)
                fields = command, size, data_type, count, parameter1, parameter2
            constructor = constructors[command] if size else empty_constructors[command]
            end = body + size
            if size & 7 or size > limit:
                if size & 7:
                    raise RemoteProtocolError(
                        f"a payload size of {size} bytes (command {command}) "
                        "is not a multiple of 8"
                    )
                append(OversizedMessage.skipped(fields, sender, limit))
            elif end > total:
                return start, end - start
            else:
                append(constructor(fields, data[body:end], sender))
                if size == last_size < MARKER:
                    if not size:
                        end = _split_headers(data, end, empty_constructors, sender, append)
                    elif command == last_command:
                        end = _split_alike(data, end, command, size, constructor, sender, append)
            start, last_command, last_size = end, command, size
    except KeyError:
        raise RemoteProtocolError(f"unknown command number {command}") from None
    return start, 16


def _split_alike(
    data: bytes,
    start: int,
    command: int,
    size: int,
    constructor: Constructor,
    sender: Address | None,
    append: Callable[[Message], None],
) -> int:
    """Append the messages that are like the one before *start*; return where they end.

    Streams of updates are mostly runs of one command and one size. Unpacking such a run with an
    iterator takes 480 ns a message where the loop above takes 650.
    """
    whole = HEADER.size + size
    last = start + (len(data) - start) // whole * whole
    for fields in Struct(f"{HEADER.format}{size}x").iter_unpack(memoryview(data)[start:last]):
        if fields[0] != command or fields[1] != size:
            break
        end = start + whole
        append(constructor(fields, data[start + 16:end], sender))
        start = end
    return start


def _split_headers(
    data: bytes,
    start: int,
    constructors: Constructors,
    sender: Address | None,
    append: Callable[[Message], None],
) -> int:
    """Append the messages without payload that begin at *start*; return where they end.

    The server sends them when a client creates many channels: ACCESS_RIGHTS and CREATE_CHAN
    alternate.
    """
    last = start + (len(data) - start) // HEADER.size * HEADER.size
    for fields in HEADER.iter_unpack(memoryview(data)[start:last]):
        constructor = constructors.get(fields[0])
        if fields[1] or constructor is None:
            break
        append(constructor(fields, b"", sender))
        start += HEADER.size
    return start


class Framer:
    """Cuts a stream into commands.

    The methods are those of ``asyncio.BufferedProtocol``: receive into :meth:`get_buffer`, then
    report with :meth:`buffer_updated` how many bytes came.

    Parameters
    ----------
    constructors : mapping of int to callable
        How to make a command of each number.
    sender : tuple of (str, int), optional
        The peer.
    empty_constructors : mapping of int to callable, optional
        How to make a command without payload, where that differs from *constructors*.
    max_payload : int, optional
        Larger payloads (bytes) are skipped as they come and replaced by an
        :class:`OversizedMessage`.
    payload_limit : callable, optional
        ``payload_limit(fields)``: how many bytes of payload a message with this header can rightly
        have. Asked before memory is taken for a message that does not fit the read buffer.

    Attributes
    ----------
    error : RemoteProtocolError or None
        What ended the conversation. The commands before the offending bytes are returned as
        usual; the next call of any method raises this.
    split : callable
        How to take apart what has arrived; :func:`split`, unless it is replaced.
    """

    __slots__ = (
        "error", "max_payload", "split", "_payload_limit",
        "_constructors", "_empty_constructors", "_sender",
        "_buffer", "_view", "_filled", "_needed", "_skip",
        "_fields", "_body", "_received",
    )

    def __init__(
        self,
        constructors: Constructors,
        sender: Address | None = None,
        empty_constructors: Constructors | None = None,
        max_payload: int = UNLIMITED,
        payload_limit: Callable[[Fields], int] = lambda fields: UNLIMITED,
    ) -> None:
        self.error: RemoteProtocolError | None = None
        self.max_payload = max_payload
        self.split: Splitter = split
        self._payload_limit = payload_limit
        self._constructors, self._sender = constructors, sender
        self._empty_constructors = empty_constructors or constructors
        self._buffer = bytearray(READ_SIZE)
        self._view = memoryview(self._buffer)
        self._filled = 0  # bytes in the read buffer
        self._needed = HEADER.size  # nothing is complete before it holds this many
        self._skip = 0  # bytes still to come of a payload that is skipped
        self._fields: Fields | None = None  # of the large message that is being received, and
        self._body: bytearray | mmap = bytearray()  # the memory for its payload, and
        self._received = 0  # how much of that is there

    @property
    def bytes_needed(self) -> int:
        """How many more bytes the next command takes, at least."""
        if self._skip:
            return self._skip + HEADER.size
        if self._fields is not None:
            return self._fields[1] - self._received
        return self._needed - self._filled

    def get_buffer(self, sizehint: int = -1) -> memoryview:
        """Where to receive: writable memory, never empty.

        Parameters
        ----------
        sizehint : int
            Not used; asyncio passes it.

        Raises
        ------
        RemoteProtocolError
            If an earlier byte broke the protocol.
        """
        if self.error is not None:
            raise self.error
        if self._skip:
            return self._view[:self._skip]
        if self._fields is not None:
            return memoryview(self._body)[self._received:]
        return self._view[self._filled:] if self._filled else self._view

    def buffer_updated(self, nbytes: int) -> list[Message]:
        """Return the commands that *nbytes* more bytes in the buffer complete, in order.

        Raises
        ------
        RemoteProtocolError
            If an earlier byte broke the protocol. (Later ones: at the next call.)
        """
        if self.error is not None:
            raise self.error
        if self._skip:
            self._skip -= nbytes
            return []
        if self._fields is not None:
            return self._large_updated(self._fields, nbytes)
        self._filled += nbytes
        # Without this line, a message of 60 KB that trickles in byte by byte would be copied
        # 60,000 times.
        if self._filled < self._needed:
            return []
        commands: list[Message] = []
        data = bytes(self._view[:self._filled])
        try:
            start, self._needed = self.split(
                data, self._constructors, self._empty_constructors, self._sender, commands,
                self.max_payload,
            )
        except RemoteProtocolError as error:
            self.error = error
            return commands
        if start == len(data):  # nearly always
            self._filled = 0
            return commands
        rest = data[start:]
        self._skip = max(0, start - len(data))
        if self._needed > READ_SIZE:
            self._start_large(rest, commands)
        else:
            self._view[:len(rest)] = rest
            self._filled = len(rest)
        return commands

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """Return the commands that *data* completes: the other two methods, and a copy.

        Raises
        ------
        RemoteProtocolError
            If an earlier byte broke the protocol.
        """
        commands: list[Message] = []
        view = memoryview(data).cast("B")
        while len(view):
            buffer = self.get_buffer()
            size = min(len(buffer), len(view))
            buffer[:size] = view[:size]
            view = view[size:]
            commands += self.buffer_updated(size)
            if self.error is not None:
                break
        return commands

    def _start_large(self, rest: bytes, commands: list[Message]) -> None:
        """Begin with a message that does not fit the read buffer; *rest* is what has come of it."""
        fields, length = unpack_header(rest)
        received, size = len(rest) - length, fields[1]
        self._filled, self._needed = 0, HEADER.size
        limit = self._payload_limit(fields)
        try:
            body = _memory(size) if size <= limit else None
        except (OSError, MemoryError, OverflowError):  # the system has not enough
            body, limit = None, READ_SIZE
        if body is None:
            commands.append(OversizedMessage.skipped(fields, self._sender, limit))
            self._skip = size - received
            return
        body[:received] = rest[length:]
        self._fields, self._body, self._received = fields, body, received

    def _large_updated(self, fields: Fields, nbytes: int) -> list[Message]:
        self._received += nbytes
        if self._received < fields[1]:
            return []
        payload = memoryview(self._body).toreadonly()
        self._fields, self._body = None, bytearray()
        return [self._constructors[fields[0]](fields, payload, self._sender)]


def _memory(size: int) -> bytearray | mmap:
    """Take *size* bytes of memory; large ones take none before they are written."""
    return bytearray(size) if size <= AT_ONCE else mmap(-1, size)


def read_datagram(
    data: bytes, sender: Address | None, speaker: Role
) -> tuple[list[Message], RemoteProtocolError | None]:
    """Split a datagram into commands.

    Parameters
    ----------
    data : bytes
    sender : tuple of (str, int) or None
    speaker : Role
        The role of its sender.

    Returns
    -------
    commands : list of Message
        What is complete and legal before the first fault.
    error : RemoteProtocolError or None
        Why the rest, if any, was dropped.
    """
    constructors = DATAGRAM_CONSTRUCTORS[speaker]
    commands: list[Message] = []
    try:
        start, needed = split(data, constructors, constructors, sender, commands)
    except RemoteProtocolError as error:
        return commands, error
    if start != len(data):
        return commands, RemoteProtocolError(
            f"the datagram ends {counted(needed - len(data) + start, 'byte')} too early"
        )
    return commands, None
