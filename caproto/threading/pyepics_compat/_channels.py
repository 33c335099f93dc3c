"""Channels: what the PV objects of one name share, and the thread that fetches their metadata.

A :class:`Channel` listens to the client's PV and passes connections, losses and changes of access
rights on to the PV objects of its name. Control metadata are fetched once per connection, by
a thread that asks for all channels that wait, in one batch. Updates follow the metadata on
the wire, so the first callback has them already.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ... import _locks
from ..._errors import CaprotoError, CaprotoTimeoutError
from ..._protocol.dbr import AccessRights, ChannelType
from ..client import PV as ClientPV
from ..client import Batch, Context
from ._values import Known, decode, type_name, type_number

if TYPE_CHECKING:
    from ..._protocol.commands import ReadNotifyResponse

_log = logging.getLogger("caproto.ctx")

#: Seconds that a request for metadata may take.
METADATA_TIME = 5.0


class Facts(NamedTuple):
    """What a connection tells about a channel."""

    native: ChannelType
    nelm: int
    host: str
    read_access: bool
    write_access: bool

    @property
    def access(self) -> str:
        """The rights as pyepics says them."""
        return _ACCESS[self.read_access, self.write_access]

    def keywords(self, form: str) -> Known:
        """Return the keywords about the connection, for a PV in this form."""
        return {
            "ftype": type_number(form, self.native),
            "type": type_name(form, self.native),
            "typefull": type_name(form, self.native),
            "host": self.host,
            "nelm": self.nelm,
            "count": self.nelm,
            "access": self.access,
            "read_access": self.read_access,
            "write_access": self.write_access,
        }


_ACCESS = {
    (True, True): "read/write",
    (True, False): "read-only",
    (False, True): "write-only",
    (False, False): "no access",
}


class User(Protocol):
    """A PV object of pyepics, as its channel sees it."""

    def channel_connected(self, facts: Facts) -> None:
        """Note the connection, and tell the callbacks."""

    def channel_lost(self) -> None:
        """Note the loss, and tell the callbacks."""

    def rights_changed(self, facts: Facts) -> None:
        """Note new access rights, and tell the callbacks."""

    def start_monitor(self) -> None:
        """Subscribe, if that is wanted."""


class Channel:
    """One name in one Context.

    Attributes
    ----------
    pv : PV
        The client's.
    facts : Facts or None
        Of the present connection.
    metadata : dict or None
        The control metadata of the present connection, once they were fetched.
    last_metadata : dict
        The latest ones, also of an earlier connection: the first update after a loss may come
        before the new ones.
    """

    __slots__ = (
        "_asked", "_fresh", "_users", "channels", "facts", "last_metadata", "metadata",
        "pv",
    )  # fmt: skip

    def __init__(self, channels: Channels, pv: ClientPV) -> None:
        self.channels = channels
        self.pv = pv
        self.facts: Facts | None = None
        self.metadata: Known | None = None
        self.last_metadata: Known = {}
        self._users: tuple[weakref.ref[User], ...] = ()
        self._asked: Facts | None = None  # the connection for which metadata were asked for
        self._fresh = True  # whether it has had no user yet

    # ---- users

    def add(self, user: User) -> None:
        """Tell *user* what happens from now on; if there is a connection, that comes first."""
        dead = {id(reference) for reference in self._users if reference() is None}
        new = weakref.ref(user)
        with self.channels.lock:
            self._users = (*(one for one in self._users if id(one) not in dead), new)
        if not self._fresh:
            with contextlib.suppress(CaprotoTimeoutError):
                self.pv.wait_for_connection(timeout=0)  # a use: it does not stay or go idle
            if self.facts is None and self.pv.connected:
                self.state_changed("connected")
        self._fresh = False

    def remove(self, user: User) -> None:
        """Tell *user* nothing more; without users the channel is closed."""
        gone = {id(one) for one in self._users if (found := one()) is None or found is user}
        with self.channels.lock:
            self._users = tuple(one for one in self._users if id(one) not in gone)
        self.rest()

    def rest(self) -> None:
        """Close the channel if it has no users."""
        if not self._users:
            self.pv.go_idle()
            if not self.pv.connected:
                self.facts = None  # before the callbacks say so

    def users(self) -> Iterator[User]:
        """Iterate over the PV objects."""
        for reference in self._users:
            user = reference()
            if user is not None:
                yield user

    # ---- events, in the callback thread of the circuit

    def state_changed(self, state: str) -> None:
        """Note a connection or its loss."""
        if state != "connected":
            self.facts = self.metadata = None
            for user in self.users():
                user.channel_lost()
            return
        facts = self._look()
        if facts is None:
            return  # lost since; the next event says so
        self.facts = facts
        for user in self.users():
            user.channel_connected(facts)

    def _look(self) -> Facts | None:
        channel, circuit, rights = self.pv.channel, self.pv.circuit_manager, self.pv.access_rights
        if channel is None or circuit is None or rights is None:
            return None
        assert channel.native_data_type is not None and channel.native_data_count is not None
        host, port = circuit.address
        return Facts(
            channel.native_data_type,
            channel.native_data_count,
            f"{host}:{port}",
            bool(rights & AccessRights.READ),
            bool(rights & AccessRights.WRITE),
        )

    def rights_changed(self, rights: AccessRights) -> None:
        """Note new access rights."""
        facts = self.facts
        if facts is None:
            return  # told with the connection
        self.facts = facts = facts._replace(
            read_access=bool(rights & AccessRights.READ),
            write_access=bool(rights & AccessRights.WRITE),
        )
        for user in self.users():
            user.rights_changed(facts)

    # ---- metadata

    def needs_metadata(self) -> bool:
        """Tell whether they are still to be asked for; answers with True once per connection."""
        facts = self.facts
        if facts is None or self._asked is facts or self.metadata is not None:
            return False
        self._asked = facts
        return True

    def note_metadata(self, response: ReadNotifyResponse) -> None:
        """Keep what a control reply tells."""
        found = decode(response, scalar=True) if response.data_count else {}
        for name in ("value", "status", "severity"):
            found.pop(name, None)
        self.keep_metadata(found)

    def keep_metadata(self, found: Known) -> None:
        """Keep control metadata that were read."""
        self.metadata = self.last_metadata = found


class Channels:
    """All channels of one Context.

    Attributes
    ----------
    context : Context
    lock : RLock
        Protects the tuples of users and the table of channels.
    cache : dict
        The PV objects that `get_pv` has made, by name and form.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.lock = _locks.Lock()
        self.cache: dict[tuple[str, str], Any] = {}
        self._by_name: dict[str, Channel] = {}
        self._listeners = self._make_listeners()
        self._waiting: list[tuple[Channel, User]] = []  # for metadata, then for a monitor
        self._fetching = False  # whether a thread sees to them

    def channel(self, name: str) -> Channel:
        """Return the channel of this name."""
        found = self._by_name.get(name)
        if found is not None:
            return found
        state_changed, rights_changed = self._listeners
        (pv,) = self.context.get_pvs(
            name,
            connection_state_callback=state_changed,
            access_rights_callback=rights_changed,
        )
        new = Channel(self, pv)
        with self.lock:
            found = self._by_name.setdefault(name, new)
        if pv.connected:  # which may have been told before the channel was there
            found.state_changed("connected")
        return found

    def _make_listeners(self) -> tuple[Callable[..., None], Callable[..., None]]:
        """Make the functions that all PVs of the client share; it holds them weakly."""
        by_name = self._by_name

        def state_changed(pv: ClientPV, state: str) -> None:
            channel = by_name.get(pv.name)
            if channel is not None:
                channel.state_changed(state)

        def rights_changed(pv: ClientPV, rights: AccessRights) -> None:
            channel = by_name.get(pv.name)
            if channel is not None:
                channel.rights_changed(rights)

        return state_changed, rights_changed

    def fetch_metadata(self, channel: Channel, user: User) -> None:
        """Have the metadata of *channel* fetched, then the monitor of *user* started."""
        with self.lock:
            self._waiting.append((channel, user))
            first, self._fetching = not self._fetching, True
        if first:
            try:
                threading.Thread(target=self._fetch, name="ca-metadata", daemon=True).start()
            except RuntimeError:  # there are no more threads
                self._fetch()

    def _fetch(self) -> None:
        """Fetch metadata, for all that wait at a time, until none does; a thread's function."""
        while True:
            with self.lock:
                waiting, self._waiting = self._waiting, []
                if not waiting:
                    self._fetching = False
                    return
            _ask({channel for channel, _ in waiting})
            for _, user in waiting:
                _start_monitor(user)


def _ask(channels: set[Channel]) -> None:
    """Request the metadata of *channels*; their replies come before any update."""
    try:
        with Batch(timeout=METADATA_TIME) as batch:
            for channel in channels:
                if channel.needs_metadata():
                    batch.read(channel.pv, channel.note_metadata, data_type="control", data_count=1)
    except CaprotoError as error:
        _log.debug("Metadata were not fetched: %s", error)


def _start_monitor(user: User) -> None:
    try:
        user.start_monitor()
    except CaprotoError as error:  # the Context was closed, for example
        _log.debug("%s", error)


_registry: dict[Context, Channels] = {}
_registry_lock = _locks.Lock()


def channels_of(context: Context) -> Channels:
    """Return the channels of *context*; those of Contexts that are closed are forgotten."""
    found = _registry.get(context)
    if found is None:
        closed = [one for one in _registry if one.closed]
        with _registry_lock:
            for one in closed:
                _registry.pop(one, None)
            found = _registry.setdefault(context, Channels(context))
    return found
