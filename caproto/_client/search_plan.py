"""Which names to ask for, and when again.

A `SearchPlan` holds the names that no server has answered yet. It says which datagrams are due
(`due`) and when to come back (`next_deadline`); answers are reported to it (`reply`). It uses
neither sockets nor the clock: every method that depends on time has an argument *now*, in seconds
of any clock that does not go backwards. It is not thread-safe.

The life of a name::

    add ──> fresh ──> resting ──> waiting ──┐
              (sent)     ^  (its time came) │
                         └──────(sent)──────┘         reply, remove: gone from anywhere

*Back-off.* After its first search a name rests for one estimated round trip (32 ms or more), after
each further search twice as long, up to the maximum period; it never stops. Names that were
lost with a server rest at most a second during the first half minute, because servers usually come
back soon.

*Flood control.* Each of the two queues, fresh and waiting names, may send a datagram for each
credit it has. Credits drip slowly, whatever happens; and each datagram that is answered earns two.
So names that exist are found in a few round trips, twice as many datagrams in each, clocked by the
replies; and names that no server has cost no more than the drip, however many there are.

*Fairness.* A hundred thousand names that no server has must not hold up one that exists. A new name
needs none of their credits: fresh names have their own. Later on, names that wait for a credit are
sorted by crowds. A crowd is what was added in one burst: a flood, or the names lost with a server.
Every second datagram is for the crowd that was sent the fewest searches, so small crowds go ahead
of large ones; of the others every second one is for the youngest crowd, and the rest for the name
that is overdue longest, so that none starves (`_ROTATION`).

*Cost.* Names that were sent together rest together, so that the heap has an entry per datagram
rather than per name, and what was answered is only marked, to be skipped when a queue reaches it.
The next names are found by looking at each crowd, not at each name.
"""
from __future__ import annotations

import heapq
import math
import random
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import groupby, repeat
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from .._addresses import Address
from .._errors import CaprotoKeyError, CaprotoValueError
from .._protocol.constants import MAX_SEARCH_DATAGRAM
from .._protocol.text import encode_text
from .._typing import NamedTuple
from .search_credits import Credits

__all__ = ["Key", "SearchDatagram", "SearchStatus", "SearchPlan", "SearchedName"]

#: What a searcher calls the thing that it searches for.
Key = Hashable

S = TypeVar("S", bound=Hashable)

#: Names created within this many seconds of each other share datagrams.
GATHERING_TIME: Final = 0.002
#: Shortest and longest round trip that is taken as real, in seconds.
ROUND_TRIP_RANGE: Final = (0.032, 30.0)
#: Credits of fresh names: one drips in this many seconds, up to this stock.
FRESH_DRIP, FRESH_STOCK = 0.020, 8
#: Credits of names asked for before.
RETRY_DRIP, RETRY_STOCK = 0.016, 2
#: Names lost with their server rest at most the first of these, during the second (seconds).
LOST_REST, LOST_TIME = 1.0, 30.0
#: A beacon anomaly brings names that rest longer than this (seconds) back to it.
ANOMALY_REST: Final = 8.2
#: Within this many seconds after an anomaly; not all clients of a network at the same moment.
ANOMALY_SPREAD: Final = 0.5
#: Several bursts share a crowd up to this many names, a few datagrams.
SMALL_CROWD: Final = 100
#: Replies to this many latest datagrams are recognised.
MEMORY: Final = 1024
#: The VERSION message that begins a datagram; the header of each SEARCH (bytes).
VERSION_SIZE, HEADER_SIZE = 16, 16
DATAGRAM_ROOM: Final = MAX_SEARCH_DATAGRAM - VERSION_SIZE
LAST_ID: Final = 0xFFFFFFFF
#: Sequence numbers begin with 1.
NEVER_SENT: Final = 0


class SearchDatagram(NamedTuple):
    """One datagram to send to every destination."""

    #: Goes into parameter 1 of the VERSION message; servers copy it into their replies.
    sequence: int
    #: Pairs (cid, name).
    searches: list[tuple[int, str]]


