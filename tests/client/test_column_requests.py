"""Reads of a table, as the readers of its circuits fill them in."""
from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

import caproto as ca
from caproto import CaprotoAttributeError, ChannelType, DisconnectedError, ReadError
from caproto._client.column_requests import ColumnRead, ColumnRequest, ColumnRequests, TableWritten
from caproto._client.columns import TableForm
from caproto._protocol.id_ranges import Block, IdRange

FORM = TableForm(["a", "b", "c", "d"], "time", float, 1)
DOUBLE = ChannelType.TIME_DOUBLE


def answer(number: int, value: float = 1.5, status: int = 1) -> ca.ReadNotifyResponse:
    metadata = 0, 0, ca.TimeStamp(1, 0)
    return ca.ReadNotifyResponse(value, DOUBLE, 1, status, number, metadata=metadata)


class World:
    """A read of four rows, under ids that go backwards."""

    def __init__(self) -> None:
        self.finished = 0
        self.read = ColumnRead(FORM, threading.Lock())
        self.range = IdRange(15, int(DOUBLE), 1, 100, 4)
        self.range.fill(np.arange(4, dtype=np.uint32), np.array([3, 2, 1, 0]))
        self.read.expect(np.arange(4))
        assert self.read.wait_for(self, 0)

    def answered(self, response: object) -> None:
        """Note that a waiter was called."""
        self.finished += 1

    def block(self, *offsets: int) -> None:
        data = b"".join(bytes(answer(100 + n, float(n))) for n in offsets)
        block = Block.from_wire((15, 24, int(DOUBLE), 1, 1, 100 + offsets[0]), b"")
        block.range, block.offsets = self.range, np.array(offsets)
        block.records = np.frombuffer(data, "V40")
        self.read.take(block)


class Interrupted(World):
    """A waiter that a Ctrl-C strikes when it is called first."""

    def answered(self, response: object) -> None:
        super().answered(response)
        if self.finished == 1:
            raise KeyboardInterrupt


@pytest.fixture
def world() -> World:
    return World()


def test_values_go_into_their_rows(world):
    world.block(0, 1)
    assert world.read.left == 2 and not world.finished
    world.read.take_one(world.range, 3, answer(103, 3.0))
    assert not world.read.done
    world.block(2)
    assert world.read.done and world.read.columns.values.tolist() == [3.0, 2.0, 1.0, 0.0]
    assert world.finished == 1 and not world.read.left


def test_refusals_and_failures(world):
    refusal, failure = answer(100, status=48), ReadError("too large")
    world.read.take_one(world.range, 0, refusal)
    world.read.take_one(world.range, 1, failure)
    world.read.take_one(world.range, 2, ca.ReadNotifyResponse([1.0, 2.0], DOUBLE, 2, 1, 102))
    assert world.read.refused[3] is refusal and world.read.refused[2] is failure
    assert "2 elements came" in str(world.read.refused[1])
    world.block(3)
    assert world.finished == 1 and world.read.columns.ok.tolist() == [True, False, False, False]
    assert not world.read.left and not world.read.done


def test_what_was_lost_is_told_apart(world):
    error = DisconnectedError("gone")
    world.block(0)
    world.read.lost(world.range, [0, 1, 2, 3], error)
    assert world.read.lost_rows == {2: error, 1: error, 0: error} and world.finished == 1
    assert not world.read.left and not world.read.done


def test_a_second_answer_changes_nothing(world):
    world.read.take_one(world.range, 0, answer(100, 1.0))
    world.read.take_one(world.range, 0, answer(100, 2.0))
    assert world.read.columns.values[3] == 1.0 and world.read.awaited.sum() == 3


def test_what_was_not_sent_is_not_awaited(world):
    world.read.unsent(np.array([0, 1]))
    world.block(0, 1)
    assert world.finished == 1 and not world.read.left


def test_after_the_end_nothing_is_taken(world):
    world.read.close()
    world.block(0)
    world.read.take_one(world.range, 1, answer(101))
    world.read.lost(world.range, [2], DisconnectedError("gone"))
    assert not world.read.columns.ok.any() and not world.finished and not world.read.lost_rows


def test_a_waiter_for_fewer_than_all(world):
    other = World()
    assert world.read.wait_for(other, 2)
    world.block(0)
    assert not other.finished
    world.block(1, 2)
    assert other.finished == 1 and not world.finished
    assert not world.read.wait_for(other, 1)
    world.block(3)
    assert (other.finished, world.finished) == (1, 1)


