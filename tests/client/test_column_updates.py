"""Updates of a table: the latest of each PV, and all in their order."""
from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caproto as ca
from caproto import ChannelType, DisconnectedError
from caproto._client.column_updates import AllUpdates, LatestUpdates
from caproto._client.columns import Columns, TableForm
from caproto._client.table_snapshot import TableSnapshot
from caproto._client.table_state import TableState
from caproto._protocol.id_ranges import Block, IdRange

DOUBLE = ChannelType.TIME_DOUBLE
NAMES = ["a", "b", "c", "d"]


def update(row: int, value: float, severity: int = 0) -> ca.EventAddResponse:
    metadata = severity, severity, ca.TimeStamp(int(value) + 10, row)
    return ca.EventAddResponse(value, DOUBLE, 1, 1, 100 + row, metadata=metadata)


class Alarm:
    """A waiter."""

    def __init__(self) -> None:
        self.rung = 0

    def answered(self, response: object) -> None:
        self.rung += 1


class Interrupted(Alarm):
    """A waiter that a Ctrl-C strikes when it is called first."""

    def answered(self, response: object) -> None:
        super().answered(response)
        if self.rung == 1:
            raise KeyboardInterrupt


class World:
    """A table of four connected PVs, its subscriptions, and a server that sends updates."""

    def __init__(self, dtype: object = float) -> None:
        self.now = 5.0
        self.state = TableState(TableForm(NAMES, "time", dtype, 1), threading.Lock())
        self.connect(True)
        self.range = IdRange(1, int(DOUBLE), 1, 100, 4)
        self.range.fill(np.arange(4, dtype=np.uint32), np.arange(4))
        self.latest = LatestUpdates(self.state, 5)
        self.all = AllUpdates(self.state, 5, lambda: self.now)
        for sink in (self.latest, self.all):
            sink.begin(range(4))

    def connect(self, connected: bool, *rows: int) -> None:
        where = np.array(rows or range(4))
        self.state.connections(where, [SimpleNamespace(connected=connected)] * len(where))

    def block(self, *updates: ca.Message, command: int = 1) -> None:
        block = Block.from_wire((command, *updates[0].fields[1:]), b"")
        block.range = self.range
        block.offsets = np.array([one.fields[5] - 100 for one in updates])
        block.records = np.frombuffer(b"".join(map(bytes, updates)), "V40")
        for sink in (self.latest, self.all):
            sink.take(block)

    def alone(self, message: ca.Message | ca.CaprotoError, row: int | None = None) -> None:
        offset = message.fields[5] - 100 if row is None else row
        for sink in (self.latest, self.all):
            sink.take_one(self.range, offset, message)

    def snapshot(self) -> TableSnapshot:
        return self.latest.snapshot(lambda row, reason: ca.CaprotoError(f"{row}: {reason}"))[0]


def take_all(updates: AllUpdates):
    """Take what has come; None if that is nothing."""
    batch = updates.cut()
    if batch is None:
        return None
    updates.join(batch)
    return batch.pop()


@pytest.fixture
def world() -> World:
    return World()


