"""What programs compose or look up themselves: ids, bundles of requests, classes by number."""
from __future__ import annotations

import ctypes
import itertools
from collections import deque
from collections.abc import Container, Iterable, Iterator

from .._errors import CaprotoKeyError, CaprotoTypeError, CaprotoValueError
from .._protocol.commands import COMMANDS
from .._protocol.headers import Header
from .._protocol.message import Message, u32
from .._protocol.roles import Role
from .constants import MAX_ID

__all__ = ["EventAddRequestPayload", "ThreadsafeCounter", "batch_requests", "get_command_class"]


class EventAddRequestPayload(ctypes.BigEndianStructure):
    """The payload of an EventAddRequest."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (
        ("low", ctypes.c_float),
        ("high", ctypes.c_float),
        ("to", ctypes.c_float),
        ("mask", ctypes.c_uint16),
        ("_gap", ctypes.c_uint16),
    )

    def __init__(
        self, low: float = 0.0, high: float = 0.0, to: float = 0.0, mask: int = 0
    ) -> None:
        try:
            super().__init__(low, high, to, mask)
        except TypeError as error:
            raise CaprotoTypeError(f"EventAddRequestPayload: {error}") from None


class ThreadsafeCounter:
    """Ids, one at each call, from any thread or signal handler; after ``MAX_ID - 1`` again 0.

    Parameters
    ----------
    initial_value : int
        The last id before the first call.
    dont_clash_with : container of int
        Looked at in each call: ids in it are left out.
    """

    MAX_ID = MAX_ID

    def __init__(
        self, *, initial_value: int = -1, dont_clash_with: Container[int] | None = None
    ) -> None:
        self.value = initial_value
        self.dont_clash_with: Container[int] = () if dont_clash_with is None else dont_clash_with
        self._numbers = itertools.count(initial_value + 1)  # gives each number in one step

    def __call__(self) -> int:
        """Return the next id.

        Raises
        ------
        CaprotoValueError
            All ids are in *dont_clash_with*.
        """
        for _ in range(self.MAX_ID):
            self.value = number = next(self._numbers) % self.MAX_ID
            if number not in self.dont_clash_with:
                return number
        raise CaprotoValueError(f"all {self.MAX_ID} ids are in use")


def batch_requests(request_iter: Iterable[Message], max_length: int) -> Iterator[deque[Message]]:
    """Yield bundles of requests, each with at most *max_length* bytes.

    Raises
    ------
    CaprotoValueError
        A single request is longer than that.
    CaprotoTypeError
        Something in *request_iter* is not a request.
    """
    max_length = u32("max_length", max_length)
    bundle: deque[Message] = deque()
    size = 0
    for request in request_iter:
        if not isinstance(request, Message):
            raise CaprotoTypeError(f"request_iter must have requests only, not {request!r}")
        if request.nbytes > max_length:
            raise CaprotoValueError(f"{request!r} has {request.nbytes} bytes, not {max_length}")
        if size + request.nbytes > max_length:
            yield bundle
            bundle, size = deque(), 0
        bundle.append(request)
        size += request.nbytes
    if bundle:
        yield bundle


def get_command_class(role: Role, header: Header) -> type[Message]:
    """Find the class of a message.

    Parameters
    ----------
    role : Role
        Of the sender.
    header : MessageHeader or ExtendedMessageHeader

    Raises
    ------
    CaprotoKeyError
        That role sends no command with this number.
    CaprotoTypeError
        *header* is not a header.
    """
    if not isinstance(header, Header):
        raise CaprotoTypeError(f"header must be a MessageHeader, not {header!r}")
    try:
        return COMMANDS[role][header.command]
    except (KeyError, TypeError):  # a list, for example
        raise CaprotoKeyError(f"{role!r} sends no command {header.command}") from None
