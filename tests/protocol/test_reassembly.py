"""Segments of TCP in any order."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from caproto._protocol.reassembly import MOST_BYTES, MOST_WAITING, Gap, Reassembly

DATA = bytes(range(200))


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 199), max_size=20), st.randoms())
def test_pieces_in_any_order_give_the_stream(start, cuts, random):
    """Numbers wrap around; pieces come twice, and longer than they were."""
    edges = sorted({0, *cuts, 200})
    pieces = [(a, DATA[a : b + random.randrange(9)]) for a, b in zip(edges, edges[1:])] * 2
    random.shuffle(pieces)
    stream = Reassembly()
    stream.begin(start)
    found = [
        piece
        for place, data in pieces
        for piece in stream.add((start + 1 + place) % 2**32, data)
    ]
    assert b"".join(found) == DATA and stream.end() == []


def test_it_may_begin_anywhere():
    stream = Reassembly()
    assert stream.add(77, b"") == []
    assert stream.add(77, b"abc") == [b"abc"]
    assert stream.add(76, b"x") == []  # a probe whether the peer is alive
    assert stream.add(78, b"bcd") == [b"d"]


def test_what_is_missing_is_given_up_when_too_much_waits_or_at_the_end():
    stream = Reassembly()
    stream.begin(0)
    for number in range(MOST_WAITING):
        assert stream.add(11 + number, b"x") == []
    found = stream.add(11 + MOST_WAITING, b"x")
    assert found == [Gap(10), *[b"x"] * (MOST_WAITING + 1)]
    large = Reassembly()
    large.begin(0)
    assert large.add(2, bytes(MOST_BYTES)) == []
    assert large.add(2 + MOST_BYTES, b"x") == [Gap(1), bytes(MOST_BYTES), b"x"]
    last = Reassembly()
    last.begin(0)
    assert last.add(6, b"ab") + last.add(18, b"cd") == []
    assert last.end() == [Gap(5), b"ab", Gap(10), b"cd"]
