"""PV: what the user holds.

A PV has no lock and no socket. Its connection is one attribute, `_link`, a pair of circuit manager
and channel that is replaced whole; where it stands on the way to a connection is `_phase`; both are
written by the Context, under its lock.
"""
from __future__ import annotations

import enum
import functools
import logging
import numbers
import weakref
from _thread import RLock
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from .. import _locks
from .._client.deliveries import Target
from .._client.operations import (
    NORMAL,
    NotSent,
    Operation,
    Read,
    TypedRead,
    Write,
    failure,
    refusal,
)
from .._commands import event_payload
from .._dbr import (
    AccessRights,
    ChannelType,
    SubscriptionType,
    field_types,
    resolve_data_type,
)
from .._errors import (
    CaprotoTimeoutError,
    CaprotoTypeError,
    CaprotoValueError,
    DisconnectedError,
)
from .._log import CHANNEL_LOGGER, adapter
from . import _reentry
from ._announcements import Announcements, Listener
from ._reentry import must_not_wait
from ._replies import Blocking, BlockingRead, BlockingTypedRead, BlockingWrite
from ._subscription import Subscription
from ._waiting import Deadline, Reply, Waiter

if TYPE_CHECKING:
    from .._channel import ClientChannel
    from ._circuit_manager import VirtualCircuitManager
    from ._context import Context


class _Default(enum.Enum):
    """Stands for "the default timeout" in signatures."""

    DEFAULT = "the default timeout"

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = _Default.DEFAULT
Timeout = float | None | _Default


class Link(NamedTuple):
    """The present way from a PV to its server."""

    manager: VirtualCircuitManager
    channel: ClientChannel


class Phase(enum.Enum):
    """Where a PV stands on its way to a connection.

    Only background threads lead it from one to the next, so that no KeyboardInterrupt stops it
    between two. One that is NEW or IDLE is announced to them by each use of it.
    """

    NEW = "new"  #: not searched for yet
    SEARCHING = "searching"
    FOUND = "found"  #: a circuit has it: connecting, connected or unresponsive
    IDLE = "idle"


_DEFAULT_MASK = SubscriptionType.DBE_VALUE | SubscriptionType.DBE_ALARM
_ALL_EVENTS = 0xFFFF  #: the mask has 16 bits; servers may define more than we know
#: Seconds that `go_idle` waits at most. The circuit's thread acts at once, unless it is ending.
IDLE_TIME = 1.0
_log = logging.getLogger(CHANNEL_LOGGER)


