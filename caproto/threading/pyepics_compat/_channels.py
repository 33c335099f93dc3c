"""Channels: what the PV objects of one name share, and the threads that work for them.

A :class:`Channel` looks at the client's PV after each event, and has the PV objects of its name
catch up with what it sees. Many names are given to the client at a time, by a thread. Control
metadata are fetched once per connection, for all channels that wait, in one batch. Updates follow
the metadata on the wire, so the first callback has them already.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from ... import _locks
from ..._client.arguments import check_names
from ..._errors import CaprotoError, CaprotoTimeoutError
from ..._protocol.client_channel import ClientChannel
from ..._protocol.dbr import AccessRights
from ..._typing import NamedTuple
from ..client import PV as ClientPV
from ..client import Batch, Context
from ._values import Known, decode, type_name, type_number
from ._worker import Worker

if TYPE_CHECKING:
    from ..._addresses import Address
    from ..._protocol.commands import ReadNotifyResponse

_log = logging.getLogger("caproto.ctx")

#: Seconds that a request for metadata may take.
METADATA_TIME = 5.0


class Facts(NamedTuple):
    """What a connection tells about a channel; those that are alike share one.

    Attributes
    ----------
    native : int
        The number of its plain type.
    nelm : int
    host : str
    read_access, write_access : bool
    """

    native: int
    nelm: int
    host: str
    read_access: bool
    write_access: bool

    @property
    def access(self) -> str:
        """The rights as pyepics says them."""
        return _ACCESS[self.read_access, self.write_access]

    def keywords(self, form: str) -> Known:
        """Return the keywords about the connection, for a PV in this form; not to be changed."""
        return _keywords(form, *self)


@functools.lru_cache(1024)
def _keywords(
    form: str, native: int, nelm: int, host: str, read_access: bool, write_access: bool
) -> Known:
    return {
        "ftype": type_number(form, native),
        "type": type_name(form, native),
        "typefull": type_name(form, native),
        "host": host,
        "nelm": nelm,
        "count": nelm,
        "access": _ACCESS[read_access, write_access],
        "read_access": read_access,
        "write_access": write_access,
    }


#: Metadata of a channel for which none were fetched; never changed.
_NOTHING: Known = {}
_READ, _WRITE = int(AccessRights.READ), int(AccessRights.WRITE)
_ACCESS = {
    (True, True): "read/write",
    (True, False): "read-only",
    (False, True): "write-only",
    (False, False): "no access",
}


class User(Protocol):
    """A PV object of pyepics, as its channel sees it."""

    def catch_up(self) -> None:
        """Tell the callbacks what has happened to the channel."""

    def start_monitor(self) -> None:
        """Subscribe, if that is wanted."""


class Channel:
    """One name in one Context.

    Attributes
    ----------
    name : str
    channels : Channels
    facts : Facts or None
        Of the present connection.
    connection : object
        The same one as long as the connection lasts; None without one.
    metadata : dict or None
        The control metadata of the present connection, once they were fetched.
    last_metadata : dict
        The latest ones, also of an earlier connection: the first update after a loss may come
        before the new ones.
    puts : int
        How many puts have finished. Updates from before do not tell their effect.
    confirming : int
        How many of them have confirmations that have not passed the callback thread. Updates there
        may be from before.
    """

    __slots__ = (
        "_asked", "_fresh", "_pv", "_users", "channels", "confirming", "connection", "facts",
        "last_metadata", "metadata", "name", "puts",
    )  # fmt: skip

    def __init__(self, channels: Channels, name: str) -> None:
        self.channels = channels
        self.name = name
        self._pv: ClientPV | None = None
        self.facts: Facts | None = None
        self.connection: object = None
        self.metadata: Known | None = None
        self.last_metadata: Known = _NOTHING
        self._users: tuple[weakref.ref[User], ...] = ()
        self.puts = self.confirming = 0
        self._asked: object = None  # the connection for which metadata were asked for
        self._fresh = True  # whether it has had no user yet

    @property
    def pv(self) -> ClientPV:
        """The client's PV; made now if the thread has not come to it."""
        pv = self._pv
        if pv is None:
            self.channels.make([self])
            pv = self._pv
            assert pv is not None
        return pv

    @property
    def is_made(self) -> bool:
        """Whether there is the client's PV."""
        return self._pv is not None

    def made(self, pv: ClientPV) -> None:
        """Take the client's PV."""
        self._pv = pv

    # ---- users

    def add(self, user: User) -> None:
        """Have *user* catch up with what happens from now on."""
        users = self._users
        dead = {id(reference) for reference in users if reference() is None} if users else ()
        new = weakref.ref(user)
        with self.channels.lock:
            users = self._users
            self._users = (*(one for one in users if id(one) not in dead), new) if users else (new,)
        if self._fresh:
            self._fresh = False
        else:
            self._wake()

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
            self.look()
            if self._users:  # another thread has just added one
                self._wake()

    def _wake(self) -> None:
        """Use the client's PV, so that it does not stay or go idle."""
        with contextlib.suppress(CaprotoTimeoutError):
            self.pv.wait_for_connection(timeout=0)
        self.look()

    # ---- the connection

    def look(self) -> None:
        """Note what has become of the connection; have the users catch up if it is news.

        Any thread may look at any time.
        """
        with self.channels.lock:
            connection, facts = self._seen()
            if connection is self.connection:
                if facts is self.facts:
                    return
            else:
                self.metadata = None
            self.connection, self.facts = connection, facts
        for reference in self._users:
            user = reference()
            if user is not None:
                user.catch_up()

    def _seen(self) -> tuple[object, Facts | None]:
        """Return the present connection and its facts; None and None without one."""
        pv = self._pv
        if pv is None:
            return None, None
        channel, rights = pv.channel, pv.access_rights  # None while it is not connected
        if channel is None or rights is None:
            return None, None
        return channel, self.channels.facts(channel, rights)

    def serves(self, pv: ClientPV) -> bool:
        """Tell whether *pv* is the client's PV of this channel."""
        return self._pv is pv

    # ---- metadata

    def needs_metadata(self) -> bool:
        """Tell whether they are still to be asked for; answers with True once per connection."""
        connection = self.connection
        if connection is None or self._asked is connection or self.metadata is not None:
            return False
        self._asked = connection
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


