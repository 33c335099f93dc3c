"""The lock of this package, and its law.

The law, kept everywhere in the package: a thread holds at most one of our locks, for a moment, and
meanwhile calls nothing that can block and nothing that is not ours. Logging (a handler is foreign
code), thread starts, and looking at weak references (the last strong one may die there, and its
finalizer with it) are not ours.

Two things may still run foreign code in a thread that holds a lock: the garbage collector, which
runs finalizers, and a signal, whose handler runs in the main thread between any two lines. So the
lock is one that knows its owner. A call that may be made from such code asks :func:`held` first,
and never waits for a lock that its own thread holds.

It is a lock written in C, because then a ``with`` statement takes and releases it without a gap in
which a KeyboardInterrupt could leave it taken.

Tests replace :data:`Lock` by one that checks the law; code therefore asks for ``_locks.Lock()``, by
attribute.
"""
from __future__ import annotations

import threading

#: What every lock of this package is made by.
Lock = threading.RLock


def held(*locks: threading.RLock) -> bool:
    """Whether this thread holds one of *locks*, so that it has interrupted a call of ours."""
    # A loop takes a third of the time of `any`.
    for lock in locks:
        if lock._is_owned():  # type: ignore[attr-defined]
            return True
    return False
