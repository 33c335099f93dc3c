"""Writing a PV while Ctrl-C, a finalizer or a signal handler interrupts it."""
from __future__ import annotations

import itertools

from caproto import AccessRights, AlarmSeverity
from caproto.server import ChannelDouble
from tests.harness.interrupts import enter_each_line, interrupt_each_line
from tests.server.test_data import Listener


def newest(listener: Listener):
    """The value that a client, who takes no older one after a newer, sees in the end."""
    return max(listener.posted, key=lambda posted: posted[0].serial)[0].elements[0]


def test_clients_hear_of_a_write_that_was_interrupted_at_any_line():
    channel = ChannelDouble(value=0.0, upper_alarm_limit=100.0)
    listener = Listener()
    channel.subscribe(listener)
    values = itertools.count(1)

    def write() -> None:
        channel.write(next(values))

    write()
    places = 0
    for where in interrupt_each_line(write):
        places += 1
        assert newest(listener) == channel.value, where
        expected = AlarmSeverity.MAJOR_ALARM if channel.value >= 100 else 0
        assert channel.alarm.severity == expected, where
        channel.write(channel.value)  # it can be written again
    assert places > 20


def test_clients_hear_of_other_rights_although_it_was_interrupted():
    told = []

    class RightsListener:
        def rights_changed(self) -> None:
            told.append(channel.access_rights)

    channel = ChannelDouble()
    channel.listen(RightsListener())
    rights = itertools.cycle([AccessRights.READ, AccessRights.READ | AccessRights.WRITE])

    def change() -> None:
        channel.access_rights = next(rights)

    change()
    places = 0
    for where in interrupt_each_line(change):
        places += 1
        assert told[-1] == channel.access_rights, where
    assert places > 3


def test_a_write_inside_of_a_write_at_any_line_is_not_lost():
    """A signal handler or a finalizer may write the same PV."""
    channel = ChannelDouble(value=0.0)
    listener = Listener()
    channel.subscribe(listener)
    values = itertools.count(1)
    written: list[int] = []

    def write() -> None:
        written.append(next(values))
        channel.write(written[-1])

    places = 0
    for where in enter_each_line(write, write):
        places += 1
        assert channel.value in written[-2:], where
        assert newest(listener) == channel.value, where
        serials = [snapshot.serial for snapshot, _ in listener.posted]
        assert len(set(serials)) == len(serials), where  # none replaced another one unseen
    assert places > 20


def test_a_write_of_the_same_value_inside_of_a_write_does_not_swallow_the_event():
    channel = ChannelDouble(value=0.0)
    listener = Listener()
    channel.subscribe(listener)
    values = itertools.count(1)
    current = [0]

    def write() -> None:
        current[0] = next(values)
        channel.write(current[0])

    for where in enter_each_line(write, lambda: channel.write(current[0])):
        assert newest(listener) == channel.value == current[0], where
