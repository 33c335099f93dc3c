"""What user callbacks were told, and how to wait until they were told everything."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from caproto.threading.client import PV
from tests.harness.waiting import wait_for


class Told:
    """A callback that keeps its last argument each time; its method can be held weakly.

    Attributes
    ----------
    responses : list
        In the order of the calls.
    """

    def __init__(self) -> None:
        self.responses: list[Any] = []

    def __call__(self, response: Any) -> None:
        self.responses.append(response)

    @property
    def values(self) -> list[Any]:
        """The first element of each response."""
        return [response.data.tolist()[0] for response in self.responses]

    def wait_for_calls(self, count: int) -> None:
        """Wait until it was called at least *count* times."""
        wait_for(
            lambda: len(self.responses) >= count,
            message=lambda: f"{count} calls, have {self.responses}",
        )

    def wait(self, count: int = 1) -> list[Any]:
        """The values, when there are at least *count*."""
        self.wait_for_calls(count)
        return self.values


def flush(pv: PV) -> None:
    """Wait until callbacks have run for all that the server sent until now.

    What the reader thread was to send is sent before. A reply and an update travel and are
    delivered in the same order.
    """
    for _ in range(2):  # notes come first in a turn, so the second one is run when all was sent
        manager, turned = pv.circuit_manager, threading.Event()
        if manager is not None:
            manager._circuit.note(turned.set)
            assert turned.wait(10), "the reader does not come round"
    done = threading.Event()
    pv.read(wait=False, callback=lambda response: done.set(), timeout=10)
    assert done.wait(10), "the callback thread does not come round"


@contextmanager
def hold_callbacks(pv: PV) -> Iterator[None]:
    """While inside, the callback thread of *pv* is busy with a slow callback."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(response: Any) -> None:
        begun.set()
        go_on.wait(10)

    pv.read(wait=False, callback=slow)
    assert begun.wait(10)
    try:
        yield
    finally:
        go_on.set()
