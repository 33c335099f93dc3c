"""What a test may not leave behind: threads of ours, sockets, warnings of the collector."""
from __future__ import annotations

import gc
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.waiting import wait_for

#: Names of our threads begin with this.
THREAD_PREFIX = "ca-"


def our_threads() -> set[threading.Thread]:
    """The living threads of caproto."""
    return {thread for thread in threading.enumerate() if thread.name.startswith(THREAD_PREFIX)}


def whereabouts(thread: threading.Thread) -> str:
    """The name of *thread*, and what it is doing."""
    frame = sys._current_frames().get(thread.ident or 0)
    return f"{thread.name}\n" + "".join(traceback.format_stack(frame) if frame else ())


def open_sockets() -> set[str]:
    """The sockets of this process, where the system tells (Linux)."""
    found = set()
    descriptors = Path("/proc/self/fd")
    if descriptors.is_dir():
        for descriptor in descriptors.iterdir():
            try:
                target = os.readlink(descriptor)
            except OSError:  # closed meanwhile; the one of the directory itself, for instance
                continue
            if target.startswith("socket:"):
                found.add(target)
    return found


@contextmanager
def no_leaks(timeout: float = 5.0) -> Iterator[None]:
    """Fail if the block leaves one of our threads or a socket behind.

    Only what the block itself started counts: fixtures of wider scope may hold more.
    """
    threads, sockets = our_threads(), open_sockets()
    yield
    # Objects that only the collector can end (cycles) count as dropped; what they warn about
    # while they go is a failure by pytest's settings.
    gc.collect()
    wait_for(
        lambda: our_threads() <= threads,
        timeout,
        lambda: "threads left:\n" + "\n".join(map(whereabouts, our_threads() - threads)),
    )
    wait_for(
        lambda: open_sockets() <= sockets,
        timeout,
        lambda: f"sockets left: {sorted(open_sockets() - sockets)}",
    )
