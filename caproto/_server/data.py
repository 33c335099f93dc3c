"""The value of one PV in a server: what it is now, its subscribers, how clients may change it.

A `ChannelData` holds one `Snapshot`, an immutable picture of value, alarm, time stamp and
properties, and replaces it as a whole. Readers take the picture that is there; they never see half
of a change.

Threads: any thread may call anything here. Each `ChannelData` has one lock, held for the moment in
which the snapshot is replaced; subscribers are notified after it is released, with the snapshot;
its ``serial`` number shows which one is newer. Getters and putters are the user's code and run with
no lock held.

This module uses no circuits, sockets or sessions; a subscriber is anything with a ``mask``
and a ``post`` method. The types of channels are in ``channel_types``.
"""
from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from .. import _locks
from .._errors import CaprotoTypeError, CaprotoValueError
from .._protocol.arrays import Buffer
from .._protocol.constants import MAX_STRING_SIZE
from .._protocol.dbr import (
    LAYOUTS,
    AccessRights,
    AlarmSeverity,
    AlarmStatus,
    ChannelType,
    SubscriptionType,
    TimeStamp,
)
from .._protocol.message import u32
from .._protocol.payload import native_view
from .._protocol.timestamp import Moment
from .conversions import Elements, TextFormat, convert, is_sequence, text_of_bytes
from .properties import Property, check_alarm, check_clock, check_text, checked_rights
from .snapshot import NATIVE, ChannelAlarm, Properties, Snapshot

if TYPE_CHECKING:
    import threading

__all__ = [
    "ALARM",
    "LOG",
    "PROPERTY",
    "VALUE",
    "ChannelData",
    "Subscriber",
]

# Bits of event masks, as plain integers: every change of every PV calculates with them.
VALUE = int(SubscriptionType.DBE_VALUE)
LOG = int(SubscriptionType.DBE_LOG)
ALARM = int(SubscriptionType.DBE_ALARM)
PROPERTY = int(SubscriptionType.DBE_PROPERTY)
_EVERY_EVENT = VALUE | LOG | ALARM | PROPERTY


class Subscriber(Protocol):
    """Is notified of changes."""

    mask: int

    def post(self, snapshot: Snapshot, events: int) -> None:
        """Note *snapshot*; must neither block nor call back."""


class RightsListener(Protocol):
    """Is notified of changes of the access rights."""

    def rights_changed(self) -> None:
        """Look at the rights: they may have changed. Must neither block nor call back."""


