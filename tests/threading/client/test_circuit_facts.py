"""What a circuit tells about itself, without a thread or a socket."""
from __future__ import annotations

import pytest

from caproto._client.circuit_session import CircuitSession
from caproto._client.descriptions import CircuitState
from caproto.threading import _waiting
from caproto.threading.client._callback_queue import CallbackQueue
from caproto.threading.client._circuit_facts import CircuitFacts


class FakePV:
    name = "T:x"


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves by hand."""
    now = [100.0]
    monkeypatch.setattr(_waiting, "now", lambda: now[0])
    return now


@pytest.fixture
def facts(clock):
    session = CircuitSession(
        ("10.0.0.1", 5064), 7, 12, host_name="here", client_name="me", connection_timeout=30.0,
        max_payload=1 << 20, flow_control=True, now=clock[0],
    )
    return CircuitFacts(session, CallbackQueue("x"))


def test_before_the_connection(facts, clock):
    clock[0] += 2
    assert facts.address == ("10.0.0.1", 5064)
    assert facts.begun == 100.0 and facts.time_up(clock[0]) == 0.0


def test_with_a_connection(facts, clock):
    facts.session.established(clock[0])
    clock[0] += 2
    assert facts.time_up(clock[0]) == 2.0 == facts.time_since_last_heard()
    assert facts.describe_last_heard(clock[0]) == "10.0.0.1:5064 was last heard 2.0 s ago"
    assert facts.backlog == 0


def test_a_channel_that_is_not_created(facts):
    (channel,) = facts.session.attach([FakePV()]).values()
    assert not facts.serves(channel) and "connecting" in facts.describe(channel)


def test_a_report(facts, clock):
    (channel,) = facts.session.attach([FakePV()]).values()
    clock[0] += 3
    report = facts.report(channel)
    assert (report.address, report.version) == (("10.0.0.1", 5064), 12)
    assert report.state == CircuitState.CONNECTING.value and not report.created
    assert report.last_heard == 3.0 and report.operations == 0
