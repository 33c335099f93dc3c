"""Info: everything about a PV at one moment, for people and programs."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._protocol.commands import ReadNotifyResponse
from .._protocol.dbr import (
    LAYOUTS,
    AccessRights,
    AlarmSeverity,
    AlarmStatus,
    ChannelType,
)
from .._protocol.presentation import time_words
from .._protocol.responses import value_words
from .._protocol.timestamp import TimeStamp
from .metadata import Metadata, facts_of
from .subscriptions import SubscriptionState, subscription_words
from .tables import html_table, terminal_width, text_block


class Info:
    """Everything about a PV at one moment.

    It prints as one aligned block. Made by :meth:`PV.info`.

    Attributes
    ----------
    name : str
    value : float, int, str, list or array
        As `ReadNotifyResponse.value`.
    text : str
        The value as text, as `ReadNotifyResponse.text`.
    type : ChannelType
        The channel's own type, STRING to DOUBLE.
    count : int
        How many elements it can have.
    host : str
        The server: 'host:port'.
    access : str
        What the server allows: 'read, write', 'read', 'write', 'none', or 'unknown' so far.
    connected : bool
    status : AlarmStatus
    severity : AlarmSeverity
    timestamp : float
        When the value was set, in POSIX seconds. These three are None if a server, against the
        rules, does not send them.
    age : float or None
        Seconds since then, by the clock of this host; None if the time is undefined.
    units, precision, enum_strings
        As in :class:`Metadata`.
    upper_disp_limit, lower_disp_limit, upper_alarm_limit, upper_warning_limit
        As in :class:`Metadata`.
    lower_warning_limit, lower_alarm_limit, upper_ctrl_limit, lower_ctrl_limit
        As in :class:`Metadata`.
    subscriptions : tuple of str
        The subscriptions of this client that have callbacks, each described in a few words.

    Parameters
    ----------
    name : str
    response : ReadNotifyResponse
        The value with its alarm and time stamp.
    metadata : Metadata
    connected : bool
    access : AccessRights or None
    subscriptions : iterable of SubscriptionState
    now : TimeStamp
        The present moment.
    """

    #: The attributes, in the order in which they are shown.
    FIELDS = (
        "name", "value", "text", "type", "count", "host", "access", "connected",
        "status", "severity", "timestamp", "age", *Metadata._fields, "subscriptions",
    )

    units: str
    precision: int | None
    enum_strings: tuple[str, ...]
    upper_disp_limit: float | None
    lower_disp_limit: float | None
    upper_alarm_limit: float | None
    upper_warning_limit: float | None
    lower_warning_limit: float | None
    lower_alarm_limit: float | None
    upper_ctrl_limit: float | None
    lower_ctrl_limit: float | None

    def __init__(
        self,
        name: str,
        response: ReadNotifyResponse,
        metadata: Metadata,
        *,
        connected: bool,
        access: AccessRights | None,
        subscriptions: Iterable[SubscriptionState],
        now: TimeStamp,
    ) -> None:
        facts, time = response.facts, response.metadata
        host, port = response.sender_address or ("unknown", 0)
        self.name = name
        self.value: Any = response.value
        self.text = response.text
        self.type: ChannelType = facts.native_type or LAYOUTS[response.data_type].native
        self.count = response.data_count if facts.native_count is None else facts.native_count
        self.host = f"{host}:{port}"
        self.access = _access_words(access)
        self.connected = connected
        # A server may answer in another type, without these.
        self.status: AlarmStatus | None = getattr(time, "status", None)
        self.severity: AlarmSeverity | None = getattr(time, "severity", None)
        self._stamp: TimeStamp | None = getattr(time, "stamp", None)
        self.timestamp = None if self._stamp is None else self._stamp.timestamp
        defined = self._stamp is not None and self._stamp.seconds
        self.age = now.timestamp - self._stamp.timestamp if self._stamp and defined else None
        for field in Metadata._fields:
            setattr(self, field, getattr(metadata, field))
        self.subscriptions = tuple(subscription_words(sub) for sub in subscriptions if sub.wanted)
        self._response, self._metadata, self._now = response, metadata, now

    def to_dict(self) -> dict[str, object]:
        """Make a dict of plain values by name, ready for JSON: an array becomes a list."""
        found = {field: getattr(self, field) for field in self.FIELDS}
        return {
            **found,
            "type": str(self.type),
            "status": None if self.status is None else str(self.status),
            "severity": None if self.severity is None else str(self.severity),
            **self._metadata.to_dict(),
            "value": self.value.tolist() if hasattr(self.value, "tolist") else self.value,
            "subscriptions": list(self.subscriptions),
        }

    def _facts(self) -> list[tuple[str, str]]:
        """List all that is known, by name, for people."""
        shown = {
            "value": value_words(self._response),
            "text": self.text,
            "type": str(self.type),
            "count": self._count_words(),
            "host": self.host,
            "access": self.access,
            "connected": "yes" if self.connected else "no",
            "status": "" if self.status is None else str(self.status),
            "severity": "" if self.severity is None else str(self.severity),
            "timestamp": time_words(self._stamp, self._now) if self._stamp else "",
            "age": "" if self.age is None else f"{self.age:.3f} s",
            **dict(facts_of(self._metadata)),
            "subscriptions": "; ".join(self.subscriptions),
        }
        return [(name, text) for name, text in shown.items() if text]

    def _count_words(self) -> str:
        now = self._response.data_count
        return str(self.count) if now == self.count else f"{now} of {self.count}"

    def __str__(self) -> str:
        return text_block(self.name, self._facts(), terminal_width())

    def __repr__(self) -> str:  # so that the prompt shows the text
        return str(self)

    def _repr_html_(self) -> str:
        return html_table(self.name, (), self._facts())


def _access_words(rights: AccessRights | None) -> str:
    if rights is None:
        return "unknown"
    words = {AccessRights.READ: "read", AccessRights.WRITE: "write"}
    return ", ".join(word for right, word in words.items() if rights & right) or "none"