class PV:
    """A process variable, found and connected in the background.

    Made by :meth:`Context.get_pvs`. It reconnects by itself after a loss, for as long as its
    Context lives. Any method may be called from any thread, also from callbacks.

    Attributes
    ----------
    name : str
        The name that is searched.
    priority : int
        Priority of the circuit, 0 to 99.
    context : Context
        Whose PV this is.
    """

    __slots__ = (
        "__weakref__",
        "_access_callbacks",
        "_idle_wish",
        "_link",
        "_log",
        "_phase",
        "_server",
        "_since",
        "_state_callbacks",
        "_subscriptions",
        "_timeout",
        "_waiters",
        "context",
        "name",
        "priority",
    )

    def __init__(
        self, name: str, priority: int, context: Context, timeout: Timeout, now: float
    ) -> None:
        self.name = name
        self.priority = priority
        self.context = context
        self._timeout = timeout
        self._link: Link | None = None
        self._phase = Phase.NEW
        self._server: tuple[str, int] | None = None  # that has, or last had, this PV
        self._since = now
        self._waiters: list[Waiter] | None = None
        self._idle_wish = False  # whether it was not used since go_idle
        self._subscriptions: dict[tuple[Any, ...], Subscription] | None = None
        self._state_callbacks: Announcements | None = None
        self._access_callbacks: Announcements | None = None
        self._log: logging.Logger | None = None

    # ---- facts

    @property
    def connected(self) -> bool:
        """Whether the server's channel is there and the server responds."""
        link = self._link
        return link is not None and link.manager.serves(link.channel)

    @property
    def channel(self) -> ClientChannel | None:
        """The protocol's side of the connection; None while there is no circuit."""
        link = self._link
        return link.channel if link is not None else None

    @property
    def circuit_manager(self) -> VirtualCircuitManager | None:
        """The circuit that serves this PV; None while there is none."""
        link = self._link
        return link.manager if link is not None else None

    @property
    def access_rights(self) -> AccessRights | None:
        """What the server allows; None while not connected, and until the server has told."""
        link = self._link
        return link.channel.access_rights if link is not None and self.connected else None

    @property
    def subscriptions(self) -> list[Subscription]:
        """What :meth:`subscribe` has returned so far."""
        return list((self._subscriptions or {}).values())

    @property
    def timeout(self) -> float | None:
        """Default timeout in seconds; None means to wait without end. Can be set."""
        return self.context.timeout if isinstance(self._timeout, _Default) else self._timeout

    @timeout.setter
    def timeout(self, value: Timeout) -> None:
        self._timeout = value if isinstance(value, _Default) else check_timeout(value)

    @property
    def log(self) -> logging.Logger:
        """The logger of this PV; its records carry the name as ``record.pv``."""
        if self._log is None:
            self._log = adapter(CHANNEL_LOGGER, pv=self.name, role="CLIENT")
        return self._log

    def __repr__(self) -> str:
        return f"<PV {self.name!r}: {self._state()}>"

    def __reduce__(self) -> NoReturn:
        raise CaprotoTypeError(
            f"a PV cannot be copied or pickled, because it has a connection; pass its name, "
            f"{self.name!r}, and call get_pvs() where it is used"
        )

    def _state(self) -> str:
        """Where this PV stands, in a few words."""
        context, link = self.context, self._link
        if context.closed:
            return "disconnected, the Context is closed"
        if link is not None:
            return link.manager.describe(link.channel)
        if self._phase is Phase.IDLE:
            return "idle"
        return f"searching for {context.now() - self._since:.1f} s"

    # ---- waiting

    def wait_for_search(self, *, timeout: Timeout = DEFAULT) -> None:
        """Wait until a server has answered the search.

        Parameters
        ----------
        timeout : float or None, optional
            Seconds; None waits without end.

        Raises
        ------
        CaprotoTimeoutError
            If no server answered; the message says what was tried.
        """
        deadline = self._deadline(timeout)
        self._idle_wish = False
        self._check_reentry("wait_for_search")
        self.context._wait(self, lambda: self._phase is Phase.FOUND, deadline)

    def wait_for_connection(self, *, timeout: Timeout = DEFAULT) -> None:
        """Wait until the PV can be used; an idle one is woken.

        Parameters
        ----------
        timeout : float or None, optional
            Seconds; None waits without end.

        Raises
        ------
        CaprotoTimeoutError
            If the PV is not connected by then; the message names the phase it is stuck in.
        """
        deadline = self._deadline(timeout)
        self._idle_wish = False
        if not self.connected:
            self._check_reentry("wait_for_connection")
            self.context._wait(self, lambda: self.connected, deadline)

    # ---- reading and writing

    def read(
        self,
        *,
        wait: bool = True,
        callback: Callable[[Any], Any] | None = None,
        timeout: Timeout = DEFAULT,
        data_type: ChannelType | int | str | None = None,
        data_count: int | None = None,
        notify: bool = True,
    ) -> Any:
        """Ask the server for the value.

        Parameters
        ----------
        wait : bool
            Whether to wait for the reply and return it.
        callback : callable, optional
            Called with the reply, in the circuit's callback thread and in the order of the wire;
            never after the timeout. Not called after a failure; with ``wait=False`` that is only
            logged.
        timeout : float or None, optional
            Seconds for everything, a reconnection included; None waits without end.
        data_type : ChannelType, int or str, optional
            Wanted type: a member, number or name (``'DBR_TIME_DOUBLE'``, ``'time_double'``), or one
            of ``'native' 'status' 'time' 'graphic' 'control'``. Default: the channel's own.
        data_count : int, optional
            Wanted number of elements. Default: as many as the channel has now.
        notify : bool
            Use READ_NOTIFY; False uses the obsolete READ, whose failures come as ERROR messages,
            and which without *data_count* gives as many elements as the channel can have.

        Returns
        -------
        ReadNotifyResponse or ReadResponse, or None
            None only with ``wait=False``.

        Raises
        ------
        CaprotoTimeoutError
            If there was no reply; the message says in which phase, and for how long.
        ReadError
            If the server refused.
        AccessError
            If the access rights forbid reading; nothing is sent then.
        CaprotoValueError
            If *data_type* is none.
        """
        if callback is not None:
            check_callback(callback)
        if data_type is not None:
            check_data_type(data_type)
        if data_count is not None:
            check_count(data_count)
        deadline = self._deadline(timeout)
        plain = data_type is None and data_count is None and notify
        if not wait:
            self._send_later(
                Read(self, callback, deadline) if plain
                else TypedRead(self, callback, deadline, data_type, data_count, notify),
                deadline,
            )
            return None
        self._check_reentry("read")
        self._idle_wish = False
        while True:
            try:
                return self._ask(
                    BlockingRead(self, callback, deadline) if plain
                    else BlockingTypedRead(
                        self, callback, deadline, data_type, data_count, notify
                    ),
                    deadline,
                )
            except DisconnectedError:
                # A read does no harm, so it is repeated on the next circuit; time bounds it.
                if deadline.expired:
                    raise

    def write(
        self,
        data: Any,
        *,
        wait: bool = True,
        callback: Callable[[Any], Any] | None = None,
        timeout: Timeout = DEFAULT,
        notify: bool | None = None,
        data_type: ChannelType | int | str | None = None,
        data_count: int | None = None,
    ) -> Any:
        """Send a value to the server; it is never sent twice.

        Parameters
        ----------
        data : scalar, str, bytes, sequence or array
            The value; an enum may be given by the name of its state.
        wait : bool
            Whether to wait until the server has finished: the record, and all that it triggers.
        callback : callable, optional
            Called with the server's reply; never after the timeout. With ``wait=False`` also after
            a refusal (see its ``status``); any other failure is only logged.
        timeout : float or None, optional
            Seconds for everything; None waits without end.
        notify : bool, optional
            Whether to ask for a confirmation (WRITE_NOTIFY). Default: if *wait* or *callback*.
        data_type : ChannelType, int or str, optional
            How to encode: a plain type. Default: the channel's own (text for the state of an enum).
        data_count : int, optional
            Number of elements. Default: as many as *data* has.

        Returns
        -------
        WriteNotifyResponse or None
            None only with ``wait=False``.

        Raises
        ------
        CaprotoTimeoutError
            If there was no confirmation in time. The write may still happen.
        DisconnectedError
            If the circuit was lost before the confirmation. The write may have happened.
        WriteError
            If the server refused.
        AccessError
            If the access rights forbid writing; nothing is sent then.
        CaprotoValueError, CaprotoTypeError
            If *data* cannot be sent in this type, or the arguments contradict each other.
        """
        check_callback(callback)
        check_data_type(data_type)
        check_count(data_count)
        if notify is None:
            notify = wait or callback is not None
        elif not notify and (wait or callback is not None):
            raise CaprotoValueError(
                "notify=False asks for no confirmation, so there is nothing to wait for or to "
                "call back with: pass wait=False and no callback"
            )
        deadline = self._deadline(timeout)
        arguments = self, callback, deadline, data, data_type, data_count, notify
        if not wait:
            self._send_later(Write(*arguments), deadline)
            return None
        self._check_reentry("write")
        self._idle_wish = False
        return self._ask(BlockingWrite(*arguments), deadline)

    def subscribe(
        self,
        data_type: ChannelType | int | str | None = None,
        data_count: int | None = None,
        low: float = 0.0,
        high: float = 0.0,
        to: float = 0.0,
        mask: SubscriptionType | int | None = None,
    ) -> Subscription:
        """A Subscription; nothing is sent before it has a callback.

        Parameters
        ----------
        data_type : ChannelType, int or str, optional
            As for :meth:`read`.
        data_count : int, optional
            As for :meth:`read`.
        low, high, to : float
            Legacy limits of the EVENT_ADD message; servers ignore them.
        mask : SubscriptionType or int, optional
            Which kinds of change to report. Default: value and alarm.

        Returns
        -------
        Subscription
            The same one for the same arguments.

        Raises
        ------
        CaprotoValueError
            If *data_type* is none, *mask* is empty (servers drop the circuit for that), or a number
            fits into no message.
        """
        check_data_type(data_type)
        check_count(data_count)
        mask = _DEFAULT_MASK if mask is None else _mask(mask)
        event_payload(low, high, to, mask)  # raises if one of them cannot be sent
        key = (_hashable(data_type), data_count, low, high, to, mask)
        found = (self._subscriptions or {}).get(key)
        if found is not None:
            return found
        lock = self.context._lock
        if _locks.held(lock):
            raise _reentry.refusal(f"PV.subscribe of {self.name!r}")
        with lock:
            if self._subscriptions is None:
                self._subscriptions = {}
            made = Subscription(self, data_type, data_count, low, high, to, mask)
            return self._subscriptions.setdefault(key, made)

    def unsubscribe_all(self) -> None:
        """Remove all callbacks of all subscriptions; when this returns none is left."""
        for subscription in self.subscriptions:
            subscription.clear()

    def go_idle(self) -> None:
        """Give the connection back until the PV is used again.

        When this returns the PV is idle, unless operations are under way: then it will be, after
        them, if it is not used before. Ignored while a subscription has callbacks.
        """
        link = self._link
        if link is None or self._wanted():
            return
        self._idle_wish = True
        manager = link.manager
        if must_not_wait(manager.locks):
            manager.retire(self, link.channel)
        else:
            done = Reply()
            manager.retire(self, link.channel, done)
            done.wait(IDLE_TIME)

    def time_since_last_heard(self, timeout: Timeout = DEFAULT) -> float:
        """Seconds since the server sent anything.

        Parameters
        ----------
        timeout : float or None, optional
            How long to wait for a connection, if there is none.
        """
        deadline = self._deadline(timeout)
        if not self.connected:
            self._check_reentry("time_since_last_heard")
        return self._usable(deadline).manager.time_since_last_heard()

    # ---- the client's side

    def _states(self) -> Announcements:
        """The connection state callbacks. Under the Context's lock, like `_rights`."""
        if self._state_callbacks is None:
            self._state_callbacks = Announcements(self)
        return self._state_callbacks

    def _rights(self) -> Announcements:
        """The access rights callbacks."""
        if self._access_callbacks is None:
            self._access_callbacks = Announcements(self)
        return self._access_callbacks

    def _dead_listeners(self) -> set[Listener]:
        """The callbacks about states and rights that were garbage-collected; holding nothing."""
        found = (self._state_callbacks, self._access_callbacks)
        return set().union(*(group.dead() for group in found if group is not None))

    def _rights_news(self, rights: AccessRights) -> tuple[Target, Any] | None:
        """What to deliver when the server tells the access rights; None without listeners."""
        return None if self._access_callbacks is None else self._note_rights(rights)

    def _note_rights(
        self, rights: AccessRights, listener: Listener | None = None
    ) -> tuple[Any, None]:
        """Note what the server allows; what the same channel has told already is not told again."""
        link = self._link
        channel = weakref.ref(link.channel) if link is not None else None
        return self._rights().note(rights, (channel, rights), listener)

    def _wanted(self) -> bool:
        """Whether any subscription needs this PV to stay connected."""
        subscriptions = self._subscriptions
        return subscriptions is not None and any(sub.wanted for sub in list(subscriptions.values()))

    @property
    def _may_idle(self) -> bool:
        """Whether `go_idle` was called, and nothing needs the PV since."""
        return self._idle_wish and not self._wanted()

    def _activate(self) -> None:
        """Wake an idle PV."""
        self.context._activate(self)

    def _deadline(self, timeout: Timeout) -> Deadline:
        return Deadline(self.timeout if timeout is DEFAULT else check_timeout(timeout))

    def _usable(self, deadline: Deadline) -> Link:
        """The link, connected; waits for it until *deadline*."""
        while True:
            link = self._link
            if link is not None and link.manager.serves(link.channel):
                return link
            self.context._wait(self, lambda: self.connected, deadline)

    def _send(self, operation: Operation, deadline: Deadline) -> None:
        """Send an operation on the present circuit."""
        self._idle_wish = False
        link = self._link
        while True:
            if link is not None:
                try:
                    link.manager.request(link.channel, operation, deadline)
                    return
                except NotSent:
                    pass  # not connected, or lost in this moment
            link = self._usable(deadline)

    def _send_later(self, operation: Operation, deadline: Deadline) -> None:
        """Send an operation for which nothing waits; inside another call of ours, after that."""
        link = self._link
        if not must_not_wait(self._locks(link)):
            self._send(operation, deadline)
        elif link is not None and link.manager.serves(link.channel):
            link.manager.note(functools.partial(self._send_noted, operation, deadline), self.name)
        else:  # a connection would have to be waited for
            raise _reentry.refusal(f"PV.{operation.verb} of {self.name!r}, which is not connected,")

    def _send_noted(self, operation: Operation, deadline: Deadline) -> None:
        """Send what was asked for inside another call of ours; in the reader thread."""
        self._idle_wish = False
        link = self._link
        if link is None:
            raise DisconnectedError("the connection was lost before a request was sent")
        link.manager.request(link.channel, operation, deadline)

    def _locks(self, link: Link | None) -> tuple[RLock, ...]:
        """What a call on this PV may need."""
        return self.context.locks if link is None else link.manager.locks

    def _check_reentry(self, call: str) -> None:
        """Raise ReentrantCallError if this thread would wait for itself."""
        if must_not_wait(self._locks(self._link)):
            raise _reentry.refusal(f"PV.{call} of {self.name!r}")

    def _ask(self, operation: Blocking, deadline: Deadline) -> Any:
        """Send an operation, wait for its outcome, and check it; the response."""
        link = self._link
        while True:
            if link is not None:
                manager = link.manager
                try:
                    number = manager.request(link.channel, operation, deadline)
                    if not operation.wait(deadline.remaining()) and manager.forget(number):
                        raise self._no_reply(operation, manager, deadline)
                    break
                except NotSent:
                    pass  # not connected, or lost in this moment
                except BaseException:  # for example Ctrl-C: nothing waits for it any more
                    manager.withdraw((operation,))
                    raise
            link = self._usable(deadline)
        # If the operation was no longer to be forgotten, its reply is there or about to be.
        if operation.response is None and operation.error is None:
            operation.wait(None)
        if operation.error is not None:
            self.context._check_open()
            raise failure(self, operation.verb, operation.error, manager.circuit.address)
        response = operation.response
        if response.status != NORMAL:
            raise refusal(self, operation.verb, response, manager.circuit.address)
        return response

    def _no_reply(
        self, operation: Blocking, manager: VirtualCircuitManager, deadline: Deadline
    ) -> CaprotoTimeoutError:
        return CaprotoTimeoutError(
            f"{self.name!r}: no reply to the {operation.verb} within {deadline.timeout} s; "
            f"{manager.describe_last_heard()}"
        )

    def debug(
        self, message: str, *args: object, extra: Mapping[str, object] | None = None
    ) -> None:
        """Log, without making a logger for each of many PVs while all of them are silent."""
        if (self._log or _log).isEnabledFor(logging.DEBUG):
            self.log.debug(message, *args, extra=extra)


