"""Announcements: what the callbacks about the state or the rights of one PV are told, in order.

Changes are noted in the order in which they happen, by whoever makes them; callback threads tell
them. A PV may be lost by one circuit and found by another one, whose threads are not the same: the
one that comes first also tells what is earlier, and only one tells at a time.
"""
from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from .._client.callbacks import Reference, report

if TYPE_CHECKING:
    from ._pv import PV


class Listener:
    """One callback, and what it was told last.

    Parameters
    ----------
    function : Reference
        To the callback, which is called as ``f(pv, news)``.
    knows : object
        What it need not be told as the first thing.
    """

    __slots__ = ("function", "knows")

    def __init__(self, function: Reference, knows: Any = None) -> None:
        self.function = function
        self.knows = knows

    def cancel(self) -> None:
        """Tell it nothing more; it is forgotten like one that was garbage-collected."""
        self.function = _gone


def _gone() -> None:
    """The reference of a listener that was cancelled."""


class Announcement:
    """One change, and who is to hear of it; a target of a `Delivery`."""

    __slots__ = ("_announcements", "due", "fact", "listeners", "news")

    def __init__(
        self,
        announcements: Announcements,
        listeners: Sequence[Listener],
        news: Any,
        fact: Any,
    ) -> None:
        self._announcements = announcements
        self.listeners = listeners
        self.news = news
        self.fact = fact
        self.due = False

    def deliver(self, _argument: Any) -> None:
        """Tell it, and what was noted before."""
        self._announcements.tell(self)


class Announcements:
    """The listeners of one PV, and what they are still to be told.

    A client may have very many PVs with callbacks, so these are small; the Context's lock serves
    for all.
    """

    __slots__ = ("_due", "_listeners", "_noted", "_pv", "_telling")

    def __init__(self, pv: PV) -> None:
        self._pv = pv
        self._listeners: tuple[Listener, ...] = ()
        self._noted: list[Announcement] = []
        self._due = 0  # so many of them, from the first, are to be told now
        self._telling = False

    def dead(self) -> set[Listener]:
        """The listeners whose callbacks were garbage-collected.

        Called holding nothing: what is looked at may have its last reference here, and what runs
        when it goes is not ours.
        """
        return {listener for listener in self._listeners if listener.function() is None}

    def add(self, listener: Listener, dead: Collection[Listener] = ()) -> None:
        """From now on *listener* hears of all that is noted; the *dead* are forgotten.

        Under the Context's lock.
        """
        self._listeners = (*(one for one in self._listeners if one not in dead), listener)

    def note(
        self, news: Any, fact: Any = None, listener: Listener | None = None
    ) -> tuple[Announcement, None]:
        """Note a change; takes no lock.

        Parameters
        ----------
        news : object
            The argument of the callbacks.
        fact : object, optional
            Who was told this last is not told again. Default: *news*.
        listener : Listener, optional
            Only to be told to this one. Default: to all that there are now.

        Returns
        -------
        tuple
            To be put into a `Delivery`.
        """
        listeners = self._listeners if listener is None else (listener,)
        announcement = Announcement(self, listeners, news, news if fact is None else fact)
        self._noted.append(announcement)
        return announcement, None

    def tell(self, last: Announcement) -> None:
        """Tell all that was noted up to *last*, unless another thread is at it, which then does."""
        lock = self._pv.context._lock
        with lock:
            while not last.due:
                self._noted[self._due].due = True
                self._due += 1
            if self._telling:
                return
            self._telling = True
        while True:
            with lock:
                if not self._due:
                    self._telling = False
                    return
                self._due -= 1
                announcement = self._noted.pop(0)
            for listener in announcement.listeners:
                self._tell(listener, announcement)

    def _tell(self, listener: Listener, announcement: Announcement) -> None:
        function = listener.function()
        if function is None or listener.knows == announcement.fact:
            return
        listener.knows = announcement.fact
        try:
            function(self._pv, announcement.news)
        except BaseException as error:
            report(error, self._pv, function, self._pv.log)
