"""SharedBroadcaster: the UDP socket, and the thread that searches.

One may serve several Contexts; it knows them by the methods of `Listener` and holds them weakly.
``_client.search_plan`` decides what is due when; this module sends it, receives what comes, and
sorts the answers by Context and server.

The plan and the tables belong to the lock. The socket belongs to the thread. While asleep, the
thread holds the socket and the wake-up, nothing else.
"""
from __future__ import annotations

import heapq
import logging
import math
import os
import socket
import threading
import weakref
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeVar

from .. import _locks
from .._broadcaster import Broadcaster, extract_address
from .._client.beacons import BeaconTable, Verdict
from .._client.registration import Registration, RegistrationAction
from .._client.search_plan import SearchFacts, SearchPlan
from .._commands import Beacon, RepeaterConfirmResponse, SearchResponse, VersionResponse
from .._constants import MAX_DATAGRAM
from .._environment import ClientConfiguration
from .._errors import CaprotoError, ContextDisconnectedError
from .._log import RECEIVED, SENT
from .._repeater import spawn_repeater
from .._roles import CLIENT
from .._sockets import Address, WakeUp, bcast_socket, resolve_addresses
from . import _lifetime
from ._explain import SearchReport
from ._name_server import NameServer
from ._transport import Waker, describe, take_turns
from ._waiting import Deadline

#: Datagrams received in a row before searches that are due get their turn.
DATAGRAMS_PER_TURN = 200
#: Answered searches that are remembered, to notice when a second server has the same name; and what
#: the user was told of that.
REMEMBERED = 16384
#: Seconds until names are searched again whose finding made trouble.
TROUBLE_DELAY = 5.0
#: Seconds between two log messages about how many searches are open.
REPORT_INTERVAL = 2.0
#: Bytes to ask the kernel for, so that the answers to ten thousand searches find room.
RECEIVE_BUFFER = 1 << 22

#: Who is searching, and what it calls the thing.
Key = Hashable

T = TypeVar("T")
U = TypeVar("U")


class Listener(Protocol):
    """What a broadcaster tells a Context."""

    def found(self, address: Address, version: int, keys: Sequence[Any]) -> None:
        """These are served at *address*, by a server of this minor version."""

    def found_again(self, key: Any, first: Address, second: Address) -> None:
        """A second server has answered."""

    def beacon(self, address: Address, good: bool) -> None:
        """A server sent a beacon, in its rhythm or not."""

    def searching(self) -> None:
        """Searches were sent; a moment to report."""

    def last_heard(self) -> dict[Address, float]:
        """Seconds since each server of a circuit sent anything."""


class _Search(NamedTuple):
    listener: weakref.ref[Any]
    key: Any


class _Postponed(NamedTuple):
    when: float
    order: int
    listener: weakref.ref[Any]
    names: list[str]
    keys: list[Any]
    lost: bool


