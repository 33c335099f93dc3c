"""The lock of this package, and its rule.

The rule, kept everywhere in the package: a thread holds at most one of our locks, for a moment, and
meanwhile calls nothing that can block and no code of others. Logging (a handler may be
the user's), thread starts, and looking at weak references (which may drop the last strong one and
run a finalizer) are forbidden, too.

Two things may still run code of others in a thread that holds a lock: the garbage collector, which
runs finalizers, and a signal, whose handler runs in the main thread between any two lines. So the
lock records its owner. A call that may be made from such code asks :func:`held` first,
and never waits for a lock that its own thread holds. A finalizer that interrupted a function of
ours waits for no lock at all: the thread that holds it may be in a signal handler, which waits for
the lock that the finalizer's thread holds.

It is a lock written in C, because then a ``with`` statement takes and releases it without a gap in
which a KeyboardInterrupt could leave it taken.

Tests replace :data:`Lock` by one that checks the rule; code therefore asks for ``_locks.Lock()``,
by attribute.
"""
from __future__ import annotations

import gc
import sys
import threading
from threading import get_ident
from types import FrameType

_PACKAGE = __name__.partition(".")[0]

#: What every lock of this package is made by.
Lock = threading.RLock


#: The frame that the garbage collector interrupted, by the ident of its thread, while it runs.
collecting: dict[int, FrameType | None] = {}


def _watch_collector(phase: str, _info: dict[str, int]) -> None:
    """Note where the garbage collector runs; it calls this at its start and end."""
    if phase == "start":
        collecting[get_ident()] = sys._getframe().f_back
    else:
        collecting.pop(get_ident(), None)


gc.callbacks.append(_watch_collector)


def held(*locks: threading.RLock) -> bool:
    """Tell whether this thread may not wait for *locks*.

    It holds one of them, or is in a finalizer that interrupted a call of ours.
    """
    # A loop takes a third of the time of `any`.
    for lock in locks:
        if lock._is_owned():  # type: ignore[attr-defined]
            return True
    return bool(collecting) and in_finalizer_inside_us()


def in_finalizer_inside_us() -> bool:
    """Tell whether this thread is in a finalizer, run by the collector in a function of ours."""
    interrupted = collecting.get(get_ident())
    frame: FrameType | None = sys._getframe(1)
    while frame is not interrupted:  # after a Ctrl-C at its end the note may be an old one
        if frame is None:
            return False
        frame = frame.f_back
    # What we call of the standard library counts as ours.
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in sys.stdlib_module_names:
            return bool(package == _PACKAGE)
        frame = frame.f_back
    return False