class SearchStatus(NamedTuple):
    """Tell what is known about a name that is being searched."""

    name: str
    #: How often it was asked for.
    tries: int
    #: When it was last sent (-inf: never), and the earliest time of the next search (inf: unknown).
    last_sent: float
    next_due: float
    #: Whether it was lost with a server rather than never found.
    lost: bool


class _Crowd:
    """Names that were added together."""

    __slots__ = ("number", "sent", "size")

    def __init__(self, number: int) -> None:
        self.number = number
        self.size = 0  # how many names were ever added
        self.sent = 0  # how many searches were sent for all of them


class _Sending:
    """What names have in common that were sent in one datagram, and now rest or wait."""

    __slots__ = ("crowd", "due", "level", "sent", "sequence")

    def __init__(self, crowd: _Crowd, level: int, sent: float, sequence: int, due: float) -> None:
        self.crowd = crowd
        self.level = level  # when sent again, they will rest for 2**level round trips
        self.sent = sent
        self.sequence = sequence  # of the datagram
        self.due = due


def _not_sent(crowd: _Crowd) -> _Sending:
    """Stand for the first datagram of names that were not sent yet."""
    return _Sending(crowd, 0, -math.inf, NEVER_SENT, math.inf)


class SearchedName(Generic[S]):
    """A name that is being searched.

    Attributes
    ----------
    name : str
    searcher : hashable or None
        Who searches for it.
    key : hashable
        What the searcher calls it.
    server : tuple of (str, int) or None
        The server that has it; None until one has answered.
    """

    __slots__ = (
        "cid", "done", "key", "lost_until", "name", "searcher", "sending", "server", "size", "tries"
    )  # fmt: skip

    def __init__(
        self,
        cid: int,
        name: str,
        size: int,
        lost_until: float,
        sending: _Sending,
        searcher: S | None,
        key: Key,
    ) -> None:
        self.cid = cid
        self.name = name
        self.size = size
        self.lost_until = lost_until
        self.sending = sending  # the latest
        self.searcher = searcher
        self.key = key
        self.server: Address | None = None
        self.done = False  # answered or removed: it is dropped when a queue reaches it
        self.tries = 0