class SharedBroadcaster:
    """One UDP socket and one thread, shared by any number of Contexts.

    Parameters
    ----------
    registration_retry_time : float
        Longest pause, in seconds, between attempts to register with the repeater (the first is one
        second), which passes the beacons of servers on to us.
    configuration : ClientConfiguration, optional
        The network to search. Default: the EPICS_CA_* environment variables, read now.

    Attributes
    ----------
    configuration : ClientConfiguration
        In force.
    log : logging.Logger
        At DEBUG every datagram sent and received is logged here.
    unresolved : list of str
        Configured addresses ('host:port') whose host names are not known. Names are looked up when
        the first search begins.
    """

    def __init__(
        self,
        *,
        registration_retry_time: float = 10.0,
        configuration: ClientConfiguration | None = None,
    ) -> None:
        self.configuration = configuration or ClientConfiguration.from_environment()
        self.registration_retry_time = registration_retry_time
        self._protocol = Broadcaster(CLIENT)
        self.log = self._protocol.log
        self._lock = _locks.Lock()
        self._closed = ""
        now = monotonic()
        self._plan = SearchPlan(self.configuration.max_search_period, now)
        self._beacons = BeaconTable(now, self.configuration.server_port)
        self._registration = Registration(
            now, registration_retry_time, self.configuration.use_repeater
        )
        self._circuits: Counter[Address] = Counter()  # of all listeners
        self._searches: dict[int, _Search] = {}
        self._answered: dict[int, tuple[_Search, Address]] = {}
        # Searched again they are answered by the same two: that is no news.
        self._served_twice: dict[tuple[_Search, frozenset[Address]], None] = {}
        self._postponed: list[_Postponed] = []
        self._order = 0
        # Changed and copied in single steps, so that it may be used without the lock.
        self._listeners: dict[int, weakref.ref[Any]] = {}
        self._reported = now
        self._prepared = False
        self.unresolved: list[str] = []
        self._destinations: list[Address] = []
        self._send_errors: dict[Address, OSError] = {}
        self._name_servers: list[NameServer] = []
        self._unstarted: dict[Address, str] = {}  # name servers, and why they have no thread
        self._found = 0
        self._last_found: float | None = None
        self._socket = bcast_socket(reuse=False, mcast_ttl=self.configuration.mcast_ttl)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._socket.bind(("", 0))
        self._notes: deque[Callable[[], None]] = deque()
        self._wakeup = WakeUp()
        self._thread: threading.Thread | None = None
        _lifetime.register(self)

    # ---- for users

    def search_now(self) -> None:
        """Ask for everything that is not found yet, now, and begin the back-off anew.

        Names that pause because their server made trouble (see `Context.explain`) are not hurried.
        """
        with self._lock:
            self._plan.search_now(monotonic())
        self._wakeup.set()

    def time_since_last_heard(self) -> dict[Address, float]:
        """Seconds since each server that we have a circuit to has sent anything.

        Returns
        -------
        dict of (str, int) to float
        """
        heard: dict[Address, float] = {}
        for listener in self._living():
            for address, seconds in listener.last_heard().items():
                heard[address] = min(seconds, heard.get(address, math.inf))
        return heard

    def disconnect(self, *, wait: bool = True) -> None:
        """End the thread; searches are given up. May be called twice.

        Parameters
        ----------
        wait : bool
            Whether to wait for the thread to end.
        """
        self._close("the broadcaster was disconnected")
        if wait:
            self.join(None)

    def join(self, timeout: float | None) -> None:
        """Wait at most *timeout* seconds for the threads to end."""
        deadline = Deadline(timeout)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(deadline.remaining())
        for server in self._name_servers:
            server.join(deadline.remaining())

    def __del__(self) -> None:
        # The thread closes the sockets; who never searched has none.
        if getattr(self, "_thread", self) is None:
            self._socket.close()
            self._wakeup.close()

    def __repr__(self) -> str:
        state = self._closed or f"{len(self._plan)} names are being searched"
        return f"<SharedBroadcaster: {state}>"

    # ---- for Contexts

    def add_listener(self, listener: Listener) -> None:
        """Tell *listener* what concerns it, for as long as it lives.

        Raises
        ------
        ContextDisconnectedError
            If the broadcaster was disconnected.
        """
        with self._lock:
            if self._closed:
                raise ContextDisconnectedError(self._closed)
        self._listeners[id(listener)] = weakref.ref(listener)

    def _living(self) -> list[Any]:
        """All listeners; those that were dropped are struck off. Called holding nothing."""
        living = []
        for number, reference in list(self._listeners.items()):
            listener = reference()
            if listener is not None:
                living.append(listener)
            elif self._listeners.get(number) is reference:
                self._listeners.pop(number, None)
        return living

    def search(
        self,
        listener: Listener,
        names: Sequence[str],
        keys: Sequence[Key],
        *,
        lost: bool = False,
        delay: float = 0.0,
    ) -> None:
        """Search for *names*, in the background, until they are found.

        Parameters
        ----------
        listener : Listener
            Whom to tell.
        names : sequence of str
            Names of PVs.
        keys : sequence
            What the listener calls them.
        lost : bool
            Whether they were lost with their server, and so will probably be back soon.
        delay : float
            Seconds to wait before the first search.
        """
        if not names:
            return
        reference = weakref.ref(listener)
        hash(reference)  # it goes into tables, and forgets how once the listener is gone
        with self._lock:
            if self._closed:
                return
            if delay > 0:
                self._order += 1
                postponed = _Postponed(
                    monotonic() + delay, self._order, reference, list(names), list(keys), lost
                )
                heapq.heappush(self._postponed, postponed)
            else:
                self._add(reference, names, keys, lost)
            if self._thread is None:
                self._start()
        self._wakeup.set()

    def note(self, function: Callable[[], None]) -> None:
        """Have *function* called by the search thread, soon, holding nothing."""
        self._notes.append(function)
        with self._lock:
            if not self._closed and self._thread is None:
                self._start()
        self._wakeup.set()

    def forget(self, listener: Listener) -> None:
        """Give up all searches of *listener*."""
        with self._lock:
            ids = [cid for cid, search in self._searches.items() if search.listener() is listener]
            self._plan.remove(ids)
            for cid in ids:
                del self._searches[cid]
            self._postponed = [
                entry for entry in self._postponed if entry.listener() is not listener
            ]
            heapq.heapify(self._postponed)
            self._answered = {
                cid: answer
                for cid, answer in self._answered.items()
                if answer[0].listener() is not listener
            }
            self._served_twice = {
                case: None
                for case in self._served_twice
                if case[0].listener() is not listener
            }
        self._listeners.pop(id(listener), None)

    def circuit_opened(self, address: Address) -> None:
        """A listener has a circuit to this server: its first beacon will be no news."""
        with self._lock:
            self._circuits[address] += 1
            self._beacons.circuit_opened(*address)

    def circuit_closed(self, address: Address) -> None:
        """A circuit to this server is over: after the last one its beacons may begin anew."""
        with self._lock:
            self._circuits[address] -= 1
            if self._circuits[address] <= 0:
                del self._circuits[address]
                self._beacons.circuit_closed(*address)

    def open_searches(self, listener: Listener) -> int:
        """How many names *listener* still waits for."""
        with self._lock:
            return sum(1 for search in self._searches.values() if search.listener() is listener)

    @property
    def destinations(self) -> list[Address]:
        """Where searches are sent to."""
        return list(self._destinations)

    def why_not_found(self) -> str:
        """Why a name is not found, as far as that can be said of all of them."""
        if self._closed:
            return f"it is not searched: {self._closed}"
        asked = [f"{host}:{port}" for host, port in self._destinations]
        failing = [f"{address} is an unknown host" for address in self.unresolved]
        for (host, port), trouble in self._name_server_troubles().items():
            if trouble:
                failing.append(f"{host}:{port} by TCP cannot be asked: {trouble}")
            else:
                asked.append(f"{host}:{port} by TCP")
        if asked:
            said = f"no server has answered the search (sent to {', '.join(asked)})"
        elif failing or self._prepared:
            said = "there is nobody to ask"
            failing = failing or ["no address is configured"]
        else:
            return "the search has hardly begun"
        return "; ".join((said, *failing))

    def _name_server_troubles(self) -> dict[Address, str]:
        """All name servers, with why they cannot be asked, empty if they can."""
        started = {server.address: server.trouble for server in list(self._name_servers)}
        return started | self._unstarted

    def report(self, listener: Listener, key: Key) -> SearchReport:
        """How the search of *listener* for *key* goes."""
        now = monotonic()
        facts: SearchFacts | None = None
        postponed: float | None = None
        with self._lock:
            for cid, search in self._searches.items():
                if search.key == key and search.listener() is listener:
                    facts = self._plan.facts(cid)
            for entry in self._postponed:
                if key in entry.keys and entry.listener() is listener:
                    postponed = max(0.0, entry.when - now)
            errors = {address: error.strerror for address, error in self._send_errors.items()}
            servers = self._name_server_troubles()
            hears_beacons = self._registration.registered
        return SearchReport(
            destinations={address: errors.get(address) or "" for address in self._destinations},
            name_servers=servers,
            unresolved=list(self.unresolved),
            prepared=self._prepared,
            facts=facts,
            postponed=postponed,
            found=self._found,
            last_found=None if self._last_found is None else now - self._last_found,
            hears_beacons=hears_beacons,
        )

    # ---- inside

    def _add(
        self, listener: weakref.ref[Any], names: Sequence[str], keys: Sequence[Key], lost: bool
    ) -> None:
        ids = self._plan.add(names, monotonic(), lost=lost)
        for cid, key in zip(ids, keys, strict=True):
            self._searches[cid] = _Search(listener, key)

    def _start(self) -> None:
        """Start the thread. Locked: it must be there, or not, when we are closed."""
        thread = threading.Thread(
            target=_serve,
            args=(weakref.ref(self, Waker(self._wakeup)), self._socket, self._wakeup),
            name="ca-udp",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError as error:  # the next search tries again
            raise CaprotoError(f"cannot start the thread that searches: {error}") from error
        self._thread = thread

    def _close(self, reason: str) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = reason
            started = self._thread is not None
        for server in self._name_servers:
            server.close()
        if started:
            self._wakeup.set()
        else:
            self._socket.close()
            self._wakeup.close()

    def _at_exit(self, deadline: Deadline) -> None:
        self._close("the interpreter is exiting")
        self.join(deadline.remaining())

    def _after_fork(self) -> None:
        self._lock = _locks.Lock()
        self._closed = (
            f"this broadcaster was created before fork, in the parent of process {os.getpid()}; "
            "create a new one in the child"
        )
        self._socket.close()
        self._wakeup.close()
        for server in self._name_servers:
            server.abandon()

    def _turn(self, readable: bool, _writable: bool) -> tuple[float | None, bool] | None:
        """Do what is to be done now; see ``_transport.Turning``."""
        while self._notes:
            self._tell(self._notes.popleft())
        if self._closed:
            return None
        try:
            if not self._prepared:
                self._prepare()
            if self._unstarted:
                self._start_name_servers()
            if readable:
                self._receive()
            self._send_due()
            self._register()
            with self._lock:
                deadline = min(self._plan.next_deadline(), self._registration.deadline)
                if self._postponed:
                    deadline = min(deadline, self._postponed[0].when)
            return (None if deadline == math.inf else deadline), False
        except Exception:  # a defect of ours must not end the search for ever
            self.log.exception("Unexpected error; the search goes on")
            return monotonic() + 1.0, False

    def _prepare(self) -> None:
        """Look up where to search, here because resolving host names may take its time."""
        self.unresolved.clear()
        configuration = self.configuration
        self._destinations = self._resolve(configuration.search_addresses(), "EPICS_CA_ADDR_LIST")
        servers = self._resolve(configuration.name_servers, "EPICS_CA_NAME_SERVERS")
        self._unstarted = dict.fromkeys(servers, "not started yet")
        if not self._destinations and not servers:
            self.log.warning(
                "No PV can be found: EPICS_CA_ADDR_LIST and EPICS_CA_NAME_SERVERS name no known "
                "host, and EPICS_CA_AUTO_ADDR_LIST is NO"
            )
        self._prepared = True

    def _resolve(self, addresses: Iterable[Address], variable: str) -> list[Address]:
        resolved: dict[Address, None] = {}
        for host, port in addresses:
            found = resolve_addresses([(host, port)], variable)
            if not found:
                self.unresolved.append(f"{host}:{port}")
            resolved |= dict.fromkeys(found)
        return list(resolved)

    def _start_name_servers(self) -> None:
        """If there are no descriptors or threads to be had, some wait for the next turn."""
        for address, known in list(self._unstarted.items()):
            try:
                server = NameServer(self, address, connection_timeout=self.configuration.conn_tmo)
                server.start()
            except (OSError, RuntimeError) as error:
                trouble = describe(error)
                self._unstarted[address] = trouble
                if trouble != known:
                    self.log.warning("The name server %s:%d cannot be asked: %s", *address, trouble)
                continue
            with self._lock:
                self._name_servers.append(server)
                del self._unstarted[address]
                closed = self._closed
            if closed:
                server.close()

    def _register(self) -> None:
        """Tell the repeater on this host that we want beacons; start one if there is none."""
        now = monotonic()
        port = self.configuration.repeater_port
        action = self._registration.due(now)
        if action is RegistrationAction.NOTHING:
            return
        if action is RegistrationAction.START_REPEATER:
            try:
                spawn_repeater(port)
            except CaprotoError as error:
                self.log.info("There is no repeater, so beacons are not heard: %s", error)
        try:
            self._socket.sendto(self._protocol.send(self._protocol.register()), ("127.0.0.1", port))
        except OSError as error:
            self.log.debug("Cannot register with the repeater: %s", error)

    def _send_due(self) -> None:
        now = monotonic()
        with self._lock:
            while self._postponed and self._postponed[0].when <= now:
                _, _, listener, names, keys, lost = heapq.heappop(self._postponed)
                if listener() is not None:
                    self._add(listener, names, keys, lost)
            datagrams = [
                (sequence, self._without_orphans(searches))
                for sequence, searches in self._plan.due(now)
            ]
            report = datagrams and now - self._reported >= REPORT_INTERVAL
        for sequence, searches in datagrams:
            if searches:
                self._send_datagram(sequence, searches)
        if report:
            self._reported = now
            for listener in self._living():
                self._tell(listener.searching)

    def _without_orphans(self, searches: list[tuple[int, str]]) -> list[tuple[int, str]]:
        """Give up what was searched for a listener that was dropped without a word. Locked."""
        orphans = {cid for cid, _ in searches if self._searches[cid].listener() is None}
        if not orphans:
            return searches
        self._plan.remove(orphans)
        for cid in orphans:
            del self._searches[cid]
        return [search for search in searches if search[0] not in orphans]

    def _send_datagram(self, sequence: int, searches: list[tuple[int, str]]) -> None:
        """One datagram, to every destination."""
        data = self._protocol.search_datagram(sequence, searches)
        for destination in self._destinations:
            try:
                self._socket.sendto(data, destination)
            except OSError as error:
                self._note_failure(destination, error)
            else:
                if destination in self._send_errors:
                    with self._lock:
                        del self._send_errors[destination]
        for server in self._name_servers:
            server.search(searches)
        if self.log.isEnabledFor(logging.DEBUG):
            self.log.debug(
                "Search %d for %d names to %s",
                sequence,
                len(searches),
                self._destinations,
                extra={"direction": SENT},
            )

    def _note_failure(self, destination: Address, error: OSError) -> None:
        """One destination that cannot be reached never stops the others; it is reported once."""
        with self._lock:
            known = self._send_errors.get(destination)
            self._send_errors[destination] = error
        if known is None or known.errno != error.errno:
            self.log.warning("Cannot send searches to %s:%d: %s", *destination, error.strerror)

    def _receive(self) -> None:
        """Take in what has arrived, then tell the listeners.

        A name that was answered is not searched any more. So whatever happens to one datagram, the
        listeners are told of the answers in all.
        """
        answers = _Answers()
        try:
            for _ in range(DATAGRAMS_PER_TURN):
                try:
                    data, sender = self._socket.recvfrom(MAX_DATAGRAM)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # an earlier datagram of ours could not be delivered
                self._tell(self._process, data, sender, answers)
        finally:
            self._tell_answers(answers)

    def answered_by_tcp(self, responses: Sequence[SearchResponse], version: int) -> None:
        """A name server knows where some names are; in its thread."""
        answers = _Answers()
        now = monotonic()
        with self._lock:
            for response in responses:
                self._answer(response, version, None, now, answers)
        self._tell_answers(answers)

    def _process(self, data: bytes, sender: Address, answers: _Answers) -> None:
        commands = self._protocol.recv(data, sender)
        if self.log.isEnabledFor(logging.DEBUG):
            facts = {"direction": RECEIVED, "their_address": sender}
            self.log.debug("%r", commands, extra=facts)
        now = monotonic()
        sequence: int | None = None
        beacons: list[Beacon] = []
        with self._lock:
            for command in commands:
                if isinstance(command, SearchResponse):
                    self._answer(command, command.version or 0, sequence, now, answers)
                elif isinstance(command, VersionResponse):
                    sequence = command.sequence
                elif isinstance(command, Beacon):
                    beacons.append(command)
                    self._registration.heard(now)
                elif isinstance(command, RepeaterConfirmResponse):
                    self._registration.confirmed(now)
        for command in beacons:
            self._on_beacon(command, now)

    def _on_beacon(self, command: Beacon, now: float) -> None:
        """A server is alive; perhaps it has just been started."""
        address = host, port = extract_address(command, self.configuration.server_port)
        with self._lock:
            verdict = self._beacons.beacon(host, port, command.beacon_id, command.version, now)
            if verdict is Verdict.ANOMALY:
                self._plan.beacon_anomaly(now)
        if verdict not in (Verdict.FIRST, Verdict.DISCARDED):
            for listener in self._living():
                self._tell(listener.beacon, address, verdict is Verdict.GOOD)

    def _answer(
        self,
        command: SearchResponse,
        version: int,
        sequence: int | None,
        now: float,
        answers: _Answers,
    ) -> None:
        """One server has one name. Locked."""
        cid = command.cid
        address = extract_address(command, self.configuration.server_port)
        name = self._plan.reply(cid, sequence, now)
        if name:
            search = self._searches.pop(cid)
            names, keys = answers.found[search.listener, address, version]
            names.append(name)
            keys.append(search.key)
            _remember(self._answered, cid, (search, address))
            self._found += 1
            self._last_found = now
        elif cid in self._answered:
            search, first = self._answered[cid]
            case = (search, frozenset((first, address)))
            if first != address and case not in self._served_twice:
                _remember(self._served_twice, case, None)
                answers.again.append((search, first, address))

    def _tell_answers(self, answers: _Answers) -> None:
        """Tell the listeners; when no lock is held."""
        for (reference, address, version), (names, keys) in answers.found.items():
            listener = reference()
            if listener is not None and not self._tell(listener.found, address, version, keys):
                self.search(listener, names, keys, delay=TROUBLE_DELAY)
        for search, first, second in answers.again:
            listener = search.listener()
            if listener is not None:
                self._tell(listener.found_again, search.key, first, second)

    def _tell(self, function: Callable[..., None], *args: Any) -> bool:
        """Do one thing of many; False if it failed, which must not cost the others anything."""
        try:
            function(*args)
        except Exception:
            self.log.exception("Unexpected error in %r; the search goes on", function)
            return False
        return True


def _remember(table: dict[T, U], key: T, value: U) -> None:
    """Note something, and forget the oldest if there is too much."""
    table[key] = value
    if len(table) > REMEMBERED:
        del table[next(iter(table))]


class _Answers:
    """What some datagrams have answered, sorted by whom to tell."""

    def __init__(self) -> None:
        # By listener, server and version: names and keys.
        self.found: defaultdict[
            tuple[weakref.ref[Any], Address, int], tuple[list[str], list[Any]]
        ] = defaultdict(lambda: ([], []))
        self.again: list[tuple[_Search, Address, Address]] = []


def _serve(
    reference: Callable[[], SharedBroadcaster | None], sock: socket.socket, wakeup: WakeUp
) -> None:
    """The search thread."""
    take_turns(reference, sock, wakeup)
    sock.close()
    wakeup.close()
