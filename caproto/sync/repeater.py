"""The CA repeater, for programs: run one here, or start one that outlives us.

``caproto-repeater`` is the same as a command.
"""
from __future__ import annotations

import ipaddress

from .._environment import ClientConfiguration, ServerConfiguration
from .._os import repeater as _repeater
from .._os.signals import EndSignals

__all__ = ["run", "spawn_repeater"]


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
    if port is None:
        port = _default_port()
    with EndSignals() as end:  # from the first on: whoever sees the socket may ask us to end
        _repeater.Repeater(port, _multicast_groups(), host).run(until=end.wake)


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
    return _repeater.spawn_repeater(_default_port())


def _default_port() -> int:
    return ClientConfiguration.from_environment().repeater_port


def _multicast_groups() -> list[str]:
    """List the multicast groups that servers send beacons to, from the environment."""
    addresses = ServerConfiguration.from_environment().beacon_addr_list
    addresses = addresses or ClientConfiguration.from_environment().addr_list
    groups = []
    for host, _ in addresses:
        try:
            if ipaddress.IPv4Address(host).is_multicast:
                groups.append(host)
        except ValueError:  # a host name; multicast groups have none
            continue
    return groups