class TestLatest:
    def test_the_last_of_each_with_alarm_and_time(self, world):
        world.block(update(0, 1.0), update(1, 2.0), update(0, 3.0, severity=2))
        world.alone(update(2, 4.0))
        snap = world.snapshot()
        assert snap.values[:3].tolist() == [3.0, 2.0, 4.0] and np.isnan(snap.values[3])
        assert snap.ok.tolist() == [True, True, True, False]
        assert snap.severity.tolist() == [2, 0, 0, 0]
        assert snap.timestamps[1] == np.datetime64("1990-01-01T00:00:12.000000001")

    def test_a_snapshot_is_a_copy(self, world):
        world.block(update(0, 1.0), update(1, 2.0))
        before = world.snapshot()
        world.block(update(0, 9.0), update(1, 9.0))
        assert before.values[:2].tolist() == [1.0, 2.0]
        assert world.latest.column("values")[:2].tolist() == [9.0, 9.0]

    def test_what_has_changed_since_a_version(self, world):
        world.block(update(0, 1.0), update(1, 2.0))
        version = world.latest.version
        assert world.latest.changed(0).tolist() == [0, 1]
        world.alone(update(3, 1.0))
        assert world.latest.changed(version).tolist() == [3]
        assert world.latest.changed(world.latest.version).tolist() == []

    def test_a_row_that_is_refused_has_an_error_until_an_update_comes(self, world):
        world.block(update(0, 1.0), update(1, 2.0))
        refusal = ca.EventAddResponse.from_wire((1, 24, 20, 1, 48, 101), bytes(24))
        world.alone(refusal)
        world.alone(ca.ReadError("too large"), 2)
        snap = world.snapshot()
        assert set(snap.errors) == {"b", "c", "d"}
        assert snap.ok.tolist() == [True, False, False, False]
        assert len(world.latest.changed(1)) == 2
        world.block(update(1, 5.0), update(1, 6.0))
        world.alone(update(2, 7.0))
        assert list(world.snapshot().errors) == ["d"]

    def test_another_number_of_elements_is_an_error(self, world):
        world.alone(ca.EventAddResponse([1.0, 2.0], DOUBLE, 2, 1, 100))
        assert "2 elements came" in str(world.snapshot().errors["a"])

    def test_a_lost_row_keeps_its_value_and_is_not_ok(self, world):
        world.block(update(0, 1.0), update(1, 2.0))
        world.connect(False, 0)
        snap = world.snapshot()
        assert snap.ok.tolist()[:2] == [False, True] and snap.connected.tolist()[0] is False
        assert snap.values[0] == 1.0
        world.latest.lost(world.range, [0], DisconnectedError("gone"))
        world.connect(True, 0)
        assert not world.snapshot().ok[0] and not world.latest.subscribed(0)
        world.latest.begin([0])
        world.alone(update(0, 3.0))
        assert world.snapshot().ok[0] and world.latest.subscribed(0)

    def test_a_lost_row_has_no_refusal_any_more(self, world):
        for row in (0, 1):
            world.alone(ca.ReadError("too large"), row)
        world.latest.lost(world.range, [0, 2], DisconnectedError("gone"))
        assert [str(error) for error in world.snapshot().errors.values()][:3] == [
            "'a' has had no value yet", "1: too large", "'c' has had no value yet"
        ]

    def test_what_a_table_has_is_the_newest_of_reads_and_monitors(self, world):
        read = Columns(world.state.form)
        for row, value in enumerate([5.0, 1.0, 3.0]):
            message = ca.ReadNotifyResponse(
                value, DOUBLE, 1, 1, 0, metadata=(0, 0, ca.TimeStamp(int(value) + 10, row))
            )
            read.store_one(row, message)
        world.state.latest = read
        world.block(update(0, 4.0), update(1, 2.0))
        world.alone(update(3, 6.0))
        world.latest.lost(world.range, [1], DisconnectedError("gone"))
        world.latest.close()
        world.latest.close()
        latest = world.state.latest
        assert latest.values.tolist() == [5.0, 2.0, 3.0, 6.0]
        assert latest.ok.tolist() == [True, False, True, True]
        assert read.values.tolist()[:3] == [5.0, 1.0, 3.0] and np.isnan(read.values[3])

    @pytest.mark.parametrize("mask, expected", [(5, 2.0), (8, 1.0)])
    def test_without_times_a_monitor_of_values_is_newer_than_a_read(self, mask, expected):
        state = TableState(TableForm(["a"], "native", float, 1), threading.Lock())
        state.latest, latest = Columns(state.form), LatestUpdates(state, mask)
        for columns, value in ((state.latest, 1.0), (latest.columns, 2.0)):
            columns.store_one(0, ca.ReadNotifyResponse(value, ChannelType.DOUBLE, 1, 1, 0))
        latest.close()
        assert state.latest.values.tolist() == [expected]

    def test_the_loss_of_many_that_are_refused_takes_no_time_for_each_pair(self):
        """The lock is that of all tables of a Context, so it is held for the least time."""
        size, names = 20_000, [f"pv{number}" for number in range(20_000)]
        latest = LatestUpdates(TableState(TableForm(names, "time", float, 1), threading.Lock()), 5)
        rows = IdRange(1, int(DOUBLE), 1, 100, size)
        rows.fill(np.arange(size, dtype=np.uint32), np.arange(size))
        for row in range(size):
            latest.refuse(row, DisconnectedError("no"))
        begun = time.thread_time()
        latest.lost(rows, range(size), DisconnectedError("gone"))
        assert time.thread_time() - begun < 1  # it took minutes
        errors = latest.snapshot(lambda row, reason: reason)[0].errors
        assert str(errors["pv19999"]) == "'pv19999' is not connected" and len(errors) == size

    def test_a_connection_is_a_change(self, world):
        alarm = Alarm()
        world.latest.wait_for(alarm, lambda: False)
        version = world.latest.version
        world.latest.connections(np.array([1, 3]))
        assert alarm.rung == 1 and world.latest.changed(version).tolist() == [1, 3]

    def test_it_says_in_which_form_updates_are_wanted(self):
        latest = World([float, str, float, int]).latest
        forms = [latest.form(row) for row in range(4)]
        assert forms == [(kind, 1) for kind in (
            DOUBLE, ChannelType.TIME_STRING, DOUBLE, ChannelType.TIME_LONG
        )]  # fmt: skip

    def test_those_that_wait_are_woken_once(self, world):
        alarm = Alarm()
        assert world.latest.wait_for(alarm, lambda: False)
        world.block(update(0, 1.0), update(1, 2.0))
        world.block(update(0, 1.0), update(1, 2.0))
        assert alarm.rung == 1
        assert not world.latest.wait_for(alarm, lambda: True)

    def test_the_end_wakes_them_too(self, world):
        alarm = Alarm()
        world.latest.wait_for(alarm, lambda: False)
        world.latest.close()
        assert alarm.rung == 1 and world.latest.closed
        assert not world.latest.wait_for(alarm, lambda: False)

    def test_an_end_that_was_interrupted_can_be_repeated(self, world):
        alarm = Alarm()
        world.latest.wait_for(Interrupted(), lambda: False)
        world.latest.wait_for(alarm, lambda: False)
        with pytest.raises(KeyboardInterrupt):
            world.latest.close()
        world.latest.close()
        assert alarm.rung == 1