class Put:
    """A put that a thread waits for: which updates tell its effect?

    The thread may go on before the callback thread has come to the confirmation.
    """

    __slots__ = ("_awaited", "_channel", "_passed")

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._passed = self._awaited = False

    def passed(self, _response: object) -> None:
        """Note that the callback thread has handled all updates from before the confirmation."""
        with self._channel.channels.lock:
            self._passed = True
            self._channel.confirming -= self._awaited

    def finished(self) -> None:
        """Note that the server has finished."""
        with self._channel.channels.lock:
            self._channel.puts += 1
            self._awaited = not self._passed
            self._channel.confirming += self._awaited


class Channels:
    """All channels of one Context.

    Attributes
    ----------
    context : Context
    lock : RLock
        Protects what channels and PV objects know of connections, and the table of channels.
    cache : dict
        The PV objects that `get_pv` has made, by name and form.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.lock = _locks.Lock()
        self.cache: dict[tuple[str, str], Any] = {}
        self._by_name: dict[str, Channel] = {}
        self._facts: dict[tuple[Address, int | None, int | None, int], Facts] = {}
        self._maker: Worker[Channel] = Worker("ca-names", self._make)
        self._fetcher: Worker[tuple[Channel, User]] = Worker("ca-metadata", _fetch)
        self._watch = context.watch_connections(self._look_at)

    def close(self) -> None:
        """Hear of nothing more."""
        self._watch.close()

    def channel(self, name: str) -> Channel:
        """Return the channel of this name; it is searched soon."""
        found = self._by_name.get(name)
        if found is None:
            check_names((name,))
            if self.context.closed:
                self.context.get_pvs(name)  # raises
            new = Channel(self, name)
            with self.lock:
                found = self._by_name.setdefault(name, new)
            if found is new:
                self._maker.put(new)
        return found

    def facts(self, channel: ClientChannel, rights: AccessRights) -> Facts:
        """Return the facts of a connected channel, the same object for the same facts."""
        native, nelm, bits = channel.native_data_type, channel.native_data_count, int(rights)
        assert native is not None and nelm is not None
        key = channel.circuit.address, int(native), nelm, bits
        found = self._facts.get(key)
        if found is None:
            host, port = channel.circuit.address
            new = Facts(
                int(native), nelm, f"{host}:{port}", bool(bits & _READ), bool(bits & _WRITE)
            )
            found = self._facts.setdefault(key, new)
        return found

    def make(self, channels: list[Channel]) -> None:
        """Get the client's PVs for *channels*, and have events told to these; again is harmless."""
        pvs = self.context.get_pvs(*(channel.name for channel in channels))
        for channel, pv in zip(channels, pvs, strict=True):
            channel.made(pv)
            if pv.connected:  # which may have been told before
                channel.look()

    def _make(self, channels: list[Channel]) -> None:
        """Do it in the thread."""
        try:
            self.make([channel for channel in channels if not channel.is_made])
        except CaprotoError as error:  # the Context was closed, for example
            _log.debug("%s", error)

    def _look_at(self, pvs: list[ClientPV]) -> None:
        """Have the channels of *pvs*, which have changed, look what has become of them."""
        by_name = self._by_name
        for pv in pvs:
            channel = by_name.get(pv.name)
            if channel is not None and channel.serves(pv):
                channel.look()

    def fetch_metadata(self, channel: Channel, user: User) -> None:
        """Have the metadata of *channel* fetched, then the monitor of *user* started."""
        self._fetcher.put((channel, user))


def _fetch(waiting: list[tuple[Channel, User]]) -> None:
    """Fetch the metadata of channels, in one batch; then start the monitors of users."""
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


def _after_fork() -> None:
    """Forget the Contexts of the parent; one of its threads may have held the lock."""
    global _registry_lock
    _registry_lock = _locks.Lock()
    _registry.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


def channels_of(context: Context) -> Channels:
    """Return the channels of *context*; those of Contexts that are closed are forgotten."""
    found = _registry.get(context)
    if found is None:
        closed = [one for one in _registry if one.closed]
        new = Channels(context)
        with _registry_lock:
            for one in closed:
                _registry.pop(one, None)
            found = _registry.setdefault(context, new)
        if found is not new:  # another thread was quicker
            new.close()
    return found
