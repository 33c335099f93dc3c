"""Subscription: a wish to be told of changes, and the callbacks that are told.

Wish and fact are apart. The callbacks are the wish; the event id in the circuit's manager is the
fact; `VirtualCircuitManager.reconcile` makes the second follow the first. It runs after each change
of either, twice does no harm, and so the order of events does not matter.

A Subscription has no lock of its own. Its callbacks change under the Context's lock; values arrive
in the callback thread.
"""
from __future__ import annotations

import functools
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NoReturn

from .. import _locks
from .._client.callbacks import Callbacks, Entry, Function, accepts_two, call
from .._client.deliveries import Call
from .._client.operations import read_type
from .._commands import EventAddRequest
from .._dbr import ChannelType, SubscriptionType
from .._errors import CaprotoTypeError
from ._reentry import must_not_wait, refusal

if TYPE_CHECKING:
    from .._channel import ClientChannel
    from ._pv import PV

#: Of a callback that died before it was removed.
_DIED = (
    "%r: the callback %s was garbage-collected before it was removed, so it gets no more updates. "
    "Subscriptions hold callbacks weakly; what dies at once is, for example, a lambda, "
    "list.append, or a bound method of a temporary object. Keep a reference to the function (or to "
    "its object), or pass strong=True to add_callback.%s"
)


