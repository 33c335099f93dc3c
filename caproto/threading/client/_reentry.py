"""Calls that are made from inside a call of ours: by a finalizer, a signal or log handler.

The garbage collector runs finalizers, and the main thread runs signal handlers, between any two
steps of ours; a log handler runs where we log. Such code may use the client. Calls that need no
answer always work: if this thread holds a lock that is needed, a background thread does it a moment
later. Calls that need an answer are refused if this thread holds one of our locks, and in the
threads that serve sockets, because the answer would come through this thread.
"""
from __future__ import annotations

import os
import sys
from _thread import RLock, get_ident
from types import FrameType

from ... import _locks, _log
from ..._errors import ReentrantCallError
from .. import _waiting

_PACKAGE = os.path.dirname(_locks.__file__)

#: The threads that serve sockets, by their ident.
_serving: set[int] = set()

#: The locks that the last call of each thread needs, by the ident of the thread. Idents are used
#: again, so there are not more of them than there were threads at one time.
entered: dict[int, tuple[RLock, ...]] = {}


class serving:
    """Marks this thread as one that serves sockets, for the length of a ``with`` block."""

    __slots__ = ()  # so that to make one never starts a garbage collection

    def __enter__(self) -> None:
        _serving.add(get_ident())

    def __exit__(self, *_exception: object) -> None:
        _serving.discard(get_ident())


def enter(locks: tuple[RLock, ...]) -> None:
    """Note that this thread is about to take some of *locks*, in a call that has asked before."""
    entered[get_ident()] = locks


def inside(locks: tuple[RLock, ...]) -> bool:
    """Tell whether this thread holds one of our locks, in a call that was interrupted.

    It looks at *locks*, which the new call needs, and at those of the call that the thread made
    last. These may be others: another thread may hold the locks that are needed here, and wait for
    that one. If the thread holds none, *locks* are those of its last call from now on.
    """
    for lock in locks:  # as `_locks.held`, without a call
        if lock._is_owned():  # type: ignore[attr-defined]
            return True
    return _inside_last(locks, get_ident())


def _inside_last(locks: tuple[RLock, ...], ident: int) -> bool:
    """Tell whether this thread holds a lock of its last call; if not, note *locks* in its place."""
    last = entered.get(ident)
    if last is not locks:
        if last is not None and _locks.held(*last):
            return True
        entered[ident] = locks
    return False


def must_not_wait(locks: tuple[RLock, ...]) -> bool:
    """Tell whether this thread would wait for itself if it waited for an answer.

    Parameters
    ----------
    locks : tuple of locks
        The locks that the call or the answer needs; see `inside`.
    """
    ident = get_ident()
    if ident in _serving or (_waiting.starting and _waiting.is_starting()):
        return True
    for lock in locks:  # as `inside`, without a call
        if lock._is_owned():  # type: ignore[attr-defined]
            return True
    return _inside_last(locks, ident)


def _after_fork() -> None:
    """Forget the threads of the parent: new ones may have their idents."""
    _serving.clear()
    entered.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def refusal(call: str) -> ReentrantCallError:
    """Make the error for *call*, ``"PV.read('x')"`` for example; it names what it interrupted."""
    inside = _interrupted()
    return ReentrantCallError(
        f"{call} waits for an answer, but was called by a finalizer, signal handler or log handler "
        f"while this thread was inside {inside}; let another thread do it, or do not wait"
    )


def _interrupted() -> str:
    """Find our function that was interrupted: the first one below frames of other code."""
    frame: FrameType | None = sys._getframe(1)
    outside = False
    while frame is not None:
        filename = frame.f_code.co_filename
        ours = filename.startswith(_PACKAGE) and filename != _log.__file__
        if ours and outside:
            return _name(frame)
        outside = outside or not ours
        frame = frame.f_back
    return "a call of caproto's"


def _name(frame: FrameType) -> str:
    """Return the name of the function that *frame* runs, with that of its class."""
    code = frame.f_code
    if sys.version_info >= (3, 11):
        return code.co_qualname
    while code.co_name.startswith("<") and frame.f_back is not None:  # a comprehension
        frame = frame.f_back
        code = frame.f_code
    owner = frame.f_locals.get("self")
    return code.co_name if owner is None else f"{type(owner).__name__}.{code.co_name}"
