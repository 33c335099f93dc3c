"""Reads and writes that are under way, and what becomes of them.

An operation is answered or fails exactly once: the circuit's manager takes it out of its table
under the lock, then calls `answered` or `failed`. A blocking call waits on a `Reply` (see
``_waiting``); a call with ``callback=`` is a `CallbackOperation`, finished in the callback thread;
a call may do both.
"""
from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from .._addresses import Address
from .._dbr import ChannelType, resolve_data_type
from .._errors import CaprotoError, DisconnectedError, ErrorResponseReceived, ReadError, WriteError
from .._message import Message
from .._status import CAStatus
from ._callbacks import report
from ._delivery import Call, Deliveries
from ._waiting import Deadline, Reply

if TYPE_CHECKING:
    from .._channel import ClientChannel
    from ._pv import PV

#: ECA status of a success without remarks.
NORMAL = 1

#: Makes the message out of a PV, its connected channel, an id, and further arguments. Converting a
#: large array takes its time, so this is never called under a lock.
Compose = Callable[..., Message]

_ERRORS: dict[str, type[ErrorResponseReceived]] = {"read": ReadError, "write": WriteError}


class NotSent(DisconnectedError):
    """The channel was lost before the request was sent, so it may safely be sent elsewhere."""


def read_type(channel: ClientChannel, data_type: ChannelType | int | str | None) -> int:
    """The number of the type to ask for, on a connected *channel*."""
    native = channel.native_data_type
    assert native is not None
    return native if data_type is None else resolve_data_type(data_type, native)


def refusal(pv: PV, verb: str, response: Any, address: Address | None) -> ErrorResponseReceived:
    """The error to raise for a *response* with an error status."""
    status = response.status
    text = getattr(response, "error_message", "")
    server = "the server" if address is None else f"the server {address[0]}:{address[1]}"
    return _ERRORS[verb](
        f"{pv.name!r}: {server} refused the {verb}: "
        f"{status.name} ({status.description})" + (f", {text!r}" if text else ""),
        pv=pv,
        status=status,
        address=address,
    )


class ReplyAndCallback(Reply):
    """Somebody waits for the reply, and a callback gets it, too, in the order of the wire."""

    __slots__ = ("_operation",)

    def __init__(self, operation: CallbackOperation) -> None:
        super().__init__()
        self._operation = operation

    def answered(self, response: Any, batch: Any = None) -> None:
        """Fill the box; an error is for the waiting caller alone."""
        if response.status == NORMAL:
            batch.append((self._operation, response))
        super().answered(response)


def too_large(size: int) -> ReadError:
    """The error for a value of *size* bytes, which were not received."""
    return ReadError(
        f"{size} bytes are more than EPICS_CA_MAX_ARRAY_BYTES allows", status=CAStatus.ECA_TOLARGE
    )


def failure(pv: PV, verb: str, error: Exception, address: tuple[str, int]) -> Exception:
    """*error*, which may have struck many operations at once, as that of one of them."""
    text = f"{pv.name!r}: the {verb} failed: {error}"
    if isinstance(error, ErrorResponseReceived):
        return type(error)(text, pv=pv, status=error.status, address=address)
    return type(error)(text)


class CallbackOperation:
    """A read or write whose outcome goes to a user callback, never after its deadline.

    Parameters
    ----------
    pv : PV
        What is read or written.
    verb : str
        'read' or 'write'.
    callback : callable or None
        Called with the response. None: nobody wants to know, but failures are logged.
    deadline : Deadline
        Later outcomes are dropped.
    """

    __slots__ = ("callback", "deadline", "pv", "verb")

    def __init__(
        self, pv: PV, verb: str, callback: Callable[[Any], Any] | None, deadline: Deadline
    ) -> None:
        self.pv = pv
        self.verb = verb
        self.callback = callback
        self.deadline = deadline

    def answered(self, response: Any, batch: Deliveries | list[Any]) -> None:
        """Pass *response* on to the callback thread."""
        batch.append((self, response))

    def failed(self, error: CaprotoError, batch: Deliveries | list[Any]) -> None:
        """Pass *error* on to the callback thread, which logs it."""
        batch.append((Call(self._report), error))

    def deliver(self, response: Any) -> None:
        """Call the user's function with the response, or log why it is no success.

        Of a refused write it is told, too; of a refused read it is not, because the response
        carries zeros where the value should be.
        """
        if monotonic() >= self.deadline.moment:
            self.pv.log.debug("A reply to a %s came after its timeout", self.verb)
            return
        if response.status != NORMAL:
            error = refusal(self.pv, self.verb, response, response.sender_address)
            self.pv.log.warning("%s", error)
            if self.verb == "read":
                return
        if self.callback is not None:
            try:
                self.callback(response)
            except BaseException as error:
                report(error, self.pv, self.callback, self.pv.log)

    def _report(self, error: CaprotoError) -> None:
        self.pv.log.warning("The %s of %r failed: %s", self.verb, self.pv.name, error)


#: A read or write to be sent: of what, how, with which further arguments, and who gets the outcome
#: (None: there will be none). A bare tuple, because batches make very many of them.
Request = tuple["PV", Compose, tuple[Any, ...], "CallbackOperation | Reply | None"]
