"""When beacons are due, on a clock that the test moves."""
from __future__ import annotations

import pytest

from caproto import Beacon
from caproto._server.beacon_timer import BeaconTimer


def sent(timer: BeaconTimer, number: int) -> tuple[list[float], list[bytes]]:
    """When the next beacons are due, and what they say."""
    moments, datagrams = [], []
    for _ in range(number):
        moments.append(timer.due)
        datagram = timer.beacon(timer.due)
        assert datagram is not None
        datagrams.append(datagram)
    return moments, datagrams


def test_the_first_is_due_at_once_and_says_where_the_server_is():
    timer = BeaconTimer(5064, 15.0, 1000.0)
    assert timer.due == 1000.0
    assert timer.beacon(1000.0) == bytes(Beacon(13, 5064, 0))


def test_none_is_sent_before_it_is_due():
    timer = BeaconTimer(5064, 15.0, 1000.0)
    assert timer.beacon(999.9) is None
    assert timer.beacon(1000.0) is not None
    assert timer.beacon(1000.01) is None
    assert timer.beacon(1000.02) == bytes(Beacon(13, 5064, 1))


def test_the_intervals_double_up_to_the_period():
    moments, _ = sent(BeaconTimer(5064, 0.1, 0.0), 6)
    assert moments == pytest.approx([0.0, 0.02, 0.06, 0.14, 0.24, 0.34])


def test_a_late_one_delays_the_others():
    timer = BeaconTimer(5064, 15.0, 0.0)
    assert timer.beacon(100.0) is not None
    assert timer.due == pytest.approx(100.02)


def test_the_numbers_count_and_wrap():
    timer = BeaconTimer(5064, 0.001, 0.0)
    timer._number = 0xFFFFFFFE
    _, datagrams = sent(timer, 3)
    numbers = [int.from_bytes(datagram[8:12], "big") for datagram in datagrams]
    assert numbers == [0xFFFFFFFE, 0xFFFFFFFF, 0]