def test_others_that_wait_are_woken_by_replies_that_come_too_late_and_by_the_end(world):
    """They wait until fewer requests are under way, whoever has sent them."""
    other = World()
    assert world.read.wait_for(other, 3)
    assert world.read.close().tolist() == [0, 1, 2, 3]
    world.block(0)
    assert other.finished == 1 and world.read.wait_for(other, 0)
    world.read.end()
    assert other.finished == 2 and not world.read.wait_for(other, 0)


def test_an_end_that_was_interrupted_can_be_repeated(world):
    other = World()
    world.read.wait_for(Interrupted(), 0)
    world.read.wait_for(other, 0)
    with pytest.raises(KeyboardInterrupt):
        world.read.end()
    world.read.end()
    assert other.finished == 1


def test_reads_that_were_lost_are_taken_while_the_others_are_awaited(world):
    other = World()
    world.read.lost(world.range, [0, 1], DisconnectedError("gone"))
    assert world.finished == 1 and not world.read.wait_for(other, 0)
    assert world.read.take_lost(other) == [3, 2] and not world.read.lost_rows
    world.read.lost(world.range, [2], DisconnectedError("gone"))
    assert other.finished == 1
    assert world.read.take_lost(other) == [1]
    world.block(3)
    assert other.finished == 2 and world.read.take_lost(other) == []


def test_a_write_that_was_lost_wakes_nobody_yet(world):
    write = ColumnRequests(4, threading.Lock())
    write.expect(np.arange(4))
    assert write.wait_for(world, 0)
    write.lost(world.range, [0, 1], DisconnectedError("gone"))
    assert write.left == 2 and not world.finished
    write.lost(world.range, [2, 3], DisconnectedError("gone"))
    assert world.finished == 1


@pytest.mark.parametrize("payloads", [None, np.array([1.0, 2.0])])
def test_requests_to_the_same_channels_share_a_composer(payloads):
    command = 15 if payloads is None else 19
    alone = ColumnRequest(command, 6, 1, np.array([7, 8], np.uint32), np.arange(2), payloads)
    composers = {}
    for first in (100, 200):
        assert alone._replace(composers=composers).composed(first) == alone.composed(first)
    assert set(composers) == {command}


@pytest.mark.parametrize("failed, lines", [(0, 1), (1, 2), (10, 11), (11, 12), (12, 12)])
def test_a_write_tells_how_many_were_written_and_some_errors(failed, lines):
    names = tuple(f"pv{n}" for n in range(15))
    errors = {name: ca.WriteError(f"{name!r}: refused") for name in names[:failed]}
    written = TableWritten(names, np.arange(15) >= failed, errors)
    text = repr(written).split("\n")
    assert len(text) == lines and text[0] == f"{15 - failed} of 15 PVs were written"
    assert text[1:11] == [f"'pv{n}': refused" for n in range(min(failed, 10))]
    assert text[11:] == {11: ["… 1 more error"], 12: ["… 2 more errors"]}.get(failed, [])


def test_a_write_that_was_not_confirmed_says_so():
    sent = TableWritten(("a", "b"), np.array([True, False]), {}, confirmed=False)
    for one in (sent, pickle.loads(pickle.dumps(sent))):
        assert not one.confirmed and repr(one) == "1 of 2 writes were sent"


def test_what_a_write_tells_cannot_be_changed():
    errors = {"b": ca.WriteError("refused")}
    written = TableWritten(("a", "b"), np.array([True, False]), errors)
    errors.clear()
    assert list(written.errors) == ["b"]
    with pytest.raises(ValueError, match="read-only"):
        written.ok[1] = True
    for change in (lambda: setattr(written, "ok", None), lambda: delattr(written, "errors")):
        with pytest.raises(CaprotoAttributeError, match="a TableWritten cannot be changed"):
            change()


def test_what_a_write_tells_can_be_copied_and_pickled():
    written = TableWritten(("a", "b"), np.array([True, False]), {"b": ca.WriteError("refused")})
    for again in (pickle.loads(pickle.dumps(written)), copy.deepcopy(written)):
        assert repr(again) == repr(written) and again.ok.tolist() == [True, False]
        assert again.names == ("a", "b") and not again.ok.flags.writeable
