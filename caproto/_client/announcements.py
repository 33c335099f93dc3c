"""Announcements: calls of the callbacks about the state or the rights of one PV, in order.

Changes are noted in the order in which they happen, by any thread; callback
threads deliver them. A PV may move from one circuit to another, which has a callback thread of its
own: the thread that comes first also delivers earlier changes, and only one delivers at a time.
"""
from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from .callbacks import Function, Reference, report


class Subject(Protocol):
    """The PV that the announcements are about: the first argument of the callbacks."""

    @property
    def log(self) -> logging.Logger:
        """Where errors of the user's functions are reported."""


class PVCallback:
    """One callback, and the last fact that it was called with.

    Parameters
    ----------
    function : Reference
        To the callback, which is called as ``f(pv, news)``.
    last_fact : object
        A fact that the user knows already: the callback is not called for it.
    token : int, optional
        By which the user can remove it.
    """

    __slots__ = ("function", "last_fact", "token")

    def __init__(
        self, function: Reference, last_fact: object = None, token: int | None = None
    ) -> None:
        self.function = function
        self.last_fact = last_fact
        self.token = token

    def cancel(self) -> None:
        """Do not call it any more; it is removed like one that was garbage-collected."""
        self.function = _gone


def _gone() -> None:
    """Stand for the function of a callback that was cancelled."""


class Announcement:
    """One change, and the callbacks to call for it; a target of deliveries."""

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
        """Call the callbacks for this change, and for those noted before."""
        self._announcements.deliver_up_to(self)


class Announcements:
    """The callbacks of one PV, and the changes that are not delivered yet.

    A client may have very many PVs with callbacks, so these objects are small and share one lock.

    Parameters
    ----------
    subject : Subject
        The first argument of the callbacks.
    lock : context manager
        The lock of the PVs, held for a moment.
    """

    __slots__ = ("_due", "_listeners", "_lock", "_noted", "_subject", "_delivering")

    def __init__(self, subject: Subject, lock: AbstractContextManager[object]) -> None:
        self._subject = subject
        self._lock = lock
        self._listeners: tuple[PVCallback, ...] = ()
        self._noted: list[Announcement] = []
        self._due = 0  # how many of them, from the first, can be delivered now
        self._delivering = False

    def dead(self) -> set[PVCallback]:
        """Find the callbacks that were garbage-collected.

        Call it without holding a lock: the look-up may drop the last reference to an object of the
        user, and then runs its finalizer.
        """
        return {listener for listener in self._listeners if listener.function() is None}

    def add(self, listener: PVCallback, dead: Collection[PVCallback] = ()) -> None:
        """Call *listener* for all changes from now on, and remove the *dead*. Locked."""
        self._listeners = (*(one for one in self._listeners if one not in dead), listener)

    def remove(self, token: int) -> None:
        """Do not call the callback with this token any more. Locked."""
        for listener in self._listeners:
            if listener.token == token:
                listener.cancel()
        self._listeners = tuple(one for one in self._listeners if one.token != token)

    def functions(self) -> dict[int, Function]:
        """Return the callbacks that have a token and still exist. Needs no lock."""
        found = ((one.token, one.function()) for one in self._listeners)
        return {
            token: function for token, function in found
            if token is not None and function is not None
        }

    def note(
        self, news: object, fact: object = None, listener: PVCallback | None = None
    ) -> tuple[Announcement, None]:
        """Note a change; takes no lock.

        Parameters
        ----------
        news : object
            The argument of the callbacks.
        fact : object, optional
            A callback whose last call was for this fact is not called again. Default: *news*.
        listener : PVCallback, optional
            The only callback to call. Default: all that there are now.

        Returns
        -------
        tuple
            A delivery.
        """
        listeners = self._listeners if listener is None else (listener,)
        announcement = Announcement(self, listeners, news, news if fact is None else fact)
        self._noted.append(announcement)  # in one step of the interpreter
        return announcement, None

    def deliver_up_to(self, last: Announcement) -> None:
        """Deliver all changes up to *last*; if another thread is delivering, leave them to it."""
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
