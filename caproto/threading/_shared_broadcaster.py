"""SharedBroadcaster: the UDP socket, and the thread that searches.

It may serve several Contexts; it knows them as a `Searcher` and holds them weakly. What is due when
and what a message means is decided by a `SearchBook`; this module sends, receives, and passes on.

All that changes the book is done by the search thread. Other threads leave it a note and wake it,
so a call that is interrupted between any two lines leaves everything whole, and a finalizer may
make any of these calls. The book belongs to the lock, which is taken to change it and, by other
threads, to read it; nothing that is not ours is called under it. The socket belongs to the thread.
While asleep, the thread holds the socket and the wake-up, nothing else.
"""
from __future__ import annotations

import contextlib
import logging
import os
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from .. import _locks
from .._broadcaster import Broadcaster
from .._client.registration import RegistrationAction
from .._client.search_book import Key, SearchBook, SearchNews
from .._client.search_targets import SearchTargets
from .._commands import SearchResponse
from .._environment import ClientConfiguration
from .._errors import CaprotoError, ContextDisconnectedError
from .._log import RECEIVED, SENT
from .._repeater import spawn_repeater
from .._roles import CLIENT
from .._sockets import Address, WakeUp
from . import _lifetime, _waiting
from ._explain import SearchReport
from ._name_server import NameServers
from ._notes import Notes
from ._reentry import must_not_wait, refusal, serving
from ._search_socket import SearchSocket
from ._searchers import Searcher, Searchers, Token
from ._service_thread import ServiceThread
from ._transport import Waker, take_turns
from ._waiting import Deadline

#: Datagrams received in a row before searches that are due are sent.
DATAGRAMS_PER_TURN = 200
#: Seconds until names are searched again for which passing on the answer failed.
TROUBLE_DELAY = 5.0
#: Seconds between two log messages about how many searches are open.
REPORT_INTERVAL = 2.0


