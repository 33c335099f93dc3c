"""Source: the PVs behind the rows of the table: subscribes, writes, explains."""
from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Sequence

from ..._errors import CaprotoError, CaprotoValueError, DisconnectedError
from ..._protocol.commands import ErrorResponse, WriteNotifyResponse
from ..._protocol.dbr import ChannelType, SubscriptionType, field_types
from ..._protocol.status import CAStatus
from ...threading.client import PV, Context
from ...threading.client._subscription import Subscription
from ..access import facts_of
from ..settings import Settings
from .cells import printable
from .readings import count_to_request
from .rows import CONNECTED, DISCONNECTED, Row

__all__ = ["Source"]

_FLOATS = (ChannelType.FLOAT, ChannelType.DOUBLE)
#: Seconds for the confirmation of a write.
_CONFIRMATION_TIME = 60.0
#: What a confirmation of a write is.
_Confirmation = WriteNotifyResponse | ErrorResponse


class _Feed:
    """The subscriptions of one row."""

    def __init__(self, row: Row, settings: Settings) -> None:
        self.row = row
        self._settings = settings
        self._updates: Subscription | None = None

    def connection(self, pv: PV, state: str) -> None:
        """Note a connection or its loss; subscribe when the connection is new."""
        if state == DISCONNECTED:
            self.row.note_disconnected()
            return
        try:
            native, room = facts_of(pv)
        except DisconnectedError:  # again, meanwhile; the next call says so
            return
        self.row.note_connected(room)
        updates = pv.subscribe(
            self._type(native), count_to_request(room, self._settings), mask=self._settings.mask
        )
        if updates is self._updates:
            return  # it goes on by itself
        if self._updates is not None:  # after a restart of the server the channel is another
            self._updates.clear()
        else:  # first, so that units and states are known when the value comes
            properties = pv.subscribe("control", 1, mask=SubscriptionType.DBE_PROPERTY)
            properties.add_callback(self.row.note_properties, strong=True)
        self._updates = updates
        updates.add_callback(self.row.note_update, strong=True)

    def _type(self, native: ChannelType) -> ChannelType | str:
        as_text = native in _FLOATS and self._settings.float_as_string
        return field_types["time"][ChannelType.STRING] if as_text else "time"


class Source:
    """The PVs behind the rows.

    Parameters
    ----------
    context : Context
    settings : Settings

    Attributes
    ----------
    messages : deque of str
        What became of writes; from callback threads, for the table to show.
    """

    def __init__(self, context: Context, settings: Settings) -> None:
        self._context = context
        self._settings = settings
        self._feeds: dict[str, tuple[_Feed, int]] = {}
        self.messages: deque[str] = deque()

    def add(self, names: Sequence[str]) -> list[Row]:
        """Make rows for those names that have none, and search for their PVs.

        Parameters
        ----------
        names : sequence of str

        Returns
        -------
        list of Row

        Raises
        ------
        CaprotoValueError
            A name cannot be searched. There is no row for any of them then.
        """
        new = [name for name in dict.fromkeys(names) if name not in self._feeds]
        # The client searches for the newest names first: this way they are found in their order.
        known = self._context.pvs
        pvs = self._context.get_pvs(*reversed(new), priority=self._settings.priority)
        # Those that were in the table before are idle.
        self._context.reconnect(pv.key for pv in pvs if pv.key in known)
        for pv in reversed(pvs):
            feed = _Feed(Row(pv.name, self._settings), self._settings)
            token = pv.connection_state_callback.add_callback(feed.connection, run=True)
            self._feeds[pv.name] = feed, token
        return [self._feeds[name][0].row for name in new]

    def remove(self, row: Row) -> None:
        """Close the subscriptions of a row."""
        _, token = self._feeds.pop(row.name)
        pv = self._pv(row)
        pv.connection_state_callback.remove_callback(token)
        pv.unsubscribe_all()
        pv.go_idle()

    def _pv(self, row: Row) -> PV:
        return self._context.get_pv(row.name, priority=self._settings.priority)

    def write(self, row: Row, text: str) -> None:
        """Send a value; the outcome comes as a message. Waits if the connection was just lost.

        Parameters
        ----------
        row : Row
        text : str
            What the server makes a value of: a number, the name or number of a state, a text; for
            arrays, elements separated by blanks, with quotes around those that have some.

        Raises
        ------
        CaprotoError
            The PV is not connected, must not be written, or cannot have this value.
        """
        pv = self._pv(row)
        if not pv.connected:
            raise DisconnectedError(f"{row.name!r} is not connected, so nothing was written")
        native, room = facts_of(pv)
        is_text = room > 1 and native is ChannelType.CHAR
        data: str | list[str] = text
        if room > 1 and not is_text:
            try:
                data = shlex.split(text)
            except ValueError as error:
                raise CaprotoValueError(f"{text!r} is not a list of elements: {error}") from None
        label = printable(f"{row.name} = {text}")

        def confirm(response: _Confirmation) -> None:
            self.messages.append(f"{label}: {_outcome(response.status)}")

        data_type = ChannelType.CHAR if is_text else ChannelType.STRING
        pv.write(
            data, wait=False, callback=confirm, timeout=_CONFIRMATION_TIME, data_type=data_type
        )

    def describe(self, row: Row) -> str:
        """Say everything about a PV: its info, if it is connected, and the explanation.

        Waits for the server, at most for the timeout of the client.
        """
        pv = self._pv(row)
        parts = []
        if row.state == CONNECTED:
            try:
                parts.append(str(pv.info()))
            except CaprotoError as error:
                parts.append(f"no info: {error}")
        parts.append(str(self._context.explain(pv)))
        return "\n".join(printable(line) for line in "\n\n".join(parts).split("\n"))


def _outcome(status: CAStatus) -> str:
    """Say what the status of a confirmation means."""
    if status is CAStatus.ECA_NORMAL:
        return "written"
    if status is CAStatus.ECA_TIMEOUT:
        return f"no confirmation within {_CONFIRMATION_TIME:.0f} s, it may still be in progress"
    return f"not written: {status.description}"
