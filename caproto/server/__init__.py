"""Writing servers (IOCs): PVs as class attributes, served until the process ends.

The public face: `PVGroup`, `pvproperty`, `SubGroup`, `get_pv_pair_wrapper`, the channel classes,
`ioc_arg_parser` and `run`. `caproto.threading.server.Server` serves PVs inside a program that does
other things as well.
"""
from __future__ import annotations

from .._server.channel_types import (
    ChannelByte,
    ChannelChar,
    ChannelDouble,
    ChannelEnum,
    ChannelFloat,
    ChannelInteger,
    ChannelNumeric,
    ChannelShort,
    ChannelString,
)
from .._server.data import ChannelData
from .._server.group import PVGroup, SubGroup, get_pv_pair_wrapper, pvproperty
from .._server.ioc_arguments import ioc_arg_parser
from .._server.snapshot import ChannelAlarm, Refused
from ..threading.server import run

__all__ = [
    "ChannelAlarm",
    "ChannelByte",
    "ChannelChar",
    "ChannelData",
    "ChannelDouble",
    "ChannelEnum",
    "ChannelFloat",
    "ChannelInteger",
    "ChannelNumeric",
    "ChannelShort",
    "ChannelString",
    "PVGroup",
    "Refused",
    "SubGroup",
    "get_pv_pair_wrapper",
    "ioc_arg_parser",
    "pvproperty",
    "run",
]


for _name in set(__all__) - {"run"}:
    globals()[_name].__module__ = __name__
del _name