class ChannelData:
    """Base of the channel classes; see the typed ones below.

    Parameters
    ----------
    value
        First value. A sequence makes an array channel.
    alarm : ChannelAlarm, optional
        First alarm state; none by default.
    timestamp : TimeStamp, float, tuple or datetime, optional
        Time of the first value; now by default. A float counts seconds since 1970.
    max_length : int, optional
        Most elements that the value may have, the element count of the channel. Default: the
        length of *value*. A channel with 1 is a scalar.
    access_rights : AccessRights, optional
        What clients may do; everything by default.
    clock : callable, optional
        Returns the `TimeStamp` of this moment, for what is written without one.
    **properties
        The properties of the class: units, limits, enum_strings and so on.

    Attributes
    ----------
    getter, putter : callable or None
        ``getter(instance)`` is called before a client reads; it returns the value, or None to
        leave the one that is there. ``putter(instance, value)`` is called when a client writes,
        before the value is stored; it returns None to have *value* stored, or another value to have
        that stored; whatever it raises is the failure of the write. Both may be slow.
    startup : callable or None
        ``startup(instance)`` is called in a thread of its own when the server has started.
    scan : callable or None
        ``scan(instance)`` is called every `scan_period` seconds.
    scan_period : float, ChannelData or None
        Seconds, or a channel with the number of seconds as its value.

    Raises
    ------
    CaprotoValueError, CaprotoTypeError
        The value or a property is not possible for this channel.
    """

    data_type: ClassVar[ChannelType]
    _default: ClassVar[object]

    reported_record_type = Property(
        "caproto", check_text, "Sent to clients that ask for the record type (CLASS_NAME)."
    )

    #: What arrays of this type may hold besides sequences of numbers.
    _texts: ClassVar[bool] = False

    def __init__(
        self,
        *,
        value: object = None,
        alarm: ChannelAlarm | None = None,
        timestamp: Moment | None = None,
        max_length: int | None = None,
        access_rights: AccessRights = AccessRights.READ | AccessRights.WRITE,
        clock: Callable[[], TimeStamp] = TimeStamp.now,
        **properties: object,
    ) -> None:
        if not hasattr(self, "data_type"):
            raise CaprotoTypeError(
                f"{type(self).__name__} has no data type; use one of its classes, as ChannelDouble"
            )
        #: Returns the present time, for values that are written without a time stamp.
        self.clock = clock
        self.getter: Callable[[ChannelData], object] | None = None
        self.putter: Callable[[ChannelData, Any], object] | None = None
        self.startup: Callable[[ChannelData], object] | None = None
        self.scan: Callable[[ChannelData], object] | None = None
        self.scan_period: float | ChannelData | None = None
        #: Set when the server stops; None for a channel without a group.
        self.stopping: threading.Event | None = None
        #: The full name, once a group or a server has given it one; for logs.
        self.name = ""
        self._lock = _locks.Lock()
        self._subscribers: tuple[Subscriber, ...] = ()
        self._listeners: tuple[RightsListener, ...] = ()
        self._access_rights = checked_rights(access_rights)
        check_alarm(alarm)
        check_clock(clock)
        checked = self._check_properties(properties)
        whole = cast(
            Properties, {name: member.default for name, member in self.properties().items()}
        )
        whole.update(checked)
        self._text_format = _text_format(whole)
        value = self._normal(self._default if value is None else value)
        self.max_length = self._first_length(value, max_length)
        elements = self._elements(value)
        self._posted: object = elements[0] if len(elements) else None
        self._logged: object = self._posted
        self._snapshot = Snapshot(
            self.data_type,
            elements,
            alarm or ChannelAlarm(),
            self._stamp(timestamp),
            whole,
            0,
            self._texts,
        )

    def _first_length(self, value: object, max_length: int | None) -> int:
        length = len(value) if is_sequence(value) else 1
        if max_length is None:
            max_length = max(1, length)
        max_length = u32("max_length", max_length)
        if max_length < max(1, length):
            raise CaprotoValueError(
                f"max_length={max_length} is less than the {length} elements of the first value"
            )
        return max_length

    @classmethod
    def properties(cls) -> dict[str, Property[object]]:
        """List everything that describes a channel of this class: name -> `Property`."""
        return {
            name: member
            for kind in reversed(cls.__mro__)
            for name, member in vars(kind).items()
            if isinstance(member, Property)
        }

    def _check_properties(self, values: Mapping[str, object]) -> Properties:
        legal = self.properties()
        unknown = values.keys() - legal.keys()
        if unknown:
            hint = "; names of states need dtype=ChannelEnum" if "enum_strings" in unknown else ""
            raise CaprotoTypeError(
                f"{type(self).__name__} has no property {', '.join(sorted(unknown))}; "
                f"it has {', '.join(sorted(legal))}{hint}"
            )
        return cast(Properties, {name: legal[name].check(value) for name, value in values.items()})

    # What it is now

    @property
    def snapshot(self) -> Snapshot:
        """The present state as a whole."""
        return self._snapshot

    @property
    def value(self) -> Any:
        """The present value: a scalar if `max_length` is 1, else a read-only array or list."""
        elements = self._snapshot.elements
        return elements[0] if self.max_length == 1 else elements

    @property
    def alarm(self) -> ChannelAlarm:
        """The present alarm state."""
        return self._snapshot.alarm

    @property
    def timestamp(self) -> TimeStamp:
        """The time of the present value."""
        return self._snapshot.stamp

    @property
    def length(self) -> int:
        """How many elements the value has now."""
        return len(self._snapshot.elements)

    @property
    def access_rights(self) -> AccessRights:
        """What clients may do. Assigning notifies the clients that are connected."""
        return self._access_rights

    @access_rights.setter
    def access_rights(self, rights: AccessRights) -> None:
        rights = checked_rights(rights)
        try:
            self._access_rights = rights
            _notify_rights(self._listeners)
        except BaseException:  # interrupted (Ctrl-C)
            _notify_rights(self._listeners)
            raise

    def check_access(self, host_name: str, client_name: str) -> AccessRights:
        """Decide what a client may do; subclasses may look at its names.

        Parameters
        ----------
        host_name, client_name : str
            Names that the client sends; they are not verified.

        Returns
        -------
        AccessRights
        """
        return self._access_rights

    def __repr__(self) -> str:
        alarm = self.alarm
        state = f" {alarm.status.name}/{alarm.severity.name}" if alarm.severity else ""
        name = f" {self.name}" if self.name else ""
        return f"<{type(self).__name__}{name} value={self.value!r}{state}>"

    # Changes

    def write(
        self,
        value: object = None,
        *,
        timestamp: Moment | None = None,
        alarm: ChannelAlarm | None = None,
        status: int | None = None,
        severity: int | None = None,
        **properties: object,
    ) -> None:
        """Change the channel and notify its subscribers. This does not call the putter.

        Value, alarm, time stamp and properties given in one call change together.

        Parameters
        ----------
        value
            The new value; None leaves it as it is.
        timestamp : TimeStamp, float, tuple or datetime, optional
            Default: now.
        alarm : ChannelAlarm, optional
            A whole alarm state.
        status, severity : int, optional
            Parts of one. If nothing is said of the alarm, a numeric scalar with alarm limits gets
            the alarm that they demand.
        **properties
            As in the constructor.

        Raises
        ------
        CaprotoValueError, CaprotoTypeError
            The value or a property is not possible; nothing has changed.
        """
        elements = None if value is None else self._elements(value)
        self._change(elements, timestamp, alarm, status, severity, properties)

    def write_metadata(
        self,
        *,
        timestamp: Moment | None = None,
        alarm: ChannelAlarm | None = None,
        status: int | None = None,
        severity: int | None = None,
        **properties: object,
    ) -> None:
        """Change alarm, time stamp or properties: `write` without a value."""
        self.write(
            timestamp=timestamp, alarm=alarm, status=status, severity=severity, **properties
        )

    def _change(
        self,
        elements: Elements | None,
        timestamp: Moment | None,
        alarm: ChannelAlarm | None,
        status: int | None,
        severity: int | None,
        properties: Mapping[str, object],
    ) -> None:
        checked = self._check_properties(properties) if properties else {}
        stamp = self._stamp(timestamp)
        try:
            snapshot, events = self._replace(elements, stamp, alarm, status, severity, checked)
            _notify(self._subscribers, snapshot, events)
        except BaseException:
            # Interrupted (Ctrl-C), perhaps after the change: clients must get the present value.
            _notify(self._subscribers, self._snapshot, _EVERY_EVENT)
            raise

    def _replace(
        self,
        elements: Elements | None,
        stamp: TimeStamp,
        alarm: ChannelAlarm | None,
        status: int | None,
        severity: int | None,
        changes: Properties,
    ) -> tuple[Snapshot, int]:
        """Put another snapshot in the place of the present one; returns it, and the events."""
        events = PROPERTY if changes else 0
        with self._lock:
            present = old = self._snapshot
            while True:
                properties = {**old.properties, **changes} if changes else old.properties
                if changes:
                    self._text_format = _text_format(properties)
                values = elements
                if values is None:
                    values = old.elements
                else:
                    events |= self._value_events(values, properties)
                new_alarm = alarm or self._next_alarm(
                    old.alarm, status, severity, values, properties
                )
                if new_alarm is not old.alarm and new_alarm != old.alarm:
                    events |= ALARM
                serial = old.serial + 1
                snapshot = Snapshot(
                    self.data_type, values, new_alarm, stamp, properties, serial, self._texts
                )
                replaced, self._snapshot = self._snapshot, snapshot
                if replaced is present:
                    return snapshot, events
                # A finalizer or signal handler changed it in the middle of this: follow that.
                old, present = replaced, snapshot

    def _next_alarm(
        self,
        alarm: ChannelAlarm,
        status: int | None,
        severity: int | None,
        elements: Elements,
        properties: Properties,
    ) -> ChannelAlarm:
        """Derive the next alarm state: from *status* and *severity* if given, else from limits."""
        if status is None and severity is None:
            return self._limit_alarm(elements, properties, alarm)
        return alarm.raised(
            alarm.status if status is None else status,
            alarm.severity if severity is None else severity,
        )

    def _value_events(self, elements: Elements, properties: Properties) -> int:
        """Return VALUE and LOG if the value has changed. Arrays always count as changed."""
        if self.max_length != 1 or elements[0] != self._posted:
            self._posted = elements[0] if len(elements) else None
            return VALUE | LOG
        return 0

    def _limit_alarm(
        self, elements: Elements, properties: Properties, alarm: ChannelAlarm
    ) -> ChannelAlarm:
        return alarm

    # Clients

    def subscribe(self, subscriber: Subscriber) -> Snapshot:
        """Notify *subscriber* of changes from now on; return the present state."""
        with self._lock:
            self._subscribers = (*self._subscribers, subscriber)
            return self._snapshot

    def unsubscribe(self, subscribers: Iterable[Subscriber]) -> None:
        """Forget *subscribers*."""
        gone = set(map(id, subscribers))
        with self._lock:
            self._subscribers = tuple(
                subscriber for subscriber in self._subscribers if id(subscriber) not in gone
            )

    def listen(self, listener: RightsListener) -> None:
        """Notify *listener* of changes of the access rights."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: RightsListener) -> None:
        """Forget *listener*."""
        with self._lock:
            self._listeners = tuple(other for other in self._listeners if other is not listener)

    def abandon(self) -> None:
        """Forget all clients, in the child of a fork, where the lock may stay taken."""
        self._lock = _locks.Lock()
        self._subscribers = ()
        self._listeners = ()

    def refresh(self) -> None:
        """Call the getter, if there is one, and store what it returns."""
        if self.getter is not None:
            value = self.getter(self)
            if value is not None:
                self.write(value)

    def from_client(self, payload: Buffer, data_type: int, data_count: int) -> Elements:
        """Convert what a client has sent to elements of this channel.

        Elements beyond `max_length` are dropped, as a real IOC does.

        Parameters
        ----------
        payload : bytes-like
            As long as type and count demand, except that a single string may be shorter.
        data_type : int
            A plain type, 0 to 6.
        data_count : int

        Returns
        -------
        sequence
            For `put`.

        Raises
        ------
        CaprotoValueError
            The value cannot be converted.
        """
        source = NATIVE[data_type]
        count = min(data_count, self.max_length)
        if self._texts and source is ChannelType.STRING and count:
            text = text_of_bytes(bytes(payload[:MAX_STRING_SIZE]))
            return self._elements(text)
        if source is ChannelType.STRING:
            elements: Elements = [
                text_of_bytes(bytes(payload[start : start + MAX_STRING_SIZE]))
                for start in range(0, count * MAX_STRING_SIZE, MAX_STRING_SIZE)
            ]
        elif self.max_length == 1:
            elements = struct.unpack_from(f">{count}{LAYOUTS[source].typecode}", payload)
        else:
            elements = native_view(payload, data_type, count)
        elements = convert(elements, source, self.data_type, self._text_format)
        return self._limit(elements if self.max_length == 1 else self._freeze(elements))

    def _limit(self, elements: Elements) -> Elements:
        return elements

    def put(self, elements: Elements) -> None:
        """Do what a client asks for: call the putter, then store the value.

        Parameters
        ----------
        elements : sequence
            From `from_client`. None at all empties an array; a scalar keeps its value and gets the
            alarm LINK/INVALID.

        Raises
        ------
        Exception
            Whatever the putter raises: the write has failed.
        """
        if self.max_length == 1 and not len(elements):
            self.write(status=AlarmStatus.LINK, severity=AlarmSeverity.INVALID_ALARM)
            return
        if self.putter is not None:
            replacement = self.putter(self, self._for_putter(elements))
            if replacement is not None:
                elements = self._elements(replacement)
        self._change(elements, None, None, None, None, {})

    def _for_putter(self, elements: Elements) -> object:
        return elements[0] if self.max_length == 1 else elements

    def acknowledge(self, data_type: int, number: int) -> None:
        """Do what a client asks for by writing PUT_ACKT or PUT_ACKS."""
        alarm = self.alarm
        if data_type == ChannelType.PUT_ACKT:
            acks = alarm.severity_to_acknowledge
            alarm = dataclasses.replace(
                alarm,
                must_acknowledge_transient=bool(number),
                severity_to_acknowledge=acks if number else min(acks, alarm.severity),
            )
        else:
            alarm = alarm.acknowledged(number)
        self._change(None, self.timestamp, alarm, None, None, {})

    # Values

    def _elements(self, value: object) -> Elements:
        """Check what the server's own code writes, and convert it to elements of this channel."""
        value = self._normal(value)
        if self.max_length == 1:
            if is_sequence(value):
                if len(value) != 1:
                    raise CaprotoValueError(
                        f"{self._whoami()} has max_length=1; {len(value)} elements do not fit"
                    )
                value = value[0]
            return (self._element(value),)
        values = value if is_sequence(value) else (value,)
        if len(values) > self.max_length:
            raise CaprotoValueError(
                f"{self._whoami()} holds at most {self.max_length} elements, not {len(values)}"
            )
        return self._freeze(self._array(values))

    def _normal(self, value: object) -> object:
        """Bring *value* to the form that the checks below understand: a scalar or a sequence."""
        return value

    def _stamp(self, timestamp: Moment | None) -> TimeStamp:
        if timestamp is None:
            return self.clock()
        if isinstance(timestamp, TimeStamp):
            return timestamp
        return TimeStamp.from_flexible_value(timestamp)

    def _whoami(self) -> str:
        return f"{type(self).__name__} {self.name}".rstrip()

    def _element(self, value: object) -> object:
        """Check one element."""
        raise NotImplementedError

    def _array(self, values: Elements) -> Elements:
        """Check several elements."""
        return [self._element(value) for value in values]

    def _freeze(self, elements: Elements) -> Elements:
        """Convert elements of an array to the form of a snapshot, which never changes."""
        raise NotImplementedError


def _notify(subscribers: Iterable[Subscriber], snapshot: Snapshot, events: int) -> None:
    for subscriber in subscribers:
        if subscriber.mask & events:
            subscriber.post(snapshot, events)


def _notify_rights(listeners: Iterable[RightsListener]) -> None:
    for listener in listeners:
        listener.rights_changed()


def _text_format(properties: Properties) -> TextFormat:
    """Make the format for conversions to the channel. Floats become texts with six digits."""
    return TextFormat(properties.get("precision", 6), properties.get("enum_strings", ()))
