"""SearchService: the work of the search thread.

Only that thread changes the book of searches. Others leave it requests and notes, and wake it. The
book belongs to the lock, which is taken to change it and, by other threads, to read it; no code of
others is called under it. The socket belongs to the thread. While
asleep, the thread holds the socket and the wake-up, nothing else.
"""
from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from ... import _locks
from ..._client.registration import RegistrationAction
from ..._client.search_book import Key, SearchBook, SearchNews
from ..._client.search_targets import SearchTargets
from ..._environment import ClientConfiguration
from ..._errors import CaprotoError
from ..._log import RECEIVED, SENT
from ..._numbers import counted
from ..._os.repeater import spawn_repeater
from ..._os.sockets import Address, WakeUp
from ..._protocol.broadcaster import Broadcaster
from ..._protocol.commands import Message, SearchResponse
from ..._protocol.roles import CLIENT
from ..._typing import NamedTuple
from .. import _waiting
from .._service_thread import ServiceThread
from .._transport import Waker, serve_socket
from ._name_server import NameServers
from ._notes import Notes
from ._reentry import serving
from ._search_socket import SearchSocket
from ._searchers import Searchers, Token

#: Datagrams received in a row before searches that are due are sent.
DATAGRAMS_AT_ONCE = 200
#: Seconds until names are searched again if passing on their answer failed.
RETRY_DELAY = 5.0
#: Seconds until the thread tries again what has failed in it.
PAUSE = 1.0
#: Seconds between two log messages about how many searches are open.
REPORT_INTERVAL = 2.0


class SearchRequest(NamedTuple):
    """A search that the thread is to begin."""

    token: Token
    names: Sequence[str]
    keys: Sequence[Key]
    lost: bool
    delay: float


