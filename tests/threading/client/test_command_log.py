"""The log of a circuit's commands: which are logged, where, and with which facts."""
from __future__ import annotations

import logging

import pytest

import caproto as ca
from caproto._client.circuit_session import CircuitSession
from caproto.threading.client._command_log import CommandLog


@pytest.fixture
def session():
    return CircuitSession(
        ("10.0.0.1", 5064), 0, 13, host_name="here", client_name="me", connection_timeout=30.0,
        max_payload=1 << 20, flow_control=True, now=0.0,
    )


def test_what_was_sent_is_logged_once(session, caplog):
    with caplog.at_level(logging.DEBUG, "caproto.circ"):
        session.hold(True)
        log = CommandLog(session)
        log.sent()
        log.sent()
    (record,) = caplog.records
    assert "EventsOffRequest" in record.getMessage()
    assert record.their_address == ("10.0.0.1", 5064) and record.direction == "--->>>"


def test_a_command_carries_the_name_of_its_pv(session, caplog):
    (channel,) = session.attach([Named()]).values()
    with caplog.at_level(logging.DEBUG, "caproto.circ"):
        CommandLog(session).received([ca.CreateChFailResponse(channel.cid)])
    (record,) = caplog.records
    assert record.pv == "T:x" and record.direction == "<<<---"


def test_it_goes_to_the_log_of_its_pv_if_only_that_is_read(session, caplog):
    pv = Named()
    (channel,) = session.attach([pv]).values()
    CommandLog(session).received([ca.CreateChFailResponse(channel.cid), ca.EchoResponse()])
    ((line, facts),) = pv.logged
    assert line.startswith("CreateChFailResponse(") and facts["pv"] == "T:x"
    assert not caplog.records


class Named:
    """A PV that keeps what is logged."""

    name = "T:x"

    def __init__(self) -> None:
        self.logged: list = []

    def _debug(self, message: str, line: str, extra: dict) -> None:
        self.logged.append((line, extra))
