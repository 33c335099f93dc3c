"""SubscriptionState: the callbacks that want the updates of a PV, and whether these come.

Wish and fact are apart. The callbacks are the wish; the id on the wire is the fact, which belongs
to the circuit that serves the PV and is made to follow the wish after each change of either. To do
so twice does no harm, so the order of events does not matter.

The callbacks change under the lock of the PVs (see ``pvs``). Values are delivered by the callback
thread of the driver, which iterates tuples that are replaced whole.
"""
from __future__ import annotations

import functools
import logging
from collections.abc import Collection, Hashable, Iterable

from .._addresses import Address
from .._errors import CaprotoError
from .._protocol.client_channel import ClientChannel
from .._protocol.commands import EventAddRequest, event_payload
from .._protocol.dbr import SubscriptionType
from .._typing import NamedTuple
from .arguments import DataType, Mask, check_count, check_data_type, check_mask, data_type_key
from .callbacks import Callbacks, Entry, Function, call
from .deliveries import Call, Target
from .interfaces import PV, Update
from .operations import read_type


class Form(NamedTuple):
    """In which form updates are wanted. Those of many PVs share one."""

    data_type: DataType | None
    data_count: int | None
    low: float
    high: float
    to: float
    mask: SubscriptionType
    key: Hashable  #: the same for those that differ in their spelling only


def make_form(
    data_type: DataType | None,
    data_count: int | None,
    low: float,
    high: float,
    to: float,
    mask: Mask | None,
) -> Form:
    """Check the arguments of a subscription.

    Raises
    ------
    CaprotoTypeError, CaprotoValueError
        If one of them is wrong, or cannot be sent.
    """
    check_data_type(data_type)
    check_count(data_count)
    mask = check_mask(mask)
    event_payload(low, high, to, mask)  # raises if one of them cannot be sent
    key = data_type_key(data_type), data_count, low, high, to, mask
    return Form(data_type, data_count, low, high, to, mask, key)


_known_form = functools.lru_cache(256, typed=True)(make_form)


def form_of(
    data_type: DataType | None,
    data_count: int | None,
    low: float,
    high: float,
    to: float,
    mask: Mask | None,
) -> Form:
    """Do what `make_form` does; for the same arguments mostly with the same object."""
    try:
        try:
            return _known_form(data_type, data_count, low, high, to, mask)
        except TypeError:  # an argument cannot be hashed; it may be right nevertheless
            return make_form(data_type, data_count, low, high, to, mask)
    except CaprotoError as error:
        raise error.with_traceback(None) from None  # users need not see our frames


