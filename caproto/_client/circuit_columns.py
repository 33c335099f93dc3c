"""CircuitColumns: the requests of tables on one circuit, many at once under ids in a row.

Part of a `CircuitSession`, under the same lock. Without a table it is never called.
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .._errors import CaprotoError, CaprotoValueError, DisconnectedError
from .._protocol.circuit import VirtualCircuit
from .._protocol.commands import EventAddRequest, WriteNotifyRequest, event_payload
from .._protocol.framing import CIRCUIT_CONSTRUCTORS, split
from .._protocol.id_ranges import IdRange
from .._protocol.message import Message
from .._protocol.roles import CLIENT
from .interfaces import PV, ColumnSink, ColumnSubscriber
from .routing import FollowUp, Routes

if TYPE_CHECKING:
    from .column_requests import ColumnRequest

#: The least number of ids that a range of subscriptions has; each one more has as many as all
#: before it, so that there are few.
FEWEST = 1024
#: Requests that are composed as one piece, at most: the memory for large pieces is not given back.
AT_ONCE = 8192


class CircuitColumns:
    """The ranges of one circuit.

    Parameters
    ----------
    circuit : VirtualCircuit
    routes : Routes
        Its ``sinks`` are kept here.
    send : callable
        Called as ``send(data)`` with composed requests.
    """

    def __init__(
        self, circuit: VirtualCircuit, routes: Routes, send: Callable[[bytes], None]
    ) -> None:
        self._circuit = circuit
        self._sinks = routes.sinks
        self._send = send

    # ---- reads and writes

    def request(self, requests: Sequence[ColumnRequest], sink: ColumnSink | None) -> None:
        """Send reads or writes; the caller has checked that their channels are open.

        *sink* gets the replies; None for writes without replies.
        """
        for request in requests:
            first = 0
            if sink is not None:
                one = self._circuit.new_range(
                    request.command, request.data_type, request.data_count, len(request.sids),
                    (request.sids, request.rows),
                )
                first = one.first
                self._sinks[one] = sink  # first, so that an interrupted call can withdraw it
                self._circuit.add_range(one)
            self._send(request.composed(first))

    def foresee(self, sink: ColumnSink) -> None:
        """Prepare for the replies to writes that were just sent for *sink*."""
        from .._protocol.columns import foresee  # here, because it imports numpy

        for one in self._of(sink):
            foresee(one)

    def writes(self) -> tuple[int, list[ColumnSink]]:
        """Count the writes whose confirmation is to come; return also who waits for them."""
        if not self._sinks:
            return 0, []
        numbers = [
            (one.open, sink)
            for one, sink in self._sinks.items()
            if one.command == WriteNotifyRequest.ID and not sink.abandoned
        ]
        return sum(number for number, _ in numbers), [sink for number, sink in numbers if number]

    def withdraw(self, sink: ColumnSink) -> None:
        """Forget the requests whose replies *sink* takes."""
        for one in self._of(sink):
            self._close(one)

    def open_requests(self) -> int:
        """Return the number of reads and writes under way."""
        return sum(one.open for one in list(self._sinks) if not one.subscribes)

    def busy(self) -> set[int]:
        """Return the sids of channels with reads or writes under way."""
        return {
            sid
            for one in self._sinks
            if not one.subscribes
            for sid in one.sids[one.live].tolist()
        }

    # ---- subscriptions

    def subscribe(
        self, sink: ColumnSubscriber, pvs: Sequence[PV], rows: Sequence[int]
    ) -> list[tuple[int, CaprotoError]]:
        """Subscribe to those of *pvs* that are connected here and have no subscription yet.

        *rows* are their positions in the table.

        Returns
        -------
        list of (int, CaprotoError)
            The rows that cannot be subscribed to, and why.
        """
        refused: list[tuple[int, CaprotoError]] = []
        if sink.closed:
            return refused
        forms: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
        for pv, row in zip(pvs, rows, strict=True):
            channel = pv.channel
            if (
                channel is None
                or channel.circuit is not self._circuit
                or not channel.connected
                or sink.subscribed(row)
            ):
                continue
            form = sink.form(row)
            assert channel.sid is not None and channel.native_data_count is not None
            if channel.native_data_count < form[1]:
                refused.append((row, too_few(channel.native_data_count, form[1])))
                continue
            sids, wanted = forms.setdefault(form, ([], []))
            sids.append(channel.sid)
            wanted.append(row)
        for (data_type, count), (sids, wanted) in forms.items():
            sink.begin(wanted)
            self._subscribe(sink, data_type, count, sids, wanted)
        return refused

    def _subscribe(
        self, sink: ColumnSubscriber, data_type: int, count: int, sids: list[int], rows: list[int]
    ) -> None:
        import numpy

        from .._protocol.columns import requests as compose

        payload = numpy.void(event_payload(0.0, 0.0, 0.0, sink.mask))
        start = 0
        while start < len(sids):
            one = self._with_room(sink, data_type, count, len(sids) - start)
            stop = start + min(one.size - one.used, len(sids) - start, AT_ONCE)
            part = numpy.array(sids[start:stop], numpy.uint32)
            first = one.fill(part, numpy.array(rows[start:stop], numpy.intp))
            payloads = numpy.full(len(part), payload)
            self._send(
                compose(EventAddRequest.ID, data_type, count, part, first, payloads)
            )
            start = stop

    def _with_room(
        self, sink: ColumnSubscriber, data_type: int, count: int, wanted: int
    ) -> IdRange:
        """Return a range of *sink* that has ids left; a new one if there is none."""
        known = [one for one in self._of(sink) if one.data_type == data_type]
        for one in known:
            if one.used < one.size:
                return one
        size = max(wanted, FEWEST, sum(one.size for one in known))
        one = self._circuit.new_range(EventAddRequest.ID, data_type, count, size)
        self._sinks[one] = sink
        self._circuit.add_range(one)
        return one

    def cancel(self, sink: ColumnSubscriber) -> None:
        """End the subscriptions of *sink*."""
        from .._protocol.columns import cancellations

        for one in self._of(sink):
            self._send(cancellations(one))
            self._close(one)

    def refresh(self) -> None:
        """Read all subscriptions, because updates may have been missed."""
        for one in self._sinks:
            if one.subscribes:
                from .._protocol.columns import refreshes

                self._send(refreshes(one))

    # ---- what comes from the server, and what does not

    def settle(self, then: FollowUp) -> None:
        """Forget what was answered, and note in *then* what was lost with its channels."""
        host, port = self._circuit.address
        for one, sink in list(self._sinks.items()):
            if one.lost:
                error = DisconnectedError(f"{host}:{port} dropped the channel")
                lost = functools.partial(sink.lost, one, one.take_lost(), error)
                then.columns.append(lost)
            if one.subscribes:
                continue
            if sink.abandoned:  # a call was interrupted while it withdrew them
                then.columns.append(sink.end)
            if sink.abandoned or not one.open:
                self._close(one)

    def take_requests(self) -> list[tuple[IdRange, ColumnSink]]:
        """Remove and return the reads and writes under way: the server does not respond."""
        taken = [(one, sink) for one, sink in self._sinks.items() if not one.subscribes]
        for one, _ in taken:
            self._close(one)
        return taken

    def take_all(self) -> list[tuple[IdRange, ColumnSink]]:
        """Remove and return everything: the circuit is gone."""
        taken = list(self._sinks.items())
        self._sinks.clear()
        return taken

    def _of(self, sink: ColumnSink) -> list[IdRange]:
        return [one for one, taker in self._sinks.items() if taker is sink]

    def _close(self, one: IdRange) -> None:
        self._sinks.pop(one, None)
        self._circuit.close_range(one)


def too_few(has: int, wanted: int) -> CaprotoValueError:
    """Make the error for a channel that has fewer elements than the table wants."""
    return CaprotoValueError(f"{wanted} elements are more than the channel has ({has})")


def lose(taken: Sequence[tuple[IdRange, ColumnSink]], error: CaprotoError) -> None:
    """Tell sinks that all their live requests in ranges that were taken away are lost."""
    for one, sink in taken:
        sink.lost(one, one.live.nonzero()[0].tolist(), error)


def messages_in(data: bytes) -> list[Message]:
    """Return the requests in a composed block one by one, for the log."""
    messages: list[Message] = []
    constructors = CIRCUIT_CONSTRUCTORS[CLIENT]
    split(data, constructors, constructors, None, messages)
    return messages
