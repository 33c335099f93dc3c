"""Which circuits serve the PVs of a table, and the sids of their channels.

Importing this module imports numpy.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy

from ..._client.column_requests import ColumnRequest
from ..._client.columns import Form, Rows, TableForm
from ..._client.pvs import channel_of
from ..._protocol.client_channel import ClientChannel
from ..._protocol.columns import Composer, fits_short_header
from ..._protocol.constants import EXTENDED_HEADER_VERSION
from ..._protocol.dbr import AccessRights
from ..._protocol.payload import payload_size
from ..._typing import NamedTuple
from ._circuit import ClientCircuit
from ._home import ClientPV

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Part:
    """The PVs of a share that have one form.

    Attributes
    ----------
    form : Form
    rows : numpy.ndarray of intp
    sids : numpy.ndarray of uint32
        The server's ids of the channels.
    """

    __slots__ = ("_composers", "form", "rows", "sids")

    def __init__(self, form: Form, rows: Rows, sids: NDArray[numpy.uint32]) -> None:
        self.form = form
        self.rows = rows
        self.sids = sids
        self._composers: dict[int, Composer] = {}  # each command has its type of payload

    def request(
        self, command: int, data_type: int, payloads: NDArray[Any] | None = None
    ) -> ColumnRequest:
        """Make requests to all of them."""
        count = self.form.count
        return ColumnRequest(
            command, data_type, count, self.sids, self.rows, payloads, self._composers
        )


class Share(NamedTuple):
    """The PVs of a table that are on one circuit and can be used.

    Attributes
    ----------
    circuit : ClientCircuit
    changes : int
        Its `channel_changes` then: if it has more now, this is out of date.
    rows : numpy.ndarray of intp
    parts : list of Part
        The same by form.
    """

    circuit: ClientCircuit
    changes: int
    rows: Rows
    parts: list[Part]

    @property
    def current(self) -> bool:
        """Whether its channels are as they were."""
        return self.circuit.circuit.channel_changes == self.changes


class Shares:
    """Divides a table among circuits. Asked by any thread; what it knows is replaced whole.

    Parameters
    ----------
    form : TableForm
    pvs : sequence of PV
        One for each row.
    right : AccessRights
        What the server must allow.
    """

    def __init__(self, form: TableForm, pvs: Sequence[ClientPV], right: AccessRights) -> None:
        self._form = form
        self._pvs = pvs
        self._right = int(right)
        writes = right == AccessRights.WRITE
        self._oldest = 0 if not writes or all(
            fits_short_header(payload_size(one.plain, one.count), one.count) for one in form.forms
        ) else EXTENDED_HEADER_VERSION  # what servers must know
        self._known: tuple[list[Share], Rows] | None = None  # until it is asked

    def now(self) -> tuple[list[Share], Rows]:
        """Return the shares of the circuits, and the rows that are in none.

        Those are not connected, may not be used, or have fewer elements than the table wants.
        """
        known = self._known
        if known is None or not self._current(*known):
            self._known = known = self.among(numpy.arange(len(self._pvs)))
        return known

    def _current(self, shares: list[Share], others: Rows) -> bool:
        for share in shares:
            if not share.current:
                return False
        return not len(others) or not any(map(self._usable, others.tolist()))

    def _usable(self, row: int) -> bool:
        channel = channel_of(self._pvs[row])
        return channel is not None and self._fits(channel.carrier, channel)

    def _fits(self, circuit: ClientCircuit, channel: ClientChannel) -> bool:
        rights, most = channel.access_rights, channel.native_data_count
        return (
            circuit.serves(channel)
            and (rights is None or bool(int(rights) & self._right))
            and most is not None
            and most >= self._form.count
            and circuit.circuit.peer_version >= self._oldest
        )

    def among(self, rows: Rows) -> tuple[list[Share], Rows]:
        """Return the same of some rows, which are in ascending order."""
        groups: dict[ClientCircuit, tuple[int, list[int], list[int]]] = {}
        others: list[int] = []
        for row in rows.tolist():
            channel = channel_of(self._pvs[row])
            if channel is None:
                others.append(row)
                continue
            group = groups.get(channel.carrier)
            if group is None:
                # Before its channels are looked at.
                group = groups[channel.carrier] = channel.carrier.circuit.channel_changes, [], []
            if self._fits(channel.carrier, channel):
                assert channel.sid is not None
                group[1].append(row)
                group[2].append(channel.sid)
            else:
                others.append(row)
        shares = [
            self._share(circuit, changes, own, sids)
            for circuit, (changes, own, sids) in groups.items()
            if own
        ]
        return shares, numpy.array(others, numpy.intp)

    def _share(
        self, circuit: ClientCircuit, changes: int, rows: list[int], sids: list[int]
    ) -> Share:
        form, every = self._form, numpy.array(rows, numpy.intp)
        by_row = numpy.array(sids, numpy.uint32)
        if not form.mixed:
            return Share(circuit, changes, every, [Part(form.forms[0], every, by_row)])
        parts = []
        for one in form.forms:
            chosen = form.select(one, every)
            if len(chosen):
                parts.append(Part(one, chosen, by_row[numpy.searchsorted(every, chosen)]))
        return Share(circuit, changes, every, parts)
