"""SearchBook: which searcher searches for what, and what datagrams mean for the searchers.

A searcher asks for names, each under a key of its own. The book says which datagrams are due, takes
in what servers and repeaters send, and sorts it by searcher into `SearchNews`. It only hands the
searchers and the keys back, and calls neither: they are whatever the driver likes to use.

``search_plan`` decides when a name is asked for, ``beacons`` what a beacon means, and
``registration`` when to register with the repeater; this is what joins them. A name that was
answered is no longer searched, so the driver must notify its searcher, or add the name again.
"""
from __future__ import annotations

import heapq
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final, Generic, TypeVar

from .._addresses import Address
from .._protocol.broadcaster import extract_address
from .._protocol.commands import Beacon, RepeaterConfirmResponse, SearchResponse, VersionResponse
from .._protocol.constants import SERVER_PORT
from .._protocol.message import Message
from .._typing import NamedTuple
from .beacons import BeaconTable, Verdict
from .registration import Registration, RegistrationAction
from .search_plan import Key, SearchDatagram, SearchedName, SearchPlan, SearchStatus

__all__ = ["Key", "SearchBook", "SearchNews", "SearchProgress"]

#: The latest of each kind to remember, at least: answered searches, to notice when a second server
#: has the same name; cases of that which were reported; where answers come from.
REMEMBERED: Final = 8192

S = TypeVar("S", bound=Hashable)
T = TypeVar("T", bound=Hashable)
U = TypeVar("U")


class SearchProgress(NamedTuple):
    """How the search for one name goes, and all searches."""

    #: Of this name; None if it is not being searched now.
    status: SearchStatus | None
    #: Seconds until the search begins (again), after a failure; None if it is not postponed.
    postponed: float | None
    #: Names found so far, and how long ago the last one (seconds; None: never).
    found: int
    last_found: float | None
    #: Whether a repeater has confirmed that it passes beacons on to us.
    registered: bool
    #: How many servers have sent beacons that were passed on.
    beacons_from: int


class SearchNews(Generic[S]):
    """What some messages mean, for the driver to pass on.

    Attributes
    ----------
    found : dict
        By searcher, address of the server and minor version of its protocol: the names that it has,
        and the keys of these.
    elsewhere : list of tuple
        A searcher, a key, the address where it was found, and that of a second server with the same
        name.
    beacons : list of tuple
        Servers that sent a beacon, each with whether it came in its rhythm.
    """

    __slots__ = ("beacons", "elsewhere", "found")

    def __init__(self) -> None:
        self.found: defaultdict[tuple[S, Address, int], tuple[list[str], list[Key]]] = defaultdict(
            lambda: ([], [])
        )
        self.elsewhere: list[tuple[S, Key, Address, Address]] = []
        self.beacons: list[tuple[Address, bool]] = []


class _Latest(Generic[T, U]):
    """A table of the latest entries: `REMEMBERED` of them or more, at most twice as many.

    When the newer half is full, the older one is forgotten as a whole. To forget the oldest entry
    of a dict each time would take time for all that were forgotten before.
    """

    __slots__ = ("_newer", "_older")

    def __init__(self) -> None:
        self._newer: dict[T, U] = {}
        self._older: dict[T, U] = {}

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def get(self, key: T) -> U | None:
        """Return an entry; None if it is not there (any more)."""
        found = self._newer.get(key)
        return self._older.get(key) if found is None else found

    def put(self, key: T, value: U) -> None:
        """Add an entry."""
        self._newer[key] = value
        if len(self._newer) >= REMEMBERED:
            self._older, self._newer = self._newer, {}

    def drop(self, unwanted: Callable[[T, U], bool]) -> None:
        """Forget some entries."""
        self._newer = {k: v for k, v in self._newer.items() if not unwanted(k, v)}
        self._older = {k: v for k, v in self._older.items() if not unwanted(k, v)}


#: What tells where an answer comes from: port and address in it, the version, and the sender.
_Place = tuple[int, int, bytes, "Address | None"]


class _Postponed(Generic[S]):
    """Searches that begin later; sorted by when, then in the order of asking."""

    __slots__ = ("incomplete", "keys", "lost", "names", "order", "searcher", "when")

    def __init__(
        self, when: float, order: int, searcher: S, names: list[str], keys: list[Key], lost: bool
    ) -> None:
        self.when = when
        self.order = order
        self.searcher = searcher
        self.names = names
        self.keys = keys
        self.lost = lost
        self.incomplete = False  # whether some of them do not wait here any more

    def __lt__(self, other: _Postponed[S]) -> bool:
        return (self.when, self.order) < (other.when, other.order)


