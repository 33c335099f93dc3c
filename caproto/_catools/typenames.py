"""Names of types as the EPICS tools write them, which say SHORT where others say INT."""
from __future__ import annotations

from .._protocol.dbr import CHANNEL_TYPES

__all__ = ["TYPE_NUMBERS", "request_name", "native_name"]

_NAMES = tuple(member.name.replace("INT", "SHORT") for member in CHANNEL_TYPES)
_WRITE_ONLY = ("PUT_ACKT", "PUT_ACKS")

#: The types that can be read, by name.
TYPE_NUMBERS = {
    name: number for number, name in enumerate(_NAMES) if name not in _WRITE_ONLY
}


def request_name(data_type: int) -> str:
    """Return the name of a type as it is requested."""
    return f"DBR_{_NAMES[data_type]}"


def native_name(data_type: int) -> str:
    """Return the name of a channel's own type."""
    return f"DBF_{_NAMES[data_type]}"
