"""Reading and writing the PVs of a snapshot, with a bar that shows how far it is.

Each PV is read as it is, in its own type and length; those of a `Table` all have the same length.
"""
from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import TypeAlias

import numpy
from numpy.typing import NDArray

from .._client.operations import Write
from .._errors import CaprotoError
from .._protocol.commands import ReadNotifyResponse
from ..threading._waiting import Deadline
from ..threading.client import PV, Context, TableSnapshot
from .progress import PERIOD, Progress

__all__ = ["SnapshotClient", "snapshot_of"]

#: A value as an array.
Element: TypeAlias = NDArray[numpy.generic]

#: PVs are read and written in at most 50 blocks, of at least 100 PVs.
_BLOCKS, _SMALLEST_BLOCK = 50, 100


class SnapshotClient:
    """Reads and writes many PVs.

    Parameters
    ----------
    context : Context
    patience : float or None
        Seconds to wait for the next PV to connect, and for each block of replies; None: no end.
    progress : Progress
    """

    def __init__(self, context: Context, patience: float | None, progress: Progress) -> None:
        self._context = context
        self._patience = patience
        self._progress = progress

    def read(self, names: Sequence[str]) -> TableSnapshot:
        """Read all PVs, each in its own type; the errors of the others are in the snapshot."""
        outcomes: dict[str, ReadNotifyResponse | CaprotoError] = {}
        outcomes.update(self._connect(names))
        connected = [name for name in names if name not in outcomes]
        for block, done in _blocks(connected):
            outcomes.update(self._context.read(*block, timeout=self._patience))
            self._progress.show("reading", done, len(connected))
        self._progress.clear()
        return snapshot_of({name: outcomes[name] for name in names}, {*connected})

    def write(self, values: Mapping[str, object]) -> dict[str, CaprotoError]:
        """Write values, and wait until the servers have finished; return what went wrong."""
        errors = self._connect(list(values))
        connected = [name for name in values if name not in errors]
        for block, done in _blocks(connected):
            results = self._context.write(
                {name: values[name] for name in block}, timeout=self._patience
            )
            errors.update(results.errors)
            self._progress.show("writing", done, len(connected))
        self._progress.clear()
        return errors

    def refused(self, values: Mapping[str, object]) -> dict[str, CaprotoError]:
        """Return what would keep connected PVs from being written before anything is sent."""
        errors: dict[str, CaprotoError] = {}
        for pv, value in zip(self._context.get_pvs(*values), values.values(), strict=True):
            if pv.channel is not None:
                try:
                    Write(pv, None, Deadline(None), value, None, None, False).compose(pv.channel, 0)
                except CaprotoError as error:
                    errors[pv.name] = error
        return errors

    def _connect(self, names: Sequence[str]) -> dict[str, CaprotoError]:
        """Connect to all PVs, as long as one after the other does; return what went wrong."""
        changes: SimpleQueue[str] = SimpleQueue()

        def note(pv: PV, state: str) -> None:
            changes.put(pv.name)

        deadline = Deadline(self._patience)
        pvs = self._context.get_pvs(*names, connection_state_callback=note)
        waiting = {pv.name for pv in pvs if not pv.connected}
        while waiting:
            done, total = len(names) - len(waiting), len(names)
            self._progress.show("connecting", done, total)
            try:
                try:
                    name = changes.get(timeout=PERIOD)
                except Empty:  # the next one is a while in coming
                    self._progress.show("connecting", done, total, at_once=True)
                    name = changes.get(timeout=deadline.remaining())
            except Empty:
                break
            if name in waiting:
                waiting.discard(name)
                deadline.restart()
        errors = {}
        for pv in pvs:
            try:
                pv._wait_until_usable(deadline)
            except CaprotoError as error:
                errors[pv.name] = error
        return errors


def _blocks(names: Sequence[str]) -> Iterator[tuple[Sequence[str], int]]:
    """Yield the names in blocks, each with the number of names up to its end."""
    size = max(_SMALLEST_BLOCK, -(-len(names) // _BLOCKS))
    for start in range(0, len(names), size):
        block = names[start : start + size]
        yield block, start + len(block)


def snapshot_of(
    outcomes: Mapping[str, ReadNotifyResponse | CaprotoError], connected: Collection[str]
) -> TableSnapshot:
    """Make a snapshot of responses with time stamps, and of errors.

    Parameters
    ----------
    outcomes : mapping of str to ReadNotifyResponse or CaprotoError
    connected : collection of str
        The names of those PVs that are connected.
    """
    n = len(outcomes)
    elements: list[Element | None] = [None] * n
    timestamps = numpy.full(n, "NaT", "datetime64[ns]")
    severity, status = numpy.zeros(n, numpy.uint16), numpy.zeros(n, numpy.uint16)
    errors = {}
    for at, (name, outcome) in enumerate(outcomes.items()):
        if isinstance(outcome, CaprotoError):
            errors[name] = outcome
            continue
        elements[at] = _element(outcome)
        metadata = outcome.metadata
        assert metadata is not None
        timestamps[at] = metadata.stamp.as_datetime64()
        severity[at], status[at] = metadata.severity, metadata.status
    return TableSnapshot(
        tuple(outcomes),
        values=_column(elements),
        timestamps=timestamps,
        severity=severity,
        status=status,
        connected=numpy.fromiter((name in connected for name in outcomes), bool, n),
        ok=numpy.array([element is not None for element in elements], bool),
        errors=errors,
    )


def _element(response: ReadNotifyResponse) -> Element:
    """Return a value as an array: without dimension for a scalar."""
    value = response.value
    if isinstance(value, str | list):
        return numpy.asarray(value, str)
    return numpy.asarray(value, response.native_data.dtype)


def _column(elements: Sequence[Element | None]) -> Element:
    """Make the column of values: of objects, if they have different types or lengths."""
    present = [element for element in elements if element is not None]
    kinds = {
        # Texts of different lengths are of one type.
        (str if element.dtype.kind == "U" else element.dtype, element.shape) for element in present
    }
    if len(kinds) > 1:
        column: Element = numpy.empty(len(elements), object)
        for at, element in enumerate(elements):
            if element is not None:
                column[at] = element[()]
        return column
    rows = numpy.stack(present) if present else numpy.zeros(0)
    fill = numpy.nan if rows.dtype.kind == "f" else rows.dtype.type()
    column = numpy.full((len(elements), *rows.shape[1:]), fill, rows.dtype)
    column[[element is not None for element in elements]] = rows
    return column
