"""Subscriptions: every update, once, in order; what the masks and filters of an IOC let through."""
from __future__ import annotations

import re
import threading
from itertools import pairwise

import numpy
import pytest

from caproto import AccessError, AccessRights, SubscriptionType
from caproto.threading.client import Context
from tests.conformance.items import item
from tests.harness.waiting import wait_for

pytestmark = [pytest.mark.ioc]

VALUE, LOG, ALARM, PROPERTY = (
    SubscriptionType.DBE_VALUE,
    SubscriptionType.DBE_LOG,
    SubscriptionType.DBE_ALARM,
    SubscriptionType.DBE_PROPERTY,
)


class Updates(list):
    """A callback that keeps the first element of what it is given."""

    def __call__(self, response):
        self.append(response.data.tolist()[0])


class Responses(list):
    """A callback that keeps what it is given."""

    def __call__(self, response):
        self.append(response)


def monitors(ioc, record):
    """How many subscriptions the IOC knows of."""
    text = "\n".join(ioc.command(f"dbel {ioc.pv(record)}"))
    found = re.search(r"(\d+) PV Event Subscription", text)
    return int(found[1]) if found else 0


# ---- which changes


@pytest.mark.parametrize("mask", range(1, 16))
def test_each_mask_gets_the_changes_that_it_names(ioc, ctx, mask):
    (pv,) = ctx.get_pvs(ioc.pv("double"))
    for field, value in [
        ("double.ADEL", 10), ("double.EGU", "mm"), ("double.HOPR", 100),
        ("double.LOPR", -100), ("double", 50), ("double", 0),
    ]:  # fmt: skip
        ioc.put(field, value)
    updates = Updates()
    pv.subscribe(mask=mask, data_type="control").add_callback(updates)
    wait_for(lambda: updates)
    expected = [0]  # the first one comes in any case
    for field, value, kinds in [
        ("double", 5, VALUE),
        ("double", 20, VALUE | LOG),  # more than ADEL
        ("double", 75, VALUE | LOG | ALARM),
        ("double", 78, VALUE),
        ("double.EGU", "m", PROPERTY),
        ("double", 82, VALUE | ALARM),
        ("double", 0, VALUE | LOG | ALARM),
        ("double.HOPR", 200, PROPERTY),
        ("double", 77, VALUE | LOG | ALARM),
        ("double.LOPR", -5, PROPERTY),
    ]:
        ioc.put(field, value)
        if kinds & mask:
            expected.append(float(ioc.get("double")))
    wait_for(lambda: len(updates) >= len(expected), message=lambda: f"{updates}, {expected}")
    assert updates == expected


def test_the_default_is_value_and_alarm(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("double"))
    sub = pv.subscribe()
    assert sub.mask == VALUE | ALARM
    assert pv.subscribe(mask=VALUE | ALARM) is sub is pv.subscribe(mask=5)
    assert pv.subscribe(mask=VALUE) is not sub


def test_a_property_event_brings_the_new_limits(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("long"))
    updates = Responses()
    pv.subscribe(mask=PROPERTY, data_type="control").add_callback(updates)
    wait_for(lambda: updates)
    # An IOC reads the limits when it sends them, so they must have come before the next change.
    for number in range(1, 6):
        ioc.put("long.HOPR", number)
        wait_for(lambda: updates[-1].metadata.upper_disp_limit == number)  # noqa: B023
    ioc.put("long.EGU", "apples")
    wait_for(lambda: updates[-1].metadata.units == b"apples")
    limits = [update.metadata.upper_disp_limit for update in updates]
    assert limits == [1_000_000, 1, 2, 3, 4, 5, 5]


def test_alarm_and_time_come_with_each_update(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("double"))
    ioc.put("double", 1)
    updates = Responses()
    pv.subscribe(data_type="time").add_callback(updates)
    wait_for(lambda: updates)
    for value in (75, 85, -85, 0):
        ioc.put("double", value)
    wait_for(lambda: updates[-1].data[0] == 0)
    alarms = [(u.metadata.severity.name, u.metadata.status.name) for u in updates]
    assert alarms == [
        ("NO_ALARM", "NO_ALARM"), ("MINOR_ALARM", "HIGH"), ("MAJOR_ALARM", "HIHI"),
        ("MAJOR_ALARM", "LOLO"), ("NO_ALARM", "NO_ALARM"),
    ]  # fmt: skip
    stamps = [update.metadata.stamp for update in updates]
    assert stamps == sorted(set(stamps))
    assert stamps[-1] == pv.read(data_type="time").metadata.stamp


def test_a_dead_band_filter_of_the_server(ioc, ctx):
    pv, plain = ctx.get_pvs(ioc.pv('double.{"dbnd":{"abs":1.5}}'), ioc.pv("double"))
    ioc.put("double", 0)
    filtered, everything = Updates(), Updates()
    pv.subscribe().add_callback(filtered)
    plain.subscribe().add_callback(everything)
    wait_for(lambda: filtered and everything)
    values = [1, 1.4, 2, 3, 3.4, 3.6, 2.2, -10]
    for value in values:
        ioc.put("double", value)
    wait_for(lambda: filtered[-1] == everything[-1] == -10)
    assert everything == [0, *values]
    assert filtered == [0, 2, 3.6, -10]
    assert pv.read().data.tolist() == [-10]


