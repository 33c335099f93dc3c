"""Updates that are received, and handed to callbacks, by the thread that asks for them."""
from __future__ import annotations

from collections.abc import Callable

from .._client.arguments import (
    DataType,
    check_count,
    check_data_type,
    check_mask,
    check_priority,
    check_timeout,
)
from .._client.callbacks import Function, accepts_two
from .._errors import CaprotoError, CaprotoKeyError, CaprotoTypeError, CaprotoValueError
from .._numbers import counted
from .._protocol.commands import EventAddResponse, event_payload
from .._protocol.dbr import SubscriptionType
from ..threading._waiting import Deadline
from ..threading.client import Context
from ._requests import check_pv_name, make_context, wanted_type
from ._stream import Stream

_Update = tuple["Subscription", EventAddResponse]


class Subscription:
    """Updates of a PV, for `block` to receive. Made by `subscribe`.

    Attributes
    ----------
    pv_name : str
        The name of the PV.
    priority, data_type, data_count, low, high, to, mask
        As given to `subscribe`.
    """

    def __init__(
        self,
        pv_name: str,
        priority: int = 0,
        data_type: DataType | None = None,
        data_count: int | None = None,
        low: float = 0.0,
        high: float = 0.0,
        to: float = 0.0,
        mask: SubscriptionType | int | None = None,
    ) -> None:
        check_pv_name(pv_name)
        check_data_type(data_type)
        check_count(data_count)
        event_payload(low, high, to, check_mask(mask))  # raises if one of them cannot be sent
        self.pv_name = pv_name
        self.priority = check_priority(priority)
        self.data_type = data_type
        self.data_count = data_count
        self.low, self.high, self.to = low, high, to
        self.mask = mask
        self._callbacks: dict[int, Callable[[EventAddResponse], object]] = {}
        self._next_token = 0

    def add_callback(self, function: Function) -> int:
        """Call *function* with each update while `block` runs, in the thread that called it.

        Parameters
        ----------
        function : callable
            Called as ``function(response)``, or ``function(subscription, response)`` if it takes
            two positional arguments. It is kept alive until it is removed.

        Returns
        -------
        int
            A token for `remove_callback`.
        """
        if accepts_two(function):
            def call(response: EventAddResponse) -> object:
                return function(self, response)
        else:
            call = function
        token, self._next_token = self._next_token, self._next_token + 1
        self._callbacks[token] = call
        return token

    def remove_callback(self, token: int) -> None:
        """Stop calling one callback.

        Parameters
        ----------
        token : int
            What `add_callback` returned.
        """
        if self._callbacks.pop(token, None) is None:
            raise CaprotoKeyError(f"{self.pv_name!r}: there is no callback with token {token!r}")

    def clear(self) -> None:
        """Remove all callbacks."""
        self._callbacks.clear()

    def block(
        self,
        duration: float | None = None,
        timeout: float | None = 2.0,
        force_int_enums: bool = False,
        repeater: bool = True,
    ) -> None:
        """Receive the updates of this subscription alone; see the function `block`."""
        block(
            self,
            duration=duration,
            timeout=timeout,
            force_int_enums=force_int_enums,
            repeater=repeater,
        )

    def interrupt(self) -> None:
        """End all calls of `block` that run now; the same as the function `interrupt`."""
        interrupt()

    def process(self, response: EventAddResponse) -> None:
        """Call the callbacks with an update; what they raise goes to the caller."""
        for call in list(self._callbacks.values()):
            call(response)

    def __repr__(self) -> str:
        callbacks = counted(len(self._callbacks), "callback")
        return f"<Subscription to {self.pv_name!r} with {callbacks}>"


def subscribe(
    pv_name: str,
    priority: int = 0,
    data_type: DataType | None = None,
    data_count: int | None = None,
    low: float = 0.0,
    high: float = 0.0,
    to: float = 0.0,
    mask: SubscriptionType | int | None = None,
) -> Subscription:
    """Make a subscription; nothing is sent before it is given to `block`.

    Parameters
    ----------
    pv_name : str
        The name of the PV.
    priority : int
        0 to 99.
    data_type, data_count
        As for `read`.
    low, high, to : float
        Legacy limits of the EVENT_ADD message; servers ignore them.
    mask : SubscriptionType or int, optional
        Which kinds of change to report. Default: value and alarm.

    Returns
    -------
    Subscription

    Raises
    ------
    CaprotoValueError, CaprotoTypeError
        The message names the argument.
    """
    return Subscription(pv_name, priority, data_type, data_count, low, high, to, mask)


#: Of the calls of `block` that run now.
_streams: set[Stream[_Update]] = set()


def block(
    *subscriptions: Subscription,
    duration: float | None = None,
    timeout: float | None = 2.0,
    force_int_enums: bool = False,
    repeater: bool = True,
) -> None:
    """Receive updates, and call the callbacks of the subscriptions, in this thread.

    It returns at Ctrl-C, after `interrupt`, and after *duration*. An exception in a callback ends
    it, and is raised here. A PV whose server is gone is searched until it is back.

    Parameters
    ----------
    *subscriptions : Subscription
        One or more.
    duration : float or None
        Seconds to go on once all PVs are connected; None goes on without end.
    timeout : float or None
        Seconds for all PVs to be connected.
    force_int_enums : bool
        Whether to receive an enum as its number rather than the name of the state.
    repeater : bool
        As for `read`.

    Raises
    ------
    CaprotoTimeoutError
        If a PV was not connected in time.
    CaprotoValueError, CaprotoTypeError
        For wrong arguments, or none at all.
    """
    if not subscriptions:
        raise CaprotoValueError("block needs at least one subscription")
    for one in subscriptions:
        if not isinstance(one, Subscription):
            raise CaprotoTypeError(f"block takes what subscribe() returns, not {one!r}")
    deadline = Deadline(check_timeout(timeout))
    end = Deadline(check_timeout(duration, name="duration"))
    stream = Stream[_Update]()
    with make_context(repeater) as context:
        try:
            _streams.add(stream)
            _request(context, subscriptions, stream, force_int_enums, deadline)
            end.restart()
            _serve(stream, end)
        finally:
            _streams.discard(stream)
            stream.end()


def interrupt() -> None:
    """End all calls of `block` that run now; for other threads, and for callbacks."""
    for stream in list(_streams):
        stream.end()


def _request(
    context: Context,
    subscriptions: tuple[Subscription, ...],
    stream: Stream[_Update],
    force_int_enums: bool,
    deadline: Deadline,
) -> None:
    """Have the updates of *subscriptions* put into *stream*."""
    pvs = [context.get_pvs(one.pv_name, priority=one.priority)[0] for one in subscriptions]
    for one, pv in zip(subscriptions, pvs):
        try:
            pv._wait_until_usable(deadline)
        except CaprotoError as error:
            raise error.with_traceback(None) from None  # users need not see our frames

        def put(response: EventAddResponse, one: Subscription = one) -> None:
            stream.put((one, response))

        kind = wanted_type(pv, one.data_type, force_int_enums)
        updates = pv.subscribe(kind, one.data_count, one.low, one.high, one.to, one.mask)
        updates.add_callback(put, strong=True)


def _serve(stream: Stream[_Update], end: Deadline) -> None:
    """Call callbacks until the end of the stream, or Ctrl-C."""
    try:
        while not end.expired:
            update = stream.get(end.remaining())
            if update is None:
                return
            subscription, response = update
            subscription.process(response)
    except KeyboardInterrupt:
        return