class _Request(NamedTuple):
    """A search that the thread is to begin."""

    token: Token
    names: Sequence[str]
    keys: Sequence[Key]
    lost: bool
    delay: float


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
    lock : RLock
        Held while the searches are read or changed.
    log : logging.Logger
        At DEBUG every datagram sent and received is logged here.

    Raises
    ------
    CaprotoNetworkError
        If the system has no socket for us.
    """

    def __init__(
        self,
        *,
        registration_retry_time: float = 10.0,
        configuration: ClientConfiguration | None = None,
    ) -> None:
        self._closed = ""
        self.configuration = configuration = (
            configuration or ClientConfiguration.from_environment()
        )
        self.registration_retry_time = registration_retry_time
        self._protocol = Broadcaster(CLIENT)
        self.log = self._protocol.log
        self.lock = _locks.Lock()
        now = _waiting.now()
        self._book: SearchBook[Token] = SearchBook(
            now,
            max_period=configuration.max_search_period,
            server_port=configuration.server_port,
            registration_retry_time=registration_retry_time,
            use_repeater=configuration.use_repeater,
        )
        self._requests: deque[_Request] = deque()
        self._notes = Notes()
        self._reported = now
        self._socket = SearchSocket(configuration, self.log)
        self._wakeup = WakeUp()
        self._searchers = Searchers(self._wakeup)
        self._name_servers = NameServers(self, configuration.conn_tmo, self.log)
        alive = weakref.ref(self, Waker(self._wakeup))
        self._thread = ServiceThread(partial(_serve, alive, self._socket, self._wakeup), "ca-udp")
        _lifetime.register(self)

    # ---- for users

    def search_now(self) -> None:
        """Search at once for everything that is not found yet, and start the back-off again.

        Names that pause because their server caused trouble (see `Context.explain`) are not
        hurried.
        """
        self._leave(self._search_now)

    def time_since_last_heard(self) -> dict[Address, float]:
        """Seconds since each server that we have a circuit to has sent anything.

        Returns
        -------
        dict of (str, int) to float
        """
        heard: dict[Address, float] = {}
        for searcher in self._searchers.living():
            for address, seconds in searcher.last_heard().items():
                heard[address] = min(seconds, heard.get(address, seconds))
        return heard

    def disconnect(self, *, wait: bool = True) -> None:
        """End the thread and all searches. May be called twice.

        Parameters
        ----------
        wait : bool
            Whether to wait for the thread to end.

        Raises
        ------
        ReentrantCallError
            If it is to wait in a thread that would wait for itself.
        """
        if wait and must_not_wait((self.lock,)):
            raise refusal("SharedBroadcaster.disconnect")
        self._close("the broadcaster was disconnected")
        if wait:
            self.join(None)

    def join(self, timeout: float | None) -> None:
        """Wait at most *timeout* seconds for the threads to end."""
        deadline = Deadline(timeout)
        self._thread.join(deadline)
        self._name_servers.join(deadline)

    def __del__(self) -> None:
        # The constructor may have been interrupted. A thread that was started closes the sockets.
        if not hasattr(self, "_thread") or not self._thread.started:
            self._close_sockets()

    def __repr__(self) -> str:
        state = self._closed or f"{len(self._book)} names are being searched"
        return f"<SharedBroadcaster: {state}>"

    # ---- for Contexts

    def add_searcher(self, searcher: Searcher) -> None:
        """Tell *searcher* what concerns it, for as long as it lives.

        Raises
        ------
        ContextDisconnectedError
            If the broadcaster was disconnected.
        """
        if self._closed:
            raise ContextDisconnectedError(self._closed)
        self._searchers.token(searcher)

    def search(
        self,
        searcher: Searcher,
        names: Sequence[str],
        keys: Sequence[Key],
        *,
        lost: bool = False,
        delay: float = 0.0,
    ) -> None:
        """Search for *names*, in the background, until they are found.

        What is being searched already, for the same searcher and under the same key, goes on.

        Parameters
        ----------
        searcher : Searcher
            What is to be told.
        names : sequence of str
            Names of PVs.
        keys : sequence
            What the searcher calls them.
        lost : bool
            Whether they were lost with their server, and so will probably be back soon.
        delay : float
            Seconds to wait before the first search.

        Raises
        ------
        CaprotoError
            If the search thread cannot be started. The next call tries again.
        """
        if names and not self._closed:
            token = self._searchers.token(searcher)
            self._requests.append(_Request(token, tuple(names), tuple(keys), lost, delay))
            self._wakeup.set()
            self._start()

    def forget(self, searcher: Searcher) -> None:
        """Give up all searches of *searcher*, and tell it nothing more."""
        self._searchers.forget(searcher)

    def note(self, function: Callable[[], object], name: str = "") -> None:
        """Have *function* called by the search thread, soon, holding nothing. Takes no lock.

        After `disconnect` nothing is called.

        Parameters
        ----------
        function : callable
            Called once; to call it in vain or twice must do no harm.
        name : str
            Of the PV concerned, for the log if *function* fails.

        Raises
        ------
        CaprotoError
            If the search thread cannot be started. The next call tries again.
        """
        self._leave(function, name)
        self._start()

    def circuit_opened(self, address: Address) -> None:
        """Note that a searcher has a circuit to this server."""
        self._leave(partial(self._locked, self._book.circuit_opened, address))

    def circuit_closed(self, address: Address) -> None:
        """Note that a circuit to this server is over."""
        self._leave(partial(self._locked, self._book.circuit_closed, address))

    def answered_by_tcp(self, responses: Sequence[SearchResponse], version: int) -> None:
        """Note what a name server of this minor version has answered."""
        self._leave(partial(self._take_tcp_answers, responses, version))

    def open_searches(self, searcher: Searcher) -> int:
        """Count the names that *searcher* still waits for."""
        tokens = self._searchers.tokens(searcher)
        with self.lock:
            return self._book.open_searches(tokens)

    @property
    def destinations(self) -> list[Address]:
        """Where searches are sent to."""
        return list(self._socket.destinations)

    @property
    def unresolved(self) -> list[str]:
        """Configured addresses ('host:port') whose host names are not known.

        Names are looked up when the first search begins.
        """
        return self._socket.unresolved.copy()

    def why_not_found(self) -> str:
        """Tell why a name is not found, as far as that can be said of all of them."""
        if self._closed:
            return f"it is not searched: {self._closed}"
        return self._targets().why_not_found()

    def report(self, searcher: Searcher, key: Key) -> SearchReport:
        """Tell how the search of *searcher* for *key* goes."""
        tokens = self._searchers.tokens(searcher)
        # First what the thread has not begun yet: so what it begins now is not overlooked.
        delays = [
            request.delay
            for request in self._requests.copy()
            if request.token in tokens and key in request.keys
        ]
        with self.lock:
            progress = self._book.progress(tokens, key, _waiting.now())
        if delays and progress.status is None and progress.postponed is None:
            progress = progress._replace(postponed=max(delays))
        return SearchReport(**self._targets()._asdict(), **progress._asdict())

    # ---- inside, in any thread

    def _targets(self) -> SearchTargets:
        sock = self._socket
        servers = dict.fromkeys(sock.name_servers, "not started yet")
        return SearchTargets(
            sock.problems(), servers | self._name_servers.problems(), self.unresolved, sock.resolved
        )

    def _leave(self, function: Callable[[], object], name: str = "") -> None:
        """Leave a note for the search thread, if it runs or once it does."""
        self._notes.leave(function, name)
        self._wakeup.set()

    def _start(self) -> None:
        """Start the thread, if that was not done."""
        if self._closed:
            return
        try:
            self._thread.start()
        except RuntimeError as error:
            raise CaprotoError(f"cannot start the search thread: {error}") from error

    def _close(self, reason: str) -> None:
        # All of it each time: the call before may have been interrupted.
        self._closed = self._closed or reason
        self._wakeup.set()
        if not self._thread.started:
            self._close_sockets()

    def _close_sockets(self) -> None:
        for name in ("_socket", "_wakeup"):
            if hasattr(self, name):
                getattr(self, name).close()

    def _at_exit(self, deadline: Deadline) -> None:
        self._close("the interpreter is exiting")
        self.join(deadline.remaining())

    def _after_fork(self) -> None:
        self.lock = _locks.Lock()
        self._closed = (
            f"this broadcaster was created before fork, in the parent of process {os.getpid()}; "
            "create a new one in the child"
        )
        self._close_sockets()
        self._name_servers.abandon()

    # ---- the search thread

    def _turn(self, readable: bool, _writable: bool) -> tuple[float | None, bool] | None:
        """Do what is to be done now; see ``_transport.Turning``."""
        try:
            self._notes.run(self.log)
            self._take_requests()
            self._strike_off()
            if self._closed:
                self._name_servers.close()
                return None
            self._socket.resolve()
            self._name_servers.start(self._socket.name_servers)
            if readable:
                self._receive()
            self._send_due()
            self._register()
            with self.lock:
                return self._book.next_deadline(), False
        except Exception:  # a defect of ours must not end the search
            self._log_failure("the search")
            return _waiting.now() + 1.0, False

    def _take_requests(self) -> None:
        """Begin the searches that were asked for."""
        while self._requests:
            self._tell(self._add, self._requests[0])
            self._requests.popleft()  # only now, for `report`

    def _strike_off(self) -> None:
        """Give up the searches of those that are gone."""
        for token in self._searchers.gone():
            self._locked(self._book.forget, token)

    def _locked(self, function: Callable[..., object], *args: object) -> None:
        """Call a method of the book."""
        with self.lock:
            function(*args)

    def _search_now(self) -> None:
        with self.lock:
            self._book.search_now(_waiting.now())

    def _add(self, request: _Request) -> None:
        token, names, keys, lost, delay = request
        if token.searcher() is not None:  # else it was struck off, or is about to be
            with self.lock:
                self._book.add(token, names, keys, _waiting.now(), lost=lost, delay=delay)

    def _register(self) -> None:
        """Tell the repeater on this host that we want beacons; start one if there is none."""
        with self.lock:
            action = self._book.register(_waiting.now())
        if action is RegistrationAction.NOTHING:
            return
        if action is RegistrationAction.START_REPEATER:
            try:
                spawn_repeater(self.configuration.repeater_port)
            except CaprotoError as error:
                self.log.info("There is no repeater, so beacons are not heard: %s", error)
        self._socket.send_to_repeater(self._protocol.send(self._protocol.register()))

    def _send_due(self) -> None:
        now = _waiting.now()
        with self.lock:
            datagrams = self._book.due(now)
        for sequence, searches in datagrams:
            self._send_datagram(sequence, searches)
        if datagrams and now - self._reported >= REPORT_INTERVAL:
            self._reported = now
            for searcher in self._searchers.living():
                self._tell(searcher.searching)

    def _send_datagram(self, sequence: int, searches: list[tuple[int, str]]) -> None:
        """Send one datagram to every destination."""
        self._socket.send(self._protocol.search_datagram(sequence, searches))
        self._name_servers.search(searches)
        if self.log.isEnabledFor(logging.DEBUG):
            self.log.debug(
                "Search %d for %d names to %s",
                sequence,
                len(searches),
                self.destinations,
                extra={"direction": SENT},
            )

    def _receive(self) -> None:
        """Take in what has arrived, then tell the searchers.

        A name that was answered is not searched any more. So whatever happens to one datagram, the
        searchers are told of the answers in all.
        """
        news: SearchNews[Token] = SearchNews()
        try:
            for data, sender in self._socket.receive(DATAGRAMS_PER_TURN):
                self._tell(self._process, data, sender, news)
        finally:
            self._pass_on(news)

    def _process(self, data: bytes, sender: Address, news: SearchNews[Token]) -> None:
        commands = self._protocol.recv(data, sender)
        if self.log.isEnabledFor(logging.DEBUG):
            extra = {"direction": RECEIVED, "their_address": sender}
            self.log.debug("%r", commands, extra=extra)
        self._protocol.process_commands(commands)
        with self.lock:
            self._book.received(commands, _waiting.now(), news)

    def _take_tcp_answers(self, responses: Sequence[SearchResponse], version: int) -> None:
        news: SearchNews[Token] = SearchNews()
        try:
            with self.lock:
                self._book.answered(responses, version, _waiting.now(), news)
        finally:
            self._pass_on(news)

    def _pass_on(self, news: SearchNews[Token]) -> None:
        """Tell the searchers, holding nothing; names that cannot be told are searched again."""
        for (token, address, version), (names, keys) in news.found.items():
            searcher = token.searcher()
            if searcher is not None and not self._tell(searcher.found, address, version, keys):
                self._add(_Request(token, names, keys, False, TROUBLE_DELAY))
        for token, key, first, second in news.elsewhere:
            searcher = token.searcher()
            if searcher is not None:
                self._tell(searcher.found_elsewhere, key, first, second)
        for address, good in news.beacons:
            for searcher in self._searchers.living():
                self._tell(searcher.beacon, address, good)

    def _tell(self, function: Callable[..., object], *args: object) -> bool:
        """Do one thing of many; False if it failed, which must not affect the others."""
        try:
            function(*args)
        except Exception:
            self._log_failure(function)
            return False
        return True

    def _log_failure(self, what: object) -> None:
        """Report a defect, of ours or of a searcher."""
        with contextlib.suppress(Exception):  # a log handler is foreign code, too
            self.log.exception("Unexpected error in %s; the search goes on", what)


def _serve(
    reference: Callable[[], SharedBroadcaster | None], sock: SearchSocket, wakeup: WakeUp
) -> None:
    """The search thread."""
    with serving():
        broadcaster = reference()
        closed = broadcaster is None or broadcaster._closed  # and perhaps the socket, too
        del broadcaster
        if not closed:
            take_turns(reference, sock.socket, wakeup)
        sock.close()
        wakeup.close()