class SearchService:
    """One UDP socket, its thread, and the searches there.

    Parameters
    ----------
    configuration : ClientConfiguration
        The network to search.
    registration_retry_time : float
        Longest pause, in seconds, between attempts to register with the repeater.

    Attributes
    ----------
    closed : str
        Why it was closed; empty if it was not.
    log : logging.Logger
    lock : RLock
        The lock of the book.
    book : SearchBook
    notes : Notes
    requests : deque of SearchRequest
        Searches that the thread has not begun yet.
    searchers : Searchers
    socket : SearchSocket
    name_servers : NameServers
    thread : ServiceThread

    Raises
    ------
    CaprotoNetworkError
        If the system cannot open a socket.
    """

    def __init__(self, configuration: ClientConfiguration, registration_retry_time: float) -> None:
        self.closed = ""
        self._repeater_port = configuration.repeater_port
        self._protocol = Broadcaster(CLIENT)
        self.log = self._protocol.log
        self.lock = _locks.Lock()
        now = _waiting.now()
        self.book: SearchBook[Token] = SearchBook(
            now,
            max_period=configuration.max_search_period,
            server_port=configuration.server_port,
            registration_retry_time=registration_retry_time,
            use_repeater=configuration.use_repeater,
        )
        self.requests: deque[SearchRequest] = deque()
        self.notes = Notes()
        self._reported = now
        self.socket = SearchSocket(configuration, self.log)
        self._wakeup = WakeUp()
        self.searchers = Searchers(self._wakeup)
        self.name_servers = NameServers(self, configuration.conn_tmo, self.log)
        alive = weakref.ref(self, Waker(self._wakeup))
        self.thread = ServiceThread(partial(_serve, alive, self.socket, self._wakeup), "ca-udp")

    def __del__(self) -> None:
        # The constructor may have been interrupted. A thread that was started closes the sockets.
        if not hasattr(self, "thread") or not self.thread.started:
            self.close_sockets()

    # ---- for any thread

    def request(self, request: SearchRequest) -> None:
        """Have a search begun; starts the thread.

        Raises
        ------
        CaprotoError
            If the thread cannot be started. The next call tries again.
        """
        self.requests.append(request)
        self._wakeup.set()
        self.start()

    def leave(self, function: Callable[[], object], name: str = "") -> None:
        """Leave a note for the thread, if it runs or once it does."""
        self.notes.leave(function, name)
        self._wakeup.set()

    def leave_at_end_of(self, thing: object, function: Callable[[], object]) -> object:
        """Leave a note when *thing* is garbage-collected, while what is returned is kept."""
        # The later one is called first: the note is there when the thread wakes up.
        wake = weakref.ref(thing, Waker(self._wakeup))
        return wake, self.notes.leave_at_end_of(thing, function)

    def search_now(self) -> None:
        """Ask for everything again."""
        self.leave(self._search_now)

    def answered_by_tcp(self, responses: Sequence[SearchResponse], version: int) -> None:
        """Take in what a name server of this minor version has answered."""
        self.leave(partial(self._take_tcp_answers, responses, version))

    def change(self, function: Callable[..., object], *args: object) -> None:
        """Have a method of the book called, under the lock, by the thread."""
        self.leave(partial(self._locked, function, *args))

    def targets(self) -> SearchTargets:
        """Tell where searches go at present."""
        sock = self.socket
        servers = dict.fromkeys(sock.name_servers, "not started yet")
        return SearchTargets(
            sock.problems(),
            servers | self.name_servers.problems(),
            sock.unresolved.copy(),
            sock.resolved,
        )

    def start(self) -> None:
        """Start the thread, if that was not done.

        Raises
        ------
        CaprotoError
            If it cannot be started. The next call tries again.
        """
        if self.closed:
            return
        try:
            self.thread.start()
        except RuntimeError as error:
            raise CaprotoError(f"cannot start the search thread: {error}") from error

    def close(self, reason: str) -> None:
        """End the thread. All of it each time: the call before may have been interrupted."""
        self.closed = self.closed or reason
        self._wakeup.set()
        if not self.thread.started:
            self.close_sockets()

    def close_sockets(self) -> None:
        """Close the descriptors; only while no thread uses them."""
        for name in ("socket", "_wakeup"):
            if hasattr(self, name):
                getattr(self, name).close()

    def abandon(self, reason: str) -> None:
        """Close in the child of a fork, which has no search thread."""
        self.lock = _locks.Lock()
        self.closed = reason
        self.close_sockets()
        self.name_servers.abandon()

    # ---- the search thread

    def send(self, commands: Sequence[Message]) -> None:
        """Send one datagram with *commands* to every destination."""
        self.socket.resolve()
        self.socket.send(self._protocol.send(*commands))

    def service(self, readable: bool, _writable: bool) -> tuple[float | None, bool] | None:
        """Do what is to be done now; see ``_transport.Serviced``."""
        try:
            self.notes.run(self.log)
            self._take_requests()
            self._forget_gone()
            if self.closed:
                self.name_servers.close()
                return None
            self.socket.resolve()
            self.name_servers.start(self.socket.name_servers)
            if readable:
                self._receive()
            self._send_due()
            self._register()
            with self.lock:
                deadline = self.book.next_deadline()
            return min(deadline, _waiting.now() + PAUSE) if self.requests else deadline, False
        except Exception:  # our defect, or no memory; it must not end the search
            self._log_failure("the search")
            return _waiting.now() + PAUSE, False

    def _take_requests(self) -> None:
        """Begin the searches that were asked for; what fails is left for the next time."""
        for _ in range(len(self.requests)):
            request = self.requests[0]
            if not self._call(self._add, request):
                self.requests.append(request)
            self.requests.popleft()  # only now, for `report`

    def withdraw(self, token: Token, keys: Sequence[Key]) -> None:
        """Stop some searches, also those that were only asked for."""
        self._take_requests()
        self._locked(self.book.withdraw, token, keys)

    def _forget_gone(self) -> None:
        """Stop the searches of searchers that are gone."""
        for token in self.searchers.gone():
            self._locked(self.book.forget, token)

    def _add(self, request: SearchRequest) -> None:
        token, names, keys, lost, delay = request
        if token.searcher() is not None:  # else it was forgotten, or will be at once
            with self.lock:
                self.book.add(token, names, keys, _waiting.now(), lost=lost, delay=delay)

    def _register(self) -> None:
        """Tell the repeater on this host that we want beacons; start one if there is none."""
        with self.lock:
            action = self.book.register(_waiting.now())
        if action is RegistrationAction.NOTHING:
            return
        if action is RegistrationAction.START_REPEATER:
            try:
                spawn_repeater(self._repeater_port)
            except CaprotoError as error:
                self.log.info("There is no repeater, so beacons are not heard: %s", error)
        self.socket.send_to_repeater(self._protocol.send(self._protocol.register()))

    def _send_due(self) -> None:
        now = _waiting.now()
        with self.lock:
            datagrams = self.book.due(now)
        for sequence, searches in datagrams:
            self._send_datagram(sequence, searches)
        if datagrams and now - self._reported >= REPORT_INTERVAL:
            self._reported = now
            for searcher in self.searchers.living():
                self._call(searcher.searching)

    def _send_datagram(self, sequence: int, searches: list[tuple[int, str]]) -> None:
        """Send one datagram to every destination."""
        self.socket.send(self._protocol.search_datagram(sequence, searches))
        self.name_servers.search(searches)
        if self.log.isEnabledFor(logging.DEBUG):
            self.log.debug(
                "Search %d for %s to %s",
                sequence,
                counted(len(searches), "name"),
                self.socket.destinations,
                extra={"direction": SENT},
            )

    def _locked(self, function: Callable[..., object], *args: object) -> None:
        with self.lock:
            function(*args)

    def _search_now(self) -> None:
        with self.lock:
            self.book.search_now(_waiting.now())

    def _receive(self) -> None:
        """Process what has arrived, then notify the searchers.

        A name that was answered is not searched any more. So whatever happens to one datagram, the
        searchers get the answers in all others.
        """
        news: SearchNews[Token] = SearchNews()
        try:
            for data, sender in self.socket.receive(DATAGRAMS_AT_ONCE):
                self._call(self._process, data, sender, news)
        finally:
            self._pass_on(news)

    def _process(self, data: bytes, sender: Address, news: SearchNews[Token]) -> None:
        commands = self._protocol.recv(data, sender)
        if self.log.isEnabledFor(logging.DEBUG):
            extra = {"direction": RECEIVED, "their_address": sender}
            self.log.debug("%r", commands, extra=extra)
        self._protocol.process_commands(commands)
        with self.lock:
            self.book.received(commands, _waiting.now(), news)

    def _take_tcp_answers(self, responses: Sequence[SearchResponse], version: int) -> None:
        news: SearchNews[Token] = SearchNews()
        try:
            with self.lock:
                self.book.answered(responses, version, _waiting.now(), news)
        finally:
            self._pass_on(news)

    def _pass_on(self, news: SearchNews[Token]) -> None:
        """Notify the searchers, without a lock; if that fails the names are searched again."""
        for (token, address, version), (names, keys) in news.found.items():
            searcher = token.searcher()
            if searcher is not None and not self._call(searcher.found, address, version, keys):
                self._call(self._add, SearchRequest(token, names, keys, False, RETRY_DELAY))
        for token, key, first, second in news.elsewhere:
            searcher = token.searcher()
            if searcher is not None:
                self._call(searcher.found_elsewhere, key, first, second)
        for address, good in news.beacons:
            for searcher in self.searchers.living():
                self._call(searcher.beacon, address, good)

    def _call(self, function: Callable[..., object], *args: object) -> bool:
        """Call *function*; return False if it failed, which must not affect other calls."""
        try:
            function(*args)
        except Exception:
            self._log_failure(function)
            return False
        return True

    def _log_failure(self, what: object) -> None:
        """Log a defect, ours or a searcher's."""
        self.log.exception("Unexpected error in %s; the search goes on", what)


def _serve(
    reference: Callable[[], SearchService | None], sock: SearchSocket, wakeup: WakeUp
) -> None:
    """Run the search thread."""
    with serving():
        while not _closed(reference):
            try:
                serve_socket(reference, sock.socket, wakeup)
            except Exception:  # between two turns
                with suppress(Exception):
                    _report_failure(reference)
                    wakeup.wait(PAUSE)
        sock.close()
        wakeup.close()


def _closed(reference: Callable[[], SearchService | None]) -> bool:
    """Tell whether the service is closed, and perhaps its socket, or gone."""
    service = reference()
    return service is None or bool(service.closed)


def _report_failure(reference: Callable[[], SearchService | None]) -> None:
    service = reference()
    if service is not None:
        service._log_failure("the search thread")
