"""How long a server is left alone after a failure, with a clock that the test moves by hand."""
from __future__ import annotations

import pytest

from caproto._client import backoff
from caproto._client.backoff import GOOD_TIME, Loss, ServerBackoff, doubled_pause

SERVER, OTHER = ("10.0.0.1", 5064), ("10.0.0.1", 5066)


class Server:
    """A server whose circuits fail one after the other, as soon as they may be begun again."""

    def __init__(self) -> None:
        self.backoff = ServerBackoff()
        self.now = 100.0

    def fail(self, loss: Loss, up: float = 0.0) -> float:
        """One circuit, begun now, up for so many seconds; what is answered to its loss."""
        begun = self.now
        self.now += max(up, 0.001)
        if loss is not Loss.REFUSED:
            self.backoff.over(SERVER, up)
        pause = self.backoff.note(SERVER, loss, "why", begun, up, self.now)
        self.now += pause
        return round(pause, 6)

    def pauses(self, loss: Loss, count: int, up: float = 0.0) -> list[float]:
        return [self.fail(loss, up) for _ in range(count)]


@pytest.fixture
def server():
    return Server()


def test_a_server_that_cannot_be_connected_to_is_left_alone_for_longer_and_longer(server):
    assert server.pauses(Loss.USELESS, 8) == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_after_thousands_of_failures_too(server):
    assert server.pauses(Loss.USELESS, 5000)[-1] == 10.0


def test_a_server_that_served_is_wanted_back_soon_yet_not_without_end(server):
    assert server.pauses(Loss.BROKEN, 5) == [0.25, 0.5, 1.0, 1.0, 1.0]


def test_the_pause_is_counted_from_the_beginning_of_the_circuit(server):
    assert server.pauses(Loss.USELESS, 4, up=0.75) == [0.0, 0.0, 0.25, 1.25]


def test_a_circuit_that_was_up_for_long_is_replaced_at_once_and_all_is_forgiven(server):
    server.pauses(Loss.USELESS, 5)
    assert server.fail(Loss.BROKEN, up=GOOD_TIME) == 0.0
    assert server.pauses(Loss.USELESS, 1) == [0.5]


def test_a_good_circuit_that_was_closed_in_good_order_forgives_too(server):
    server.pauses(Loss.USELESS, 5)
    server.backoff.over(SERVER, GOOD_TIME)
    assert server.pauses(Loss.USELESS, 1) == [0.25]


def test_what_was_closed_in_good_order_is_no_trouble(server):
    assert server.pauses(Loss.CLOSED, 3) == [0.0] * 3
    assert server.backoff.get(SERVER) is None


def test_a_pause_holds_for_every_circuit_to_the_server():
    troubles = ServerBackoff()
    troubles.note(SERVER, Loss.USELESS, "refused", 0.0, 0.0, 1.0)
    assert troubles.pause(SERVER, 1.1) == pytest.approx(0.15)
    assert troubles.note(SERVER, Loss.CLOSED, "", 0.0, 0.0, 1.2) == pytest.approx(0.05)
    assert troubles.pause(SERVER, 1.25) == 0.0
    assert troubles.pause(OTHER, 1.1) == 0.0


def test_circuits_that_end_together_are_one_failure():
    """One to each priority in use, begun before the first of them failed."""
    troubles = ServerBackoff()
    pauses = [troubles.note(SERVER, Loss.USELESS, "reset", 5.0, 0.0, 6.0) for _ in range(7)]
    assert pauses == [0.25] * 7
    assert troubles.get(SERVER).failures == 1


def test_a_refusal_has_its_fixed_pause_and_says_nothing_about_the_circuit(server):
    server.pauses(Loss.USELESS, 2)
    assert server.pauses(Loss.REFUSED, 2, up=100.0) == [5.0, 5.0]
    assert server.backoff.pause(SERVER, server.now - 5.0) == 0.0, "others may be asked for"
    assert server.pauses(Loss.USELESS, 1) == [1.0]


def test_the_last_trouble_of_each_server_is_remembered():
    troubles = ServerBackoff()
    assert troubles.get(SERVER) is None
    assert troubles.get(None) is None
    troubles.note(SERVER, Loss.USELESS, "refused", 0.0, 0.0, 1.0)
    troubles.note(OTHER, Loss.BROKEN, "reset", 1.0, 1.0, 2.0)
    troubles.note(SERVER, Loss.USELESS, "silent", 2.0, 0.0, 3.0)
    last = troubles.get(SERVER)
    assert (last.reason, last.when, last.loss, last.failures) == ("silent", 3.0, Loss.USELESS, 2)
    assert troubles.get(OTHER).reason == "reset"


def test_a_trouble_in_words(server):
    server.fail(Loss.USELESS)
    assert str(server.backoff.get(SERVER)) == "why"
    server.pauses(Loss.USELESS, 3)
    assert str(server.backoff.get(SERVER)) == "why (4 attempts in a row)"
    server.fail(Loss.REFUSED)
    assert str(server.backoff.get(SERVER)) == "why"


def test_servers_that_change_their_port_again_and_again_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(backoff, "MAX_SERVERS", 2)
    troubles = ServerBackoff()
    for moment, port in enumerate((1, 2, 1, 3)):
        troubles.note(("h", port), Loss.USELESS, "refused", moment - 0.5, 0.0, moment)
    assert troubles.get(("h", 2)) is None, "the oldest trouble"
    assert troubles.get(("h", 1)).failures == 2
    assert troubles.get(("h", 3)).failures == 1


@pytest.mark.parametrize(
    "failures, pause", [(1, 0.25), (2, 0.5), (5, 4.0), (7, 10.0), (10_000, 10.0)]
)
def test_pauses_double_up_to_the_longest(failures, pause):
    assert doubled_pause(0.25, failures, 10.0) == pause
