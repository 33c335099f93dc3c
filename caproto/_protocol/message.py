"""What all commands have in common: six numbers and a payload, and views of them made when asked.

A command is made in two ways. The public constructor of its class is for people: it checks every
argument and raises at the call. :meth:`Message.from_wire` is for bytes that have arrived, and for
channels that compose commands in bulk from checked numbers: it only stores them.
Both give the same object.

Nothing here converts values (``payload`` does) or decides whether a command is allowed
(``states``). Commands are immutable by agreement; a response is shared between threads and
callbacks.
"""
from __future__ import annotations

import operator
from collections.abc import Sequence

from .._addresses import Address
from .._errors import CaprotoTypeError, CaprotoValueError, RemoteProtocolError
from .._typing import TYPE_CHECKING
from .channel_facts import UNKNOWN, ChannelFacts
from .constants import MAX_NAME_SIZE, MAX_PRIORITY
from .dbr import CHANNEL_TYPES, LAYOUTS, ChannelType, DbrMetadata
from .headers import Fields, Header, make_header, pack_header
from .payload import (
    data_view,
    elements_of,
    encode,
    metadata_of,
    native_view,
    shortest,
    strings_of,
)
from .presentation import ENDS, evaluable
from .roles import Direction
from .status import CAStatus, status_from_number
from .text import decode_text, encode_text

if TYPE_CHECKING:
    from typing import Any, ClassVar, Protocol, SupportsIndex, TypeVar

    AnyMessage = TypeVar("AnyMessage", bound="Message")

    class HeaderField(Protocol):
        """An attribute that reads one of the six numbers."""

        def __get__(self, instance: Message, owner: type[Message] | None = None) -> int:
            """Return the number."""

Payload = bytes | memoryview


def header_field(index: int, meaning: str) -> HeaderField:
    """Make an attribute that reads one of the six numbers."""
    return property(lambda self: self.fields[index], doc=meaning)


class Message:
    """Base of all commands.

    Attributes
    ----------
    fields : tuple of six int
        ``(command, payload_size, data_type, data_count, parameter1, parameter2)``.
    payload : bytes or memoryview
        Read-only; includes the padding.
    sender_address : tuple of (str, int) or None
        Its sender; None if we made it.
    ID : int
        The command number on the wire.
    DIRECTION : Direction
        ``REQUEST`` (to the server) or ``RESPONSE`` (to the client).
    """

    __slots__ = ("fields", "payload", "sender_address")

    ID: ClassVar[int]
    DIRECTION: ClassVar[Direction]
    _arguments: ClassVar[tuple[str, ...]] = ()

    fields: Fields
    payload: Payload
    sender_address: Address | None

    def __init_subclass__(cls) -> None:
        code = cls.__init__.__code__
        cls._arguments = code.co_varnames[1:code.co_argcount + code.co_kwonlyargcount]
        if cls.__module__.startswith("caproto._"):
            cls.__module__ = "caproto"  # also before it is imported from there

    def __init__(self) -> None:
        self._fill()

    def _fill(
        self,
        data_type: int = 0,
        data_count: int = 0,
        parameter1: int = 0,
        parameter2: int = 0,
        payload: Payload = b"",
    ) -> None:
        self.fields = (
            self.ID, len(payload), data_type, data_count, parameter1, parameter2
        )
        self.payload = payload
        self.sender_address = None

    @classmethod
    def from_wire(
        cls: type[AnyMessage],
        fields: Fields,
        payload: Payload,
        sender_address: Address | None = None,
    ) -> AnyMessage:
        """Make a command of numbers that are known to be right; check nothing.

        Parameters
        ----------
        fields : tuple of six int
        payload : bytes or memoryview
            Read-only, ``fields[1]`` bytes.
        sender_address : tuple of (str, int), optional
        """
        self = _new(cls)
        self.fields = fields
        self.payload = payload
        self.sender_address = sender_address
        return self

    @property
    def header(self) -> Header:
        """A ctypes structure, a new one at each call: changing it does not change the command."""
        return make_header(self.fields)

    @property
    def buffers(self) -> tuple[Payload | DbrMetadata, ...]:
        """The payload as a tuple of objects that have the buffer protocol."""
        return (self.payload,) if len(self.payload) else ()

    @property
    def nbytes(self) -> int:
        """Size on the wire in bytes, header included."""
        return len(pack_header(self.fields)) + self.fields[1]

    def __len__(self) -> int:
        return self.nbytes

    def __bool__(self) -> bool:
        return True

    def __bytes__(self) -> bytes:
        return b"".join((pack_header(self.fields), self.payload))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.fields == other.fields and self.payload == other.payload

    def __hash__(self) -> int:
        return hash((type(self), self.fields))

    def __repr__(self) -> str:
        return self.as_line()

    def as_line(self) -> str:
        """Write it on one line, as Python that evaluates back; for logs."""
        kind = type(self).__name__
        try:
            arguments = ", ".join(f"{name}={self._shown(name)}" for name in self._arguments)
        except RemoteProtocolError as error:  # an invalid message of a peer, in the log
            return f"<{kind} {self.fields}: {error}>"
        return f"{kind}({arguments})"

    def _shown(self, name: str) -> str:
        """Write the constructor's argument *name*."""
        return evaluable(getattr(self, name))

    def __reduce__(self) -> tuple[Any, ...]:
        # The payload may be a view of what was received, which cannot be pickled.
        return _restore, (type(self), self.fields, bytes(self.payload), self.sender_address)


