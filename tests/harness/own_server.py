"""Our threaded server in the process of the test, on the loopback interface and on free ports."""
from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from caproto._environment import ServerConfiguration
from caproto.server import ChannelData, PVGroup
from caproto.threading.server import Server
from tests.harness.ports import LOOPBACK, free_port


def loopback(**changes: Any) -> ServerConfiguration:
    """A configuration that is heard on 127.0.0.1 only; any free port, beacons to nobody."""
    options = {
        "interfaces": (LOOPBACK,),
        "server_port": 0,
        "auto_beacon_addr_list": False,
        "beacon_addr_list": ((LOOPBACK, free_port()),),
    }
    return ServerConfiguration(**{**options, **changes})


class OwnServer(Server):
    """A `Server` that tells how to find it.

    Parameters
    ----------
    pvs : PVGroup or mapping of str to ChannelData
    **changes
        Of the configuration.
    """

    def __init__(self, pvs: PVGroup | Mapping[str, ChannelData], **changes: Any) -> None:
        super().__init__(pvs, loopback(**changes))

    @property
    def address(self) -> tuple[str, int]:
        """Where it accepts clients."""
        return (LOOPBACK, self.tcp_port)

    @property
    def environ(self) -> dict[str, str]:
        """The EPICS variables with which a client finds this server and nothing else."""
        return {
            "EPICS_CA_ADDR_LIST": LOOPBACK,
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CA_SERVER_PORT": str(self.udp_port),
            "EPICS_CA_REPEATER_PORT": str(self.configuration.beacon_addr_list[0][1]),
            "CAPROTO_USE_REPEATER": "NO",
        }


def search(names: Mapping[str, int], *, sequence: int = 1, version: int = 13) -> bytes:
    """A search datagram for *names* (name -> cid), written by hand."""
    datagram = struct.pack(">HHHHII", 0, 0, 1, version, sequence, 0)
    for name, cid in names.items():
        text = name.encode() + b"\0"
        text = text.ljust((len(text) + 7) & -8, b"\0")
        datagram += struct.pack(">HHHHII", 6, len(text), 5, version, cid, cid) + text
    return datagram
