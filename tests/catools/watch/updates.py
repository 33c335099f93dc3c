"""Updates as a server sends them, for tests without one."""
from __future__ import annotations

from caproto import DBR_CTRL_DOUBLE, CAStatus, ChannelType, EventAddResponse, TimeStamp
from caproto._catools.settings import Settings
from caproto._catools.watch.rows import Row

#: POSIX seconds of their time stamps.
MOMENT = 1_000_000_000.0


def update(
    data, data_type=ChannelType.TIME_DOUBLE, *, severity=0, status=0, time=MOMENT,
    reply=CAStatus.ECA_NORMAL,
):
    """An update with one element, or with those of a list, with alarm and time."""
    elements = data if isinstance(data, list) else [data]
    stamp = TimeStamp.from_flexible_value(time) if time else TimeStamp(0, 0)
    return EventAddResponse(
        elements, data_type, len(elements), reply, 0, metadata=(status, severity, stamp)
    )


def properties(**facts):
    """An update of what describes a channel."""
    return EventAddResponse(
        [0.0], ChannelType.CTRL_DOUBLE, 1, CAStatus.ECA_NORMAL, 0,
        metadata=DBR_CTRL_DOUBLE(**facts),
    )


def row(name="x", *numbers, room=1, **facts):
    """A row that is connected and has taken over an update for each number."""
    made = Row(name, Settings("caproto-monitor"))
    made.note_connected(room)
    for number in numbers:
        made.note_update(update(number, **facts))
    made.take()
    return made
