"""Writing servers (IOCs): PVs as class attributes, served until the process ends.

The public face: `PVGroup`, `pvproperty`, `SubGroup`, `get_pv_pair_wrapper`, the channel classes,
`ioc_arg_parser` and `run`. `caproto.threading.server.Server` serves PVs inside a program that does
other things as well.
"""
from __future__ import annotations

import collections.abc
import typing

from ._channel_types import (
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
from ._data import ChannelData
from ._group import PVGroup, SubGroup, get_pv_pair_wrapper, ioc_arg_parser, pvproperty
from ._snapshot import ChannelAlarm, Refused

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


def run(pvs: PVGroup | collections.abc.Mapping[str, ChannelData], **options: typing.Any) -> None:
    """Serve PVs until SIGINT (Ctrl-C) or SIGTERM; see `caproto.threading.server.run`.

    Parameters
    ----------
    pvs : PVGroup or mapping of str to ChannelData
        What to serve.
    **options
        ``interfaces``, ``port``, ``configuration``, ``print_names``, ``print_ports``,
        ``log_level``: those of `caproto.threading.server.run`.
    """
    # Imported now: that module needs this package, whichever of the two is imported first.
    from ..threading.server import run as run_threads

    run_threads(pvs, **options)


for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
