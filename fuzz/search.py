"""Datagrams: replies to searches and beacons that a client hears, searches that a server hears.

The first byte of an input says who hears it.
"""
from __future__ import annotations

from collections.abc import Iterator

from caproto import (
    CLIENT,
    SERVER,
    Beacon,
    Broadcaster,
    CaprotoValueError,
    RemoteProtocolError,
    SearchResponse,
    extract_address,
)
from caproto._client.beacons import BeaconTable, Verdict
from caproto._client.search_plan import SearchPlan

from .support import check_memory, look_at, recorded_datagrams

_SENDER = ("10.0.0.9", 5064)
_NAMES = 40
#: Nobody's datagram makes us send more than this many at once.
_MAX_DATAGRAMS = 200


def seeds() -> Iterator[bytes]:
    for number, speaker in enumerate((SERVER, CLIENT)):
        for data in recorded_datagrams(speaker):
            yield bytes([number]) + data


def fuzz_target(data: bytes) -> None:
    hear = (_client_hears, _server_hears)[data[0] % 2 if data else 0]
    hear(data[1:])
    check_memory(lambda: hear(data[1:]), data)


def _client_hears(data: bytes) -> None:
    plan = SearchPlan(jitter=lambda: 0.5)
    ids = plan.add([f"x{number}" for number in range(_NAMES)], 0.0)
    plan.due(0.1)
    beacons = BeaconTable()
    broadcaster = Broadcaster(CLIENT)
    found = 0
    commands = broadcaster.recv(data, _SENDER)
    broadcaster.process_commands(commands)
    for command in commands:
        look_at(command)
        if isinstance(command, SearchResponse):
            host, port = extract_address(command)
            assert isinstance(host, str) and 0 <= port < 65536
            found += plan.reply(command.cid, None, 0.2) != ""
        elif isinstance(command, Beacon):
            host, port = extract_address(command)
            verdict = beacons.beacon(host, port, command.beacon_id, command.version, 0.2)
            if verdict is Verdict.ANOMALY:
                plan.beacon_anomaly(0.2)
    assert len(plan) == _NAMES - found
    assert all((cid in plan) == (plan.status(cid).name != "") for cid in ids if cid in plan)
    sent = 0
    now = 0.2
    while len(plan) and now < 30.0:  # whatever was said, the others are searched on, in moderation
        now = max(now + 1e-3, plan.next_deadline())
        sent += len(plan.due(now))
    assert sent <= _MAX_DATAGRAMS
    assert not len(plan) or sent


def _server_hears(data: bytes) -> None:
    broadcaster = Broadcaster(SERVER)
    commands = broadcaster.recv(data, _SENDER)
    for command in commands:
        look_at(command)
    try:
        broadcaster.process_commands(commands)
    except RemoteProtocolError:
        pass
    for command in commands:
        try:
            extract_address(command) if isinstance(command, (SearchResponse, Beacon)) else None
        except CaprotoValueError:
            pass
