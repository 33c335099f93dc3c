"""How long a server is left alone after a failure, with a clock that the test moves by hand."""
from __future__ import annotations

import pytest

from caproto.threading import _troubles
from caproto.threading._troubles import GOOD_TIME, Loss, Trouble, Troubles

SERVER, OTHER = ("10.0.0.1", 5064), ("10.0.0.1", 5066)


def pauses(troubles: Troubles, loss: Loss, count: int, up: float = 0.0) -> list[float]:
    """What is answered to so many losses in a row."""
    return [troubles.note(SERVER, loss, "why", up, float(i)) for i in range(count)]


def test_a_server_that_cannot_be_connected_to_is_left_alone_for_longer_and_longer():
    expected = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert pauses(Troubles(), Loss.USELESS, 8) == expected


def test_after_thousands_of_failures_too():
    assert pauses(Troubles(), Loss.USELESS, 5000)[-1] == 10.0


def test_a_server_that_served_is_wanted_back_soon_yet_not_without_end():
    assert pauses(Troubles(), Loss.BROKEN, 5) == [0.25, 0.5, 1.0, 1.0, 1.0]


def test_the_pause_is_counted_from_the_beginning_of_the_circuit():
    assert pauses(Troubles(), Loss.USELESS, 4, up=0.75) == [0.0, 0.0, 0.25, 1.25]


def test_a_circuit_that_was_up_for_long_is_replaced_at_once_and_all_is_forgiven():
    troubles = Troubles()
    pauses(troubles, Loss.USELESS, 5)
    assert troubles.note(SERVER, Loss.BROKEN, "reset", GOOD_TIME, 100.0) == 0.0
    assert pauses(troubles, Loss.USELESS, 1) == [0.25]


def test_what_was_closed_in_good_order_is_no_failure():
    troubles = Troubles()
    assert pauses(troubles, Loss.CLOSED, 3) == [0.0] * 3
    assert troubles.get(SERVER).failures == 0


def test_a_refusal_has_its_fixed_pause_and_says_nothing_about_the_circuit():
    troubles = Troubles()
    pauses(troubles, Loss.USELESS, 2)
    assert pauses(troubles, Loss.REFUSED, 2, up=100.0) == [5.0, 5.0]
    assert pauses(troubles, Loss.USELESS, 1) == [1.0]


def test_the_last_trouble_of_each_server_is_remembered():
    troubles = Troubles()
    assert troubles.get(SERVER) is None
    assert troubles.get(None) is None
    troubles.note(SERVER, Loss.USELESS, "refused", 0.0, 1.0)
    troubles.note(OTHER, Loss.BROKEN, "reset", 1.0, 2.0)
    troubles.note(SERVER, Loss.USELESS, "silent", 0.0, 3.0)
    assert troubles.get(SERVER) == Trouble("silent", 3.0, 2, Loss.USELESS)
    assert troubles.get(OTHER) == Trouble("reset", 2.0, 1, Loss.BROKEN)


def test_a_trouble_in_words():
    assert str(Trouble("refused", 1.0, 1, Loss.USELESS)) == "refused"
    assert str(Trouble("refused", 1.0, 4, Loss.USELESS)) == "refused (4 attempts in a row)"


def test_servers_that_change_their_port_again_and_again_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(_troubles, "MAX_SERVERS", 2)
    troubles = Troubles()
    for port in (1, 2, 1, 3):
        troubles.note(("h", port), Loss.USELESS, "refused", 0.0, 0.0)
    assert troubles.get(("h", 2)) is None, "the oldest trouble"
    assert troubles.get(("h", 1)).failures == 2
    assert troubles.get(("h", 3)).failures == 1


@pytest.mark.parametrize("loss", Loss)
def test_every_kind_of_loss_has_its_pause(loss):
    assert _troubles.LONGEST_PAUSE[loss] >= 0
