"""How a PV sends one read or write: on its circuit, or on the next one, until the deadline."""
from __future__ import annotations

import functools
from typing import Any

from ..._client.deliveries import Delivery
from ..._client.operations import NORMAL, NotSent, Operation, failure, refusal
from ..._errors import CaprotoError, CaprotoTimeoutError, DisconnectedError
from .._waiting import Deadline
from . import _reentry
from ._circuit import ClientCircuit
from ._home import ClientPV
from ._reentry import must_not_wait
from ._replies import Blocking


class RequestingPV(ClientPV):
    """A PV that sends operations."""

    __slots__ = ()

    def _send(self, operation: Operation, deadline: Deadline) -> None:
        """Send an operation without waiting for it; inside another call of ours, after that."""
        channel = self._channel
        if must_not_wait(self._home.locks if channel is None else channel.carrier.locks):
            self._leave(operation, deadline)
            return
        self._idle_wish = False
        try:
            while True:
                if channel is not None:
                    try:
                        channel.carrier.request(channel, operation, deadline)
                        return
                    except NotSent:
                        pass  # not connected, or just lost
                channel = self._wait_until_usable(deadline)
        except CaprotoError as error:
            raise error.with_traceback(None) from None  # users need not see our frames

    def _leave(self, operation: Operation, deadline: Deadline) -> None:
        """Leave an operation to the reader thread."""
        channel = self._channel
        if channel is None or not channel.carrier.serves(channel):
            # It would have to wait for a connection.
            raise _reentry.refusal(f"PV.{operation.verb} of {self.name!r}, which is not connected,")
        channel.carrier.note(functools.partial(self._send_noted, operation, deadline), self.name)

    def _send_noted(self, operation: Operation, deadline: Deadline) -> None:
        """Send an operation that was requested inside another call; in the reader thread."""
        self._idle_wish = False
        channel = self._channel
        if channel is None:
            raise DisconnectedError("the connection was lost before a request was sent")
        channel.carrier.request(channel, operation, deadline)

    def _ask(self, operation: Blocking, deadline: Deadline) -> Any:
        """Send an operation, wait for its outcome, and check it; return the response."""
        channel = self._channel
        if must_not_wait(self._home.locks if channel is None else channel.carrier.locks):
            raise _reentry.refusal(f"PV.{operation.verb} of {self.name!r}")
        self._idle_wish = False
        try:
            while True:
                if channel is not None:
                    manager = channel.carrier
                    try:
                        number = manager.request(channel, operation, deadline)
                        if not operation.wait_until(deadline) and manager.forget(number):
                            raise self._no_reply(operation, manager)
                        break
                    except NotSent:
                        pass  # not connected, or just lost
                    except BaseException:  # for example Ctrl-C: no thread waits for it any more
                        manager.withdraw((operation,))
                        raise
                channel = self._wait_until_usable(deadline)
        except CaprotoError as error:
            raise error.with_traceback(None) from None  # users need not see our frames
        # If the operation could not be forgotten any more, its reply has come or is about to.
        if operation.response is None and operation.error is None:
            operation.wait(None)
        if operation.error is not None:
            self._home.check_open(self)
            raise failure(self, operation.verb, operation.error, manager.circuit.address)
        response = operation.response
        if response.status != NORMAL:
            raise refusal(self, operation.verb, response, manager.circuit.address)
        return response

    def _no_reply(
        self, operation: Blocking, manager: ClientCircuit
    ) -> CaprotoTimeoutError:
        """Make the error for a reply that did not come, and tell the callback of a write."""
        last_heard = manager.describe_last_heard(self._home.now())
        error = CaprotoTimeoutError(f"{self.name!r}: {operation.no_reply(last_heard)}")
        told: list[Delivery] = []
        operation.gave_up(error, told)
        if told:
            # Not put here: the first one starts a thread, which Ctrl-C must not interrupt.
            manager.note(functools.partial(manager.delivery.put, told), self.name)
        return error
