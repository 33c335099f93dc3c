"""Roles, directions of commands, and the states of a circuit and of a channel.

Members are singletons: compare them with ``is``.
"""
from __future__ import annotations

import enum

from .._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Final


__all__ = [
    "AWAIT_CREATE_CHAN_RESPONSE",
    "AWAIT_SEARCH_RESPONSE",
    "AWAIT_VERSION_RESPONSE",
    "CLIENT",
    "CLOSED",
    "CONNECTED",
    "DISCONNECTED",
    "FAILED",
    "IDLE",
    "MUST_CLOSE",
    "NEED_DATA",
    "REQUEST",
    "RESPONSE",
    "SEND_CREATE_CHAN_REQUEST",
    "SEND_CREATE_CHAN_RESPONSE",
    "SEND_SEARCH_REQUEST",
    "SEND_SEARCH_RESPONSE",
    "SEND_VERSION_REQUEST",
    "SEND_VERSION_RESPONSE",
    "SERVER",
    "Direction",
    "Role",
    "Signal",
    "State",
]


class _Named(enum.Enum):
    """An enum whose members print as the name that users import."""

    def __repr__(self) -> str:
        return self.name


class Role(_Named):
    """One of the two ends of a conversation."""

    CLIENT = "client"
    SERVER = "server"

    @property
    def other(self) -> Role:
        """The peer's role."""
        return SERVER if self is CLIENT else CLIENT


class Direction(_Named):
    """Which way a command travels: requests to the server, responses to the client."""

    REQUEST = "request"
    RESPONSE = "response"


class State(_Named):
    """Where one end of a circuit or of a channel stands; the transitions are in ``states``."""

    #: Circuit: this end has not yet sent its protocol version.
    SEND_VERSION_REQUEST = "send version request"
    SEND_VERSION_RESPONSE = "send version response"
    #: Channel, server's end: no client has asked for it.
    IDLE = "idle"
    SEND_CREATE_CHAN_REQUEST = "send create chan request"
    AWAIT_CREATE_CHAN_RESPONSE = "await create chan response"
    SEND_CREATE_CHAN_RESPONSE = "send create chan response"
    #: Circuit or channel: in use.
    CONNECTED = "connected"
    #: Channel: the client has asked to clear it.
    MUST_CLOSE = "must close"
    CLOSED = "closed"
    #: Channel: the server cannot create it.
    FAILED = "failed"
    #: Circuit: the connection is gone.
    DISCONNECTED = "disconnected"
    #: Names of caproto 1.x for what needs no state here: searches have none, and a circuit is
    #: CONNECTED before the version of a server, which old servers never send.
    SEND_SEARCH_REQUEST = "send search request"
    AWAIT_SEARCH_RESPONSE = "await search response"
    SEND_SEARCH_RESPONSE = "send search response"
    AWAIT_VERSION_RESPONSE = "await version response"


class Signal(_Named):
    """Answers of the core that are not commands."""

    NEED_DATA = "need data"


CLIENT: Final = Role.CLIENT
SERVER: Final = Role.SERVER
REQUEST: Final = Direction.REQUEST
RESPONSE: Final = Direction.RESPONSE
NEED_DATA: Final = Signal.NEED_DATA
SEND_VERSION_REQUEST: Final = State.SEND_VERSION_REQUEST
SEND_VERSION_RESPONSE: Final = State.SEND_VERSION_RESPONSE
IDLE: Final = State.IDLE
SEND_CREATE_CHAN_REQUEST: Final = State.SEND_CREATE_CHAN_REQUEST
AWAIT_CREATE_CHAN_RESPONSE: Final = State.AWAIT_CREATE_CHAN_RESPONSE
SEND_CREATE_CHAN_RESPONSE: Final = State.SEND_CREATE_CHAN_RESPONSE
CONNECTED: Final = State.CONNECTED
MUST_CLOSE: Final = State.MUST_CLOSE
CLOSED: Final = State.CLOSED
FAILED: Final = State.FAILED
DISCONNECTED: Final = State.DISCONNECTED
SEND_SEARCH_REQUEST: Final = State.SEND_SEARCH_REQUEST
AWAIT_SEARCH_RESPONSE: Final = State.AWAIT_SEARCH_RESPONSE
SEND_SEARCH_RESPONSE: Final = State.SEND_SEARCH_RESPONSE
AWAIT_VERSION_RESPONSE: Final = State.AWAIT_VERSION_RESPONSE
