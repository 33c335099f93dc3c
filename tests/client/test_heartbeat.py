"""The watchdog of a circuit, with a clock that the test moves by hand.

Numbers in brackets are items of the conformance list.
"""
from __future__ import annotations

import math

import pytest

from caproto._client.heartbeat import Action, Heartbeat
from caproto._errors import CaprotoValueError
from tests.conformance.items import item


@item(37)
def test_silence_is_answered_by_an_echo_request() -> None:
    """[37] after T seconds, counted from the last bytes."""
    heartbeat = Heartbeat(30.0, now=100.0)
    assert heartbeat.deadline == 130.0
    assert heartbeat.check(129.9) is Action.NOTHING
    heartbeat.received(120.0)
    assert heartbeat.last_heard == 120.0
    assert heartbeat.check(130.0) is Action.NOTHING
    assert heartbeat.deadline == 150.0
    assert heartbeat.check(150.0) is Action.SEND_ECHO
    assert heartbeat.deadline == 155.0
    assert heartbeat.check(151.0) is Action.NOTHING


@item(37)
def test_a_good_beacon_postpones_the_echo() -> None:
    """[37]"""
    heartbeat = Heartbeat(30.0, now=0.0)
    heartbeat.beacon(20.0)
    assert heartbeat.check(30.0) is Action.NOTHING
    assert heartbeat.check(50.0) is Action.SEND_ECHO


def test_after_an_odd_beacon_none_counts_until_bytes_come() -> None:
    heartbeat = Heartbeat(30.0, now=0.0)
    heartbeat.beacon_anomaly()
    heartbeat.beacon(10.0)
    assert heartbeat.deadline == 30.0
    heartbeat.received(15.0)
    heartbeat.beacon(20.0)
    assert heartbeat.deadline == 50.0


def test_an_echo_in_time_restores_quiet() -> None:
    heartbeat = Heartbeat(30.0, now=0.0)
    assert heartbeat.check(30.0) is Action.SEND_ECHO
    assert heartbeat.echo_received(31.0) is False
    assert heartbeat.responsive
    assert heartbeat.deadline == 61.0


def test_only_an_echo_answers_a_probe() -> None:
    """Other traffic may have been on its way for long; beacons come from another socket."""
    heartbeat = Heartbeat(30.0, now=0.0)
    heartbeat.check(30.0)
    heartbeat.received(32.0)
    heartbeat.beacon(33.0)
    assert heartbeat.check(35.0) is Action.UNRESPONSIVE


def test_bytes_that_move_extend_the_probe_behind_them() -> None:
    heartbeat = Heartbeat(30.0, now=0.0)
    heartbeat.check(30.0)
    heartbeat.sending(34.0)
    assert heartbeat.check(35.0) is Action.NOTHING
    heartbeat.sending(34.0)  # they do not move any more
    assert heartbeat.check(39.0) is Action.UNRESPONSIVE
    heartbeat.sending(40.0)
    assert heartbeat.deadline == 44.0, "the last probe has its fixed time"


def test_a_server_that_takes_nothing_is_asked_although_it_sends() -> None:
    heartbeat = Heartbeat(30.0, now=0.0)
    heartbeat.received(20.0)
    heartbeat.sending(10.0)
    assert heartbeat.deadline == 40.0
    heartbeat.received(39.0)
    heartbeat.sending(10.0)
    assert heartbeat.check(39.9) is Action.NOTHING
    assert heartbeat.check(40.0) is Action.SEND_ECHO
    heartbeat.received(44.0)
    heartbeat.sending(10.0)
    assert heartbeat.check(45.0) is Action.UNRESPONSIVE


def test_a_server_that_takes_some_is_not_asked_earlier() -> None:
    heartbeat = Heartbeat(30.0, now=0.0)
    heartbeat.sending(10.0)
    assert heartbeat.deadline == 30.0


@item(38, 39)
def test_unresponsive_and_back_as_the_c_library_does_it() -> None:
    """[38, 39] the recorded trace of section 8.5: T = 2 s, the network hangs from 1.7 to 13.7 s."""
    heartbeat = Heartbeat(2.0, 5.0, now=0.5)
    assert heartbeat.check(2.5) is Action.SEND_ECHO
    assert heartbeat.responsive
    assert heartbeat.check(7.5) is Action.UNRESPONSIVE  # and the driver sends the second ECHO
    assert not heartbeat.responsive
    assert heartbeat.check(12.5) is Action.NOTHING
    assert heartbeat.deadline == pytest.approx(14.5)  # the C library's watchdog stops here
    # The first reply is late; it only triggers a new probe.
    heartbeat.received(13.7)
    assert heartbeat.echo_received(13.7) is False
    assert not heartbeat.responsive
    assert heartbeat.check(13.7) is Action.SEND_ECHO
    # The second one is in time.
    assert heartbeat.echo_received(13.7) is True
    assert heartbeat.responsive
    assert heartbeat.deadline == pytest.approx(15.7)
    assert heartbeat.echo_received(13.75) is False  # the third reply is nothing special


def test_bytes_alone_do_not_revive_an_unresponsive_circuit() -> None:
    heartbeat = Heartbeat(2.0, 5.0, now=0.0)
    heartbeat.check(2.0)
    heartbeat.check(7.0)
    heartbeat.check(12.0)
    heartbeat.received(20.0)
    heartbeat.beacon(20.0)
    assert not heartbeat.responsive
    assert heartbeat.deadline == 14.0
    assert heartbeat.last_heard == 20.0


def test_a_silent_server_is_asked_again_and_again() -> None:
    """It may have been restarted without a word: only the answer to our bytes can tell that."""
    heartbeat = Heartbeat(30.0, 5.0, now=0.0)
    asked, now = [], 0.0
    while now < 150.0:
        now = heartbeat.deadline
        if heartbeat.check(now) is Action.SEND_ECHO:
            asked.append(now)
    assert asked == [30.0, 70.0, 105.0, 140.0, 175.0]
    assert not heartbeat.responsive


def test_an_answer_to_the_last_probe_revives_at_once() -> None:
    heartbeat = Heartbeat(2.0, 5.0, now=0.0)
    heartbeat.check(2.0)
    assert heartbeat.check(7.0) is Action.UNRESPONSIVE
    assert heartbeat.echo_received(8.0) is True


def test_it_may_become_unresponsive_again_and_again() -> None:
    heartbeat, now = Heartbeat(2.0, 5.0, now=0.0), 0.0
    for _ in range(3):
        assert heartbeat.check(now := now + 2.0) is Action.SEND_ECHO
        assert heartbeat.check(now := now + 5.0) is Action.UNRESPONSIVE
        assert heartbeat.echo_received(now) is True


@pytest.mark.parametrize("arguments", [(0.0,), (-1.0,), (math.nan,), (30.0, 0.0)])
def test_impossible_times(arguments: tuple[float, ...]) -> None:
    with pytest.raises(CaprotoValueError, match="positive"):
        Heartbeat(*arguments)