class SearchBook(Generic[S]):
    """All searches of one UDP socket.

    Parameters
    ----------
    now : float
        The present time, in seconds of any clock that does not go backwards.
    max_period : float
        Longest interval between two searches of a name, in seconds (EPICS_CA_MAX_SEARCH_PERIOD).
    server_port : int
        Port of servers that do not send their own (EPICS_CA_SERVER_PORT).
    registration_retry_time : float
        Longest pause between attempts to register with the repeater, in seconds.
    use_repeater : bool
        Whether to register at all.
    jitter : callable, optional
        See `SearchPlan`.
    """

    def __init__(
        self,
        now: float,
        *,
        max_period: float = 300.0,
        server_port: int = SERVER_PORT,
        registration_retry_time: float = 10.0,
        use_repeater: bool = True,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._server_port = server_port
        self._plan: SearchPlan[S] = SearchPlan(max_period, now, jitter=jitter)
        self._beacons = BeaconTable(now, server_port)
        self._registration = Registration(now, registration_retry_time, use_repeater)
        self._circuits: Counter[Address] = Counter()
        # By searcher and key: the cid of the search, or the entry that it waits in.
        self._open: dict[S, dict[Key, int | _Postponed[S]]] = {}
        self._postponed: list[_Postponed[S]] = []
        self._order = 0
        self._answered: _Latest[int, SearchedName[S]] = _Latest()
        # Of all answers from a server, its address and version; so its PVs keep one object.
        self._servers: _Latest[_Place, tuple[Address, int]] = _Latest()
        self._last_place: _Place | None = None  # that an answer came from
        self._last_server: tuple[Address, int] = ("", 0), 0  # there
        # Both servers answer again when the name is searched again; report it once.
        self._reported: _Latest[tuple[tuple[S, Key], frozenset[Address]], bool] = _Latest()
        self._found = 0
        self._last_found: float | None = None

    def __len__(self) -> int:
        """Return how many names are being searched."""
        return len(self._plan)

    # ---- what searchers want

    def add(
        self,
        searcher: S,
        names: Iterable[str],
        keys: Iterable[Key],
        now: float,
        *,
        lost: bool = False,
        delay: float = 0.0,
    ) -> None:
        """Search for *names* until they are found; those that are searched already go on.

        Parameters
        ----------
        searcher : hashable
        names, keys : iterables
            Of the same length.
        now : float
        lost : bool
            Whether they were lost with their server, and so will probably be back soon.
        delay : float
            Seconds to wait before the first search.

        Raises
        ------
        CaprotoValueError
            For a name that is empty or fits into no datagram; nothing is added then, nor after
            any other exception.
        """
        known = self._open.setdefault(searcher, {})
        self._order += 1
        entry = _Postponed(now + delay, self._order, searcher, [], [], lost)
        # Each is noted at once: so no key is there twice, and it takes no second large dict.
        try:
            for key, name in zip(keys, names, strict=True):
                if key not in known:
                    entry.keys.append(key)
                    entry.names.append(name)
                    known[key] = entry
            if delay <= 0:
                self._begin(entry, now)
            elif entry.keys:
                heapq.heappush(self._postponed, entry)
        except BaseException:
            entry.incomplete = True
            for key in entry.keys:
                known.pop(key, None)
            raise

    def _begin(self, entry: _Postponed[S], now: float) -> None:
        searcher, names, keys = entry.searcher, entry.names, entry.keys
        known = self._open[searcher]
        if entry.incomplete:
            left = [at for at, key in enumerate(keys) if known.get(key) is entry]
            names, keys = [names[at] for at in left], [keys[at] for at in left]
        ids: Sequence[int] = ()
        try:
            ids = self._plan.add(names, now, lost=entry.lost, searcher=searcher, keys=keys)
            known.update(zip(keys, ids))
            entry.incomplete = True
        except BaseException:
            self._plan.remove(ids)
            raise

    def withdraw(self, searcher: S, keys: Iterable[Key]) -> None:
        """Stop the searches of *searcher* under some keys; others of them are ignored."""
        known = self._open.get(searcher, {})
        for key in keys:
            entry = known.pop(key, None)
            if isinstance(entry, int):
                self._plan.remove((entry,))
            elif entry is not None:
                entry.incomplete = True

    def forget(self, searcher: S) -> None:
        """Stop all searches of *searcher*."""
        cids = [cid for cid in self._open.pop(searcher, {}).values() if isinstance(cid, int)]
        self._plan.remove(cids)
        self._postponed = [entry for entry in self._postponed if entry.searcher is not searcher]
        heapq.heapify(self._postponed)
        self._answered.drop(lambda cid, name: name.searcher is searcher)
        self._reported.drop(lambda case, _: case[0][0] is searcher)

    def search_now(self, now: float) -> None:
        """Ask for every name as soon as possible, and start the back-off again.

        Postponed names stay postponed.
        """
        self._plan.search_now(now)

    def circuit_opened(self, address: Address) -> None:
        """Note that there is a circuit to this server: its first beacon will not be news."""
        self._circuits[address] += 1
        self._beacons.circuit_opened(*address)

    def circuit_closed(self, address: Address) -> None:
        """Note the end of a circuit; after the last one the server's beacons begin again."""
        self._circuits[address] -= 1
        if self._circuits[address] <= 0:
            del self._circuits[address]
            self._beacons.circuit_closed(*address)

    # ---- what is to be sent, and when

    def next_deadline(self) -> float:
        """Tell when to call `due` and `register` again, unless something happens before."""
        postponed = self._postponed[0].when if self._postponed else math.inf
        return min(self._plan.next_deadline(), self._registration.deadline, postponed)

    def due(self, now: float) -> list[SearchDatagram]:
        """Return the datagrams to send now, each to every destination."""
        while self._postponed and self._postponed[0].when <= now:
            self._begin(self._postponed[0], now)
            heapq.heappop(self._postponed)
        return self._plan.due(now)

    def register(self, now: float) -> RegistrationAction:
        """Decide what to do about the repeater now."""
        return self._registration.due(now)

    # ---- what has come

    def received(self, commands: Iterable[Message], now: float, news: SearchNews[S]) -> None:
        """Take in the messages of one datagram, and add to *news* what they mean."""
        sequence: int | None = None
        for command in commands:
            if isinstance(command, SearchResponse):
                self._answer(command, None, sequence, now, news)
            elif isinstance(command, VersionResponse):
                sequence = command.sequence
            elif isinstance(command, Beacon):
                self._registration.heard(now)
                self._beacon(command, now, news)
            elif isinstance(command, RepeaterConfirmResponse):
                self._registration.confirmed(now)

    def answered(
        self, responses: Iterable[SearchResponse], version: int, now: float, news: SearchNews[S]
    ) -> None:
        """Take in what a name server of this minor *version* has answered by TCP."""
        for response in responses:
            self._answer(response, version, None, now, news)

    def _answer(
        self,
        response: SearchResponse,
        version: int | None,
        sequence: int | None,
        now: float,
        news: SearchNews[S],
    ) -> None:
        """Take in that one server has one name; it has *version*, unless the answer says it."""
        cid = response.fields[5]
        address, own_version = self._server(response)
        found = self._plan.reply(cid, sequence, now)
        if found is not None:
            searcher, key = found.searcher, found.key
            assert searcher is not None  # `_begin` names one for each
            waiting = self._open[searcher]
            try:
                names, keys = news.found[
                    searcher, address, own_version if version is None else version
                ]
                del waiting[key]
                names.append(found.name)
                keys.append(key)
            except BaseException:
                waiting[key] = cid
                self._plan.restore(found)
                raise
            if not waiting:  # its memory would stay as it was for the most names ever
                waiting.clear()
            found.server = address
            self._answered.put(cid, found)
            self._found += 1
            self._last_found = now
            return
        answered = self._answered.get(cid)
        if answered is not None:
            searcher, key, first = answered.searcher, answered.key, answered.server
            assert searcher is not None  # both are noted above
            assert first is not None
            case = ((searcher, key), frozenset((first, address)))
            if first != address and not self._reported.get(case):
                self._reported.put(case, True)
                news.elsewhere.append((searcher, key, first, address))

    def _server(self, response: SearchResponse) -> tuple[Address, int]:
        """Return the server that an answer names, and the version in it (0: none)."""
        _, _, port, _, ip, _ = response.fields
        place = port, ip, bytes(response.payload[:2]), response.sender_address
        if place == self._last_place:  # nearly always
            return self._last_server
        known = self._servers.get(place)
        if known is None:
            known = extract_address(response, self._server_port), response.version or 0
            self._servers.put(place, known)
        self._last_place, self._last_server = place, known
        return known

    def _beacon(self, command: Beacon, now: float, news: SearchNews[S]) -> None:
        """Take in that a server is alive; perhaps it has just been started."""
        address = extract_address(command, self._server_port)
        verdict = self._beacons.beacon(*address, command.beacon_id, command.version, now)
        if verdict is Verdict.ANOMALY:
            self._plan.beacon_anomaly(now)
        if verdict not in (Verdict.FIRST, Verdict.DISCARDED):
            news.beacons.append((address, verdict is Verdict.GOOD))

    # ---- reports

    def open_searches(self, searchers: Sequence[S]) -> int:
        """Count the names that these searchers still wait for."""
        return sum(len(self._open.get(searcher, ())) for searcher in searchers)

    def progress(self, searchers: Iterable[S], key: Key, now: float) -> SearchProgress:
        """Tell how the search of one of *searchers* for *key* goes."""
        status: SearchStatus | None = None
        postponed: float | None = None
        for searcher in searchers:
            entry = self._open.get(searcher, {}).get(key)
            if isinstance(entry, int):
                status = self._plan.status(entry)
            elif entry is not None:
                postponed = max(0.0, entry.when - now)
        return SearchProgress(
            status,
            postponed,
            self._found,
            None if self._last_found is None else now - self._last_found,
            self._registration.registered,
            self._beacons.heard(),
        )