_new = object.__new__


def _restore(
    cls: type[AnyMessage], fields: Fields, payload: Payload, sender_address: Address | None
) -> AnyMessage:
    """Make a copy of a command, from a pickle."""
    return cls.from_wire(fields, payload, sender_address)


class TypedMessage(Message):
    """A command with a DBR type and an element count in its header."""

    __slots__ = ()

    @property
    def data_type(self) -> ChannelType:
        """The DBR type.

        Raises
        ------
        RemoteProtocolError
            If the peer sent a number that is not a DBR type.
        """
        number = self.fields[2]
        if number < len(CHANNEL_TYPES):
            return CHANNEL_TYPES[number]
        raise RemoteProtocolError(f"{number} is not a DBR type")

    data_count = header_field(3, "Number of elements; in some requests 0 means all there are.")


class DataMessage(TypedMessage):
    """A command that carries a DBR value.

    Attributes
    ----------
    channel_facts : ChannelFacts
        What its circuit knew about the channel; absent if no circuit has seen it. See `facts`.
    """

    __slots__ = ("channel_facts",)

    channel_facts: ChannelFacts
    #: A repr shows at most this many elements.
    _most_shown: ClassVar[int] = 1000

    def _fill_data(
        self,
        data: object,
        data_type: SupportsIndex,
        data_count: int | None,
        parameter1: int,
        parameter2: int,
        metadata: object,
    ) -> None:
        number = dbr_type(data_type)
        if data_count is not None:
            u32("data_count", data_count)
        payload, count = encode(data, number, data_count, metadata)
        self._fill(number, count, parameter1, parameter2, payload)

    @property
    def data(self) -> Any:
        """The value: a read-only ``numpy.ndarray`` (or ``array.array``) over the payload.

        In wire byte order and always one-dimensional; strings are ``S40`` elements.

        Raises
        ------
        RemoteProtocolError
            If the payload is shorter than type and count demand.
        """
        _, _, data_type, data_count, _, _ = self.fields
        return data_view(self.payload, data_type, data_count)

    @property
    def facts(self) -> ChannelFacts:
        """What its circuit knew about the channel when it came: type, room, units, states."""
        return getattr(self, "channel_facts", UNKNOWN)

    @property
    def native_data(self) -> Any:
        """The value as an array in the byte order of this machine.

        A new one at each access, which can be changed and given to any library.
        """
        return native_view(self.payload, self.fields[2], self.fields[3])

    @property
    def strings(self) -> list[str]:
        """The value as text: enum states by name where the reply carries the names.

        An array of CHAR is one text. What is not UTF-8 is decoded as Latin-1, and sent as the same
        bytes when it is written.
        """
        return strings_of(self.payload, self.fields[2], self.fields[3], self.facts.is_array)

    @property
    def metadata(self) -> DbrMetadata | None:
        """A copy of what precedes the value: a ``DBR_*`` structure, or None."""
        return metadata_of(self.payload, self.fields[2]) if self._has_metadata() else None

    def _has_metadata(self) -> bool:
        # Empty for plain types, for unknown type numbers, and for zero-length confirmations.
        number = self.fields[2]
        return (
            number < len(LAYOUTS)
            and LAYOUTS[number].struct is not None
            and LAYOUTS[number].value_offset > 0
            and len(self.payload) > 0
        )

    @property
    def buffers(self) -> tuple[Payload | DbrMetadata, ...]:
        """The metadata structure if the type has one, and a view of the rest of the payload."""
        if not self._has_metadata():
            return super().buffers
        metadata = metadata_of(self.payload, self.fields[2])
        return metadata, memoryview(self.payload)[LAYOUTS[self.fields[2]].value_offset:]

    def _shown(self, name: str) -> str:
        return super()._shown(name) if name != "data" else self._shown_data()

    def _shown_data(self) -> str:
        count = self.fields[3]
        if count <= self._most_shown:
            return f"[{self._shown_elements(0, count)}]"
        first, last = self._shown_elements(0, ENDS), self._shown_elements(count - ENDS, count)
        dtype = LAYOUTS[self.fields[2]].dtype
        return f"array([{first}, ..., {last}], shape=({count},), dtype={dtype!r})"

    def _shown_elements(self, start: int, stop: int) -> str:
        elements = self._elements(start, stop)
        if LAYOUTS[self.fields[2]].native is ChannelType.FLOAT:
            elements = [float(shortest(element)) for element in elements]
        return ", ".join(map(evaluable, elements))

    def _elements(self, start: int, stop: int) -> Sequence[Any]:
        """Return some elements as numbers, or bytes for texts."""
        return elements_of(self.payload, self.fields[2], self.fields[3], start, stop)

    def __reduce__(self) -> tuple[Any, ...]:
        facts = getattr(self, "channel_facts", None)
        restore, arguments = super().__reduce__()
        state = None if facts is None else (None, {"channel_facts": facts})
        return restore, arguments, state


