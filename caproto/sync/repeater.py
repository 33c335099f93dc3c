"""The CA repeater, for programs: run one here, or start one that outlives us.

``caproto-repeater`` is the same as a command.
"""
from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from .._addresses import Address
from .._environment import get_environment_variables, variable_addresses
from .._os import repeater as _repeater
from .._os.signals import EndSignals
from .._protocol.constants import REPEATER_PORT

__all__ = ["run", "spawn_repeater"]

_PORT = "EPICS_CA_REPEATER_PORT"


def run(host: str = _repeater.ALL_INTERFACES, *, port: int | None = None) -> None:
    """Run a repeater in this thread, the main one, until Ctrl-C or SIGTERM.

    Parameters
    ----------
    host : str
        Address of the interface to listen on. All of them by default, as clients expect.
    port : int, optional
        UDP port. Default: EPICS_CA_REPEATER_PORT, or 5065.

    Raises
    ------
    CaprotoNetworkError
        With errno EADDRINUSE if the port is taken: presumably another repeater runs.
    """
    values = get_environment_variables()  # once: each time logs what cannot be read
    if port is None:
        port = values[_PORT]
    with EndSignals() as end:  # from the first on: whoever sees the socket may ask us to end
        _repeater.Repeater(port, _multicast_groups(values), host).run(until=end.wake)


def spawn_repeater() -> int:
    """Start a repeater that outlives this process, at EPICS_CA_REPEATER_PORT or 5065.

    If one runs already, the new one sees that and ends quietly.

    Returns
    -------
    int
        The process id.

    Raises
    ------
    CaprotoRuntimeError, CaprotoNetworkError
        If no process can be started.
    """
    return _repeater.spawn_repeater(get_environment_variables()[_PORT])


def _multicast_groups(values: Mapping[str, Any]) -> list[str]:
    """List the multicast groups that servers send beacons to, from the environment."""

    def addresses_in(name: str) -> tuple[Address, ...]:
        return variable_addresses(values[name], REPEATER_PORT, name)

    addresses = addresses_in("EPICS_CAS_BEACON_ADDR_LIST") or addresses_in("EPICS_CA_ADDR_LIST")
    groups = []
    for host, _ in addresses:
        try:
            if ipaddress.IPv4Address(host).is_multicast:
                groups.append(host)
        except ValueError:  # a host name; multicast groups have none
            continue
    return groups
