"""Ranges of ids: which requests are live, and how a block answers them."""
from __future__ import annotations

import numpy as np
import pytest

import caproto as ca
from caproto import CLIENT, ChannelType, VirtualCircuit
from caproto._protocol.id_ranges import Block, IdRange

DOUBLE = int(ChannelType.DOUBLE)


def a_range(command: int, size: int = 6) -> IdRange:
    one = IdRange(command, DOUBLE, 1, 100, size)
    one.fill(np.arange(size, dtype=np.uint32) + 500, np.arange(size) * 10)
    return one


def a_block(one: IdRange, offsets: list[int]) -> Block:
    command = one.replies[0]
    block = Block.from_wire((command, 8, DOUBLE, 1, 1, 100 + offsets[0]), b"")
    block.range, block.offsets = one, np.array(offsets)
    block.records = np.zeros(len(offsets), "V24")
    return block


def test_it_stands_for_requests():
    assert a_range(15).request(103) == ca.ReadNotifyRequest(ChannelType.DOUBLE, 1, 503, 103)
    one = a_range(19)
    assert type(one.request(100)) is ca.WriteNotifyRequest
    assert one.holds(105) and not one.holds(106) and not one.holds(99)


def test_a_circuit_finds_the_live_request_under_an_id():
    circuit = VirtualCircuit(CLIENT, ("127.0.0.1", 1), 0)
    reads, writes = a_range(15), IdRange(19, DOUBLE, 1, 200, 2)
    writes.fill(np.array([7, 8], np.uint32), np.arange(2))
    for one in (reads, writes):
        circuit.add_range(one)
    assert circuit.range_request(103) == reads.request(103)
    assert circuit.range_request(201) == writes.request(201)
    reads.answered(103)
    circuit.close_range(writes)
    assert circuit.range_request(103) is circuit.range_request(201) is None


def test_it_is_filled_in_parts():
    one = IdRange(1, DOUBLE, 1, 100, 4)
    assert one.fill(np.array([7], np.uint32), np.array([3])) == 100
    assert one.fill(np.array([8, 9], np.uint32), np.array([5, 4])) == 101
    assert one.used == 3 and one.rows.tolist() == [3, 5, 4, 0]
    assert one.live.tolist() == [True, True, True, False] and one.open == 3


def test_a_channel_that_is_gone_takes_its_request_along():
    one = a_range(15)
    one.drop(503)
    one.drop(999)
    assert not one.holds(103)
    one.drop(503)
    assert one.take_lost() == [3] and one.take_lost() == []
    one.answered(103)
    one.answered(104)
    assert one.open == one.live.sum() == 4


class TestSettling:
    def test_a_read_is_answered_once(self):
        one = a_range(15)
        first, second = a_block(one, [1, 3]), a_block(one, [3, 4, 4])
        first.settle()
        second.settle()
        assert first.offsets.tolist() == [1, 3] and second.offsets.tolist() == [4]
        assert one.live.nonzero()[0].tolist() == [0, 2, 5] and one.open == 3

    def test_positions_in_a_row_may_be_a_slice(self):
        one = a_range(19)
        one.drop(502)
        block = a_block(one, [1, 2, 3])
        block.offsets = slice(1, 4)
        assert [message.fields[5] for message in block.messages()] == [101, 102, 103]
        block.settle()
        assert block.offsets.tolist() == [1, 3] and len(block.records) == 2
        assert one.live.nonzero()[0].tolist() == [0, 4, 5] and one.open == 3

    def test_a_subscription_is_updated_often(self):
        one = a_range(1)
        one.drop(502)
        block = a_block(one, [1, 2, 1])
        block.settle()
        assert block.offsets.tolist() == [1, 1] and len(block.records) == 2
        assert one.holds(101)

    def test_a_range_that_was_forgotten_takes_nothing(self):
        one = a_range(1)
        one.closed = True
        block = a_block(one, [1, 2])
        block.settle()
        assert not len(block.records) and not list(block.messages())


def test_a_block_gives_its_messages_for_the_log():
    one = a_range(1)
    block = a_block(one, [2, 0])
    assert [message.fields for message in block.messages()] == [
        (1, 8, DOUBLE, 1, 1, 102), (1, 8, DOUBLE, 1, 1, 100)
    ]


class TestIdsUsedBefore:
    """Ids are numbers of 32 bits, and a fast reader has used them all within an hour."""

    LAST = 0xFFFFFFFF

    @pytest.fixture
    def circuit(self) -> VirtualCircuit:
        circuit = VirtualCircuit(CLIENT, ("127.0.0.1", 1), 0)
        circuit._next_id = self.LAST - 5
        return circuit

    def test_a_range_begins_again_where_nothing_is_in_use(self, circuit):
        old = IdRange(1, DOUBLE, 1, 3, 4)
        circuit.ranges = (old,)
        circuit.pending[20] = ca.ReadNotifyRequest(ChannelType.DOUBLE, 1, 1, 20)
        circuit._note_id(self.LAST - 6)
        firsts = []
        for _ in range(3):
            one = circuit.new_range(15, DOUBLE, 1, 10)
            circuit.add_range(one)
            firsts.append(one.first)
        assert firsts == [7, 21, 31]

    def test_a_range_that_finds_no_room(self, circuit):
        full = IdRange(1, DOUBLE, 1, 3, 4)
        full.size = self.LAST - 5  # all ids but a few at either end
        circuit.add_range(full)
        circuit._note_id(self.LAST)
        assert circuit.new_range(15, DOUBLE, 1, 2).first in (1, self.LAST - 2)
        with pytest.raises(ca.CaprotoRuntimeError, match="10 ids in a row are not free"):
            circuit.new_range(15, DOUBLE, 1, 10)

    def test_many_single_ids_go_around_ranges_too(self, circuit):
        circuit._note_id(self.LAST)
        circuit._next_id = 1
        circuit.add_range(circuit.new_range(15, DOUBLE, 1, 10))
        circuit._next_id = 9
        assert list(circuit.new_ioids(3)) == [11, 12, 13]

    def test_single_ids_go_around_ranges(self, circuit):
        circuit._note_id(self.LAST)
        circuit._next_id = 1
        circuit.add_range(circuit.new_range(15, DOUBLE, 1, 10))
        circuit._next_id = 1
        assert circuit.new_ioid() == 11

    def test_what_was_free_in_the_round_before_is_looked_at_again(self, circuit):
        circuit._note_id(self.LAST)
        circuit._next_id = 1
        kept = circuit.new_range(1, DOUBLE, 1, 10)
        circuit.add_range(kept)
        circuit._next_id = self.LAST - 1
        for _ in range(4):
            circuit.new_ioid()
        assert circuit.new_range(15, DOUBLE, 1, 10).first >= kept.first + 10