# ---- checks of what users pass


def check_timeout(timeout: Any) -> float | None:
    """Raise CaprotoValueError or CaprotoTypeError unless *timeout* is seconds or None."""
    if timeout is None:
        return None
    if type(timeout) not in (int, float):
        if isinstance(timeout, bool) or not isinstance(timeout, numbers.Real):
            raise CaprotoTypeError(f"timeout must be a number of seconds or None, not {timeout!r}")
        timeout = float(timeout)  # numpy's numbers, for example
    seconds: float = timeout
    if not seconds >= 0:
        raise CaprotoValueError(f"timeout must not be negative, and is {timeout!r}")
    return seconds


def check_count(data_count: Any) -> None:
    """Raise unless *data_count* is a possible number of elements or None."""
    if data_count is None:
        return
    if isinstance(data_count, bool) or not hasattr(data_count, "__index__"):
        raise CaprotoTypeError(f"data_count must be a whole number or None, not {data_count!r}")
    if not 0 <= data_count < 1 << 32:
        raise CaprotoValueError(f"data_count must be 0 to 2**32 - 1, and is {data_count!r}")


def check_data_type(data_type: ChannelType | int | str | None) -> None:
    """Raise CaprotoValueError unless *data_type* can be resolved for every channel."""
    if data_type is not None:
        resolve_data_type(data_type, ChannelType.DOUBLE)


def check_callback(callback: Any) -> None:
    """Raise CaprotoTypeError unless *callback* can be called or is None."""
    if callback is not None and not callable(callback):
        raise CaprotoTypeError(f"callback must be callable, not {callback!r}")


def _mask(mask: SubscriptionType | int) -> SubscriptionType:
    number = mask.__index__() if hasattr(mask, "__index__") else 0
    if not 0 < number <= _ALL_EVENTS:
        raise CaprotoValueError(
            f"mask must be a combination of SubscriptionType members, not {mask!r}"
        )
    return SubscriptionType(number)


def _hashable(data_type: ChannelType | int | str | None) -> Any:
    """The same for the same type, however it was spelt."""
    family = "native" if data_type is None else data_type
    if isinstance(family, str) and family.lower() in field_types:
        return family.lower()
    return resolve_data_type(data_type, ChannelType.DOUBLE)
