"""What counts as a number, and numbers of things."""
from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from caproto import AlarmStatus, ClientConfiguration, ServerConfiguration, TimeStamp
from caproto._numbers import counted, is_real, whole


@pytest.mark.parametrize("value", [5, np.int64(5), np.uint8(5), AlarmStatus(5)])
def test_whole_numbers(value):
    assert whole(value) == 5 and type(whole(value)) in (int, type(value))


@pytest.mark.parametrize("value", [True, np.True_, 5.0, np.float64(5), "5", None, [5], Fraction(5)])
def test_what_is_not_a_whole_number(value):
    with pytest.raises(TypeError):
        whole(value)


@pytest.mark.parametrize("value", [5, 0.5, np.int16(5), np.float32(0.5), Fraction(1, 2)])
def test_real_numbers(value):
    assert is_real(value)


@pytest.mark.parametrize("value", [True, np.True_, 1j, np.complex64(1), "5", None, Decimal(5)])
def test_what_is_not_a_real_number(value):
    assert not is_real(value)


def test_settings_take_the_numbers_of_numpy_and_keep_plain_ones():
    client = ClientConfiguration(server_port=np.int64(6000), conn_tmo=np.float32(2), mcast_ttl=3)
    assert client == ClientConfiguration(server_port=6000, conn_tmo=2.0, mcast_ttl=3)
    assert repr(client) == repr(ClientConfiguration(server_port=6000, conn_tmo=2.0, mcast_ttl=3))
    server = ServerConfiguration(server_port=np.uint16(6000), max_array_bytes=np.int64(20_000))
    assert repr(server) == repr(ServerConfiguration(server_port=6000, max_array_bytes=20_000))


def test_time_stamps_take_the_numbers_of_numpy():
    assert TimeStamp.from_flexible_value(np.int64(1_000_000_000)) == TimeStamp(368_848_000, 0)
    assert TimeStamp.from_flexible_value(np.float32(2**30)) == TimeStamp(2**30 - 631152000, 0)
    pair = TimeStamp.from_flexible_value((np.int64(7), np.uint32(9)))
    assert pair == TimeStamp(7, 9) and type(pair.seconds) is type(pair.nanoseconds) is int


def test_numbers_that_have_no_name_yet():
    assert AlarmStatus(np.int64(99)) is not None and AlarmStatus(np.int64(99)).value == 99


def test_a_number_of_things():
    assert [counted(number, "name") for number in (0, 1, 2)] == ["0 names", "1 name", "2 names"]
    assert counted(1, "search", "searches") == "1 search"
    assert counted(3, "PV is", "PVs are") == "3 PVs are"
