"""Runs of messages as blocks: the same messages as one by one, in whatever pieces they come."""
from __future__ import annotations

import struct
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import caproto as ca
from caproto import CLIENT, SERVER, ChannelType, RemoteProtocolError, VirtualCircuit
from caproto._protocol.columns import (
    Composer,
    cancellations,
    foresee,
    least_size,
    payloads_of,
    record_type,
    refreshes,
    requests,
    split_columns,
)
from caproto._protocol.dbr import LAYOUTS
from caproto._protocol.framing import CIRCUIT_CONSTRUCTORS, Framer, split
from caproto._protocol.id_ranges import Block, IdRange
from tests.vectors_support import SERVER_TO_CLIENT, messages

TIME_DOUBLE = int(ChannelType.TIME_DOUBLE)
MADE = CIRCUIT_CONSTRUCTORS[SERVER]


def a_range(command: int, first: int, size: int, data_type: int = TIME_DOUBLE) -> IdRange:
    one = IdRange(command, data_type, 1, first, size)
    one.fill(np.arange(size, dtype=np.uint32) + 500, np.arange(size))
    return one


def message(command: int, number: int, payload: bytes = bytes(24), **fields: int) -> bytes:
    data_type, count = fields.get("data_type", TIME_DOUBLE), fields.get("count", 1)
    header = command, len(payload), data_type, count, fields.get("status", 1), number
    return struct.pack(">HHHHII", *header) + payload


def take_apart(data: bytes, ranges: list[IdRange], cuts: list[int]) -> list[ca.Message]:
    """What a stream gives that arrives in pieces."""
    framer = Framer(MADE, None, None, 1 << 20)
    framer.split = lambda *arguments: split_columns(*arguments, ranges)
    found: list[ca.Message] = []
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, stop in zip(edges, edges[1:], strict=False):
        if framer.error is None:
            found += framer.feed(data[start:stop])
    return found


def by_id(messages: list[ca.Message]) -> dict[int, list[tuple]]:
    """The messages for each id, in order; those in blocks are single again."""
    found = defaultdict(list)
    for one in messages:
        for single in one.messages() if isinstance(one, Block) else [one]:
            number = single.fields[5]
            found[number].append((type(single).__name__, single.fields, bytes(single.payload)))
    return found


numbers = st.integers(0, 40)
payloads = st.binary(min_size=24, max_size=24)
right = st.builds(
    lambda command, ids, values: b"".join(
        message(command, number, values[number % len(values)] if command != 19 else b"")
        for number in ids
    ),
    st.sampled_from([1, 15, 19]),
    st.lists(numbers, min_size=1, max_size=30),
    st.lists(payloads, min_size=1, max_size=3),
)
odd = st.one_of(
    st.builds(lambda c, n, s: message(c, n, status=s), st.sampled_from([1, 15, 19]), numbers,
              st.sampled_from([0, 48, 400])),
    st.builds(lambda c, n, t: message(c, n, data_type=t), st.sampled_from([1, 15]), numbers,
              st.sampled_from([6, 14, 34])),
    st.builds(lambda c, n: message(c, n, bytes(16)), st.sampled_from([1, 15]), numbers),
    st.builds(lambda c, n: message(c, n, bytes(32), count=2), st.sampled_from([1, 15]), numbers),
    st.builds(lambda c, n: message(c, n, bytes(32)), st.sampled_from([1, 15]), numbers),
    st.builds(lambda n: message(1, n, b""), numbers),
    st.builds(lambda n: struct.pack(">HHHHIIII", 15, 0xFFFF, TIME_DOUBLE, 0, 1, n, 24, 1)
              + bytes(24), numbers),
    st.builds(lambda n: message(27, 0, b"", status=n, data_type=0, count=0), numbers),
    st.just(struct.pack(">HHHHII", 23, 0, 0, 0, 0, 0)),
)  # fmt: skip
stream = st.lists(st.one_of(right, odd), max_size=12).map(b"".join)


