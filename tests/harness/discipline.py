"""The rule of locks, enforced in a test: one at a time, and nothing foreign or blocking under it.

The rule is in ``caproto/_locks.py``.
"""
from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from caproto import _locks


class Discipline:
    """Keeps account of who holds which of our locks, and of every offence."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offences: list[str] = []
        self.taken = 0
        self._held = threading.local()
        self._patch = monkeypatch
        monkeypatch.setattr(_locks, "Lock", lambda: CheckingLock(self))
        self.forbid(threading.Thread, "join")

    @property
    def held(self) -> bool:
        """Whether this thread holds a lock of ours."""
        return getattr(self._held, "number", 0) > 0

    def took(self) -> None:
        self.taken += 1
        if self.held:
            self.offend("a second lock")
        self._held.number = getattr(self._held, "number", 0) + 1

    def gave(self) -> None:
        self._held.number -= 1

    def offend(self, what: str) -> None:
        frames = []
        frame = sys._getframe(2)
        while frame is not None and len(frames) < 6:
            frames.append(f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}")
            frame = frame.f_back
        self.offences.append(f"{what} in {threading.current_thread().name}: {' < '.join(frames)}")

    def forbid(self, owner: Any, name: str) -> None:
        """From now on it is an offence to call *owner*'s *name* under a lock."""
        function = getattr(owner, name)

        def checked(*args, **kwargs):
            if self.held:
                self.offend(name)
            return function(*args, **kwargs)

        self._patch.setattr(owner, name, checked)

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Log everything, to a handler: a handler is foreign code, so not under a lock."""
        log, handler = logging.getLogger("caproto"), Watching()
        self.forbid(handler, "emit")
        level, handlers, propagate = log.level, log.handlers, log.propagate
        log.handlers, log.propagate = [handler], False
        log.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            log.setLevel(level)
            log.handlers, log.propagate = handlers, propagate


class CheckingLock:
    """A lock of ours that reports what its threads do wrong."""

    def __init__(self, rules: Discipline) -> None:
        self._rules = rules
        self._lock = threading.RLock()
        self._is_owned = self._lock._is_owned

    def acquire(self) -> None:
        if self._is_owned():
            self._rules.offend("the same lock again")
        self._lock.acquire()
        self._rules.took()

    __enter__ = acquire

    def release(self) -> None:
        self._rules.gave()
        self._lock.release()

    def __exit__(self, *_: object) -> None:
        self.release()


class Watching(logging.Handler):
    """Hears everything."""

    def emit(self, record: logging.LogRecord) -> None:
        pass
