"""Single questions about addresses in the present environment."""
from __future__ import annotations

from enum import Enum

from ._addresses import Address, get_netifaces_addresses
from ._environment import ClientConfiguration, ServerConfiguration
from ._errors import CaprotoRuntimeError, CaprotoValueError

__all__ = [
    "Protocol",
    "get_address_list",
    "get_beacon_address_list",
    "get_client_address_list",
    "get_local_address",
    "get_server_address_list",
]


class Protocol(str, Enum):
    """The protocols of EPICS that caproto speaks."""

    ChannelAccess = "CA"

    @classmethod
    def _missing_(cls, value: object) -> Protocol:
        raise CaprotoValueError(f"protocol={value!r}: caproto speaks Protocol.ChannelAccess only")


def get_client_address_list(*, protocol: Protocol = Protocol.ChannelAccess) -> list[Address]:
    """Return where a client sends its searches, in the present environment.

    Parameters
    ----------
    protocol : Protocol
        Channel Access; there is no other.

    Returns
    -------
    list of (str, int)
        Hosts (names are not resolved) and ports.
    """
    Protocol(protocol)
    return ClientConfiguration.from_environment().search_addresses()


def get_address_list(*, protocol: Protocol = Protocol.ChannelAccess) -> list[str]:
    """Return the hosts of `get_client_address_list`, without ports.

    Parameters
    ----------
    protocol : Protocol
        Channel Access; there is no other.

    Returns
    -------
    list of str
    """
    Protocol(protocol)
    return list(dict.fromkeys(host for host, _ in get_client_address_list()))


def get_server_address_list(*, protocol: Protocol = Protocol.ChannelAccess) -> list[str]:
    """Return the interface addresses that a server listens on, in the present environment.

    Parameters
    ----------
    protocol : Protocol
        Channel Access; there is no other.

    Returns
    -------
    list of str
        ``['0.0.0.0']`` for all interfaces.
    """
    Protocol(protocol)
    return list(ServerConfiguration.from_environment().interfaces)


def get_beacon_address_list(*, protocol: Protocol = Protocol.ChannelAccess) -> list[Address]:
    """Return where a server sends its beacons, in the present environment.

    Parameters
    ----------
    protocol : Protocol
        Channel Access; there is no other.

    Returns
    -------
    list of (str, int)
        Hosts (names are not resolved) and ports.
    """
    Protocol(protocol)
    return ServerConfiguration.from_environment().beacon_addresses()


def get_local_address() -> str:
    """Return an address of this host that others may reach; ``'127.0.0.1'`` if there is none."""
    try:
        return next((address for address, _ in get_netifaces_addresses()), "127.0.0.1")
    except (CaprotoRuntimeError, OSError):
        return "127.0.0.1"
