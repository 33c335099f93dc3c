"""PV: one process variable, for users.

Its state is in ``_client.pvs``, sending in ``_requests``; here are the calls of users. A PV has
no lock and no socket: its circuit has.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal, NoReturn, cast, overload

from ... import _imports
from ..._client.arguments import (
    DEFAULT,
    DataType,
    Mask,
    Timeout,
    check_callback,
    check_count,
    check_data_type,
)
from ..._client.operations import (
    Callback,
    Read,
    TypedRead,
    Write,
)
from ..._client.subscriptions import form_of
from ..._errors import (
    CaprotoTypeError,
    CaprotoValueError,
    DisconnectedError,
)
from ..._protocol.commands import (
    ErrorResponse,
    ReadNotifyResponse,
    ReadResponse,
    WriteNotifyResponse,
)
from ..._protocol.dbr import SubscriptionType
from .._waiting import OneShot
from . import _reentry
from ._reentry import must_not_wait
from ._replies import BlockingRead, BlockingTypedRead, BlockingWrite
from ._requests import RequestingPV
from ._subscription import Subscription

if TYPE_CHECKING:
    from ..._client.info import Info
    from ..._client.metadata import Metadata
    from ._callback_handler import CallbackHandler
    from ._info import MetadataWatch

#: Seconds that `go_idle` waits at most. The circuit's thread acts at once, unless it is ending.
IDLE_TIME = 1.0


class PV(RequestingPV):
    """A process variable, found and connected in the background.

    Made by :meth:`Context.get_pvs`. It reconnects after a loss, until its Context is
    closed. Any method may be called from any thread, also from callbacks.

    Attributes
    ----------
    name : str
        The name that is searched.
    priority : int
        Priority of the circuit, 0 to 99.
    context : Context
        The Context that made it.
    key : tuple of (str, int)
        Name and priority: its key in `Context.pvs`.
    """

    __slots__ = ()

    # ---- facts

    @property
    def subscriptions(self) -> list[Subscription]:
        """The Subscriptions that :meth:`subscribe` has returned so far: a list of them.

        (caproto 1.x has a mapping of ids there; for those on the wire see
        ``circuit_manager.subscriptions``.)
        """
        return cast("list[Subscription]", super().subscriptions)

    @property
    def connection_state_callback(self) -> CallbackHandler:
        """The callbacks about the connection: ``add_callback(f)`` for ``f(pv, state)``."""
        _imports.check_reentry("PV.connection_state_callback")
        from ._callback_handler import CallbackHandler

        return CallbackHandler(self, "state")

    @property
    def access_rights_callback(self) -> CallbackHandler:
        """The callbacks about the rights: ``add_callback(f)`` for ``f(pv, access_rights)``."""
        _imports.check_reentry("PV.access_rights_callback")
        from ._callback_handler import CallbackHandler

        return CallbackHandler(self, "access_rights")

    def __repr__(self) -> str:
        return f"<PV {self.name!r}: {self._describe(self._home.now())}>"

    def __reduce__(self) -> NoReturn:
        raise CaprotoTypeError(
            f"a PV cannot be copied or pickled, because it has a connection; pass its name, "
            f"{self.name!r}, and call get_pvs() where it is used"
        )

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
        self._home.wait(self, lambda: self._found, deadline)

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
            self._home.wait(self, lambda: self.connected, deadline)

    # ---- reading and writing

    @overload
    def read(
        self,
        *,
        wait: Literal[True] = True,
        callback: Callable[[ReadNotifyResponse], object] | None = None,
        timeout: Timeout = DEFAULT,
        data_type: DataType | None = None,
        data_count: int | None = None,
        notify: Literal[True] = True,
    ) -> ReadNotifyResponse: ...

    @overload
    def read(
        self,
        *,
        wait: Literal[False],
        callback: Callable[[ReadNotifyResponse], object] | None = None,
        timeout: Timeout = DEFAULT,
        data_type: DataType | None = None,
        data_count: int | None = None,
        notify: Literal[True] = True,
    ) -> None: ...

    @overload
    def read(
        self,
        *,
        wait: Literal[True] = True,
        callback: Callable[[ReadResponse], object] | None = None,
        timeout: Timeout = DEFAULT,
        data_type: DataType | None = None,
        data_count: int | None = None,
        notify: Literal[False],
    ) -> ReadResponse: ...

    @overload
    def read(
        self,
        *,
        wait: bool = True,
        callback: Callable[[ReadNotifyResponse | ReadResponse], object] | None = None,
        timeout: Timeout = DEFAULT,
        data_type: DataType | None = None,
        data_count: int | None = None,
        notify: bool = True,
    ) -> ReadNotifyResponse | ReadResponse | None: ...

    def read(
        self,
        *,
        wait: bool = True,
        callback: Callback | None = None,
        timeout: Timeout = DEFAULT,
        data_type: DataType | None = None,
        data_count: int | None = None,
        notify: bool = True,
    ) -> ReadNotifyResponse | ReadResponse | None:
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
            Use READ_NOTIFY. False uses the obsolete READ: its failures come as ERROR messages, and
            without *data_count* it returns as many elements as the channel can have.

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
            If *data_type* is not a type.
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
            self._send(
                Read(self, callback, deadline) if plain
                else TypedRead(self, callback, deadline, data_type, data_count, notify),
                deadline,
            )
            return None
        while True:
            try:
                response: ReadNotifyResponse | ReadResponse = self._ask(
                    BlockingRead(self, callback, deadline) if plain
                    else BlockingTypedRead(
                        self, callback, deadline, data_type, data_count, notify
                    ),
                    deadline,
                )
                return response
            except DisconnectedError:
                # A read changes nothing, so it is repeated on the next circuit, until the timeout.
                if deadline.expired:
                    raise

    @overload
    def write(
        self,
        data: object,
        *,
        wait: Literal[True] = True,
        callback: Callable[[WriteNotifyResponse], object] | None = None,
        timeout: Timeout = DEFAULT,
        notify: bool | None = None,
        data_type: DataType | None = None,
        data_count: int | None = None,
    ) -> WriteNotifyResponse: ...

    @overload
    def write(
        self,
        data: object,
        *,
        wait: bool,
        callback: Callable[[WriteNotifyResponse | ErrorResponse], object] | None = None,
        timeout: Timeout = DEFAULT,
        notify: bool | None = None,
        data_type: DataType | None = None,
        data_count: int | None = None,
    ) -> WriteNotifyResponse | None: ...

    def write(
        self,
        data: object,
        *,
        wait: bool = True,
        callback: Callback | None = None,
        timeout: Timeout = DEFAULT,
        notify: bool | None = None,
        data_type: DataType | None = None,
        data_count: int | None = None,
    ) -> WriteNotifyResponse | None:
        """Send a value to the server; it is never sent twice.

        Parameters
        ----------
        data : scalar, str, bytes, sequence or array
            The value; an enum may be given by the name of its state, a number as text (``'7'``).
            A value that is not a whole number is refused for integer types, because digits would
            be lost without notice.
        wait : bool
            Whether to wait until the server has finished: the record, and all that it triggers.
        callback : callable, optional
            Called once for a write that was sent: with the server's reply, which may be a refusal
            (see its ``status``), or, if none comes, with a WriteNotifyResponse with the status
            ECA_TIMEOUT at the timeout, or ECA_DISCONN when the circuit is lost. A reply that comes
            later is dropped. Not called after ``Context.disconnect()``.
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
            If there was no confirmation in time. What was written may still be in progress: a motor
            that is moving, for example. Pass a larger *timeout* to wait longer.
        DisconnectedError
            If the circuit was lost before the confirmation. The write may have happened.
        WriteError
            If the server refused.
        AccessError
            If the access rights forbid writing; nothing is sent then.
        CaprotoValueError, CaprotoTypeError
            If *data* cannot be sent in this type, or the arguments contradict each other.
        """
        if callback is not None:
            check_callback(callback)
        if data_type is not None:
            check_data_type(data_type)
        if data_count is not None:
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
            self._send(Write(*arguments), deadline)
            return None
        response: WriteNotifyResponse = self._ask(BlockingWrite(*arguments), deadline)
        return response

    def subscribe(
        self,
        data_type: DataType | None = None,
        data_count: int | None = None,
        low: float = 0.0,
        high: float = 0.0,
        to: float = 0.0,
        mask: Mask | None = None,
    ) -> Subscription:
        """Make a Subscription; nothing is sent before it has a callback.

        Parameters
        ----------
        data_type : ChannelType, int or str, optional
            As for :meth:`read`.
        data_count : int, optional
            As for :meth:`read`.
        low, high, to : float
            Legacy limits of the EVENT_ADD message; servers ignore them.
        mask : SubscriptionType, int or str, optional
            Which kinds of change to report, also by name: ``'value|alarm'``. Default: value and
            alarm.

        Returns
        -------
        Subscription
            The same one for the same arguments.

        Raises
        ------
        CaprotoValueError
            If *data_type* is not a type, *mask* is empty (servers drop the circuit for that), or a
            number does not fit into a message.
        """
        form = form_of(data_type, data_count, low, high, to, mask)
        found = self._subscribed(form)
        if found is None:
            if _reentry.inside(self._home.locks):
                raise _reentry.refusal(f"PV.subscribe of {self.name!r}")
            new = Subscription(self, form)
            with self._home.lock:
                found = self._home.table.subscription(self, form, new)
        return cast(Subscription, found)

    def unsubscribe_all(self) -> None:
        """Remove all callbacks of all subscriptions; when this returns none is left."""
        for subscription in self.subscriptions:
            subscription.clear()

    def go_idle(self) -> None:
        """Close the channel, or end the search for it, until the PV is used again.

        When this returns the PV is idle, unless operations are pending: then it goes idle after
        them, if it is not used before. Ignored while a subscription has callbacks.
        """
        if self._wanted or self._home.closed:
            return
        self._idle_wish = True
        channel = self._channel
        locks = self._home.locks if channel is None else channel.carrier.locks
        done = None if must_not_wait(locks) else OneShot()
        if channel is None:
            self._home.searches.note(partial(self._home.rest, (self,), done), self.name)
        else:
            channel.carrier.idle(self, channel, done)
        if done is not None:
            done.wait(IDLE_TIME)

    def time_since_last_heard(self, timeout: Timeout = DEFAULT) -> float:
        """Return the seconds since the server sent anything.

        Parameters
        ----------
        timeout : float or None, optional
            How long to wait for a connection, if there is none.
        """
        deadline = self._deadline(timeout)
        if not self.connected:
            self._check_reentry("time_since_last_heard")
        return self._wait_until_usable(deadline).carrier.time_since_last_heard()

    # ---- what describes it

    def info(self, *, timeout: Timeout = DEFAULT) -> Info:
        """Ask for everything about the PV, in one round trip.

        Parameters
        ----------
        timeout : float or None, optional
            Seconds for everything, a reconnection included; None waits without end.

        Returns
        -------
        Info
            Prints as one block; its attributes and ``to_dict()`` are for programs.

        Raises
        ------
        CaprotoTimeoutError, ReadError, AccessError
            As for :meth:`read`.
        """
        _imports.check_reentry("PV.info")
        from ._info import collect_info

        deadline = self._deadline(timeout)
        self._check_reentry("info")
        return collect_info(self, deadline)

    @property
    def metadata(self) -> Metadata:
        """Units, precision, limits and names of the states.

        They are fetched at the first access, with the PV's own timeout, and then kept until the
        connection is lost. Errors are those of :meth:`read`. See :meth:`watch_metadata`.
        """
        _imports.check_reentry("PV.metadata")
        from ._info import fetch_metadata, find_metadata

        known = find_metadata(self)
        if known is None:
            self._check_reentry("metadata")
            known = fetch_metadata(self, self._deadline(DEFAULT))
        return known

    def watch_metadata(self) -> MetadataWatch:
        """Keep :attr:`metadata` fresh: the server sends what changes.

        The PV stays connected for it, as for any subscription.

        Returns
        -------
        MetadataWatch
            Its ``close()`` ends the updates, and so does leaving a ``with`` block.
        """
        _imports.check_reentry("PV.watch_metadata")
        from ._info import MetadataWatch

        return MetadataWatch(self.subscribe("control", 1, mask=SubscriptionType.DBE_PROPERTY))

    def _repr_html_(self) -> str:
        """Show it in a notebook: what is known, without asking the server."""
        from ._info import html_of

        return html_of(self)
