"""Credits: how many search datagrams may be sent now.

Some drip slowly, whatever happens, and each datagram that is answered earns more. Pure: *now* is an
argument.
"""
from __future__ import annotations

from typing import Final

#: Credits earned by an answered datagram, and how many may be saved up.
EARNED_CREDITS, MAX_CREDITS = 2, 64
#: This part of a credit may be missing: rounding, when a clock has run for decades.
CREDIT_ERROR: Final = 1e-4


class Credits:
    """Permission to send datagrams.

    Parameters
    ----------
    drip : float
        Seconds until the next one comes by itself.
    stock : int
        How many may come so; there are as many at first.
    now : float

    Attributes
    ----------
    number : float
        How many there are. Who sends a datagram takes 1 off.
    """

    __slots__ = ("drip", "number", "since", "stock")

    def __init__(self, drip: float, stock: int, now: float) -> None:
        self.drip = drip
        self.stock = stock
        self.number = float(stock)
        self.since = now

    def available(self, now: float) -> bool:
        """Tell whether there is one."""
        if self.number < self.stock:
            dripped = self.number + max(0.0, now - self.since) / self.drip
            self.number = min(float(self.stock), dripped)
        self.since = now
        return self.number >= 1.0 - CREDIT_ERROR

    def next_at(self) -> float:
        """Tell when there will be one without anything being earned."""
        return self.since + max(0.0, 1.0 - self.number) * self.drip

    def earn(self) -> None:
        """Add what an answered datagram earns."""
        self.number = min(self.number + EARNED_CREDITS, float(MAX_CREDITS))