class Subscription:
    """Updates of one PV in one form, fanned out to any number of callbacks.

    Made by :meth:`PV.subscribe`. Nothing is requested from the server before the first callback is
    added; when the last one goes the server is told to stop. Lost circuits are survived without the
    user's doing: after each reconnection the server sends the present value and goes on.

    Attributes
    ----------
    pv : PV
        What is watched.
    data_type : ChannelType, int, str or None
        As given to `PV.subscribe`.
    data_count : int or None
        Wanted number of elements; None for as many as there are.
    low, high, to : float
        Legacy limits of the EVENT_ADD message; servers ignore them.
    mask : SubscriptionType
        Which kinds of change are wanted.
    """

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_latest",
        "_source",
        "_targets",
        "data_count",
        "data_type",
        "event_id",
        "high",
        "low",
        "mask",
        "pv",
        "refused",
        "to",
    )

    def __init__(
        self,
        pv: PV,
        data_type: ChannelType | int | str | None,
        data_count: int | None,
        low: float,
        high: float,
        to: float,
        mask: SubscriptionType,
    ) -> None:
        self.pv = pv
        self.data_type = data_type
        self.data_count = data_count
        self.low = low
        self.high = high
        self.to = to
        self.mask = mask
        #: The id on the wire, or None; belongs to the circuit's manager, under its lock.
        self.event_id: int | None = None
        #: Whether the last message for us was an error, so that it is logged once.
        self.refused = False
        self._callbacks = Callbacks()
        # The entries that get updates: all but those still waiting to be told the latest one first.
        self._targets: tuple[Entry, ...] = ()
        self._latest: Any = None
        # The server that sent it, as its updates say. Belongs to the callback threads.
        self._source: Any = None

    # ---- the user's side

    def add_callback(self, function: Function | None = None, *, strong: bool = False) -> Any:
        """Call *function* with every update from now on.

        Parameters
        ----------
        function : callable
            Called as ``function(response)``, or ``function(subscription, response)`` if it requires
            two positional arguments or takes any number of them (``*args``). Arguments with a
            default do not count. Left out, a decorator is returned.
        strong : bool
            By default only a weak reference is kept: a function to which nothing else refers (a
            lambda, ``list.append``, a method of a temporary object) dies and is removed, with a
            warning in the log. True keeps it alive until it is removed.

        Returns
        -------
        int
            A token for :meth:`remove_callback`.

        Raises
        ------
        CaprotoTypeError
            If *function* cannot be called in one of the two ways, or not be held weakly.
        ContextDisconnectedError
            If the Context was disconnected, so that no update can ever come.

        Notes
        -----
        The first callback gets the first update that the server sends. A later one is told the
        latest update at once, in the callback thread, before any newer one.
        """
        if function is None:
            return functools.partial(self._decorate, strong=strong)
        pv = self.pv
        lock = pv.context._lock
        if _locks.held(lock):
            raise refusal(f"Subscription.add_callback of {pv.name!r}")
        two = accepts_two(function)
        with lock:
            token = self._callbacks.new_token()
        entry = self._callbacks.make_entry(token, function, strong, two, self._died)
        try:
            self._add(entry)
        except BaseException:  # Ctrl-C: who does not get the token cannot remove it
            self._remove_now({token})
            raise
        return token

    def _add(self, entry: Entry) -> None:
        pv = self.pv
        with pv.context._lock:
            pv.context._check_open()
            # The one who removed the last callback may not have come to cancel the updates yet:
            # then they go on, and we are late although we are the first.
            late = bool(self._callbacks.entries) or self.event_id is not None
            self._callbacks.append(entry)
            link = pv._link
            if link is None or not late:
                self._targets = (*self._targets, entry)
        if link is None:
            pv._activate()
            return
        link.manager.reconcile((self,))
        if late:
            link.manager.delivery.put(((Call(self._welcome), entry),))

    def remove_callback(self, token: int) -> None:
        """Stop calling one callback; when it was the last one, the server stops sending.

        Parameters
        ----------
        token : int
            What :meth:`add_callback` returned. A callback that is gone already is not an error.

        Raises
        ------
        CaprotoKeyError
            If no callback was ever given this token.
        CaprotoTypeError
            If it is none.
        """
        if not isinstance(token, int):
            raise CaprotoTypeError(f"token must be what add_callback returned, not {token!r}")
        self._callbacks.check_token(token)
        self._remove({token})

    def clear(self) -> None:
        """Remove all callbacks; the server stops sending. The Subscription can be used again."""
        self._remove({entry.token for entry in self._callbacks.entries})

    def _remove(self, tokens: Collection[int]) -> None:
        """Stop calling these; inside another call of ours, after it."""
        pv = self.pv
        link = pv._link
        locks = pv.context.locks if link is None else link.manager.locks
        if must_not_wait(locks):
            pv.context._note(pv, functools.partial(self._remove_now, tokens))
        else:
            self._remove_now(tokens)

    def _remove_now(self, tokens: Collection[int]) -> None:
        with self.pv.context._lock:
            self._forget(tokens)
        self._reconcile()

    @property
    def callbacks(self) -> dict[int, Function]:
        """The living callbacks, by token."""
        return self._callbacks.functions()

    @property
    def log(self) -> logging.Logger:
        """The logger of the PV."""
        return self.pv.log

    def __repr__(self) -> str:
        count = len(self.callbacks)
        state = "active" if self.event_id is not None else "wanted" if count else "idle"
        return (
            f"<Subscription to {self.pv.name!r}: {state}, {count} callback{'s'[:count != 1]}, "
            f"data_type={self.data_type!s}, mask={self.mask!r}>"
        )

    def __reduce__(self) -> NoReturn:
        raise CaprotoTypeError(
            f"a Subscription cannot be copied or pickled, because its updates come over a "
            f"connection; pass the name of the PV, {self.pv.name!r}, and subscribe where it is used"
        )

    def _decorate(self, function: Function, strong: bool) -> Function:
        self.add_callback(function, strong=strong)
        return function

    # ---- the client's side

    @property
    def wanted(self) -> bool:
        """The wish: whether any callback is registered. The dead ones are pruned soon."""
        return bool(self._callbacks.entries)

    def request(self, channel: ClientChannel) -> EventAddRequest:
        """Ask for updates, on a connected *channel*."""
        return channel.subscribe(
            read_type(channel, self.data_type), self.data_count, self.low, self.high, self.to,
            self.mask,
        )

    def begin(self) -> None:
        """A new series of updates is about to be requested: all callbacks get its first one.

        Under the Context's lock.
        """
        self._targets = self._callbacks.entries

    def deliver(self, response: Any) -> None:
        """Hand one update to the callbacks; runs in the callback thread."""
        if response.sender_address is not self._source and not self._accepts(response):
            return
        self._latest = response
        source = self._source
        for token, reference, with_owner, name, bound_to, plain in self._targets:
            if self._source is not source:
                return  # the callback before was slow, and the PV has another server by now
            try:
                if bound_to is None or plain is None:
                    function = reference()
                    if function is None:
                        continue
                    if with_owner:
                        function(self, response)
                    else:
                        function(response)
                else:
                    owner, function = bound_to(), plain()
                    if owner is None or function is None:
                        continue
                    if with_owner:
                        function(owner, self, response)
                    else:
                        function(owner, response)
            except BaseException as error:
                self._failed(token, name, error)

    def _accepts(self, response: Any) -> bool:
        """Whether to take an update of another circuit than the update before.

        Each circuit has a queue of its own. If callbacks are slow, updates of a server that the PV
        has left may still wait when the first one of its new server has been delivered.
        """
        source, link = response.sender_address, self.pv._link
        known = self._source is None or source == self._source
        if not known and (link is None or source != link.manager.circuit.address):
            return False
        self._source = source
        return True

    def stopped(self) -> None:
        """The fact has ended: the next update will be the first of a new series."""
        self.event_id = None
        self._latest = None

    def prune(self, _argument: Any = None) -> None:
        """Remove the callbacks that were garbage-collected, and say so."""
        # Outside the lock: to look at a weak reference may drop the last strong one.
        dead = self._callbacks.dead()
        if not dead:
            return
        context = self.pv.context
        warnings: list[tuple[str, int]] = []  # name, and how many died unmentioned before
        with context._lock:
            found = self._forget({entry.token for entry in dead})
            for entry in dead:
                if entry.token not in found or context.closed:
                    continue
                withheld = context.dead_callbacks.take(context.now())
                if withheld is not None:
                    warnings.append((entry.name, withheld))
        for name, withheld in warnings:
            others = f" ({withheld} more have died since the last such line.)" if withheld else ""
            self.log.warning(_DIED, self.pv.name, name, others)
        self._reconcile()

    def _failed(self, token: int, name: str, error: BaseException) -> None:
        pv = self.pv
        self._callbacks.failed(token, name, error, pv.name, self.log, pv.context.now())

    def _forget(self, tokens: Collection[int]) -> set[int]:
        """Forget these callbacks; return the tokens of those that were there. Locked."""
        found = self._callbacks.remove(tokens)
        # Not just without *tokens*: an earlier call may have been interrupted here.
        left = {entry.token for entry in self._callbacks.entries}
        self._targets = tuple(entry for entry in self._targets if entry.token in left)
        return found

    def _welcome(self, entry: Entry) -> None:
        """Tell a late callback the latest update, then let it have the next ones."""
        if self._latest is not None:
            try:
                call(entry, self, self._latest)
            except BaseException as error:
                self._failed(entry.token, entry.name, error)
        with self.pv.context._lock:
            if entry in self._callbacks.entries and entry not in self._targets:
                self._targets = (*self._targets, entry)

    def _died(self, _reference: Any) -> None:
        # Runs in the garbage collector, in any thread, under any lock: it only leaves a note. While
        # there is no circuit this can wait; connecting prunes.
        link = self.pv._link
        if link is not None:
            link.manager.delivery.put_quietly(Call(self.prune), None)

    def _reconcile(self) -> None:
        link = self.pv._link
        if link is not None:
            link.manager.reconcile((self,))

