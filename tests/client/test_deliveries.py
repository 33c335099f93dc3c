"""What is handed to callbacks, in order."""
from __future__ import annotations

from caproto._client.deliveries import Call, Deliveries


def test_they_are_pairs_in_their_order():
    told: list[object] = []
    deliveries, target = Deliveries(), Call(told.append)
    assert not deliveries and len(deliveries) == 0
    for argument in range(3):
        deliveries.append((target, argument))
    assert len(deliveries) == 3 and list(deliveries) == [(target, n) for n in range(3)]
    for one, argument in deliveries:
        one.deliver(argument)
    assert told == [0, 1, 2]


def test_the_two_lists_may_be_filled_directly():
    """As the loop over a chunk of updates does."""
    deliveries, target = Deliveries(), Call(print)
    deliveries.targets.append(target)
    deliveries.arguments.append("x")
    assert list(deliveries) == [(target, "x")]