class TestAll:
    def test_every_update_in_its_order(self, world):
        world.block(update(2, 1.0), update(0, 2.0), update(2, 3.0))
        world.alone(update(1, 4.0))
        found = take_all(world.all)
        assert found.index.tolist() == [2, 0, 2, 1] and len(found) == 4
        assert found.value.tolist() == [1.0, 2.0, 3.0, 4.0]
        assert found.timestamp[3] == np.datetime64("1990-01-01T00:00:14.000000001")
        assert not found.gap.any() and take_all(world.all) is None

    def test_the_first_one_after_a_loss_is_marked(self, world):
        world.block(update(0, 1.0), update(1, 1.0))
        world.all.lost(world.range, [0, 1], DisconnectedError("gone"))
        world.all.begin([0, 1])
        world.block(update(0, 2.0), update(2, 2.0), update(0, 3.0), update(0, 4.0))
        world.alone(update(1, 2.0))
        world.alone(update(1, 3.0))
        found = take_all(world.all)
        assert found.gap.tolist() == [False, False, True, False, False, False, True, False]

    def test_a_refresh_is_no_update(self, world):
        answers = [
            ca.ReadNotifyResponse(1.0, DOUBLE, 1, 1, 100 + row) for row in range(3)
        ]
        world.block(*answers, command=15)
        world.alone(answers[0])
        assert take_all(world.all) is None
        assert world.snapshot().ok.tolist() == [True, True, True, False]

    def test_the_backlog_is_what_was_not_taken(self, world):
        assert world.all.load(6.0) == (0, 0.0)
        world.block(update(0, 1.0), update(1, 1.0))
        size, age = world.all.load(7.5)
        assert size == 2 * (8 + 8 + 8 + 2 + 2 + 1) and age == 2.5
        take_all(world.all)
        assert world.all.load(8.0) == (0, 0.0)

    @pytest.mark.parametrize("count, least", [(1, 24), (1000, 8000)])
    def test_the_backlog_of_mixed_types_has_all_that_is_held(self, count, least):
        """Not only the references of a column of objects."""
        state = TableState(TableForm(["a", "b"], "time", [float, str], count), threading.Lock())
        updates, rows = AllUpdates(state, 5, lambda: 5.0), IdRange(1, int(DOUBLE), count, 100, 2)
        rows.fill(np.arange(2, dtype=np.uint32), np.arange(2))
        metadata = 0, 0, ca.TimeStamp(9, 0)
        message = ca.EventAddResponse(np.ones(count), DOUBLE, count, 1, 100, metadata=metadata)
        updates.take_one(rows, 0, message)
        alone = updates.load(5.0)[0]
        assert least <= alone <= 2 * least + 300
        block = Block.from_wire((1, *message.fields[1:]), b"")
        block.range, block.offsets = rows, np.array([0, 0])
        block.records = np.frombuffer(bytes(message) * 2, f"V{len(bytes(message))}")
        updates.take(block)
        assert 2 * least <= updates.load(5.0)[0] - alone <= 2 * alone

    def test_what_was_cut_is_kept_until_it_is_taken(self, world):
        """Those that come meanwhile are taken later; the load is theirs alone."""
        world.block(update(0, 1.0), update(1, 1.0))
        first = world.all.cut()
        assert first and world.all.ready and world.all.load(9.0) == (0, 0.0)
        world.alone(update(2, 2.0))
        assert world.all.cut() is first
        world.alone(update(3, 3.0))
        assert take_all(world.all).value.tolist() == [1.0, 1.0] and not first
        assert take_all(world.all).value.tolist() == [2.0]
        assert world.all.ready and take_all(world.all).value.tolist() == [3.0]
        assert not world.all.ready

    def test_what_was_taken_meanwhile_is_not_put_back(self, world):
        world.alone(update(0, 1.0))
        world.alone(update(1, 2.0))

        class Interrupted(list):
            def copy(self):
                parts = super().copy()
                self.clear()  # as by a signal handler
                return parts

        batch = Interrupted(world.all.cut())
        world.all.join(batch)
        assert batch == []

    def test_mixed_types_are_objects(self):
        world = World([float, str, float, float])
        world.block(update(0, 1.0), update(2, 2.0))
        world.alone(ca.EventAddResponse("hi", ChannelType.TIME_STRING, 1, 1, 101))
        assert take_all(world.all).value.tolist() == [1.0, 2.0, b"hi"]
        assert world.snapshot().to_dict() == {"a": 1.0, "b": "hi", "c": 2.0}

    def test_after_the_end_nothing_is_kept(self, world):
        world.all.close()
        world.block(update(0, 1.0), update(1, 1.0))
        assert take_all(world.all) is None


events = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 3)), min_size=1),
    max_size=5,
)


@settings(deadline=None)
@given(events, st.sampled_from([float, [float] * 3 + ["string"]]))
def test_in_blocks_and_alone_they_are_the_same(runs, dtype):
    """The columns at the end, the versions' order, and every recorded update."""
    together, single = World(dtype), World(dtype)
    for run in runs:
        updates = [update(row, float(value), severity) for row, value, severity in run
                   if row != 3 or dtype is float]  # fmt: skip
        if updates:
            together.block(*updates)
        for one in updates:
            single.alone(one)
    first, second = together.snapshot(), single.snapshot()
    for name in ("values", "timestamps", "severity", "status", "ok"):
        one, other = getattr(first, name), getattr(second, name)
        assert one.tolist()[:3] == other.tolist()[:3] or np.array_equal(
            one[:3].astype(float), other[:3].astype(float), equal_nan=True
        )
    recorded, expected = take_all(together.all), take_all(single.all)
    assert (recorded is None) == (expected is None)
    if recorded is not None:
        for one, other in zip(recorded.columns(), expected.columns(), strict=True):
            assert one.dtype == other.dtype and one.tolist() == other.tolist()
