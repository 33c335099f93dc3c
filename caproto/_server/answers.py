"""How reads, writes and monitors are answered: from a request and a PV to a message.

Nothing here uses a circuit or a queue. Each function takes the request, the channel that it is
about, and what messages the client can take; it returns the message.
"""
from __future__ import annotations

from .._errors import CaprotoError, Forbidden, SkipWrite
from .._log import CHANNEL_LOGGER, adapter
from .._protocol.commands import (
    ErrorResponse,
    EventAddRequest,
    EventAddResponse,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
    WriteNotifyRequest,
    WriteNotifyResponse,
    WriteRequest,
)
from .._protocol.dbr import LAYOUTS, AccessRights, ChannelType
from .._protocol.headers import MARKER
from .._protocol.message import Message
from .._protocol.payload import payload_size
from .._protocol.status import CAStatus
from .._typing import NamedTuple
from .conversions import Elements
from .directory import View
from .open_channel import OpenChannel
from .snapshot import Refused, Snapshot
from .updates import Monitor

__all__ = [
    "Reach",
    "call_getter",
    "call_putter",
    "read_answer",
    "read_notify_answer",
    "update_message",
    "write_answer",
    "write_notify_answer",
    "written_elements",
]

_log = adapter(CHANNEL_LOGGER)

_ACKNOWLEDGEMENTS = (ChannelType.PUT_ACKT, ChannelType.PUT_ACKS)


class Reach(NamedTuple):
    """Which messages a client can take."""

    #: The largest payload, in bytes.
    max_payload: int
    #: Whether it understands extended headers.
    extended: bool

    def refusal(self, payload: bytes, count: int) -> CAStatus | None:
        """Say why a value cannot be sent to this client; None if it can."""
        if len(payload) > self.max_payload:
            return CAStatus.ECA_TOLARGE
        if not self.extended and (len(payload) >= MARKER or count >= MARKER):
            return CAStatus.ECA_16KARRAYCLIENT
        return None


# --- reading


def call_getter(view: View) -> CAStatus:
    """Call the getter, the user's code, if there is one; returns its status."""
    try:
        view.data.refresh()
    except Refused as exc:
        default = exc.status is CAStatus.ECA_PUTFAIL
        return CAStatus.ECA_GETFAIL if default else exc.status
    except (Exception, SystemExit):
        _log.exception("the getter of %s failed", view.name)
        return CAStatus.ECA_GETFAIL
    return CAStatus.ECA_NORMAL


def read_notify_answer(
    command: ReadNotifyRequest, channel: OpenChannel, status: CAStatus, reach: Reach
) -> Message:
    """Answer READ_NOTIFY with the present value, or with zeros and *status*."""
    _, _, data_type, data_count, _, ioid = command.fields
    view = channel.view
    if status is CAStatus.ECA_NORMAL:
        payload, count, status = _value(view, data_type, data_count)
    else:
        payload, count = _zeros(data_type, min(data_count, view.data_count))
    refusal = reach.refusal(payload, count)
    if refusal is not None:
        return ErrorResponse(command, channel.cid, refusal, view.name)
    fields = (ReadNotifyResponse.ID, len(payload), data_type, count, int(status), ioid)
    return ReadNotifyResponse.from_wire(fields, payload)


def read_answer(
    command: ReadRequest, channel: OpenChannel, status: CAStatus, reach: Reach
) -> Message:
    """Answer the obsolete READ: failures are ERROR messages, count 0 means 0, a string is short."""
    _, _, data_type, data_count, _, ioid = command.fields
    view = channel.view
    payload, count = b"", 0
    if status is CAStatus.ECA_NORMAL and data_count:
        payload, count, status = _value(view, data_type, data_count)
    if data_type == ChannelType.STRING and count == 1:
        text = payload.rstrip(b"\0") + b"\0"
        payload = text.ljust((len(text) + 7) & -8, b"\0")
    refusal = reach.refusal(payload, count) or status
    if refusal is not CAStatus.ECA_NORMAL:
        return ErrorResponse(command, channel.cid, refusal, view.name)
    fields = (ReadResponse.ID, len(payload), data_type, count, channel.cid, ioid)
    return ReadResponse.from_wire(fields, payload)


