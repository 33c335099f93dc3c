"""Faults to plant into the client, each of which the simulation must find.

A fault is a context manager that spoils one thing in one place, some of the time.
"""
from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

from caproto import (
    CLIENT,
    EventAddRequest,
    EventAddResponse,
    Message,
    ReadNotifyResponse,
    VirtualCircuit,
    WriteNotifyRequest,
    WriteNotifyResponse,
    WriteRequest,
)
from caproto._client.backoff import ServerBackoff
from caproto._client.circuit_session import CircuitSession
from caproto._client.flow_control import FlowControl
from caproto._client.heartbeat import Action, Heartbeat
from caproto._client.search_book import SearchBook
from caproto._os.sockets import WakeUp
from caproto.threading import _waiting
from caproto.threading._transport import serve_socket
from caproto.threading._waiting import Deadline
from caproto.threading.client import Subscription
from caproto.threading.client._searches import Searches

Fault = Callable[[], AbstractContextManager[Any]]


def _instead(owner: type, name: str) -> Callable[[Callable[..., Any]], Fault]:
    """Decorate what is called instead of a method, with the method as its first argument."""

    def plant(function: Callable[..., Any]) -> Fault:
        original = getattr(owner, name)

        def spoiled(*args: Any, **options: Any) -> Any:
            return function(original, *args, **options)

        return lambda: mock.patch.object(owner, name, spoiled)

    return plant


def _seldom(every: int) -> Callable[[], bool]:
    """True each so many times."""
    count = itertools.count(1)
    return lambda: next(count) % every == 0


def _without(kinds: tuple[type[Message], ...]) -> Fault:
    """Every third command of some kinds is overlooked."""

    @contextmanager
    def fault() -> Iterator[None]:
        original, overlook = CircuitSession.receive, _seldom(3)

        def receive(self: Any, commands: Any, *args: Any) -> Any:
            kept = [c for c in commands if not (isinstance(c, kinds) and overlook())]
            return original(self, kept, *args)

        with mock.patch.object(CircuitSession, "receive", receive):
            yield

    return fault


@_instead(CircuitSession, "receive")
def _swapped(original: Any, self: Any, commands: Any, *args: Any) -> Any:
    commands = list(commands)
    for index, (one, other) in enumerate(itertools.pairwise(commands)):
        if isinstance(one, EventAddResponse) and one.fields[5] == other.fields[5]:
            commands[index:index + 2] = other, one
            break
    return original(self, commands, *args)


@_instead(VirtualCircuit, "send")
def _written_twice(original: Any, self: Any, *commands: Message) -> Any:
    buffers = original(self, *commands)
    if self.our_role is CLIENT:
        writes = [c for c in commands if isinstance(c, (WriteRequest, WriteNotifyRequest))]
        buffers += map(bytes, writes)
    return buffers


@_instead(VirtualCircuit, "send")
def _subscribed_twice(original: Any, self: Any, *commands: Message) -> Any:
    buffers = original(self, *commands)
    if self.our_role is CLIENT:
        for command in commands:
            if isinstance(command, EventAddRequest):
                fields = (*command.fields[:5], command.fields[5] + 100_000)
                buffers.append(bytes(EventAddRequest.from_wire(fields, command.payload)))
    return buffers


@contextmanager
def _not_resumed() -> Iterator[None]:
    original = CircuitSession.reconcile
    first: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def reconcile(self: Any, subscriptions: Any) -> None:
        original(self, [sub for sub in subscriptions if first.setdefault(sub, self) is self])

    with mock.patch.object(CircuitSession, "reconcile", reconcile):
        yield


@_instead(Searches, "search")
def _loss_forgotten(original: Any, *args: Any, lost: bool = False, **options: Any) -> None:
    if not lost:
        original(*args, lost=lost, **options)


@contextmanager
def _answer_dropped() -> Iterator[None]:
    original, drop = SearchBook.received, _seldom(4)

    def received(self: Any, commands: Any, now: float, news: Any) -> None:
        original(self, commands, now, news)
        if news.found and drop():
            news.found.popitem()

    with mock.patch.object(SearchBook, "received", received):
        yield


@_instead(Heartbeat, "check")
def _never_beats(original: Any, self: Any, now: float) -> Action:
    if now >= self.deadline:
        self.deadline = math.inf
    return Action.NOTHING


@_instead(Heartbeat, "check")
def _silence_is_final(original: Any, self: Any, now: float) -> Any:
    action = original(self, now)
    if self.silent:
        self.deadline = math.inf
    return action


@_instead(FlowControl, "user_holds")
def _stays_off(original: Any, self: Any, held: bool) -> Any:
    return original(self, held) if held else None


@contextmanager
def _wake_up_lost() -> Iterator[None]:
    original, lose = WakeUp.set, _seldom(5)

    def set_(self: Any) -> None:
        if not lose():
            original(self)

    with mock.patch.object(WakeUp, "set", set_):
        yield


#: What it is, and the fault.
FAULTS: dict[str, Fault] = {
    "an update is lost": _without((EventAddResponse,)),
    "a reply is lost": _without((ReadNotifyResponse, WriteNotifyResponse)),
    "updates are swapped": _swapped,
    "a write is sent twice": _written_twice,
    "a subscription is doubled": _subscribed_twice,
    "a subscription is not resumed": _not_resumed,
    "a loss is forgotten": _loss_forgotten,
    "the answer to a search is lost": _answer_dropped,
    "the heartbeat never fires": _never_beats,
    "a silent server is not asked again": _silence_is_final,
    "updates stay off": _stays_off,
    "a wake-up is lost": _wake_up_lost,
    "old updates come after those of another server": lambda: mock.patch.object(
        Subscription, "_accepts", lambda *_: True
    ),
    "a server that failed once is never tried again": lambda: mock.patch.object(
        ServerBackoff, "pause", lambda self, address, now: 1e6 * (address in self._failures)
    ),
    "a timeout comes late": lambda: mock.patch.object(
        Deadline, "remaining", lambda self: max(0.0, self.moment + 1.0 - _waiting.now())
    ),
    "circuits that nobody uses stay": lambda: mock.patch.object(
        CircuitSession, "close_if_unused", lambda self: False
    ),
    "a request to go idle is forgotten": lambda: mock.patch.object(
        CircuitSession, "idle", lambda *_: None
    ),
    "sockets are not closed": lambda: mock.patch(
        "caproto.threading.client._circuit.serve_connection",
        lambda reference, sock, transport: serve_socket(reference, sock, transport.wakeup),
    ),
}