@given(stream, st.lists(st.integers(0, 1 << 16), max_size=6))
def test_a_stream_gives_the_same_messages_in_blocks_and_one_by_one(data, cuts):
    """Of each id, in order; of ids that have no range, too."""
    ranges = [a_range(1, 0, 10), a_range(15, 12, 10), a_range(19, 22, 10)]
    alone = take_apart(data, [], [])
    assert by_id(take_apart(data, ranges, cuts)) == by_id(alone)


@given(stream, st.sampled_from([b"\0\x63" + bytes(14), b"\0\x0f\0\7" + bytes(12)]), stream)
def test_a_breach_of_the_protocol_ends_both_at_the_same_message(before, fault, after):
    ranges = [a_range(1, 0, 10), a_range(15, 12, 10), a_range(19, 22, 10)]
    data = before + fault + after
    assert by_id(take_apart(data, ranges, [])) == by_id(take_apart(data, [], []))


def confirmations(start: int, stop: int) -> bytes:
    return b"".join(message(19, number, b"") for number in range(start, stop))


first_ones = st.integers(0, 10).map(lambda stop: confirmations(0, stop))
last_ones = st.integers(0, 10).map(lambda start: confirmations(start, 10))


@given(st.one_of(st.just(b""), stream), first_ones, st.one_of(st.just(b""), stream), last_ones,
       stream, st.lists(st.integers(0, 1 << 12), max_size=6))  # fmt: skip
def test_foreseen_replies_are_the_same_messages(before, first, between, rest, after, cuts):
    data = before + first + between + rest + after
    writes = a_range(19, 0, 10)
    foresee(writes)
    together = take_apart(data, [writes, a_range(15, 12, 10)], cuts)
    assert by_id(together) == by_id(take_apart(data, [], []))


@pytest.mark.parametrize("cuts", [[], [80], [83], [16, 32, 100]])
def test_foreseen_replies_are_blocks(cuts):
    """In whatever pieces they come; and the ids after those that came before."""
    writes = a_range(19, 7, 10)
    foresee(writes)
    data = confirmations(7, 17)
    blocks = take_apart(data, [writes], cuts)
    assert all(isinstance(one, Block) for one in blocks) and len(blocks) == len(cuts) + 1
    offsets = np.arange(10)
    assert [n for one in blocks for n in offsets[one.offsets].tolist()] == [*range(10)]
    for one in blocks:
        assert one.fields[5] == 7 + one.offsets.start
        one.settle()
        assert len(offsets[one.offsets]) == len(one.records)
    assert not writes.live.any() and writes.seen == len(data)


def test_nothing_is_foreseen_of_messages_with_long_headers():
    many = IdRange(19, 0, 70_000, 1, 2)
    many.fill(np.zeros(2, np.uint32), np.arange(2))
    foresee(many)
    assert many.foreseen == b""


def recorded(session: str) -> list[bytes]:
    """What servers have said, by message, whole messages only."""
    return [one.data for one in messages(session) if one.direction == SERVER_TO_CLIENT]


def ranges_of(found: list[ca.Message]) -> list[IdRange]:
    """A range for each form in which values came."""
    forms = {(m.fields[0], *m.fields[2:4]) for m in found if m.fields[0] in (1, 15, 19)}
    ranges = []
    for command, data_type, count in sorted(forms):
        ids = [m.fields[5] for m in found if (m.fields[0], *m.fields[2:4]) ==
               (command, data_type, count)]  # fmt: skip
        if data_type < len(LAYOUTS) and count:
            one = IdRange(command, data_type, count, min(ids), max(ids) - min(ids) + 1)
            one.fill(np.zeros(one.size, np.uint32), np.arange(one.size))
            ranges.append(one)
    return ranges


@pytest.mark.parametrize("session", ["arrays", "monitor", "read_plain", "read_sts", "read_time",
                                     "write_notify", "empty_array", "extended_header"])  # fmt: skip
def test_recorded_messages_are_the_same_in_blocks_and_one_by_one(session):
    """Each comes three times, so that there are runs; and they are found."""
    data = b"".join(one * 3 for one in recorded(session))
    alone = take_apart(data, [], [])
    together = take_apart(data, ranges_of(alone), [1000, 5000, 5001])
    assert by_id(together) == by_id(alone)
    assert any(isinstance(one, Block) for one in together)