@item(54)
@pytest.mark.parametrize("data_type", ["native", "time"])
def test_arrays_of_any_length_come_as_updates(ioc, ctx, data_type):
    (pv,) = ctx.get_pvs(ioc.pv("empty"))
    pv.write([])
    updates = Responses()
    pv.subscribe(data_type=data_type).add_callback(updates)
    wait_for(lambda: updates)
    arrays = [[1, 2], [], [3], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], []]
    for number, array in enumerate(arrays):
        pv.write(array)
        # An IOC reads an array when it sends it, so one must have come before the next change.
        wait_for(lambda: len(updates) > number + 1)  # noqa: B023
    assert [update.data.tolist() for update in updates] == [[], *arrays]


def test_a_part_of_an_array_can_be_subscribed(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("array_long"))
    pv.write([1, 2, 3, 4])
    part, more = Responses(), Responses()
    pv.subscribe(data_count=2).add_callback(part)
    pv.subscribe(data_count=1000).add_callback(more)  # more than there can be: clipped
    wait_for(lambda: part and more)
    assert part[0].data.tolist() == [1, 2]
    assert more[0].data.tolist() == [1, 2, 3, 4] + 96 * [0]


# ---- every update, once, in order


def test_every_update_of_100_a_second_arrives_once_and_in_order(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("fast_counter"))
    all_updates = {}
    for data_type in ("native", "time", "control"):
        all_updates[data_type] = updates = Updates()
        pv.subscribe(data_type=data_type).add_callback(updates)
    wait_for(lambda: all(len(updates) >= 150 for updates in all_updates.values()))
    for updates in all_updates.values():
        assert {after - before for before, after in pairwise(list(updates))} == {1}


def test_ten_thousand_updates_of_many_channels(start_ioc):
    """Each changes whenever we say so, and each change is told to each of two clients."""
    text = 'record(ao, "$(P)first") { field(FLNK, "$(P)c0") }\n' + "\n".join(
        f'record(calc, "$(P)c{i}") {{ field(CALC, "VAL+1") field(FLNK, "$(P)c{i + 1}") }}'
        for i in range(25)
    )
    process = start_ioc([text])
    with Context(configuration=process.configuration, timeout=20) as one, Context(
        configuration=process.configuration, timeout=20
    ) as two:
        names = [process.pv(f"c{i}") for i in range(25)]
        lists = []
        for context in (one, two):
            for pv in context.get_pvs(*names):
                lists.append(Updates())
                pv.subscribe().add_callback(lists[-1])
        wait_for(lambda: all(lists))
        (trigger,) = one.get_pvs(process.pv("first"))
        for number in range(1, 201):
            trigger.write(number)
            if number % 2 == 0:  # a server that has too much to tell leaves values out
                wait_for(lambda: all(updates[-1] == number for updates in lists))  # noqa: B023
        assert all(updates == list(range(201)) for updates in lists)


def test_several_subscriptions_of_one_channel_are_independent(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("string"))
    one, two, three = Responses(), Responses(), Responses()
    sub = pv.subscribe()
    token = sub.add_callback(one)
    pv.subscribe().add_callback(two)
    pv.subscribe(data_type="time").add_callback(three)
    wait_for(lambda: one and two and three)
    assert monitors(ioc, "string") == 2  # the same arguments cost the server nothing more
    sub.remove_callback(token)
    pv.write("further")
    wait_for(lambda: two[-1].strings == three[-1].strings == ["further"])
    assert len(one) == 1
    sub.clear()
    wait_for(lambda: monitors(ioc, "string") == 1)  # the thread of the circuit sends it
    pv.write("and further")
    wait_for(lambda: three[-1].strings == ["and further"])
    assert len(two) == 2
    sub.add_callback(one)
    wait_for(lambda: len(one) == 2)
    assert one[-1].strings == ["and further"]
    assert monitors(ioc, "string") == 2
    pv.unsubscribe_all()
    wait_for(lambda: monitors(ioc, "string") == 0)


def test_a_callback_that_is_collected_ends_the_subscription_at_the_server(ioc, ctx):
    (pv,) = ctx.get_pvs(ioc.pv("string"))
    updates = Updates()
    pv.subscribe().add_callback(updates)
    wait_for(lambda: monitors(ioc, "string") == 1)
    del updates
    wait_for(lambda: monitors(ioc, "string") == 0)


# ---- access rights


