"""Reads and writes of the synchronous client, against a real IOC."""
from __future__ import annotations

import time

import pytest

from caproto import (
    CaprotoTypeError,
    CaprotoValueError,
    ChannelType,
    ErrorResponseReceived,
    ReadNotifyResponse,
    ReadResponse,
    WriteNotifyResponse,
)
from caproto.sync.client import read, read_write_read, write

pytestmark = [pytest.mark.ioc, pytest.mark.usefixtures("environment")]


class TestRead:
    def test_the_value(self, double):
        response = read(double)
        assert type(response) is ReadNotifyResponse
        assert (response.data.tolist(), response.data_type) == ([3.5], ChannelType.DOUBLE)

    def test_a_type_and_a_count(self, ioc, double):
        assert read(double, data_type="time").metadata.timestamp > 0
        assert read(double, data_type=ChannelType.CTRL_LONG).data.tolist() == [3]
        assert read(double, data_type="DBR_STRING", priority=9).data == [b"3.500"]
        assert read(ioc.pv("array_long"), data_count=2).data_count == 2

    def test_an_enum_shows_its_state(self, ioc):
        assert read(ioc.pv("bool")).data == [b"on"]
        assert read(ioc.pv("bool"), force_int_enums=True).data.tolist() == [1]
        assert read(ioc.pv("bool"), data_type="time").data_type is ChannelType.TIME_ENUM

    def test_the_obsolete_read(self, double):
        response = read(double, notify=False)
        assert type(response) is ReadResponse and response.data.tolist() == [3.5]

    def test_an_unknown_pv(self, ioc):
        with pytest.raises(TimeoutError, match=r"'nonsense' was not found within 0.2 s") as caught:
            read("nonsense", timeout=0.2, repeater=False)
        assert "no server has answered the search" in str(caught.value)

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"data_type": "nonsense"}, "data type"),
            ({"data_count": -1}, "data_count"),
            ({"priority": 100}, "priority"),
            ({"timeout": "soon"}, "timeout"),
        ],
    )
    def test_wrong_arguments(self, double, arguments, named):
        with pytest.raises((CaprotoValueError, CaprotoTypeError), match=named):
            read(double, **arguments)

    def test_no_access(self, ioc):
        with pytest.raises(ErrorResponseReceived, match="noaccess"):
            read(ioc.pv("noaccess"))


class TestWrite:
    def test_without_a_confirmation_it_arrives_all_the_same(self, double, wait_for):
        assert write(double, 4.25) is None
        wait_for(lambda: read(double).data[0] == 4.25)

    def test_with_a_confirmation(self, double):
        response = write(double, 5.25, notify=True)
        assert type(response) is WriteNotifyResponse and response.status.name == "ECA_NORMAL"
        assert read(double).data.tolist() == [5.25]

    def test_in_another_type(self, double):
        write(double, "6.75", data_type="STRING", notify=True)
        assert read(double).data.tolist() == [6.75]

    def test_it_waits_for_what_the_record_triggers(self, ioc):
        start = time.monotonic()
        write(ioc.pv("slow"), 1.0, notify=True)
        assert time.monotonic() - start > 0.45
        with pytest.raises(TimeoutError, match="no reply to the write"):
            write(ioc.pv("very_slow"), 1.0, notify=True, timeout=0.2)

    def test_a_refusal(self, ioc):
        with pytest.raises(ErrorResponseReceived, match="readonly"):
            write(ioc.pv("readonly"), 1.0)
        with pytest.raises(ErrorResponseReceived, match="disabled"):
            write(ioc.pv("disabled"), 1.0, notify=True)

    def test_what_cannot_be_sent(self, double):
        with pytest.raises(CaprotoValueError, match="metadata must be None"):
            write(double, 1.0, metadata=(0, 0, 0))
        with pytest.raises((CaprotoValueError, CaprotoTypeError), match="double"):
            write(double, "nonsense")
        with pytest.raises(TimeoutError, match="'nonsense' was not found"):
            write("nonsense", 1.0, timeout=0.2, repeater=False)


class TestReadWriteRead:
    def test_with_a_confirmation(self, double):
        initial, written, final = read_write_read(double, 7.5, notify=True)
        assert type(written) is WriteNotifyResponse
        assert (initial.data.tolist(), final.data.tolist()) == ([3.5], [7.5])

    def test_without_a_confirmation(self, double):
        assert read_write_read(double, 7.5)[1] is None

    def test_enums(self, ioc):
        name = ioc.pv("enum")
        initial, _, final = read_write_read(name, "blue", notify=True)
        assert (initial.data, final.data) == ([b"green"], [b"blue"])
        initial, _, final = read_write_read(name, 1, notify=True, force_int_enums=True)
        assert (initial.data.tolist(), final.data.tolist()) == ([2], [1])

    def test_types(self, double):
        initial, _, final = read_write_read(double, 2, data_type="LONG", notify=True)
        assert (initial.data.tolist(), final.data_type) == ([3], ChannelType.LONG)
        final = read_write_read(
            double, "2.5", read_data_type="time", write_data_type="STRING", notify=True
        )[2]
        assert (final.data.tolist(), final.data_type) == ([2.5], ChannelType.TIME_DOUBLE)
