"""What describes a PV: fetched in one round trip, and kept with the connection."""
from __future__ import annotations

from typing import cast

from ..._client.info import Info
from ..._client.metadata import Metadata, facts_of, known_metadata, metadata_from
from ..._client.tables import html_table
from ..._errors import CaprotoError
from ..._protocol.commands import EventAddResponse, ReadNotifyResponse
from ..._protocol.timestamp import TimeStamp
from .._waiting import Deadline
from ._gathering import read_all
from ._home import ClientPV, home_of
from ._subscription import Subscription

#: Of an array one element suffices to get the metadata.
_CONTROL: tuple[str, int | None] = ("control", 1)


def collect_info(pv: ClientPV, deadline: Deadline) -> Info:
    """Ask for everything about *pv*; see `PV.info`."""
    # The metadata first: then the circuit knows units and states when the value comes.
    control, value = _read(pv, [_CONTROL, ("time", None)], deadline)
    return Info(
        pv.name,
        value,
        _metadata_of(control),
        connected=pv.connected,
        access=pv.access_rights,
        subscriptions=pv.subscriptions,
        now=TimeStamp.now(),
    )


def fetch_metadata(pv: ClientPV, deadline: Deadline) -> Metadata:
    """Ask for the metadata; the circuit keeps them, too."""
    (control,) = _read(pv, [_CONTROL], deadline)
    return _metadata_of(control)


def find_metadata(pv: ClientPV) -> Metadata | None:
    """Return what has come over the present connection; None if it must be asked for."""
    channel = pv.channel
    return known_metadata(channel.facts) if channel is not None and pv.connected else None


def html_of(pv: ClientPV) -> str:
    """Write what is known about *pv*, without asking the server."""
    known = find_metadata(pv)
    facts = [("state", pv._describe(home_of(pv).now())), *(facts_of(known) if known else ())]
    return html_table(f"PV {pv.name}", (), facts)


def _read(
    pv: ClientPV, forms: list[tuple[str, int | None]], deadline: Deadline
) -> list[ReadNotifyResponse]:
    """Read in several forms, in one round trip."""
    (outcomes,) = read_all([pv], forms, deadline)
    for outcome in outcomes:
        if isinstance(outcome, CaprotoError):
            raise outcome from None
    return cast("list[ReadNotifyResponse]", list(outcomes))


def _metadata_of(control: ReadNotifyResponse) -> Metadata:
    return known_metadata(control.facts) or metadata_from(control.metadata)


class MetadataWatch:
    """Keeps :attr:`PV.metadata` fresh, until it is closed or the Context is.

    Made by :meth:`PV.watch_metadata`. It need not be kept: without :meth:`close`, or leaving a
    ``with`` block, the updates go on.

    Parameters
    ----------
    subscription : Subscription
        To changes of properties.
    """

    __slots__ = ("_subscription", "_token")

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._token = subscription.add_callback(self._note, strong=True)

    def close(self) -> None:
        """Stop the updates, if no other watch needs them. May be called again."""
        self._subscription.remove_callback(self._token)

    def _note(self, response: EventAddResponse) -> None:
        # The circuit notes the metadata of the first update only.
        channel = self._subscription.pv.channel
        # A channel of a newer connection must not learn from what was queued for an older one.
        if channel is not None and channel.circuit.address is response.sender_address:
            channel.learn(response)

    def __enter__(self) -> MetadataWatch:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        active = self._token in self._subscription.callbacks
        name = self._subscription.pv.name
        return f"<MetadataWatch of {name!r}: {'active' if active else 'closed'}>"
