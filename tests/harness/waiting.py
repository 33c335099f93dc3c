"""Waiting for a condition with a deadline: how tests wait for what sends no event."""
from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(
    condition: Callable[[], T],
    timeout: float = 10.0,
    message: str | Callable[[], str] = "",
) -> T:
    """Return the first true result of *condition*; AssertionError after *timeout* seconds.

    *message*, a text or a function that makes one, says what was waited for.
    """
    deadline = time.monotonic() + timeout
    pause = 0.0005  # most conditions become true soon
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            text = message() if callable(message) else message
            name = getattr(condition, "__name__", repr(condition))
            raise AssertionError(f"not within {timeout} s: {text or name} (last: {result!r})")
        time.sleep(pause)
        pause = min(2 * pause, 0.005)
