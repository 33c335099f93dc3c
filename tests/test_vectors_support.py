"""The recorded vectors are complete and consistent in themselves."""
from __future__ import annotations

import struct

from tests import vectors_support as vectors


def test_every_file_of_the_index_is_there():
    for entry in vectors.load("index.json"):
        assert (vectors.VECTORS / entry["file"]).stat().st_size > 0


def test_fields_stand_in_the_bytes():
    found = vectors.messages()
    assert len(found) == 928
    for vector in found:
        if vector.header["extended"]:
            assert len(vector.data) == 24 + vector.header["payload_size"], vector.name
            continue
        command, size, data_type, count, p1, p2 = struct.unpack_from(">HHHHII", vector.data)
        assert (command, size, data_type, count, p1, p2) == vector.fields, vector.name
        assert len(vector.data) == 16 + size, vector.name
        assert vector.payload == vector.data[16:]


def test_datagrams_hold_their_messages():
    found = vectors.datagrams()
    assert len(found) == 174
    for datagram in found:
        size = sum(16 + part["header"]["payload_size"] for part in datagram.messages)
        assert len(datagram.data) == size, datagram.name


def test_streams_have_both_directions_and_ordered_times():
    found = vectors.streams()
    assert {stream.direction for stream in found} == {"c2s", "s2c"}
    for stream in found:
        assert all(stream.chunks) and list(stream.times) == sorted(stream.times)


def test_messages_of_a_session_make_up_its_stream():
    (said,) = [s.data for s in vectors.streams("monitor") if s.direction == "s2c"]
    parts = [m.data for m in vectors.messages("monitor") if m.direction == "s2c"]
    assert b"".join(parts) == said


def test_tables():
    assert len(vectors.layouts()) == 39
    assert len(vectors.eca_codes()) == 61
    assert vectors.scripted_tcp() and vectors.scripted_udp()