_NORMAL = CAStatus.ECA_NORMAL  # what nearly all replies have, found without a call
_NORMAL_NUMBER = int(_NORMAL)


class StatusMixin:
    """For replies with an ECA status as parameter1."""

    __slots__ = ()
    fields: Fields

    @property
    def status(self) -> CAStatus:
        """The ECA status; unknown numbers are kept."""
        number = self.fields[4]
        return _NORMAL if number == _NORMAL_NUMBER else status_from_number(number)


# --- checks of the public constructors ---------------------------------------------------------


def _number(name: str, value: SupportsIndex, limit: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise CaprotoTypeError(
            f"{name} must be an integer, not {value!r} ({type(value).__name__})"
        ) from None
    if not 0 <= number <= limit:
        raise CaprotoValueError(f"{name}={number} is not within 0..{limit}")
    return number


def u16(name: str, value: SupportsIndex) -> int:
    """*value* as a number of 16 bits, or an error that says *name*."""
    if type(value) is int and 0 <= value <= 0xFFFF:
        return value
    return _number(name, value, 0xFFFF)


def u32(name: str, value: SupportsIndex) -> int:
    """*value* as a number of 32 bits, or an error that says *name*."""
    if type(value) is int and 0 <= value <= 0xFFFFFFFF:
        return value
    return _number(name, value, 0xFFFFFFFF)


def priority_number(value: SupportsIndex) -> int:
    """*value* as the priority of a circuit."""
    return _number("priority", value, MAX_PRIORITY)


def dbr_type(value: SupportsIndex) -> int:
    """*value* as a DBR type number, or CaprotoValueError / CaprotoTypeError."""
    number = u16("data_type", value)
    if number >= len(CHANNEL_TYPES):
        raise CaprotoValueError(f"data_type={number}: DBR types are 0..{len(CHANNEL_TYPES) - 1}")
    return number


def eca_status(value: SupportsIndex) -> int:
    """*value* (a CAStatus or what travels for one) as a 32 bit number."""
    return u32("status", value)


def text_payload(name: str, text: str | bytes) -> bytes:
    """Text with its terminating zero, padded with zeros to a multiple of 8."""
    if type(text) is str and text.isascii():
        raw = text.encode()
    elif isinstance(text, str):
        try:
            raw = encode_text(text)
        except CaprotoValueError as error:
            raise CaprotoValueError(f"{name}={error}") from None
    elif isinstance(text, bytes):
        raw = text
    else:
        raise CaprotoTypeError(f"{name} must be a str, not {text!r} ({type(text).__name__})")
    if b"\0" in raw:
        raise CaprotoValueError(f"{name}={text!r} contains a zero byte")
    return raw.ljust((len(raw) // 8 + 1) * 8, b"\0")


def name_payload(name: str) -> bytes:
    """Make the payload that asks for the channel *name*.

    Raises
    ------
    CaprotoValueError
        If it is empty, or too long for a search datagram.
    """
    payload = text_payload("name", name)
    if not name:
        raise CaprotoValueError("the name of a channel must not be empty")
    if len(payload) > MAX_NAME_SIZE + 1:
        raise CaprotoValueError(
            f"the channel name {name[:60]!r}... has more than the {MAX_NAME_SIZE} bytes that fit "
            "in a search datagram"
        )
    return payload


def text_of(payload: Payload) -> str:
    """Return the text in *payload*, up to the first zero byte; never fails."""
    return decode_text(bytes(payload).split(b"\0", 1)[0])
