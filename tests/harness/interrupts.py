"""Strike a call of the client at each of its lines in turn, as Ctrl-C or a signal handler would.

A trace function counts the lines of caproto that the call runs in this thread and acts at the one
wanted, so nothing here depends on time: the same call is struck at the same places each time.

    for where in interrupt_each_line(lambda: pv.read()):
        assert ...  # the client is whole, although the read was interrupted at `where`

Lines that begin with ``with`` are left out: the end of the block counts as such a line, too, and
between a lock written in C and its ``with`` statement no signal is handled. So is the end of a
comprehension, which since Python 3.12 counts as its line once more: what a trace function raises
there misses the ``with`` around it, but a signal does not.
"""
from __future__ import annotations

import functools
import gc
import linecache
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, TypeVar, cast

import caproto
from caproto import CaprotoError

T = TypeVar("T")

_ROOT = os.path.dirname(caproto.__file__) + os.sep
#: More lines than any call has.
_LIMIT = 5000


@functools.cache
def _with_lines(filename: str) -> frozenset[int]:
    """The lines of a file that begin with ``with``."""
    lines = enumerate(linecache.getlines(filename), 1)
    return frozenset(number for number, line in lines if line.lstrip().startswith("with "))


def strike(
    call: Callable[[], Any], line: int, action: Callable[[str], Any], library: bool = False
) -> str | None:
    """Run *call*, and *action* in front of its *line*-th line within caproto.

    Parameters
    ----------
    call : callable
    line : int
        From 1 on.
    action : callable
        Called with the place, untraced, in the middle of the call. What it raises, the call gets.
    library : bool
        Count the lines of other code that caproto calls, too.

    Returns
    -------
    str or None
        The place that was struck; None if the call has fewer lines.
    """
    left = line
    where: str | None = None
    last: tuple[FrameType, int] | None = None

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal left, where, last
        filename = frame.f_code.co_filename
        if event != "line":
            counted = filename.startswith(_ROOT) or (library and _called_by_us(frame))
            return trace if counted else None
        again, last = last == (frame, frame.f_lineno), (frame, frame.f_lineno)
        if again or frame.f_lineno in _with_lines(filename):
            return trace
        left -= 1
        if left == 0:
            name = filename.removeprefix(_ROOT)
            where = f"{name}:{frame.f_lineno} {frame.f_code.co_name}"
            sys.settrace(None)  # the rest of the call takes its normal time
            action(where)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return where


def _called_by_us(frame: FrameType | None) -> bool:
    """Tell whether *frame* is below one of caproto's."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(_ROOT):
            return True
        frame = frame.f_back
    return False


def interrupt_each_line(call: Callable[[], Any]) -> Iterator[str]:
    """Interrupt *call* at each line in turn; yields the place after each.

    A call that catches the interrupt, or fails otherwise because of it, is as good as one that lets
    it through: what counts is the state that it leaves. The garbage collector rests meanwhile: a
    finalizer of what another test has left is not part of the call.
    """
    for line in range(1, _LIMIT):
        places: list[str] = []

        def interrupt(where: str, places: list[str] = places) -> None:
            places.append(where)
            raise KeyboardInterrupt

        gc.disable()
        try:
            strike(call, line, interrupt)
        except (KeyboardInterrupt, CaprotoError):
            pass
        finally:
            gc.enable()
        if not places:
            return
        yield places[0]
    raise AssertionError("the call does not end")


def enter_each_line(
    call: Callable[[], Any], handler: Callable[[], Any], library: bool = False
) -> Iterator[str]:
    """Call *handler* in front of each line of *call* in turn, as a signal handler would be.

    What the handler raises is an error of the test, so it catches what it expects itself.
    *library* is that of `strike`.
    """
    for line in range(1, _LIMIT):
        where = strike(call, line, lambda _where: handler(), library)
        if where is None:
            return
        yield where
    raise AssertionError("the call does not end")


def in_time(call: Callable[[], T], seconds: float = 30.0) -> T:
    """Return what *call* returns; AssertionError if it does not return, in a thread of its own."""
    results: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

    def run() -> None:
        try:
            results.put((call(), None))
        except BaseException as error:
            results.put((None, error))

    thread = threading.Thread(target=run, name="in time", daemon=True)
    thread.start()
    try:
        result, error = results.get(timeout=seconds)
    except Empty:
        stack = traceback.format_stack(sys._current_frames()[thread.ident or 0])
        raise AssertionError(f"it hangs:\n{''.join(stack)}") from None
    thread.join()
    if error is not None:
        raise error
    return cast("T", result)


def collect_at_each_allocation(
    call: Callable[[], Any], garbage: Callable[[], Any], times: int
) -> Iterator[int]:
    """Have the collector find *garbage* (a function that makes some) inside *call*, ever later.

    Yields the number of allocations after which it ran.
    """
    threshold = gc.get_threshold()
    gc.collect()
    gc.disable()
    try:
        for number in range(1, times + 1):
            garbage()
            gc.set_threshold(gc.get_count()[0] + number, 1000, 1000)
            gc.enable()
            try:
                call()
            finally:
                gc.disable()
            yield number
    finally:
        gc.set_threshold(*threshold)
        gc.enable()
