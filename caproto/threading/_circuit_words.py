"""What is said about circuits: their states, and messages for people."""
from __future__ import annotations

import enum
import logging
from typing import TYPE_CHECKING, Any

from .._channel import ClientChannel
from .._dbr import ChannelType
from .._errors import MessageError, RemoteProtocolError
from .._roles import CLIENT, CLOSED, MUST_CLOSE
from ._subscription import Subscription

if TYPE_CHECKING:
    from ._pv import PV


class State(enum.Enum):
    """The life of a circuit."""

    CONNECTING = "connecting to"
    CONNECTED = "connected to"
    UNRESPONSIVE = "no response from"
    CLOSING = "closing the circuit to"
    DEAD = "disconnected from"


def describe_channel(state: State, channel: ClientChannel) -> str:
    """The state of *channel*, on a circuit in *state*."""
    host, port = channel.circuit.address
    if state is not State.CONNECTED:
        return f"{state.value} {host}:{port}"
    if channel.states[CLIENT] is MUST_CLOSE:
        return "idle"  # and in a moment without a circuit
    if channel.states[CLIENT] is CLOSED:
        return f"disconnected, {host}:{port} has given the channel up"
    if not channel.connected:
        return f"connecting, waiting for {host}:{port} to create the channel"
    assert channel.native_data_type is not None
    allowed = name_rights(channel) or "no access"
    return (
        f"connected to {host}:{port}, {ChannelType(channel.native_data_type).name} x "
        f"{channel.native_data_count}, {allowed}"
    )


def name_rights(channel: ClientChannel) -> str:
    """The names of the access rights; empty for none."""
    rights = channel.access_rights
    if rights is None:
        return "rights not known yet"
    return rights.name or "" if rights else ""


def log_end(
    log: logging.Logger, address: tuple[str, int], error: Exception, reason: str, count: int,
    connecting: bool,
) -> None:
    """Log why a circuit that *count* PVs were on came to its end."""
    host, port = address
    if isinstance(error, RemoteProtocolError):
        log.error("%s:%d broke the protocol, so we hang up: %s", host, port, reason)
    elif connecting:
        log.warning("%s; %d PVs wait", reason[:1].upper() + reason[1:], count)
    else:
        log.warning("Lost %s:%d: %s; %d PVs are searched again", host, port, reason, count)


def log_deviation(log: logging.Logger, error: MessageError, first: bool) -> None:
    """Log that a server does not keep to the protocol: the first time, so that people see it."""
    if first:
        log.warning("The server deviates from the protocol: %s (more of it at DEBUG)", error)
    else:
        log.debug("The server deviates from the protocol: %s", error)


def log_refusal(
    log: logging.Logger, whose: PV | Subscription | None, command: Any
) -> None:
    """Log an error, or the *command* that tells of one, that no caller waits for."""
    if isinstance(command, MessageError):
        reason = str(command)
    else:
        reason = f"{command.status.name} ({command.status.description})"
    if isinstance(whose, Subscription):
        whose.log.warning("%r: the server sends no updates: %s", whose.pv.name, reason)
        return
    text = command.error_message
    if whose is None:
        log.warning("The server refused a request: %s, %r", reason, text)
    else:
        whose.log.warning("%r: the server refused a write: %s, %r", whose.name, reason, text)
