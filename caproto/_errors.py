"""Every exception that caproto raises, in one tree.

::

    CaprotoError
     ├─ CaprotoKeyError (KeyError)
     ├─ CaprotoValueError (ValueError)
     │   └─ CaprotoConversionError            for programs to raise: a value cannot be converted
     ├─ SkipWrite, Forbidden                  for putters to raise, see there
     ├─ CaprotoTypeError (TypeError)
     ├─ CaprotoRuntimeError (RuntimeError)
     │   └─ ReentrantCallError                would wait for a call that it interrupted
     ├─ CaprotoAttributeError (AttributeError)
     ├─ CaprotoNotImplementedError (NotImplementedError)
     ├─ CaprotoTimeoutError (TimeoutError)    CaprotoNetworkError (OSError)
     ├─ ProtocolError
     │   ├─ LocalProtocolError                we tried to send what it forbids
     │   └─ RemoteProtocolError               the peer broke it
     │       └─ MessageError                  in one message, which the circuit survives
     ├─ DisconnectedError                     the channel was lost before the reply came
     │   └─ DeadCircuitError                  the whole circuit is gone
     ├─ ContextDisconnectedError              the Context was closed, or belongs to another process
     └─ ErrorResponseReceived                 the server refused; carries pv, status, address
         ├─ ReadError, WriteError, SubscriptionError
         └─ AccessError                       the channel's access rights forbid it
"""
from __future__ import annotations

TYPE_CHECKING = False  # as that of typing, which takes longer to import than all the rest here
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "AccessError",
    "CaprotoAttributeError",
    "CaprotoConversionError",
    "CaprotoError",
    "CaprotoKeyError",
    "CaprotoNetworkError",
    "CaprotoNotImplementedError",
    "CaprotoRuntimeError",
    "CaprotoTimeoutError",
    "CaprotoTypeError",
    "CaprotoValueError",
    "ContextDisconnectedError",
    "DeadCircuitError",
    "DisconnectedError",
    "ErrorResponseReceived",
    "Forbidden",
    "LocalProtocolError",
    "MessageError",
    "ProtocolError",
    "ReadError",
    "ReentrantCallError",
    "RemoteProtocolError",
    "SkipWrite",
    "SubscriptionError",
    "WriteError",
]


class CaprotoError(Exception):
    """Base of all exceptions that caproto raises."""


class CaprotoKeyError(CaprotoError, KeyError):
    """An id or a name is unknown."""

    def __str__(self) -> str:  # KeyError shows the repr of its argument
        return Exception.__str__(self)


class CaprotoValueError(CaprotoError, ValueError):
    """An argument has the right type and an impossible value."""


class CaprotoConversionError(CaprotoValueError):
    """A value cannot be converted. For programs to raise: caproto raises CaprotoValueError."""


class SkipWrite(CaprotoError):
    """A putter raises it to leave the value as it is; for the client the write has worked."""


class Forbidden(CaprotoError):
    """A putter raises it to refuse a write; the client gets ECA_NOWTACCESS."""


class CaprotoTypeError(CaprotoError, TypeError):
    """An argument has the wrong type."""


class CaprotoRuntimeError(CaprotoError, RuntimeError):
    """A call came at the wrong moment."""


class ReentrantCallError(CaprotoRuntimeError):
    """A finalizer, signal or log handler made a call that waits, inside another call of caproto.

    The thread cannot wait for it, because it would wait for itself. Nothing was sent.
    """


class CaprotoAttributeError(CaprotoError, AttributeError):
    """An attribute does not exist in this state."""


class CaprotoNotImplementedError(CaprotoError, NotImplementedError):
    """The protocol allows it; caproto does not support it."""


class CaprotoTimeoutError(CaprotoError, TimeoutError):
    """Something did not happen in time; the message says what, and in which phase."""


class CaprotoNetworkError(CaprotoError, OSError):
    """The network refused."""

    def __str__(self) -> str:  # without the number, which does not help people
        return self.strerror or Exception.__str__(self)


class ProtocolError(CaprotoError):
    """The rules of Channel Access were broken."""


class LocalProtocolError(ProtocolError):
    """We were asked to send what the protocol forbids; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol forbids."""


class MessageError(RemoteProtocolError):
    """One message is not what its receiver may expect; the circuit continues.

    Parameters
    ----------
    message : str
        What is wrong with it, for people.
    usable : bool
        Whether its receiver can still use it, as the C library does: a value of another
        type than was asked for, for example, but not one that is cut off.
    """

    def __init__(self, message: str, *, usable: bool = False) -> None:
        super().__init__(message)
        self.usable = usable


class DisconnectedError(CaprotoError):
    """The channel was lost before the operation was finished."""


class DeadCircuitError(DisconnectedError):
    """The circuit was lost before the operation was finished."""


class ContextDisconnectedError(CaprotoError):
    """The Context was closed, or was created before a fork in the parent process."""


class ErrorResponseReceived(CaprotoError):
    """The server answered with an error status.

    Parameters
    ----------
    message : str
        What was refused, for people.
    pv : PV, optional
        The PV concerned.
    status : CAStatus, optional
        The ECA status of the reply.
    address : tuple of (str, int), optional
        Address of the server.
    """

    def __init__(
        self,
        message: str,
        *,
        pv: Any = None,
        status: Any = None,
        address: tuple[str, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.pv = pv
        self.status = status
        self.address = address

    def __reduce__(self) -> tuple[Any, ...]:
        # A PV has a connection, so its name goes to another process in its place.
        return type(self), self.args, {**self.__dict__, "pv": getattr(self.pv, "name", self.pv)}


class ReadError(ErrorResponseReceived):
    """A read failed."""


class WriteError(ErrorResponseReceived):
    """A write failed."""


class SubscriptionError(ErrorResponseReceived):
    """A subscription was refused."""


class AccessError(ErrorResponseReceived):
    """The channel's access rights forbid the operation; nothing was sent."""
