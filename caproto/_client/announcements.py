"""Announcements: what the callbacks about the state or the rights of one PV are told, in order.

Changes are noted in the order in which they happen, by whoever makes them; callback threads tell
them. A PV may be lost by one circuit and found by another one, whose threads are not the same: the
one that comes first also tells what is earlier, and only one tells at a time.
"""
from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from .callbacks import Reference, report


class Subject(Protocol):
    """What the announcements are about: the first argument of the callbacks."""

    @property
    def log(self) -> logging.Logger:
        """Where errors of the user's functions are reported."""


class PVCallback:
    """One callback, and what it was told last.

    Parameters
    ----------
    function : Reference
        To the callback, which is called as ``f(pv, news)``.
    last_fact : object
        What it need not be told as the first thing.
    """

    __slots__ = ("function", "last_fact")

    def __init__(self, function: Reference, last_fact: object = None) -> None:
        self.function = function
        self.last_fact = last_fact

    def cancel(self) -> None:
        """Tell it nothing more; it is forgotten like one that was garbage-collected."""
        self.function = _gone


def _gone() -> None:
    """Stand for the function of a listener that was cancelled."""


class Announcement:
    """One change, and the listeners that are to hear of it; a target of deliveries."""

    __slots__ = ("_announcements", "due", "fact", "listeners", "news")

    def __init__(
        self,
        announcements: Announcements,
        listeners: Sequence[PVCallback],
        news: object,
        fact: object,
    ) -> None:
        self._announcements = announcements
        self.listeners = listeners
        self.news = news
        self.fact = fact
        self.due = False

    def deliver(self, _argument: object) -> None:
        """Tell it, and what was noted before."""
        self._announcements.deliver_up_to(self)


class Announcements:
    """The listeners of one PV, and what they are still to be told.

    A client may have very many PVs with callbacks, so these are small; one lock serves for all.

    Parameters
    ----------
    subject : Subject
        The first argument of the callbacks.
    lock : context manager
        The lock of the PVs, held for a moment.
    """

    __slots__ = ("_due", "_listeners", "_lock", "_noted", "_subject", "_delivering")

    def __init__(self, subject: Subject, lock: AbstractContextManager[Any]) -> None:
        self._subject = subject
        self._lock = lock
        self._listeners: tuple[PVCallback, ...] = ()
        self._noted: list[Announcement] = []
        self._due = 0  # how many of them, from the first, are to be told now
        self._delivering = False

    def dead(self) -> set[PVCallback]:
        """Find the listeners whose callbacks were garbage-collected.

        Called holding nothing: what is looked at may have its last reference here, and what runs
        when it goes is not ours.
        """
        return {listener for listener in self._listeners if listener.function() is None}

    def add(self, listener: PVCallback, dead: Collection[PVCallback] = ()) -> None:
        """Have *listener* hear of all that is noted from now on, and forget the *dead*. Locked."""
        self._listeners = (*(one for one in self._listeners if one not in dead), listener)

    def note(
        self, news: object, fact: object = None, listener: PVCallback | None = None
    ) -> tuple[Announcement, None]:
        """Note a change; takes no lock.

        Parameters
        ----------
        news : object
            The argument of the callbacks.
        fact : object, optional
            A listener that was told this last is not told again. Default: *news*.
        listener : PVCallback, optional
            Only to be told to this one. Default: to all that there are now.

        Returns
        -------
        tuple
            To be put among deliveries.
        """
        listeners = self._listeners if listener is None else (listener,)
        announcement = Announcement(self, listeners, news, news if fact is None else fact)
        self._noted.append(announcement)  # in one step of the interpreter
        return announcement, None

    def deliver_up_to(self, last: Announcement) -> None:
        """Tell all that was noted up to *last*, unless another thread is at it, which then does."""
        with self._lock:
            while not last.due:
                self._noted[self._due].due = True
                self._due += 1
            if self._delivering:
                return
            self._delivering = True
        while True:
            with self._lock:
                if not self._due:
                    self._delivering = False
                    return
                self._due -= 1
                announcement = self._noted.pop(0)
            for listener in announcement.listeners:
                self._call(listener, announcement)

    def _call(self, listener: PVCallback, announcement: Announcement) -> None:
        function = listener.function()
        if function is None or listener.last_fact == announcement.fact:
            return
        listener.last_fact = announcement.fact
        try:
            function(self._subject, announcement.news)
        except BaseException as error:
            report(error, self._subject, function, self._subject.log)