class TestBlocks:
    def test_ids_that_no_request_has_had_are_in_no_block(self):
        one = IdRange(1, TIME_DOUBLE, 1, 10, 8)
        one.fill(np.arange(3, dtype=np.uint32), np.arange(3))
        block, *others = take_apart(
            b"".join(message(1, 10 + number) for number in (0, 1, 2, 3, 7, 8, 2)), [one], []
        )
        assert block.offsets.tolist() == [0, 1, 2, 2]
        assert [other.fields[5] for other in others] == [13, 17, 18]

    def test_a_run_is_one_block_with_the_positions_of_its_ids(self):
        ids = [7, 5, 5, 9]
        data = b"".join(message(1, n, struct.pack(">HHIIxxxxd", 3, 2, n, 0, n)) for n in ids)
        (block,) = take_apart(data, [a_range(1, 5, 5)], [])
        assert block.offsets.tolist() == [2, 0, 0, 4] and block.command == 1
        records = block.records.view(record_type(24, TIME_DOUBLE, 1))
        assert records["value"].tolist() == [7.0, 5.0, 5.0, 9.0]
        assert records["seconds"].tolist() == ids
        assert (records["status"] == 3).all() and (records["severity"] == 2).all()

    def test_two_ranges_and_other_ids_in_one_run(self):
        data = b"".join(message(1, n) for n in [1, 11, 50, 2, 12, 51])
        first, second, *others = take_apart(data, [a_range(1, 0, 10), a_range(1, 10, 10)], [])
        assert first.offsets.tolist() == [1, 2] and second.offsets.tolist() == [1, 2]
        assert [one.fields[5] for one in others] == [50, 51]

    def test_a_single_message_is_no_block(self):
        (one,) = take_apart(message(1, 3), [a_range(1, 0, 10)], [])
        assert type(one) is ca.EventAddResponse

    def test_a_run_is_cut_at_the_first_odd_message(self):
        data = message(15, 1) + message(15, 2) + message(15, 3, status=48) + message(15, 4)
        block, refused, last = take_apart(data, [a_range(15, 0, 10)], [])
        assert block.offsets.tolist() == [1, 2]
        assert (refused.fields[4], last.fields[5]) == (48, 4)

    def test_without_ranges_nothing_is_different(self):
        data = message(1, 3) * 3
        out: list[ca.Message] = []
        assert split_columns(data, MADE, MADE, None, out, 1 << 20, ()) == (len(data), 16)
        plain: list[ca.Message] = []
        split(data, MADE, MADE, None, plain)
        assert out == plain

    def test_an_unknown_command_is_an_error(self):
        with pytest.raises(RemoteProtocolError, match="unknown command number 99"):
            split_columns(
                message(1, 3) * 3 + b"\0\x63" + bytes(14), MADE, MADE, None, [], 1 << 20,
                [a_range(1, 0, 10)],
            )


@pytest.mark.parametrize("data_type", range(21))
def test_the_structure_of_a_message_is_that_of_the_layout(data_type):
    """Held against the layouts, which are tested with recorded messages."""
    layout = LAYOUTS[data_type]
    kind = record_type(64, data_type, 1)
    assert kind.itemsize == 80 and kind.fields["value"][1] == 16 + layout.value_offset
    assert least_size(data_type, 3) == layout.value_offset + 3 * layout.item_size


