"""What is wrong with a reply; in circuits: test_circuit_rules."""
from __future__ import annotations

import pytest

from caproto import (
    ChannelType,
    EventAddRequest,
    EventAddResponse,
    ReadNotifyRequest,
    ReadNotifyResponse,
    ReadRequest,
    ReadResponse,
    WriteNotifyRequest,
    WriteNotifyResponse,
)
from caproto._protocol.dbr import LAYOUTS
from caproto._protocol.replies import REPLY_OF, Deviation, check_kind, check_value
from tests.harness.each_case import each_case

LONG, DOUBLE, STRING = ChannelType.LONG, ChannelType.DOUBLE, ChannelType.STRING
NUMBER = 5


def reply(data_type, count, size, status=1, cls=ReadNotifyResponse):
    return cls.from_wire((cls.ID, size, int(data_type), count, status, NUMBER), bytes(size))


def request(data_type, count=0, cls=ReadNotifyRequest):
    return cls.from_wire((cls.ID, 0, int(data_type), count, 7, NUMBER), b"")


@each_case("layout", LAYOUTS, ids=lambda layout: layout.channel_type.name)
def test_as_many_elements_as_the_payload_holds_and_no_more(layout):
    number = layout.channel_type
    size = layout.value_offset + 3 * layout.item_size
    assert check_value(reply(number, 3, size), request(number))
    assert check_value(reply(number, 3, size + 8), request(number)), "with padding"
    words = f"{size - 1} bytes, not the {size} of 3 elements of {number.name}"
    with pytest.raises(Deviation, match=words):
        check_value(reply(number, 3, size - 1), request(number))


@pytest.mark.parametrize("size, fine", [(1, True), (39, True), (40, True), (0, False)])
def test_a_single_text_may_be_cut_short(size, fine):
    if fine:
        assert check_value(reply(STRING, 1, size), request(STRING))
    else:
        with pytest.raises(Deviation):
            check_value(reply(STRING, 1, size), request(STRING))


def test_nothing_at_all_is_an_empty_value():
    assert check_value(reply(ChannelType.TIME_DOUBLE, 0, 0), request(ChannelType.TIME_DOUBLE))


@pytest.mark.parametrize("data_type", [39, 99, 0xFFFF])
def test_types_must_exist_to_be_usable(data_type):
    with pytest.raises(Deviation, match=f"type {data_type}, which does not exist") as raised:
        check_value(reply(data_type, 1, 800), request(data_type))
    assert not raised.value.usable


@pytest.mark.parametrize("status", [0, 3, 152, 0x10001])
def test_a_failure_carries_no_value_and_need_not_hold_one(status):
    assert not check_value(reply(DOUBLE, 9, 0, status), request(DOUBLE, 9))
    assert not check_value(reply(DOUBLE, 0, 0, status), request(DOUBLE, 9))


def test_what_was_not_asked_for_is_usable():
    for wrong in reply(LONG, 2, 8), reply(DOUBLE, 1, 8), reply(DOUBLE, 3, 24):
        with pytest.raises(Deviation) as raised:
            check_value(wrong, request(DOUBLE, 2))
        assert raised.value.usable
    update = reply(DOUBLE, 3, 24, cls=EventAddResponse)
    with pytest.raises(Deviation, match="has 3 elements, not 2"):
        check_value(update, request(DOUBLE, 2, EventAddRequest))


def test_a_confirmation_has_no_value_to_be_cut_off():
    confirmation = reply(DOUBLE, 1000, 0, cls=WriteNotifyResponse)
    assert not check_value(confirmation, request(DOUBLE, 1000, WriteNotifyRequest))


def test_the_fifth_number_of_an_old_read_is_not_a_status():
    with pytest.raises(Deviation, match="not the 16 of"):
        check_value(reply(DOUBLE, 2, 8, 152, ReadResponse), request(DOUBLE, 0, ReadRequest))


@pytest.mark.parametrize("expected", REPLY_OF.values())
@pytest.mark.parametrize(
    "cls", [ReadNotifyResponse, ReadResponse, EventAddResponse, WriteNotifyResponse]
)
def test_any_value_serves_who_asked_for_one(cls, expected):
    command = reply(DOUBLE, 1, 8, cls=cls)
    if cls is expected:
        check_kind(command, expected)
        return
    with pytest.raises(Deviation, match=f"{cls.__name__} for ioid 5, which awaits") as raised:
        check_kind(command, expected)
    assert raised.value.usable == (WriteNotifyResponse not in (cls, expected))