class SearchPlan(Generic[S]):
    """The names being searched, and when each is due.

    Parameters
    ----------
    max_period : float
        Longest interval between two searches of a name, in seconds (EPICS_CA_MAX_SEARCH_PERIOD).
    now : float
        The present time; anything not later than what later calls say.
    jitter : callable
        Returns a number from 0 to 1, for spreading what all clients of a network would otherwise do
        at the same moment.
    """

    def __init__(
        self,
        max_period: float = 300.0,
        now: float = 0.0,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        if not 0 < max_period < math.inf:
            raise CaprotoValueError(
                f"max_period must be a positive, finite number of seconds, not {max_period}"
            )
        self.max_period = max_period
        self._jitter = jitter
        self._names: dict[int, SearchedName[S]] = {}
        self._last_id = 0
        self._sequence = 0
        self._fresh: deque[SearchedName[S]] = deque()
        self._fresh_at = now
        self._oldest_fresh = True
        # Due when, a tie-break, what they have in common, and names.
        self._resting: list[tuple[float, int, _Sending, list[SearchedName[S]]]] = []
        self._tie_break = 0
        # By crowd and level; each queue in the order in which the names became due.
        self._waiting: defaultdict[tuple[_Crowd, int], deque[SearchedName[S]]] = defaultdict(deque)
        self._rotation = 0
        self._unsent = _not_sent(_Crowd(0))  # the latest crowd
        self._added_at = now
        self._fresh_credits = Credits(FRESH_DRIP, FRESH_STOCK, now)
        self._retry_credits = Credits(RETRY_DRIP, RETRY_STOCK, now)
        # Unanswered datagrams by sequence number: when sent, and the credits that paid.
        self._unanswered: dict[int, tuple[float, Credits]] = {}
        self._mean = ROUND_TRIP_RANGE[0]
        self._deviation = 0.0
        self._whole = True  # false in the middle of a change, and after one that has failed

    def __len__(self) -> int:
        """Count the names that are being searched."""
        return len(self._names)

    def __contains__(self, cid: object) -> bool:
        return cid in self._names

    @property
    def round_trip(self) -> float:
        """Estimated round trip time in seconds: mean + 4 deviations, as in TCP."""
        return self._mean + 4 * self._deviation

    # Names come and go ---------------------------------------------------------------------------

    def add(
        self,
        names: Iterable[str],
        now: float,
        *,
        lost: bool = False,
        searcher: S | None = None,
        keys: Sequence[Key] | None = None,
    ) -> list[int]:
        """Begin to search for some names; the first searches are due within milliseconds.

        Parameters
        ----------
        names : iterable of str
            The same name may be added twice; it then has two ids.
        now : float
        lost : bool
            The names were lost with their server, and will probably be back soon.
        searcher : hashable, optional
            Who searches for them, and
        keys : sequence, optional
            what it calls them, for each name.

        Returns
        -------
        list of int
            A cid for each name, unique among the names being searched, and not used again before
            2**32 others, because a reply to an old search carries nothing else.

        Raises
        ------
        CaprotoValueError
            For a name that is empty or fits into no datagram; nothing is added then, nor after
            any other exception.
        """
        names = list(names)
        sizes = [HEADER_SIZE + _padded_length(name) for name in names]
        for name, size in zip(names, sizes):
            if not name or size > DATAGRAM_ROOM:
                raise CaprotoValueError(f"cannot search for a name of {len(name)} characters")
        lost_until = now + LOST_TIME if lost else -math.inf
        if not self._fresh:
            self._fresh_at = now + GATHERING_TIME
        unsent = self._join_crowd(len(names), now)
        live, fresh, cid = self._names, self._fresh, self._last_id
        ids: list[int] = []
        try:
            for name, size, key in zip(names, sizes, repeat(None) if keys is None else keys):
                cid = cid % LAST_ID + 1
                while cid in live:
                    cid = cid % LAST_ID + 1
                ids.append(cid)
                live[cid] = entry = SearchedName(
                    cid, name, size, lost_until, unsent, searcher, key
                )
                fresh.append(entry)
            self._last_id = cid
            return ids
        except BaseException:  # no memory, perhaps
            self.remove(ids)
            raise

    def _join_crowd(self, number: int, now: float) -> _Sending:
        """Choose the crowd of new names: the latest one, while it goes on or is small."""
        crowd = self._unsent.crowd
        goes_on = now < self._added_at + GATHERING_TIME
        if crowd.size and not goes_on and crowd.size + number > SMALL_CROWD:
            crowd = _Crowd(crowd.number + 1)
            self._unsent = _not_sent(crowd)
        self._added_at = now
        crowd.size += number
        return self._unsent

    def remove(self, ids: Iterable[int]) -> None:
        """Stop searching for these; unknown or answered ids are ignored."""
        for cid in ids:
            entry = self._names.pop(cid, None)
            if entry is not None:
                entry.done = True

    def reply(self, cid: int, sequence: int | None, now: float) -> SearchedName[S] | None:
        """Note that a server answered: the name is found, and no longer searched.

        Parameters
        ----------
        cid : int
            As in the reply.
        sequence : int or None
            The number in the VERSION message before the reply; None if there was none, as over
            TCP or from servers before 4.11. Then the latest datagram with this name is taken to be
            answered; but only numbered replies give the round trip time.
        now : float

        Returns
        -------
        SearchedName or None
            None if it is not searched (any more), which is normal: replies come more than once,
            from several servers, and late.
        """
        entry = self._names.get(cid)
        answered = sequence
        if answered is None:
            answered = entry.sending.sequence if entry is not None else NEVER_SENT
        sent = self._unanswered.pop(answered, None)
        if sent is not None:  # the first reply to this datagram
            when, credits = sent
            credits.earn()
            if sequence is not None:
                self._learn(now - when)
        if entry is not None:  # last, where nothing takes memory: it must not get lost
            del self._names[cid]
            entry.done = True
            if not self._names:  # its memory would stay as it was for the most names ever
                self._names.clear()
        return entry

    def restore(self, entry: SearchedName[S]) -> None:
        """Search again for a name that was answered, because the answer could not be used."""
        self._whole = False  # it may be in no queue, or in one
        self._names[entry.cid] = entry

    def _learn(self, round_trip: float) -> None:
        shortest, longest = ROUND_TRIP_RANGE
        error = min(max(round_trip, shortest), longest) - self._mean
        self._mean += error / 8
        self._deviation += (abs(error) - self._deviation) / 4

    def status(self, cid: int) -> SearchStatus:
        """Tell what is known about a name that is being searched.

        Raises
        ------
        CaprotoKeyError
            If the name is not being searched (any more).
        """
        try:
            entry = self._names[cid]
        except KeyError:
            raise CaprotoKeyError(f"no search has the cid {cid}") from None
        sending = entry.sending
        return SearchStatus(
            entry.name, entry.tries, sending.sent, sending.due, entry.lost_until > -math.inf
        )

    # Datagrams -----------------------------------------------------------------------------------

    def next_deadline(self) -> float:
        """Tell when to call `due` again, unless something else happens before; inf for never."""
        if not self._whole:
            return -math.inf
        deadline = math.inf
        if self._waiting:
            deadline = self._retry_credits.next_at()
        elif self._resting:
            deadline = max(self._resting[0][0], self._retry_credits.next_at())
        if self._fresh:
            deadline = min(deadline, max(self._fresh_at, self._fresh_credits.next_at()))
        return deadline

    def due(self, now: float) -> list[SearchDatagram]:
        """Return the datagrams to send now, each to every destination.

        Parameters
        ----------
        now : float

        Returns
        -------
        list of SearchDatagram
            Each fits into 1024 bytes, including the VERSION message that begins it.
        """
        if not self._whole:
            self._refile(now)
        self._whole = False
        resting = self._resting
        while resting and resting[0][0] <= now:
            _, _, sending, entries = heapq.heappop(resting)
            self._wait(sending, entries)
        datagrams: list[SearchDatagram] = []
        if self._fresh and now >= self._fresh_at:
            self._spend(self._fresh_credits, self._pick_fresh, now, datagrams)
        if self._waiting:
            self._spend(self._retry_credits, self._pick_waiting, now, datagrams)
        self._whole = True
        return datagrams

    def _refile(self, now: float) -> None:
        """Queue all names again: after a change that has failed some may be in no queue."""
        self._fresh.clear()
        self._resting.clear()
        self._waiting.clear()
        for entry in self._names.values():
            entry.done = False
            if entry.tries:
                sending = entry.sending
                sending.due = min(sending.due, now)
                self._waiting[sending.crowd, sending.level].append(entry)
            else:
                self._fresh.append(entry)

    def _spend(
        self,
        credits: Credits,
        pick: Callable[[], list[SearchedName[S]]],
        now: float,
        datagrams: list[SearchDatagram],
    ) -> None:
        """Append datagrams while there are credits and names."""
        while credits.available(now):
            picked = pick()
            if not picked:
                return
            credits.number -= 1.0
            self._sequence = sequence = self._sequence % LAST_ID + 1
            self._unanswered[sequence] = (now, credits)
            if len(self._unanswered) > MEMORY:
                del self._unanswered[next(iter(self._unanswered))]
            self._rest(picked, now, sequence)
            searches = [(entry.cid, entry.name) for entry in picked]
            datagrams.append(SearchDatagram(sequence, searches))

    def _pick_fresh(self) -> list[SearchedName[S]]:
        # From both ends alternately: the newest names must not wait for a flood that came before
        # them, nor the oldest for one that goes on.
        picked: list[SearchedName[S]] = []
        self._oldest_fresh = not self._oldest_fresh
        _take(self._fresh, self._oldest_fresh, picked, DATAGRAM_ROOM)
        return picked

    def _pick_waiting(self) -> list[SearchedName[S]]:
        self._rotation += 1
        first = _ROTATION[self._rotation % len(_ROTATION)]
        picked: list[SearchedName[S]] = []
        room = DATAGRAM_ROOM
        while self._waiting:
            key, queue = min(self._waiting.items(), key=first)
            room = _take(queue, True, picked, room)
            if queue:  # the datagram is full
                break
            del self._waiting[key]
        return picked

    def _wait(self, sending: _Sending, entries: Iterable[SearchedName[S]]) -> None:
        """Queue names that are due."""
        left = [entry for entry in entries if not entry.done]
        if left:
            self._waiting[sending.crowd, sending.level].extend(left)

    def _rest(self, entries: list[SearchedName[S]], now: float, sequence: int) -> None:
        """File names that are being sent by the time when they are due again."""
        round_trip = self.round_trip
        top = math.ceil(math.log2(max(1.0, self.max_period / round_trip)))
        lost_top = self._level(LOST_REST)
        groups: defaultdict[tuple[_Crowd, int], list[SearchedName[S]]] = defaultdict(list)
        for before, alike in groupby(entries, attrgetter("sending")):
            if before.level <= lost_top:
                groups[before.crowd, before.level] += alike
                continue
            for entry in alike:
                level = lost_top if entry.lost_until > now else before.level
                groups[before.crowd, level].append(entry)
        for (crowd, level), group in groups.items():
            due = now + min(math.ldexp(round_trip, level), self.max_period)
            sending = _Sending(crowd, min(level + 1, top), now, sequence, due)
            for entry in group:
                entry.sending = sending
                entry.tries += 1
            crowd.sent += len(group)
            self._tie_break += 1
            heapq.heappush(self._resting, (due, self._tie_break, sending, group))

    def _level(self, rest: float) -> int:
        """Return the highest level that rests no longer than *rest* seconds."""
        return max(0, math.floor(math.log2(rest / self.round_trip) + 1e-9))

    # Pulling forward -----------------------------------------------------------------------------

    def beacon_anomaly(self, now: float) -> None:
        """Ask soon for names that rest long: a server has come up, or a network has come back.

        They are asked for within half a second (as far as credits allow), then again after about
        8 s, and so on as before. Names that rest no longer than that are left alone.
        """
        level = self._level(ANOMALY_REST)
        self._bring_forward(level + 1, level, now + ANOMALY_SPREAD * self._jitter())

    def search_now(self, now: float) -> None:
        """Ask for every name as soon as credits allow, and start the back-off again."""
        self._bring_forward(0, 0, now)

    def _bring_forward(self, above: int, level: int, due: float) -> None:
        """Bring names above one level to another, to be asked for when they are due."""
        whole, self._whole = self._whole, False
        for number, (when, tie_break, sending, entries) in enumerate(self._resting):
            if sending.level > above:
                sending.level = level
                sending.due = min(when, due)
                self._resting[number] = (sending.due, tie_break, sending, entries)
        heapq.heapify(self._resting)
        for key in [key for key in self._waiting if key[1] > above]:
            queue = self._waiting.pop(key)
            for entry in queue:
                entry.sending.level = level
            self._waiting[key[0], level].extend(queue)
        self._whole = whole


def _padded_length(name: str) -> int:
    """Count the bytes of a name with its terminating zero, padded to a multiple of 8."""
    length = len(name) if name.isascii() else len(encode_text(name))
    return (length + 8) & ~7


def _take(
    queue: deque[SearchedName[S]], oldest: bool, picked: list[SearchedName[S]], room: int
) -> int:
    """Move names from one end of a queue to *picked* while there is room; return the room left."""
    take, put_back = (queue.popleft, queue.appendleft) if oldest else (queue.pop, queue.append)
    while queue:
        entry = take()
        if entry.done:
            continue
        if entry.size > room:
            put_back(entry)
            break
        room -= entry.size
        picked.append(entry)
    return room


# Which of the waiting queues comes first: the one with the smallest of these.

_Waiting = tuple[tuple[_Crowd, int], "deque[SearchedName[Any]]"]


def _least_sent(waiting: _Waiting) -> tuple[float, float]:
    """Prefer small crowds, and in a crowd the names that were asked for least often."""
    (crowd, level), _ = waiting
    return crowd.sent, level


def _youngest(waiting: _Waiting) -> tuple[float, float]:
    (crowd, level), _ = waiting
    return -crowd.number, level


def _longest_overdue(waiting: _Waiting) -> tuple[float, float]:
    _, queue = waiting
    return queue[0].sending.due, 0


#: Which queue the next datagrams are for, one after the other.
_ROTATION: Final = (_least_sent, _youngest, _least_sent, _longest_overdue)
