"""Reads and writes: what a server is asked for, and what happens with the answer.

An operation composes its own message. It is answered or fails exactly once: its circuit removes it
from a table, then calls `answered` or `failed`. Both may queue a call of `deliver`, which calls the
user callback. A driver derives operations for which a caller waits.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final, Protocol, TypeAlias, TypeVar

from .._addresses import Address
from .._errors import (
    AccessError,
    CaprotoError,
    CaprotoTimeoutError,
    CaprotoTypeError,
    CaprotoValueError,
    DisconnectedError,
    ErrorResponseReceived,
    ReadError,
    SubscriptionError,
    WriteError,
)
from .._protocol.client_channel import ClientChannel
from .._protocol.commands import (
    ErrorResponse,
    EventAddResponse,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
    WriteNotifyRequest,
    WriteNotifyResponse,
)
from .._protocol.dbr import AccessRights, ChannelType, native_type
from .._protocol.message import Message
from .._protocol.status import CAStatus
from .._protocol.type_names import resolve_data_type
from .arguments import DataType, waited
from .callbacks import report
from .deliveries import Call, Deliveries, Delivery
from .interfaces import PV

#: ECA status of a success without remarks.
NORMAL = 1

_READ, _WRITE = int(AccessRights.READ), int(AccessRights.WRITE)  #: flags are slow to combine
_ALL_RIGHTS = AccessRights.READ | AccessRights.WRITE  #: what nearly all channels have
_ERRORS: dict[str, type[ErrorResponseReceived]] = {
    "read": ReadError, "write": WriteError, "subscription": SubscriptionError
}  # fmt: skip

#: Where outcomes for user callbacks are collected.
Out: TypeAlias = Deliveries | list[Delivery]
#: What answers an operation.
Answer: TypeAlias = (
    ReadNotifyResponse | ReadResponse | WriteNotifyResponse | EventAddResponse | ErrorResponse
)
E = TypeVar("E", bound=Exception)
#: A function of the user's for the reply; each kind of operation has its own kinds of reply.
Callback: TypeAlias = Callable[[Any], object]


class NotSent(DisconnectedError):
    """The channel was lost before the request was sent, so it may safely be sent elsewhere."""


class TimeLimit(Protocol):
    """When an operation is too late; see `Deadline`."""

    moment: float
    timeout: float | None

    @property
    def expired(self) -> bool:
        """Whether the time is over."""


class _NoLimit:
    """The time limit of an operation that is never too late."""

    moment = math.inf
    timeout: float | None = None
    expired = False


NO_LIMIT: Final[TimeLimit] = _NoLimit()


class Operation:
    """A read or write; its outcome goes to a user callback, never after its deadline.

    Parameters
    ----------
    pv : PV
        What is read or written.
    callback : callable or None
        Called with the response. None: no callback, but failures are logged.
    deadline : TimeLimit
        Later outcomes are dropped. Default: none is too late.
    """

    __slots__ = ("callback", "deadline", "pv")

    #: For messages.
    verb: ClassVar[str]
    #: Whether the circuit ends it at its deadline; a caller that waits ends it itself.
    expires: ClassVar[bool] = True
    #: Whether the server answers it.
    has_reply: bool = True
    #: What to say about a reply that did not come in time.
    hint: ClassVar[str] = ""
    #: Whether `compose` takes next to no time, however large the value.
    quick: bool = False

    def __init__(
        self, pv: PV, callback: Callback | None, deadline: TimeLimit = NO_LIMIT
    ) -> None:
        self.pv: Any = pv  # of the driver's own class
        self.callback = callback
        self.deadline = deadline

    def compose(self, channel: ClientChannel, number: int) -> Message:
        """Make the message, for a connected channel; not under a lock, unless this is `quick`.

        Raises
        ------
        CaprotoError
            If it cannot be sent.
        """
        raise NotImplementedError

    def answered(self, response: Message, out: Out) -> None:
        """Pass *response* on to the callback thread."""
        out.append((self, response))

    def failed(self, error: CaprotoError, out: Out) -> None:
        """Pass *error* on to the callback thread, which logs it."""
        out.append((Call(self._report), error))

    def deliver(self, response: Answer) -> None:
        """Call the user's function with the response, or log why it is not a success.

        It is called for a refused write, too, but not for a refused read, because that response
        carries zeros where the value should be.
        """
        if self.deadline.expired and self.dropped():
            return
        if response.status != NORMAL:
            if self.expires:  # else it is raised for a caller that waits
                error = refusal(self.pv, self.verb, response, response.sender_address)
                self.pv.log.warning("%s", error)
            if self.verb == "read":
                return
        callback = self.callback
        if callback is not None:
            try:
                callback(response)
            except BaseException as error:  # of the user's
                report(error, self.pv, callback, self.pv.log)

    def dropped(self) -> bool:
        """Drop a reply that is delivered after the deadline; False if it is to be used."""
        self.pv.log.debug("A reply to a %s came after its timeout", self.verb)
        return True

    def no_reply(self, last_heard: str) -> str:
        """Tell that no reply came in time, from a server that was *last_heard* then."""
        return no_reply(self.verb, self.deadline.timeout, last_heard, self.hint)

    def _report(self, error: CaprotoError) -> None:
        self.pv.log.warning("The %s of %r failed: %s", self.verb, self.pv.name, error)


class Read(Operation):
    """A read of as many elements as there are, in the channel's own type."""

    __slots__ = ()
    verb = "read"
    quick = True

    def compose(self, channel: ClientChannel, number: int) -> Message:
        """See `Operation.compose`."""
        if channel.access_rights is not _ALL_RIGHTS and not _allowed(channel, _READ):
            raise _forbidden(self.pv, channel, "read", CAStatus.ECA_NORDACCESS)
        return channel.plain_read(number)