def update_message(
    monitor: Monitor, snapshot: Snapshot, readable: bool, reach: Reach
) -> Message:
    """Compose an update with *snapshot* or, if the client may not read, with zeros."""
    _, _, data_type, data_count, _, subid = monitor.request
    status = int(CAStatus.ECA_NORMAL)
    try:
        if not readable:
            raise Refused("", CAStatus.ECA_NORDACCESS)
        payload, count = snapshot.encode(data_type, data_count)
    except Refused as exc:
        payload, count = _zeros(data_type, data_count)
        status = int(exc.status)
    refusal = reach.refusal(payload, count)
    if refusal is not None:
        request = EventAddRequest.from_wire(monitor.request, b"")
        return ErrorResponse(request, monitor.channel.cid, refusal, monitor.channel.name)
    fields = (EventAddResponse.ID, len(payload), data_type, count, status, subid)
    return EventAddResponse.from_wire(fields, payload)


def _value(view: View, data_type: int, data_count: int) -> tuple[bytes, int, CAStatus]:
    """Return payload, count and status of a reply that carries the present value."""
    try:
        if data_count > view.data_count:
            raise Refused(f"{data_count} elements of {view.data_count}", CAStatus.ECA_BADCOUNT)
        payload, count = view.select(view.data.snapshot).encode(data_type, data_count)
    except Refused as exc:
        return *_zeros(data_type, min(data_count, view.data_count)), exc.status
    return payload, count, CAStatus.ECA_NORMAL


def _zeros(data_type: int, data_count: int) -> tuple[bytes, int]:
    """Return what is sent instead of a value: zeros, and the element count."""
    if data_type >= len(LAYOUTS):
        return b"", 0
    return bytes(payload_size(data_type, data_count)), data_count


# --- writing


def written_elements(
    command: WriteRequest | WriteNotifyRequest, channel: OpenChannel
) -> Elements | None:
    """Return the elements to be written; None for an acknowledgement, which is done here.

    Raises
    ------
    Refused
        With the status to send to the client.
    """
    _, _, data_type, count, _, _ = command.fields
    if not channel.rights & AccessRights.WRITE:
        raise Refused("no write access", CAStatus.ECA_NOWTACCESS)
    if data_type >= len(LAYOUTS):
        raise Refused(f"{data_type} is not a type", CAStatus.ECA_BADTYPE)
    if data_type > ChannelType.DOUBLE and data_type not in _ACKNOWLEDGEMENTS:
        raise Refused("only plain types can be written", CAStatus.ECA_PUTFAIL)
    size = len(command.payload)
    if size < LAYOUTS[data_type].item_size * count and not (
        data_type == ChannelType.STRING and count == 1 and size
    ):
        raise Refused("the payload is too short", CAStatus.ECA_BADCOUNT)
    view = channel.view
    try:
        if data_type in _ACKNOWLEDGEMENTS:
            view.data.acknowledge(data_type, int.from_bytes(command.payload[:2], "big"))
            return None
        return view.from_client(command.payload, data_type, count)
    except CaprotoError as exc:
        _log.debug("%s: %s", view.name, exc)
        raise Refused(str(exc), CAStatus.ECA_PUTFAIL) from exc


def call_putter(view: View, elements: Elements | None) -> CAStatus:
    """Call the putter, the user's code, if there is one, then store; returns its status."""
    if elements is None:
        return CAStatus.ECA_NORMAL
    try:
        view.data.put(elements)
    except Refused as exc:
        return exc.status
    except SkipWrite:
        return CAStatus.ECA_NORMAL
    except Forbidden as exc:
        _log.debug("%s: %s", view.name, exc)
        return CAStatus.ECA_NOWTACCESS
    except (Exception, SystemExit):
        _log.exception("the putter of %s failed", view.name)
        return CAStatus.ECA_PUTFAIL
    return CAStatus.ECA_NORMAL


def write_answer(
    command: WriteRequest, channel: OpenChannel, status: CAStatus
) -> Message | None:
    """Answer WRITE: only its failure is reported."""
    if status.success:
        return None
    return ErrorResponse(command, channel.cid, status, channel.view.name)


def write_notify_answer(
    command: WriteNotifyRequest, channel: OpenChannel, status: CAStatus
) -> Message:
    """Answer WRITE_NOTIFY: its completion."""
    _, _, data_type, count, _, ioid = command.fields
    fields = (WriteNotifyResponse.ID, 0, data_type, count, int(status), ioid)
    return WriteNotifyResponse.from_wire(fields, b"")
