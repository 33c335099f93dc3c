"""Answers to search datagrams; those of a real server are in tests/conformance/test_server.py."""
from __future__ import annotations

import logging
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caproto._server.directory import Directory
from caproto._server.search_replies import search_replies
from caproto.server import ChannelDouble
from tests.harness.own_server import search

SENDER = ("10.0.0.2", 40000)
DIRECTORY = Directory({name: ChannelDouble(value=0.0) for name in ("x", "y")})
FOUND = struct.Struct(">HHHHIIHHI")


def replies(datagram: bytes) -> list[bytes]:
    return search_replies(datagram, SENDER, DIRECTORY, 5064)


def cids(datagrams: list[bytes], header: int = 16) -> list[int]:
    """The ids of the names that were found."""
    return [
        fields[5]
        for datagram in datagrams
        for fields in FOUND.iter_unpack(datagram[header:])
    ]


def test_names_that_are_here_are_answered_with_the_port_and_the_others_are_not():
    (reply,) = replies(search({"x": 5, "nope": 6, "y": 7, "x.VAL": 8}, sequence=3))
    assert struct.unpack(">HHHHII", reply[:16]) == (0, 0, 1, 13, 3, 0)
    assert cids([reply]) == [5, 7, 8]
    assert [fields[2] for fields in FOUND.iter_unpack(reply[16:])] == [5064] * 3


def test_there_is_no_datagram_if_nothing_is_found():
    assert replies(search({"nope": 1})) == []
    assert replies(b"") == []


def test_many_names_are_spread_over_datagrams_that_each_have_the_sequence_number():
    one = search({"x": 1})
    found = replies(one[:16] + one[16:] * 100)
    assert [len(reply) for reply in found] == [16 + 42 * 24, 16 + 42 * 24, 16 + 16 * 24]
    assert {reply[:16] for reply in found} == {found[0][:16]}


@pytest.mark.parametrize("version, header", [(10, 0), (11, 16)])
def test_old_clients_get_no_sequence_number(version, header):
    (reply,) = replies(search({"x": 1}, version=version))
    assert len(reply) == header + 24


def test_a_search_that_is_too_old_ends_the_datagram(caplog):
    caplog.set_level(logging.DEBUG, "caproto.bcast")
    good, old = search({"x": 1}), search({"y": 2}, version=3)
    assert cids(replies(good + old[16:] + search({"x": 3})[16:])) == [1]
    (record,) = caplog.records
    assert record.their_address == SENDER


def test_damage_costs_what_comes_after_it_only(caplog):
    caplog.set_level(logging.DEBUG, "caproto.bcast")
    damaged = search({"x": 1}) + search({"y": 2})[16:-1]
    assert cids(replies(damaged)) == [1]
    assert len(caplog.records) == 1


@given(st.binary(max_size=200), st.integers(0, 60))
def test_no_datagram_raises(noise, keep):
    whole = search({"x": 1, "y": 2})
    for datagram in (noise, whole[:keep] + noise, whole[: len(whole) - keep] + noise):
        for reply in replies(datagram):
            assert len(reply) <= 1024