class TypedRead(Operation):
    """A read in another type, of another number of elements, or by the obsolete READ.

    Parameters
    ----------
    pv, callback, deadline
        As for `Operation`.
    data_type, data_count, notify
        As for `PV.read`.
    """

    __slots__ = ("data_count", "data_type", "notify")
    verb = "read"
    quick = True

    def __init__(
        self,
        pv: PV,
        callback: Callback | None,
        deadline: TimeLimit,
        data_type: DataType | None,
        data_count: int | None,
        notify: bool = True,
    ) -> None:
        super().__init__(pv, callback, deadline)
        self.data_type = data_type
        self.data_count = data_count
        self.notify = notify

    def compose(self, channel: ClientChannel, number: int) -> Message:
        """See `Operation.compose`."""
        if not _allowed(channel, _READ):
            raise _forbidden(self.pv, channel, "read", CAStatus.ECA_NORDACCESS)
        data_type = None if self.data_type is None else read_type(channel, self.data_type)
        if self.notify:
            return channel.read(data_type, self.data_count, number)
        # READ has no count for "as many as there are now".
        count = self.data_count or channel.native_data_count
        fields = channel.read(data_type, count, number).fields
        return ReadRequest.from_wire((ReadRequest.ID, *fields[1:]), b"")


class Write(Operation):
    """A write.

    Parameters
    ----------
    pv, callback, deadline
        As for `Operation`.
    data, data_type, data_count
        As for `PV.write`.
    has_reply : bool
        Whether to ask for a confirmation.
    """

    __slots__ = ("data", "data_count", "data_type", "has_reply", "quick", "request")
    verb = "write"
    hint = "; what was written may still be in progress (pass a larger timeout= to wait longer)"

    def __init__(
        self,
        pv: PV,
        callback: Callback | None,
        deadline: TimeLimit,
        data: object,
        data_type: DataType | None,
        data_count: int | None,
        has_reply: bool,
    ) -> None:
        self.pv = pv
        self.callback = callback
        self.deadline = deadline
        self.data = data
        self.data_type = data_type
        self.data_count = data_count
        self.has_reply = has_reply
        self.quick = type(data) in _NUMBERS  # other objects may run code of others when converted
        self.request: Message | None = None  # until it is composed

    def compose(self, channel: ClientChannel, number: int) -> Message:
        """See `Operation.compose`."""
        if channel.access_rights is not _ALL_RIGHTS and not _allowed(channel, _WRITE):
            raise _forbidden(self.pv, channel, "write", CAStatus.ECA_NOWTACCESS)
        ioid = number if self.has_reply else None
        try:
            data_type = None if self.data_type is None else write_type(channel, self.data_type)
            count, notify = self.data_count, self.has_reply
            try:
                request = channel.write(self.data, data_type, count, None, ioid, notify)
            except CaprotoTypeError:
                numbers = numbers_in(self.data)
                if numbers is self.data or numbers == self.data:  # an array is never equal
                    raise
                request = channel.write(numbers, data_type, count, None, ioid, notify)
        except (CaprotoTypeError, CaprotoValueError) as error:
            name = repr(self.pv.name)
            if name in str(error):
                raise
            raise type(error)(f"{name}: {error}") from None
        self.request = request
        return request

    def failed(self, error: CaprotoError, out: Out) -> None:
        """Pass *error* on to the callback thread; the callback gets a stand-in for the reply."""
        out.append((Call(self.conclude), error))

    def dropped(self) -> bool:
        """See `Operation.dropped`. A callback is called in any case, and once."""
        if self.callback is None:
            return super().dropped()
        if self.expires:
            self.conclude(CaprotoTimeoutError("the reply was not delivered before the timeout"))
        return self.expires

    def conclude(self, error: CaprotoError) -> None:
        """Call the callback although there is no reply; in a callback thread."""
        if self.expires:  # else it is raised for a caller that waits
            self._report(error)
        if self.callback is None or not isinstance(self.request, WriteNotifyRequest):
            return
        status = next(
            (status for kind, status in _NO_REPLY.items() if isinstance(error, kind)),
            CAStatus.ECA_INTERNAL,  # there was one, but it could not be understood
        )
        request = self.request
        response = WriteNotifyResponse(request.data_type, request.data_count, status, request.ioid)
        try:
            self.callback(response)
        except BaseException as error:  # of the user's
            report(error, self.pv, self.callback, self.pv.log)


