"""The lock of this package, and its rule.

The rule, kept everywhere in the package: a thread holds at most one of our locks, for a moment, and
meanwhile calls nothing that can block and no code of others. Logging (a handler may be
the user's), thread starts, and looking at weak references (which may drop the last strong one and
run a finalizer) are forbidden, too.

Two things may still run code of others in a thread that holds a lock: the garbage collector, which
runs finalizers, and a signal, whose handler runs in the main thread between any two lines. So the
lock records its owner. A call that may be made from such code asks :func:`held` first,
and never waits for a lock that its own thread holds.

It is a lock written in C, because then a ``with`` statement takes and releases it without a gap in
which a KeyboardInterrupt could leave it taken. Where none can strike, in a background thread,
``acquire`` and ``try`` do the same in less time.

Tests replace :data:`Lock` by one that checks the rule; code therefore asks for ``_locks.Lock()``,
by attribute.
"""
from __future__ import annotations

import threading

#: What every lock of this package is made by.
Lock = threading.RLock


def held(*locks: threading.RLock) -> bool:
    """Tell whether this thread holds one of *locks*, and so is inside a call of ours."""
    # A loop takes a third of the time of `any`.
    for lock in locks:
        if lock._is_owned():  # type: ignore[attr-defined]
            return True
    return False
