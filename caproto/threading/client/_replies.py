"""Reads and writes for which the caller waits."""
from __future__ import annotations

from typing import Any

from ..._client.deliveries import Call
from ..._client.interfaces import PV
from ..._client.operations import (
    NORMAL,
    Callback,
    Operation,
    Out,
    Read,
    TimeLimit,
    TypedRead,
    Write,
)
from ..._errors import CaprotoError
from .._waiting import LATCH, Latched


class Blocking(Latched, Operation):
    """An operation that a thread waits for; a callback, if there is one, gets a success, too."""

    __slots__ = ()
    expires = False  # the caller checks the time

    def answered(self, response: Any, out: Out) -> None:
        """Wake the caller; the callback gets a success, too, but not an error."""
        if self.callback is not None and response.status == NORMAL:
            out.append((self, response))
        self.response = response
        self._latch.release()

    def failed(self, error: CaprotoError, out: Out) -> None:
        """Wake the caller with the reason why there will be no answer."""
        self.gave_up(error, out)
        self.error = error  # type: ignore[misc]  # the slot is the subclass's
        self._latch.release()

    def gave_up(self, error: CaprotoError, out: Out) -> None:
        """Do what is to be done for the callback when the caller gets *error*."""


class BlockingRead(Blocking, Read):
    """See `Read`."""

    __slots__ = LATCH

    def __init__(
        self, pv: PV, callback: Callback | None, deadline: TimeLimit
    ) -> None:
        self.pv = pv
        self.callback = callback
        self.deadline = deadline
        self.arm()


class BlockingTypedRead(Blocking, TypedRead):
    """See `TypedRead`."""

    __slots__ = LATCH

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.arm()


class BlockingWrite(Blocking, Write):
    """See `Write`; the callback is called once, also with what the caller gets as an exception."""

    __slots__ = LATCH

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.arm()

    def answered(self, response: Any, out: Out) -> None:
        """Wake the caller; the callback gets the response, too."""
        if self.callback is not None:
            out.append((self, response))
        self.response = response
        self._latch.release()

    def gave_up(self, error: CaprotoError, out: Out) -> None:
        """Have the callback called with a stand-in for the reply."""
        if self.callback is not None:
            out.append((Call(self.conclude), error))