#: Types of values that are encoded in next to no time.
_NUMBERS = frozenset({int, float})
#: Why there is no reply to a write -> the status for its callback.
_NO_REPLY: dict[type[CaprotoError], CAStatus] = {
    CaprotoTimeoutError: CAStatus.ECA_TIMEOUT,
    DisconnectedError: CAStatus.ECA_DISCONN,
}


def numbers_in(data: object) -> object:
    """Convert text that is a number, also in a sequence; leave everything else as it is.

    Whole numbers may be hexadecimal, as in ``'0x1F'``.
    """
    if isinstance(data, list | tuple):
        return [_number_in(item) if isinstance(item, str) else item for item in data]
    return _number_in(data) if isinstance(data, str) else data


def _number_in(text: str) -> float | str:
    if "_" in text:  # Python would take it for a separator
        return text
    hexadecimal = text.strip().lstrip("+-").lower().startswith("0x")
    try:
        return int(text, 16 if hexadecimal else 10)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


# ---- types of requests


def read_type(channel: ClientChannel, data_type: DataType | None) -> int:
    """Return the number of the type to ask for, on a connected *channel*."""
    native = channel.native_data_type
    assert native is not None
    return native if data_type is None else resolve_data_type(data_type, native)


def write_type(channel: ClientChannel, data_type: DataType) -> int:
    """Return the number of the plain type to encode a value in.

    Raises
    ------
    CaprotoValueError
        If *data_type* is one that servers do not accept for writing.
    """
    native = channel.native_data_type
    assert native is not None
    number = resolve_data_type(data_type, native)
    if number not in (ChannelType.PUT_ACKT, ChannelType.PUT_ACKS) and number != native_type(number):
        raise CaprotoValueError(
            f"values are written in a plain type (STRING to DOUBLE, PUT_ACKT, PUT_ACKS), "
            f"not in {ChannelType(number).name}"
        )
    return number


# ---- errors


def refusal(pv: PV, verb: str, response: Answer, address: Address | None) -> ErrorResponseReceived:
    """Make the error to raise for a *response* with an error status."""
    status = response.status
    text = getattr(response, "error_message", "")
    server = "the server" if address is None else f"the server {address[0]}:{address[1]}"
    channel = pv.channel
    holds_text = channel is not None and channel.native_data_type == ChannelType.STRING
    return _ERRORS[verb](
        f"{pv.name!r}: {server} refused the {verb}: "
        f"{status.name} ({status.description})" + (f", {text!r}" if text else "")
        + ("; its value is a text" if status is CAStatus.ECA_GETFAIL and holds_text else ""),
        pv=pv,
        status=status,
        address=address,
    )


def no_reply(verb: str, timeout: float | None, last_heard: str, hint: str = "") -> str:
    """Tell that no reply came in time, from a server that was *last_heard* then."""
    return f"no reply to the {verb} {waited('within', timeout)}; {last_heard}{hint}"


def too_large(size: int, limit: int) -> ReadError:
    """Make the error for a value of *size* bytes, which were not received."""
    return ReadError(
        f"{size} bytes are more than the {limit} that the request and EPICS_CA_MAX_ARRAY_BYTES "
        "allow",
        status=CAStatus.ECA_TOLARGE,
    )


def failure(pv: PV, verb: str, error: E, address: Address | None) -> E:
    """Make the error of one operation from *error*, which may concern many at once."""
    text = f"{pv.name!r}: the {verb} failed: {error}"
    if isinstance(error, ErrorResponseReceived):
        return type(error)(text, pv=pv, status=error.status, address=address)
    return type(error)(text)


def fail_all(operations: Iterable[Operation], error: CaprotoError) -> list[Delivery]:
    """Fail *operations*, which one *error* has struck; return what to deliver."""
    batch: list[Delivery] = []
    for operation in operations:
        operation.failed(error, batch)
    return batch


def _allowed(channel: ClientChannel, right: int) -> bool:
    """Tell whether the server allows it, as far as we know; the server decides."""
    rights = channel.access_rights
    return rights is None or bool(int(rights) & right)


def _forbidden(pv: PV, channel: ClientChannel, verb: str, status: CAStatus) -> AccessError:
    host, port = address = channel.circuit.address
    return AccessError(
        f"{pv.name!r}: no {verb} access at {host}:{port} ({status.name})",
        pv=pv,
        status=status,
        address=address,
    )
