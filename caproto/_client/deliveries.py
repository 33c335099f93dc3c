"""Calls of user callbacks that are to be made: targets and their arguments, in order."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias


class Target(Protocol):
    """The receiver of a delivery."""

    def deliver(self, argument: Any) -> None:
        """Run user callbacks with *argument*; errors of the user's are caught here."""


#: A target, and the argument that this target takes.
Delivery: TypeAlias = tuple[Target, object]


class Call:
    """A target made of a function."""

    __slots__ = ("deliver",)

    def __init__(self, function: Callable[[Any], None]) -> None:
        self.deliver = function


class Deliveries:
    """Targets and their arguments, in order.

    Two lists rather than one list of pairs. A pair for each waiting update would cost 0.2 µs in the
    garbage collector, which visits each of them repeatedly.
    """

    __slots__ = ("arguments", "targets")

    def __init__(self) -> None:
        self.targets: list[Target] = []
        self.arguments: list[object] = []

    def append(self, pair: Delivery) -> None:
        """Add a target and its argument."""
        target, argument = pair
        self.targets.append(target)
        self.arguments.append(argument)

    def __iter__(self) -> Iterator[Delivery]:
        return zip(self.targets, self.arguments, strict=True)

    def __len__(self) -> int:
        return len(self.targets)


#: Some deliveries together: the results of one chunk of bytes, for example.
DeliveryBatch = Sequence[Delivery] | Deliveries
