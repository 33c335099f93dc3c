"""Port numbers to try."""
from __future__ import annotations

import random
from collections.abc import Iterator

__all__ = ["random_ports"]

#: The ports that no program may claim for itself.
_DYNAMIC = range(49152, 65536)


def random_ports(num: int, *, try_first: int | None = None) -> Iterator[int]:
    """Yield *num* different ports at random, to try until one is free.

    Parameters
    ----------
    num : int
    try_first : int, optional
        Yielded before them.
    """
    if try_first is not None:
        yield try_first
    yield from random.sample(_DYNAMIC, min(num, len(_DYNAMIC)))
