"""Updates of a table: the latest of each PV, and all in their order."""
from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caproto as ca
from caproto import ChannelType, DisconnectedError
from caproto._client.column_updates import AllUpdates, LatestUpdates
from caproto._client.columns import TableForm
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
        assert set(snap.errors) == {"b", "c"} and snap.ok.tolist() == [True, False, False, False]
        assert len(world.latest.changed(1)) == 2
        world.block(update(1, 5.0), update(1, 6.0))
        world.alone(update(2, 7.0))
        assert not world.snapshot().errors and world.snapshot().ok.tolist()[:3] == [True] * 3

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
        assert list(world.snapshot().errors) == ["b"]

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


class TestAll:
    def test_every_update_in_its_order(self, world):
        world.block(update(2, 1.0), update(0, 2.0), update(2, 3.0))
        world.alone(update(1, 4.0))
        found = world.all.take_all()
        assert found.index.tolist() == [2, 0, 2, 1] and len(found) == 4
        assert found.value.tolist() == [1.0, 2.0, 3.0, 4.0]
        assert found.timestamp[3] == np.datetime64("1990-01-01T00:00:14.000000001")
        assert not found.gap.any() and world.all.take_all() is None

    def test_the_first_one_after_a_loss_is_marked(self, world):
        world.block(update(0, 1.0), update(1, 1.0))
        world.all.lost(world.range, [0, 1], DisconnectedError("gone"))
        world.all.begin([0, 1])
        world.block(update(0, 2.0), update(2, 2.0), update(0, 3.0), update(0, 4.0))
        world.alone(update(1, 2.0))
        world.alone(update(1, 3.0))
        found = world.all.take_all()
        assert found.gap.tolist() == [False, False, True, False, False, False, True, False]

    def test_a_refresh_is_no_update(self, world):
        answers = [
            ca.ReadNotifyResponse(1.0, DOUBLE, 1, 1, 100 + row) for row in range(3)
        ]
        world.block(*answers, command=15)
        world.alone(answers[0])
        assert world.all.take_all() is None
        assert world.snapshot().ok.tolist() == [True, True, True, False]

    def test_the_backlog_is_what_was_not_taken(self, world):
        assert world.all.load(6.0) == (0, 0.0)
        world.block(update(0, 1.0), update(1, 1.0))
        size, age = world.all.load(7.5)
        assert size == 2 * (8 + 8 + 8 + 2 + 2 + 1) and age == 2.5
        world.all.take_all()
        assert world.all.load(8.0) == (0, 0.0)

    def test_mixed_types_are_objects(self):
        world = World([float, str, float, float])
        world.block(update(0, 1.0), update(2, 2.0))
        world.alone(ca.EventAddResponse("hi", ChannelType.TIME_STRING, 1, 1, 101))
        assert world.all.take_all().value.tolist() == [1.0, 2.0, b"hi"]
        assert world.snapshot().to_dict() == {"a": 1.0, "b": "hi", "c": 2.0}

    def test_after_the_end_nothing_is_kept(self, world):
        world.all.close()
        world.block(update(0, 1.0), update(1, 1.0))
        assert world.all.take_all() is None


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
    recorded, expected = together.all.take_all(), single.all.take_all()
    assert (recorded is None) == (expected is None)
    if recorded is not None:
        for one, other in zip(recorded.columns(), expected.columns(), strict=True):
            assert one.dtype == other.dtype and one.tolist() == other.tolist()