class TestRequests:
    """What is composed is taken apart by the other end of our own protocol."""

    def server(self, data: bytes) -> list[ca.Message]:
        return VirtualCircuit(SERVER, ("127.0.0.1", 1)).feed(data)

    def test_reads(self):
        sids = np.array([7, 8, 70000], np.uint32)
        assert self.server(requests(15, TIME_DOUBLE, 1, sids, 100)) == [
            ca.ReadNotifyRequest(ChannelType.TIME_DOUBLE, 1, sid, 100 + n)
            for n, sid in enumerate(sids.tolist())
        ]

    @pytest.mark.parametrize(
        "values, data_type, count",
        [
            ([1.5, -2.0], ChannelType.DOUBLE, 1), ([3, 4], ChannelType.INT, 1),
            ([[1, 2, 3], [4, 5, 6]], ChannelType.LONG, 3),
            ([b"one", b"two"], ChannelType.STRING, 1),
        ],
    )  # fmt: skip
    def test_writes(self, values, data_type, count):
        array = np.array(values, "S40" if data_type is ChannelType.STRING else None)
        payloads = payloads_of(array, int(data_type))
        data = requests(19, int(data_type), count, np.array([7, 8], np.uint32), 5, payloads)
        commands = self.server(data)
        assert [one.data.tolist() for one in commands] == [list(np.atleast_1d(v)) for v in array]
        assert [(one.data_type, one.sid, one.ioid) for one in commands] == [
            (data_type, 7, 5), (data_type, 8, 6)
        ]

    @pytest.mark.parametrize("count", [8190, 8191, 8192, 0xFFFE, 0xFFFF, 0x10000])
    def test_large_ones_are_those_that_are_made_one_by_one(self, count):
        """The long header, from the count or the payload that needs it."""
        sids, double = np.array([7, 8], np.uint32), ChannelType.DOUBLE
        reads = [ca.ReadNotifyRequest(TIME_DOUBLE, count, sid, sid + 93) for sid in (7, 8)]
        assert requests(15, TIME_DOUBLE, count, sids, 100) == b"".join(map(bytes, reads))
        values = np.ones((2, count))
        writes = [ca.WriteNotifyRequest(values[0], double, count, sid, sid + 93) for sid in (7, 8)]
        payloads = payloads_of(values, int(double))
        composed = requests(19, int(double), count, sids, 100, payloads)
        assert composed == b"".join(map(bytes, writes))

    @pytest.mark.parametrize(
        "values, data_type",
        [
            ([[1.5, 2.5], [-3.5, 4.5]], ChannelType.DOUBLE), ([[3, 4], [5, 6]], ChannelType.INT),
            ([[b"one", b"two"], [b"three", b""]], ChannelType.STRING),
        ],
    )  # fmt: skip
    def test_again_to_the_same_channels(self, values, data_type):
        sids = np.array([7, 8], np.uint32)
        kind = "S40" if data_type is ChannelType.STRING else None
        payloads = [payloads_of(np.array(row, kind), int(data_type)) for row in values]
        composer = Composer(19, int(data_type), 1, sids, payloads[0].dtype)
        composed = [composer.compose(first, payloads[n]) for n, first in enumerate((5, 2**32 - 2))]
        for data, row, first in zip(composed, values, (5, 2**32 - 2), strict=True):
            commands = self.server(data)
            assert [one.data.tolist() for one in commands] == [[value] for value in row]
            assert [(one.sid, one.ioid) for one in commands] == [(7, first), (8, first + 1)]
        composer = Composer(15, TIME_DOUBLE, 1, sids)
        for first in (5, 9):
            assert composer.compose(first) == requests(15, TIME_DOUBLE, 1, sids, first)

    def test_live_subscriptions_are_cancelled_and_refreshed(self):
        one = a_range(1, 10, 5)
        one.drop(502)
        cancelled = self.server(cancellations(one))
        assert [(c.sid, c.subscriptionid) for c in cancelled] == [
            (500, 10), (501, 11), (503, 13), (504, 14)
        ]
        assert all(type(c) is ca.EventCancelRequest for c in cancelled)
        read = self.server(refreshes(one))
        assert [(r.sid, r.ioid) for r in read] == [(500, 10), (501, 11), (503, 13), (504, 14)]


def test_ids_of_ranges_are_not_given_to_others():
    circuit = VirtualCircuit(CLIENT, ("127.0.0.1", 1), 0)
    first = circuit.new_ioid()
    one = circuit.new_range(15, TIME_DOUBLE, 1, 10)
    assert one.first == first + 1 and circuit.new_ioid() == one.first + 10
