"""Numbers of the Channel Access protocol. No logic."""
from __future__ import annotations

#: Our minor protocol version (4.13).
DEFAULT_PROTOCOL_VERSION = 13
#: Peers below this minor version (4.4) cannot create a channel by name.
MINIMUM_PROTOCOL_VERSION = 4
#: Extended headers, and with them large arrays, exist from here on.
EXTENDED_HEADER_VERSION = 9
#: ECHO exists from here on; READ_SYNC served as one before.
ECHO_VERSION = 3
#: A SEARCH may be sent over TCP from here on.
TCP_SEARCH_VERSION = 12
#: Element count 0 means "as many as there are now" from here on.
DYNAMIC_COUNT_VERSION = 13

#: Default port of name searches and circuits.
SERVER_PORT = 5064
#: Default port of beacons and of the repeater.
REPEATER_PORT = 5065

#: A search datagram is never longer than this (bytes).
MAX_SEARCH_DATAGRAM = 1024
#: The largest datagram that UDP can carry.
MAX_DATAGRAM = 65535
#: The longest name that can be searched (bytes): it shares a datagram with two headers of 16 bytes
#: and has a terminating zero.
MAX_NAME_SIZE = MAX_SEARCH_DATAGRAM - 2 * 16 - 1
#: Longest record name of the EPICS database, in characters; other servers have longer ones.
MAX_RECORD_LENGTH = 60
#: Circuit priorities run from 0 to this.
MAX_PRIORITY = 99

#: A DBR_STRING occupies this many bytes, one of them for the terminating zero.
MAX_STRING_SIZE = 40
#: An enum state occupies this many bytes, one of them for the terminating zero.
MAX_ENUM_STRING_SIZE = 26
#: An enum has at most this many states.
MAX_ENUM_STATES = 16
#: Engineering units occupy this many bytes.
MAX_UNITS_SIZE = 8

#: EPICS time stamps count seconds since 1990-01-01 UTC, POSIX since 1970.
EPICS_EPOCH = 631152000

#: In a search request: a server that does not have the channel answers, too (over TCP).
DO_REPLY = 10
#: In a search request: only a server that has the channel answers.
NO_REPLY = 5
#: In a search reply: "the address that this message came from".
SENDER_ADDRESS = 0xFFFFFFFF
