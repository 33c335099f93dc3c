"""Six numbers and their two forms on the wire."""
from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caproto import ExtendedMessageHeader, MessageHeader
from caproto._protocol.headers import (
    fields_of,
    make_header,
    needs_extension,
    pack_header,
    unpack_header,
)
from tests import vectors_support

U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
FIELDS = st.tuples(U16, U32, U16, U32, U32, U32)

# From the specification: the reply and the request of a channel with 70000 elements.
EXTENDED = (18, 0, 4, 70000, 2, 0x50)
EXTENDED_HEX = "0012ffff 00040000 00000002 00000050 00000000 00011170"
NORMAL = (15, 24, 20, 1, 0x170, 0x1E)
NORMAL_HEX = "000f0018 00140001 00000170 0000001e"


def test_the_two_forms():
    assert pack_header(NORMAL).hex() == NORMAL_HEX.replace(" ", "")
    assert pack_header(EXTENDED).hex() == EXTENDED_HEX.replace(" ", "")
    assert unpack_header(bytes.fromhex(NORMAL_HEX)) == (NORMAL, 16)
    assert unpack_header(bytes.fromhex(EXTENDED_HEX)) == (EXTENDED, 24)


@pytest.mark.parametrize(
    ("size", "count", "extended"),
    [
        (0, 0, False),
        (0xFFF8, 0xFFFE, False),
        (0xFFFF, 1, True),
        (0x10000, 1, True),
        (0, 0xFFFF, True),
        (16, 0x10000, True),
    ],
)
def test_the_extended_form_is_used_exactly_when_needed(size, count, extended):
    fields = (1, size, 6, count, 2, 3)
    assert needs_extension(fields) is extended
    assert len(pack_header(fields)) == (24 if extended else 16)
    assert type(make_header(fields)) is (ExtendedMessageHeader if extended else MessageHeader)


@given(FIELDS)
def test_round_trip(fields):
    packed = pack_header(fields)
    assert unpack_header(packed) == (fields, len(packed))
    assert unpack_header(b"before" + packed, 6) == (fields, len(packed))


@given(FIELDS)
def test_structures_and_bytes_agree(fields):
    header = make_header(fields)
    assert bytes(header) == pack_header(fields)
    assert fields_of(header) == fields
    assert eval(repr(header)).data_count == fields[3]


def test_the_marker_alone_selects_the_extended_form():
    raw = struct.pack(">HHHHIIII", 15, 0xFFFF, 6, 77, 1, 2, 8, 1)
    assert unpack_header(raw) == ((15, 8, 6, 1, 1, 2), 24)


@pytest.mark.parametrize("text", [NORMAL_HEX, EXTENDED_HEX])
def test_a_header_that_ends_early(text):
    with pytest.raises(struct.error):
        unpack_header(bytes.fromhex(text)[:-1])


def test_structures_take_positions_and_keywords():
    assert bytes(MessageHeader(*NORMAL)) == bytes.fromhex(NORMAL_HEX)
    header = ExtendedMessageHeader(
        command=18, payload_size=0, data_type=4, data_count=70000, parameter1=2, parameter2=0x50
    )
    assert bytes(header) == bytes.fromhex(EXTENDED_HEX)
    assert header.marker == 0xFFFF


def test_recorded_headers():
    vectors = vectors_support.messages()
    assert len(vectors) > 500
    for vector in vectors:
        length = 24 if vector.header["extended"] else 16
        assert unpack_header(vector.data) == (vector.fields, length), vector.name
