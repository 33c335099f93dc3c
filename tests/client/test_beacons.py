"""What beacons mean, with a clock that the test moves by hand."""
from __future__ import annotations

import json

import pytest

from caproto._client.beacons import MAX_SERVERS, BeaconTable, Verdict
from tests.vectors_support import VECTORS

HOST, PORT = "10.0.0.1", 5064


def heard(table: BeaconTable, number: int, now: float, version: int = 13) -> Verdict:
    return table.beacon(HOST, PORT, number, version, now)


def steady(table: BeaconTable, now: float = 1000.0, period: float = 15.0) -> tuple[int, float]:
    """A server that was there before the client, in its rhythm; its last number and time."""
    number = 500
    assert heard(table, number, now) is Verdict.FIRST
    for _ in range(10):
        number, now = number + 1, now + period
        heard(table, number, now)
    return number, now


def test_regular_beacons_are_signs_of_life() -> None:
    table = BeaconTable(now=0.0)
    number, now = steady(table)
    assert heard(table, number + 1, now + 15.0) is Verdict.GOOD
    assert heard(table, number + 2, now + 30.5) is Verdict.GOOD


def test_a_fresh_server_is_an_anomaly_one_that_was_there_before_is_not() -> None:
    table = BeaconTable(now=0.0)
    assert heard(table, 0, 100.0) is Verdict.FIRST
    assert heard(table, 1, 100.02) is Verdict.ANOMALY
    table = BeaconTable(now=0.0)
    assert heard(table, 70, 8.0) is Verdict.FIRST
    assert heard(table, 71, 23.0) is Verdict.SUSPECT


def test_a_restarted_server_is_an_anomaly() -> None:
    table = BeaconTable(now=0.0)
    _, now = steady(table)
    assert heard(table, 0, now + 5.0) is Verdict.ANOMALY


def test_a_server_that_comes_back_into_reach_is_an_anomaly() -> None:
    table = BeaconTable(now=0.0)
    number, now = steady(table)
    assert heard(table, number + 20, now + 15.0 * 20) is Verdict.ANOMALY


def test_a_missed_beacon_is_suspect_only() -> None:
    table = BeaconTable(now=0.0)
    number, now = steady(table)
    assert heard(table, number + 1, now + 30.0) is Verdict.SUSPECT


@pytest.mark.parametrize("step", [0, 2, 3, -1, -256])
def test_duplicates_and_stragglers_are_discarded(step: int) -> None:
    table = BeaconTable(now=0.0)
    number, now = steady(table)
    assert heard(table, number + step, now + 0.1) is Verdict.DISCARDED
    # They do not disturb the rhythm.
    assert heard(table, number + step + 1, now + 15.0) is Verdict.GOOD


def test_numbers_wrap_around() -> None:
    table = BeaconTable(now=0.0)
    now = 0.0
    for number in range(2**32 - 10, 2**32):
        now += 15.0
        heard(table, number, now)
    assert heard(table, 0, now + 15.0) is Verdict.GOOD


def test_old_servers_have_no_numbers() -> None:
    table = BeaconTable(now=0.0)
    verdicts = [heard(table, 0, 1000.0 + 15.0 * i, version=9) for i in range(5)]
    assert verdicts[2:] == [Verdict.GOOD] * 3


def test_the_first_beacon_of_a_server_known_by_its_circuit_is_suspect() -> None:
    table = BeaconTable(now=0.0)
    table.circuit_opened(HOST, PORT)
    assert heard(table, 9, 10.0) is Verdict.SUSPECT
    assert len(table) == 1


def test_closing_the_circuit_resets_the_rhythm() -> None:
    table = BeaconTable(now=0.0)
    number, now = steady(table)
    table.circuit_closed(HOST, PORT)
    assert heard(table, number + 50, now + 1.0) is Verdict.SUSPECT
    table.circuit_closed("10.9.9.9", 1)  # never heard of


def test_opening_a_second_circuit_keeps_the_rhythm() -> None:
    table = BeaconTable(now=0.0)
    number, now = steady(table)
    table.circuit_opened(HOST, PORT)
    assert heard(table, number + 1, now + 15.0) is Verdict.GOOD


def test_port_0_is_the_default_port() -> None:
    table = BeaconTable(now=0.0, default_port=7064)
    table.beacon(HOST, 0, 5, 13, 1.0)
    assert table.beacon(HOST, 7064, 5, 13, 1.1) is Verdict.DISCARDED


def test_servers_are_told_apart_by_address_and_port() -> None:
    table = BeaconTable(now=0.0)
    assert table.beacon(HOST, 1, 5, 13, 1.0) is Verdict.FIRST
    assert table.beacon(HOST, 2, 5, 13, 1.0) is Verdict.FIRST
    assert table.beacon("10.0.0.2", 1, 5, 13, 1.0) is Verdict.FIRST


def test_a_flood_of_invented_servers_is_forgotten_first() -> None:
    table = BeaconTable(now=0.0)
    number, now = steady(table)
    for index in range(2 * MAX_SERVERS):
        table.beacon("10.1.0.1", 1 + index % 65535, index, 13, now)
        if index % 1000 == 0:
            number, now = number + 1, now + 15.0
            assert heard(table, number, now) is Verdict.GOOD
    assert len(table) == MAX_SERVERS


def test_the_recorded_start_of_a_real_server() -> None:
    """Recognised as fresh; and while its periods double they are never taken for a rhythm."""
    recorded = json.loads((VECTORS / "messages" / "beacons.json").read_text())
    beacons = [(item["t"], bytes.fromhex(item["hex"])) for item in recorded["datagrams"]]
    table = BeaconTable(now=0.0)
    verdicts = []
    for moment, data in beacons:
        version, port = int.from_bytes(data[4:6], "big"), int.from_bytes(data[6:8], "big")
        assert int.from_bytes(data[:2], "big") == 13
        number = int.from_bytes(data[8:12], "big")
        verdicts.append(table.beacon(HOST, port or PORT, number, version, 3600.0 + moment))
    # rsrv sends the number 0 twice
    assert verdicts[:3] == [Verdict.FIRST, Verdict.DISCARDED, Verdict.ANOMALY]
    assert Verdict.GOOD not in verdicts[4:]


def test_servers_that_were_heard_are_counted() -> None:
    table = BeaconTable(now=0.0)
    table.circuit_opened(HOST, 1)  # known, but not from a beacon
    assert table.heard() == 0
    table.beacon(HOST, 2, 5, 13, 1.0)
    table.beacon(HOST, 2, 6, 13, 2.0)
    assert table.heard() == 1
    table.beacon(HOST, 1, 5, 13, 3.0)
    table.circuit_closed(HOST, 1)
    assert table.heard() == 2
