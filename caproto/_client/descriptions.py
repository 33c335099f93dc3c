"""Messages for people about circuits and channels, and the states that they name."""
from __future__ import annotations

import enum
import logging

from .._addresses import Address
from .._errors import MessageError, RemoteProtocolError
from .._numbers import counted
from .._protocol.client_channel import ClientChannel
from .._protocol.commands import ErrorResponse
from .._protocol.dbr import AccessRights, ChannelType
from .._protocol.roles import CLIENT, CLOSED, MUST_CLOSE
from .interfaces import PV, Refusal, Subscription


class CircuitState(enum.Enum):
    """The states of a circuit, in words."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    UNRESPONSIVE = "no response"
    CLOSING = "closing the circuit"
    DEAD = "disconnected"


_AWAY = (CircuitState.UNRESPONSIVE, CircuitState.DEAD)


def describe_circuit(state: CircuitState, address: Address) -> str:
    """Describe a circuit in *state* to this *address*."""
    host, port = address
    return f"{state.value} {'from' if state in _AWAY else 'to'} {host}:{port}"


def describe_channel(state: CircuitState, channel: ClientChannel) -> str:
    """Describe the state of *channel*, on a circuit in *state*."""
    host, port = channel.circuit.address
    if state is not CircuitState.CONNECTED:
        return describe_circuit(state, channel.circuit.address)
    if channel.states[CLIENT] is MUST_CLOSE:
        return "idle"  # and about to leave the circuit
    if channel.states[CLIENT] is CLOSED:
        return f"disconnected, {host}:{port} dropped the channel"
    if not channel.connected:
        return f"connecting, waiting for {host}:{port} to create the channel"
    assert channel.native_data_type is not None
    allowed = name_rights(channel) or "no access"
    return (
        f"connected to {host}:{port}, {ChannelType(channel.native_data_type).name} x "
        f"{channel.native_data_count}, {allowed}"
    )


def name_rights(channel: ClientChannel) -> str:
    """Return the names of the access rights; empty for none."""
    rights = channel.access_rights
    if rights is None:
        return "rights not known yet"
    members = (AccessRights.READ, AccessRights.WRITE)
    return "|".join(str(right.name) for right in members if right in rights)


def log_end(
    log: logging.Logger, address: Address, error: Exception, reason: str, count: int,
    connecting: bool,
) -> None:
    """Log why a circuit that *count* PVs were on has ended."""
    host, port = address
    pvs = counted(count, "PV")
    if isinstance(error, RemoteProtocolError):
        log.error("Protocol violation by %s:%d, closing the circuit: %s", host, port, reason)
    elif connecting:
        log.warning("%s; %s will be retried", reason[:1].upper() + reason[1:], pvs)
    else:
        log.warning(
            "Lost connection to %s:%d (%s); searching for %s again", host, port, reason, pvs
        )


def log_deviation(log: logging.Logger, error: MessageError, first: bool) -> None:
    """Log that a server deviates from the protocol; the first time as a warning."""
    if first:
        log.warning("The server deviates from the protocol: %s (later ones only at DEBUG)", error)
    else:
        log.debug("The server deviates from the protocol: %s", error)


def log_refused_updates(sub: Subscription, response: Refusal) -> None:
    """Log why a subscription gets no updates."""
    sub.log.warning("%r: the server sends no updates: %s", sub.pv.name, _reason(response))


def log_refused_request(log: logging.Logger, pv: PV | None, response: ErrorResponse) -> None:
    """Log an error that no operation waits for."""
    reason, text = _reason(response), response.error_message
    if pv is None:
        log.warning("The server refused a request: %s, %r", reason, text)
    else:
        # Many servers say nothing but the name.
        detail = f", {text!r}" if text and text != pv.name else ""
        pv.log.warning("%r: the server refused a write: %s%s", pv.name, reason, detail)


def _reason(response: Refusal) -> str:
    if isinstance(response, MessageError):
        return str(response)
    return f"{response.status.name} ({response.status.description})"