class SubscriptionState:
    """Updates of one PV in one form, fanned out to any number of callbacks.

    Parameters
    ----------
    pv : PV
        What is watched.
    form : Form
    """

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_form",
        "_latest",
        "_source",
        "_targets",
        "_updates",
        "event_id",
        "pv",
        "refused",
    )

    def __init__(self, pv: PV, form: Form) -> None:
        self.pv = pv
        self._form = form
        #: The id of the subscription on the wire; None while the server has none.
        self.event_id: int | None = None
        #: Whether the server refused to send updates: its last message was an error.
        self.refused = False
        self._callbacks = Callbacks()
        # The entries that get updates: all but those that must get the latest one first.
        self._targets: tuple[Entry, ...] = ()
        self._latest: Update | None = None
        #: Takes the updates.
        self._updates: Target = Call(self._deliver)
        # The server that sent it, as its updates say. Belongs to the callback threads.
        self._source: Address | None = None

    # ---- facts

    @property
    def data_type(self) -> DataType | None:
        """Of the updates; None for the channel's own."""
        return self._form.data_type

    @property
    def data_count(self) -> int | None:
        """Wanted number of elements; None for as many as there are."""
        return self._form.data_count

    @property
    def low(self) -> float:
        """Legacy limit of the EVENT_ADD message; servers ignore it."""
        return self._form.low

    @property
    def high(self) -> float:
        """Legacy limit of the EVENT_ADD message; servers ignore it."""
        return self._form.high

    @property
    def to(self) -> float:
        """Legacy limit of the EVENT_ADD message; servers ignore it."""
        return self._form.to

    @property
    def mask(self) -> SubscriptionType:
        """Which kinds of change are wanted."""
        return self._form.mask

    @property
    def callbacks(self) -> dict[int, Function]:
        """The callbacks that still exist, by token."""
        return self._callbacks.functions()

    @property
    def log(self) -> logging.Logger:
        """The logger of the PV."""
        return self.pv.log

    @property
    def wanted(self) -> bool:
        """The wish: whether any callback is registered. The dead ones are pruned soon."""
        return bool(self._callbacks.entries)

    def __repr__(self) -> str:
        state = "active" if self.event_id is not None else "wanted" if self.callbacks else "idle"
        return f"<Subscription to {self.pv.name!r}: {state}, {subscription_words(self)}>"

    # ---- the wish; under the lock of the PVs

    def _append(self, entry: Entry, connected: bool) -> bool:
        """Register *entry*; return whether it is late, so that it gets the latest update first.

        After the last callback was removed, the updates may not be cancelled yet. Then they go on,
        and the next callback is late although it is the only one.
        """
        before = self._callbacks.entries
        late = connected and (bool(before) or self.event_id is not None)
        self._callbacks.append(entry)
        if not late:
            all_of_them = self._targets is before  # mostly; then both share one tuple
            self._targets = self._callbacks.entries if all_of_them else (*self._targets, entry)
        return late

    def _include(self, entry: Entry) -> None:
        """Deliver further updates to *entry*, which was late and has got the latest one."""
        if entry in self._callbacks.entries and entry not in self._targets:
            self._targets = (*self._targets, entry)

    def _forget(self, tokens: Collection[int]) -> set[int]:
        """Forget these callbacks; return the tokens of those that were there."""
        found = self._callbacks.remove(tokens)
        # Not just without *tokens*: an earlier call may have been interrupted here.
        left = {entry.token for entry in self._callbacks.entries}
        self._targets = tuple(entry for entry in self._targets if entry.token in left)
        return found

    def _begin(self) -> None:
        """Prepare for a new series of updates, to be requested now: all callbacks get the first."""
        self._targets = self._callbacks.entries

    def _prune(self, _argument: object = None) -> None:
        """Remove the callbacks that were garbage-collected; a driver does, without a lock."""
        raise NotImplementedError

    # ---- the fact; for the circuit

    def _request(self, channel: ClientChannel) -> EventAddRequest:
        """Compose the request for updates, for a connected *channel*."""
        data_type, data_count, low, high, to, mask, _ = self._form
        return channel.subscribe(
            read_type(channel, data_type), data_count, low=low, high=high, to=to, mask=mask
        )

    def _stopped(self) -> None:
        """Note that the server sends no more: the next update is the first of a new series."""
        self.event_id = None
        self._latest = None

    # ---- updates; in a callback thread

    def _deliver(self, response: Update) -> None:
        """Hand one update to the callbacks."""
        source = response.sender_address
        if source is not self._source and not self._accepts(response):
            return
        self._latest = response
        for token, reference, with_owner, name, bound_to, plain in self._targets:
            if self._source is not source:
                return  # the callback before was slow, and the PV has moved to another server
            try:
                if bound_to is None:
                    function = reference()
                    if function is None:
                        continue
                    if with_owner:
                        function(self, response)
                    else:
                        function(response)
                else:
                    owner, function = bound_to(), plain()  # type: ignore[misc]  # both or none
                    if owner is None or function is None:
                        continue
                    if with_owner:
                        function(owner, self, response)
                    else:
                        function(owner, response)
            except BaseException as error:
                self._failed(token, name, error)

    def _accepts(self, response: Update) -> bool:
        """Tell whether to take an update of another circuit than the update before.

        Each circuit has a queue of its own. If callbacks are slow, updates of the old server may
        still be queued when the first one of the new server has been delivered.
        """
        source, channel = response.sender_address, self.pv.channel
        known = self._source is None or source == self._source
        if not known and (channel is None or source != channel.circuit.address):
            return False
        self._source = source
        return True

    def _deliver_latest(self, entry: Entry) -> None:
        """Call one callback with the latest update, if there was one."""
        if self._latest is not None:
            try:
                call(entry, self, self._latest)
            except BaseException as error:
                self._failed(entry.token, entry.name, error)

    def _failed(self, token: int, name: str, error: BaseException) -> None:
        """Log what a callback raised; implemented by the driver, which has a clock."""
        raise NotImplementedError


def find_subscription(
    subscriptions: Iterable[SubscriptionState], form: Form
) -> SubscriptionState | None:
    """Find the one whose updates come in this form, however that is spelled."""
    for sub in subscriptions:
        if sub._form is form or sub._form.key == form.key:
            return sub
    return None


def subscription_words(subscription: SubscriptionState) -> str:
    """Tell in which form updates come, of which events, and to how many callbacks."""
    count = len(subscription.callbacks)
    kinds = [
        str(kind.name).removeprefix("DBE_").lower()
        for kind in SubscriptionType
        if subscription.mask & kind
    ]
    form = "native" if subscription.data_type is None else str(subscription.data_type)
    return f"{form}, {'|'.join(kinds)}, {count} callback{'s'[:count != 1]}"
