"""The PVs of a server by name, and as clients ask for them with modifiers.

A client may ask for ``name``, ``name.``, ``name.VAL``, and after the dot for a long text (``$``),
a section of an array (``[1:2:9]``) or filters in JSON (``{"dbnd": {"abs": 0.5}}``), as of an EPICS
record. `Directory.has` answers searches and looks at name and field only; `Directory.open` reads
the rest and returns a `View`.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .._errors import CaprotoKeyError, CaprotoValueError
from .._protocol.arrays import Buffer
from .._protocol.constants import MAX_STRING_SIZE
from .._protocol.dbr import ChannelType
from .._protocol.names import (
    ArraySection,
    DeadBand,
    Decimation,
    RecordModifiers,
    TimeOfSending,
    parse_record_field,
)
from .._protocol.text import encode_text
from .conversions import Elements, cut, text_of_bytes
from .data import LOG, VALUE, ChannelData
from .snapshot import Snapshot

__all__ = ["Directory", "View"]

#: Decides about one update, given the events: returns the snapshot to send, or None.
Filter = Callable[[Snapshot, int], "Snapshot | None"]

_NO_MODIFIERS = RecordModifiers()
#: Done by the view itself, as it is for reads, too.
_TIME_STAMP = TimeOfSending()
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|")


class View:
    """A channel as one client has asked for it.

    Parameters
    ----------
    name : str
        As the client has asked.
    data : ChannelData
    modifiers : RecordModifiers
        What follows the dot.

    Attributes
    ----------
    data_type : ChannelType
        The native type that the client is sent.
    data_count : int
        The largest number of elements that the client is sent.

    Raises
    ------
    CaprotoValueError
        A modifier does not fit the channel, or is not supported.
    """

    __slots__ = (
        "_filters", "_long_text", "_plain", "_sections", "_short_text", "_stamps", "data",
        "data_count", "data_type", "name",
    )

    def __init__(
        self, name: str, data: ChannelData, modifiers: RecordModifiers = _NO_MODIFIERS
    ) -> None:
        if modifiers.long_string and data.data_type not in (ChannelType.STRING, ChannelType.CHAR):
            raise CaprotoValueError(f"{name!r}: $ is for texts")
        self.name = name
        self.data = data
        self._long_text = modifiers.long_string and data.data_type is ChannelType.STRING
        self._short_text = not modifiers.long_string and data.snapshot.properties.get(
            "report_as_string", False
        )
        self._sections = tuple(f for f in modifiers.filters if isinstance(f, ArraySection))
        self._stamps = _TIME_STAMP in modifiers.filters
        self._filters = tuple(
            _maker(f)
            for f in modifiers.filters
            if f != _TIME_STAMP and not isinstance(f, ArraySection)
        )
        self._plain = not (
            self._long_text or self._short_text or self._sections or self._stamps
        )
        self.data_type, length = data.data_type, data.max_length
        if self._long_text:
            self.data_type, length = ChannelType.CHAR, MAX_STRING_SIZE
        elif self._short_text:
            self.data_type, length = ChannelType.STRING, 1
        elements = range(length)
        for section in self._sections:
            elements = elements[section.of(len(elements))]
        self.data_count = len(elements)

    def select(self, snapshot: Snapshot) -> Snapshot:
        """Return *snapshot* as this view shows it."""
        if self._plain:
            return snapshot
        elements = snapshot.elements
        if self._long_text:
            elements = encode_text(elements[0] if len(elements) else "") + b"\0"
        elif self._short_text:
            elements = snapshot.converted(ChannelType.STRING)
        for section in self._sections:
            elements = elements[section.of(len(elements))]
        return snapshot.replace(
            native=self.data_type,
            elements=elements,
            is_text=self._long_text or (snapshot.is_text and not self._short_text),
            stamp=self.data.clock() if self._stamps else snapshot.stamp,
        )

    def from_client(self, payload: Buffer, data_type: int, data_count: int) -> Elements:
        """Convert what a client has sent through this view; see `ChannelData.from_client`.

        A section applies to reading only: a write goes to the beginning of the array.
        """
        if self._long_text and data_type == ChannelType.CHAR and data_count:
            text = cut(text_of_bytes(bytes(payload[:data_count])))
            payload, data_type, data_count = encode_text(text) + b"\0", ChannelType.STRING, 1
        return self.data.from_client(payload, data_type, data_count)

    def filter(self) -> Filter | None:
        """Make the filter for a new monitor; None if it takes all updates as they are."""
        if self._plain and not self._filters:
            return None
        filters = [make() for make in self._filters]

        def select(snapshot: Snapshot, events: int) -> Snapshot | None:
            for decide in filters:
                decided = decide(snapshot, events)
                if decided is None:
                    return None
                snapshot = decided
            return self.select(snapshot)

        return select


class Directory:
    """PVs by name.

    Parameters
    ----------
    pvdb : mapping of str to ChannelData
        Read at every request: PVs may be added while the server runs.
    """

    def __init__(self, pvdb: Mapping[str, ChannelData]) -> None:
        self._pvdb = pvdb

    def _find(self, name: str) -> ChannelData | None:
        """Find the channel that *name* is about, whatever its modifiers."""
        data = self._pvdb.get(name)
        if data is not None:
            return data
        record, dot, rest = name.partition(".")
        if not dot:
            return None
        match = _FIELD.match(rest)
        field = match[0] if match else ""
        data = self._pvdb.get(f"{record}.{field}")
        if data is None and field in ("", "VAL"):
            data = self._pvdb.get(record)
        return data

    def has(self, name: str) -> bool:
        """Tell whether a search for *name* finds it here; modifiers do not count."""
        return self._find(name) is not None

    def open(self, name: str) -> View:
        """Return the channel that *name* asks for.

        Raises
        ------
        CaprotoKeyError
            There is no such PV.
        CaprotoValueError
            Its modifiers are invalid, or do not fit this PV.
        """
        data = self._find(name)
        if data is None:
            raise CaprotoKeyError(f"there is no PV {name!r}")
        if name in self._pvdb:
            return View(name, data)
        return View(name, data, parse_record_field(name).modifiers)


def _dead_band(band: DeadBand) -> Filter:
    """Make a filter for the VALUE and LOG events of numbers."""
    last: list[float] = []

    def decide(snapshot: Snapshot, events: int) -> Snapshot | None:
        if len(snapshot.elements) != 1 or snapshot.native is ChannelType.STRING:
            return snapshot
        new = float(snapshot.elements[0])
        if last:
            width = abs(last[0]) * band.width / 100 if band.relative else band.width
            if abs(new - last[0]) <= width:
                return snapshot if events & ~(VALUE | LOG) else None
        last[:] = [new]
        return snapshot

    return decide


def _decimation(decimation: Decimation) -> Filter:
    """Make a filter that passes the first update, and every n-th after it."""
    seen = [0]

    def decide(snapshot: Snapshot, events: int) -> Snapshot | None:
        seen[0] += 1
        return snapshot if (seen[0] - 1) % decimation.every == 0 else None

    return decide


_FILTERS: dict[type, Callable[[Any], Filter]] = {
    DeadBand: _dead_band,
    Decimation: _decimation,
}


def _maker(wish: object) -> Callable[[], Filter]:
    """Return what makes a new filter for each monitor.

    Raises
    ------
    CaprotoValueError
        We do not have this filter.
    """
    if type(wish) not in _FILTERS:
        raise CaprotoValueError(f"filter {wish} is not supported")
    return lambda: _FILTERS[type(wish)](wish)
