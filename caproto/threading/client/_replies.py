"""Reads and writes for which the caller waits."""
from __future__ import annotations

from typing import Any

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

    def failed(self, error: Exception, out: Out) -> None:
        """Wake the caller with the reason why there will be no answer."""
        self.error = error  # type: ignore[misc]  # the slot is the subclass's
        self._latch.release()


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
    """See `Write`."""

    __slots__ = LATCH

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.arm()
