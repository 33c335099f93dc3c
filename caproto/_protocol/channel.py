"""What the two ends of a channel share: ids, types, rights, states.

A channel composes, its circuit decides: a command that a method returns has no effect until
``circuit.send`` has accepted it. The methods refuse what could never be right (an impossible type,
an id of another channel); whether it is right now is checked by the state machine in ``send``.

Facts about a channel (ids, native type, rights, state) are written by the circuit alone. A client
may have very many channels, so they are small. Like the circuit they are not thread-safe.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping

from .._addresses import Address
from .._errors import CaprotoTypeError, LocalProtocolError, ProtocolError
from .._typing import TYPE_CHECKING
from .channel_facts import DESCRIPTIVE_TYPES, UNKNOWN
from .commands import EventAddRequest
from .dbr import CHANNEL_TYPES, LAYOUTS, AccessRights, ChannelType
from .message import DataMessage, Message, dbr_type, u32
from .roles import Role, State
from .states import NEW_CHANNEL, OPEN_CHANNEL, Command
from .text import check_encoding, encode_as
from .type_names import resolve_data_type

if TYPE_CHECKING:
    from typing import ClassVar, Protocol, SupportsIndex

    class Circuit(Protocol):
        """A circuit, as its channels see it; see :class:`~caproto.VirtualCircuit`."""

        priority: int | None
        peer_version: int

        @property
        def address(self) -> Address:
            """The peer."""

        @property
        def subscriptions(self) -> Mapping[int, EventAddRequest]:
            """The live subscriptions, by their ids."""

        def new_channel_id(self) -> int:
            """Return a cid that no live channel of the circuit has."""

        def new_ioid(self) -> int:
            """Return an id that no live operation or subscription of the circuit has."""

        def add_channel(self, channel: Channel) -> None:
            """Register a new channel."""

#: More ids than this are kept in a set: to change a long tuple takes long.
_FEW = 8


class Channel:
    """What the two ends of a channel share.

    Attributes
    ----------
    name : str
    circuit : VirtualCircuit
    cid : int
        The client's id.
    sid : int or None
        The server's id; None until the server has sent it.
    access_rights : AccessRights or None
        None until the server has sent them.
    facts : ChannelFacts
        What its responses are given; see `learn`.
    string_encoding : str or None
        How text is encoded. None means UTF-8.
    """

    __slots__ = (
        "name", "circuit", "cid", "sid", "access_rights", "facts", "string_encoding", "_ids",
        "_native", "_state", "__weakref__",
    )

    #: Whether the class has a `state_changed` of its own.
    _hears_of_states: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        cls._hears_of_states = cls.state_changed is not Channel.state_changed

    def __init__(
        self,
        name: str,
        circuit: Circuit,
        cid: int | None = None,
        string_encoding: str | None = None,
    ) -> None:
        if string_encoding is not None:
            check_encoding(string_encoding)
        try:
            add_channel = circuit.add_channel
        except AttributeError:
            raise CaprotoTypeError(f"circuit must be a VirtualCircuit, not {circuit!r}") from None
        self.name = name
        self.circuit = circuit
        self.cid = circuit.new_channel_id() if cid is None else u32("cid", cid)
        self.sid: int | None = None
        self.access_rights: AccessRights | None = None
        self.facts = UNKNOWN
        self.string_encoding = string_encoding
        # Of the live subscriptions. A set takes 216 bytes, and most channels have one subscription.
        self._ids: tuple[int, ...] | set[int] = ()
        self._native: int | None = None
        self._state = NEW_CHANNEL
        add_channel(self)

    @property
    def native_data_type(self) -> ChannelType | None:
        """The type of the channel itself; None until the server has sent it."""
        return None if self._native is None else CHANNEL_TYPES[self._native]

    @property
    def native_data_count(self) -> int | None:
        """The largest number of elements; None until the server has sent it."""
        return self.facts.native_count

    @property
    def states(self) -> dict[Role, State]:
        """The states of both ends, by role."""
        return dict(self._state.states)

    @property
    def connected(self) -> bool:
        """Whether the server has created the channel, and neither end has dropped it."""
        return self._state is OPEN_CHANNEL

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"<{name} {self.name!r} cid={self.cid} sid={self.sid} {self._state!r}>"

    def learn(self, response: DataMessage) -> None:
        """Note the units, limits and names of states that a graphic or control value carries.

        The circuit does this with each such reply, and with the first update of a subscription.
        Later responses of the channel show it.
        """
        _, _, data_type, _, _, _ = response.fields
        # In another type than the channel's own they would be poorer: an integer has no precision.
        if data_type in DESCRIPTIVE_TYPES and LAYOUTS[data_type].native == self._native:
            self.facts = self.facts.described(data_type, response.payload)

    @property
    def subscriptionids(self) -> set[int]:
        """The ids of the live subscriptions (a copy)."""
        return set(self._ids)

    @property
    def subscriptions(self) -> dict[int, EventAddRequest]:
        """The requests of the live subscriptions, by their ids."""
        return {number: self.circuit.subscriptions[number] for number in self._ids}

    def step(self, command: Message, kind: Command | None = None) -> None:
        """Take *command* through both state machines; for the circuit only.

        Parameters
        ----------
        command : Message
        kind : class of a command, optional
            What *command* counts as. By default its own class.

        Raises
        ------
        ProtocolError
            If the tables do not have it.
        """
        before, kind = self._state, kind or type(command)
        try:
            after = before.after[kind]
        except KeyError:
            raise ProtocolError(
                f"{kind.__name__} is not allowed on channel {self.name!r} ({before!r})"
            ) from None
        if after is before:
            return
        self._state = after
        if not self._hears_of_states:
            return
        for role, state in after.states.items():
            if state is not before.states[role]:
                self.state_changed(role, before.states[role], state, command)

    def process_command(self, command: Message) -> None:
        """Take *command* through the states of this channel alone.

        Its circuit does so for every command that is sent or received; ids, types and rights are
        written by the circuit.

        Raises
        ------
        LocalProtocolError
            If it is not allowed now.
        """
        try:
            self.step(command)
        except ProtocolError as error:
            raise LocalProtocolError(str(error)) from None

    def state_changed(
        self, role: Role, old_state: State, new_state: State, command: Message
    ) -> None:
        """React to a new state of one end; for a subclass to override. Does nothing here.

        Called while the circuit processes *command*, before it notes the ids and types that come
        with it. Not called when the connection is lost.
        """

    def _encoded(self, data: object, data_type: int) -> object:
        """Encode text in the encoding of this channel, if it has one."""
        if self.string_encoding is None:
            return data
        if isinstance(data, str):
            end = b"\0" if LAYOUTS[data_type].native is ChannelType.CHAR else b""
            return encode_as(data, self.string_encoding) + end
        if isinstance(data, (list, tuple)):
            return [
                encode_as(item, self.string_encoding) if isinstance(item, str) else item
                for item in data
            ]
        return data

    def _open_sid(self) -> int:
        if self.sid is None:
            raise self._not_connected()
        return self.sid

    def _type(self, data_type: SupportsIndex | str | None) -> int:
        if type(data_type) is ChannelType:
            return int(data_type)
        if data_type is not None and not isinstance(data_type, str):
            return dbr_type(data_type)
        native = self._native
        if native is None:
            raise self._not_connected()
        return native if data_type is None else resolve_data_type(data_type, native)

    def _not_connected(self) -> LocalProtocolError:
        return LocalProtocolError(f"channel {self.name!r} is not connected ({self._state!r})")


def add_subscription(channel: Channel, number: int) -> None:
    """Note that a subscription of *channel* has begun."""
    ids = channel._ids
    if isinstance(ids, set):
        ids.add(number)
    else:
        channel._ids = (*ids, number) if len(ids) < _FEW else {*ids, number}


def drop_subscription(channel: Channel, number: int) -> bool:
    """Note that a subscription of *channel* was cancelled; False if there is no such."""
    ids = channel._ids
    if number not in ids:
        return False
    if isinstance(ids, set):
        ids.remove(number)
    else:
        channel._ids = tuple(one for one in ids if one != number)
    return True


def drop_subscriptions(channel: Channel) -> Iterable[int]:
    """Note that all subscriptions of *channel* have ended; return their ids."""
    ids, channel._ids = channel._ids, ()
    return ids
