"""The synchronous client: each call finds the PV, does one thing, and hangs up.

::

    from caproto.sync.client import read, write
    write('random_walk:dt', 0.5)
    read('random_walk:dt').value

For scripts. A program that uses a PV more than once is better served by `caproto.threading.client`,
which keeps its connections.
"""
from __future__ import annotations

from ._requests import read, read_write_read, write
from ._updates import Subscription, block, interrupt, subscribe

__all__ = [
    "Subscription",
    "block",
    "interrupt",
    "read",
    "read_write_read",
    "subscribe",
    "write",
]

for _thing in (Subscription, block, interrupt, read, read_write_read, subscribe, write):
    _thing.__module__ = __name__
del _thing
