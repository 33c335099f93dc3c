"""The ECA status codes: how a server says what became of a request.

What travels is ``code << 3 | severity``. Bit 0 of the severity, and so of what travels, means
success; test for success with :attr:`CAStatus.success`, not by comparing with ``ECA_NORMAL``. A
server may be newer than we are: a status that is not in the table is kept with its code and
severity and called ``ECA_UNKNOWN``.

This file is a table. What a status means for a channel or a request is decided elsewhere.
"""
from __future__ import annotations

from .._errors import CaprotoValueError
from .._numbers import whole
from .enums import OpenIntEnum

__all__ = ["CASeverity", "CAStatus", "status_from_number"]


class CASeverity(OpenIntEnum):
    """The lower three bits of a status code; odd ones mean that the request worked."""

    WARNING = 0
    SUCCESS = 1
    ERROR = 2
    INFO = 3
    SEVERE = 4
    FATAL = 6


class CAStatus(OpenIntEnum):
    """A status; as an integer it is the number that travels, so it can be compared with numbers.

    Attributes
    ----------
    code : int
        Number of the message without its severity, 0 to 60 for those in the table.
    severity : CASeverity
        What kind of message it is.
    description : str
        The meaning in a few words.
    """

    code: int
    severity: CASeverity
    description: str

    def __new__(cls, code: int, severity: CASeverity, description: str) -> CAStatus:
        number = code << 3 | severity
        member = int.__new__(cls, number)
        member._value_ = number
        member.code = code
        member.severity = severity
        member.description = description
        return member

    ECA_NORMAL = 0, CASeverity.SUCCESS, "success"
    ECA_MAXIOC = 1, CASeverity.ERROR, "too many servers connected"
    ECA_UKNHOST = 2, CASeverity.ERROR, "host name unknown"
    ECA_UKNSERV = 3, CASeverity.ERROR, "service name unknown"
    ECA_SOCK = 4, CASeverity.ERROR, "no socket available"
    ECA_CONN = 5, CASeverity.WARNING, "connecting failed"
    ECA_ALLOCMEM = 6, CASeverity.WARNING, "out of memory; rsrv also for an impossible event mask"
    ECA_UKNCHAN = 7, CASeverity.WARNING, "channel unknown"
    ECA_UKNFIELD = 8, CASeverity.WARNING, "record has no such field"
    ECA_TOLARGE = 9, CASeverity.WARNING, "transfer larger than the configured or available buffer"
    ECA_TIMEOUT = 10, CASeverity.WARNING, "the user's waiting time is over"
    ECA_NOSUPPORT = 11, CASeverity.WARNING, "feature not available"
    ECA_STRTOBIG = 12, CASeverity.WARNING, "text too long"
    ECA_DISCONNCHID = 13, CASeverity.ERROR, "request on a disconnected channel"
    ECA_BADTYPE = 14, CASeverity.ERROR, "DBR type not legal"
    ECA_CHIDNOTFND = 15, CASeverity.INFO, "channel not found"
    ECA_CHIDRETRY = 16, CASeverity.INFO, "not all channels found yet"
    ECA_INTERNAL = 17, CASeverity.FATAL, "internal error; rsrv: protocol violation, bad id"
    ECA_DBLCLFAIL = 18, CASeverity.WARNING, "local database operation failed"
    ECA_GETFAIL = 19, CASeverity.WARNING, "reading failed"
    ECA_PUTFAIL = 20, CASeverity.WARNING, "writing failed (conversion, disabled, not modifiable)"
    ECA_ADDFAIL = 21, CASeverity.WARNING, "subscribing failed"
    ECA_BADCOUNT = 22, CASeverity.WARNING, "element count not possible"
    ECA_BADSTR = 23, CASeverity.ERROR, "text not acceptable"
    ECA_DISCONN = 24, CASeverity.WARNING, "circuit lost"
    ECA_DBLCHNL = 25, CASeverity.WARNING, "the same name on several servers"
    ECA_EVDISALLOW = 26, CASeverity.ERROR, "call not allowed inside a callback"
    ECA_BUILDGET = 27, CASeverity.WARNING, "value fetch during search failed"
    ECA_NEEDSFP = 28, CASeverity.WARNING, "task lacks floating point"
    ECA_OVEVFAIL = 29, CASeverity.WARNING, "event queue overflow at subscribe"
    ECA_BADMONID = 30, CASeverity.ERROR, "subscription id unknown"
    ECA_NEWADDR = 31, CASeverity.WARNING, "channel has moved to another address"
    ECA_NEWCONN = 32, CASeverity.INFO, "connection made or restored"
    ECA_NOCACTX = 33, CASeverity.WARNING, "calling task has no client context"
    ECA_DEFUNCT = 34, CASeverity.FATAL, "obsolete feature or version too old"
    ECA_EMPTYSTR = 35, CASeverity.WARNING, "empty text"
    ECA_NOREPEATER = 36, CASeverity.WARNING, "repeater could not be started"
    ECA_NOCHANMSG = 37, CASeverity.WARNING, "search reply without matching channel"
    ECA_DLCKREST = 38, CASeverity.WARNING, "dead connection reset"
    ECA_SERVBEHIND = 39, CASeverity.WARNING, "server does not keep up"
    ECA_NOCAST = 40, CASeverity.WARNING, "no broadcast interface"
    ECA_BADMASK = 41, CASeverity.ERROR, "event mask not legal"
    ECA_IODONE = 42, CASeverity.INFO, "all operations finished"
    ECA_IOINPROGRESS = 43, CASeverity.INFO, "operations outstanding"
    ECA_BADSYNCGRP = 44, CASeverity.ERROR, "synchronous group id unknown"
    ECA_PUTCBINPROG = 45, CASeverity.ERROR, "an earlier WRITE_NOTIFY did not finish within 60 s"
    ECA_NORDACCESS = 46, CASeverity.WARNING, "no read access"
    ECA_NOWTACCESS = 47, CASeverity.WARNING, "no write access"
    ECA_ANACHRONISM = 48, CASeverity.ERROR, "feature was removed"
    ECA_NOSEARCHADDR = 49, CASeverity.WARNING, "address list empty"
    ECA_NOCONVERT = 50, CASeverity.WARNING, "types cannot be converted"
    ECA_BADCHID = 51, CASeverity.ERROR, "channel id unknown"
    ECA_BADFUNCPTR = 52, CASeverity.ERROR, "callback missing"
    ECA_ISATTACHED = 53, CASeverity.WARNING, "thread already has a context"
    ECA_UNAVAILINSERV = 54, CASeverity.WARNING, "server does not offer this"
    ECA_CHANDESTROY = 55, CASeverity.WARNING, "user destroyed the channel"
    ECA_BADPRIORITY = 56, CASeverity.ERROR, "priority outside 0…99"
    ECA_NOTTHREADED = 57, CASeverity.ERROR, "context is not preemptive"
    ECA_16KARRAYCLIENT = 58, CASeverity.WARNING, "client too old for a large array"
    ECA_CONNSEQTMO = 59, CASeverity.WARNING, "connection sequence broken off"
    ECA_UNRESPTMO = 60, CASeverity.WARNING, "circuit does not respond"

    @property
    def value(self) -> CAStatus:
        """The status itself: the number that travels, which has a name and a description, too."""
        return self

    @property
    def code_with_severity(self) -> int:
        """The number that travels: ``code << 3 | severity``."""
        return int(self)

    @property
    def success(self) -> bool:
        """Whether the request worked."""
        return bool(self & 1)

    @classmethod
    def _missing_(cls, value: object) -> CAStatus:
        try:
            number = whole(value)
        except TypeError:
            number = -1
        if number < 0:
            raise CaprotoValueError(f"{value!r} is not a status code: not a whole number from 0 on")
        member = int.__new__(cls, number)
        member._value_ = number
        member.code = number >> 3
        member.severity = CASeverity(number & 7)
        member._name_ = f"ECA_UNKNOWN({member.code})"
        member.description = f"status {member.code}, unknown to this version of caproto"
        return member


_BY_NUMBER = {int(status): status for status in CAStatus}


def status_from_number(number: int) -> CAStatus:
    """Name the status of a message.

    Parameters
    ----------
    number : int
        As it came, 0 to 2**32 - 1.

    Returns
    -------
    CAStatus
        A member of the table, or a nameless one that keeps the number.
    """
    known = _BY_NUMBER.get(number)  # ten times faster than the call of an enum class
    return CAStatus._missing_(number) if known is None else known
