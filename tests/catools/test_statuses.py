"""One table of exit statuses."""
from __future__ import annotations

from caproto import CaprotoTimeoutError, CaprotoValueError, DisconnectedError
from caproto._catools.statuses import status_of


def test_the_worst_counts():
    late, wrong, lost = CaprotoTimeoutError("late"), CaprotoValueError("no"), DisconnectedError("x")
    assert status_of([], True) == status_of([], False) == 0
    assert status_of([late, late], True) == 1
    assert status_of([late, wrong, late], True) == status_of([lost], True) == 2
    assert status_of([late, wrong], False) == 1