@item(34, 56)
def test_access_rights_can_change_at_any_time(ioc, ctx, caplog):
    told = []

    def on_rights(pv, rights):
        told.append(rights)

    (pv,) = ctx.get_pvs(ioc.pv("switchable"), access_rights_callback=on_rights)
    updates = Updates()
    pv.subscribe().add_callback(updates)
    wait_for(lambda: told and updates)
    both = AccessRights.READ | AccessRights.WRITE
    assert told == [both] == [pv.access_rights]

    ioc.put("switchable.ASG", "READONLY")
    wait_for(lambda: pv.access_rights == AccessRights.READ)
    with pytest.raises(AccessError, match="T:switchable.*ECA_NOWTACCESS"):
        pv.write(1)
    assert pv.read().data.tolist() == [9]
    ioc.put("switchable", 10)
    wait_for(lambda: updates[-1] == 10)

    assert not caplog.records
    ioc.put("switchable.ASG", "NOACCESS")
    wait_for(lambda: pv.access_rights == AccessRights.NO_ACCESS)
    with pytest.raises(AccessError, match="T:switchable.*ECA_NORDACCESS"):
        pv.read()
    wait_for(lambda: caplog.records)
    for value in (11, 12, 13):
        ioc.put("switchable", value)
    assert pv.connected

    ioc.put("switchable.ASG", "DEFAULT")
    wait_for(lambda: updates[-1] == 13)
    assert not {11, 12} & set(updates)
    pv.write(14)
    wait_for(lambda: updates[-1] == 14)
    wait_for(lambda: told == [both, AccessRights.READ, AccessRights.NO_ACCESS, both])
    (record,) = caplog.records  # said once, not with each update
    assert record.pv == pv.name and "ECA_NORDACCESS" in record.getMessage()


# ---- callbacks that take their time


def test_a_callback_may_read_and_write_and_wait(ioc, ctx):
    (pv, other, slow) = ctx.get_pvs(ioc.pv("long"), ioc.pv("double"), ioc.pv("slow"))
    other.wait_for_connection()
    seen = []
    last = threading.Event()

    def callback(response):
        value = int(response.data[0])
        other.write(value)
        seen.append((value, int(other.read().data[0]), other.read(data_type="STRING").strings))
        if value == 3:
            slow.write(1)  # half a second
        if value == 9:
            last.set()

    pv.write(0)
    pv.subscribe().add_callback(callback)
    wait_for(lambda: seen)
    for value in range(1, 10):
        pv.write(value)
    assert last.wait(20)
    assert seen == [(value, value, [f"{value}.000"]) for value in range(10)]


def test_a_state_callback_may_read_and_write_and_wait(ioc, ctx):
    seen = []

    def callback(pv, state):
        pv.write(5)
        seen.append((state, pv.read().data.tolist()))

    ctx.get_pvs(ioc.pv("long"), connection_state_callback=callback)
    wait_for(lambda: seen)
    assert seen == [("connected", [5])]


MIB = 1 << 20


@item(55)
def test_a_server_faster_than_the_callbacks_does_not_fill_the_memory(ioc, ctx):
    """Updates of 1 MiB, and a callback that hangs: memory is bounded, the last value comes."""
    (pv, other) = ctx.get_pvs(ioc.pv("million"), ioc.pv("double"))
    other.write(1)
    array = numpy.zeros(MIB // 8)
    pv.write(array)
    release, seen = threading.Event(), []

    def callback(response):
        release.wait(60)
        seen.append(response.data[0])

    pv.subscribe(data_type="time").add_callback(callback)
    manager = pv.circuit_manager
    with Context(configuration=ioc.configuration, timeout=30) as writer:
        (source,) = writer.get_pvs(pv.name)

        def write_until(done):
            while not done():
                assert array[0] < 1000, "the server was not told to hold its updates"
                array[0] += 1
                source.write(array, wait=False)
                if array[0] % 10 == 0:  # now and then wait for the server
                    source.read(data_count=1)
            source.read(data_count=1)

        write_until(lambda: manager.pauses)
        until, largest = array[0] + 100, 0
        write_until(lambda: array[0] >= until)
        for _ in range(50):  # what is asked for is not held back
            assert other.read().data.tolist() == [1]
            largest = max(largest, manager.backlog)
        assert not seen
        assert 50 * MIB < largest < 150 * MIB

        release.set()
        wait_for(lambda: seen and seen[-1] == array[0], message="the last value")
        # An IOC reads an array when it sends it: a value may come twice, and none goes backwards.
        assert seen == sorted(seen)
        assert len(seen) < array[0] - 50  # what was held is left out
        wait_for(lambda: not manager.backlog)

        until = array[0] + 10
        write_until(lambda: array[0] >= until)
        wait_for(lambda: seen[-1] == array[0], message="updates go on")
        assert manager.pauses == 1


@item(55)
def test_a_user_may_hold_the_updates(ioc, ctx):
    (pv, other) = ctx.get_pvs(ioc.pv("long"), ioc.pv("double"))
    pv.write(0)
    updates = Updates()
    pv.subscribe().add_callback(updates)
    wait_for(lambda: updates == [0])
    pv.circuit_manager.events_off()
    for value in range(1, 101):
        pv.write(value)
    other.read()
    assert len(updates) < 10  # what was under way, perhaps
    pv.circuit_manager.events_on()
    wait_for(lambda: updates[-1] == 100)
    assert updates == sorted(set(updates))
    pv.write(101)
    wait_for(lambda: updates[-1] == 101)
