"""The named numbers, against what the protocol defines."""
from __future__ import annotations

from datetime import datetime, timedelta, timezone

import caproto as ca


def test_numbers_of_the_protocol():
    assert (ca.EPICS_CA1_PORT, ca.EPICS_CA2_PORT) == (5064, 5065)
    assert (ca.MAX_STRING_SIZE, ca.MAX_UNITS_SIZE) == (40, 8)
    assert (ca.MAX_ENUM_STRING_SIZE, ca.MAX_ENUM_STATES) == (26, 16)
    assert ca.MAX_ID == 2**16 and ca.MAX_UDP_RECV < 2**16


def test_the_epoch_is_that_of_time_stamps():
    stamp = ca.TimeStamp(86_400, 0)
    assert stamp.timestamp == ca.EPICS2UNIX_EPOCH + 86_400 == 631238400.0
    assert stamp.as_datetime() == ca.EPICS_EPOCH + timedelta(days=1)
    assert ca.EPICS_EPOCH == datetime(1990, 1, 1, tzinfo=timezone.utc)


def test_limits_are_positive():
    for name in (
        "SEARCH_MAX_DATAGRAM_BYTES", "STALE_SEARCH_EXPIRATION", "RESPONSIVENESS_TIMEOUT",
        "MAX_SUBSCRIPTION_BACKLOG", "MAX_TOTAL_SUBSCRIPTION_BACKLOG", "MAX_COMMAND_BACKLOG",
    ):
        assert getattr(ca, name) > 0
    assert len(bytes(ca.SearchRequest("x" * 900, 1, 13))) < ca.SEARCH_MAX_DATAGRAM_BYTES


def test_states_of_a_connection_have_the_numbers_of_the_c_library():
    assert {state.name: int(state) for state in ca.ConnStatus} == {
        "CS_CONN": 2, "CS_NEVER_SEARCH": 4, "OP_CONN_UP": 6, "OP_CONN_DOWN": 7
    }
