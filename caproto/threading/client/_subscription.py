"""Subscription: the updates of a PV, for users.

Its state is in ``_client.subscriptions``; here it is changed under the lock, and left as notes to
background threads. A Subscription has no lock of its own: its callbacks change under the Context's.
"""
from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import NoReturn, TypeVar, overload

from ..._client.arguments import check_token
from ..._client.callbacks import Entry, Function, accepts_two
from ..._client.deliveries import Call
from ..._client.interfaces import Update
from ..._client.pvs import carrier_of
from ..._client.subscriptions import SubscriptionState
from ..._errors import CaprotoTypeError
from ..._numbers import counted
from ._home import ClientPV, home_of
from ._reentry import inside, must_not_wait, refusal

_F = TypeVar("_F", bound=Function)

#: The warning about a callback that was garbage-collected before it was removed.
_DIED = (
    "%r: the callback %s was garbage-collected before it was removed, so it gets no more updates. "
    "Subscriptions hold callbacks weakly, so a lambda, list.append or a bound method of a "
    "temporary object is garbage-collected at once. Keep a reference to the function (or to its "
    "object), or pass strong=True to add_callback.%s"
)


class Subscription(SubscriptionState):
    """Updates of one PV in one form, fanned out to any number of callbacks.

    Made by :meth:`PV.subscribe`. Nothing is requested from the server before the first callback is
    added; when the last one goes the updates are cancelled. After each reconnection the updates
    go on by themselves, beginning with the present value.

    Its ``data_type``, ``data_count``, ``low``, ``high``, ``to`` and ``mask`` are what
    :meth:`PV.subscribe` was asked for.

    Attributes
    ----------
    pv : PV
        The PV with the updates.
    wanted : bool
        Whether it has callbacks, so that the server is to send updates.
    event_id : int or None
        The id of the subscription on the wire; None while the server has none.
    refused : bool
        Whether the server refused to send updates.
    """

    __slots__ = ()

    pv: ClientPV

    @property
    def most_recent_response(self) -> Update | None:
        """The newest update that was delivered; None before the first one."""
        return self._latest

    @overload
    def add_callback(self, function: Function, *, strong: bool = False) -> int: ...

    @overload
    def add_callback(
        self, function: None = None, *, strong: bool = False
    ) -> Callable[[_F], _F]: ...

    def add_callback(
        self, function: Function | None = None, *, strong: bool = False
    ) -> int | Callable[[_F], _F]:
        """Call *function* with every update from now on.

        Parameters
        ----------
        function : callable
            Called as ``function(response)``, or ``function(subscription, response)`` if it requires
            two positional arguments or takes any number of them (``*args``). Arguments with a
            default do not count. Left out, a decorator is returned.
        strong : bool
            By default only a weak reference is kept: a function to which nothing else refers (a
            lambda, ``list.append``, a method of a temporary object) is garbage-collected and
            removed, with a warning in the log. True keeps it alive until it is removed.

        Returns
        -------
        int
            A token for :meth:`remove_callback`; without *function*, a decorator.

        Raises
        ------
        CaprotoTypeError
            If *function* cannot be called in one of the two ways, or not be held weakly.
        ContextDisconnectedError
            If the Context was disconnected, so that no update can ever come.

        Notes
        -----
        The first callback gets the first update that the server sends. A later one gets the
        latest update at once, in the callback thread, before any newer one.
        """
        if function is None:
            return functools.partial(self._decorate, strong=strong)
        context = home_of(self.pv)
        if inside(context.locks):
            raise refusal(f"Subscription.add_callback of {self.pv.name!r}")
        two = accepts_two(function)
        with context.lock:
            token = self._callbacks.new_token()
        entry = self._callbacks.make_entry(token, function, strong, two, self._died)
        try:
            self._add(entry)
            return token  # here, so that no line is left in which the token could be lost
        except BaseException:  # Ctrl-C: a caller without the token cannot remove it
            self._remove_now({token})
            raise

    def _add(self, entry: Entry) -> None:
        pv = self.pv
        with home_of(pv).lock:
            home_of(pv).check_open(pv)
            circuit = carrier_of(pv)
            late = self._append(entry, circuit is not None)
        if circuit is None:
            home_of(pv).activate(pv)
            return
        circuit.reconcile((self,))
        if late:
            # Not put here: the first one starts a thread, which Ctrl-C must not interrupt.
            welcome = ((Call(self._call_first), entry),)
            circuit.note(functools.partial(circuit.delivery.put, welcome), pv.name)

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
            If it is not an int.
        """
        check_token(token)
        self._callbacks.check_token(token)
        self._remove({token})

    def clear(self) -> None:
        """Remove all callbacks; the server stops sending. The Subscription can be used again."""
        self._remove({entry.token for entry in self._callbacks.entries})

    def _remove(self, tokens: Collection[int]) -> None:
        """Stop calling these; inside another call of ours, after it."""
        context, circuit = home_of(self.pv), carrier_of(self.pv)
        if must_not_wait(context.locks if circuit is None else circuit.locks):
            context.note(self.pv, functools.partial(self._remove_now, tokens))
        else:
            self._remove_now(tokens)

    def _remove_now(self, tokens: Collection[int]) -> None:
        with home_of(self.pv).lock:
            self._forget(tokens)
        self._reconcile()

    def __reduce__(self) -> NoReturn:
        raise CaprotoTypeError(
            f"a Subscription cannot be copied or pickled, because its updates come over a "
            f"connection; pass the name of the PV, {self.pv.name!r}, and subscribe where it is used"
        )

    def _decorate(self, function: _F, strong: bool) -> _F:
        self.add_callback(function, strong=strong)
        return function

    # ---- for background threads

    def _prune(self, _argument: object = None) -> None:
        """Remove the callbacks that were garbage-collected, and say so."""
        # Outside the lock: to look at a weak reference may drop the last strong one.
        dead = self._callbacks.dead()
        if not dead:
            return
        context = home_of(self.pv)
        warnings: list[tuple[str, int]] = []  # name, and how many died unmentioned before
        with context.lock:
            found = self._forget({entry.token for entry in dead})
            for entry in dead:
                if entry.token not in found or context.closed:
                    continue
                withheld = context.dead_callbacks.take(context.now())
                if withheld is not None:
                    warnings.append((entry.name, withheld))
        for name, withheld in warnings:
            died = counted(withheld, "more has", "more have")
            others = f" ({died} died since the last such line.)" if withheld else ""
            self.log.warning(_DIED, self.pv.name, name, others)
        self._reconcile()

    def _call_first(self, entry: Entry) -> None:
        """Tell a late callback the latest update, then let it have the next ones."""
        self._deliver_latest(entry)
        with home_of(self.pv).lock:
            self._include(entry)

    def _failed(self, token: int, name: str, error: BaseException) -> None:
        pv = self.pv
        self._callbacks.failed(token, name, error, pv.name, self.log, home_of(pv).now())

    def _died(self, _reference: object) -> None:
        # Runs in the garbage collector, in any thread, under any lock: it only leaves a note. While
        # there is no circuit nothing is to be done; connecting prunes.
        circuit = carrier_of(self.pv)
        if circuit is not None:
            circuit.delivery.put_quietly(Call(self._prune), None)

    def _reconcile(self) -> None:
        circuit = carrier_of(self.pv)
        if circuit is not None:
            circuit.reconcile((self,))
