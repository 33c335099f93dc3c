"""Named numbers of caproto 1.x. Where a limit of ours has another meaning, the comment says so."""
from __future__ import annotations

from datetime import datetime, timezone
from enum import IntEnum

from .._protocol.constants import (
    EPICS_EPOCH as _EPOCH_IN_POSIX_SECONDS,
)
from .._protocol.constants import (
    MAX_DATAGRAM,
    MAX_ENUM_STATES,
    MAX_ENUM_STRING_SIZE,
    MAX_SEARCH_DATAGRAM,
    MAX_STRING_SIZE,
    MAX_UNITS_SIZE,
    REPEATER_PORT,
    SERVER_PORT,
)

__all__ = [
    "EPICS2UNIX_EPOCH",
    "EPICS_CA1_PORT",
    "EPICS_CA2_PORT",
    "EPICS_EPOCH",
    "MAX_COMMAND_BACKLOG",
    "MAX_ENUM_STATES",
    "MAX_ENUM_STRING_SIZE",
    "MAX_ID",
    "MAX_STRING_SIZE",
    "MAX_SUBSCRIPTION_BACKLOG",
    "MAX_TOTAL_SUBSCRIPTION_BACKLOG",
    "MAX_UDP_RECV",
    "MAX_UNITS_SIZE",
    "RESPONSIVENESS_TIMEOUT",
    "SEARCH_MAX_DATAGRAM_BYTES",
    "STALE_SEARCH_EXPIRATION",
    "ConnStatus",
]

#: `ThreadsafeCounter` starts again at 0 here. The ids of our channels and requests have 32 bits.
MAX_ID = 2**16
#: Port of searches and circuits.
EPICS_CA1_PORT = SERVER_PORT
#: Port of beacons and of the repeater.
EPICS_CA2_PORT = REPEATER_PORT
#: POSIX time of the moment from which time stamps count, in seconds.
EPICS2UNIX_EPOCH = float(_EPOCH_IN_POSIX_SECONDS)
#: The moment from which time stamps count.
EPICS_EPOCH = datetime(1990, 1, 1, tzinfo=timezone.utc)
#: The largest datagram that is received.
MAX_UDP_RECV = MAX_DATAGRAM
#: A search datagram of ours is never longer than this (bytes): what every server accepts.
SEARCH_MAX_DATAGRAM_BYTES = MAX_SEARCH_DATAGRAM
#: caproto 1.x asks again for a name found this many seconds ago. We keep what was found until the
#: connection is lost.
STALE_SEARCH_EXPIRATION = 10.0
#: A server that does not answer an echo within this many seconds is reported as unresponsive.
RESPONSIVENESS_TIMEOUT = 5.0
#: Updates that a server of caproto 1.x keeps for one subscription. Ours keeps the latest value of
#: each subscription, and a client of ours limits the bytes of the updates that wait.
MAX_SUBSCRIPTION_BACKLOG = 1000
#: The same for all subscriptions of one client of such a server.
MAX_TOTAL_SUBSCRIPTION_BACKLOG = 10_000
#: Requests of one client that a server of caproto 1.x keeps. Ours reads on only when it has
#: answered.
MAX_COMMAND_BACKLOG = 10_000


class ConnStatus(IntEnum):
    """State of a connection, in the numbers of the C library."""

    CS_CONN = 2
    OP_CONN_UP = 6
    OP_CONN_DOWN = 7
    CS_NEVER_SEARCH = 4
